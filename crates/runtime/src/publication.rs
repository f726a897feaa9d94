//! What is published to the workers: the policy and the table of ports.

use palisade_policy::Snapshot;
pub(crate) use palisade_publication::Mark;

use crate::registry::PortTable;

pub(crate) type Publication = palisade_publication::Publication<Snapshot, PortTable>;
pub(crate) type Reader = palisade_publication::Reader<Snapshot, PortTable>;
