# SPDX-License-Identifier: Apache-2.0
"""RESTCONF as RFC 8040's appendix B walks through it, with requests and with curl."""
import json
import subprocess
import xml.etree.ElementTree as et

import pytest

from schemas import check_body, check_output, yanglint
from weftd import JSON, TOYS, XML, Weftd, box, error_of, toy

RC = "{urn:ietf:params:xml:ns:yang:ietf-restconf}"


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    d = Weftd(tmp_path_factory.mktemp("weftd"))
    yield d
    d.stop()


# ---- B.1: finding and describing the API

def test_host_meta_is_public(w):
    r = w.get("//.well-known/host-meta", session=w.session(None))
    assert r.status_code == 200 and r.headers["content-type"] == "application/xrd+xml"
    link = et.fromstring(r.content).find("{http://docs.oasis-open.org/ns/xri/xrd-1.0}Link")
    assert link.get("rel") == "restconf" and link.get("href") == "/restconf"


def test_api_resource(w):
    r = w.get("")
    assert r.headers["content-type"] == JSON
    assert r.json() == {"ietf-restconf:restconf": {
        "data": {}, "operations": {}, "yang-library-version": "2019-01-04"}}
    x = et.fromstring(w.get("", headers={"Accept": XML}).content)
    assert [c.tag for c in x] == [RC + "data", RC + "operations", RC + "yang-library-version"]
    assert w.get("/yang-library-version").json() == {
        "ietf-restconf:yang-library-version": "2019-01-04"}


@pytest.mark.parametrize("accept", [JSON, XML])
def test_bodies_end_with_their_line(w, accept):
    """Of data, of an operation, of an error; HEAD says the same length. (A streamed one: test_restconf_load.)"""
    h = {"Accept": accept}
    assert w.put(TOYS + "/box=line1", box("line1")).ok
    for r in (w.get(TOYS + "/box=line1?content=config", headers=h), w.get(TOYS + "?content=config", headers=h),
              w.get("/data", headers=h), w.get("", headers=h), w.get("/operations", headers=h),
              w.get(TOYS + "/box=none", headers=h), w.get("/data/nonsense:x", headers=h),
              w.post("/operations/weft-system:show-version", headers=h)):
        assert r.text.endswith("\n") and not r.text.endswith("\n\n"), (r.url, r.text[-60:])
        assert int(r.headers.get("content-length", len(r.content))) == len(r.content), r.url
    got = w.get(TOYS + "/box=line1?content=config", headers=h)
    head = w.request("HEAD", TOYS + "/box=line1?content=config", headers=h)
    assert head.headers["content-length"] == got.headers["content-length"] and not head.content
    assert head.headers["etag"] == got.headers["etag"]
    assert w.delete(TOYS + "/box=line1").ok


def test_yang_library_and_module_texts(w):
    r = w.get("/data/ietf-yang-library:yang-library")
    (modules,) = [s["module"] for s in r.json()["ietf-yang-library:yang-library"]["module-set"]]
    by_name = {m["name"]: m for m in modules}
    assert "ietf-restconf-monitoring" in by_name and "weft-apm" in by_name
    (where,) = by_name["weft-apm"]["location"]
    text = w.http.get(where)
    assert text.headers["content-type"] == "application/yang"
    assert text.text.startswith("module weft-apm {")
    assert w.get("/schema/weft-apm@1999-01-01").status_code == 404


def test_capabilities_and_streams(w):
    s = w.get("/data/ietf-restconf-monitoring:restconf-state").json()
    s = s["ietf-restconf-monitoring:restconf-state"]
    caps = s["capabilities"]["capability"]
    for c in ("depth:1.0", "fields:1.0", "with-defaults:1.0", "yang-patch:1.0", "replay:1.0",
              "defaults:1.0?basic-mode=explicit"):
        assert "urn:ietf:params:restconf:capability:" + c in caps
    (stream,) = s["streams"]["stream"]
    assert stream["name"] == "NETCONF" and {a["encoding"] for a in stream["access"]} == {"json", "xml"}
    one = w.get("/data/ietf-restconf-monitoring:restconf-state/streams/stream=NETCONF/access=json/"
                "location").json()["ietf-restconf-monitoring:location"]
    assert one.endswith("/streams/NETCONF/json")


