//! Revocation (CT-27): whether an entry still has the authority to let packets pass, under `[vpc] revocation = "strict"`.
//!
//! A tracked connection is judged anew by each policy that may judge it differently: its opening packet meets the groups of
//! its ENI, in the direction in which it moved, with the rules as they are now. If none matches, the entry ends and the
//! packet at hand is one without entry. The first packet that asks after a change judges, and [`Engine::retire`] judges the
//! entries of which no packet comes, so that nothing passes by an entry that the policy refuses and nothing stays behind.
//!
//! The entry ends at the look-up and not in the commit of the side: the policy refuses it, whatever becomes of the packet
//! that brought it up (CT-7 speaks of what packets do to entries; see ADR 0012).
//!
//! [`Engine::retire`]: crate::Engine::retire

use palisade_conntrack::{ConnHandle, ConnTable, ConnView, Consult, Ids, Instant, Zone};
use palisade_packet::Direction;
use palisade_policy::{CompiledEni, EniKey, FilterKey, Match, Snapshot};

use crate::walk::Context;
use crate::witness::{Event, Witness};

/// Whether the entry that lets a packet pass, if one does, is admitted by the present rules of its ENI. One that is not is
/// ended, unless the walk only explains.
pub(crate) fn upheld<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    eni: &'s CompiledEni,
    direction: Direction,
    found: &Consult,
) -> bool {
    let Some(entry) = found.entry() else { return true };
    if entry.is_admitted_by(eni.stamp) {
        return true;
    }
    let admitted = entry.view(cx.now).is_some_and(|view| admits(eni, &view));
    if !admitted {
        cx.witness.saw(Event::EntryRevoked { eni, direction });
    }
    if cx.commits {
        conclude(cx.table, eni, entry, admitted);
    }
    admitted
}

/// Whether the rules of its ENI would let an entry be opened now. A flow that would be untracked is one that they allow
/// (CT-17, CT-23).
pub(crate) fn admits(eni: &CompiledEni, entry: &ConnView) -> bool {
    eni.groups.decide(entry.origin, &opening_key(entry), entry.opener.referenced).any.is_some()
}

/// Judges the entries of every ENI whose stamp differs in two policies, and ends those that the new one refuses.
pub(crate) fn sweep(table: &ConnTable, old: &Snapshot, new: &Snapshot, now: Instant) {
    let changed = |eni: &&CompiledEni| old.eni(eni.key).is_some_and(|was| was.stamp != eni.stamp);
    let stamps: Vec<(Zone, u64)> =
        new.enis().iter().filter(changed).map(|eni| (Zone(eni.key.0), eni.stamp)).collect();
    for entry in table.unadmitted(&stamps, now) {
        let Some(view) = entry.view(now) else { continue };
        let Some(eni) = new.eni(EniKey(view.zone.0)) else { continue };
        conclude(table, eni, &entry, admits(eni, &view));
    }
}

fn conclude(table: &ConnTable, eni: &CompiledEni, entry: &ConnHandle, admitted: bool) {
    if admitted {
        entry.admit(eni.stamp);
    } else {
        table.revoke(entry);
    }
}

/// What rules look at of the packet that opened an entry: the far address is the remote one, whichever way it moved.
fn opening_key(entry: &ConnView) -> FilterKey {
    let outward = entry.origin == Direction::Egress;
    let selector = match entry.ids {
        Ids::Ports { local, remote } => Match::Port(if outward { remote } else { local }),
        Ids::Query { local_type, remote_type, .. } => {
            Match::Icmp { icmp_type: if outward { local_type } else { remote_type }, code: entry.opener.code }
        }
        Ids::None => Match::Whole,
    };
    FilterKey { address: entry.remote, protocol: entry.protocol, selector }
}
