//! Facts about the interfaces of a network namespace.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use palisade_packet::MacAddr;

use crate::error::PortError;
use crate::link::{Link, Links};
use crate::netns;

/// An interface as the kernel describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Index, unique in its network namespace.
    pub index: u32,
    /// Name.
    pub name: String,
    /// MAC address, if it has one.
    pub mac: Option<MacAddr>,
    /// Maximum transmission unit, in bytes of IP packet.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it carries Ethernet frames.
    pub ethernet: bool,
    /// What it is, such as `veth` or `tun`; `None` for hardware and loopback.
    pub kind: Option<String>,
    /// The bridge, bond or VRF that it belongs to.
    pub master: Option<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

/// The interfaces of a namespace under `/run/netns`, or of the caller's, in order of their indices.
///
/// # Errors
/// The namespace does not exist or may not be entered, or the kernel does not answer.
pub fn interfaces(netns: Option<&str>) -> Result<Vec<Interface>, PortError> {
    netns::inside(netns, || {
        list().map_err(|source| PortError::Interfaces { netns: netns.map(str::to_owned), source })
    })
}

fn list() -> io::Result<Vec<Interface>> {
    let links = Links::open()?;
    let all = links.all()?;
    let names: HashMap<u32, String> = all.iter().map(|link| (link.index, link.name.clone())).collect();
    all.into_iter().map(|link| Ok(describe(links.addresses(link.index)?, link, &names))).collect()
}

fn describe(addresses: Vec<IpAddr>, link: Link, names: &HashMap<u32, String>) -> Interface {
    Interface {
        index: link.index,
        addresses,
        name: link.name,
        mac: link.mac,
        mtu: link.mtu,
        up: link.up,
        ethernet: link.ethernet,
        kind: link.kind,
        master: link.master.map(|index| names.get(&index).cloned().unwrap_or_else(|| format!("if{index}"))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_loopback_interface_is_described() {
        let interfaces = super::interfaces(None).unwrap();
        let loopback = interfaces.iter().find(|interface| interface.name == "lo").unwrap();
        assert_eq!(loopback.index, 1);
        assert!(!loopback.ethernet, "loopback is not an Ethernet device");
        assert_eq!(loopback.master, None);
    }
}
