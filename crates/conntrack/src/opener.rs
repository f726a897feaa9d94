//! What rules need to know of an entry in order to judge it again: what opened it, and which policy admitted it last.
//!
//! The table knows no rules. It keeps what they look at and the key does not say, and a stamp that whoever knows the rules
//! compares with its own: equal stamps stand for equal rules, so that an entry is judged once per change and not once per
//! packet. A judgement depends on nothing but the stamp and what never changes about an entry; two workers that judge by
//! different generations may therefore store their stamps in either order, and each is true.
//!
//! Five bytes, which the alignment of an entry left free: an entry is no larger for them.

use std::sync::atomic::Ordering;

use palisade_packet::{IpPacket, Transport};
use serde::{Deserialize, Serialize};

use crate::sync::AtomicU32;

/// What rules saw of the packet that opened an entry and the entry's key does not say.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Opener {
    /// ICMP code of the query; 0 for everything else. It is no part of the key (CT-55).
    pub code: u8,
    /// Rules that refer to groups might match: the ENI that handed the packet over had its source address, or the packet
    /// was sent by the entry's own ENI (SG-34, SG-35).
    pub referenced: bool,
}

impl Opener {
    pub(crate) const fn of(packet: &IpPacket, referenced: bool) -> Self {
        let code = match packet.transport {
            Transport::Icmp(icmp) => icmp.code,
            _ => 0,
        };
        Self { code, referenced }
    }
}

/// The policy that admitted an entry last, by its stamp.
///
/// A stamp is a number of 64 bits outside and of 32 inside. Two that are equal here and differ there are four billion
/// generations apart, in none of which the entry may have been judged; it is judged in each that concerns its ENI.
pub(crate) struct Admission(AtomicU32);

impl Admission {
    /// Admitted by the policy with this stamp; `None`: by no policy of this process, as after an import.
    pub(crate) fn new(stamp: Option<u64>) -> Self {
        Self(AtomicU32::new(stamp.map_or(NEVER, fold)))
    }

    pub(crate) fn is_by(&self, stamp: u64) -> bool {
        self.0.load(Ordering::Relaxed) == fold(stamp)
    }

    pub(crate) fn set(&self, stamp: u64) {
        self.0.store(fold(stamp), Ordering::Relaxed);
    }
}

const NEVER: u32 = 0;

/// Anything but [`NEVER`].
fn fold(stamp: u64) -> u32 {
    u32::try_from(stamp % u64::from(u32::MAX)).expect("less than the divisor") + 1
}

#[cfg(test)]
#[cfg(not(palisade_loom))]
mod tests {
    use super::*;

    #[test]
    fn no_stamp_is_taken_for_another_one_nearby_or_for_never() {
        for stamp in [0, 1, 2, u64::from(u32::MAX) - 1, u64::from(u32::MAX), u64::MAX - 1] {
            assert!(Admission::new(Some(stamp)).is_by(stamp));
            assert!(!Admission::new(None).is_by(stamp), "{stamp}");
            assert!(!Admission::new(Some(stamp)).is_by(stamp + 1), "{stamp}");
        }
    }

    #[test]
    fn the_newest_admission_counts() {
        let admission = Admission::new(Some(3));
        admission.set(7);
        assert!(admission.is_by(7) && !admission.is_by(3));
    }
}
