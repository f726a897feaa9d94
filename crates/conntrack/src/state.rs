//! The states of an entry, their names and their time-outs.

use serde::{Deserialize, Serialize};

/// Which end of a flow a packet comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// The end that sent the opening packet.
    Originator,
    /// The other end.
    Responder,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Originator => Self::Responder,
            Self::Responder => Self::Originator,
        }
    }
}

/// The state of an entry, as an observer on the path sees it.
///
/// Half-closed TCP states also say who closed first, since CT-43 asks; UDP states count transactions (CT-39c).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum State {
    /// TCP: the originator sent a SYN (CT-40).
    SynSent,
    /// TCP: both sides sent a SYN (CT-42).
    SynSent2,
    /// TCP: a SYN+ACK was seen.
    SynRecv,
    /// TCP: the originator acknowledged.
    Established,
    /// TCP: the originator sent a FIN.
    FinWaitOriginator,
    /// TCP: the responder sent a FIN.
    FinWaitResponder,
    /// TCP: the originator sent a FIN, the responder an ACK.
    CloseWaitOriginator,
    /// TCP: the responder sent a FIN, the originator an ACK.
    CloseWaitResponder,
    /// TCP: both sent a FIN, the originator first.
    LastAckOriginator,
    /// TCP: both sent a FIN, the responder first.
    LastAckResponder,
    /// TCP: both sent a FIN before either was acknowledged.
    LastAckBoth,
    /// TCP: closed in order.
    TimeWait,
    /// TCP: reset (CT-46).
    Close,
    /// UDP: no transaction complete, the originator sent last (CT-39c).
    UdpAsked,
    /// UDP: one transaction complete.
    UdpAnswered,
    /// UDP: one transaction complete and another begun.
    UdpAskedAgain,
    /// UDP: two transactions were completed.
    UdpStream,
    /// An ICMP query.
    IcmpQuery,
    /// A protocol tracked by its addresses alone.
    Other,
}

/// Where the time-out of a state comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TimeOutClass {
    /// Seconds that nobody can change.
    Fixed(u64),
    /// The first value kept in the entry: TCP established (CT-30) or UDP (CT-31).
    First,
    /// The second value kept in the entry: UDP stream (CT-32).
    Second,
}

/// The kinds of entry; a state belongs to one of them for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    Icmp,
    Other,
}

/// Six bits hold a code.
const CODE: u8 = 0x3f;

/// The states by their codes. Filled up to what six bits can say, so that no look-up can fail; what fills it is never stored.
const BY_CODE: [State; CODE as usize + 1] = {
    let mut states = [State::Other; CODE as usize + 1];
    let mut code = 0;
    while code < State::ALL.len() {
        states[code] = State::ALL[code];
        code += 1;
    }
    states
};

impl State {
    /// Every state, in the order of the codes.
    pub(crate) const ALL: [Self; 19] = [
        Self::SynSent,
        Self::SynSent2,
        Self::SynRecv,
        Self::Established,
        Self::FinWaitOriginator,
        Self::FinWaitResponder,
        Self::CloseWaitOriginator,
        Self::CloseWaitResponder,
        Self::LastAckOriginator,
        Self::LastAckResponder,
        Self::LastAckBoth,
        Self::TimeWait,
        Self::Close,
        Self::UdpAsked,
        Self::UdpAnswered,
        Self::UdpAskedAgain,
        Self::UdpStream,
        Self::IcmpQuery,
        Self::Other,
    ];

    /// The name shown to people, in kebab case. States that differ only in what they remember share one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SynSent => "syn-sent",
            Self::SynSent2 => "syn-sent2",
            Self::SynRecv => "syn-recv",
            Self::Established => "established",
            Self::FinWaitOriginator | Self::FinWaitResponder => "fin-wait",
            Self::CloseWaitOriginator | Self::CloseWaitResponder => "close-wait",
            Self::LastAckOriginator | Self::LastAckResponder | Self::LastAckBoth => "last-ack",
            Self::TimeWait => "time-wait",
            Self::Close => "close",
            Self::UdpAsked | Self::UdpAnswered | Self::UdpAskedAgain => "udp-single",
            Self::UdpStream => "udp-stream",
            Self::IcmpQuery => "icmp",
            Self::Other => "other",
        }
    }

    /// Every name that [`State::name`] gives, once.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let is_new = |(at, state): &(usize, Self)| {
            Self::ALL[..*at].iter().all(|earlier| earlier.name() != state.name())
        };
        Self::ALL.into_iter().enumerate().filter(is_new).map(|(_, state)| state.name())
    }

    /// Time-outs of CT-30 to CT-36.
    pub(crate) const fn time_out(self) -> TimeOutClass {
        match self {
            Self::Established | Self::UdpAsked | Self::UdpAnswered | Self::UdpAskedAgain => {
                TimeOutClass::First
            }
            Self::UdpStream => TimeOutClass::Second,
            Self::SynSent
            | Self::SynSent2
            | Self::FinWaitOriginator
            | Self::FinWaitResponder
            | Self::TimeWait => TimeOutClass::Fixed(120),
            Self::SynRecv | Self::CloseWaitOriginator | Self::CloseWaitResponder => TimeOutClass::Fixed(60),
            Self::LastAckOriginator | Self::LastAckResponder | Self::LastAckBoth | Self::IcmpQuery => {
                TimeOutClass::Fixed(30)
            }
            Self::Close => TimeOutClass::Fixed(10),
            Self::Other => TimeOutClass::Fixed(600),
        }
    }

    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::UdpAsked | Self::UdpAnswered | Self::UdpAskedAgain | Self::UdpStream => Kind::Udp,
            Self::IcmpQuery => Kind::Icmp,
            Self::Other => Kind::Other,
            _ => Kind::Tcp,
        }
    }

    /// Whether the handshake is under way: a SYN seen now belongs to it.
    pub(crate) const fn is_handshake(self) -> bool {
        matches!(self, Self::SynSent | Self::SynSent2 | Self::SynRecv)
    }

    /// Whether a SYN replaces the entry (CT-45).
    pub(crate) const fn is_reusable(self) -> bool {
        matches!(self, Self::TimeWait | Self::Close)
    }

    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// The state whose code stands in the low six bits; the others are somebody else's.
    pub(crate) const fn from_code(code: u8) -> Self {
        BY_CODE[(code & CODE) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_count_the_states() {
        for (index, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(state.code()), index);
            assert_eq!(State::from_code(state.code() | 0xc0), state);
            assert_eq!(State::names().filter(|name| *name == state.name()).count(), 1);
        }
    }
}
