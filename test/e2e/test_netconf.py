# SPDX-License-Identifier: Apache-2.0
"""NETCONF over SSH with ncclient: RFC 6241's operations, confirmed commits, notifications, rights."""
import re
import socket
import subprocess
import time

import pytest
from lxml import etree
from ncclient import manager
from ncclient.operations import RPCError
from ncclient.xml_ import to_ele

from weftd_lab import Weftd

NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
APM = "urn:weft:apm"
MON = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
Q = {"nc": NC, "a": APM, "m": MON, "n": "urn:ietf:params:xml:ns:netconf:notification:1.0"}


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    d = Weftd(tmp_path_factory.mktemp("netconf"), options=["--listen-netconf", "127.0.0.1:0"])
    with d:
        yield d


def connect(w, user="admin", password=None, **more):
    return manager.connect(host="127.0.0.1", port=w.ports["netconf"], username=user,
                           password=password or w.password(), hostkey_verify=False, allow_agent=False,
                           look_for_keys=False, timeout=60, **more)


@pytest.fixture
def m(w):
    with connect(w) as session:
        yield session
        session.discard_changes()


def config(inner):
    return f'<config xmlns="{NC}" xmlns:nc="{NC}"><apm xmlns="{APM}">{inner}</apm></config>'


def profile(name, apportion, reclaim=70000, attributes=""):
    return (f"<pool-domain-profile{attributes}><name>{name}</name><apportion-threshold>{apportion}</apportion-threshold>"
            f"<reclaim-threshold>{reclaim}</reclaim-threshold></pool-domain-profile>")


def threshold(session, name, source="running"):
    """What the profile has in that configuration; None: it is not there."""
    reply = session.get_config(source, filter=("subtree", f'<apm xmlns="{APM}"><pool-domain-profile><name>{name}</name>'
                                               '<apportion-threshold/></pool-domain-profile></apm>'))
    found = reply.data_ele.xpath("//a:apportion-threshold/text()", namespaces=Q)
    return int(found[0]) if found else None


def put(session, name, apportion):
    session.edit_config(target="candidate", config=config(profile(name, apportion)))
    session.commit()


def refused(tag, fn, *args, **kw):
    with pytest.raises(RPCError) as e:
        fn(*args, **kw)
    assert e.value.tag == tag, e.value
    assert e.value.message
    return e.value


# ---- sessions

def test_capabilities(m):
    have = set(m.server_capabilities)
    for name in ("base:1.0", "base:1.1", "capability:candidate:1.0", "capability:confirmed-commit:1.1",
                 "capability:rollback-on-error:1.0", "capability:validate:1.1", "capability:xpath:1.0",
                 "capability:notification:1.0", "capability:interleave:1.0", "capability:writable-running:1.0"):
        assert f"urn:ietf:params:netconf:{name}" in have, name
    assert any(c.startswith("urn:ietf:params:netconf:capability:with-defaults:1.0?basic-mode=explicit") for c in have)
    assert any("yang-library:1.1?revision=2019-01-04&content-id=" in c for c in have)
    assert any(c.startswith(APM + "?module=weft-apm&revision=") for c in have)


def test_wrong_password(w):
    with pytest.raises(Exception, match="(?i)auth"):
        connect(w, password="wrong")


def test_a_key_logs_in(w, m, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], check=True)
    kind, data = (tmp_path / "id.pub").read_text().split()[:2]
    m.edit_config(target="candidate", config=f'<config xmlns="{NC}"><system xmlns="urn:weft:system"><user><name>admin'
                  f'</name><authorized-key><name>k</name><algorithm>{kind}</algorithm><key-data>{data}</key-data>'
                  '</authorized-key></user></system></config>')
    m.commit()
    with manager.connect(host="127.0.0.1", port=w.ports["netconf"], username="admin", hostkey_verify=False,
                         allow_agent=False, look_for_keys=False, key_filename=str(tmp_path / "id"), timeout=60) as by_key:
        assert by_key.connected
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    with pytest.raises(Exception, match="(?i)auth"):
        manager.connect(host="127.0.0.1", port=w.ports["netconf"], username="admin", hostkey_verify=False,
                        allow_agent=False, look_for_keys=False, key_filename=str(tmp_path / "other"), timeout=60)


