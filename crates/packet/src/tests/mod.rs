//! Tests that span modules, and the frames they are made from.

mod cutting;
mod hostile;
mod oracle;
mod parsing;
pub(crate) mod samples;
