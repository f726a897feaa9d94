//! A table, a clock that tests move, and packets in shorthand.

use std::net::IpAddr;
use std::time::Duration;

use palisade_conntrack::{ConnTable, ConnView, Consult, Instant, Owner, Refused, TimeOuts, Zone};
pub(crate) use palisade_packet::Direction::{self, Egress, Ingress};
use palisade_packet::{FlowTuple, Icmp, IpPacket, Quoted, Selector, Tcp, TcpFlags, Transport};

pub(crate) const ZONE: Zone = Zone(1);
pub(crate) const NANO: Duration = Duration::from_nanos(1);

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One nanosecond less.
pub(crate) const fn almost(seconds: u64) -> Duration {
    Duration::from_nanos(seconds * 1_000_000_000 - 1)
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What became of a packet whose rules and filters all allow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Tracked,
    Related,
    Opened,
    Refused(Refused),
    Stateless,
}

pub(crate) struct World {
    pub(crate) table: ConnTable,
    pub(crate) now: Instant,
    pub(crate) owner: Owner,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_capacity(1_000)
    }

    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let owner = Owner { zone: ZONE, instance: 9, max_tracked: 1_000, time_outs: TimeOuts::default() };
        Self { table: ConnTable::new(capacity), now: Instant::from_secs(1_000_000), owner }
    }

    pub(crate) fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    /// Lets the ENI send a packet that every filter passes.
    pub(crate) fn tx(&self, packet: P) -> Fate {
        self.pass(Egress, packet)
    }

    /// Lets a packet that every filter passes reach the ENI.
    pub(crate) fn rx(&self, packet: P) -> Fate {
        self.pass(Ingress, packet)
    }

    pub(crate) fn pass(&self, direction: Direction, packet: P) -> Fate {
        let packet = packet.going(direction);
        let (plan, fate) = match self.table.consult(self.owner.zone, direction, &packet, self.now) {
            Consult::Tracked(plan) => (plan, Fate::Tracked),
            Consult::New(plan) => (plan, Fate::Opened),
            Consult::Related(_) => return Fate::Related,
            Consult::Stateless => return Fate::Stateless,
        };
        self.table.commit(plan, &self.owner, &packet, self.now).map_or_else(Fate::Refused, |()| fate)
    }

    /// Shows a packet to the table that a filter then drops.
    pub(crate) fn drop_after_consult(&self, direction: Direction, packet: P) -> Fate {
        match self.table.consult(self.owner.zone, direction, &packet.going(direction), self.now) {
            Consult::Tracked(_) => Fate::Tracked,
            Consult::New(_) => Fate::Opened,
            Consult::Related(_) => Fate::Related,
            Consult::Stateless => Fate::Stateless,
        }
    }

    /// The only live entry.
    pub(crate) fn entry(&self) -> ConnView {
        let entries = self.table.list(self.now);
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries[0]
    }

    /// Name of the state of the only live entry; `gone` if there is none.
    pub(crate) fn state(&self) -> &'static str {
        if self.table.list(self.now).is_empty() { "gone" } else { self.entry().state }
    }

    /// Conservation law 3.
    pub(crate) fn assert_conserved(&self) {
        let totals = self.table.totals();
        assert_eq!(totals.created, totals.alive + totals.expired + totals.closed + totals.removed);
    }
}

/// A packet between a local and a remote end; [`P::going`] turns it the right way round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct P {
    pub(crate) local: IpAddr,
    pub(crate) remote: IpAddr,
    pub(crate) ports: (u16, u16),
    pub(crate) body: Body,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    Tcp { flags: TcpFlags, sequence: u32, acknowledgement: u32, window: u16, scale: Option<u8> },
    Udp,
    Icmp { v6: bool, icmp_type: u8, code: u8, identifier: u16, quoted: Option<Quoted> },
    Other(u8),
}

impl P {
    fn new(body: Body) -> Self {
        Self { local: ip("10.0.1.10"), remote: ip("10.0.2.20"), ports: (40_000, 443), body }
    }

    pub(crate) fn seq(mut self, value: u32) -> Self {
        if let Body::Tcp { sequence, .. } = &mut self.body {
            *sequence = value;
        }
        self
    }

    pub(crate) fn ack(mut self, value: u32) -> Self {
        if let Body::Tcp { acknowledgement, .. } = &mut self.body {
            *acknowledgement = value;
        }
        self
    }

