//! Ports: TAP devices and packet sockets that carry whole segmentation-offload frames, and wrappers around them.
//!
//! A [`Port`] is a pair of ends that work on bursts: [`Receive`] is owned by one worker, [`Transmit`] is shared by
//! all. Every frame travels with its virtio-net header beside it, so that a 64 KB frame and a partial checksum cross
//! unchanged. Knows nothing of policy: what a frame means is judged elsewhere.
//!
//! For whoever plays the guests, there are also namespaces, veth pairs and raw sockets: [`Namespace`], [`make_veth`],
//! [`RawSocket`].
//!
//! This is the only crate with unsafe code; all of it stands in the private module `sys`.

mod burst;
mod capture;
mod error;
mod faulty;
mod interface;
mod link;
mod netns;
mod packet;
mod port;
mod raw;
mod spec;
mod sys;
mod takeover;
mod tap;
mod traced;
mod veth;

pub use burst::{Burst, FrameInfo, MAX_FRAME};
pub use capture::{Captured, PcapWriter};
pub use error::{Place, PortError};
pub use faulty::{Faults, Faulty};
pub use interface::{Interface, interfaces};
pub use netns::{Namespace, namespaces};
pub use packet::open_packet;
pub use port::{Capabilities, Outgoing, Port, Receive, Transmit, TransmitError};
pub use raw::RawSocket;
pub use spec::{DefaultRoutes, NetworkSetup, PacketSpec, TakeoverMethod, TapSpec};
pub use takeover::Takeover;
pub use tap::open_tap;
pub use traced::Traced;
pub use veth::{VethSpec, make_veth};
