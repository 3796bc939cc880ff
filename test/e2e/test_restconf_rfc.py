# SPDX-License-Identifier: Apache-2.0
"""RFC 8040 chapter by chapter, RFC 8072, RFC 8525 and the parts of RFC 7950 that they lean on, against a running
weftd. Every body that comes back goes through yanglint (see schemas.py)."""
import asyncio
import email.utils
import json
import re
import subprocess
import time
import urllib.parse
import xml.etree.ElementTree as et

import pytest

from schemas import check_body, check_output
from weftd import JSON, TOYS, XML, Weftd, box, error_of, exchange, toy

RC = "{urn:ietf:params:xml:ns:yang:ietf-restconf}"
PATCH_JSON, PATCH_XML = "application/yang-patch+json", "application/yang-patch+xml"
CAPABILITY = "urn:ietf:params:restconf:capability:"
READ = "GET, HEAD, OPTIONS"


class Judged(Weftd):
    """Every body in a YANG media type is yanglint's to judge, outputs of rpcs as what they are."""

    def request(self, method, path, *a, **kw):
        r = super().request(method, path, *a, **kw)
        assert "cache-control" in r.headers, "5.5"
        assert abs(email.utils.parsedate_to_datetime(r.headers["date"]).timestamp() - time.time()) < 300
        kind = r.headers.get("content-type", "")
        if kind in (JSON, XML) and r.content and not kw.get("stream"):
            if r.status_code == 200 and path.startswith("/operations/"):
                check_output(self.dir, r.text, path.split("/")[2])
            elif r.status_code >= 400 or path.split("?")[0] != "/operations":
                data = re.fullmatch(r"/data/?([^?]*)(\?.*)?", path)
                check_body(self.dir, r.text, data and data.group(1))
        elif r.status_code >= 400:
            assert method == "HEAD" or kind in (JSON, XML), r.headers
        return r

    def error(self, response):
        """Of JSON or XML, everything that the error tells, with its status."""
        if "xml" not in response.headers["content-type"]:
            (e,) = response.json()["ietf-restconf:errors"]["error"]
        else:
            e = {c.tag.split("}")[1]: c.text for c in et.fromstring(response.content).find(RC + "error")}
        return {"status": response.status_code, **{k.replace("error-", ""): v for k, v in e.items()}}


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    d = Judged(tmp_path_factory.mktemp("weftd"))
    d.put(TOYS + "/box=b", box("b"))
    d.put(TOYS + "/toy=t,1", toy("t", 1, box="b", step=[1, 2, 3], part=[{"name": "p"}, {"name": "q"}]))
    yield d
    d.stop()


def game(name, **more):
    return {"weft-toy:game": [{"name": name, "rule": ["r"], "dice": 2, **more}]}


def is_error(w, r, status, tag, app_tag=None, path=None, word=None):
    e = w.error(r)
    assert (e["status"], e["tag"], e.get("app-tag")) == (status, tag, app_tag), r.text
    assert path is None or e.get("path") == path, r.text
    assert word is None or word in e["message"], r.text
    return e


@pytest.fixture
def unchanged(w):
    before = w.head_index()
    yield
    assert w.alive() and w.head_index() == before


# ---- 3.1 root resource discovery, 3.3 the API resource

def test_3_1_root_discovery(w):
    r = w.get("//.well-known/host-meta", session=w.session(None), headers={"Accept": "application/xrd+xml"})
    links = et.fromstring(r.content).findall("{http://docs.oasis-open.org/ns/xri/xrd-1.0}Link")
    assert [(x.get("rel"), x.get("href")) for x in links] == [("restconf", "/restconf")]
    assert w.request("HEAD", "//.well-known/host-meta").status_code == 200
    assert w.get("//.well-known/host-meta", headers={"Accept": JSON}).status_code == 406
    r = w.post("//.well-known/host-meta", "{}")
    assert r.status_code == 405 and r.headers["allow"] == READ


@pytest.mark.parametrize("accept", [JSON, XML])
def test_3_3_api(w, accept):
    def members(query=""):
        r = w.get(query, headers={"Accept": accept})
        assert r.status_code == 200 and r.headers["content-type"] == accept, r.text
        return {c.tag.replace(RC, "") for c in et.fromstring(r.content)} if accept == XML else \
            set(r.json()["ietf-restconf:restconf"])
    everything = {"data", "operations", "yang-library-version"}
    assert members() == members("?depth=2") == members("?depth=unbounded") == everything
    assert members("?fields=yang-library-version") == {"yang-library-version"}
    assert members("?fields=data;ietf-restconf:operations") == {"data", "operations"}
    for query in ("?fields=nothing", "?fields=data;", "?fields=data/x", "?content=all", "?with-defaults=trim"):
        is_error(w, w.get(query), 400, "invalid-value")
    version = w.get("/yang-library-version", headers={"Accept": accept}).text
    assert re.search(r"\d{4}-\d\d-\d\d", version).group(0) == "2019-01-04"


def test_3_3_api_depth_one(w):
    assert w.request("GET", "?depth=1", headers={"Accept": JSON}).json() == {"ietf-restconf:restconf": {}}


def test_3_3_3_version_is_that_of_the_module(w):
    library = w.get("/data/ietf-yang-library:yang-library").json()["ietf-yang-library:yang-library"]
    (module,) = [m for s in library["module-set"] for m in s["module"] if m["name"] == "ietf-yang-library"]
    assert w.get("/yang-library-version").json()["ietf-restconf:yang-library-version"] == module["revision"]


def test_3_3_2_every_rpc_is_an_operation(w):
    """Each rpc of each module is listed, can be asked for its methods, and is not read."""
    listed = set(w.get("/operations").json()["ietf-restconf:operations"])
    library = w.get("/data/ietf-yang-library:yang-library").json()["ietf-yang-library:yang-library"]
    rpcs = set()
    for m in (m for s in library["module-set"] for m in s["module"] if "location" in m):
        text = w.http.get(m["location"][0]).text
        rpcs |= {f"{m['name']}:{n}" for n in re.findall(r"^  rpc ([\w-]+) ", text, re.M)}
    # NETCONF's own: here a schema has an address, and the rest are methods
    rpcs = {r for r in rpcs if not r.startswith(("ietf-netconf:", "ietf-netconf-monitoring:", "ietf-netconf-nmda:",
                                             "notifications:"))}
    assert listed == rpcs and len(rpcs) > 20
    for name in sorted(rpcs)[:3]:
        r = w.request("OPTIONS", "/operations/" + name)
        assert r.status_code == 200 and r.headers["allow"] == "POST, OPTIONS" and "accept-patch" not in r.headers
        r = w.get("/operations/" + name)
        is_error(w, r, 405, "operation-not-supported")
        assert r.headers["allow"] == "POST, OPTIONS"
    r = w.get("/operations/weft-system:no-such-thing")
    assert r.status_code in (404, 405)


# ---- 3.4, 3.5 datastore and data resources: tags and times

