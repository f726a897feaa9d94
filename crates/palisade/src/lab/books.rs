//! The data plane's books before and after a frame, and whose the difference is: the frame's own, or that of fragments that
//! it has released.

use std::collections::BTreeMap;

use palisade_engine::{Consumed, DropReason, Verdict};
use palisade_policy::PortKey;
use palisade_runtime::RuntimeStatus;
use palisade_scenario::{Arrival, Resumed, Seen, same_packet};

use super::witness::{Notes, Resumption};

/// Counts of one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Books {
    /// Packets dropped and consumed, by the name of the counter.
    ends: BTreeMap<&'static str, u64>,
    /// Fragments held.
    held: u64,
}

impl Books {
    pub(super) fn of(status: &RuntimeStatus) -> Self {
        let counters = &status.counters;
        let dropped = DropReason::ALL.iter().map(|it| (it.as_str(), counters.dropped_for(*it)));
        let consumed = Consumed::ALL.iter().map(|it| (it.as_str(), counters.consumed.get(it.index())));
        Self { ends: dropped.chain(consumed).collect(), held: status.holding.fragments }
    }

    /// Shares out what came of a frame. Only what was counted and what has arrived is given to anybody; what the notes say
    /// beyond that is missing from the result, and what they do not say is the frame's.
    pub(super) fn seen(&self, after: &Self, arrivals: Vec<Arrival>, notes: Notes) -> Seen {
        let mut rest = Rest { ends: self.moved(after), arrivals };
        let went_on = notes.resumed.len() as u64;
        let released: Vec<_> = notes.resumed.into_iter().map(|resumption| rest.resumed(resumption)).collect();
        let again = released.iter().filter(|resumed| resumed.seen.held).count() as u64;
        // A fragment may be held at the cost of others, which have waited in vain (CT-61).
        let evicted = (self.held + notes.held + again).checked_sub(after.held + went_on);
        let books_balance =
            evicted.is_some_and(|evicted| rest.take(DropReason::FragmentOrphan.as_str(), evicted));
        let reasons = rest.ends.into_iter().filter(|(_, count)| *count > 0).map(|(name, _)| name);
        Seen {
            arrivals: rest.arrivals,
            reasons: reasons.collect(),
            held: notes.held > 0 && books_balance,
            released,
            copies: Vec::new(),
        }
    }

    fn moved(&self, after: &Self) -> BTreeMap<&'static str, u64> {
        let before = |name| self.ends.get(name).copied().unwrap_or_default();
        after.ends.iter().map(|(name, count)| (*name, count.wrapping_sub(before(name)))).collect()
    }
}

/// What is not anybody's yet.
struct Rest {
    ends: BTreeMap<&'static str, u64>,
    arrivals: Vec<Arrival>,
}

impl Rest {
    fn resumed(&mut self, Resumption { frame, walk, verdict }: Resumption) -> Resumed {
        let mut seen = Seen::default();
        let end = match verdict {
            Verdict::Deliver(delivery) => {
                seen.arrivals = self.arrived(delivery.to, |run| {
                    same_packet(run.iter().map(|arrival| (arrival.vnet, &*arrival.bytes)), &frame)
                });
                None
            }
            Verdict::Hold => {
                seen.held = true;
                None
            }
            Verdict::Consume(what) => Some(what.as_str()),
            Verdict::Drop(reason) => Some(reason.as_str()),
        };
        seen.reasons.extend(end.filter(|end| self.take(end, 1)));
        Resumed { frame, walk, seen }
    }

    /// Takes the first frames in a row at a port that are a packet together.
    fn arrived(&mut self, port: PortKey, is_it: impl Fn(&[&Arrival]) -> bool) -> Vec<Arrival> {
        let there: Vec<usize> =
            (0..self.arrivals.len()).filter(|at| self.arrivals[*at].port == port).collect();
        let runs = (0..there.len()).flat_map(|start| (start + 1..=there.len()).map(move |end| start..end));
        let mut runs = runs.map(|run| &there[run]);
        let found = runs.find(|run| is_it(&run.iter().map(|at| &self.arrivals[*at]).collect::<Vec<_>>()));
        let taken = found.unwrap_or_default().to_vec();
        let mut arrived: Vec<_> = taken.into_iter().rev().map(|at| self.arrivals.remove(at)).collect();
        arrived.reverse(); // taken from behind, so that the places of the others stay
        arrived
    }

    /// Takes so many counts away; false, and none, if there are fewer.
    fn take(&mut self, name: &str, count: u64) -> bool {
        let Some(left) = self.ends.get_mut(name) else { return count == 0 };
        let enough = *left >= count;
        *left -= if enough { count } else { 0 };
        enough
    }
}

#[cfg(test)]
mod tests {
    use palisade_engine::{Delivery, Explanation, OutcomeReport};
    use palisade_packet::{Body, Offload, VnetHeader, fragment_ipv4, parse};
    use palisade_policy::EniKey;
    use palisade_scenario::notation::Frame;

    use super::*;

    const ORPHAN: &str = "fragment-orphan";
    const DENIED: &str = "group-ingress";
    const SENDER: PortKey = PortKey::Eni(EniKey(1));
    const RECEIVER: PortKey = PortKey::Eni(EniKey(2));

