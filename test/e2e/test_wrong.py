# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with a machine: clocks that jump, disks that fill or lie, pages and backups that are damaged, stores
of a newer program, certificates that end while weftd runs. The table in docs/operate.md ("When something goes wrong")
says what comes of each; here each row is tried, on the sqlite store and, where it differs, on three nodes over etcd.
test_store_outage.py has failing and full disks below sqlite, test_cluster.py the majority of etcd."""
import glob
import os
import random
import re
import shutil
import sqlite3
import struct
import subprocess
import time

import grpc
import pytest

from test_cluster import Cluster
from test_store_outage import Disk, Events, put, ready, until, value_of
from weftd_lab import Weftd, binary

DAY = 86400


class Clock:
    """The wall clock of one weftd."""

    def __init__(self, folder):
        self.file = os.path.join(str(folder), "shift")
        self.set(0)
        asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        self.env = {"LD_PRELOAD": binary("test", "libclock_shift.so"), "WEFT_CLOCK_SHIFT": self.file,
                    "ASAN_OPTIONS": asan.lstrip(":")}

    def set(self, seconds):
        with open(self.file, "r+b" if os.path.exists(self.file) else "w+b") as f:
            f.write(struct.pack("=q", seconds))


def run(weftd, *words):
    return subprocess.run([weftd.program, *words, "--data", weftd.data], capture_output=True, text=True, timeout=120)


# ---- clocks ---------------------------------------------------------------------------------------------------

def clock_events(events):
    return [int(re.search(r'"seconds":"(-?\d+)"', text).group(1)) for name, text in events.seen
            if name == "weft-system:clock-set"]


@pytest.mark.parametrize("first", [DAY, -DAY], ids=["forward", "back"])
def test_the_clock_jumps_by_a_day(tmp_path, first):
    """It is said; commits go on in their order, what was promised for so long lasts so long, dates are dates."""
    clock = Clock(tmp_path)
    with Weftd(tmp_path / "w", env=clock.env) as w:
        events = Events(w)
        w.cli("configure", "set system role look right / access read", "set system user ann role look", "commit")
        token = w.ask("POST", "/restconf/operations/weft-system:token-create",
                      {"weft-system:input": {"user": "ann", "days": 2}}).json()["weft-system:output"]["token"]

        def bearer():
            return w.ask("GET", "weft-system:system/role", conn=w.tls_connection(),
                         authorization=f"Bearer {token}").status
        assert bearer() == 200
        w.cli("configure", "set system settings location waiting", "commit confirmed 30")
        numbers = []
        for shift in (first, 0, 3 * DAY, 0):
            before = len(clock_events(events))
            clock.set(shift)
            until("the event", 60, lambda: len(clock_events(events)) > before)
            assert ready(w)
            assert put(w, f"at{len(numbers)}", 1).status == 201
            numbers.append(w.head())
            # It has half an hour, of which a minute is not over, whatever the time of day is.
            assert "waiting" in w.cli("show configuration system settings")
            assert bearer() == (401 if shift == 3 * DAY else 200)
        assert numbers == sorted(numbers)
        told = clock_events(events)
        assert [round(s / DAY) for s in told] == [first / DAY, -first / DAY, 3, -3], told
        assert "the clock of this machine was set by" in w.log()
        w.cli("configure", "commit")  # confirms
        clock.set(-DAY)
        w.kill()
        w.start()  # entries of the future are no hindrance
        assert put(w, "after", 1).status == 201
        assert [value_of(w, f"at{i}") for i in range(4)] == [1] * 4
        assert "0 problems" in w.cli("request system check")


# ---- stores and backups ------------------------------------------------------------------------------------------

def filled(w, n=300):
    assert put(w, "many", 5, n=n).status in (200, 201, 204)
    assert put(w, "one", 7).status == 201


def test_a_store_of_a_newer_version(tmp_path):
    """Nothing is changed by the older program, in the store or in a backup of it; both are named."""
    w = Weftd(tmp_path / "w")
    with w:
        filled(w, 3)
        w.cli("request system backup new.db")
    store = os.path.join(w.data, "weft.db")
    backup = os.path.join(w.data, "backup", "new.db")
    for path in (store, backup):
        with sqlite3.connect(path) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            db.execute(f"PRAGMA user_version={version + 1}")
        db.close()
    with open(store, "rb") as f:
        before = f.read()
    with pytest.raises(AssertionError, match="written by a newer Weft: .*start the newer program"):
        w.start()
    r = w.check()
    assert r.returncode == 1 and "weft.db: the log was written by a newer Weft" in r.stderr, r
    r = run(w, "restore", backup)
    assert r.returncode == 1 and "new.db: the backup was written by a newer Weft" in r.stderr, r
    with open(store, "rb") as f:
        assert f.read() == before
    with sqlite3.connect(store) as db:
        db.execute(f"PRAGMA user_version={version}")
    db.close()
    with w:
        assert value_of(w, "one") == 7


def spoil(path, at, n=64):
    with open(path, "r+b") as f:
        f.seek(at)
        old = f.read(n)
        f.seek(at)
        f.write(bytes(b ^ 0xa5 for b in old))


def spoil_text(path, text):
    """Everywhere in the file; also in the write-ahead log, which otherwise has a good copy of the page."""
    if not os.path.exists(path):
        return 0
    with open(path, "rb") as f:
        places = [m.start() for m in re.finditer(text, f.read())]
    for at in places:
        spoil(path, at, 4)
    return len(places)


def page_with(path, text):
    """Offset of the first and number of all pages that hold the text."""
    with open(path, "rb") as f:
        data = f.read()
    size = int.from_bytes(data[16:18], "big") or 65536
    return [at for at in range(0, len(data), size) if text in data[at:at + size]], size


# proves: APM-116
def test_a_damaged_page_of_the_log(tmp_path):
    """It is found by a check while it runs, and at the start, which serves nobody from half a store; the backup helps."""
    w = Weftd(tmp_path / "w")
    with w:
        filled(w)
        w.cli("request system backup good.db")
    store = os.path.join(w.data, "weft.db")
    pages, size = page_with(store, b"many-250")
    assert pages
    with w:
        spoil(store, pages[-1] + size // 2, 512)
        r = w.cli_raw(b"request system check\n")
        assert "0 problems" not in r.stdout and ("weft.db" in r.stdout + r.stderr), r
    r = w.check()
    assert r.returncode == 1 and "weft.db" in r.stdout + r.stderr and "0 problems" not in r.stdout, r
    try:
        w.start()
    except AssertionError as e:
        assert "weft.db" in str(e)
    else:  # everything that it needs is in the tables: it serves all there was, and says what is damaged when asked
        assert value_of(w, "many-250") == 5 and value_of(w, "one") == 7
        w.stop()
    r = run(w, "restore", os.path.join(w.data, "backup", "good.db"))
    assert r.returncode == 0 and "the former store is" in r.stdout, r
    with w:
        assert value_of(w, "many-250") == 5
    assert w.check().returncode == 0


def test_a_damaged_page_of_the_tables(tmp_path):
    """It is told, and the tables are made anew from the log, which has all that was in them."""
    w = Weftd(tmp_path / "w")
    with w:
        filled(w)
    tables = os.path.join(w.data, "weft.db-tables")
    assert spoil_text(tables, b"many-250") + spoil_text(tables + "-wal", b"many-250") > 0
    r = w.check()
    named = r.returncode == 1 and "weft.db-tables" in r.stdout + r.stderr
    assert named or "they are made anew from the log" in r.stderr, r
    if named:
        os.unlink(tables)
    w.start()
    assert value_of(w, "many-250") == 5 and value_of(w, "one") == 7
    w.stop()
    assert w.check().returncode == 0


def test_half_a_backup(tmp_path):
    """Cut at any length, or with bytes that are others, it is refused by name or restores all that was in it."""
    w = Weftd(tmp_path / "w")
    with w:
        filled(w, 40)
        w.cli("request system backup b.db")
        shown = w.cli("show configuration | display set")
    with open(os.path.join(w.data, "backup", "b.db"), "rb") as f:
        whole = f.read()
    rng = random.Random(16)
    bad = str(tmp_path / "bad.db")
    kinds = [("cut", n) for n in (0, 1, 100, 4096, 4097, len(whole) // 2, len(whole) - 4096, len(whole) - 1)]
    kinds += [("flipped", rng.randrange(len(whole))) for _ in range(12)]
    refused = 0
    for kind, at in kinds:
        with open(bad, "wb") as f:
            f.write(whole[:at] if kind == "cut" else whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1:])
        r = run(w, "restore", bad)
        if r.returncode == 0:  # a byte that means nothing, such as one in free room
            assert kind == "flipped", (kind, at)
            with w:
                assert w.cli("show configuration | display set") == shown, (kind, at)
        else:
            refused += 1
            assert r.returncode == 1 and "bad.db" in r.stderr, (kind, at, r)
            assert not [n for n in os.listdir(w.data) if "restoring" in n], (kind, at)
    assert refused >= 8
    with w:
        assert w.cli("show configuration | display set") == shown


def test_a_backup_onto_a_full_disk(tmp_path):
    """It is refused with the place; nothing that could be taken for a backup is left, one that was there stays."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-n", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(small)], check=True)
    try:
        with Weftd(tmp_path / "w") as w:
            filled(w, 3)
            w.cli(f"request system backup {small}/one.db")
            kept = (small / "one.db").read_bytes()
            for i in range(4):
                assert put(w, f"bulk{i}", 1, n=700).status in (200, 201, 204)
            r = w.cli_raw(f"request system backup {small}/one.db\n".encode())
            assert r.returncode == 1 and "one.db" in r.stderr and "full" in r.stderr, r
            assert os.listdir(small) == ["one.db"] and (small / "one.db").read_bytes() == kept
            assert put(w, "after", 1).status == 201
    finally:
        subprocess.run(["umount", "-n", str(small)], check=True)


