//! The frame that nearly every frame is: IPv4 without options, whole, with TCP (no SYN) or UDP in it. Read straight through.
//!
//! Says what the general reader says of the same frame, sooner; a property test compares the two. Whatever is not sound, or
//! not so common, is left to that one.

use std::net::{IpAddr, Ipv4Addr};

use crate::summary::{Body, IpPacket, PacketSummary, Tcp, TcpFlags, Transport, protocol};
use crate::{ETHERNET_LEN, MacAddr, NETWORK_OFFSET};

const IP: usize = ETHERNET_LEN;
const IP_LEN: usize = 20;
const UPPER: usize = IP + IP_LEN;
const TCP_LEN: usize = 20;
const UDP_LEN: usize = 8;

/// Ethertype IPv4, version 4, header length 20; any type of service.
const IPV4_WITHOUT_OPTIONS: u32 = 0x0800_4500;
const TYPE_OF_SERVICE: u32 = 0xff;
const DONT_FRAGMENT: u16 = 0x4000;
const FRAGMENT: u16 = 0x3fff;

/// `None`: the general reader is to be asked.
#[inline]
pub(crate) fn read(frame: &[u8]) -> Option<PacketSummary> {
    let headers = frame.first_chunk::<{ UPPER + UDP_LEN }>()?;
    let kind = u32::from_be_bytes(bytes(headers, 12));
    let fragmentation = word(headers, IP + 6);
    let ip_len = word(headers, IP + 2);
    let beyond = usize::from(ip_len) > frame.len() - IP;
    if kind & !TYPE_OF_SERVICE != IPV4_WITHOUT_OPTIONS || fragmentation & FRAGMENT != 0 || beyond {
        return None;
    }
    let upper_len = usize::from(ip_len).checked_sub(IP_LEN)?;
    let protocol = headers[IP + 9];
    let transport = match protocol {
        protocol::TCP => tcp(frame.first_chunk()?, upper_len)?,
        protocol::UDP => udp(headers, upper_len)?,
        _ => return None,
    };
    let address = |at| IpAddr::V4(Ipv4Addr::from_octets(bytes(headers, at)));
    Some(PacketSummary {
        source_mac: MacAddr(bytes(headers, 6)),
        destination_mac: MacAddr(bytes(headers, 0)),
        body: Body::Ip(IpPacket {
            source: address(IP + 12),
            destination: address(IP + 16),
            protocol,
            hop_limit: headers[IP + 8],
            dont_fragment: fragmentation & DONT_FRAGMENT != 0,
            ip_len: ip_len.into(),
            network_offset: NETWORK_OFFSET,
            transport_offset: NETWORK_OFFSET + 20,
            fragment: None,
            transport,
        }),
    })
}

/// A segment without SYN, which is the only one whose options are read.
fn tcp(headers: &[u8; UPPER + TCP_LEN], upper_len: usize) -> Option<Transport> {
    let header_len = headers[UPPER + 12] >> 4 << 2;
    let flags = TcpFlags(headers[UPPER + 13]);
    let is_whole = usize::from(header_len) >= TCP_LEN && usize::from(header_len) <= upper_len;
    (is_whole && !flags.contains(TcpFlags::SYN)).then(|| {
        Transport::Tcp(Tcp {
            source: word(headers, UPPER),
            destination: word(headers, UPPER + 2),
            flags,
            sequence: u32::from_be_bytes(bytes(headers, UPPER + 4)),
            acknowledgement: u32::from_be_bytes(bytes(headers, UPPER + 8)),
            window: word(headers, UPPER + 14),
            window_scale: None,
            header_len,
        })
    })
}

fn udp(headers: &[u8; UPPER + UDP_LEN], upper_len: usize) -> Option<Transport> {
    let len = usize::from(word(headers, UPPER + 4));
    let is_whole = len >= UDP_LEN && len <= upper_len;
    is_whole.then(|| Transport::Udp { source: word(headers, UPPER), destination: word(headers, UPPER + 2) })
}

fn word<const N: usize>(headers: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes(bytes(headers, at))
}

/// Copied as one piece, not byte by byte. `at` is a constant, and so is the check of it.
#[inline]
fn bytes<const N: usize, const LEN: usize>(headers: &[u8; N], at: usize) -> [u8; LEN] {
    let mut out = [0; LEN];
    out.copy_from_slice(&headers[at..at + LEN]);
    out
}
