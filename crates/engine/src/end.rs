//! How a journey ends, and how its end becomes the result of the walk.

use palisade_policy::{CompiledEni, EniKey, PortKey};

use crate::intake::Inbound;
use crate::mirroring::Taps;
use crate::outcome::{Link, Reply, Side, Verdict, Walked};
use crate::reason::{Consumed, DropReason};

/// Where a journey ended, and what goes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Out by a port, fragmented to an MTU if one is given.
    Deliver(PortKey, Link, Option<u16>),
    /// Taken by the fabric, which may answer.
    Consume(Consumed, Option<Reply>),
    /// Not yet: the fragment waits for its first one, and its walk will go on from here.
    Hold,
    /// Dropped; the sender may be told.
    Drop(DropReason, Option<Reply>),
}

impl From<DropReason> for End {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason, None)
    }
}

/// One step of the walk: go on with a `T`, or end here.
pub(crate) type Step<T> = Result<T, End>;

impl End {
    /// Why a copy ends, which no guest has sent: nothing consumes, answers or holds it.
    pub(crate) const fn reason(self) -> DropReason {
        match self {
            Self::Drop(reason, _) => reason,
            Self::Deliver(..) | Self::Consume(..) | Self::Hold => DropReason::PortMissing,
        }
    }
}

impl Walked {
    /// A walk that has not ended yet.
    pub(crate) fn begin(packets: u32) -> Self {
        let verdict = Verdict::Drop(DropReason::PortMissing);
        let (a, b, judged, to, reply, link) = (None, None, None, None, None, None);
        Self { a, b, judged, to, verdict, packets, reply, link, taps: Taps::default() }
    }

    /// Records the end.
    pub(crate) fn end(&mut self, end: End, inbound: Result<Inbound<'_>, DropReason>) {
        (self.verdict, self.reply, self.link) = match end {
            End::Consume(what, reply) => (Verdict::Consume(what), reply, None),
            End::Hold => (Verdict::Hold, None, None),
            End::Drop(reason, reply) => (Verdict::Drop(reason), reply, None),
            End::Deliver(to, link, fragment) => {
                let delivery = inbound.map(|inbound| inbound.delivery(to, fragment));
                (delivery.map_or_else(Verdict::Drop, Verdict::Deliver), None, Some(link))
            }
        };
    }
}

impl Walked {
    /// The ENI at which the tracking allowance refused it (CT-70, CT-71).
    pub(crate) fn refused_by_allowance(&self) -> Option<EniKey> {
        let allowance = |side: &&Side| {
            matches!(side.refused, Some(DropReason::AllowanceEgress | DropReason::AllowanceIngress))
        };
        self.a.iter().chain(&self.b).find(allowance).map(|side| side.eni)
    }
}

impl Side {
    /// A failed destination check is logged with the verdict of ACL and group, which is "accepted" (RT-3).
    pub(crate) fn of<T>(eni: &CompiledEni, result: &Step<T>) -> Self {
        let refused = match result {
            Err(End::Drop(reason, _)) if *reason != DropReason::DestinationCheck => Some(*reason),
            _ => None,
        };
        Self { eni: eni.key, refused }
    }
}
