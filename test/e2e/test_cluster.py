# SPDX-License-Identifier: Apache-2.0
"""Three controllers over three real etcd on loopback: any node shows, the leader changes; nodes and members
are killed, paused and cut off. What was acknowledged is there afterwards, once, on every node; what a node
that lost the lead was asked meanwhile it refuses; changes are taken again. How soon is printed (`make soak` shows
it for many faults), not asserted: that depends on the machine.

Each member of etcd listens behind a relay of the test's own, one for each node, so that links can be cut.
"""
import http.client
import json
import os
import random
import selectors
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from weftd_lab import Weftd, binary

NAMES = ["a", "b", "c"]
PATIENCE_S = 60
SETTINGS = "/restconf/data/weft-system:system/settings"


def free_ports(n):
    """Below those that the kernel gives away by itself, so that nobody has one before it is used."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        below = int(f.read().split()[0])
    socks = []
    while len(socks) < n:
        s = socket.socket()
        try:
            s.bind(("127.0.0.1", random.SystemRandom().randrange(10000, max(below, 20000))))
            socks.append(s)
        except OSError:
            s.close()
    ports = [s.getsockname()[1] for s in socks]
    for s in socks:
        s.close()
    return ports


class Link:
    """TCP from a port of its own to another; `cut` takes what is under way and lets nothing through."""

    def __init__(self, port):
        self.to = port
        self.cut = ""  # the ways that are cut: "up" (to etcd), "down", "up down"
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.sel = selectors.DefaultSelector()
        self.sel.register(self.listener, selectors.EVENT_READ)
        self.stop_r, self.stop_w = socket.socketpair()
        self.sel.register(self.stop_r, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            for key, _ in self.sel.select():
                if key.fileobj is self.stop_r:
                    return
                if key.fileobj is self.listener:
                    self.accept()
                else:
                    self.move(key.fileobj, *key.data)

    def accept(self):
        near, _ = self.listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self.to), timeout=2)
        except OSError:
            near.close()
            return
        for s in (near, far):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sel.register(near, selectors.EVENT_READ, (far, "up"))
        self.sel.register(far, selectors.EVENT_READ, (near, "down"))

    def move(self, source, to, way):
        """While it is cut, bytes are swallowed: neither end hears of it, as on a dead link."""
        try:
            data = source.recv(65536)
            if way in self.cut and data:
                return
            if data:
                to.sendall(data)
                return
        except OSError:
            pass
        for s in (source, to):
            try:
                self.sel.unregister(s)
            except (KeyError, ValueError):
                pass
            s.close()

    def close(self):
        self.stop_w.send(b"x")
        self.thread.join()
        self.listener.close()
        for key in list(self.sel.get_map().values()):
            key.fileobj.close()


class Member:
    """One etcd of three."""

    def __init__(self, name, folder, client, peer, cluster, within=()):
        self.args = [*within, "etcd", "--name", name, "--data-dir", os.path.join(folder, f"etcd-{name}"),
                     "--listen-client-urls", f"http://127.0.0.1:{client}",
                     "--advertise-client-urls", f"http://127.0.0.1:{client}",
                     "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                     "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                     "--initial-cluster", cluster, "--log-level", "warn"]
        self.log = os.path.join(folder, f"etcd-{name}.log")
        self.port = client
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.p = subprocess.Popen(self.args, stdout=log, stderr=log)

    def kill(self):
        self.p.kill()
        self.p.wait()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, status, headers, text):
        self.status, self.headers, self.text = status, headers, text


class Node:
    """One weftd of three, asked at its local socket."""

    def __init__(self, name, folder, members, first=None, options=(), within=()):
        """`first`: the node whose authority and key for secrets this one has as well. `within`: words before its program,
        that take it where the members of etcd are and our relays can't be: links can't be cut then."""
        self.name, self.within = name, list(within)
        self.dir = os.path.join(folder, f"node-{name}")
        os.mkdir(self.dir)
        if first is not None:
            os.mkdir(os.path.join(self.dir, "pki"), 0o700)
            for file in ("ca.pem", "ca.key", "secrets.key"):
                shutil.copy(os.path.join(first.dir, "pki", file), os.path.join(self.dir, "pki", file))
        self.links = [] if within else [Link(m.port) for m in members]
        self.doors = self.links or members
        self.unix = os.path.join(self.dir, "weft.sock")
        self.ports = os.path.join(self.dir, "ports")
        self.options = list(options)
        self.env = {}
        self.p = None
        self.start()

    def store(self):
        members = ",".join(f"127.0.0.1:{x.port}" for x in self.doors)
        return f"etcd:http://{members}/test?replica={self.dir}/replica.db"

    def stop(self):
        self.p.terminate()
        assert self.p.wait(60) == 0, self.log_text()

    def start(self):
        env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0:quarantine_size_mb=1:verify_asan_link_order=0",
                   UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1", **self.env)
        if os.path.exists(self.ports):
            os.unlink(self.ports)
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.p = subprocess.Popen(
                [*self.within, binary("src", "weftd", "weftd"), "--data", self.dir, "--listen", "none",
                 "--listen-apmi", "127.0.0.1:0", "--port-file", self.ports, "--node", self.name,
                 "--store", self.store(), *self.options],
                stdout=log, stderr=log, env=env)

    def wait_till_it_serves(self):
        def serves():
            assert self.p.poll() is None, self.log_text()
            return self.ready()
        until(serves, 90)

    def ready(self):
        """None: nobody answers, as while it starts over."""
        try:
            return self.ask("GET", "/readyz").status == 200
        except OSError:
            return None

    def log_text(self):
        with open(os.path.join(self.dir, "log"), errors="replace") as f:
            return f.read()[-5000:]

    def ask(self, method, path, body=None, timeout=20, headers=None):
        """Raises OSError when nobody answers."""
        c = UnixConnection(self.unix, timeout)
        headers = {**(headers or {}), "accept": "text/event-stream" if path.startswith("/streams/") else "application/yang-data+json, text/plain"}
        if body is not None:
            headers["content-type"] = "application/yang-data+json"
            body = json.dumps(body)
        try:
            c.request(method, path, body, headers)
            r = c.getresponse()
            return Answer(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read().decode())
        except http.client.HTTPException as e:
            raise OSError(str(e)) from e
        finally:
            c.close()

    def metric(self, name, timeout=20):
        for line in self.ask("GET", "/metrics", timeout=timeout).text.splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError(name)

    def leads(self):
        try:
            return self.metric("weft_leads", 2) == 1
        except OSError:
            return False

    def kill(self):
        self.p.kill()
        self.p.wait()

    def cut(self, ways):
        assert self.links
        for link in self.links:
            link.cut = ways


def until(what, seconds=60, every=0.05):
    """Waits for an event that others bring about."""
    end = time.time() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.time() < end, "it did not happen"
        time.sleep(every)


class Cluster:
    def __init__(self, folder, options=None, within=()):
        """`options`: node's name -> more options of its weftd. `within`: of a network namespace (Node)."""
        options = options or {}
        ports = free_ports(6)
        initial = ",".join(f"{n}=http://127.0.0.1:{ports[3 + i]}" for i, n in enumerate(NAMES))
        self.members = [Member(n, folder, ports[i], ports[3 + i], initial, within)
                        for i, n in enumerate(NAMES)]
        self.nodes = [Node(NAMES[0], folder, self.members, None, options.get(NAMES[0], ()), within)]
        self.nodes[0].wait_till_it_serves()
        self.nodes += [Node(n, folder, self.members, self.nodes[0], options.get(n, ()), within) for n in NAMES[1:]]
        self.written = {}  # name -> "done", "refused", "doubt"
        self.number = 0

    def __enter__(self):
        try:
            for n in self.nodes:
                n.wait_till_it_serves()
            self.leader()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def leader(self, but=None, seconds=60):
        def one():
            found = [n for n in self.nodes if n is not but and n.leads()]
            return found[0] if len(found) == 1 else None
        return until(one, seconds)

    def followers(self):
        leader = self.leader()
        return [n for n in self.nodes if n is not leader]

    def write(self, node, timeout=20):
        """A partition of a name of its own; what became of it is remembered."""
        self.number += 1
        name = f"w{self.number}"
        body = {"weft-apm:pool-domain-profile": [
            {"name": name, "apportion-threshold": 10, "reclaim-threshold": 300}]}
        try:
            r = node.ask("POST", "/restconf/data/weft-apm:apm", body, timeout)
        except OSError:
            self.written[name] = "doubt"
            return None
        done = r.status == 201
        doubt = not done and "look whether" in r.text
        self.written[name] = "done" if done else "doubt" if doubt else "refused"
        return r

    def write_anywhere(self, seconds, but=None, short=False):
        """Any node that takes it; returns the time that this took."""
        began = time.time()

        def once():
            for n in self.nodes:
                if n is not but:
                    r = self.write(n, 1 if short else 20)
                    if r is not None and r.status == 201:
                        return True
            return False
        until(once, seconds, 0.1)
        took = time.time() - began
        print(f"a change was taken after {took:.1f} s", flush=True)
        return took

    def names(self, node):
        r = node.ask("GET", "/restconf/data/weft-apm:apm?content=config")
        if r.status == 404:
            return []
        assert r.status == 200, r.text
        return [p["name"] for p in json.loads(r.text)["weft-apm:apm"].get("pool-domain-profile", [])]

    def agree(self):
        """All nodes have followed the leader, and have what the clients were told."""
        leader = self.leader()
        head = leader.metric("weft_log_head")
        for n in self.nodes:
            until(lambda n=n: n.ready() and n.metric("weft_log_head") >= head)
        there = self.names(leader)
        assert len(there) == len(set(there))
        for n in self.nodes:
            assert sorted(self.names(n)) == sorted(there)
        for name, became in self.written.items():
            assert became != "done" or name in there, name
            assert became != "refused" or name not in there, name

    def close(self):
        logs = [(n.name, n.log_text()) for n in self.nodes]
        for n in self.nodes:
            if n.p.poll() is None:
                n.p.send_signal(signal.SIGCONT)
                n.p.send_signal(signal.SIGTERM)
        for n in self.nodes:
            try:
                n.p.wait(30)
            except subprocess.TimeoutExpired:
                n.kill()
        for m in self.members:
            m.kill()
        for n in self.nodes:
            for link in n.links:
                link.close()
        for name, text in logs:
            assert "AddressSanitizer" not in text and "runtime error" not in text, (name, text)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(str(tmp_path_factory.mktemp("cluster"))) as c:
        yield c


