//! TAP devices with the virtio-net header: one `readv` or `writev` per frame.
//!
//! The device belongs to its descriptor and vanishes with it, whatever ends the process. A multi-queue device would
//! stall the flows of a queue that nobody reads, so it has one queue.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use palisade_packet::VnetHeader;

use crate::burst::{Burst, FrameInfo, MAX_FRAME, SLOT};
use crate::error::{Place, PortError};
use crate::link::Links;
use crate::netns;
use crate::port::{Capabilities, Outgoing, Port, Receive, Transmit, TransmitError};
use crate::spec::{DefaultRoutes, NetworkSetup, TapSpec};
use crate::sys::tun;

/// Makes a TAP device, in a network namespace if one is named, and configures it there if the spec says so.
///
/// # Errors
/// The namespace does not exist, the name is taken, a capability is missing, or an address or route is refused.
pub fn open_tap(spec: &TapSpec) -> Result<Port, PortError> {
    let place = Place::new(&spec.device, spec.netns.as_deref());
    let (file, uso) = netns::inside(spec.netns.as_deref(), || make(spec, &place))?;
    tracing::info!(device = %place, mac = %spec.mac, mtu = spec.mtu, offload = spec.offload, uso, "TAP made");
    let file = Arc::new(file);
    let capabilities = Capabilities { checksum: spec.offload, tso: spec.offload, uso };
    Ok(Port {
        name: spec.device.clone(),
        receive: Box::new(TapReceive { file: Arc::clone(&file), lone: 0 }),
        transmit: Arc::new(TapTransmit { file, capabilities }),
        takeover: None,
        mac: spec.mac,
        mtu: spec.mtu,
    })
}

/// Makes the device in the current thread's namespace. Returns also whether UDP segmentation offload is on.
fn make(spec: &TapSpec, place: &Place) -> Result<(File, bool), PortError> {
    tun::check_name(&spec.device)?;
    let file = tun::open().map_err(|source| PortError::TunDevice { source })?;
    let links = Links::open().map_err(PortError::step(place, "read the links"))?;
    match tun::create(&file, &spec.device) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => return Err(taken(&links, place)),
        result => result.map_err(PortError::step(place, "make the TAP device"))?,
    }
    tun::set_header_len(&file, VnetHeader::LEN).map_err(PortError::step(place, "set the header length"))?;
    tun::set_send_buffer(&file).map_err(PortError::step(place, "set the send buffer"))?;
    let uso =
        tun::set_offload(&file, spec.offload).map_err(PortError::step(place, "set the offload features"))?;
    configure(spec, place, &links)?;
    Ok((file, uso))
}

fn taken(links: &Links, place: &Place) -> PortError {
    match links.find(&place.device).ok().flatten().map(|link| link.kind) {
        Some(Some(kind)) if kind != "tun" => PortError::NameTaken { place: place.clone(), kind },
        Some(None) => PortError::NameTaken { place: place.clone(), kind: "a physical device".to_owned() },
        _ => PortError::TapBusy { place: place.clone() },
    }
}

fn configure(spec: &TapSpec, place: &Place, links: &Links) -> Result<(), PortError> {
    let link = links.find(&spec.device).map_err(PortError::step(place, "find the link"))?;
    let Some(link) = link else { return Err(PortError::Missing { place: place.clone() }) };
    links
        .dress(link.index, spec.mac, spec.mtu)
        .map_err(PortError::step(place, "set the MAC address and MTU"))?;
    spec.setup.as_ref().map_or(Ok(()), |setup| bring_up(setup, place, links, link.index))
}

/// Loopback, link, addresses, routes: a route needs its address, an address that is to stay needs the link.
fn bring_up(setup: &NetworkSetup, place: &Place, links: &Links, index: u32) -> Result<(), PortError> {
    const LOOPBACK: u32 = 1;
    links.set_up(LOOPBACK, true).map_err(PortError::step(place, "set up the loopback interface beside"))?;
    links.set_up(index, true).map_err(PortError::step(place, "set up the link"))?;
    for net in &setup.addresses {
        links
            .add_address(index, *net)
            .map_err(|source| PortError::setup(place, format!("address {net}"), source))?;
    }
    for route in default_routes(setup) {
        route.add(links, index).map_err(|source| PortError::setup(place, route.to_string(), source))?;
    }
    Ok(())
}

/// One default route.
#[derive(Clone, Copy)]
enum Route {
    Gateway(IpAddr),
    OnLink { ipv6: bool },
}

