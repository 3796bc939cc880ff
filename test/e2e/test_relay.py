# SPDX-License-Identifier: Apache-2.0
"""Three controllers over three real etcd that pass on to the leader what only it can do: changes and operations are
given to any of them. Who asks is believed from a controller's certificate alone; what becomes of a change whose
leader is lost is said."""
import json
import os
import signal
import subprocess

import pytest

from test_cluster import Cluster, NAMES, PATIENCE_S, binary, free_ports, until


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