# proves: APM-120 APM-123
def test_one_leads_and_all_show(cluster):
    leader = cluster.leader()
    assert cluster.write(leader).status == 201
    for n in cluster.followers():
        assert n.ask("GET", "/readyz").text == f"ready, follows {leader.name}\n"
        r = cluster.write(n)
        assert r.status == 503 and f"ask {leader.name}, which leads" in r.text
        assert "weft-stale" not in r.headers
    cluster.agree()


def test_gateways_are_served_by_the_leader_alone(cluster):
    leader = cluster.leader()
    for n in cluster.nodes:
        with open(n.ports) as f:
            assert ("apmi" in f.read()) == (n is leader)


# proves: APM-122
def test_the_leader_is_killed(cluster):
    leader = cluster.leader()
    leader.kill()
    cluster.write_anywhere(PATIENCE_S, but=leader)
    leader.start()
    leader.wait_till_it_serves()
    assert not leader.leads()
    cluster.agree()


def see_members(node, *roles, leads=1):
    """Waits until show system cluster says so of the members of etcd (None: anything), and so many lead."""
    def seen():
        try:
            shown = json.loads(operation(node, "show-system-cluster").text)["weft-system:output"]
        except OSError:  # it starts over
            return False
        said = {m["address"]: m["role"] for m in shown["store-member"]}
        assert set(said) == {f"127.0.0.1:{x.port}" for x in node.doors}
        return all(role in (None, said[f"127.0.0.1:{x.port}"]) for x, role in zip(node.doors, roles)) and \
            sum(role == "leads" for role in said.values()) == leads
    until(seen, 60)


