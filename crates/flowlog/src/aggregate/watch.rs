//! A flow log at work: since when, until when, and which ENIs it has seen.

use std::collections::HashSet;
use std::sync::Arc;

use palisade_policy::EniKey;
use palisade_policy::flow_log::Interval;

use super::open::Open;
use crate::description::Description;
use crate::subscription::{FlowLog, interval_at};

#[derive(Debug)]
pub(super) struct Watch {
    pub(super) log: Arc<FlowLog>,
    /// First second of its first window.
    pub(super) since: u32,
    /// First second after its last window, once it is deleted.
    pub(super) until: Option<u32>,
    /// ENIs that have had traffic since: only they get NODATA (FL-48).
    pub(super) seen: HashSet<EniKey>,
}

impl Watch {
    /// Whether records of a part of a window are its.
    pub(super) fn watches(&self, open: &Open) -> bool {
        self.since <= open.from && self.until.is_none_or(|until| open.from < until)
    }

    /// Whether it is told of an ENI in windows of an interval.
    pub(super) fn covers(&self, eni: &Description, interval: Interval) -> bool {
        self.log.resource.covers(eni) && interval_at(self.log.interval, eni) == interval
    }

    /// Whether it sees no later part of the window.
    pub(super) fn sees_the_end(&self, open: &Open) -> bool {
        open.until == open.end() || self.until == Some(open.until)
    }
}
