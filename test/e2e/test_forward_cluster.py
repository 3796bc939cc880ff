# SPDX-License-Identifier: Apache-2.0
"""Events to a webhook over changes of the leader: it is killed, gives the lead away, is paused, and is cut off from the
store, while changes go on at all nodes. The receiver does as docs/events.md says and skips an id that it has had; then it
has each event of an acknowledged change, in order, and the chain of `previous` has no gap."""
import os
import signal
import subprocess
import threading
import time

import pytest

from test_cluster import Cluster, NAMES, PATIENCE_S, free_ports, operation, until
from test_forward import SECRET, Receiver
from weftd_lab import binary

TARGETS = "/restconf/data/weft-forward:event-forwarding/target"
LOCATION = "/restconf/data/weft-system:system/settings/location"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    ports = dict(zip(NAMES, free_ports(len(NAMES))))
    with Cluster(str(tmp_path_factory.mktemp("cluster")),
                 {n: ["--listen-relay", f"127.0.0.1:{ports[n]}"] for n in NAMES}) as c:
        yield c


@pytest.fixture(scope="module")
def receiver(cluster, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("certificate"))
    subprocess.run([binary("src", "weftd", "weftd"), "issue", "localhost", folder, "--server", "--data", cluster.nodes[0].dir,
                    "--force"], check=True, capture_output=True, env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
    r = Receiver(folder).start()
    yield r
    r.stop()


@pytest.fixture
def target(cluster, receiver):
    """Two targets; the second does not answer, so that what the first has had waits all the time."""
    away = free_ports(1)[0]
    for name, port in (("noc", receiver.port), ("away", away)):
        part = {"url": f"https://localhost:{port}/", "ca-file": os.path.join(cluster.nodes[0].dir, "pki", "ca.pem"),
                "secret": SECRET}
        r = cluster.leader().ask("PUT", f"{TARGETS}={name}", {"weft-forward:target": [
            {"name": name, "type": "webhook", "webhook": part}]})
        assert r.status == 201, r.text
    with receiver.lock:
        receiver.got.clear()
    yield "noc"
    for name in ("noc", "away"):
        assert until(cluster.leader).ask("DELETE", f"{TARGETS}={name}").status == 204


class Writer:
    """Changes at one node after the other; `done`: the log index of each that was acknowledged."""

    def __init__(self, cluster):
        self.cluster, self.done, self.stop = cluster, [], False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def change(self, node, timeout=3):
        """Its text is a new one, so that there is something to commit."""
        text = f"place {time.monotonic_ns()}"
        try:
            r = node.ask("PUT", LOCATION, {"weft-system:location": text}, timeout)
        except OSError:
            return False
        if r.status in (201, 204):
            self.done.append(int(r.headers["weft-commit"]))
        return r.status in (201, 204)

    def run(self):
        while not self.stop:
            for n in self.cluster.nodes:
                if n.p.poll() is None:
                    self.change(n)
                time.sleep(0.02)

    def more(self, n):
        """Waits until so many more were acknowledged."""
        want = len(self.done) + n
        until(lambda: len(self.done) >= want, PATIENCE_S)

    def end(self):
        self.stop = True
        self.thread.join()
        until(lambda: any(self.change(n, 20) for n in self.cluster.nodes), PATIENCE_S)


def check(receiver, writer):
    """All of them, once their repetitions are left out, in order."""
    def indices():
        return {int(e["log-index"]) for e in receiver.events("weft-system:commit")}
    until(lambda: not set(writer.done) - indices(), PATIENCE_S)
    first, order = {}, []
    for e in receiver.events():
        number = int(e["id"])
        if number == 0:
            continue  # about one machine, or told while nothing can be written: has no number
        if number in first:
            assert e == first[number], "another event with the same id"
        else:
            first[number] = e
            order.append(e)
    assert [int(e["id"]) for e in order] == sorted(first), "out of order"
    for before, after in zip(order, order[1:]):
        assert after["previous"] == before["id"], (before, after)
    return len(receiver.events()) - len(order)


def test_the_leader_is_killed(cluster, receiver, target):
    w = Writer(cluster)
    for _ in range(2):
        w.more(20)
        leader = cluster.leader()
        leader.kill()
        w.more(10)
        leader.start()
        leader.wait_till_it_serves()
    w.end()
    twice = check(receiver, w)
    print(f"{len(w.done)} changes, {twice} events twice", flush=True)
    # What was delivered and recorded is not sent anew.
    assert twice <= 2 * 100 + 10


def test_the_lead_is_given_away(cluster, receiver, target):
    w = Writer(cluster)
    for _ in range(3):
        w.more(20)
        leader = cluster.leader()
        assert operation(leader, "cluster-switch").status in (200, 204)
        w.more(10)
        until(leader.ready, PATIENCE_S)
    w.end()
    twice = check(receiver, w)
    print(f"{len(w.done)} changes, {twice} events twice", flush=True)


def test_the_leader_is_paused(cluster, receiver, target):
    w = Writer(cluster)
    w.more(20)
    leader = cluster.leader()
    leader.p.send_signal(signal.SIGSTOP)
    try:
        w.more(10)
    finally:
        leader.p.send_signal(signal.SIGCONT)
    w.more(10)
    until(leader.ready, PATIENCE_S)
    w.end()
    check(receiver, w)


def test_the_leader_is_cut_off_from_the_store(cluster, receiver, target):
    """What it may have told beside the log meanwhile has no number that the next leader gives to something else."""
    w = Writer(cluster)
    w.more(20)
    leader = cluster.leader()
    leader.cut("up down")
    try:
        w.more(30)
    finally:
        leader.cut("")
    until(leader.ready, PATIENCE_S)
    w.end()
    check(receiver, w)
