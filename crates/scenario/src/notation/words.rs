//! From text to a [`PacketSpec`].

use std::net::{IpAddr, SocketAddr};
use std::str::{FromStr, SplitWhitespace};

use super::link_words::hex;
use super::{
    BodySpec, Extension, FragmentSpec, IcmpSpec, IpSpec, LinkSpec, NotationError, PacketSpec, TcpSpec,
    TransportSpec, UdpSpec,
};

const PROTOCOLS: [&str; 5] = ["tcp", "udp", "icmp", "icmpv6", "proto"];
const OTHERS: [&str; 3] = ["arp", "ethertype", "raw"];
const PROTOCOL: &str = "a protocol: tcp, udp, icmp, icmpv6, proto N, arp, ethertype or raw";
const DEFAULT_WINDOW: u16 = 64_240;
/// Packets that quote each other: one more than anything sends. Text may come from anyone, and the stack is finite.
const DEEPEST: u8 = 4;

/// Reads one packet.
///
/// # Errors
///
/// The first word that cannot be understood, and what should stand there.
pub fn parse(text: &str) -> Result<PacketSpec, NotationError> {
    parse_quoted(text, 0)
}

/// Reads a packet that stands in so many others.
fn parse_quoted(text: &str, depth: u8) -> Result<PacketSpec, NotationError> {
    let mut words = Words { rest: text.split_whitespace().peekable(), depth };
    let first = words.next(PROTOCOL)?;
    let (port, protocol) = if PROTOCOLS.contains(&first) || OTHERS.contains(&first) {
        (None, first)
    } else {
        (Some(first.to_owned()), words.next(PROTOCOL)?)
    };
    let mut link = LinkSpec::default();
    let body = if OTHERS.contains(&protocol) {
        BodySpec::read(protocol, &mut words, &mut link)?
    } else {
        BodySpec::Ip(IpSpec::read(protocol, &mut words, &mut link)?)
    };
    Ok(PacketSpec { port, link, body })
}

pub(crate) struct Words<'a> {
    rest: std::iter::Peekable<SplitWhitespace<'a>>,
    /// How many packets quote this one.
    depth: u8,
}

impl<'a> Words<'a> {
    pub(crate) fn next(&mut self, expected: &'static str) -> Result<&'a str, NotationError> {
        self.rest.next().ok_or(NotationError::Ends(expected))
    }

    pub(crate) fn value<T: FromStr>(&mut self, expected: &'static str) -> Result<T, NotationError> {
        let word = self.next(expected)?;
        word.parse().map_err(|_| unexpected(word, expected))
    }

    /// The next word, which must be `wanted`; both say the same.
    pub(crate) fn exactly(&mut self, wanted: &str, expected: &'static str) -> Result<(), NotationError> {
        let word = self.next(expected)?;
        if word == wanted { Ok(()) } else { Err(unexpected(word, expected)) }
    }

    /// Takes the next word if it is `wanted`.
    pub(crate) fn take(&mut self, wanted: &str) -> bool {
        self.rest.next_if_eq(&wanted).is_some()
    }

    /// Whether the next word is a number, which tells `ack 7001` from the flag `ack`.
    pub(crate) fn number_follows(&mut self) -> bool {
        self.rest.peek().is_some_and(|word| word.parse::<u32>().is_ok())
    }

    /// What stands between `[` and the `]` that belongs to it.
    pub(crate) fn bracketed(&mut self) -> Result<String, NotationError> {
        const EXPECTED: &str = "a packet in brackets, such as [udp 10.0.1.10:1 > 10.0.2.10:2]";
        let mut text = String::new();
        let mut depth = 0_i32;
        loop {
            let word = self.next(EXPECTED)?;
            let count = |sign| word.matches(sign).map(|_| 1).sum::<i32>();
            depth += count('[') - count(']');
            text.push_str(word);
            if depth <= 0 {
                break;
            }
            text.push(' ');
        }
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        inner.map(ToOwned::to_owned).ok_or_else(|| unexpected(&text, EXPECTED))
    }
}

pub(crate) fn unexpected(word: &str, expected: &'static str) -> NotationError {
    NotationError::Word { word: word.to_owned(), expected }
}

fn head(protocol: &str, words: &mut Words<'_>) -> Result<(IpAddr, IpAddr, TransportSpec), NotationError> {
    if matches!(protocol, "tcp" | "udp") {
        let from: SocketAddr = words.value("an address and a port, such as 10.0.1.10:40000")?;
        words.exactly(">", "`>`")?;
        let to: SocketAddr = words.value("an address and a port, such as 10.0.2.10:443")?;
        let (source, destination) = (from.port(), to.port());
        let transport = match protocol {
            "tcp" => TransportSpec::Tcp(TcpSpec {
                source,
                destination,
                window: DEFAULT_WINDOW,
                ..TcpSpec::default()
            }),
            _ => TransportSpec::Udp(UdpSpec { source, destination, ..UdpSpec::default() }),
        };
        return Ok((from.ip(), to.ip(), transport));
    }
    let icmp =
        |icmp_type| TransportSpec::Icmp(IcmpSpec { icmp_type, id: 1, sequence: 1, ..IcmpSpec::default() });
    let transport = match protocol {
        "icmp" => icmp(8),
        "icmpv6" => icmp(128),
        "proto" => TransportSpec::Other(words.value("a protocol number from 0 to 255")?),
        word => return Err(unexpected(word, PROTOCOL)),
    };
    let source = words.value("an address, such as 10.0.1.10")?;
    words.exactly(">", "`>`")?;
    Ok((source, words.value("an address, such as 10.0.2.10")?, transport))
}

impl IpSpec {
    fn read(protocol: &str, words: &mut Words<'_>, link: &mut LinkSpec) -> Result<Self, NotationError> {
        let (source, destination, transport) = head(protocol, words)?;
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(NotationError::Families);
        }
        let mut spec = Self {
            source,
            destination,
            transport,
            len: 0,
            data: None,
            ttl: 64,
            tos: 0,
            options: Vec::new(),
            dont_fragment: false,
            extensions: Vec::new(),
            fragment: None,
            cut: None,
            ip_len: None,
            bad_checksum: false,
        };
        while let Ok(word) = words.next("") {
            if !link.word(word, words)? {
                spec.word(word, words)?;
            }
        }
        spec.transport.settle();
        Ok(spec)
    }

