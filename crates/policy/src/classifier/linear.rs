//! Short rule sets: every pair of an address span and a service span, one after the other.

use super::span::{Field, Span};
use super::{ClassifierSize, Found, Rule};

#[derive(Debug)]
pub(super) struct Linear<T> {
    /// Ascending by rule.
    pairs: Box<[Pair<T>]>,
    rules: usize,
}

#[derive(Debug)]
struct Pair<T> {
    addresses: Span<T>,
    services: Span<u32>,
    rule: u16,
    anywhere: bool,
    reference: bool,
}

impl<T: Field> Linear<T> {
    pub(super) fn build(rules: &[Rule<T>]) -> Self {
        let pairs = rules.iter().zip(0..).flat_map(|(rule, at)| pairs(rule, at)).collect();
        Self { pairs, rules: rules.len() }
    }

    #[inline]
    pub(super) fn first(&self, address: T, service: u32) -> Option<usize> {
        self.pairs.iter().find(|pair| pair.covers(address, service)).map(Pair::rule)
    }

    #[inline]
    pub(super) fn find(&self, address: T, service: u32, referenced: bool) -> Found {
        let mut matching =
            self.pairs.iter().filter(|pair| (referenced || !pair.reference) && pair.covers(address, service));
        let Some(first) = matching.next() else { return Found::default() };
        let anywhere = if first.anywhere { Some(first) } else { matching.find(|pair| pair.anywhere) };
        Found { any: Some(first.rule()), anywhere: anywhere.map(Pair::rule) }
    }

    pub(super) fn size(&self) -> ClassifierSize {
        ClassifierSize {
            rules: self.rules,
            intervals: self.pairs.len(),
            words: 0,
            bytes: size_of_val::<[Pair<T>]>(&self.pairs),
        }
    }
}

impl<T: Field> Pair<T> {
    #[inline]
    fn covers(&self, address: T, service: u32) -> bool {
        self.addresses.contains(address) & self.services.contains(service)
    }

    fn rule(&self) -> usize {
        usize::from(self.rule)
    }
}

fn pairs<T: Field>(rule: &Rule<T>, at: u16) -> impl Iterator<Item = Pair<T>> + '_ {
    rule.addresses.iter().flat_map(move |&addresses| {
        let Rule { anywhere, reference, .. } = *rule;
        let pair = move |&services| Pair { addresses, services, rule: at, anywhere, reference };
        rule.services.iter().map(pair)
    })
}