fn default_routes(setup: &NetworkSetup) -> Vec<Route> {
    let has = |ipv6| setup.addresses.iter().any(|net| net.addr().is_ipv6() == ipv6);
    match setup.routes {
        DefaultRoutes::None => Vec::new(),
        DefaultRoutes::Via { v4, v6 } => {
            let gateways = v4.map(IpAddr::from).into_iter().chain(v6.map(IpAddr::from));
            gateways.map(Route::Gateway).collect()
        }
        DefaultRoutes::OnLink => {
            [false, true].into_iter().filter(|ipv6| has(*ipv6)).map(|ipv6| Route::OnLink { ipv6 }).collect()
        }
    }
}

impl Route {
    fn add(self, links: &Links, index: u32) -> io::Result<()> {
        match self {
            Self::Gateway(gateway) => links.add_gateway(index, gateway),
            Self::OnLink { ipv6 } => links.add_on_link(index, ipv6),
        }
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gateway(gateway) => write!(f, "the default route via {gateway}"),
            Self::OnLink { ipv6: false } => f.write_str("the IPv4 default route"),
            Self::OnLink { ipv6: true } => f.write_str("the IPv6 default route"),
        }
    }
}

struct TapReceive {
    file: Arc<File>,
    /// Bursts of one frame in a row.
    lone: u32,
}

/// Bursts of one frame in a row after which the next is expected to be one, too.
const USUALLY_LONE: u32 = 8;
/// Of these, every so manieth is looked behind all the same.
const LOOK_BEHIND: u32 = 8;

impl TapReceive {
    /// Frames to take at most. To find that nothing waits takes a system call, which a round trip feels: where frames come
    /// one at a time it is left out. The device stays readable if one does wait, and is served in the next round.
    const fn most(&self) -> usize {
        if self.lone >= USUALLY_LONE && !self.lone.is_multiple_of(LOOK_BEHIND) { 1 } else { usize::MAX }
    }

    /// Reads one frame behind those that are there. `None`: nothing waits.
    fn read(&self, burst: &mut Burst) -> io::Result<Option<()>> {
        let mut header = [0; VnetHeader::LEN];
        let space = &mut burst.space()[..SLOT];
        let read = (&*self.file).read_vectored(&mut [IoSliceMut::new(&mut header), IoSliceMut::new(space)]);
        let len = match read {
            Ok(read) => read.saturating_sub(VnetHeader::LEN),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let vnet = VnetHeader::from_bytes(header);
        burst.commit(len, FrameInfo { vnet, vlan: false, truncated: len > MAX_FRAME });
        Ok(Some(()))
    }
}

impl Receive for TapReceive {
    fn receive(&mut self, burst: &mut Burst) -> io::Result<usize> {
        burst.clear();
        let most = self.most();
        while burst.len() < most && !burst.is_full() {
            match self.read(burst) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What was read is delivered first; the error comes again.
                Err(_) if !burst.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        self.lone = if burst.len() > 1 { 0 } else { self.lone.wrapping_add(1) };
        Ok(burst.len())
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

struct TapTransmit {
    file: Arc<File>,
    capabilities: Capabilities,
}

impl Transmit for TapTransmit {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn transmit(&self, frames: &[Outgoing<'_>], failed: &mut dyn FnMut(usize, TransmitError)) {
        for (index, outgoing) in frames.iter().enumerate() {
            let header = outgoing.vnet.to_bytes();
            let start = [IoSlice::new(&header), IoSlice::new(outgoing.frame)];
            let written = if outgoing.rest.is_empty() {
                (&*self.file).write_vectored(&start)
            } else {
                write_joined(&self.file, start, outgoing.rest)
            };
            if let Err(error) = written {
                failed(index, error.into());
            }
        }
    }
}

/// Writes a frame of many parts; never inlined, so that the common case does not pay for the room they need.
#[inline(never)]
fn write_joined(mut file: &File, start: [IoSlice<'_>; 2], rest: &[&[u8]]) -> io::Result<usize> {
    let mut parts = [IoSlice::new(&[]); 2 + Burst::MAX_FRAMES];
    parts[..2].copy_from_slice(&start);
    for (part, bytes) in parts[2..].iter_mut().zip(rest) {
        *part = IoSlice::new(bytes);
    }
    file.write_vectored(&parts[..(2 + rest.len()).min(parts.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_link_routes_follow_the_families_of_the_addresses() {
        let setup = |addresses: &[&str]| NetworkSetup {
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            routes: DefaultRoutes::OnLink,
        };
        assert_eq!(default_routes(&setup(&["169.254.169.253/32"])).len(), 1);
        assert_eq!(default_routes(&setup(&["169.254.169.253/32", "fd00:ec2::253/128"])).len(), 2);
        assert_eq!(default_routes(&setup(&[])).len(), 0);
    }
}
