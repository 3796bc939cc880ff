# SPDX-License-Identifier: Apache-2.0
"""Three controllers over three real etcd, and gateways that raise 500 alarms a second together, each knowing all three
controllers: leaders and members are killed, paused and cut off, one way and both, meanwhile.

The gateways are those of test/crash/weftd_crash.py: they remember what they have, and a registry that the controllers
know nothing of sees every prefix that is given. At the end what the gateways have, what the leader says that they
have, and what is free must be one whole: nothing given twice, nothing lost; on every node the same.

How many alarms there were, and how long none was answered after a fault, is printed, not asserted.
WEFT_CLUSTER_ROUNDS, WEFT_CLUSTER_SEED and WEFT_CLUSTER_ALARMS (a second) for more of it; `make soak`.
"""
import ipaddress
import json
import os
import queue
import random
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "crash"))
from apmi_entity import Ended, Stream, generate  # noqa: E402
from test_cluster import NAMES, Cluster, fail, free_ports, until  # noqa: E402
from weftd_crash import ROOT, STATE, Gateway, Registry, Violation, must  # noqa: E402

GATEWAYS = 16
SILENCE_S = 2.0  # then a gateway takes its manager for dead and dials the next
WAYS = {"up": "up", "down": "down", "up down": "both ways"}


class Impatient(Stream):
    def reply(self, msg_id, seconds=SILENCE_S):
        return super().reply(msg_id, seconds)


class Roaming(Gateway):
    """A gateway that knows several managers; what it was told by one holds at the next."""

    def __init__(self, pb, system_id, targets, registry, clock):
        super().__init__(pb, system_id, targets[0], registry)
        self.targets, self.clock, self.asked = targets, clock, 0
        self.dials = sum(system_id.encode())  # each begins at another one
        self.up = False

    def hello(self, **fields):
        self.epoch += 1
        self.stream = Impatient(self.pb, self.target, self.creds)
        return self.stream.ask("hello", system_id=self.system_id, min_version=1, max_version=1, kind=1,
                               software="python", boot_epoch=self.epoch, **fields)

    def alarm(self, *args, **kw):
        self.asked += 1
        r = super().alarm(*args, **kw)
        self.clock.tick()
        return r

    def dial(self):
        """One attempt, at the next manager of the list; raises when nobody is there."""
        self.close()
        self.dials += 1
        self.target = self.targets[self.dials % len(self.targets)]
        ack = self.hello()
        must(ack.status.code == 0, f"{self.system_id}: {ack}")
        before = set(self.domains)
        r = self.sync(digest=self.epoch % 2 == 0)
        for new in r.create_first:
            if new in self.domains:
                self.names[new] = set(self.domains[new].pools)
        for gone in before - set(self.domains):
            self.names.pop(gone, None)
        self.obey(0.05)
        self.up = True


def is_silence(e):
    return isinstance(e, Ended) or (isinstance(e, AssertionError) and "got no answer" in str(e))


class Clock:
    """When alarms were answered."""

    def __init__(self):
        self.lock, self.n, self.last, self.gap = threading.Lock(), 0, time.monotonic(), 0.0

    def tick(self):
        with self.lock:
            now = time.monotonic()
            self.gap = max(self.gap, now - self.last)
            self.n, self.last = self.n + 1, now

    def longest(self):
        """The longest time without an answer since this was asked last."""
        with self.lock:
            gap = max(self.gap, time.monotonic() - self.last)
            self.gap = 0.0
            return gap


class Load:
    """All gateways, each in its thread, as fast as its share of the alarms wants it."""

    def __init__(self, gateways, rate, rng):
        self.stop, self.faults, self.gateways = threading.Event(), [], gateways
        self.pause = len(gateways) / rate
        self.threads = [threading.Thread(target=self.run, args=(g, random.Random(rng.random())), daemon=True)
                        for g in gateways]
        for t in self.threads:
            t.start()

    def run(self, g, rng):
        due = time.monotonic()
        while not self.stop.is_set():
            try:
                if not g.up:
                    g.dial()
                before = g.asked
                g.work(rng)
                due += self.pause * (g.asked - before)
                now = time.monotonic()
                if due < now - 1:
                    due = now  # what could not be asked while nobody led is not made up for
                time.sleep(max(due - now, 0))
            except Violation as e:
                self.faults.append(str(e))
                return
            except Exception as e:
                if not is_silence(e):
                    self.faults.append(f"{g.system_id}: {type(e).__name__}: {e}")
                    return
                g.up = False
                time.sleep(0.05)

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(60)
            assert not t.is_alive(), "a thread of the load hangs"
        assert not self.faults, "\n".join(self.faults)


class Asked:
    """A node as Gateway.check wants it."""

    def __init__(self, node):
        self.node = node

    def ask(self, method, path):
        r = self.node.ask(method, "/restconf/data/" + path)
        r.json = lambda: json.loads(r.text)
        return r


