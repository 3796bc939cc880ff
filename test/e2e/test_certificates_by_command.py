# SPDX-License-Identifier: Apache-2.0
"""Certificates by command: a request for another authority (openssl's), the import of what it signs, anchors, renewal by
our own; each change is used at once, and what doesn't fit changes nothing."""
import base64
import json
import os
import re
import subprocess
import time

import pytest

from test_certificates import openssl, shown
from weftd import Weftd

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
NAMES = "DNS:weft.example.net,DNS:localhost,IP:127.0.0.1"


@pytest.fixture
def w(tmp_path):
    d = Weftd(tmp_path, toy=False, args=["--hostname", "weft.example.net,localhost,127.0.0.1"])
    yield d
    d.stop()


class Authority:
    """A root and below it the one that signs."""

    def __init__(self, folder, name="Other"):
        self.dir = str(folder)
        self.root, self.root_key = self.path("root.pem"), self.path("root.key")
        self.sub, self.sub_key = self.path("sub.pem"), self.path("sub.key")
        openssl("req", "-x509", *CURVE, "-keyout", self.root_key, "-out", self.root, "-days", "1000", "-subj",
                f"/CN={name} root")
        openssl("req", *CURVE, "-keyout", self.sub_key, "-out", self.path("sub.csr"), "-subj", f"/CN={name} issuing")
        self.sign_file(self.path("sub.csr"), self.root, self.root_key, self.sub, 900, "basicConstraints=critical,CA:TRUE\n")

    def path(self, name):
        return os.path.join(self.dir, name)

    def sign_file(self, csr, ca, key, out, days, extensions):
        with open(self.path("ext"), "w", encoding="utf-8") as f:
            f.write(extensions)
        openssl("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", key, "-CAcreateserial", "-CAserial",
                self.path("serial"), "-days", str(days), "-extfile", self.path("ext"), "-out", out)

    def sign(self, request, days=100, names=NAMES, use="serverAuth", chain=True):
        """The certificate with the one that signed behind it, as Base64."""
        with open(self.path("leaf.csr"), "w", encoding="utf-8") as f:
            f.write(request)
        self.sign_file(self.path("leaf.csr"), self.sub, self.sub_key, self.path("leaf.pem"), days,
                       f"subjectAltName={names}\nextendedKeyUsage={use}\n")
        return text_of(self.path("leaf.pem"), *([self.sub] if chain else []))


def text_of(*files):
    text = b""
    for name in files:
        with open(name, "rb") as f:
            text += f.read()
    return base64.b64encode(text).decode()


def call(w, rpc, status=200, **arguments):
    r = w.post(f"/operations/weft-admin:{rpc}", {"weft-admin:input": arguments})
    assert r.status_code in (status, 204 if status == 200 else status), r.text
    return r.json().get("weft-admin:output", r.json()) if r.text else {}


def refusal(w, rpc, **arguments):
    r = w.post(f"/operations/weft-admin:{rpc}", {"weft-admin:input": arguments})
    assert r.status_code in (400, 404, 409, 412, 422), r.text
    (e,) = r.json()["ietf-restconf:errors"]["error"]
    return e["error-message"]


def pki(w):
    """Everything that a refusal must leave alone."""
    kept = {}
    for top, _, files in os.walk(os.path.join(w.data, "pki")):
        for name in files:
            with open(os.path.join(top, name), "rb") as f:
                kept[os.path.join(top, name)] = f.read()
    return kept


