# SPDX-License-Identifier: Apache-2.0
"""The gateway's agent with real Kea and real DHCP clients, and three controllers over three real etcd as its managers,
all in the lab's namespaces. The leader is killed and given away: the agent finds the one that leads, keeps its pools,
and subscribers renew and come meanwhile."""
import ipaddress
import json

import pytest

from bng_lab import Gateway, Lab, wait_until
from test_cluster import NAMES, PATIENCE_S, Cluster, operation, until

ROOT = ipaddress.ip_network("10.60.0.0/23")
PORTS = {n: 20557 + i for i, n in enumerate(NAMES)}


@pytest.fixture
def lab():
    with Lab("bngk", "/tmp/weft-e2e/bngk") as made:
        yield made


@pytest.fixture
def gw(lab):
    return Gateway(lab, clients=2, frr=False, lease=(12, 4, 9)).build()


@pytest.fixture
def cluster(lab, gw, tmp_path, request):
    c = Cluster(str(tmp_path), {n: ["--listen-apmi-clear-text", f"10.255.1.1:{PORTS[n]}", *getattr(request, "param", {}).get(n, [])]
                                for n in NAMES},
                ["ip", "netns", "exec", lab.ns("core")])
    try:
        for n in c.nodes:
            n.wait_till_it_serves()
        yield c
    finally:
        c.close()


def book(node):
    """What the controller says that the gateway has: prefixes; None: it is not there."""
    r = node.ask("GET", "/restconf/data/weft-apm:apm/state/entity=bng1")
    if r.status != 200:
        return None
    e = json.loads(r.text)["weft-apm:entity"][0]
    assert not any(d.get("conflict") for d in e.get("pool-domain", [])), e
    return {p["prefix"] for d in e.get("pool-domain", []) for p in d.get("pool", [])} if e["status"] == "reachable" else None


def settled(cluster, gw):
    """Leader, agent and Kea have the same pools, and what is not given is free."""
    def same():
        leader, state = cluster.leader(), gw.state()
        if state["state"] != "connected" or not state["kea"]["in-line"]:
            return None
        pools = {p["prefix"] for d in state["domains"] for p in d["pools"]}
        if not pools or book(leader) != pools or set(gw.kea_subnets()) != pools:
            return None
        r = leader.ask("GET", "/restconf/data/weft-apm:apm/state/partition=westford")
        free = int(json.loads(r.text)["weft-apm:partition"][0]["free-addresses"])
        held = sum(ipaddress.ip_network(p).num_addresses for p in pools)
        return pools if free + held == ROOT.num_addresses else None
    return wait_until("leader, agent and Kea agree", 90, same)


def configure(cluster):
    r = cluster.leader().ask("PUT", "/restconf/data/weft-apm:apm", {"weft-apm:apm": {
        "inet-pool": {"partition": [{"name": "westford", "min-prefix-len": 20, "max-prefix-len": 28,
                                     "prefix": [{"prefix": str(ROOT)}]}]},
        "pool-domain-profile": [{"name": "std", "apportion-threshold": 4, "reclaim-threshold": 32, "hold-down": 1}],
        "entity-match": [{"system-id": "bng1", "pool-domain-profile": "std"}]}})
    assert r.status in (201, 204), r.text


# proves: APM-121 APM-122 APM-153
def test_the_agent_finds_who_leads(cluster, gw):
    configure(cluster)
    gw.start_agent(managers=[{"host": "10.255.1.1", "port": PORTS[n]} for n in NAMES])
    had = settled(cluster, gw)
    address = gw.dial_in("c0")

    leader = cluster.leader()
    leader.kill()
    # Nobody but the agent's own pools is there for a subscriber now.
    assert ipaddress.ip_address(gw.dial_in("c1")) in ipaddress.ip_network(next(iter(had)))
    cluster.write_anywhere(PATIENCE_S, but=leader)
    assert had <= settled(cluster, gw)
    leader.start()
    leader.wait_till_it_serves()

    # More subscribers than the pools have room for: the new leader gives more.
    gw.perfdhcp(12)
    wait_until("more pools", 60, lambda: len(gw.pools()) > len(had))
    had = settled(cluster, gw)

    leader = cluster.leader()
    assert operation(leader, "cluster-switch").status in (200, 204)
    cluster.write_anywhere(PATIENCE_S, but=leader)
    until(leader.ready)
    assert had <= settled(cluster, gw)
    assert gw.address("c0") == address, "who renews keeps the address over all that"
    nets = [ipaddress.ip_network(p) for p in had]
    assert all(any(ipaddress.ip_address(a) in n for n in nets) for a in gw.kea_addresses())
    cluster.agree()


# proves: APM-124
@pytest.mark.parametrize("cluster", [{n: ["--listen-relay", f"10.255.1.1:{PORTS[n] + 100}"] for n in NAMES}], indirect=True)
def test_the_agent_goes_where_it_is_asked_to(cluster, gw):
    """It stays with one controller whoever leads, is moved away from it, and keeps its pools and subscribers."""
    configure(cluster)
    gw.start_agent(managers=[{"host": "10.255.1.1", "port": PORTS[n]} for n in NAMES])
    had = settled(cluster, gw)
    address = gw.dial_in("c0")

    def at():
        r = cluster.leader().ask("GET", "/restconf/data/weft-apm:apm/state/entity=bng1")
        return json.loads(r.text)["weft-apm:entity"][0].get("node")
    was = until(at)
    for _ in range(2):
        assert operation(cluster.leader(), "rebalance", {"without": was}, module="weft-apm").status == 200
        now = until(lambda: at() not in (None, was) and at())
        assert gw.state()["manager"]["node"] == now
        assert had <= settled(cluster, gw)
        was = now
    assert gw.address("c0") == address
    cluster.agree()
