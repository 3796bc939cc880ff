# SPDX-License-Identifier: Apache-2.0
"""gRPC of other people's making (python's grpcio, node's grpc-js) as gateways of weftd, over mutual TLS
and in clear text. What agents/bng does as a peer is tested with Kea in test_bng_kea.py."""
import base64
import json
import os
import random
import shutil
import subprocess
import time

import grpc
import pytest

from apmi_entity import Admin, Entity, Stream, credentials, generate, ipaddress
from bng_manager import make_certificates
from weftd_lab import TOP, Weftd

ROOT = ipaddress.ip_network("10.20.0.0/22")
APM = {"weft-apm:apm": {
    "inet-pool": {"partition": [
        {"name": "metro", "min-prefix-len": 16, "max-prefix-len": 26, "prefix": [{"prefix": str(ROOT)}]}]},
    "pool-domain-profile": [
        {"name": "auto", "apportion-threshold": 10, "reclaim-threshold": 300, "hold-down": 1,
         "auto-reclamation": {}},
        {"name": "manual", "apportion-threshold": 10, "reclaim-threshold": 300}],
    "entity-match": [{"system-id": "bng1", "pool-domain-profile": "auto"},
                     {"system-id": "bng2", "pool-domain-profile": "auto"},
                     {"system-id": "bng3", "pool-domain-profile": "manual"}]}}
STATE = "weft-apm:apm/state"


@pytest.fixture(scope="session")
def pb(tmp_path_factory):
    return generate(str(tmp_path_factory.mktemp("pb")))


@pytest.fixture(scope="module")
def weftd(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("apmi")) as d:
        assert d.ask("PUT", "weft-apm:apm", APM).status in (201, 204)
        yield d


@pytest.fixture(params=["clear", "tls"])
def peers(request, weftd, pb):
    """Makes entities over one kind of transport; afterwards all of them are gone and nothing is held."""
    made = []

    def make(system_id="bng1", certificate=None):
        if request.param == "clear":
            e = Entity(pb, system_id, f"127.0.0.1:{weftd.ports['apmi-clear']}")
        else:
            e = Entity(pb, system_id, f"127.0.0.1:{weftd.ports['apmi']}",
                       credentials(weftd.certificate(certificate or system_id)))
        made.append(e)
        return e
    make.secure = request.param == "tls"
    yield make
    for e in made:
        e.close()
    for system_id in {e.system_id for e in made}:
        release(weftd, system_id)
    assert free_addresses(weftd) == ROOT.num_addresses


def release(weftd, system_id):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        r = weftd.ask("POST", "/restconf/operations/weft-apm:release-entity",
                      {"weft-apm:input": {"entity": system_id}})
        if r.status in (200, 404):
            return
        time.sleep(0.1)  # its session is still being ended
    raise AssertionError(r)


def partition(weftd):
    r = weftd.ask("GET", STATE + "/partition=metro")
    assert r.status == 200, r
    return r.json()["weft-apm:partition"][0]


def free_addresses(weftd):
    return int(partition(weftd)["free-addresses"])


def entity_state(weftd, system_id):
    r = weftd.ask("GET", STATE + "/entity=" + system_id)
    return r.json()["weft-apm:entity"][0] if r.status == 200 else None


