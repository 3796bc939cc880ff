# SPDX-License-Identifier: Apache-2.0
"""SIGTERM in the middle of everything, and a second weftd on the same folder."""
import http.client
import os
import signal
import subprocess
import threading
import time

from weftd_lab import Weftd, binary

PROFILES = "weft-apm:apm/pool-domain-profile"


def body(name, value):
    return {"weft-apm:pool-domain-profile": [
        {"name": name, "apportion-threshold": value, "reclaim-threshold": 16000000}]}


def put(weftd, name, value, conn=None):
    return weftd.ask("PUT", f"{PROFILES}={name}", body(name, value), conn=conn)


def value_of(weftd, name):
    r = weftd.ask("GET", f"{PROFILES}={name}/apportion-threshold")
    return r.json()["weft-apm:apportion-threshold"] if r.status == 200 else None


class Client(threading.Thread):
    """Writes and reads until it is turned away; an answer is whole or there is none."""

    def __init__(self, weftd, name, tls):
        super().__init__()
        self.weftd, self.name_, self.tls = weftd, name, tls
        self.acked, self.tried, self.wrong = 0, 0, None

    def run(self):
        try:
            conn = self.weftd.tls_connection() if self.tls else self.weftd.connection()
            ask = self.weftd.ask_tls if self.tls else lambda *a: self.weftd.ask(*a, conn=conn)
            while True:
                self.tried += 1
                r = ask("PUT", f"{PROFILES}={self.name_}", body(self.name_, self.tried))
                if r.status not in (201, 204, 503):
                    self.wrong = repr(r)
                    return
                if r.status != 503:
                    self.acked = self.tried
                r = ask("GET", f"{PROFILES}={self.name_}")
                if r.status == 200 and r.json()["weft-apm:pool-domain-profile"][0]["apportion-threshold"] < self.acked:
                    self.wrong = f"{r} after {self.acked}"
                    return
        except (http.client.HTTPException, OSError):
            pass  # the daemon has ended


def test_sigterm_under_load(tmp_path):
    weftd = Weftd(tmp_path)
    acked = {}
    try:
        for turn in range(3):
            weftd.start()
            clients = [Client(weftd, f"c{turn}-{i}", tls=i % 4 == 3) for i in range(8)]
            # somebody who listens, somebody who does not read, and somebody at a prompt
            events = weftd.connection()
            events.request("GET", "/streams/NETCONF/json", headers={"accept": "text/event-stream"})
            assert events.getresponse().status == 200
            lazy = weftd.connection()
            lazy.request("GET", "/restconf/data?content=config")
            weftd.session().run("configure private")
            monitor = subprocess.Popen([binary("cli", "weft"), "monitor", "events"], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       env={**os.environ, "WEFT_SOCKET": weftd.socket})
            for c in clients:
                c.start()
            end = time.monotonic() + 30
            while any(c.acked < 3 for c in clients):
                assert time.monotonic() < end and all(c.wrong is None for c in clients)
                time.sleep(0.01)
            weftd.stop(seconds=60)  # and the status is 0
            for c in clients:
                c.join(60)
                assert not c.is_alive() and c.wrong is None, c.wrong
                acked[c.name_] = (c.acked, c.tried)
            monitor.wait(60)
            assert "stopping" in weftd.log()
            r = weftd.check()
            assert r.returncode == 0 and "0 problems" in r.stdout, r.stdout + r.stderr
        weftd.start()
        for name, (at_least, at_most) in acked.items():
            # What was under way at the end may have been written without an answer.
            assert at_least <= value_of(weftd, name) <= at_most, name
        weftd.stop()
    finally:
        weftd.kill()
        if os.path.exists(weftd.socket):
            os.unlink(weftd.socket)


def second(weftd, data, *more):
    return subprocess.run([weftd.program, "--data", data, "--listen", "127.0.0.1:0", "--listen-apmi", "none", *more],
                          capture_output=True, text=True, timeout=60, check=False)


def test_a_second_weftd_is_refused(tmp_path):
    with Weftd(tmp_path / "w") as weftd:
        assert put(weftd, "a", 1).status == 201
        pki = os.path.join(weftd.data, "pki")
        before = {f: os.stat(os.path.join(pki, f)).st_mtime_ns for f in os.listdir(pki)}
        # A certificate that a start would make anew: the second one must not even come so far.
        os.rename(os.path.join(pki, "server.pem"), os.path.join(pki, "away"))
        sentence = (f"{weftd.data}: another weftd (process {weftd.process.pid}) runs on this data folder; stop it first, "
                    "or give this one a folder of its own with --data")
        for more in ((), ("--unix", str(tmp_path / "other.sock")), ("--store", f"sqlite:{tmp_path}/other.db")):
            r = second(weftd, weftd.data, *more)
            assert r.returncode == 1 and sentence in r.stderr, r.stderr
            assert "listening" not in r.stderr and "made" not in r.stderr
        assert not os.path.exists(os.path.join(pki, "server.pem"))
        os.rename(os.path.join(pki, "away"), os.path.join(pki, "server.pem"))
        assert before == {f: os.stat(os.path.join(pki, f)).st_mtime_ns for f in os.listdir(pki)}
        # Another folder, but the same store: the log says so.
        r = second(weftd, str(tmp_path / "other"), "--store", f"sqlite:{weftd.data}/weft.db")
        assert r.returncode == 1, r.stderr
        assert f"the log is open in another place (process {weftd.process.pid})" in r.stderr
        # The first one has not noticed.
        assert put(weftd, "a", 2).status == 204
        assert os.path.exists(weftd.socket) and weftd.ask("GET", "/readyz", accept="*/*").status == 200
        # It goes with the process, however that ends.
        weftd.process.send_signal(signal.SIGKILL)
        weftd.process.wait()
        weftd.start()
        assert value_of(weftd, "a") == 2


def test_a_folder_that_cannot_be_used(tmp_path):
    file = tmp_path / "file"
    file.write_text("no folder")
    r = subprocess.run([binary("src", "weftd", "weftd"), "--data", str(file), "--listen", "none",
                        "--listen-apmi", "none"], capture_output=True, text=True, timeout=60, check=False)
    assert r.returncode == 1 and str(file) in r.stderr and "listening" not in r.stderr, r.stderr


