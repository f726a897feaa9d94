//! What a packet does to the entry it belongs to: TCP by a table, UDP by counting transactions.

use palisade_packet::{IpPacket, Tcp, TcpFlags, Transport};

use crate::state::{Side, State};
use crate::window::{Opening, Windows};

/// What becomes of an entry when a packet of its flow passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// The idle time starts anew, in this state.
    To(State),
    /// Nothing: the packet is forwarded and leaves no trace (CT-45 on a live entry, implausible RST of CT-46).
    Ignore,
    /// The packet does not belong to the entry but opens a flow in its place, if the rules let it (CT-45).
    Replace,
}

/// What `packet` of `side` does to an entry in `state`.
pub(crate) fn step(state: State, side: Side, packet: &IpPacket, windows: &Windows) -> Step {
    match packet.transport {
        Transport::Tcp(tcp) => tcp_step(state, side, &tcp, windows),
        Transport::Udp { .. } => Step::To(udp_step(state, side)),
        _ => Step::To(state),
    }
}

/// Transactions of CT-39c: one completes when the responder speaks after the originator did.
const fn udp_step(state: State, side: Side) -> State {
    match (side, state) {
        (Side::Responder, State::UdpAsked) => State::UdpAnswered,
        (Side::Originator, State::UdpAnswered) => State::UdpAskedAgain,
        (Side::Responder, State::UdpAskedAgain) => State::UdpStream,
        _ => state,
    }
}

fn tcp_step(state: State, side: Side, tcp: &Tcp, windows: &Windows) -> Step {
    if tcp.flags.contains(TcpFlags::RST) {
        let plausible = is_plausible_reset(state, side, tcp, windows);
        return if plausible { Step::To(State::Close) } else { Step::Ignore };
    }
    let row = TCP.get(usize::from(state.code()));
    match row.map(|row| row.cell(side, tcp.flags)) {
        Some(Cell::To(next)) => Step::To(next),
        Some(Cell::Pass) => Step::Ignore,
        Some(Cell::Anew) => Step::Replace,
        Some(Cell::Keep) | None => Step::To(state),
    }
}

/// CT-46: whether an RST ends the connection. Arithmetic is modulo 2^32.
fn is_plausible_reset(state: State, side: Side, tcp: &Tcp, windows: &Windows) -> bool {
    let theirs = windows.opening(side.other());
    if matches!(state, State::SynSent | State::SynSent2) {
        return match side {
            Side::Responder => acknowledges(tcp, theirs),
            Side::Originator => {
                windows.opening(side).is_some_and(|mine| tcp.sequence.wrapping_sub(mine.sequence) <= 1)
            }
        };
    }
    match windows.acknowledged(side.other()) {
        Some(last) => tcp.sequence.wrapping_sub(last.value) <= last.window,
        None => acknowledges(tcp, theirs),
    }
}

/// Whether the segment acknowledges exactly that SYN.
fn acknowledges(tcp: &Tcp, opening: Option<Opening>) -> bool {
    tcp.flags.contains(TcpFlags::ACK)
        && opening.is_some_and(|syn| tcp.acknowledgement == syn.sequence.wrapping_add(1))
}

#[derive(Clone, Copy)]
enum Cell {
    /// Refreshed in the new state.
    To(State),
    /// Refreshed, state unchanged.
    Keep,
    /// Forwarded without a trace (CT-45).
    Pass,
    /// A SYN that begins a new flow (CT-45).
    Anew,
}

/// One state; cells are in the order SYN, SYN+ACK, ACK, FIN, first of the originator, then of the responder.
struct Row {
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "names the row; a test checks that it stands in its place")
    )]
    state: State,
    originator: [Cell; 4],
    responder: [Cell; 4],
}

impl Row {
    const fn cell(&self, side: Side, flags: TcpFlags) -> Cell {
        let cells = match side {
            Side::Originator => &self.originator,
            Side::Responder => &self.responder,
        };
        match (flags.contains(TcpFlags::SYN), flags.contains(TcpFlags::ACK), flags.contains(TcpFlags::FIN)) {
            (true, false, _) => cells[0],
            (true, true, _) => cells[1],
            (false, _, true) => cells[3],
            (false, true, false) => cells[2],
            // Data or urgent data without ACK: of the flow, but says nothing.
            (false, false, false) => Cell::Keep,
        }
    }
}

/// The states of an observer (CT-40b to CT-45), in the order of their codes. RST is judged apart, by CT-46.
#[rustfmt::skip]
const TCP: [Row; 13] = {
    use Cell::{Anew as NEW, Keep as ___, Pass as PAS};
    use State as S;
    const SS2: Cell = Cell::To(S::SynSent2);
    const SYR: Cell = Cell::To(S::SynRecv);
    const EST: Cell = Cell::To(S::Established);
    const FWO: Cell = Cell::To(S::FinWaitOriginator);
    const FWR: Cell = Cell::To(S::FinWaitResponder);
    const CWO: Cell = Cell::To(S::CloseWaitOriginator);
    const CWR: Cell = Cell::To(S::CloseWaitResponder);
    const LAO: Cell = Cell::To(S::LastAckOriginator);
    const LAR: Cell = Cell::To(S::LastAckResponder);
    const LAB: Cell = Cell::To(S::LastAckBoth);
    const TWT: Cell = Cell::To(S::TimeWait);
    [//                                               SYN  S+A  ACK  FIN              SYN  S+A  ACK  FIN
    Row { state: S::SynSent,             originator: [___, ___, ___, ___], responder: [SS2, SYR, ___, ___] },
    Row { state: S::SynSent2,            originator: [___, SYR, ___, ___], responder: [___, SYR, ___, ___] },
    Row { state: S::SynRecv,             originator: [___, ___, EST, FWO], responder: [___, ___, ___, FWR] },
    Row { state: S::Established,         originator: [PAS, ___, ___, FWO], responder: [PAS, ___, ___, FWR] },
    Row { state: S::FinWaitOriginator,   originator: [PAS, ___, ___, ___], responder: [PAS, ___, CWO, LAB] },
    Row { state: S::FinWaitResponder,    originator: [PAS, ___, CWR, LAB], responder: [PAS, ___, ___, ___] },
    Row { state: S::CloseWaitOriginator, originator: [PAS, ___, ___, ___], responder: [PAS, ___, ___, LAO] },
    Row { state: S::CloseWaitResponder,  originator: [PAS, ___, ___, LAR], responder: [PAS, ___, ___, ___] },
    Row { state: S::LastAckOriginator,   originator: [PAS, ___, TWT, ___], responder: [PAS, ___, ___, ___] },
    Row { state: S::LastAckResponder,    originator: [PAS, ___, ___, ___], responder: [PAS, ___, TWT, ___] },
    Row { state: S::LastAckBoth,         originator: [PAS, ___, TWT, ___], responder: [PAS, ___, TWT, ___] },
    Row { state: S::TimeWait,            originator: [NEW, ___, ___, ___], responder: [NEW, ___, ___, ___] },
    Row { state: S::Close,               originator: [NEW, ___, ___, ___], responder: [NEW, ___, ___, ___] },
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_codes() {
        for (index, row) in TCP.iter().enumerate() {
            assert_eq!(usize::from(row.state.code()), index);
        }
        assert_eq!(State::from_code(13), State::UdpAsked, "every TCP state has a row");
    }
}
