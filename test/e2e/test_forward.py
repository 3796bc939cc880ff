# SPDX-License-Identifier: Apache-2.0
"""Events to other systems: a webhook over TLS, the real rsyslog and the real snmptrapd."""
import hashlib
import hmac
import http.server
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading

import pytest

from weftd_lab import TOP, Weftd, binary

sys.path.insert(0, os.path.join(TOP, "lab"))
from weftlab import wait_until  # noqa: E402

SECRET = "a key of the webhook"


class Receiver:
    """An HTTPS server that keeps what it is sent; `status` is its answer."""

    def __init__(self, folder):
        self.got, self.headers, self.status, self.folder = [], [], 204, folder
        self.lock = threading.Lock()
        self.server = self.thread = None
        self.port = 0

    def start(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer.lock:
                    outer.headers.append((dict(self.headers), body))
                    if outer.status < 300:
                        outer.got += json.loads(body)["events"]
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{self.folder}/cert.pem", f"{self.folder}/key.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def events(self, name=None):
        with self.lock:
            return [e for e in self.got if name in (None, e["name"])]


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("weftd")) as d:
        yield d


@pytest.fixture(scope="module")
def certificate(w, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("certificate"))
    subprocess.run([w.program, "issue", "localhost", folder, "--server", "--data", w.data, "--force"], check=True,
                   capture_output=True)
    return folder


@pytest.fixture
def receiver(certificate):
    r = Receiver(certificate).start()
    yield r
    r.stop()


def target(w, name, kind, **parts):
    body = {"weft-forward:target": [{"name": name, "type": kind, **parts}]}
    return w.ask("PUT", f"weft-forward:event-forwarding/target={name}", body)


def webhook(w, name, receiver, **more):
    part = {"url": f"https://localhost:{receiver.port}/hook", "ca-file": f"{w.data}/pki/ca.pem", "secret": SECRET}
    r = target(w, name, "webhook", webhook=part, **more)
    assert r.status in (201, 204), r


def remove(w, name):
    assert w.ask("DELETE", f"weft-forward:event-forwarding/target={name}").status == 204


def commit(w, text):
    r = w.ask("PUT", "weft-system:system/settings/location", {"weft-system:location": text})
    assert r.status in (201, 204), r
    return last(w)


def last(w):
    """Number of the last commit."""
    return int(w.ask("GET", "weft-system:system/state").json()["weft-system:state"]["commit"])


def health(w, name):
    r = w.ask("GET", "weft-forward:event-forwarding/state")
    return next(h for h in r.json()["weft-forward:state"]["health"] if h["name"] == name)


def chain_is_whole(events):
    for before, after in zip(events, events[1:]):
        assert after["previous"] == before["id"], (before, after)


