#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of weftd at random moments under load, and what must be true afterwards.

    weftd_crash.py [--rounds N] [--seed N] [--power mixed|always|never] [--program FILE] [--expect-loss]

Load: writers over RESTCONF and the command line, each change setting one value in three objects together;
entities over gRPC that take prefixes and give them back. After each restart:

- every change that was answered is there, and of no change a part; log indices only grow;
- no prefix is with two entities, no pool's number comes twice, and what an entity was given before a break
  and does not have is given to nobody twice;
- after the synchronisation the controller's pools are those of the entities, and the rest is free.

--power: in such rounds the daemon runs over src/log/vfs_power.c, which loses at the kill whatever was not
synced. --expect-loss turns the verdict round: for the build without syncs. The seed is printed; it fixes
moments and choices, not what the threads make of them.
"""
import argparse
import bisect
import ipaddress
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(TOP, "test", "e2e"))
from apmi_entity import Ended, Entity, generate  # noqa: E402
from weftd_lab import Weftd, binary  # noqa: E402

ROOT = ipaddress.ip_network("10.0.0.0/17")
ENTITIES, WRITERS = 4, 3
STATE = "weft-apm:apm/state"
LOAD_S = (0.05, 1.2)       # a round's load
SETTLE_S = 120             # for anything to be answered, on a machine with other things to do
POOLS_MAX = 24             # of one entity


class Violation(Exception):
    """Something that must not happen."""


def must(what, text):
    if not what:
        raise Violation(text)


# ---- the truth outside the controller ------------------------------------------------------------

class Registry:
    """Which entity has which prefix at this moment. The controller does not know it exists."""

    def __init__(self):
        self.lock = threading.Lock()
        self.held = {}    # network -> who has it
        self.starts = []  # of these networks, in order; none overlaps another
        self.at = {}      # start -> network

    def take(self, net, who):
        first, last = int(net.network_address), int(net.broadcast_address)
        with self.lock:
            i = bisect.bisect_right(self.starts, last)
            other = self.at[self.starts[i - 1]] if i > 0 else None  # the last one that begins before our end
            must(other is None or int(other.broadcast_address) < first,
                 f"{net} is given to {who} while {self.held.get(other)} has {other}")
            self.starts.insert(i, first)
            self.at[first] = net
            self.held[net] = who

    def drop(self, net):
        first = int(net.network_address)
        with self.lock:
            del self.held[net], self.at[first]
            self.starts.pop(bisect.bisect_left(self.starts, first))


class Load:
    """What all threads of a round share."""

    def __init__(self, weftd):
        self.weftd = weftd
        self.stop = threading.Event()    # the round's end is near: the kill comes now
        self.killed = threading.Event()
        self.faults = []

    def run(self, work, rng):
        """Runs work(rng) until the kill. What fails before it is a fault, what fails by it is not."""
        try:
            while not self.stop.is_set():
                work(rng)
        except Violation as e:
            self.faults.append(str(e))
        except Exception as e:
            if not self.killed.wait(3):
                self.faults.append(f"{type(e).__name__}: {e}\n{traceback.format_exc()}")


# ---- writers ---------------------------------------------------------------------------------------

class Writer:
    """Sets value v = 1, 2, 3 ... in two profiles and makes the entity-match NAME-v, in one change each."""

    def __init__(self, name):
        self.name, self.acked, self.tried, self.first = name, 0, 0, 1
        self.index = 0  # of the last change answered
        self.conn = None

    def objects(self, v):
        both = [{"name": f"{self.name}-{half}", "apportion-threshold": v, "reclaim-threshold": v + 1000000}
                for half in "ab"]
        return {"weft-apm:apm": {"pool-domain-profile": both, "entity-match": [
            {"system-id": f"{self.name}-{v}", "pool-domain-profile": f"{self.name}-a"}]}}

    def begin(self, load):
        self.load = load
        self.conn = load.weftd.connection(SETTLE_S)

    def work(self, rng):
        self.tried = v = self.acked + 1
        r = self.load.weftd.ask("PATCH", "weft-apm:apm", self.objects(v), conn=self.conn)
        must(r.status == 204, f"{self.name}: value {v} is answered {r}")
        index = int(r.headers["weft-commit"])
        must(index > self.index, f"{self.name}: commit {index} after {self.index}")
        self.index, self.acked = index, v

    def check(self, weftd):
        """What is there is what was answered, or one change more, and that one whole."""
        values = [profile(weftd, f"{self.name}-{half}") for half in "ab"]
        must(values[0] == values[1], f"{self.name}: half a change: {values}")
        must(self.acked <= values[0] <= max(self.tried, self.acked),
             f"{self.name}: value {self.acked} was answered, {values[0]} is there, {self.tried} was sent")
        marks = sorted(marks_of(weftd, self.name))
        want = list(range(self.first, values[0] + 1))
        must(marks == want, f"{self.name}: value {values[0]}, but of the objects made with the values "
             f"{sorted(set(want) - set(marks))} are missing and {sorted(set(marks) - set(want))} too many")
        self.acked = self.tried = values[0]

    def prune(self, weftd):
        """Takes the marks away, so that they don't grow for ever: one change again."""
        edits = [{"edit-id": str(v), "operation": "delete", "target": f"/entity-match={self.name}-{v}"}
                 for v in range(self.first, self.acked + 1)]
        for i in range(0, len(edits), 100):  # as many as the guard rail lets through
            r = weftd.ask("PATCH", "weft-apm:apm", {"ietf-yang-patch:yang-patch": {
                "patch-id": "prune", "edit": edits[i:i + 100]}}, media="application/yang-patch+json")
            must(r.status == 200 and b'"ok"' in r.body, f"{self.name}: marks can't be removed: {r}")
        self.first = self.acked + 1


