# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the agent, the controller and Kea at random moments while subscribers come and go: real weftd,
real weft-bng, real Kea. Controller and agent run in some rounds over the file system that loses at the kill
what was not synced (src/log/vfs_power.c). WEFT_CRASH_ROUNDS and WEFT_CRASH_SEED make it longer and repeat it;
WEFT_CRASH_POWER=never or =always runs them over one of the two file systems only."""
import ipaddress
import os
import random
import time

from bng_lab import DOMAIN, Gateway, Lab, agent_binary, wait_until
from weftd_lab import Weftd, binary

ROOT = ipaddress.ip_network("10.60.0.0/23")
ROUNDS = int(os.environ.get("WEFT_CRASH_ROUNDS", "6"))
SEED = int(os.environ.get("WEFT_CRASH_SEED", "0")) or int(time.time())
POWER = os.environ.get("WEFT_CRASH_POWER", "mixed")
STATE = "weft-apm:apm/state"


def forgetful(rng):
    """Words before a program: half of the time it runs over the forgetful file system."""
    if rng.random() < {"never": 1, "mixed": 0.5, "always": 0}[POWER]:
        return []
    asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return ["env", f"LD_PRELOAD={binary('src', 'log', 'libvfs_power.so')}", f"ASAN_OPTIONS={asan.lstrip(':')}",
            f"WEFT_POWER_SEED={rng.randrange(1, 10**6)}", f"WEFT_POWER_EARLY={rng.choice((0, 30))}"]


class Site:
    def __init__(self, lab, tmp_path, rng):
        self.lab, self.rng = lab, rng
        self.gw = Gateway(lab, clients=0, frr=False, lease=(12, 4, 9)).build()
        self.within = ["ip", "netns", "exec", lab.ns("core")]
        self.weftd = Weftd(tmp_path / "weftd", options=("--hostname", "weft"), address="10.255.1.1", within=self.within)

    def start_weftd(self):
        self.weftd.within = self.within + forgetful(self.rng)
        self.weftd.start()

    def start_agent(self):
        path = self.gw.write_agent(**{
            "clear-text": None, "max-pools": 12, "managers": [{
                "host": "10.255.1.1", "port": self.weftd.ports["apmi"], "verify-name": "weft"}],
            "tls": {"certificate": f"{self.cert}/cert.pem", "key": f"{self.cert}/key.pem", "ca": f"{self.cert}/ca.pem"}})
        self.gw.agent = self.lab.spawn("bng", "agent", forgetful(self.rng) + [agent_binary(), "-c", path])
        wait_until("the agent's socket", 30, lambda: self.gw.state() is not None)

    def begin(self):
        self.start_weftd()
        r = self.weftd.ask("PUT", "weft-apm:apm", {"weft-apm:apm": {
            "inet-pool": {"partition": [{"name": "westford", "min-prefix-len": 20, "max-prefix-len": 28,
                                         "prefix": [{"prefix": str(ROOT)}]}]},
            "pool-domain-profile": [{"name": "std", "apportion-threshold": 4, "reclaim-threshold": 32, "hold-down": 1,
                                     "auto-reclamation": {}}],
            "entity-match": [{"system-id": "bng1", "pool-domain-profile": "std"}]}})
        assert r.status in (201, 204), r
        self.cert = self.weftd.certificate("bng1")
        self.start_agent()
        wait_until("the first pool", 60, lambda: self.gw.state()["domains"] and self.gw.pools())

    def ours(self):
        """The controller's book: prefix -> state."""
        r = self.weftd.ask("GET", STATE + "/entity=bng1")
        assert r.status == 200, r
        e = r.json()["weft-apm:entity"][0]
        assert not any(d.get("conflict") for d in e.get("pool-domain", [])), e
        if e["status"] != "reachable":
            return None
        return {p["prefix"]: p["state"] for d in e.get("pool-domain", []) for p in d.get("pool", [])}

    def free(self):
        r = self.weftd.ask("GET", STATE + "/partition=westford")
        return int(r.json()["weft-apm:partition"][0]["free-addresses"])

    def agree(self):
        """Controller, agent and Kea have the same pools, and what is not given is free."""
        state = self.gw.state()
        if not state or state["state"] != "connected" or not state["kea"]["in-line"]:
            return None
        ours = self.ours()
        agents = {p["prefix"] for d in state["domains"] for p in d["pools"]}
        kea = set(self.gw.kea_subnets())
        if ours is None or set(ours) != agents or kea != agents or {"offered", "uncertain"} & set(ours.values()):
            return None
        nets = [ipaddress.ip_network(p) for p in agents]
        if self.free() + sum(n.num_addresses for n in nets) != ROOT.num_addresses:
            return None
        if self.ours() != ours:
            return None  # it changed while we looked
        return nets

    def check(self):
        try:
            nets = wait_until("controller, agent and Kea agree", 90, self.agree)
        except Exception as e:
            raise AssertionError(f"controller {self.ours()}, agent {self.gw.state()}, Kea {self.gw.kea_subnets()}, "
                                 f"free {self.free()}\n{self.gw.agent.tail()}") from e
        assert all(n.subnet_of(ROOT) for n in nets)
        assert not any(a.overlaps(b) for i, a in enumerate(nets) for b in nets[:i])
        return nets

    def leases(self):
        return [ipaddress.ip_address(a) for a in self.gw.kea_addresses()]

    def round(self):
        rng = self.rng
        load = self.lab.spawn("load", "perfdhcp", ["perfdhcp", "-4", "-l", "eth0", "-r", "25", "-R", str(rng.randrange(5, 90)),
                                                   "-p", "4", "-N", "67", "100.64.0.1"])
        time.sleep(rng.uniform(0.2, 3))
        victims = rng.choice((["agent"], ["weftd"], ["agent"], ["agent", "weftd"], ["kea"], ["agent", "kea"]))
        for v in rng.sample(victims, len(victims)):
            {"agent": lambda: self.gw.agent.kill(), "weftd": self.weftd.kill, "kea": lambda: self.gw.kea.kill()}[v]()
        time.sleep(rng.uniform(0, 1))
        for v in rng.sample(victims, len(victims)):
            {"agent": self.start_agent, "weftd": self.start_weftd, "kea": self.gw.start_kea}[v]()
        load.stop()
        self.check()
        # Each subscriber's address is in a pool of this gateway, and nobody has another's (kea_addresses).
        def inside():
            pools = [ipaddress.ip_network(p) for p in self.gw.kea_subnets()]
            return all(any(a in n for n in pools) for a in self.leases())
        wait_until("every lease is in a pool of this gateway", 10, inside)
        return victims


# proves: F-01 F-02
def test_killed_at_random_moments(tmp_path):
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    with Lab("bngc", "/tmp/weft-e2e/bngc") as lab:
        site = Site(lab, tmp_path, rng)
        try:
            site.begin()
            killed = []
            for n in range(ROUNDS):
                try:
                    killed += site.round()
                except AssertionError as e:
                    raise AssertionError(f"seed {SEED}, round {n + 1}: {e}") from e
            assert "agent" in killed or ROUNDS < 6
            # In the end all subscribers leave: what is no longer needed comes back.
            wait_until("surplus pools are given back", 120, lambda: len(site.gw.pools(DOMAIN)) <= 3)
            site.check()
            site.gw.agent.stop()
            site.weftd.stop()
            check = site.weftd.check()
            assert check.returncode == 0, check
        finally:
            site.weftd.kill()
            if os.path.exists(site.weftd.socket):
                os.unlink(site.weftd.socket)