def test_3_4_1_edit_collision_prevention(w):
    """An edit moves the tags of what it changed and of all around it, and no other's."""
    w.put(TOYS + "/toy=tag,1", toy("tag", 1))
    w.put(TOYS + "/toy=tag,2", toy("tag", 2))
    places = ["/data", TOYS, TOYS + "/toy=tag,1", TOYS + "/toy=tag,2"]
    tags = lambda accept=JSON: [w.get(p + "?content=config", headers={"Accept": accept}).headers["etag"]
                                for p in places]
    before = tags()
    assert all(a != b for a, b in zip(before, tags(XML))), "a tag for each representation"
    r = w.put(TOYS + "/toy=tag,1/colour", {"weft-toy:colour": "red"})
    after = tags()
    assert [a != b for a, b in zip(before, after)] == [True, True, True, False]
    # what the edit answered is what a reader sees (4.5)
    seen = w.get(TOYS + "/toy=tag,1")
    assert r.headers["etag"] == seen.headers["etag"] and r.headers["last-modified"] == seen.headers["last-modified"]
    assert after[0] == w.request("HEAD", "/data").headers["etag"]
    # state moves nothing
    w.post("/operations/weft-system:show-version")
    assert tags() == after
    # a leaf has its object's; what is state has none
    assert w.get(TOYS + "/toy=tag,1/colour").headers["etag"] == seen.headers["etag"]
    assert "etag" not in w.get("/data/weft-system:system/state").headers


def test_3_5_3_keys(w):
    """Any character in a key; escaped as the RFC's example is, and as its client may send it."""
    maker = ",'\":\" /é%=&;?#[]@+$!*()\\"
    path = TOYS + "/toy=" + urllib.parse.quote(maker, safe="") + ",7"
    r = w.put(path, toy(maker, 7))
    assert r.status_code == 201
    r = w.post(TOYS, toy(maker, 8))
    assert r.status_code == 201 and w.http.get(r.headers["location"]).json()["weft-toy:toy"][0]["maker"] == maker
    assert w.get(path).json() == toy(maker, 7)
    e = w.error(w.post(TOYS, toy(maker, 7)))
    assert e["status"] == 409 and e["path"] == "/weft-toy:toys"  # a key with both quotes can't be said
    w.put(TOYS + "/toy=%22q,1", toy('"q', 1))
    is_error(w, w.post(TOYS, toy('"q', 1)), 409, "resource-denied", "data-exists",
             "/weft-toy:toys/toy[maker='\"q'][number='1']")
    # a double quote may stand as it is
    s = w.tls_socket()
    s.sendall(f"GET /restconf{TOYS}/toy=\"q,1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
              f"Authorization: {w.basic()}\r\n\r\n".encode())
    assert s.recv(100).startswith(b"HTTP/1.1 200")
    s.close()
    # each key must be there; an empty one is the empty string, which a maker is not
    is_error(w, w.get(TOYS + "/toy=t"), 400, "missing-element")
    is_error(w, w.get(TOYS + "/toy=t,1,1"), 400, "invalid-value")
    is_error(w, w.get(TOYS + "/toy=,1"), 400, "invalid-value")
    for p in ("toy=tag,1", "toy=tag,2", "toy=%22q,1", "toy=" + urllib.parse.quote(maker, safe="") + ",7"):
        w.delete(f"{TOYS}/{p}")


def test_3_5_3_names_carry_their_module(w):
    """The first node always, others where the module changes."""
    is_error(w, w.get("/data/toys"), 400, "invalid-value", word="module")
    is_error(w, w.get("/data/nowhere:toys"), 404, "invalid-value")
    assert w.get("/data/weft-toy:toys/weft-toy:box=b").json() == w.get(TOYS + "/box=b").json()
    is_error(w, w.put(TOYS + "/box=b", {"box": [{"name": "b"}]}), 400, "unknown-namespace", word="weft-toy:box")
    is_error(w, w.patch("/data", {"ietf-restconf:data": {"toys": {}}}), 400, "unknown-namespace")


def test_3_5_4_defaults(w):
    """A leaf that is asked for by name is shown with the default in use, whatever the mode."""
    for query in ("", "?with-defaults=explicit", "?with-defaults=trim", "?with-defaults=report-all"):
        assert w.get(TOYS + "/toy=t,1/colour" + query).json() == {"weft-toy:colour": "green"}
    assert w.get(TOYS + "/toy=t,1/colour", headers={"Accept": XML}).text.strip() == \
        '<colour xmlns="urn:weft:toy">green</colour>'
    assert "colour" not in w.get(TOYS + "/toy=t,1").json()["weft-toy:toy"][0]
    # of a case that is not chosen, of a container that is not there, of an object that is not
    for leaf in ("toy=t,1/volts", "toy=t,1/box-art/copies", "toy=t,99/colour", "toy=t,1/price"):
        is_error(w, w.get(f"{TOYS}/{leaf}"), 404, "invalid-value")
    # it is not there all the same: a plain patch does not make it, If-None-Match: * lets a PUT in
    is_error(w, w.patch(TOYS + "/toy=t,1/colour", {"weft-toy:colour": "red"}), 404, "invalid-value")
    r = w.put(TOYS + "/toy=t,1/colour", {"weft-toy:colour": "green"}, headers={"If-None-Match": "*"})
    assert r.status_code == 201
    assert w.get(TOYS + "/toy=t,1/colour?with-defaults=trim").json() == {"weft-toy:colour": "green"}
    assert w.delete(TOYS + "/toy=t,1/colour").status_code == 204


# ---- 3.6 operations

def test_3_6_operations(w):
    op = "/operations/weft-system:show-log"
    assert w.post(op).status_code == 200  # nothing in the input is mandatory
    j = w.post(op, {"weft-system:input": {"lines": 2}})
    x = w.post(op, '<input xmlns="urn:weft:system"><lines>2</lines></input>')
    assert j.headers["content-type"] == JSON and x.headers["content-type"] == XML
    for body, status, tag in (
            ({"weft-system:input": {"lines": -33}}, 400, "invalid-value"),
            ({"input": {"lines": 2}}, 400, "malformed-message"), ({"lines": 2}, 400, "malformed-message"),
            ({"weft-system:input": {"x": 2}}, 400, "unknown-element"),
            ("<input><lines>2</lines></input>", 400, "unknown-namespace"),
            ('<input xmlns="urn:weft:system"><lines xmlns="urn:x">2</lines></input>', 400, "unknown-namespace"),
            ('<show-log xmlns="urn:weft:system"/>', 400, "unknown-element"),
            ('<input xmlns="urn:weft:system"><x/></input>', 400, "unknown-element"),
            ("{", 400, "malformed-message")):
        is_error(w, w.post(op, body), status, tag)
    e = is_error(w, w.post(op, {"weft-system:input": {"lines": -33}}), 400, "invalid-value",
                 path="/weft-system:show-log/lines")
    assert e["type"] in ("protocol", "application")
    e = is_error(w, w.post(op, '<input xmlns="urn:weft:system"><lines>x</lines></input>'), 400, "invalid-value",
                 path="/sys:show-log/sys:lines")
    is_error(w, w.post("/operations/weft-system:backup"), 400, "missing-element")
    is_error(w, w.post("/operations/weft-system:nothing"), 404, "invalid-value")


@pytest.mark.parametrize("accept", [JSON, XML])
def test_3_6_2_outputs(w, accept):
    """Of every show command that wants no input."""
    done = 0
    for name in w.get("/operations").json()["ietf-restconf:operations"]:
        if ":show-" in name and not name.startswith("weft-toy:"):
            r = w.post("/operations/" + name, headers={"Accept": accept})  # judged
            assert r.status_code in (200, 204) or w.error(r)["tag"] == "missing-element", r.text
            done += r.status_code == 200
    assert done > 8


# ---- 3.7 schema resources, RFC 8525, RFC 7895

