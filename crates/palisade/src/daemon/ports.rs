//! Ports: from an attachment in the configuration to an open device.

use std::fmt::Debug;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use palisade_io::{
    DefaultRoutes, NetworkSetup, PacketSpec, PcapWriter, Port, PortError, Takeover, TakeoverMethod, TapSpec,
};
use palisade_packet::MacAddr;
use palisade_policy::model::{Attachment, Eni, Service};
use palisade_policy::{CompiledSubnet, PortKey, Snapshot};
use palisade_runtime::PortStatus;

use crate::failure::Failure;
use crate::report::status::PortReport;

/// A port that the policy wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PortPlan {
    pub(crate) key: PortKey,
    /// Name of the ENI or service.
    pub(crate) name: String,
    /// Id of the ENI.
    pub(crate) id: Option<String>,
    pub(crate) spec: PortSpec,
    /// The worker that is to receive from it, if one is named.
    pub(crate) worker: Option<usize>,
}

/// The device of a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PortSpec {
    Tap(TapSpec),
    Packet(PacketSpec),
}

/// An open port, the halves of which the workers have.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    pub(crate) plan: PortPlan,
    pub(crate) takeover: Option<Takeover>,
    pub(crate) mac: MacAddr,
    pub(crate) mtu: u16,
}

/// Opens the devices of ports: those that the configuration names, or others in their place.
pub(crate) trait Devices: Debug + Send + Sync {
    /// Opens the device of a plan. `generation` tells apart what is written about a port that is opened anew.
    ///
    /// # Errors
    /// What kept it from being opened, and what to do.
    fn open(&self, plan: &PortPlan, generation: u64) -> Result<(Attached, Port), Failure>;
}

/// Opens ports as the configuration has them, in the way that the command line asks for.
#[derive(Clone, Debug)]
pub(crate) struct Opener {
    /// Directory of captures.
    pub(crate) capture: Option<PathBuf>,
}

impl PortPlan {
    /// The ports of a policy.
    pub(crate) fn all(snapshot: &Snapshot, takeover: TakeoverMethod) -> Vec<Self> {
        let vpc = snapshot.vpc();
        let enis = snapshot.enis().iter().map(|compiled| {
            let eni = &vpc[compiled.index];
            let spec = eni_spec(eni, snapshot.subnet(compiled.subnet), takeover);
            let (key, id) = (PortKey::Eni(compiled.key), Some(eni.id.clone()));
            Self { key, name: eni.name.clone(), id, spec, worker: eni.worker }
        });
        let services = snapshot.services().iter().filter_map(|compiled| {
            let service = vpc.services.iter().find(|service| service.name == compiled.name)?;
            let spec = service_spec(service, takeover);
            let (key, worker) = (PortKey::Service(compiled.key), service.worker);
            Some(Self { key, name: service.name.clone(), id: None, spec, worker })
        });
        enis.chain(services).collect()
    }

    /// Whether it belongs to a service.
    pub(crate) const fn is_service(&self) -> bool {
        matches!(self.key, PortKey::Service(_))
    }
}

impl PortSpec {
    /// The interface and its namespace, of which there is one at a time.
    pub(crate) fn place(&self) -> (Option<&str>, &str) {
        match self {
            Self::Tap(tap) => (tap.netns.as_deref(), &tap.device),
            Self::Packet(packet) => (packet.netns.as_deref(), &packet.device),
        }
    }

    /// Whether a device opened for one is good for the other: everything but the addresses set on it.
    pub(crate) fn same_device(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tap(one), Self::Tap(other)) => {
                TapSpec { setup: None, ..one.clone() } == TapSpec { setup: None, ..other.clone() }
            }
            _ => self == other,
        }
    }
}

impl Attached {
    /// How `status` shows it.
    pub(crate) fn describe(&self, status: &PortStatus, allowance_exceeded: Option<u64>) -> PortReport {
        let (netns, device) = self.plan.spec.place();
        let attachment = match self.plan.spec {
            PortSpec::Tap(_) => "tap",
            PortSpec::Packet(_) => "packet",
        };
        PortReport {
            name: self.plan.name.clone(),
            id: self.plan.id.clone(),
            kind: if self.plan.is_service() { "service" } else { "eni" }.to_owned(),
            attachment: attachment.to_owned(),
            device: device.to_owned(),
            netns: netns.map(str::to_owned),
            state: if status.up { "up" } else { "down" }.to_owned(),
            takeover: self.takeover.map(|takeover| takeover.to_string()),
            mtu: self.mtu,
            mac: self.mac.to_string(),
            worker: status.worker.clone(),
            received: status.values.received.into(),
            sent: status.values.sent.into(),
            dropped: (&status.values).into(),
            unread: status.values.unread,
            conntrack_allowance_exceeded: allowance_exceeded,
        }
    }
}

