//! What the safe libraries do not offer of the kernel's interfaces: TAP and ethtool ioctls, packet sockets, bursts of
//! messages, and BPF links. All unsafe code of Palisade stands here.
#![allow(unsafe_code)] // The kernel takes these requests as raw pointers only; each block says why it is sound.

pub(crate) mod bpf;
pub(crate) mod ethtool;
pub(crate) mod mmsg;
pub(crate) mod packet;
pub(crate) mod tun;
