# SPDX-License-Identifier: Apache-2.0
"""Three controllers over three real etcd that pass on to the leader what only it can do: changes and operations are
given to any of them. Who asks is believed from a controller's certificate alone; what becomes of a change whose
leader is lost is said."""
import json
import os
import signal
import subprocess
import threading

import pytest

from test_cluster import Cluster, NAMES, PATIENCE_S, UnixConnection, binary, free_ports, until


@pytest.fixture(scope="module")
def relays():
    return dict(zip(NAMES, free_ports(len(NAMES))))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, relays):
    with Cluster(str(tmp_path_factory.mktemp("relay")),
                 {n: ["--listen-relay", f"127.0.0.1:{relays[n]}"] for n in NAMES}) as c:
        yield c


# proves: APM-120
def test_any_node_takes_a_change(cluster):
    for n in cluster.followers():
        for _ in range(3):
            r = cluster.write(n)
            assert r.status == 201, r.text
            assert int(r.headers["weft-commit"]) > 0
            assert f"w{cluster.number}" in cluster.names(n)  # the same node shows it at once
    cluster.agree()


def test_errors_are_the_leaders_own(cluster):
    n = cluster.followers()[0]
    body = {"weft-apm:pool-domain-profile": [{"name": "x", "apportion-threshold": 1000}]}
    r, same = (x.ask("POST", "/restconf/data/weft-apm:apm", body) for x in (n, cluster.leader()))
    assert (r.status, r.text) == (same.status, same.text) and r.status == 400


def test_a_large_change_is_passed_on(cluster):
    """More than any window and queue on the way holds."""
    n = cluster.followers()[0]
    before = set(cluster.names(n))
    body = {"weft-apm:apm": {"pool-domain-profile": [
        {"name": f"big-{i}", "apportion-threshold": 10, "reclaim-threshold": 300} for i in range(8000)]}}
    assert len(json.dumps(body)) > 512 * 1024
    r = n.ask("PATCH", "/restconf/data/weft-apm:apm", body, 120)
    assert r.status == 204, r.text
    assert len(set(cluster.names(n)) - before) == 8000


def test_who_asks_is_believed_from_nodes_alone(cluster, relays):
    forged = "user=admin;source=x;token=;superuser"
    for n in cluster.nodes:
        r = n.ask("POST", "/restconf/data/weft-apm:apm", {}, headers={"weft-actor": forged})
        assert r.status == 403 and "controller's own certificate" in r.text
        r = n.ask("GET", "/restconf/data/weft-apm:apm", headers={"weft-actor": forged})
        assert r.status == 403


def speak(port, node, cert=None, key=None):
    """What the relay's port of a node says to a request of a gateway's certificate, or of none."""
    pki = os.path.join(node.dir, "pki")
    args = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--http2", "--cacert", f"{pki}/ca.pem",
            "--connect-to", f"{node.name}.weft-node:{port}:127.0.0.1:{port}",
            "-H", "weft-actor: user=admin;source=x;token=;superuser"]
    if cert:
        args += ["--cert", cert, "--key", key]
    p = subprocess.run([*args, f"https://{node.name}.weft-node:{port}/restconf/data/weft-apm:apm"],
                       capture_output=True, text=True, timeout=60)
    return p.stdout