# ---- editing

def test_candidate_to_running(m):
    m.edit_config(target="candidate", config=config(profile("one", 10)))
    assert threshold(m, "one", "candidate") == 10 and threshold(m, "one") is None
    m.validate("candidate")
    m.commit()
    assert threshold(m, "one") == 10


def test_operations(m):
    put(m, "ops", 10)
    refused("data-exists", m.edit_config, target="candidate",
            config=config(profile("ops", 11, attributes=' nc:operation="create"')))
    refused("data-missing", m.edit_config, target="candidate",
            config=config('<pool-domain-profile nc:operation="delete"><name>nobody</name></pool-domain-profile>'))
    m.edit_config(target="candidate",
                  config=config('<pool-domain-profile nc:operation="remove"><name>nobody</name></pool-domain-profile>'))
    m.edit_config(target="candidate",
                  config=config('<pool-domain-profile nc:operation="delete"><name>ops</name></pool-domain-profile>'))
    m.commit()
    assert threshold(m, "ops") is None


def test_nested_operations(m):
    """One element merged, an entry inside it deleted, another made, in one request."""
    part = ('<inet-pool><partition><name>n</name><min-prefix-len>20</min-prefix-len><max-prefix-len>28</max-prefix-len>{}'
            '</partition></inet-pool>')
    m.edit_config(target="candidate", config=config(part.format('<prefix><prefix>100.64.0.0/22</prefix></prefix>')))
    m.commit()
    m.edit_config(target="candidate", config=config(part.format(
        '<prefix nc:operation="delete"><prefix>100.64.0.0/22</prefix></prefix><prefix nc:operation="create"><prefix>'
        '100.65.0.0/22</prefix></prefix>')))
    m.commit()
    data = m.get_config("running", filter=("subtree", f'<apm xmlns="{APM}"><inet-pool/></apm>')).data_ele
    assert data.xpath("//a:partition[a:name='n']/a:prefix/a:prefix/text()", namespaces=Q) == ["100.65.0.0/22"]


def test_default_operation_none(m):
    put(m, "kept", 10)
    refused("data-missing", m.edit_config, target="candidate", default_operation="none",
            config=config('<pool-domain-profile><name>missing</name><apportion-threshold nc:operation="replace">3'
                          '</apportion-threshold></pool-domain-profile>'))
    m.edit_config(target="candidate", default_operation="none",
                  config=config('<pool-domain-profile><name>kept</name><apportion-threshold nc:operation="replace">3'
                                '</apportion-threshold></pool-domain-profile>'))
    m.commit()
    assert threshold(m, "kept") == 3


def test_errors_change_nothing(m):
    put(m, "same", 10)
    e = refused("invalid-value", m.edit_config, target="candidate",
                config=config(profile("same", 11) + profile("bad", -1)))
    assert e.path.endswith("pool-domain-profile[apm:name='bad']/apm:apportion-threshold")
    assert threshold(m, "same", "candidate") == 10
    e = refused("unknown-element", m.edit_config, target="candidate", config=config("<nonsense/>"))
    assert "nonsense" in e.message
    m.edit_config(target="candidate", config=config("<entity-match><system-id>x</system-id><pool-domain-profile>nobody"
                                                    "</pool-domain-profile></entity-match>"))
    refused("data-missing", m.validate, "candidate")
    refused("data-missing", m.commit)
    m.discard_changes()
    m.validate("candidate")


def test_running_directly(m):
    m.edit_config(target="running", config=config(profile("direct", 5)))
    assert threshold(m, "direct") == 5
    m.edit_config(target="running", config=config(profile("direct", 6)), test_option="test-only")
    assert threshold(m, "direct") == 5


