//! The per-ENI connection table: what security groups remember of flows.
//!
//! Implements the specification of connection tracking (statements CT-*n*) as far as a table can know it. Knows packets
//! and nothing of rules: the caller [consults](ConnTable::consult) the table, judges the packet by its filters, and
//! [commits](ConnTable::commit) the plan if all of them let it pass. A consultation changes nothing (CT-7). No clock is
//! read and no thread started; `now` comes in with each call, so that a five-day time-out is tested in microseconds.
//!
//! | module | is |
//! |---|---|
//! | `table`, `room` | look-ups, listing; its size |
//! | `commit` | opening, refreshing, replacing; the races between workers |
//! | `births` | what outdates a cached "there is no entry" |
//! | `reclaim` | expiry and removal |
//! | `step` | the TCP table, the UDP count |
//! | `conn`, `word`, `window`, `opener` | one entry, its atomics |
//! | `instance`, `wheel` | allowance and timer of an instance |
//! | `record` | entries that outlive the process |
//! | `sync` | what threads meet at; swapped for the model checker's by `--cfg palisade_loom` |
//!
//! *Threads.* Any thread may touch any entry. Whatever must be decided once is decided by a compare-and-swap on the
//! entry's state word, which holds state, last-seen stamp and dead bit together. Locks, in the order they may be nested:
//! the list of instances (to open, expire and remove), a shard of the map (to look up and insert), the timer of an
//! instance (when an entry is made, visited, or its life shortened).
//!
//! *Precision.* Stamps are nanoseconds, because the boundary of CT-39a is visible. Read the clock once per burst: the
//! packets of a burst then share a stamp, and an entry's word is written once per burst at most.
//!
//! *Conservation.* `created = alive + expired + closed + removed`, see [`ConnTotals`].
#![forbid(unsafe_code)]

mod births;
mod commit;
mod conn;
mod handle;
mod instance;
mod key;
mod listed;
#[cfg(test)]
#[cfg(palisade_loom)]
mod models;
mod opener;
mod owner;
mod plan;
mod reclaim;
mod record;
mod room;
mod state;
mod step;
mod sync;
mod table;
mod tally;
mod time;
mod view;
mod wheel;
mod window;
mod word;

pub use births::Birth;
pub use handle::{ConnHandle, Touched};
pub use key::Ids;
pub use opener::Opener;
pub use owner::{Owner, TimeOuts, Zone};
pub use plan::{Consult, Plan, Refused};
pub use record::{EntryRecord, Imported, SideRecord};
pub use state::State;
pub use table::ConnTable;
pub use time::Instant;
pub use view::{ConnTotals, ConnView, Volume};
pub use window::{Acknowledged, Opening, Said};
