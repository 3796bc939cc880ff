# SPDX-License-Identifier: Apache-2.0
"""ietf-netconf-acm (RFC 8341): the rights as a view, and rights on operations of NETCONF."""
import base64
import random
import subprocess

import pytest
from ncclient import manager
from ncclient.operations import RPCError
from lxml import etree

from weftd_lab import Weftd

NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
ACM = "urn:ietf:params:xml:ns:yang:ietf-netconf-acm"
APM = "/weft-apm:apm/pool-domain-profile"
PASSWORD = "correct horse 1"
SEED = 20261127


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    d = Weftd(tmp_path_factory.mktemp("nacm"), options=["--listen-netconf", "127.0.0.1:0"])
    with d:
        yield d


def connect(w, user="admin", password=None):
    return manager.connect(host="127.0.0.1", port=w.ports["netconf"], username=user,
                           password=password or w.password(), hostkey_verify=False, allow_agent=False,
                           look_for_keys=False, timeout=60)


def put_role(w, name, *rights):
    answer = w.ask("PUT", f"weft-system:system/role={name}", {"weft-system:role": [{
        "name": name, "right": [{"path": p, "access": a} for p, a in rights]}]})
    assert answer.status in (201, 204), answer.body


def put_user(w, name, *roles):
    assert w.ask("PUT", f"weft-system:system/user={name}", {"weft-system:user": [{
        "name": name, "role": list(roles)}]}).status in (201, 204)
    assert w.ask("POST", "/restconf/operations/weft-system:password", {"weft-system:input": {
        "user": name, "password": PASSWORD}}).status in (200, 204)


def as_user(w, user, *args):
    basic = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
    return w.ask(*args, conn=w.tls_connection(), authorization="Basic " + basic).status


def view(w):
    answer = w.ask("GET", "ietf-netconf-acm:nacm")
    assert answer.status == 200, answer.body
    return answer.json()["ietf-netconf-acm:nacm"]


# ---- RFC 8341 3.4.4 to 3.4.6, as a manager would carry it out --------------------------------------------------

def steps(path):
    """[(module:name, {key: value})] of a node-instance-identifier."""
    out, text, depth = [], "", False
    for c in path[1:] + "/":
        depth = c == "[" or (depth and c != "]")
        if c == "/" and not depth:
            name, _, rest = text.partition("[")
            keys = dict(p.rstrip("]").split("=", 1) for p in rest.split("[") if p)
            out.append((name, {k: v.strip("'\"") for k, v in keys.items()}))
            text = ""
        else:
            text += c
    return out


def holds(rule_path, path):
    mine, asked = steps(rule_path), steps(path)
    return len(mine) <= len(asked) and all(
        a[0] == b[0] and all(b[1].get(k) == v for k, v in a[1].items()) for a, b in zip(mine, asked))


def decides(rule, operation, module, path=None, rpc=None):
    if rule.get("module-name", "*") not in ("*", module):
        return False
    if rule["access-operations"] != "*" and operation not in rule["access-operations"].split():
        return False
    kinds = {"path", "rpc-name", "notification-name"} & set(rule)
    if not kinds:
        return True
    if "path" in rule:
        return path is not None and holds(rule["path"], path)
    return "rpc-name" in rule and rpc is not None and rule["rpc-name"] in ("*", rpc)


def permitted(nacm, user, operation, module, path=None, rpc=None):
    groups = {g["name"] for g in nacm["groups"].get("group", []) if user in g.get("user-name", [])}
    for rules in nacm.get("rule-list", []):
        if groups & set(rules["group"]) or (groups and "*" in rules["group"]):
            for rule in rules.get("rule", []):
                if decides(rule, operation, module, path, rpc):
                    return rule["action"] == "permit"
    return nacm[{"read": "read-default", "exec": "exec-default"}.get(operation, "write-default")] == "permit"