class CliWriter(Writer):
    """The same over the command line, with the real terminal program."""

    def work(self, rng):
        self.tried = v = self.acked + 1
        sets = [f"set apm pool-domain-profile {self.name}-{half} apportion-threshold {v}" for half in "ab"]
        sets += [f"set apm pool-domain-profile {self.name}-{half} reclaim-threshold {v + 1000000}" for half in "ab"]
        self.load.weftd.cli("configure private", *sets,
                            f"set apm entity-match {self.name}-{v} pool-domain-profile {self.name}-a", "commit")
        self.acked = v


def profile(weftd, name):
    r = weftd.ask("GET", f"weft-apm:apm/pool-domain-profile={name}/apportion-threshold")
    if r.status == 404:
        return 0
    must(r.status == 200, f"profile {name}: {r}")
    return r.json()["weft-apm:apportion-threshold"]


def marks_of(weftd, name):
    r = weftd.ask("GET", "weft-apm:apm/entity-match")
    must(r.status == 200, f"entity-match: {r}")
    ids = [m["system-id"] for m in r.json().get("weft-apm:entity-match", [])]
    return [int(i.rsplit("-", 1)[1]) for i in ids if i.startswith(name + "-")]


# ---- entities --------------------------------------------------------------------------------------

class Gateway(Entity):
    """An entity that remembers, over breaks, what it has, and holds every answer against the registry."""

    def __init__(self, pb, system_id, target, registry):
        super().__init__(pb, system_id, target)
        self.registry = registry
        self.names = {}        # domain -> names given while it lived
        self.unanswered = None  # an apportion alarm whose answer never came: (domain, id, fields)
        self.answers = 0

    def begin(self, load):
        self.load = load

    def reconnect(self):
        self.close()
        for attempt in range(100):
            try:
                ack = self.hello()
                break
            except Ended as e:  # the connection was tried before the daemon listened
                must(e.code == 14 and attempt < 99, f"{self.system_id}: no session: {e}")
                time.sleep(0.1)
        must(ack.status.code == 0, f"{self.system_id}: {ack}")
        before = set(self.domains)
        r = self.sync(digest=self.epoch % 2 == 0)
        for new in r.create_first:  # gone there with its last pool: a new life, with new numbers
            if new in self.domains:
                self.names[new] = set(self.domains[new].pools)
        for gone in before - set(self.domains):
            self.names.pop(gone, None)
        self.obey(0.05)

    def take(self, domain, response):
        d = self.domains[domain]
        had = set(d.pools)
        new = super().take(domain, response)
        names = self.names.setdefault(domain, set())
        for name, net in new:
            self.registry.take(net, f"{self.system_id} {name}")
            # The bare name may come again when its pool is gone (APM-035), a number never.
            must(name not in (had if name == domain else names),
                 f"{self.system_id}: the name {name} is given a second time")
            names.add(name)
        return new

    def obey(self, seconds=0.0):
        """Carries out orders that have come."""
        import queue
        pb = self.pb
        while True:
            try:
                o = self.stream.order(seconds) if seconds else self.stream.orders.get_nowait()
            except queue.Empty:
                return
            if o is None:
                raise self.stream.ended
            d = self.domains.get(o.domain)
            pool = None
            if o.type == pb.ORDER_RESYNC:
                if o.domain:
                    self.pool_sync(o.domain)
                else:
                    self.sync()
            elif d is not None and o.pool in d.pools:
                if o.type == pb.ORDER_SET_DRAIN:
                    d.state[o.pool] = pb.DRAINED  # nobody is on it
                elif o.type == pb.ORDER_CLEAR_DRAIN:
                    d.state.pop(o.pool, None)
                pool = self.pool(d, o.pool)
                if o.type == pb.ORDER_REMOVE_POOL:
                    self.remove(o.domain, o.pool)
            self.confirm(o.order_id, pool=pool, revision=o.revision)

    def remove(self, domain, name):
        d = self.domains[domain]
        self.registry.drop(d.pools.pop(name))
        d.state.pop(name, None)

    def ask_for(self, domain, wanted, alarm_id=None):
        """Asks; should no answer come, the question is remembered with its id."""
        if alarm_id is None:
            self.alarms += 1
            alarm_id = f"{self.system_id}-{self.epoch}-{self.alarms}"
        self.unanswered = (domain, wanted, alarm_id)
        r = self.alarm(self.pb.APPORTION, domain, alarm_id=alarm_id, wanted_prefixes=wanted,
                       preferred_length=self.domains[domain].length)
        self.unanswered = None
        if r.action == self.pb.ADD_POOLS:
            self.take(domain, r)
            self.answers += 1
        elif r.reason == self.pb.UNKNOWN_DOMAIN:  # it went there with its last pool (APM-037)
            must(not self.domains[domain].pools, f"{self.system_id}: domain {domain} is unknown")
            del self.domains[domain]
        elif r.reason == self.pb.RATE_LIMITED:
            time.sleep(0.1)
        return r

    def drained(self, domain, name):
        d = self.domains[domain]
        r = self.alarm(self.pb.POOL_DRAINED, domain, candidate_pool=[name])
        if r.action == self.pb.REMOVE_POOL:
            pool = self.pool(d, name)
            self.remove(domain, name)
            self.confirm(r.alarm_id, pool=pool)
        elif r.reason == self.pb.RATE_LIMITED:
            time.sleep(0.1)

    def surplus(self, domain, name):
        d, pb = self.domains[domain], self.pb
        free = sum(n.num_addresses - 2 for n in d.pools.values())
        r = self.alarm(pb.RECLAIM, domain, free_addresses=free, total_addresses=free, candidate_pool=[name],
                       candidate_used=0, candidate_total=d.pools[name].num_addresses - 2)
        if r.action == pb.SET_DRAIN:
            must(r.pool in d.pools, f"{self.system_id}: a drain of {r.pool}, which it does not have")
            d.state[r.pool] = pb.DRAINED
            self.confirm(r.alarm_id, pool=self.pool(d, r.pool))
        elif r.reason == pb.RATE_LIMITED:
            time.sleep(0.1)

    def work(self, rng):
        self.obey()
        if self.unanswered and self.unanswered[0] in self.domains:
            domain, wanted, alarm_id = self.unanswered
            self.ask_for(domain, wanted, alarm_id if rng.random() < 0.7 else None)
            return
        domain = f"d{rng.randrange(3)}"
        if domain not in self.domains:
            must(self.create(domain, "metro", rng.randrange(26, 30)).status.code == 0, "no domain")
            self.names.pop(domain, None)
            return
        d = self.domains[domain]
        drained = [n for n, s in d.state.items() if s == self.pb.DRAINED]
        if drained and rng.random() < 0.7:
            self.drained(domain, rng.choice(drained))
        elif len(d.pools) > 1 and rng.random() < len(d.pools) / POOLS_MAX + 0.2:
            self.surplus(domain, rng.choice(sorted(d.pools)))
        else:
            r = self.ask_for(domain, rng.randrange(1, 4))
            if r.action == self.pb.ADD_POOLS and rng.random() < 0.8:  # else Stats or a break tell
                self.confirm(r.alarm_id)

    def check(self, weftd):
        """The controller's list of this entity is the entity's own."""
        r = weftd.ask("GET", STATE + "/entity=" + self.system_id)
        must(r.status == 200, f"{self.system_id}: {r}")
        theirs = {}
        for d in r.json()["weft-apm:entity"][0].get("pool-domain", []):
            for p in d.get("pool", []):
                theirs[(d["name"], p["name"])] = (p["prefix"], p["state"])
            must(not d.get("conflict"), f"{self.system_id}: {d.get('conflict')}")
        ours = {(dn, n): str(net) for dn, d in self.domains.items() for n, net in d.pools.items()}
        must({k: v[0] for k, v in theirs.items()} == ours,
             f"{self.system_id} has {sorted(ours.items())}, the controller says {sorted(theirs.items())}")
        for key, (net, state) in theirs.items():
            must(state not in ("offered", "uncertain"), f"{self.system_id}: {key} {net} is still {state}")


