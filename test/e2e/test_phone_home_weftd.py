# SPDX-License-Identifier: Apache-2.0
"""weft-phone-home against weftd: both ends of bootstrapping are ours, and nothing between them is faked."""
import os
import re
import signal
import subprocess
import time

import pytest

from onboard_lab import Pki, device, listen, put, wait_until
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
    p.root("owner-ca", "Owner CA")
    p.root("masa", "MASA")
    p.issue("owner", "/CN=owner", "owner-ca")
    return p


@pytest.fixture(scope="module")
def image(w):
    data = os.urandom(2_000_000)
    with open(os.path.join(w.data, "onboard/files/os-2.img"), "wb") as f:
        f.write(data)
    return data


@pytest.fixture(scope="module")
def door(w, pki, image):
    put(w, "device-authority", "factory", certificate=pki.text("factory.pem"))
    put(w, "script", "hello", text="#!/bin/sh\necho hello from $WEFT_SERIAL\n")
    put(w, "configuration", "base", text="hostname {{ host }};\n", template=True)
    put(w, "boot-image", "os-2", os_name="weft-os", os_version="2.0", file="os-2.img")
    put(w, "bundle", "edge", boot_image="os-2", configuration="base", pre_script="hello", post_script="hello")
    put(w, "bundle", "small", configuration="base")
    put(w, "device-type", "default", rule=[{"name": "all", "bundle": "edge"}])
    return listen(w, "main", public_address="localhost")


def box(folder, w, pki, serial, door=None, **more):
    cert, key = pki.device(serial.lower(), f"/CN=box/serialNumber={serial}")
    if door is not None:
        more.update({"servers": [f"https://localhost:{door.port}"], "sources": ["servers"]})
    return Client(folder, serial, hooks=HOOKS, **{"server-anchors": os.path.join(w.data, "pki/ca.pem"), "identity": {
        "certificate": cert, "key": key}, **more})


def until_reboot(c):
    """The daemon until the box reboots, which ends it."""
    with open(c.path("log"), "ab") as log:
        p = subprocess.Popen([binary("weft-phone-home"), "-c", c.path("config.json"), "daemon"], stderr=log)
    try:
        wait_until("the box reboots", 60, lambda: "reboot" in did(c))
    finally:
        p.send_signal(signal.SIGKILL)
        p.wait()


# proves: PH-001 PH-040 PH-060 PH-121 PH-122
def test_a_box_becomes_what_the_controller_says(tmp_path, w, pki, door, image):
    put(w, "device", "B1", variable=[{"name": "host", "value": "edge-1"}])
    c = box(tmp_path, w, pki, "B1", door)
    until_reboot(c)
    assert open(c.path("slot"), "rb").read() == image and did(c) == ["install 2.0", "reboot"]
    assert device(w, "B1")["status"] == "rebooting"
    p = c.phone_home("run")
    assert p.returncode == 0, p.stderr
    assert text(c, "applied") == "hostname edge-1;\n"
    d = device(w, "B1")
    assert d["status"] == "complete" and d["progress"] == "bootstrap-complete"
    assert text(c, "state", "enabled") == "false\n"
    assert text(c, "state", "pre-script.log") == "hello from B1\n"


# proves: PH-121
def test_a_box_with_a_password(tmp_path, w, pki, door):
    put(w, "device-type", "small", rule=[{"name": "all", "bundle": "small"}])
    put(w, "device", "B2", type="small", password="its secret", variable=[{"name": "host", "value": "edge-2"}])
    c = Client(tmp_path, "B2", hooks=HOOKS, **{
        "server-anchors": os.path.join(w.data, "pki/ca.pem"), "sources": ["servers"],
        "servers": [f"https://localhost:{door.port}"], "password-file": write(str(tmp_path / "pw"), "wrong\n")})
    assert c.phone_home("run").returncode == 1 and did(c) == []
    write(str(tmp_path / "pw"), "its secret\n")
    assert c.phone_home("run").returncode == 0 and text(c, "applied") == "hostname edge-2;\n"
    assert device(w, "B2")["status"] == "complete"


