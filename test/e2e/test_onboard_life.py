# SPDX-License-Identifier: Apache-2.0
"""Onboarding over time: restarts, commits that wait for devices, many at once, vouchers with nonces."""
import base64
import concurrent.futures
import http.server
import json
import os
import re
import signal
import ssl
import subprocess
import threading

import pytest

from onboard_lab import GET, JSON, Door, Pki, device, free_port, listen, onboarding, put, run, text64, wait_until
from weftd_lab import TOP, Weftd, binary


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("weftd")) as d:
        yield d


# proves: PH-003 PH-204
def test_as_the_page_for_operators_says(w):
    """docs/onboarding.md: the first device, line by line, as it stands there."""
    with open(os.path.join(TOP, "docs/onboarding.md"), encoding="utf-8") as f:
        page = f.read()
    lines = re.findall(r"^# (set onboard .*|commit)$", page.split("## Who a device is")[0], re.M)
    port = free_port()
    here = f"listener main port {port} address 127.0.0.1"
    lines = [line.replace("listener main", here).replace("weft.example.net", "localhost") for line in lines]
    assert len(lines) == 7 and lines[-1] == "commit"
    w.cli("configure", *lines)
    wait_until("the listener", 20, lambda: re.search(r"^main +open ", w.cli("show onboard listeners"), re.M))
    assert "hostname edge-1" in w.cli("show onboard answer S1")
    (curl,) = re.findall(r"^curl .*?bootstrapping-data$", page, re.M | re.S)
    curl = curl.replace("/var/lib/weft", w.data).replace("weft.example.net", f"localhost:{port}")
    out = subprocess.run(["bash", "-c", curl.replace("curl ", "curl -sS ")], capture_output=True, text=True, check=True).stdout
    assert "conveyed-information" in out, out
    assert re.search(r"^S1 +answered ", w.cli("show onboard devices"), re.M)
    # And the rest of the page, as far as it is lines to configure.
    rest = re.findall(r"^# (set onboard .*)$", page.split("## Who a device is")[1], re.M)
    rest = [line for line in rest if '"..."' not in line and "-----BEGIN" not in line and "BASE64" not in line and
            "signer" not in line]
    rest = [re.sub(r"(listener \S+ port) (443|9443)\b", lambda m: f"{m[1]} {free_port()}", line) for line in rest]
    assert len(rest) >= 8
    first = [line for line in rest if " boot-image " in line or "server phs1" in line]
    w.cli("configure", *first, *[line for line in rest if line not in first], "commit check")


@pytest.fixture(scope="module")
def door(w):
    put(w, "configuration", "c", text="v1\n")
    put(w, "bundle", "b", configuration="c")
    put(w, "device-type", "t", rule=[{"name": "all", "bundle": "b"}])
    return listen(w, "life", public_address="localhost")


def status_of_last_commit(w):
    n = w.ask("GET", "weft-system:system/state").json()["weft-system:state"]["commit"]
    return w.cli(f"show commit {n} status")


# proves: PH-200
def test_a_commit_waits_for_devices_that_have_yet_to_come(w, door):
    put(w, "device", "T1", type="t", password="p")
    put(w, "device", "T2", type="t", password="p")
    text = status_of_last_commit(w)
    assert "device:T2" in text, text
    put(w, "configuration", "c", text="v2\n")
    text = status_of_last_commit(w)
    assert "device:T1" in text and "device:T2" in text, text
    for serial in ("T1", "T2"):
        assert text64(onboarding(door.get((serial, "p")))[1]["configuration"]) == "v2\n"
    assert door.tell("bootstrap-complete", ("T1", "p")).status_code == 204
    wait_until("one has applied it", 20, lambda: re.search(r"device:T1 .*applied", w.cli("show system targets")))
    assert door.tell("config-error", ("T2", "p"), message="syntax error near v2").status_code == 204
    text = wait_until("the other has refused", 20,
                      lambda: "syntax error near v2" in status_of_last_commit(w) and status_of_last_commit(w))
    assert device(w, "T2")["status"] == "failed", text
    # What is done is done: a change of what it was given is not for it.
    put(w, "configuration", "c", text="v3\n")
    text = status_of_last_commit(w)
    assert "device:T2" in text and "device:T1" not in text, text
    w.cli("request onboard forget T1")
    assert device(w, "T1")["status"] == "expected"


