//! All traces at once, each through a router of its own; those in which a packet was late once more.

use std::thread;
use std::time::{Duration, Instant};

use crate::recording::Recording;
use crate::replay::{Played, Replay};
use crate::router::{Router, guests};

/// How often a trace is played in which a packet was sent too late, the first time included.
const ROUNDS: usize = 4;

/// Threads that build routers: most of the work is the kernel's, which does one at a time.
const BUILDERS: usize = 4;

/// What the routers made of the traces, in their order.
pub(crate) fn play_all(recordings: &[Recording]) -> Vec<Played> {
    let mut done: Vec<Option<Played>> = recordings.iter().map(|_| None).collect();
    for round in 1..=ROUNDS {
        let left: Vec<_> =
            recordings.iter().enumerate().filter(|(number, _)| done[*number].is_none()).collect();
        for (number, played) in play(&left) {
            done[number] = played.in_time().then_some(Played { plays: round, ..played });
        }
        if done.iter().all(Option::is_some) {
            break;
        }
    }
    let late = recordings.iter().zip(&done).filter(|(_, done)| done.is_none()).map(|(it, _)| &it.name);
    let late: Vec<_> = late.collect();
    assert!(late.is_empty(), "the machine is too busy for {late:?}: {ROUNDS} rounds, a packet late in each");
    done.into_iter().flatten().collect()
}

fn play(traces: &[(usize, &Recording)]) -> Vec<(usize, Played)> {
    let guests = &guests();
    let build = |&(number, recording): &(usize, &Recording)| Router::build(guests, number, recording);
    let routers: Vec<Router> = thread::scope(|scope| {
        let share = traces.len().div_ceil(BUILDERS).max(1);
        let builders: Vec<_> = traces
            .chunks(share)
            .map(|share| scope.spawn(move || share.iter().map(build).collect::<Vec<_>>()))
            .collect();
        builders.into_iter().flat_map(|builder| builder.join().expect("routers can be built")).collect()
    });
    let ready = traces.iter().zip(&routers);
    let mut ready: Vec<_> =
        ready.map(|(&(number, it), router)| (number, Replay::prepare(guests, it, router))).collect();
    let start = Instant::now() + Duration::from_millis(200);
    // The sockets outlive all plays: closing hundreds of them keeps the kernel from everything else for seconds.
    thread::scope(|scope| {
        let plays: Vec<_> =
            ready.iter_mut().map(|(number, it)| (*number, scope.spawn(move || it.play(start)))).collect();
        plays.into_iter().map(|(number, play)| (number, play.join().expect("the router works"))).collect()
    })
}
