# SPDX-License-Identifier: Apache-2.0
"""Maintenance: what changes or acts is refused in every dialect, with the reason; the rest goes on."""
import base64

import grpc
import pytest
from ncclient import manager
from ncclient.operations.rpc import RPCError

from apmi_entity import Admin, Entity, credentials, generate
from weftd_lab import Weftd

APM = {"weft-apm:apm": {
    "inet-pool": {"partition": [{"name": "metro", "min-prefix-len": 16, "max-prefix-len": 26,
                                 "prefix": [{"prefix": "10.20.0.0/22"}]}]},
    "pool-domain-profile": [{"name": "auto", "apportion-threshold": 10, "reclaim-threshold": 300}],
    "entity-match": [{"system-id": "bng1", "pool-domain-profile": "auto"}]}}
WHY = 'put there by root: "new disks"'.replace('"', "")


@pytest.fixture(scope="module")
def weftd(tmp_path_factory):
    options = ["--listen-netconf", "127.0.0.1:0"]
    with Weftd(tmp_path_factory.mktemp("mode"), options=options) as d:
        assert d.ask("PUT", "weft-apm:apm", APM).status in (201, 204)
        yield d


@pytest.fixture(scope="module")
def pb(tmp_path_factory):
    return generate(str(tmp_path_factory.mktemp("pb")))


@pytest.fixture
def maintenance(weftd):
    weftd.cli('request system maintenance on "new disks"')
    yield
    weftd.cli("request system maintenance off")


def rpc(weftd, name, **given):
    return weftd.ask("POST", f"/restconf/operations/{name}", {f"{name.split(':')[0]}:input": given})


def settings(weftd, text):
    return weftd.ask("PUT", "weft-system:system/settings", {"weft-system:settings": {"location": text}})


def test_what_is_said(weftd):
    assert "Mode  : operation" in weftd.cli("show system maintenance")
    before = weftd.ask("GET", "/readyz", accept="*/*")
    assert (before.status, before.text) == (200, "ready\n")
    assert weftd.metric("weft_maintenance") == 0
    out = weftd.cli('request system maintenance on "new disks"')
    assert "Mode  : maintenance" in out and "Reason: new disks" in out and "User  : root" in out
    r = weftd.ask("GET", "/readyz", accept="*/*")
    assert r.status == 200 and r.text.startswith("ready, in maintenance since ")
    assert r.text.endswith(" by root: new disks\n")
    assert weftd.metric("weft_maintenance") == 1
    r = rpc(weftd, "weft-admin:maintenance-on", reason="again")
    assert r.status == 409 and "root has put it into maintenance already: new disks" in r.text
    assert "warning: the controller is in maintenance" in weftd.cli("configure", "exit")
    # Over a restart, orderly or not.
    weftd.kill()
    weftd.start()
    assert "Reason: new disks" in weftd.cli("show system maintenance")
    out = weftd.cli("request system maintenance off")
    assert "Mode  : operation" in out
    assert "Mode  : operation" in weftd.cli("request system maintenance off")  # harms nobody
    assert weftd.ask("GET", "/readyz", accept="*/*").text == "ready\n"
    audit = weftd.cli("show system audit")
    assert "/weft-admin:maintenance-on: done" in audit and "/weft-admin:maintenance-off: done" in audit
    assert rpc(weftd, "weft-admin:maintenance-on", reason="").status == 400
    assert rpc(weftd, "weft-admin:maintenance-on", reason="x" * 201).status == 400
    assert rpc(weftd, "weft-admin:maintenance-on").status == 400


def test_restconf(weftd, maintenance):
    commits = weftd.metric("weft_commits_total")
    r = settings(weftd, "elsewhere")
    assert r.status == 503 and WHY in r.errors[0]["error-message"], r
    r = rpc(weftd, "weft-system:token-create", description="x")
    assert r.status == 503 and WHY in r.errors[0]["error-message"], r
    r = rpc(weftd, "weft-apm:release-entity", entity="bng1")
    assert r.status == 503
    # What is as it should be already is no change (ESC-545), and looking goes on.
    assert weftd.ask("PUT", "weft-apm:apm/pool-domain-profile=auto", {
        "weft-apm:pool-domain-profile": APM["weft-apm:apm"]["pool-domain-profile"]}).status == 204
    assert weftd.ask("GET", "weft-apm:apm").status == 200
    assert rpc(weftd, "weft-system:backup", file="in-maintenance.db").status == 200
    assert rpc(weftd, "weft-system:check").status == 200
    assert weftd.metric("weft_commits_total") == commits