def test_copy_config(m):
    put(m, "copied", 5)
    m.edit_config(target="candidate", config=config(profile("copied", 6)))
    m.copy_config(source="running", target="candidate")
    assert threshold(m, "copied", "candidate") == 5
    refused("operation-not-supported", m.delete_config, target="candidate")


# ---- locks

def test_locks(w, m):
    with connect(w) as other:
        m.lock("candidate")
        e = refused("lock-denied", other.lock, "candidate")
        assert f"<session-id>{m.session_id}</session-id>" in e.info.replace("nc:", "").replace(f' xmlns="{NC}"', "")
        refused("lock-denied", other.edit_config, target="candidate", config=config(profile("locked", 1)))
        assert w.ask("POST", "weft-apm:apm", {"weft-apm:pool-domain-profile": [
            {"name": "locked", "apportion-threshold": 1, "reclaim-threshold": 70000}]}).status == 409
        m.edit_config(target="candidate", config=config(profile("locked", 2)))
        m.unlock("candidate")  # takes the edits along (RFC 6241 8.3.5.2)
        assert threshold(m, "locked", "candidate") is None
        other.lock("running")
    # the lock has gone with its session
    with connect(w) as third:
        third.lock("running")


def test_kill_session(w, m):
    other = connect(w)
    m.kill_session(other.session_id)
    end = time.monotonic() + 30
    while other.connected and time.monotonic() < end:
        time.sleep(0.1)
    assert not other.connected
    refused("invalid-value", m.kill_session, other.session_id)


# ---- confirmed commits

def wait_for(fn, seconds=60):
    end = time.monotonic() + seconds
    while not fn():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)


def test_confirmed_commit_times_out(m):
    put(m, "timed", 10)
    m.edit_config(target="candidate", config=config(profile("timed", 20)))
    m.commit(confirmed=True, timeout="1")
    assert threshold(m, "timed") == 20
    wait_for(lambda: threshold(m, "timed") == 10)


def test_confirmed_commit_is_confirmed(m):
    put(m, "sure", 10)
    m.edit_config(target="candidate", config=config(profile("sure", 20)))
    m.commit(confirmed=True, timeout="2")
    m.commit()
    time.sleep(3)
    assert threshold(m, "sure") == 20


def test_confirmed_commit_goes_with_its_session(w, m):
    put(m, "gone", 10)
    other = connect(w)
    other.edit_config(target="candidate", config=config(profile("gone", 20)))
    other.commit(confirmed=True, timeout="600")
    refused("in-use", m.commit)
    refused("in-use", m.cancel_commit)
    other.close_session()
    wait_for(lambda: threshold(m, "gone") == 10)


def test_cancel_commit(m):
    put(m, "cancelled", 10)
    m.edit_config(target="candidate", config=config(profile("cancelled", 20)))
    m.commit(confirmed=True, timeout="600")
    m.cancel_commit()
    assert threshold(m, "cancelled") == 10
    refused("operation-failed", m.cancel_commit)


def test_persist_survives_kill(w):
    with connect(w) as first:
        put(first, "persists", 10)
        first.edit_config(target="candidate", config=config(profile("persists", 20)))
        first.commit(confirmed=True, timeout="600", persist="my id")
    w.kill()
    w.start()
    second = connect(w)
    assert threshold(second, "persists") == 20
    refused("in-use", second.commit)
    refused("invalid-value", second.commit, persist_id="another")
    second.commit(persist_id="my id")
    w.kill()
    w.start()
    third = connect(w)
    assert threshold(third, "persists") == 20
    third.edit_config(target="candidate", config=config(profile("persists", 30)))
    third.commit(confirmed=True, timeout="600")
    w.kill()
    w.start()
    with connect(w) as fourth:  # it did not persist, so it is taken back
        wait_for(lambda: threshold(fourth, "persists") == 20)


# ---- reading

