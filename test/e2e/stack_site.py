# SPDX-License-Identifier: Apache-2.0
"""Boxes that run weft-stackd and weft-phone-home, in namespaces, with a way to bootstrap servers of ours."""
import contextlib
import ctypes
import hashlib
import json
import os
import subprocess
import sys

import pytest

from phone_home import Pki, Server, binary
from sztp_double import Double, OldDouble, content_info, old_device, onboarding

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(TOP, "lab"))
from stack import Box, make_image, ring  # noqa: E402
from weftlab import Lab, wait_until  # noqa: E402

SERVER = "10.77.0.1"
CONFIG = '{"hostname": "chassis-1"}'
OLD_CONFIG = '<configuration operation="merge"><host-name>chassis-1</host-name></configuration>'
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
def lab(request):
    """A name of its own for each file of tests: they may run at the same time."""
    name = request.module.__name__.replace("test_", "").replace("_", "")
    with Lab(name, f"/tmp/wsp-{os.getpid()}") as lab:
        yield lab


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def good(pki):
    return pki.issue("server", names=(f"IP:{SERVER}",))


class Site:
    """Boxes with a way to bootstrap servers, whose clients start with them. `old`: servers of the older dialect, whose
    notifications say of which member they are."""

    def __init__(self, lab, pki, good, n, servers=1, old=False):
        self.lab, self.pki, self.old = lab, pki, old
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
            self.doubles = [OldDouble(lambda serial: None, *good, address=SERVER) if old else
                            Double(None, *good, address=SERVER) for _ in range(servers)]
            self.files = Server(self.give, *good, address=SERVER)
        self.double = self.doubles[0]
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

    def offer_old(self, version, programs=None, members=None, strict=False, post=None):
        """Of all servers; `members` as old_device() has them."""
        path = make_image(self.lab.path("image.tar"), version, programs)
        with open(path, "rb") as f:
            self.image = f.read()
        image = (f"box-{version}.tar", f"https://{SERVER}:{self.files.port}/box-{version}.tar", self.image)
        for d in self.doubles:
            d.data = lambda serial: old_device(serial, OLD_CONFIG, image, members, strict, post)

    def start(self, client=True, off=()):
        """All of them but those that are `off`, which box.start() switches on."""
        for b in self.boxes:
            conf = {"state": b.path("phc"), "socket": b.path("c"), "platform": {"type": "linux-stack", "socket": b.socket},
                    "server-anchors": self.pki.cert, "sources": ["servers"],
                    "servers": [f"https://{SERVER}:{d.port}" for d in self.doubles],
                    **({"dialect": "prerfc"} if self.old else {}),
                    "limits": {"pause-min-s": 1, "pause-max-s": 2, "member-detection-s": 60, "settle-s": 2}}
            os.makedirs(b.path("phc"), mode=0o700, exist_ok=True)
            self.lab.write(os.path.join(b.node, "phc.json"), json.dumps(conf))
            b.settings["services"] = [[binary("weft-phone-home"), "-c", b.path("phc.json"), "daemon"]] if client else []
            b.settings["zeroize"] = [b.path("phc")]
            if len(self.boxes) == 1:
                b.settings["vcp"] = []
            if b not in off:
                b.start(**({"vcp": []} if len(self.boxes) == 1 else {}))

    def status(self, box):
        r = subprocess.run([binary("weft-phone-home"), "-c", box.path("phc.json"), "status", "-j"], capture_output=True,
                           text=True, check=False)
        return json.loads(r.stdout) if r.stdout else {}

    def messages(self):
        return [r.get("message", "") for r in self.double.reports]

    def complete(self):
        return "bootstrap-complete" in self.double.types()

    def wait(self, what, seconds, check):
        try:
            return wait_until(what, seconds, check)
        except Exception:
            for d in self.doubles:
                print(*(d.told if self.old else d.reports), sep="\n")
            for b in self.boxes:
                if b.process and b.process.alive():
                    print(b.show(), b.process.tail(60), json.dumps(self.status(b), indent=1))
            raise

    def wait_complete(self, seconds):
        self.wait("the bootstrap is complete", seconds, self.complete)

    def wait_told(self, seconds, kind, message, serial=None, server=0):
        """A notification of the older dialect."""
        self.wait(f"{kind}: {message}", seconds, lambda: any(
            t[:2] == (kind, message) and (serial is None or t[2][1] == serial) for t in self.doubles[server].told))

    def in_force(self, box):
        path = box.path("d", "in-force")
        return open(path, encoding="utf-8").read() if os.path.exists(path) else ""

    def close(self):
        for d in self.doubles:
            d.server_close()
        self.files.server_close()


@pytest.fixture
def site(lab, pki, good):
    made = []

    def make(n, **more):
        made.append(Site(lab, pki, good, n, **more))
        return made[-1]
    yield make
    for s in made:
        s.close()