impl Devices for Opener {
    fn open(&self, plan: &PortPlan, generation: u64) -> Result<(Attached, Port), Failure> {
        let failed = |error: PortError| failure(plan, &error);
        let port = match &plan.spec {
            PortSpec::Tap(spec) => palisade_io::open_tap(spec).map_err(failed)?,
            PortSpec::Packet(spec) => palisade_io::open_packet(spec).map_err(failed)?,
        };
        let attached = Attached { plan: plan.clone(), takeover: port.takeover, mac: port.mac, mtu: port.mtu };
        let port = match &self.capture {
            Some(dir) => port.captured(&capture(dir, plan, generation)?),
            None => port,
        };
        // Tracing costs nothing per frame unless it was asked for before the port is opened.
        let port = if tracing::enabled!(target: "palisade_io", tracing::Level::TRACE) {
            port.traced()
        } else {
            port
        };
        Ok((attached, port))
    }
}

fn capture(
    dir: &std::path::Path,
    plan: &PortPlan,
    generation: u64,
) -> Result<std::sync::Arc<PcapWriter>, Failure> {
    fs::create_dir_all(dir).map_err(|error| Failure::file("make the directory", dir, &error))?;
    let path = dir.join(capture_name(plan, generation));
    PcapWriter::create(&path, &plan.name).map_err(|error| failure(plan, &error))
}

/// `web-1.pcapng`, `service-dns.pcapng`, and with the generation if the port was not opened at the start.
fn capture_name(plan: &PortPlan, generation: u64) -> String {
    let safe = |letter: char| if letter.is_alphanumeric() || "-_.".contains(letter) { letter } else { '_' };
    let name: String = plan.name.chars().map(safe).collect();
    let prefix = if plan.is_service() { "service-" } else { "" };
    let suffix = if generation > 1 { format!("-{generation}") } else { String::new() };
    format!("{prefix}{name}{suffix}.pcapng")
}

/// An error text ends with what to do, behind its last semicolon.
fn failure(plan: &PortPlan, error: &PortError) -> Failure {
    let text = error.to_string();
    let (what, help) = text.rsplit_once("; ").unwrap_or((&text, ""));
    let kind = if plan.is_service() { "service" } else { "eni" };
    Failure::new(format_args!("{kind} {}: {what}", plan.name), help)
}

fn eni_spec(eni: &Eni, subnet: &CompiledSubnet, takeover: TakeoverMethod) -> PortSpec {
    let setup = || NetworkSetup {
        addresses: eni.addresses().filter_map(|address| in_subnet(address, subnet)).collect(),
        routes: DefaultRoutes::Via {
            v4: Some(subnet.router_v4),
            v6: subnet.router_v6.filter(|_| !eni.ipv6_addresses.is_empty()),
        },
    };
    spec(&eni.attachment, eni.mac, eni.mtu, setup, takeover)
}

fn service_spec(service: &Service, takeover: TakeoverMethod) -> PortSpec {
    let setup = || NetworkSetup {
        addresses: service.addresses.iter().map(|address| IpNet::from(*address)).collect(),
        routes: DefaultRoutes::OnLink,
    };
    spec(&service.attachment, service.mac, Service::MTU, setup, takeover)
}

fn spec(
    attachment: &Attachment,
    mac: MacAddr,
    mtu: u16,
    setup: impl FnOnce() -> NetworkSetup,
    takeover: TakeoverMethod,
) -> PortSpec {
    match attachment {
        Attachment::Tap { device, netns, configure, offload } => PortSpec::Tap(TapSpec {
            device: device.clone(),
            netns: netns.clone(),
            mac,
            mtu,
            offload: *offload,
            setup: configure.then(setup),
        }),
        Attachment::Packet { device, offload } => PortSpec::Packet(PacketSpec {
            device: device.clone(),
            netns: None,
            mtu,
            offload: *offload,
            takeover,
        }),
    }
}

