# SPDX-License-Identifier: Apache-2.0
"""Every row of RFC 8040 section 7 that a server without partial success can reach, bad input of all
kinds, rights, conditions, YANG Patch. Each refusal changes nothing and leaves the daemon alive.

Not reachable here: partial-operation and rollback-failed (a change is made whole or not at all), lock-denied (nothing
locks), missing-attribute (none is wanted). Their bodies are judged by test/restconf/errors.c.
"""
import asyncio
import base64
import json
import subprocess
import time

import pytest

from weftd import JSON, TOYS, XML, Weftd, box, error_of, exchange, toy

PATCH_JSON = "application/yang-patch+json"
PATCH_XML = "application/yang-patch+xml"


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    d = Weftd(tmp_path_factory.mktemp("weftd"))
    d.put(TOYS + "/box=b", box("b"))
    d.put(TOYS + "/toy=t,1", toy("t", 1, box="b", part=[{"name": "p"}]))
    yield d
    d.stop()


def refused(w, response, status, tag, path=None, word=None):
    """The error is this one, and nothing was changed."""
    s, t, p, message = error_of(response)
    assert (s, t) == (status, tag), response.text
    if path is not None:
        assert p == path, response.text
    if word is not None:
        assert word in message, response.text
    assert len(message) > 8 and w.alive()


@pytest.fixture
def unchanged(w):
    before = w.head_index()
    yield
    assert w.alive() and w.head_index() == before


# ---- bodies

DEEP = "[" * 5000
BODIES = [
    ("empty", "", 400, "invalid-value"),
    ("not json", "{", 400, "malformed-message"),
    ("not an object", "[]", 400, None),
    ("trailing text", json.dumps(toy("t", 1)) + "x", 400, "malformed-message"),
    ("deep", '{"weft-toy:toy":' + DEEP, 413, "too-big"),
    ("deep unknown", '{"weft-toy:toy":[{"maker":"t","number":1,"zzz":' + "[" * 300 + "]" * 300 + "}]}",
     413, "too-big"),
    ("deep object", '{"a":' * 5000 + "1" + "}" * 5000, 413, "too-big"),
    ("unknown member", toy("t", 1, zzz=1), 400, "unknown-element"),
    ("unknown module", {"nonsense:toy": [{}]}, 400, "unknown-namespace"),
    ("no module", {"toy": [{"maker": "t", "number": 1}]}, 400, "unknown-namespace"),
    ("annotation", toy("t", 1, **{"@colour": {"x:y": 1}}), 400, "unknown-attribute"),
    ("out of range", toy("t", 1, batteries=9), 400, "invalid-value"),
    ("wrong type", toy("t", 1, batteries="two"), 400, "invalid-value"),
    ("64 bit as a number", box("x", size=12), 400, None),
    ("enum", toy("t", 1, colour="pink"), 400, "invalid-value"),
    ("too many", toy("t", 1, tag=list("abcdef")), 412, "operation-failed"),
    ("no key", {"weft-toy:toy": [{"maker": "t"}]}, 400, "missing-element"),
    ("mandatory", toy("t", 1, **{"box-art": {}}), 400, "missing-element"),
    ("must", toy("t", 1, price="0"), 412, "operation-failed"),
    ("two cases", toy("t", 1, batteries=1, turns=3), 400, "bad-element"),
    ("host bits", toy("t", 1, net="10.0.0.1/24"), 400, "invalid-value"),
    ("dangling inside", toy("t", 1, favourite="nobody"), 409, "data-missing"),
    ("dangling outside", toy("t", 1, box="nowhere"), 409, "data-missing"),
    ("unique", toy("t", 1, part=[{"name": "a", "serial": 1}, {"name": "b", "serial": 1}]), 412, "operation-failed"),
    ("duplicate entry", toy("t", 1, part=[{"name": "a"}, {"name": "a"}]), 400, None),
    ("duplicate member", '{"weft-toy:toy":[{"maker":"t","number":1,"colour":"red","colour":"green"}]}',
     400, None),
    ("state", box("b", state={"toys": 1}), 400, None),
    ("other key", toy("t", 2), 400, "invalid-value"),
    ("two entries", {"weft-toy:toy": [{"maker": "t", "number": 1}, {"maker": "t", "number": 2}]}, 400,
     None),
    ("bad utf-8", b'{"weft-toy:toy":[{"maker":"t","number":1,"tag":["\xff\xfe"]}]}', 400, None),
    ("masked secret", box("b", lock="********"), 400, "invalid-value"),
    ("xml", "<toy", 400, "malformed-message"),
    ("xml other root", '<zoo xmlns="urn:weft:toy"/>', 400, "unknown-element"),
    ("xml no namespace", "<toy><maker>t</maker></toy>", 400, "unknown-namespace"),
    ("xml deep", '<toy xmlns="urn:weft:toy">' + "<a>" * 5000 + "</a>" * 5000 + "</toy>", 400, None),
    ("xml entity bomb", '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
     '<toy xmlns="urn:weft:toy"><maker>&b;</maker><number>1</number></toy>', 400, None),
    ("xml external", '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
     '<toy xmlns="urn:weft:toy"><maker>&a;</maker><number>1</number></toy>', 400, None),
]


