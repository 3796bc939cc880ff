# SPDX-License-Identifier: Apache-2.0
# Takes minutes: run.sh begins with it.
"""Members of a chassis that are off, that lose power in the middle of an upgrade, that come back late or never: real
members, images and clients, and what the server is told, in its exact words (the older dialect names the member)."""
import os

import pytest

from stack_site import OLD_CONFIG, good, lab, pki, site  # noqa: F401
from stack import wait_formed


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for the namespaces")
# A member whose folder says so is held in the middle of its boot.
IMAGE = {"init": "#!/bin/sh\nwhile [ -e \"$WEFT_DIRECTORY/hold\" ]; do sleep 0.1; done\n"}
NEXT = "Successfully installed downloaded image. Initiating image installation on next member."
REBOOT = "Successfully installed downloaded image. Initiating member reboot."
INSTALLED = "vc-member-image-installed"
FAILED = "Image failed to install on the member. Giving up and trying a different phone-home-server."
INITIATED = "Reboot initiated for Line Card members. Waiting for the members to come back up."
UPGRADED = ("vc-member-upgrade-success", "Member detected and successfully upgraded.")
ABSENT = ("vc-member-detection-failed", "Did not come up post image upgrade")


def of_members(told):
    """What is said of members and of the chassis."""
    return [t for t in told if t[0].startswith("vc-")]


def hold(box, on=True):
    path = box.path("d", "hold")
    if on:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii"):
            pass
    else:
        os.remove(path)


def check_chassis(s, versions):
    """All are up, configured alike and of these versions, and the roles are free: (primary, backup)."""
    primary, backup = wait_formed(s.boxes)
    s.wait("every member has the configuration", 30, lambda: all(
        s.in_force(b) == OLD_CONFIG and not b.state()["factory-default"] for b in s.boxes))
    assert [b.state()["os-version"] for b in s.boxes] == versions
    assert not any(b.state()["frozen"] for b in s.boxes)
    for b in s.boxes:
        with open(b.path("d", "hook.log"), encoding="ascii") as f:
            assert len(f.read().splitlines()) == 1  # nothing twice
    return primary, backup


# proves: PH-030 PH-032 PH-034 PH-071 PH-081 PH-082
@pytest.mark.parametrize("when", ["meanwhile", "afterwards"])
def test_a_member_that_is_off_at_the_start(site, when):
    s = site(4, old=True)
    late = s.boxes[3]
    s.offer_old("2.0", IMAGE, [b.serial for b in s.boxes])
    s.start(off=[late])
    s.wait_told(60, "informational", "The member PE003 is listed and not there.")
    if when == "meanwhile":  # who was not there when the answer came is no part of the run
        s.wait_told(120, INSTALLED, REBOOT, "PE002")
        late.start()
    s.wait_complete(180)
    # The backup has become the primary: of the former one it speaks as of its backup.
    assert of_members(s.double.told) == [
        (INSTALLED, REBOOT, (2, "PE002", "linecard")), ("vc-member-reboot-initiated", INITIATED, (2, "PE002", "linecard")),
        (*UPGRADED, (2, "PE002", "linecard")),
        (INSTALLED, REBOOT, (1, "PE001", "backup")), (*UPGRADED, (1, "PE001", "backup")),
        (INSTALLED, REBOOT, (0, "PE000", "master")), (*UPGRADED, (0, "PE000", "backup"))]
    if when == "afterwards":
        assert "PE003" not in s.boxes[1].members()
        late.start()
    primary, _ = check_chassis(s, ["2.0", "2.0", "2.0", "1.0"])
    assert primary is s.boxes[1] and late.members()[late.serial]["role"] == "linecard"
    # It asks nobody for itself, also when it leads one day: the chassis was bootstrapped.
    asked = len(s.double.requests)
    for b in s.boxes[:3]:
        b.power_off()
    s.wait("the last one leads", 60, lambda: late.state().get("primary"))
    s.wait("its client has looked", 30, lambda: "is configured" in s.status(late).get("last-error", ""))
    assert len(s.double.requests) == asked and s.status(late)["state"] == "IDLE"


def in_order(told, *wanted):
    """The notifications `wanted` (type, message, serial number or None) came in this order, others between them."""
    rest = iter([(t, m, who[1] if who else None) for t, m, who in told])
    for w in wanted:
        assert w in rest, f"{w} is missing, or came too early, in:\n" + "\n".join(map(str, told))