def test_the_port_for_nodes_is_for_nodes(cluster, relays, tmp_path):
    n = cluster.leader()
    subprocess.run([binary("src", "weftd", "weftd"), "issue", "bng-1", str(tmp_path), "--data", n.dir],
                   check=True, capture_output=True, env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
    assert speak(relays[n.name], n) == "000"
    assert speak(relays[n.name], n, tmp_path / "cert.pem", tmp_path / "key.pem") == "403"
    assert speak(relays[n.name], n, os.path.join(n.dir, "pki", "node.pem"), os.path.join(n.dir, "pki", "node.key")) == "200"


# proves: APM-122
def test_the_leader_is_lost_with_a_change_on_its_way(cluster):
    """A paused leader has the change and says nothing: the client is told that nobody knows."""
    leader = cluster.leader()
    follower = cluster.followers()[0]
    assert cluster.write(follower).status == 201  # the connection stands
    leader.p.send_signal(signal.SIGSTOP)
    try:
        r = cluster.write(follower, PATIENCE_S)
        assert r.status == 503 and "unknown outcome" in r.text and "look whether" in r.text, r.text
        cluster.write_anywhere(PATIENCE_S, but=leader)
    finally:
        leader.p.send_signal(signal.SIGCONT)
    until(leader.ready, PATIENCE_S)
    cluster.agree()


# proves: APM-122
def test_the_leader_is_killed(cluster):
    leader = cluster.leader()
    leader.kill()
    cluster.write_anywhere(PATIENCE_S, but=leader)
    leader.start()
    leader.wait_till_it_serves()
    assert cluster.write(leader).status == 201  # now it passes on
    assert not leader.leads()
    cluster.agree()


# ---- the command line ----

def test_interrupt_reaches_the_leader(cluster):
    s = Session(cluster.followers()[0])
    events = []
    t = threading.Thread(target=lambda: events.extend(s.run("request job cancel id 999999")), daemon=True)
    t.start()
    until(lambda: s.post("/interrupt").status == 204 and not t.join(0.2) and not t.is_alive())
    assert events[-1]["end"]["status"] != 0


def test_a_terminal_that_goes_leaves_nothing(cluster):
    """Its session at the leader ends with it."""
    n, leader = cluster.followers()[0], cluster.leader()
    def there():
        return lines(leader, "show system users").count("by " + n.name)
    before = there()
    s = Session(n)
    assert s.end("configure private")["status"] == 0
    assert there() == before + 1, lines(leader, "show system users")
    assert n.ask("DELETE", s.base).status == 204
    until(lambda: there() == before)


def lines(node, *words, status=0):
    """What the terminal program prints, given these lines at a node's local socket."""
    p = subprocess.run([binary("cli", "weft"), "--no-color"], input="\n".join(words) + "\n", capture_output=True,
                       text=True, timeout=120, env={**os.environ, "WEFT_SOCKET": node.unix})
    assert status is None or p.returncode == status, p.stdout + p.stderr
    return p.stdout + p.stderr


class Session:
    """A session at a node, as an interactive terminal holds it."""

    def __init__(self, node):
        self.node = node
        self.base = "/cli/v1/sessions/" + json.loads(self.post("", interactive=True, path="/cli/v1/sessions").text)["id"]

    def post(self, what, path=None, **body):
        return self.node.ask("POST", (path or self.base) + what, body)

    def answer(self, text):
        c = UnixConnection(self.node.unix, 20)
        c.request("POST", self.base + "/input", text)
        status = c.getresponse().status
        c.close()
        return status

    def run(self, line):
        r = self.post("/execute", line=line)
        assert r.status == 200, r.text
        return [json.loads(x) for x in r.text.splitlines()]

    def end(self, line):
        return self.run(line)[-1]["end"]

    def words(self, line):
        return {i["word"] for i in json.loads(self.post("/complete", line=line, cursor=len(line)).text)["items"]}


# proves: APM-120
def test_a_terminal_configures_through_any_node(cluster):
    n = cluster.followers()[0]
    out = lines(n, "configure", "set apm pool-domain-profile by-cli apportion-threshold 10 reclaim-threshold 300",
                "commit", "exit", "show configuration apm pool-domain-profile by-cli")
    assert "apportion-threshold 10" in out, out
    assert "by-cli" in cluster.names(cluster.leader())
    assert "follows" in lines(n, "show system cluster | match this")


def test_mode_completion_and_questions_go_along(cluster):
    n = cluster.followers()[0]
    s = Session(n)
    assert "configure" in s.words("con")
    end = s.end("configure private")
    assert end["prompt"].startswith("[edit]\n") and end["way-back"] == "configure private\n"
    end = s.end("edit apm")
    assert end["prompt"].startswith("[edit apm]\n")
    assert "pool-domain-profile" in s.words("set ")
    assert s.end("set pool-domain-profile asked apportion-threshold 10 reclaim-threshold 300")["status"] == 0
    events = s.run("show | compare")
    assert "asked" in "".join(e.get("text", "") for e in events)
    assert s.end("set pool-domain-profile asked apportion-threshold 4000000000000")["status"] == 2
    assert s.end("top")["prompt"].startswith("[edit]\n")
    assert s.end("commit")["status"] == 0
    end = s.end("exit")
    assert end["prompt"].endswith("> ") and end["way-back"] == ""
    assert "asked" in cluster.names(n)


def test_an_operation_of_the_terminal_is_the_leaders(cluster):
    """It asks, and the answer goes to the leader too."""
    s = Session(cluster.followers()[0])
    events = []
    t = threading.Thread(target=lambda: events.extend(s.run("request job cancel id 999999")), daemon=True)
    t.start()
    until(lambda: s.answer("yes") == 204)
    t.join(60)
    assert any(e.get("ask", {}).get("kind") == "confirm" for e in events), events
    assert "follows" not in events[-2]["error"]["text"] and "999999" in events[-2]["error"]["text"], events


def test_the_leader_is_lost_while_one_configures(cluster):
    leader = cluster.leader()
    n = cluster.followers()[0]
    s = Session(n)
    assert s.end("configure private")["status"] == 0
    assert s.end("set apm pool-domain-profile lost-with-it apportion-threshold 10 reclaim-threshold 300")["status"] == 0
    leader.kill()
    events = s.run("commit")
    assert events[-1]["end"]["status"] == 1 and events[-1]["end"]["prompt"].endswith("> "), events
    assert "configuration mode is left" in events[-2]["error"]["text"], events
    until(lambda: any(x.leads() for x in cluster.nodes if x is not leader), PATIENCE_S)
    assert s.end("show system cluster")["status"] == 0  # the session itself is this node's
    until(lambda: s.end("configure private")["status"] == 0, PATIENCE_S)
    assert s.end("exit")["status"] == 0
    leader.start()
    leader.wait_till_it_serves()
    cluster.agree()
    assert "lost-with-it" not in cluster.names(n)
