# SPDX-License-Identifier: Apache-2.0
"""weft-phone-home on the platform linux-stack: one box, and four in a ring, with real images and reboots."""
import os

import pytest

from stack_site import CONFIG, OLD_CONFIG, good, lab, pki, site  # noqa: F401
from stack import wait_formed
from weftlab import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for the namespaces")


# proves: PH-024 PH-040 PH-060
def test_one_box(site):
    s = site(1)
    (box,) = s.boxes
    s.offer("2.0", {"init": "#!/bin/sh\n", "share/big": os.urandom(500000)},
            pre="#!/bin/sh\necho pre $WEFT_SERIAL\n", post="#!/bin/sh\necho post\n")
    s.start()
    s.wait_complete(60)
    assert box.state()["os-version"] == "2.0" and box.state()["slot"] == "a"
    assert s.in_force(box) == CONFIG and not box.state()["factory-default"]
    assert "boot-image-installed-rebooting" in s.double.types()


# proves: PH-001 PH-010 PH-011 PH-033 PH-036 PH-042 PH-050 PH-051 PH-052 PH-053 PH-060 PH-070
def test_a_chassis_in_strict_mode(site):
    s = site(4)
    members = [{"serial-id": b.serial} for b in s.boxes]
    s.offer("2.0", {"init": "#!/bin/sh\n", "share/big": os.urandom(2000000)},
            {"strict-provisioning": True, "member": members}, pre="#!/bin/sh\necho pre\n", post="#!/bin/sh\necho post\n")
    s.start(client=False)
    primary, backup = wait_formed(s.boxes)
    ids = {x: m["id"] for x, m in primary.members().items()}
    for b in s.boxes:
        b.process.stop()
    s.start()
    s.wait_complete(180)
    assert wait_formed(s.boxes, ids=ids) == (backup, primary)  # roles were exchanged
    for b in s.boxes:
        assert b.state()["os-version"] == "2.0", b.show()
    wait_until("every member has the configuration", 20, lambda: all(s.in_force(b) == CONFIG for b in s.boxes))
    assert not backup.state()["frozen"]
    told = "\n".join(s.messages())
    assert told.count("Member detected and successfully upgraded.") >= 2
    assert "Reboot initiated for Line Card members. Waiting for the members to come back up." in told
    # The hook ran once on each member that applied: nothing was done twice.
    for b in s.boxes:
        with open(b.path("d", "hook.log"), encoding="ascii") as f:
            assert f.read().splitlines() == ["apply replace"]


# proves: PH-030 PH-032 PH-051
def test_the_primary_loses_power_in_the_middle(site):
    s = site(3)
    s.offer("2.0", {"init": "#!/bin/sh\n", "share/big": os.urandom(2000000)}, {})
    s.start()
    primary = wait_until("somebody asks", 60, lambda: s.double.requests and next(
        (b for b in s.boxes if b.state().get("primary")), None))
    wait_until("an image is being installed", 60, lambda: any(
        m.get("os-version") == "2.0" for m in primary.members().values()))
    primary.power_off()
    primary.start()
    s.wait_complete(240)
    leader, _ = wait_formed(s.boxes)
    assert s.in_force(leader) == CONFIG and not leader.state()["frozen"]
    # A member that came back later than the run began anew is of the version it has; the leader is new.
    assert leader.state()["os-version"] == "2.0"


# What was confirmed is taken back as well when the script behind it fails: the next server finds a device in factory default.
# proves: PH-151
@pytest.mark.parametrize("n", [1, 3])
def test_a_script_that_fails_takes_the_configuration_back(site, n):
    s = site(n, servers=2, old=True)
    s.offer_old("1.0", members=[], post="#!/bin/sh\necho no; exit 1\n")
    s.start()
    s.wait_told(60, "script-error", "The post-configuration script failed: ended with status 1")
    s.wait_told(60, "script-error", "The post-configuration script failed: ended with status 1", server=1)
    leader = next(b for b in s.boxes if b.state().get("primary"))
    s.wait("it is taken back", 30, lambda: s.status(leader)["state"] != "FAIL")
    assert all("rollback" in open(b.path("d", "hook.log"), encoding="ascii").read() if b is leader else
               not os.path.exists(b.path("d", "hook.log")) for b in s.boxes)
    s.offer_old("1.0", members=[], post="#!/bin/sh\nexit 0\n")
    s.wait("the bootstrap is complete", 60, lambda: any("bootstrap-complete" in d.types() for d in s.doubles))
    s.wait("every member has the configuration", 30, lambda: all(
        s.in_force(b) == OLD_CONFIG and not b.state()["factory-default"] for b in s.boxes))