# proves: APM-121
def test_a_member_of_etcd_is_killed(cluster):
    for m in cluster.members:
        m.kill()
        cluster.write_anywhere(PATIENCE_S)
        for n in cluster.nodes:
            see_members(n, *("away" if x is m else None for x in cluster.members))
        m.start()
        until(lambda m=m: socket.socket().connect_ex(("127.0.0.1", m.port)) == 0, 30)
    cluster.agree()


# proves: APM-121
def test_the_majority_of_etcd_is_lost(cluster):
    """Nobody leads and nothing is changed; all show what they had, and its age; with the majority it goes on."""
    for m in cluster.members[:2]:
        m.kill()
    try:
        for n in cluster.nodes:
            until(lambda n=n: n.ready() is False, 60)
        for n in cluster.nodes:
            r = cluster.write(n)
            assert r.status == 503, r.text
            r = n.ask("GET", "/restconf/data/weft-apm:apm?content=config")
            assert r.status == 200 and int(r.headers["weft-stale"]) >= 3
            assert not n.leads()
            shown = json.loads(operation(n, "show-system-cluster").text)["weft-system:output"]
            assert "node" not in shown and "etcd" in shown["reason"]
            # The third is alone, or does not answer: one that has just started waits for the others first.
            see_members(n, "away", "away", None, leads=0)
    finally:
        for m in cluster.members[:2]:
            m.start()
    cluster.write_anywhere(PATIENCE_S)
    for n in cluster.nodes:
        until(n.ready, 60)
    cluster.agree()


