//! Packets in one line of text, and scenarios of them under a virtual clock.
#![forbid(unsafe_code)]

mod answer;
mod change;
mod conns;
mod copies;
mod counters;
mod expect;
mod file;
mod flow_logs;
mod in_process;
mod judge;
mod load;
pub mod notation;
mod run;
mod schema;
mod sight;
mod stage;
mod wire;

pub use change::Change;
pub use conns::Conn;
pub use copies::{Copy, is_copy};
pub use counters::{Count, Readings};
pub use expect::{Expectation, Why};
pub use file::{Packet, Scenario, Step, World};
pub use in_process::{InProcess, Mode};
pub use load::{ScenarioError, find};
pub use run::{Failure, NotPlayable, Report, run_file, run_file_on, run_in};
pub use schema::schema;
pub use sight::{Bytes, Decision};
pub use stage::{Arrival, Halt, Law, Resumed, Seen, Stage};
pub use wire::same_packet;
