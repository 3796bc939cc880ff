# SPDX-License-Identifier: Apache-2.0
"""Certificates that end while weftd runs: its own is made anew, another authority's is named."""
import os
import re
import signal
import ssl
import subprocess
import time

import pytest

from weftd import Weftd

DAY = 86400


@pytest.fixture
def w(tmp_path):
    d = Weftd(tmp_path, toy=False, args=["--hostname", "weft.example.net"])
    yield d
    d.stop()


def pki(w, name):
    return os.path.join(w.data, "pki", name)


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def put(w, ca, ca_key, days, tmp):
    """A server certificate by that authority in the place of weftd's own; as openssl's ca -days has it."""
    key, csr, new, ext = (str(tmp / n) for n in ("k.pem", "c.csr", "n.pem", "ext"))
    with open(ext, "w", encoding="utf-8") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", csr,
            "-subj", "/CN=weft")
    openssl("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-CAserial",
            str(tmp / "serial"), "-days", str(days), "-extfile", ext, "-out", new)
    for made, place in ((key, "server.key"), (new, "server.pem")):
        with open(made, "rb") as f, open(pki(w, place), "wb") as t:
            t.write(f.read())
        os.chmod(pki(w, place), 0o600)


def reload(w):
    n = w.log_text().count("the certificate was read again")
    w.p.send_signal(signal.SIGHUP)
    until = time.time() + 60
    while w.log_text().count("the certificate was read again") == n:
        assert time.time() < until and w.alive(), w.log_text()
        time.sleep(0.05)


def shown(w, ca):
    """The certificate that a client sees who trusts `ca`."""
    c = ssl.create_default_context(cafile=ca)
    import socket
    with socket.create_connection(("127.0.0.1", w.port), timeout=60) as s:
        with c.wrap_socket(s, server_hostname="localhost") as t:
            return t.getpeercert(True), t.getpeercert()


def days_left(w, name="server"):
    text = w.get("//metrics").text
    return int(re.search(rf'weft_certificate_expires_seconds{{certificate="{name}"}} (-?\d+)', text)[1]) / DAY


def test_our_own_is_renewed_without_a_restart(w, tmp_path):
    assert 824 < days_left(w) <= 825 and days_left(w, "authority") > 3600
    put(w, w.ca, pki(w, "ca.key"), 10, tmp_path)
    assert 9 < days_left(w) <= 10
    with open(pki(w, "server.pem"), "rb") as f:
        short = f.read()
    kept = w.tls_socket()
    reload(w)
    der, seen = shown(w, w.ca)
    assert ("DNS", "weft.example.net") in seen["subjectAltName"]
    assert 824 < days_left(w) <= 825
    with open(pki(w, "server.pem"), "rb") as f:
        assert f.read() != short
    # A connection from before is served on.
    kept.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert kept.recv(100).startswith(b"HTTP/1.1 200")
    kept.close()
    assert der


def test_another_authoritys_is_left_and_named(w, tmp_path):
    ca, ca_key = str(tmp_path / "other.pem"), str(tmp_path / "other.key")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", ca_key,
            "-out", ca, "-days", "100", "-subj", "/CN=Other")
    put(w, ca, ca_key, 10, tmp_path)
    with open(pki(w, "server.pem"), "rb") as f:
        theirs = f.read()
    reload(w)
    assert re.search(r"server.pem ends in (9|10) days and is of another authority: put a new one there and reload",
                     w.log_text())
    assert shown(w, ca)[1]["issuer"] == ((("commonName", "Other"),),)
    w.stop()  # nor is it replaced at a start
    w.start()
    with open(pki(w, "server.pem"), "rb") as f:
        assert f.read() == theirs
    assert shown(w, ca)[0]


def test_what_can_not_be_read_changes_nothing(w):
    before = shown(w, w.ca)[0]
    with open(pki(w, "server.pem"), "w", encoding="utf-8") as f:
        f.write("no certificate\n")
    os.unlink(pki(w, "ca.key"))
    w.p.send_signal(signal.SIGHUP)
    until = time.time() + 60
    while "the old one stays" not in w.log_text():
        assert time.time() < until and w.alive(), w.log_text()
        time.sleep(0.05)
    assert "the certificate was not renewed" in w.log_text()
    assert shown(w, w.ca)[0] == before
