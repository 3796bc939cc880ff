# SPDX-License-Identifier: Apache-2.0
"""Two real Kea servers with the high-availability hook as one gateway of a real weftd: they serve real clients, one is
killed, pools come and go meanwhile, it comes back, roles change. One is on the gateway (unix socket), one on another
host (control agent over HTTP)."""
import ipaddress
import json
import re
import signal
import socket
import subprocess
import time

import pytest

from bng_lab import DOMAIN, HOOKS, Gateway, Lab, LabError, wait_until
from weftd_lab import Weftd

ROOT = ipaddress.ip_network("10.60.0.0/24")
STATE = "weft-apm:apm/state"
FAR = "100.64.0.3"  # the second server's address towards subscribers
SERVERS = {"kea1": ("bng", "10.255.9.1", "subs0"), "kea2": ("dhcp2", "10.255.9.2", "lan0")}


class Pair(Gateway):
    """The lab's gateway with kea1 on it and kea2 on a host of its own, on the subscribers' bridge."""

    family, mode, fence, hooked = 4, "hot-standby", True, ("kea1", "kea2")

    def __init__(self, lab, tmp_path, mode="hot-standby", lease=(20, 4, 15), tls=False, **kw):
        super().__init__(lab, lease=lease, frr=False, **kw)
        self.mode, self.tls = mode, tls
        self.weftd = Weftd(tmp_path / "weftd", options=("--hostname", "weft"), address="10.255.1.1",
                           within=["ip", "netns", "exec", lab.ns("core")])
        self.server = {}

    # ---- two Kea instead of one ---------------------------------------------------------------
    def start_kea(self):
        self.lab.node("dhcp2", forward=True)
        self.lab.link("bng", "ha", "10.255.9.1/30", "dhcp2", "ha", "10.255.9.2/30")
        self.lab.link("bng", "p-dhcp2", None, "dhcp2", "lan0", f"{FAR}/24")
        self.lab.ip("bng", "link", "set", "dev", "p-dhcp2", "master", "subs0")
        self.prepare()
        for name, (node, address, _) in SERVERS.items():
            self.write_server(name)
            self.control_agent(name, node, address, 8001)
            self.start_server(name)
        if self.tls:
            d = self.lab.path("kea2")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                            f"{d}/key", "-out", f"{d}/crt", "-days", "2", "-subj", "/CN=kea2", "-addext",
                            "subjectAltName=IP:10.255.9.2"], check=True, capture_output=True)
            self.control_agent("kea2", "dhcp2", "10.255.9.2", 8002, **{
                "trust-anchor": f"{d}/crt", "cert-file": f"{d}/crt", "key-file": f"{d}/key", "cert-required": False})

    def control_agent(self, name, node, address, port, **more):
        path = self.lab.write(f"{name}/agent{port}.conf", json.dumps({"Control-agent": {
            "http-host": address, "http-port": port, **more, "control-sockets": {
                f"dhcp{self.family}": {"socket-type": "unix", "socket-name": self.lab.path(name, "ctrl")}}}}))
        self.lab.spawn(node, f"{name}-agent-{port}", [self.lab.unconfined("kea-ctrl-agent"), "-c", path],
                       env=self.environment(name))

    def prepare(self):
        pass

    def environment(self, name):
        return {"KEA_PIDFILE_DIR": self.lab.path(name), "KEA_LOCKFILE_DIR": self.lab.path(name)}

    def hooks(self, name):
        found = [{"library": f"{HOOKS}/libdhcp_{h}.so"} for h in ("lease_cmds", "stat_cmds")]
        second = "standby" if self.mode == "hot-standby" else "secondary"
        ha = {"this-server-name": name, "mode": self.mode, "heartbeat-delay": 500, "max-response-delay": 4000,
              "max-ack-delay": 1000, "max-unacked-clients": 0, "peers": [
                  {"name": n, "url": f"http://{a}:8001/", "role": "primary" if n == "kea1" else second}
                  for n, (_, a, _) in SERVERS.items()]}
        if self.fence:
            ha["state-machine"] = {"states": [{"state": "waiting", "pause": "always"}]}
        if name in self.hooked:
            found.append({"library": f"{HOOKS}/libdhcp_ha.so", "parameters": {"high-availability": [ha]}})
        return found

    def write_server(self, name):
        path = self.lab.path(name)
        self.lab.write(f"{name}/kea.conf", json.dumps({f"Dhcp{self.family}": {
            "interfaces-config": {"interfaces": [SERVERS[name][2]], **({"dhcp-socket-type": "raw"} if self.family == 4 else {})},
            "control-socket": {"socket-type": "unix", "socket-name": f"{path}/ctrl"},
            "lease-database": {"type": "memfile", "persist": True, "name": f"{path}/leases.csv", "lfc-interval": 0},
            "expired-leases-processing": {"reclaim-timer-wait-time": 1, "hold-reclaimed-time": 1,
                                          "flush-reclaimed-timer-wait-time": 1},
            "hooks-libraries": self.hooks(name), "multi-threading": {"enable-multi-threading": False},
            **({"server-id": {"type": "LL", "persist": False}} if self.family == 6 else {}),
            "valid-lifetime": self.lease[0]}}))

    def start_server(self, name):
        self.server[name] = self.lab.spawn(
            SERVERS[name][0], name, [self.lab.unconfined(f"kea-dhcp{self.family}"), "-c", self.lab.path(name, "kea.conf")],
            env=self.environment(name))
        wait_until(f"the control socket of {name}", 20, lambda: self.command(name, "status-get")["result"] == 0)

    def command(self, name, command, **arguments):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            try:
                s.connect(self.lab.path(name, "ctrl"))
            except OSError:
                return {"result": -1}
            s.sendall(json.dumps({"command": command, **({"arguments": arguments} if arguments else {})}).encode())
            data = b""
            while chunk := s.recv(65536):
                data += chunk
        return json.loads(data)

    def subnets(self, name):
        """Prefix -> drained? of what the agent has put into that server."""
        found = {}
        dhcp = self.command(name, "config-get")["arguments"][f"Dhcp{self.family}"]
        for net in dhcp.get("shared-networks", []):
            for s in net[f"subnet{self.family}"]:
                found[s["subnet"]] = all(p.get("client-class") == "weft-drain" for p in s["pools"] + s.get("pd-pools", []))
        return found

    def in_file(self, name):
        """The same of the file it would start from."""
        with open(self.lab.path(name, "kea.conf"), encoding="utf-8") as f:
            dhcp = json.load(f)[f"Dhcp{self.family}"]
        return {s["subnet"] for net in dhcp.get("shared-networks", []) for s in net[f"subnet{self.family}"]}

    def given(self, name):
        """Address -> hardware address of every lease in that server's own list."""
        found = self.command(name, f"lease{self.family}-get-all").get("arguments", {}).get("leases", [])
        pairs = [(x["ip-address"], x.get("hw-address") or x.get("duid")) for x in found if x["state"] == 0]
        assert len(dict(pairs)) == len(pairs), f"given twice: {sorted(pairs)}"
        return dict(pairs)

    # ---- controller and agent -------------------------------------------------------------------
    def kea_config(self):
        far = {"url": "https://10.255.9.2:8002/", "ca": self.lab.path("kea2", "crt")} if self.tls else {
            "url": "http://10.255.9.2:8001/"}
        return {"servers": [
            {"name": "kea1", "socket": self.lab.path("kea1", "ctrl"), "config-file": self.lab.path("kea1", "kea.conf")},
            {"name": "kea2", **far, "interfaces": {"subs0": f"lan0/{FAR}"}}],
            "socket": None, "config-file": None, "interval-ms": 200, "min-reload-interval-ms": 300}

    def write_agent(self, **more):
        path = super().write_agent(managers=[{"host": "10.255.1.1", "port": self.weftd.ports["apmi-clear"]}], **more)
        with open(path, encoding="utf-8") as f:
            config = json.load(f)
        config["kea"] = {k: v for k, v in {**config["kea"], **self.kea_config()}.items() if v is not None}
        return self.lab.write("agent/agent.json", json.dumps(config))

    def configure(self):
        r = self.weftd.ask("PUT", "weft-apm:apm", {"weft-apm:apm": {
            "inet-pool": {"partition": [{"name": "westford", "min-prefix-len": 20, "max-prefix-len": 28,
                                         "prefix": [{"prefix": str(ROOT)}]}]},
            "pool-domain-profile": [{"name": "std", "apportion-threshold": 3, "reclaim-threshold": 20, "hold-down": 1,
                                     "auto-reclamation": {}}],
            "entity-match": [{"system-id": "bng1", "pool-domain-profile": "std"}]}})
        assert r.status in (201, 204), r

    def book(self):
        """What the controller says that the gateway has: prefix -> state; None: it is not there."""
        r = self.weftd.ask("GET", STATE + "/entity=bng1")
        if r.status != 200:
            return None
        e = r.json()["weft-apm:entity"][0]
        assert not any(d.get("conflict") for d in e.get("pool-domain", [])), e
        if e["status"] != "reachable":
            return None
        return {p["prefix"]: p["state"] for d in e.get("pool-domain", []) for p in d.get("pool", [])}

    def dhcp(self):
        return self.state()["kea" if self.family == 4 else "kea6"]

    def servers(self):
        return {s["name"]: s for s in self.dhcp()["servers"]}

    def whole(self):
        """Both servers are there, in their roles, with the same pools as agent and controller: those."""
        state = self.dhcp()
        if not state["in-line"] or any(s["state"] != self.mode for s in state["servers"]):
            return None
        book = self.book()
        if not book or set(book.values()) - {"active"}:
            return None
        pools = {p["prefix"]: p["status"] for d in self.state()["domains"] for p in d["pools"]}
        one, two = (self.subnets(n) for n in SERVERS)
        return book if one == two and set(one) == set(book) == set(pools) and not any(one.values()) and \
            set(pools.values()) == {"Active"} else None

    def pair(self, n):
        return wait_until(f"the pair with {n} pools", 90, lambda: (lambda b: b if b and len(b) == n else None)(self.whole()))

    def load(self, clients, rate=20):
        """That many subscribers behind a relay; whoever serves answers. They ask once, so those whom a busy machine
        left without an answer ask anew; that nobody answers may be what a test is about."""
        for _ in range(3):
            try:
                self.lab.run("load", "perfdhcp", "-4", "-l", "eth0", "-r", str(rate), "-R", str(clients), "-n",
                             str(clients), "-W", "2000000", timeout=120)
                return
            except LabError:
                pass

    def used(self):
        return sum(p["used"] for p in self.pools().values())