def test_operations_are_listed(w):
    ops = w.get("/operations").json()["ietf-restconf:operations"]
    assert ops["weft-system:show-version"] == [None]
    x = et.fromstring(w.get("/operations", headers={"Accept": XML}).content)
    assert x.find("{urn:weft:system}show-version") is not None


def test_options(w):
    r = w.request("OPTIONS", TOYS)
    assert r.headers["allow"] == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
    assert "application/yang-patch+json" in r.headers["accept-patch"]
    assert "DELETE" not in w.request("OPTIONS", "/data").headers["allow"]
    assert w.request("OPTIONS", "/operations/weft-system:backup").headers["allow"] == "POST, OPTIONS"


# ---- B.2: editing

def test_post_creates_once(w):
    r = w.post(TOYS, box("b1", size="12"))
    assert r.status_code == 201
    assert r.headers["location"] == f"{w.base}/restconf/data/weft-toy:toys/box=b1"
    assert r.headers["etag"] and int(r.headers["weft-commit"]) > 0
    assert w.http.get(r.headers["location"]).json() == box("b1", size="12")
    again = w.post(TOYS, box("b1"))
    assert error_of(again)[:3] == (409, "resource-denied", "/weft-toy:toys/box[name='b1']")
    inner = w.put(TOYS + "/toy=post,1", toy("post", 1))
    assert inner.status_code == 201
    r = w.post(TOYS + "/toy=post,1", {"weft-toy:part": [{"name": "x"}]})
    assert r.status_code == 201 and r.headers["location"].endswith("/toy=post,1/part=x")


def test_put_creates_then_replaces(w):
    assert w.put(TOYS + "/toy=acme,1", toy("acme", 1, colour="red", tag=["a"])).status_code == 201
    assert w.put(TOYS + "/toy=acme,1", toy("acme", 1, price="7.5")).status_code == 204
    assert w.get(TOYS + "/toy=acme,1").json() == toy("acme", 1, price="7.5")
    # the key in the body must be that of the address
    r = w.put(TOYS + "/toy=acme,1", toy("acme", 2))
    assert error_of(r)[:2] == (400, "invalid-value")
    leaf = w.put(TOYS + "/toy=acme,1/colour", {"weft-toy:colour": "dark-blue"})
    assert leaf.status_code in (201, 204)
    assert w.get(TOYS + "/toy=acme,1/colour").json() == {"weft-toy:colour": "dark-blue"}


def test_patch_merges_and_makes_nothing(w):
    w.put(TOYS + "/toy=acme,2", toy("acme", 2, colour="red"))
    assert w.patch(TOYS + "/toy=acme,2", toy("acme", 2, price="1.0")).status_code == 204
    assert w.get(TOYS + "/toy=acme,2").json() == toy("acme", 2, colour="red", price="1.0")
    r = w.patch(TOYS + "/toy=acme,99", toy("acme", 99))
    assert error_of(r)[:2] == (404, "invalid-value")
    assert w.get(TOYS + "/toy=acme,99").status_code == 404


def test_delete(w):
    w.put(TOYS + "/toy=acme,3", toy("acme", 3, colour="red"))
    assert w.delete(TOYS + "/toy=acme,3/colour").status_code == 204
    assert w.get(TOYS + "/toy=acme,3").json() == toy("acme", 3)
    assert w.delete(TOYS + "/toy=acme,3").status_code == 204
    assert error_of(w.delete(TOYS + "/toy=acme,3"))[:2] == (404, "invalid-value")


