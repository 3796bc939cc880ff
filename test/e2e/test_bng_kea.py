# SPDX-License-Identifier: Apache-2.0
"""The gateway's agent with real Kea, real FRR, real DHCP clients, and python's gRPC as the manager."""
import ipaddress
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from bng_lab import DOMAIN, SERVER, TOP, Gateway, Lab, LabError, agent_binary, wait_until
from bng_manager import Manager, generate, make_certificates

BLOCKS = [str(n) for n in ipaddress.ip_network("10.60.0.0/24").subnets(new_prefix=28)]  # 13 usable


@pytest.fixture(scope="session")
def pb(tmp_path_factory):
    return generate(str(tmp_path_factory.mktemp("pb")))


@pytest.fixture
def lab(tmp_path):
    with Lab("bngt", "/tmp/weft-e2e/bngt") as made:
        yield made


def up(lab, pb, manager=None, **kw):
    gw = Gateway(lab, **kw).build()
    m = manager or Manager(pb, BLOCKS, thresholds=(3, 100, 1))
    m.serve(lab.ns("core"), "10.255.1.1:20557")
    gw.start_agent()
    wait_until("the session is in step", 20, m.synced.is_set)
    return gw, m


def active(gw, n, seconds=20):
    """Waits until the domain has n active pools."""
    return wait_until(f"{n} active pools", seconds, lambda: (
        lambda p: p if len(p) == n and all(x["status"] == "Active" for x in p.values()) else None)(
            gw.pools()))


# proves: APM-153 APM-080 APM-150 APM-050 APM-051 APM-054 APM-057 APM-081 APM-151 APM-154 P-04 P-14 T-17
def test_pools_come_and_go_while_subscribers_renew(lab, pb):
    gw, m = up(lab, pb)
    pools = active(gw, 1)
    assert m.created.partition == "westford" and m.created.preferred_length == 28
    assert pools[DOMAIN]["prefix"] == BLOCKS[0] and pools[DOMAIN]["total"] == 13
    # Announced, and reachable from the core through the gateway.
    wait_until("the route at the core", 20, lambda: BLOCKS[0] in gw.routes_at_core())
    first = gw.dial_in("c0")
    assert ipaddress.ip_address(first) in ipaddress.ip_network(BLOCKS[0])
    wait_until("the core reaches the subscriber", 10, lambda: lab.ping("core", first))
    wait_until("the subscriber reaches the core", 10, lambda: lab.ping("c0", "10.9.9.9"))
    # Growth: 10 more leave two free, which is below the threshold of three.
    gw.perfdhcp(10)
    pools = active(gw, 2)
    assert set(gw.kea_subnets()) == set(BLOCKS[:2])
    # Counts equal Kea's own leases, one by one.
    def agree():
        leases = gw.kea_leases()
        return all(leases.get(p["subnet-id"], 0) == p["used"] for p in gw.pools().values()) and \
            sum(leases.values()) == 11
    wait_until("counts equal Kea's leases", 10, agree)
    stats = wait_until("statistics at the manager", 10, lambda: (
        lambda s: s if s and s.used == 11 else None)(m.usage.get(DOMAIN)))
    assert sum(p.used for p in stats.pool) == 11
    # Drain: the client's renewal is refused and it moves, within a renewal and a few seconds.
    r = m.order(pb.ORDER_SET_DRAIN, DOMAIN, DOMAIN)
    assert r.status.code == 0 and r.pool.state == pb.DRAINING
    assert gw.kea_subnets() == {BLOCKS[0]: True, BLOCKS[1]: False}
    wait_until("the drained pool's route carries the backup tag", 10,
               lambda: gw.routes_at_core().get(BLOCKS[0]) == 500)
    second = wait_until("the client has moved", 15, lambda: (
        lambda a: a if a and ipaddress.ip_address(a) in ipaddress.ip_network(BLOCKS[1]) else None)(
            lab.address_of("c0", "eth0")))
    wait_until("the core reaches it there", 10, lambda: lab.ping("core", second))
    assert m.order(pb.ORDER_REMOVE_POOL, DOMAIN, DOMAIN).status.code == 9  # others are still on it
    # perfdhcp never renews: those leases end, and the pool is reported drained.
    wait_until("the pool is drained", 90, lambda: m.alarms(pb.POOL_DRAINED))
    assert m.alarms(pb.POOL_DRAINED)[0].candidate_pool == [DOMAIN]
    r = m.order(pb.ORDER_REMOVE_POOL, DOMAIN, DOMAIN)
    assert r.status.code == 0
    # When the manager hears it, route, subnet and gateway address are gone.
    assert BLOCKS[0] not in lab.vtysh("bng", "show running-config staticd")
    assert set(gw.kea_subnets()) == {BLOCKS[1]}
    assert "10.60.0.1/32" not in lab.ip("bng", "-4", "address", "show", "dev", "subs0")
    wait_until("withdrawn at the core", 10, lambda: set(gw.routes_at_core()) == {BLOCKS[1]})
    assert lab.address_of("c0", "eth0") == second and lab.ping("core", second)
    assert gw.metric("weft_bng_kea_reload_seconds_count") >= 3
    assert gw.metric("weft_bng_loop_callbacks_total") > 100 and gw.metric("weft_bng_loop_slow_total") >= 0
    # Operators' view (spec 3.2).
    text = gw.ask("status").stdout
    assert "State: connected" in text and "Security: clear-text" in text and "Remote" in text
    assert gw.ask("domain", DOMAIN).stdout.splitlines()[0].split() == [
        "Pool", "Name", "Prefix", "Addresses", "Used", "Status", "Type"]
    gone = gw.ask("domain", "nope")
    assert gone.returncode == 1 and gone.stdout == "No such pool domain.\n"


