//! What the daemon answers, as values that cross the control socket, and how people are shown them.

pub(crate) mod conns;
pub(crate) mod explain;
pub(crate) mod flow_logs;
pub(crate) mod flows;
pub(crate) mod mirror;
pub(crate) mod numbers;
pub(crate) mod reload;
pub(crate) mod rules;
pub(crate) mod status;
pub(crate) mod totals;