def test_datastore_put_and_patch(w):
    everything = w.get("/data?content=config").json()["ietf-restconf:data"]
    r = w.patch("/data", {"ietf-restconf:data": {"weft-toy:toys": {"box": [{"name": "whole"}]}}})
    assert r.status_code == 204, r.text
    assert w.get(TOYS + "/box=whole").status_code == 200
    x = ('<data xmlns="urn:ietf:params:xml:ns:yang:ietf-restconf" xmlns:t="urn:weft:toy"><t:toys>'
         '<t:box><t:name>prefixed</t:name></t:box></t:toys></data>')
    r = w.patch("/data", x)
    assert r.status_code == 204, r.text
    assert w.get(TOYS + "/box=prefixed").status_code == 200
    # A secret is shown masked and a mask is never taken for a value, so it can't be put back:
    toys = w.get(TOYS + "?content=config").json()["weft-toy:toys"]
    toys["box"] = [b for b in toys["box"] if b["name"] not in ("whole", "prefixed")]
    r = w.put(TOYS, {"weft-toy:toys": toys})
    assert r.status_code == 204, r.text
    assert w.get(TOYS + "/box=whole").status_code == 404
    assert w.get("/data?content=config").json()["ietf-restconf:data"]["weft-system:system"] == \
        everything["weft-system:system"]


def test_insert_and_point(w):
    w.put(TOYS + "/toy=ins,1", toy("ins", 1, part=[{"name": "a"}, {"name": "b"}]))
    base = TOYS + "/toy=ins,1"
    names = lambda: [p["name"] for p in w.get(base + "/part").json()["weft-toy:part"]]
    part = lambda n: {"weft-toy:part": [{"name": n}]}
    assert w.post(base + "?insert=first", part("first")).status_code == 201
    assert w.post(base + "?insert=last", part("last")).status_code == 201
    point = "/weft-toy:toys/toy=ins,1/part=b"
    assert w.post(base + "?insert=before&point=" + point, part("before")).status_code == 201
    assert w.put(base + "/part=after?insert=after&point=" + point, part("after")).status_code == 201
    assert names() == ["first", "a", "before", "b", "after", "last"]
    # PUT of an entry that is there moves it
    assert w.put(base + "/part=last?insert=first", part("last")).status_code == 204
    assert names() == ["last", "first", "a", "before", "b", "after"]
    r = w.post(base + "?insert=before&point=/weft-toy:toys/toy=ins,1/part=zz", part("q"))
    assert error_of(r)[0] in (400, 404) and "q" not in names()


# ---- B.3: query parameters

@pytest.fixture(scope="module")
def shelf(w):
    w.put(TOYS + "/box=shelf", box("shelf"))
    w.put(TOYS + "/toy=q,1", toy("q", 1, box="shelf", **{"box-art": {"artist": "x"}},
                                 part=[{"name": "p", "screw": [{"size": 4}]}]))
    return TOYS + "/toy=q,1"


def test_content(w, shelf):
    assert "state" not in w.get("/data/weft-system:system?content=config").json()["weft-system:system"]
    non = w.get("/data/weft-system:system?content=nonconfig").json()["weft-system:system"]
    assert "state" in non and "full-name" not in json.dumps(non)
    both = w.get("/data/weft-system:system").json()["weft-system:system"]
    assert "state" in both and "user" in both


def test_depth(w, shelf):
    assert w.get(shelf + "?depth=1").json() == {"weft-toy:toy": [{}]} or \
        "part" not in w.get(shelf + "?depth=1").json()["weft-toy:toy"][0]
    two = w.get(shelf + "?depth=2").json()["weft-toy:toy"][0]
    assert two["maker"] == "q" and "screw" not in json.dumps(two)
    assert w.get(shelf + "?depth=unbounded").json() == w.get(shelf).json()


def test_fields(w, shelf):
    assert w.get(shelf + "?fields=colour;box").json()["weft-toy:toy"][0]["box"] == "shelf"
    r = w.get(shelf + "?fields=part(name;screw/size)").json()["weft-toy:toy"][0]
    assert r["part"] == [{"name": "p", "screw": [{"size": 4}]}]
    assert error_of(w.get(shelf + "?fields=nonsense"))[0] == 400
    assert error_of(w.get(shelf + "?fields=part(name"))[0] == 400


def test_with_defaults(w, shelf):
    entry = lambda q: w.get(shelf + q).json()["weft-toy:toy"][0]
    assert "colour" not in entry("") and "colour" not in entry("?with-defaults=explicit")
    everything = entry("?with-defaults=report-all")
    assert everything["colour"] == "green" and everything["box-art"]["copies"] == 1
    tagged = entry("?with-defaults=report-all-tagged")
    assert tagged["@colour"] == {"ietf-netconf-with-defaults:default": True}
    w.put(shelf + "/colour", {"weft-toy:colour": "green"})
    assert entry("")["colour"] == "green" and "colour" not in entry("?with-defaults=trim")
    w.delete(shelf + "/colour")


