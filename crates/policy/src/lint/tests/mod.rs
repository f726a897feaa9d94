//! The analyses against the reference evaluator, over every cell of small random worlds; the findings against the
//! documentation.

mod order;
mod path;
mod union;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use crate::filter::{FilterKey, Match};
use crate::model::{Cidr, Protocol};

/// Blocks that nest, touch, halve and repeat.
fn block() -> impl Strategy<Value = Cidr> {
    let blocks = [
        "0.0.0.0/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "10.0.0.0/8",
        "10.0.0.0/9",
        "10.128.0.0/9",
        "10.0.1.0/24",
        "10.0.1.10/32",
        "10.0.2.0/24",
        "::/0",
        "::/1",
        "8000::/1",
        "2001:db8:1:1::/64",
    ];
    prop::sample::select(blocks.map(|text| text.parse().unwrap()).to_vec())
}

fn protocol() -> impl Strategy<Value = Protocol> {
    let ports = || {
        prop::sample::select(vec![(0, 65535), (0, 32767), (32768, 65535), (80, 80), (80, 443), (1, 65535)])
    };
    prop_oneof![
        3 => Just(Protocol::All),
        6 => ports().prop_map(|(from, to)| Protocol::Tcp { from, to }),
        2 => ports().prop_map(|(from, to)| Protocol::Udp { from, to }),
        1 => Just(Protocol::Icmp { icmp_type: None, code: None }),
        1 => prop::option::of(Just(0)).prop_map(|code| Protocol::Icmp { icmp_type: Some(8), code }),
        1 => Just(Protocol::Icmpv6 { icmp_type: None, code: None }),
        1 => prop::sample::select(vec![47u8, 50]).prop_map(Protocol::Number),
    ]
}

/// A packet of every cell that the blocks, addresses and protocols above can make: first and last address of each block
/// and its neighbours, first and last port of each range and its neighbours.
fn grid() -> Vec<FilterKey> {
    let v4 = [
        "0.0.0.0",
        "9.255.255.255",
        "10.0.0.0",
        "10.0.1.0",
        "10.0.1.9",
        "10.0.1.10",
        "10.0.1.11",
        "10.0.1.20",
        "10.0.2.0",
        "10.0.2.10",
        "10.0.3.0",
        "10.128.0.0",
        "11.0.0.0",
        "128.0.0.0",
    ];
    let v6 = ["::", "2001:db8:1:1::a", "2001:db8:1:1::14", "2001:db8:1:1::1", "2001:db8:2::", "8000::"];
    let addresses = v4.map(|text| IpAddr::V4(text.parse::<Ipv4Addr>().unwrap()));
    let addresses = addresses.into_iter().chain(v6.map(|text| IpAddr::V6(text.parse::<Ipv6Addr>().unwrap())));
    addresses
        .flat_map(|address| {
            services(address).map(move |(protocol, selector)| FilterKey { address, protocol, selector })
        })
        .collect()
}

fn services(address: IpAddr) -> impl Iterator<Item = (u8, Match)> {
    let ports = [0u16, 1, 79, 80, 81, 443, 444, 32767, 32768, 65535];
    let ported =
        [6, 17].into_iter().flat_map(move |protocol| ports.map(|port| (protocol, Match::Port(port))));
    let icmp = if address.is_ipv4() { 1 } else { 58 };
    let types =
        [(8, 0), (8, 1), (0, 0)].map(move |(icmp_type, code)| (icmp, Match::Icmp { icmp_type, code }));
    ported.chain(types).chain([6, 17, 47, 50, 51].map(|protocol| (protocol, Match::Whole)))
}

/// Every subset of a few things; of many, those without one, with one alone, none and all.
fn subsets<T: Copy>(of: &[T]) -> Vec<Vec<T>> {
    if of.len() > 6 {
        let single = of.iter().map(|&one| vec![one]);
        let but_one = (0..of.len())
            .map(|out| of.iter().enumerate().filter(|(at, _)| *at != out).map(|(_, &one)| one).collect());
        return single.chain(but_one).chain([Vec::new(), of.to_vec()]).collect();
    }
    let masks = 0u32..1 << of.len();
    masks
        .map(|mask| {
            of.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, &one)| one).collect()
        })
        .collect()
}
