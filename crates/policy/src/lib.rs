//! The VPC model, its validation from a configuration file, and its compiled classifiers.
#![forbid(unsafe_code)]

pub mod model;

pub use model::{Direction, Vpc};
