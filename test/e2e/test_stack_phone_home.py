# SPDX-License-Identifier: Apache-2.0
"""weft-phone-home on the platform linux-stack: one box, and four in a ring, with real images and reboots."""
import contextlib
import ctypes
import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest

from phone_home import Pki, Server, binary
from sztp_double import Double, content_info, onboarding

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(TOP, "lab"))
from stack import Box, make_image, ring, wait_formed  # noqa: E402
from weftlab import Lab, wait_until  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for the namespaces")
SERVER = "10.77.0.1"
CONFIG = '{"hostname": "chassis-1"}'
HOOK = """#!/bin/sh
case "$1" in
apply) cp "$3" "$WEFT_DIRECTORY/in-force"; echo "$1 $2" >>"$WEFT_DIRECTORY/hook.log";;
rollback) cp "$2" "$WEFT_DIRECTORY/in-force"; echo "$1" >>"$WEFT_DIRECTORY/hook.log";;
esac
"""


@contextlib.contextmanager
def inside(lab, node):
    """Sockets that are made here belong to the node's namespace, and stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{lab.ns(node)}", "rb") as there:
        assert libc.setns(there.fileno(), 0x40000000) == 0
        try:
            yield
        finally:
            assert libc.setns(home.fileno(), 0x40000000) == 0


@pytest.fixture
def lab():
    with Lab("stackph", f"/tmp/wsp-{os.getpid()}") as lab:
        yield lab


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def good(pki):
    return pki.issue("server", names=(f"IP:{SERVER}",))


class Site:
    """Boxes with a way to a bootstrap server, whose clients start with them."""

    def __init__(self, lab, pki, good, n):
        self.lab, self.pki = lab, pki
        hook = lab.write("hook", HOOK, 0o755)
        self.boxes = [Box(lab, i, f"PE00{i}", **{"config-hook": hook}) for i in range(n)]
        ring(lab, self.boxes)
        lab.node("net")
        ports = []
        for b in self.boxes:
            lab.link(b.node, "me0", f"10.77.0.{10 + b.number}/24", "net", f"p{b.number}", None)
            ports.append(f"p{b.number}")
        lab.bridge("net", "lan", ports)
        lab.ip("net", "address", "add", f"{SERVER}/24", "dev", "lan")
        with inside(lab, "net"):
            self.double = Double(None, *good, address=SERVER)
            self.files = Server(self.give, *good, address=SERVER)
        self.image = b""

    def give(self, h):
        """The image, with ranges."""
        start = int((h.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        if start:
            h.send(206, self.image[start:], Content_Range=f"bytes {start}-{len(self.image) - 1}/{len(self.image)}")
        else:
            h.send(200, self.image)

    def offer(self, version=None, programs=None, topology=None, pre=None, post=None):
        image = None
        if version:
            path = make_image(self.lab.path("image.tar"), version, programs)
            with open(path, "rb") as f:
                self.image = f.read()
            digest = hashlib.sha256(self.image).hexdigest()
            image = {"os-name": "weftos", "os-version": version,
                     "download-uri": [f"https://{SERVER}:{self.files.port}/image.tar"],
                     "image-verification": [{"hash-algorithm": "ietf-sztp-conveyed-info:sha-256",
                                             "hash-value": ":".join(digest[i:i + 2] for i in range(0, 64, 2))}]}
        data = onboarding(CONFIG, "replace", pre, post, image)
        if topology is not None:
            data["ietf-sztp-conveyed-info:onboarding-information"]["weft-onboard:virtual-chassis"] = topology
        self.double.data = content_info(data)

    def start(self, client=True):
        for b in self.boxes:
            conf = {"state": b.path("phc"), "socket": b.path("c"), "platform": {"type": "linux-stack", "socket": b.socket},
                    "server-anchors": self.pki.cert, "sources": ["servers"],
                    "servers": [f"https://{SERVER}:{self.double.port}"],
                    "limits": {"pause-min-s": 1, "pause-max-s": 2, "member-detection-s": 60, "settle-s": 2}}
            os.makedirs(b.path("phc"), mode=0o700, exist_ok=True)
            self.lab.write(os.path.join(b.node, "phc.json"), json.dumps(conf))
            b.settings["services"] = [[binary("weft-phone-home"), "-c", b.path("phc.json"), "daemon"]] if client else []
            b.settings["zeroize"] = [b.path("phc")]
            if len(self.boxes) == 1:
                b.settings["vcp"] = []
            b.start(**({"vcp": []} if len(self.boxes) == 1 else {}))

    def status(self, box):
        r = subprocess.run([binary("weft-phone-home"), "-c", box.path("phc.json"), "status", "-j"], capture_output=True,
                           text=True, check=False)
        return json.loads(r.stdout) if r.stdout else {}

    def messages(self):
        return [r.get("message", "") for r in self.double.reports]

    def complete(self):
        return "bootstrap-complete" in self.double.types()

    def wait_complete(self, seconds):
        try:
            wait_until("the bootstrap is complete", seconds, self.complete)
        except Exception:
            print("\n".join(f"{r['progress-type']}: {r.get('message', '')}" for r in self.double.reports))
            for b in self.boxes:
                print(b.show(), b.process.tail(40), json.dumps(self.status(b), indent=1))
            raise

    def in_force(self, box):
        path = box.path("d", "in-force")
        return open(path, encoding="utf-8").read() if os.path.exists(path) else ""

    def close(self):
        self.double.server_close()
        self.files.server_close()


@pytest.fixture
def site(lab, pki, good):
    made = []

    def make(n):
        made.append(Site(lab, pki, good, n))
        return made[-1]
    yield make
    for s in made:
        s.close()


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