@pytest.mark.parametrize("query,word", [
    ("nonsense=1", "nonsense"), ("depth=1&depth=2", "twice"), ("depth=0", "depth"),
    ("depth=x", "depth"), ("content=some", "content"), ("with-defaults=x", "with-defaults"),
    ("insert=first", "insert"), ("start-time=2026-01-01T00:00:00Z", "start-time"),
    ("fields=", "fields"), ("depth=%FF", "depth"), ("&", "empty"), ("commit-wait=1", "commit-wait")])
def test_bad_query(w, shelf, query, word):
    status, tag, _, message = error_of(w.get(shelf + "?" + query))
    assert (status, tag) == (400, "invalid-value") and word in message


@pytest.mark.parametrize("query", ["insert=before", "point=/weft-toy:toys", "insert=nowhere",
                                   "insert=after&point=x", "commit-wait=0", "commit-wait=601",
                                   "commit-dry-run=yes", "commit-comment=", "content=config"])
def test_bad_query_of_changes(w, query):
    before = w.head_index()
    assert error_of(w.post(TOYS + "?" + query, box("never")))[:2] == (400, "invalid-value")
    assert w.head_index() == before


# ---- XML is the same as JSON

def test_xml_equals_json(w, shelf, tmp_path):
    x = ('<toy xmlns="urn:weft:toy"><maker>xml</maker><number>5</number><colour>red</colour>'
         '<fragile/><moods>happy loud</moods><tag>a</tag><tag>b</tag>'
         '<part><name>p1</name><screw><size>3</size></screw></part></toy>')
    j = toy("xml", 5, colour="red", fragile=[None], moods="happy loud", tag=["a", "b"],
            part=[{"name": "p1", "screw": [{"size": 3}]}])
    assert w.put(TOYS + "/toy=xml,5", x).status_code == 201
    assert w.get(TOYS + "/toy=xml,5").json() == j
    was = w.get(TOYS + "/toy=xml,5", headers={"Accept": XML}).text
    assert w.put(TOYS + "/toy=xml,5", j).headers["weft-commit"]
    assert w.get(TOYS + "/toy=xml,5", headers={"Accept": XML}).text == was
    assert et.canonicalize(was) == et.canonicalize(x)
    # whole datastore, both ways, through yanglint
    for accept in (JSON, XML):
        body = w.get("/data/weft-toy:toys?content=config", headers={"Accept": accept}).text
        ok, why = yanglint(tmp_path, body, "config")
        assert ok, why


@pytest.mark.parametrize("path", [
    "/data/weft-system:system", "/data/weft-apm:apm",
    "/data/ietf-restconf-monitoring:restconf-state", "/data/weft-toy:toys",
    "/data/weft-toy:toys?with-defaults=report-all", "/data/ietf-yang-library:yang-library"])
@pytest.mark.parametrize("accept", [JSON, XML])
def test_yanglint_takes_what_we_say(w, shelf, tmp_path, path, accept):
    check_body(tmp_path, w.get(path, headers={"Accept": accept}).text)


@pytest.mark.parametrize("accept", [JSON, XML])
def test_yanglint_takes_rpc_output(w, tmp_path, accept):
    r = w.post("/operations/weft-system:show-version", headers={"Accept": accept})
    assert r.status_code == 200
    check_output(tmp_path, r.text, "weft-system:show-version")


