use std::net::IpAddr;
use std::time::Duration;

use palisade_packet::{Fragment, IpPacket, Transport};

use super::*;
use crate::outcome::Received;

mod model;

const FIRST: Fragment = Fragment { identification: 7, offset: 0, len: 1000, more: true };
const MIDDLE: Fragment = Fragment { identification: 7, offset: 1000, len: 800, more: true };
const LAST: Fragment = Fragment { identification: 7, offset: 1800, len: 500, more: false };
const ENI: EniKey = EniKey(1);
const INVALID: &str = "fragment-invalid";
const ORPHAN: &str = "fragment-orphan";

fn packet(fragment: Fragment) -> IpPacket {
    let transport = match fragment.offset {
        0 => Transport::Udp { source: 1000, destination: 2000 },
        _ => Transport::LaterFragment,
    };
    IpPacket {
        source: IpAddr::from([10, 0, 1, 10]),
        destination: IpAddr::from([10, 0, 2, 10]),
        protocol: 17,
        hop_limit: 64,
        dont_fragment: false,
        ip_len: 20 + u32::from(fragment.len),
        network_offset: 14,
        transport_offset: 34,
        fragment: Some(fragment),
        transport,
    }
}

/// Fragments that one ENI sends, at times that a test names.
#[derive(Default)]
struct Bench {
    fragments: Fragments,
    now: Duration,
    orphans: usize,
    released: Vec<Released>,
}

impl Bench {
    fn at(&mut self, millis: u64) -> &mut Self {
        self.now = Duration::from_millis(millis);
        self
    }

    /// What becomes of a fragment in a word; [`Fragments::foresee`] must have known.
    fn send(&mut self, fragment: Fragment) -> &'static str {
        self.send_from(ENI, packet(fragment), &[0; 100])
    }

    fn send_from(&mut self, from: EniKey, ip: IpPacket, frame: &[u8]) -> &'static str {
        let (place, received) = (Place::Sender, Received::default());
        let arriving = Arriving { from, place, ip, fragment: ip.fragment.unwrap(), frame, received };
        let (foreseen, releases) = self.fragments.foresee(&arriving, self.now());
        let joined = self.fragments.join(&arriving, self.now());
        assert_eq!(word(&foreseen), word(&joined.fate), "looking and doing differ");
        if joined.fate.is_ok() {
            assert_eq!(releases, joined.released.len());
        }
        word(&self.take(joined))
    }

    fn condemn(&mut self, fragment: Fragment) {
        let (place, received, ip) = (Place::Sender, Received::default(), packet(fragment));
        let arriving = Arriving { from: ENI, place, ip, fragment, frame: &[], received };
        let joined = self.fragments.condemn(&arriving, self.now());
        self.take(joined).unwrap_err();
    }

    fn take(&mut self, joined: Joined) -> Fate {
        self.orphans += joined.orphans;
        self.released = joined.released;
        joined.fate
    }

    /// The rulings by which fragments were released last.
    fn released(&self) -> Vec<Result<Header, DropReason>> {
        self.released.iter().map(|released| released.resumption.ruling).collect()
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(0) + self.now
    }

    fn held(&self) -> u64 {
        self.fragments.holding().fragments
    }

    fn usage(&self) -> Usage {
        self.fragments.lock().usage
    }
}

type Fate = Result<Option<Judged>, DropReason>;

fn word(fate: &Fate) -> &'static str {
    match fate {
        Ok(Some(judged)) if judged.later_fragment => "later",
        Ok(Some(_)) => "first",
        Ok(None) => "held",
        Err(reason) => reason.as_str(),
    }
}

#[test]
fn ct_60_later_fragments_take_the_first_ones_ports() {
    let mut bench = Bench::default();
    assert_eq!(bench.send(FIRST), "first");
    let (place, received, ip) = (Place::Sender, Received::default(), packet(MIDDLE));
    let arriving = Arriving { from: ENI, place, ip, fragment: MIDDLE, frame: &[], received };
    let later = bench.fragments.join(&arriving, bench.now()).fate.unwrap().unwrap();
    assert!(later.later_fragment);
    assert_eq!(later.ip.transport, Transport::Udp { source: 1000, destination: 2000 });
}

#[test]
fn ct_61_a_fragment_waits_for_its_first() {
    let mut bench = Bench::default();
    assert_eq!([bench.send(LAST), bench.at(500).send(MIDDLE)], ["held"; 2]);
    assert_eq!((bench.held(), bench.fragments.holding().bytes), (2, 200));
    assert_eq!(bench.at(999).send(FIRST), "first");
    let header = Header { protocol: 17, transport: Transport::Udp { source: 1000, destination: 2000 } };
    assert_eq!(bench.released(), [Ok(header); 2]);
    assert!(bench.released[0].arrival < bench.released[1].arrival, "in the order of arrival");
    assert_eq!((bench.held(), bench.orphans), (0, 0));
    assert_eq!(bench.send(FIRST), "first", "the datagram was complete, this is another");
}