def test_webhook_gets_signed_events_in_order(w, receiver):
    webhook(w, "hook", receiver)
    for i in range(5):
        commit(w, f"place {i}")
    events = wait_until("six commits", 20, lambda: len(receiver.events("weft-system:commit")) >= 6 and
                        receiver.events("weft-system:commit"))
    # The first is the one that made the target.
    assert [e["severity"] for e in events] == ["info"] * 6
    numbers = [int(e["data"]["number"]) for e in events]
    assert numbers == sorted(numbers)
    chain_is_whole(receiver.events())
    for headers, body in receiver.headers:
        mac = hmac.new(SECRET.encode(), headers["Weft-Timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
        assert headers["Weft-Signature"] == "sha256=" + mac
    h = health(w, "hook")
    assert (h["state"], h["lost"], h["waiting"]) == ("working", "0", 0)
    text = w.cli("show event-forwarding")
    assert re.search(r"^hook +webhook +working +\d+ +0 +0$", text, re.M), text
    assert SECRET not in w.cli("show configuration event-forwarding") + w.log()
    remove(w, "hook")


def test_nothing_is_lost_while_it_is_away_nor_over_a_kill(w, receiver):
    webhook(w, "away", receiver)
    made = [last(w)]
    wait_until("the first", 20, lambda: receiver.events("weft-system:commit"))
    receiver.status = 503
    made.append(commit(w, "while away 1"))
    wait_until("failing", 20, lambda: health(w, "away")["state"] == "failing")
    assert "503" in health(w, "away")["reason"]
    made.append(commit(w, "while away 2"))
    w.kill()
    receiver.status = 204
    w.start()
    made.append(commit(w, "after"))
    events = wait_until("all of them", 60, lambda: any(
        e["data"].get("number") == str(made[-1]) for e in receiver.events("weft-system:commit")) and receiver.events())
    assert sorted({int(e["data"]["number"]) for e in events if e["name"] == "weft-system:commit"}) == made
    # Those that came twice are the same ones.
    by_id = {}
    for e in events:
        assert by_id.setdefault(e["id"], e["data"]) == e["data"]
    remove(w, "away")


def test_what_is_wanted(w, receiver):
    webhook(w, "few", receiver, **{"min-severity": "warning", "event": ["weft-system:*"]})
    commit(w, "not wanted")
    w.ask("GET", "weft-system:system", conn=w.tls_connection(), authorization="Basic YWRtaW46d3Jvbmc=")
    (event,) = wait_until("a failed login", 20, lambda: receiver.events())
    assert (event["name"], event["severity"]) == ("weft-system:login", "warning")
    remove(w, "few")


def test_health_is_told_to_others(w, receiver, certificate):
    other = Receiver(certificate).start()
    webhook(w, "one", receiver, event=["weft-forward:*"])
    webhook(w, "other", other)
    other.status = 500
    commit(w, "refused by other")
    failing = wait_until("target-failing", 20, lambda: receiver.events("weft-forward:target-failing"))
    assert failing[0]["data"]["target"] == "other" and "500" in failing[0]["data"]["reason"]
    other.status = 204
    wait_until("target-working", 60, lambda: receiver.events("weft-forward:target-working"))
    for name in ("one", "other"):
        remove(w, name)
    other.stop()


def test_an_attempt_by_command(w, receiver):
    webhook(w, "tried", receiver, disabled=True)
    assert w.cli("request event-forwarding test tried") == "tried has taken a test event.\n"
    (event,) = receiver.events()
    assert (event["name"], event["id"]) == ("weft-forward:test", "0")
    receiver.status = 403
    assert "403" in w.cli("request event-forwarding test tried", status=None)
    assert "no target" in w.cli("request event-forwarding test nobody", status=None)
    remove(w, "tried")


@pytest.mark.parametrize("kind, parts, place", [
    ("webhook", {}, "webhook/url"),
    ("webhook", {"webhook": {"url": "http://localhost/"}}, "clear-text"),
    ("syslog", {}, "syslog/host"),
    ("snmp", {}, "snmp/host"),
    ("snmp", {"snmp": {"host": "localhost"}}, "snmp/user"),
    ("snmp", {"snmp": {"host": "localhost", "version": "v2c"}}, "snmp/community"),
    ("snmp", {"snmp": {"host": "localhost", "user": "u", "priv-password": "12345678"}}, "auth-password"),
    ("snmp", {"snmp": {"host": "localhost", "user": "u", "inform": False}}, "snmp/engine-id"),
])
def test_bad_targets_are_refused(w, kind, parts, place):
    r = target(w, "bad", kind, **parts)
    assert r.status == 400 and place in r.text, r
    assert w.ask("GET", "weft-forward:event-forwarding/target=bad").status == 404


def test_a_stranger_is_no_receiver(w, receiver, tmp_path):
    """Another authority's certificate: nothing is sent."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", f"{tmp_path}/k", "-out", f"{tmp_path}/c", "-subj", "/CN=x", "-days", "2"], check=True,
                   capture_output=True)
    part = {"url": f"https://localhost:{receiver.port}/", "ca-file": f"{tmp_path}/c"}
    assert target(w, "strange", "webhook", webhook=part).status == 201
    wait_until("failing", 20, lambda: health(w, "strange")["state"] == "failing")
    assert "certificate" in health(w, "strange")["reason"] and not receiver.events()
    remove(w, "strange")


# ---- syslog ------------------------------------------------------------------------------------

class Rsyslog:
    def __init__(self, folder, certificate, ca):
        self.folder, self.process = str(folder), None
        self.ports = [free_port() for _ in range(3)]
        self.out = f"{folder}/out"
        with open(f"{folder}/conf", "w", encoding="utf-8") as f:
            f.write(f"""
global(workDirectory="{folder}" defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{ca}"
       defaultNetstreamDriverCertFile="{certificate}/cert.pem" defaultNetstreamDriverKeyFile="{certificate}/key.pem")
module(load="imudp")
module(load="imptcp")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
template(name="all" type="list") {{
  property(name="pri") constant(value="|") property(name="hostname") constant(value="|") property(name="app-name")
  constant(value="|") property(name="msgid") constant(value="|") property(name="structured-data")
  constant(value="|") property(name="msg") constant(value="\\n") }}
ruleset(name="keep") {{ action(type="omfile" file="{self.out}" template="all") }}
input(type="imudp" address="127.0.0.1" port="{self.ports[0]}" ruleset="keep")
input(type="imptcp" address="127.0.0.1" port="{self.ports[1]}" ruleset="keep")
input(type="imtcp" address="127.0.0.1" port="{self.ports[2]}" ruleset="keep")
""")

    def start(self):
        self.process = subprocess.Popen(["rsyslogd", "-n", "-f", f"{self.folder}/conf", "-i", f"{self.folder}/pid"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until("rsyslog's ports", 20, lambda: all(listens(p) for p in self.ports[1:]))
        return self

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def lines(self):
        if not os.path.exists(self.out):
            return []
        with open(self.out, encoding="utf-8") as f:
            return [line.rstrip("\n").split("|", 5) for line in f if line.endswith("\n")]


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listens(port):
    import socket
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def rsyslog(w, certificate, tmp_path):
    assert shutil.which("rsyslogd")
    r = Rsyslog(tmp_path, certificate, f"{w.data}/pki/ca.pem").start()
    yield r
    r.stop()


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_syslog(w, rsyslog, transport):
    part = {"host": "localhost" if transport == "tls" else "127.0.0.1", "transport": transport,
            "port": rsyslog.ports[["udp", "tcp", "tls"].index(transport)]}
    if transport == "tls":
        part["ca-file"] = f"{w.data}/pki/ca.pem"
    assert target(w, "log", "syslog", syslog=part).status == 201
    for i in range(3):
        commit(w, f"{transport} {i}")
    lines = wait_until("four messages", 30, lambda: len(rsyslog.lines()) >= 4 and rsyslog.lines())
    pri, host, app, msgid, data, message = lines[-1]
    assert (pri, app, msgid) == (str(16 * 8 + 6), "weftd", "commit") and host not in ("", "-")
    assert re.fullmatch(r'\[weft@32473 id="\d+" previous="\d+" event="weft-system:commit" severity="info"\]', data)
    assert "number" in json.loads(message.lstrip("\ufeff"))
    if transport == "tcp":  # the receiver restarts: the connection is made anew
        rsyslog.stop()
        rsyslog.start()
        commit(w, "after the restart")
        wait_until("the one after", 60, lambda: len(rsyslog.lines()) >= 5)
    remove(w, "log")


# ---- SNMP --------------------------------------------------------------------------------------

STUBS = {
    "SNMPv2-SMI": "org OBJECT IDENTIFIER ::= { iso 3 }\ndod OBJECT IDENTIFIER ::= { org 6 }\n"
                  "internet OBJECT IDENTIFIER ::= { dod 1 }\nprivate OBJECT IDENTIFIER ::= { internet 4 }\n"
                  "enterprises OBJECT IDENTIFIER ::= { private 1 }",
    "SNMPv2-TC": 'DateAndTime ::= TEXTUAL-CONVENTION\n DISPLAY-HINT "2d-1d-1d,1d:1d:1d.1d,1a1d:1d"\n STATUS current\n'
                 ' DESCRIPTION "A time."\n SYNTAX OCTET STRING (SIZE (8 | 11))',
    "SNMP-FRAMEWORK-MIB": 'SnmpAdminString ::= TEXTUAL-CONVENTION\n DISPLAY-HINT "255t"\n STATUS current\n'
                          ' DESCRIPTION "A text."\n SYNTAX OCTET STRING (SIZE (0..255))',
    "SNMPv2-CONF": "",
}
ENGINE = "80007ed9040102030405"  # below enterprise 32473


@pytest.fixture(scope="module")
def mibs(tmp_path_factory):
    """Debian has no standard MIBs in main: what ours imports of them, in the words that net-snmp needs."""
    folder = tmp_path_factory.mktemp("mibs")
    for name, text in STUBS.items():
        (folder / f"{name}.txt").write_text(f"{name} DEFINITIONS ::= BEGIN\n{text}\nEND\n")
    shutil.copy(os.path.join(TOP, "src/forward/mib/WEFT-MIB.txt"), folder)
    return str(folder)


def test_the_mib_is_whole(mibs):
    def translate(*words):
        return subprocess.run(["snmptranslate", "-M", mibs, "-m", "WEFT-MIB", "-Pew", *words], capture_output=True,
                              text=True, check=True)
    r = translate("-On", "WEFT-MIB::weftEvent")
    assert r.stdout.strip() == ".1.3.6.1.4.1.32473.1.0.1" and r.stderr == ""
    assert "critical(4)" in translate("-Td", "WEFT-MIB::weftEventSeverity").stdout


@pytest.mark.parametrize("version, inform", [("v2c", False), ("v2c", True), ("v3", False), ("v3", True)])
def test_snmp(w, mibs, tmp_path, version, inform):
    out, port = tmp_path / "out", free_port()
    engine = f"-e 0x{ENGINE} " if not inform else ""
    (tmp_path / "conf").write_text(
        f"authCommunity log weftpublic\ncreateUser {engine}weft SHA-256 authpass123 AES privpass123\n"
        "authUser log weft priv\ndisableAuthorization no\n"
        'format2 %V|%v\\n\nformat1 %V|%v\\n\n')
    p = subprocess.Popen(["snmptrapd", "-f", "-n", "-C", "-c", str(tmp_path / "conf"), "-Lf", str(out), "-M", mibs, "-m",
                          "WEFT-MIB", "-Oq", "-p", str(tmp_path / "pid"), f"udp:127.0.0.1:{port}"],
                         env={**os.environ, "SNMP_PERSISTENT_DIR": str(tmp_path)})
    try:
        wait_until("snmptrapd", 20, (tmp_path / "pid").exists)
        part = {"host": "127.0.0.1", "port": port, "version": version, "inform": inform}
        if version == "v2c":
            part["community"] = "weftpublic"
        else:
            part.update({"user": "weft", "auth-password": "authpass123", "priv-password": "privpass123"})
            if not inform:
                part["engine-id"] = ENGINE
        assert target(w, "nms", "snmp", snmp=part).status == 201
        commit(w, f"by {version} {inform}")
        text = wait_until("two notifications", 30, lambda: out.exists() and
                          out.read_text().count("weftEventName.0") >= 2 and out.read_text())
        assert "weftEventName.0 weft-system:commit" in text and "weftEventSeverity.0 info" in text, text
        assert re.search(r'weftEventData\.0 "?\{', text) and "weftEvent" in text
        h = health(w, "nms")
        assert h["state"] == "working", h
        if inform:  # nobody acknowledges any more
            p.terminate()
            p.wait()
            commit(w, "unheard")
            wait_until("failing", 60, lambda: health(w, "nms")["state"] == "failing")
            assert "passw" not in health(w, "nms")["reason"]
    finally:
        p.terminate()
        p.wait()
        remove(w, "nms")


def test_debian_programs_are_there():
    assert binary("src", "weftd", "weftd")
    for program in ("rsyslogd", "snmptrapd", "snmptranslate"):
        assert shutil.which(program), program