def test_filters(w):
    with connect(w) as m:
        put(m, "f1", 11)
        put(m, "f2", 12)
        names = m.get_config("running", filter=("subtree", f'<apm xmlns="{APM}"><pool-domain-profile><name/>'
                                                '</pool-domain-profile></apm>')).data_ele
        assert {"f1", "f2"} <= set(names.xpath("//a:name/text()", namespaces=Q))
        assert not names.xpath("//a:apportion-threshold", namespaces=Q)
        by_value = m.get_config("running", filter=(
            "subtree", f'<apm xmlns="{APM}"><pool-domain-profile><apportion-threshold>12</apportion-threshold>'
            '</pool-domain-profile></apm>')).data_ele
        assert by_value.xpath("//a:pool-domain-profile/a:name/text()", namespaces=Q) == ["f2"]
        nothing = m.dispatch(to_ele(f'<get-config xmlns="{NC}"><source><running/></source><filter/></get-config>'))
        assert not etree.fromstring(nothing.xml.encode()).xpath("/nc:rpc-reply/nc:data/*", namespaces=Q)
        assert len(m.get_config("running", filter=("subtree", '<nothing xmlns="urn:x"/>')).data_ele) == 0


@pytest.mark.parametrize("expression,names", [
    ("/a:apm/a:pool-domain-profile[a:name='f1']", ["f1"]),
    ("/a:apm/a:pool-domain-profile[a:apportion-threshold > 11]/a:name", ["f2"]),
    ("//a:pool-domain-profile[starts-with(a:name, 'f')]/a:name", ["f1", "f2"]),
    ("//a:pool-domain-profile[1 mod 0]", []),
    ("/a:apm[", None),
    ("1 mod 0", None),
    ("/b:apm", None),
])
def test_xpath(w, expression, names):
    with connect(w) as m:
        for n, v in (("f1", 11), ("f2", 12)):
            m.edit_config(target="running", config=config(profile(n, v)))
        m.edit_config(target="running", config=config(
            ''.join(f'<pool-domain-profile nc:operation="remove"><name>{n}</name></pool-domain-profile>'
                    for n in ("one", "kept", "same", "direct", "copied", "timed", "sure", "gone", "cancelled", "persists"))))
        rpc = to_ele(f'<get-config xmlns="{NC}"><source><running/></source><filter type="xpath" xmlns:a="{APM}" select='
                     f'"{expression.replace("<", "&lt;").replace(">", "&gt;")}"/></get-config>')
        if names is None:
            refused("invalid-value", m.dispatch, rpc)
            return
        reply = etree.fromstring(m.dispatch(rpc).xml.encode())
        assert reply.xpath("//a:pool-domain-profile/a:name/text()", namespaces=Q) == names


def test_with_defaults(m):
    m.edit_config(target="running", config=config(
        profile("wd", 11).replace("</pool-domain-profile>", "<auto-reclamation/></pool-domain-profile>")))
    f = ("subtree", f'<apm xmlns="{APM}"><pool-domain-profile><name>wd</name><auto-reclamation/></pool-domain-profile></apm>')
    assert not m.get_config("running", filter=f).data_ele.xpath("//a:active", namespaces=Q)
    everything = m.get_config("running", filter=f, with_defaults="report-all").data_ele
    assert everything.xpath("//a:active/text()", namespaces=Q) == ["always"]


def test_get_has_state_and_monitoring(m):
    data = m.get(filter=("subtree", f'<netconf-state xmlns="{MON}"/>')).data_ele
    assert str(m.session_id) in data.xpath("//m:session/m:session-id/text()", namespaces=Q)
    assert "weft-apm" in data.xpath("//m:schema/m:identifier/text()", namespaces=Q)
    lib = m.get(filter=("subtree", '<yang-library xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-library"><content-id/>'
                        '</yang-library>')).data_ele
    assert lib.xpath("//*[local-name()='content-id']/text()")


