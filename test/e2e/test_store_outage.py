# SPDX-License-Identifier: Apache-2.0
"""A disk that refuses to sync, and one that is full: the real weftd goes on reading, refuses to write with the
reason, and writes again by itself. The first over src/log/vfs_power.c, whose faults are switched through a file
and which at a kill loses what was not synced; the second on a small file system of its own."""
import os
import re
import subprocess
import threading
import time

import pytest

from weftd_lab import Weftd, binary

PROFILES = "weft-apm:apm/pool-domain-profile"


def put(weftd, name, value, n=1, **kw):
    """One profile, or n of them in one commit; its threshold is `value`."""
    many = [{"name": name if n == 1 else f"{name}-{i}", "apportion-threshold": value,
             "reclaim-threshold": 16000000} for i in range(n)]
    if n > 1:
        return weftd.ask("PATCH", "weft-apm:apm", {"weft-apm:apm": {"pool-domain-profile": many}}, **kw)
    return weftd.ask("PUT", f"{PROFILES}={name}", {"weft-apm:pool-domain-profile": many}, **kw)


def value_of(weftd, name):
    r = weftd.ask("GET", f"{PROFILES}={name}/apportion-threshold")
    return r.json()["weft-apm:apportion-threshold"] if r.status == 200 else None


def until(what, seconds, fn):
    end = time.monotonic() + seconds
    while not fn():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)


class Events(threading.Thread):
    """Names and data of what the event stream says."""

    def __init__(self, weftd):
        super().__init__(daemon=True)
        self.conn = weftd.connection(timeout=None)
        self.conn.request("GET", "/streams/NETCONF/json", headers={"accept": "text/event-stream"})
        self.r = self.conn.getresponse()
        assert self.r.status == 200
        self.seen = []
        self.start()

    def run(self):
        try:
            for line in self.r:
                m = re.match(r'data: .*"(weft-system:[a-z-]+)":', line.decode())
                if m:
                    self.seen.append((m.group(1), line.decode()))
        except (OSError, ValueError):
            pass  # the daemon has ended

    def has(self, name):
        return any(n == name for n, _ in self.seen)


def refused(weftd, reason, file="refused"):
    """Every way to change something is refused with the reason and the time; every way to look works."""
    r = put(weftd, file, 1)
    assert r.status == 503, r
    (e,) = r.errors
    assert e["error-tag"] == "operation-failed"
    assert re.match(r"the store can't be written since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ: ", e["error-message"]), e
    assert reason in e["error-message"]
    out = weftd.cli("configure private", f"set apm pool-domain-profile {file} apportion-threshold 1",
                    f"set apm pool-domain-profile {file} reclaim-threshold 9999", "commit", status=None)
    assert "the store can't be written since" in out and reason in out and "nothing was changed" in out, out
    r = weftd.ask("GET", "/healthz", accept="*/*")
    assert (r.status, r.text) == (200, "ok\n")
    r = weftd.ask("GET", "/readyz", accept="*/*")
    assert r.status == 503 and "can't be written since" in r.text and reason in r.text, r
    assert weftd.metric("weft_store_writable") == 0
    assert abs(weftd.metric("weft_store_unwritable_since_seconds") - time.time()) < 600
    assert weftd.ask("GET", PROFILES + "=before").status == 200
    assert weftd.ask("GET", "weft-system:system/state").status == 200
    assert "Rollback" in weftd.cli("show system commit")
    assert re.search(r"Writable +: not since .*" + re.escape(reason), weftd.cli("show system storage"))
    assert value_of(weftd, file) is None


def ready(weftd):
    r = weftd.ask("GET", "/readyz", accept="*/*")
    return r.status == 200


class Disk:
    """What weftd's disk does, through the file that the preloaded VFS looks at."""

    def __init__(self, folder):
        self.file = os.path.join(str(folder), "faults")
        asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        self.env = {"LD_PRELOAD": binary("src", "log", "libvfs_power.so"), "ASAN_OPTIONS": asan.lstrip(":"),
                    "WEFT_POWER_FAULTS": self.file}

    def fails(self, how):
        with open(self.file + ".new", "w", encoding="ascii") as f:
            f.write(how)
        os.rename(self.file + ".new", self.file)

    def works(self):
        os.unlink(self.file)


@pytest.fixture(name="site")
def fixture_site(tmp_path):
    disk = Disk(tmp_path)
    weftd = Weftd(tmp_path / "w", env=disk.env)
    with weftd:
        yield weftd, disk


