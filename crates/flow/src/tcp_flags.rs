//! The part of a TCP header's flags that records count.

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// What a packet with these flags (the byte of a TCP header: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128)
/// adds to `tcp-flags` (FL-44): FIN, SYN and RST as they are, ACK only together with SYN, nothing else.
#[must_use]
pub const fn counted_flags(flags: u8) -> u8 {
    let acknowledged = if flags & SYN == 0 { 0 } else { ACK };
    flags & (FIN | SYN | RST | acknowledged)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PSH: u8 = 8;
    const ECE: u8 = 64;

    fn over(packets: &[u8]) -> u8 {
        packets.iter().fold(0, |sum, flags| sum | counted_flags(*flags))
    }

    /// The examples of FL-44.
    #[test]
    fn fl_44_flags_of_a_connection() {
        assert_eq!(over(&[SYN, ACK, PSH | ACK, FIN | ACK]), 3, "the client of a short connection");
        assert_eq!(over(&[SYN | ACK, ACK, PSH | ACK, FIN | ACK]), 19, "its server");
        assert_eq!(over(&[ACK, PSH | ACK]), 0, "mid-stream data");
        assert_eq!(over(&[SYN | ECE]), 2);
        assert_eq!(over(&[SYN | ACK]), 18);
        assert_eq!(over(&[FIN | ACK]), 1);
        assert_eq!(over(&[RST | ACK]), 4);
    }
}
