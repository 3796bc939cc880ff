# SPDX-License-Identifier: Apache-2.0
"""Signed data, certificates for devices, and the client of the opi project as measured (PH-300..305)."""
import base64
import hashlib
import json
import os
import re

import pytest
import requests

from onboard_lab import GET, JSON, TELL, Pki, device, listen, onboarding, put, run, text64, unwrap
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
    put(w, "device-authority", "factory", certificate=pki.text("factory.pem"))
    put(w, "configuration", "base", text="hello {{serial-number}}\n", template=True)
    put(w, "signer", "us", certificate=pki.text("owner.pem") + pki.text("owner-ca.pem"), key=pki.text("owner.key"))
    put(w, "bundle", "base", configuration="base")
    put(w, "device-type", "default", signer="us", rule=[{"name": "all", "bundle": "base"}])
    return listen(w, "main", public_address="localhost")


def verified(pki, response):
    """What a client with the MASA's certificate believes, by openssl: the whole chain of RFC 8572 5.4."""
    assert response.status_code == 200, response.text
    out = response.json()["ietf-sztp-bootstrap-server:output"]
    files = {n: pki.path(n) for n in ("voucher.der", "ci.der", "oc.der", "chain.pem", "pinned.der", "pinned.pem")}
    for leaf, name in (("ownership-voucher", "voucher.der"), ("conveyed-information", "ci.der"),
                       ("owner-certificate", "oc.der")):
        with open(files[name], "wb") as f:
            f.write(base64.b64decode(out[leaf]))
    v = json.loads(run("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", files["voucher.der"], "-CAfile",
                       pki.path("masa.pem"), "-purpose", "any"))["ietf-voucher:voucher"]
    with open(files["pinned.der"], "wb") as f:
        f.write(base64.b64decode(v["pinned-domain-cert"]))
    run("openssl", "x509", "-inform", "DER", "-in", files["pinned.der"], "-out", files["pinned.pem"])
    run("openssl", "pkcs7", "-inform", "DER", "-print_certs", "-in", files["oc.der"], "-out", files["chain.pem"])
    run("openssl", "verify", "-CAfile", files["pinned.pem"], files["chain.pem"])
    kind = run("openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", files["ci.der"]).decode()
    assert "1.2.840.113549.1.9.16.1.43" in kind or "id-smime-ct-" in kind or "eContentType" in kind
    content = run("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", files["ci.der"], "-certfile",
                  files["chain.pem"], "-CAfile", files["pinned.pem"], "-purpose", "any")
    return v, json.loads(content)


# proves: PH-120 PH-201
def test_who_asks_for_signed_data_gets_it_signed(w, door, pki):
    put(w, "device", "V1", password="p", voucher=pki.voucher("V1", "owner-ca", "masa"))
    r = door.get(("V1", "p"), signed_data_preferred=[None], nonce=base64.b64encode(b"n" * 16).decode())
    v, info = verified(pki, r)
    assert v["serial-number"] == "V1"
    assert text64(info["ietf-sztp-conveyed-info:onboarding-information"]["configuration"]) == "hello V1\n"
    assert device(w, "V1")["answer"] == "bundle base, signed"
    out, _ = onboarding(door.get(("V1", "p")))
    assert "ownership-voucher" not in out
    # Nothing signed can be had without a voucher, and nothing else is given.
    put(w, "device", "V2", password="p")
    assert door.get(("V2", "p"), signed_data_preferred=[None]).status_code == 500
    assert "there is no voucher to sign for this device" in w.cli("show onboard device V2")
    put(w, "bundle", "never", configuration="base", signing="never")
    put(w, "device", "V3", password="p", rule=[{"name": "all", "bundle": "never"}])
    assert door.get(("V3", "p"), signed_data_preferred=[None]).status_code == 404
    assert door.get(("V3", "p")).status_code == 200