# ---- rounds ----------------------------------------------------------------------------------------

class Crash:
    def __init__(self, args, folder):
        self.args, self.rng = args, random.Random(args.seed)
        self.weftd = Weftd(folder, args.program)
        self.pb = generate(os.path.join(folder, "pb"))
        self.writers = [Writer(f"r{i}") for i in range(WRITERS)] + [CliWriter("c0")]
        self.registry, self.gateways = Registry(), []
        self.head = self.log_id = 0
        self.power_rounds = self.broken_starts = 0

    def power(self):
        """This start's environment: over the ordinary file system or the one that forgets."""
        if self.args.power == "never" or (self.args.power == "mixed" and self.rng.random() < 0.5):
            return {"LD_PRELOAD": ""}
        self.power_rounds += 1
        early = 0 if self.args.expect_loss else self.rng.choice((0, 20, 60))
        asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        return {"LD_PRELOAD": binary("src", "log", "libvfs_power.so"), "ASAN_OPTIONS": asan.lstrip(":"),
                "WEFT_POWER_SEED": str(self.rng.randrange(1, 10**6)), "WEFT_POWER_EARLY": str(early)}

    def start(self, first=False):
        self.weftd.env.update(self.power())
        if not first and self.rng.random() < 0.2:  # a crash while it recovers from a crash
            self.broken_starts += 1
            try:
                threading.Timer(self.rng.uniform(0.005, 0.3), self.weftd.kill_now).start()
                self.weftd.start()
                self.weftd.process.wait(5)
            except AssertionError:
                must(self.weftd.process.returncode == -9, f"it did not start: {self.weftd.log()[-3000:]}")
            self.weftd.kill()
        self.weftd.start()

    def configure(self):
        r = self.weftd.ask("PUT", "weft-apm:apm", {"weft-apm:apm": {
            "inet-pool": {"partition": [{"name": "metro", "min-prefix-len": 16, "max-prefix-len": 30,
                                         "prefix": [{"prefix": str(ROOT)}]}]},
            "pool-domain-profile": [{"name": "auto", "apportion-threshold": 1, "reclaim-threshold": 2,
                                     "hold-down": 0, "auto-reclamation": {}}],
            "entity-match": [{"system-id": f"e{i}", "pool-domain-profile": "auto"} for i in range(ENTITIES)]}})
        must(r.status in (201, 204), f"configuration: {r}")
        self.gateways = [Gateway(self.pb, f"e{i}", f"127.0.0.1:{self.weftd.ports['apmi-clear']}", self.registry)
                         for i in range(ENTITIES)]

    def check_index(self):
        head = self.weftd.head()
        acked = max(w.index for w in self.writers)
        must(head >= max(self.head, acked), f"the log ends at {head}; commit {acked} was answered, and "
             f"{self.head} was seen before")
        self.head = head

    def settle(self):
        """After a restart: writers first, then the entities come back, then everything must agree."""
        self.check_index()
        for w in self.writers:
            w.check(self.weftd)
            w.prune(self.weftd)
        for g in self.gateways:
            g.reconnect()
        # Orders that a synchronisation brings may still be on their way.
        end = time.monotonic() + SETTLE_S
        while True:
            for g in self.gateways:
                g.obey(0.02)
            try:
                for g in self.gateways:
                    g.check(self.weftd)
                break
            except Violation:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        r = self.weftd.ask("GET", STATE + "/partition=metro")
        free = int(r.json()["weft-apm:partition"][0]["free-addresses"])
        held = sum(n.num_addresses for n in self.registry.held)
        must(free + held == ROOT.num_addresses, f"{free} addresses are free, {held} are held, of {ROOT.num_addresses}")

    def round(self):
        load = Load(self.weftd)
        threads = []
        for worker in self.writers + self.gateways:
            worker.begin(load)
            rng = random.Random(self.rng.random())
            threads.append(threading.Thread(target=load.run, args=(worker.work, rng), daemon=True))
        for t in threads:
            t.start()
        load.stop.wait(self.rng.uniform(*LOAD_S))
        alive = self.weftd.alive()
        load.killed.set()
        self.weftd.kill()
        load.stop.set()
        for t in threads:
            t.join(SETTLE_S + 5)
            must(not t.is_alive(), "a thread of the load hangs")
        must(alive, f"weftd ended by itself: {self.weftd.log()[-3000:]}")
        must(not load.faults, "\n".join(load.faults))
        self.start()
        self.settle()

    def run(self):
        self.start(first=True)
        self.configure()
        self.settle()
        for n in range(self.args.rounds):
            try:
                self.round()
            except (Violation, AssertionError, Ended) as e:
                raise Violation(f"round {n + 1}: {e}") from e
        for g in self.gateways:
            g.close()
        self.weftd.env["LD_PRELOAD"] = ""
        self.weftd.stop()
        check = self.weftd.check()
        must(check.returncode == 0, f"weftd check: {check.stdout}{check.stderr}")


