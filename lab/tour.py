#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The story `make run` tells: two gateways that never run dry, and a site whose boxes phone home.

Every step is shown only after it was observed from outside: in Kea's own leases, in the core router's
routes, by ping, or in Weft's answers. Afterwards the lab stays up to explore until Ctrl-C; with
TOUR=once it ends by itself, status 0 only if each step was seen.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from onboard_site import NAMES, RING, Site  # noqa: E402
from topology import TOP, Gateway, binary, build_core, core_routes  # noqa: E402
from tour_site import SiteAct  # noqa: E402
from weftlab import Ended, Lab, LabError, signals, wait_until  # noqa: E402

TERMINAL = sys.stdout.isatty()
COLOUR = TERMINAL and "NO_COLOR" not in os.environ
SUBSCRIBERS = 60

APPORTION = 10

CONFIG = f"""\
set apm inet-pool partition metro min-prefix-len 20
set apm inet-pool partition metro max-prefix-len 28
set apm inet-pool partition metro free-prefix-utilization 10
set apm inet-pool partition metro prefix 100.64.0.0/23
set apm pool-domain-profile standard apportion-threshold {APPORTION}
set apm pool-domain-profile standard reclaim-threshold 48
set apm pool-domain-profile standard hold-down 2
set apm pool-domain-profile standard auto-reclamation active always
set apm entity-match bng1 pool-domain-profile standard
set apm entity-match bng2 pool-domain-profile standard
commit comment "address space for the metro area"
"""


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