# proves: PH-145 PH-143 PH-144
def test_promotion_sends_the_device_here_once_more(w, door, pki):
    put(w, "bundle", "promoted", configuration="base", signing="promote")
    put(w, "device", "V4", password="p", voucher=pki.voucher("V4", "owner-ca", "masa"),
        rule=[{"name": "all", "bundle": "promoted"}])
    _, info = verified(pki, door.get(("V4", "p"), signed_data_preferred=[None]))
    (s,) = info["ietf-sztp-conveyed-info:redirect-information"]["bootstrap-server"]
    assert (s["address"], s["port"]) == ("localhost", door.port)
    anchor = pki.path("anchor.pem")
    run("openssl", "pkcs7", "-inform", "DER", "-print_certs", "-out", anchor, data=base64.b64decode(s["trust-anchor"]))
    # With trust by that anchor alone it comes again, says what it is and reports.
    body = json.dumps({"ietf-sztp-bootstrap-server:input": {"hw-model": "m"}})
    r = requests.post(f"https://{s['address']}:{s['port']}{GET}", body, auth=("V4", "p"), verify=anchor,
                      headers={"content-type": JSON}, timeout=60)
    _, info = onboarding(r)
    assert text64(info["configuration"]) == "hello V4\n"
    assert door.tell("bootstrap-complete", ("V4", "p")).status_code == 204


def test_what_does_not_fit_is_not_taken(w, door, pki):
    def refused(kind, name, leaf, **leaves):
        key = "serial-number" if kind == "device" else "name"
        r = w.ask("PUT", f"weft-onboard:onboard/{kind}={name}", {f"weft-onboard:{kind}": [{key: name, **leaves}]})
        e = r.json()["ietf-restconf:errors"]["error"][0]
        assert r.status == 400 and leaf in e["error-path"] + e["error-message"], (r.status, e)
        return e["error-message"]

    assert "voucher of V1" in refused("device", "X", "voucher", voucher=pki.voucher("V1", "owner-ca", "masa"))
    refused("device", "X", "voucher", voucher=base64.b64encode(b"none").decode())
    refused("signer", "x", "key", certificate=pki.text("owner.pem"), key=pki.text("masa.key"))
    refused("signer", "x", "certificate", certificate="x", key=pki.text("masa.key"))
    refused("device-authority", "x", "certificate", certificate="-----BEGIN CERTIFICATE-----\nx\n")
    refused("redirect-list", "x", "trust-anchor", server=[{"address": "a", "trust-anchor": pki.text("owner.pem")}])
    refused("boot-image", "x", "uri", **{"os-name": "x"})
    refused("boot-image", "x", "sha-256", uri=["https://a/b"])
    refused("topology", "x", "strict", strict=True)
    refused("listener", "x", "port", address="127.0.0.1", port=door.port)
    refused("listener", "x", "key-file", **{"certificate-file": "/x", "port": 1})


