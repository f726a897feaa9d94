//! `palisade rules`: every rule in force and how many packets it decided.

use std::io::{self, Write};

use palisade_policy::model::{Direction, NetworkAcl, PrefixList, PrefixListIndex, SecurityGroup};
use palisade_policy::{RuleName, RuleSlot, Snapshot};
use serde::{Deserialize, Serialize};

use crate::table::{Column, Table};
use palisade_policy::rule_text;

/// Every rule and entry of one generation, ACLs first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct RulesReport {
    /// The generation.
    pub(crate) generation: u64,
    /// Its rules.
    pub(crate) rules: Vec<Rule>,
    /// Its prefix lists.
    #[serde(default)]
    pub(crate) prefix_lists: Vec<List>,
}

/// A prefix list and which version of it rules go by (SG-40).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct List {
    /// Its name.
    pub(crate) name: String,
    /// `pl-…`.
    pub(crate) id: String,
    /// 1 when the daemon first saw it, then one more with each change of its entries.
    pub(crate) version: u64,
    /// How many entries that version has.
    pub(crate) entries: usize,
    /// What the list counts in the quota of a group that refers to it (SG-41).
    pub(crate) weight: u32,
}

/// A rule and what it decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Rule {
    /// `network-acl` or `security-group`.
    pub(crate) kind: String,
    /// Name of the ACL or group.
    pub(crate) name: String,
    /// Its id.
    pub(crate) id: String,
    /// `ingress` or `egress`.
    pub(crate) direction: String,
    /// Rule number or `*` of an ACL entry, `sgr-…` of a group's rule.
    pub(crate) number: String,
    /// The rule as a configuration file writes it.
    pub(crate) text: String,
    /// Packets that it decided since the daemon started. A group's rule decides packets that no connection covers.
    pub(crate) hits: u64,
}

impl RulesReport {
    /// The rules of a snapshot, with hits looked up by `hits`.
    pub(crate) fn new(snapshot: &Snapshot, hits: impl Fn(RuleSlot) -> u64) -> Self {
        let slots = (0..snapshot.rule_slots()).filter_map(|slot| u32::try_from(slot).ok()).map(RuleSlot);
        let named = slots.filter_map(|slot| Some((slot, snapshot.rule(slot)?)));
        let rules = named.filter_map(|(slot, name)| Rule::new(snapshot, name, hits(slot)));
        let mut rules: Vec<Rule> = rules.collect();
        rules.sort_by(|a, b| a.place().cmp(&b.place()));
        Self { generation: snapshot.generation(), rules, prefix_lists: lists(snapshot) }
    }

    /// Shows people the rules.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        use Column::{Left, Right};
        let mut table =
            Table::new(&[Left("OF"), Left("DIRECTION"), Left("NUMBER OR ID"), Left("SAYS"), Right("HITS")]);
        for rule in &self.rules {
            let hits = rule.hits.to_string();
            table.row([&rule.name, &rule.direction, &rule.number, &rule.text, &hits]);
        }
        table.write(out)?;
        if self.prefix_lists.is_empty() {
            return Ok(());
        }
        let titles = [Left("PREFIX LIST"), Left("ID"), Right("VERSION"), Right("ENTRIES"), Right("COUNTS")];
        let mut table = Table::new(&titles);
        for list in &self.prefix_lists {
            let numbers = [list.version.to_string(), list.entries.to_string(), list.weight.to_string()];
            let [version, entries, weight] = &numbers;
            table.row([&list.name, &list.id, version, entries, weight]);
        }
        writeln!(out)?;
        table.write(out)
    }
}

fn lists(snapshot: &Snapshot) -> Vec<List> {
    let list = |(at, list): (usize, &PrefixList)| List {
        name: list.name.clone(),
        id: list.id.clone(),
        version: snapshot.prefix_list_version(PrefixListIndex(at)),
        entries: list.entries.len(),
        weight: list.weight(),
    };
    snapshot.vpc().prefix_lists.iter().enumerate().map(list).collect()
}

