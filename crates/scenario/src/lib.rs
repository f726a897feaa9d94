//! Packets in one line of text, and scenarios of them under a virtual clock.
#![forbid(unsafe_code)]

mod answer;
mod change;
mod conns;
mod expect;
mod file;
mod in_process;
mod judge;
pub mod notation;
mod run;
mod stage;
mod wire;

pub use expect::{Expectation, Why};
pub use file::{Scenario, ScenarioError, Step, find};
pub use in_process::{InProcess, Mode};
pub use run::{Failure, NotPlayable, Report, run_file, run_file_on};
pub use stage::{Arrival, Counts, Halt, Law, Resumed, Seen, Stage};
