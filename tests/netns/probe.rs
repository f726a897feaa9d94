//! A guest that sends crafted frames, with everybody else watching.

use std::net::{IpAddr, Ipv4Addr};

use palisade_tests::frame::{self, Arp, Ends};
use palisade_tests::wire::{Injector, Mark, SOON, Sniffer};
use palisade_tests::{Bed, Guest};

/// UDP port of the datagrams of probes.
pub(crate) const PORT: u16 = 7000;

/// Where the honest datagram goes that proves a refused one to have been looked at before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Control {
    /// To a guest; the policy must allow it.
    Guest(&'static str),
    /// To the DNS address: exempt, so it passes whatever the policy says.
    Service,
}

/// The sender and its watchers.
pub(crate) struct Probe<'a> {
    /// Who sends.
    pub(crate) from: &'a Guest,
    /// MAC address of the router of the sender's subnet.
    pub(crate) router: [u8; 6],
    bed: &'a Bed,
    injector: Injector,
    watchers: Vec<(&'a str, Sniffer)>,
    control: Control,
}

impl<'a> Probe<'a> {
    /// Sniffers at all guests but the sender, and at the service.
    pub(crate) fn new(bed: &'a Bed, from: &str, control: Control) -> Self {
        let from = bed.guest(from);
        let others = bed.guests().iter().filter(|guest| guest.plan.name != from.plan.name);
        let mut watchers: Vec<_> = others.map(|guest| (guest.plan.name, Sniffer::on(&guest.netns))).collect();
        watchers.extend(bed.service.iter().map(|netns| ("dns", Sniffer::on(netns))));
        Self { from, router: router_mac(from), bed, injector: Injector::on(&from.netns), watchers, control }
    }

    /// The honest ends of a datagram from the sender to a guest, by way of the router.
    pub(crate) fn ends(&self, to: &str, ipv6: bool) -> Ends {
        let to = self.bed.guest(to);
        Ends {
            mac: (self.from.plan.mac(), self.router),
            ip: (self.from.address(ipv6), to.address(ipv6)),
            port: (40_000, PORT),
        }
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.injector.send(frame);
    }

    /// Sends a datagram and asserts that one watcher sees it.
    pub(crate) fn passes(&mut self, what: &str, to: &str, ends: &Ends) {
        let mark = Mark::new();
        self.send(&frame::udp(ends, mark.bytes()));
        assert!(self.watcher(to).sees(&mark), "{what}: {ends:?} should have reached {to}");
    }

    /// Sends a frame that carries the mark it is given and asserts that nobody sees it; gives the mark.
    pub(crate) fn reaches_nobody(&mut self, what: &str, make: impl FnOnce(&[u8]) -> Vec<u8>) -> Mark {
        let mark = Mark::new();
        self.send(&make(mark.bytes()));
        self.send_control(what);
        for (name, sniffer) in &self.watchers {
            let seen = sniffer.marked(&mark);
            assert!(seen.is_empty(), "{what}: reached {name} as {:02x?}", seen[0]);
        }
        mark
    }

    /// Like [`Probe::reaches_nobody`], and the drop is counted under its reason.
    pub(crate) fn refused(&mut self, what: &str, reason: &str, make: impl FnOnce(&[u8]) -> Vec<u8>) {
        let before = self.bed.daemon().drops(reason);
        self.reaches_nobody(what, make);
        let after = self.bed.daemon().drops(reason);
        assert!(after > before, "{what}: not counted as {reason}; drops: {}", self.bed.daemon().all_drops());
    }

    /// What a watcher saw.
    pub(crate) fn watcher(&self, name: &str) -> &Sniffer {
        &self.watchers.iter().find(|(watcher, _)| *watcher == name).expect("a watcher").1
    }

    /// Frames of one port are judged in the order in which they came: once the honest one is there, whatever was sent
    /// before it has either arrived or never will.
    fn send_control(&mut self, what: &str) {
        let mark = Mark::new();
        let (name, mut ends) = match self.control {
            Control::Guest(name) => (name, self.ends(name, false)),
            Control::Service => ("dns", self.ends("b", false)),
        };
        if self.control == Control::Service {
            ends.ip.1 = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
        }
        self.send(&frame::udp(&ends, mark.bytes()));
        assert!(self.watcher(name).sees(&mark), "{what}: the honest datagram after it did not reach {name}");
    }
}

/// Asks by ARP for the router of a guest's subnet.
pub(crate) fn router_mac(guest: &Guest) -> [u8; 6] {
    let router = Ipv4Addr::new(10, 0, guest.plan.subnet_number(), 1);
    ask_arp(guest, &Arp::ask(guest.plan.mac(), guest.plan.ipv4(), router), SOON)
        .expect("the router answers ARP")
}

/// Sends an ARP packet from a guest and gives the MAC address of the answer.
pub(crate) fn ask_arp(guest: &Guest, arp: &Arp, within: std::time::Duration) -> Option<[u8; 6]> {
    let sniffer = Sniffer::on(&guest.netns);
    Injector::on(&guest.netns).send(&arp.frame());
    sniffer.find(within, |frame| {
        let (address, mac) = frame::arp_reply(frame)?;
        (address == arp.target && frame[6..12] != guest.plan.mac()).then_some(mac)
    })
}