# proves: PH-112 PH-143
def test_a_redirect_of_the_controllers(tmp_path, w, pki, door):
    second = listen(w, "second", public_address="localhost", role=["bootstrap", "images"])
    first = listen(w, "first", public_address="localhost", role=["redirect"])
    put(w, "redirect-list", "homes", server=[{"address": "localhost", "port": second.port, "own-authority": [None]}])
    put(w, "device", "B3", rule=[{"name": "a", "redirect-list": "homes"}, {"name": "b", "bundle": "small"}],
        variable=[{"name": "host", "value": "edge-3"}])
    c = box(tmp_path, w, pki, "B3", first)
    p = c.phone_home("run")
    assert p.returncode == 0, p.stderr
    assert text(c, "applied") == "hostname edge-3;\n" and device(w, "B3")["status"] == "complete"


# proves: PH-142 PH-145 PH-160
def test_a_server_of_dhcp_is_believed_by_what_it_signs(tmp_path, w, pki, door):
    put(w, "signer", "owner", certificate=pki.text("owner.pem") + pki.text("owner-ca.pem"), key=pki.text("owner.key"))
    put(w, "bundle", "promoted", configuration="base", signing="promote")
    for name, bundle in (("signed", "small"), ("promoted", "promoted")):
        put(w, "device-type", name, signer="owner", rule=[{"name": "all", "bundle": bundle}])
    for serial, kind, complete in (("B4", "signed", False), ("B4P", "promoted", True)):
        put(w, "device", serial, type=kind, variable=[{"name": "host", "value": "edge-4"}])
        c = box(tmp_path / serial, w, pki, serial, **{"voucher-anchors": pki.path("masa.pem"), "sources": ["dhcp"]})
        write(c.path("leases", "eth0"), 'lease {\n  interface "eth0";\n  option v4-sztp-redirect "\\000\\027'
                                        f'https://localhost:{door.port:05}";\n}}\n')
        assert c.phone_home("run").returncode == 1 and did(c) == []  # no voucher: nothing signed can be had
        put(w, "device", serial, type=kind, variable=[{"name": "host", "value": "edge-4"}],
            voucher=pki.voucher(serial, "owner-ca", "masa"))
        p = c.phone_home("run")
        assert p.returncode == 0, p.stderr
        assert text(c, "applied") == "hostname edge-4;\n"
        # Reports go to a server that is trusted alone: to one that has sent us back to itself (PH-145, PH-150).
        assert (device(w, serial)["status"] == "complete") == complete


# RFC 9646: the server asks for a request, and gives the certificate with the configuration.
def test_a_certificate_for_the_box(tmp_path, w, pki, door):
    put(w, "configuration", "ldevid", text="{{ldevid-certificate}}", template=True)
    put(w, "bundle", "ldevid", configuration="ldevid")
    put(w, "device-type", "csr", certificate_request=True, certificate_days=7, rule=[{"name": "all", "bundle": "ldevid"}])
    put(w, "device", "B7", type="csr")
    # Programs are told of the key where it is there: not before the configuration.
    for name in ("pre", "post"):
        put(w, "script", f"key-{name}", text=f"#!/bin/sh\necho {name} $WEFT_KEY >>{tmp_path}/keys\n")
    put(w, "bundle", "ldevid", configuration="ldevid", pre_script="key-pre", post_script="key-post")
    c = box(tmp_path, w, pki, "B7", door)
    p = c.phone_home("run")
    assert p.returncode == 0, p.stderr
    assert text(c, "applied").count("BEGIN CERTIFICATE") == 1
    assert text(c, "keys") == f"pre\npost {c.path('state', 'ldevid.key')}\n"
    shown = subprocess.run(["openssl", "x509", "-in", c.path("applied"), "-noout", "-subject"], capture_output=True,
                           text=True, check=True).stdout
    assert "B7" in shown
    # The device has the key, for itself alone, and the record of the run has it no more.
    key = c.path("state", "ldevid.key")
    assert os.stat(key).st_mode & 0o77 == 0
    of_key, of_cert = (subprocess.run(["openssl", *words], capture_output=True, text=True, check=True).stdout for words in (
        ["pkey", "-in", key, "-pubout"], ["x509", "-in", c.path("applied"), "-noout", "-pubkey"]))
    assert of_key == of_cert
    assert b"PRIVATE KEY" not in open(c.path("state", "record"), "rb").read()