    fn books(held: u64, ends: &[(&'static str, u64)]) -> Books {
        Books { ends: ends.iter().copied().collect(), held }
    }

    /// A later fragment whose payload is this byte.
    fn fragment(byte: u8) -> Frame {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
        bytes.extend([0x45, 0, 0, 28, 0, 7, 0x20, 1, 64, 17, 0, 0, 10, 0, 1, 10, 10, 0, 1, 11]);
        bytes.extend([byte; 8]);
        Frame { port: SENDER, bytes, vnet: VnetHeader::default() }
    }

    fn resumption(frame: Frame, verdict: Verdict) -> Resumption {
        let (detail, reply) = (String::new(), None);
        let outcome = OutcomeReport { verdict: "", to: None, reason: None, detail, reply };
        let (from, packet, stages) = (String::new(), String::new(), Vec::new());
        Resumption { frame, walk: Explanation { generation: 1, from, packet, stages, outcome }, verdict }
    }

    fn delivered(frame: Frame) -> Resumption {
        let delivery = Delivery { to: RECEIVER, offload: Offload::None, fragment: None };
        resumption(frame, Verdict::Deliver(delivery))
    }

    fn arrival(frame: &Frame) -> Arrival {
        Arrival { port: RECEIVER, vnet: frame.vnet, bytes: frame.bytes.clone() }
    }

    fn notes(held: u64, resumed: Vec<Resumption>) -> Notes {
        Notes { held, resumed }
    }

    #[test]
    fn without_notes_everything_is_the_frames() {
        let after = books(0, &[(DENIED, 4), (ORPHAN, 1)]);
        let seen =
            books(0, &[(DENIED, 3), (ORPHAN, 1)]).seen(&after, vec![arrival(&fragment(1))], Notes::default());
        assert_eq!((seen.reasons, seen.arrivals.len(), seen.held), (vec![DENIED], 1, false));
    }

    #[test]
    fn a_frame_is_held_if_the_books_say_so_too() {
        let held = |after: &Books| books(0, &[]).seen(after, Vec::new(), notes(1, Vec::new())).held;
        assert!(held(&books(1, &[])));
        assert!(!held(&books(0, &[])), "one is missing");
        assert!(!held(&books(2, &[])), "one too many");
    }

    #[test]
    fn a_fragment_that_had_to_go_for_another_is_not_its_reason() {
        let seen = |orphans| {
            books(1, &[(ORPHAN, 0)]).seen(&books(1, &[(ORPHAN, orphans)]), Vec::new(), notes(1, vec![]))
        };
        assert_eq!((seen(1).held, seen(1).reasons), (true, vec![]));
        assert!(!seen(0).held, "it went without being counted");
        assert_eq!(seen(2).reasons, [ORPHAN], "one more than went");
    }

    #[test]
    fn each_drop_is_given_to_one_fragment() {
        let drops = || vec![resumption(fragment(1), Verdict::Drop(DropReason::GroupIngress))];
        let seen = |dropped| {
            books(1, &[(DENIED, 0)]).seen(&books(0, &[(DENIED, dropped)]), vec![], notes(0, drops()))
        };
        let reasons = |seen: &Seen| (seen.reasons.clone(), seen.released[0].seen.reasons.clone());
        assert_eq!(reasons(&seen(1)), (vec![], vec![DENIED]));
        assert_eq!(reasons(&seen(2)), (vec![DENIED], vec![DENIED]), "the frame was dropped too");
        assert_eq!(reasons(&seen(0)), (vec![], vec![]), "the engine said so, and nothing was counted");
    }

    #[test]
    fn a_fragment_that_went_on_has_what_arrived_of_it() {
        let released = || vec![delivered(fragment(1)), delivered(fragment(2))];
        let first = fragment(0);
        let all = [0, 2, 1].map(|byte| arrival(&fragment(byte)));
        let seen = books(2, &[]).seen(&books(0, &[]), all.to_vec(), notes(0, released()));
        let of = |at: usize| seen.released[at].seen.arrivals.clone();
        assert_eq!((of(0), of(1)), (vec![arrival(&fragment(1))], vec![arrival(&fragment(2))]));
        assert_eq!(seen.arrivals, [arrival(&first)]);
        let seen = books(2, &[]).seen(&books(0, &[]), all[..2].to_vec(), notes(0, released()));
        assert_eq!(seen.released[0].seen.arrivals, [], "the engine said so, and nothing arrived");
    }

    #[test]
    fn a_fragment_that_the_router_has_cut_arrives_in_pieces() {
        let mut whole = fragment(1);
        whole.bytes[17] = 36;
        whole.bytes[24..26].copy_from_slice(&0x44ad_u16.to_be_bytes());
        whole.bytes.extend([1; 8]);
        let Body::Ip(ip) = parse(&whole.bytes).unwrap().body else { panic!("an IP packet") };
        let mut arrivals = vec![arrival(&fragment(0))];
        let mut keep =
            |piece: &[u8]| arrivals.push(arrival(&Frame { bytes: piece.to_vec(), ..whole.clone() }));
        fragment_ipv4(&whole.bytes, &ip, 28, &mut Vec::new(), &mut keep).unwrap();
        let seen = books(1, &[]).seen(&books(0, &[]), arrivals.clone(), notes(0, vec![delivered(whole)]));
        assert_eq!(seen.released[0].seen.arrivals, arrivals[1..]);
        assert_eq!(seen.arrivals, arrivals[..1]);
    }
}