def after_a_kill(weftd, present, absent):
    weftd.kill()
    weftd.start()
    for name, value in present.items():
        assert value_of(weftd, name) == value, name
    for name in absent:
        assert value_of(weftd, name) is None, name
    weftd.stop()
    r = weftd.check()
    assert r.returncode == 0, r.stdout + r.stderr


# proves: APM-124
def test_failed_syncs_are_got_over(site):
    weftd, disk = site
    assert put(weftd, "before", 1).status == 201
    events = Events(weftd)
    disk.fails("sync")
    refused(weftd, "disk I/O error")
    until("the event", 60, lambda: events.has("weft-system:store-unwritable"))
    time.sleep(3)  # tried again meanwhile, in vain
    refused(weftd, "disk I/O error")
    disk.works()
    until("the store can be written", 60, lambda: ready(weftd))
    until("the event", 60, lambda: events.has("weft-system:store-writable-again"))
    assert put(weftd, "after", 2).status == 201
    assert weftd.metric("weft_store_writable") == 1
    assert weftd.metric("weft_store_outages_total") == 1
    assert weftd.metric("weft_store_reopens_total") >= 1
    assert "Writable        : yes" in weftd.cli("show system storage")
    after_a_kill(weftd, {"before": 1, "after": 2}, ["refused"])


def test_failed_writes_are_got_over(site):
    weftd, disk = site
    assert put(weftd, "before", 1).status == 201
    disk.fails("write")
    refused(weftd, "disk I/O error")
    disk.works()
    assert put(weftd, "after", 2).status == 201  # at once: somebody who comes is the test
    assert ready(weftd)
    after_a_kill(weftd, {"before": 1, "after": 2}, ["refused"])


class Writer(threading.Thread):
    """Writes one object again and again; knows what was answered."""

    def __init__(self, weftd, name):
        super().__init__()
        self.weftd, self.name_, self.stop = weftd, name, threading.Event()
        self.acked, self.tried, self.refused, self.wrong = 0, 0, 0, None

    def run(self):
        conn = self.weftd.connection()
        while not self.stop.is_set() and self.wrong is None:
            self.tried += 1
            r = put(self.weftd, self.name_, self.tried, conn=conn)
            if r.status in (201, 204):
                self.acked = self.tried
            elif r.status == 503:
                self.refused += 1
                time.sleep(0.02)
            else:
                self.wrong = repr(r)


def test_faults_under_load(site):
    weftd, disk = site
    writers = [Writer(weftd, f"w{i}") for i in range(4)]
    for w in writers:
        w.start()
    for how in ("sync", "full", "sync", "write"):
        until("all write", 60, lambda: all(w.acked == w.tried - 1 or w.acked == w.tried for w in writers))
        before = [w.acked for w in writers]
        until("all have written", 60, lambda: all(w.acked > b for w, b in zip(writers, before)))
        disk.fails(how)
        until("the outage", 60, lambda: not ready(weftd))
        told = [w.refused for w in writers]
        until("all were refused", 60, lambda: all(w.refused > t for w, t in zip(writers, told)))
        disk.works()
        until("the store can be written", 60, lambda: ready(weftd))
    for w in writers:
        w.stop.set()
    for w in writers:
        w.join()
        assert w.wrong is None, w.wrong
    after_a_kill(weftd, {w.name_: w.acked for w in writers}, [])


@pytest.fixture(name="small_disk")
def fixture_small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-n", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-n", str(folder)], check=True)


def fill(path):
    """A file that takes all the room there is."""
    with open(path, "wb", buffering=0) as f:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    f.write(b"x" * size)
            except OSError:
                pass


# proves: APM-124
def test_a_full_disk_heals_by_itself(tmp_path, small_disk):
    weftd = Weftd(tmp_path / "w")
    weftd.data = str(small_disk / "data")
    with weftd:
        assert put(weftd, "before", 1).status == 201
        fill(small_disk / "filler")
        # The write-ahead log was given room beforehand, which takes some more: large ones first, then small.
        acked = {}
        for name, n in (("bulk", 200), ("small", 1)):
            for value in range(1, 3000):
                r = put(weftd, name, value, n=n)
                if r.status == 503:
                    break
                assert r.status in (200, 201, 204), r
                acked[name] = value
            assert r.status == 503 and "full" in r.errors[0]["error-message"], r
        refused(weftd, "full")
        time.sleep(3)  # tried again meanwhile, in vain
        refused(weftd, "full")
        os.unlink(small_disk / "filler")
        until("the store can be written", 60, lambda: ready(weftd))
        assert put(weftd, "after", 2).status == 201
        after_a_kill(weftd, {"before": 1, "after": 2, "bulk-7": acked["bulk"], "small": acked["small"]}, ["refused"])
