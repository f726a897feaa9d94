//! From text to a [`PacketSpec`].

use std::net::{IpAddr, SocketAddr};
use std::str::{FromStr, SplitWhitespace};

use palisade_packet::{MacAddr, TcpFlags};

use super::{LinkTarget, NotationError, PacketSpec, TcpSpec, TransportSpec};

const PROTOCOLS: [&str; 5] = ["tcp", "udp", "icmp", "icmpv6", "proto"];
const ANY_WORDS: &str = "one of: len, ttl, df, from-mac, to-mac";
const ICMP_WORDS: &str = "one of: echo-request, echo-reply, type, code, id, len, ttl, df, from-mac, to-mac";
const DEFAULT_WINDOW: u16 = 64_240;

/// Reads one packet.
///
/// # Errors
///
/// The first word that cannot be understood, and what should stand there.
pub fn parse(text: &str) -> Result<PacketSpec, NotationError> {
    let mut words = Words { rest: text.split_whitespace().peekable() };
    let first = words.next("a protocol: tcp, udp, icmp, icmpv6 or proto N")?;
    let (port, protocol) = if PROTOCOLS.contains(&first) {
        (None, first)
    } else {
        (Some(first.to_owned()), words.next("a protocol: tcp, udp, icmp, icmpv6 or proto N")?)
    };
    let (source, destination, transport) = head(protocol, &mut words)?;
    if source.is_ipv4() != destination.is_ipv4() {
        return Err(NotationError::Families);
    }
    let mut spec = PacketSpec {
        port,
        source,
        destination,
        transport,
        len: 0,
        ttl: 64,
        dont_fragment: false,
        from_mac: None,
        to_mac: None,
    };
    while let Ok(word) = words.next("") {
        spec.word(word, &mut words)?;
    }
    spec.default_flags();
    Ok(spec)
}

struct Words<'a> {
    rest: std::iter::Peekable<SplitWhitespace<'a>>,
}

impl<'a> Words<'a> {
    fn next(&mut self, expected: &'static str) -> Result<&'a str, NotationError> {
        self.rest.next().ok_or(NotationError::Ends(expected))
    }

    fn value<T: FromStr>(&mut self, expected: &'static str) -> Result<T, NotationError> {
        let word = self.next(expected)?;
        word.parse().map_err(|_| unexpected(word, expected))
    }

    fn arrow(&mut self) -> Result<(), NotationError> {
        match self.next("`>`")? {
            ">" => Ok(()),
            word => Err(unexpected(word, "`>`")),
        }
    }

    /// Whether the next word is a number, which tells `ack 7001` from the flag `ack`.
    fn number_follows(&mut self) -> bool {
        self.rest.peek().is_some_and(|word| word.parse::<u32>().is_ok())
    }
}

fn unexpected(word: &str, expected: &'static str) -> NotationError {
    NotationError::Word { word: word.to_owned(), expected }
}

fn head(protocol: &str, words: &mut Words<'_>) -> Result<(IpAddr, IpAddr, TransportSpec), NotationError> {
    if matches!(protocol, "tcp" | "udp") {
        let from: SocketAddr = words.value("an address and a port, such as 10.0.1.10:40000")?;
        words.arrow()?;
        let to: SocketAddr = words.value("an address and a port, such as 10.0.2.10:443")?;
        let (source, destination) = (from.port(), to.port());
        let transport = match protocol {
            "tcp" => TransportSpec::Tcp(TcpSpec {
                source,
                destination,
                window: DEFAULT_WINDOW,
                ..TcpSpec::default()
            }),
            _ => TransportSpec::Udp { source, destination },
        };
        return Ok((from.ip(), to.ip(), transport));
    }
    let transport = match protocol {
        "icmp" => TransportSpec::Icmp { icmp_type: 8, code: 0, id: 1 },
        "icmpv6" => TransportSpec::Icmp { icmp_type: 128, code: 0, id: 1 },
        "proto" => TransportSpec::Other(words.value("a protocol number from 0 to 255")?),
        word => return Err(unexpected(word, "a protocol: tcp, udp, icmp, icmpv6 or proto N")),
    };
    let source = words.value("an address, such as 10.0.1.10")?;
    words.arrow()?;
    Ok((source, words.value("an address, such as 10.0.2.10")?, transport))
}

impl PacketSpec {
    fn word(&mut self, word: &str, words: &mut Words<'_>) -> Result<(), NotationError> {
        match word {
            "len" => self.len = words.value("a length in bytes")?,
            "ttl" => self.ttl = words.value("a number from 0 to 255")?,
            "df" => self.dont_fragment = true,
            "from-mac" => self.from_mac = Some(words.value("a MAC address")?),
            "to-mac" => self.to_mac = Some(link_target(words.next("a MAC address, `router` or an ENI")?)),
            _ => return self.transport.word(word, words),
        }
        Ok(())
    }