# proves: P-10
def test_thresholds_accepted_and_refused(lab, pb):
    gw, m = up(lab, pb, clients=0, frr=False,
               config={"profile": {"max-apportion-threshold": 50}})
    active(gw, 1)
    r = m.order(pb.ORDER_UPDATE_THRESHOLDS, DOMAIN, thresholds=(5, 60, 1), revision=8)
    assert (r.status.code, r.revision) == (0, 8)
    r = m.order(pb.ORDER_UPDATE_THRESHOLDS, DOMAIN, thresholds=(51, 600, 1), revision=9)
    assert (r.status.code, r.revision) == (9, 9)
    assert "max-apportion-threshold 50" in r.status.text
    assert gw.domain()["apportion"] == 5
    gw.agent.kill(signal.SIGKILL)
    m.synced.clear()
    m.thresholds = (5, 60, 1)
    gw.start_agent()
    assert gw.domain()["apportion"] == 5


# proves: APM-070 APM-073 T-19 T-20
def test_everything_killed_at_some_time(lab, pb):
    gw, m = up(lab, pb)
    active(gw, 1)
    gw.dial_in("c0")
    gw.perfdhcp(10)
    before = active(gw, 2)
    epoch = m.hello.boot_epoch
    # The agent: kill -9, again and again while it works.
    for _ in range(5):
        gw.agent.kill(signal.SIGKILL)
        gw.start_agent()
        time.sleep(0.3)
    wait_until("in step again", 20, lambda: gw.state()["state"] == "connected")
    assert m.hello.boot_epoch > epoch
    after = active(gw, 2)
    assert {(p["name"], p["prefix"], p["subnet-id"]) for p in before.values()} == \
        {(p["name"], p["prefix"], p["subnet-id"]) for p in after.values()}
    reloads = gw.state()["kea"]["reloads"]
    assert reloads == 0, "an agent that finds Kea in line has nothing to set"
    # Kea: it comes up from the file the agent owns, with its leases, and nothing is set again.
    address = lab.address_of("c0", "eth0")
    gw.kea.kill(signal.SIGKILL)
    wait_until("the agent notices", 10, lambda: not gw.state()["kea"]["up"])
    assert gw.ask("status").stdout.find("DHCP: down") > 0
    gw.start_kea()
    assert set(gw.kea_subnets()) == set(BLOCKS[:2])
    assert address in gw.kea_addresses()
    wait_until("in line again", 10, lambda: gw.state()["kea"]["in-line"])
    assert gw.state()["kea"]["reloads"] == 0
    # A Kea that has lost its file gets everything over the socket.
    gw.kea.kill(signal.SIGKILL)
    gw.write_kea()
    gw.start_kea()
    wait_until("set right", 20, lambda: set(gw.kea_subnets()) == set(BLOCKS[:2]))
    wait_until("written down", 10, lambda: BLOCKS[1] in open(
        gw.kea_path("kea.conf"), encoding="utf-8").read())
    # FRR: static routes are there again after staticd and zebra were killed.
    lab_frr_restart(gw)
    wait_until("routes after the restart of FRR", 30,
               lambda: set(gw.routes_at_core()) == set(BLOCKS[:2]))
    # The manager: pools stay, subscribers renew, growth waits for it.
    m.stop()
    wait_until("the agent notices", 20, lambda: gw.state()["state"] == "disconnected")
    assert lab.address_of("c0", "eth0")
    # FRR has just been started anew: its own way to the core may still be on the way.
    wait_until("the subscriber reaches the core", 20, lambda: lab.ping("c0", "10.9.9.9"))
    time.sleep(6)  # longer than a renewal
    assert lab.address_of("c0", "eth0")
    m.serve(lab.ns("core"), "10.255.1.1:20557")
    wait_until("in step with it again", 45, lambda: gw.state()["state"] == "connected")
    active(gw, 2)