    pub(crate) fn win(mut self, value: u16) -> Self {
        if let Body::Tcp { window, .. } = &mut self.body {
            *window = value;
        }
        self
    }

    pub(crate) fn scale(mut self, value: u8) -> Self {
        if let Body::Tcp { scale, .. } = &mut self.body {
            *scale = Some(value);
        }
        self
    }

    pub(crate) fn ports(mut self, local: u16, remote: u16) -> Self {
        self.ports = (local, remote);
        self
    }

    pub(crate) fn local(mut self, address: &str) -> Self {
        self.local = ip(address);
        self
    }

    pub(crate) fn remote(mut self, address: &str) -> Self {
        self.remote = ip(address);
        self
    }

    pub(crate) fn protocol(self) -> u8 {
        match self.body {
            Body::Tcp { .. } => 6,
            Body::Udp => 17,
            Body::Icmp { v6: false, .. } => 1,
            Body::Icmp { v6: true, .. } => 58,
            Body::Other(number) => number,
        }
    }

    pub(crate) fn going(self, direction: Direction) -> IpPacket {
        let outward = direction == Egress;
        let swap = |(a, b)| if outward { (a, b) } else { (b, a) };
        let ((source, destination), ports) =
            (if outward { (self.local, self.remote) } else { (self.remote, self.local) }, swap(self.ports));
        IpPacket {
            source,
            destination,
            protocol: self.protocol(),
            hop_limit: 64,
            dont_fragment: true,
            ip_len: 100,
            network_offset: 14,
            transport_offset: 34,
            fragment: None,
            transport: self.transport(ports),
        }
    }

    /// As an ICMP error quotes it, when it had gone in `direction`.
    pub(crate) fn quoted(self, direction: Direction) -> Quoted {
        let packet = self.going(direction);
        let is_icmp_error = matches!(packet.transport, Transport::Icmp(icmp) if icmp.is_error());
        let tuple = packet.tuple().unwrap();
        Quoted { tuple, is_icmp_error }
    }

    fn transport(self, (source, destination): (u16, u16)) -> Transport {
        match self.body {
            Body::Tcp { flags, sequence, acknowledgement, window, scale } => Transport::Tcp(Tcp {
                source,
                destination,
                flags,
                sequence,
                acknowledgement,
                window,
                window_scale: scale.filter(|_| flags.contains(TcpFlags::SYN)),
                header_len: 20,
            }),
            Body::Udp => Transport::Udp { source, destination },
            Body::Icmp { v6, icmp_type, code, identifier, quoted } => {
                Transport::Icmp(Icmp { v6, icmp_type, code, identifier, quoted })
            }
            Body::Other(_) => Transport::Other,
        }
    }
}

/// A segment with these flags, in letters as tcpdump prints them.
pub(crate) fn tcp(letters: &str) -> P {
    let bit = |letter| match letter {
        'F' => 1,
        'S' => 2,
        'R' => 4,
        'P' => 8,
        'A' => 16,
        'U' => 32,
        other => panic!("no flag {other}"),
    };
    let flags = TcpFlags(letters.chars().map(bit).fold(0, |all, one| all | one));
    P::new(Body::Tcp { flags, sequence: 0, acknowledgement: 0, window: 1_000, scale: None })
}

pub(crate) fn udp() -> P {
    P::new(Body::Udp)
}

pub(crate) fn icmp(icmp_type: u8, identifier: u16) -> P {
    P::new(Body::Icmp { v6: false, icmp_type, code: 0, identifier, quoted: None })
}

pub(crate) fn icmp6(icmp_type: u8, identifier: u16) -> P {
    let packet = P::new(Body::Icmp { v6: true, icmp_type, code: 0, identifier, quoted: None });
    packet.local("2001:db8:1::a").remote("2001:db8:2::b")
}

/// An `ICMPv4` error that quotes a packet.
pub(crate) fn error(icmp_type: u8, quoted: Quoted) -> P {
    P::new(Body::Icmp { v6: false, icmp_type, code: 1, identifier: 0, quoted: Some(quoted) })
}

pub(crate) fn other(protocol: u8) -> P {
    P::new(Body::Other(protocol))
}

/// A tuple that no packet of these tests has.
pub(crate) fn foreign_tuple() -> FlowTuple {
    FlowTuple {
        source: ip("10.0.1.10"),
        destination: ip("10.0.2.99"),
        protocol: 17,
        selector: Selector::Ports { source: 1, destination: 2 },
    }
}