    /// A TCP packet without flags is taken for the start of a connection, which is what people ask about.
    fn default_flags(&mut self) {
        if let TransportSpec::Tcp(tcp) = &mut self.transport
            && tcp.flags == TcpFlags::default()
        {
            tcp.flags = TcpFlags::SYN;
        }
    }
}

fn link_target(word: &str) -> LinkTarget {
    match word.parse::<MacAddr>() {
        Ok(mac) => LinkTarget::Mac(mac),
        Err(_) if word == "router" => LinkTarget::Router,
        Err(_) => LinkTarget::Port(word.to_owned()),
    }
}

impl TransportSpec {
    fn word(&mut self, word: &str, words: &mut Words<'_>) -> Result<(), NotationError> {
        match self {
            Self::Tcp(tcp) => return tcp.word(word, words),
            Self::Icmp { icmp_type, code, id } => match word {
                "type" => *icmp_type = words.value("a type from 0 to 255")?,
                "code" => *code = words.value("a code from 0 to 255")?,
                "id" => *id = words.value("an identifier from 0 to 65535")?,
                "echo-request" => {}
                "echo-reply" => *icmp_type = if *icmp_type == 8 { 0 } else { 129 },
                _ => return Err(unexpected(word, ICMP_WORDS)),
            },
            Self::Udp { .. } | Self::Other(_) => return Err(unexpected(word, ANY_WORDS)),
        }
        Ok(())
    }
}

impl TcpSpec {
    fn word(&mut self, word: &str, words: &mut Words<'_>) -> Result<(), NotationError> {
        match word {
            "seq" => self.sequence = words.value("a sequence number")?,
            "ack" if words.number_follows() => {
                self.acknowledgement = words.value("an acknowledgement number")?;
            }
            "win" => self.window = words.value("a window from 0 to 65535")?,
            "wscale" => self.window_scale = Some(words.value("a shift from 0 to 14")?),
            "gso" => self.gso = Some(words.value("a segment size in bytes")?),
            _ => {
                let expected =
                    "a TCP flag or one of: seq, ack, win, wscale, gso, len, ttl, df, from-mac, to-mac";
                self.flags = self.flags.with(flags(word).ok_or_else(|| unexpected(word, expected))?);
            }
        }
        Ok(())
    }
}

/// `syn`, `syn+ack`, `syn-ack`, or tcpdump's letters.
fn flags(word: &str) -> Option<TcpFlags> {
    let names = word.split(['+', '-', ',']).map(flag_name);
    names
        .collect::<Option<Vec<_>>>()
        .or_else(|| word.chars().map(flag_letter).collect())
        .map(|flags: Vec<TcpFlags>| flags.into_iter().fold(TcpFlags::default(), TcpFlags::with))
}

fn flag_name(name: &str) -> Option<TcpFlags> {
    Some(match name.to_ascii_lowercase().as_str() {
        "syn" => TcpFlags::SYN,
        "ack" => TcpFlags::ACK,
        "fin" => TcpFlags::FIN,
        "rst" => TcpFlags::RST,
        "psh" => TcpFlags::PSH,
        "urg" => TcpFlags::URG,
        _ => return None,
    })
}

fn flag_letter(letter: char) -> Option<TcpFlags> {
    Some(match letter {
        'S' => TcpFlags::SYN,
        'A' | '.' => TcpFlags::ACK,
        'F' => TcpFlags::FIN,
        'R' => TcpFlags::RST,
        'P' => TcpFlags::PSH,
        'U' => TcpFlags::URG,
        'E' => TcpFlags::ECE,
        'W' => TcpFlags::CWR,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> TcpSpec {
        match parse(text).unwrap().transport {
            TransportSpec::Tcp(tcp) => tcp,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_line_of_the_manual() {
        let spec = parse("tcp 10.0.1.10:40000 > 10.0.2.10:443 syn").unwrap();
        assert_eq!(spec.port, None);
        assert_eq!((spec.source, spec.destination), ([10, 0, 1, 10].into(), [10, 0, 2, 10].into()));
        let expected = TcpSpec {
            source: 40_000,
            destination: 443,
            flags: TcpFlags::SYN,
            window: DEFAULT_WINDOW,
            ..TcpSpec::default()
        };
        assert_eq!(spec.transport, TransportSpec::Tcp(expected));
    }

    #[test]
    fn flags_by_name_and_by_letter() {
        let syn_ack = TcpFlags::SYN.with(TcpFlags::ACK);
        for text in ["SA", "syn+ack", "syn-ack", "syn ack", "S A"] {
            assert_eq!(tcp(&format!("tcp 1.1.1.1:1 > 2.2.2.2:2 {text}")).flags, syn_ack, "{text}");
        }
        assert_eq!(tcp("tcp 1.1.1.1:1 > 2.2.2.2:2").flags, TcpFlags::SYN, "what people ask about");
    }

    #[test]
    fn ack_before_a_number_is_the_number() {
        let segment = tcp("a1 tcp 1.1.1.1:1 > 2.2.2.2:2 PA seq 1001 ack 7001 len 100");
        assert_eq!((segment.sequence, segment.acknowledgement), (1001, 7001));
        assert_eq!(segment.flags, TcpFlags::PSH.with(TcpFlags::ACK));
    }

    #[test]
    fn ipv6_and_port_names() {
        let spec = parse("web-1 udp [2001:db8::1]:1 > [2001:db8::2]:53 ttl 3").unwrap();
        assert_eq!(spec.port.as_deref(), Some("web-1"));
        assert_eq!(spec.ttl, 3);
    }

    #[test]
    fn errors_say_what_should_stand_there() {
        for (text, error) in [
            ("", "expected a protocol: tcp, udp, icmp, icmpv6 or proto N, but the line ends here"),
            ("tcp 10.0.0.1 > 10.0.0.2:1", "`10.0.0.1` is not an address and a port, such as 10.0.1.10:40000"),
            ("tcp 10.0.0.1:1 10.0.0.2:1", "`10.0.0.2:1` is not `>`"),
            ("udp 10.0.0.1:1 > [::1]:2", "source and destination must both be IPv4 or both be IPv6"),
            ("udp 10.0.0.1:1 > 10.0.0.2:2 syn", "`syn` is not one of: len, ttl, df, from-mac, to-mac"),
            ("proto 300 10.0.0.1 > 10.0.0.2", "`300` is not a protocol number from 0 to 255"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), error);
        }
    }
}
