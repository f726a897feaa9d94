//! Packet sockets on existing interfaces, such as the host end of a veth, with the virtio-net header.
//!
//! Order of opening: lock, checks, takeover, link up, bind. Nothing of the host's stack meets the guest in between,
//! and the port closes in the opposite order.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use palisade_packet::{MacAddr, VnetHeader};

use crate::burst::{Burst, FrameInfo, MAX_FRAME, SLOT};
use crate::error::{Place, PortError};
use crate::link::{Link, Links};
use crate::netns;
use crate::port::{Capabilities, Outgoing, Port, Receive, Transmit, TransmitError};
use crate::spec::PacketSpec;
use crate::sys::{ethtool, mmsg, packet, tun};
use crate::takeover::{self, Guard, Takeover};

/// Takes an existing interface over.
///
/// # Errors
/// The interface does not exist, belongs to a bridge, has addresses, has too small an MTU or is taken over already; a
/// capability is missing; or the kernel's own stack cannot be kept off it.
pub fn open_packet(spec: &PacketSpec) -> Result<Port, PortError> {
    let place = Place::new(&spec.device, spec.netns.as_deref());
    let opened = netns::inside(spec.netns.as_deref(), || open(spec, &place))?;
    let Opened { hold, takeover, capabilities, mac, mtu } = opened;
    tracing::info!(device = %place, %takeover, ?capabilities, mtu, "interface taken over");
    let hold = Arc::new(hold);
    Ok(Port {
        name: spec.device.clone(),
        receive: Box::new(PacketReceive { hold: Arc::clone(&hold), inflow: Inflow::new() }),
        transmit: Arc::new(PacketTransmit { hold, capabilities }),
        takeover: Some(takeover),
        mac,
        mtu,
    })
}

struct Opened {
    hold: Hold,
    takeover: Takeover,
    capabilities: Capabilities,
    mac: MacAddr,
    mtu: u16,
}

/// What a port holds of the kernel, released from the first field to the last.
struct Hold {
    socket: OwnedFd,
    _was_down: Option<SetDown>,
    _takeover: Guard,
    _lock: UnixDatagram,
}

/// Sets the interface down again that was found down, before the host's stack gets it back.
struct SetDown {
    netns: Option<String>,
    index: u32,
}

impl Drop for SetDown {
    fn drop(&mut self) {
        // The interface may be gone, and its namespace too: then there is nothing to restore.
        let _ = netns::inside(self.netns.as_deref(), || {
            let _ = Links::open().and_then(|links| links.set_up(self.index, false));
            Ok(())
        });
    }
}

/// Opens the port in the current thread's namespace.
fn open(spec: &PacketSpec, place: &Place) -> Result<Opened, PortError> {
    tun::check_name(&spec.device)?;
    let links = Links::open().map_err(PortError::step(place, "read the links"))?;
    let link = links.find(&spec.device).map_err(PortError::step(place, "find the link"))?;
    let link = link.ok_or_else(|| PortError::Missing { place: place.clone() })?;
    let lock = lock(place, link.index)?;
    check(spec, place, &links, &link)?;
    let socket = packet::open().map_err(PortError::step(place, "open a packet socket"))?;
    packet::prepare(&socket)
        .and_then(|()| packet::bypass_queue(&socket))
        .map_err(PortError::step(place, "set the options of the packet socket"))?;
    let guard = takeover::take_over(spec.takeover, place, link.index, &socket)?;
    let mut was_down = None;
    if !link.up {
        links.set_up(link.index, true).map_err(PortError::step(place, "set up the link"))?;
        was_down = Some(SetDown { netns: spec.netns.clone(), index: link.index });
    }
    packet::promiscuous(&socket, link.index).map_err(PortError::step(place, "set promiscuous mode"))?;
    packet::bind(&socket, link.index).map_err(PortError::step(place, "bind a packet socket"))?;
    Ok(Opened {
        takeover: guard.describe(),
        capabilities: capabilities(spec, place)?,
        mac: link.mac.unwrap_or_default(),
        mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
        hold: Hold { socket, _was_down: was_down, _takeover: guard, _lock: lock },
    })
}

/// An abstract Unix socket is scoped to its network namespace and released by death, so it is a lock per namespace and
/// interface that leaves nothing behind. A process that this one is starting holds a copy of a lock that was just given
/// back until it runs its program; so a lock that is held is tried again for a moment.
fn lock(place: &Place, index: u32) -> Result<UnixDatagram, PortError> {
    const TRIES: u32 = 10;
    for _ in 1..TRIES {
        match try_lock(index) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                thread::sleep(Duration::from_millis(20));
            }
            done => return done.map_err(PortError::step(place, "take the lock")),
        }
    }
    try_lock(index).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => PortError::PacketBusy { place: place.clone() },
        _ => PortError::step(place, "take the lock")(error),
    })
}

fn try_lock(index: u32) -> io::Result<UnixDatagram> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(format!("palisade/packet/{index}"))?)
}

