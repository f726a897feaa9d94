//! Generic receive offload (GRO) on the way out: segments, or datagrams, of one flow that a burst brought leave as one
//! frame.
//!
//! Works on the queue of one port when the burst is handed on, so that each frame has been judged and counted by itself.
//! A flow's frames keep their order: whatever cannot be joined ends the train of its flow. Owned by one worker; allocates
//! nothing per burst.

use palisade_io::Burst;
use palisade_packet::{Segment, Train};

use crate::outlet::{Place, Planned};

/// Flows under way at the same time; the one begun first makes room for one more.
const TRAINS: usize = 16;

/// Trains of one queue, and which frame of the burst follows which.
pub(crate) struct Joiner {
    open: Vec<Open>,
    follower: [u8; Burst::MAX_FRAMES],
}

struct Open {
    train: Train,
    /// Place of the first segment in the queue.
    at: usize,
    /// Numbers of the first and the last frame in the burst.
    first: usize,
    last: usize,
}

impl Default for Joiner {
    fn default() -> Self {
        Self { open: Vec::with_capacity(TRAINS), follower: [0; Burst::MAX_FRAMES] }
    }
}

impl Joiner {
    /// Joins what can be joined in `queue`, whose frames are those of a burst. Headers are made in `made`.
    pub(crate) fn join(&mut self, queue: &mut Vec<Planned>, frames: &[&[u8]], made: &mut Vec<u8>) {
        if queue.len() < 2 {
            return;
        }
        let mut joined = false;
        for at in 0..queue.len() {
            let Planned { place: Place::Burst(number), segment: Some(segment), .. } = queue[at] else {
                continue;
            };
            let Some(frame) = frames.get(number) else { continue };
            if self.append(queue, frames, number, segment, made) {
                queue[at].place = Place::Joined;
                joined = true;
            } else if let Some(train) = Train::begin(frame, segment) {
                if self.open.len() == TRAINS {
                    let oldest = self.open.remove(0);
                    close(&oldest, queue, frames, made);
                }
                self.open.push(Open { train, at, first: number, last: number });
            }
        }
        for train in self.open.drain(..) {
            close(&train, queue, frames, made);
        }
        if joined {
            queue.retain(|planned| planned.place != Place::Joined);
        }
    }

    /// The payloads that follow the headers of a train, in order.
    pub(crate) fn payloads<'f>(
        &self,
        frames: &'f [&'f [u8]],
        (first, segments, start): (usize, u16, usize),
    ) -> impl Iterator<Item = &'f [u8]> {
        let follower = &self.follower;
        std::iter::successors(Some(first), move |number| follower.get(*number).map(|next| usize::from(*next)))
            .take(segments.into())
            .map(move |number| frames.get(number).and_then(|frame| frame.get(start..)).unwrap_or_default())
    }

    /// Joins a segment to the train of its flow; false if there is none, or it ends here.
    fn append(
        &mut self,
        queue: &mut [Planned],
        frames: &[&[u8]],
        number: usize,
        segment: Segment,
        made: &mut Vec<u8>,
    ) -> bool {
        let head = |open: &Open| frames.get(open.first).copied().unwrap_or_default();
        let frame = frames[number];
        let of_flow = |open: &Open| open.train.is_of_flow(head(open), frame, &segment);
        let Some(at) = self.open.iter().position(of_flow) else { return false };
        let open = &mut self.open[at];
        if open.train.join(frames[open.first], frame, segment)
            && let (Some(follower), Ok(number_of_next)) =
                (self.follower.get_mut(open.last), u8::try_from(number))
        {
            *follower = number_of_next;
            open.last = number;
            return true;
        }
        let ended = self.open.remove(at);
        close(&ended, queue, frames, made);
        false
    }
}

/// Puts the train in the place of its first segment, if others have joined it.
fn close(open: &Open, queue: &mut [Planned], frames: &[&[u8]], made: &mut Vec<u8>) {
    let Open { train, at, first, .. } = open;
    let (Some(planned), Some(head)) = (queue.get_mut(*at), frames.get(*first)) else { return };
    let (segments, Some(segment)) = (train.segments(), planned.segment) else { return };
    if segments < 2 {
        return;
    }
    let offset = made.len();
    train.write_head(head, made);
    let head = (offset, made.len() - offset);
    planned.place = Place::Train { head, first: *first, start: segment.payload_start() };
    planned.vnet = train.vnet();
    planned.packets = segments.into();
}

#[cfg(test)]
#[path = "joiner_tests.rs"]
mod tests;
