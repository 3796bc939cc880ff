# SPDX-License-Identifier: Apache-2.0
# Takes minutes: run.sh begins with it.
"""weft-phone-home on the platform junos, against a double of the device's NETCONF sessions (junos_double.py).

Nothing here has met hardware: the double answers as published descriptions of the Junos XML API have it."""
import json
import os
import subprocess
import threading
import time
import xml.etree.ElementTree as ET

import pytest

from junos_double import GROUP, Junos
from phone_home import Pki, Server, binary, sha256, write
from sztp_double import Double, content_info, onboarding

DOUBLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "junos_double.py")
NEW = "20.3R1.8"
CONFIG = """<?xml version="1.0"?>
<!-- of the owner -->
<configuration><system><host-name>access-1</host-name><root-authentication><encrypted-password>$6$s3cret</encrypted-password>
</root-authentication></system></configuration>"""
IMAGE = f"junos {NEW}\n".encode() + b"x" * 10000


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def good(pki):
    return pki.issue("server")


class Site:
    """A device or a chassis with a client on each member that runs while the member does, and servers."""

    def __init__(self, folder, pki, good, n=1, chassis=False, program=False, limits=None, **platform):
        self.clients, self.logs, self.running = {}, {}, False
        self.lock = threading.Lock()
        self.junos = Junos(folder, n, chassis, on_up=self.up, on_down=self.down)
        self.double = Double(None, *good)
        self.files = Server(lambda h: h.send(200, IMAGE), *good)
        for m in self.junos.members:
            os.makedirs(os.path.join(m.root, "state"), mode=0o700, exist_ok=True)
            how = {"program": ["/usr/bin/python3", DOUBLE, "connect", m.socket]} if program else {"socket": m.socket}
            write(os.path.join(m.root, "config.json"), json.dumps({
                "state": os.path.join(m.root, "state"), "socket": os.path.join(m.root, "control"),
                "platform": {"type": "junos", "poll-s": 1, "answer-s": 5, **how, **platform},
                "server-anchors": pki.cert, "sources": ["servers"],
                "servers": [f"https://localhost:{self.double.port}"],
                "limits": {"pause-min-s": 1, "pause-max-s": 2, "member-detection-s": 60, "settle-s": 2,
                           **(limits or {})}}))

    def up(self, m):
        with self.lock:  # the double's own threads switch members on and off, also while the site ends
            if not self.running:
                return
            self._down(m)
            with open(os.path.join(m.root, "log"), "ab") as log:
                self.clients[m.number] = subprocess.Popen(
                    [binary("weft-phone-home"), "-c", os.path.join(m.root, "config.json"), "daemon"], stderr=log,
                    env=dict(os.environ, ASAN_OPTIONS="detect_leaks=1", UBSAN_OPTIONS="halt_on_error=1"))

    def down(self, m):
        with self.lock:
            self._down(m)

    def _down(self, m):
        p = self.clients.pop(m.number, None)
        if p:
            p.kill()
            p.wait()

    def start(self):
        self.running = True
        for m in self.junos.members:
            self.up(m)
        return self

    def run(self):
        """Once, on the first member."""
        p = subprocess.run([binary("weft-phone-home"), "-c", os.path.join(self.junos.members[0].root, "config.json"),
                            "run"], capture_output=True, text=True, timeout=240, check=False,
                           env=dict(os.environ, ASAN_OPTIONS="detect_leaks=1", UBSAN_OPTIONS="halt_on_error=1"))
        assert "Sanitizer" not in p.stderr, p.stderr
        assert "s3cret" not in p.stderr, p.stderr
        return p

    def status(self, number):
        p = subprocess.run([binary("weft-phone-home"), "-c", os.path.join(self.junos.members[number].root,
                                                                          "config.json"), "status", "-j"],
                           capture_output=True, text=True, check=False)
        return json.loads(p.stdout) if p.stdout else {}

    def log(self):
        out = ""
        for m in self.junos.members:
            path = os.path.join(m.root, "log")
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as f:
                    out += f.read()
        return out

    def offer(self, config=CONFIG, handling="merge", image=False, topology=None, pre=None, post=None):
        what = {"os-name": "junos", "os-version": NEW, "download-uri": [f"https://localhost:{self.files.port}/i.tgz"],
                "image-verification": [{"hash-algorithm": "ietf-sztp-conveyed-info:sha-256", "hash-value": ":".join(
                    sha256(IMAGE)[8:][i:i + 2] for i in range(0, 64, 2))}]} if image else None
        data = onboarding(config, handling, pre, post, what)
        if topology is not None:
            data["ietf-sztp-conveyed-info:onboarding-information"]["weft-onboard:virtual-chassis"] = topology
        self.double.data = content_info(data)

    def messages(self):
        return [r.get("message", "") for r in self.double.reports]

    def wait(self, what, seconds=180):
        until = time.time() + seconds
        while not what() and time.time() < until:
            time.sleep(0.1)
        assert what(), (self.junos.did, self.junos.broken, self.messages(), self.log()[-6000:])

    def complete(self):
        return "bootstrap-complete" in self.double.types()

    def commits(self):
        return [d[1] for d in self.junos.did if d[0] == "commit"]

    def host_name(self):
        return self.junos.committed.findtext("system/host-name")

    def frozen(self):
        return any(g.findtext("name") == GROUP for g in self.junos.committed.findall("groups"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self.lock:
            self.running = False
        self.junos.close()
        for p in list(self.clients.values()):
            p.kill()
            p.wait()
        for s in (self.double, self.files):
            s.__exit__()
        log = self.log()
        assert "Sanitizer" not in log and "s3cret" not in log, log


# proves: PH-060 PH-071 PH-072
@pytest.mark.parametrize("program", [False, True])
def test_a_device_is_configured(tmp_path, pki, good, program):
    with Site(tmp_path, pki, good, program=program) as s:
        s.offer(pre=f"#!/bin/sh\necho pre $WEFT_SERIAL >>{tmp_path}/did\n", post=f"#!/bin/sh\necho post >>{tmp_path}/did\n")
        p = s.run()
        assert p.returncode == 0, p.stderr
        assert s.host_name() == "access-1" and s.commits() == ["apply", "confirm"] and s.junos.pending is None
        # The stanza of the device's own client has gone, or it would begin again.
        assert s.junos.committed.find("system/phone-home") is None
        with open(f"{tmp_path}/did", encoding="ascii") as f:
            assert f.read() == "pre PE37000000\npost\n"
        assert s.complete() and s.junos.broken == []
        asked = json.loads(s.double.requests[0]["body"])["ietf-sztp-bootstrap-server:input"]
        assert asked["hw-model"] == "ex4300-48t" and asked["os-name"] == "junos" and asked["os-version"] == "20.2R1.10"
        assert s.run().returncode == 0 and s.commits() == ["apply", "confirm"]


# proves: PH-063
@pytest.mark.parametrize("config, handling", [
    ("# of the owner\nset system host-name access-1\nset system root-authentication encrypted-password $6$s3cret\n",
     "merge"),
    ("system {\n  host-name access-1;\n  root-authentication {\n    encrypted-password $6$s3cret;\n  }\n}\n", "replace"),
    (CONFIG, "replace"), (CONFIG.replace("<configuration>", '<configuration operation="override">'), "merge")])
def test_a_configuration_is_written_in_any_of_the_three_ways(tmp_path, pki, good, config, handling):
    with Site(tmp_path, pki, good) as s:
        s.junos.committed.append(ET.fromstring("<snmp><location>factory</location></snmp>"))
        s.offer(config, handling)
        p = s.run()
        assert p.returncode == 0, p.stderr
        assert s.host_name() == "access-1" and s.junos.committed.find("system/phone-home") is None
        # What replaces takes what else there was along.
        assert (s.junos.committed.find("snmp") is None) == (handling == "replace" or "override" in config)


def test_set_commands_cannot_replace(tmp_path, pki, good):
    with Site(tmp_path, pki, good) as s:
        s.offer("set system host-name a\n", "replace")
        assert s.run().returncode == 1
        assert any("set commands" in m for m in s.messages()) and s.commits() == []
        s.offer("<rpc><request-reboot/></rpc>")
        assert s.run().returncode == 1 and any("<rpc> instead of <configuration>" in m for m in s.messages())
        s.offer("<configuration><!-- ]]>]]> --></configuration>")
        assert s.run().returncode == 1 and s.commits() == []


# proves: PH-040 PH-041
def test_a_device_takes_its_image_and_goes_on_after_the_reboot(tmp_path, pki, good):
    with Site(tmp_path, pki, good) as s:
        s.offer(image=True)
        s.start()
        s.wait(s.complete)
        assert s.junos.did[:2] == [("install", 0, NEW, "validate"), ("reboot", 0)]
        assert s.junos.members[0].version == NEW and s.host_name() == "access-1" and s.junos.broken == []


# proves: PH-036 PH-042 PH-044 PH-050 PH-051 PH-052 PH-053
@pytest.mark.parametrize("program", [False, True])
def test_a_chassis_of_four_is_upgraded_in_order_and_configured(tmp_path, pki, good, program):
    with Site(tmp_path, pki, good, 4, True, program) as s:
        serials = [m.serial for m in s.junos.members]
        s.offer(image=True, handling="replace", topology={
            "strict-provisioning": True, "member": [{"serial-id": x} for x in serials]})
        s.start()
        s.wait(s.complete, 300)
        s.wait(lambda: s.status(1).get("enabled") is False)
        done = [d for d in s.junos.did if d[0] != "copy"]
        own = ("install", 0, NEW, "validate")
        assert done[0] == ("commit", "roles are held")
        assert done[1:3] == [("install", 2, NEW, "validate"), ("install", 3, NEW, "validate")]
        assert sorted(done[3:5]) == [("reboot", 2), ("reboot", 3)]
        assert done[5:9] == [("install", 1, NEW, "validate"), ("reboot", 1), own, ("reboot", 0)]
        # The record was with the backup before the primary went.
        all_done = s.junos.did
        assert ("copy", 1) in all_done[all_done.index(own):all_done.index(("reboot", 0))]
        assert done[9:] == [("commit", "apply"), ("commit", "confirm"), ("commit", "roles are free")]
        assert s.junos.primary().number == 1 and s.junos.members[0].role == "Backup"
        assert all(m.version == NEW for m in s.junos.members) and not s.frozen() and s.host_name() == "access-1"
        assert s.junos.broken == []


# proves: PH-054
@pytest.mark.parametrize("behind", [("commit", "roles are held"), ("install", 2, NEW, "validate"), ("reboot", 1),
                                    ("install", 0, NEW, "validate"), ("commit", "apply"), ("commit", "confirm")])
def test_a_client_that_is_killed_goes_on(tmp_path, pki, good, behind):
    with Site(tmp_path, pki, good, 4, True) as s:
        s.offer(image=True, topology={}, post="#!/bin/sh\nsleep 1\n")
        s.start()
        s.wait(lambda: behind in s.junos.did, 300)
        m = s.junos.primary()
        s.down(m)
        s.up(m)
        s.wait(s.complete, 300)
        assert all(m.version == NEW for m in s.junos.members) and not s.frozen() and s.host_name() == "access-1"
        assert s.junos.committed.find("system/phone-home") is None and s.junos.broken == []


# proves: PH-051 PH-054
@pytest.mark.parametrize("behind", [("commit", "roles are held"), ("install", 1, NEW, "validate"), ("copy", 1),
                                    ("commit", "apply"), ("commit", "roles are free")])
def test_a_primary_that_loses_power_is_followed_by_the_backup(tmp_path, pki, good, behind):
    with Site(tmp_path, pki, good, 4, True) as s:
        s.offer(image=True, topology={}, post="#!/bin/sh\nsleep 1\n")
        s.start()
        s.wait(lambda: behind in s.junos.did, 300)
        s.junos.locked(s.junos.reboot, s.junos.primary())
        s.wait(lambda: s.complete() and not s.frozen() and s.host_name() == "access-1" and s.junos.pending is None, 300)
        assert all(m.version == NEW for m in s.junos.members)
        s.wait(lambda: s.junos.committed.find("system/phone-home") is None)


def test_a_program_that_is_not_there(tmp_path, pki, good):
    with Site(tmp_path, pki, good, program=True) as s:
        path = os.path.join(s.junos.members[0].root, "config.json")
        with open(path, encoding="ascii") as f:
            c = json.load(f)
        c["platform"]["program"] = ["/nowhere/cli"]
        write(path, json.dumps(c))
        s.start()
        s.wait(lambda: "/nowhere/cli" in s.log() or "can't be run" in s.log())
        c["platform"]["program"] = ["/usr/bin/python3", DOUBLE, "connect", s.junos.members[0].socket]
        write(path, json.dumps(c))
        s.down(s.junos.members[0])
        s.offer()
        s.up(s.junos.members[0])
        s.wait(s.complete)


# proves: PH-030 PH-043
def test_a_member_that_takes_no_image_and_one_that_stays_away(tmp_path, pki, good):
    with Site(tmp_path, pki, good, 4, True) as s:
        s.junos.faults[("install", 2)] = ["rpc-error"]
        s.junos.members[3].comes_back = False
        s.offer(image=True, topology={})
        s.start()
        s.wait(s.complete, 300)
        assert any("no space on fpc2" in m for m in s.messages()) or "no space on fpc2" in s.log()
        assert [m.version for m in s.junos.members] == [NEW, NEW, "20.2R1.10", "20.2R1.10"]
        assert s.host_name() == "access-1" and not s.frozen() and s.junos.broken == []


# proves: PH-031
def test_strict_mode_gives_up_when_a_member_is_missing_and_leaves_nothing(tmp_path, pki, good):
    with Site(tmp_path, pki, good, 3, True) as s:
        serials = [m.serial for m in s.junos.members]
        s.junos.faults[("install", 2)] = ["package-result"] * 3
        s.offer(image=True, topology={"strict-provisioning": True, "member": [{"serial-id": x} for x in serials]})
        s.start()
        s.wait(lambda: any("failed" in m.lower() for m in s.messages()))
        s.wait(lambda: "roles are free" in s.commits())
        assert "apply" not in s.commits()
        s.wait(s.complete, 300)  # the fault is over at the fourth time
        assert s.junos.broken == []


# proves: PH-094
def test_a_commit_that_fails_leaves_what_was(tmp_path, pki, good):
    with Site(tmp_path, pki, good) as s:
        s.junos.faults["commit-check"] = [1]
        s.offer()
        p = s.run()
        assert p.returncode == 1 and s.host_name() is None and s.junos.committed.find("system/phone-home") is not None
        failed = [m for m in s.messages() if "configuration check-out failed" in m]
        assert failed and "commit-configuration: [edit interfaces]" in failed[0]
        # What the device quotes of a configuration is nobody's business.
        s.offer("<configuration><bad-statement/></configuration>")
        assert s.run().returncode == 1 and any("load-configuration: [edit]: syntax error" in m for m in s.messages())
        assert not any("s3cret" in m for m in s.messages())


def test_a_candidate_that_somebody_edits_is_waited_for(tmp_path, pki, good):
    with Site(tmp_path, pki, good) as s:
        s.junos.holder = "an operator"
        s.offer()
        s.start()
        s.wait(lambda: s.junos.locks_denied > 1)
        s.junos.holder = None
        s.wait(s.complete)
        assert s.host_name() == "access-1" and s.junos.broken == []


def test_a_script_that_fails_takes_the_configuration_back(tmp_path, pki, good):
    with Site(tmp_path, pki, good) as s:
        s.offer(post="#!/bin/sh\nexit 3\n")
        assert s.run().returncode == 1
        assert s.commits() == ["apply", "confirm", "rollback"] and s.host_name() is None
        assert s.junos.committed.find("system/phone-home") is not None and s.junos.broken == []


def test_a_confirmation_that_does_not_arrive(tmp_path, pki, good):
    """The device takes it back by itself; we say so and leave it alone."""
    with Site(tmp_path, pki, good) as s:
        s.junos.minute = 0.1
        s.junos.faults["get-commit-information"] = ["silent"]  # longer than two such minutes
        s.offer()
        assert s.run().returncode == 1
        assert ("taken back",) in s.junos.did and s.host_name() is None


# A silent request-package-add is left out: half an hour is its limit.
@pytest.mark.parametrize("fault, text, rpc", [
    (fault, text, rpc) for fault, text in (
        ("cut", "in the middle of the answer"), ("junk", "can't be read"), ("endless", "more than 4 MiB"),
        ("silent", "did not answer within 5 s"), ("rpc-error", "the test wants it"))
    for rpc in ("load-configuration", "get-commit-information", "request-package-add")
    if (fault, rpc) != ("silent", "request-package-add")])
def test_answers_that_are_none(tmp_path, pki, good, fault, text, rpc):
    with Site(tmp_path, pki, good) as s:
        s.junos.faults[rpc] = [fault]
        s.offer(image=rpc == "request-package-add")
        assert s.run().returncode == 1
        assert any(f"{rpc}: " in m and text in m for m in s.messages()), s.messages()
        assert s.host_name() is None and not s.frozen()
        # Nothing of it remains: the next run succeeds.
        s.offer()
        p = s.run()
        assert p.returncode == 0, p.stderr
        assert s.host_name() == "access-1"


@pytest.mark.parametrize("fault", ["cut", "junk", "endless", "silent"])
def test_looks_that_fail_are_tried_again(tmp_path, pki, good, fault):
    with Site(tmp_path, pki, good) as s:
        s.junos.faults["get-system-information"] = [fault]
        s.offer()
        p = s.run()
        assert p.returncode == 0, p.stderr
        assert "can't be looked at: get-system-information" in p.stderr and s.host_name() == "access-1"


def test_zeroize(tmp_path, pki, good):
    with Site(tmp_path, pki, good) as s:
        s.offer()
        assert s.run().returncode == 0
        s.start()
        s.wait(lambda: s.status(0).get("serial-number") == "PE37000000")
        p = subprocess.run([binary("weft-phone-home"), "-c", os.path.join(s.junos.members[0].root, "config.json"),
                            "zeroize", "--yes"], capture_output=True, text=True, check=False)
        assert p.returncode == 0, p.stderr
        s.wait(lambda: ("zeroize",) in s.junos.did and s.junos.members[0].up)
        n = len(s.double.reports)
        s.wait(lambda: len(s.double.reports) > n and s.complete() and s.host_name() == "access-1")
