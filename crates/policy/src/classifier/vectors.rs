//! Long rule sets: bit vectors over elementary intervals of both fields.

use super::bits::{BITS, Bits};
use super::intervals::{Intervals, index};
use super::rows::{Rows, RowsBuilder};
use super::span::{Field, Number, Span};
use super::{ClassifierSize, Found, Rule};

#[derive(Debug)]
pub(super) struct Vectors<T> {
    addresses: Dimension<T>,
    services: Dimension<u32>,
    /// Per row of `services`: the lowest rule with all addresses, [`NONE`] if there is none.
    anywhere: Box<[u32]>,
    /// The rules that refer to no group; `None`: all of them.
    direct: Option<Box<[u64]>>,
    rules: usize,
}

const NONE: u32 = u32::MAX;

/// One field: which rules match at which value.
#[derive(Debug)]
struct Dimension<T> {
    intervals: Intervals<T>,
    /// Row of each interval.
    row_of: Box<[u32]>,
    rows: Rows,
}

impl<T: Field> Vectors<T> {
    pub(super) fn build(rules: &[Rule<T>]) -> Self {
        let addresses = Dimension::build(rules.len(), rules.iter().map(|rule| rule.addresses.as_slice()));
        let services = Dimension::build(rules.len(), rules.iter().map(|rule| rule.services.as_slice()));
        let anywhere = mask(rules, |rule| rule.anywhere);
        let anywhere = (0..services.rows.len())
            .map(|row| services.rows.first_in(index(row), &anywhere).map_or(NONE, index));
        let anywhere = anywhere.collect();
        let references = rules.iter().any(|rule| rule.reference);
        let direct = references.then(|| mask(rules, |rule| !rule.reference));
        Self { addresses, services, anywhere, direct, rules: rules.len() }
    }

    #[inline]
    pub(super) fn first(&self, address: T, service: u32) -> Option<usize> {
        let (address, service) = (self.addresses.row(address), self.services.row(service));
        self.addresses.rows.first_common(address, &self.services.rows, service, None)
    }

    #[inline]
    pub(super) fn find(&self, address: T, service: u32, referenced: bool) -> Found {
        let (address, service) = (self.addresses.row(address), self.services.row(service));
        let mask = if referenced { None } else { self.direct.as_deref() };
        let any = self.addresses.rows.first_common(address, &self.services.rows, service, mask);
        let anywhere = self.anywhere[service as usize];
        Found { any, anywhere: (anywhere != NONE).then_some(anywhere as usize) }
    }

    pub(super) fn size(&self) -> ClassifierSize {
        let masks = self.direct.as_ref().map_or(0, |mask| mask.len());
        ClassifierSize {
            rules: self.rules,
            intervals: self.addresses.intervals.len() + self.services.intervals.len(),
            words: self.addresses.rows.words() + self.services.rows.words() + masks,
            bytes: self.addresses.bytes() + self.services.bytes() + 4 * self.anywhere.len() + 8 * masks,
        }
    }
}

impl<T: Number> Dimension<T> {
    /// Sweeps over the boundaries of all spans; the spans of one rule are disjoint and do not touch.
    fn build<'a>(rules: usize, spans: impl Iterator<Item = &'a [Span<T>]>) -> Self
    where
        T: 'a,
    {
        let edges = sorted_edges(spans);
        let mut bits = Bits::new(rules);
        let mut rows = RowsBuilder::new(&bits);
        let (mut starts, mut row_of) = (Vec::new(), Vec::new());
        if edges.first().is_none_or(|edge| edge.at != T::ZERO) {
            starts.push(T::ZERO);
            row_of.push(rows.intern(&bits));
        }
        for here in edges.chunk_by(|a, b| a.at == b.at) {
            for edge in here {
                bits.set(edge.rule, edge.begins);
            }
            starts.push(here[0].at);
            row_of.push(rows.intern(&bits));
        }
        Self { intervals: Intervals::new(starts), row_of: row_of.into(), rows: rows.finish() }
    }

    #[inline]
    fn row(&self, value: T) -> u32 {
        self.row_of[self.intervals.find(value)]
    }

    fn bytes(&self) -> usize {
        self.intervals.bytes() + 4 * self.row_of.len() + self.rows.bytes()
    }
}

/// From `at` on a rule matches, or no longer.
pub(super) struct Edge<T> {
    pub(super) at: T,
    pub(super) rule: usize,
    pub(super) begins: bool,
}

/// The edges of all rules' spans, ascending.
pub(super) fn sorted_edges<'a, T: Number + 'a>(spans: impl Iterator<Item = &'a [Span<T>]>) -> Vec<Edge<T>> {
    let mut edges: Vec<_> = spans.enumerate().flat_map(|(rule, spans)| edges(rule, spans)).collect();
    edges.sort_unstable_by_key(|edge| edge.at);
    edges
}

fn edges<T: Number>(rule: usize, spans: &[Span<T>]) -> impl Iterator<Item = Edge<T>> + '_ {
    spans.iter().flat_map(move |span| {
        let begin = Edge { at: span.low, rule, begins: true };
        let end = span.high.successor().map(|at| Edge { at, rule, begins: false });
        std::iter::once(begin).chain(end)
    })
}

fn mask<T>(rules: &[Rule<T>], included: impl Fn(&Rule<T>) -> bool) -> Box<[u64]> {
    let word = |rules: &[Rule<T>]| {
        rules.iter().enumerate().fold(0, |word, (bit, rule)| word | u64::from(included(rule)) << bit)
    };
    rules.chunks(BITS).map(word).collect()
}
