//! The laboratory: namespaces and devices on which scenarios are played for real, `palisade scenario --netns`.
//!
//! A [`Lab`] lives as long as the command and owns every namespace that it makes. Its devices serve one scenario after the
//! other; what a scenario sees of them is a [`LabStage`]: a daemon of its own, and a raw socket on the guest's end of each
//! device.
//!
//! The whole process stays on one CPU. The kernel hands frames on in one queue per CPU, so a marker that is sent after a
//! frame arrives after it, at whichever device either arrives: when every device has shown its marker, what has not arrived
//! does not arrive. That makes "nowhere else" a fact and not a matter of patience.

mod books;
mod device;
mod leftovers;
mod loan;
mod marker;
mod places;
mod stage;
mod unplayable;
mod witness;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use palisade_io::{Namespace, PortError};
use palisade_scenario::Halt;
use toml::Table;

use crate::cli::Attach;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use device::{Device, Kind};

pub(crate) use stage::LabStage;

/// Everything that outlives a scenario.
#[derive(Debug)]
pub(crate) struct Lab {
    attach: Attach,
    interrupt: Interrupt,
    /// Devices that were made; those that no data plane has are free.
    devices: Mutex<Vec<Arc<Device>>>,
    served: Mutex<Served>,
    /// The ends of veth pairs that daemons take over. Outlives the devices, whose ports are open in it.
    fabric: Namespace,
}

/// How many ports were served, by the kind of their devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Served {
    pub(crate) taps: usize,
    pub(crate) packets: usize,
}

impl Lab {
    /// Removes what killed runs have left behind, and makes a laboratory without devices.
    ///
    /// # Errors
    /// Namespaces cannot be made, or the process cannot be kept on one CPU.
    pub(crate) fn open(attach: Attach) -> Result<Arc<Self>, Failure> {
        let interrupt =
            Interrupt::watch().map_err(|error| Failure::new(error, "raise the process limits"))?;
        leftovers::remove();
        Self::make(attach, interrupt)
    }

    fn make(attach: Attach, interrupt: Interrupt) -> Result<Arc<Self>, Failure> {
        stay_on_one_cpu().map_err(|error| Failure::new(error, ""))?;
        let fabric = Namespace::silent(&leftovers::fresh_name("fabric"));
        let fabric = fabric.map_err(|error| Failure::new(error, ""))?;
        let (devices, served) = Default::default();
        Ok(Arc::new(Self { attach, interrupt, devices, served, fabric }))
    }

    /// A stage for the scenario of a file.
    ///
    /// # Errors
    /// The world is not valid, or a device cannot be made.
    pub(crate) fn stage(self: &Arc<Self>, file: &Path, world: &Table) -> Result<LabStage, Halt> {
        LabStage::open(Arc::clone(self), file, world)
    }

    /// Whether somebody wants it to end.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.came()
    }

    /// Ports that had a device so far; one that was opened again counts again.
    pub(crate) fn served(&self) -> Served {
        *self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_served(&self, kind: Kind) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        *match kind {
            Kind::Tap => &mut served.taps,
            Kind::Packet => &mut served.packets,
        } += 1;
    }

    /// A free device of a kind; makes one if there is none.
    fn device(&self, kind: Kind, offload: bool) -> Result<Arc<Device>, PortError> {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let free = devices.iter().find(|device| device.suits(kind, offload) && device.is_free());
        if let Some(device) = free {
            return Ok(Arc::clone(device));
        }
        let name = leftovers::fresh_name("guest");
        let made = Arc::new(Device::make(kind, offload, devices.len(), &name, self.fabric.name())?);
        devices.push(Arc::clone(&made));
        Ok(made)
    }
}

/// Keeps this thread, and all that it will start, on the CPU that it runs on.
fn stay_on_one_cpu() -> nix::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(sched_getcpu()?)?;
    sched_setaffinity(Pid::from_raw(0), &cpus)
}
