//! Segments of two TCP flows on the connection table, and time that passes between them.
//!
//! What is asserted is said without the state table: what must have been sent, ever, for an entry to be in a state. So a
//! wrong cell shows as a state without its cause.

use std::time::Duration;

use palisade_conntrack::{ConnTable, ConnView, Consult, Ids, Instant, Owner, TimeOuts, Zone};
use palisade_packet::{Direction, IpPacket, Tcp, TcpFlags, Transport};

/// Bytes of one event: what and whose, flags, sequence number, acknowledgement, window, scale.
const EVENT: usize = 6;
/// More events of one input say nothing new.
const MOST_EVENTS: usize = 200;
const OWNER: Owner = Owner { zone: Zone(1), instance: 1, max_tracked: 2, time_outs: TIME_OUTS };
const TIME_OUTS: TimeOuts = TimeOuts {
    tcp_established: Duration::from_secs(350),
    udp: Duration::from_secs(30),
    udp_stream: Duration::from_mins(1),
};
/// Local ports of the flows; they tell flows apart.
const FLOWS: [u16; 2] = [40_000, 40_001];
/// Sequence numbers of the SYNs that a well-behaved guest and its peer send; the peer's wraps soon.
const FIRST: [u32; 2] = [1_000, u32::MAX - 3];
/// The time-outs of CT-30 to CT-36 in seconds.
const SPANS: [u64; 5] = [10, 30, 60, 120, 350];

/// Plays one input on a table of its own.
///
/// # Panics
///
/// If an entry comes without a SYN, is established without both SYNs and the last acknowledgement, closes without a
/// plausible reset or both FINs, outlives or misses its time-out, or is lost count of; if a packet that a filter drops
/// leaves a trace; if a table that takes over the entries has others.
pub fn tcp(data: &[u8]) {
    let mut play = Play::new();
    for event in data.as_chunks::<EVENT>().0.iter().take(MOST_EVENTS) {
        play.event(*event);
    }
    play.end();
}

struct Play {
    table: ConnTable,
    now: Instant,
    lives: [Option<Life>; 2],
}

/// Everything that has been said since an entry was opened.
struct Life {
    opener: Direction,
    /// Of egress and of ingress.
    said: [Said; 2],
    /// The opener has acknowledged after both SYNs and a SYN+ACK had been seen.
    shaken: bool,
    /// A reset was seen that some acknowledgement or SYN makes plausible (CT-46).
    reset: bool,
}

#[derive(Default)]
struct Said {
    syns: Vec<u32>,
    syn_ack: bool,
    fin: bool,
    /// Acknowledged values, with the largest window that may have been meant.
    acknowledged: Vec<(u32, u32)>,
    scale: u8,
}

impl Play {
    fn new() -> Self {
        Self { table: ConnTable::new(4), now: Instant::from_secs(1_000), lives: [None, None] }
    }

    fn event(&mut self, event: [u8; EVENT]) {
        let [what, flags, sequence, acknowledgement, window, scale] = event;
        if what & 3 == 3 {
            return self.wait(flags, sequence);
        }
        let direction = if what & 4 == 0 { Direction::Egress } else { Direction::Ingress };
        let flow = usize::from(what & 8 != 0);
        let [mine, theirs] = match direction {
            Direction::Egress => FIRST,
            Direction::Ingress => [FIRST[1], FIRST[0]],
        };
        let near = |base: u32, offset: u8| base.wrapping_add_signed(i32::from(offset.cast_signed()));
        let flags = TcpFlags(flags);
        let tcp = Tcp {
            source: FLOWS[flow],
            destination: 443,
            flags,
            sequence: near(mine, sequence),
            acknowledgement: near(theirs, acknowledgement),
            window: u16::from(window),
            window_scale: (flags.contains(TcpFlags::SYN) && scale & 0x80 != 0).then_some(scale & 0x0f),
            header_len: 20,
        };
        self.segment(direction, flow, tcp, what & 16 == 0);
    }

    fn segment(&mut self, direction: Direction, flow: usize, tcp: Tcp, passes: bool) {
        let (before, created) = (self.entry(flow), self.table.totals().created);
        let packet = packet(direction, tcp);
        let consulted = self.table.consult(OWNER.zone, direction, &packet, self.now);
        let committed = match consulted {
            Consult::Tracked(plan) | Consult::New(plan) if passes => {
                assert!(self.table.commit(plan, &OWNER, &packet, self.now).is_ok(), "there is room for both");
                true
            }
            Consult::Related(_) => panic!("a segment quotes nothing"),
            _ => false,
        };
        let (after, born) = (self.entry(flow), self.table.totals().created - created);
        if !committed {
            assert_eq!(unchanging(after), unchanging(before), "CT-7: a trace of what no filter passed");
            return;
        }
        let after = after.expect("a committed segment has an entry");
        match born {
            0 => self.goes_on(direction, flow, &tcp, (&before.expect("it is not new"), &after)),
            1 => self.begins(direction, flow, &tcp, (before, &after)),
            _ => panic!("one segment opened {born} entries"),
        }
        let spoken = self.lives[flow].as_mut().expect("it has begun");
        spoken.hear(direction, &tcp);
        spoken.explains(&after);
    }