# ---- certificates ------------------------------------------------------------------------------------------------

def test_certificates_end_while_it_runs(tmp_path):
    """The server's own is renewed; a user's that has ended is turned away with the reason, and opened nothing."""
    clock = Clock(tmp_path)
    with Weftd(tmp_path / "w", env=clock.env) as w:
        w.cli("configure", "set system role all right / access read", "set system user ann role all", "commit")
        cert = w.certificate("ann", user=True)

        def asks(insecure=False):
            return subprocess.run(["curl", "-s", "-S", "-m", "30", "-o", "/dev/null", "-w", "%{http_code}", "--cert",
                                   f"{cert}/cert.pem", "--key", f"{cert}/key.pem", "--cacert",
                                   f"{w.data}/pki/ca.pem", *(["-k"] if insecure else []),
                                   f"https://localhost:{w.ports['tls']}/restconf/data/weft-system:system/role"],
                                  capture_output=True, text=True, timeout=60)
        r = asks()
        assert r.stdout == "200", r
        with open(f"{w.data}/pki/server.pem", "rb") as f:
            first = f.read()
        clock.set(830 * DAY)  # both have 825 days
        until("the renewal", 60, lambda: w.log().count("made a server certificate") == 2)
        with open(f"{w.data}/pki/server.pem", "rb") as f:
            assert f.read() != first
        until("it is used", 60, lambda: "the certificate was read again" in w.log())
        r = asks(insecure=True)  # the new one is of the future for this client, whose clock is right
        assert r.returncode != 0 and r.stdout != "200", r
        until("the log says so", 60, lambda: "certificate has expired" in w.log())
        clock.set(0)
        until("the clock was set back", 60, lambda: w.log().count("the clock of this machine was set by") == 2)
        assert asks(insecure=True).stdout == "200"


