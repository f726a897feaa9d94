//! Prefix lists: one family each, no more entries than declared.

use std::collections::HashMap;

use super::Scope;
use crate::diagnostics::{Code, Report, Span};
use crate::draft::file::PrefixListTable;
use crate::draft::scalar::Family;
use crate::draft::value::{At, Field, List};
use crate::model::{Cidr, ListSize, PrefixList};

/// The prefix lists in the order of the file.
pub(super) fn prefix_lists(scope: &Scope<'_>, report: &mut Report<'_>) -> Vec<PrefixList> {
    let mut lists = Vec::new();
    for ((_, table), object) in scope.file.prefix_list.entries().iter().zip(scope.prefix_lists.objects()) {
        check(table, report);
        lists.push(PrefixList {
            id: object.id.clone(),
            name: object.name.clone(),
            ipv6: is_ipv6(table).unwrap_or_default(),
            size: size(table),
            entries: table.entries.items().iter().map(|entry| entry.value).collect(),
        });
    }
    lists
}

/// What the list counts in a quota (SG-41); 0 if a fault hides it.
pub(super) fn size(table: &PrefixListTable) -> ListSize {
    match (&table.weight, &table.max_entries) {
        (Field::Given(weight), _) => ListSize::Weight(weight.value.0),
        (Field::Absent, Field::Given(number)) => ListSize::MaxEntries(number.value.0),
        (Field::Absent, Field::Absent) => {
            let entries = table.entries.items().len().max(1);
            ListSize::MaxEntries(u32::try_from(entries).unwrap_or(u32::MAX))
        }
        (Field::Faulty, _) | (_, Field::Faulty) => ListSize::MaxEntries(0),
    }
}

/// Where it is written what the list counts, if it is.
pub(super) fn size_span(table: &PrefixListTable) -> Option<Span> {
    let weight = table.weight.given().map(|weight| weight.span);
    weight.or(table.max_entries.given().map(|number| number.span))
}

/// Family of the list's entries, if it is known.
pub(super) fn is_ipv6(table: &PrefixListTable) -> Option<bool> {
    match &table.address_family {
        Field::Given(family) => Some(family.value == Family::Ipv6),
        Field::Absent => table.entries.items().first().map(|entry| is_v6(entry.value)),
        Field::Faulty => None,
    }
}

fn is_v6(block: Cidr) -> bool {
    block.addr().is_ipv6()
}

fn check(table: &PrefixListTable, report: &mut Report<'_>) {
    if let (Some(weight), Some(max)) = (table.weight.given(), table.max_entries.given()) {
        let help = "an AWS-managed list has a `weight`, a customer-managed one `max_entries` (SG-41)";
        report
            .add(Code::ConflictingKeys, weight.span, "`weight` and `max_entries` exclude each other", help)
            .related(max.span, "the other one");
    }
    let Some(list) = table.entries.given() else { return };
    check_families(table, list, report);
    check_repeats(list, report);
    if list.items.is_empty() && list.complete && matches!(table.address_family, Field::Absent) {
        let help =
            "write a block, or say `address_family = \"IPv4\"` (or \"IPv6\") of a list that has none (SG-40)";
        report.add(Code::EmptyList, list.span, "the prefix list has no entry", help);
    }
    check_size(table, list, report);
}

fn check_size(table: &PrefixListTable, list: &List<At<Cidr>>, report: &mut Report<'_>) {
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
fn check_families(table: &PrefixListTable, list: &List<At<Cidr>>, report: &mut Report<'_>) {
    let (ipv6, decided, what) = match (&table.address_family, list.items.first()) {
        (Field::Given(family), _) => (family.value == Family::Ipv6, family.span, "the family of the list"),
        (Field::Absent, Some(first)) => (is_v6(first.value), first.span, "the first entry"),
        _ => return,
    };
    for entry in list.items.iter().filter(|entry| is_v6(entry.value) != ipv6) {
        let wanted = if ipv6 { "IPv6" } else { "IPv4" };
        let message = format!("`{}` is not of the list's family, {wanted}", entry.value);
        let help = "a prefix list holds one family; make a second list (SG-40)";
        report.add(Code::MixedFamilies, entry.span, message, help).related(decided, what);
    }
}

fn check_repeats(list: &List<At<Cidr>>, report: &mut Report<'_>) {
    let mut seen = HashMap::new();
    for entry in &list.items {
        if let Some(first) = seen.insert(entry.value, entry.span) {
            let message = format!("`{}` stands twice in the list", entry.value);
            report.add(Code::Repeated, entry.span, message, "remove one").related(first, "first here");
        }
    }
}