    fn word(&mut self, word: &str, words: &mut Words<'_>) -> Result<(), NotationError> {
        match word {
            "len" => self.len = words.value("a length in bytes")?,
            "data" => {
                let data = hex(words.next("bytes in hex digits")?)?;
                self.len =
                    u16::try_from(data.len()).map_err(|_| unexpected("data", "bytes of one packet"))?;
                self.data = Some(data);
            }
            "ttl" => self.ttl = words.value("a number from 0 to 255")?,
            "tos" => self.tos = words.value("a number from 0 to 255")?,
            "ip-options" if self.source.is_ipv4() => {
                self.options = hex(words.next("bytes in hex digits")?)?;
            }
            "df" => self.dont_fragment = true,
            "frag" => self.fragment = Some(fragment(words)?),
            "cut" => self.cut = Some(words.value("a length in bytes")?),
            "ip-len" => self.ip_len = Some(words.value("a length in bytes")?),
            "bad-checksum" => self.bad_checksum = true,
            "ext" => self.extensions = extensions(words.next("IPv6 headers, such as hop,dst")?)?,
            _ => {
                let neighbour_discovery = self.transport.word(word, words, self.source.is_ipv6())?;
                if neighbour_discovery {
                    self.ttl = 255;
                }
            }
        }
        Ok(())
    }
}

/// The packet in brackets behind `quote`.
pub(crate) fn quoted(words: &mut Words<'_>) -> Result<Box<IpSpec>, NotationError> {
    if words.depth == DEEPEST {
        return Err(unexpected("quote", "in a packet that four others quote"));
    }
    match parse_quoted(&words.bracketed()?, words.depth + 1)?.body {
        BodySpec::Ip(ip) => Ok(Box::new(ip)),
        _ => Err(unexpected("quote", "about an IP packet")),
    }
}

fn fragment(words: &mut Words<'_>) -> Result<FragmentSpec, NotationError> {
    const FORM: &str = "a fragment, such as `frag id 7 offset 1480 more`";
    words.exactly("id", FORM)?;
    let id = words.value(FORM)?;
    words.exactly("offset", FORM)?;
    let offset: u16 = words.value(FORM)?;
    if !offset.is_multiple_of(8) {
        return Err(unexpected(&offset.to_string(), "a multiple of 8"));
    }
    Ok(FragmentSpec { id, offset, more: words.take("more") })
}

fn extensions(word: &str) -> Result<Vec<Extension>, NotationError> {
    let names = word.split(',').map(|name| match name {
        "hop" => Ok(Extension::Hop),
        "dst" => Ok(Extension::Destination),
        "routing" => Ok(Extension::Routing),
        "frag" => Ok(Extension::Fragment),
        _ => Err(unexpected(name, "one of: hop, dst, routing, frag")),
    });
    names.collect()
}

#[cfg(test)]
mod tests;
