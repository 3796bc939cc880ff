# SPDX-License-Identifier: Apache-2.0
"""Devices that come to a controller that follows: passed on to the one that leads, with what was seen of them."""
import json
import os
import re
import resource
import time

import pytest
import requests

from onboard_lab import JSON, GET, Door, Pki, onboarding, text64
from test_cluster import NAMES, Cluster, free_ports, until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    relays = dict(zip(NAMES, free_ports(len(NAMES))))
    with Cluster(str(tmp_path_factory.mktemp("onboard")),
                 {n: ["--listen-relay", f"127.0.0.1:{relays[n]}"] for n in NAMES}) as c:
        yield c


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


def put(node, kind, name, **leaves):
    key = "serial-number" if kind == "device" else "name"
    body = {f"weft-onboard:{kind}": [{key: name, **{k.replace("_", "-"): v for k, v in leaves.items()}}]}
    r = node.ask("PUT", f"/restconf/data/weft-onboard:onboard/{kind}={name}", body)
    assert r.status in (201, 204), r.text


def is_open(node):
    r = node.ask("GET", "/restconf/data/weft-onboard:onboard/state/listener")
    return '"open"' in r.text


class NoMoreFiles:
    """While it lasts, this node opens no listener: all run on one machine, and the first has the port."""

    def __init__(self, node):
        self.pid = node.p.pid

    def __enter__(self):
        used = {int(f) for f in os.listdir(f"/proc/{self.pid}/fd")}
        free = next(i for i in range(4096) if i not in used)
        self.was = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (free, self.was[1]))

    def __exit__(self, *_):
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self.was)


# proves: PH-203
def test_a_device_is_served_by_a_node_that_follows(cluster, pki):
    leader = cluster.leader()
    (port,) = free_ports(1)
    put(leader, "device-authority", "factory", certificate=pki.text("factory.pem"))
    put(leader, "configuration", "c", text="hello {{serial-number}}\n", template=True)
    put(leader, "bundle", "b", configuration="c")
    put(leader, "device-type", "default", rule=[{"name": "all", "bundle": "b"}])
    put(leader, "device", "F1", password="p")
    put(leader, "device", "F2")
    followers = cluster.followers()
    for _ in range(10):
        put(followers[0], "listener", "main", address="127.0.0.1", port=port, disabled=True)  # opens the way to the leader
        until(lambda: not any(is_open(n) for n in cluster.nodes))
        with NoMoreFiles(leader):  # nobody can ask it anything either
            put(followers[0], "listener", "main", address="127.0.0.1", port=port)
            for _ in range(100):
                if any(is_open(n) for n in followers):
                    break
                time.sleep(0.1)
        if not is_open(leader):  # by a descriptor that it gave back meanwhile
            break
    (n,) = [n for n in followers if is_open(n)]
    door = Door.__new__(Door)
    door.ca, door.base, door.port = os.path.join(n.dir, "pki/ca.pem"), f"https://localhost:{port}", port
    _, info = onboarding(door.get(("F1", "p")))
    assert text64(info["configuration"]) == "hello F1\n"
    _, info = onboarding(door.get(cert=pki.device("f2", "/serialNumber=F2")))
    assert text64(info["configuration"]) == "hello F2\n"
    assert door.get(("F1", "wrong")).status_code == 401
    assert door.get(cert=pki.device("f3", "/serialNumber=F3")).status_code == 404
    assert door.tell("bootstrap-complete", ("F1", "p")).status_code == 204
    for node in cluster.nodes:
        until(lambda node=node: '"complete"' in node.ask("GET", "/restconf/data/weft-onboard:onboard/state/device=F1").text)
        until(lambda node=node: '"pending"' in node.ask("GET", "/restconf/data/weft-onboard:onboard/state/device=F3").text)
    r = cluster.leader().ask("GET", "/restconf/data/weft-onboard:onboard/state/device=F2")
    assert '"authenticated-by":"certificate"' in r.text and '"source":"127.0.0.1:' in r.text, r.text
    # A file that this node has not comes from the one that leads, whole or in parts; its own it serves itself.
    content = os.urandom(3_000_000)
    for node, name, data in ((leader, "image", content), (n, "own", b"mine")):
        folder = os.path.join(node.dir, "onboard/files")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)

    def load(path, **headers):
        return requests.get(door.base + path, verify=door.ca, timeout=60, headers=headers)
    r = load("/files/image")
    assert r.status_code == 200 and r.content == content
    etag = r.headers["etag"]
    r = load("/files/image", **{"Range": "bytes=2999990-", "If-Range": etag})
    assert r.status_code == 206 and r.content == content[-10:]
    assert load("/files/own").content == b"mine" and load("/files/nothing").status_code == 404
    assert load("/files/..%2f..%2fpki%2fca.pem").status_code == 404
    # What devices are told to load has a version: this node's own when it is that, else the leader's.
    put(leader, "boot-image", "os", os_name="v", os_version="2", file="os")
    put(leader, "bundle", "b", configuration="c", boot_image="os")
    put(leader, "device", "F4", password="p")

    def store(node, data):
        with open(os.path.join(node.dir, "onboard/files/os.new"), "wb") as f:
            f.write(data)
        os.rename(f.name, os.path.join(node.dir, "onboard/files/os"))

    def told():
        (uri,) = onboarding(door.get(("F4", "p")))[1]["boot-image"]["download-uri"]
        assert re.fullmatch(rf"https://localhost:{port}(/files/[0-9a-f]{{16}}/os)", uri), uri
        return uri.removeprefix(door.base)
    new = os.urandom(1_000_000)
    store(leader, new)
    store(n, b"an old one")
    path = told()
    r = load(path)
    assert r.status_code == 200 and r.content == new and load("/files/os").content == b"an old one"
    theirs = r.headers["etag"]
    assert load(path, **{"Range": "bytes=999990-", "If-Range": theirs}).content == new[-10:]
    assert load(path.replace("/os", "/none")).status_code == 404
    store(n, new)
    ours = load("/files/os").headers["etag"]
    r = load(path)
    assert r.content == new and r.headers["etag"] == ours != theirs
    store(leader, b"newer still")
    newer = told()
    assert newer != path and load(newer).content == b"newer still" and load(path).content == new
    # Nobody but a node says what was seen of a device.
    forged = requests.post(door.base + GET, '{"ietf-sztp-bootstrap-server:input":{}}', verify=door.ca, timeout=60,
                           headers={"content-type": JSON, "weft-device": "main;;"})
    assert forged.status_code == 403


