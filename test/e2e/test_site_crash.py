# SPDX-License-Identifier: Apache-2.0
"""kill -9 and loss of power at every state of a bootstrap, on the lab's site: real controller, DHCP, name service, and
five boxes, of which four are a chassis. Whatever is hit, and whenever: in the end all are complete, configured once and
whole. WEFT_SITE_ROUNDS and WEFT_SITE_SEED make it longer and repeat it."""
import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from weftd_lab import TOP

sys.path.insert(0, os.path.join(TOP, "lab"))
from onboard_site import ADDRESS, Site  # noqa: E402
from stack import formed  # noqa: E402
from topology import build_core  # noqa: E402
from tour import Tour  # noqa: E402
from weftlab import Lab, LabError, wait_until  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for the namespaces")
ROUNDS = int(os.environ.get("WEFT_SITE_ROUNDS", "4"))
SEED = int(os.environ.get("WEFT_SITE_SEED", "0")) or int(time.time())
# Those a chassis goes through when nothing fails; the engine's simulations reach the others too.
STATES = ("DISCOVER", "CONNECT", "FETCH", "VALIDATE", "TOPOLOGY", "TEMPCFG", "IMAGE", "UPGRADE_LC", "WAIT_LC", "UPGRADE_BK",
          "WAIT_BK", "SYNC_STATE", "UPGRADE_PR", "RESUME", "WAIT_OLD_PR", "PRE", "CONFIG", "POST", "REPORT")
SIZE = 40_000_000  # of the image: so that it takes a moment
VICTIMS = ("client", "primary", "member", "controller", "all")


class Crash:
    def __init__(self, lab, rng):
        self.lab, self.rng = lab, rng
        build_core(lab, [])
        self.tour = Tour(lab)
        self.site = Site(lab)
        wait_until("the controller serves", 30, self.tour.start_weftd())
        self.site.build()
        self.files = os.path.join(self.tour.data, "onboard", "files")
        self.version = "2.0"
        self.site.make_image(self.files, self.version, SIZE)
        slow = 'set onboard script slow text "#!/bin/sh\\nsleep 0.3\\n"\n' + "".join(
            f"set onboard bundle {b} {w} slow\n" for b in ("edge", "ring") for w in ("pre-script", "post-script"))
        self.tour.weft(stdin=f"configure\n{self.site.statements()}{slow}commit\nexit\n")
        for b in self.site.boxes:
            self.site.power_on(b)

    # ---- faults ---------------------------------------------------------------------------------
    def kill_client(self, box):
        r = subprocess.run(["pgrep", "-f", f"weft-phone-home -c {box.path('phc.json')}"], capture_output=True, text=True,
                           check=False)
        for pid in r.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def power(self, boxes):
        for b in boxes:
            b.power_off()
        time.sleep(self.rng.choice((0, 0.5, 3)))
        for b in boxes:
            b.start()

    def hit(self, victim, box):
        if victim == "client":
            self.kill_client(box)
        elif victim == "primary":
            self.power([box])
        elif victim == "member":
            self.power([self.rng.choice([b for b in self.site.ring if b is not box])])
        elif victim == "all":
            self.power(self.site.ring)
        else:
            self.tour.weftd.kill(signal.SIGKILL)
            time.sleep(self.rng.choice((0, 1)))
            wait_until("the controller is back", 30, self.tour.start_weftd())

    # ---- looking --------------------------------------------------------------------------------
    def complete(self):
        """Whoever is not: an error that names it."""
        devices = {d["serial-number"]: d["status"] for d in self.tour.json("show", "onboard", "devices")["device"]}
        late = {s: state for s, state in devices.items() if state != "complete"}
        if late or len(devices) != len(self.site.boxes):
            raise LabError(f"not complete: {late}")
        return True

    def whole(self):
        """Each box has the new system and all of its configuration, none is held, and no run is left over."""
        if not formed(self.site.ring):
            return False
        for b in self.site.boxes:
            state, status = b.state(), self.site.status(b)
            mine = self.lab.ip(b.node, "-4", "-br", "address", "show", "dev", "me0")
            text = f"{b.serial}: {state}, {status}, {mine}"
            if state["os-version"] != self.version or state["factory-default"] or state["frozen"] or \
                    mine.count(ADDRESS[b.serial] + "/") != 1:
                raise LabError(text)
            if status["enabled"] and status["state"] not in ("IDLE", "DONE"):  # off, after a restart: no state
                raise LabError(text)
        return True

    def reset(self, number):
        """Back to the factory, at both ends; the boxes begin anew at once. They keep the system they run, and are to run
        the next one."""
        os.remove(os.path.join(self.files, f"box-{self.version}.img"))
        self.version = f"2.{number}"
        self.site.make_image(self.files, self.version, SIZE)
        self.tour.weft(stdin=f"configure\nset onboard boot-image box-2 os-version {self.version} file box-{self.version}.img\n"
                             "commit\nexit\n")
        for b in self.site.boxes:
            self.tour.weft("request", "onboard", "forget", b.serial)
        for group in ([self.site.edge], self.site.ring):
            primary = wait_until("a primary", 20, lambda g=group: next((b for b in g if b.state().get("primary")), None))
            primary.request("zeroize", *(m["id"] for m in primary.state()["members"]))

    def round(self, target, victim):
        """Hits the victim when a member of the ring is first seen in that state; what was done is given back."""
        seen = None
        end = time.monotonic() + 120
        while seen is None and time.monotonic() < end:
            for b in self.site.ring:
                status = self.site.status(b)
                over = status.get("state") == "DONE" or status.get("enabled") is False
                if status.get("state") == target or (over and self.complete_already()):
                    seen = b if status.get("state") == target else False
                    break
        if seen:
            self.hit(victim, seen)
        wait_until("all are complete", 240, self.complete)
        wait_until("all are whole", 60, self.whole)
        return bool(seen)

    def complete_already(self):
        try:
            return self.complete()
        except LabError:
            return False


# proves: PH-001 PH-051 PH-054 PH-204
def test_whatever_is_hit_and_whenever():
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    pairs = [(s, v) for s in STATES for v in VICTIMS]
    rng.shuffle(pairs)
    hits = 0
    with Lab("sitecrash", f"/tmp/wsc-{os.getpid()}") as lab:
        c = Crash(lab, rng)
        for i in range(ROUNDS):
            state, victim = pairs[i % len(pairs)]
            if i > 0:
                c.reset(i)
            started = time.monotonic()
            try:
                hit = c.round(state, victim)
            except LabError:
                for b in c.site.boxes:
                    print(b.show(), b.process.tail(40), c.site.status(b))
                print(c.tour.weft("show", "onboard", "devices", check=False).stdout)
                print(c.tour.weft("show", "onboard", "requests", check=False).stdout)
                raise
            hits += hit
            print(f"round {i + 1}: {victim} at {state}: {'hit' if hit else 'was not seen'}, {time.monotonic() - started:.0f} s",
                  flush=True)
    assert hits >= ROUNDS // 2 or ROUNDS < 10, f"{hits} hits in {ROUNDS} rounds"
