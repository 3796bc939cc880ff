# SPDX-License-Identifier: Apache-2.0
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