# proves: PH-206
def test_rfc9646_round_trip(w, door, pki, tmp_path):
    put(w, "configuration", "ldevid", text="{{ldevid-certificate}}{{authority-certificate}}", template=True)
    put(w, "bundle", "ldevid", configuration="ldevid")
    put(w, "device-type", "csr", certificate_request=True, certificate_days=7, ci_oid="id-data",
        rule=[{"name": "all", "bundle": "ldevid"}])
    put(w, "device", "C1", password="p", type="csr")
    key, csr = str(tmp_path / "key"), str(tmp_path / "csr")
    support = {"ietf-sztp-csr:csr-support": {
        "key-generation": {"supported-algorithms": {"algorithm-identifier": [
            base64.b64encode(bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")).decode()]}},
        "csr-generation": {"supported-formats": {"format-identifier": ["ietf-ztp-types:p10-csr"]}}}}

    def ask(**leaves):
        body = json.dumps({"ietf-sztp-bootstrap-server:input": leaves})
        return door.ask("POST", GET, body, ("C1", "p"), Content_Type=JSON)

    r = ask(**support)
    e = r.json()["ietf-restconf:errors"]["error"][0]
    assert (r.status_code, e["error-tag"]) == (400, "missing-attribute")
    assert "ietf-sztp-csr:csr-request" in e["error-info"]
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=admin", "-keyout",
        key, "-outform", "DER", "-out", csr)
    with open(csr, "rb") as f:
        der = f.read()
    r = ask(**{"ietf-sztp-csr:p10-csr": base64.b64encode(der).decode()})
    assert r.status_code == 200, r.text
    oid, content = unwrap(r.json()["ietf-sztp-bootstrap-server:output"]["conveyed-information"])
    assert oid == "2a864886f70d010701"
    pem = text64(json.loads(content)["ietf-sztp-conveyed-info:onboarding-information"]["configuration"])
    chain = str(tmp_path / "chain.pem")
    with open(chain, "w", encoding="ascii") as f:
        f.write(pem)
    assert pem.count("BEGIN CERTIFICATE") == 2
    run("openssl", "verify", "-CAfile", door.ca, chain)
    text = run("openssl", "x509", "-in", chain, "-noout", "-text").decode()
    assert re.search(r"Subject: CN = device C1, serialNumber = C1\n", text) and "URI:urn:weft:device:C1" in text
    assert run("openssl", "x509", "-in", chain, "-noout", "-pubkey") == run("openssl", "pkey", "-in", key, "-pubout")
    assert device(w, "C1")["ldevid-certificate"].strip() in pem
    bad = ask(**{"ietf-sztp-csr:p10-csr": base64.b64encode(b"no request").decode()})
    assert bad.status_code == 400


class OpiAgent:
    """Does on the wire what was measured of that project's agent (PH-300..305)."""

    def __init__(self, base, serial, password, cert):
        self.base, self.cert = base, cert
        self.auth, self.log, self.got = (serial, password), [], {}

    def post(self, path, leaves):
        body = json.dumps({"ietf-sztp-bootstrap-server:input": leaves})
        return requests.post(self.base + path, body, auth=self.auth, cert=self.cert, verify=False, timeout=60,
                             headers={"content-type": "application/yang-data+json"})

    def report(self, kind, **more):
        r = self.post(TELL, {"progress-type": kind, "message": f"{kind} done",
                             "ssh-host-keys": more.get("keys", {}), "trust-anchor-certs": more.get("anchors", {})})
        self.log.append((kind, r.status_code))

    @staticmethod
    def only(value, *names):
        unknown = set(value) - set(names)
        assert not unknown, f"unknown field {unknown}"
        return value

    def run(self):
        r = self.post(GET, {"hw-model": "model-x", "os-name": "vendor-os", "os-version": "17.3R2.1",
                            "nonce": ""})
        assert r.status_code == 200, r.text
        out = self.only(r.json()["ietf-sztp-bootstrap-server:output"], "conveyed-information")
        _, content = unwrap(out["conveyed-information"])
        info = json.loads(content)
        if "ietf-sztp-conveyed-info:redirect-information" in info:
            s = info["ietf-sztp-conveyed-info:redirect-information"]["bootstrap-server"][0]
            assert s["port"]
            self.report("bootstrap-initiated")  # to the one that redirects, whatever comes of it
            self.base = f"https://{s['address']}:{s['port']}"
            return self.run()
        info = self.only(info["ietf-sztp-conveyed-info:onboarding-information"], "boot-image", "pre-configuration-script",
                         "configuration-handling", "configuration", "post-configuration-script")
        image = self.only(info["boot-image"], "download-uri", "image-verification")
        self.report("bootstrap-initiated")
        self.report("boot-image-initiated")
        data = requests.get(image["download-uri"][0], verify=False, timeout=60).content
        v = self.only(image["image-verification"][0], "hash-algorithm", "hash-value")
        assert hashlib.sha256(data).hexdigest() == v["hash-value"].replace(":", "")
        self.report("boot-image-complete")
        for step, leaf in (("config", "configuration"), ("pre-script", "pre-configuration-script"),
                           ("post-script", "post-configuration-script")):
            self.report(f"{step}-initiated")
            self.got[leaf] = text64(info[leaf])
            self.report(f"{step}-complete")
        key = {"ssh-host-key": [{"algorithm": "ssh-rsa", "key-data": base64.b64encode(b"k" * 64).decode()}]}
        self.report("bootstrap-complete", keys=key, anchors={"trust-anchor-cert": ["dGVzdA=="]})
        return self


# proves: PH-206 PH-300 PH-301 PH-302 PH-303 PH-304 PH-305
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_the_opi_agent_comes_up_direct_and_through_a_redirect(w, door, pki):
    with open(os.path.join(w.data, "onboard/files/opi.img"), "wb") as f:
        f.write(os.urandom(200_000))
    put(w, "boot-image", "opi", os_name="x", os_version="1", file="opi.img")
    put(w, "script", "opi", text="#!/bin/bash\necho inside\n")
    put(w, "bundle", "opi", boot_image="opi", configuration="base", pre_script="opi", post_script="opi", signing="never")
    put(w, "device-type", "opi", omit_reporting_level=True, omit_os_fields=True, progress_status="ok", rule=[{"name": "all", "bundle": "opi"}])
    cert = pki.device("opi", "/CN=opi/serialNumber=OPI1")
    put(w, "device", "OPI1", type="opi", password="my-secret")
    a = OpiAgent(door.base, "OPI1", "my-secret", cert).run()
    assert a.got["configuration"] == "hello OPI1\n"
    assert {status for _, status in a.log} == {200}
    assert [k for k, _ in a.log][-1] == "bootstrap-complete" and len(a.log) == 10
    d = device(w, "OPI1")
    assert (d["status"], d["nonce"], d["authenticated-by"]) == ("complete", False, "certificate and password")
    assert "dGVzdA==" in d["trust-anchors"]
    # The redirect server sends it here; here that rule is passed over.
    away = listen(w, "away", role=["redirect"])
    direct = listen(w, "direct", role=["bootstrap", "images"])
    put(w, "redirect-list", "opi", server=[{"address": "localhost", "port": direct.port, "own-authority": [None]}])
    put(w, "device", "OPI2", type="opi", password="my-secret", rule=[{"name": "first", "redirect-list": "opi"}])
    b = OpiAgent(away.base, "OPI2", "my-secret", pki.device("opi2", "/serialNumber=OPI2")).run()
    assert b.log[0] == ("bootstrap-initiated", 200) and {status for _, status in b.log[1:]} == {200}
    assert b.base == direct.base and b.got["configuration"] == "hello OPI2\n"
    text = w.cli("show onboard device OPI2")
    assert re.search(r"redirected .*rule device/first: redirect list opi", text), text
    assert re.search(r"answered .*rule opi/all: bundle opi", text), text
    assert device(w, "OPI2")["status"] == "complete"


def decrypted(pki, data, name):
    """What is inside, by openssl, as a ContentInfo again."""
    path = pki.path("sealed.der")
    with open(path, "wb") as f:
        f.write(base64.b64decode(data))
    shown = run("openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", path).decode()
    assert "pkcs7-envelopedData" in shown and "aes-256-cbc" in shown, shown
    inner = run("openssl", "cms", "-decrypt", "-inform", "DER", "-in", path, "-recip", pki.path(f"{name}.pem"), "-inkey",
                pki.path(f"{name}.key"))
    kind = re.search(r"contentType: ([^\n]+?) *\n\s+contentEncryptionAlgorithm", shown)[1]
    return kind, inner


def der(tag, body):
    n = len(body)
    size = bytes([n]) if n < 128 else bytes([0x80 + len(x := n.to_bytes((n.bit_length() + 7) // 8, "big"))]) + x
    return bytes([tag]) + size + body


# proves: PH-120
def test_what_is_given_is_encrypted_for_the_devices_certificate(w, door, pki):
    put(w, "bundle", "sealed", configuration="base", encryption="always")
    put(w, "bundle", "may", configuration="base", encryption="preferred")
    rsa = run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/serialNumber=E2", "-keyout", pki.path("e2.key"))
    run("openssl", "x509", "-req", "-CA", pki.path("factory.pem"), "-CAkey", pki.path("factory.key"), "-CAcreateserial",
        "-days", "30", "-out", pki.path("e2.pem"), data=rsa)
    cert = {"E1": pki.device("e1", "/serialNumber=E1"), "E2": (pki.path("e2.pem"), pki.path("e2.key"))}
    for serial in ("E1", "E2"):  # elliptic curves, RSA
        put(w, "device", serial, password="p", rule=[{"name": "all", "bundle": "sealed"}])
        r = door.get(cert=cert[serial])
        out = r.json()["ietf-sztp-bootstrap-server:output"]
        kind, inner = decrypted(pki, out["conveyed-information"], serial.lower())
        assert "1.43" in kind or "ConveyedInfoJSON" in kind, kind
        info = json.loads(inner)["ietf-sztp-conveyed-info:onboarding-information"]
        assert text64(info["configuration"]) == f"hello {serial}\n"
        assert device(w, serial)["answer"] == "bundle sealed, encrypted"
        # Another device's key does not open it.
        with pytest.raises(AssertionError):
            decrypted(pki, out["conveyed-information"], "e2" if serial == "E1" else "e1")
    # Signed first, then encrypted; the owner's certificate and the voucher as well.
    put(w, "device", "E1", signer="us", voucher=pki.voucher("E1", "owner-ca", "masa"), rule=[{"name": "all", "bundle": "sealed"}])
    r = door.get(cert=cert["E1"], signed_data_preferred=[None])
    out = r.json()["ietf-sztp-bootstrap-server:output"]
    signed_oid = bytes.fromhex("06092a864886f70d010702")
    for leaf in ("conveyed-information", "owner-certificate", "ownership-voucher"):
        kind, inner = decrypted(pki, out[leaf], "e1")
        assert "pkcs7-signedData" in kind
        out[leaf] = base64.b64encode(der(0x30, signed_oid + der(0xa0, inner))).decode()

    class Opened:
        status_code, text = 200, ""

        def json(self):
            return {"ietf-sztp-bootstrap-server:output": out}
    v, info = verified(pki, Opened())
    assert v["serial-number"] == "E1" and "onboarding-information" in next(iter(info))
    # Without a certificate: nothing, or as it is.
    put(w, "device", "E3", password="p", rule=[{"name": "all", "bundle": "sealed"}])
    assert door.get(("E3", "p")).status_code == 404
    assert "its bundle is always encrypted, and it shows no certificate" in w.cli("show onboard device E3")
    put(w, "device", "E3", password="p", rule=[{"name": "all", "bundle": "may"}])
    assert text64(onboarding(door.get(("E3", "p")))[1]["configuration"]) == "hello E3\n"
    # A key that only signs: likewise.
    ed = run("openssl", "req", "-newkey", "ed25519", "-nodes", "-subj", "/serialNumber=E4", "-keyout", pki.path("e4.key"))
    run("openssl", "x509", "-req", "-CA", pki.path("factory.pem"), "-CAkey", pki.path("factory.key"), "-CAcreateserial",
        "-days", "30", "-out", pki.path("e4.pem"), data=ed)
    cert["E4"] = (pki.path("e4.pem"), pki.path("e4.key"))
    put(w, "device", "E4", rule=[{"name": "all", "bundle": "may"}])
    assert text64(onboarding(door.get(cert=cert["E4"]))[1]["configuration"]) == "hello E4\n"
    put(w, "device", "E4", rule=[{"name": "all", "bundle": "sealed"}])
    assert door.get(cert=cert["E4"]).status_code == 500
    assert "can't encrypt for this certificate" in w.cli("show onboard device E4")
