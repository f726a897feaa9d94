"""What is compared: each system joins two namespaces, `client` in one subnet and `server` in another.

All systems of a run are up at once and measured in turn; the processes of those that wait are frozen.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dialects
from lab import Failure, Lab, Process, answer_of, command, inside, sysctl, until
from policy import ANSWERED, CLIENT, FROM_CLIENT, FROM_SERVER, SERVER, TCP_PORT, Policy

ROUTER = {CLIENT: "10.0.1.1", SERVER: "10.0.2.1"}
# The default of the host would do, were it not bbr on some, which paces and so hides differences. As a property of a route it
# needs no permission of the host, and every program of the namespace has it.
CONGESTION = ["congctl", "cubic"]


@dataclass(frozen=True)
class Tools:
    """Programs that are built here."""

    palisade: str
    load: str


class System:
    """Two ends and what is between them. Kinds differ in `_join`, which makes that."""

    routed = True
    filtered = True
    needs: tuple[str, ...] = ()
    on_request = False  # measured only if it is asked for

    def __init__(self, name: str, title: str, rules: tuple[int, int] | None = None, figures: tuple[str, ...] = ()) -> None:
        self.name, self.title, self.rules = name, title, rules
        self.figures = figures  # none: all of them
        self.client = self.server = self.middle = ""
        self._processes: list[Process] = []

    @property
    def policy(self) -> Policy:
        """What it enforces."""
        assert self.rules
        return Policy.of(*self.rules)

    def up(self, lab: Lab, tools: Tools) -> None:
        """Makes everything and sees that it does what it should; frozen afterwards."""
        self.lab, self.tools = lab, tools
        key = self.name.replace(":", "-")
        self.client, self.server, self.middle = (lab.netns(f"{key}-{end}") for end in ("client", "server", "middle"))
        for end in (self.client, self.server):
            # Outside the ports that the ACLs cut, and no memory of what a path could bear.
            sysctl(end, "net.ipv4.ip_local_port_range=10000 65000", "net.ipv4.tcp_no_metrics_save=1")
        try:
            self._join()
            self._routes()
            self._prove()
        except Failure as failure:
            said = "; ".join(f"{process.log.name}: {process.tail()}" for process in self._processes)
            raise Failure(f"{self.name}: {failure}{' (' + said + ')' if said else ''}") from None
        self.freeze()

    def freeze(self) -> None:
        """Others are measured."""
        for process in self._processes:
            process.freeze()

    def thaw(self) -> None:
        """This one is measured."""
        for process in self._processes:
            if not process.alive():
                raise Failure(f"{self.name}: {process.log.name} ended: {process.tail()}")
            process.thaw()

    def pin(self, cpus: set[int]) -> None:
        """Binds what is between the ends to CPUs, where that is processes."""
        for process in self._processes:
            process.pin(cpus)

    def forget(self) -> None:
        """Lets go of the connections of a measurement, where they would weigh on that of another system."""

    def _join(self) -> None:
        raise NotImplementedError

    def _spawn(self, name: str, words: list[str], environment: dict[str, str] | None = None) -> Process:
        process = self.lab.spawn(self.middle, name, words, environment)
        self._processes.append(process)
        return process

    def _veths(self) -> None:
        """A pair for each end; in the middle they are called as the end."""
        for netns, name, address in ((self.client, "client", CLIENT), (self.server, "server", SERVER)):
            pair = ["type", "veth", "peer", "name", name, "netns", self.middle]
            command(["ip", "-n", netns, "link", "add", "eth0", "address", dialects.mac(address), *pair])
            command(["ip", "-n", self.middle, "link", "set", name, "addrgenmode", "none", "up"])
            self._address(netns, address)

    def _address(self, netns: str, address: str) -> None:
        command(["ip", "-n", netns, "address", "add", f"{address}/24", "dev", "eth0"])
        command(["ip", "-n", netns, "link", "set", "eth0", "up"])

    def _routes(self) -> None:
        for netns, own, other in ((self.client, CLIENT, SERVER), (self.server, SERVER, CLIENT)):
            way = ["default", "via", ROUTER[own]] if self.routed else [f"{other}/32"]
            command(["ip", "-n", netns, "route", "replace", *way, "dev", "eth0", *CONGESTION])

    def _prove(self) -> None:
        """What must pass passes, and what must not does not; without a filter everything does."""
        first = f"tcp:{TCP_PORT}"
        with self._answering(self.server, FROM_CLIENT):
            until("a way from client to server", lambda: self._ask(self.client, SERVER, [first]) == {first: ANSWERED})
            self._expect(self.client, SERVER, FROM_CLIENT)
        with self._answering(self.client, FROM_SERVER):
            self._expect(self.server, CLIENT, FROM_SERVER)

    @contextmanager
    def _answering(self, netns: str, ports: Iterable[str]) -> Iterator[None]:
        process = self.lab.spawn(netns, "answer", [self.tools.load, "answer", "60", *ports])
        protocol, last = list(ports)[-1].split(":")  # they are bound in this order
        until("ports to answer", lambda: process.listens(protocol, int(last)))
        yield
        self.lab.end(process)

    def _expect(self, netns: str, host: str, expected: dict[str, str]) -> None:
        seen = self._ask(netns, host, expected)
        for port, wanted in expected.items():
            wanted = wanted if self.filtered else ANSWERED
            if seen[port] != wanted:
                raise Failure(f"{port} of {host} was {seen[port]} and should be {wanted}")

    def _ask(self, netns: str, host: str, ports: Iterable[str]) -> dict[str, str]:
        return answer_of(netns, [self.tools.load, "probe", host, "0.5", *ports], limit=10)


class Direct(System):
    """One veth pair from end to end: the upper bound."""

    routed = filtered = False

    def _join(self) -> None:
        peer = ["type", "veth", "peer", "name", "eth0", "netns", self.server, "address", dialects.mac(SERVER)]
        command(["ip", "-n", self.client, "link", "add", "eth0", "address", dialects.mac(CLIENT), *peer])
        self._address(self.client, CLIENT)
        self._address(self.server, SERVER)


class Bridge(System):
    """The kernel's bridge, without a filter."""

    routed = filtered = False

    def _join(self) -> None:
        self._veths()
        command(["ip", "-n", self.middle, "link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0"])
        for port in ("client", "server"):
            command(["ip", "-n", self.middle, "link", "set", port, "master", "br0"])
        command(["ip", "-n", self.middle, "link", "set", "br0", "up"])


