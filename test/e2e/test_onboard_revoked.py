# SPDX-License-Identifier: Apache-2.0
"""Devices whose certificates the manufacturer has revoked are refused where they connect."""
import base64
import http.client
import json
import ssl

import pytest
import requests

from onboard_lab import GET, JSON, Pki, listen, put, run, wait_until
from weftd_lab import Weftd


class Lists:
    """The revocation lists of an authority of `pki`; by openssl."""

    def __init__(self, pki, name):
        self.pki, self.name, self.number = pki, name, 0
        self.ca = ["openssl", "ca", "-config", pki.path(f"{name}.cnf"), "-cert", pki.path(f"{name}.pem"), "-keyfile",
                   pki.path(f"{name}.key")]
        with open(pki.path(f"{name}.cnf"), "w", encoding="ascii") as f:
            f.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={pki.path(name)}.index\ncrlnumber={pki.path(name)}.number\n"
                    "default_md=sha256\ndefault_crl_days=7\n")
        for suffix, text in (("index", ""), ("number", "01\n")):
            with open(pki.path(f"{name}.{suffix}"), "w", encoding="ascii") as f:
                f.write(text)

    def pem(self, *more):
        out = self.pki.path(f"{self.name}-list.pem")
        run(*self.ca, "-gencrl", "-out", out, *more)
        return self.pki.text(f"{self.name}-list.pem")

    def revoke(self, name):
        run(*self.ca, "-revoke", self.pki.path(f"{name}.pem"))


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("weftd")) as d:
        put(d, "configuration", "c", text="x\n")
        put(d, "bundle", "b", configuration="c")
        put(d, "device-type", "default", authentication="certificate", rule=[{"name": "all", "bundle": "b"}])
        for serial in ("R1", "R2", "R3"):
            put(d, "device", serial)
        yield d


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    p = Pki(tmp_path_factory.mktemp("pki"))
    p.root("other", "Other CA")
    return p


def status(door, cert):
    """Of its request; None: it gets no connection, "closed": nobody does."""
    try:
        return door.get(cert=cert).status_code
    except requests.RequestException as e:
        return "closed" if "refused" in str(e) else None


# proves: PH-121 PH-203
@pytest.mark.parametrize("demand", ["optional", "required"])
def test_a_revoked_certificate_is_refused(w, pki, demand):
    name = f"d-{demand}"
    pki.root(name, f"Factory {demand}")
    bad, good = pki.issue(f"{name}-1", "/serialNumber=R1", name), pki.issue(f"{name}-2", "/serialNumber=R2", name)
    other = pki.issue(f"{name}-3", "/serialNumber=R3", "other")
    put(w, "device-authority", "other", certificate=pki.text("other.pem"))
    put(w, "device-authority", name, certificate=pki.text(f"{name}.pem"))
    door = listen(w, name, client_certificate=demand)

    def all_of_them():
        return [status(door, cert) for cert in (bad, good, other)]
    def opened():
        return w.log().count(f"(listener {name})")
    wait_until("all are let in", 20, lambda: all_of_them() == [200, 200, 200])
    before = opened()
    lists = Lists(pki, name)
    put(w, "device-authority", name, certificate=pki.text(f"{name}.pem"), crl=lists.pem())
    wait_until("it is open with a list", 20, lambda: opened() > before)
    wait_until("nobody is revoked", 20, lambda: all_of_them() == [200, 200, 200])
    # A connection stays when a newer list comes; the next one is refused.
    tls = ssl.create_default_context(cafile=door.ca)
    tls.load_cert_chain(*bad)
    c = http.client.HTTPSConnection("localhost", door.port, context=tls, timeout=60)

    def ask():
        c.request("POST", GET, json.dumps({"ietf-sztp-bootstrap-server:input": {}}), {"content-type": JSON})
        r = c.getresponse()
        r.read()
        return r.status
    assert ask() == 200
    kept = c.sock
    lists.revoke(f"{name}-1")
    lists.pem()
    der = run("openssl", "crl", "-in", pki.path(f"{name}-list.pem"), "-outform", "DER")
    w.cli("configure", f"set onboard device-authority {name} crl {base64.b64encode(der).decode()}", "commit")
    wait_until("the list counts", 20, lambda: status(door, bad) is None)
    assert all_of_them() == [None, 200, 200]  # the other authority has no list, and is not asked for one
    assert ask() == 200 and c.sock is kept
    if demand == "optional":  # one of a kind in ten seconds
        assert "is turned away: TLS: the peer's certificate /serialNumber=R1: certificate revoked" in w.log()
    wait_until("it is noted", 20, lambda: "its certificate is refused: certificate revoked; it claims to be R1 (/serialNumber=R1)"
               in w.cli("show onboard requests"))
    # So it is with a list of thousands.
    few = pki.text(f"{name}.index")
    with open(pki.path(f"{name}.index"), "a", encoding="ascii") as f:
        for i in range(30000):
            f.write(f"R\t491231235959Z\t260101000000Z\t{i + 0x1000:016X}\tunknown\t/CN=x\n")
    large = lists.pem()
    assert 600_000 < len(large) < 1_048_576
    put(w, "device-authority", name, certificate=pki.text(f"{name}.pem"), crl=large)
    wait_until("the large list counts", 20, lambda: all_of_them() == [None, 200, 200])
    # A list that has ended keeps all of its authority's devices out; the commit says so.
    with open(pki.path(f"{name}.index"), "w", encoding="ascii") as f:
        f.write(few)
    old = lists.pem("-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20200201000000Z")
    said = w.cli("configure", f"set onboard device-authority {name} crl {base64.b64encode(old.encode()).decode()}", "commit")
    assert "a revocation list ended at 2020-02-01T00:00:00Z" in said, said
    wait_until("that one counts", 20, lambda: all_of_them() == [None, None, 200])
    before = opened()
    put(w, "device-authority", name, certificate=pki.text(f"{name}.pem"))
    wait_until("it is open without", 20, lambda: opened() > before)
    wait_until("without a list all are let in", 20, lambda: all_of_them() == [200, 200, 200])


def test_a_list_of_somebody_else_is_refused(w, pki):
    def refused(crl):
        r = w.ask("PUT", "weft-onboard:onboard/device-authority=f", {"weft-onboard:device-authority": [
            {"name": "f", "certificate": pki.text("factory.pem"), "crl": crl}]})
        e = r.json()["ietf-restconf:errors"]["error"][0]
        assert r.status == 400 and e["error-path"].endswith("/crl"), r.text
        return e["error-message"]
    assert "the revocation list of /CN=Other CA is not signed by one of the certificates" in refused(Lists(pki, "other").pem())
    pki.root("forged", "Factory CA")  # of the same name
    assert "is not signed by one" in refused(Lists(pki, "forged").pem())
    assert "has a certificate in it" in refused(Lists(pki, "factory").pem() + pki.text("forged.pem"))
    refused("no list")
    refused(base64.b64encode(b"no list").decode())
    refused("-----BEGIN X509 CRL-----\nx\n-----END X509 CRL-----\n")