def lab_frr_restart(gw):
    for p in gw.lab.processes:
        if p.name.startswith("bng-") and p.alive() and ("zebra" in p.name or "staticd" in p.name):
            p.kill(signal.SIGKILL)
    for p in gw.lab.processes:
        if p.name == "bng-bgpd-out" and p.alive():
            p.kill(signal.SIGKILL)
    name = gw.lab.ns("bng")
    for d in ("zebra", "staticd", "bgpd"):
        vty = f"/var/run/frr/{name}/{d}.vty"
        if os.path.exists(vty):
            os.unlink(vty)
    for d in ("zebra", "staticd", "bgpd"):
        gw.lab.spawn("bng", f"bng-{d}-again", [
            f"/usr/lib/frr/{d}", "-N", name, "-f", f"/etc/frr/{name}/{d}.conf", "-i",
            f"/var/run/frr/{name}/{d}.pid"])
        wait_until(d, 10, lambda d=d: os.path.exists(f"/var/run/frr/{name}/{d}.vty"))


# proves: APM-152 P-11
def test_local_reserve_while_the_manager_is_away(lab, pb):
    gw, m = up(lab, pb, frr=False, clients=1, config={"agent": {"local-reserve": {
        "prefixes": ["10.61.0.0/26"], "apportion-delay-s": 1, "drain-delay-s": 1}}})
    active(gw, 1)
    m.stop()
    wait_until("the agent notices", 20, lambda: gw.state()["state"] == "disconnected")
    report = gw.perfdhcp(11)
    wait_until("a local pool", 15, lambda: any(p["local"] for p in gw.pools().values()))
    assert gw.state()["apportionment"] == "Local", report
    active(gw, 2)
    inside = gw.dial_in("c0")
    assert inside
    m.serve(lab.ns("core"), "10.255.1.1:20557")
    wait_until("in step", 45, lambda: gw.state()["state"] == "connected")
    wait_until("the local pool is given back", 90,
               lambda: not any(p["local"] for p in gw.pools().values()))
    assert all("local" not in n for n in m.pools[DOMAIN])
    assert wait_until("the client has an address of the manager's", 20, lambda: (
        lambda a: a and ipaddress.ip_address(a) in ipaddress.ip_network("10.60.0.0/24"))(
            lab.address_of("c0", "eth0")))


