# SPDX-License-Identifier: Apache-2.0
"""One gateway with everything around it: Kea, FRR, the agent, a core router, real DHCP clients."""
import json
import os
import re
import socket
import sys

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(TOP, "lab"))
from weftlab import PATIENCE, Lab, LabError, wait_until  # noqa: E402

HOOKS = "/usr/lib/x86_64-linux-gnu/kea/hooks"
SERVER = "100.64.0.1"
RELAY = "100.64.0.2"
DOMAIN = "home-default"


def agent_binary():
    return os.path.join(TOP, os.environ.get("WEFT_BUILD", "build"), "agents", "bng", "weft-bng")


class Gateway:
    """`bng` in the lab, with subscribers' nodes c0..cN-1 and a load generator's on one bridge."""

    def __init__(self, lab, clients=2, lease=(45, 4, 35), length=28, frr=True, config=None):
        self.lab, self.lease, self.length, self.frr = lab, lease, length, frr
        self.clients = [f"c{i}" for i in range(clients)]
        self.extra = config or {}
        self.agent = self.kea = None
        self.processes = {}

    def build(self):
        lab = self.lab
        lab.node("core", forward=True)
        lab.node("bng", forward=True)
        lab.link("core", "to-bng", "10.255.1.1/30", "bng", "uplink", "10.255.1.2/30")
        ports = []
        for n in self.clients + ["load"]:
            lab.node(n)
            lab.link("bng", f"p-{n}", None, n, "eth0", f"{RELAY}/24" if n == "load" else None)
            ports.append(f"p-{n}")
        lab.bridge("bng", "subs0", ports)
        lab.ip("bng", "address", "add", f"{SERVER}/24", "dev", "subs0")
        lab.ip("core", "address", "add", "10.9.9.9/32", "dev", "lo")
        if self.frr:
            self.start_frr()
        self.start_kea()
        return self

    # ---- FRR --------------------------------------------------------------------------------
    def start_frr(self):
        self.lab.frr("core", {"zebra": "", "bgpd": "\n".join([
            "router bgp 65000", " no bgp ebgp-requires-policy", " neighbor 10.255.1.2 remote-as 65001",
            " neighbor 10.255.1.2 timers connect 1", " address-family ipv4 unicast",
            "  network 10.9.9.9/32", " exit-address-family"])})
        self.lab.frr("bng", {"zebra": "", "staticd": "", "bgpd": "\n".join([
            "router bgp 65001", " no bgp ebgp-requires-policy", " neighbor 10.255.1.1 remote-as 65000",
            " neighbor 10.255.1.1 timers connect 1", " address-family ipv4 unicast",
            "  redistribute static route-map POOLS", " exit-address-family",
            "route-map POOLS permit 10", " match tag 1000",
            "route-map POOLS permit 20", " match tag 2000", " set metric 500"])})

    def routes_at_core(self):
        """Prefixes the core router has learnt, with their metric."""
        table = json.loads(self.lab.vtysh("core", "show bgp ipv4 unicast json"))
        return {p: r[0].get("metric", 0) for p, r in table["routes"].items() if p != "10.9.9.9/32"}

    # ---- Kea --------------------------------------------------------------------------------
    def kea_path(self, name):
        os.makedirs(self.lab.path("kea"), exist_ok=True)
        return self.lab.path("kea", name)

    def write_kea(self, subnets=()):
        self.lab.write("kea/kea.conf", json.dumps({"Dhcp4": {
            "interfaces-config": {"interfaces": ["subs0"], "dhcp-socket-type": "raw"},
            "control-socket": {"socket-type": "unix", "socket-name": self.kea_path("ctrl")},
            "lease-database": {"type": "memfile", "persist": True,
                               "name": self.kea_path("leases.csv"), "lfc-interval": 0},
            "expired-leases-processing": {"reclaim-timer-wait-time": 1,
                                          "hold-reclaimed-time": 1,
                                          "flush-reclaimed-timer-wait-time": 1},
            "hooks-libraries": [{"library": f"{HOOKS}/libdhcp_lease_cmds.so"},
                                {"library": f"{HOOKS}/libdhcp_stat_cmds.so"}],
            "multi-threading": {"enable-multi-threading": False},
            "valid-lifetime": self.lease[0], "subnet4": list(subnets)}}))

    def start_kea(self):
        if not os.path.exists(self.kea_path("kea.conf")):
            self.write_kea()
        self.kea = self.lab.spawn("bng", "kea", ["kea-dhcp4", "-c", self.kea_path("kea.conf")], env={
            "KEA_PIDFILE_DIR": self.lab.path("kea"), "KEA_LOCKFILE_DIR": self.lab.path("kea")})
        wait_until("Kea's control socket", 20, lambda: self.kea_command("status-get")["result"] == 0)

    def kea_command(self, command, **arguments):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30 * PATIENCE)
            s.connect(self.kea_path("ctrl"))
            message = {"command": command}
            if arguments:
                message["arguments"] = arguments
            s.sendall(json.dumps(message).encode())
            data = b""
            while chunk := s.recv(65536):
                data += chunk
        return json.loads(data)

    def kea_addresses(self):
        """Address -> subnet id of every lease, from Kea's own list."""
        found = self.kea_command("lease4-get-all").get("arguments", {}).get("leases", [])
        pairs = [(x["ip-address"], x["subnet-id"]) for x in found if x["state"] == 0]
        assert len(dict(pairs)) == len(pairs), f"an address is given twice: {sorted(pairs)}"
        return dict(pairs)

    def kea_leases(self):
        """Leases by subnet id, counted one by one."""
        ids = list(self.kea_addresses().values())
        return {i: ids.count(i) for i in ids}

    def kea_subnets(self):
        """Prefix -> drained? of the subnets the agent owns."""
        found = {}
        dhcp = self.kea_command("config-get")["arguments"]["Dhcp4"]
        for net in dhcp.get("shared-networks", []):
            if net["name"].startswith("weft-"):
                for s in net["subnet4"]:
                    found[s["subnet"]] = all(p.get("client-class") == "weft-drain"
                                             for p in s["pools"])
        return found

    # ---- the agent --------------------------------------------------------------------------
    def write_agent(self, **more):
        lease, renew, rebind = self.lease
        profile = {"name": "home", "partition": "westford", "preferred-prefix-length": self.length,
                   "interface": "subs0", "server-address": SERVER, "relays": [RELAY],
                   "lease-s": lease, "renew-s": renew, "rebind-s": rebind,
                   "reclamation-hold-down-s": 2,
                   "discard-routes": {"tag": 1000, "backup-tag": 2000}}
        profile.update(self.extra.get("profile", {}))
        config = {"system-id": "bng1", "address": "10.255.1.2",
                  "managers": [{"host": "10.255.1.1", "port": 20557, "verify-name": "weft"}],
                  "clear-text": True, "state": self.lab.path("agent", "state.db"),
                  "socket": self.lab.path("agent", "sock"), "max-pools": 8,
                  "kea": {"socket": self.kea_path("ctrl"), "config-file": self.kea_path("kea.conf"),
                          "interval-ms": 200, "min-reload-interval-ms": 300},
                  "domain-profiles": [profile]}
        if self.frr:
            config["frr"] = {"pathspace": self.lab.ns("bng"), "check-s": 1}
        for key, value in {**self.extra.get("agent", {}), **more}.items():
            if isinstance(value, dict) and isinstance(config.get(key), dict):
                config[key].update(value)
            elif value is None:
                config.pop(key, None)
            else:
                config[key] = value
        os.makedirs(self.lab.path("agent"), exist_ok=True)
        return self.lab.write("agent/agent.json", json.dumps(config))

    def start_agent(self, **more):
        path = self.write_agent(**more)
        self.agent = self.lab.spawn("bng", "agent", [agent_binary(), "-c", path])
        wait_until("the agent's socket", 20, lambda: self.state() is not None)
        return self.agent

    def ask(self, *words):
        import subprocess
        return subprocess.run([agent_binary(), *words, "-s", self.lab.path("agent", "sock")],
                              capture_output=True, text=True, check=False)

    def state(self):
        r = self.ask("json")
        return json.loads(r.stdout) if r.returncode == 0 else None

    def domain(self, name=DOMAIN):
        return next(d for d in self.state()["domains"] if d["name"] == name)

    def pools(self, name=DOMAIN):
        return {p["name"]: p for p in self.domain(name)["pools"]}

    def metric(self, name):
        m = re.search(rf"^{re.escape(name)} (\S+)$", self.ask("metrics").stdout, re.M)
        return float(m.group(1))

    # ---- subscribers ------------------------------------------------------------------------
    def dial_in(self, client):
        self.processes[client] = self.lab.dhclient(client, "eth0")
        return self.address(client)

    def address(self, client, seconds=20):
        return wait_until(f"an address of {client}", seconds,
                          lambda: self.lab.address_of(client, "eth0"))

    def perfdhcp(self, clients, rate=50, seconds=None, check=False):
        """That many different subscribers behind a relay take an address each. Returns its report."""
        out = self.lab.run("load", "perfdhcp", "-4", "-l", "eth0", "-r", str(rate), "-R",
                           str(clients), "-n", str(clients), "-W", "1000000", "-N", "67", SERVER,
                           check=check, timeout=seconds or clients / rate + 60 * PATIENCE)
        return out


__all__ = ["Gateway", "agent_binary", "Lab", "LabError", "wait_until", "DOMAIN", "TOP", "SERVER"]
