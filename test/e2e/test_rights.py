# SPDX-License-Identifier: Apache-2.0
"""Who may not, can not: neither by another path to the same thing nor by way of a candidate, an older commit
or somebody else's commit."""
import base64
import json

import pytest

from weftd_lab import Weftd

APM = {"weft-apm:apm": {
    "pool-domain-profile": [{"name": "std", "apportion-threshold": 10, "reclaim-threshold": 300}],
    "entity-match": [{"system-id": "hidden", "pool-domain-profile": "std", "description": "a secret of ours"},
                     {"system-id": "plain", "pool-domain-profile": "std"}]}}
ROLES = {
    "admin2": [("/", "read write exec")],
    # As docs/operate.md writes it: a module as a whole.
    "pools": [("/", "read"), ("/weft-apm:", "read write exec"), ("/weft-system:", "")],
    "partly": [("/", "read write exec"), ("/weft-apm:apm/entity-match=hidden", ""), ("/weft-system:", "")],
}


def put_role(weftd, name, rights):
    return weftd.ask("PUT", f"weft-system:system/role={name}", {"weft-system:role": [
        {"name": name, "right": [{"path": p, "access": a} for p, a in rights]}]})


class User:
    def __init__(self, weftd, name, role):
        password = "pass-phrase-of-" + name
        self.weftd = weftd
        assert weftd.ask("PUT", f"weft-system:system/user={name}",
                         {"weft-system:user": [{"name": name, "role": [role]}]}).status == 201
        r = weftd.ask("POST", "/restconf/operations/weft-system:password",
                      {"weft-system:input": {"user": name, "password": password}})
        assert r.status in (200, 204), r
        self.authorization = "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()

    def ask(self, *args, **kw):
        return self.weftd.ask(*args, conn=self.weftd.tls_connection(), authorization=self.authorization, **kw)

    def session(self):
        return Session(self)


class Session:
    """A command line session over TLS; run() returns (exit status, all that was said)."""

    def __init__(self, user):
        self.user = user
        r = user.ask("POST", "/cli/v1/sessions", {}, media="application/json")
        assert r.status == 201, r
        self.base = "/cli/v1/sessions/" + r.json()["id"]

    def run(self, line):
        r = self.user.ask("POST", self.base + "/execute", {"line": line}, media="application/json", accept="*/*")
        events = [json.loads(x) for x in r.text.splitlines()]
        (end,) = [e["end"] for e in events if "end" in e]
        said = "".join(e.get("text", "") + e.get("note", "") +
                       " ".join(str(v) for v in e.get("error", {}).values()) for e in events)
        return end["status"], said

    def close(self):
        self.user.ask("DELETE", self.base, accept="*/*")


@pytest.fixture(scope="module")
def weftd(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("rights")) as d:
        assert d.ask("PUT", "weft-apm:apm", APM).status == 201
        for name, rights in ROLES.items():
            assert put_role(d, name, rights).status == 201
        yield d


@pytest.fixture(scope="module")
def users(weftd):
    return {role: User(weftd, "u-" + role, role) for role in ROLES}


def test_a_module_as_a_whole(users):
    u = users["pools"]
    assert u.ask("PATCH", "weft-apm:apm/pool-domain-profile=std", {"weft-apm:pool-domain-profile": [
        {"name": "std", "reclaim-threshold": 301}]}).status == 204
    for path in ("weft-system:system", "weft-system:system/state", "weft-system:system/user=admin",
                 "weft-system:system?fields=user"):
        assert u.ask("GET", path).status == 403, path
    assert "u-pools" not in u.ask("GET", "/restconf/data").text
    assert "u-pools" not in u.ask("GET", "/restconf/data?fields=weft-system:system/user").text
    for name, body in (("token-create", {"user": "admin"}), ("password", {"user": "admin", "password": "12345678"}),
                       ("show-audit", {}), ("show-log", {}), ("backup", {"file": "mine"})):
        r = u.ask("POST", "/restconf/operations/weft-system:" + name, {"weft-system:input": body})
        assert r.status == 403, (name, r)


@pytest.mark.parametrize("path,why", [
    ("/weft-apn:", "no such module"), ("/weft-apm:apm/entity-match=secret%31", "write it as"),
    ("/weft-apm:apm/entity-match[system-id='x']", "no meaning"), ("/weft-apm:apm/entity-mach=x", "no meaning"),
    ("/weft-apm:apm/entity-match=x/description", "whole objects"), ("/weft-apm:apm/state/entity", "rights on state"),
    ("/weft-apm:drian", "no meaning"), ("/apm", "no meaning"), ("//", "no meaning")])
