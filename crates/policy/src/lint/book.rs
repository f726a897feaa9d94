//! What all checks look at, and where they write down what they find.

use std::collections::HashSet;

use super::code::Code;
use super::finding::{Finding, RuleNamed};
use super::union::RuleAt;
use crate::diagnostics::{Layout, Related, Span};
use crate::draft::{Places, RulePlace};
use crate::model::{AclEntry, AclIndex, Direction, EniIndex, GroupIndex, NetworkAcl, Vpc};
use crate::rule_text;
use crate::snapshot::{RuleName, Snapshot};

/// Both directions.
pub(super) const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// A VPC, compiled, with the places of its parts.
pub(super) struct Book<'a> {
    pub(super) vpc: &'a Vpc,
    pub(super) snapshot: &'a Snapshot,
    places: &'a Places,
    /// Rules and entries that match nothing, as far as that is told already.
    void: HashSet<Subject>,
    found: Vec<Draft>,
}

/// An entry by its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct EntryAt {
    pub(super) acl: AclIndex,
    pub(super) direction: Direction,
    /// Place in the list, which is ascending by number.
    pub(super) at: usize,
}

/// What a finding speaks of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Subject {
    Rule(RuleAt),
    Entry(EntryAt),
    Group(GroupIndex),
    Acl(AclIndex),
    PrefixList(usize),
}

/// A finding whose line and column are not worked out yet.
struct Draft {
    code: Code,
    span: Span,
    message: String,
    help: String,
    rules: Vec<RuleNamed>,
    related: Vec<(Span, String)>,
}

impl<'a> Book<'a> {
    /// `snapshot` is compiled from `vpc`.
    pub(super) fn new(vpc: &'a Vpc, snapshot: &'a Snapshot, places: &'a Places) -> Self {
        Self { vpc, snapshot, places, void: HashSet::new(), found: Vec::new() }
    }

    /// Writes down a finding about a subject; `others` are the rules and objects that it has to do with.
    pub(super) fn note(
        &mut self,
        code: Code,
        subject: Subject,
        others: &[Subject],
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let named = |subject: &Subject| self.named(*subject);
        let related = others.iter().filter_map(|&other| Some((self.written(other)?, self.label(other))));
        let draft = Draft {
            code,
            span: self.span(subject),
            message: message.into(),
            help: help.into(),
            rules: std::iter::once(&subject).chain(others).filter_map(named).collect(),
            related: related.collect(),
        };
        self.found.push(draft);
    }

    /// Writes down that a rule or entry matches nothing; nothing else is told of it then.
    pub(super) fn note_void(
        &mut self,
        code: Code,
        subject: Subject,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.note(code, subject, &[], message, help);
        self.void.insert(subject);
    }

    /// Whether it is told already that a rule or entry matches nothing.
    pub(super) fn is_void(&self, subject: Subject) -> bool {
        self.void.contains(&subject)
    }

    /// The findings of a file, in the order of their places.
    pub(super) fn finish(mut self, file: &str, text: &str) -> Vec<Finding> {
        self.found.sort_by_key(|draft| (draft.span, draft.code));
        let layout = Layout::new(text);
        let finding = |draft: Draft| {
            let place = layout.place(draft.span);
            let related = draft.related.into_iter();
            let related = related.map(|(span, label)| Related { label, place: layout.place(span) });
            Finding {
                severity: draft.code.severity(),
                code: draft.code,
                message: draft.message,
                help: draft.help,
                rules: draft.rules,
                file: file.to_owned(),
                place,
                field: layout.field(place),
                text: layout.text(place),
                related: related.collect(),
            }
        };
        self.found.into_iter().map(finding).collect()
    }