def wait_for(what, probe, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := probe():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


# ---- the whole conversation ----------------------------------------------------------------------

# proves: A10 APM-003 APM-045 APM-050 APM-051 APM-054 APM-057 APM-070 P-01 P-04 P-09 P-14
def test_a_gateways_life(weftd, pb, peers):
    e = peers().connect()
    state = entity_state(weftd, "bng1")
    assert state["status"] == "reachable"
    assert state["security"] == ("mutual-tls" if peers.secure else "clear-text")
    r = e.create("home-default", "metro", 25)
    assert r.status.code == 0 and (r.thresholds.apportion, r.thresholds.reclaim) == (10, 300)
    r = e.apportion("home-default", wanted=2)
    assert r.result == pb.ALARM_ACK and r.shortfall == 0
    d = e.domains["home-default"]
    assert d.pools == {"home-default": ipaddress.ip_network("10.20.0.0/25"),
                       "home-default-0000": ipaddress.ip_network("10.20.0.128/25")}
    assert free_addresses(weftd) == ROOT.num_addresses - 256
    # Counted as reported, pool by pool.
    pools = [e.pool(d, n, used=u) for n, u in (("home-default", 100), ("home-default-0000", 5))]
    assert e.stream.ask("stats", domain="home-default", free=147, used=105, pool=pools).status.code == 0
    assert e.stream.ask("stats", domain="nope").status.code == 5
    assert e.stream.ask("ping", sent_at_us=42).sent_at_us == 42
    # Growth, then the pool that is not needed goes all the way back.
    e.apportion("home-default", wanted=1)
    r = e.give_back("home-default", "home-default-0000")
    assert r.action == pb.REMOVE_POOL, r
    wait_for("the prefix is free again", lambda: free_addresses(weftd) == ROOT.num_addresses - 256)
    # Its number is not used again (APM-035), its prefix is.
    new = e.take("home-default", e.apportion("home-default", wanted=1))
    assert new == [("home-default-0002", ipaddress.ip_network("10.20.0.128/25"))]
    # A break: the same again, by digest and in full.
    for digest in (True, False):
        e.close()
        e.hello()
        r = e.sync(digest)
        assert list(r.keep) == ["home-default"] and not r.create_first and not r.removed_here
        assert free_addresses(weftd) == ROOT.num_addresses - 384
    assert e.stream.ask("delete_domain", domain="home-default").status.code == 0
    assert free_addresses(weftd) == ROOT.num_addresses


# proves: APM-052 P-06
def test_an_empty_partition(weftd, pb, peers):
    e = peers().connect()
    e.create("big", "metro", 23)
    now = int(time.time())
    assert e.apportion("big", wanted=3).shortfall == 1
    r = e.apportion("big", wanted=1)
    assert (r.result, r.action, r.reason) == (pb.ALARM_NACK, pb.NOOP, pb.PARTITION_EMPTY)
    assert now + 900 <= r.retry_at <= int(time.time()) + 900 and "metro" in r.text
    alarms = weftd.ask("POST", "/restconf/operations/weft-apm:show-alarms").text
    assert "big" in alarms
    assert e.alarm(pb.ABATE, "big", abated=[r.alarm_id]).result == pb.ALARM_ACK


# proves: P-05
def test_duplicates_get_the_stored_answer(weftd, pb, peers):
    e = peers().connect()
    e.create("dup", "metro", 26)
    first = e.apportion("dup", wanted=2, alarm_id="once")
    free = free_addresses(weftd)
    for attempt in (1, 0, 1):
        again = e.alarm(pb.APPORTION, "dup", alarm_id="once", attempt=attempt, wanted_prefixes=2,
                        preferred_length=26)
        assert again == first
    # Over a break as well, and over a kill -9 of the manager.
    e.close()
    weftd.kill()
    weftd.start()
    e.hello()
    e.sync()
    assert e.alarm(pb.APPORTION, "dup", alarm_id="once", wanted_prefixes=2, preferred_length=26) == first
    assert free_addresses(weftd) == free
    # A further attempt is a new question.
    assert e.alarm(pb.APPORTION, "dup", alarm_id="once", attempt=2, wanted_prefixes=1,
                   preferred_length=26).add[0].name == "dup-0001"


# proves: P-10
def test_thresholds_of_a_commit(weftd, pb, peers):
    e = peers().connect()
    e.create("th", "metro", 26)
    e.apportion("th")
    try:
        for accepted, apportion in ((True, 12), (False, 13)):
            r = weftd.ask("PATCH", "weft-apm:apm/pool-domain-profile=auto",
                          {"weft-apm:pool-domain-profile": [{"name": "auto", "apportion-threshold": apportion}]})
            assert r.status == 204, r
            order = e.stream.order()
            assert order.type == pb.ORDER_UPDATE_THRESHOLDS and order.domain == "th"
            assert order.thresholds.apportion == apportion and order.revision > 0
            e.confirm(order.order_id, 0 if accepted else 9, "" if accepted else "at most 12 here",
                      revision=order.revision)
            commit = r.headers["weft-commit"]
            text = wait_for("the target has answered", lambda: (
                lambda t: t if "bng1" in t and ("applied" in t or "refused" in t) else None)(
                    weftd.cli(f"show commit {commit} status")))
            assert ("at most 12 here" in text) is not accepted, text
    finally:
        weftd.ask("PUT", "weft-apm:apm", APM)


# proves: APM-058 APM-088
def test_operators_orders(weftd, pb, peers):
    e = peers("bng3").connect()
    e.create("op", "metro", 26)
    e.apportion("op", wanted=4)
    d = e.domains["op"]
    e.stream.ask("stats", domain="op", free=248, used=0, pool=[e.pool(d, n) for n in d.pools])
    r = e.alarm(pb.RECLAIM, "op", free_addresses=248, total_addresses=248, candidate_pool=["op-0001"],
                candidate_used=0, candidate_total=62)
    assert (r.result, r.reason) == (pb.ALARM_PENDING, pb.AUTO_RECLAIM_OFF)
    assert "op-0001" in weftd.cli("show apm alarms")
    weftd.cli("request apm drain entity bng3 pool-domain op pool op-0001")
    o = e.stream.order()
    assert (o.type, o.domain, o.pool) == (pb.ORDER_SET_DRAIN, "op", "op-0001")
    d.state["op-0001"] = pb.DRAINING
    e.confirm(o.order_id, pool=e.pool(d, "op-0001"))
    weftd.cli("request apm activate entity bng3 pool-domain op pool op-0001")
    o = e.stream.order()
    assert o.type == pb.ORDER_CLEAR_DRAIN
    d.state.pop("op-0001")
    e.confirm(o.order_id, pool=e.pool(d, "op-0001"))
    # Over ApmiAdmin the same, with TLS and the administrator's password.
    admin = Admin(pb, f"127.0.0.1:{weftd.ports['apmi']}", credentials(weftd.certificate("robot")), basic(weftd))
    assert "draining" in admin("Drain", entity="bng3", domain="op", pool="op-0001", force=True).text
    o = e.stream.order()
    assert o.type == pb.ORDER_SET_DRAIN
    d.state["op-0001"] = pb.DRAINING
    e.confirm(o.order_id, pool=e.pool(d, "op-0001"))
    d.state["op-0001"] = pb.DRAINED
    r = e.alarm(pb.POOL_DRAINED, "op", candidate_pool=["op-0001"])
    assert r.result == pb.ALARM_PENDING
    assert admin("Reclaim", entity="bng3", domain="op", pool="op-0001").status.code == 0
    o = e.stream.order()
    assert (o.type, o.pool) == (pb.ORDER_REMOVE_POOL, "op-0001")
    gone = e.pool(d, "op-0001")
    del d.pools["op-0001"]
    e.confirm(o.order_id, pool=gone)
    wait_for("three pools", lambda: len(admin("GetDomain", entity="bng3", domain="op").pool) == 3)
    admin.close()


# ---- who may come ---------------------------------------------------------------------------------

# proves: APM-042 P-01
def test_an_unknown_system_id(weftd, peers):
    e = peers("bng9")
    ack = e.hello()
    assert ack.status.code == 7 and "bng9" in ack.status.text
    assert e.stream.end()[0] == 7
    assert entity_state(weftd, "bng9") is None


# proves: APM-044 P-01
def test_versions_that_do_not_meet(weftd, peers):
    e = peers()
    for low, high in ((3, 9), (0, 0)):
        ack = e.hello(min_version=low, max_version=high)
        assert ack.status.code == 9, ack
        assert e.stream.end()[0] == 9
    assert e.hello(min_version=0, max_version=7).version == 2
    assert e.hello(min_version=1, max_version=1).version == 1


# proves: P-02
def test_a_second_session(weftd, pb, peers):
    first = peers().connect()
    second = Entity(pb, "bng1", first.target, first.creds)
    second.epoch = first.epoch - 2  # hello() adds one: smaller than that of the first
    ack = second.hello()
    assert ack.status.code == 10 and second.stream.end()[0] == 10
    assert first.stream.ask("ping", sent_at_us=1).sent_at_us == 1
    second.epoch = first.epoch - 1  # the same: takes over
    assert second.hello().status.code == 0
    assert first.stream.end()[0] == 10
    second.sync()
    second.close()


# proves: P-03
def test_alarms_before_the_synchronisation(weftd, pb, peers):
    e = peers()
    e.hello()
    r = e.alarm(pb.APPORTION, "x", wanted_prefixes=1)
    assert (r.result, r.action, r.reason) == (pb.ALARM_NACK, pb.NOOP, pb.SYNC_IN_PROGRESS)
    assert abs(r.retry_at - time.time() - 1) < 2.5
    e.sync()
    r = e.alarm(pb.APPORTION, "x", wanted_prefixes=1)
    assert r.reason == pb.UNKNOWN_DOMAIN


def test_certificates(weftd, pb, tmp_path):
    target = f"127.0.0.1:{weftd.ports['apmi']}"
    authority = os.path.join(weftd.data, "pki", "ca.pem")
    # Of another name: TLS is satisfied, the manager is not.
    e = Entity(pb, "bng1", target, credentials(weftd.certificate("bng2")))
    ack = e.hello()
    assert ack.status.code == 7 and "certificate" in ack.status.text, ack
    assert e.stream.end()[0] == 7
    # None at all; of another authority; clear text: no connection comes about.
    make_certificates(str(tmp_path), "bng1")
    shutil.copy(tmp_path / "stranger.crt", tmp_path / "cert.pem")
    shutil.copy(tmp_path / "stranger.key", tmp_path / "key.pem")
    shutil.copy(authority, tmp_path / "ca.pem")
    for creds in (credentials(None, authority), credentials(str(tmp_path)), None):
        e = Entity(pb, "bng1", target, creds)
        with pytest.raises(Exception) as caught:
            e.hello()
        assert getattr(caught.value, "code", None) in (14, 13), caught.value
        e.close()
    assert entity_state(weftd, "bng1") is None or entity_state(weftd, "bng1")["status"] == "unreachable"
    assert weftd.metric('weft_loop_slow_total') >= 0  # it answers


# ---- what a broken or hostile gateway may send --------------------------------------------------

# proves: P-13
@pytest.mark.parametrize("ids", [(5, 5), (5, 4), (5, 0)])
def test_message_ids_must_rise(weftd, peers, ids):
    e = peers()
    e.stream = Stream(e.pb, e.target, e.creds)
    e.stream.send("hello", msg_id=ids[0], system_id="bng1", min_version=1, max_version=1, boot_epoch=1)
    assert e.stream.reply(ids[0]).status.code == 0
    e.stream.send("ping", msg_id=ids[1])
    assert e.stream.end()[0] == 3


# proves: P-07
def test_a_message_over_a_mebibyte(weftd, pb, peers):
    e = peers().connect()
    head = weftd.head()
    m = pb.EntityMsg(msg_id=100)
    m.domain_sync.domain.extend(["d" * 60] * 20000)
    e.stream.send_raw(m.SerializeToString())
    assert e.stream.end()[0] in (8, 3)
    assert peers("bng2").connect()  # others don't notice
    assert weftd.head() >= head


def test_garbage(weftd, pb, peers):
    rng = random.Random(5)
    good = pb.EntityMsg(msg_id=7)
    good.alarm.alarm_id, good.alarm.type, good.alarm.domain = "a", pb.APPORTION, "x"
    good = good.SerializeToString()
    e = peers()
    rss = weftd.rss()
    for case in range(60):
        e.connect()
        if case % 3 == 0:
            data = rng.randbytes(rng.choice((1, 10, 1000, 100000)))
        elif case % 3 == 1:
            data = bytearray(good)
            for _ in range(3):
                data[rng.randrange(len(data))] = rng.randrange(256)
        else:
            data = good[:rng.randrange(1, len(good))]
        e.stream.send_raw(bytes(data))
        probe = e.stream.send("ping", msg_id=2**62)
        try:  # either it could be read and was answered in its way, or the stream ends with a code
            e.stream.reply(probe)
        except Exception as end:
            assert getattr(end, "code", None) in (3, 8), end
        e.close()
    assert weftd.alive() and weftd.rss() < rss + (64 << 20)


def bad_fields(pb):
    """Well-formed protobuf that means nothing."""
    pool = pb.Pool(name="p", prefix=pb.Prefix(af=pb.IPV4, address=bytes([10, 0, 0, 1]), length=24))
    yield "hello", {"system_id": ""}
    yield "hello", {"system_id": "x" * 46}
    yield "hello", {"system_id": "a b"}
    yield "pool_sync", {"domain": "d", "pool": [pool]}  # host bits set
    yield "pool_sync", {"domain": "d", "digest": b"short"}
    yield "create_domain", {"domain": "", "partition": "metro"}
    yield "create_domain", {"domain": "d\n", "partition": "metro"}
    yield "create_domain", {"domain": "d", "partition": "metro", "preferred_length": 33}
    yield "create_domain", {"domain": "d", "partition": "../x"}
    yield "alarm", {"alarm_id": "", "type": 1, "domain": "d"}
    yield "alarm", {"alarm_id": "a", "type": 9, "domain": "d"}
    yield "alarm", {"alarm_id": "a", "type": pb.POOL_DRAINED, "domain": "d"}
    yield "alarm", {"alarm_id": "a", "type": 1, "domain": "d", "raised_at": -1}
    yield "order_result", {"order_id": "x" * 129}


# proves: P-21
def test_nonsense_is_refused_with_a_sentence(weftd, pb, peers):
    for kind, fields in bad_fields(pb):
        e = peers()
        if kind == "hello":
            e.stream = Stream(pb, e.target, e.creds)
        else:
            e.connect()
        e.stream.send(kind, **fields)
        code, text = e.stream.end()
        assert code == 3 and len(text) > 10, (kind, fields, code, text)
        e.close()
    e = peers().connect()
    for order in ("o.rm.1.1.a.1.1", "th.0.99999", "nonsense", "o.rm.4294967295.4294967295.ffffffff.1.1"):
        assert e.confirm(order).status.code == 0  # an answer to nothing changes nothing
    e.stream.send("hello", system_id="bng1", min_version=1, max_version=1)
    assert e.stream.end()[0] == 3  # Hello comes once


# ---- conflicts: nobody is given what another has -------------------------------------------------

# proves: APM-074 P-12
def test_two_gateways_claim_one_prefix(weftd, pb, peers):
    one, two = peers("bng1").connect(), peers("bng2").connect()
    one.create("a", "metro", 25)
    (name, net), = one.take("a", one.apportion("a"))
    two.create("b", "metro", 25)
    two.domains["b"].pools["b"] = net
    r = two.pool_sync("b")
    assert [v.verdict for v in r.verdict] == [pb.PoolVerdict.CONFLICT_DRAIN] and r.verdict[0].reason.startswith("C1")
    d = two.domains["b"]
    d.state["b"] = pb.DRAINED
    a = two.alarm(pb.POOL_DRAINED, "b", candidate_pool=["b"])
    assert a.action == pb.REMOVE_POOL
    gone = two.pool(d, "b")
    d.pools.clear()
    two.confirm(a.alarm_id, pool=gone)
    show = weftd.cli(f"show apm prefix {net}")
    assert "bng1" in show and "bng2" not in show, show


# ---- ApmiAdmin -------------------------------------------------------------------------------------

def basic(weftd, user="admin", password=None):
    return "Basic " + base64.b64encode(f"{user}:{password or weftd.password()}".encode()).decode()


def test_admin(weftd, pb, peers):
    e = peers().connect()
    e.create("adm", "metro", 24)
    e.apportion("adm")
    target, creds = f"127.0.0.1:{weftd.ports['apmi']}", credentials(weftd.certificate("robot"))
    admin = Admin(pb, target, creds, basic(weftd))
    watch = admin("Watch")
    info, = [i for i in admin("ListEntities") if i.system_id == "bng1"]
    assert info.reachable and list(info.domain) == ["adm"] and info.version == 1
    assert admin("ListEntities", entity="nobody") == []
    d = admin("GetDomain", entity="bng1", domain="adm")
    assert d.partition == "metro" and [(p.name, p.prefix.length) for p in d.pool] == [("adm", 24)]
    e.apportion("adm", wanted=30)  # more than there is: what is missing is no alarm, none at all is
    r = e.apportion("adm", wanted=1)
    assert r.reason == pb.PARTITION_EMPTY
    alarm, = admin("ListAlarms", entity="bng1")
    assert alarm.type == pb.APPORTION and alarm.alarm_id == r.alarm_id and alarm.retry_at == r.retry_at
    seen = next(m for m in watch if m.name == "weft-apm:alarm-raised")
    assert "adm" in json.loads(seen.json)["pool-domain"]
    watch.cancel()
    for method, fields, code in (
            ("GetDomain", {"entity": "bng1", "domain": "none"}, "NOT_FOUND"),
            ("Drain", {"entity": "bng1", "domain": "adm", "pool": "none"}, "NOT_FOUND"),
            ("Activate", {"entity": "bng1", "domain": "adm", "pool": "adm"}, "FAILED_PRECONDITION"),
            ("Reclaim", {"entity": "bng1", "domain": "adm", "pool": "adm"}, "FAILED_PRECONDITION"),
            ("ReleaseEntity", {"entity": "bng1"}, "FAILED_PRECONDITION"),
            ("ReleaseEntity", {"entity": "nobody"}, "NOT_FOUND")):
        with pytest.raises(grpc.RpcError) as caught:
            admin(method, **fields)
        assert caught.value.code().name == code and len(caught.value.details()) > 8, (method, caught.value)
    admin.close()


def test_admin_needs_a_right(weftd, pb):
    target, creds = f"127.0.0.1:{weftd.ports['apmi']}", credentials(weftd.certificate("bng1"))
    clear = f"127.0.0.1:{weftd.ports['apmi-clear']}"
    for where, how, authorization, codes in (
            (target, creds, None, {"UNAUTHENTICATED", "PERMISSION_DENIED"}),  # a gateway's own certificate
            (target, creds, basic(weftd, password="wrong"), {"UNAUTHENTICATED"}),
            (target, creds, "Bearer wt_nonsense.nonsense", {"UNAUTHENTICATED"}),
            (clear, None, basic(weftd), {"PERMISSION_DENIED"})):  # no passwords in clear text
        admin = Admin(pb, where, how, authorization)
        for method, fields in (("ListEntities", {}), ("ReleaseEntity", {"entity": "bng1"})):
            with pytest.raises(grpc.RpcError) as caught:
                admin(method, **fields)
            assert caught.value.code().name in codes, (authorization, caught.value)
        admin.close()


# ---- node -----------------------------------------------------------------------------------------

# proves: A10 P-05 P-13
@pytest.mark.parametrize("secure", [False, True])
def test_a_gateway_in_node(weftd, node_modules, secure):
    node = os.path.join(os.path.dirname(node_modules), "entity.js")
    target = f"127.0.0.1:{weftd.ports['apmi' if secure else 'apmi-clear']}"
    certificate = weftd.certificate("bng2") if secure else ""
    r = subprocess.run([shutil.which("node"), node, os.path.join(TOP, "proto", "openapmi.proto"), target,
                        "bng2", certificate], capture_output=True, text=True, timeout=300, check=False)
    assert r.returncode == 0, r.stdout + r.stderr
    told = json.loads(r.stdout)
    assert told["security"] == "as asked" and told["given"] == ["10.20.0.0/25", "10.20.0.128/25"]
    assert told["drained"] == "js-0000" and told["refused"] == 7
    assert told["duplicate"] is True and told["outOfOrder"] == 3 and told["tooBig"] in (3, 8)
    assert free_addresses(weftd) == ROOT.num_addresses - 128  # what it did not give back
    state = entity_state(weftd, "bng2")
    assert state["security"] == ("mutual-tls" if secure else "clear-text")
    release(weftd, "bng2")
    assert free_addresses(weftd) == ROOT.num_addresses
