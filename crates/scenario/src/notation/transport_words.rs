//! The words of TCP, UDP and ICMP.

use palisade_packet::TcpFlags;

use super::link_words::hex;
use super::words::{Words, quoted, unexpected};
use super::{IcmpSpec, NotationError, TcpSpec, TransportSpec, UdpSpec};

const ANY_WORDS: &str = "one of: len, data, ttl, tos, df, ip-options, frag, cut, ip-len, ext, bad-checksum, from-mac, \
                         to-mac, vlan, vnet";

impl TransportSpec {
    /// Whether the word makes it neighbour discovery, which has a hop limit of its own.
    pub(crate) fn word(
        &mut self,
        word: &str,
        words: &mut Words<'_>,
        ipv6: bool,
    ) -> Result<bool, NotationError> {
        match self {
            Self::Tcp(tcp) => tcp.word(word, words)?,
            Self::Udp(udp) => udp.word(word, words)?,
            Self::Icmp(icmp) => return icmp.word(word, words, ipv6),
            Self::Other(_) => return Err(unexpected(word, ANY_WORDS)),
        }
        Ok(false)
    }

    /// A TCP packet without flags is taken for the start of a connection, which is what people ask about.
    pub(crate) fn settle(&mut self) {
        if let Self::Tcp(tcp) = self
            && tcp.flags == TcpFlags::default()
            && !tcp.no_flags
        {
            tcp.flags = TcpFlags::SYN;
        }
    }
}

impl UdpSpec {
    fn word(&mut self, word: &str, words: &mut Words<'_>) -> Result<(), NotationError> {
        match word {
            "gso" => self.gso = Some(words.value("a segment size in bytes")?),
            "length" => self.length = Some(words.value("a length in bytes")?),
            _ => return Err(unexpected(word, ANY_WORDS)),
        }
        Ok(())
    }
}

impl IcmpSpec {
    fn word(&mut self, word: &str, words: &mut Words<'_>, ipv6: bool) -> Result<bool, NotationError> {
        if let Some((v4, v6)) = named_type(word) {
            self.icmp_type = if ipv6 { v6 } else { v4 };
            self.code = if word == "too-big" && !ipv6 { 4 } else { self.code };
            return Ok(matches!(word, "solicit" | "advertise" | "router-solicit"))
                .and_then(|discovery| self.target(word, words).map(|()| discovery));
        }
        match word {
            "type" => self.icmp_type = words.value("a type from 0 to 255")?,
            "code" => self.code = words.value("a code from 0 to 255")?,
            "id" => self.id = words.value("an identifier from 0 to 65535")?,
            "seq" => self.sequence = words.value("a sequence number from 0 to 65535")?,
            "mtu" => self.mtu = Some(words.value("an MTU in bytes")?),
            "quote" => self.quote = Some(quoted(words)?),
            "quote-cut" => self.quote_cut = Some(words.value("a length in bytes")?),
            "link" => self.link = Some(words.value("a MAC address")?),
            _ => {
                let expected = "a word of ICMP, such as echo-reply, unreachable, type, code, id, seq, mtu or quote, \
                                or one of: len, data, ttl, tos, df, ip-options, frag, cut, ip-len, ext, bad-checksum, \
                                from-mac, to-mac, vlan, vnet";
                return Err(unexpected(word, expected));
            }
        }
        Ok(false)
    }

    fn target(&mut self, word: &str, words: &mut Words<'_>) -> Result<(), NotationError> {
        if matches!(word, "solicit" | "advertise") {
            self.target = Some(words.value("an IPv6 address")?);
        }
        Ok(())
    }
}

/// The types that have a name, in `ICMPv4` and `ICMPv6`.
fn named_type(word: &str) -> Option<(u8, u8)> {
    Some(match word {
        "echo-request" => (8, 128),
        "echo-reply" => (0, 129),
        "unreachable" => (3, 1),
        "time-exceeded" => (11, 3),
        "parameter-problem" => (12, 4),
        "too-big" => (3, 2),
        "redirect" => (5, 137),
        "router-solicit" => (10, 133),
        "solicit" => (135, 135),
        "advertise" => (136, 136),
        _ => return None,
    })
}

impl TcpSpec {
    fn word(&mut self, word: &str, words: &mut Words<'_>) -> Result<(), NotationError> {
        match word {
            "seq" => self.sequence = words.value("a sequence number")?,
            "ack" if words.number_follows() => {
                self.acknowledgement = words.value("an acknowledgement number")?;
            }
            "win" => self.window = words.value("a window from 0 to 65535")?,
            "mss" => self.mss = Some(words.value("a segment size in bytes")?),
            "sack-ok" => self.sack_ok = true,
            "ts" => self.timestamps = Some(timestamps(words.next("two numbers, such as 7,0")?)?),
            "tcp-options" => self.options = Some(hex(words.next("bytes in hex digits")?)?),
            "wscale" => self.window_scale = Some(words.value("a shift from 0 to 14")?),
            "gso" => self.gso = Some(words.value("a segment size in bytes")?),
            "no-flags" => self.no_flags = true,
            _ => {
                let expected = "a TCP flag or one of: seq, ack, win, mss, sack-ok, ts, wscale, tcp-options, gso, \
                                no-flags, len, data, ttl, tos, df, ip-options, frag, cut, ip-len, ext, bad-checksum, \
                                from-mac, to-mac, vlan, vnet";
                self.flags = self.flags.with(flags(word).ok_or_else(|| unexpected(word, expected))?);
            }
        }
        Ok(())
    }
}

fn timestamps(word: &str) -> Result<(u32, u32), NotationError> {
    let numbers = word.split_once(',').and_then(|(value, echo)| value.parse().ok().zip(echo.parse().ok()));
    numbers.ok_or_else(|| unexpected(word, "two numbers, such as 7,0"))
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