impl Rule {
    /// `None` if the VPC no longer has it.
    fn new(snapshot: &Snapshot, name: &RuleName, hits: u64) -> Option<Self> {
        let vpc = snapshot.vpc();
        let acl = |id: &str| vpc.network_acls.iter().find(|acl| acl.id == id);
        let of_acl = |acl: &NetworkAcl, direction: Direction, number: String, text: String| Self {
            kind: "network-acl".to_owned(),
            name: acl.name.clone(),
            id: acl.id.clone(),
            direction: direction.as_str().to_owned(),
            number,
            text,
            hits,
        };
        match name {
            RuleName::AclEntry { acl: id, direction, number } => {
                let acl = acl(id)?;
                let entry = acl.list(*direction).iter().find(|entry| entry.number.get() == *number)?;
                let text = rule_text::acl_entry(entry, *direction);
                Some(of_acl(acl, *direction, number.to_string(), text))
            }
            RuleName::AclDefault { acl: id, direction, ipv6 } => {
                let family = if *ipv6 { "::/0" } else { "0.0.0.0/0" };
                let text = format!("deny all {} {family}", rule_text::preposition(*direction));
                Some(of_acl(acl(id)?, *direction, "*".to_owned(), text))
            }
            RuleName::GroupRule { group, rule, direction } => {
                let group: &SecurityGroup = vpc.security_groups.iter().find(|known| known.id == *group)?;
                let known = group.rules(*direction).iter().find(|known| known.id == *rule)?;
                Some(Self {
                    kind: "security-group".to_owned(),
                    name: group.name.clone(),
                    id: group.id.clone(),
                    direction: direction.as_str().to_owned(),
                    number: rule.clone(),
                    text: rule_text::group_rule(vpc, known, *direction),
                    hits,
                })
            }
        }
    }

    /// ACLs before groups, entries by number, `*` last.
    fn place(&self) -> (&str, &str, &str, u32, &str) {
        let number = self.number.parse().unwrap_or(u32::MAX);
        (&self.kind, &self.name, &self.direction, number, &self.number)
    }
}

#[cfg(test)]
mod tests {
    use palisade_policy::draft;

    use super::*;

    const CONFIG: &str = r#"
[vpc]
cidr_blocks = ["10.0.0.0/16"]
[network_acl.web]
ingress = ["200 deny all from 10.1.0.0/16", "30 allow tcp 80 from 0.0.0.0/0"]
[security_group.web]
ingress = ["tcp 443 from sg:web"]
"#;

    #[test]
    fn every_rule_is_listed_in_the_order_of_evaluation() {
        let vpc = draft::load("test", CONFIG).unwrap_or_else(|errors| panic!("{errors}"));
        let report = RulesReport::new(&Snapshot::compile(vpc, None), |_| 7);
        let of_web =
            |rule: &&Rule| rule.kind == "network-acl" && rule.name == "web" && rule.direction == "ingress";
        let texts: Vec<_> = report.rules.iter().filter(of_web).map(|rule| rule.text.as_str()).collect();
        let expected =
            ["30 allow tcp 80 from 0.0.0.0/0", "200 deny all from 10.1.0.0/16", "deny all from 0.0.0.0/0"];
        assert_eq!(texts[..3], expected);
        assert!(report.rules.iter().any(|rule| rule.text == "tcp 443 from sg:web" && rule.hits == 7));
    }

    #[test]
    fn sg_40_the_version_of_a_prefix_list_is_shown() {
        let load = |entries: &str| {
            let list =
                format!("[prefix_list.aws]\nid = \"pl-0123abcd\"\nweight = 55\nentries = [{entries}]\n");
            draft::load("test", &format!("{CONFIG}{list}")).unwrap_or_else(|errors| panic!("{errors}"))
        };
        let before = Snapshot::compile(load("\"192.0.2.0/24\""), None);
        let after = Snapshot::compile(load("\"192.0.2.0/24\", \"198.51.100.0/24\""), Some(&before));
        let report = RulesReport::new(&after, |_| 0);
        let mut out = anstream::StripStream::new(Vec::new());
        report.write(&mut out).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        let expected = "
PREFIX LIST  ID           VERSION  ENTRIES  COUNTS
aws          pl-0123abcd        2        2      55
";
        assert!(text.ends_with(expected), "{text}");
    }
}
