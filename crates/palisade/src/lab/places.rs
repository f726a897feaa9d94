//! Which device each port of a scenario has: the laboratory's answer when a daemon opens its ports.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palisade_io::Port;
use palisade_policy::PortKey;

use super::Lab;
use super::device::{Device, Kind};
use crate::cli::Attach;
use crate::daemon::{Attached, Devices, PortPlan, PortSpec};
use crate::failure::Failure;

/// The devices of one scenario.
#[derive(Debug)]
pub(super) struct Places {
    lab: Arc<Lab>,
    /// What the choice between kinds of device goes by, so that a file has the same ones each time.
    file: String,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    kinds: BTreeMap<String, Kind>,
    /// Every port that was opened; a device whose port was closed is watched on.
    devices: BTreeMap<PortKey, Arc<Device>>,
}

impl Places {
    /// No devices yet; `names` are those of the ports to come.
    pub(super) fn new(lab: Arc<Lab>, file: &Path, names: Vec<String>) -> Self {
        let file = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let kinds = spread(lab.attach, &file, names);
        Self { lab, file, taken: Mutex::new(Taken { kinds, devices: BTreeMap::new() }) }
    }

    /// The device of a port.
    pub(super) fn device(&self, port: PortKey) -> Option<Arc<Device>> {
        self.taken().devices.get(&port).map(Arc::clone)
    }

    /// All devices, those of closed ports among them, in order of their ports.
    pub(super) fn all(&self) -> Vec<(PortKey, Arc<Device>)> {
        self.taken().devices.iter().map(|(port, device)| (*port, Arc::clone(device))).collect()
    }

    fn kind(&self, name: &str) -> Kind {
        *self.taken().kinds.entry(name.to_owned()).or_insert_with(|| match self.lab.attach {
            Attach::Tap => Kind::Tap,
            Attach::Mixed if hash(&self.file, name) & 1 == 0 => Kind::Tap,
            Attach::Packet | Attach::Mixed => Kind::Packet,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Devices for Places {
    fn open(&self, plan: &PortPlan, _: u64) -> Result<(Attached, Port), Failure> {
        let (offload, mtu) = match &plan.spec {
            PortSpec::Tap(tap) => (tap.offload, tap.mtu),
            PortSpec::Packet(packet) => (packet.offload, packet.mtu),
        };
        let failed = |error: &dyn std::fmt::Display| Failure::new(format_args!("{}: {error}", plan.name), "");
        let kind = self.kind(&plan.name);
        let device = self.lab.device(kind, offload).map_err(|error| failed(&error))?;
        let port = device.lend().map_err(|error| failed(&error))?;
        let port = port.ok_or_else(|| failed(&"its device is in use"))?;
        self.lab.note_served(kind);
        let mut taken = self.taken();
        // A device that serves another port now is watched as that one's.
        taken.devices.retain(|_, known| !Arc::ptr_eq(known, &device));
        taken.devices.insert(plan.key, device);
        let attached = Attached { plan: plan.clone(), takeover: port.takeover, mac: port.mac, mtu };
        Ok((attached, port))
    }
}

/// Half of the ports on each kind of device if both are wanted, and which ones differs from file to file.
fn spread(attach: Attach, file: &str, mut names: Vec<String>) -> BTreeMap<String, Kind> {
    names.sort_by_key(|name| hash(file, name));
    let kinds = match attach {
        Attach::Tap => [Kind::Tap; 2],
        Attach::Packet => [Kind::Packet; 2],
        Attach::Mixed => [Kind::Tap, Kind::Packet],
    };
    let first = usize::from(hash(file, "") & 1 == 1);
    names.into_iter().zip(kinds.into_iter().cycle().skip(first)).collect()
}

fn hash(file: &str, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (file, name).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_means_both_kinds_in_every_scenario_and_all_pairs_over_many() {
        let names = || ["a", "b", "c"].map(str::to_owned).to_vec();
        let mut pairs = Vec::new();
        for file in (0..100).map(|number| format!("scenario-{number}")) {
            let kinds = spread(Attach::Mixed, &file, names());
            assert!(kinds.values().any(|kind| *kind == Kind::Tap), "{kinds:?}");
            assert!(kinds.values().any(|kind| *kind == Kind::Packet), "{kinds:?}");
            assert_eq!(kinds, spread(Attach::Mixed, &file, names()), "the same each time");
            pairs.push((kinds["a"] == Kind::Tap, kinds["b"] == Kind::Tap));
        }
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!(pairs.len(), 4);
    }

    #[test]
    fn one_kind_means_that_kind() {
        for (attach, kind) in [(Attach::Tap, Kind::Tap), (Attach::Packet, Kind::Packet)] {
            let kinds = spread(attach, "x", vec!["a".to_owned(), "b".to_owned()]);
            assert!(kinds.values().all(|it| *it == kind));
        }
    }
}
