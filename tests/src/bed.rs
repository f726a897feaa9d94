//! A VPC of three guests in two subnets and, where wanted, a DNS service, with a daemon between them.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::guest::{GuestPlan, mac_text};
use crate::{Daemon, Guest, Netns, Policy, PortKind};

/// One bed at a time: they would share two CPUs and disturb each other's time limits.
static SERIAL: Mutex<()> = Mutex::new(());

/// What a bed is to be, apart from its policy.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Guests `a` and `c` of subnet `web`, `b` of subnet `data`.
    pub guests: Vec<GuestPlan>,
    /// Whether a service on 10.0.0.2, 169.254.169.253 and `fd00:ec2::253` is wanted, in namespace [`Bed::service`].
    pub service: bool,
    /// Further options of `palisade run`.
    pub options: Vec<String>,
    /// Which of the daemon's short cuts are on.
    pub mode: Mode,
}

/// Short cuts of the daemon, none of which may make a difference to what arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// Verdicts of flows are kept.
    pub flow_cache: bool,
    /// Segments and datagrams of a flow leave together.
    pub gro: bool,
    /// Worker threads; `None`: as the load has it.
    pub workers: Option<u8>,
}

impl Mode {
    /// Both short cuts, as the daemon has them by default, none, and each alone; one worker and two.
    pub const ALL: [Self; 4] = [
        Self { flow_cache: true, gro: true, workers: None },
        Self { flow_cache: false, gro: false, workers: Some(2) },
        Self { flow_cache: true, gro: false, workers: Some(1) },
        Self { flow_cache: false, gro: true, workers: Some(2) },
    ];

    /// Each kind of port with everything on and with everything off.
    pub fn with_kinds() -> impl Iterator<Item = (PortKind, Self)> {
        let [on, off, ..] = Self::ALL;
        [PortKind::Tap, PortKind::Packet].into_iter().flat_map(move |kind| [(kind, on), (kind, off)])
    }

    fn toml(self, dir: &Path) -> String {
        let Self { flow_cache, gro, workers } = self;
        let flows = if flow_cache { 65_536 } else { 0 };
        let workers = workers.map_or_else(String::new, |workers| format!("workers = {workers}\n"));
        let spool = dir.join("spool");
        format!(
            "[daemon]\n{workers}flow_cache = {flows}\ngro = {gro}\nflow_log_spool = \"{}\"\n\n",
            spool.display()
        )
    }
}

impl Setup {
    /// Guest `a` (10.0.1.10) attached by one kind of port, `b` (10.0.2.10) by another, `c` (10.0.1.11) like `a`.
    #[must_use]
    pub fn new(a: PortKind, b: PortKind) -> Self {
        let plan =
            |name, subnet, kind, host| GuestPlan { name, subnet, kind, host, mtu: 9001, offload: true };
        let guests = vec![plan("a", "web", a, 10), plan("b", "data", b, 10), plan("c", "web", a, 11)];
        Self { guests, service: false, options: Vec::new(), mode: Mode::ALL[0] }
    }

    /// All guests on TAPs.
    #[must_use]
    pub fn taps() -> Self {
        Self::new(PortKind::Tap, PortKind::Tap)
    }

    /// With a service attachment.
    #[must_use]
    pub fn with_service(mut self) -> Self {
        self.service = true;
        self
    }

    /// With options of `palisade run`.
    #[must_use]
    pub fn with_options(mut self, options: &[&str]) -> Self {
        self.options = options.iter().map(|&option| option.to_owned()).collect();
        self
    }

    /// In another mode.
    #[must_use]
    pub fn in_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Changes one guest's plan.
    #[must_use]
    pub fn with(mut self, guest: &str, change: impl FnOnce(&mut GuestPlan)) -> Self {
        let found = self.guests.iter_mut().find(|plan| plan.name == guest);
        change(found.expect("a, b or c"));
        self
    }
}

/// Addresses of the service of a bed.
pub const SERVICE_ADDRESSES: [&str; 3] = ["10.0.0.2", "169.254.169.253", "fd00:ec2::253"];

/// The running VPC. Order of fields is order of dropping: the daemon stops while its devices are still there.
#[derive(Debug)]
pub struct Bed {
    /// The daemon; taken out by tests that stop it themselves.
    pub daemon: Option<Daemon>,
    /// Namespace of the service attachment.
    pub service: Option<Netns>,
    guests: Vec<Guest>,
    /// The daemon's own namespace.
    pub fabric: Netns,
    setup: Setup,
    dir: Directory,
    _serial: MutexGuard<'static, ()>,
}

impl Bed {
    /// Makes everything, starts the daemon and waits until the guests' addresses can be used.
    #[must_use]
    pub fn start(setup: Setup, policy: &Policy) -> Self {
        let mut bed = Self::prepare(setup);
        bed.start_daemon(policy).unwrap_or_else(|why| panic!("the daemon did not start: {why}"));
        bed
    }

