# SPDX-License-Identifier: Apache-2.0
"""What many do at once through a controller that follows: more requests than it passes on, readers that do not read, and
users with passwords and tokens of their own."""
import base64
import http.client
import json
import os
import re
import select
import socket
import ssl

import pytest

from test_cluster import Cluster, NAMES, free_ports, until
from test_relay import lines

DATA = "/restconf/data/weft-apm:apm"
AT_ONCE = 256


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    ports = dict(zip(NAMES, free_ports(len(NAMES))))
    with Cluster(str(tmp_path_factory.mktemp("relay")),
                 {n: ["--listen-relay", f"127.0.0.1:{ports[n]}", "--listen", "127.0.0.1:0"] for n in NAMES}) as c:
        yield c


def dial(node):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.settimeout(120)
    s.connect(node.unix)
    return s


def head(method, path, length=None):
    text = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/yang-data+json\r\n"
    if length is not None:
        text += f"Content-Type: application/yang-data+json\r\nContent-Length: {length}\r\n"
    return (text + "\r\n").encode()


def status(s):
    """Status and text of an answer."""
    r = http.client.HTTPResponse(s)
    r.begin()
    return r.status, r.read().decode()


def answered(socks):
    p = select.poll()
    for s in socks:
        p.register(s, select.POLLIN)
    return {fd for fd, _ in p.poll(0)}


# proves: APM-120
def test_more_at_once_than_are_passed_on(cluster):
    """Each has begun before the first can end, so that all are under way at once."""
    n = cluster.followers()[0]
    more = 60
    socks, bodies = [], []
    for i in range(AT_ONCE + more):
        body = json.dumps({"weft-apm:pool-domain-profile": [
            {"name": f"many-{i}", "apportion-threshold": 10, "reclaim-threshold": 300}]}).encode()
        s = dial(n)
        s.sendall(head("POST", DATA, len(body)) + body[:10])
        socks.append(s)
        bodies.append(body)
    until(lambda: len(answered(socks)) >= more, 120)
    assert len(answered(socks)) == more
    for s, body in zip(socks, bodies):
        try:
            s.sendall(body[10:])
        except OSError:
            pass  # refused, and closed
    said = {}
    for i, s in enumerate(socks):
        said[i] = status(s)
        s.close()
    done = [i for i in said if said[i][0] == 201]
    refused = [i for i in said if said[i][0] == 503]
    assert len(done) == AT_ONCE and len(refused) == more, {x[0] for x in said.values()}
    assert all("too much is passed on" in said[i][1] for i in refused)
    assert {x for x in cluster.names(n) if x.startswith("many-")} == {f"many-{i}" for i in done}
    assert cluster.write(n).status == 201
    cluster.agree()


def rss(node):
    with open(f"/proc/{node.p.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) * 1024


def test_readers_that_do_not_read(cluster):
    """Each holds up itself alone, and costs the node that passes on no more than its queues."""
    n = cluster.followers()[0]
    body = {"weft-apm:apm": {"pool-domain-profile": [
        {"name": f"slow-{i}", "apportion-threshold": 10, "reclaim-threshold": 300} for i in range(20000)]}}
    r = n.ask("PATCH", DATA, body, 120)
    assert r.status == 204, r.text
    whole = len(n.ask("GET", DATA, timeout=120).text)
    assert whole > 1 << 20
    before = rss(n)
    slow = []
    for _ in range(60):
        s = dial(n)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(head("GET", DATA))
        slow.append(s)
    until(lambda: len(answered(slow)) == len(slow), 120)
    for _ in range(5):
        assert cluster.write(n).status == 201  # others go on
        assert len(n.ask("GET", DATA, timeout=120).text) >= whole
    grown = rss(n) - before
    print(f"{len(slow)} answers of {whole} bytes: the node grew by {grown} bytes", flush=True)
    assert grown < len(slow) * whole / 2
    for s in slow[:3]:  # who begins to read gets all of it, unless he was cut off because others waited for his place
        try:
            code, text = status(s)
            assert code == 200 and len(text) >= whole
        except http.client.IncompleteRead:
            pass
    for s in slow:
        s.close()
    assert cluster.write(n).status == 201


# ---- users ----

def tls(node, method, path, authorization, body=None):
    """At the door for strangers."""
    with open(node.ports, encoding="ascii") as f:
        port = int([line.split()[1] for line in f if line.startswith("tls ")][0])
    context = ssl.create_default_context(cafile=os.path.join(node.dir, "pki", "ca.pem"))
    context.check_hostname = False
    data = json.dumps(body).encode() if body is not None else None
    with socket.create_connection(("127.0.0.1", port), timeout=60) as raw, context.wrap_socket(raw) as s:
        top = head(method, path, len(data) if data is not None else None)
        s.sendall(top[:-2] + f"Authorization: {authorization}\r\n\r\n".encode() + (data or b""))
        return status(s)


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def operation(node, name, **body):
    r = node.ask("POST", f"/restconf/operations/weft-system:{name}", {"weft-system:input": body})
    assert r.status in (200, 204), r.text
    return json.loads(r.text)["weft-system:output"] if r.text else None


@pytest.fixture(scope="module")
def ann(cluster):
    """May change pool-domain profiles, and nothing else."""
    n = cluster.followers()[0]
    lines(n, "configure", 'set system role some right /weft-apm:apm/pool-domain-profile access "read write"',
          "set system user ann role some", "commit")
    operation(n, "password", user="ann", password="a long password of ann")
    token = operation(n, "token-create", user="ann")["token"]
    cluster.agree()
    return {"password": basic("ann", "a long password of ann"), "token": "Bearer " + token}


@pytest.mark.parametrize("by", ["password", "token"])
def test_a_users_rights_go_along(cluster, ann, by):
    n = cluster.followers()[0]
    body = {"weft-apm:pool-domain-profile": [{"name": f"by-{by}", "apportion-threshold": 10, "reclaim-threshold": 300}]}
    code, text = tls(n, "POST", DATA, ann[by], body)
    assert code == 201, text
    assert f"by-{by}" in cluster.names(cluster.leader())
    code, text = tls(n, "PUT", "/restconf/data/weft-system:system/settings/location", ann[by],
                     {"weft-system:location": "not ann's"})
    assert code == 403, text
    code, text = tls(n, "POST", "/restconf/operations/weft-system:cluster-switch", ann[by],
                     {"weft-system:input": {}})
    assert code == 403, text
    code, text = tls(n, "POST", DATA, ann[by] + "x", body)
    assert code == 401, text
    for node in (n, cluster.leader()):  # who it was, from where, and by which node
        audit = lines(node, "show system audit user ann")
        assert "ann" in audit and "127.0.0.1" in audit and f"by {n.name}" in audit, audit


def test_what_was_ended_is_ended_at_every_node(cluster, ann):
    n, other = cluster.followers()
    operation(other, "token-revoke", id=ann["token"].split()[1][3:].split(".")[0])
    body = {"weft-apm:pool-domain-profile": [{"name": "ended", "apportion-threshold": 10, "reclaim-threshold": 300}]}
    until(lambda: tls(n, "POST", DATA, ann["token"], body)[0] == 401)
    lines(other, "configure", "delete system user ann", "commit")
    until(lambda: tls(n, "POST", DATA, ann["password"], body)[0] == 401)
    assert "ended" not in cluster.names(cluster.leader())
