//! Packets in one line of text, and scenarios of them under a virtual clock.
#![forbid(unsafe_code)]

mod answer;
mod change;
mod conns;
mod file;
pub mod notation;
mod run;

pub use file::{Scenario, ScenarioError, Step, find};
pub use run::{Failure, Report, run_file};