def test_a_right_that_would_decide_nothing(weftd, path, why):
    """Above all one that was to deny something must not be taken and then do nothing."""
    r = put_role(weftd, "odd", [("/", "read"), (path, "")])
    assert r.status == 400, r
    (error,) = r.errors
    assert error["error-tag"] == "invalid-value" and why in error["error-message"], error
    assert "/right" in error["error-path"] and path in error["error-message"], error
    assert weftd.ask("GET", "weft-system:system/role=odd").status == 404


def test_rights_that_mean_something(weftd):
    r = put_role(weftd, "even", [(p, "read") for p in (
        "/", "/weft-apm:", "/weft-apm:apm", "/weft-apm:apm/entity-match", "/weft-apm:apm/entity-match=x",
        "/weft-apm:apm/state", "/weft-apm:drain", "/weft-apm:alarm-raised", "/weft-system:system/settings",
        "/weft-apm:apm/inet-pool/partition=a", "/ietf-restconf-monitoring:restconf-state")])
    assert r.status == 201, r


def test_no_way_round(users):
    u = users["partly"]
    for m in ("json", "xml"):
        for path in ("/restconf/data", "weft-apm:apm", "weft-apm:apm?fields=entity-match(description)",
                     "weft-apm:apm?depth=3", "weft-apm:apm/entity-match=hidden", "weft-apm:apm/entity-match=hidde%6e",
                     "weft-apm:apm/entity-match=hidden/description"):
            assert "a secret of" not in u.ask("GET", path, accept="application/yang-data+" + m).text, path
    everything = {"weft-apm:apm": {"pool-domain-profile": APM["weft-apm:apm"]["pool-domain-profile"]}}
    patch = {"ietf-yang-patch:yang-patch": {"patch-id": "p", "edit": [
        {"edit-id": "e", "operation": "delete", "target": "/entity-match=hidden"}]}}
    for r in (u.ask("DELETE", "weft-apm:apm"), u.ask("PUT", "weft-apm:apm", everything),
              u.ask("PATCH", "weft-apm:apm", json.dumps(patch), media="application/yang-patch+json",
                    accept="application/yang-data+json"),
              u.ask("DELETE", "weft-apm:apm/entity-match=hidden"), u.ask("DELETE", "weft-apm:apm/entity-match=hidde%6e")):
        assert r.status == 403 and "access-denied" in r.text, r


def test_candidates_give_no_rights(weftd, users):
    """What one may not read or write is not to be had by editing a copy, nor by going back to a time
    when one might have."""
    s = users["partly"].session()
    assert s.run("configure private")[0] == 0
    for line in ("delete apm", "delete apm entity-match hidden", "rename apm entity-match hidden to mine",
                 "copy apm entity-match hidden to mine", "set apm entity-match hidden description mine",
                 "set system role partly right / access read", "rollback 3", "rollback 12"):
        status, said = s.run(line)
        assert status == 4, (line, status, said)
        assert "no right" in said and "secret of" not in said, (line, said)
        assert s.run("show | compare")[1] == "", line
    for line in ("show", "show | display set", "show | display json", "show | compare rollback 8", "run show configuration",
                 "run show system commit"):
        assert "a secret of" not in s.run(line)[1], line
    for n in range(1, 12):
        assert "a secret of" not in s.run(f"run show commit {n}")[1]
    # What one may write can still be changed and taken back.
    assert s.run("set apm entity-match plain description changed")[0] == 0
    assert "changed" in s.run("show | compare")[1]
    assert s.run("rollback 0")[0] == 0 and s.run("show | compare")[1] == ""
    s.close()


def test_nothing_is_slipped_into_the_shared_candidate(weftd, users):
    """Somebody else's `commit` would make it so with rights of his."""
    before = weftd.ask("GET", "/restconf/data?content=config").body
    low, high = users["partly"].session(), users["admin2"].session()
    assert low.run("configure")[0] == 0 and high.run("configure")[0] == 0
    for line in ("rollback 5", "delete apm"):
        assert low.run(line)[0] == 4, line
    assert high.run("show | compare")[1] == ""
    assert low.run("set apm entity-match plain description harmless")[0] == 0
    # Edits that go beyond the rights of who takes them back stay.
    assert high.run("set apm entity-match hidden description new")[0] == 0
    assert low.run("rollback 0")[0] == 4
    assert "description new" in high.run("show | compare")[1]
    assert high.run("rollback 0")[0] == 0
    assert high.run("show | compare")[1] == ""
    low.close()
    high.close()
    assert weftd.ask("GET", "/restconf/data?content=config").body == before
