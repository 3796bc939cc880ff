# SPDX-License-Identifier: Apache-2.0
"""The lab of the tour: one controller, a core router, two gateways with subscribers.

        ctl ---- core ----+---- bng1 (Kea, FRR, weft-bng) ---- sub1: perfdhcp, clients a and b
       weftd     FRR      +---- bng2 (Kea, FRR, weft-bng) ---- sub2: perfdhcp, client c
                 host
"""
import json
import os
import re
import subprocess

from weftlab import LabError, wait_until

BUILD = os.environ.get("WEFT_BUILD", "build")
TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
APMI_PORT = 20557
TAG = 4200
RELAY, SERVER = "192.0.2.1", "192.0.2.254"


def binary(*parts):
    path = os.path.join(TOP, BUILD, *parts) if not os.path.isabs(BUILD) else os.path.join(BUILD, *parts)
    if not os.path.exists(path):
        raise LabError(f"{path} is missing: build first (make)")
    return path


class Gateway:
    """One BNG: number 1 or 2, its names and addresses."""

    def __init__(self, lab, number, clients, profile=None):
        self.lab, self.number, self.clients = lab, number, clients
        self.node, self.sub = f"bng{number}", f"sub{number}"
        self.system_id = f"bng{number}"
        self.domain = "home-default"
        self.profile = profile or {}
        self.uplink = f"10.255.{number}.2"
        self.kea = self.agent = None

    def path(self, *parts):
        return self.lab.path(self.node, *parts)

    def build(self):
        lab, n = self.lab, self.number
        lab.node(self.node, forward=True)
        lab.node(self.sub)
        lab.link("core", f"to-bng{n}", f"10.255.{n}.1/30", self.node, "uplink", f"{self.uplink}/30")
        lab.ip(self.node, "route", "add", "10.255.0.0/30", "via", f"10.255.{n}.1")
        lab.link(self.node, "access", None, self.sub, "trunk", None)
        ports = ["trunk"]
        for c in self.clients:
            lab.node(c)
            lab.link(c, "eth0", None, self.sub, f"to-{c}", None)
            ports.append(f"to-{c}")
        lab.bridge(self.sub, "lan", ports)
        # perfdhcp is a relay with many subscribers behind it; its own address is on no pool.
        lab.ip(self.sub, "address", "add", f"{RELAY}/24", "dev", "lan")
        lab.ip(self.node, "address", "add", f"{SERVER}/24", "dev", "access")
        lab.frr(self.node, {
            "zebra": "", "staticd": "",
            "bgpd": f"""router bgp {65000 + n}
 no bgp ebgp-requires-policy
 neighbor 10.255.{n}.1 remote-as 65000
 neighbor 10.255.{n}.1 timers connect 1
 address-family ipv4 unicast
  redistribute static route-map pools
 !
route-map pools permit 10
 match tag {TAG}
"""})

    def start_kea(self):
        os.makedirs(self.path(), exist_ok=True)
        conf = self.path("kea.json")
        if not os.path.exists(conf):
            hooks = "/usr/lib/x86_64-linux-gnu/kea/hooks"
            if not os.path.isdir(hooks):
                hooks = subprocess.run(["sh", "-c", "dirname $(ls /usr/lib/*/kea/hooks/libdhcp_lease_cmds.so)"],
                                       capture_output=True, text=True, check=True).stdout.strip()
            with open(conf, "w", encoding="utf-8") as f:
                json.dump({"Dhcp4": {
                    "interfaces-config": {"interfaces": ["access"], "dhcp-socket-type": "raw",
                                          "service-sockets-max-retries": 5},
                    "control-socket": {"socket-type": "unix", "socket-name": self.path("kea.sock")},
                    "lease-database": {"type": "memfile", "persist": True,
                                       "name": self.path("leases.csv"), "lfc-interval": 0},
                    "expired-leases-processing": {"reclaim-timer-wait-time": 1,
                                                  "flush-reclaimed-timer-wait-time": 5,
                                                  "hold-reclaimed-time": 1},
                    "hooks-libraries": [{"library": f"{hooks}/libdhcp_lease_cmds.so"},
                                        {"library": f"{hooks}/libdhcp_stat_cmds.so"}],
                    "multi-threading": {"enable-multi-threading": False},
                    "loggers": [{"name": "kea-dhcp4", "severity": "WARN",
                                 "output_options": [{"output": "stdout"}]}],
                    "subnet4": []}}, f, indent=1)
        self.kea = self.lab.spawn(self.node, f"{self.node}-kea",
                                  [self.lab.unconfined("kea-dhcp4"), "-c", conf],
                                  {"KEA_PIDFILE_DIR": self.path(), "KEA_LOCKFILE_DIR": self.path()})
        wait_until(f"Kea of {self.node}", 15, lambda: self.kea_command("version-get"))

    def kea_command(self, command, arguments=None):
        """Asks Kea itself, over its control socket."""
        import socket
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(10)
            s.connect(self.path("kea.sock"))
            request = {"command": command}
            if arguments:
                request["arguments"] = arguments
            s.sendall(json.dumps(request).encode())
            s.shutdown(socket.SHUT_WR)
            data = b""
            while chunk := s.recv(65536):
                data += chunk
        return json.loads(data)

    def leases(self):
        """Addresses that Kea has given out, by its own lease table."""
        answer = self.kea_command("lease4-get-all")
        if answer["result"] == 3:
            return []
        return [x["ip-address"] for x in answer["arguments"]["leases"] if x["state"] == 0]

    def kea_subnets(self):
        return [s["subnet"] for n in self.kea_command("config-get")["arguments"]["Dhcp4"].get(
            "shared-networks", []) for s in n["subnet4"]] + [
                s["subnet"] for s in
                self.kea_command("config-get")["arguments"]["Dhcp4"].get("subnet4", [])]

    def write_agent(self, manager, tls=None, **more):
        conf = {
            "system-id": self.system_id, "address": self.uplink,
            "state": self.path("agent.db"), "socket": self.path("agent.sock"),
            "managers": [{"host": manager, "port": APMI_PORT}],
            "kea": {"socket": self.path("kea.sock"), "config-file": self.path("kea.json"),
                    "interval-ms": 200, "min-reload-interval-ms": 300},
            "frr": {"pathspace": self.lab.ns(self.node)},
            "domain-profiles": [{
                "name": "home", "partition": "metro", "preferred-prefix-length": 27,
                "interface": "access", "server-address": SERVER, "relays": [RELAY],
                "reclamation-hold-down-s": 2, "lease-s": 20, "horizon-s": 2,
                "discard-routes": {"tag": TAG, "backup-tag": TAG + 1}, **self.profile}],
            **more}
        if tls:
            conf["tls"] = tls
            conf["managers"][0]["verify-name"] = "weft"
        else:
            conf["clear-text"] = True
        return self.lab.write(os.path.join(self.node, "agent.json"), json.dumps(conf, indent=1))

    def start_agent(self):
        self.agent = self.lab.spawn(self.node, f"{self.node}-agent",
                                    [binary("agents", "bng", "weft-bng"), "-c", self.path("agent.json")])

    def thresholds(self):
        """(apportion, reclaim) that the agent works by, as it says itself."""
        out = subprocess.run([binary("agents", "bng", "weft-bng"), "domains", "-s",
                              self.path("agent.sock")], capture_output=True, text=True, timeout=20,
                             check=True).stdout
        return tuple(int(n) for n in re.search(r"Thresholds: apportion (\d+), reclaim (\d+)",
                                               out).groups())

    # ---- subscribers -----------------------------------------------------------------------------
    def come(self, count, rate=20, base=0):
        """`count` subscribers log in (perfdhcp: the full exchange of four); whether all were answered."""
        mac = f"02:{self.number:02x}:00:00:{base >> 8:02x}:{base & 255:02x}"
        out = self.lab.run(self.sub, "perfdhcp", "-4", "-l", "lan", "-b", f"mac={mac}", "-R",
                           str(count), "-n", str(count), "-r", str(rate), "-W", "1000000",
                           "-N", "67", SERVER, check=False, timeout=120)
        counts = exchange_counts(out)
        return counts.get(("REQUEST-ACK", "received packets"), 0) == count

    def refusals(self):
        """How often Kea had no address left for a subscriber, by its own count."""
        answer = self.kea_command("statistic-get", {"name": "v4-allocation-fail"})
        return answer["arguments"].get("v4-allocation-fail", [[0]])[0][0]