class Nftables(System):
    """The kernel's router with nftables; `dialect` writes the rules."""

    needs = ("nft", "conntrack")

    def __init__(self, name: str, title: str, rules: tuple[int, int], dialect: Callable[[Policy], str]) -> None:
        super().__init__(name, title, rules)
        self._dialect = dialect

    def _join(self) -> None:
        self._veths()
        for port, address in (("client", ROUTER[CLIENT]), ("server", ROUTER[SERVER])):
            command(["ip", "-n", self.middle, "address", "add", f"{address}/24", "dev", port])
        sysctl(self.middle, "net.ipv4.ip_forward=1")
        inside(self.middle, ["nft", "-f", "-"], text=self._dialect(self.policy))

    def forget(self) -> None:
        """All namespaces share one hash table for tracked connections, with chains that grow."""
        subprocess.run(["ip", "netns", "exec", self.middle, "conntrack", "-F"], capture_output=True, timeout=30, check=False)


class OpenVSwitch(System):
    """Its user-space datapath, on packet sockets with segmentation offload or, `afxdp`, on AF_XDP sockets with a thread that polls.
    The latter finishes no partial checksum, so that the ends must, which costs them their large segments."""

    routed = False
    needs = ("ovs-vswitchd",)
    SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"

    def __init__(self, name: str, title: str, rules: tuple[int, int], afxdp: bool = False) -> None:
        super().__init__(name, title, rules)
        self._afxdp = afxdp

    def _join(self) -> None:
        self._veths()
        # Names of sockets have at most 107 bytes.
        self._directory = Path(tempfile.mkdtemp(prefix="ovs", dir=self.lab.directory))
        environment = {name: str(self._directory) for name in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR")}
        database, socket = str(self._directory / "conf.db"), self._directory / "db.sock"
        command(["ovsdb-tool", "create", database, self.SCHEMA])
        self._spawn("ovsdb-server", ["ovsdb-server", database, f"--remote=punix:{socket}"], environment)
        until("the database of Open vSwitch", socket.exists)
        self._vsctl("--no-wait", "init")
        setting = "pmd-cpu-mask=0x1" if self._afxdp else "userspace-tso-enable=true"
        self._vsctl("--no-wait", "set", "Open_vSwitch", ".", f"other_config:{setting}")
        self._spawn("ovs-vswitchd", ["ovs-vswitchd", f"unix:{socket}"], environment)
        self._vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "fail_mode=secure")
        for number, port in enumerate(("client", "server"), 1):
            kind = ["type=afxdp"] if self._afxdp else []
            self._vsctl("add-port", "br0", port, "--", "set", "interface", port, f"ofport_request={number}", *kind)
        flows = self._directory / "flows"
        flows.write_text(dialects.openflow(self.policy))
        inside(self.middle, ["ovs-ofctl", "add-flows", f"unix:{self._directory}/br0.mgmt", str(flows)])
        if self._afxdp:
            for netns in (self.client, self.server):
                inside(netns, ["ethtool", "-K", "eth0", "tx", "off", "tso", "off"])
        errors = self._vsctl("--columns=error", "--bare", "list", "interface").strip()
        if errors:
            raise Failure(f"Open vSwitch: {errors}")

    def _vsctl(self, *words: str) -> str:
        return inside(self.middle, ["ovs-vsctl", f"--db=unix:{self._directory}/db.sock", "--timeout=20", *words])