@pytest.mark.parametrize("name,body,status,tag", BODIES, ids=[b[0] for b in BODIES])
def test_bad_bodies(w, unchanged, name, body, status, tag):
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    raw = text if isinstance(text, bytes) else text.encode()
    kind = XML if raw[:1] == b"<" else JSON
    target = "/box=b" if b"weft-toy:box" in raw and b"weft-toy:toy" not in raw else "/toy=t,1"
    if name == "64 bit as a number":
        target = "/box=x"
    r = w.put(TOYS + target, raw, headers={"Content-Type": kind})
    s, t, _, message = error_of(r)
    assert s == status and (tag is None or t == tag), r.text
    assert t in ("malformed-message", "invalid-value", "unknown-element", "missing-element", "too-big",
                 "data-missing", "unknown-namespace", "unknown-attribute", "bad-element", "operation-failed"), r.text
    assert len(message) > 8


def test_errors_name_the_place(w, unchanged):
    r = w.put(TOYS + "/toy=t,1", toy("t", 1, part=[{"name": "a", "screw": [{"size": 900}]}]))
    refused(w, r, 400, "invalid-value")
    assert error_of(r)[2].startswith("/weft-toy:toys/toy[maker='t'][number='1']/part[name='a']")


def test_oversized_body(w, unchanged):
    sent = 0

    def flood():
        nonlocal sent
        for _ in range(70 * 16):
            sent += 65536
            yield b" " * 65536
    try:
        r = w.http.put(w.base + "/restconf" + TOYS, data=flood(), headers={"Content-Type": JSON},
                       timeout=120)
        assert error_of(r)[:2] == (413, "too-big")
    except Exception as e:  # the server may hang up on what it will not read
        assert "ConnectionError" in type(e).__name__, e
    assert w.alive()


# ---- section 7

def test_section_7(w):
    before = w.head_index()
    # in-use
    refused(w, w.delete(TOYS + "/box=b"), 409, "in-use", "/weft-toy:toys/box[name='b']", "refers to it")
    # data-exists, data-missing
    refused(w, w.post(TOYS, box("b")), 409, "resource-denied")
    refused(w, w.put(TOYS + "/toy=t,9", toy("t", 9, box="zz")), 409, "data-missing")
    # invalid-value with 404 and 406
    refused(w, w.get(TOYS + "/toy=t,77"), 404, "invalid-value")
    refused(w, w.get(TOYS + "/toy=t"), 400, "missing-element")
    refused(w, w.get(TOYS + "/toy=t,x"), 400, "invalid-value")
    refused(w, w.get("/data/nonsense:x"), 404, "invalid-value")
    refused(w, w.get("/nonsense"), 404, "invalid-value")
    refused(w, w.get(TOYS, headers={"Accept": "image/png"}), 406, "invalid-value")
    # operation-not-supported 405; 501 for what no service here carries out
    r = w.delete("/data")
    refused(w, r, 405, "operation-not-supported")
    assert "PUT" in r.headers["allow"]
    refused(w, w.request("BREW", "/data"), 405, "operation-not-supported")
    refused(w, w.put("/data/weft-system:system/state", {"weft-system:state": {}}), 405,
            "operation-not-supported")
    refused(w, w.post("/operations/weft-toy:show-toys"), 501, "operation-not-supported")
    # operation-failed 412
    refused(w, w.delete(TOYS + "/box=b", headers={"If-Match": '"1234-j"'}), 412, "operation-failed")
    # access-denied 401, 403: see test_rights
    # too-big 400 and 413, malformed-message 400, missing-, unknown-element: see bodies
    # unknown-namespace, attributes: XML that names what we don't know
    r = w.put(TOYS + "/box=b", '<box xmlns="urn:nobody"><name>b</name></box>')
    refused(w, r, 400, "unknown-namespace", "/toy:toys", "urn:nobody")
    r = w.put(TOYS + "/box=b", '<box xmlns="urn:weft:toy" a="1"><name>b</name></box>')
    refused(w, r, 400, "unknown-attribute", "/toy:toys", '"a"')
    assert w.head_index() == before