# proves: F-01 F-02 F-03
def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=30)
    p.add_argument("--seed", type=int, default=int(time.time()))
    p.add_argument("--power", choices=("mixed", "always", "never"), default="mixed")
    p.add_argument("--program", default="weftd")
    p.add_argument("--expect-loss", action="store_true")
    p.add_argument("--keep", action="store_true", help="leave the folder after a failure")
    args = p.parse_args()
    print(f"seed {args.seed}", flush=True)
    folder, lost, begun = tempfile.mkdtemp(prefix="weft-crash-"), None, time.monotonic()
    crash = Crash(args, folder)
    try:
        crash.run()
    except (Violation, AssertionError) as e:
        lost = e
        if not args.expect_loss:
            traceback.print_exc()
    finally:
        crash.weftd.kill()
        for g in crash.gateways:
            g.close()
        if lost is None or not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"kept: {folder}")
        if os.path.exists(crash.weftd.socket):
            os.unlink(crash.weftd.socket)
    changes, given = sum(w.acked for w in crash.writers), sum(g.answers for g in crash.gateways)
    print(f"{args.rounds} rounds wanted, {crash.power_rounds} of {crash.weftd.starts} starts over the forgetful "
          f"file system, {crash.broken_starts} starts cut; {changes} changes answered, {given} allocations, "
          f"log index {crash.head}; {time.monotonic() - begun:.0f} s")
    if args.expect_loss:
        ok = isinstance(lost, Violation) and changes + given > 0
        print(f"as expected, it was caught: {lost}" if ok else f"this build was NOT caught: {lost!r}")
    else:
        ok = lost is None and changes > 0 and given > 0
        print("ok" if ok else f"FAILED (seed {args.seed}): {lost}")
    # gRPC's threads have nothing left to do; their orderly end can take long after so many breaks.
    sys.stdout.flush()
    os._exit(0 if ok else 1)


if __name__ == "__main__":
    main()
