//! ARP packets.

use palisade_packet::MacAddr;

use super::ArpSpec;

impl ArpSpec {
    /// The packet; `own` is the MAC address of who sends it.
    pub(crate) fn bytes(&self, own: MacAddr) -> Vec<u8> {
        let operation = if self.reply { 2 } else { 1 };
        let mut out = vec![0, 1, 8, 0, 6, 4, 0, operation];
        out.extend_from_slice(&self.sender_mac.unwrap_or(own).0);
        out.extend_from_slice(&self.sender.octets());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&self.target.octets());
        out
    }
}
