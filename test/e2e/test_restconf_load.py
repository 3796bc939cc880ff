# SPDX-License-Identifier: Apache-2.0
"""Many objects, slow readers, event streams."""
import asyncio
import base64
import json
import os
import socket
import subprocess
import threading
import time

import pytest
import requests

from weftd import JSON, TOYS, XML, Weftd, box, error_of, exchange

MANY = 100_000


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    d = Weftd(tmp_path_factory.mktemp("weftd"))
    yield d
    d.stop()


@pytest.fixture(scope="module")
def many(w):
    """100,000 objects, brought in pieces of 10,000 as one commit each."""
    for start in range(0, MANY, 10_000):
        boxes = [{"name": f"n{i}", "size": str(i)} for i in range(start, start + 10_000)]
        r = w.patch("/data/weft-toy:toys", {"weft-toy:toys": {"box": boxes}})
        assert r.status_code == 204, r.text
    return MANY


@pytest.mark.parametrize("accept", [JSON, XML])
def test_all_objects_in_bounded_memory(w, many, accept):
    w.get(TOYS + "/box=n1")
    before = w.rss()
    peak, n, last = before, 0, b""
    r = w.get(TOYS + "?content=config", headers={"Accept": accept}, stream=True)
    assert r.status_code == 200
    key = b'"name":"n' if accept == JSON else b"<name>n"
    for piece in r.iter_content(1 << 16):
        text = last + piece
        n += text.count(key) - last.count(key)
        last = text[-16:]
        peak = max(peak, w.rss())
    assert n == many and last.endswith(b"\n") and not last.endswith(b"\n\n")
    # the whole answer has megabytes; the daemon holds a queue of it (and the sanitizer's slack)
    assert peak - before < 48 << 20, f"grew by {(peak - before) >> 20} MiB"


def test_slow_readers_hold_nobody_up(w, many):
    """Forty readers who take nothing: others are served, memory stays where it is."""
    auth = base64.b64encode(f"admin:{w.password}".encode()).decode()
    before, slow = w.rss(), []
    for _ in range(40):
        s = w.tls_socket()
        s.sendall((f"GET /restconf{TOYS}?content=config HTTP/1.1\r\nHost: localhost\r\n"
                   f"Authorization: Basic {auth}\r\n\r\n").encode())
        slow.append(s)
    time.sleep(2)
    assert w.get(TOYS + "/box=n5?content=config").json() == box("n5", size="5")
    assert w.put(TOYS + "/box=n5", box("n5", size="55")).status_code == 204
    assert w.rss() - before < 96 << 20
    for s in slow:
        s.close()
    time.sleep(0.5)
    assert w.get(TOYS + "?content=config", headers={"Accept": XML}).status_code == 200
    assert w.alive()


def test_readers_who_hardly_read_give_way(w, many):
    """More of them than there are printers; each takes a little all the time, so none of them stalls."""
    slow, over = [], threading.Event()
    for _ in range(40):
        s = socket.socket(socket.AF_UNIX)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(w.unix)
        s.sendall((f"GET /restconf{TOYS}?content=config HTTP/1.1\r\nHost: localhost\r\n\r\n").encode())
        slow.append(s)

    def drip():
        while not over.wait(0.2):
            for s in slow:
                try:
                    s.recv(2048, socket.MSG_DONTWAIT)
                except OSError:
                    pass

    reader = threading.Thread(target=drip)
    reader.start()
    try:
        time.sleep(1)
        assert w.get(TOYS + "?content=config").text.count('"name":"n') == many
        for _ in range(3):
            assert w.get("//readyz").text == "ready\n"
    finally:
        over.set()
        reader.join()
        for s in slow:
            s.close()
    assert "hardly reads its answer while others wait" in w.log_text()


def test_reader_that_goes_away(w, many):
    for _ in range(5):
        r = w.get(TOYS + "?content=config", stream=True)
        next(r.iter_content(1000))
        r.close()
    assert w.get(TOYS + "/box=n1").status_code == 200


def test_delete_and_put_back_as_one(w, many):
    before = len(w.get(TOYS + "?fields=box/name&content=config").json()["weft-toy:toys"]["box"])
    assert before == many
    r = w.delete(TOYS + "?commit-force")
    assert r.status_code == 204, r.text
    assert w.get(TOYS + "?content=config").json() == {"weft-toy:toys": {}}


