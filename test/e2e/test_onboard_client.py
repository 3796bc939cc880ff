# SPDX-License-Identifier: Apache-2.0
"""weft-phone-home against the controller: both ends are ours, all that lies between is the wire."""
import os
import signal
import subprocess
import time

import pytest

from onboard_lab import Pki, device, listen, put
from phone_home import Client, binary, write
from test_phone_home import HOOKS, did, text
from weftd_lab import Weftd


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("weftd")) as d:
        yield d


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    p = Pki(tmp_path_factory.mktemp("pki"))
    p.root("masa", "MASA")
    p.root("owner-ca", "Owner CA")
    p.issue("owner", "/CN=owner", "owner-ca")
    return p


@pytest.fixture(scope="module")
def door(w, pki):
    with open(os.path.join(w.data, "onboard/files/os-2.img"), "wb") as f:
        f.write(os.urandom(1_000_000))
    put(w, "device-authority", "factory", certificate=pki.text("factory.pem"))
    put(w, "boot-image", "os-2", os_name="weft-os", os_version="2.0", file="os-2.img")
    put(w, "configuration", "json", text='{"hostname": "{{host}}"}', template=True, handling="replace")
    put(w, "configuration", "xml", text="<configuration><host-name>{{host}}</host-name></configuration>", template=True)
    put(w, "script", "pre", text="#!/bin/sh\necho pre $WEFT_SERIAL\n")
    put(w, "bundle", "json", boot_image="os-2", configuration="json", pre_script="pre")
    put(w, "bundle", "xml", configuration="xml")
    put(w, "bundle", "promote", configuration="json", signing="promote")
    put(w, "signer", "us", certificate=pki.text("owner.pem") + pki.text("owner-ca.pem"), key=pki.text("owner.key"))
    put(w, "device-type", "default", signer="us", rule=[{"name": "all", "bundle": "json"}])
    return listen(w, "main", public_address="localhost")


def box(tmp_path, door, serial, **more):
    config = {"server-anchors": door.ca, "sources": ["servers"], "servers": [f"https://localhost:{door.port}"]}
    if "password" in more:
        config["password-file"] = write(str(tmp_path / "password"), more.pop("password") + "\n")
        os.chmod(config["password-file"], 0o600)
    return Client(tmp_path / "box", serial=serial, hooks=HOOKS, **{**config, **more})


def reboots(c):
    """Runs the client until it has rebooted the box, which ends it."""
    p = subprocess.Popen([binary("weft-phone-home"), "-c", c.path("config.json"), "daemon"], stderr=subprocess.PIPE, text=True)
    until = time.time() + 120
    while "reboot" not in did(c) and time.time() < until and p.poll() is None:
        time.sleep(0.1)
    p.send_signal(signal.SIGKILL)
    return p.communicate()[1]


# proves: PH-001 PH-120 PH-122
def test_a_box_gets_its_system_and_configuration(w, door, tmp_path):
    put(w, "device", "BOX1", password="secret", variable=[{"name": "host", "value": "edge-1"}])
    c = box(tmp_path, door, "BOX1", password="secret")
    said = reboots(c)
    assert did(c) == ["install 2.0", "reboot"], said + w.cli("show onboard device BOX1")
    with open(c.path("slot"), "rb") as a, open(os.path.join(w.data, "onboard/files/os-2.img"), "rb") as b:
        assert a.read() == b.read()
    assert device(w, "BOX1")["status"] == "rebooting"
    p = c.phone_home("run")
    assert p.returncode == 0, p.stderr
    assert text(c, "applied") == '{"hostname": "edge-1"}'
    d = device(w, "BOX1")
    assert (d["status"], d["hw-model"], d["os-version"], d["requests"]) == ("complete", "box", "2.0", "2"), d
    log = w.cli("show onboard device BOX1")
    for step in ("boot-image-installed-rebooting", "pre-script-complete", "config-complete", "bootstrap-complete"):
        assert step in log


# proves: PH-110 PH-113 PH-114
def test_a_box_of_the_older_dialect(w, door, tmp_path):
    put(w, "device", "BOX2", activation_code="code", variable=[{"name": "host", "value": "a<b"}],
        rule=[{"name": "all", "bundle": "xml"}])
    c = box(tmp_path, door, "BOX2", password="code", dialect="prerfc")
    p = c.phone_home("run")
    assert p.returncode == 0, p.stderr + w.cli("show onboard device BOX2")
    assert "a&lt;b" in text(c, "applied")
    d = device(w, "BOX2")
    assert (d["status"], d["dialect"]) == ("complete", "prerfc")


# proves: PH-145 PH-140
def test_a_box_that_does_not_know_the_server_is_promoted(w, door, pki, tmp_path):
    cert, key = pki.device("box3", "/CN=box/serialNumber=BOX3")
    put(w, "device", "BOX3", voucher=pki.voucher("BOX3", "owner-ca", "masa"),
        variable=[{"name": "host", "value": "edge-3"}], rule=[{"name": "all", "bundle": "promote"}])
    c = box(tmp_path, door, "BOX3", identity={"certificate": cert, "key": key}, sources=["dhcp"],
            **{"voucher-anchors": pki.path("masa.pem")})
    write(c.path("leases", "eth0"), f'lease {{\n  interface "eth0";\n  option v4-sztp-redirect '
                                    f'"https://localhost:{door.port}/";\n}}\n')
    del c.config["servers"], c.config["server-anchors"]
    c.save()
    p = c.phone_home("run")
    assert p.returncode == 0, p.stderr + w.cli("show onboard device BOX3")
    assert text(c, "applied") == '{"hostname": "edge-3"}'
    log = w.cli("show onboard device BOX3")
    assert "redirect to this server for bundle promote, signed" in log
    d = device(w, "BOX3")
    assert (d["status"], d["answer"], d["signed-data-preferred"]) == ("complete", "bundle promote", False), d