def test_adoption_reports_first_then_adopts(lab, pb):
    gw = Gateway(lab, frr=False, clients=1)
    gw.lab.write("kea/keep", "")
    gw.write_kea([{"id": 7, "subnet": "10.60.0.64/28", "interface": "subs0",
                   "pools": [{"pool": "10.60.0.66-10.60.0.78"}],
                   "option-data": [{"name": "routers", "data": "10.60.0.65"}]},
                  {"id": 8, "subnet": "10.77.0.0/24"}])
    gw.build()
    address = gw.dial_in("c0")
    assert ipaddress.ip_address(address) in ipaddress.ip_network("10.60.0.64/28")
    path = gw.write_agent()
    out = subprocess.run([agent_binary(), "-c", path, "--report"], capture_output=True, text=True,
                         check=False, timeout=30)
    assert "subnet 7  10.60.0.64/28  can be adopted by " + DOMAIN in out.stdout, out
    assert "subnet 8  10.77.0.0/24  stays: it has no interface" in out.stdout
    assert not gw.kea_subnets()
    m = Manager(pb, BLOCKS, thresholds=(3, 100, 1)).serve(lab.ns("core"), "10.255.1.1:20557")
    gw.start_agent(kea={"adopt": "yes"})
    pools = active(gw, 1)
    assert pools[DOMAIN]["prefix"] == "10.60.0.64/28" and pools[DOMAIN]["subnet-id"] == 7
    wait_until("the manager has adopted it", 20,
               lambda: str(m.pools.get(DOMAIN, {}).get(DOMAIN)) == "10.60.0.64/28")
    wait_until("its lease is counted", 10, lambda: gw.pools()[DOMAIN]["used"] == 1)
    time.sleep(5)  # a renewal
    assert lab.address_of("c0", "eth0") == address, "the subscriber keeps its address"
    subnets = gw.kea_command("config-get")["arguments"]["Dhcp4"]["subnet4"]
    assert [s["id"] for s in subnets] == [8], "what was not adopted is left alone"


# proves: APM-074
def test_kea_refuses_what_is_in_the_way(lab, pb):
    gw = Gateway(lab, frr=False, clients=0)
    gw.write_kea([{"id": 7, "subnet": BLOCKS[0], "pools": []}])
    gw.build()
    m = Manager(pb, BLOCKS, thresholds=(3, 100, 1)).serve(lab.ns("core"), "10.255.1.1:20557")
    gw.start_agent()
    refused = wait_until("the refusal", 20, lambda: next(
        (r for r in m.results.values() if r.status.code), None))
    assert refused.pool.name == DOMAIN and "its own subnet 7" in refused.status.text
    # The next prefix fits.
    pools = wait_until("another pool", 20, lambda: (
        lambda p: p if p and all(x["status"] == "Active" for x in p.values()) else None)(
            gw.pools()))
    assert BLOCKS[0] not in [p["prefix"] for p in pools.values()]


# proves: T-18
def test_changes_are_gathered_and_the_blackout_is_bounded(lab, pb):
    gw, m = up(lab, pb, frr=False, clients=0,
               config={"agent": {"kea": {"min-reload-interval-ms": 1000, "interval-ms": 200}}})
    active(gw, 1)
    # Twenty changes in a row: drains and their lifting, as fast as they can be said.
    start, before = time.monotonic(), gw.state()["kea"]["reloads"]
    for i in range(20):
        kind = pb.ORDER_SET_DRAIN if i % 2 == 0 else pb.ORDER_CLEAR_DRAIN
        with m.lock:
            msg = pb.ManagerMsg()
            msg.order.order_id, msg.order.type = f"many:{i}", kind
            msg.order.domain, msg.order.pool = DOMAIN, DOMAIN
            m.out.put(msg)
        time.sleep(0.1)
    wait_until("all are answered", 30, lambda: all(f"many:{i}" in m.results for i in range(20)))
    took = time.monotonic() - start
    reloads = gw.state()["kea"]["reloads"] - before
    assert 1 <= reloads <= took + 2, f"{reloads} reloads in {took:.1f} s"
    assert m.results["many:19"].status.code == 0
    text = gw.ask("metrics").stdout
    assert "weft_bng_kea_reload_seconds_bucket" in text and "weft_bng_kea_reload_leases_sum" in text


