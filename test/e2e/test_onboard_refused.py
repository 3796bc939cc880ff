# SPDX-License-Identifier: Apache-2.0
"""Who is refused before anybody is asked about it, by TLS or for its request, is among `show onboard requests`."""
import os
import re

import pytest
import requests

from onboard_lab import GET, JSON, OLD, Pki, device, listen, put, run, wait_until
from weftd_lab import Weftd


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("weftd")) as d:
        yield d


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    p = Pki(tmp_path_factory.mktemp("pki"))
    p.root("other", "Other CA")
    return p


@pytest.fixture(scope="module")
def door(w, pki):
    put(w, "configuration", "c", text="x\n")
    put(w, "bundle", "b", configuration="c")
    put(w, "device-type", "default", rule=[{"name": "all", "bundle": "b"}])
    put(w, "device", "S18", password="p")
    put(w, "device-authority", "factory", certificate=pki.text("factory.pem"))
    return listen(w, "d")


def dated(pki, name, subject, start, end):
    """A certificate of the factory that is good from `start` to `end` only."""
    with open(pki.path("dates.cnf"), "w", encoding="ascii") as f:
        f.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={pki.path('dates.index')}\nnew_certs_dir={pki.dir}\nrand_serial=yes\n"
                "default_md=sha256\nunique_subject=no\npolicy=any\n[any]\ncommonName=optional\nserialNumber=optional\n")
    with open(pki.path("dates.index"), "a", encoding="ascii"):
        pass
    pki.device(name, subject)
    run("openssl", "ca", "-batch", "-config", pki.path("dates.cnf"), "-cert", pki.path("factory.pem"), "-keyfile",
        pki.path("factory.key"), "-in", pki.path(f"{name}.csr"), "-out", pki.path(f"{name}.pem"), "-notext",
        "-startdate", start, "-enddate", end)
    return pki.path(f"{name}.pem"), pki.path(f"{name}.key")


def noted(w, pattern):
    return re.findall(pattern, w.cli("show onboard requests last 500"), re.M)


# proves: PH-121 PH-207
def test_certificates_that_are_refused_are_noted(w, door, pki):
    pki.root("self", "S21")
    wrong = {
        "certificate has expired": ("S18", dated(pki, "old", "/serialNumber=S18", "20200101000000Z", "20210101000000Z")),
        "certificate is not yet valid": ("S19", dated(pki, "young", "/serialNumber=S19", "20900101000000Z",
                                                      "20910101000000Z")),
        "unable to get local issuer certificate": ("S20", pki.issue("foreign", "/serialNumber=S20/CN=evil\x1b[2J", "other")),
        "self-signed certificate": ("S21", (pki.path("self.pem"), pki.path("self.key"))),
    }
    for why, (serial, cert) in wrong.items():
        for _ in range(5):  # which is one note
            with pytest.raises(requests.RequestException):
                door.get(cert=cert)
        wait_until(why, 20, lambda p=rf" TLS +- +{serial} .*its certificate is refused: {why}; it claims to be {serial} \(/":
                   noted(w, p))
        assert len(noted(w, rf" TLS .* {serial} ")) == 1
    # Not each of them is in the log: it takes one of a kind in ten seconds.
    assert re.search(r"is turned away: TLS: the peer's certificate /serialNumber=S18: certificate has expired$", w.log(), re.M)
    assert "\x1b" not in w.cli("show onboard requests last 500") + w.log()
    r = w.ask("POST", "/restconf/operations/weft-onboard:show-onboard-requests", {"weft-onboard:input": {}})
    assert r.status == 200, r
    (q,) = [q for q in next(iter(r.json().values()))["request"] if q.get("serial-number") == "S19"]
    assert q["method"] == "TLS" and "status" not in q and q["source"].startswith("127.0.0.1:")
    # Nothing of that is believed.
    assert device(w, "S18")["status"] == "expected" and not re.search(r"^S(19|20|21) ", w.cli("show onboard devices"), re.M)
    assert door.get(("S18", "p")).status_code == 200
    # A device that does not believe the controller says so, too.
    with pytest.raises(requests.RequestException):
        requests.post(f"{door.base}{GET}", verify=pki.path("other.pem"), timeout=60)
    wait_until("the device's own reason", 20, lambda: noted(w, r" TLS +- .*TLS: .*alert unknown ca"))


# proves: PH-207
def test_requests_that_are_refused_unread_are_noted(w, door):
    for _ in range(3):
        assert door.ask("POST", GET, "{", Content_Type=JSON, auth=("S18", "p")).status_code == 400
        assert door.ask("GET", GET).status_code == 405
        assert door.ask("POST", GET, "x" * (300 << 10), Content_Type=JSON).status_code == 413
        assert door.ask("POST", GET, "x", Content_Type="text/plain").status_code == 415
        assert door.ask("GET", "/favicon.ico").status_code == 404
    for pattern in (r" POST  400  S18 ", r" GET +405 ", r" POST  413 ", r" POST  415 .*media type", r" GET +404 .*no such resource"):
        wait_until(pattern, 20, lambda p=pattern: noted(w, p))
        assert len(noted(w, pattern)) == 1, pattern
    for _ in range(40):
        door.get(("nobody", "x"))
    assert door.get(("nobody", "x")).status_code == 429
    assert door.ask("GET", OLD + "nobody2").status_code == 429
    wait_until("429", 20, lambda: noted(w, r" 429  nobody .*Too many failures"))


def test_a_listener_that_wants_certificates_notes_who_has_none(w, pki):
    strict = listen(w, "strict", client_certificate="required")
    with pytest.raises(requests.RequestException):
        strict.get(("S18", "p"))
    wait_until("it is noted", 20, lambda: noted(w, r" TLS +- .*peer did not return a certificate"))
    assert strict.get(cert=pki.device("good", "/serialNumber=S18")).status_code == 200
    assert os.path.exists(pki.path("good.pem"))
