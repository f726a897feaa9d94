//! Compiled rule sets: the lowest rule that matches, found at a cost that hardly grows with the number of rules.
//!
//! A rule is a set of addresses times a set of *services* (protocol and port, or type and code, as one number, see
//! [`service`]). Each of the two fields is cut into elementary intervals, inside of which the same rules match; each
//! interval has a bit vector with one bit per rule, and the answer is the lowest bit that both vectors have. A prefix
//! list or a referenced group adds intervals, not bits. Short rule sets are compared one by one instead.
//!
//! IPv4 and IPv6 never meet (SG-16, NACL-16): a classifier is of one family.

mod acl;
mod bits;
mod cells;
mod groups;
mod intervals;
mod linear;
mod rows;
pub(crate) mod service;
pub(crate) mod span;
mod vectors;

pub use acl::CompiledAcl;
pub use groups::GroupSet;

pub(crate) use acl::ListSlots;
pub(crate) use cells::{Cell, for_each_cell};
pub(crate) use groups::{GroupRules, ResolvedGroup, ResolvedPeer, ResolvedRule, rebuild};

use linear::Linear;
use span::{Field, Span};
use vectors::Vectors;

/// Rule sets with at most this many address-service pairs are compared pair by pair.
const LINEAR_PAIRS: usize = 24;

/// How rules of one direction and family are compiled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassifierKind {
    /// Few pairs of addresses and services, compared one after the other.
    Pairs,
    /// Bit vectors over elementary intervals.
    Vectors,
}

/// How much there is of compiled rule sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct ClassifierSize {
    /// Rules and entries, one that matches in both families counted twice.
    pub rules: usize,
    /// Elementary intervals of both fields (of short sets: pairs that are compared one by one).
    pub intervals: usize,
    /// 64-bit words of bit vectors.
    pub words: usize,
    /// Bytes of memory, near enough.
    pub bytes: usize,
}

impl std::ops::Add for ClassifierSize {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            rules: self.rules + other.rules,
            intervals: self.intervals + other.intervals,
            words: self.words + other.words,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl std::iter::Sum for ClassifierSize {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), std::ops::Add::add)
    }
}

/// One rule of one family, as the classifier sees it; its place in the list is its rank.
#[derive(Clone, Debug)]
pub(crate) struct Rule<T> {
    /// Addresses, disjoint and ascending.
    pub(crate) addresses: Vec<Span<T>>,
    /// Services, disjoint and ascending.
    pub(crate) services: Vec<Span<u32>>,
    /// Literally 0.0.0.0/0 or `::/0` (CT-11 iii); the addresses are then all there are.
    pub(crate) anywhere: bool,
    /// The addresses are those of a referenced group's members.
    pub(crate) reference: bool,
}

/// Places of the lowest matching rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Found {
    any: Option<usize>,
    anywhere: Option<usize>,
}

/// Rules of one family in the order of their ranks, compiled.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a box would cost every packet a load more")]
enum Classifier<T> {
    Linear(Linear<T>),
    Vectors(Vectors<T>),
}

impl<T: Field> Classifier<T> {
    fn build(rules: &[Rule<T>]) -> Self {
        let pairs: usize = rules.iter().map(|rule| rule.addresses.len() * rule.services.len()).sum();
        if pairs <= LINEAR_PAIRS {
            Self::Linear(Linear::build(rules))
        } else {
            Self::Vectors(Vectors::build(rules))
        }
    }

    /// The lowest rule that covers the pair.
    #[inline]
    fn first(&self, address: T, service: u32) -> Option<usize> {
        match self {
            Self::Linear(linear) => linear.first(address, service),
            Self::Vectors(vectors) => vectors.first(address, service),
        }
    }

    /// The lowest rules that cover the pair; those that refer to groups only if `referenced`.
    #[inline]
    fn find(&self, address: T, service: u32, referenced: bool) -> Found {
        match self {
            Self::Linear(linear) => linear.find(address, service, referenced),
            Self::Vectors(vectors) => vectors.find(address, service, referenced),
        }
    }

    fn kind(&self) -> ClassifierKind {
        match self {
            Self::Linear(_) => ClassifierKind::Pairs,
            Self::Vectors(_) => ClassifierKind::Vectors,
        }
    }

    fn size(&self) -> ClassifierSize {
        match self {
            Self::Linear(linear) => linear.size(),
            Self::Vectors(vectors) => vectors.size(),
        }
    }
}

#[cfg(test)]
mod tests;
