//! Where the parts of a VPC stand in the file that describes it.

use super::file::File;
use super::value::{At, Field, List};
use crate::diagnostics::Span;
use crate::model::{Direction, RuleNumber};

/// Where things stand, each list in the order of the [`crate::Vpc`]'s.
///
/// Made of a file without faults, whose lists therefore are complete.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// The names of the ENIs.
    pub(crate) enis: Vec<Span>,
    /// The names of the prefix lists.
    pub(crate) prefix_lists: Vec<Span>,
    /// The security groups that the file has.
    pub(crate) groups: Vec<ListsPlace>,
    /// The network ACLs that the file has.
    pub(crate) acls: Vec<ListsPlace>,
}

/// Where a group or an ACL stands.
#[derive(Clone, Debug)]
pub(crate) struct ListsPlace {
    /// Its name.
    pub(crate) name: Span,
    /// Inbound rules; `None`: not in the file, AWS's defaults.
    ingress: Option<Vec<RulePlace>>,
    /// Outbound rules; `None`: not in the file, AWS's defaults.
    egress: Option<Vec<RulePlace>>,
}

/// Where a rule or entry stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RulePlace {
    /// All of it.
    pub(crate) span: Span,
    /// Ports or types in it that mean nothing (SG-12, NACL-12).
    pub(crate) idle: Option<Span>,
}

impl ListsPlace {
    /// The rules of one direction, if they are in the file.
    pub(crate) fn list(&self, direction: Direction) -> Option<&[RulePlace]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

impl Places {
    pub(super) fn of(file: &File) -> Self {
        let groups = file.security_group.entries().iter().map(|(name, table)| ListsPlace {
            name: name.span,
            ingress: list(&table.ingress, |line| RulePlace { span: line.0.span, idle: line.0.idle }),
            egress: list(&table.egress, |line| RulePlace { span: line.0.span, idle: line.0.idle }),
        });
        let acls = file.network_acl.entries().iter().map(|(name, table)| {
            let ingress =
                list(&table.ingress, |line| (line.number, RulePlace { span: line.span, idle: line.idle }));
            let egress =
                list(&table.egress, |line| (line.number, RulePlace { span: line.span, idle: line.idle }));
            ListsPlace { name: name.span, ingress: ingress.map(by_number), egress: egress.map(by_number) }
        });
        Self {
            enis: file.eni.entries().iter().map(|(name, _)| name.span).collect(),
            prefix_lists: file.prefix_list.entries().iter().map(|(name, _)| name.span).collect(),
            groups: groups.collect(),
            acls: acls.collect(),
        }
    }
}

fn list<T, P>(lines: &Field<List<T>>, place: impl Fn(&T) -> P) -> Option<Vec<P>> {
    lines.given().map(|list| list.items.iter().map(place).collect())
}

/// In the order in which the model has the entries.
fn by_number(mut numbered: Vec<(Option<At<RuleNumber>>, RulePlace)>) -> Vec<RulePlace> {
    numbered.sort_by_key(|(number, _)| number.map(|number| number.value));
    numbered.into_iter().map(|(_, place)| place).collect()
}
