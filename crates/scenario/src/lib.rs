//! Packets in one line of text, and scenarios of them under a virtual clock.
#![forbid(unsafe_code)]

mod change;
mod file;
pub mod notation;
mod run;

pub use file::{Scenario, ScenarioError, Step};
pub use run::{Failure, Report, run_file};
