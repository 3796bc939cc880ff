# SPDX-License-Identifier: Apache-2.0
"""NETCONF with foreign clients: libnetconf2 over SSH and over TLS (RFC 7589), yangcli over SSH."""
import os
import pty
import re
import select
import socket
import ssl
import subprocess
import time

import pytest

from netconf_foreign import NC, PROGRAM, Client, NoSession, Refused
from weftd_lab import TOP, Weftd

APM, SYS = "urn:weft:apm", "urn:weft:system"
Q = {"nc": NC, "a": APM, "s": SYS, "y": "urn:ietf:params:xml:ns:yang:ietf-yang-library",
     "e": "urn:ietf:params:xml:ns:netmod:notification"}


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    listen = ["--listen-netconf", "127.0.0.1:0", "--listen-netconf-tls", "127.0.0.1:0"]
    with Weftd(tmp_path_factory.mktemp("foreign"), options=listen) as d:
        d.certificate("admin", user=True)
        yield d


def ssh(w, user="admin", password=None):
    return Client("ssh", "127.0.0.1", w.ports["netconf"], user, password or w.password())


def tls(w, folder=None, ca=None):
    folder = folder or os.path.join(w.folder, "cert-admin")
    return Client("tls", "localhost", w.ports["netconf-tls"], f"{folder}/cert.pem", f"{folder}/key.pem",
                  ca or f"{w.data}/pki/ca.pem")


@pytest.fixture(params=[ssh, tls])
def c(w, request):
    with request.param(w) as session:
        yield session
        session.ask("discard")


def profile(name, apportion, reclaim=70000):
    return (f'<apm xmlns="{APM}"><pool-domain-profile><name>{name}</name><apportion-threshold>{apportion}'
            f'</apportion-threshold><reclaim-threshold>{reclaim}</reclaim-threshold></pool-domain-profile></apm>')


def threshold(c, name, store="running"):
    tree = c.ask(f'get-config {store} <apm xmlns="{APM}"><pool-domain-profile><name>{name}</name>'
                 '<apportion-threshold/></pool-domain-profile></apm>')
    found = tree.xpath("//a:apportion-threshold/text()", namespaces=Q)
    return int(found[0]) if found else None


def put(c, name, apportion):
    c.ask(f"edit candidate {profile(name, apportion)}")
    c.ask("commit")


def refused(tag, c, command):
    with pytest.raises(Refused) as e:
        c.ask(command)
    assert e.value.tag == tag and e.value.message, e.value
    return e.value


def wait_for(fn, seconds=60):
    end = time.monotonic() + seconds
    while not fn():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)


# ---- sessions and what they do

def test_capabilities_and_schemas(c):
    """libnetconf2 has fetched and compiled every module that yang-library lists, or there were no session."""
    have = c.ask("capabilities")
    assert "urn:ietf:params:netconf:base:1.1" in have
    assert any(x.startswith(f"{NC}?module=ietf-netconf&") and "candidate" in x and "url" not in x for x in have)
    tree = c.ask('get <yang-library xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-library"><module-set/></yang-library>')
    for name in tree.xpath("//y:module/y:name/text() | //y:import-only-module/y:name/text()", namespaces=Q):
        schema = c.ask('rpc <get-schema xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><identifier>'
                       f'{name}</identifier></get-schema>')
        assert f"module {name} {{" in "".join(schema.itertext()), name


def test_lock_edit_validate_commit(w, c):
    c.ask("lock candidate")
    with ssh(w) as other:
        refused("lock-denied", other, "lock candidate")
        c.ask(f"edit candidate {profile('foreign', 10)}")
        assert threshold(c, "foreign", "candidate") == 10 and threshold(other, "foreign") is None
        c.ask("validate candidate")
        c.ask("commit")
        assert threshold(other, "foreign") == 10
        c.ask("unlock candidate")
    tree = c.ask(f'get-config running <apm xmlns="{APM}"><pool-domain-profile><name/></pool-domain-profile></apm>')
    assert "foreign" in tree.xpath("//a:pool-domain-profile/a:name/text()", namespaces=Q)
    assert not tree.xpath("//a:apportion-threshold | //s:*", namespaces=Q)
    c.ask(f"edit candidate <apm xmlns='{APM}'><pool-domain-profile xmlns:nc='{NC}' nc:operation='delete'><name>foreign"
          "</name></pool-domain-profile></apm>")
    c.ask("commit")
    assert threshold(c, "foreign") is None


def test_refusals_say_where(c):
    e = refused("invalid-value", c, f"edit candidate {profile('bad', -1)}")
    assert e.path.endswith("pool-domain-profile[apm:name='bad']/apm:apportion-threshold")
    c.ask(f"edit candidate <apm xmlns='{APM}'><entity-match><system-id>x</system-id><pool-domain-profile>nobody"
          "</pool-domain-profile></entity-match></apm>")
    refused("data-missing", c, "validate candidate")
    refused("data-missing", c, "commit")


