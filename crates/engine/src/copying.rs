//! The third way into the walk: copies of a packet, each judged on its way to the target of its session (TM-42, TM-43).

use std::sync::atomic::Ordering::Relaxed;

use palisade_policy::{CompiledEni, CompiledMirror, MirrorChoice, MirrorTo, PortKey, ServiceKey, Snapshot};

use crate::end::End;
use crate::engine::Engine;
use crate::intake::Judged;
use crate::lane::Lane;
use crate::ledger::Grounds;
use crate::mirroring::{self, Copied, Tapped, Taps, Wire, envelope, outer};
use crate::outcome::{Link, Now};
use crate::reason::DropReason;
use crate::stages::service::FABRIC_MAC;
use crate::walk::walk_copies;
use crate::witness::Counting;

/// Copies that one session makes of one frame.
#[derive(Clone, Copy)]
struct Copies<'c> {
    /// The source.
    eni: &'c CompiledEni,
    session: &'c CompiledMirror,
    wire: Wire<'c>,
    frame: &'c [u8],
    source_port: u16,
}

impl Engine {
    /// Makes the copies that are owed of a packet, out of its frame as [`Self::process`] or [`Self::resume`] left it, by
    /// the policy of then, and emits them in order. Whoever sends them counts what becomes of them, with
    /// [`Counters::copied`] and [`Counters::copy_lost`]; what is not emitted is counted here.
    ///
    /// `room` is how many copies may still be made; those of a frame for which it does not suffice are dropped (TM-45).
    ///
    /// [`Counters::copied`]: crate::Counters::copied
    /// [`Counters::copy_lost`]: crate::Counters::copy_lost
    pub fn copy(
        &self,
        snapshot: &Snapshot,
        lane: &mut Lane,
        now: Now,
        (tapped, frame): (&Tapped, &[u8]),
        room: &mut u32,
        emit: &mut dyn FnMut(Copied<'_>),
    ) {
        let Taps { egress, ingress, source_port } = tapped.taps;
        let sent = session(snapshot, Some(tapped.from), egress).map(|it| (it, tapped.sent(frame)));
        let received = session(snapshot, tapped.to, ingress).map(|it| (it, tapped.received(frame)));
        for ((eni, session), wire) in sent.into_iter().chain(received) {
            lane.counters.copies(wire.packets);
            let copies = Copies { eni, session, wire, frame, source_port };
            if let Err(reason) = self.make(snapshot, lane, now, &copies, room, emit) {
                lane.counters.copy_lost(session.key, reason, wire.packets);
            }
        }
    }

    /// Judges copies, all together, and makes them.
    fn make(
        &self,
        snapshot: &Snapshot,
        lane: &mut Lane,
        now: Now,
        copies: &Copies<'_>,
        room: &mut u32,
        emit: &mut dyn FnMut(Copied<'_>),
    ) -> Result<(), DropReason> {
        let Copies { eni, session, wire, frame, source_port } = *copies;
        *room = room.checked_sub(wire.packets).ok_or(DropReason::MirrorQueue)?;
        let envelope = envelope(session, snapshot).ok_or(DropReason::PortMissing)?;
        let (to, link) = match session.to {
            MirrorTo::Service(key) => to_service(snapshot, key).ok_or(DropReason::PortMissing)?,
            MirrorTo::Eni(_) => {
                let outer = Judged::whole(outer(&envelope, &wire, source_port));
                let (counters, packets) = (&*lane.counters, wire.packets);
                let counting = Counting { counters, packets, grounds: Grounds::default() };
                let mut context = self.context(snapshot, now, true, counting);
                walk_copies(&mut context, eni, &outer).map_err(End::reason)?
            }
        };
        let link = mirroring::link(link, eni.mac);
        // The header holds the low 16 bits; the first copy of all counts 0 (TM-34).
        let mut identification = self.copies.fetch_add(wire.packets, Relaxed);
        let (bench, copy) = lane.bench.parts();
        wire.emit(frame, bench, &mut |original| {
            let [low, high, ..] = identification.to_le_bytes();
            envelope.seal(original, link, u16::from_le_bytes([low, high]), source_port, copy);
            identification = identification.wrapping_add(1);
            emit(Copied { session: session.key, to, frame: copy });
        });
        Ok(())
    }
}

/// The session that an ENI's choice means.
fn session(
    snapshot: &Snapshot,
    at: Option<PortKey>,
    choice: Option<MirrorChoice>,
) -> Option<(&CompiledEni, &CompiledMirror)> {
    let (Some(PortKey::Eni(key)), Some(choice)) = (at, choice) else { return None };
    let eni = snapshot.eni(key)?;
    Some((eni, eni.mirror.as_ref()?.session(choice)?.0))
}

/// Nothing filters what goes to a service.
fn to_service(snapshot: &Snapshot, key: ServiceKey) -> Option<(PortKey, Link)> {
    let service = snapshot.service(key)?;
    Some((PortKey::Service(key), Link { source: Some(FABRIC_MAC), destination: service.mac }))
}