def test_get_schema(m):
    text = m.get_schema("weft-apm").data
    assert text.lstrip().startswith("module weft-apm {")
    refused("invalid-value", m.get_schema, "nobody")


def test_rpcs_of_the_model(m):
    reply = m.dispatch(to_ele(f'<show-partition xmlns="{APM}"/>'))
    assert "partition" in reply.xml
    refused("operation-not-supported", m.dispatch, to_ele('<nonsense xmlns="urn:x"/>'))


# ---- notifications

def test_notifications_with_replay(w):
    with connect(w) as m, connect(w) as other:
        start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        put(other, "event", int(time.time()) % 1000 + 1)
        m.create_subscription(start_time=start)
        seen = []
        while not any("replayComplete" in x for x in seen):
            n = m.take_notification(timeout=30)
            assert n is not None, seen
            seen.append(n.notification_xml)
        assert any("commit" in x for x in seen[:-1]), seen
        put(other, "event", int(time.time()) % 1000 + 1002)
        n = m.take_notification(timeout=30)
        assert n is not None and "<eventTime>" in n.notification_xml
        refused("operation-failed", m.create_subscription)
        assert threshold(m, "event") is not None  # interleaved


N = "urn:ietf:params:xml:ns:netconf:notification:1.0"


def subscribe(session, inner="", filter_=""):
    return session.dispatch(to_ele(f'<create-subscription xmlns="{N}" xmlns:s="urn:weft:system" xmlns:a="{APM}">{filter_}'
                                   f'{inner}</create-subscription>'))


def events_until(session, name):
    seen = []
    while not seen or name not in seen[-1]:
        n = session.take_notification(timeout=30)
        assert n is not None, seen
        seen.append(n.notification_xml)
    return seen[:-1]


@pytest.mark.parametrize("select,count", [
    ("/s:commit", 2), ("/s:commit[s:comment='nobody']", 0), ("/s:commit/s:user = 'admin'", 2),
    ("/s:commit[s:number > 0]/s:user", 2), ("/a:alarm-raised", 0), ("not(/s:commit)", 0)])
def test_xpath_filters_of_events(w, select, count):
    with connect(w) as m, connect(w) as other:
        subscribe(m, filter_=f'<filter type="xpath" select="{select.replace("<", "&lt;").replace(">", "&gt;")}"/>')
        with connect(w) as bystander:
            subscribe(bystander)
            for i in range(2):
                put(other, "events", int(time.time() * 1000) % 60000 + 1 + i)
            for _ in range(2):
                assert bystander.take_notification(timeout=30) is not None
        seen = [m.take_notification(timeout=30 if i < count else 1) for i in range(count + 1)]
        assert [n is not None for n in seen] == [True] * count + [False]


@pytest.mark.parametrize("inner,filter_,tag", [
    ("", '<filter type="xpath" select="/s:commit["/>', "invalid-value"),
    ("", '<filter type="xpath" select="/nobody:commit"/>', "invalid-value"),
    ("", '<filter type="xpath"/>', "missing-attribute"),
    ("", '<filter type="regex" select="x"/>', "bad-attribute"),
    ("<stream>nobody</stream>", "", "invalid-value"),
    ("<startTime>yesterday</startTime>", "", "invalid-value"),
    ("<startTime>2999-01-01T00:00:00Z</startTime>", "", "bad-element"),
    ("<stopTime>2999-01-01T00:00:00Z</stopTime>", "", "missing-element"),
    ("<startTime>2020-01-02T00:00:00Z</startTime><stopTime>2020-01-01T00:00:00Z</stopTime>", "", "bad-element"),
])
def test_subscriptions_that_are_refused(w, inner, filter_, tag):
    with connect(w) as m:
        refused(tag, subscribe, m, inner, filter_)
        subscribe(m)  # and none is there