class Palisade(System):
    """The daemon. `packet`: on packet sockets of veth pairs, else on TAPs; `daemon`: lines of the table of that name; `copied`:
    flow logs are on, and a mirror session of the client copies "everything" or "nothing"."""

    def __init__(
        self,
        name: str,
        title: str,
        rules: tuple[int, int],
        packet: bool = False,
        daemon: str = "",
        figures: tuple[str, ...] = (),
        copied: str = "",
    ) -> None:
        super().__init__(name, title, rules, figures)
        self._packet, self._daemon, self._copied = packet, daemon, copied
        self.on_request = bool(copied)

    def _join(self) -> None:
        if self._packet:
            self._veths()
        directory = Path(tempfile.mkdtemp(prefix="pal", dir=self.lab.directory))
        config = directory / "vpc.toml"
        lines, observed = self._daemon, ""
        if self._copied:
            lines += f'\nflow_log_spool = "{directory / "spool"}"'
            observed = dialects.observed(self._copied == "everything", self.middle, directory / "flow-logs")
        config.write_text(dialects.palisade(self.policy, self._attach, lines) + observed)
        run = [self.tools.palisade, "run", "--socket", str(directory / "socket"), str(config)]
        daemon = self._spawn("palisade", run)
        until("the daemon to forward", lambda: not daemon.alive() or self._is_up())
        if not daemon.alive():
            raise Failure("the daemon ended")

    def _attach(self, guest: str) -> str:
        if self._packet:
            return f'packet = "{guest}"'
        netns = self.client if guest == "client" else self.server
        return f'tap = "eth0", netns = "{netns}", configure = true'

    def _is_up(self) -> bool:
        """Each end has its device, with a route."""
        ends = (self.client, self.server)
        routes = (subprocess.run(["ip", "-n", end, "route", "show", "default"], capture_output=True, check=False) for end in ends)
        return all(b"eth0" in shown.stdout for shown in routes) or self._packet


ROUND_TRIPS = ("rr_same", "rr_split")
OBSERVED = ("tcp1", "udp_pps", "cps", "rr_same")
SMALL, LARGE = (20, 60), (1000, 1000)
BASE = "nft"  # what ratios are to


def catalogue() -> list[System]:
    """All of them, in the order in which they are measured: what is compared with each other stands together."""
    return [
        Direct("direct", "veth pair, nothing between"),
        Bridge("bridge", "Linux bridge, no filter"),
        Nftables(BASE, "nftables, 20+60 rules", SMALL, dialects.nft_lists),
        Palisade("palisade-tap", "Palisade on TAPs, 20+60", SMALL),
        Palisade("palisade-tap:1000", "Palisade on TAPs, 1,000+1,000", LARGE),
        Palisade(
            "palisade-tap:low",
            "Palisade on TAPs, 20+60, low latency",
            SMALL,
            daemon='workers = 2\nlatency = "low"',
            figures=ROUND_TRIPS,
        ),
        Palisade("palisade-tap:observed", "Palisade on TAPs, 20+60, flow logs, a session that copies nothing", SMALL, figures=OBSERVED, copied="nothing"),
        Palisade("palisade-tap:mirrored", "Palisade on TAPs, 20+60, flow logs, a session that copies all", SMALL, figures=OBSERVED, copied="everything"),
        Palisade("palisade-packet", "Palisade on packet sockets, 20+60", SMALL, packet=True),
        Nftables("nftset", "nftables, maps and sets, 20+60", SMALL, dialects.nft_maps),
        Nftables("nftset:1000", "nftables, maps and sets, 1,000+1,000", LARGE, dialects.nft_maps),
        Nftables("nft:1000", "nftables, lists, 1,000+1,000", LARGE, dialects.nft_lists),
        OpenVSwitch("ovs", "Open vSwitch, user space, 20+60", SMALL),
        OpenVSwitch("ovs-afxdp", "Open vSwitch on AF_XDP, 20+60", SMALL, afxdp=True),
    ]