def test_the_leader_is_paused(cluster):
    leader = cluster.leader()
    leader.p.send_signal(signal.SIGSTOP)
    try:
        cluster.write_anywhere(PATIENCE_S, but=leader)
    finally:
        leader.p.send_signal(signal.SIGCONT)
    r = cluster.write(leader)  # it believed to lead when it was paused
    assert r is None or r.status == 503
    until(leader.ready, 60)
    assert "starting over, to follow" in leader.log_text()
    cluster.agree()


def test_the_leader_is_cut_off(cluster):
    leader = cluster.leader()
    leader.cut("up down")
    try:
        cluster.write_anywhere(PATIENCE_S, but=leader)
        until(lambda: leader.ready() is False, 30)
        r = leader.ask("GET", "/restconf/data/weft-apm:apm?content=config")
        assert r.status == 200 and int(r.headers["weft-stale"]) >= 3
        assert leader.metric("weft_stale_seconds") >= 3 and leader.metric("weft_leads") == 0
        r = cluster.write(leader)
        assert r.status == 503
    finally:
        leader.cut("")
    until(leader.ready, 60)
    cluster.agree()


def test_a_follower_is_cut_off(cluster):
    n = cluster.followers()[0]
    n.cut("up down")
    try:
        until(lambda: n.ready() is False, 30)
        assert cluster.write(cluster.leader(but=n)).status == 201
        r = cluster.write(n)
        assert r.status == 503 and "cut off from the store" in r.text
        cli = subprocess.run([binary("cli", "weft"), "--socket", n.unix, "show version"],
                             capture_output=True, text=True, timeout=60)
        assert "cut off from the store; what it shows is " in cli.stderr, cli
        assert int(r.headers["weft-stale"]) >= 3
    finally:
        n.cut("")
    until(n.ready, 60)
    cluster.agree()


def operation(node, name, fields=None, module="weft-system"):
    body = {f"{module}:input": fields} if fields else None
    return node.ask("POST", f"/restconf/operations/{module}:{name}", body)