def test_a_replay_that_ends(w):
    """stopTime in the past: what there was, replayComplete, notificationComplete, and then another may come."""
    with connect(w) as m:
        past = "<startTime>2020-01-01T00:00:00Z</startTime><stopTime>2020-01-02T00:00:00+01:00</stopTime>"
        subscribe(m, past)
        assert [x for x in events_until(m, "notificationComplete") if "replayComplete" not in x] == []
        put(m, "ended", int(time.time() * 1000) % 60000 + 1)
        assert m.take_notification(timeout=1) is None
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
        subscribe(m, f"<startTime>2020-01-01T00:00:00Z</startTime><stopTime>{now}</stopTime>")
        old = events_until(m, "replayComplete")
        assert any("commit" in x for x in old)
        events_until(m, "notificationComplete")
        subscribe(m)


# ---- rights: RFC 8341's refusals, by the rights of every dialect

def role(w, m, user, *rights):
    """A user with one role of these (path, access)."""
    text = "".join(f"<right><path>{p}</path><access>{a}</access></right>" for p, a in rights)
    m.edit_config(target="running", config=f'<config xmlns="{NC}"><system xmlns="urn:weft:system"><role><name>{user}s</name>'
                  f'{text}</role><user><name>{user}</name><role>{user}s</role></user></system></config>')
    assert w.ask("POST", "/restconf/operations/weft-system:password", {"weft-system:input": {
        "user": user, "password": "correct horse 1"}}).status in (200, 204)
    return connect(w, user, "correct horse 1")


def test_what_may_not_be_read_is_left_out(w, m):
    put(m, "visible", 10)
    m.edit_config(target="candidate", config=config(profile("edited", 10)))
    with role(w, m, "eve", ("/weft-apm:apm/pool-domain-profile", "read")) as eve:
        for data in (eve.get_config("running").data_ele, eve.get_config("candidate").data_ele, eve.get().data_ele,
                     eve.get_config("running", filter=("xpath", "//*")).data_ele):
            assert data.xpath("//a:pool-domain-profile[a:name='visible']", namespaces=Q)
            assert {etree.QName(x).namespace for x in data} == {APM}
            assert {etree.QName(x).localname for x in data[0]} == {"pool-domain-profile"}
        assert len(eve.get_config("running", filter=("subtree", '<system xmlns="urn:weft:system"/>')).data_ele) == 0
        assert len(eve.get(filter=("subtree", f'<netconf-state xmlns="{MON}"/>')).data_ele) == 0
        eve.create_subscription(start_time="2020-01-01T00:00:00Z")
        seen = []
        while not any("replayComplete" in x for x in seen):
            seen.append(eve.take_notification(timeout=30).notification_xml)
        assert len(seen) == 1  # no event that she may not see


def test_who_may_only_read_changes_nothing(w, m):
    put(m, "visible", 10)
    m.edit_config(target="candidate", config=config(profile("edited", 10)))
    with role(w, m, "eve", ("/weft-apm:apm/pool-domain-profile", "read")) as eve:
        for target in ("candidate", "running"):
            e = refused("access-denied", eve.edit_config, target=target, config=config(profile("visible", 11)))
            assert e.path.endswith("/apm:pool-domain-profile[apm:name='visible']")
            assert e.type == "protocol"
            refused("access-denied", eve.lock, target)
        # whether something is there that she may not see is not told either
        for name in ("visible", "nobody"):
            refused("access-denied", eve.edit_config, target="candidate", config=config(
                f'<pool-domain-profile nc:operation="delete"><name>{name}</name></pool-domain-profile>'))
        for op in (eve.commit, eve.discard_changes):
            refused("access-denied", op)
        refused("access-denied", eve.copy_config, source="running", target="candidate")
        refused("access-denied", eve.kill_session, m.session_id)
        refused("access-denied", eve.dispatch, to_ele(f'<clear-statistics xmlns="{APM}"/>'))
    assert threshold(m, "edited", "candidate") == 10 and threshold(m, "visible") == 10