# ---- three nodes over etcd -----------------------------------------------------------------------------------------

@pytest.fixture(name="cluster", scope="module")
def fixture_cluster(tmp_path_factory):
    with Cluster(str(tmp_path_factory.mktemp("wrong"))) as c:
        yield c


def with_env(node, env):
    """Starts the node again with more in its environment."""
    node.p.terminate()
    node.p.wait(60)
    node.env = {k: v for k, v in env.items() if k != "ASAN_OPTIONS"}
    node.start()
    node.wait_till_it_serves()


def test_clocks_of_nodes_jump(cluster, tmp_path):
    """Leads, leases and their order don't hang on the time of day: who leads goes on to, and all agree."""
    clock = Clock(tmp_path)
    for n in cluster.nodes:
        with_env(n, clock.env)
    cluster.write_anywhere(60)
    leader = cluster.leader()
    for shift in (DAY, -DAY, 0):
        n_said = leader.log_text().count("the clock of this machine was set by")
        clock.set(shift)
        until("it is said", 60, lambda s=n_said:
               leader.log_text().count("the clock of this machine was set by") > s)
        assert cluster.leader() is leader
        assert cluster.write(leader).status == 201
        cluster.agree()
    for n in cluster.nodes:
        with_env(n, {})
    cluster.leader()
    cluster.agree()


