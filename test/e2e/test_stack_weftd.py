# SPDX-License-Identifier: Apache-2.0
"""Four boxes in a ring, weft-phone-home on each, and weftd: a chassis in default mode, whose linecards say nothing themselves."""
import os
import re

import pytest

from onboard_lab import device, put
from stack_site import CONFIG, OLD_CONFIG, SERVER, good, lab, pki, site  # noqa: F401
from stack import make_image
from weftd_lab import Weftd
from weftlab import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for the namespaces")
PORT = 9443


def offer(w, good, serials, config):
    make_image(os.path.join(w.data, "onboard/files/box-2.0.img"), "2.0", {"init": "#!/bin/sh\n", "share/big": os.urandom(500000)})
    put(w, "boot-image", "box", os_name="weftos", os_version="2.0", file="box-2.0.img")
    put(w, "configuration", "c", text=config, handling="merge" if config == OLD_CONFIG else "replace")
    put(w, "bundle", "b", boot_image="box", configuration="c")
    put(w, "device-type", "t", authentication="none", rule=[{"name": "all", "bundle": "b"}])
    put(w, "topology", "ring", member=[{"serial-number": s} for s in serials])
    put(w, "listener", "main", address=SERVER, port=PORT, public_address=SERVER, certificate_file=good[0], key_file=good[1])
    wait_until("the listener", 20, lambda: re.search(r"^main +open ", w.cli("show onboard listeners"), re.M))
    w.cli("configure", *(f"set onboard device {s} type t topology ring" for s in serials), "commit")
    return w.ask("GET", "weft-system:system/state").json()["weft-system:state"]["commit"]


# proves: PH-030 PH-042 PH-051 PH-081
@pytest.mark.parametrize("old", (False, True))
def test_a_commit_has_all_members_of_a_chassis_in_default_mode(site, lab, good, tmp_path, old):  # noqa: F811
    s = site(4, old=old)
    s.double.port = PORT  # the controller is the server
    with Weftd(tmp_path / "weftd", within=("ip", "netns", "exec", lab.ns("net"))) as w:
        serials = [b.serial for b in s.boxes]
        n = offer(w, good, serials, OLD_CONFIG if old else CONFIG)
        s.start()
        s.wait("all members are complete", 300, lambda: all(device(w, x)["status"] == "complete" for x in serials))
        text = w.cli(f"show commit {n} status")
        assert all(f"device:{x}: applied" in text for x in serials), text
        text = w.cli("show onboard chassis ring")
        rows = re.findall(r"^  (\d) +(\S+) +(\S+) +complete +\S+Z +(\S+) ", text, re.M)
        assert sorted(r[0] for r in rows) == list("0123") and sorted(r[1] for r in rows) == sorted(serials), text
        assert len({r[3] for r in rows}) == 1 and sorted(r[2] for r in rows)[2:] == ["linecard"] * 2, text
        (asker,) = {r[3] for r in rows}
        # What they are was said by whoever led: each linecard was told of by the one that asked.
        for serial in (r[1] for r in rows if r[2] == "linecard" and r[1] != asker):
            assert f"{asker} reports: " in w.cli(f"show onboard device {serial}"), serial
        for b in s.boxes:
            assert b.state()["os-version"] == "2.0", b.show()