def test_confirmed_commit(w, c):
    put(c, "confirmed", 10)
    c.ask(f"edit candidate {profile('confirmed', 20)}")
    c.ask("commit 1")
    assert threshold(c, "confirmed") == 20
    wait_for(lambda: threshold(c, "confirmed") == 10)
    c.ask(f"edit candidate {profile('confirmed', 30)}")
    c.ask("commit 600 token")
    with ssh(w) as other:
        refused("invalid-value", other, "commit 0 - another")
        other.ask("commit 0 - token")
    assert threshold(c, "confirmed") == 30
    c.ask(f"edit candidate {profile('confirmed', 40)}")
    c.ask("commit 600 token")
    c.ask("cancel token")
    assert threshold(c, "confirmed") == 30


def test_notifications(w, c):
    streams = c.ask('get <netconf xmlns="urn:ietf:params:xml:ns:netmod:notification"><streams/></netconf>')
    assert streams.xpath("//e:stream[e:name='NETCONF']/e:replaySupport/text()", namespaces=Q) == ["true"]
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with ssh(w) as other:
        put(other, "event", time.time_ns() % 60000 + 1)
        c.ask(f'subscribe {start} - <commit xmlns="{SYS}"/>')
        events = []
        while not events or not events[-1].xpath("//e:replayComplete", namespaces=Q):
            events.append(c.ask("event 30000"))
        assert any(e.xpath("//s:commit[s:user='admin']", namespaces=Q) for e in events[:-1])
        put(other, "event", time.time_ns() % 60000 + 1)
        assert c.ask("event 30000").xpath("//s:commit/s:number", namespaces=Q)
        assert threshold(c, "event") is not None  # interleaved


def test_kill_session(w, c):
    victim = ssh(w)
    c.ask(f"kill {victim.id}")
    wait_for(lambda: is_over(victim))
    victim.close()


def is_over(session):
    try:
        session.ask("get-config running")
    except EOFError:
        return True
    return False


# ---- who is let in over TLS

def make_certificate(folder, ca, ca_key, name, uri=None, days=1):
    """A client certificate as somebody else's tool makes it; `days` below 0: expired."""
    folder.mkdir()
    ext = folder / "ext"
    ext.write_text("extendedKeyUsage=clientAuth\n" + (f"subjectAltName=URI:{uri}\n" if uri else ""))
    run = lambda *a: subprocess.run(["openssl", *map(str, a)], check=True, capture_output=True)
    run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout",
        folder / "key.pem", "-out", folder / "csr")
    run("x509", "-req", "-in", folder / "csr", "-CA", ca, "-CAkey", ca_key, "-set_serial", 77, "-days", days, "-extfile", ext,
        "-out", folder / "cert.pem")
    return folder


def turned_away(w, folder, why=None):
    """Said why, too? (At most once a second, so that strangers can't fill the log.)"""
    def once():
        with pytest.raises(NoSession):
            tls(w, folder)
        return why is None or why in w.log()
    wait_for(once)


def pki(w):
    return f"{w.data}/pki/ca.pem", f"{w.data}/pki/ca.key"


def test_a_certificate_of_the_authority_with_the_users_name(w, tmp_path):
    with tls(w, make_certificate(tmp_path / "good", *pki(w), "admin", "urn:weft:user:admin")) as c:
        data = c.ask('get <netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions/></netconf-state>')
        mine = data.xpath(f"//*[local-name()='session'][*[local-name()='session-id']='{c.id}']")[0]
        assert mine.xpath("*[local-name()='transport']/text()")[0].endswith("netconf-tls")
        assert mine.xpath("*[local-name()='username']/text()") == ["admin"]


def test_a_gateway_is_no_user(w):
    turned_away(w, w.certificate("admin", w.folder + "/gateway"))  # a gateway that is called like the administrator
    assert "is turned away: this certificate is not a user's" in w.log()
    audit = w.cli("show system audit lines 20")
    assert "the certificate is not a user's" in audit, audit


def test_an_unknown_user_is_turned_away(w, tmp_path):
    turned_away(w, make_certificate(tmp_path / "nobody", *pki(w), "nobody", "urn:weft:user:nobody"))
    turned_away(w, make_certificate(tmp_path / "liar", *pki(w), "nobody", "urn:weft:user:admin"))
    assert w.alive()


def test_an_expired_certificate(w, tmp_path):
    turned_away(w, make_certificate(tmp_path / "old", *pki(w), "admin", "urn:weft:user:admin", days=-1), "certificate has expired")


