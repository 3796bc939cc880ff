# SPDX-License-Identifier: Apache-2.0
"""IPv6: real weftd, real weft-bng, Kea's DHCPv6 server, FRR and ISC's DHCPv6 client. A gateway gets pools of
addresses and of prefixes to delegate from Weft, and gives them back."""
import ipaddress
import json
import os
import signal
import socket

import pytest

from bng_lab import HOOKS, Lab, agent_binary, wait_until
from weftd_lab import TOP, Weftd

LINKS, HOMES = ipaddress.ip_network("2001:db8:1::/120"), ipaddress.ip_network("2001:db8:8000::/48")
STATE = "weft-apm:apm/state"


class Site:
    """Controller and core router in `core`; gateway in `bng`; clients on its bridge."""

    def __init__(self, lab, tmp_path, clients=3):
        self.lab, self.clients = lab, [f"c{i}" for i in range(clients)]
        for n in ["core", "bng"] + self.clients:
            lab.node(n, forward=n in ("core", "bng"))
            # Addresses of the lab are nobody else's: no waiting for duplicates.
            lab.run(n, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0",
                    "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.forwarding=" + str(int(n in ("core", "bng"))))
        lab.link("core", "to-bng", "10.255.1.1/30", "bng", "uplink", "10.255.1.2/30")
        lab.ip("core", "-6", "address", "add", "2001:db8:ff::1/64", "dev", "to-bng", "nodad")
        lab.ip("bng", "-6", "address", "add", "2001:db8:ff::2/64", "dev", "uplink", "nodad")
        for c in self.clients:
            lab.link("bng", f"p-{c}", None, c, "eth0", None)
        lab.bridge("bng", "subs0", [f"p-{c}" for c in self.clients])
        self.weftd = Weftd(tmp_path / "weftd", options=("--hostname", "weft"), address="10.255.1.1",
                           within=["ip", "netns", "exec", lab.ns("core")])
        self.dhcp = {}

    # ---- routing ------------------------------------------------------------------------------
    def start_frr(self):
        def bgp(own, peer, *family):
            return "\n".join([f"router bgp {own}", f" bgp router-id 10.255.1.{own - 64999}", " no bgp ebgp-requires-policy",
                              f" neighbor {peer} remote-as {64999 + 65002 - own}", f" neighbor {peer} timers connect 1",
                              " no bgp default ipv4-unicast", " address-family ipv6 unicast",
                              f"  neighbor {peer} activate", *family, " exit-address-family"])
        self.lab.frr("core", {"zebra": "", "bgpd": bgp(65000, "2001:db8:ff::2")})
        self.lab.frr("bng", {"zebra": "", "staticd": "", "bgpd": bgp(
            65001, "2001:db8:ff::1", "  redistribute static route-map POOLS") + "\n" + "\n".join([
                "route-map POOLS permit 10", " match tag 1000", "route-map POOLS permit 20", " match tag 2000",
                " set metric 500"])})

    def at_core(self):
        """Prefix -> metric of what the core router has learnt."""
        table = json.loads(self.lab.vtysh("core", "show bgp ipv6 unicast json"))
        return {p: r[0].get("metric", 0) for p, r in table["routes"].items()}

    # ---- Kea ------------------------------------------------------------------------------------
    def kea_path(self, name):
        os.makedirs(self.lab.path("kea"), exist_ok=True)
        return self.lab.path("kea", name)

    def start_kea(self):
        if not os.path.exists(self.kea_path("kea6.conf")):
            self.lab.write("kea/kea6.conf", json.dumps({"Dhcp6": {
                "interfaces-config": {"interfaces": ["subs0"]},
                "control-socket": {"socket-type": "unix", "socket-name": self.kea_path("ctrl6")},
                "server-id": {"type": "LL", "persist": False},
                "lease-database": {"type": "memfile", "persist": True, "name": self.kea_path("leases6.csv"), "lfc-interval": 0},
                "expired-leases-processing": {"reclaim-timer-wait-time": 1, "hold-reclaimed-time": 1,
                                              "flush-reclaimed-timer-wait-time": 1},
                "hooks-libraries": [{"library": f"{HOOKS}/libdhcp_{h}.so"} for h in ("lease_cmds", "stat_cmds")] + [
                    {"library": f"{HOOKS}/libdhcp_run_script.so",
                     "parameters": {"name": os.path.join(TOP, "agents", "bng", "weft-bng-pd-route"), "sync": False}}],
                "multi-threading": {"enable-multi-threading": False}}}))
        self.kea = self.lab.spawn("bng", "kea6", [self.lab.unconfined("kea-dhcp6"), "-c", self.kea_path("kea6.conf")], env={
            "KEA_PIDFILE_DIR": self.lab.path("kea"), "KEA_LOCKFILE_DIR": self.lab.path("kea")})
        wait_until("Kea's control socket", 20, lambda: self.command("status-get")["result"] == 0)

    def command(self, command, **arguments):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.connect(self.kea_path("ctrl6"))
            s.sendall(json.dumps({"command": command, **({"arguments": arguments} if arguments else {})}).encode())
            data = b""
            while chunk := s.recv(65536):
                data += chunk
        return json.loads(data)

    def leases(self):
        """What Kea has given: (type, address) -> length, each once."""
        found = self.command("lease6-get-all").get("arguments", {}).get("leases", [])
        pairs = [((x["type"], x["ip-address"]), x.get("prefix-len", 128)) for x in found if x["state"] == 0]
        assert len(dict(pairs)) == len(pairs), f"given twice: {sorted(pairs)}"
        return dict(pairs)

    # ---- controller and agent ---------------------------------------------------------------------
    def configure(self):
        r = self.weftd.ask("PUT", "weft-apm:apm", {"weft-apm:apm": {
            "inet-pool": {"partition": [
                {"name": "links", "address-family": "ipv6", "min-prefix-len": 100, "max-prefix-len": 126,
                 "prefix": [{"prefix": str(LINKS)}]},
                {"name": "homes", "address-family": "ipv6", "delegated-prefix-len": 56, "min-prefix-len": 40,
                 "max-prefix-len": 54, "prefix": [{"prefix": str(HOMES)}]}]},
            "pool-domain-profile": [{"name": "std", "apportion-threshold": 1, "reclaim-threshold": 6, "hold-down": 1,
                                     "auto-reclamation": {}}],
            "entity-match": [{"system-id": "bng1", "pool-domain-profile": "std"}]}})
        assert r.status in (201, 204), r

    def start_agent(self):
        common = {"address-family": "ipv6", "interface": "subs0", "lease-s": 24, "renew-s": 4, "rebind-s": 16,
                  "reclamation-hold-down-s": 1, "horizon-s": 0, "discard-routes": {"tag": 1000, "backup-tag": 2000}}
        config = {"system-id": "bng1", "managers": [{"host": "10.255.1.1", "port": self.weftd.ports["apmi-clear"]}],
                  "clear-text": True, "state": self.lab.path("agent", "state.db"), "socket": self.lab.path("agent", "sock"),
                  "kea6": {"socket": self.kea_path("ctrl6"), "config-file": self.kea_path("kea6.conf"),
                           "interval-ms": 200, "min-reload-interval-ms": 300},
                  "frr": {"pathspace": self.lab.ns("bng"), "check-s": 1},
                  "domain-profiles": [
                      {"name": "na", "partition": "links", "preferred-prefix-length": 126, **common},
                      {"name": "pd", "partition": "homes", "preferred-prefix-length": 54, "delegated-prefix-length": 56,
                       "dns": "2001:db8::53", **common}]}
        os.makedirs(self.lab.path("agent"), exist_ok=True)
        path = self.lab.write("agent/agent.json", json.dumps(config))
        self.agent = self.lab.spawn("bng", "agent", [agent_binary(), "-c", path])
        wait_until("the agent's socket", 30, lambda: self.state() is not None)

    def ask(self, *words):
        import subprocess
        return subprocess.run([agent_binary(), *words, "-s", self.lab.path("agent", "sock")], capture_output=True,
                              text=True, check=False)

    def state(self):
        r = self.ask("json")
        return json.loads(r.stdout) if r.returncode == 0 else None

    def pools(self, domain):
        d = next(d for d in self.state()["domains"] if d["name"] == domain)
        return {p["name"]: p for p in d["pools"]}

    def ours(self):
        """The controller's book: domain -> {prefix: state}; None while the gateway is away."""
        e = self.weftd.ask("GET", STATE + "/entity=bng1").json()["weft-apm:entity"][0]
        assert not any(d.get("conflict") for d in e.get("pool-domain", [])), e
        if e["status"] != "reachable":
            return None
        return {d["name"]: {p["prefix"]: p["state"] for p in d.get("pool", [])} for d in e.get("pool-domain", [])}

    def agreed(self, **counts):
        """Both ends have so many pools in each domain, all of them active, and Kea is in line."""
        book, state = self.ours(), self.state()
        if not book or state["state"] != "connected" or not state["kea6"]["in-line"]:
            return None
        for domain, n in counts.items():
            mine = {p["prefix"]: p["status"] for p in self.pools(f"{domain}-default").values()}
            theirs = book.get(f"{domain}-default", {})
            if set(mine) != set(theirs) or len(mine) != n or set(mine.values()) - {"Active"} or \
                    set(theirs.values()) - {"active"}:
                return None
        return book

    # ---- subscribers --------------------------------------------------------------------------------
    def dial(self, client, *wants):
        self.dhcp[client] = self.lab.dhclient6(client, "eth0", *wants)
        return wait_until(f"what {client} asks for", 40, lambda: (
            lambda x: x if len(x) == len(wants) else None)(self.lab.lease6_of(client)))

    def hang_up(self, client):
        """It gives back what it has."""
        d = self.lab.path("dhclient6", client)
        self.dhcp[client].kill(signal.SIGKILL)
        self.lab.run(client, self.lab.unconfined("dhclient"), "-6", "-N", "-P", "-r", "-cf", f"{d}/conf", "-sf",
                     f"{d}/script", "-lf", f"{d}/leases", "-pf", f"{d}/pid", "eth0", check=False)