@pytest.fixture
def lab():
    with Lab("bngh", "/tmp/weft-e2e/bngh") as made:
        yield made


@pytest.fixture
def up(lab, tmp_path):
    made = []

    def make(kind=Pair, **kw):
        gw = kind(lab, tmp_path, **kw).build()
        made.append(gw)
        gw.weftd.__enter__()
        gw.configure()
        gw.start_agent()
        return gw
    yield make
    for gw in made:
        gw.weftd.__exit__(None, None, None)


def inside(address, prefixes):
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(p) for p in prefixes)


# proves: APM-001 APM-003 APM-153
def test_hot_standby(up):
    gw = up()
    book = gw.pair(1)
    text = gw.ask("status").stdout
    assert re.search(r"DHCP: in line, complete\n +kea1: in line, primary, hot-standby, serves\n +kea2: in line, hot-standby\n", text), text
    c0 = gw.dial_in("c0")
    assert inside(c0, book)
    wait_until("both servers know the lease", 10, lambda: c0 in gw.given("kea1") and c0 in gw.given("kea2"))
    # Growth: on both, counted once.
    gw.load(10)
    book = gw.pair(2)
    wait_until("each lease counts once", 10, lambda: gw.used() == 11 == len(gw.given("kea1")))
    assert gw.in_file("kea1") == gw.in_file("kea2") == set(book)
    assert gw.metric('weft_bng_kea_serves{server="kea1"}') == 1 and gw.metric('weft_bng_kea_serves{server="kea2"}') == 0

    # The primary dies. Its partner serves, and pools grow and shrink without it.
    gw.server["kea1"].kill(signal.SIGKILL)
    wait_until("the partner serves alone", 30, lambda: gw.servers()["kea2"]["state"] == "partner-down")
    assert "one server is away" in gw.ask("status").stdout
    assert "DHCP server kea1 is away" in gw.ask("alarms").stdout
    c1 = gw.dial_in("c1")
    assert c1 != c0 and c1 in gw.given("kea2")
    gw.load(24)
    wait_until("a third pool", 40, lambda: len(gw.book() or {}) >= 3)
    wait_until("it is used", 20, lambda: set(gw.subnets("kea2")) == set(gw.book()))
    # The agent dies as well, and does not know any more what it knew of the server that is away.
    gw.agent.kill(signal.SIGKILL)
    gw.start_agent()
    # perfdhcp's subscribers never renew: surplus, drain, back to the controller.
    book = wait_until("only what is needed is left", 120, lambda: (
        lambda b: b if b and len(b) == 1 and set(b.values()) == {"active"} else None)(gw.book()))
    assert gw.in_file("kea1") - set(book), "the server that is away still has what was given back"
    # Each of these changes has started its partner's hook anew, and each time it has served again at once.
    log = open(gw.server["kea2"].log, encoding="utf-8").read()
    alone = log[log.index("to PARTNER-DOWN state"):]
    starts, at_once = (alone.count(x) for x in ("HA_SERVICE_STARTED", "HA_MAINTENANCE_STARTED_IN_PARTNER_DOWN"))
    assert starts >= 2 and at_once >= starts - 1, (starts, at_once)  # the agent may have died between the two
    part = gw.weftd.ask("GET", STATE + "/partition=westford").json()["weft-apm:partition"][0]
    assert part["allocated-addresses"] == "16", part

    # It comes back with its old file: it is set right before it serves.
    stale = gw.in_file("kea1") - set(book)
    gw.start_server("kea1")
    assert set(gw.pair(1)) == set(book)
    log = open(gw.server["kea1"].log, encoding="utf-8").read()
    last = log[log.rindex("HA_SERVICE_STARTED"):]
    assert "HA_STATE_MACHINE_CONTINUED" in last and "server transitions from WAITING" in last, last
    for name in SERVERS:
        assert not any(inside(a, stale) for a in gw.given(name)), (name, gw.given(name))
    assert wait_until("both know the same leases", 20, lambda: gw.given("kea1") == gw.given("kea2") and gw.given("kea1"))
    now = {c: gw.address(c) for c in gw.clients}
    assert len(set(now.values())) == 2 and all(inside(a, book) for a in now.values()), (now, book)
    assert gw.servers()["kea1"]["serves"] and not gw.servers()["kea2"]["serves"]


