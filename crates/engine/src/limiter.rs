//! The rate of ICMP errors (RT-64). Only the error path comes here, so a lock will do.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;
use palisade_conntrack::Instant;
use palisade_policy::PortKey;

use crate::outcome::Reply;

/// ICMP errors per second and ENI (RT-64).
const PER_SECOND: u32 = 1000;

/// Counts the errors sent to each port in the present second.
#[derive(Debug, Default)]
pub(crate) struct ErrorLimiter(Mutex<HashMap<PortKey, Second, foldhash::fast::RandomState>>);

#[derive(Debug, Default)]
struct Second {
    number: u64,
    sent: u32,
}

impl ErrorLimiter {
    /// Whether an answer may go to a port now. ARP and neighbour answers always may.
    pub(crate) fn allows(&self, port: PortKey, answer: &Reply, now: Instant) -> bool {
        if !matches!(answer, Reply::TooBig { .. }) {
            return true;
        }
        let number = now.since(Instant::from_nanos(0)).as_secs();
        let mut ports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let second = ports.entry(port).or_default();
        if second.number != number {
            *second = Second { number, sent: 0 };
        }
        second.sent += 1;
        second.sent <= PER_SECOND
    }

    /// Forgets a port that is gone.
    pub(crate) fn forget(&self, port: PortKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&port);
    }
}

#[cfg(test)]
mod tests {
    use palisade_policy::EniKey;

    use super::*;

    #[test]
    fn rt_64_a_thousand_errors_a_second_and_eni() {
        let limiter = ErrorLimiter::default();
        let answer = Reply::TooBig {
            mtu: 1500,
            router: [10, 0, 1, 1].into(),
            router_mac: palisade_packet::MacAddr::default(),
        };
        let port = |n| PortKey::Eni(EniKey(n));
        let sent =
            |n, at| (0..1500).filter(|_| limiter.allows(port(n), &answer, Instant::from_secs(at))).count();
        assert_eq!(sent(1, 10), 1000);
        assert_eq!(sent(2, 10), 1000, "each ENI has its own");
        assert_eq!(sent(1, 11), 1000, "the next second begins anew");
    }
}