#[test]
fn ct_61_the_wait_ends_after_a_second_to_the_nanosecond() {
    let mut bench = Bench::default();
    bench.send(MIDDLE);
    bench.now = Duration::from_secs(1) - Duration::from_nanos(1);
    assert_eq!(bench.fragments.expire(bench.now()), 0);
    bench.now = Duration::from_secs(1);
    assert_eq!((bench.send(FIRST), bench.released.len(), bench.orphans), ("first", 0, 1));
    assert_eq!(bench.send(MIDDLE), "later");
}

#[test]
fn ct_61_each_fragment_waits_its_own_second() {
    let mut bench = Bench::default();
    bench.send(MIDDLE);
    bench.at(600).send(LAST);
    bench.at(1100);
    assert_eq!(bench.fragments.expire(bench.now()), 1);
    assert_eq!((bench.send(FIRST), bench.released.len()), ("first", 1));
    assert_eq!(bench.send(LAST), "later", "an exact repetition of an incomplete datagram");
}

#[test]
fn ct_61_what_waited_in_vain_leaves_nothing() {
    let mut bench = Bench::default();
    bench.send(MIDDLE);
    bench.at(1000);
    let other = Fragment { offset: 992, ..MIDDLE };
    assert_eq!((bench.send(other), bench.orphans), ("held", 1), "no overlap with what is gone");
    bench.at(2000);
    assert_eq!(bench.fragments.expire(bench.now()), 1);
    assert_eq!(bench.usage(), Usage::default());
}

#[test]
fn ct_61_at_most_64_of_a_datagram_wait() {
    let mut bench = Bench::default();
    let fragment = |at: u16| Fragment { offset: 8 + at * 8, len: 8, ..MIDDLE };
    assert!((0..64).all(|at| bench.send(fragment(at)) == "held"));
    assert_eq!(bench.send(fragment(64)), ORPHAN);
    assert_eq!(bench.send(Fragment { identification: 8, ..MIDDLE }), "held");
    bench.at(1000);
    assert_eq!(
        (bench.send(fragment(64)), bench.orphans),
        ("held", 65),
        "those that are overdue take no place"
    );
}

#[test]
fn ct_61_at_most_256_kib_of_an_eni_wait() {
    let mut bench = Bench::default();
    let datagram = |identification| packet(Fragment { identification, ..MIDDLE });
    assert_eq!(bench.send_from(ENI, datagram(1), &vec![0; MOST_HELD_BYTES - 100]), "held");
    assert_eq!(bench.at(500).send_from(ENI, datagram(2), &[0; 101]), ORPHAN);
    assert_eq!(bench.send_from(ENI, datagram(3), &[0; 100]), "held", "to the last byte");
    assert_eq!(bench.send_from(ENI, datagram(4), &[0; 1]), ORPHAN);
    assert_eq!(bench.send_from(EniKey(2), datagram(4), &[0; 1]), "held", "of another ENI");
    assert_eq!(bench.at(1000).send_from(ENI, datagram(5), &[0; 101]), "held", "the first is overdue");
    assert_eq!((bench.held(), bench.orphans), (3, 1));
}

#[test]
fn all_enis_together_hold_no_more_than_64_times_as_much() {
    let mut bench = Bench::default();
    let full = vec![0; MOST_HELD_BYTES];
    assert!((0..64).all(|eni| bench.send_from(EniKey(eni), packet(MIDDLE), &full) == "held"));
    assert_eq!(bench.send_from(EniKey(64), packet(MIDDLE), &[0]), ORPHAN);
}

#[test]
fn ct_62_the_first_is_forgotten_30_s_after_the_last_fragment() {
    let mut bench = Bench::default();
    bench.send(FIRST);
    assert_eq!(bench.at(29_999).send(MIDDLE), "later");
    assert_eq!(bench.fragments.expire(Instant::from_secs(31)), 0, "its time was prolonged");
    assert_eq!(bench.at(59_998).send(MIDDLE), "later");
    assert_eq!(bench.at(89_998).send(MIDDLE), "held");
}

#[test]
fn ct_62_a_complete_datagram_gives_way_to_a_new_one() {
    let mut bench = Bench::default();
    assert_eq!([FIRST, LAST, MIDDLE].map(|it| bench.send(it)), ["first", "later", "later"]);
    assert_eq!([FIRST, LAST, MIDDLE].map(|it| bench.send(it)), ["first", "later", "later"]);
    assert_eq!(bench.send(MIDDLE), "held", "of a third one");
}

#[test]
fn ct_62_data_behind_the_end_does_not_keep_a_datagram_incomplete() {
    let mut bench = Bench::default();
    let beyond = Fragment { offset: 4000, ..MIDDLE };
    assert_eq!([FIRST, beyond, LAST, MIDDLE].map(|it| bench.send(it)), ["first", "later", "later", "later"]);
    assert_eq!(bench.send(FIRST), "first");
}

