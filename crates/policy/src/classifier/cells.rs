//! Every cell of a rule set: the pieces of the plane of addresses and services in each of which the same rules match.
//!
//! What holds in one point of a cell holds in all of them, so whoever has looked at every cell has looked at every packet.

use super::Rule;
use super::bits::Bits;
use super::rows::RowsBuilder;
use super::span::Field;
use super::vectors::{Edge, sorted_edges};

/// A cell in which at least one rule matches.
pub(crate) struct Cell<'c> {
    matching: &'c Bits,
}

impl Cell<'_> {
    /// Places of the rules that match here, ascending; at least one.
    pub(crate) fn matching(&self) -> impl Iterator<Item = usize> + '_ {
        self.matching.iter()
    }
}

/// Shows every cell to `visit`; stretches of addresses in which the same rules match are shown once.
pub(crate) fn for_each_cell<T: Field>(rules: &[Rule<T>], mut visit: impl FnMut(&Cell<'_>)) {
    let addresses = sorted_edges(rules.iter().map(|rule| rule.addresses.as_slice()));
    let services = sorted_edges(rules.iter().map(|rule| rule.services.as_slice()));
    let mut row = Bits::new(rules.len());
    let mut known = RowsBuilder::new(&row);
    let mut fresh = 0;
    for here in addresses.chunk_by(|a, b| a.at == b.at) {
        for edge in here {
            row.set(edge.rule, edge.begins);
        }
        if known.intern(&row) == fresh {
            fresh += 1;
            along_services(&services, &row, &mut visit);
        }
    }
}

/// The cells at one address, where the rules of `row` match if their services do.
fn along_services(services: &[Edge<u32>], row: &Bits, visit: &mut impl FnMut(&Cell<'_>)) {
    let mut matching = row.cleared();
    for here in services.chunk_by(|a, b| a.at == b.at) {
        let mut changed = false;
        for edge in here.iter().filter(|edge| row.get(edge.rule)) {
            matching.set(edge.rule, edge.begins);
            changed = true;
        }
        if changed && !matching.is_empty() {
            visit(&Cell { matching: &matching });
        }
    }
}