def test_the_lead_is_given_away(cluster):
    """Who is there is known at every node; the lead moves on order, and faster than by any failure."""
    leader = cluster.leader()
    for n in cluster.nodes:
        def all_there(n=n):
            r = operation(n, "show-system-cluster")
            assert r.status == 200, r.text
            shown = json.loads(r.text)["weft-system:output"]
            return shown if len(shown["node"]) == 3 else None
        shown = until(all_there)
        assert shown["leader"] == leader.name and shown["shared"] is True
        assert shown["role"] == ("leads" if n is leader else "follows")
        assert sorted(x["name"] for x in shown["node"]) == NAMES
        assert [x["name"] for x in shown["node"] if x["role"] == "leads"] == [leader.name]
        assert [x["name"] for x in shown["node"] if x["this-node"]] == [n.name]
        assert all("version" in x and "started" in x for x in shown["node"])
    cli = subprocess.run([binary("cli", "weft"), "--socket", leader.unix, "show system cluster"],
                         capture_output=True, text=True, timeout=60)
    assert cli.returncode == 0 and f"{leader.name} (this)" in cli.stdout, cli
    r = operation(cluster.followers()[0], "cluster-switch")
    assert r.status == 503 and f"ask {leader.name}, which leads" in r.text
    r = operation(leader, "cluster-switch")
    assert r.status in (200, 204), r.text
    cluster.write_anywhere(PATIENCE_S, but=leader)
    assert cluster.leader() is not leader
    until(leader.ready, 60)
    cluster.agree()


def events_of(node, name):
    """Kept ones, from the stream's replay."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    r = node.ask("GET", f"/streams/NETCONF/json?start-time=2020-01-01T00:00:00Z&stop-time={now}")
    assert r.status == 200, r.text
    found = [json.loads(line[6:])["ietf-restconf:notification"] for line in r.text.splitlines() if line.startswith("data: ")]
    return [n[name] for n in found if name in n]


def test_a_new_leader_is_told(cluster):
    leader = cluster.leader()
    assert operation(leader, "cluster-switch").status in (200, 204)
    cluster.write_anywhere(PATIENCE_S, but=leader)
    new = cluster.leader()
    told = until(lambda: events_of(new, "weft-system:leader-changed"))[-1]
    assert told["node"] == new.name and told["former"] == leader.name and int(told["fence"]) > 0
    until(leader.ready, 60)


def test_only_the_leader_calls_home(cluster):
    """A NETCONF client that listens is called by one controller, and by the next one when the lead moves."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(30)
    leader = cluster.leader()
    r = leader.ask("PUT", "/restconf/data/weft-system:system/netconf-call-home=noc", {"weft-system:netconf-call-home": [
        {"name": "noc", "address": "127.0.0.1", "port": listener.getsockname()[1], "transport": "ssh"}]})
    assert r.status == 201, r.text
    first, _ = listener.accept()
    listener.settimeout(4)
    with pytest.raises(TimeoutError):
        listener.accept()
    listener.settimeout(30)
    assert operation(leader, "cluster-switch").status in (200, 204)
    second, _ = listener.accept()
    cluster.write_anywhere(PATIENCE_S, but=leader)
    for s in (first, second, listener):
        s.close()
    r = cluster.leader().ask("DELETE", "/restconf/data/weft-system:system/netconf-call-home=noc")
    assert r.status == 204, r.text
    for n in cluster.nodes:
        until(n.ready, 60)


def fail(cluster, rng):
    """One fault at random; returns what ends it."""
    node = rng.choice([cluster.leader(), rng.choice(cluster.nodes)])
    member = rng.choice(cluster.members)
    kind = rng.choice(["kill", "pause", "up", "down", "up down", "member"])
    print(kind, member.port if kind == "member" else node.name, flush=True)
    if kind == "kill":
        node.kill()
        return node.start
    if kind == "pause":
        node.p.send_signal(signal.SIGSTOP)
        return lambda: node.p.send_signal(signal.SIGCONT)
    if kind == "member":
        member.kill()
        return member.start
    node.cut(kind)
    return lambda: node.cut("")


def test_whatever_fails(cluster):
    """Faults at random under writes at all nodes; WEFT_CLUSTER_ROUNDS and WEFT_CLUSTER_SEED for more of it."""
    seed = int(os.environ.get("WEFT_CLUSTER_SEED", "27"))
    rng = random.Random(seed)
    print("seed", seed)
    for _ in range(int(os.environ.get("WEFT_CLUSTER_ROUNDS", "3"))):
        end = fail(cluster, rng)
        try:
            took = cluster.write_anywhere(PATIENCE_S, short=True)
            print(f"{took:.1f} s", flush=True)
            for _ in range(rng.randrange(20)):
                cluster.write(rng.choice(cluster.nodes), timeout=1)
        finally:
            end()
        cluster.write_anywhere(PATIENCE_S, short=True)
        for n in cluster.nodes:
            until(n.ready, 60)
        cluster.agree()


