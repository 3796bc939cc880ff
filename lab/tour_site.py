# SPDX-License-Identifier: Apache-2.0
"""The tour's second act: a site of boxes from the factory phones home."""
import os
import time

from onboard_site import ADDRESS, EDGE, PHS, RING, shortened
from stack import formed
from topology import binary
from weftlab import LabError


class SiteAct:
    def __init__(self, tour, site):
        self.tour, self.site, self.lab = tour, site, tour.lab
        self.upgraded = {}  # serial number -> when it was first seen to run the new system

    # ---- looking --------------------------------------------------------------------------------
    def device(self, serial):
        return self.tour.json("show", "onboard", "device", serial)["device"][0]

    def log(self, serial):
        return self.tour.weft("show", "onboard", "device", serial).stdout

    def complete(self, serials):
        states = {s: self.device(s)["status"] for s in serials}
        if all(s == "complete" for s in states.values()):
            return True
        raise LabError(", ".join(f"{s} {state}" for s, state in states.items()))

    def look(self):
        """Notes which members run the new system, as the chassis itself tells."""
        members = {}
        for b in self.site.ring:
            members = b.members()
            if members:
                break
        now = time.monotonic()
        for serial, m in members.items():
            if m.get("os-version") == "2.0" and m["up"]:
                self.upgraded.setdefault(serial, now)
        return members

    def all_upgraded(self):
        self.look()
        if len(self.upgraded) == len(RING):
            return True
        raise LabError(f"{len(self.upgraded)} of {len(RING)} run 2.0")

    def reached(self, box):
        return self.lab.ping("core", ADDRESS[box.serial])

    # ---- the story ------------------------------------------------------------------------------
    def tell(self):
        t, site = self.tour, self.site
        t.step("A new site: five boxes from the factory, cabled and without power")
        site.build()
        site.make_image(os.path.join(t.data, "onboard", "files"))
        t.say("one by itself, four in a ring; DHCP (Kea) names the redirect server, nothing else is prepared there.\n"
              "The operator commits what they are to become, with the vouchers that came with the delivery:")
        statements = site.statements()
        t.say(shortened(statements))
        t.weft(stdin=f'configure\n{statements}commit comment "a new site"\nexit\n')
        t.seen("three doors are open: redirect, phs1, phs2", 20, self.doors)
        monitor = t.lab.spawn("ctl", "monitor", [binary("cli", "weft"), "--socket", t.socket, "monitor", "onboard"])

        t.step("Power for the first one: it finds its owner, is upgraded, and configured")
        site.power_on(site.edge)
        t.seen("it has a lease with option 143", 20, lambda: self.leased(site.edge))
        t.seen("the redirect server sent it on, signed", 40, lambda: "redirected" in self.log(EDGE))
        t.seen("phs1 gave it a bundle", 30, lambda: "answered" in self.log(EDGE))
        t.seen("it is complete", 60, lambda: self.complete([EDGE]))
        t.seen("it runs the new system", 5, lambda: site.edge.state()["os-version"] == "2.0")
        t.seen(f"the core pings {ADDRESS[EDGE]}, which is its configuration", 10, lambda: self.reached(site.edge))
        t.weft("show", "onboard", "device", EDGE, show=True)

        t.step("Power for the ring, while the first bootstrap server can't be reached")
        site.cut(PHS[0])
        for b in site.ring:
            site.power_on(b)
        primary, backup = t.seen("four boxes have become one chassis", 60, lambda: formed(site.ring))
        ids = {s: m["id"] for s, m in primary.members().items()}
        t.say(primary.show())
        t.seen(f"its primary, {primary.serial}, was sent on, and phs2 gave it a bundle", 60,
               lambda: "answered" in self.log(primary.serial))
        t.seen("every member runs the new system", 240, self.all_upgraded)
        self.in_order(primary, backup)
        t.seen("the chassis is complete", 120, lambda: self.complete(RING))
        now = t.seen("it is whole, and primary and backup have exchanged their roles", 60,
                     lambda: formed(site.ring, ids))
        if now != (backup, primary):
            raise LabError(f"{now[0].serial} is primary and {now[1].serial} backup")
        for b in site.ring:
            t.seen(f"the core pings {ADDRESS[b.serial]}: {b.serial} is configured", 20, lambda b=b: self.reached(b))
        t.say(now[0].show())
        t.seen("`weft monitor onboard`, begun before the first one had power, has ended: all are complete", 20,
               lambda: monitor.popen.poll() == 0)
        t.show_command("monitor", "onboard")
        t.say(monitor.tail(1000))

    def doors(self):
        listeners = self.tour.json("show", "onboard", "listeners").get("listener", [])
        return len(listeners) == 3 and all(x["state"] == "open" for x in listeners)

    def leased(self, box):
        path = box.path("leases", "me0.4")
        if not os.path.exists(path):
            return False
        with open(path, encoding="ascii") as f:
            return "v4-sztp-redirect" in f.read()

    def in_order(self, primary, backup):
        """Linecards first, then the backup, and the former primary last (PH-042)."""
        order = sorted(self.upgraded, key=self.upgraded.get)
        self.tour.say("upgraded in this order: " + ", ".join(order))
        linecards = {s for s in RING if s not in (primary.serial, backup.serial)}
        self.tour.seen("linecards first, then the backup, the primary last", 1, lambda: (
            set(order[:2]) == linecards and order[2:] == [backup.serial, primary.serial]))
