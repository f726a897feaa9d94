//! Links, addresses and routes of the current thread's network namespace, through rtnetlink.
//!
//! The one place that knows rtnetlink's message types, which change with each of its releases.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use palisade_packet::MacAddr;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoData, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use rtnetlink::packet_route::route::{RouteMessage, RouteScope};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::runtime::{Builder, Runtime};

/// What the kernel says about a link.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mac: Option<MacAddr>,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    pub(crate) ethernet: bool,
    pub(crate) kind: Option<String>,
    pub(crate) master: Option<u32>,
}

/// A netlink connection of the namespace in which it was opened, and the runtime that drives it.
pub(crate) struct Links {
    runtime: Runtime,
    handle: Handle,
}

impl Links {
    /// Opens a connection in the current thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let (connection, handle, _) = {
            let _context = runtime.enter();
            rtnetlink::new_connection()?
        };
        runtime.spawn(connection);
        Ok(Self { runtime, handle })
    }

    /// Every link.
    pub(crate) fn all(&self) -> io::Result<Vec<Link>> {
        let links = self.handle.link().get().execute().map_ok(Link::from).try_collect();
        self.runtime.block_on(links).map_err(into_io)
    }

    /// A link by name; `None` if there is none.
    pub(crate) fn find(&self, name: &str) -> io::Result<Option<Link>> {
        self.first(self.handle.link().get().match_name(name))
    }

    /// A link by index; `None` if there is none.
    pub(crate) fn at(&self, index: u32) -> io::Result<Option<Link>> {
        self.first(self.handle.link().get().match_index(index))
    }

    /// Addresses of a link.
    pub(crate) fn addresses(&self, index: u32) -> io::Result<Vec<IpAddr>> {
        let messages = self.handle.address().get().set_link_index_filter(index).execute().try_collect();
        let messages: Vec<AddressMessage> = self.runtime.block_on(messages).map_err(into_io)?;
        Ok(messages.iter().filter_map(address).collect())
    }

    /// Sets MAC address and MTU.
    pub(crate) fn dress(&self, index: u32, mac: MacAddr, mtu: u16) -> io::Result<()> {
        self.set(LinkUnspec::new_with_index(index).address(mac.0.to_vec()).mtu(mtu.into()))
    }

    /// Sets a link up or down.
    pub(crate) fn set_up(&self, index: u32, up: bool) -> io::Result<()> {
        let link = LinkUnspec::new_with_index(index);
        self.set(if up { link.up() } else { link.down() })
    }

    /// Adds an address; an IPv6 one without duplicate address detection.
    pub(crate) fn add_address(&self, index: u32, net: IpNet) -> io::Result<()> {
        let mut request = self.handle.address().add(index, net.addr(), net.prefix_len());
        if net.addr().is_ipv6() {
            let message = request.message_mut();
            message.header.flags |= AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.runtime.block_on(request.execute()).map_err(into_io)
    }

    /// Adds the default route through a gateway on the link.
    pub(crate) fn add_gateway(&self, index: u32, gateway: IpAddr) -> io::Result<()> {
        let route = match gateway {
            IpAddr::V4(gateway) => {
                RouteMessageBuilder::<Ipv4Addr>::new().output_interface(index).gateway(gateway).build()
            }
            IpAddr::V6(gateway) => {
                RouteMessageBuilder::<Ipv6Addr>::new().output_interface(index).gateway(gateway).build()
            }
        };
        self.add_route(route)
    }

    /// Adds the default route of a family straight through the link.
    pub(crate) fn add_on_link(&self, index: u32, ipv6: bool) -> io::Result<()> {
        self.add_route(if ipv6 {
            RouteMessageBuilder::<Ipv6Addr>::new().output_interface(index).build()
        } else {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().output_interface(index);
            route.scope(RouteScope::Link).build()
        })
    }

    fn add_route(&self, route: RouteMessage) -> io::Result<()> {
        self.runtime.block_on(self.handle.route().add(route).execute()).map_err(into_io)
    }

    /// Makes a veth pair: `device` here, `peer` in the namespace of a descriptor, with a MAC address.
    pub(crate) fn add_veth(
        &self,
        device: &str,
        mtu: u16,
        peer: &str,
        mac: MacAddr,
        namespace: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let peer = LinkUnspec::new_with_name(peer).mtu(mtu.into()).address(mac.0.to_vec());
        let peer = peer.setns_by_fd(namespace.as_raw_fd()).build();
        let link =
            LinkVeth::new(device, "").mtu(mtu.into()).set_info_data(InfoData::Veth(InfoVeth::Peer(peer)));
        self.runtime.block_on(self.handle.link().add(link.build()).execute()).map_err(into_io)
    }

    fn set(&self, link: LinkMessageBuilder<LinkUnspec>) -> io::Result<()> {
        self.runtime.block_on(self.handle.link().set(link.build()).execute()).map_err(into_io)
    }

    fn first(&self, request: rtnetlink::LinkGetRequest) -> io::Result<Option<Link>> {
        let reply = async {
            let mut links = std::pin::pin!(request.execute());
            links.try_next().await
        };
        match self.runtime.block_on(reply).map_err(into_io) {
            Ok(link) => Ok(link.map(Link::from)),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mac: None,
            mtu: 0,
            up: message.header.flags.contains(LinkFlags::Up),
            ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            kind: None,
            master: None,
        };
        for attribute in message.attributes {
            link.note(attribute);
        }
        link
    }
}

impl Link {
    fn note(&mut self, attribute: LinkAttribute) {
        match attribute {
            LinkAttribute::IfName(name) => self.name = name,
            LinkAttribute::Mtu(mtu) => self.mtu = mtu,
            LinkAttribute::Address(octets) => self.mac = octets.try_into().ok().map(MacAddr),
            LinkAttribute::Controller(master) => self.master = Some(master).filter(|master| *master != 0),
            LinkAttribute::LinkInfo(infos) => {
                self.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
}

/// The address of the interface itself: `IFA_LOCAL` where it is given, since `IFA_ADDRESS` is then the peer's.
fn address(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

fn into_io(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}