def test_another_authority(w, tmp_path):
    key, ca = tmp_path / "ca.key", tmp_path / "ca.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                    "/CN=other", "-days", "1", "-keyout", str(key), "-out", str(ca)], check=True, capture_output=True)
    turned_away(w, make_certificate(tmp_path / "other", ca, key, "admin", "urn:weft:user:admin"),
                "unable to get local issuer certificate")
    with pytest.raises(NoSession):  # and a client that trusts another authority does not talk to us
        tls(w, ca=str(ca))


def test_no_certificate(w):
    context = ssl.create_default_context(cafile=f"{w.data}/pki/ca.pem")
    with socket.create_connection(("127.0.0.1", w.ports["netconf-tls"]), 30) as plain:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with context.wrap_socket(plain, server_hostname="localhost") as s:
                s.sendall(b"<hello/>")
                assert s.recv(1000)  # TLS 1.3 tells after the handshake
    assert w.alive()


def test_a_disabled_user_has_no_certificate_login(w, c, tmp_path):
    user = "<system xmlns='urn:weft:system'><user><name>carol</name><disabled>{}</disabled></user></system>"
    folder = make_certificate(tmp_path / "carol", *pki(w), "carol", "urn:weft:user:carol")
    c.ask("edit running " + user.format("false"))
    with tls(w, folder) as carol:
        assert not carol.ask("get-config running").xpath("//s:user | //a:*", namespaces=Q)  # no role, no rights
        refused("access-denied", carol, f"edit candidate {profile('carol', 1)}")
    c.ask("edit running " + user.format("true"))
    turned_away(w, folder)


def test_silent_and_clear_text_peers(w):
    for port in (w.ports["netconf-tls"], w.ports["netconf"]):
        with socket.create_connection(("127.0.0.1", port), 30) as s:
            s.sendall(b"GET / HTTP/1.1\r\n\r\n" * 50)
            s.settimeout(30)
            try:
                while s.recv(1000):
                    pass
            except ConnectionError:
                pass
        assert w.alive()


def test_the_installed_configuration(tmp_path):
    """weftd.conf as it is installed, with everything in it switched on."""
    with open(os.path.join(TOP, "src", "weftd", "weftd.conf"), encoding="ascii") as f:
        text = re.sub(r"^#(?=[a-z])", "", f.read(), flags=re.M)
    assert len(re.findall(r"^listen-netconf(-tls)? :\d+$", text, re.M)) == 2
    (tmp_path / "weftd.conf").write_text(re.sub(r" :\d+$", " 127.0.0.1:0", text, flags=re.M))
    with Weftd(tmp_path / "d", options=["--config", str(tmp_path / "weftd.conf")]) as d, ssh(d) as c:
        assert c.id


# ---- yangcli

class Yangcli:
    """yangcli at a terminal of its own, which it insists on."""

    def __init__(self, folder):
        self.fd, end = pty.openpty()
        self.p = subprocess.Popen(["yangcli"], stdin=end, stdout=end, stderr=end, start_new_session=True, cwd=folder,
                                  env={**os.environ, "HOME": str(folder), "TERM": "dumb", "COLUMNS": "500"})
        os.close(end)
        self.until("> ")

    def until(self, mark, seconds=20):
        got, end = "", time.monotonic() + seconds
        while mark not in got:
            ready, _, _ = select.select([self.fd], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{mark!r} did not come: {got[-2000:]}"
            got += os.read(self.fd, 65536).decode(errors="replace")
        return got

    def line(self, text, mark="> "):
        os.write(self.fd, text.encode() + b"\n")
        return self.until(mark)

    def close(self):
        self.p.kill()
        self.p.wait()
        os.close(self.fd)


def test_yangcli(w, tmp_path):
    y = Yangcli(tmp_path)
    try:
        y.line(f"connect server=127.0.0.1 ncport={w.ports['netconf']} user=admin password={w.password()}",
               "Protocol version set to: RFC 6241 (base:1.1)")
        y.until("admin@127.0.0.1> ")
        y.line("get-locks", "get-locks finished OK")
        y.line("create /apm/pool-domain-profile", "Enter string value for leaf <name>")
        y.line("yangcli", "Enter uint32 value for leaf <apportion-threshold>")
        y.line("7", "Enter uint32 value for leaf <reclaim-threshold>")
        y.line("70000", "RPC OK Reply")
        y.line("validate source=candidate", "RPC OK Reply")
        y.line("nc:commit", "RPC OK Reply")  # it knows two modules with such an rpc
        y.line("release-locks", "release-locks...")
        y.line("sget-config source=running /apm/pool-domain-profile", "apportion-threshold 7")
        y.line("close-session", "shut by remote peer")  # the answer, if the end has not come with it
    finally:
        y.close()
    with ssh(w) as c:
        assert threshold(c, "yangcli") == 7
        c.ask("lock candidate")  # it is free again