# ---- event streams

class Stream:
    def __init__(self, w, path, headers=None, session=None, timeout=60):
        self.r = (session or w.session()).get(w.base + path, stream=True, timeout=timeout, headers={
            "Accept": "text/event-stream", **(headers or {})})
        self.lines = self.r.iter_lines()

    def next(self):
        """The next event as a dict of its fields."""
        event = {}
        for line in self.lines:
            line = line.decode()
            if line == "" and event:
                return event
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                event[name] = event.get(name, "") + value

    def close(self):
        self.r.close()


def test_events_json_and_xml(w):
    j, x = Stream(w, "/streams/NETCONF/json"), Stream(w, "/streams/NETCONF/xml")
    assert j.r.headers["content-type"] == "text/event-stream"
    number = w.put(TOYS + "/box=event", box("event")).headers["weft-commit"]
    e = j.next()
    n = json.loads(e["data"])["ietf-restconf:notification"]
    assert n["weft-system:commit"]["number"] == number and n["eventTime"].endswith("Z")
    assert f"<number>{number}</number>" in x.next()["data"]
    # who comes back with the id of the last event gets what was missed
    j.close()
    missed = w.put(TOYS + "/box=event", box("event", size="3")).headers["weft-commit"]
    again = Stream(w, "/streams/NETCONF/json", {"Last-Event-ID": e["id"]})
    assert json.loads(again.next()["data"])["ietf-restconf:notification"]["weft-system:commit"][
        "number"] == missed
    stranger = Stream(w, "/streams/NETCONF/json", {"Last-Event-ID": "other-7"})
    assert stranger.next()["event"] == "resync"
    for s in (x, again, stranger):
        s.close()


def test_replay(w):
    w.put(TOYS + "/box=replay", box("replay", size="9"))
    s = Stream(w, "/streams/NETCONF/json?start-time=2020-01-01T00:00:00Z")
    first = s.next()
    assert "data" in first or first["event"] == "resync"
    s.close()
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    s = Stream(w, f"/streams/NETCONF/json?start-time=2020-01-01T00:00:00Z&stop-time={now}")
    while s.next() is not None:
        pass  # it ends by itself
    for query, status in (("start-time=2100-01-01T00:00:00Z", 400), ("stop-time=2020-01-01T00:00:00Z", 400),
                          ("start-time=x", 400), ("depth=1", 400)):
        assert w.get("//streams/NETCONF/json?" + query).status_code == status
    assert w.get("//streams/NONE").status_code == 404
    assert error_of(w.get("//streams/NETCONF/json", headers={"Accept": "text/html"}))[0] == 406


def test_stream_needs_a_login_and_shows_what_one_may_read(w):
    assert w.get("//streams/NETCONF/json", session=w.session(None)).status_code == 401
    system = "/data/weft-system:system"
    w.put(f"{system}/role=r", {"weft-system:role": [
        {"name": "r", "right": [{"path": "/weft-toy:toys", "access": "read"}]}]})
    w.put(f"{system}/user=u", {"weft-system:user": [{"name": "u", "role": ["r"]}]})
    assert w.post("/operations/weft-system:password", {"weft-system:input": {
        "user": "u", "password": "password-u"}}).ok
    s = Stream(w, "/streams/NETCONF/json?start-time=2020-01-01T00:00:00Z&stop-time=2030-01-01T00:00:00Z",
               session=w.session("u", "password-u"), timeout=3)
    w.put(TOYS + "/box=quiet", box("quiet"))
    with pytest.raises(requests.exceptions.RequestException):  # nothing comes until we give up
        s.next()
    s.close()


def test_streams_of_one_user_are_limited(w):
    streams = [Stream(w, "/streams/NETCONF/json") for _ in range(32)]
    r = w.get("//streams/NETCONF/json", headers={"Accept": "text/event-stream"})
    assert r.status_code == 503 and "has 32 event streams open" in r.text
    for s in streams:
        s.close()