# proves: APM-003
def test_roles_are_switched(up):
    gw = up()
    gw.pair(1)
    gw.dial_in("c0")
    # An operator takes the primary out of service: its partner serves. That stays so, also when pools change.
    assert gw.command("kea2", "ha-maintenance-start")["result"] == 0
    wait_until("the roles are switched", 10, lambda: gw.servers()["kea2"]["serves"] and not gw.servers()["kea1"]["serves"])
    gw.load(10)
    wait_until("a second pool at the controller", 60, lambda: len(gw.book() or {}) == 2)
    wait_until("on both", 60, lambda: set(gw.subnets("kea1")) == set(gw.subnets("kea2")) == set(gw.book()))
    wait_until("still by the partner", 30, lambda: gw.servers()["kea2"]["state"] == "partner-in-maintenance"
               and gw.servers()["kea1"]["state"] == "in-maintenance")
    # The standby host dies while it serves; the primary goes on alone.
    gw.server["kea2"].kill(signal.SIGKILL)
    wait_until("the primary serves", 40, lambda: gw.servers()["kea1"]["serves"])
    assert gw.dial_in("c1") in gw.given("kea1")
    gw.start_server("kea2")
    wait_until("the pair is whole", 90, gw.whole)
    wait_until("both know the same leases", 20, lambda: gw.given("kea1") == gw.given("kea2") and gw.given("kea1"))


