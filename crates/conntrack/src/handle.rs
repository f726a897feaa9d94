//! A handle on an entry, for a flow cache that wants to skip the look-up.

use std::sync::Arc;

use palisade_packet::{Direction, IpPacket};

use crate::conn::Conn;
use crate::owner::TimeOuts;
use crate::time::Instant;
use crate::view::ConnView;
use crate::window::Said;
use crate::word::Word;

/// How a packet left an entry, for the next packet of its burst: what the entry's word says besides the time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Touched(u8);

impl Touched {
    /// Of an entry that no packet has touched yet.
    pub const NEVER: Self = Self(Word::NOBODYS);
}

/// Refers to one entry, never to its successor under the same key: once dead it stays dead.
///
/// Cheap to clone. It keeps the memory of the entry, not the entry.
#[derive(Clone)]
pub struct ConnHandle(Arc<Conn>);

impl ConnHandle {
    pub(crate) const fn new(conn: Arc<Conn>) -> Self {
        Self(conn)
    }

    pub(crate) const fn conn(&self) -> &Arc<Conn> {
        &self.0
    }

    pub(crate) fn into_conn(self) -> Arc<Conn> {
        self.0
    }

    /// Whether the entry still stands and is not idle for too long (CT-39a).
    #[must_use]
    pub fn is_alive(&self, now: Instant) -> bool {
        self.0.is_alive(now)
    }

    /// Does what a commit would do for a packet of the flow that does not move the state: TCP data and acknowledgements
    /// of an established connection, UDP of a stream, queries, other protocols. Looks up nothing, locks nothing and, if
    /// another packet of the same burst came before, writes nothing.
    ///
    /// `None`, and nothing has been done, if the entry has ended or the packet would move or replace it: then the packet
    /// must take the long way. The caller vouches that `packet` has the entry's key and that every filter of the side
    /// has passed it (CT-7). `time_outs` are the ENI's values now (CT-25). Packets are not counted, see
    /// [`ConnHandle::account`].
    #[must_use]
    pub fn touch(
        &self,
        direction: Direction,
        packet: &IpPacket,
        time_outs: &TimeOuts,
        now: Instant,
    ) -> Option<Touched> {
        self.0.offer_steady(direction, packet, time_outs, now).map(|left| Touched(left.standing()))
    }

    /// [`ConnHandle::touch`] for a packet of the same direction, under the same time-outs, as the one that left the entry so.
    /// False, and nothing has been done, if the entry is not as that packet would leave it now: if nobody has touched it in
    /// this burst, or its state has changed since. `said` is what the packet says.
    #[must_use]
    #[inline]
    pub fn touch_again(&self, left: Touched, direction: Direction, said: Said, now: Instant) -> bool {
        self.0.offer_again(left.0, direction, said, now)
    }

    /// Reads what [`ConnHandle::touch`] will read, for a caller that wants it near before it is needed. What it returns
    /// means nothing.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.0.load()
    }

    /// The entry at this moment; `None` if it has ended.
    #[must_use]
    pub fn view(&self, now: Instant) -> Option<ConnView> {
        ConnView::of(&self.0, now)
    }

    /// Whether the policy with this stamp has admitted the entry: when it was opened, or by [`ConnHandle::admit`] since.
    #[must_use]
    pub fn is_admitted_by(&self, stamp: u64) -> bool {
        self.0.admission().is_by(stamp)
    }

    /// Notes that the policy with this stamp admits the entry.
    pub fn admit(&self, stamp: u64) {
        self.0.admission().set(stamp);
    }

    /// Adds to the diagnostic counters of the entry (CT-6), for many packets at once.
    pub fn account(&self, direction: Direction, packets: u64, bytes: u64) {
        self.0.traffic(self.0.side(direction)).add(packets, bytes);
    }
}

impl std::fmt::Debug for Touched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Touched").field(&Word::stamped(self.0, Instant::default()).state()).finish()
    }
}

impl std::fmt::Debug for ConnHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ConnHandle").field(&self.0.key()).field(&self.0.state()).finish()
    }
}