fn check(spec: &PacketSpec, place: &Place, links: &Links, link: &Link) -> Result<(), PortError> {
    let place = || place.clone();
    if !link.ethernet || link.mac.is_none() {
        return Err(PortError::NotEthernet { place: place() });
    }
    if let Some(master) = link.master {
        let name = links.at(master).ok().flatten().map(|link| link.name);
        let master = name.unwrap_or_else(|| format!("interface {master}"));
        return Err(PortError::Enslaved { place: place(), master });
    }
    let addresses = links.addresses(link.index).map_err(PortError::step(&place(), "read the addresses"))?;
    // The kernel gives an IPv6 link-local address to every link; any other was given by somebody who uses it.
    let own = |address: &std::net::IpAddr| matches!(address, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local());
    if let Some(address) = addresses.into_iter().find(|address| !own(address)) {
        return Err(PortError::HasAddress { place: place(), address });
    }
    if link.mtu < spec.mtu.into() {
        return Err(PortError::MtuTooSmall { place: place(), mtu: link.mtu, wanted: spec.mtu });
    }
    Ok(())
}

/// What the interface does by itself: past the queueing discipline the kernel does not segment or complete a checksum
/// in its stead, it drops the frame.
fn capabilities(spec: &PacketSpec, place: &Place) -> Result<Capabilities, PortError> {
    if !spec.offload {
        return Ok(Capabilities::NONE);
    }
    let features = ethtool::active_features(&spec.device)
        .map_err(PortError::step(place, "read the offload features"))?;
    let has = |names: &[&str]| names.iter().all(|name| features.contains(*name));
    let checksum = has(&["tx-checksum-ip-generic"]) || has(&["tx-checksum-ipv4", "tx-checksum-ipv6"]);
    let segmentation = checksum && has(&["tx-generic-segmentation"]);
    Ok(Capabilities {
        checksum,
        tso: segmentation && has(&["tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-tcp-ecn-segmentation"]),
        uso: segmentation && has(&["tx-udp-segmentation"]),
    })
}

struct PacketReceive {
    hold: Arc<Hold>,
    inflow: Inflow,
}

/// Receives bursts from a packet socket.
pub(crate) struct Inflow {
    messages: Box<[mmsg::Message; mmsg::MAX]>,
    /// Places to offer next time: few for large frames, so that a burst stays near its bound of bytes.
    places: usize,
}

impl Inflow {
    /// So many places hold one burst of the largest frames.
    const FEWEST: usize = Burst::MAX_BYTES / SLOT + 1;

    pub(crate) fn new() -> Self {
        Self { messages: Box::new([mmsg::Message::default(); mmsg::MAX]), places: Self::FEWEST }
    }

    fn adapt(&mut self, burst: &Burst) {
        if burst.is_empty() {
            return;
        }
        let mean = burst.bytes() / burst.len() + 1;
        self.places = (Burst::MAX_BYTES / mean).clamp(Self::FEWEST, mmsg::MAX);
    }

    /// Fills a burst, as [`Receive::receive`] has it.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>, burst: &mut Burst) -> io::Result<usize> {
        burst.clear();
        let messages = &mut self.messages[..self.places];
        let received = match mmsg::receive(socket, burst.space(), SLOT, messages) {
            Ok(received) => received,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            // A frame whose kind of segmentation no virtio-net header can express: the kernel has discarded it.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                burst.commit(0, FrameInfo { truncated: true, ..FrameInfo::default() });
                return Ok(1);
            }
            // The kernel says the same when an interface goes down and when it is deleted.
            Err(_) if packet::is_orphan(socket) => {
                return Err(io::Error::from_raw_os_error(libc::ENODEV));
            }
            Err(error) => return Err(error),
        };
        for (index, message) in messages[..received].iter().enumerate() {
            let info = FrameInfo {
                vnet: VnetHeader::from_bytes(message.vnet),
                vlan: message.vlan,
                truncated: message.truncated || message.len > MAX_FRAME,
            };
            // The burst was empty, so its space began at its first byte.
            burst.commit_at(index * SLOT, message.len, info);
        }
        self.adapt(burst);
        Ok(received)
    }
}

impl Receive for PacketReceive {
    fn receive(&mut self, burst: &mut Burst) -> io::Result<usize> {
        self.inflow.receive(self.hold.socket.as_fd(), burst)
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.hold.socket.as_fd()
    }

    fn lost(&mut self) -> u64 {
        packet::dropped(self.hold.socket.as_fd()).unwrap_or(0)
    }
}

struct PacketTransmit {
    hold: Arc<Hold>,
    capabilities: Capabilities,
}

impl Transmit for PacketTransmit {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn transmit(&self, frames: &[Outgoing<'_>], failed: &mut dyn FnMut(usize, TransmitError)) {
        let mut next = 0;
        while next < frames.len() {
            match mmsg::send(self.hold.socket.as_fd(), &frames[next..]) {
                Ok(sent @ 1..) => next += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) => {
                    failed(next, TransmitError::Full);
                    next += 1;
                }
                Err(error) => {
                    failed(next, error.into());
                    next += 1;
                }
            }
        }
    }
}