@pytest.mark.parametrize("suffix", ["", "-tables"], ids=["log", "tables"])
def test_a_damaged_copy_of_a_node(cluster, suffix):
    """What etcd has can be had again: the node makes itself a new copy, and says so."""
    n = cluster.followers()[0]
    assert cluster.write(cluster.leader()).status == 201
    cluster.agree()
    n.p.terminate()
    n.p.wait(60)
    path = os.path.join(n.dir, f"replica.db{suffix}")
    with open(path, "r+b") as f:
        f.write(b"no database " * 400)
    for p in (path + "-wal", path + "-shm"):
        if os.path.exists(p):
            os.unlink(p)
    n.start()
    n.wait_till_it_serves()
    assert "anew" in n.log_text() or os.path.exists(os.path.join(n.dir, "replica.db.damaged")), n.log_text()
    cluster.agree()


def test_the_disk_of_a_copy_is_full(cluster, tmp_path):
    """etcd has what was answered; the node whose disk takes nothing says so, leads no more, and is well again when there is room."""
    disk = Disk(tmp_path)
    n = cluster.leader()
    with_env(n, disk.env)
    while cluster.leader() is not n:  # any of the others may follow who gives it away
        cluster.leader().ask("POST", "/restconf/operations/weft-system:cluster-switch")
        cluster.write_anywhere(60)
        for m in cluster.nodes:
            until("all follow", 60, m.ready)
    for how in ("full", "sync", "write"):
        disk.fails(how)
        try:
            for _ in range(3):
                for m in cluster.nodes:
                    cluster.write(m, 10)
            if how == "full":
                assert "this node's copy can't be written: can't keep the batch: database or disk is full" in n.log_text()
        finally:
            disk.works()
        cluster.write_anywhere(60)
        for m in cluster.nodes:
            until("all are well again", 90, m.ready)
        cluster.agree()
    with_env(n, {})
    cluster.agree()


def raise_nospace(port, member):
    """The alarm of a member whose quota is used up, without two gigabytes of it: AlarmRequest of etcd's rpc.proto."""
    number = b""
    while member:
        number += bytes([member & 0x7f | (0x80 if member > 0x7f else 0)])
        member >>= 7
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        channel.unary_unary("/etcdserverpb.Maintenance/Alarm")(b"\x08\x01\x10" + number + b"\x18\x01", timeout=20)


def shows(node):
    """False: nobody answers, as while a node that led starts over."""
    try:
        return node.ask("GET", "/restconf/data/weft-apm:apm?content=config").status == 200
    except OSError:
        return False


def test_etcd_is_full(cluster):
    """Its quota is used up: changes are refused with the reason, in every dialect alike, and looking goes on."""
    endpoints = ",".join(f"127.0.0.1:{m.port}" for m in cluster.members)

    def etcdctl(*words):
        return subprocess.run(["etcdctl", "--endpoints", endpoints, *words], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "ETCDCTL_API": "3"})
    ids = re.findall(r'"ID":(\d+)', etcdctl("member", "list", "-w", "json").stdout)
    assert len(ids) == 3
    raise_nospace(cluster.members[0].port, int(ids[0]))
    try:
        assert "NOSPACE" in etcdctl("alarm", "list").stdout
        r = cluster.write(cluster.leader())
        assert r.status == 503 and "space exceeded" in r.text, r.text
        for n in cluster.nodes:
            until("it shows", 60, lambda n=n: shows(n))
    finally:
        assert etcdctl("alarm", "disarm").returncode == 0
    cluster.write_anywhere(60)
    for n in cluster.nodes:
        until("all are well again", 90, n.ready)
    cluster.agree()


