//! A fragment that waits for its first one (CT-61): all that is needed to take its walk up again where it stopped.

use std::time::Duration;

use palisade_conntrack::Instant;
use palisade_packet::{Direction, Fragment, IpPacket, Transport};
use palisade_policy::{EniKey, PortKey};

use crate::outcome::Received;
use crate::reason::DropReason;

/// How long a fragment waits (CT-61). One whose first fragment comes at the end of it, or later, was too early.
pub(crate) const LONGEST: Duration = Duration::from_secs(1);

/// A fragment on its walk, as fragment bookkeeping meets it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arriving<'f> {
    /// The ENI that sent it.
    pub(crate) from: EniKey,
    pub(crate) place: Place,
    pub(crate) ip: IpPacket,
    pub(crate) fragment: Fragment,
    pub(crate) frame: &'f [u8],
    pub(crate) received: Received,
}

/// The two places of a walk where fragments are kept account of (CT-60).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Where its sender hands it to the fabric (RT-1 step 3): nothing has been done yet.
    Sender,
    /// Before the filters of its receiver (RT-2 step 2): the sender's side has been judged, committed and recorded.
    Receiver {
        eni: EniKey,
        /// What the hand-over decided (RT-5).
        leaves_subnet: bool,
    },
}

/// What a later fragment is judged by: the first fragment's upper-layer protocol and header (CT-60).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) protocol: u8,
    pub(crate) transport: Transport,
}

/// A fragment that waits. Its memory is counted by the share of its ENI.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) fragment: Fragment,
    pub(super) until: Instant,
    from: EniKey,
    place: Place,
    frame: Box<[u8]>,
    received: Received,
    arrival: u64,
}

/// Why and where the walk of a released fragment goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resumption {
    pub(crate) place: Place,
    /// The header it is judged by, or why its whole datagram is dropped (CT-63).
    pub(crate) ruling: Result<Header, DropReason>,
}

/// A fragment that is held no more. It is to be given to [`crate::Engine::resume`], in its place in the list.
#[derive(Debug)]
pub struct Released {
    pub(crate) resumption: Resumption,
    received: Received,
    from: EniKey,
    frame: Box<[u8]>,
    /// Fragments that one frame releases at both of its ENIs go on in the order in which they came.
    pub(crate) arrival: u64,
}

/// Fragments that wait at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Holding {
    /// How many, which is also how many packets on the wire.
    pub fragments: u64,
    /// Bytes of their frames.
    pub bytes: u64,
}

impl Place {
    pub(crate) const fn direction(self) -> Direction {
        match self {
            Self::Sender => Direction::Egress,
            Self::Receiver { .. } => Direction::Ingress,
        }
    }
}

impl Arriving<'_> {
    /// The ENI that keeps account of it.
    pub(super) const fn eni(&self) -> EniKey {
        match self.place {
            Place::Sender => self.from,
            Place::Receiver { eni, .. } => eni,
        }
    }

    /// Its own header, if it is a first fragment.
    pub(super) const fn header(&self) -> Header {
        Header { protocol: self.ip.protocol, transport: self.ip.transport }
    }
}

impl Held {
    pub(super) fn new(arriving: &Arriving<'_>, arrival: u64, now: Instant) -> Self {
        let Arriving { from, place, fragment, frame, received, .. } = *arriving;
        Self { fragment, until: now + LONGEST, from, place, frame: frame.into(), received, arrival }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.frame.len()
    }

    pub(super) fn release(self, ruling: Result<Header, DropReason>) -> Released {
        let Self { from, place, frame, received, arrival, .. } = self;
        Released { resumption: Resumption { place, ruling }, received, from, frame, arrival }
    }
}

impl Released {
    /// The port it came in by.
    #[must_use]
    pub const fn from(&self) -> PortKey {
        PortKey::Eni(self.from)
    }

    /// What the port said of it besides its bytes.
    #[must_use]
    pub const fn received(&self) -> Received {
        self.received
    }

    /// The frame, as it came in; after it was resumed, as it goes out.
    #[must_use]
    pub const fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// The frame, to be completed for the port it goes out by.
    pub const fn frame_mut(&mut self) -> &mut [u8] {
        &mut self.frame
    }
}
