//! From a [`TransportSpec`] to the bytes of an upper-layer packet, checksums included.

use etherparse::{TcpHeader, TcpOptionElement};
use palisade_packet::TcpFlags;
use palisade_packet::checksum::{Sum, pseudo_header};

use super::{IcmpSpec, IpSpec, TcpSpec, TransportSpec, UdpSpec};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

impl IpSpec {
    /// The upper-layer protocol.
    pub(crate) fn protocol(&self) -> u8 {
        match &self.transport {
            TransportSpec::Tcp(_) => 6,
            TransportSpec::Udp(_) => 17,
            TransportSpec::Icmp(_) if self.source.is_ipv4() => ICMP,
            TransportSpec::Icmp(_) => ICMPV6,
            TransportSpec::Other(number) => *number,
        }
    }

    /// The upper-layer packet, or `None` if it is longer than IP allows.
    pub(crate) fn upper(&self, payload: Vec<u8>) -> Option<Vec<u8>> {
        let (header, checksum_at) = match &self.transport {
            TransportSpec::Tcp(tcp) => (tcp.header()?, 16),
            TransportSpec::Udp(udp) => (udp.header(payload.len())?, 6),
            TransportSpec::Icmp(icmp) => (icmp.message()?, 2),
            TransportSpec::Other(_) => return Some(payload),
        };
        let mut out = header;
        out.extend_from_slice(&payload);
        let len = u32::try_from(out.len()).ok()?;
        let protocol = self.protocol();
        let start = match protocol {
            ICMP => Sum::ZERO,
            _ => pseudo_header(self.source, self.destination, protocol, len),
        };
        let checksum = start.bytes(&out).checksum() ^ u16::from(self.bad_checksum);
        let checksum = checksum.to_be_bytes();
        out[checksum_at..checksum_at + 2].copy_from_slice(&checksum);
        Some(out)
    }
}

impl TcpSpec {
    fn header(&self) -> Option<Vec<u8>> {
        let mut header = TcpHeader::new(self.source, self.destination, self.sequence, self.window);
        let has = |flag| self.flags.contains(flag);
        header.fin = has(TcpFlags::FIN);
        header.syn = has(TcpFlags::SYN);
        header.rst = has(TcpFlags::RST);
        header.psh = has(TcpFlags::PSH);
        header.ack = has(TcpFlags::ACK);
        header.urg = has(TcpFlags::URG);
        header.ece = has(TcpFlags::ECE);
        header.cwr = has(TcpFlags::CWR);
        header.acknowledgment_number = self.acknowledgement;
        match &self.options {
            Some(bytes) => header.set_options_raw(bytes).ok()?,
            None => header.set_options(&self.option_elements()).ok()?,
        }
        Some(header.to_bytes().to_vec())
    }

    /// In the order in which Linux sends them.
    fn option_elements(&self) -> Vec<TcpOptionElement> {
        let mut elements = Vec::new();
        elements.extend(self.mss.map(TcpOptionElement::MaximumSegmentSize));
        elements.extend(self.sack_ok.then_some(TcpOptionElement::SelectiveAcknowledgementPermitted));
        elements.extend(self.timestamps.map(|(value, echo)| TcpOptionElement::Timestamp(value, echo)));
        elements.extend(self.window_scale.map(TcpOptionElement::WindowScale));
        elements
    }
}

impl UdpSpec {
    fn header(&self, payload: usize) -> Option<Vec<u8>> {
        let length = self.length.map_or_else(|| u16::try_from(payload + 8).ok(), Some)?;
        let fields = [self.source, self.destination, length, 0];
        Some(fields.iter().flat_map(|field| field.to_be_bytes()).collect())
    }
}

impl IcmpSpec {
    /// All but the payload.
    fn message(&self) -> Option<Vec<u8>> {
        let [id_high, id_low] = self.id.to_be_bytes();
        let [seq_high, seq_low] = self.sequence.to_be_bytes();
        let query = [id_high, id_low, seq_high, seq_low];
        let is_query = self.quote.is_none() && self.target.is_none();
        let rest = match self.mtu {
            Some(mtu) => mtu.to_be_bytes(),
            None if is_query => query,
            None if self.icmp_type == 136 => [0x60, 0, 0, 0],
            None => [0; 4],
        };
        let mut out = vec![self.icmp_type, self.code, 0, 0];
        out.extend_from_slice(&rest);
        if let Some(quoted) = &self.quote {
            let mut bytes = quoted.datagram()?;
            bytes.truncate(self.quote_cut.map_or(usize::MAX, usize::from));
            out.append(&mut bytes);
        }
        if let Some(target) = self.target {
            out.extend_from_slice(&target.octets());
        }
        if let Some(mac) = self.link {
            let kind = if self.icmp_type == 136 { 2 } else { 1 };
            out.extend_from_slice(&[kind, 1]);
            out.extend_from_slice(&mac.0);
        }
        Some(out)
    }
}