@pytest.mark.parametrize("how", ["revoked", "disabled", "deleted"])
def test_a_stream_ends_with_its_login(w, how):
    user = "/data/weft-system:system/user=s-" + how
    w.put("/data/weft-system:system/role=all", {"weft-system:role": [
        {"name": "all", "right": [{"path": "/", "access": "read"}]}]})
    w.put(user, {"weft-system:user": [{"name": "s-" + how, "role": ["all"]}]})
    made = w.post("/operations/weft-system:token-create", {"weft-system:input": {"user": "s-" + how}}).json()
    token = made["weft-system:output"]
    s = Stream(w, "/streams/NETCONF/json", session=w.session(None), headers={"Authorization": "Bearer " + token["token"]})
    other = Stream(w, "/streams/NETCONF/json")
    assert w.put(TOYS + "/box=heard", box("heard")).ok
    assert "weft-system:commit" in s.next()["data"] and "weft-system:commit" in other.next()["data"]
    if how == "disabled":
        assert w.patch(user, {"weft-system:user": [{"name": "s-" + how, "disabled": True}]}).ok
    else:
        assert w.post("/operations/weft-system:token-revoke", {"weft-system:input": {"id": token["id"]}}).ok
    if how == "deleted":
        assert w.delete(user).ok
    assert w.delete(TOYS + "/box=heard").ok
    assert s.next() is None
    assert other.next() is not None
    other.close()


def test_slow_stream_gets_a_resync(w):
    """A client that does not read while thousands of events pass is told to look again."""
    s = socket.socket(socket.AF_UNIX)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(w.unix)
    s.sendall(b"GET /streams/NETCONF/json HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert s.recv(12) == b"HTTP/1.1 200"
    comment = "x" * 250
    before = w.rss()

    async def writes(k):
        connection = await asyncio.open_unix_connection(w.unix)
        for i in range(60):
            status, _, text = await exchange(
                *connection, "PUT", f"{TOYS}/box=ev{k}?commit-comment={comment}",
                json.dumps(box(f"ev{k}", size=str(i))).encode(), content_type=JSON)
            assert status in (201, 204), text
        connection[1].close()

    async def everybody():
        await asyncio.gather(*(writes(k) for k in range(100)))

    asyncio.run(everybody())
    assert w.rss() - before < 64 << 20
    s.settimeout(60)
    seen, until = b"", time.time() + 240
    while b"event: resync" not in seen and time.time() < until:
        seen = seen[-64:] + s.recv(1 << 20)
    assert b"event: resync" in seen
    s.close()


# ---- restart

def test_everything_is_there_after_a_kill(w):
    number = w.put(TOYS + "/box=kept", box("kept", size="5")).headers["weft-commit"]
    w.p.kill()
    w.p.wait()
    w.start()
    assert w.get(TOYS + "/box=kept").json() == box("kept", size="5")
    assert int(w.put(TOYS + "/box=kept", box("kept", size="6")).headers["weft-commit"]) > int(number)


def test_first_start_leaves_secrets_to_their_owner_only(w):
    for name in ("admin-password", "pki/ca.key", "pki/server.key"):
        assert os.stat(os.path.join(w.data, name)).st_mode & 0o077 == 0
    assert os.stat(w.data).st_mode & 0o077 == 0 and os.stat(os.path.join(w.data, "pki")).st_mode & 0o077 == 0


def test_clear_text_takes_no_passwords_unless_asked(w, tmp_path):
    d = Weftd(tmp_path, args=["--listen-clear-text", "127.0.0.1:0"])
    try:
        url = f"http://localhost:{d.ports['clear']}/restconf"
        assert d.http.get(url).status_code == 200  # asked for by name
        assert "CLEAR TEXT" in d.log_text()
    finally:
        d.stop()


def test_client_certificate_is_a_login(w, tmp_path):
    """A user's certificate is; a gateway's of the same name and authority is not."""
    weftd = os.path.join(os.environ.get("WEFT_BUILD", "build"), "src", "weftd", "weftd")
    issue = lambda folder, *a: subprocess.run([weftd, "issue", "admin", str(tmp_path / folder), "--data",
                                               w.data, *a], check=True, capture_output=True)
    issue("user", "--user")
    issue("gateway")
    crt, key = (str(tmp_path / "user" / n) for n in ("cert.pem", "key.pem"))
    curl = lambda *a: subprocess.run(["curl", "-sS", "--cacert", w.ca, *a, w.base + "/restconf"],
                                     capture_output=True, text=True).stdout
    assert "access-denied" in curl("--cert", str(tmp_path / "gateway" / "cert.pem"), "--key",
                                   str(tmp_path / "gateway" / "key.pem"))
    assert "ietf-restconf:restconf" in curl("--cert", crt, "--key", key)
    assert "access-denied" in curl()