def exchange_counts(out):
    """{(exchange, "sent packets" or "received packets"): number} of perfdhcp's report."""
    counts = {}
    section = None
    for line in out.splitlines():
        if line.startswith("***Statistics for:"):
            section = line.split(":")[1].strip(" *")
        for key in ("sent packets", "received packets"):
            if section and line.startswith(key + ":"):
                counts[(section, key)] = int(line.split(":")[1])
    return counts


def build_core(lab, gateways):
    lab.node("core", forward=True)
    lab.node("ctl")
    lab.link("core", "to-ctl", "10.255.0.1/30", "ctl", "uplink", "10.255.0.2/30")
    lab.ip("ctl", "route", "add", "default", "via", "10.255.0.1")
    for g in gateways:
        g.build()
    peers = "".join(f" neighbor {g.uplink} remote-as {65000 + g.number}\n"
                    f" neighbor {g.uplink} timers connect 1\n" for g in gateways)
    lab.frr("core", {"zebra": "",
                     "bgpd": f"router bgp 65000\n no bgp ebgp-requires-policy\n{peers}"})


def core_routes(lab):
    """{prefix: next hop} that the core router has learned."""
    table = json.loads(lab.vtysh("core", "show ip route bgp json") or "{}")
    return {p: r[0]["nexthops"][0]["ip"] for p, r in table.items() if r[0].get("selected")}