@pytest.fixture
def site(tmp_path):
    with Lab("bng6", "/tmp/weft-e2e/bng6") as lab:
        s = Site(lab, tmp_path)
        s.start_frr()
        s.start_kea()
        with s.weftd:
            s.configure()
            s.start_agent()
            yield s


def of(prefixes):
    return [ipaddress.ip_network(p) for p in prefixes]


# proves: APM-001 APM-003 APM-005 APM-050 APM-057 APM-150 APM-151 APM-153 P-23
def test_addresses_and_prefixes_come_and_go(site):
    book = wait_until("a pool of each kind", 60, lambda: site.agreed(na=1, pd=1))
    assert all(p.subnet_of(LINKS) and p.prefixlen == 126 for p in of(book["na-default"]))
    assert all(p.subnet_of(HOMES) and p.prefixlen == 54 for p in of(book["pd-default"]))
    first = {d: next(iter(book[d])) for d in book}
    wait_until("both at the core", 30, lambda: set(site.at_core()) == set(first.values()))
    # Real clients: an address and a prefix in one exchange, out of Weft's pools.
    got = site.dial("c0", "-N", "-P")
    assert ipaddress.ip_address(got["address"]) in of(book["na-default"])[0]
    prefix = ipaddress.ip_network(got["prefix"])
    assert prefix.prefixlen == 56 and prefix.subnet_of(of(book["pd-default"])[0])
    assert site.leases() == {("IA_NA", got["address"]): 128, ("IA_PD", str(prefix.network_address)): 56}
    # The address is reached from the core, through the gateway.
    site.lab.ip("c0", "-6", "route", "replace", "default", "via", site.lab.run(
        "bng", "sh", "-c", "ip -6 -o address show dev subs0 scope link | awk '{print $4}'").split("/")[0], "dev", "eth0")
    wait_until("the core reaches the subscriber", 20, lambda: site.lab.ping("core", got["address"]))
    # So is what is behind its router, by the route that Kea's hook has set.
    inside = str(prefix.network_address + 1)
    site.lab.ip("c0", "-6", "address", "add", inside + "/128", "dev", "lo")
    wait_until("the core reaches the delegated prefix", 20, lambda: site.lab.ping("core", inside))
    # Growth: the thresholds bring the next pools.
    for c in ("c1", "c2"):
        site.dial(c, "-N", "-P")
    book = wait_until("second pools", 30, lambda: site.agreed(na=2, pd=2))
    assert len(site.leases()) == 6
    wait_until("counts equal Kea's leases", 20, lambda: [
        sum(p["used"] for p in site.pools(d).values()) for d in ("na-default", "pd-default")] == [3, 3])
    text = site.ask("domain", "pd-default").stdout
    assert "Prefixes" in text.splitlines()[0] and "2001:db8:8000:400::/54" in text, text
    shown = site.weftd.cli("show apm entity id bng1")
    assert "IPv6 prefixes of length 56" in shown and "Total Pfxs" in shown, shown
    # Everything dies once; nothing is lost, nothing is given twice.
    before = {c: site.lab.lease6_of(c) for c in site.clients}
    site.weftd.kill()
    site.agent.kill(signal.SIGKILL)
    site.weftd.start()
    site.start_agent()
    assert wait_until("in step again", 60, lambda: site.agreed(na=2, pd=2)) == book
    site.kea.kill(signal.SIGKILL)
    site.start_kea()
    assert wait_until("Kea is in line again", 60, lambda: site.agreed(na=2, pd=2)) == book
    assert len(site.leases()) == 6
    assert {c: site.lab.lease6_of(c) for c in site.clients} == before
    # All hang up: surplus, drain, drained, back in the partition, withdrawn at the core.
    for c in site.clients:
        site.hang_up(c)
    book = wait_until("one pool of each kind is left", 90, lambda: site.agreed(na=1, pd=1))
    left = {p for d in book.values() for p in d}
    wait_until("withdrawn at the core", 30, lambda: set(site.at_core()) == left)
    assert site.leases() == {}
    wait_until("no route to a subscriber's router is left", 20, lambda: site.lab.ip(
        "bng", "-6", "route", "show", "proto", "202") == "")
    part = site.weftd.ask("GET", STATE + "/partition=homes").json()["weft-apm:partition"][0]
    assert (part["total-addresses"], part["allocated-addresses"]) == ("256", "4"), part