# proves: T-18
def test_reloads_take_a_small_part_of_the_time(lab, pb):
    """config-set reads all leases again and serves nobody meanwhile. With many leases it takes long, and
    then the next one waits: whatever is ordered in a row, at most a tenth of the time is spent in it."""
    gw = Gateway(lab, frr=False, clients=0, length=17, lease=(3000, 2000, 2500),
                 config={"agent": {"kea": {"min-reload-interval-ms": 100, "batch-ms": 50, "coalesce-ms": 10}}})
    m = Manager(pb, ["10.60.0.0/17", "10.60.128.0/17"], thresholds=(3, 1000000, 1))
    gw.build()
    m.serve(lab.ns("core"), "10.255.1.1:20557")
    gw.start_agent()
    pool = active(gw, 1)[DOMAIN]
    # Thirty thousand leases, as Kea itself would have written them.
    gw.kea.kill(signal.SIGKILL)
    net, now = ipaddress.ip_network(pool["prefix"]), int(time.time())
    with open(gw.kea_path("leases.csv"), "w", encoding="ascii") as f:
        f.write("address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,"
                "user_context,pool_id\n")
        for i in range(30000):
            f.write(f"{net[i + 10]},02:00:00:{i >> 16:02x}:{i >> 8 & 255:02x}:{i & 255:02x},,3000,{now + 3000},"
                    f"{pool['subnet-id']},0,0,,0,,0\n")
    gw.start_kea()
    wait_until("the leases are counted", 60, lambda: gw.pools()[DOMAIN]["used"] == 30000)
    wait_until("in line", 30, lambda: gw.state()["kea"]["in-line"])
    before, start = gw.state()["kea"], time.monotonic()
    spent = gw.metric("weft_bng_kea_reload_seconds_sum")
    for i in range(200):  # drains and their lifting: none of them is urgent
        with m.lock:
            msg = pb.ManagerMsg()
            msg.order.order_id = f"share:{i}"
            msg.order.type = pb.ORDER_SET_DRAIN if i % 2 == 0 else pb.ORDER_CLEAR_DRAIN
            msg.order.domain, msg.order.pool = DOMAIN, DOMAIN
            m.out.put(msg)
        time.sleep(0.1)
    took = time.monotonic() - start
    reloads = gw.state()["kea"]["reloads"] - before["reloads"]
    spent = gw.metric("weft_bng_kea_reload_seconds_sum") - spent
    longest = gw.state()["kea"]["longest-blackout-s"]
    assert reloads >= 2, "something was set"
    # The first one may come at once, and the pool that a drained domain asks for does not wait.
    assert spent <= took / 10 + 2 * longest, f"{reloads} reloads of {longest} s at most: {spent} s of {took}"
    assert gw.metric("weft_bng_kea_reload_leases_sum") >= 30000 * reloads
    wait_until("all are answered", 60, lambda: all(f"share:{i}" in m.results for i in range(200)))