    /// An entry.
    pub(super) fn entry(&self, entry: EntryAt) -> &'a AclEntry {
        &self.vpc[entry.acl].list(entry.direction)[entry.at]
    }

    /// Every ACL with its position.
    pub(super) fn acls(&self) -> impl Iterator<Item = (AclIndex, &'a NetworkAcl)> + use<'a> {
        self.vpc.network_acls.iter().enumerate().map(|(at, acl)| (AclIndex(at), acl))
    }

    /// Where the ports are that mean nothing in a rule or entry.
    pub(super) fn has_idle_ports(&self, subject: Subject) -> bool {
        self.place(subject).is_some_and(|place| place.idle.is_some())
    }

    /// Whether a rule, entry or object stands in the file, rather than being AWS's default.
    pub(super) fn is_written(&self, subject: Subject) -> bool {
        self.written(subject).is_some()
    }

    /// A subject in words: `tcp 443 from 0.0.0.0/0`, `100 allow all to ::/0`, or a name.
    pub(super) fn text(&self, subject: Subject) -> String {
        match subject {
            Subject::Rule(rule) => rule_text::group_rule(self.vpc, rule.of(self.vpc), rule.direction),
            Subject::Entry(entry) => rule_text::acl_entry(self.entry(entry), entry.direction),
            Subject::Group(group) => self.vpc[group].name.clone(),
            Subject::Acl(acl) => self.vpc[acl].name.clone(),
            Subject::PrefixList(list) => self.vpc.prefix_lists[list].name.clone(),
        }
    }

    /// A subject as a label at its place.
    fn label(&self, subject: Subject) -> String {
        match subject {
            Subject::Rule(rule) => rule.of(self.vpc).id.clone(),
            Subject::Entry(entry) => format!("entry {}", self.entry(entry).number),
            Subject::Group(_) => "the group".to_owned(),
            Subject::Acl(_) => "the network ACL".to_owned(),
            Subject::PrefixList(_) => "the prefix list".to_owned(),
        }
    }

    fn named(&self, subject: Subject) -> Option<RuleNamed> {
        let (id, of, direction) = match subject {
            Subject::Rule(rule) => (rule.of(self.vpc).id.clone(), &self.vpc[rule.group].name, rule.direction),
            Subject::Entry(entry) => {
                let EntryAt { acl, direction, .. } = entry;
                let (acl, number) = (&self.vpc[acl], self.entry(entry).number.get());
                let name = RuleName::AclEntry { acl: acl.id.clone(), direction, number };
                (name.to_string(), &acl.name, direction)
            }
            Subject::Group(_) | Subject::Acl(_) | Subject::PrefixList(_) => return None,
        };
        let rule = self.text(subject);
        Some(RuleNamed { id, of: of.clone(), direction: direction.as_str(), rule })
    }

    /// Where a subject stands; what is AWS's default is told where its owner stands.
    fn span(&self, subject: Subject) -> Span {
        self.written(subject).unwrap_or_else(|| match subject {
            Subject::Rule(rule) => self.group_span(rule.group),
            Subject::Entry(EntryAt { acl, .. }) => self.written(Subject::Acl(acl)).unwrap_or_default(),
            Subject::Group(group) => self.group_span(group),
            Subject::Acl(_) | Subject::PrefixList(_) => Span::default(),
        })
    }

    /// The group's name, or that of the first ENI that has it.
    fn group_span(&self, group: GroupIndex) -> Span {
        let first = || {
            let EniIndex(eni) = self.vpc.members(group).next()?;
            self.places.enis.get(eni).copied()
        };
        self.written(Subject::Group(group)).or_else(first).unwrap_or_default()
    }

    fn written(&self, subject: Subject) -> Option<Span> {
        match subject {
            Subject::Rule(_) | Subject::Entry(_) => self.place(subject).map(|place| place.span),
            Subject::Group(group) => self.places.groups.get(group.0).map(|place| place.name),
            Subject::Acl(acl) => self.places.acls.get(acl.0).map(|place| place.name),
            Subject::PrefixList(list) => self.places.prefix_lists.get(list).copied(),
        }
    }

    fn place(&self, subject: Subject) -> Option<RulePlace> {
        let (lists, direction, at) = match subject {
            Subject::Rule(rule) => (self.places.groups.get(rule.group.0), rule.direction, rule.at),
            Subject::Entry(entry) => (self.places.acls.get(entry.acl.0), entry.direction, entry.at),
            Subject::Group(_) | Subject::Acl(_) | Subject::PrefixList(_) => return None,
        };
        lists?.list(direction)?.get(at).copied()
    }
}
