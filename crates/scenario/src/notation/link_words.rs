//! The words of the link layer, and frames that are not IP.

use palisade_packet::{MacAddr, VnetHeader};

use super::words::{Words, unexpected};
use super::{ArpSpec, BodySpec, LinkSpec, LinkTarget, NotationError};

const LINK_WORDS: &str = "one of: from-mac, to-mac, vlan, vnet";

impl LinkSpec {
    /// Whether the word was one of the link layer.
    pub(crate) fn word(&mut self, word: &str, words: &mut Words<'_>) -> Result<bool, NotationError> {
        match word {
            "from-mac" => self.from_mac = Some(words.value("a MAC address")?),
            "to-mac" => self.to_mac = Some(link_target(words.next("a MAC address, `router` or an ENI")?)),
            "vlan" => self.vlan = Some(words.value("a VLAN from 0 to 4095")?),
            "vnet" => self.vnet = Some(vnet(words.next("fields, such as flags=1,start=34,offset=6")?)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn link_target(word: &str) -> LinkTarget {
    match word.parse::<MacAddr>() {
        Ok(mac) => LinkTarget::Mac(mac),
        Err(_) if word == "router" => LinkTarget::Router,
        Err(_) => LinkTarget::Port(word.to_owned()),
    }
}

fn vnet(word: &str) -> Result<VnetHeader, NotationError> {
    const EXPECTED: &str = "KEY=N with a key of: flags, gso, hdr, size, start, offset";
    let mut header = VnetHeader::default();
    for pair in word.split(',') {
        let wrong = || unexpected(pair, EXPECTED);
        let (key, number) = pair.split_once('=').ok_or_else(wrong)?;
        let number: u16 = number.parse().map_err(|_| wrong())?;
        let octet = u8::try_from(number).map_err(|_| wrong());
        match key {
            "flags" => header.flags = octet?,
            "gso" => header.gso_type = octet?,
            "hdr" => header.hdr_len = number,
            "size" => header.gso_size = number,
            "start" => header.csum_start = number,
            "offset" => header.csum_offset = number,
            _ => return Err(wrong()),
        }
    }
    Ok(header)
}

impl BodySpec {
    /// Reads what follows `arp`, `ethertype` or `raw`.
    pub(crate) fn read(
        kind: &str,
        words: &mut Words<'_>,
        link: &mut LinkSpec,
    ) -> Result<Self, NotationError> {
        let mut body = match kind {
            "arp" => Self::Arp(arp(words)?),
            "raw" => Self::Raw(hex(words.next("bytes in hex digits")?)?),
            _ => {
                let word = words.next("an EtherType in hex digits")?;
                let ethertype = u16::from_str_radix(word, 16);
                let ethertype = ethertype.map_err(|_| unexpected(word, "an EtherType in hex digits"))?;
                Self::Foreign { ethertype, bytes: Vec::new() }
            }
        };
        while let Ok(word) = words.next("") {
            match &mut body {
                _ if link.word(word, words)? => {}
                Self::Arp(arp) if word == "sender-mac" => {
                    arp.sender_mac = Some(words.value("a MAC address")?);
                }
                Self::Foreign { bytes, .. } if bytes.is_empty() => *bytes = hex(word)?,
                _ => return Err(unexpected(word, LINK_WORDS)),
            }
        }
        Ok(body)
    }
}

fn arp(words: &mut Words<'_>) -> Result<ArpSpec, NotationError> {
    const FORM: &str = "`who-has ADDRESS tell ADDRESS` or `reply ADDRESS is-at MAC to ADDRESS`";
    const ADDRESS: &str = "an IPv4 address";
    match words.next(FORM)? {
        "who-has" => {
            let target = words.value(ADDRESS)?;
            words.exactly("tell", FORM)?;
            Ok(ArpSpec { reply: false, sender_mac: None, sender: words.value(ADDRESS)?, target })
        }
        "reply" => {
            let sender = words.value(ADDRESS)?;
            words.exactly("is-at", FORM)?;
            let sender_mac = Some(words.value("a MAC address")?);
            words.exactly("to", FORM)?;
            Ok(ArpSpec { reply: true, sender_mac, sender, target: words.value(ADDRESS)? })
        }
        word => Err(unexpected(word, FORM)),
    }
}

pub(crate) fn hex(word: &str) -> Result<Vec<u8>, NotationError> {
    let wrong = || unexpected(word, "bytes in hex digits");
    let digits: Option<Vec<u8>> =
        word.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0).ok_or_else(wrong)?;
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
