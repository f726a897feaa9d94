//! Veth pairs for guests that are attached by a packet socket.

use std::os::fd::AsFd;

use palisade_packet::MacAddr;

use crate::error::{Place, PortError};
use crate::link::Links;
use crate::netns;
use crate::sys::tun;

/// A veth pair to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VethSpec {
    /// Name of the end that a port takes over, 1 to 15 bytes.
    pub device: String,
    /// Network namespace of that end, by its name under `/run/netns`; `None`: the caller's.
    pub netns: Option<String>,
    /// Name of the guest's end.
    pub peer: String,
    /// Network namespace of the guest's end.
    pub peer_netns: String,
    /// MAC address of the guest's end.
    pub mac: MacAddr,
    /// Maximum transmission unit of both ends in bytes of IP packet, 68 to 65,535.
    pub mtu: u16,
}

/// Makes a veth pair; the guest's end is set up, the other one is left to the port. Whatever removes one of the ends, such
/// as the end of its namespace, removes both.
///
/// # Errors
/// A namespace does not exist, a name is taken or not valid, or a capability is missing.
pub fn make_veth(spec: &VethSpec) -> Result<(), PortError> {
    tun::check_name(&spec.device)?;
    tun::check_name(&spec.peer)?;
    let place = Place::new(&spec.device, spec.netns.as_deref());
    let namespace = netns::open(&spec.peer_netns)?;
    netns::inside(spec.netns.as_deref(), || {
        let links = Links::open().map_err(PortError::step(&place, "read the links"))?;
        links
            .add_veth(&spec.device, spec.mtu, &spec.peer, spec.mac, namespace.as_fd())
            .map_err(PortError::step(&place, "make the veth pair"))
    })?;
    // The kernel lets neither end be set up before both are there.
    let place = Place::new(&spec.peer, Some(&spec.peer_netns));
    netns::inside(Some(&spec.peer_netns), || {
        let links = Links::open().map_err(PortError::step(&place, "read the links"))?;
        let link = links.find(&spec.peer).map_err(PortError::step(&place, "find the link"))?;
        let link = link.ok_or_else(|| PortError::Missing { place: place.clone() })?;
        links.set_up(link.index, true).map_err(PortError::step(&place, "set up the link"))
    })
}