def test_3_7_schemas_and_the_library(w):
    new = w.get("/data/ietf-yang-library:yang-library").json()["ietf-yang-library:yang-library"]
    old = w.get("/data/ietf-yang-library:modules-state").json()["ietf-yang-library:modules-state"]
    of_new = {m["name"]: m for s in new["module-set"] for m in s["module"] + s.get("import-only-module", [])}
    assert new["content-id"] == old["module-set-id"]
    assert {m["name"] for m in old["module"]} == set(of_new)
    assert {d["name"] for d in new["datastore"]} == {
        "ietf-datastores:running", "ietf-datastores:candidate", "ietf-datastores:operational"}
    assert {d["schema"] for d in new["datastore"]} <= {s["name"] for s in new["schema"]}
    texts = 0
    for m in old["module"]:
        assert ("schema" in m) == ("location" in of_new[m["name"]])
        if "schema" in m:
            assert [m["schema"]] == of_new[m["name"]]["location"]
            r = w.http.get(m["schema"], headers={"Accept": "application/yang"})
            assert r.status_code == 200 and r.headers["content-type"] == "application/yang"
            assert re.search(rf"^module {m['name']} {{", r.text, re.M) and f'namespace "{m["namespace"]}"' in r.text
            texts += 1
    assert texts >= 5
    one = f"/data/ietf-yang-library:modules-state/module=weft-apm,{of_new['weft-apm']['revision']}/schema"
    assert w.get(one).json()["ietf-yang-library:schema"].endswith("/weft-apm@" + of_new["weft-apm"]["revision"])
    is_error(w, w.get("/schema/weft-apm", headers={"Accept": JSON}), 406, "invalid-value")
    is_error(w, w.get("/schema/nothing"), 404, "invalid-value")


# ---- 4.1 OPTIONS, 405 with Allow