def configure(cluster):
    r = cluster.leader().ask("PUT", "/restconf/data/weft-apm:apm", {"weft-apm:apm": {
        "inet-pool": {"partition": [{"name": "metro", "min-prefix-len": 16, "max-prefix-len": 30,
                                     "prefix": [{"prefix": str(ROOT)}]}]},
        "pool-domain-profile": [{"name": "auto", "apportion-threshold": 1, "reclaim-threshold": 2,
                                 "hold-down": 0, "auto-reclamation": {}}],
        "entity-match": [{"system-id": f"e{i}", "pool-domain-profile": "auto"} for i in range(GATEWAYS)]}})
    assert r.status in (201, 204), r.text


def settle(cluster, gateways, registry):
    """Everybody comes back; then all must agree, and the books must balance."""
    for n in cluster.nodes:
        until(n.ready, 90)
    end = time.monotonic() + 90
    while True:
        try:
            leader = cluster.leader()
            for g in gateways:
                if not g.up:
                    g.dial()
                g.obey(0.02)
                g.check(Asked(leader))
            break
        except (Violation, Ended, AssertionError, OSError, queue.Empty) as e:
            for g in gateways:
                g.up = g.up and not is_silence(e)
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
    r = Asked(leader).ask("GET", STATE + "/partition=metro")
    free = int(r.json()["weft-apm:partition"][0]["free-addresses"])
    held = sum(n.num_addresses for n in registry.held)
    assert free + held == ROOT.num_addresses, f"{free} are free, {held} are held, of {ROOT.num_addresses}"


def same_everywhere(cluster):
    leader = cluster.leader()
    head = leader.metric("weft_log_head")
    shown = []
    for n in cluster.nodes:
        until(lambda n=n: n.ready() and n.metric("weft_log_head") >= head)
        text = n.ask("GET", "/restconf/data/" + STATE).text
        entities = json.loads(text)["weft-apm:state"]["entity"]
        shown.append(sorted((e["id"], d["name"], p["name"], p["prefix"]) for e in entities
                            for d in e.get("pool-domain", []) for p in d.get("pool", [])))
    assert shown[0] == shown[1] == shown[2] and shown[0]
    nets = [ipaddress.ip_network(p[3]) for p in shown[0]]
    assert len(set(nets)) == len(nets)


@pytest.fixture(params=["leader alone", "any node"])
def cluster(tmp_path, request):
    """Gateways find the leader themselves, or stay where they are and are passed on to it."""
    ports = dict(zip(NAMES, free_ports(3)))
    options = {n: ["--listen-apmi-clear-text", f"127.0.0.1:{ports[n]}"] for n in NAMES}
    if request.param == "any node":
        for n, port in zip(NAMES, free_ports(3)):
            options[n] += ["--listen-relay", f"127.0.0.1:{port}"]
    with Cluster(str(tmp_path), options) as c:
        c.targets = [f"127.0.0.1:{ports[n]}" for n in NAMES]
        yield c


def test_the_registry_sees_what_is_given_twice():
    registry, net = Registry(), ipaddress.ip_network
    registry.take(net("10.0.1.0/24"), "a")
    registry.take(net("10.0.3.0/24"), "a")
    for twice in ("10.0.1.0/24", "10.0.0.0/22", "10.0.1.128/25", "10.0.3.4/30", "10.0.0.0/8"):
        with pytest.raises(Violation, match=f"{twice} is given to b while a has"):
            registry.take(net(twice), "b")
    registry.take(net("10.0.2.0/24"), "b")
    registry.drop(net("10.0.1.0/24"))
    registry.take(net("10.0.0.0/23"), "b")


# proves: A5 APM-120 APM-121 APM-122 APM-124
def test_alarms_go_on_whatever_fails(cluster, tmp_path):
    seed = int(os.environ.get("WEFT_CLUSTER_SEED", "3"))
    rate = int(os.environ.get("WEFT_CLUSTER_ALARMS", "500"))
    rounds = int(os.environ.get("WEFT_CLUSTER_ROUNDS", "3"))
    rng = random.Random(seed)
    print(f"\nseed {seed}")
    configure(cluster)
    pb, registry, clock = generate(str(tmp_path / "pb")), Registry(), Clock()
    gateways = [Roaming(pb, f"e{i}", cluster.targets, registry, clock) for i in range(GATEWAYS)]
    load = Load(gateways, rate, rng)
    try:
        until(lambda: clock.n > 200)
        for _ in range(rounds):
            time.sleep(1)
            clock.longest()
            begun, asked = time.monotonic(), clock.n
            end = fail(cluster, rng)
            try:
                time.sleep(rng.uniform(0.2, 1))
                until(lambda asked=clock.n: clock.n > asked + 200, 60)
                time.sleep(rng.uniform(0, 2))
            finally:
                end()
            until(lambda asked=clock.n: clock.n > asked + 100, 60)
            took = time.monotonic() - begun
            print(f"   {clock.longest():4.1f} s without an answer; {(clock.n - asked) / took:.0f} alarms/s in {took:.0f} s",
                  flush=True)
            for n in cluster.nodes:
                until(n.ready, 90)
            if load.faults:
                break
    finally:
        load.end()
    settle(cluster, gateways, registry)
    same_everywhere(cluster)
    print(f"{clock.n} alarms answered, {sum(g.answers for g in gateways)} allocations, "
          f"{len(registry.held)} prefixes are held at the end")
    assert clock.n > 0 and registry.held
    for g in gateways:
        g.close()
