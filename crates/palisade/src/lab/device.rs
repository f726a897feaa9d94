//! A device of the laboratory: a TAP or a veth pair, the port that a daemon has of it, and the guest's raw socket.
//!
//! Devices take any frame that a guest may send: their MTU is the largest there is, so that a frame too long for an ENI is
//! the daemon's to judge, and one that it should not have sent arrives.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use palisade_io::{
    Burst, Namespace, NetworkSetup, Outgoing, PacketSpec, Port, PortError, RawSocket, TakeoverMethod,
    TapSpec, Transmit, TransmitError, VethSpec, make_veth, open_packet, open_tap,
};
use palisade_packet::{MacAddr, VnetHeader};

use super::loan::{Home, Loan, Log};
use super::marker::Marker;

/// The largest MTU of a TAP device and of a veth pair.
const TAP_MTU: u16 = 65_521;
const VETH_MTU: u16 = u16::MAX;

/// How long a frame may take that must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// How a guest is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A TAP device.
    Tap,
    /// A veth pair with a packet socket on the daemon's end.
    Packet,
}

/// A device, its port and its guest.
#[derive(Debug)]
pub(super) struct Device {
    kind: Kind,
    offload: bool,
    guest: RawSocket,
    home: Arc<Home>,
    /// Last, so that the port is closed before its namespace goes.
    namespace: Namespace,
}

impl Device {
    /// Makes a device in a new namespace called `name`; a veth pair has its other end in `fabric`, under the number.
    pub(super) fn make(
        kind: Kind,
        offload: bool,
        number: usize,
        name: &str,
        fabric: &str,
    ) -> Result<Self, PortError> {
        let namespace = Namespace::silent(name)?;
        let [.., third, second, first] = number.to_be_bytes();
        let mac = MacAddr([2, 0, 0, third, second, first]);
        let port = match kind {
            Kind::Tap => tap(name, mac, offload)?,
            Kind::Packet => packet(name, mac, offload, format!("veth{number}"), fabric)?,
        };
        let guest = RawSocket::open(Some(name), "eth0")?;
        Ok(Self { kind, offload, guest, home: Arc::new(Home::new(port)), namespace })
    }

    /// Whether it is of a kind and leaves as much to its guest.
    pub(super) fn suits(&self, kind: Kind, offload: bool) -> bool {
        self.kind == kind && self.offload == offload
    }

    /// Whether no data plane has its port.
    pub(super) fn is_free(&self) -> bool {
        self.home.is_in()
    }

    /// Whether its guest may leave segmentation and checksums to it.
    pub(super) const fn offload(&self) -> bool {
        self.offload
    }

    /// Lends the port, emptied, to a data plane; `None` if one has it. It comes back when both of its ends are dropped.
    pub(super) fn lend(&self) -> io::Result<Option<Port>> {
        let mut burst = Burst::new();
        while self.guest.receive(&mut burst)? > 0 {}
        self.guest.lost()?;
        Loan::of(&self.home, &mut burst)
    }

    /// What came out of the guest and into the port.
    pub(super) fn log(&self) -> &Log {
        self.home.log()
    }

    /// Name of the guest's namespace.
    pub(super) fn namespace(&self) -> &str {
        self.namespace.name()
    }

    fn fault(&self, what: &str) -> io::Error {
        io::Error::other(format!("{what} in {}", self.namespace()))
    }

    /// Sends a frame to the guest past the data plane.
    #[cfg(test)]
    pub(super) fn intrude(&self, frame: &[u8]) {
        let outgoing = [Outgoing::new(VnetHeader::default(), frame)];
        self.home.transmit().transmit(&outgoing, &mut |_, why| panic!("{why}"));
    }

    /// Sends a frame as the guest.
    pub(super) fn send(&self, vnet: VnetHeader, frame: &[u8]) -> io::Result<()> {
        self.guest.send(vnet, frame)
    }

    /// Everything that has arrived at the guest before a marker, which is sent now.
    ///
    /// # Errors
    /// The marker does not arrive, or the guest's socket has lost frames.
    pub(super) fn arrivals(
        &self,
        marker: Marker,
        burst: &mut Burst,
    ) -> io::Result<Vec<(VnetHeader, Vec<u8>)>> {
        mark(&*self.home.transmit(), marker).map_err(io::Error::other)?;
        let (mut arrived, mut seen, start) = (Vec::new(), false, Instant::now());
        while !seen {
            if self.guest.receive(burst)? == 0 {
                if start.elapsed() > PATIENCE {
                    return Err(self.fault("a marker did not arrive"));
                }
                let mut ready = [PollFd::new(self.guest.as_fd(), PollFlags::POLLIN)];
                poll(&mut ready, PollTimeout::from(50_u8))?;
            }
            for (frame, info) in burst.iter() {
                if marker.is(frame) { seen = true } else { arrived.push((info.vnet, frame.to_vec())) }
            }
        }
        match self.guest.lost()? {
            0 => Ok(arrived),
            lost => Err(self.fault(&format!("{lost} frames were lost by the guest's socket"))),
        }
    }
}

fn mark(transmit: &dyn Transmit, marker: Marker) -> Result<(), TransmitError> {
    let (frame, mut sent) = (marker.frame(), Ok(()));
    let outgoing = [Outgoing::new(VnetHeader::default(), &frame)];
    transmit.transmit(&outgoing, &mut |_, why| sent = Err(why));
    sent
}

fn tap(netns: &str, mac: MacAddr, offload: bool) -> Result<Port, PortError> {
    open_tap(&TapSpec {
        device: "eth0".to_owned(),
        netns: Some(netns.to_owned()),
        mac,
        mtu: TAP_MTU,
        offload,
        // Sets the link up, and nothing else.
        setup: Some(NetworkSetup::default()),
    })
}

fn packet(netns: &str, mac: MacAddr, offload: bool, device: String, fabric: &str) -> Result<Port, PortError> {
    make_veth(&VethSpec {
        device: device.clone(),
        netns: Some(fabric.to_owned()),
        peer: "eth0".to_owned(),
        peer_netns: netns.to_owned(),
        mac,
        mtu: VETH_MTU,
    })?;
    let takeover = TakeoverMethod::Auto;
    open_packet(&PacketSpec { device, netns: Some(fabric.to_owned()), mtu: VETH_MTU, offload, takeover })
}