# proves: A10 P-01
def test_mutual_tls_with_python(lab, pb):
    gw = Gateway(lab, frr=False, clients=0).build()
    certs = lab.path("tls")
    m = Manager(pb, BLOCKS, thresholds=(3, 100, 1))
    m.serve(lab.ns("core"), "10.255.1.1:20557", make_certificates(certs, "bng1"))
    tls = {"certificate": f"{certs}/client.crt", "key": f"{certs}/client.key", "ca": f"{certs}/ca.crt"}
    gw.start_agent(**{"clear-text": None, "tls": tls})
    wait_until("in step over TLS", 20, m.synced.is_set)
    active(gw, 1)
    assert m.peer_auth["x509_common_name"] == [b"bng1"]
    assert "Security: TLS" in gw.ask("status").stdout
    # A certificate of somebody else's CA gets nowhere, and the operator is told.
    gw.agent.stop()
    m.synced.clear()
    gw.start_agent(**{"clear-text": None, "tls": {**tls, "certificate": f"{certs}/stranger.crt",
                                                  "key": f"{certs}/stranger.key"}})
    wait_until("the failure is shown", 20, lambda: "Last error" in gw.ask("status").stdout)
    assert not m.synced.is_set()
    # Nor does a manager whose certificate has another name.
    gw.agent.stop()
    gw.start_agent(**{"clear-text": None, "tls": tls, "managers": [
        {"host": "10.255.1.1", "port": 20557, "verify-name": "impostor"}]})
    wait_until("the failure is shown", 20, lambda: "Last error" in gw.ask("status").stdout)
    assert not m.synced.is_set()


def test_a_second_address_takes_over(lab, pb):
    gw = Gateway(lab, frr=False, clients=0).build()
    m = Manager(pb, BLOCKS, thresholds=(3, 100, 1)).serve(lab.ns("core"), "10.255.1.1:20558")
    gw.start_agent(managers=[{"host": "10.255.1.1", "port": 20557},
                             {"host": "10.255.1.1", "port": 20558}])
    wait_until("in step with the second", 20, m.synced.is_set)
    assert "10.255.1.1:20558" in gw.ask("status").stdout


# proves: A10
def test_a_manager_in_node(lab, node_modules):
    """grpc-js as the manager: the same .proto, a third implementation of gRPC."""
    for secure in (False, True):
        gw = Gateway(lab, frr=False, clients=0)
        if not secure:
            gw.build()
        else:
            gw.kea_command("status-get")
            shutil.rmtree(lab.path("agent"))
        certs = lab.path("tls")
        make_certificates(certs, "bng1")
        node = lab.spawn("core", f"node-{secure}", [
            shutil.which("node"), os.path.join(TOP, "test", "e2e", "bng_manager.js"),
            os.path.join(TOP, "proto", "openapmi.proto"), "10.255.1.1:20557",
            certs if secure else ""], env={"NODE_PATH": node_modules})
        more = {}
        if secure:
            more = {"clear-text": None, "tls": {"certificate": f"{certs}/client.crt",
                                                "key": f"{certs}/client.key", "ca": f"{certs}/ca.crt"}}
        gw.start_agent(**more)
        pools = active(gw, 1)
        assert pools[DOMAIN]["prefix"] == "10.62.0.0/28"
        wait_until("the order of the manager was carried out", 20,
                   lambda: gw.domain()["apportion"] == 7)
        wait_until("confirmed", 20, lambda: "CONFIRMED" in open(node.log, encoding="utf-8").read())
        gw.agent.stop()
        node.stop()