# The first server is left because a member is missing, the second because one is lost in the middle; the third finds all.
# proves: PH-031 PH-033 PH-034 PH-036 PH-043 PH-081 PH-082
def test_strict_mode_goes_from_server_to_server(site):
    s = site(4, servers=3, old=True)
    one, two, three = s.doubles
    late = s.boxes[3]
    s.offer_old("2.0", IMAGE, [b.serial for b in s.boxes], strict=True)
    s.start(off=[late])
    s.wait_told(120, "vc-bootstrap-failed", "VC with detection failed members and Strict provisioning set.")
    # Nothing was begun there.
    assert [t[0] for t in one.told] == ["bootstrap-initiated", "vc-bootstrap-failed"] and not s.files.requests
    s.wait("the second is asked", 60, lambda: two.requests)
    hold(late)
    late.start()
    hold(late, False)
    s.wait_told(120, INSTALLED, REBOOT, "PE003", server=1)
    hold(late)
    s.wait_told(60, "vc-member-reboot-initiated", INITIATED, "PE003", server=1)
    late.power_off()
    s.wait_told(120, "vc-bootstrap-failed", "VC member bootstrap failure detected with Strict provisioning set.", server=1)
    in_order(two.told, (INSTALLED, NEXT, "PE002"), (INSTALLED, REBOOT, "PE003"), (*UPGRADED, "PE002"), (*ABSENT, "PE003"),
             ("vc-bootstrap-failed", "VC member bootstrap failure detected with Strict provisioning set.", None))
    assert not any(t[2] and t[2][1] in ("PE000", "PE001") for t in two.told)
    s.wait("the third is asked", 60, lambda: three.requests)
    assert not s.boxes[0].state()["frozen"]
    hold(late, False)
    late.start()
    s.wait("the bootstrap is complete", 180, lambda: "bootstrap-complete" in three.types())
    check_chassis(s, ["2.0"] * 4)
    in_order(three.told, ("vc-member-upgrade-success", "No upgrade required.", "PE002"),
             (*UPGRADED, "PE001"), (*UPGRADED, "PE000"), ("bootstrap-complete", "Bootstrapping is complete.", None))
    assert not any("bootstrap-complete" in d.types() for d in (one, two))


# One linecard loses power behind its installation, before it is told to reboot, and is back within the time; another while
# it reboots, and is back when its time is over; a third while it is installed, and stays away.
# proves: PH-030 PH-042 PH-043 PH-044 PH-081 PH-082 PH-084
def test_linecards_that_lose_power_in_the_middle(site):
    s = site(5, old=True)
    soon, later, never = s.boxes[2:]
    s.offer_old("2.0", {**IMAGE, "share/big": os.urandom(6000000)}, ())
    hold(s.boxes[1])  # the backup waits for us in its boot, so that there is a time behind that of the linecards
    hold(later)
    s.boxes[1].settings["boot-tries"] = 9
    for b in s.boxes:
        b.settings["init-s"] = 600
    s.start()
    s.wait_told(60, INSTALLED, NEXT, "PE002")
    soon.power_off()
    s.wait("the last one is being installed", 60, lambda: os.path.exists(never.path("d", "part-2")))
    never.power_off()
    s.wait_told(60, "vc-member-image-installation-failed", FAILED, "PE004")
    s.wait_told(60, "vc-member-reboot-initiated", INITIATED, "PE003")
    later.power_off()
    soon.start()
    s.wait_told(60, *UPGRADED, "PE002")
    s.wait_told(120, *ABSENT, "PE003")
    s.wait_told(60, INSTALLED, REBOOT, "PE001")
    hold(later, False)
    later.start()
    s.wait("it is there", 60, lambda: s.boxes[0].members()["PE003"]["up"])
    hold(s.boxes[1], False)
    s.wait_complete(180)
    in_order(s.double.told, (INSTALLED, NEXT, "PE002"), (INSTALLED, NEXT, "PE003"),
             ("vc-member-image-installation-failed", FAILED, "PE004"), (*UPGRADED, "PE002"), (*ABSENT, "PE003"),
             (INSTALLED, REBOOT, "PE001"), (*UPGRADED, "PE001"), (INSTALLED, REBOOT, "PE000"),
             (*UPGRADED, "PE000"), (*UPGRADED, "PE003"), ("bootstrap-complete", "Bootstrapping is complete.", None))
    assert not any(t[0] in ("vc-member-upgrade-failed", "vc-bootstrap-failed") for t in s.double.told)
    never.start()
    check_chassis(s, ["2.0"] * 4 + ["1.0"])


# proves: PH-043 PH-044 PH-081 PH-082
def test_a_backup_that_does_not_come_back(site):
    s = site(3, old=True)
    backup = s.boxes[1]
    s.offer_old("2.0", IMAGE, ())
    hold(backup)
    s.start()
    s.wait_told(120, INSTALLED, REBOOT, "PE001")
    s.wait("it reboots", 60, lambda: not s.boxes[0].members()["PE001"]["up"])
    backup.power_off()
    s.wait_complete(240)
    # The primary is not rebooted: nobody could take over.
    in_order(s.double.told, (*UPGRADED, "PE002"), (*ABSENT, "PE001"), ("vc-member-upgrade-failed", "Upgrade failed !!!", "PE000"),
             ("bootstrap-complete", "Bootstrapping is complete.", None))
    hold(backup, False)
    backup.start()
    assert check_chassis(s, ["1.0", "2.0", "2.0"])[0] is s.boxes[0]


# proves: PH-043 PH-050 PH-051 PH-081 PH-082
def test_a_primary_that_does_not_come_back(site):
    s = site(3, old=True)
    primary = s.boxes[0]
    s.offer_old("2.0", IMAGE, ())
    hold(primary)
    s.start()
    s.wait_told(120, INSTALLED, REBOOT, "PE000")
    s.wait("the backup goes on", 60, lambda: s.boxes[1].state().get("primary"))
    primary.power_off()
    s.wait_complete(240)
    in_order(s.double.told, (*UPGRADED, "PE002"), (*UPGRADED, "PE001"), (INSTALLED, REBOOT, "PE000"), (*ABSENT, "PE000"),
             ("bootstrap-complete", "Bootstrapping is complete.", None))
    hold(primary, False)
    primary.start()
    assert check_chassis(s, ["2.0"] * 3)[0] is s.boxes[1]
