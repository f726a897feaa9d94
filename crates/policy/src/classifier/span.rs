//! Ranges of values of a field, and the two kinds of address as numbers.

use std::net::IpAddr;

use crate::model::Cidr;

/// Every value from `low` to `high`, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Span<T> {
    pub(crate) low: T,
    pub(crate) high: T,
}

impl<T: Number> Span<T> {
    pub(crate) fn point(value: T) -> Self {
        Self { low: value, high: value }
    }

    pub(crate) fn contains(&self, value: T) -> bool {
        self.low <= value && value <= self.high
    }
}

/// The same values as disjoint spans that do not touch, ascending.
pub(crate) fn merged<T: Number>(mut spans: Vec<Span<T>>) -> Vec<Span<T>> {
    spans.sort_unstable();
    spans.dedup_by(|next, last| {
        let touches = last.high.successor().is_none_or(|after| next.low <= after);
        if touches {
            last.high = last.high.max(next.high);
        }
        touches
    });
    spans
}

/// The values of `spans` that are not in `hole`.
pub(crate) fn without<T: Number>(spans: &[Span<T>], hole: Span<T>) -> Vec<Span<T>> {
    let parts = |span: &Span<T>| {
        let below = hole.low.predecessor().map(|end| Span { low: span.low, high: span.high.min(end) });
        let above = hole.high.successor().map(|start| Span { low: span.low.max(start), high: span.high });
        [below, above].into_iter().flatten().filter(|part| part.low <= part.high)
    };
    spans.iter().flat_map(parts).collect()
}

/// An unsigned number that a field holds.
pub(crate) trait Number: Copy + Ord + std::fmt::Debug {
    const ZERO: Self;
    const MAX: Self;

    /// The next one, if there is one.
    fn successor(self) -> Option<Self>;

    /// The one before, if there is one.
    fn predecessor(self) -> Option<Self>;

    /// `self - base`, which must not be negative, divided by 2^`shift`; capped to what a `usize` holds.
    fn bucket(self, base: Self, shift: u32) -> usize;

    /// `self + bucket * 2^shift`, which must be in range: the inverse of [`Number::bucket`].
    fn bucket_start(self, bucket: usize, shift: u32) -> Self;

    /// Bits needed for the difference from `base`, which must not be negative.
    fn width_from(self, base: Self) -> u32;
}

/// The address type of one family, as a number.
pub(crate) trait Field: Number {
    /// Whether the family is IPv6.
    const IPV6: bool;

    /// The addresses of a block of this family.
    fn block(cidr: &Cidr) -> Option<Span<Self>>;

    /// An address of this family.
    fn address(address: &IpAddr) -> Option<Self>;

    /// The address that the number stands for.
    fn ip(self) -> IpAddr;
}

macro_rules! number {
    ($type:ty) => {
        impl Number for $type {
            const ZERO: Self = 0;
            const MAX: Self = Self::MAX;

            #[inline]
            fn successor(self) -> Option<Self> {
                self.checked_add(1)
            }

            fn predecessor(self) -> Option<Self> {
                self.checked_sub(1)
            }

            #[inline]
            fn bucket(self, base: Self, shift: u32) -> usize {
                usize::try_from((self - base) >> shift).unwrap_or(usize::MAX)
            }

            fn bucket_start(self, bucket: usize, shift: u32) -> Self {
                self + (Self::try_from(bucket).unwrap_or(Self::MAX) << shift)
            }

            fn width_from(self, base: Self) -> u32 {
                Self::BITS - (self - base).leading_zeros()
            }
        }
    };
}

number!(u32);
number!(u128);

impl Field for u32 {
    const IPV6: bool = false;

    fn block(cidr: &Cidr) -> Option<Span<Self>> {
        let Cidr::V4(net) = cidr else { return None };
        Some(Span { low: net.network().to_bits(), high: net.broadcast().to_bits() })
    }

    fn address(address: &IpAddr) -> Option<Self> {
        let IpAddr::V4(v4) = address else { return None };
        Some(v4.to_bits())
    }

    fn ip(self) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(self))
    }
}

impl Field for u128 {
    const IPV6: bool = true;

    fn block(cidr: &Cidr) -> Option<Span<Self>> {
        let Cidr::V6(net) = cidr else { return None };
        Some(Span { low: net.network().to_bits(), high: net.broadcast().to_bits() })
    }

    fn address(address: &IpAddr) -> Option<Self> {
        let IpAddr::V6(v6) = address else { return None };
        Some(v6.to_bits())
    }

    fn ip(self) -> IpAddr {
        IpAddr::V6(std::net::Ipv6Addr::from_bits(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_and_touching_spans_merge() {
        let spans =
            [(5, 9), (0, 1), (2, 3), (7, 20), (22, 22), (u32::MAX, u32::MAX), (u32::MAX - 5, u32::MAX)];
        let spans = spans.map(|(low, high)| Span { low, high }).to_vec();
        let expected = [(0, 3), (5, 20), (22, 22), (u32::MAX - 5, u32::MAX)];
        assert_eq!(merged(spans), expected.map(|(low, high)| Span { low, high }));
    }

    #[test]
    fn holes_are_cut_out() {
        let spans = [(0, 9), (20, u32::MAX)].map(|(low, high)| Span { low, high });
        let cut = |low, high| -> Vec<(u32, u32)> {
            let left = without(&spans, Span { low, high });
            left.into_iter().map(|span| (span.low, span.high)).collect()
        };
        assert_eq!(cut(3, 4), [(0, 2), (5, 9), (20, u32::MAX)]);
        assert_eq!(cut(0, 25), [(26, u32::MAX)]);
        assert_eq!(cut(10, 19), [(0, 9), (20, u32::MAX)]);
        assert_eq!(cut(9, u32::MAX), [(0, 8)]);
        assert_eq!(cut(0, u32::MAX), []);
    }

    #[test]
    fn blocks_belong_to_one_family() {
        let all: Cidr = "::/0".parse().unwrap();
        assert_eq!(u32::block(&all), None);
        assert_eq!(u128::block(&all), Some(Span { low: 0, high: u128::MAX }));
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(u32::address(&mapped), None);
    }
}