def test_killed_at_random_moments_under_load(lab, pb):
    """kill -9 of the agent, Kea and the manager's session in the middle of growth, drains and removals:
    afterwards all four have the same pools, and no subnet id was used twice."""
    seed = int(os.environ.get("SEED", time.time_ns() % 100000))
    rng = random.Random(seed)
    gw, m = up(lab, pb, clients=0)
    m.auto = True
    active(gw, 1)
    ids = {}  # subnet id -> prefix, as ever seen
    load = lab.spawn("load", "perfdhcp", ["perfdhcp", "-4", "-l", "eth0", "-r", "20", "-R", "40", "-p",
                                          "600", "-W", "1000", "-N", "67", SERVER])
    for i in range(int(os.environ.get("ROUNDS", "15"))):
        m.thresholds = (3, 16, 1) if i % 2 else (12, 100, 1)
        time.sleep(rng.random() * 0.8)
        if rng.random() < 0.7 or not gw.agent.alive():
            gw.agent.kill(signal.SIGKILL)
            if rng.random() < 0.3:
                gw.kea.kill(signal.SIGKILL)
                gw.start_kea()
            gw.start_agent()
        else:
            m.out.put(None)  # the manager ends the session
        for p in gw.pools().values():
            assert ids.setdefault(p["subnet-id"], p["prefix"]) == p["prefix"], f"seed {seed}"
    load.stop()
    m.auto = False
    wait_until("in step", 60, lambda: gw.state()["state"] == "connected")

    def the_same():
        pools = gw.pools()
        here = {n: p["prefix"] for n, p in pools.items()}
        static = re.findall(r"ip route (\S+) blackhole tag \d+",
                            lab.vtysh("bng", "show running-config staticd"))
        return all(p["status"] in ("Active", "Draining", "Drained") for p in pools.values()) and \
            here == {n: str(p) for n, p in m.pools[DOMAIN].items()} and \
            set(here.values()) == set(gw.kea_subnets()) == set(static)
    try:
        wait_until("manager, agent, Kea and FRR agree", 30, the_same)
    except LabError as e:
        raise AssertionError(f"seed {seed}: {e}: {gw.pools()} {m.pools} {gw.kea_subnets()}") from e
    used = {p["subnet-id"] for p in gw.pools().values()}
    assert set(gw.kea_leases()) <= used, f"seed {seed}: leases of subnets that are gone"


class StrangeKea:
    """Something that is no Kea, on Kea's socket. Each connection is served by the next behaviour."""

    def __init__(self, path, behaviours):
        self.behaviours, self.served = behaviours, []
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(path)
        self.sock.listen(16)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        n = 0
        while True:
            try:
                c, _ = self.sock.accept()
            except OSError:
                return
            behave = self.behaviours[n % len(self.behaviours)]
            n += 1
            threading.Thread(target=self.one, args=(c, behave), daemon=True).start()

    def one(self, c, behave):
        try:
            c.recv(65536)
            behave(c)
        except OSError:
            pass
        self.served.append(behave.__name__)
        c.close()


def silent(c):
    time.sleep(3)


def garbage(c):
    c.sendall(b"\xff\x00{]" * 1000)


def nothing(c):
    pass


def dripping(c):
    for byte in b'{"result":0,"arguments":{"pid":1}}':
        c.sendall(bytes([byte]))
        time.sleep(0.01)


def wrong_types(c):
    c.sendall(b'{"result":"0","arguments":[1,{"Dhcp4":7}],"text":9}')


def half(c):
    c.sendall(b'{"result":0,"arguments":{"Dhcp4":{')


def deep(c):
    c.sendall(b"[" * 100000)


def test_something_strange_on_keas_socket(lab, pb):
    gw = Gateway(lab, frr=False, clients=0).build()
    path = lab.path("kea", "strange")
    strange = StrangeKea(path, [nothing, garbage, dripping, wrong_types, half, deep, silent])
    m = Manager(pb, BLOCKS, thresholds=(3, 100, 1)).serve(lab.ns("core"), "10.255.1.1:20557")
    gw.start_agent(kea={"socket": path, "timeout-ms": 500})
    wait_until("each of them was met", 60, lambda: len(set(strange.served)) == 7, step=0.2)
    assert gw.agent.alive() and not gw.state()["kea"]["in-line"]
    assert not [r for r in m.results.values() if r.status.code], "nothing is refused for that"
    strange.sock.close()
    os.unlink(path)
    os.symlink(gw.kea_path("ctrl"), path)
    active(gw, 1, 60)
    assert gw.kea_subnets() == {BLOCKS[0]: False}
