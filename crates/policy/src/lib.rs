//! The VPC model, its validation from a configuration file, and its compiled classifiers.
#![forbid(unsafe_code)]

mod classifier;
pub mod diagnostics;
pub mod draft;
mod filter;
pub mod flow_log;
pub mod ids;
pub mod lint;
pub mod model;
pub mod reference;
pub mod rule_text;
pub mod snapshot;
#[cfg(test)]
mod world;

pub use classifier::{ClassifierKind, ClassifierSize, CompiledAcl, GroupSet};
pub use diagnostics::{Diagnostic, Diagnostics};
pub use filter::{AclDecision, FilterKey, GroupMatch, Match};
pub use model::{Direction, Vpc};
pub use snapshot::{
    CompiledEni, CompiledMirror, CompiledService, CompiledSubnet, EniKey, InstanceKey, MirrorChoice,
    MirrorKey, MirrorPlan, MirrorTo, PortKey, Reserved, RuleName, RuleOwner, RuleSet, RuleSlot, ServiceKey,
    Snapshot, Statistics,
};