def test_negotiation(w, shelf):
    kind = lambda a: w.get(shelf, headers={"Accept": a}).headers["content-type"]
    assert kind("*/*") == JSON and kind("application/*;q=0.5") == JSON
    assert kind(f"{JSON};q=0.1, {XML};q=0.9") == XML
    assert kind("application/json") == "application/json" and kind("application/xml") == "application/xml"
    r = w.get(shelf, headers={"Accept": "text/html"})
    assert (r.status_code, r.json()["ietf-restconf:errors"]["error"][0]["error-tag"]) == (406, "invalid-value")
    assert w.get(shelf, headers={"Accept": f"text/html, {JSON};q=0"}).status_code == 406
    r = w.put(shelf, "x", headers={"Content-Type": "text/plain"})
    assert error_of(r)[:2] == (415, "operation-not-supported")
    # errors come in the form that was asked for
    r = w.get(TOYS + "/box=none", headers={"Accept": XML})
    assert r.headers["content-type"] == XML
    assert error_of(r) == (404, "invalid-value", "/toy:toys/toy:box[toy:name='none']",
                           "There is no such box.")


def test_head(w, shelf):
    g, h = w.get(shelf), w.request("HEAD", shelf)
    assert h.status_code == 200 and h.content == b""
    for name in ("etag", "last-modified", "content-type"):
        assert h.headers[name] == g.headers[name]
    assert w.request("HEAD", "/data").status_code == 200
    assert w.request("HEAD", TOYS + "/box=none").status_code == 404


# ---- operations

def test_operations(w):
    r = w.post("/operations/weft-system:show-version")
    assert r.status_code == 200 and r.json()["weft-system:output"]["version"]
    r = w.post("/operations/weft-system:show-log", {"weft-system:input": {"lines": 3}})
    assert len(r.json()["weft-system:output"]["line"]) <= 3
    x = '<input xmlns="urn:weft:system"><lines>3</lines></input>'
    r = w.post("/operations/weft-system:show-log", x, headers={"Accept": XML})
    assert r.headers["content-type"] == XML and r.text.startswith("<output")
    for body in ({"weft-system:input": {"lines": 0}}, {"weft-system:input": {"nonsense": 1}},
                 {"weft-system:wrong": {}}):
        assert error_of(w.post("/operations/weft-system:show-log", body))[0] == 400
    assert error_of(w.post("/operations/weft-system:backup"))[:2] == (400, "missing-element")
    assert error_of(w.post("/operations/weft-system:nonsense"))[0] == 404
    assert error_of(w.get("/operations/weft-system:backup"))[:2] == (405, "operation-not-supported")


# ---- extensions

def test_dry_run_and_wait_and_comment(w):
    before = w.head_index()
    r = w.put(TOYS + "/box=dry?commit-dry-run", box("dry", size="3"))
    assert r.json()["difference"] == ["set toys box dry size 3"] and w.head_index() == before
    r = w.put(TOYS + "/box=dry?commit-wait=5&commit-comment=why%20not", box("dry", size="3"))
    assert r.status_code == 201 and r.headers["weft-commit-status"] == "applied"
    shown = w.post("/operations/weft-system:show-system-commit").json()
    assert "why not" in [c.get("comment") for c in shown["weft-system:output"]["commit"]]


def test_metrics_and_health(w):
    stranger = w.session(None)
    assert w.get("//healthz", session=stranger).status_code == 200
    assert w.get("//readyz", session=stranger).text == "ready\n"
    assert w.get("//metrics", session=stranger).status_code == 401
    m = w.get("//metrics").text
    assert "weft_commits_total" in m and 'weft_http_requests_total{listener="tls"}' in m
    names = [line.split()[2] for line in m.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


def test_with_curl_alone(w):
    """What docs/restconf.md tells people to type."""
    def curl(*a):
        return subprocess.run(["curl", "-sS", "--cacert", w.ca, "-u", f"admin:{w.password}", *a],
                              capture_output=True, text=True, timeout=120).stdout
    url = f"{w.base}/restconf/data/weft-toy:toys/box=curl"
    assert curl("-o", "/dev/null", "-w", "%{http_code}", "-X", "PUT", url, "-H",
                f"Content-Type: {JSON}", "-d", json.dumps(box("curl"))) == "201"
    assert json.loads(curl(url)) == box("curl")
    assert json.loads(curl("--http1.1", url)) == box("curl")
    local = subprocess.run(["curl", "-sS", "--unix-socket", w.unix,
                            "http://localhost/restconf/data/weft-toy:toys/box=curl"],
                           capture_output=True, text=True, timeout=30).stdout
    assert json.loads(local) == box("curl")