#[test]
fn ct_63_an_overlap_drops_the_whole_datagram() {
    let mut bench = Bench::default();
    bench.send(FIRST);
    let overlapping = Fragment { offset: 992, len: 8, ..MIDDLE };
    assert_eq!([overlapping, MIDDLE, FIRST].map(|it| bench.send(it)), [INVALID; 3]);
    assert_eq!(bench.at(29_999).send(MIDDLE), INVALID);
    assert_eq!(bench.at(30_000).send(MIDDLE), "held", "30 s after it was marked");
}

#[test]
fn ct_63_held_fragments_must_not_overlap_either() {
    let mut bench = Bench::default();
    assert_eq!([MIDDLE, MIDDLE, LAST].map(|it| bench.send(it)), ["held"; 3], "a repetition is no overlap");
    assert_eq!(bench.send(Fragment { offset: 992, len: 16, ..MIDDLE }), INVALID);
    assert_eq!(bench.released(), [Err(DropReason::FragmentInvalid); 3]);
    assert_eq!((bench.held(), bench.send(FIRST)), (0, INVALID));
}

#[test]
fn ct_63_a_first_fragment_must_not_overlap_held_ones() {
    let mut bench = Bench::default();
    bench.send(MIDDLE);
    assert_eq!(bench.send(Fragment { len: 1008, ..FIRST }), INVALID);
    assert_eq!(bench.released(), [Err(DropReason::FragmentInvalid)]);
}

#[test]
fn ct_63_an_unsound_fragment_condemns_its_datagram() {
    let mut bench = Bench::default();
    bench.send(MIDDLE);
    bench.condemn(LAST);
    assert_eq!(bench.released(), [Err(DropReason::FragmentInvalid)]);
    bench.at(1000).condemn(LAST);
    assert_eq!(bench.at(29_999).send(FIRST), INVALID);
    assert_eq!(bench.at(30_000).send(FIRST), "first", "30 s after it was first marked");
}

#[test]
fn ct_63_a_repetition_is_not_an_overlap() {
    let mut bench = Bench::default();
    assert_eq!([FIRST, FIRST, MIDDLE, MIDDLE].map(|it| bench.send(it)), ["first", "first", "later", "later"]);
    assert_eq!(bench.send(Fragment { more: false, ..MIDDLE }), INVALID, "it says something else");
}

#[test]
fn ct_63_a_repeated_first_fragment_cannot_change_the_ports() {
    let mut bench = Bench::default();
    bench.send(FIRST);
    let other = IpPacket { transport: Transport::Udp { source: 1000, destination: 53 }, ..packet(FIRST) };
    assert_eq!(bench.send_from(ENI, other, &[]), INVALID);
}

#[test]
fn as_many_fragments_as_a_datagram_can_have() {
    let mut bench = Bench::default();
    let fragment = |at: u16| Fragment { offset: at * 8, len: 8, ..FIRST };
    assert!((0..8191).all(|at| matches!(bench.send(fragment(at)), "first" | "later")));
    assert_eq!(bench.usage().fragments, 8191);
    bench.fragments.expire(Instant::from_secs(31));
    assert_eq!(bench.usage(), Usage::default());
}

#[test]
fn an_eni_that_floods_loses_its_own_oldest_datagrams() {
    let mut bench = Bench::default();
    let first = |identification| packet(Fragment { identification, ..FIRST });
    bench.send_from(EniKey(2), first(0), &[]);
    assert_eq!(bench.send(Fragment { identification: 0, ..MIDDLE }), "held");
    assert!((1..=4096).all(|id| bench.send_from(ENI, first(id), &[]) == "first"));
    assert_eq!((bench.orphans, bench.held()), (1, 0), "the oldest was waiting");
    assert_eq!(bench.usage().datagrams, 4096 + 1);
    assert_eq!(bench.send_from(EniKey(2), packet(Fragment { identification: 0, ..MIDDLE }), &[]), "later");
    assert_eq!(bench.send(Fragment { identification: 2, ..MIDDLE }), "later");
    assert_eq!(bench.send(Fragment { identification: 9999, ..MIDDLE }), "held", "at the cost of number 1");
    assert_eq!(bench.send(Fragment { identification: 1, ..MIDDLE }), "held", "it is forgotten");
}

#[test]
fn an_eni_that_is_gone_takes_its_fragments_along() {
    let mut bench = Bench::default();
    bench.send(MIDDLE);
    bench.send_from(EniKey(2), packet(MIDDLE), &[]);
    assert_eq!((bench.fragments.forget(ENI), bench.fragments.forget(ENI)), (1, 0));
    assert_eq!(bench.held(), 1);
    assert_eq!((bench.fragments.clear(), bench.held()), (1, 0));
}

#[test]
fn foreseeing_remembers_nothing() {
    let bench = Bench::default();
    let (place, received, ip) = (Place::Sender, Received::default(), packet(FIRST));
    let arriving = Arriving { from: ENI, place, ip, fragment: FIRST, frame: &[], received };
    assert!(bench.fragments.foresee(&arriving, bench.now()).0.is_ok());
    assert_eq!(bench.usage(), Usage::default());
}
