//! Prefix lists: one family each, no more entries than declared.

use std::collections::HashMap;

use super::Scope;
use crate::diagnostics::{Code, Report};
use crate::draft::file::PrefixListTable;
use crate::draft::value::{Field, List};
use crate::model::{Cidr, PrefixList};

/// The prefix lists in the order of the file.
pub(super) fn prefix_lists(scope: &Scope<'_>, report: &mut Report<'_>) -> Vec<PrefixList> {
    let mut lists = Vec::new();
    for ((_, table), object) in scope.file.prefix_list.entries().iter().zip(scope.prefix_lists.objects()) {
        check(table, report);
        lists.push(PrefixList {
            id: object.id.clone(),
            name: object.name.clone(),
            max_entries: max_entries(table),
            entries: table.entries.items().iter().map(|entry| entry.value).collect(),
        });
    }
    lists
}

/// What the list counts in a quota (SG-41); 0 if a fault hides it.
pub(super) fn max_entries(table: &PrefixListTable) -> u32 {
    match &table.max_entries {
        Field::Given(number) => number.value.0,
        Field::Absent => u32::try_from(table.entries.items().len()).unwrap_or(u32::MAX),
        Field::Faulty => 0,
    }
}

/// Family of the list's entries: that of the first.
pub(super) fn is_ipv6(table: &PrefixListTable) -> Option<bool> {
    table.entries.items().first().map(|entry| entry.value.network().is_ipv6())
}

fn check(table: &PrefixListTable, report: &mut Report<'_>) {
    let Some(list) = table.entries.given() else { return };
    check_families(list, report);
    check_repeats(list, report);
    if list.items.is_empty() && list.complete {
        let help = "write at least one block: they decide the family of the list (SG-40)";
        report.add(Code::EmptyList, list.span, "the prefix list has no entry", help);
    }
    let Some(max) = table.max_entries.given() else { return };
    let allowed = usize::try_from(max.value.0).unwrap_or(usize::MAX);
    if let Some(first) = list.items.get(allowed) {
        let message = format!("the list has {} entries, but max_entries is {allowed}", list.items.len());
        report
            .add(Code::Quota, first.span, message, "raise `max_entries` or remove entries")
            .related(max.span, "declared here");
    }
}

/// SG-40.
fn check_families(list: &List<crate::draft::value::At<Cidr>>, report: &mut Report<'_>) {
    let Some(first) = list.items.first() else { return };
    let is_ipv6 = first.value.network().is_ipv6();
    for entry in list.items.iter().filter(|entry| entry.value.network().is_ipv6() != is_ipv6) {
        let message = format!("`{}` is of another family than the first entry", entry.value);
        let help = "a prefix list holds one family; make a second list (SG-40)";
        report.add(Code::MixedFamilies, entry.span, message, help).related(first.span, "the first entry");
    }
}

fn check_repeats(list: &List<crate::draft::value::At<Cidr>>, report: &mut Report<'_>) {
    let mut seen = HashMap::new();
    for entry in &list.items {
        if let Some(first) = seen.insert(entry.value, entry.span) {
            let message = format!("`{}` stands twice in the list", entry.value);
            report.add(Code::Repeated, entry.span, message, "remove one").related(first, "first here");
        }
    }
}
