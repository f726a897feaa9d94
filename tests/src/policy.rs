//! What a bed's network ACLs and security groups say, written as a configuration file would.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Rules of both directions, as lines of a configuration file.
#[derive(Clone, Debug, Default)]
struct Rules {
    ingress: Vec<String>,
    egress: Vec<String>,
}

/// The ACLs of the two subnets (`web`, `data`; AWS's default ACL where absent) and a group for each guest.
#[derive(Clone, Debug)]
pub struct Policy {
    acls: BTreeMap<String, Rules>,
    groups: BTreeMap<String, Rules>,
    /// Further tables, as they are to be written.
    more: String,
}

impl Policy {
    /// Default ACLs, and groups that allow everything in both directions and both families.
    #[must_use]
    pub fn open() -> Self {
        let all = &["all from 0.0.0.0/0", "all from ::/0"];
        let out = &["all to 0.0.0.0/0", "all to ::/0"];
        let policy = Self { acls: BTreeMap::new(), groups: BTreeMap::new(), more: String::new() };
        ["a", "b", "c"].iter().fold(policy, |policy, guest| policy.group(guest, all, out))
    }

    /// Empty ACLs and empty groups: nothing passes that is not exempt.
    #[must_use]
    pub fn closed() -> Self {
        let open = Self::open();
        let open = ["a", "b", "c"].iter().fold(open, |policy, guest| policy.group(guest, &[], &[]));
        open.acl("web", &[], &[]).acl("data", &[], &[])
    }

    /// Replaces the rules of a guest's group.
    #[must_use]
    pub fn group(mut self, guest: &str, ingress: &[&str], egress: &[&str]) -> Self {
        self.groups.insert(guest.to_owned(), Rules::new(ingress, egress));
        self
    }

    /// Replaces a subnet's ACL.
    #[must_use]
    pub fn acl(mut self, subnet: &str, ingress: &[&str], egress: &[&str]) -> Self {
        self.acls.insert(subnet.to_owned(), Rules::new(ingress, egress));
        self
    }

    /// With further tables of a configuration file.
    #[must_use]
    pub fn and(mut self, tables: &str) -> Self {
        self.more.push_str(tables);
        self
    }

    /// Whether the subnet has an ACL of its own.
    #[must_use]
    pub fn has_acl(&self, subnet: &str) -> bool {
        self.acls.contains_key(subnet)
    }

    /// The tables of a configuration file.
    #[must_use]
    pub fn toml(&self) -> String {
        let mut text = String::new();
        for (kind, all) in [("network_acl", &self.acls), ("security_group", &self.groups)] {
            for (name, rules) in all {
                let (ingress, egress) = (&rules.ingress, &rules.egress);
                // Debug of a list of plain strings is a TOML array.
                writeln!(text, "[{kind}.{name}]\ningress = {ingress:?}\negress = {egress:?}\n")
                    .expect("writing into a String cannot fail");
            }
        }
        text + &self.more
    }
}

impl Rules {
    fn new(ingress: &[&str], egress: &[&str]) -> Self {
        let own = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
        Self { ingress: own(ingress), egress: own(egress) }
    }
}