/// An address with the prefix length of its subnet.
fn in_subnet(address: IpAddr, subnet: &CompiledSubnet) -> Option<IpNet> {
    let length = match address {
        IpAddr::V4(_) => subnet.cidr.prefix_len(),
        IpAddr::V6(_) => subnet.ipv6_cidr?.prefix_len(),
    };
    IpNet::new(address, length).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use palisade_policy::{EniKey, ServiceKey};

    /// A TAP for an ENI with this key and name, at this device.
    pub(crate) fn tap(key: u32, name: &str, device: &str) -> PortPlan {
        let spec = TapSpec {
            device: device.to_owned(),
            netns: None,
            mac: MacAddr::default(),
            mtu: 1500,
            offload: true,
            setup: None,
        };
        PortPlan {
            key: PortKey::Eni(EniKey(key)),
            name: name.to_owned(),
            id: None,
            spec: PortSpec::Tap(spec),
            worker: None,
        }
    }

    fn plans(text: &str) -> Vec<PortPlan> {
        let vpc = palisade_policy::draft::load("test", text).unwrap_or_else(|errors| panic!("{errors}"));
        PortPlan::all(&Snapshot::compile(vpc, None), TakeoverMethod::Auto)
    }

    const CONFIG: &str = r#"
        [vpc]
        cidr_blocks = ["10.0.0.0/16"]
        ipv6_cidr_block = "2001:db8:1::/56"
        [subnet.web]
        cidr = "10.0.1.0/24"
        ipv6_cidr = "2001:db8:1:1::/64"
        [eni.web-1]
        subnet = "web"
        address = "10.0.1.10"
        secondary_addresses = ["10.0.1.11"]
        ipv6_address = "2001:db8:1:1::10"
        mtu = 1500
        attach = { tap = "eth0", netns = "web-1", configure = true }
        [eni.web-2]
        subnet = "web"
        address = "10.0.1.20"
        attach = { packet = "veth-web-2", offload = false }
        [service.dns]
        addresses = ["10.0.0.2", "169.254.169.253"]
        attach = { tap = "eth0", netns = "dns", configure = true }
    "#;

    #[test]
    fn a_guest_gets_its_addresses_and_the_router() {
        let plans = plans(CONFIG);
        let plan = plans.iter().find(|plan| plan.name == "web-1").unwrap();
        let PortSpec::Tap(tap) = &plan.spec else { panic!("web-1 is on a TAP") };
        let setup = tap.setup.as_ref().unwrap();
        let expected =
            ["10.0.1.10/24", "10.0.1.11/24", "2001:db8:1:1::10/64"].map(|net| net.parse().unwrap());
        assert_eq!(setup.addresses, expected);
        assert_eq!(
            setup.routes,
            DefaultRoutes::Via { v4: "10.0.1.1".parse().ok(), v6: "2001:db8:1:1::1".parse().ok() }
        );
        assert_eq!((tap.mtu, tap.offload, plan.spec.place()), (1500, true, (Some("web-1"), "eth0")));
    }

    #[test]
    fn a_packet_attachment_takes_the_interface_as_it_is() {
        let plans = plans(CONFIG);
        let plan = plans.iter().find(|plan| plan.name == "web-2").unwrap();
        let PortSpec::Packet(packet) = &plan.spec else { panic!("web-2 is on a packet socket") };
        assert_eq!((packet.device.as_str(), packet.mtu, packet.offload), ("veth-web-2", 9001, false));
    }

    #[test]
    fn a_service_gets_its_reserved_addresses_one_by_one() {
        let plans = plans(CONFIG);
        let plan = plans.iter().find(|plan| plan.is_service()).unwrap();
        let PortSpec::Tap(tap) = &plan.spec else { panic!("dns is on a TAP") };
        let setup = tap.setup.as_ref().unwrap();
        assert_eq!(setup.addresses, ["10.0.0.2/32", "169.254.169.253/32"].map(|net| net.parse().unwrap()));
        assert_eq!(setup.routes, DefaultRoutes::OnLink);
    }

    #[test]
    fn an_address_does_not_make_another_device() {
        let one = plans(CONFIG);
        let other = plans(&CONFIG.replace("\"10.0.1.11\"", "\"10.0.1.12\""));
        assert_ne!(one[0].spec, other[0].spec);
        assert!(one[0].spec.same_device(&other[0].spec));
        let smaller = plans(&CONFIG.replace("mtu = 1500", "mtu = 1400"));
        assert!(!one[0].spec.same_device(&smaller[0].spec));
    }

    #[test]
    fn captures_have_names_that_a_directory_takes() {
        let eni = tap(1, "a/b", "eth0");
        assert_eq!(capture_name(&eni, 1), "a_b.pcapng");
        assert_eq!(capture_name(&eni, 4), "a_b-4.pcapng");
        let service = PortPlan { key: PortKey::Service(ServiceKey(0)), ..tap(0, "dns", "eth0") };
        assert_eq!(capture_name(&service, 1), "service-dns.pcapng");
    }

    #[test]
    fn an_error_says_what_to_do_on_a_line_of_its_own() {
        let error = PortError::NetnsMissing { netns: "web-1".to_owned() };
        let failure = failure(&tap(1, "web-1", "eth0"), &error);
        assert_eq!(failure.what, "eni web-1: network namespace web-1 does not exist");
        assert_eq!(failure.help, "create it with: ip netns add web-1");
    }
}