    /// CT-40, CT-45: a SYN and nothing else, where nothing was or what was had ended.
    fn begins(
        &mut self,
        direction: Direction,
        flow: usize,
        tcp: &Tcp,
        (before, after): (Option<ConnView>, &ConnView),
    ) {
        let bits = TcpFlags::SYN.0 | TcpFlags::ACK.0 | TcpFlags::FIN.0 | TcpFlags::RST.0;
        assert_eq!(tcp.flags.0 & bits, TcpFlags::SYN.0, "CT-40: opened by {}", tcp.flags);
        assert!(before.is_none_or(|old| matches!(old.state, "time-wait" | "close")), "CT-45: {before:?}");
        assert_eq!((after.state, after.origin, after.idle), ("syn-sent", direction, Duration::ZERO));
        let said = [Said::default(), Said::default()];
        self.lives[flow] = Some(Life { opener: direction, said, shaken: false, reset: false });
    }

    fn goes_on(
        &mut self,
        direction: Direction,
        flow: usize,
        tcp: &Tcp,
        (before, after): (&ConnView, &ConnView),
    ) {
        assert!(!tcp.flags.is_impossible(), "CT-40: {} is of no flow", tcp.flags);
        let life = self.lives[flow].as_mut().expect("it has begun");
        let still = (before.state, before.left) == (after.state, after.left);
        if tcp.flags.contains(TcpFlags::RST) {
            life.reset |= life.is_plausible(direction, tcp);
            assert!(after.state == "close" || still, "CT-46: a reset led to {}", after.state);
            assert!(life.reset || still, "CT-46: a trace of a reset that nothing makes plausible");
        } else if tcp.flags.is_syn() && !matches!(before.state, "syn-sent" | "syn-sent2" | "syn-recv") {
            assert!(still, "CT-45: a trace of a SYN");
        } else {
            assert_eq!(after.idle, Duration::ZERO, "CT-39a");
        }
    }

    /// Time passes, to just before or just at the end of a time-out or anything else.
    fn wait(&mut self, span: u8, odd: u8) {
        let whole = Duration::from_secs(SPANS[usize::from(span) % SPANS.len()]);
        let span = match odd & 3 {
            0 => whole,
            1 => whole.saturating_sub(Duration::from_nanos(1)),
            2 => Duration::from_millis(u64::from(odd) * 100),
            _ => Duration::from_nanos(1),
        };
        let before = FLOWS.map(|port| self.find(port));
        self.now = self.now + span;
        for (before, after) in before.iter().zip(FLOWS.map(|port| self.find(port))) {
            let lives = before.filter(|entry| entry.left > span);
            assert_eq!(
                after.map(|entry| entry.left),
                lives.map(|entry| entry.left.saturating_sub(span)),
                "CT-39a"
            );
            assert_eq!(after.map(|entry| entry.state), lives.map(|entry| entry.state));
        }
        let budget = usize::from(odd >> 2 & 3);
        assert!(self.table.advance(self.now, budget) <= budget);
    }

    fn end(&self) {
        let totals = self.table.totals();
        let ends = totals.alive + totals.expired + totals.closed + totals.removed;
        assert_eq!(totals.created, ends, "law 3: {totals:?}");
        let entries = self.table.list(self.now);
        assert_eq!(self.table.tracked(OWNER.instance, self.now) as usize, entries.len(), "CT-70");
        let successor = ConnTable::new(4);
        let imported = successor.import(self.table.export(self.now), self.now);
        assert_eq!(imported.taken, entries.len(), "CT-40a: {imported:?}");
        assert_eq!(sorted(&successor.list(self.now)), sorted(&entries), "CT-40a");
    }

    fn entry(&self, flow: usize) -> Option<ConnView> {
        self.find(FLOWS[flow])
    }

    fn find(&self, port: u16) -> Option<ConnView> {
        let is_it = |entry: &ConnView| matches!(entry.ids, Ids::Ports { local, .. } if local == port);
        self.table.list(self.now).into_iter().find(is_it)
    }
}

