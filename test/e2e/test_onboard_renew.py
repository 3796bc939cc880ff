# SPDX-License-Identifier: Apache-2.0
"""Devices renew the certificates that the controller has given them: by weft-phone-home, and by openssl and HTTP."""
import base64
import json
import os
import re
import subprocess

import pytest
import requests

from onboard_lab import GET, JSON, Pki, device, events, free_port, listen, onboarding, put, run, text64
from test_wrong import Clock
from weftd_lab import Weftd, binary

EST = "/.well-known/est/"
DAY = 86400


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("weftd")) as d:
        put(d, "configuration", "ldevid", text="{{ldevid-certificate}}", template=True)
        put(d, "bundle", "ldevid", configuration="ldevid")
        put(d, "device-type", "csr", certificate_request=True, certificate_days=9, rule=[{"name": "all", "bundle": "ldevid"}])
        yield d


@pytest.fixture(scope="module")
def door(w):
    return listen(w, "main", public_address="localhost")


@pytest.fixture(scope="module")
def renewals(w):
    return listen(w, "renewals", role=["renew"])


class Box:
    """A device with the certificate that it was given."""

    def __init__(self, w, door, folder, serial, **leaves):
        self.w, self.folder, self.serial = w, str(folder), serial
        self.ca = door.ca
        put(w, "device", serial, type="csr", password="p", **leaves)
        csr = self.request(self.path("key"))
        r = door.ask("POST", GET, json.dumps({"ietf-sztp-bootstrap-server:input": {
            "ietf-sztp-csr:p10-csr": base64.b64encode(csr).decode()}}), (serial, "p"), Content_Type=JSON)
        with open(self.path("cert"), "w", encoding="ascii") as f:
            f.write(text64(onboarding(r)[1]["configuration"]))

    def path(self, name):
        return os.path.join(self.folder, f"{self.serial}.{name}")

    def text(self, name):
        with open(self.path(name), encoding="ascii") as f:
            return f.read()

    def keep(self, name):
        """A copy of the pair, under that name."""
        for part in ("cert", "key"):
            with open(self.path(f"{name}.{part}"), "w", encoding="ascii") as f:
                f.write(self.text(part))
        return self.path(f"{name}.cert"), self.path(f"{name}.key")

    def request(self, key):
        return run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                   f"/CN={self.serial}", "-keyout", key, "-outform", "DER")

    def renew(self, at, *more, env=None):
        return subprocess.run([binary("agents/phone-home", "weft-phone-home"), "renew", "--certificate", self.path("cert"),
                               "--key", self.path("key"), "--server", at.base, "--anchors", self.ca, *more],
                              capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **(env or {})})

    def is_pair(self):
        return run("openssl", "x509", "-in", self.path("cert"), "-noout", "-pubkey") == run(
            "openssl", "pkey", "-in", self.path("key"), "-pubout")


def post(at, cert, body, media="application/pkcs10", what="simplereenroll"):
    """The status; None: no connection."""
    try:
        return requests.post(at.base + EST + what, body, cert=cert, verify=at.ca, timeout=60,
                             headers={"content-type": media})
    except requests.RequestException:
        return None


def test_a_certificate_is_renewed(w, door, renewals, tmp_path):
    box = Box(w, door, tmp_path, "N1", certificate_name="n1.example.net")
    os.chmod(box.path("key"), 0o640)
    with open(box.path("cert"), "a", encoding="ascii") as f:  # what stands behind it stays
        f.write(open(box.ca, encoding="ascii").read())
    first = box.keep("first")
    r = box.renew(renewals)
    assert r.returncode == 0 and re.match(r"renewed: good until 20", r.stdout), r
    assert box.is_pair() and box.text("key") != box.text("first.key") and os.stat(box.path("key")).st_mode & 0o777 == 0o640
    assert box.text("cert").count("BEGIN CERTIFICATE") == 2
    run("openssl", "verify", "-CAfile", box.ca, box.path("cert"))
    shown = run("openssl", "x509", "-in", box.path("cert"), "-noout", "-text").decode()
    assert "CN = device N1, serialNumber = N1" in shown and "URI:urn:weft:device:N1, DNS:n1.example.net" in shown
    assert device(w, "N1")["ldevid-certificate"].strip() in box.text("cert")
    assert not [n for n in os.listdir(tmp_path) if "renewed" in n or n.endswith(".new")]
    assert "its certificate was renewed" in w.cli("show onboard device N1")
    assert re.search(r" 200  N1 +renews its certificate", w.cli("show onboard requests last 5"))
    # The answer may have been lost: the one before still counts, one older than that does not.
    csr = base64.b64encode(box.request(box.path("other")))
    assert post(renewals, first, csr).status_code == 200
    second = box.keep("second")
    assert box.renew(renewals).returncode == 1  # `first` was renewed again, and that one was given away
    got = post(renewals, first, csr)
    p7 = base64.b64decode(got.content)
    with open(box.path("cert"), "wb") as f:
        f.write(run("openssl", "pkcs7", "-inform", "DER", "-print_certs", data=p7))
    os.replace(box.path("other"), box.path("key"))
    assert got.headers["content-type"].startswith("application/pkcs7-mime") and box.is_pair()
    assert box.renew(renewals).returncode == 0
    assert post(renewals, first, csr).status_code == 403 and post(renewals, second, csr).status_code == 403