def test_the_rules_decide_as_the_rights_do(w):
    """Random roles; what NACM's rules say is held against what the users then really can do."""
    rnd = random.Random(SEED)
    names = ["a", "b", "a.b", "it_s"]
    for n in names:
        assert w.ask("PUT", f"weft-apm:apm/pool-domain-profile={n}", {"weft-apm:pool-domain-profile": [
            {"name": n, "apportion-threshold": 10, "reclaim-threshold": 70000}]}).status in (201, 204)
    places = ["/", "/weft-apm:", "/weft-apm:apm", APM, f"{APM}=a", f"{APM}=a.b", "/weft-system:", "/weft-apm:apm/inet-pool",
              "/weft-system:show-version", "/weft-apm:show-alarms"]
    users = [f"u{i}" for i in range(8)]
    for i in range(6):
        chosen = rnd.sample(places, rnd.randint(1, 5))
        put_role(w, f"r{i}", *((p, " ".join(a for a in ("read", "write", "exec") if rnd.random() < 0.5)) for p in chosen))
    for u in users:
        put_user(w, u, *rnd.sample([f"r{i}" for i in range(6)], rnd.randint(1, 3)))
    nacm, asked, yes = view(w), 0, 0
    for u in users:
        for n in names:
            path = f"/weft-apm:apm/pool-domain-profile[name='{n}']"
            seen = as_user(w, u, "GET", f"weft-apm:apm/pool-domain-profile={n}")
            assert seen in (200, 403, 404)
            assert (seen == 200) == permitted(nacm, u, "read", "weft-apm", path=path), (u, "read", n, seen)
            done = as_user(w, u, "PATCH", f"weft-apm:apm/pool-domain-profile={n}", {"weft-apm:pool-domain-profile": [
                {"name": n, "apportion-threshold": 10}]})
            assert done in (200, 204, 403, 404), done
            assert (done in (200, 204)) == permitted(nacm, u, "update", "weft-apm", path=path), (u, "write", n, done)
            asked, yes = asked + 2, yes + (seen == 200) + (done in (200, 204))
        for module, rpc in (("weft-system", "show-version"), ("weft-apm", "show-alarms"), ("weft-system", "show-audit")):
            status = as_user(w, u, "POST", f"/restconf/operations/{module}:{rpc}")
            assert status in (200, 204, 403), status
            assert (status != 403) == permitted(nacm, u, "exec", module, rpc=rpc), (u, rpc, status)
            asked, yes = asked + 1, yes + (status != 403)
    print(f"{asked} decisions, {yes} of them yes (seed {SEED})")
    assert 0 < yes < asked


def test_the_view_is_what_its_module_says(w, tmp_path):
    """yanglint reads what NETCONF shows, with the prefixes in its paths."""
    put_role(w, "paths", (APM, "read"), (f"{APM}=a", "read write"), ("/weft-apm:apm/state", "read"))
    put_user(w, "pia", "paths")
    with connect(w) as m:
        data = m.get(filter=("subtree", f'<nacm xmlns="{ACM}"/>')).data_ele
        (tmp_path / "nacm.xml").write_bytes(etree.tostring(data[0]))
        names = [c for c in m.server_capabilities if c.startswith(ACM)]
        assert len(names) == 1 and "deviations=weft-nacm" in names[0]
    yang = subprocess.run(["git", "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["yanglint", "-p", f"{yang}/yang", "-p", "/usr/share/yuma/modules/ietf", "-t", "data", "-f", "json",
                    f"{yang}/yang/weft-nacm.yang", f"{yang}/yang/weft-apm.yang",
                    "/usr/share/yuma/modules/ietf/ietf-netconf-acm@2018-02-14.yang", str(tmp_path / "nacm.xml")],
                   check=True, capture_output=True)
    library = w.ask("GET", "ietf-yang-library:yang-library").json()["ietf-yang-library:yang-library"]
    acm = [x for s in library["module-set"] for x in s["module"] if x["name"] == "ietf-netconf-acm"]
    assert acm[0]["deviation"] == ["weft-nacm"]
    assert w.ask("PUT", "ietf-netconf-acm:nacm", {"ietf-netconf-acm:nacm": {"enable-nacm": False}}).status in (400, 405)


def test_a_right_on_one_operation(w):
    put_role(w, "editor", ("/weft-apm:", "read write"), ("/ietf-netconf:lock", ""), ("/ietf-netconf:commit", ""))
    put_role(w, "locker", ("/ietf-netconf:lock", "exec"))
    put_role(w, "killer", ("/ietf-netconf:kill-session", "exec"))
    put_user(w, "ed", "editor")
    put_user(w, "lee", "editor", "locker")
    put_user(w, "kim", "editor", "killer")
    before = view(w)["denied-operations"]
    with connect(w, "ed", PASSWORD) as ed, connect(w, "lee", PASSWORD) as lee, connect(w, "kim", PASSWORD) as kim:
        for refused in (lambda: ed.lock("candidate"), ed.commit, lambda: ed.kill_session(kim.session_id), lee.commit):
            with pytest.raises(RPCError) as e:
                refused()
            assert e.value.tag == "access-denied"
        assert ed.get_config("candidate").data_ele is not None
        with lee.locked("candidate"):
            pass
        kim.kill_session(lee.session_id)
    nacm = view(w)
    assert nacm["denied-operations"] == before + 4
    assert not permitted(nacm, "ed", "exec", "ietf-netconf", rpc="lock")
    assert permitted(nacm, "lee", "exec", "ietf-netconf", rpc="lock")
    assert permitted(nacm, "ed", "exec", "ietf-netconf", rpc="get-config")
    assert not permitted(nacm, "lee", "exec", "ietf-netconf", rpc="kill-session")
    assert permitted(nacm, "kim", "exec", "ietf-netconf", rpc="kill-session")
    # who may not see users and roles does not see them in other words either
    put_role(w, "reader", ("/", "read"), ("/weft-system:system/user", ""))
    put_user(w, "rita", "reader")
    assert as_user(w, "rita", "GET", "ietf-netconf-acm:nacm") == 404
    # one that is misspelt would decide nothing
    answer = w.ask("PUT", "weft-system:system/role=typo", {"weft-system:role": [{
        "name": "typo", "right": [{"path": "/ietf-netconf:lokc", "access": ""}]}]})
    assert answer.status == 400 and b"/ietf-netconf:lokc" in answer.body
