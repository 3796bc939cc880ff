# SPDX-License-Identifier: Apache-2.0
"""Where log lines go: files that are rotated, syslog servers, forms and levels, at run time."""
import gzip
import json
import os
import re
import signal
import socket
import time

import pytest

from weftd import Weftd, error_of

AT = "/data/weft-system:system/logging"
RFC5424 = re.compile(r"<(\d+)>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (\S+) weftd (\d+) (\S+) - (.*)", re.S)


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    d = Weftd(tmp_path_factory.mktemp("weftd"), toy=False)
    yield d
    d.stop()


@pytest.fixture(autouse=True)
def nothing_left(w):
    yield
    w.delete(AT)


def logging(w, **given):
    r = w.put(AT, {"weft-system:logging": given})
    assert r.status_code in (201, 204), r.text


def path(w, name=""):
    return os.path.join(w.data, "log", name)


def text(w, name):
    with open(path(w, name), encoding="utf-8") as f:
        return f.read()


def line(w, word):
    """Makes weftd log something that has the word in it: a commit, at level debug."""
    r = w.put("/data/weft-system:system/settings", {"weft-system:settings": {"location": word}})
    assert r.status_code in (201, 204), r.text


def wait_for(fits):
    until = time.time() + 60
    while not fits():
        assert time.time() < until
        time.sleep(0.05)


def test_a_file_and_levels_at_run_time(w):
    logging(w, file={"name": "weft.log"}, module=[{"name": "change", "level": "debug"}])
    line(w, "a")
    assert re.search(r"^\S+Z DEBUG change: commit \d+ by admin", text(w, "weft.log"), re.M)
    assert os.stat(path(w, "weft.log")).st_mode & 0o777 == 0o600
    logging(w, file={"name": "weft.log", "format": "json"})
    n = len(text(w, "weft.log"))
    line(w, "b")
    assert text(w, "weft.log")[n:] == ""  # debug no more
    logging(w, file={"name": "weft.log", "format": "json"}, level="debug")
    line(w, "c")
    new = [json.loads(x) for x in text(w, "weft.log")[n:].splitlines()]
    assert any(x["module"] == "change" and x["level"] == "debug" and x["message"].startswith("commit ")
               for x in new), new
    # Moved away by somebody else (logrotate): SIGHUP begins it anew.
    os.rename(path(w, "weft.log"), path(w, "moved"))
    w.p.send_signal(signal.SIGHUP)
    wait_for(lambda: os.path.exists(path(w, "weft.log")))


def test_rotation_compresses_and_bounds(w):
    logging(w, file={"name": "small.log", "size": 16, "files": 2}, level="debug")

    def former():
        return sorted(n for n in os.listdir(path(w)) if n.startswith("small.log."))
    for i in range(2000):
        line(w, f"{i} " + "x" * 200)
        if len(former()) == 2 and i > 400:
            break
    wait_for(lambda: len(former()) == 2 and all(n.endswith(".gz") for n in former()))
    for n in former():
        with gzip.open(path(w, n), "rt", encoding="utf-8") as f:
            assert "DEBUG" in f.read()
        assert os.stat(path(w, n)).st_mode & 0o777 == 0o600
    assert os.path.getsize(path(w, "small.log")) <= 16 * 1024


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_syslog(w, transport):
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        s.settimeout(60)
        if transport == "tcp":
            s.listen()
        logging(w, level="debug", syslog=[{"name": "noc", "address": "127.0.0.1", "transport": transport,
                                           "port": s.getsockname()[1], "facility": 17, "level": "debug"}])
        line(w, "to the server")
        if transport == "udp":
            got = s.recv(65536).decode()
        else:
            conn, _ = s.accept()
            f = conn.makefile("rb")
            digits = b""
            while not digits.endswith(b" "):
                digits += f.read(1)
            got = f.read(int(digits)).decode()
            f.close()
            conn.close()
        m = RFC5424.fullmatch(got)
        assert m, got
        assert int(m[1]) // 8 == 17 and int(m[1]) % 8 in (3, 4, 6, 7) and int(m[4]) == w.p.pid


def test_a_dead_server_holds_up_nothing(w):
    logging(w, level="debug", file={"name": "beside.log"},
            syslog=[{"name": "dead", "address": "127.0.0.1", "transport": "tcp", "port": 1},
                    {"name": "gone", "address": "192.0.2.1", "transport": "tcp"}])
    for i in range(20):
        line(w, f"{i}")
    assert text(w, "beside.log").count("commit ") >= 20


def test_forms_of_the_console(w):
    logging(w, console={"format": "journal"}, level="debug")
    line(w, "for the journal")
    assert re.search(r"^<7>change: commit \d+ by admin", w.log_text(), re.M)
    logging(w, console={"format": "json"}, level="debug")
    line(w, "as an object")
    assert re.search(r'^\{"time":"[^"]+","level":"debug","module":"change","message":"commit ', w.log_text(), re.M)


def test_over_a_restart(w):
    logging(w, file={"name": "again.log"}, level="debug")
    w.stop()
    w.start()
    assert "is ready" in text(w, "again.log")


@pytest.mark.parametrize("given, says", [
    ({"file": {"name": "../x"}}, "name of a log file"),
    ({"file": {"name": ".x"}}, "name of a log file"),
    ({"file": {"name": "x", "size": 1}}, "size"),
    ({"rate-limit": 5}, "rate-limit"),
    ({"syslog": [{"name": "a"}]}, "needs an address"),
    ({"syslog": [{"name": "a", "transport": "local", "address": "127.0.0.1"}]}, "needs an address"),
    ({"syslog": [{"name": "a", "address": "somewhere.net"}]}, "address"),
    ({"syslog": [{"name": "a", "address": "127.0.0.1", "port": 0}]}, "port"),
    ({"syslog": [{"name": "a", "address": "127.0.0.1", "facility": 24}]}, "facility"),
    ({"syslog": [{"name": f"a{i}", "address": "127.0.0.1"} for i in range(5)]}, "syslog"),
    ({"console": {"format": "pink"}}, "format"),
])
def test_bad_input(w, given, says):
    r = w.put(AT, {"weft-system:logging": given})
    assert 400 <= r.status_code < 500, r.text
    _, _, where, message = error_of(r)
    assert says in message or says in (where or ""), r.text
    assert w.get(AT).status_code == 404
