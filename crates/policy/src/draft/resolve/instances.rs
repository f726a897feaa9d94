//! Instances: which ENIs share one tracking allowance.

use std::collections::HashMap;

use super::Scope;
use crate::diagnostics::{Code, Report, Span};
use crate::draft::file::InstanceTable;
use crate::ids::IdKind;
use crate::model::{Instance, InstanceIndex, Profile};

/// Most tracked connections of an instance that says nothing else. AWS publishes no figures; this is a quarter of
/// [`crate::model::Daemon::max_connections`]'s default.
const DEFAULT_MAX_TRACKED: u32 = 65_536;

/// The instance of every ENI, by the ENI's position.
pub(super) type Assignment = Vec<InstanceIndex>;

/// The instances of the file in its order, then one for each ENI that none of them names.
pub(super) fn instances(scope: &Scope<'_>, report: &mut Report<'_>) -> (Vec<Instance>, Assignment) {
    let owners = owners(scope, report);
    let tables = scope.file.instance.entries().iter().zip(scope.instances.objects());
    let mut instances: Vec<_> = tables
        .map(|((_, table), object)| Instance {
            id: object.id.clone(),
            name: object.name.clone(),
            max_tracked: table.max_tracked.given().map_or(DEFAULT_MAX_TRACKED, |number| number.value.0),
            profile: profile(table),
        })
        .collect();
    let mut assignment = Assignment::new();
    for (at, eni) in scope.enis.objects().iter().enumerate() {
        let instance = owners.get(&at).map_or(instances.len(), |(instance, _)| *instance);
        if instance == instances.len() {
            instances.push(Instance {
                id: IdKind::Instance.derive(&eni.id, &eni.name),
                name: eni.name.clone(),
                max_tracked: DEFAULT_MAX_TRACKED,
                profile: Profile::default(),
            });
        }
        assignment.push(InstanceIndex(instance));
    }
    (instances, assignment)
}

fn profile(table: &InstanceTable) -> Profile {
    table.profile.given().map(|profile| profile.value).unwrap_or_default()
}

/// Position of an ENI to position of its instance and where that is said.
fn owners(scope: &Scope<'_>, report: &mut Report<'_>) -> HashMap<usize, (usize, Span)> {
    let mut owners: HashMap<usize, (usize, Span)> = HashMap::new();
    for (instance, (_, table)) in scope.file.instance.entries().iter().enumerate() {
        for reference in table.enis.items() {
            let Some(eni) = scope.enis.find(reference, report) else { continue };
            let Some((owner, first)) = owners.insert(eni, (instance, reference.span)) else { continue };
            let (code, message) = if owner == instance {
                (Code::Repeated, format!("the ENI `{}` stands twice in the list", reference.value))
            } else {
                (Code::TwoInstances, format!("the ENI `{}` is in two instances", reference.value))
            };
            let help = "an ENI belongs to one instance";
            report.add(code, reference.span, message, help).related(first, "first here");
        }
    }
    owners
}