class Tour:
    def __init__(self, lab):
        self.lab = lab
        self.number = 0
        self.bng1 = Gateway(lab, 1, ["a", "b"])
        self.bng2 = Gateway(lab, 2, ["c"], {"max-apportion-threshold": 20})
        self.weftd = None
        self.socket = lab.path("weft.sock")
        self.data = lab.path("data")

    # ---- telling --------------------------------------------------------------------------------
    def step(self, title):
        self.number += 1
        print(f"\n{paint('1', f'{self.number}. {title}')}", flush=True)

    def say(self, text):
        for line in text.rstrip().splitlines():
            print("     " + line, flush=True)

    def seen(self, what, seconds, check):
        """Waits until `check` gives something true, tells so, and returns it."""
        started = time.monotonic()
        told = 0

        def waiting(took, last):
            nonlocal told
            if self.weftd and not self.weftd.alive():
                raise LabError(f"weftd has ended (while waiting for: {what})")
            if TERMINAL and took > 0.5:
                print(f"\r   {paint('33', ' ...')}  {what} ({took:.0f} s)", end="", flush=True)
            elif not TERMINAL and took - told > 15:
                told = took
                print(f"    ...  {what} ({took:.0f} s{f': {last}' if last else ''})", flush=True)
        try:
            value = wait_until(what, seconds, check, waiting=waiting)
        finally:
            if TERMINAL:
                print("\r\033[K", end="")
        print(f"   {paint('32', 'seen')}  {what} ({time.monotonic() - started:.1f} s)", flush=True)
        return value

    def show_command(self, *words):
        print(f"   {paint('36', '$ weft ' + ' '.join(words))}", flush=True)

    # ---- the operator ---------------------------------------------------------------------------
    def weft(self, *words, stdin=None, check=True, show=False):
        """The operator's own program, over the local socket."""
        argv = [binary("cli", "weft"), "--socket", self.socket, *words]
        if show:
            self.show_command(*words)
        r = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False,
                           input=stdin or "")
        if check and r.returncode != 0:
            raise LabError(f"weft {' '.join(words)}: status {r.returncode}: "
                           f"{(r.stdout + r.stderr).strip()[-600:]}")
        if show:
            self.say(r.stdout + r.stderr)
        return r

    def json(self, *words):
        answer = json.loads(self.weft(*words, "|", "display", "json").stdout)
        return next(iter(answer.values()), {})

    def start_weftd(self):
        self.weftd = self.lab.spawn("ctl", "weftd", [
            binary("src", "weftd", "weftd"), "--data", self.data, "--unix", self.socket,
            "--listen", "10.255.0.2:8443", "--listen-apmi", "10.255.0.2:20557",
            "--hostname", ",".join(["weft", "10.255.0.2", *NAMES])])

        def ready():
            if not self.weftd.alive():
                raise LabError("weftd ended: " + self.weftd.tail())
            return self.weft("show", "version", check=False).returncode == 0
        return ready

    def domain(self, gateway):
        """What the controller knows of a gateway's domain, or {}."""
        state = self.json("show", "apm", "entity", "id", gateway.system_id)
        for e in state.get("entity", []):
            for d in e.get("pool-domain", []):
                if d["name"] == gateway.domain:
                    return d
        return {}

    def pools(self, gateway):
        return {p["prefix"] for p in self.domain(gateway).get("pool", [])
                if p.get("state", "active") == "active"}

    def agree(self, gateway):
        """Every view of the controller's, Kea and the core router tell the same story of a gateway; returns
        its pools."""
        pools = self.pools(gateway)
        kea = set(gateway.kea_subnets())
        routes = {p for p, via in core_routes(self.lab).items() if via == gateway.uplink}
        if not pools or not pools == kea == routes:
            raise LabError(f"weft {sorted(pools)}, Kea {sorted(kea)}, routes {sorted(routes)}")
        used = sum(int(p["used-addresses"]) for p in self.domain(gateway)["pool"])
        if used != len(gateway.leases()):
            raise LabError(f"weft counts {used} used addresses, Kea has {len(gateway.leases())}")
        for p in sorted(pools):
            owner = self.owner(p)
            if owner != (gateway.system_id, gateway.domain):
                raise LabError(f"show apm prefix {p} names {owner}, not {gateway.system_id}")
        blocks = self.tree(gateway)
        if blocks != pools:
            raise LabError(f"the tree has {sorted(blocks)}, the entity {sorted(pools)}")
        waits = [a for a in self.json("show", "apm", "alarms").get("alarm", [])
                 if a["entity"] == gateway.system_id and a["type"] == "apportion"]
        if waits:
            raise LabError(f"{gateway.system_id} waits for addresses: {waits}")
        return pools

    def tree(self, gateway):
        """The gateway's blocks in `show apm partition ... tree`."""
        answer = self.json("show", "apm", "partition", "name", "metro", "tree")
        return {b["prefix"] for p in answer["partition"] for b in p.get("prefix", [])
                if b.get("pool") and b["entity"] == gateway.system_id}

    def owner(self, prefix):
        """(entity, pool domain) that `show apm prefix` names for a prefix."""
        entry = self.json("show", "apm", "prefix", prefix)
        return entry.get("entity"), entry.get("pool-domain")

    # ---- the story ------------------------------------------------------------------------------
    def tell(self):
        lab = self.lab
        self.step("A controller, a core router, and two gateways without a single address")
        build_core(lab, [self.bng1, self.bng2])
        self.seen("the controller serves", 30, self.start_weftd())
        for g in (self.bng1, self.bng2):
            g.start_kea()
            tls = self.certificate(g)
            g.write_agent("10.255.0.2", tls)

        self.step("The operator commits address space, thresholds, and who may have them")
        self.say(CONFIG)
        self.weft(stdin="configure\n" + CONFIG + "exit\n")

        self.step("The gateways start, ask, and get their first pool")
        for g in (self.bng1, self.bng2):
            g.start_agent()
        for g in (self.bng1, self.bng2):
            self.seen(f"{g.node}: a pool in Weft, in Kea, and routed by the core", 40,
                      lambda g=g: self.agree(g))
        self.weft("show", "apm", "entity", "id", "bng1", show=True)

        self.step("Two people go online at bng1; a host in the core reaches one of them")
        for c in ("a", "b"):
            lab.dhclient(c, "eth0")
        address = self.seen("client a has an address", 20, lambda: lab.address_of("a", "eth0"))
        self.seen("client b has an address", 20, lambda: lab.address_of("b", "eth0"))
        self.seen(f"the core pings {address}", 20, lambda: lab.ping("core", address))

        self.step(f"{SUBSCRIBERS} subscribers log in: bng1 runs short, asks, and grows")
        before = self.agree_soon(self.bng1)
        refused = self.bng1.refusals()
        for batch in range(0, SUBSCRIBERS, 10):
            self.ten_come(batch)
            self.say(f"{batch + 10:3d} subscribers, {len(self.bng1.kea_subnets())} pools")
        self.seen(f"Kea has a lease for each of the {SUBSCRIBERS} and never had to say no", 1, lambda: (
            len(self.bng1.leases()) >= SUBSCRIBERS and self.bng1.refusals() == refused))
        after = self.seen("more pools, the same in Weft, Kea and the core", 20,
                          lambda: self.grown(before))
        self.say(f"{len(before)} -> {len(after)} pools: " + " ".join(sorted(after)))
        self.weft("show", "apm", "partition", "name", "metro", "tree", show=True)
        self.weft("show", "apm", "prefix", max(after - before), show=True)

        self.step("A threshold that bng2 cannot keep: refused there, taken back everywhere")
        r = self.weft(stdin="configure\nset apm pool-domain-profile standard apportion-threshold 30\n"
                            "commit confirmed 10 applied\nexit\n", check=False)
        self.say(r.stdout + r.stderr)
        self.seen("the commit was refused and the exit status says so", 1, lambda: r.returncode == 5)
        self.seen("both gateways say that they work by the old one again", 20, lambda: all(
            g.thresholds()[0] == APPORTION == int(self.domain(g)["thresholds"]["apportion"])
            for g in (self.bng1, self.bng2)))
        self.weft("show", "system", "commit", show=True)

        self.step("The evening ends: subscribers leave, pools drain and go back")
        self.say("leases of 20 s run out ...")
        self.seen("bng1 is back to few pools, withdrawn from the core", 150,
                  lambda: len(self.agree(self.bng1)) < len(after) and self.agree(self.bng1))
        self.seen("the clients still have their addresses' pool", 5,
                  lambda: lab.ping("core", lab.address_of("a", "eth0")))
        self.weft("show", "apm", "alarms", show=True)

        self.site = Site(lab)
        SiteAct(self, self.site).tell()

        self.step("The controller is killed: subscribers don't notice")
        self.weftd.kill(signal.SIGKILL)
        self.weftd = None
        lab.dhclient("c", "eth0")
        address = self.seen("a new client of bng2 gets an address", 20,
                            lambda: lab.address_of("c", "eth0"))
        self.seen("and is reached from the core", 10, lambda: lab.ping("core", address))
        self.seen("the controller is back", 30, self.start_weftd())
        for g in (self.bng1, self.bng2):
            self.seen(f"{g.node} is synchronised and everything agrees", 60,
                      lambda g=g: self.agree(g))

    def certificate(self, gateway):
        """A client certificate from the controller's own authority, as an operator would make it."""
        folder = gateway.path("tls")
        os.makedirs(folder, exist_ok=True)
        subprocess.run([binary("src", "weftd", "weftd"), "issue", gateway.system_id, folder,
                        "--data", self.data], check=True, capture_output=True)
        return {"certificate": os.path.join(folder, "cert.pem"),
                "key": os.path.join(folder, "key.pem"), "ca": os.path.join(folder, "ca.pem")}

    def ten_come(self, batch):
        """Ten subscribers log in. Those whose packets were lost ask again, as every DHCP client does:
        Kea does not listen for the moment in which it takes a new pool."""
        for attempt in range(3):
            if self.bng1.come(10, rate=10, base=batch):
                return
            self.say(f"a packet was lost, try {attempt + 2}")
        raise LabError(f"subscribers {batch + 1} to {batch + 10} got no answer in three tries")

    def agree_soon(self, gateway):
        return wait_until("agreement", 20, lambda: self.agree(gateway))

    def grown(self, before):
        now = self.agree(self.bng1)
        return now if len(now) > len(before) else None

    def explore(self):
        weft = os.path.relpath(binary("cli", "weft"))
        agent = os.path.relpath(binary("agents", "bng", "weft-bng"))
        stackd = os.path.relpath(binary("agents", "phone-home", "stack", "weft-stackd"))
        sock = os.path.relpath(self.socket)
        print(f"""
{paint('1', 'The lab is up. In another terminal:')}
   export WEFT_SOCKET=$PWD/{sock}
   {weft}                                          the command line (Tab and ? help on every word)
   {weft} show apm entity
   {weft} show apm partition name metro tree
   {weft} explain apm domain {self.bng1.domain} entity bng1
   {weft} show apm alarms
   curl -s --unix-socket {sock} http://localhost/restconf/data/weft-apm:apm/state/partition      RESTCONF
   {weft} show onboard devices
   {weft} show onboard device {RING[0]}
   {stackd} show virtual-chassis -s {os.path.relpath(self.site.ring[0].socket)}
   {agent} status -s {os.path.relpath(self.bng1.path('agent.sock'))}                 the agent on bng1
   ip netns exec {self.lab.ns('core')} vtysh -N {self.lab.ns('core')} -c 'show ip route bgp'
   ip netns exec {self.lab.ns('sub1')} perfdhcp -4 -l lan -R 40 -n 40 -r 10      more subscribers
   logs: {os.path.relpath(self.lab.path('log'))}/

Ctrl-C clears everything away.""", flush=True)
        signal.pause()