METHODS = [
    ("/data", "GET, HEAD, POST, PUT, PATCH, OPTIONS"),
    (TOYS, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (TOYS + "/toy=t,1", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (TOYS + "/toy=none,1", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (TOYS + "/toy", READ),
    (TOYS + "/toy=t,1/colour", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
    (TOYS + "/toy=t,1/maker", "GET, HEAD, PUT, PATCH, OPTIONS"),
    (TOYS + "/toy=t,1/step", READ),
    (TOYS + "/toy=t,1/step=2", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
    (TOYS + "/toy=t,1/part=p", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    ("/data/weft-system:system/state", READ),
    ("/data/ietf-yang-library:yang-library", READ),
    ("", READ), ("/operations", READ), ("/yang-library-version", READ), ("/schema/weft-apm", READ),
    ("//openapi.json", READ), ("//streams/NETCONF/json", READ),
    ("/operations/weft-system:show-log", "POST, OPTIONS")]


@pytest.mark.parametrize("path,allow", METHODS, ids=[m[0] or "/" for m in METHODS])
def test_4_1_methods(w, unchanged, path, allow):
    r = w.request("OPTIONS", path)
    assert r.status_code == 200 and r.headers["allow"] == allow and r.content == b""
    patch = {p.strip() for p in r.headers.get("accept-patch", "").split(",")}
    assert patch == ({JSON, XML, PATCH_JSON, PATCH_XML} if "PATCH" in allow else {""})
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "BREW"):
        if method not in allow.split(", "):
            body = None if method in ("GET", "DELETE") else "{}"
            r = w.request(method, path, body)
            is_error(w, r, 405, "operation-not-supported")
            assert r.headers["allow"] == allow or method == "BREW"
            assert "GET" in r.headers["allow"] or "POST" in r.headers["allow"]


def test_4_1_options_of_nothing(w):
    is_error(w, w.request("OPTIONS", "/data/weft-toy:toys/nothing"), 404, "invalid-value")
    assert w.request("OPTIONS", TOYS, session=w.session(None)).status_code == 401


# ---- 4.2 HEAD, 4.3 GET

@pytest.mark.parametrize("path", ["/data", TOYS, TOYS + "/toy=t,1", TOYS + "/toy=t,1/part", "", "/operations",
                                  "/yang-library-version", "/schema/weft-apm", "//openapi.json",
                                  "//.well-known/host-meta", TOYS + "/toy=none,1", TOYS + "/nothing",
                                  TOYS + "/toy=t,1/tag", TOYS + "?depth=0", "/data/weft-system:system/state"])
def test_4_2_head_is_get_without_a_body(w, path):
    g, h = w.get(path), w.request("HEAD", path)
    assert h.content == b"" and h.status_code == g.status_code
    for name in ("content-type", "etag", "last-modified", "cache-control", "vary", "allow"):
        assert h.headers.get(name) == g.headers.get(name), name


def test_4_3_lists(w):
    """JSON: an array, without the tags of any one entry. XML: one entry only."""
    r = w.get(TOYS + "/toy=t,1/part")
    assert [p["name"] for p in r.json()["weft-toy:part"]] == ["p", "q"]
    assert "etag" not in r.headers and "last-modified" not in r.headers
    for path in ("/toy=t,1/part", "/toy=t,1/step", "/toy"):
        if path == "/toy":
            w.put(TOYS + "/toy=u,1", toy("u", 1))
        is_error(w, w.get(TOYS + path, headers={"Accept": XML}), 400, "invalid-value")
    assert w.get(TOYS + "/toy=t,1/step=2").json() == {"weft-toy:step": [2]}
    assert w.get(TOYS + "/toy=t,1/step=2", headers={"Accept": XML}).text.strip() == \
        '<step xmlns="urn:weft:toy">2</step>'
    for path in ("/toy=t,1/step=9", "/toy=t,1/part=z", "/toy=t,1/tag", "/toy=z,1", "/toy=z,1/colour"):
        is_error(w, w.get(TOYS + path), 404, "invalid-value")
    w.delete(TOYS + "/toy=u,1")


def test_4_3_content_of_one_node(w):
    is_error(w, w.get(TOYS + "/toy=t,1/box?content=nonconfig"), 404, "invalid-value")
    is_error(w, w.get("/data/weft-system:system/state/version?content=config"), 404, "invalid-value")
    assert w.get("/data/weft-system:system/state?content=nonconfig").status_code == 200


# ---- 4.4 POST

def test_4_4_1_create(w):
    for body, where in ((box("post"), "/weft-toy:toys/box=post"),
                        ('<box xmlns="urn:weft:toy"><name>post-x</name></box>', "/weft-toy:toys/box=post-x")):
        r = w.post(TOYS, body)
        assert r.status_code == 201 and r.content == b""
        assert r.headers["location"] == f"{w.base}/restconf/data{where}"
        assert r.headers["etag"] and r.headers["last-modified"]
        e = is_error(w, w.post(TOYS, body), 409, "resource-denied", "data-exists")
        assert "exists" in e["message"]
        assert w.http.delete(r.headers["location"]).status_code == 204
    for body in ({"weft-toy:box": [{"name": "a1"}, {"name": "a2"}]}, {"weft-toy:box": []},
                 {**box("a1"), **toy("a", 1)}, {}):
        is_error(w, w.post(TOYS, body), 400, "malformed-message")
    is_error(w, w.post(TOYS, ""), 400, "invalid-value", word="body")
    is_error(w, w.post(TOYS + "/toy=none,1", {"weft-toy:colour": "red"}), 404, "invalid-value")
    # leaf, container with presence, entry of a leaf-list: each a resource
    w.put(TOYS + "/toy=made,1", toy("made", 1))
    base = TOYS + "/toy=made,1"
    for body, where in (({"weft-toy:colour": "red"}, "/colour"), ({"weft-toy:tag": ["a b"]}, "/tag=a%20b"),
                        ({"weft-toy:box-art": {"artist": "x"}}, "/box-art"), ({"weft-toy:step": [4]}, "/step=4")):
        r = w.post(base, body)
        assert r.status_code == 201 and r.headers["location"].endswith("/toy=made,1" + where)
        assert w.http.get(r.headers["location"]).status_code == 200
        is_error(w, w.post(base, body), 409, "resource-denied", "data-exists")
    w.delete(base)


# ---- 4.5 PUT, 4.6 PATCH, 4.7 DELETE

def test_4_5_put(w):
    path = TOYS + "/toy=put,1"
    r = w.put(path, toy("put", 1, colour="red", tag=["x"]))
    assert r.status_code == 201 and r.content == b"" and r.headers["etag"] and r.headers["last-modified"]
    r = w.put(path, toy("put", 1, price="2.0"))
    assert r.status_code == 204 and w.get(path).json() == toy("put", 1, price="2.0")
    is_error(w, w.put(path, ""), 400, "invalid-value", word="body")
    # keys and values of leaf-lists can't be changed
    is_error(w, w.put(path, toy("put", 2)), 400, "invalid-value")
    is_error(w, w.put(path + "/maker", {"weft-toy:maker": "other"}), 400, "invalid-value")
    assert w.put(path + "/maker", {"weft-toy:maker": "put"}).status_code == 204
    assert w.put(path + "/tag=y", {"weft-toy:tag": ["y"]}).status_code == 201
    is_error(w, w.put(path + "/tag=y", {"weft-toy:tag": ["z"]}), 400, "invalid-value")
    # another node than the address names
    is_error(w, w.put(path, box("put")), 400, "invalid-value")
    w.delete(path)


@pytest.mark.parametrize("form", ["json", "xml"])
def test_4_5_put_of_the_datastore(tmp_path, form):
    """B.2.4: afterwards all that is configured is what the body says (users too: so not everybody's weftd)."""
    d = Weftd(tmp_path)
    try:
        d.put(TOYS + "/box=before", box("before"))
        body = json.dumps({"ietf-restconf:data": {"weft-toy:toys": {"box": [{"name": "only"}]}}})
        if form == "xml":
            body = ('<data xmlns="urn:ietf:params:xml:ns:yang:ietf-restconf"><toys xmlns="urn:weft:toy">'
                    "<box><name>only</name></box></toys></data>")
        assert d.put("/data", body).status_code == 204
        assert d.get("/data").status_code == 401
        p = subprocess.run(["curl", "-sS", "--unix-socket", d.unix, "http://localhost/restconf/data?content=config"],
                           capture_output=True, text=True, check=True, timeout=30)
        assert json.loads(p.stdout) == {"ietf-restconf:data": {"weft-toy:toys": {"box": [{"name": "only"}]}}}
    finally:
        d.stop()


def test_4_6_1_plain_patch(w):
    path = TOYS + "/toy=patch,1"
    w.put(path, toy("patch", 1, tag=["a"]))
    r = w.patch(path, toy("patch", 1, colour="red", tag=["b"]))
    assert r.status_code == 204 and r.headers["etag"] and r.headers["last-modified"]
    assert w.get(path).json() == toy("patch", 1, colour="red", tag=["a", "b"])
    x = '<toy xmlns="urn:weft:toy"><maker>patch</maker><number>1</number><price>3.5</price></toy>'
    assert w.patch(path, x).status_code == 204
    assert w.get(path + "/price").json() == {"weft-toy:price": "3.5"}
    # it creates inside its target, never the target
    assert w.patch(TOYS, {"weft-toy:toys": {"box": [{"name": "patched"}]}}).status_code == 204
    assert w.delete(TOYS + "/box=patched").status_code == 204
    for target, body in (("/toy=patch,9", toy("patch", 9)), ("/toy=patch,1/tag=z", {"weft-toy:tag": ["z"]}),
                         ("/toy=patch,1/box-art", {"weft-toy:box-art": {"artist": "x"}})):
        is_error(w, w.patch(TOYS + target, body), 404, "invalid-value")
        assert w.get(TOYS + target).status_code == 404
    is_error(w, w.patch(path, toy("patch", 2)), 400, "invalid-value")
    is_error(w, w.patch(path, ""), 400, "invalid-value")
    r = w.patch(path, "x", headers={"Content-Type": "application/json-patch+json"})
    assert r.status_code == 415 and PATCH_JSON in r.headers["accept-patch"]
    w.delete(path)


def test_4_7_delete(w, unchanged):
    is_error(w, w.delete(TOYS + "/toy"), 405, "operation-not-supported")
    is_error(w, w.delete(TOYS + "/toy=t,1/step"), 405, "operation-not-supported")
    is_error(w, w.delete(TOYS + "/toy=none,1"), 404, "invalid-value")
    is_error(w, w.delete(TOYS + "/toy=t,1/price"), 404, "invalid-value")
    is_error(w, w.delete(TOYS + "/box=b"), 409, "in-use")


# ---- 4.8 query parameters

def test_4_8_5_insert_and_point(w):
    """In a list and in a leaf-list that are ordered by the user, with POST and with PUT."""
    base = TOYS + "/toy=ord,1"
    w.put(base, toy("ord", 1, step=[1, 2], part=[{"name": "a"}, {"name": "b"}], tag=["x"]))
    steps = lambda: w.get(base + "/step").json()["weft-toy:step"]
    point = lambda v: "point=" + urllib.parse.quote(f"/weft-toy:toys/toy=ord,1/{v}", safe="")
    r = w.post(f"{base}?insert=before&{point('step=2')}", {"weft-toy:step": [9]})
    assert r.status_code == 201 and r.headers["location"].endswith("/step=9") and steps() == [1, 9, 2]
    assert w.put(f"{base}/step=1?insert=last", {"weft-toy:step": [1]}).status_code == 204 and steps() == [9, 2, 1]
    assert w.put(f"{base}/step=5?insert=after&{point('step=9')}", {"weft-toy:step": [5]}).status_code == 201
    x = '<step xmlns="urn:weft:toy">7</step>'
    assert w.post(f"{base}?insert=first", x).status_code == 201 and steps() == [7, 9, 5, 2, 1]
    before = w.head_index()
    # a point that is not there, or elsewhere (RFC 7950 15.7)
    for p in (point("step=3"), point("part=a"), "point=" + urllib.parse.quote("/weft-toy:toys/toy=t,1/step=1")):
        is_error(w, w.post(f"{base}?insert=before&{p}", {"weft-toy:step": [3]}), 400, "bad-attribute", "missing-instance",
                 "/weft-toy:toys/toy[maker='ord'][number='1']/step[.='3']")
    is_error(w, w.post(f"{base}?insert=before&point=%2Fweft-toy%3Atoys%2Fnothing", {"weft-toy:step": [3]}),
             400, "unknown-element")
    # what the system orders has no first
    for body in ({"weft-toy:tag": ["a"]}, {"weft-toy:colour": "red"}):
        is_error(w, w.post(base + "?insert=first", body), 400, "invalid-value")
    is_error(w, w.post(TOYS + "?insert=first", box("ins")), 400, "invalid-value")
    for query in ("insert=before", "point=/weft-toy:toys", "insert=first&point=/weft-toy:toys", "insert=middle",
                  "insert=after&point=relative"):
        is_error(w, w.post(f"{base}?{query}", {"weft-toy:step": [3]}), 400, "invalid-value")
    is_error(w, w.patch(f"{base}?insert=first", toy("ord", 1)), 400, "invalid-value")
    assert w.head_index() == before
    w.delete(base)


@pytest.mark.parametrize("method,path,query", [
    ("GET", TOYS, "Depth=1"), ("GET", TOYS, "depth=1&depth=1"), ("GET", TOYS, "filter=/a"),
    ("GET", TOYS, "start-time=2020-01-01T00:00:00Z"), ("GET", "/operations", "content=all"),
    ("GET", "/yang-library-version", "depth=1"), ("GET", "//streams/NETCONF/json", "content=all"),
    ("POST", TOYS, "content=all"), ("DELETE", TOYS + "/box=b", "with-defaults=trim"), ("GET", TOYS, "vendor=1"),
    ("POST", "/operations/weft-system:show-version", "depth=1"), ("GET", TOYS, "with-defaults=some")])
def test_4_8_unexpected_parameters(w, unchanged, method, path, query):
    body = "{}" if method == "POST" and path == TOYS else None
    is_error(w, w.request(method, f"{path}?{query}", body), 400, "invalid-value")


# ---- 5.2 negotiation

def test_5_2_encodings(w, unchanged):
    """Without an Accept, or with one that leaves it open, the answer has the request's form."""
    s = w.session()
    for accept in (None, "*/*", "application/*"):
        for body, kind in (("<x/>", XML), ("[]", JSON)):
            r = w.put(TOYS + "/box=b", body, headers={"Accept": accept}, session=s)
            assert r.status_code == 400 and r.headers["content-type"] == kind, (accept, r.headers)
    r = w.put(TOYS + "/box=b", "<x/>", headers={"Accept": JSON})
    assert r.headers["content-type"] == JSON
    for kind in ("text/plain", "application/octet-stream", PATCH_JSON, None):
        is_error(w, w.put(TOYS + "/box=b", "{}", headers={"Content-Type": kind}), 415, "operation-not-supported")
    for path in (TOYS, "", "/operations", "/yang-library-version", "/operations/weft-system:show-version"):
        method = "POST" if "show" in path else "GET"
        is_error(w, w.request(method, path, headers={"Accept": "text/html"}), 406, "invalid-value")
    for path in ("//openapi.json", "//streams/NETCONF/json"):
        is_error(w, w.get(path, headers={"Accept": "image/png"}), 406, "invalid-value")


# ---- 7 errors; RFC 7950 8.3.1 and 15

def test_7_constraints(w, unchanged):
    """What RFC 7950 orders of each constraint, and the words that the module itself has for it."""
    g = "/weft-toy:toys/game[name='g']"
    put = lambda body: w.put(TOYS + "/game=g", body)
    is_error(w, put(game("g", players=1)), 412, "operation-failed", "toy-lonely", g, "A game for one has a motto.")
    is_error(w, w.put(TOYS + "/toy=t,2", toy("t", 2, price="0")), 412, "operation-failed", "must-violation",
             "/weft-toy:toys/toy[maker='t'][number='2']", "Only red toys are free.")
    is_error(w, put(game("g", players=9)), 400, "invalid-value", "toy-players", g + "/players", "One to eight can play.")
    is_error(w, put(game("g", motto="small")), 400, "invalid-value", "toy-motto", g + "/motto", "begins with a capital")
    is_error(w, put(game("g", motto="A" * 11)), 400, "invalid-value", "toy-motto-length", g + "/motto", "is short")
    is_error(w, put(game("g", rule=list("abcd"))), 412, "operation-failed", "too-many-elements", g)
    is_error(w, put(game("g", rule=[])), 412, "operation-failed", "too-few-elements", g)
    none = game("g")
    del none["weft-toy:game"][0]["dice"]
    e = is_error(w, put(none), 409, "data-missing", "missing-choice", g)
    assert e["info"] == {"yang:missing-choice": "pieces"}
    twice = [{"round": n, "player": "p", "result": {"points": 1}} for n in (1, 2)]
    e = is_error(w, put(game("g", score=twice)), 412, "operation-failed", "data-not-unique", g + "/score[round='2']")
    assert e["info"] == {"yang:non-unique": [g + "/score[round='2']/player", g + "/score[round='2']/result/points"]}
    t = "/weft-toy:toys/toy[maker='t'][number='1']"
    is_error(w, w.patch(TOYS + "/toy=t,1", toy("t", 1, favourite="zz")), 409, "data-missing", "instance-required",
             t + "/favourite")
    is_error(w, w.patch(TOYS + "/toy=t,1", toy("t", 1, box="zz")), 409, "data-missing", "instance-required", t + "/box")
    is_error(w, w.patch(TOYS + "/toy=t,1", toy("t", 1, batteries=1, turns=1)), 400, "bad-element", None, t + "/turns")
    is_error(w, w.patch(TOYS + "/toy=t,1", toy("t", 1, **{"key-size": 1})), 400, "unknown-element", None, t + "/key-size")
    is_error(w, w.patch(TOYS + "/toy=t,1", toy("t", 1, gateway="1.2.3.400")), 400, "invalid-value",
             "weft-ipv4-address", t + "/gateway")


def test_7_constraints_in_xml(w, unchanged):
    """error-path and error-info with their namespaces declared where they stand."""
    x = ('<game xmlns="urn:weft:toy"><name>g</name><rule>r</rule><dice>1</dice>' + "".join(
        f"<score><round>{n}</round><player>p</player><result><points>1</points></result></score>" for n in (1, 2)) +
        "</game>")
    r = w.put(TOYS + "/game=g", x)
    assert r.status_code == 412
    e = et.fromstring(r.content).find(RC + "error")
    assert e.find(RC + "error-app-tag").text == "data-not-unique"
    assert e.find(RC + "error-path").text == "/toy:toys/toy:game[toy:name='g']/toy:score[toy:round='2']"
    assert [c.text for c in e.find(RC + "error-info")] == [
        "/toy:toys/toy:game[toy:name='g']/toy:score[toy:round='2']/toy:" + leaf for leaf in
        ("player", "result/toy:points")]
    assert all(c.tag == "{urn:ietf:params:xml:ns:yang:1}non-unique" for c in e.find(RC + "error-info"))
    assert r.text.count('xmlns:toy="urn:weft:toy"') == 3
    r = w.put(TOYS + "/game=g", '<game xmlns="urn:weft:toy"><name>g</name><rule>r</rule></game>')
    e = et.fromstring(r.content).find(RC + "error")
    assert e.find(RC + "error-info/{urn:ietf:params:xml:ns:yang:1}missing-choice").text == "pieces"


@pytest.mark.parametrize("body,tag,path,word", [
    ("<box><name>b</name></box>", "unknown-namespace", "/toy:toys", "urn:weft:toy is"),
    ('<box xmlns=""><name>b</name></box>', "unknown-namespace", "/toy:toys", "no namespace"),
    ('<box xmlns="urn:nobody"><name>b</name></box>', "unknown-namespace", "/toy:toys", "urn:nobody"),
    ('<box xmlns="urn:weft:system"><name>b</name></box>', "unknown-namespace", "/toy:toys", "urn:weft:system"),
    ('<b:box xmlns:b="urn:weft:toy"><name>b</name></b:box>', "unknown-namespace", "/toy:toys", "<name>"),
    ('<b:box xmlns:b="urn:weft:toy"><b:name>b</b:name><size xmlns="urn:x">1</size></b:box>', "unknown-namespace",
     "/toy:toys/toy:box[toy:name='b']", "<size>"),
    ('<box xmlns="urn:weft:toy"><name>b</name><sise>1</sise></box>', "unknown-element",
     "/toy:toys/toy:box[toy:name='b']", "did you mean size"),
    ('<boks xmlns="urn:weft:toy"/>', "unknown-element", "/toy:toys", "did you mean box"),
    ('<b:box xmlns="urn:weft:toy"/>', "malformed-message", None, "prefix"),
    ('<box xmlns="urn:weft:toy" x="1"><name>b</name></box>', "unknown-attribute", "/toy:toys", '"x"'),
    ('<box xmlns="urn:weft:toy" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete">'
     '<name>b</name></box>', "unknown-attribute", "/toy:toys", "operation"),
    ('<box xmlns="urn:weft:toy"><name>b</name><name>b</name></box>', "bad-element",
     "/toy:toys/toy:box[toy:name='b']/toy:name", "twice")])
def test_7_names_in_xml(w, unchanged, body, tag, path, word):
    is_error(w, w.put(TOYS + "/box=b", body), 400, tag, None, path, word)
    # the same in a patch's value
    if tag not in ("malformed-message",):
        x = ('<yang-patch xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-patch"><patch-id>p</patch-id><edit><edit-id>1'
             f"</edit-id><operation>merge</operation><target>/box=b</target><value>{body}</value></edit></yang-patch>")
        r = w.patch(TOYS, x, headers={"Content-Type": PATCH_XML})
        wanted = "no namespace" if 'xmlns=""' in body or "xmlns" not in body[:10] else tag
        assert r.status_code == 400 and (tag in r.text or wanted), r.text


def test_7_datastore_in_xml(w, unchanged):
    rc = 'xmlns="urn:ietf:params:xml:ns:yang:ietf-restconf"'
    for body, tag in (("<data/>", "unknown-namespace"), ('<data xmlns="urn:x"/>', "unknown-namespace"),
                      (f"<dato {rc}/>", "unknown-element"), (f"<data {rc}><toys/></data>", "unknown-namespace"),
                      (f'<data {rc}><toys xmlns="urn:weft:toy"><x/></toys></data>', "unknown-element")):
        is_error(w, w.patch("/data", body), 400, tag)


def test_7_the_rest_of_the_table(w, unchanged):
    """Rows that no other test of this file reaches; each answer goes through yanglint in both forms."""
    for accept in (JSON, XML):
        h = {"Accept": accept}
        is_error(w, w.get("/data", session=w.session("admin", "wrong"), headers=h), 401, "access-denied")
        is_error(w, w.delete(TOYS + "/box=b", headers=h), 409, "in-use")
        is_error(w, w.delete(TOYS + "/box=b", headers={**h, "If-Match": '"0-j"'}), 412, "operation-failed")
        is_error(w, w.post("/operations/weft-toy:show-toys", headers=h), 501, "operation-not-supported")
        is_error(w, w.put(TOYS + "/box=b", "[" * 5000, headers={**h, "Content-Type": JSON}), 413, "too-big")
        is_error(w, w.put(TOYS + "/toy=t,2", '{"weft-toy:toy":[{"maker":"t"}]}',
                          headers={**h, "Content-Type": JSON}), 400, "missing-element")


# ---- 6 notifications

class Events:
    def __init__(self, w, query="", form="json", timeout=20):
        self.r = w.session().get(f"{w.base}/streams/NETCONF/{form}{query}", stream=True, timeout=timeout,
                                 headers={"Accept": "text/event-stream"})
        assert self.r.status_code == 200 and self.r.headers["content-type"] == "text/event-stream"
        assert "no-cache" in self.r.headers["cache-control"]
        self.lines = self.r.iter_lines(chunk_size=1)

    def next(self):
        """The next notification's text; None: the stream is at its end."""
        data, name = "", None
        for line in self.lines:
            line = line.decode()
            if line == "" and data:
                if name is None:
                    return data
                data, name = "", None
            elif line.startswith("data: "):
                data += line[6:]
            elif line.startswith("event: "):
                name = line[7:]
        return None

    def close(self):
        self.r.close()


@pytest.mark.parametrize("form", ["json", "xml"])
def test_6_notifications(w, form):
    """Each goes through yanglint; the stream is found where the monitoring module says."""
    where = w.get(f"/data/ietf-restconf-monitoring:restconf-state/streams/stream=NETCONF/access={form}/location")
    assert where.json()["ietf-restconf-monitoring:location"] == f"{w.base}/streams/NETCONF/{form}"
    s = Events(w, form=form)
    w.put(TOYS + "/box=note?commit-comment=%3Cfirst%3E%20%26%20%22second%22", box("note", size=str(time.time_ns() % 10**9)))
    text = s.next()
    check_body(w.dir, text)
    assert "second" in text and "eventTime" in text
    s.close()
    assert w.request("HEAD", f"//streams/NETCONF/{form}").headers["content-type"] == "text/event-stream"


def test_4_8_4_filter(w):
    """Only what the expression is true of is sent; an expression that is none is refused."""
    user = urllib.parse.quote("/weft-system:commit[user='admin' and contains(comment,'wanted')]", safe="")
    s, none = Events(w, f"?filter={user}"), Events(w, "?filter=%2Fweft-system%3Acommit%5Buser%3D'nobody'%5D")
    for comment in ("other", "wanted", "other", "wanted"):
        w.put(f"{TOYS}/box=note?commit-comment={comment}", box("note", size=str(time.time_ns() % 10**9)))
    for _ in range(2):
        n = json.loads(s.next())["ietf-restconf:notification"]
        assert n["weft-system:commit"]["comment"] == "wanted"
    s.close()
    none.close()
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time()))
    s = Events(w, f"?start-time=2020-01-01T00:00:00Z&stop-time={now}&filter=" + urllib.parse.quote("/*/number<0"))
    assert s.next() is None  # replayed, filtered, ended
    s = Events(w, f"?start-time=2020-01-01T00:00:00Z&stop-time={now}&filter=" + urllib.parse.quote("1 mod 0"))
    assert s.next() is None  # that is no number, and nothing that ends the daemon
    for bad in ("%2Fa%5B", "1%5D%7C%2F*%5B1", "$x", "nothing()", "%2Fnomodule%3Ax", "", "*[" * 40 + "*" + "]" * 40, "1" * 2000):
        is_error(w, w.get("//streams/NETCONF/json?filter=" + bad), 400, "invalid-value")


def test_4_8_7_replay(w):
    """From a time on, up to a time, then the end; each once, in order, with its own time."""
    first = [int(w.put(TOYS + "/box=replay", box("replay", size=str(i))).headers["weft-commit"]) for i in range(3)]
    time.sleep(1.1)
    between = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    second = [int(w.put(TOYS + "/box=replay", box("replay", size=str(i))).headers["weft-commit"]) for i in range(10, 13)]
    time.sleep(1.1)
    now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())

    def numbers(query):
        s, seen = Events(w, query.replace("+", "%2B")), []
        while (text := s.next()) is not None:
            n = json.loads(text)["ietf-restconf:notification"]
            if "weft-system:commit" in n:
                seen.append(int(n["weft-system:commit"]["number"]))
        return seen
    everything = numbers(f"?start-time=2020-01-01T00:00:00Z&stop-time={now}")
    assert everything == sorted(set(everything)) and set(first + second) <= set(everything)
    assert [n for n in numbers(f"?start-time={between}&stop-time={now}") if n >= first[0]] == second
    assert set(first) <= set(numbers(f"?start-time=2020-01-01T00:00:00Z&stop-time={between}"))
    # without start-time nothing is replayed
    s = Events(w)
    new = int(w.put(TOYS + "/box=replay", box("replay", size="99")).headers["weft-commit"])
    assert int(json.loads(s.next())["ietf-restconf:notification"]["weft-system:commit"]["number"]) == new
    s.close()
    for query in ("start-time=2100-01-01T00:00:00Z", "stop-time=2020-01-01T00:00:00Z",
                  "start-time=2020-01-01T00:00:00Z&stop-time=2019-01-01T00:00:00Z", "start-time=yesterday"):
        is_error(w, w.get("//streams/NETCONF/json?" + query), 400, "invalid-value")


# ---- 9 monitoring

def test_9_capabilities_are_what_works(w):
    """Each ability that is listed is there, and each that is there is listed."""
    state = w.get("/data/ietf-restconf-monitoring:restconf-state").json()["ietf-restconf-monitoring:restconf-state"]
    listed = {c.replace(CAPABILITY, "") for c in state["capabilities"]["capability"]}
    works = {
        "depth:1.0": lambda: w.get(TOYS + "?depth=1"),
        "fields:1.0": lambda: w.get(TOYS + "?fields=box"),
        "filter:1.0": lambda: w.request("HEAD", "//streams/NETCONF/json?filter=1"),
        "replay:1.0": lambda: w.request("HEAD", "//streams/NETCONF/json?start-time=2020-01-01T00:00:00Z"),
        "with-defaults:1.0": lambda: w.get(TOYS + "?with-defaults=report-all-tagged"),
        "defaults:1.0?basic-mode=explicit": lambda: w.get(TOYS),
        "with-operational-defaults:1.0?basic-mode=report-all":
            lambda: w.request("HEAD", "/ds/ietf-datastores:operational?with-defaults=explicit&depth=2"),
        "yang-patch:1.0": lambda: w.patch(TOYS, {"ietf-yang-patch:yang-patch": {"patch-id": "p"}},
                                          headers={"Content-Type": PATCH_JSON})}
    assert listed == set(works)
    for name, probe in works.items():
        assert probe().status_code == 200, name


def test_9_1_capabilities_have_a_tag(w):
    path = "/data/ietf-restconf-monitoring:restconf-state/capabilities"
    for accept in (JSON, XML):
        r = w.get(path, headers={"Accept": accept})
        assert r.headers["etag"] and r.headers["last-modified"]
        again = {"Accept": accept, "If-None-Match": r.headers["etag"]}
        assert w.get(path, headers=again).status_code == 304
        w.put(TOYS + "/box=cap", box("cap", size=str(time.time_ns() % 10**9)))
        assert w.get(path, headers=again).status_code == 304, "changes of the datastore are none of this"
    assert w.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


# ---- HTTP

def test_http_2_and_1(w):
    """The same over both versions."""
    url = f"{w.base}/restconf{TOYS}/box=http"

    def curl(*a):
        p = subprocess.run(["curl", "-sS", "--cacert", w.ca, "-u", f"admin:{w.password}", *a, "-o", "-", "-w",
                            "\n%{http_version} %{http_code}"], capture_output=True, text=True, timeout=30)
        assert p.returncode == 0, p.stderr
        return p.stdout.rsplit("\n", 1)
    for flag, version in (("--http2", "2"), ("--http1.1", "1.1")):
        body = ["-H", f"Content-Type: {JSON}", "-d", json.dumps(box("http", size=version.replace(".", "")))]
        assert curl(flag, "-X", "PUT", url, *body)[1].split()[0] == version
        text, tail = curl(flag, url)
        assert tail == f"{version} 200" and json.loads(text)["weft-toy:box"][0]["size"] == version.replace(".", "")
        assert curl(flag, "-X", "DELETE", url)[1] == f"{version} 204"
        assert curl(flag, url)[1] == f"{version} 404"


# ---- RFC 8072

def edit(i, op, target, value=None, **more):
    e = {"edit-id": f"e{i}", "operation": op, "target": target, **more}
    if value is not None:
        e["value"] = value
    return e


def as_xml(edits, patch_id="p"):
    """The same patch in XML; values are given as XML in `x`."""
    out = ""
    for e in edits:
        leaves = "".join(f"<{n}>{e[n]}</{n}>" for n in ("edit-id", "operation", "target", "point", "where") if n in e)
        out += f"<edit>{leaves}{'<value>' + e['x'] + '</value>' if 'x' in e else ''}</edit>"
    return f'<yang-patch xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-patch"><patch-id>{patch_id}</patch-id>{out}</yang-patch>'


def patch(w, edits, path=TOYS, accept=JSON, **kw):
    body = {"ietf-yang-patch:yang-patch": {"patch-id": "p", "comment": "c", "edit": edits}}
    return w.patch(path, body, headers={"Content-Type": PATCH_JSON, "Accept": accept, **kw})


def status_of(r):
    """(edit-id or None, error) of a patch that was refused."""
    s = r.json()["ietf-yang-patch:yang-patch-status"]
    assert s["patch-id"] == "p" and "ok" not in s
    if "edit-status" in s:
        (one,) = s["edit-status"]["edit"]
        (e,) = one["errors"]["error"]
        return one["edit-id"], e
    (e,) = s["errors"]["error"]
    return None, e


@pytest.mark.parametrize("accept", [JSON, XML])
def test_8072_every_operation(w, accept):
    part = lambda n, **m: {"weft-toy:part": [{"name": n, **m}]}
    r = patch(w, [
        edit(1, "create", "/box=yp", box("yp")), edit(2, "merge", "/box=yp", box("yp", size="4")),
        edit(3, "replace", "/toy=yp,1", toy("yp", 1, part=[{"name": "a"}, {"name": "b"}], step=[1, 2])),
        edit(4, "insert", "/toy=yp,1/part=c", part("c"), where="before", point="/toy=yp,1/part=b"),
        edit(5, "insert", "/toy=yp,1/part=d", part("d")),
        edit(6, "move", "/toy=yp,1/part=b", where="first"),
        edit(7, "move", "/toy=yp,1/part=a", where="after", point="/toy=yp,1/part=d"),
        edit(8, "insert", "/toy=yp,1/step=9", {"weft-toy:step": [9]}, where="first"),
        edit(9, "move", "/toy=yp,1/step=1", where="last"),
        edit(10, "remove", "/box=never"), edit(11, "delete", "/toy=yp,1/part=c"),
        edit(12, "create", "/toy=yp,1/colour", {"weft-toy:colour": "red"})], accept=accept)
    assert r.status_code == 200 and r.headers["content-type"] == accept, r.text
    assert r.headers["etag"] and r.headers["last-modified"] and r.headers["weft-commit"]
    t = w.get(TOYS + "/toy=yp,1").json()["weft-toy:toy"][0]
    assert [p["name"] for p in t["part"]] == ["b", "d", "a"] and t["step"] == [9, 2, 1] and t["colour"] == "red"
    # the target itself; and one that is a leaf
    assert patch(w, [edit(1, "merge", "/", box("yp", size="7"))], TOYS + "/box=yp").status_code == 200
    assert patch(w, [edit(1, "replace", "/size", {"weft-toy:size": "8"})], TOYS + "/box=yp").status_code == 200
    assert w.get(TOYS + "/box=yp").json() == box("yp", size="8")
    # of the datastore
    r = patch(w, [edit(1, "delete", "/weft-toy:toys/toy=yp,1"), edit(2, "delete", "/weft-toy:toys/box=yp")], "/data")
    assert r.status_code == 200
    assert w.get(TOYS + "/toy=yp,1").status_code == 404


def test_8072_xml(w):
    ns = 'xmlns="urn:weft:toy"'
    r = w.patch(TOYS, as_xml([
        {"edit-id": "1", "operation": "create", "target": "/toy=yx,1",
         "x": f"<toy {ns}><maker>yx</maker><number>1</number><part><name>a</name></part></toy>"},
        {"edit-id": "2", "operation": "insert", "target": "/toy=yx,1/part=b", "where": "before",
         "point": "/toy=yx,1/part=a", "x": f"<part {ns}><name>b</name></part>"},
        {"edit-id": "3", "operation": "move", "target": "/toy=yx,1/part=b", "where": "last"}]),
        headers={"Content-Type": PATCH_XML})
    assert r.status_code == 200 and r.headers["content-type"] == XML and "<ok/>" in r.text
    assert [p["name"] for p in w.get(TOYS + "/toy=yx,1/part").json()["weft-toy:part"]] == ["a", "b"]
    r = w.patch(TOYS, as_xml([{"edit-id": "one", "operation": "delete", "target": "/toy=yx,1"},
                              {"edit-id": "two", "operation": "delete", "target": "/toy=yx,1/part=a"}]),
                headers={"Content-Type": PATCH_XML})
    assert r.status_code == 409
    y = "{urn:ietf:params:xml:ns:yang:ietf-yang-patch}"
    one = et.fromstring(r.content).find(f"{y}edit-status/{y}edit")
    assert one.find(f"{y}edit-id").text == "two"
    # the errors are of ietf-restconf's grouping, used in ietf-yang-patch: they are in its namespace
    assert one.find(f"{y}errors/{y}error/{y}error-tag").text == "data-missing"
    assert w.delete(TOYS + "/toy=yx,1").status_code == 204


ERRORS_8072 = [
    ("create what is there", [edit(1, "create", "/box=b", box("b"))], 409, "data-exists", None),
    ("delete what is not", [edit(1, "delete", "/box=none")], 409, "data-missing", None),
    ("delete a leaf that is not", [edit(1, "delete", "/toy=t,1/price")], 409, "data-missing", None),
    ("move what is not", [edit(1, "move", "/toy=t,1/part=none", where="first")], 409, "data-missing", None),
    ("move in what is not", [edit(1, "move", "/toy=none,1/part=p", where="first")], 409, "data-missing", None),
    ("insert what is there", [edit(1, "insert", "/toy=t,1/part=p", {"weft-toy:part": [{"name": "p"}]})], 409,
     "data-exists", None),
    ("no such point", [edit(1, "move", "/toy=t,1/part=p", where="before", point="/toy=t,1/part=none")], 400,
     "bad-attribute", "missing-instance"),
    ("a point elsewhere", [edit(1, "move", "/toy=t,1/part=p", where="before", point="/toy=t,1/step=1")], 400,
     "bad-attribute", "missing-instance"),
    ("order of the system", [edit(1, "insert", "/toy=t,1/tag=a", {"weft-toy:tag": ["a"]}, where="first")], 400,
     "invalid-value", None),
    ("move of an object", [edit(1, "move", "/box=b", where="first")], 400, "invalid-value", None),
    ("a constraint", [edit(1, "merge", "/toy=t,1", toy("t", 1, price="0"))], 412, "operation-failed", "must-violation"),
    ("a type", [edit(1, "merge", "/toy=t,1/price", {"weft-toy:price": "dear"})], 400, "invalid-value", None),
    ("unknown target", [edit(1, "merge", "/nothing", {"weft-toy:nothing": 1})], 400, "unknown-element", None),
    ("unknown member", [edit(1, "merge", "/box=b", box("b", x=1))], 400, "unknown-element", None),
    ("no module", [edit(1, "merge", "/box=b", {"box": [{"name": "b"}]})], 400, "unknown-namespace", None),
    ("other keys", [edit(1, "merge", "/box=b", box("c"))], 400, "invalid-value", None),
    ("state", [edit(1, "merge", "/box=b/state", {"weft-toy:state": {}})], 405, "operation-not-supported", None),
]


@pytest.mark.parametrize("what,edits,status,tag,app", ERRORS_8072, ids=[e[0] for e in ERRORS_8072])
@pytest.mark.parametrize("accept", [JSON, XML])
def test_8072_errors(w, unchanged, what, edits, status, tag, app, accept):
    """The edit at fault is named, behind a good one that is not done either."""
    edits = [edit(0, "merge", "/box=good", box("good")), *edits]
    r = patch(w, edits, accept=accept)
    assert r.status_code == status and r.headers["content-type"] == accept, r.text
    if accept == JSON:
        where, e = status_of(r)
        assert (where, e["error-tag"], e.get("error-app-tag")) == ("e1", tag, app), r.text
    assert w.get(TOYS + "/box=good").status_code == 404


def test_8072_errors_of_the_whole(w, unchanged):
    """What no single edit is at fault for stands above them; what is no patch has no patch-id to answer to."""
    r = patch(w, [edit(1, "delete", "/box=b")])
    where, e = status_of(r)
    assert r.status_code == 409 and where is None and e["error-tag"] == "in-use", r.text
    r = patch(w, [edit(1, "merge", "/toy=t,1", toy("t", 1, box="none"))])
    where, e = status_of(r)
    assert r.status_code == 409 and e["error-tag"] == "data-missing" and e["error-app-tag"] == "instance-required"
    # a patch does not make its target (RFC 8040 4.6)
    is_error(w, patch(w, [edit(1, "create", "/", box("new"))], TOYS + "/box=new"), 404, "invalid-value")
    is_error(w, w.patch(TOYS, "", headers={"Content-Type": PATCH_JSON}), 400, "invalid-value")
    is_error(w, w.patch(TOYS, '<yang-patch xmlns="urn:x"/>', headers={"Content-Type": PATCH_XML}), 400,
             "unknown-namespace")
    for method in ("put", "post"):
        r = getattr(w, method)(TOYS, "{}", headers={"Content-Type": PATCH_JSON})
        is_error(w, r, 415, "operation-not-supported")


def test_8072_conditions_are_about_the_target(w):
    """If-Match holds for what the request's address names, whatever the edits name."""
    look = lambda p: w.get(p + "?content=config").headers["etag"]
    size = lambda n: [edit(1, "merge", "/box=b", box("b", size=str(n))), edit(2, "remove", "/box=none")]
    tag = look(TOYS)
    assert patch(w, size(21), **{"If-Match": tag}).status_code == 200
    r = patch(w, size(22), **{"If-Match": tag})
    assert r.status_code == 412, r.text
    tag = look(TOYS + "/box=b")
    leaf = lambda n: [edit(1, "replace", "/size", {"weft-toy:size": str(n)})]
    assert patch(w, leaf(23), TOYS + "/box=b", **{"If-Match": tag}).status_code == 200
    assert patch(w, leaf(24), TOYS + "/box=b", **{"If-Match": tag}).status_code == 412
    assert w.get(TOYS + "/box=b").json() == box("b", size="23")


def test_8072_many_writers_lose_nothing(w):
    """Patches of one target under If-Match at once: every sum is exact."""
    w.put(TOYS + "/box=sum", box("sum", size="0"))

    async def add(_):
        connection = await asyncio.open_unix_connection(w.unix)
        while True:
            _, fields, text = await exchange(*connection, "GET", TOYS + "/box=sum")
            n = int(json.loads(text)["weft-toy:box"][0]["size"]) + 1
            body = json.dumps({"ietf-yang-patch:yang-patch": {"patch-id": "p", "edit": [
                edit(1, "replace", "/size", {"weft-toy:size": str(n)})]}}).encode()
            status, _, text = await exchange(*connection, "PATCH", TOYS + "/box=sum", body, content_type=PATCH_JSON,
                                             if_match=fields["etag"])
            if status == 200:
                break
            assert status == 412, text
        connection[1].close()

    async def everybody():
        await asyncio.gather(*(add(i) for i in range(40)))
    asyncio.run(asyncio.wait_for(everybody(), 120))
    assert w.get(TOYS + "/box=sum").json() == box("sum", size="40")
