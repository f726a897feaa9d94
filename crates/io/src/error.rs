//! Why a port could not be opened: the device, the namespace, and what to do about it.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// An interface and the network namespace that it is in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Interface name.
    pub device: String,
    /// Network namespace, unless it is the daemon's own.
    pub netns: Option<String>,
}

impl Place {
    pub(crate) fn new(device: &str, netns: Option<&str>) -> Self {
        Self { device: device.to_owned(), netns: netns.map(str::to_owned) }
    }

    /// The start of an `ip` command that acts in the namespace.
    fn ip(&self) -> String {
        self.netns.as_ref().map_or_else(|| "ip".to_owned(), |netns| format!("ip -n {netns}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.netns {
            Some(netns) => write!(f, "{} in netns {netns}", self.device),
            None => f.write_str(&self.device),
        }
    }
}

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The network namespace does not exist; create it with: ip netns add NAME.
    #[error("network namespace {netns} does not exist; create it with: ip netns add {netns}")]
    NetnsMissing {
        /// Its name.
        netns: String,
    },
    /// Cannot make the network namespace; this needs `CAP_SYS_ADMIN`.
    #[error("cannot make network namespace {netns}: {source}; this needs CAP_SYS_ADMIN (run as root)")]
    NetnsMake {
        /// Its name.
        netns: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Cannot enter the network namespace; this needs `CAP_SYS_ADMIN`.
    #[error("cannot enter network namespace {netns}: {source}; this needs CAP_SYS_ADMIN (run as root)")]
    NetnsEnter {
        /// Its name.
        netns: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// An interface name has 1 to 15 bytes, none of them a slash, a colon or a space.
    #[error("`{device}` is not an interface name: 1 to 15 bytes, none of them a slash, a colon or a space")]
    InvalidName {
        /// The name.
        device: String,
    },
    /// Cannot open /dev/net/tun; load the module and run with `CAP_NET_ADMIN`.
    #[error(
        "cannot open /dev/net/tun: {source}; load it with `modprobe tun` and run as root (CAP_NET_ADMIN)"
    )]
    TunDevice {
        /// What the kernel said.
        source: io::Error,
    },
    /// The TAP is in use by another process, or was made beforehand.
    #[error("TAP {place} is in use by another process (a second daemon?); stop that process, or if none has it open remove it with: {} link del {}", place.ip(), place.device)]
    TapBusy {
        /// The device.
        place: Place,
    },
    /// An interface of this name, which is no TAP, exists already.
    #[error("{place} exists already and is {kind}, not a TAP; choose another name, or remove it with: {} link del {}", place.ip(), place.device)]
    NameTaken {
        /// The interface.
        place: Place,
        /// What it is, such as `veth`.
        kind: String,
    },
    /// A step of opening the device needs a capability that the process lacks.
    #[error("cannot {step} of {place}: permission denied; run as root (CAP_NET_ADMIN and CAP_NET_RAW)")]
    NotPermitted {
        /// The device.
        place: Place,
        /// What was tried.
        step: &'static str,
    },
    /// A step of opening the device failed.
    #[error("cannot {step} of {place}: {source}")]
    Step {
        /// The device.
        place: Place,
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// An address or route could not be set.
    #[error("cannot set {what} on {place}: {source}")]
    Setup {
        /// The device.
        place: Place,
        /// The address or route.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// IPv6 is disabled in the namespace although an IPv6 address is asked for.
    #[error(
        "cannot set {what} on {place}: IPv6 is disabled there; enable it with `sysctl net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0` in that namespace, or give the device no IPv6 address"
    )]
    Ipv6Disabled {
        /// The device.
        place: Place,
        /// The address or route.
        what: String,
    },
    /// The interface does not exist; a packet attachment takes over an existing one.
    #[error("{place} does not exist; a packet attachment takes over an existing interface, create it first, for example with: {} link add {} type veth peer name {}-guest", place.ip(), place.device, place.device)]
    Missing {
        /// The interface.
        place: Place,
    },
    /// The interface is not an Ethernet device.
    #[error("{place} is not an Ethernet device; attach a veth, or another interface with MAC addresses")]
    NotEthernet {
        /// The interface.
        place: Place,
    },
    /// The interface belongs to a bridge, bond or VRF, which would receive its frames too.
    #[error("{place} belongs to {master}, which would receive its frames too; release it with: {} link set {} nomaster", place.ip(), place.device)]
    Enslaved {
        /// The interface.
        place: Place,
        /// Name of its master.
        master: String,
    },
    /// The interface has addresses, so the host uses it itself.
    #[error("{place} has the address {address}, so the host uses it itself; a packet attachment takes an interface over whole: remove its addresses with: {} addr flush dev {} scope global", place.ip(), place.device)]
    HasAddress {
        /// The interface.
        place: Place,
        /// The first address that is not an IPv6 link-local one.
        address: IpAddr,
    },
    /// The interface's MTU is smaller than the one that the guest is to have.
    #[error("{place} has an MTU of {mtu}, less than the {wanted} of the configuration; set it at both ends with: {} link set {} mtu {wanted}", place.ip(), place.device)]
    MtuTooSmall {
        /// The interface.
        place: Place,
        /// Its MTU.
        mtu: u32,
        /// The one asked for.
        wanted: u16,
    },
    /// The interface is taken over by another daemon.
    #[error("{place} is taken over by another process (a second daemon?); stop that process")]
    PacketBusy {
        /// The interface.
        place: Place,
    },
    /// The kernel's own stack cannot be kept off the interface, so the port is not opened.
    #[error(
        "cannot keep the host's own network stack off {place}, so it is not attached: tcx: {tcx}; nftables: {nftables}; use Linux 6.6 or later, or install nft 1.0.1 or later on Linux 5.16 or later"
    )]
    Takeover {
        /// The interface.
        place: Place,
        /// Why not by tcx.
        tcx: String,
        /// Why not by nftables.
        nftables: String,
    },
    /// The list of interfaces cannot be read.
    #[error("cannot list the interfaces{}: {source}", netns.as_ref().map(|netns| format!(" of netns {netns}")).unwrap_or_default())]
    Interfaces {
        /// Network namespace, unless it is the daemon's own.
        netns: Option<String>,
        /// What the kernel said.
        source: io::Error,
    },
    /// The capture file cannot be written.
    #[error("cannot write the capture file {}: {source}; choose a directory that exists and is writable", path.display())]
    Capture {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl PortError {
    /// A failed step on a device.
    pub(crate) fn step(place: &Place, step: &'static str) -> impl FnOnce(io::Error) -> Self {
        let place = place.clone();
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { place, step },
            _ => Self::Step { place, step, source },
        }
    }

    /// A failed address or route.
    pub(crate) fn setup(place: &Place, what: String, source: io::Error) -> Self {
        let place = place.clone();
        match source.raw_os_error() {
            Some(libc::EACCES | libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => Self::Ipv6Disabled { place, what },
            _ => Self::Setup { place, what, source },
        }
    }
}