def test_a_newer_version_has_written_into_etcd(cluster):
    """A node of the older program doesn't start with it, names the reason, and changes nothing."""
    members = ",".join(f"127.0.0.1:{m.port}" for m in cluster.members)
    key = "/weft/newer/head"

    def etcdctl(*words, **kw):
        return subprocess.run(["etcdctl", "--endpoints", members, *words], capture_output=True, timeout=60,
                              env={**os.environ, "ETCDCTL_API": "3"}, **kw)
    value = etcdctl("get", "--print-value-only", "/weft/test/head").stdout[:-1]
    assert value[:1] == b"\x01"
    assert etcdctl("put", key, input=b"\x02" + value[1:]).returncode == 0
    before = etcdctl("get", "--prefix", "/weft/newer/").stdout
    n = cluster.nodes[0]
    folder = os.path.join(n.dir, "newer")
    os.mkdir(folder)
    r = subprocess.run([binary("src", "weftd", "weftd"), "--data", folder, "--listen", "none", "--listen-apmi", "none",
                        "--store", f"etcd:http://{members}/newer?replica={folder}/replica.db"],
                       capture_output=True, text=True, timeout=120)
    assert r.returncode == 1 and "written by a newer Weft" in r.stderr, r.stderr
    assert etcdctl("get", "--prefix", "/weft/newer/").stdout == before


def test_restored_into_etcd(cluster, tmp_path):
    """A backup of one controller, or of a cluster, becomes a store of another name; half of one becomes none."""
    w = Weftd(tmp_path / "w")
    with w:
        filled(w, 30)
        w.cli("request system backup b.db")
        shown = w.cli("show configuration | display set")
    backup = os.path.join(w.data, "backup", "b.db")
    members = ",".join(f"127.0.0.1:{m.port}" for m in cluster.members)
    there = f"etcd:http://{members}/restored?replica={w.data}/replica.db"
    with open(backup, "rb") as f:
        whole = f.read()
    half = tmp_path / "half.db"
    half.write_bytes(whole[:len(whole) // 2])
    r = run(w, "restore", str(half), "--store", there)
    assert r.returncode == 1 and "half.db" in r.stderr, r
    r = run(w, "restore", backup, "--store", there)
    assert r.returncode == 0 and "restored to etcd:" in r.stdout, r
    r = run(w, "check", "--store", there)
    assert r.returncode == 0 and "0 problems in etcd:" in r.stdout, r
    w.options = ["--store", there]
    with w:
        until("it leads", 60, lambda: put(w, "after", 1).status == 201)
        assert set(shown.splitlines()) <= set(w.cli("show configuration | display set").splitlines())
    # Another node's copy of the store that is restored over now: it is put aside, and made anew.
    for name in glob.glob(os.path.join(w.data, "replica.db*")):
        shutil.copy(name, name.replace("replica.db", "other.db"))
    r = run(w, "restore", backup, "--store", there)
    assert r.returncode == 0 and "the former store is the backup" in r.stdout, r
    w.options = ["--store", there.replace("replica.db", "other.db")]
    with w:
        until("it leads", 60, lambda: put(w, "after", 1).status in (201, 204))
        assert set(shown.splitlines()) <= set(w.cli("show configuration | display set").splitlines())
    assert os.path.exists(os.path.join(w.data, "other.db.former"))
    # One that was never a copy of this store stays, and the node says so.
    with open(os.path.join(w.data, "stranger.db"), "wb") as f:
        f.write(whole)
    r = subprocess.run([binary("src", "weftd", "weftd"), "--data", w.data, "--listen", "none", "--listen-apmi", "none",
                        "--store", there.replace("replica.db", "stranger.db")], capture_output=True, text=True, timeout=120)
    assert r.returncode == 1 and "a copy of another store" in r.stderr, r.stderr