def test_rights_on_a_part_and_on_operations(w, m):
    m.edit_config(target="running", config=config(profile("hers", 1) + profile("his", 1)))
    with role(w, m, "ada", ("/weft-apm:apm/pool-domain-profile", "read"), ("/ietf-netconf:", "exec"),
              ("/weft-apm:apm/pool-domain-profile=hers", "read write")) as ada, connect(w) as victim:
        ada.lock("candidate")
        ada.edit_config(target="candidate", config=config(profile("hers", 2)))
        e = refused("access-denied", ada.edit_config, target="candidate", config=config(profile("hers", 3) + profile("his", 3)))
        assert e.path.endswith("[apm:name='his']")
        assert threshold(ada, "hers", "candidate") == 2  # all or nothing
        ada.commit()
        ada.unlock("candidate")
        assert (threshold(m, "hers"), threshold(m, "his")) == (2, 1)
        ada.kill_session(victim.session_id)


# ---- bad input

class Raw:
    """The subsystem through ssh(1), for what ncclient would never send."""

    def __init__(self, w):
        import paramiko
        self.t = paramiko.Transport(("127.0.0.1", w.ports["netconf"]))
        self.t.connect(username="admin", password=w.password())
        self.c = self.t.open_session()
        self.c.settimeout(60)
        self.c.invoke_subsystem("netconf")
        self.hello = self.until(b"]]>]]>")

    def until(self, mark):
        got = b""
        while mark not in got:
            piece = self.c.recv(65536)
            if not piece:
                raise EOFError(got[-500:])
            got += piece
        return got

    def greet(self, version="1.1"):
        self.c.sendall((f'<hello xmlns="{NC}"><capabilities><capability>urn:ietf:params:netconf:base:{version}</capability>'
                        '</capabilities></hello>]]>]]>').encode())
        return self

    def chunk(self, text):
        self.c.sendall(f"\n#{len(text.encode())}\n{text}\n##\n".encode())
        return self.until(b"\n##\n").decode()

    def closed(self):
        try:
            while self.c.recv(65536):
                pass
            return True
        except socket.timeout:
            return False

    def close(self):
        self.t.close()


# ---- a hundred thousand objects

MANY = 100_000


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("many"), options=["--listen-netconf", "127.0.0.1:0"]) as d:
        d.cli("configure", "set system settings guard-rails delete-objects 1000000", "commit")
        for start in range(0, MANY, 20000):
            assert d.ask("PATCH", "weft-apm:apm", {"weft-apm:apm": {"pool-domain-profile": [
                {"name": f"p{i:06}", "apportion-threshold": 10, "reclaim-threshold": 70000}
                for i in range(start, start + 20000)]}}).status in (200, 204)
        yield d


ALL = f'<rpc xmlns="{NC}" message-id="1"><get-config><source><running/></source></get-config></rpc>'


def read_all(r):
    """Names in the answer, without keeping it."""
    r.c.sendall(f"\n#{len(ALL)}\n{ALL}\n##\n".encode())
    n, rest = 0, b""
    while b"\n##\n" not in rest:
        rest += r.c.recv(1 << 20)
        n += rest.count(b"<apportion-threshold>")
        rest = rest[-20:] if b"\n##\n" not in rest else rest
    return n


def test_a_hundred_thousand_objects_in_bounded_memory(many):
    r = Raw(many).greet()
    before = many.rss()
    peaks = []
    for _ in range(2):
        assert read_all(r) == MANY
        peaks.append(many.rss())
    r.close()
    assert max(peaks) - before < 24 << 20, (before, peaks)  # the answer has 14 MB, a copy of the objects more


def test_one_of_a_hundred_thousand(many):
    """An edit, a filter and an XPath of one object do not look at the others' contents."""
    with connect(many) as m:
        put(m, "p050000", 11)
        assert threshold(m, "p050000") == 11
        found = m.get_config("running", filter=("xpath", ({"a": APM}, "/a:apm/a:pool-domain-profile[a:name='p050000']")))
        assert found.data_ele.xpath("//a:name/text()", namespaces=Q) == ["p050000"]