def job(node, number):
    r = node.ask("POST", "/restconf/operations/weft-job:show-job", {"weft-job:input": {"id": str(number)}})
    return json.loads(r.text)["weft-job:output"]["job"][0] if r.status == 200 else {}


def test_a_run_goes_on_with_the_next_leader(cluster, pki):
    """The node that leads is killed while a device works: the device ends at another, and so does the job."""
    leader = cluster.leader()
    (port,) = free_ports(1)
    put(leader, "configuration", "c", text="hello\n")
    put(leader, "bundle", "b", configuration="c")
    put(leader, "device-type", "default", rule=[{"name": "all", "bundle": "b"}])
    put(leader, "device", "G1", password="p")
    put(leader, "listener", "main", address="127.0.0.1", port=port)
    with open(pki.path("authorities.pem"), "w", encoding="ascii") as f:
        for n in cluster.nodes:
            with open(os.path.join(n.dir, "pki/ca.pem"), encoding="ascii") as one:
                f.write(one.read())
    door = Door.__new__(Door)
    door.ca, door.base, door.port = f.name, f"https://localhost:{port}", port

    def asked(ask, status):
        try:
            return ask().status_code == status
        except requests.RequestException:  # nobody has the port yet
            return False
    until(lambda: asked(lambda: door.get(("G1", "p")), 200))
    assert door.tell("config-initiated", ("G1", "p")).status_code == 204
    r = leader.ask("GET", "/restconf/data/weft-onboard:onboard/state/device=G1")
    number = json.loads(r.text)["weft-onboard:device"][0]["job"]
    until(lambda: job(leader, number).get("step") == "configuration")
    leader.kill()

    until(lambda: asked(lambda: door.tell("bootstrap-complete", ("G1", "p"), message="at last"), 204))
    until(lambda: job(cluster.leader(), number).get("state") == "done")
    last = job(cluster.leader(), number)["step-done"][-1]
    assert last["name"] == "configuration" and "at last" in last["result"]
