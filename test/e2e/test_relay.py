# SPDX-License-Identifier: Apache-2.0
"""Three controllers over three real etcd that pass on to the leader what only it can do: changes and operations are
given to any of them. Who asks is believed from a controller's certificate alone; what becomes of a change whose
leader is lost is said."""
import json
import os
import queue
import re
import signal
import subprocess
import threading

import grpc
import pytest
from ncclient import manager
from ncclient.operations import RPCError, TimeoutExpiredError
from ncclient.transport.errors import TransportError

from apmi_entity import Ended, Entity, credentials, generate
from test_cluster import Cluster, NAMES, PATIENCE_S, UnixConnection, binary, free_ports, until


@pytest.fixture(scope="module")
def relays():
    return dict(zip(NAMES, free_ports(len(NAMES))))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, relays):
    with Cluster(str(tmp_path_factory.mktemp("relay")),
                 {n: ["--listen-relay", f"127.0.0.1:{relays[n]}", "--listen-netconf", "127.0.0.1:0"] for n in NAMES}) as c:
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


# ---- gateways ----

def door(node):
    with open(node.ports) as f:
        return "127.0.0.1:" + [line.split()[1] for line in f if line.startswith("apmi ")][0]


@pytest.fixture(scope="module")
def gateway(cluster, tmp_path_factory):
    """Makes a gateway of that certificate and system id, connected to a node."""
    tmp = tmp_path_factory.mktemp("gateways")
    pb = generate(str(tmp / "pb"))
    lines(cluster.leader(), "configure", "set apm inet-pool partition m min-prefix-len 16 max-prefix-len 28 prefix 10.0.0.0/16",
          "set apm pool-domain-profile gw apportion-threshold 1 reclaim-threshold 300",
          *(f"set apm entity-match gw-{i} pool-domain-profile gw" for i in range(3)), "commit")

    def make(node, name, system_id=None):
        folder = tmp / name
        if not folder.exists():
            subprocess.run([binary("src", "weftd", "weftd"), "issue", name, str(folder), "--data", cluster.nodes[0].dir],
                           check=True, capture_output=True, env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
        return Entity(pb, system_id or name, door(node), credentials(str(folder)))
    return make


# proves: APM-120 APM-124
def test_a_gateway_is_served_through_any_node(cluster, gateway):
    leader, n = cluster.leader(), cluster.followers()[0]
    g = gateway(n, "gw-0")
    assert g.hello().status.code == 0
    shown = json.loads(leader.ask("GET", "/restconf/data/weft-apm:apm/state/entity=gw-0").text)["weft-apm:entity"][0]
    assert shown["security"] == "mutual-tls" and shown["status"] == "reachable" and shown["node"] == n.name
    assert shown["address"] == "127.0.0.1"
    g.close()


def where(cluster):
    """System id -> the controller that it is connected to."""
    r = cluster.leader().ask("GET", "/restconf/data/weft-apm:apm/state")
    return {e["id"]: e.get("node") for e in json.loads(r.text)["weft-apm:state"].get("entity", []) if e["status"] == "reachable"}


def follow_orders(cluster, gateways):
    """What a gateway with the capability does: dials the controller that it was told."""
    for g in gateways:
        if g.stream.move is not None:
            g.target, node = door({n.name: n for n in cluster.nodes}[g.stream.move]), g.stream.move
            g.close()
            ack = g.hello(capability=["move"])
            assert ack.status.code == 0 and ack.node == node, ack
            g.sync()


# proves: APM-124
def test_sessions_are_spread_on_order(cluster, gateway):
    """From the one where all are; then away from one that is to be stopped."""
    n = cluster.followers()[0]
    gateways = [gateway(n, f"gw-{i}") for i in range(3)]
    fixed = gateways.pop()
    assert fixed.hello().status.code == 0  # does not know how
    fixed.sync()
    for g in gateways:
        ack = g.hello(capability=["move"])
        assert ack.status.code == 0 and ack.node == n.name
        g.sync()
    assert where(cluster) == {f"gw-{i}": n.name for i in range(3)}
    r = n.ask("POST", "/restconf/operations/weft-apm:rebalance", {"weft-apm:input": {}})
    assert r.status == 200, r.text

    def spread(nodes):
        follow_orders(cluster, gateways)
        return sorted(where(cluster).values()) == sorted(nodes)
    until(lambda: spread(NAMES), PATIENCE_S)
    assert fixed.stream.ended is None and fixed.stream.move is None and where(cluster)["gw-2"] == n.name
    other = next(x for x in cluster.nodes if x is not n)
    job = json.loads(cluster.leader().ask("POST", "/restconf/operations/weft-apm:rebalance",
                                          {"weft-apm:input": {"without": other.name}}).text)["weft-apm:output"]["job"]
    last = next(x for x in NAMES if x not in (n.name, other.name))
    until(lambda: spread([n.name, last, last]) or spread([n.name, n.name, last]), PATIENCE_S)
    until(lambda: "done" in lines(n, f"show job id {job}"), PATIENCE_S)
    for g in [*gateways, fixed]:
        g.close()
    known = len(lines(n, "show job").splitlines())
    for x in cluster.nodes:
        r = x.ask("POST", "/restconf/operations/weft-apm:rebalance", {"weft-apm:input": {"without": "nobody"}})
        assert r.status == 404 and "there is no node nobody" in r.text, r.text
    assert len(lines(n, "show job").splitlines()) == known  # refused at once, not as a job that fails


# Rights are known, certificates are a node's own, and refusals are said: also where no change can be made.
def test_a_follower_answers_for_itself(cluster):
    for x in cluster.nodes:
        assert "server" in lines(x, "show system certificates"), x.name
        assert "authority" in x.ask("POST", "/restconf/operations/weft-admin:show-certificates").text
        # A file is named as a file is.
        out = lines(x, "request system backup /nowhere/at-all", status=1)
        assert "error: /nowhere/at-all: can't create the backup: No such file" in out, out
    x, leader = cluster.followers()[0], cluster.leader()
    out = lines(x, "request system backup later background", status=1)
    assert f"ask {leader.name}, or leave out background" in out, out
    # What it did by itself can't stand in the audit trail: it is in its log.
    lines(x, "request system certificate renew")
    until(lambda: "/weft-admin:certificate-renew: done" in whole_log(x), PATIENCE_S)
    r = lines(cluster.followers()[0], "request system cluster switch")
    assert f"Another node takes the lead; {leader.name} follows." in r, r
    for n in cluster.nodes:
        until(n.ready, PATIENCE_S)


# proves: APM-120
def test_the_lead_goes_to_the_node_that_was_named(cluster):
    for _ in range(2):
        to = cluster.followers()[-1]
        out = lines(cluster.followers()[0], f"request system cluster switch node {to.name}")
        assert f"{to.name} takes the lead" in out, out
        assert until(lambda: [n for n in cluster.nodes if n.leads()]) == [to]
        for n in cluster.nodes:
            until(n.ready, PATIENCE_S)
    leader = cluster.leader()
    assert f"{leader.name} leads already" in lines(leader, f"request system cluster switch node {leader.name}", status=1)
    assert "there is no node nobody" in lines(leader, "request system cluster switch node nobody", status=1)


def whole_log(node):
    with open(os.path.join(node.dir, "log"), errors="replace") as f:
        return f.read()


# proves: APM-120
def test_nodes_come_and_go_and_are_forgotten(cluster):
    n, leader = cluster.followers()[0], cluster.leader()
    assert f"{n.name} is there; stop weftd on it" in lines(leader, f"request system cluster leave node {n.name}", status=1)
    until(lambda: any(f"node {n.name} is there" in whole_log(x) for x in cluster.nodes), PATIENCE_S)
    n.stop()
    other = next(x for x in cluster.nodes if x not in (n, leader))
    until(lambda: "lost since" in lines(other, "show system cluster"), PATIENCE_S)
    assert f"{n.name} is not looked for" in lines(leader, f"request system cluster leave node {n.name}")
    until(lambda: n.name not in [w.split(" ")[0] for w in lines(other, "show system cluster").splitlines()], PATIENCE_S)
    assert "no node nobody is known" in lines(leader, "request system cluster leave node nobody", status=1)
    n.start()
    n.wait_till_it_serves()
    until(lambda: f"{n.name} (this)" in lines(n, "show system cluster"), PATIENCE_S)
    cluster.agree()


def test_whose_certificate_it_is_the_node_says(cluster, gateway):
    g = gateway(cluster.followers()[0], "gw-1", "gw-2")
    ack = g.hello()
    assert ack.status.code == 7 and "the certificate is not for system id gw-2" in ack.status.text
    g.close()


def test_nobody_else_says_whose_certificate_it_is(cluster, gateway, tmp_path):
    """Neither a gateway at the door for gateways nor one at the door for nodes."""
    for n in cluster.nodes:
        g = gateway(n, "gw-1")
        channel = grpc.secure_channel(g.target, g.creds)
        call = channel.stream_stream("/openapmi.v1.Apmi/Session")(iter(queue.Queue().get, None), metadata=[("weft-gateway", "verified;gw-2")])
        with pytest.raises(grpc.RpcError) as e:
            next(iter(call))
        assert e.value.code() == grpc.StatusCode.PERMISSION_DENIED, e.value
        channel.close()


def test_a_gateway_hears_that_the_leader_is_lost(cluster, gateway):
    """Its connection stays, its session ends, and the next goes to the next leader by the same node."""
    leader, n = cluster.leader(), cluster.followers()[0]
    g = gateway(n, "gw-0")
    assert g.hello().status.code == 0
    leader.kill()
    with g.stream.cond:
        assert g.stream.cond.wait_for(lambda: g.stream.ended, PATIENCE_S)
    assert g.stream.ended.code == grpc.StatusCode.UNAVAILABLE.value[0], g.stream.ended
    g.close()

    def again():
        try:
            return g.hello().status.code == 0
        except Ended as e:
            assert e.code == grpc.StatusCode.UNAVAILABLE.value[0], e
            g.close()
            return False
    until(again, PATIENCE_S)
    g.close()
    leader.start()
    leader.wait_till_it_serves()


# ---- NETCONF ----

APM = "urn:weft:apm"


def netconf(cluster, node):
    with open(os.path.join(cluster.nodes[0].dir, "admin-password"), encoding="ascii") as f:
        password = f.read().strip()
    with open(node.ports) as f:
        port = int([line.split()[1] for line in f if line.startswith("netconf ")][0])
    return manager.connect(host="127.0.0.1", port=port, username="admin", password=password, hostkey_verify=False,
                           allow_agent=False, look_for_keys=False, timeout=60)


def profiles(*names):
    return (f'<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><apm xmlns="{APM}">' + "".join(
        f"<pool-domain-profile><name>{n}</name><apportion-threshold>10</apportion-threshold>"
        "<reclaim-threshold>300</reclaim-threshold></pool-domain-profile>" for n in names) + "</apm></config>")


def test_a_netconf_session_is_the_leaders(cluster):
    """Locks, candidate and answers are of the leader, through whichever node."""
    leader, n = cluster.leader(), cluster.followers()[0]
    with netconf(cluster, n) as m, netconf(cluster, leader) as other:
        assert m.session_id != other.session_id
        m.lock("candidate")
        with pytest.raises(RPCError) as e:
            other.lock("candidate")
        assert e.value.tag == "lock-denied" and f"<session-id>{m.session_id}</session-id>" in e.value.info
        m.edit_config(target="candidate", config=profiles("by-netconf"))
        m.commit()
        m.unlock("candidate")
        assert f"by {n.name}" in lines(leader, "show system users")
    assert "by-netconf" in cluster.names(leader)


def test_a_large_answer_and_a_large_edit_of_netconf(cluster):
    with netconf(cluster, cluster.followers()[0]) as m:
        m.edit_config(target="candidate", config=profiles(*(f"large-{i}" for i in range(8000))))
        m.commit()
        found = m.get_config("running", filter=("subtree", f'<apm xmlns="{APM}"><pool-domain-profile/></apm>'))
        assert len(re.findall("<name>large-", found.xml)) == 8000


def test_a_netconf_session_ends_with_its_leader(cluster):
    leader, n = cluster.leader(), cluster.followers()[0]
    m = netconf(cluster, n)
    leader.kill()
    with pytest.raises((TransportError, TimeoutExpiredError)):
        for _ in range(PATIENCE_S):
            m.get_config("running", filter=("subtree", f'<apm xmlns="{APM}"><none/></apm>'))
    until(lambda: any(x.leads() for x in cluster.nodes if x is not leader), PATIENCE_S)

    def again():
        try:
            with netconf(cluster, n) as m:
                m.edit_config(target="candidate", config=profiles("after-it"))
                m.commit()
                return True
        except (RPCError, TransportError):
            return False
    until(again, PATIENCE_S)
    leader.start()
    leader.wait_till_it_serves()
    cluster.agree()
    assert "after-it" in cluster.names(leader)


def test_without_a_leader_netconf_reads(cluster):
    """The node holds the session itself, and refuses what only a leader can do."""
    leader, n = cluster.leader(), cluster.followers()[0]
    with netconf(cluster, n) as m:
        m.edit_config(target="candidate", config=profiles("read-me"))
        m.commit()
    until(lambda: "read-me" in cluster.names(n))  # the session was the leader's
    others = [x for x in cluster.nodes if x is not n]
    for x in others:
        x.p.send_signal(signal.SIGSTOP)
    for m in cluster.members[:2]:
        m.kill()
    try:
        until(lambda: "weft-stale" in n.ask("GET", "/restconf/data/weft-apm:apm").headers, PATIENCE_S)
        with netconf(cluster, n) as m:
            assert "read-me" in m.get_config("running").xml
            m.edit_config(target="candidate", config=profiles("refused"))
            with pytest.raises(RPCError):
                m.commit()
            m.discard_changes()
    finally:
        for m in cluster.members[:2]:
            m.start()
        for x in others:
            x.p.send_signal(signal.SIGCONT)
    for x in cluster.nodes:
        until(x.ready, 90)
    assert leader in cluster.nodes
    cluster.agree()