# proves: APM-003
def test_load_balancing(up):
    gw = up(mode="load-balancing", tls=True)
    gw.pair(1)
    assert all(s["serves"] for s in gw.servers().values())
    gw.dial_in("c0")
    gw.load(10)
    book = gw.pair(2)
    wait_until("each lease counts once", 20, lambda: gw.used() == len(gw.given("kea1")) == len(gw.given("kea2")) == 11)
    gw.load(22)
    book = gw.pair(len(book) + 1)
    gw.server["kea2"].kill(signal.SIGKILL)
    wait_until("one serves alone", 30, lambda: gw.servers()["kea1"]["state"] == "partner-down")
    assert inside(gw.dial_in("c1"), book)
    wait_until("pools go while it is away", 120, lambda: len(gw.book() or {}) < len(book) and
               set(gw.book().values()) == {"active"})
    gw.start_server("kea2")
    wait_until("the pair is whole", 90, gw.whole)
    assert all(s["serves"] for s in gw.servers().values())


# proves: APM-003
def test_one_out_of_reach_may_run(up):
    gw = up()
    gw.pair(1)
    gw.dial_in("c0")
    gw.load(10)
    book = gw.pair(2)
    gw.lab.ip("dhcp2", "link", "set", "dev", "ha", "down")
    wait_until("it is out of reach", 60, lambda: "kea2: out of reach" in gw.ask("status").stdout)
    # Growth goes on; the surplus that is there when the leases have ended stays: who can't be asked may give it.
    gw.load(24)
    wait_until("more pools", 60, lambda: len(gw.book() or {}) > len(book))
    wait_until("in use", 30, lambda: any(p["status"] == "Active" and p["prefix"] not in book for p in gw.pools().values()))
    wait_until("a pool would go", 120, lambda: any(gw.subnets("kea1").values()))
    held = set(gw.book())
    time.sleep(8)  # many times what it takes otherwise
    assert set(gw.book()) == held and "drained" not in gw.book().values()
    gw.lab.ip("dhcp2", "link", "set", "dev", "ha", "up")
    wait_until("the rest goes with both", 180, lambda: (lambda b: b and len(b) < len(held))(gw.whole()))


