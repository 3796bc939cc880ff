# SPDX-License-Identifier: Apache-2.0
"""NETCONF call home (RFC 8071): the controller connects to libnetconf2, which listens; over SSH and TLS."""
import os
import re
import socket
import time

import pytest

from netconf_foreign import PROGRAM, Client
from weftd_lab import Weftd


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("home")) as d:  # it listens nowhere
        d.certificate("admin", user=True)
        yield d


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def port():
    return free_port()


@pytest.fixture(autouse=True)
def nothing_is_left(w):
    yield
    w.ask("DELETE", "weft-system:system/netconf-call-home=noc")


def listen(w, transport, port):
    if transport == "ssh":
        return Client("listen-ssh", port, "admin", w.password())
    folder = os.path.join(w.folder, "cert-admin")
    return Client("listen-tls", port, f"{folder}/cert.pem", f"{folder}/key.pem", f"{w.data}/pki/ca.pem")


def configure(w, transport, port, *more):
    w.cli("configure", f"set system netconf-call-home noc address 127.0.0.1 port {port} transport {transport}",
          *(f"set system netconf-call-home noc {x}" for x in more), "commit")


def hostname(c):
    return c.ask('get-config running <system xmlns="urn:weft:system"><netconf-call-home/></system>')


@pytest.mark.parametrize("transport", ["ssh", "tls"])
def test_it_calls_and_is_used(w, transport, port):
    with listen(w, transport, port) as c:
        configure(w, transport, port)
        c.begin()
        assert hostname(c).xpath("//*[local-name()='port']/text()") == [str(port)]
        state = c.ask('get <netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions/></netconf-state>')
        assert state.xpath("//*[local-name()='transport']/text()")[0].endswith("netconf-" + transport)
    assert "noc was called and has logged in" in w.log()


@pytest.mark.parametrize("transport", ["ssh", "tls"])
def test_it_calls_until_somebody_listens_and_again_when_it_was_lost(w, transport, port):
    configure(w, transport, port, "max-wait 1")
    time.sleep(3)
    assert len(re.findall(rf"noc \(127.0.0.1 port {port}\) can't be reached: Connection refused", w.log())) == 1
    for _ in range(2):
        with listen(w, transport, port) as c:
            c.begin()
            assert hostname(c) is not None


def test_waits_grow(w, port):
    """Attempts come after 1, 2 and then always 3 seconds, as configured."""
    with socket.create_server(("127.0.0.1", port)) as s:
        s.settimeout(30)
        configure(w, "ssh", port, "max-wait 3")
        came = []
        for _ in range(5):
            s.accept()[0].close()
            came.append(time.monotonic())
    gaps = [b - a for a, b in zip(came, came[1:])]
    for gap, least in zip(gaps, (1, 2, 3, 3)):
        assert least - 0.1 <= gap, gaps


def test_one_that_is_removed_or_moved_is_hung_up(w, port):
    other = free_port()
    with listen(w, "ssh", port) as c, listen(w, "ssh", other) as d:
        configure(w, "ssh", port)
        c.begin()
        configure(w, "ssh", other)
        d.begin()
        over(c)
        w.cli("configure", "delete system netconf-call-home noc", "commit")
        over(d)


def over(c):
    end = time.monotonic() + 60
    with pytest.raises(EOFError):
        while time.monotonic() < end:
            c.ask("get-config running")
            time.sleep(0.1)


def test_a_wrong_login_is_no_session(w, port):
    configure(w, "ssh", port, "max-wait 1")
    c = Client("listen-ssh", port, "admin", "wrong")
    with pytest.raises(Exception):
        c.begin()
    with listen(w, "ssh", port) as c:
        assert c.begin().id


def test_probes(w, port):
    """A client that vanished is noticed by the kernel's probes: they are asked for."""
    with socket.create_server(("127.0.0.1", port)) as s:
        s.settimeout(30)
        configure(w, "ssh", port, "keepalive 7")
        peer, _ = s.accept()
        with peer:
            out = os.popen(f"ss -tnoH 'dport = :{port}'").read()
            assert re.search(r"timer:\(keepalive,[67]", out) or "timer:(on" in out, out


def test_it_survives_a_restart(w, port):
    configure(w, "tls", port)
    w.kill()
    with listen(w, "tls", port) as c:
        w.start()
        assert c.begin().id


def test_bad_configuration(w):
    out = w.cli("configure", "set system netconf-call-home noc transport ssh", "commit", "rollback 0", status=None)
    assert "address" in out and "mandatory" in out or "missing" in out, out
    out = w.cli("configure", "set system netconf-call-home noc address 127.0.0.1 keepalive 3", status=None)
    assert "keepalive" in out or "5" in out, out