def test_clients_that_stop_reading_a_hundred_thousand(many):
    before = many.rss()
    stuck = [Raw(many).greet() for _ in range(10)]
    for r in stuck:
        r.c.sendall(f"\n#{len(ALL)}\n{ALL}\n##\n".encode())
        assert r.c.recv(1000)
    with connect(many) as m:  # others are served
        put(m, "p000001", 12)
        assert threshold(m, "p000001") == 12
    assert many.rss() - before < 48 << 20
    for r in stuck:
        r.close()
    r = Raw(many).greet()
    assert read_all(r) == MANY
    r.close()


@pytest.fixture
def raw(w):
    made = []

    def new():
        made.append(Raw(w))
        return made[-1]
    yield new
    for r in made:
        r.close()


@pytest.mark.parametrize("data", [b"\n#0\n", b"\n#x\n", b"\n#99999999999\n", b"x", b"\n##\n", b"\n#4294967295\n"])
def test_broken_chunks_end_the_session(w, raw, data):
    r = raw().greet()
    r.c.sendall(data)
    assert r.closed() and w.alive()


@pytest.mark.parametrize("hello", [b"<hello/>", b"not xml", b'<hello xmlns="%s"><capabilities/></hello>' % NC.encode(),
                                   b'<!DOCTYPE a [<!ENTITY b "c">]><hello/>', b"<" * 100000])
def test_bad_hellos_end_the_session(w, raw, hello):
    r = raw()
    r.c.sendall(hello + b"]]>]]>")
    assert r.closed() and w.alive()


def test_bad_messages_are_answered(raw):
    r = raw().greet()
    assert "missing-attribute" in r.chunk(f'<rpc xmlns="{NC}"><get/></rpc>')
    assert "missing-element" in r.chunk(f'<rpc xmlns="{NC}" message-id="1"/>')
    answer = r.chunk(f'<rpc xmlns="{NC}" message-id="1" xmlns:x="urn:x" x:y="z&lt;"><nonsense/></rpc>')
    assert 'message-id="1"' in answer and 'x:y="z&lt;"' in answer and "operation-not-supported" in answer
    deep = "<a>" * 500 + "</a>" * 500
    assert "too-big" in r.chunk(f'<rpc xmlns="{NC}" message-id="2"><edit-config>{deep}</edit-config></rpc>')


def test_not_xml_ends_the_session(w, raw):
    r = raw().greet()
    assert "malformed-message" in r.chunk("<rpc")
    assert r.closed() and w.alive()


def test_base_1_0(raw):
    r = raw().greet("1.0")
    r.c.sendall(f'<rpc xmlns="{NC}" message-id="1"><get-config><source><running/></source></get-config></rpc>]]>]]>'.encode())
    assert r.until(b"]]>]]>").startswith(b"<rpc-reply")


def test_only_the_subsystem(w):
    import paramiko
    t = paramiko.Transport(("127.0.0.1", w.ports["netconf"]))
    t.connect(username="admin", password=w.password())
    c = t.open_session()
    with pytest.raises(paramiko.SSHException):
        c.exec_command("id")
    t.close()
    assert w.alive()


def test_a_client_that_does_not_read(w, raw):
    """It costs a bounded amount, and others are served."""
    before = w.rss()
    r = raw().greet()
    one = f'<rpc xmlns="{NC}" message-id="1"><get-schema xmlns="{MON}"><identifier>weft-apm</identifier></get-schema></rpc>'
    r.c.settimeout(2)
    try:
        for _ in range(3000):
            r.c.sendall(f"\n#{len(one)}\n{one}\n##\n".encode())
    except socket.timeout:
        pass
    with connect(w) as m:
        assert m.get_config("running").ok
    assert w.rss() - before < 64 << 20
    assert re.search(r"session-id>\d+<", r.hello.decode())
