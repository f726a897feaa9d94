//! What one worker brings to the engine.

use std::sync::Arc;

use crate::cache::FlowCache;
use crate::counters::Counters;

/// Counters, flow cache and scratch space of one worker. Only the counters are ever read by others.
#[derive(Debug)]
pub struct Lane {
    /// Counts what the worker does.
    pub counters: Arc<Counters>,
    /// Results of earlier walks.
    pub flows: FlowCache,
    /// After [`crate::Engine::process`] said so: a whole frame to send back.
    pub reply: Vec<u8>,
}

impl Lane {
    /// A lane with a cache of at least so many flows; 0 for none.
    #[must_use]
    pub fn new(counters: Arc<Counters>, flows: usize) -> Self {
        Self { counters, flows: FlowCache::new(flows), reply: Vec::new() }
    }
}