    /// Makes everything but the daemon.
    #[must_use]
    pub fn prepare(setup: Setup) -> Self {
        let serial = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
        let fabric = Netns::create("fabric");
        let guests = setup.guests.iter().map(|plan| Guest::create(plan.clone(), &fabric)).collect();
        let service = setup.service.then(|| Netns::create("dns"));
        Self { daemon: None, service, guests, fabric, setup, dir: Directory::make(), _serial: serial }
    }

    /// Starts the daemon, which must not be running, and waits until the guests' addresses can be used.
    ///
    /// # Errors
    /// What the daemon wrote if it did not start.
    pub fn start_daemon(&mut self, policy: &Policy) -> Result<(), String> {
        let options: Vec<&str> = self.setup.options.iter().map(String::as_str).collect();
        self.daemon = Some(Daemon::start(&self.fabric, &self.dir.0, &self.config(policy), &options)?);
        for netns in self.guests.iter().map(|guest| &guest.netns).chain(&self.service) {
            await_addresses(netns);
        }
        Ok(())
    }

    /// The daemon.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("the test has not stopped it")
    }

    /// Which of the daemon's short cuts are on.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.setup.mode
    }

    /// A guest by name.
    #[must_use]
    pub fn guest(&self, name: &str) -> &Guest {
        self.guests.iter().find(|guest| guest.plan.name == name).expect("a, b or c")
    }

    /// All guests.
    #[must_use]
    pub fn guests(&self) -> &[Guest] {
        &self.guests
    }

    /// A directory that lives as long as the bed.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir.0
    }

    /// Applies another policy.
    ///
    /// # Errors
    /// What `palisade reload` wrote when it was refused.
    pub fn reload(&self, policy: &Policy) -> Result<(), String> {
        self.daemon().reload(&self.config(policy))
    }

    /// The whole configuration file with a policy.
    #[must_use]
    pub fn config(&self, policy: &Policy) -> String {
        let mut text = String::from(
            "[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\nipv6_cidr_block = \"2001:db8:1::/56\"\n\n\
             [quotas]\nnetwork_acl_entries = 100\n\n",
        );
        for (name, number) in [("web", 1), ("data", 2)] {
            text.push_str(&subnet_toml(name, number, policy.has_acl(name)));
        }
        text.push_str(&self.setup.mode.toml(self.dir()));
        text.push_str(&policy.toml());
        self.guests.iter().for_each(|guest| text.push_str(&eni_toml(guest)));
        self.service.iter().for_each(|service| text.push_str(&service_toml(service)));
        text
    }
}

fn subnet_toml(name: &str, number: u8, own_acl: bool) -> String {
    let acl = if own_acl { format!("network_acl = \"{name}\"\n") } else { String::new() };
    format!(
        "[subnet.{name}]\ncidr = \"10.0.{number}.0/24\"\nipv6_cidr = \"2001:db8:1:{number}::/64\"\n{acl}\n"
    )
}

fn service_toml(service: &Netns) -> String {
    let attach = format!("{{ tap = \"eth0\", netns = \"{}\", configure = true }}", service.name());
    format!("[service.dns]\naddresses = {SERVICE_ADDRESSES:?}\nattach = {attach}\n")
}

fn eni_toml(guest: &Guest) -> String {
    let plan = &guest.plan;
    let (name, subnet, mtu, offload) = (plan.name, plan.subnet, plan.mtu, plan.offload);
    let (mac, v4, v6) = (mac_text(plan.mac()), plan.ipv4(), plan.ipv6());
    let attach = match plan.kind {
        PortKind::Tap => format!("tap = \"eth0\", netns = \"{}\", configure = true", guest.netns.name()),
        PortKind::Packet => format!("packet = \"{}\"", plan.host_device()),
    };
    format!(
        "[eni.{name}]\nsubnet = \"{subnet}\"\nmac = \"{mac}\"\naddress = \"{v4}\"\nipv6_address = \"{v6}\"\n\
         mtu = {mtu}\ngroups = [\"{name}\"]\nattach = {{ {attach}, offload = {offload} }}\n\n"
    )
}

/// A directory removed on drop.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn make() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pal-t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap_or_else(|why| panic!("{}: {why}", dir.display()));
        Self(dir)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Waits until `eth0` is up and no address of it is still being probed for duplicates.
pub(crate) fn await_addresses(netns: &Netns) {
    let start = Instant::now();
    loop {
        let all = netns.ip("address show dev eth0");
        let up = all.contains("LOWER_UP") && all.lines().any(|line| line.trim_start().starts_with("inet "));
        if up && !all.contains("tentative") {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "eth0 of {} was not ready:\n{all}", netns.name());
        thread::sleep(Duration::from_millis(20));
    }
}

/// `[::1]:80` or `127.0.0.1:80`, as the tools of a shell want it.
#[must_use]
pub fn host_port(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}