def cli(w, line):
    r = subprocess.run([os.path.join(os.environ.get("WEFT_BUILD", "build"), "cli", "weft"), "--socket", w.unix, line],
                       capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout


def until_shown(w, ca, issuer):
    end = time.time() + 60
    while True:
        try:
            return [v for rdn in shown(w, ca)[1]["issuer"] for k, v in rdn] == [issuer] or None
        except OSError:
            assert time.time() < end, w.log_text()
            time.sleep(0.05)


def test_another_authority(w, tmp_path):
    ca = Authority(tmp_path)
    kept = w.tls_socket()
    request = call(w, "certificate-request", **{"common-name": "noc"})["request"]
    out = subprocess.run(["openssl", "req", "-noout", "-verify", "-text"], input=request, capture_output=True, text=True,
                         check=True).stdout
    assert "CN = noc" in out and "DNS:weft.example.net" in out and "IP Address:127.0.0.1" in out, out
    assert call(w, "show-certificates")["request-waits"] is True
    before, own = pki(w), shown(w, w.ca)[0]

    # What does not fit is named and changes nothing.
    assert "an anchor first" in refusal(w, "certificate-import", certificate=ca.sign(request))
    assert pki(w) == before
    cli(w, f"request system trust add other certificate {text_of(ca.root)}")
    before = pki(w)
    openssl("req", *CURVE, "-keyout", ca.path("x.key"), "-out", ca.path("x.csr"), "-subj", "/CN=x")
    with open(ca.path("x.csr"), encoding="utf-8") as f:
        another = f.read()
    good = ca.sign(request)
    for text, says in ((ca.sign(another), "is for another key than that of the request"),
                       (ca.sign(request, days=-1), "has ended, at"),
                       (ca.sign(request, names="DNS:localhost,IP:127.0.0.1"), "is not for weft.example.net"),
                       (ca.sign(request, use="clientAuth"), "purpose"),
                       (ca.sign(request, chain=False), "chain between is missing"),
                       ("no certificate!", "is neither PEM nor the Base64"),
                       (good[:200], "is neither PEM|can't be read"),
                       (good[:len(good) // 8 * 4], "can't be read"),
                       (text_of(*[ca.root] * 9), "more than 8 certificates")):
        assert re.search(says, refusal(w, "certificate-import", certificate=text)), says
    assert pki(w) == before
    assert shown(w, w.ca)[0] == own

    cli(w, f"request system certificate import {good}")
    until_shown(w, ca.root, "Other issuing")
    assert pki(w) != before and not os.path.exists(f"{w.data}/pki/server.key.pending")
    assert oct(os.stat(f"{w.data}/pki/server.key").st_mode)[-3:] == "600"
    kept.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")  # connections that were there go on
    assert kept.recv(100).startswith(b"HTTP/1.1 200")
    kept.close()
    w.http.verify = ca.root
    listed = call(w, "show-certificates")
    assert listed["request-waits"] is False
    by_name = {c["name"]: c for c in listed["certificate"]}
    assert by_name["server"]["issuer"] == "CN=Other issuing" and by_name["server"]["days-left"] in (99, 100)
    assert by_name["other"]["role"] == "own-anchor" and by_name["authority"]["days-left"] > 3600
    assert re.search(r"^server +server +\S+ +\d+ +CN=noc, by CN=Other issuing$", cli(w, "show system certificates"), re.M)

    # Another one for the same key, as authorities renew; then our own again.
    cli(w, f"request system certificate import {ca.sign(request, days=200)}")
    assert {c["name"]: c for c in call(w, "show-certificates")["certificate"]}["server"]["days-left"] in (199, 200)
    w.stop()
    w.start()
    assert until_shown(w, ca.root, "Other issuing")
    w.http.verify = ca.root
    assert "other vouches for this controller's own certificate" in refusal(w, "trust-remove", name="other")
    cli(w, "request system certificate renew")
    assert until_shown(w, w.ca, "Weft authority")
    w.http.verify = w.ca
    cli(w, "request system trust remove other")
    assert "there is no anchor other" in refusal(w, "trust-remove", name="other")


def test_an_import_that_was_cut_off(w, tmp_path):
    """Killed when the certificate was there and its key was not: the start finds both."""
    ca = Authority(tmp_path)
    request = call(w, "certificate-request")["request"]
    ca.sign(request)
    w.p.kill()
    w.p.wait()
    with open(f"{w.data}/pki/server.pem", "wb") as f:
        f.write(base64.b64decode(text_of(ca.path("leaf.pem"), ca.sub)))
    w.start()
    assert until_shown(w, ca.root, "Other issuing")


def test_users_of_another_authority(w, tmp_path):
    """Who may vouch for users is said by itself: for our own certificate it is not enough to be trusted."""
    ca = Authority(tmp_path)
    cli(w, "request system token create user admin")  # there is a user admin
    openssl("req", *CURVE, "-keyout", ca.path("u.key"), "-out", ca.path("u.csr"), "-subj", "/CN=admin")
    ca.sign_file(ca.path("u.csr"), ca.root, ca.root_key, ca.path("u.pem"), 10,
                 "subjectAltName=URI:urn:weft:user:admin\nextendedKeyUsage=clientAuth\n")

    def status():
        r = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", w.ca, "--cert",
                            ca.path("u.pem"), "--key", ca.path("u.key"), f"{w.base}/restconf/data/weft-system:system/role"],
                           capture_output=True, text=True, timeout=60)
        return r.stdout
    assert status() == "000"
    root = text_of(ca.root)
    cli(w, f"request system trust add other certificate {root}")
    assert status() == "000"
    assert "there is an anchor other already" in refusal(w, "trust-add", name="other", certificate=root)
    cli(w, "request system trust remove other")
    cli(w, f"request system trust add other certificate {root} clients")
    end = time.time() + 60
    while status() != "200":
        assert time.time() < end
    cli(w, "request system trust remove other")
    end = time.time() + 60
    while status() != "000":
        assert time.time() < end
    assert "is no authority" in refusal(w, "trust-add", name="leaf", certificate=text_of(ca.path("u.pem")))
    assert "letters" in refusal(w, "trust-add", name="../x", certificate=root)


def test_the_authority_is_renewed(w):
    """With the same key: what it has signed is still good for those who have the new certificate, or the old one."""
    with open(w.ca, "rb") as f:
        old = f.read()
    former = os.path.join(w.dir, "former.pem")
    with open(former, "wb") as f:
        f.write(old)
    assert "is new" in cli(w, "request system certificate renew authority")
    with open(w.ca, "rb") as f:
        assert f.read() != old
    for ca in (former, w.ca):
        assert shown(w, ca)[1]["issuer"] == ((("commonName", "Weft authority"),),)
    assert w.get("/data/weft-system:system/role").status_code == 200


def test_an_end_is_told(w, tmp_path):
    """30, 7 and 1 days before, once each, and when it has ended; whose ever the certificate is."""
    ca = Authority(tmp_path)
    cli(w, f"request system trust add other certificate {text_of(ca.root)}")
    with w.get("//streams/NETCONF/json", headers={"accept": "text/event-stream"}, stream=True) as stream:
        lines = stream.iter_lines(decode_unicode=True)
        request = call(w, "certificate-request")["request"]

        def told():
            for line in lines:
                if "weft-admin:certificate-expiry" in line:
                    return json.loads(line[len("data: "):])["ietf-restconf:notification"]["weft-admin:certificate-expiry"]
            raise AssertionError("the stream has ended")
        for days in (20, 40, 5, 1):  # 40: far enough, nothing is told
            cli(w, f"request system certificate import {ca.sign(request, days=days)}")
            if days != 40:
                t = told()
                assert t["name"] == "server" and t["days-left"] in (days - 1, days) and t["subject"] == "CN=weft", t


def test_who_may(w):
    """It takes the right to run commands; what is shown has no key in it."""
    text = json.dumps(call(w, "show-certificates"))
    assert "PRIVATE" not in text
    s = w.session(user=None)
    r = w.request("POST", "/operations/weft-admin:certificate-renew", session=s)
    assert r.status_code == 401
