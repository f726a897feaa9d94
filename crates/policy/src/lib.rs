//! The VPC model, its validation from a configuration file, and its compiled classifiers.
#![forbid(unsafe_code)]

pub mod diagnostics;
pub mod draft;
pub mod ids;
pub mod model;

pub use diagnostics::{Diagnostic, Diagnostics};
pub use model::{Direction, Vpc};