impl Life {
    fn hear(&mut self, direction: Direction, tcp: &Tcp) {
        let flags = tcp.flags;
        let [ack, syn] = [TcpFlags::ACK, TcpFlags::SYN].map(|flag| flags.contains(flag));
        let opened = self.said.iter().all(|said| !said.syns.is_empty());
        let acknowledges = ack && !syn && !flags.contains(TcpFlags::RST) && !flags.contains(TcpFlags::FIN);
        let answered = self.said.iter().any(|said| said.syn_ack);
        self.shaken |= opened && answered && acknowledges && direction == self.opener;
        let said = &mut self.said[index(direction)];
        if syn {
            said.syns.push(tcp.sequence);
            said.scale = said.scale.max(tcp.window_scale.unwrap_or_default().min(14));
        }
        said.syn_ack |= flags.is_syn_ack();
        said.fin |= flags.contains(TcpFlags::FIN);
        if ack && !flags.contains(TcpFlags::RST) {
            said.acknowledged.push((tcp.acknowledgement, u32::from(tcp.window)));
        }
    }

    /// Whether anything that was ever said could make this reset plausible.
    fn is_plausible(&self, direction: Direction, tcp: &Tcp) -> bool {
        let (own, other) = (&self.said[index(direction)], &self.said[1 - index(direction)]);
        let in_window =
            |(value, window): &(u32, u32)| tcp.sequence.wrapping_sub(*value) <= window << other.scale;
        let answers =
            |syn: &u32| tcp.flags.contains(TcpFlags::ACK) && tcp.acknowledgement == syn.wrapping_add(1);
        let withdraws = |syn: &u32| tcp.sequence.wrapping_sub(*syn) <= 1;
        other.acknowledged.iter().any(in_window)
            || other.syns.iter().any(answers)
            || own.syns.iter().any(withdraws)
    }

    /// Whether what was said can have led to the state.
    fn explains(&self, entry: &ConnView) {
        let [one, other] = &self.said;
        let (some_fin, both_fins) = (one.fin || other.fin, one.fin && other.fin);
        let (both_syns, answered) =
            (!one.syns.is_empty() && !other.syns.is_empty(), one.syn_ack || other.syn_ack);
        let (cause, span) = match entry.state {
            "syn-sent" => (true, 120),
            "syn-sent2" => (both_syns, 120),
            "syn-recv" => (both_syns && answered, 60),
            "established" => (both_syns && answered && self.shaken, 350),
            "fin-wait" => (answered && some_fin, 120),
            "close-wait" => (answered && some_fin, 60),
            "last-ack" => (answered && both_fins, 30),
            "time-wait" => (answered && both_fins, 120),
            "close" => (self.reset, 10),
            other => panic!("no state of TCP: {other}"),
        };
        assert!(cause, "nothing that was sent leads to {}", entry.state);
        assert_eq!(entry.idle + entry.left, Duration::from_secs(span), "CT-30: {}", entry.state);
        assert_eq!(entry.origin, self.opener);
    }
}

fn index(direction: Direction) -> usize {
    match direction {
        Direction::Egress => 0,
        Direction::Ingress => 1,
    }
}

fn unchanging(entry: Option<ConnView>) -> Option<(&'static str, Duration, Direction)> {
    entry.map(|entry| (entry.state, entry.left, entry.origin))
}

fn sorted(entries: &[ConnView]) -> Vec<String> {
    let mut texts: Vec<_> = entries.iter().map(|entry| format!("{entry:?}")).collect();
    texts.sort();
    texts
}

/// A segment of the guest, or the one that its peer would send with the same numbers.
fn packet(direction: Direction, tcp: Tcp) -> IpPacket {
    let (guest, peer) = ([10, 0, 1, 10].into(), [10, 0, 2, 20].into());
    let outward = direction == Direction::Egress;
    let (source, destination) = if outward { (guest, peer) } else { (peer, guest) };
    let ports = if outward { (tcp.source, tcp.destination) } else { (tcp.destination, tcp.source) };
    IpPacket {
        source,
        destination,
        protocol: 6,
        hop_limit: 64,
        dont_fragment: true,
        ip_len: 40,
        network_offset: 14,
        transport_offset: 34,
        fragment: None,
        transport: Transport::Tcp(Tcp { source: ports.0, destination: ports.1, ..tcp }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::driver;

    #[test]
    fn the_corpus_reaches_every_state() {
        let mut states = BTreeSet::new();
        for input in driver::corpus("tcp").expect("the corpus is part of the source tree") {
            let mut play = Play::new();
            for event in input.as_chunks::<EVENT>().0 {
                play.event(*event);
                states.extend(FLOWS.iter().filter_map(|port| play.find(*port)).map(|entry| entry.state));
            }
            play.end();
        }
        let all = ["syn-sent", "syn-sent2", "syn-recv", "established", "fin-wait", "close-wait", "last-ack"];
        assert_eq!(states, all.into_iter().chain(["time-wait", "close"]).collect());
    }
}