def test_xml_list_without_keys(w):
    w.put(TOYS + "/box=b2", box("b2"))
    refused(w, w.get(TOYS + "/box", headers={"Accept": XML}), 400, "invalid-value")
    assert len(w.get(TOYS + "/box").json()["weft-toy:box"]) >= 2
    w.delete(TOYS + "/box=b2")
    # an empty list is not there, in either form
    for accept in (JSON, XML):
        r = w.get(TOYS + "/toy=t,1/tag", headers={"Accept": accept})
        assert r.status_code == 404
        assert w.request("HEAD", TOYS + "/toy=t,1/tag").status_code == 404


def test_lock_is_honoured(w, tmp_path):
    """A CLI session in `configure exclusive` keeps everybody else from changing things."""
    weft = w.program.replace("src/weftd/weftd-toy", "cli/weft")
    p = subprocess.Popen([weft, "--socket", w.unix], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    try:
        p.stdin.write("configure exclusive\n")
        p.stdin.flush()
        until = time.time() + 20
        while time.time() < until:
            r = w.put(TOYS + "/box=locked", box("locked"))
            if r.status_code == 409:
                break
            time.sleep(0.1)
        refused(w, r, 409, "in-use")  # RFC 8040 1.4
    finally:
        p.stdin.close()
        p.wait(timeout=60)
    assert w.put(TOYS + "/box=locked", box("locked")).status_code in (201, 204)


# ---- who may do what

@pytest.fixture(scope="module")
def people(w):
    system = "/data/weft-system:system"
    role = lambda name, *rights: w.put(f"{system}/role={name}", {"weft-system:role": [
        {"name": name, "right": [{"path": p, "access": a} for p, a in rights]}]})
    assert role("reader", ("/weft-toy:toys", "read"), ("/weft-toy:toys/box=secret", "")).ok
    assert role("boxer", ("/weft-toy:toys/box", "read write")).ok
    users = {}
    for name, roles in (("rita", ["reader"]), ("bob", ["boxer"]), ("nobody", []), ("off", ["boxer"])):
        assert w.put(f"{system}/user={name}", {"weft-system:user": [{"name": name, "role": roles}]}).ok
        r = w.post("/operations/weft-system:password", {"weft-system:input": {
            "user": name, "password": name + "-password"}})
        assert r.ok, r.text
        users[name] = w.session(name, name + "-password")
    assert w.put(f"{system}/user=off/disabled", {"weft-system:disabled": True}).ok
    w.put(TOYS + "/box=secret", box("secret", lock="1234"))
    return users


def test_rights(w, people):
    refused(w, w.get(TOYS, session=w.session(None)), 401, "access-denied")
    r = w.get(TOYS, session=w.session("admin", "wrong"))
    refused(w, r, 401, "access-denied")
    assert "Basic" in r.headers["www-authenticate"]
    refused(w, w.get(TOYS, session=w.session("ghost", "wrong")), 401, "access-denied")
    refused(w, w.get(TOYS, session=people["off"]), 401, "access-denied")
    refused(w, w.get(TOYS, session=people["nobody"]), 403, "access-denied")

    boxes = lambda s: {b["name"] for b in w.get(TOYS, session=s).json()["weft-toy:toys"].get("box", [])}
    assert "secret" not in boxes(people["rita"]) and "b" in boxes(people["rita"])
    assert {"secret", "b"} <= boxes(people["bob"])
    assert "toy" not in w.get(TOYS, session=people["bob"]).json()["weft-toy:toys"]
    whole = w.get("/data", session=people["rita"]).json()["ietf-restconf:data"]
    assert "weft-toy:toys" in whole and "user" not in whole.get("weft-system:system", {})
    refused(w, w.get(TOYS + "/box=secret", session=people["rita"]), 403, "access-denied")
    refused(w, w.get("/data/weft-system:system/user=admin", session=people["rita"]), 403, "access-denied")

    before = w.head_index()
    refused(w, w.put(TOYS + "/box=r", box("r"), session=people["rita"]), 403, "access-denied")
    refused(w, w.put(TOYS + "/toy=t,8", toy("t", 8), session=people["bob"]), 403, "access-denied")
    refused(w, w.delete(TOYS, session=people["bob"]), 403, "access-denied")
    refused(w, w.put(TOYS, {"weft-toy:toys": {}}, session=people["bob"]), 403, "access-denied")
    refused(w, w.post("/operations/weft-system:backup", {"weft-system:input": {"file": "x"}},
                      session=people["bob"]), 403, "access-denied")
    assert w.head_index() == before
    assert w.put(TOYS + "/box=bobs", box("bobs"), session=people["bob"]).status_code == 201
    assert w.delete(TOYS + "/box=bobs", session=people["bob"]).status_code == 204


def test_tokens(w, people):
    r = w.post("/operations/weft-system:token-create", {"weft-system:input": {"user": "bob"}})
    out = r.json()["weft-system:output"]
    s = w.session(None)
    bearer = lambda t: {"Authorization": "Bearer " + t}
    assert w.get(TOYS + "/box=b", session=s, headers=bearer(out["token"])).status_code == 200
    refused(w, w.get(TOYS + "/toy=t,1", session=s, headers=bearer(out["token"])), 403, "access-denied")
    refused(w, w.get(TOYS, session=s, headers=bearer(out["token"][:-1])), 401, "access-denied")
    refused(w, w.get(TOYS, session=s, headers=bearer("x")), 401, "access-denied")
    assert out["token"].split(".")[1] not in w.get("/data").text
    w.post("/operations/weft-system:token-revoke", {"weft-system:input": {"id": out["id"]}})
    refused(w, w.get(TOYS, session=s, headers=bearer(out["token"])), 401, "access-denied")


@pytest.mark.parametrize("header", ["Basic", "Basic !!!!", "Basic " + "A" * 5000, "Digest x=y",
                                    "Basic " + base64.b64encode(b"nocolon").decode(),
                                    "Basic " + base64.b64encode(b"a\0b:c").decode(), "Bearer"])
def test_malformed_authorization(w, header):
    s = w.session(None)
    refused(w, w.get(TOYS, session=s, headers={"Authorization": header}), 401, "access-denied")


def test_failed_logins_are_limited(w):
    s = w.session("limited", "x")
    words = [error_of(w.get(TOYS, session=s))[3] for _ in range(14)]
    assert "too many failed logins" in words[-1] and "too many" not in words[0]
    assert w.get(TOYS).status_code == 200  # others are not hit


def test_password_change_takes_effect_at_once(w, people):
    s = w.session("rita", "rita-password")
    assert w.get(TOYS, session=s).status_code == 200
    w.post("/operations/weft-system:password",
           {"weft-system:input": {"user": "rita", "password": "another-one"}})
    refused(w, w.get(TOYS, session=s), 401, "access-denied")
    assert w.get(TOYS, session=w.session("rita", "another-one")).status_code == 200


# ---- conditions

def test_conditions(w):
    path = TOYS + "/box=cond"
    look = path + "?content=config"  # what comes with state has no 304: the tag tells of config only
    r = w.put(path, box("cond"), headers={"If-None-Match": "*"})
    assert r.status_code == 201
    refused(w, w.put(path, box("cond"), headers={"If-None-Match": "*"}), 412, "operation-failed")
    tag, modified = (w.get(path).headers[n] for n in ("etag", "last-modified"))
    assert w.get(look, headers={"If-None-Match": tag}).status_code == 304
    assert w.get(look, headers={"If-None-Match": f'"x", W/{tag}'}).status_code == 304
    assert w.get(look, headers={"If-Modified-Since": modified}).status_code == 304
    assert w.get(look, headers={"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}).status_code == 200
    xml_tag = w.get(path, headers={"Accept": XML}).headers["etag"]
    assert xml_tag != tag
    # either representation's tag stands for the resource when it is changed
    r = w.put(path, box("cond", size="1"), headers={"If-Match": xml_tag})
    assert r.status_code == 204 and r.headers["etag"] != tag
    refused(w, w.put(path, box("cond", size="2"), headers={"If-Match": tag}), 412, "operation-failed")
    assert w.get(path).headers["etag"] == r.headers["etag"]
    assert w.put(path, box("cond", size="3"), headers={"If-Match": "*"}).status_code == 204
    refused(w, w.put(TOYS + "/box=none", box("none"), headers={"If-Match": "*"}), 412, "operation-failed")
    refused(w, w.patch(path, box("cond", size="4"), headers={
        "If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}), 412, "operation-failed")
    future = "Fri, 01 Jan 2100 00:00:00 GMT"
    assert w.patch(path, box("cond", size="4"), headers={"If-Unmodified-Since": future}).ok
    # of the datastore
    top = w.get(TOYS + "?content=config").headers["etag"]
    assert w.post(TOYS, box("cond2"), headers={"If-Match": top}).status_code == 201
    refused(w, w.post(TOYS, box("cond3"), headers={"If-Match": top}), 412, "operation-failed")
    for name in ("cond", "cond2"):
        assert w.delete(f"{TOYS}/box={name}", headers={"If-Match": w.get(f"{TOYS}/box={name}").headers["etag"]}).ok


def test_thousand_writers_lose_nothing(w):
    """1,000 connections write at once under If-Match, 20 to an object: every sum is exact."""
    writers, objects = 1000, 50
    for o in range(objects):
        w.put(f"{TOYS}/box=sum{o}", box(f"sum{o}", size="0"))
    collisions = 0

    async def add_one(i):
        nonlocal collisions
        path = f"{TOYS}/box=sum{i % objects}"
        connection = await asyncio.open_unix_connection(w.unix)
        while True:
            status, fields, text = await exchange(*connection, "GET", path)
            assert status == 200, text
            value = int(json.loads(text)["weft-toy:box"][0]["size"])
            body = json.dumps(box(f"sum{i % objects}", size=str(value + 1))).encode()
            status, _, text = await exchange(*connection, "PUT", path, body, content_type=JSON,
                                             if_match=fields["etag"])
            if status == 204:
                break
            assert status == 412, text
            collisions += 1
        connection[1].close()

    async def everybody():
        await asyncio.gather(*(add_one(i) for i in range(writers)))

    asyncio.run(asyncio.wait_for(everybody(), 240))
    for o in range(objects):
        assert w.get(f"{TOYS}/box=sum{o}").json() == box(f"sum{o}", size=str(writers // objects))
    assert collisions > 0


# ---- YANG Patch

def patch(w, edits, path=TOYS, **kw):
    body = {"ietf-yang-patch:yang-patch": {"patch-id": "p", "edit": edits}}
    return w.patch(path, body, headers={"Content-Type": PATCH_JSON, **kw})


def edit(i, op, target, value=None, **more):
    e = {"edit-id": f"e{i}", "operation": op, "target": target, **more}
    if value is not None:
        e["value"] = value
    return e


def test_yang_patch(w):
    r = patch(w, [edit(1, "create", "/box=p1", box("p1")), edit(2, "merge", "/box=p1", box("p1", size="4")),
                  edit(3, "replace", "/toy=p,1", toy("p", 1, box="p1", part=[{"name": "a"}, {"name": "b"}])),
                  edit(4, "insert", "/toy=p,1/part=c", {"weft-toy:part": [{"name": "c"}]}, where="before",
                       point="/toy=p,1/part=b"),
                  edit(5, "move", "/toy=p,1/part=b", where="first"),
                  edit(6, "remove", "/box=never"), edit(7, "delete", "/toy=p,1/part=a")])
    assert r.status_code == 200, r.text
    assert r.json() == {"ietf-yang-patch:yang-patch-status": {"patch-id": "p", "ok": [None]}}
    assert [p["name"] for p in w.get(TOYS + "/toy=p,1/part").json()["weft-toy:part"]] == ["b", "c"]
    assert w.get(TOYS + "/box=p1").json() == box("p1", size="4")


def test_yang_patch_is_whole_and_names_the_edit(w, unchanged):
    r = patch(w, [edit(1, "create", "/box=p2", box("p2")), edit(2, "delete", "/box=none"),
                  edit(3, "create", "/box=p3", box("p3"))])
    assert r.status_code == 409
    status = r.json()["ietf-yang-patch:yang-patch-status"]
    (one,) = status["edit-status"]["edit"]
    assert one["edit-id"] == "e2" and one["errors"]["error"][0]["error-tag"] == "data-missing"
    assert w.get(TOYS + "/box=p2").status_code == 404


def test_yang_patch_xml(w):
    x = ('<yang-patch xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-patch" xmlns:t="urn:weft:toy">'
         "<patch-id>x</patch-id><edit><edit-id>1</edit-id><operation>merge</operation>"
         "<target>/box=px</target><value><t:box><t:name>px</t:name><t:size>7</t:size></t:box></value>"
         "</edit></yang-patch>")
    r = w.patch(TOYS, x, headers={"Content-Type": PATCH_XML, "Accept": XML})
    assert r.status_code == 200 and "<ok/>" in r.text, r.text
    assert w.get(TOYS + "/box=px").json() == box("px", size="7")


@pytest.mark.parametrize("body", [
    "{", "[]", "{}", {"ietf-yang-patch:yang-patch": {}}, {"ietf-yang-patch:yang-patch": {"patch-id": 1}},
    {"ietf-yang-patch:yang-patch": {"patch-id": "p", "edit": {}}},
    {"ietf-yang-patch:yang-patch": {"patch-id": "p", "edit": [{}]}},
    {"ietf-yang-patch:yang-patch": {"patch-id": "p", "zzz": "1"}},
    {"ietf-yang-patch:yang-patch": {"patch-id": "p", "edit": [edit(1, "explode", "/box=q")]}},
    {"ietf-yang-patch:yang-patch": {"patch-id": "p", "edit": [edit(1, "create", "/box=q")]}},
    {"ietf-yang-patch:yang-patch": {"patch-id": "p", "edit": [edit(1, "delete", "/box=b", box("b"))]}},
    {"ietf-yang-patch:yang-patch": {"patch-id": "p", "edit": [edit(1, "delete", "box=b")]}},
    {"ietf-yang-patch:yang-patch": {"patch-id": "p", "edit": [
        edit(1, "remove", "/box=q"), edit(1, "remove", "/box=q")]}},
    {"ietf-yang-patch:yang-patch": {"patch-id": "p", "edit": [
        edit(1, "move", "/toy=t,1/part=p", where="before")]}},
    {"ietf-yang-patch:yang-patch": {"patch-id": "p", "edit": [
        edit(1, "create", "/box=q", {"weft-toy:box": [{"name": "q"}], "x:y": 1})]}},
    '<yang-patch xmlns="urn:nobody"/>', "<yang-patch",
    '<yang-patch xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-patch"><edit/></yang-patch>',
])
def test_bad_yang_patches(w, unchanged, body):
    xml = isinstance(body, str) and body.startswith("<")
    r = w.patch(TOYS, body, headers={"Content-Type": PATCH_XML if xml else PATCH_JSON})
    assert r.status_code in (400, 404, 409), r.text
    assert w.alive()


# ---- addresses

@pytest.mark.parametrize("path", [
    "/data/weft-toy:toys/toy=t,1/", "/data//weft-toy:toys", "/data/weft-toy:toys/toy", "/data/..",
    "/data/weft-toy:toys/toy=", "/data/weft-toy:toys/toy=t,1,2", "/data/weft-toy:toys=1",
    "/data/weft-toy:toys/toy=%00,1", "/data/" + "a" * 5000, "/data/weft-toy:show-toys",
    "/data/weft-toy:toys/toy=t,1/colour/x", "/data/weft-toy:toys/toy=t,1/tag=zz"])
def test_odd_addresses(w, unchanged, path):
    r = w.request("DELETE", path, allow_redirects=False)
    assert r.status_code in (400, 404, 405, 409, 414, 431), r.text
    assert w.alive()