def test_cli(weftd, maintenance):
    out = weftd.cli("configure private", "set system settings location there", "commit check",
                    "show | compare", "commit", status=1)
    assert WHY in out and "commit failed: nothing was changed" in out
    assert "+     location there;" in out or "location there" in out
    assert WHY in weftd.cli("request system token create", status=1)


def test_netconf(weftd, maintenance):
    with manager.connect(host="127.0.0.1", port=weftd.ports["netconf"], username="admin",
                         password=weftd.password(), hostkey_verify=False, allow_agent=False,
                         look_for_keys=False, timeout=60) as m:
        with pytest.raises(RPCError) as e:
            m.edit_config(target="running", config="""<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">
                <system xmlns="urn:weft:system"><settings><location>x</location></settings></system></config>""")
        assert e.value.tag == "operation-failed" and WHY in e.value.message
        m.edit_config(target="candidate", config="""<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">
            <system xmlns="urn:weft:system"><settings><location>x</location></settings></system></config>""")
        m.validate("candidate")
        with pytest.raises(RPCError) as e:
            m.commit()
        assert e.value.tag == "operation-failed" and WHY in e.value.message
        m.discard_changes()
        assert m.get_config("running").data_ele is not None


def test_gateways_stay_and_ask_again(weftd, pb):
    tls = credentials(weftd.certificate("bng1"))
    e = Entity(pb, "bng1", f"127.0.0.1:{weftd.ports['apmi']}", tls).connect()
    e.create("home", "metro", 26)
    assert e.apportion("home").action == pb.ADD_POOLS
    weftd.cli('request system maintenance on "new disks"')
    try:
        r = e.apportion("home", alarm_id="later")
        assert r.result == pb.ALARM_NACK and r.reason == pb.STORE_UNAVAILABLE and not r.add, r
        assert WHY in r.text
        assert e.stream.ask("ping", sent_at_us=7).sent_at_us == 7  # the session lives
        # A gateway that comes now is served, and what it holds is recorded.
        e.close()
        e = Entity(pb, "bng1", e.target, tls)
        e.domains["home"] = _domain(weftd, pb, e)
        e.epoch = 1
        e.connect()
        assert e.apportion("home", alarm_id="later", attempt=2).result == pb.ALARM_NACK
        robot = credentials(weftd.certificate("robot"))
        basic = "Basic " + base64.b64encode(f"admin:{weftd.password()}".encode()).decode()
        admin = Admin(pb, e.target, robot, basic)
        with pytest.raises(grpc.RpcError) as caught:
            admin("Drain", entity="bng1", domain="home", pool="home")
        assert caught.value.code().name == "UNAVAILABLE" and WHY in caught.value.details()
        assert [i for i in admin("ListEntities") if i.system_id == "bng1"][0].reachable
        admin.close()
    finally:
        weftd.cli("request system maintenance off")
    r = e.apportion("home", alarm_id="later", attempt=3)
    assert r.action == pb.ADD_POOLS and len(r.add) == 1, r  # the alarm was not lost
    e.close()


def _domain(weftd, pb, e):
    """What the gateway has, as the controller knows it."""
    import ipaddress
    from apmi_entity import Domain
    d = Domain("metro", 26)
    d.pools["home"] = ipaddress.ip_network("10.20.0.0/26")
    assert "10.20.0.0/26" in weftd.cli("show apm partition name metro tree")
    return d


def test_only_when_idle(weftd):
    weftd.cli("request system backup /nowhere/x.db background")
    r = rpc(weftd, "weft-admin:maintenance-on", reason="r", **{"if-idle": [None]})
    assert r.status == 412 and "1 job has not ended: see show job" in r.text, r
    assert "Mode  : operation" in weftd.cli("show system maintenance")
    out = weftd.cli("request system maintenance on r")
    assert "Jobs  : 1 not ended" in out
    weftd.cli("request job cancel id 1")  # also in maintenance
    weftd.cli("request system maintenance off")
    weftd.cli("configure private", "set system settings location a", "commit confirmed 5")
    r = rpc(weftd, "weft-admin:maintenance-on", reason="r", **{"if-idle": [None]})
    assert r.status == 412 and "waits for its confirmation" in r.text, r
    # What is under way goes on: it can be confirmed in maintenance.
    weftd.cli("request system maintenance on r")
    weftd.cli("configure private", "commit")
    assert "location a" in weftd.cli("show configuration")
    weftd.cli("request system maintenance off")