def main():
    if os.geteuid() != 0:
        print("The lab makes network namespaces and needs root: sudo make run", file=sys.stderr)
        return 1
    run = os.path.join(TOP, "run")
    os.makedirs(run, exist_ok=True)
    once = os.environ.get("TOUR") == "once"
    started = time.monotonic()
    try:
        with Lab("tour", os.path.join(run, "tour")) as lab:
            tour = Tour(lab)
            try:
                tour.tell()
            except Exception as e:  # whatever it is, the step was not seen
                if not isinstance(e, LabError):
                    traceback.print_exc()
                print(f"\n{paint('31', 'Not seen:')} {e}", file=sys.stderr)
                if tour.weftd:
                    print(tour.weftd.tail(), file=sys.stderr)
                keep = os.path.join(run, "failed-logs")
                shutil.rmtree(keep, ignore_errors=True)
                if os.path.isdir(lab.path("log")):  # it may have failed before there was any
                    shutil.copytree(lab.path("log"), keep)
                print(f"All logs: {os.path.relpath(keep)}", file=sys.stderr)
                return 1
            print(f"\n{paint('32', 'All steps were seen')} in {time.monotonic() - started:.0f} s.",
                  flush=True)
            if not once:
                try:
                    tour.explore()
                except Ended:
                    print("\nclearing away ...", flush=True)
            return 0
    except LabError as e:
        print(e, file=sys.stderr)
        return 1


if __name__ == "__main__":
    signals.install()
    try:
        sys.exit(main())
    except Ended as ended:
        print("\nended before the story was told; everything is cleared away", flush=True)
        sys.exit(128 + ended.signum)
