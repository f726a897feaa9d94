//! Fragment bookkeeping at an ENI (RT-1 step 3, RT-2 step 2): a later fragment is judged with the ports of its first one,
//! for which it waits if need be (CT-61).

use palisade_packet::{Fragment, IpPacket};
use palisade_policy::CompiledEni;

use crate::end::{End, Step};
use crate::fragments::{Arriving, Joined, Place};
use crate::intake::{Inbound, Judged};
use crate::reason::DropReason;
use crate::walk::Context;
use crate::witness::{Event, FragmentFate, Witness};

/// Makes of a packet of ENI `from` what policy judges at `eni`, the ENI of `place`.
pub(crate) fn join<W: Witness>(
    cx: &mut Context<'_, W>,
    eni: &CompiledEni,
    place: Place,
    from: &CompiledEni,
    inbound: &Inbound<'_>,
) -> Step<Judged> {
    let ip = inbound.ip()?;
    let Some(fragment) = ip.fragment else { return Ok(Judged::whole(*ip)) };
    let (fate, releases) = match inbound.resumed.filter(|resumed| resumed.place == place) {
        Some(resumed) => (resumed.ruling.map(|header| Some(Judged::later(*ip, header))), 0),
        None => meet(cx, &arriving(place, from, inbound, ip, fragment)),
    };
    let told = match &fate {
        Ok(Some(packet)) if packet.later_fragment => FragmentFate::Joined,
        Ok(Some(_)) => FragmentFate::First { releases },
        Ok(None) => FragmentFate::Held,
        Err(reason) => FragmentFate::Dropped(*reason),
    };
    cx.witness.saw(Event::Fragment { eni, direction: place.direction(), fate: told });
    fate?.ok_or(End::Hold)
}

/// Gives up the datagram of a fragment that is not sound (CT-63). Does nothing to a whole packet.
pub(crate) fn condemn<W: Witness>(
    cx: &mut Context<'_, W>,
    a: &CompiledEni,
    inbound: &Inbound<'_>,
    ip: &IpPacket,
) {
    if let Some(fragment) = ip.fragment.filter(|_| cx.commits) {
        let joined = cx.fragments.condemn(&arriving(Place::Sender, a, inbound, ip, fragment), cx.now);
        let _ = settle(cx, joined);
    }
}

fn arriving<'f>(
    place: Place,
    from: &CompiledEni,
    inbound: &Inbound<'f>,
    ip: &IpPacket,
    fragment: Fragment,
) -> Arriving<'f> {
    Arriving { from: from.key, place, ip: *ip, fragment, frame: inbound.frame, received: *inbound.received }
}

type Fate = Result<Option<Judged>, DropReason>;

/// What becomes of a fragment, and how many it releases.
fn meet<W: Witness>(cx: &mut Context<'_, W>, arriving: &Arriving<'_>) -> (Fate, usize) {
    if !cx.commits {
        return cx.fragments.foresee(arriving, cx.now);
    }
    let joined = cx.fragments.join(arriving, cx.now);
    let releases = joined.released.len();
    (settle(cx, joined), releases)
}

fn settle<W: Witness>(cx: &mut Context<'_, W>, joined: Joined) -> Fate {
    if joined.orphans > 0 {
        cx.witness.saw(Event::Orphaned { fragments: joined.orphans });
    }
    cx.released.extend(joined.released);
    joined.fate
}