def test_devices_are_watched_until_all_are_complete(tmp_path):
    with Weftd(tmp_path / "weftd") as w:
        weft = [binary("cli", "weft"), "--socket", w.socket, "monitor", "onboard"]
        assert "no device is configured" in subprocess.run(weft, capture_output=True, text=True, check=False).stderr
        put(w, "configuration", "c", text="v1\n")
        put(w, "bundle", "b", configuration="c")
        put(w, "device-type", "t", rule=[{"name": "all", "bundle": "b"}])
        for serial in ("A1", "A2"):
            put(w, "device", serial, type="t", password="p")
        door = listen(w, "watch", public_address="localhost")
        with subprocess.Popen(weft, stdout=subprocess.PIPE, text=True) as p:
            said = [p.stdout.readline() for _ in range(3)]
            assert re.match(r"  \S+Z  A1 +expected\n", said[0]) and said[2] == "  0 of 2 devices are complete\n", said
            assert door.get(("A1", "p")).status_code == 200
            assert "A1                    answered" in p.stdout.readline()
            assert door.tell("config-error", ("A1", "p"), message="line 3").status_code == 204
            assert re.match(r"- \S+Z  A1 +failed +config-error: line 3\n", p.stdout.readline())
            for serial in ("A1", "A2"):
                assert door.tell("bootstrap-complete", (serial, "p")).status_code == 204
            rest = p.stdout.read()
            assert p.wait(60) == 0 and re.search(r"^\+ \S+Z  A2 +complete +bootstrap-complete$", rest, re.M), rest
            assert rest.endswith("+ 2 of 2 devices are complete\n"), rest
        again = subprocess.run(weft, capture_output=True, text=True, check=True).stdout
        assert again == "+ 2 of 2 devices are complete\n"


# proves: PH-204
def test_what_devices_did_is_there_after_a_crash(w, door):
    put(w, "device", "R1", type="t", password="p", variable=[{"name": "x", "value": "y"}])
    onboarding(door.get(("R1", "p"), hw_model="m"))
    for i in range(70):  # more than is kept
        assert door.tell("informational", ("R1", "p"), message=f"step {i}").status_code == 204
    before = w.cli("show onboard device R1"), w.cli("show onboard requests last 100")
    assert "step 69" in before[0] and "step 6\n" in before[0] and "step 5\n" not in before[0]
    w.kill()
    w.start()
    wait_until("the listener", 20, lambda: re.search(r"^life +open ", w.cli("show onboard listeners"), re.M))
    assert (w.cli("show onboard device R1"), w.cli("show onboard requests last 100")) == before
    assert door.tell("bootstrap-complete", ("R1", "p")).status_code == 204
    text = w.cli("show onboard requests last 1")
    assert re.search(r"204  R1 +bootstrap-complete", text)
    # It goes with the device.
    assert w.ask("DELETE", "weft-onboard:onboard/device=R1").status == 204
    assert w.ask("GET", "weft-onboard:onboard/state/device=R1").status == 404


def test_a_listener_that_cannot_open_says_why_and_is_tried_again(w, door):
    port = free_port()
    put(w, "listener", "bad", address="127.0.0.1", port=port, certificate_file="/nowhere.pem", key_file="/nowhere.key")
    wait_until("it says why", 20, lambda: re.search(r"^bad +failed .*nowhere", w.cli("show onboard listeners"), re.M))
    put(w, "listener", "bad", address="127.0.0.1", port=port, client_certificate="required")
    wait_until("it says why", 20, lambda: "there is no device-authority" in w.cli("show onboard listeners"))
    put(w, "listener", "bad", address="127.0.0.1", port=port)
    wait_until("it is open", 20, lambda: re.search(r"^bad +open ", w.cli("show onboard listeners"), re.M))
    put(w, "listener", "bad", address="127.0.0.1", port=port, disabled=True)
    wait_until("it is closed", 20, lambda: re.search(r"^bad +disabled ", w.cli("show onboard listeners"), re.M))
    assert w.alive()