# proves: APM-080 APM-081 APM-089
def test_a_drain_moves_subscribers(site):
    book = wait_until("a pool of each kind", 60, lambda: site.agreed(na=1, pd=1))
    before = site.dial("c0", "-N", "-P")
    for c in ("c1", "c2"):
        site.dial(c, "-N", "-P")
    wait_until("second pools", 30, lambda: site.agreed(na=2, pd=2))
    for domain in ("na-default", "pd-default"):
        site.weftd.cli(f"request apm drain entity bng1 pool-domain {domain} pool {domain} force")
    wait_until("drained pools carry the backup tag", 30, lambda: all(
        site.at_core().get(next(iter(book[d]))) == 500 for d in book))
    after = wait_until("the client has moved with its address and its prefix", 60, lambda: (
        lambda x: x if len(x) == 2 and all(x[k] != before[k] for k in x) else None)(site.lab.lease6_of("c0")))
    assert ipaddress.ip_network(after["prefix"]).prefixlen == 56
    wait_until("the drained pools are drained", 90, lambda: all(
        "drained" in (site.ours() or {}).get(d, {}).values() for d in ("na-default", "pd-default")))
    for domain in ("na-default", "pd-default"):
        site.weftd.cli(f"request apm reclaim entity bng1 pool-domain {domain} pool {domain}")
    wait_until("they are back in their partitions", 60, lambda: (lambda b: b and all(
        set(b[d].values()) == {"active"} and next(iter(book[d])) not in b[d] for d in b))(site.ours()))