def test_it_is_renewed_when_it_is_due(w, door, renewals, tmp_path):
    box = Box(w, door, tmp_path, "N2")
    before = box.text("cert")
    assert box.renew(renewals, "--if-due").returncode == 3 and box.text("cert") == before
    clock = Clock(tmp_path)
    clock.set(5 * DAY)
    assert box.renew(renewals, "--if-due", env=clock.env).returncode == 3
    clock.set(7 * DAY)
    r = box.renew(renewals, "--if-due", env=clock.env)
    assert r.returncode == 0 and box.text("cert") != before and box.is_pair(), r
    # One that has ended says so.
    clock.set(10 * DAY)
    r = box.renew(renewals, "--if-due", env=clock.env)
    assert r.returncode == 1 and "only bootstrapping gives another" in r.stderr, r


def test_power_lost_between_key_and_certificate(w, door, renewals, tmp_path):
    box = Box(w, door, tmp_path, "N3")
    old = box.keep("old")
    assert box.renew(renewals).returncode == 0
    os.rename(box.path("cert"), box.path("cert.renewed"))
    with open(old[0], encoding="ascii") as f, open(box.path("cert"), "w", encoding="ascii") as out:
        out.write(f.read())
    assert not box.is_pair()
    r = box.renew(renewals, "--if-due")
    assert r.returncode == 3 and box.is_pair() and not os.path.exists(box.path("cert.renewed")), r
    os.unlink(box.path("key"))
    assert "N3.key" in box.renew(renewals).stderr
    with open(box.path("key"), "w", encoding="ascii") as f:
        f.write(open(old[1], encoding="ascii").read())
    assert "the key is not that of" in box.renew(renewals).stderr


def test_who_is_refused(w, door, renewals, tmp_path):
    box = Box(w, door, tmp_path, "N4")
    pair, csr = box.keep("kept"), base64.b64encode(box.request(box.path("other")))
    # Elsewhere there is no such thing; here there is nothing else, and nobody else's certificates are believed.
    assert door.ask("POST", EST + "simplereenroll", csr, Content_Type="application/pkcs10").status_code == 404
    assert requests.post(renewals.base + GET, "{}", cert=pair, verify=renewals.ca, timeout=60,
                         headers={"content-type": JSON}).status_code == 404
    assert post(renewals, None, csr) is None
    pki = Pki(tmp_path)
    assert post(renewals, pki.device("n4", "/CN=device N4/serialNumber=N4"), csr) is None
    # One of the controller's own, made for something else.
    own = os.path.join(w.data, "pki")
    assert post(renewals, pki.issue("own", "/CN=device N4/serialNumber=N4", os.path.join(own, "ca")), csr).status_code == 403
    # What is no request, or of no good key.
    for body in (b"", b"!", base64.b64encode(b"no request"), base64.b64encode(run(
            "openssl", "req", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=x", "-keyout", "/dev/null", "-outform", "DER"))):
        assert post(renewals, pair, body).status_code == 400, body
    assert post(renewals, pair, csr, "text/plain").status_code == 415
    assert post(renewals, pair, csr, what="simpleenroll").status_code == 404
    assert device(w, "N4")["status"] == "answered"  # such errors are none of its bootstrapping
    got = requests.get(renewals.base + EST + "cacerts", cert=pair, verify=renewals.ca, timeout=60)
    root = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", data=base64.b64decode(got.content)).decode()
    assert open(renewals.ca, encoding="ascii").read().strip() in root
    # What the operator says of the device counts.
    assert post(renewals, pair, csr).status_code == 200
    w.cli("request onboard block N4")
    assert post(renewals, pair, csr).status_code == 403
    r = box.renew(renewals)
    assert r.returncode == 1 and "answers 403" in r.stderr and box.is_pair()
    w.cli("request onboard authorise N4")
    assert post(renewals, pair, csr).status_code == 200
    w.cli("request onboard forget N4")
    assert post(renewals, pair, csr).status_code == 403
    assert not [name for name, _ in events(w, "N4") if name == "device-waiting"]
    r = w.ask("PUT", "weft-onboard:onboard/listener=x", {"weft-onboard:listener": [
        {"name": "x", "port": free_port(), "role": ["renew", "bootstrap"]}]})
    assert r.status == 400 and "renew stands alone" in r.text


def test_words(tmp_path):
    program = binary("agents/phone-home", "weft-phone-home")
    r = subprocess.run([program, "renew", "--key", "k"], capture_output=True, text=True, timeout=60, check=False)
    assert r.returncode == 2 and "--anchors" in r.stderr
    r = subprocess.run([program, "renew", "--key", "/nowhere", "--certificate", "/nowhere", "--server", "https://localhost:1",
                        "--anchors", "/nowhere"], capture_output=True, text=True, timeout=60, check=False)
    assert r.returncode == 1 and "/nowhere" in r.stderr