# proves: PH-208
def test_many_devices_at_once(w, door):
    serials = [f"M{i:03}" for i in range(300)]
    body = {"weft-onboard:onboard": {"device": [{"serial-number": s, "type": "t", "password": "p"} for s in serials]}}
    assert w.ask("PATCH", "weft-onboard:onboard", body).status == 204

    def life(serial):
        onboarding(door.get((serial, "p")))
        return door.tell("bootstrap-complete", (serial, "p")).status_code

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        assert set(pool.map(life, serials)) == {204}
    assert len(re.findall(r"^M\d+ +complete ", w.cli("show onboard devices status complete"), re.M)) == 300


class Masa(http.server.BaseHTTPRequestHandler):
    """Gives a voucher with the nonce that was asked for; keeps what it was sent."""

    pki, got, broken = None, [], False

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        r = run("openssl", "cms", "-verify", "-noverify", "-binary", "-inform", "DER", data=body)
        q = json.loads(r)["ietf-voucher-request:voucher"]
        type(self).got.append(q)
        nonce = base64.b64encode(b"x" * 16).decode() if type(self).broken else q["nonce"]
        der = base64.b64decode(self.pki.voucher(q["serial-number"], "owner-ca", "masa", nonce=nonce))
        self.send_response(200)
        self.send_header("Content-Length", str(len(der)))
        self.end_headers()
        self.wfile.write(der)

    def log_message(self, *_):
        pass


# proves: PH-205
def test_a_voucher_with_the_devices_nonce_comes_from_the_masa(w, door, tmp_path):
    pki = Pki(tmp_path)
    pki.root("masa", "MASA")
    pki.root("owner-ca", "Owner CA")
    pki.issue("owner", "/CN=owner", "owner-ca")
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", pki.path("web.key"), "-out",
        pki.path("web.pem"))
    Masa.pki = pki
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Masa)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.path("web.pem"), pki.path("web.key"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    put(w, "signer", "us", certificate=pki.text("owner.pem"), key=pki.text("owner.key"),
        masa_uri=f"https://localhost:{server.server_address[1]}/voucher", masa_authority=pki.text("web.pem"))
    put(w, "device", "N1", type="t", password="p", signer="us")
    nonce = base64.b64encode(os.urandom(32)).decode()

    def voucher(r):
        der = base64.b64decode(r.json()["ietf-sztp-bootstrap-server:output"]["ownership-voucher"])
        return json.loads(run("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-CAfile", pki.path("masa.pem"),
                              "-purpose", "any", data=der))["ietf-voucher:voucher"]

    r = door.get(("N1", "p"), signed_data_preferred=[None], nonce=nonce)
    assert r.status_code == 200, r.text + w.log()[-2000:]
    assert voucher(r)["nonce"] == nonce and Masa.got[-1]["serial-number"] == "N1"
    # One that is for another nonce is not given; the one that is kept is, where there is one.
    Masa.broken = True
    assert door.get(("N1", "p"), signed_data_preferred=[None], nonce=nonce).status_code == 500
    put(w, "redirect-list", "far", server=[{"address": "phs9.example.net"}])
    put(w, "device", "N2", password="p", signer="us", rule=[{"name": "all", "redirect-list": "far"}])
    r = door.get(("N2", "p"), signed_data_preferred=[None], nonce=nonce)  # a redirect need not be signed
    assert r.status_code == 200 and "ownership-voucher" not in r.text
    shown = w.cli("show onboard device N2")
    assert re.search(r"^answer +redirect list far$", shown, re.M) and re.search(r" not-signed +there was no", shown), shown
    assert "signed by us with a voucher of its authority" in w.cli("show onboard device N2")
    put(w, "device", "N1", type="t", password="p", signer="us", voucher=pki.voucher("N1", "owner-ca", "masa"))
    r = door.get(("N1", "p"), signed_data_preferred=[None], nonce=nonce)
    assert r.status_code == 200 and "nonce" not in voucher(r)
    # Nonces of other lengths are none (PH-205) or an error.
    assert door.get(("N1", "p"), nonce=base64.b64encode(b"short").decode()).status_code == 400
    server.shutdown()
    server.server_close()