def maintain(node, *words):
    return subprocess.run([binary("src", "weftd", "weftd"), words[0], "--data", node.dir, "--store", node.store(), *words[1:]],
                          capture_output=True, text=True, timeout=120)


def test_a_backup_takes_the_place_of_everything(cluster):
    """All controllers stopped; the others find out that their copies are of the former store, and make themselves new ones."""
    leader = cluster.leader()
    cluster.agree()
    before = cluster.names(leader)
    r = leader.ask("POST", "/restconf/operations/weft-system:backup", {"weft-system:input": {"file": "whole"}})
    assert r.status == 200, r.text
    cluster.write(leader)
    assert len(cluster.names(leader)) == len(before) + 1
    assert maintain(leader, "restore", "whole").returncode == 1  # it runs
    leader.stop()
    until(lambda: cluster.leader(but=leader, seconds=60))
    r = maintain(leader, "restore", "whole")
    assert r.returncode == 1 and "runs on this store: stop all of them" in r.stderr, r
    for n in cluster.nodes:
        if n is not leader:
            n.stop()
    r = maintain(leader, "restore", "nothing")
    assert r.returncode == 1 and "backup/nothing: can't be read" in r.stderr, r
    assert maintain(leader, "check").returncode == 0  # nothing was changed by all that
    def restored():
        r = maintain(leader, "restore", "whole")
        assert r.returncode == 0 or "runs on this store" in r.stderr, r
        return r if r.returncode == 0 else None
    r = until(restored)
    assert "the former store is the backup" in r.stdout and "make themselves new copies" in r.stdout, r
    r = maintain(leader, "check")
    assert r.returncode == 0 and "0 problems" in r.stdout, r
    leader.start()
    leader.wait_till_it_serves()
    assert sorted(cluster.names(leader)) == sorted(before)
    for n in cluster.nodes:
        if n is not leader:
            n.start()
            n.wait_till_it_serves()
            assert os.path.exists(f"{n.dir}/replica.db.former")
    cluster.written = {k: v for k, v in cluster.written.items() if k in before}
    cluster.write_anywhere(PATIENCE_S)
    cluster.agree()


def migrate(data, *urls):
    return subprocess.run([binary("src", "weftd", "weftd"), "migrate", *urls, "--data", data],
                          capture_output=True, text=True, timeout=60)


def test_a_store_moves_into_etcd_and_back(cluster, tmp_path):
    with Weftd(tmp_path / "alone") as w:
        body = {"weft-system:settings": {"location": "rack 7"}}
        assert w.ask("PUT", "weft-system:system/settings", body).status in (201, 204)
        local = f"sqlite:{w.data}/weft.db"
        members = ",".join(f"127.0.0.1:{m.port}" for m in cluster.members)
        there = f"etcd:http://{members}/moved?replica={w.data}/replica.db"
        r = migrate(w.data, local, there)
        assert r.returncode == 1 and "open" in r.stderr  # it still runs
        w.stop()
        r = migrate(w.data, local, there)
        assert r.returncode == 0 and "moved to etcd:" in r.stdout, r
        assert migrate(w.data, local, there).returncode == 1  # there is a store already
        with pytest.raises(AssertionError, match="this store was moved to etcd:http"):
            w.start()
        w.options = ["--store", there]
        w.start()
        assert w.ask("GET", "weft-system:system/settings").json() == body
        body["weft-system:settings"]["location"] = "rack 8"
        assert w.ask("PUT", "weft-system:system/settings", body).status == 204
        w.stop()
        back = f"sqlite:{w.data}/back.db"
        r = migrate(w.data, there, back)
        assert r.returncode == 0, r
        with pytest.raises(AssertionError, match="this store was moved to sqlite:"):
            w.start()
        w.options = ["--store", back]
        w.start()
        assert w.ask("GET", "weft-system:system/settings").json() == body
        w.stop()
        os.unlink(f"{w.data}/weft.db.moved")
        w.options = []
        w.start()  # on order the old one can be had