# Encrypted for the box's certificate; unsigned to a server that it trusts, and signed by one that it does not.
# proves: PH-142
def test_a_box_is_given_what_only_it_can_read(tmp_path, w, pki, door):
    put(w, "bundle", "sealed", configuration="base", encryption="always")
    put(w, "signer", "owner", certificate=pki.text("owner.pem") + pki.text("owner-ca.pem"), key=pki.text("owner.key"))
    put(w, "device-type", "sealed", signer="owner", rule=[{"name": "all", "bundle": "sealed"}])
    put(w, "device", "B8", type="sealed", variable=[{"name": "host", "value": "edge-8"}])
    c = box(tmp_path / "B8", w, pki, "B8", door)
    p = c.phone_home("run")
    assert p.returncode == 0, p.stderr
    assert text(c, "applied") == "hostname edge-8;\n" and "encrypted" in device(w, "B8")["answer"]
    put(w, "device", "B9", type="sealed", voucher=pki.voucher("B9", "owner-ca", "masa"),
        variable=[{"name": "host", "value": "edge-9"}])
    c = box(tmp_path / "B9", w, pki, "B9", **{"voucher-anchors": pki.path("masa.pem"), "sources": ["dhcp"]})
    write(c.path("leases", "eth0"), 'lease {\n  interface "eth0";\n  option v4-sztp-redirect "\\000\\027'
                                    f'https://localhost:{door.port:05}";\n}}\n')
    p = c.phone_home("run")
    assert p.returncode == 0, p.stderr
    assert text(c, "applied") == "hostname edge-9;\n" and device(w, "B9")["answer"] == "bundle sealed, signed, encrypted"


# proves: PH-110 PH-113 PH-114
def test_the_older_dialect(tmp_path, w, pki, door):
    put(w, "configuration", "xml", text='<configuration operation="merge"><system><host-name>old</host-name></system>'
                                        '</configuration>')
    put(w, "bundle", "old", configuration="xml")
    put(w, "device-type", "old", authentication="none", rule=[{"name": "all", "bundle": "old"}])
    put(w, "device", "B5", type="old")
    c = Client(tmp_path, "B5", hooks=HOOKS, dialect="prerfc", **{
        "server-anchors": os.path.join(w.data, "pki/ca.pem"), "sources": ["servers"],
        "servers": [f"https://localhost:{door.port}"]})
    p = c.phone_home("run")
    assert p.returncode == 0, p.stderr
    assert "<host-name>old</host-name>" in text(c, "applied")
    assert device(w, "B5")["status"] == "complete"


# proves: PH-151
def test_a_run_goes_on_after_kill_9_wherever_it_is(tmp_path, w, pki, door):
    put(w, "script", "slow", text="#!/bin/sh\nsleep 0.3\n")
    put(w, "bundle", "slow", configuration="base", pre_script="slow", post_script="slow")
    put(w, "device-type", "slow", rule=[{"name": "all", "bundle": "slow"}])
    put(w, "device", "B6", type="slow", variable=[{"name": "host", "value": "edge-6"}])
    c = box(tmp_path, w, pki, "B6", door)
    for i in range(400):
        p = subprocess.Popen([binary("weft-phone-home"), "-c", c.path("config.json"), "daemon"],
                             stderr=subprocess.DEVNULL)
        time.sleep(0.15 + 0.05 * (i % 30))
        p.kill()
        p.wait()
        if os.path.exists(c.path("state", "enabled")):
            break
    assert c.phone_home("run").returncode == 0
    assert text(c, "applied") == "hostname edge-6;\n" and device(w, "B6")["status"] == "complete"