class Pair6(Pair):
    """The same with DHCPv6."""

    family = 6

    def prepare(self):
        for n in ["bng", "dhcp2", "load"] + self.clients:
            self.lab.run(n, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0",
                         "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
            for dev in json.loads(self.lab.ip(n, "-j", "link", "show")):
                self.lab.run(n, "sysctl", "-qw", f"net.ipv6.conf.{dev['ifname']}.disable_ipv6=1",
                             f"net.ipv6.conf.{dev['ifname']}.accept_dad=0", f"net.ipv6.conf.{dev['ifname']}.disable_ipv6=0")

    def write_agent(self, **more):
        path = super().write_agent(**more)
        with open(path, encoding="utf-8") as f:
            config = json.load(f)
        kea = config.pop("kea")
        kea["servers"][1]["interfaces"] = {"subs0": "lan0"}
        lease, renew, rebind = self.lease
        config["kea6"] = kea
        config["domain-profiles"] = [{
            "name": "home", "address-family": "ipv6", "partition": "links", "preferred-prefix-length": 126, "interface": "subs0",
            "lease-s": lease, "renew-s": renew, "rebind-s": rebind, "reclamation-hold-down-s": 1, "horizon-s": 0}]
        return self.lab.write("agent/agent.json", json.dumps(config))

    def configure(self):
        r = self.weftd.ask("PUT", "weft-apm:apm", {"weft-apm:apm": {
            "inet-pool": {"partition": [{"name": "links", "address-family": "ipv6", "min-prefix-len": 100, "max-prefix-len": 126,
                                         "prefix": [{"prefix": "2001:db8:1::/120"}]}]},
            "pool-domain-profile": [{"name": "std", "apportion-threshold": 1, "reclaim-threshold": 7, "hold-down": 1,
                                     "auto-reclamation": {}}],
            "entity-match": [{"system-id": "bng1", "pool-domain-profile": "std"}]}})
        assert r.status in (201, 204), r

    def dial6(self, client):
        self.processes[client] = self.lab.dhclient6(client, "eth0", "-N")
        return wait_until(f"an address of {client}", 40, lambda: self.lab.lease6_of(client).get("address"))


# proves: APM-001 APM-003
def test_ipv6(up):
    gw = up(Pair6, clients=5, lease=(24, 4, 16))
    gw.pair(1)
    had = {c: gw.dial6(c) for c in ("c0", "c1")}
    book = gw.pair(2)  # three addresses each
    gw.server["kea1"].kill(signal.SIGKILL)
    wait_until("the partner serves alone", 60, lambda: gw.servers()["kea2"]["state"] == "partner-down")
    had |= {c: gw.dial6(c) for c in ("c2", "c3", "c4")}
    wait_until("a third pool", 30, lambda: len(gw.book() or {}) == 3 and set(gw.subnets("kea2")) == set(gw.book()))
    gw.start_server("kea1")
    assert set(book) < set(gw.pair(3))
    wait_until("both know the same leases", 20, lambda: set(gw.given("kea1")) == set(gw.given("kea2")) == set(had.values()))
    assert len(set(had.values())) == 5 and gw.used() == 5


def test_two_that_are_no_pair(up, lab, monkeypatch):
    """Two servers that know nothing of each other get no pools: they would give addresses twice."""
    monkeypatch.setattr(Pair, "hooked", ("kea1",))
    gw = up()
    wait_until("it says so", 20, lambda: "kea2: behind, no high availability" in gw.ask("status").stdout)
    wait_until("the controller has given a pool", 30, gw.pools)
    assert "DHCP server kea2 is behind" in gw.ask("alarms").stdout
    assert gw.subnets("kea2") == {} and gw.pools()[DOMAIN]["status"] == "Adding"
