# SPDX-License-Identifier: Apache-2.0
"""Bad input at every way into the running daemon: the dialect's own error with place and sentence, nothing
changed, the daemon alive, memory bounded. Fuzzing of the parsers stands in fuzz/."""
import json
import os
import random
import socket
import ssl
import threading
import xml.etree.ElementTree as ET

import grpc
import pytest

from apmi_entity import Channel, Entity, credentials, generate
from weftd_lab import JSON, RC, XML, Weftd

MIB = 1 << 20
APM = {"weft-apm:apm": {
    "inet-pool": {"partition": [
        {"name": "metro", "min-prefix-len": 20, "max-prefix-len": 26, "prefix": [{"prefix": "10.20.0.0/22"}]}]},
    "pool-domain-profile": [{"name": "std", "apportion-threshold": 10, "reclaim-threshold": 300}],
    "entity-match": [{"system-id": "bng1", "pool-domain-profile": "std"}]}}
NS = "urn:weft:apm"
PARTITION = "weft-apm:apm/inet-pool/partition="


@pytest.fixture(scope="module")
def weftd(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("bad")) as d:
        assert d.ask("PUT", "weft-apm:apm", APM).status in (201, 204)
        role = {"weft-system:role": [{"name": "viewer", "right": [{"path": "/", "access": "read"}]}]}
        assert d.ask("PUT", "weft-system:system/role=viewer", role).status == 201
        user = {"weft-system:user": [{"name": "viv", "role": ["viewer"]}]}
        assert d.ask("PUT", "weft-system:system/user=viv", user).status == 201
        yield d


@pytest.fixture(autouse=True)
def unharmed(weftd, request):
    """After every test: the same configuration, no log entry more, alive, not much larger."""
    head, rss = weftd.head(), weftd.rss()
    before = weftd.ask("GET", "/restconf/data?content=config")
    yield
    assert weftd.alive(), weftd.log()[-5000:]
    after = weftd.ask("GET", "/restconf/data?content=config")
    if after.body != before.body:  # the other tests are to have what they expect
        weftd.ask("PUT", "weft-apm:apm", APM)
        raise AssertionError(f"changed to {after}")
    assert after.headers["etag"] == before.headers["etag"]
    # Who was refused for want of rights, and calls that failed, stand in the audit: nothing else is written.
    assert weftd.head() == head or "audited" in request.keywords
    assert weftd.rss() < rss + 96 * MIB, f"{rss} -> {weftd.rss()}"


def refused(r, status, tag, place=None, words=()):
    """An error answer of RFC 8040, 7.1, as JSON or XML, with place and sentence."""
    assert r.status in (status if isinstance(status, tuple) else (status,)), r
    if "xml" in r.headers["content-type"]:
        e = ET.fromstring(r.text).find(f"{{{RC}}}error")
        error = {c.tag.split("}")[1]: c.text for c in e}
    else:
        error = r.errors[0]
    assert error["error-type"] in ("transport", "rpc", "protocol", "application"), r
    assert error["error-tag"] in (tag if isinstance(tag, tuple) else (tag,)), r
    assert len(error["error-message"]) > 5 and "\n" not in error["error-message"].strip(), r
    if place:
        assert place in error.get("error-path", "") + error["error-message"], r
    for w in [words] if isinstance(words, str) else words:
        assert w in error["error-message"], r
    return error


# ---- RESTCONF: bodies that can't be read -----------------------------------------------------------

UNREADABLE = [
    b"", b" ", b"{", b"}", b"[]", b"7", b'"x"', b"null", b'{"weft-apm:apm":', b'{"weft-apm:apm":{}}x',
    b'{"weft-apm:apm":{},}', b"\x00", b'{"weft-apm:apm":{"\x00":1}}', b'{"weft-apm:apm":{"a":"\xff\xfe"}}',
    b'{"weft-apm:apm":{"a":"\\ud800"}}', b'\xef\xbb\xbf{"weft-apm:apm":{}}x', b"{'weft-apm:apm':{}}",
    b'{"weft-apm:apm":{"inet-pool":{"partition":[{"name":"a","name":"b"}]}}}', b"[" * 200000, b'{"a":' * 200000,
    b'{"weft-apm:apm":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}", b'{"weft-apm:apm":{"a":1e999999}}',
    b'{"weft-apm:apm":' + b"9" * 100000 + b"}", b'{"' + b"k" * 1000000 + b'":1}', b"<apm/>",
    os.urandom(3000), b'{"weft-apm:apm":{}}{"weft-apm:apm":{}}',
]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_json_that_is_none(weftd, method):
    for body in UNREADABLE:
        r = weftd.ask(method, "weft-apm:apm", body)
        refused(r, (400, 404, 413), ("malformed-message", "unknown-element", "invalid-value", "too-big", "missing-element"))
    r = weftd.ask("POST", "weft-apm:apm/inet-pool", b"{")
    refused(r, 400, "malformed-message", words="Line 1")


LAUGHS = b'<!DOCTYPE a [<!ENTITY a "ha">' + b"".join(
    b'<!ENTITY %s "%s">' % (bytes([98 + i]), b"&%s;" % bytes([97 + i]) * 10) for i in range(12)) + \
    b']><apm xmlns="urn:weft:apm"><inet-pool>&m;</inet-pool></apm>'
BAD_XML = [
    b"", b"<", b"<apm", b"<apm>", b"</apm>", b"<apm></ap>", b"x", b"<a/><b/>", b"<apm xmlns='urn:weft:apm'>", LAUGHS,
    b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><apm xmlns="urn:weft:apm">&x;</apm>',
    b"<a>" * 100000, b"<a>" * 3000 + b"</a>" * 3000, b"<apm xmlns='urn:weft:apm'>\x00</apm>", b"\xff\xfe<\x00a\x00/\x00>\x00",
    b"<apm " + b"a='1' " * 20000 + b"/>", b"{}", os.urandom(3000),
    b"<apm xmlns='urn:weft:apm'><unknown/></apm>", b"<apm xmlns='urn:other'/>",
    b"<apm xmlns='urn:weft:apm'>text</apm>", b"<apm xmlns='urn:weft:apm'><p:x/></apm>",
]


def test_xml_that_is_none(weftd):
    for body in BAD_XML:
        r = weftd.ask("PUT", "weft-apm:apm", body, media=XML)
        refused(r, (400, 404, 413), ("malformed-message", "unknown-element", "invalid-value", "unknown-namespace",
                                "too-big", "missing-element", "bad-element"))
        assert b"root:" not in r.body  # of /etc/passwd


def test_patches_that_are_none(weftd):
    def patch(*edits, **more):
        return json.dumps({"ietf-yang-patch:yang-patch": {"patch-id": "p", "edit": list(edits), **more}})
    edit = {"edit-id": "1", "operation": "merge", "target": "/weft-apm:apm"}
    for body in (b"{", b"{}", patch({}), patch({**edit, "operation": "explode"}), patch({**edit, "target": "../x"}),
                 patch({**edit, "operation": "delete", "target": "/weft-apm:apm/entity-match=none"}),
                 patch({**edit, "operation": "insert", "where": "sideways"}), patch(edit, edit), patch(edit, x=1),
                 json.dumps({"ietf-yang-patch:yang-patch": {"edit": [edit]}})):
        r = weftd.ask("PATCH", "/restconf/data", body, media="application/yang-patch+json")
        assert 400 <= r.status < 500, (body, r)
        assert b"error-message" in r.body and b"error-tag" in r.body, (body, r)
    # One bad edit of many: none is done, and it is named.
    good = {"edit-id": "good", "operation": "merge", "target": "/weft-apm:apm/pool-domain-profile=new", "value": {
        "weft-apm:pool-domain-profile": [{"name": "new", "apportion-threshold": 1, "reclaim-threshold": 2}]}}
    bad = {"edit-id": "bad", "operation": "merge", "target": "/weft-apm:apm/entity-match=x", "value": {
        "weft-apm:entity-match": [{"system-id": "x", "pool-domain-profile": "nowhere"}]}}
    r = weftd.ask("PATCH", "/restconf/data", patch(good, bad), media="application/yang-patch+json")
    assert r.status == 409 and "nowhere" in r.text, r


# ---- RESTCONF: bodies that mean nothing allowed --------------------------------------------------

def profile(**more):
    return {"weft-apm:pool-domain-profile": [{"name": "p", "apportion-threshold": 1, "reclaim-threshold": 2, **more}]}


def partition(**more):
    return {"weft-apm:partition": [{"name": "p", "min-prefix-len": 20, "max-prefix-len": 24, **more}]}


def match(**more):
    return {"weft-apm:entity-match": [{"system-id": "p", "pool-domain-profile": "std", **more}]}


def roots(*prefixes, **more):
    return partition(prefix=[{"prefix": p, **more} for p in prefixes])


TAGS = ("invalid-value", "unknown-element", "missing-element", "malformed-message", "operation-failed", "data-missing",
        "bad-element", "data-exists", "unknown-namespace", "unknown-attribute")
MEANINGLESS = [  # where, body, place, words
    # out of range, wrong type
    ("profile", profile(**{"apportion-threshold": 0}), "apportion-threshold", "1"),
    ("profile", profile(**{"apportion-threshold": 4294967296}), "apportion-threshold", ""),
    ("profile", profile(**{"apportion-threshold": -1}), "apportion-threshold", ""),
    ("profile", profile(**{"apportion-threshold": 1.5}), "apportion-threshold", ""),
    ("profile", profile(**{"apportion-threshold": "1"}), "apportion-threshold", ""),
    ("profile", profile(**{"apportion-threshold": [1]}), "apportion-threshold", ""),
    ("profile", profile(**{"apportion-threshold": {"a": 1}}), "apportion-threshold", ""),
    ("profile", profile(**{"apportion-threshold": True}), "apportion-threshold", ""),
    ("profile", profile(**{"apportion-threshold": None}), "apportion-threshold", ""),
    ("profile", profile(**{"allow-larger": "yes"}), "allow-larger", ""),
    ("profile", profile(**{"auto-reclamation": []}), "auto-reclamation", ""),
    ("partition", partition(**{"free-prefix-utilization": 101}), "free-prefix-utilization", ""),
    ("partition", partition(**{"max-prefix-len": 31}), "max-prefix-len", ""),
    # missing, unknown, what is not configuration
    ("profile", {"weft-apm:pool-domain-profile": [{"name": "p"}]}, "", "apportion-threshold"),
    ("profile", {"weft-apm:pool-domain-profile": [{"apportion-threshold": 1}]}, "", ""),
    ("profile", {"weft-apm:pool-domain-profile": [{"name": "other", "apportion-threshold": 1, "reclaim-threshold": 2}]}, "", ""),
    ("profile", {"weft-apm:pool-domain-profile": []}, "", ""),
    ("profile", {"weft-apm:pool-domain-profile": {"name": "p"}}, "", ""),
    ("profile", {"weft-apm:entity-match": []}, "", ""),
    ("profile", {"nowhere:x": 1}, "", "x"),
    ("profile", profile(**{"colour": "red"}), "", "colour"),
    ("profile", profile(**{"weft-toy:colour": "red"}), "", "colour"),
    # rules of the model
    ("profile", profile(**{"reclaim-threshold": 4, "apportion-threshold": 5}), "", "reclaim-threshold must be above"),
    ("profile", profile(**{"auto-reclamation": {"active": "window"}}), "", "window-start"),
    ("profile", profile(**{"auto-reclamation": {"active": "window", "window-start": "25:00+0000"}}), "window-start", ""),
    ("profile", profile(**{"auto-reclamation": {"window-start": "noon"}}), "window-start", ""),
    ("profile", profile(**{"auto-reclamation": {"window-duration": 5}}), "window-duration", ""),
    ("profile", profile(**{"auto-reclamation": {"window-duration": 721}}), "window-duration", ""),
    ("partition", partition(**{"min-prefix-len": 25}), "", "min-prefix-len"),
    # prefixes: form, host bits, limits, overlap (APM-011, APM-013, APM-017)
    ("partition", roots("10.99.0.0"), "prefix", ""),
    ("partition", roots("10.99.0.0/33"), "prefix", ""),
    ("partition", roots("10.99.0/24"), "prefix", ""),
    ("partition", roots("010.99.0.0/24"), "prefix", ""),
    ("partition", roots("2001:db8::/32"), "prefix", ""),
    ("partition", roots("10.99.0.1/24"), "prefix", "10.99.0.0/24"),
    ("partition", roots("10.99.0.0/19"), "10.99.0.0/19", "20"),
    ("partition", roots("10.99.0.0/25"), "10.99.0.0/25", "24"),
    ("partition", roots("10.20.1.0/24"), "10.20.1.0/24", "metro"),
    ("partition", roots("10.99.0.0/20", "10.99.1.0/24"), "", "10.99."),
    ("partition", roots("10.99.0.0/24", "10.99.0.0/24"), "", ""),
    ("partition", roots("10.99.0.0/24", **{"reserved-prefix": [
        {"prefix": "10.98.0.0/26", "entity": "bng1", "pool-domain": "x"}]}), "prefix=", "10.98.0.0/26"),
    # references that lead nowhere, names that are none, text that is too long
    ("match", match(**{"pool-domain-profile": "none"}), "pool-domain-profile", "none"),
    ("partition", roots("10.99.0.0/24", **{"reserved-prefix": [
        {"prefix": "10.99.0.0/24", "entity": "nobody", "pool-domain": "x"}]}), "", "nobody"),
    ("match", match(description="x" * 256), "description", ""),
    ("match", match(description="a\u0000b"), "", ""),
    ("match", match(description="\u0007"), "description", ""),
]
WHERE = {"profile": "weft-apm:apm/pool-domain-profile=p", "partition": PARTITION + "p", "match": "weft-apm:apm/entity-match=p"}


def test_meaningless_changes(weftd):
    for where, body, place, words in MEANINGLESS:
        try:
            refused(weftd.ask("PUT", WHERE[where], body), (400, 404, 409, 412), TAGS, place, words)
        except AssertionError as e:
            raise AssertionError(f"{where} {json.dumps(body)[:300]}") from e


def as_xml(tag, value):
    if isinstance(value, dict):
        return f"<{tag}>" + "".join(as_xml(k, v) for k, v in value.items()) + f"</{tag}>"
    if isinstance(value, list):
        return "".join(as_xml(tag, v) for v in value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{tag}>{text.replace('&', '&amp;').replace('<', '&lt;')}</{tag}>"


def test_meaningless_changes_in_xml(weftd):
    tried = 0
    for where, body, place, words in MEANINGLESS:
        kind, entries = next(iter(body.items()))
        text = json.dumps(body)
        # What XML can't say or says rightly: types of JSON, controls, empty lists, other modules.
        if not isinstance(entries, list) or len(entries) != 1 or kind.startswith("nowhere") or '"1"' in text or \
                any(x in text for x in ("[1]", '"a": 1', "true", "null", "\\u00", ": []", "@name", "weft-toy", "entity-match\": []")):
            continue
        name = kind.split(":")[1]
        xml = as_xml(name, entries[0]).replace(f"<{name}>", f'<{name} xmlns="{NS}">', 1)
        try:
            refused(weftd.ask("PUT", WHERE[where], xml, media=XML), (400, 404, 409, 412), TAGS, None, words)
        except AssertionError as e:
            raise AssertionError(f"{where} {xml[:300]}") from e
        tried += 1
    assert tried > 25


def test_duplicate_stale_and_in_use(weftd):
    refused(weftd.ask("POST", "weft-apm:apm", match(**{"system-id": "bng1"})), 409, "resource-denied", "bng1")
    twice = {"weft-apm:apm": {"entity-match": match()["weft-apm:entity-match"] * 2}}
    refused(weftd.ask("PATCH", "weft-apm:apm", twice), (400, 409), TAGS, words="twice")
    stale = weftd.ask("PUT", "weft-apm:apm/pool-domain-profile=std", profile(name="std"), if_match='"1-j"')
    refused(stale, 412, "operation-failed")
    refused(weftd.ask("DELETE", "weft-apm:apm/pool-domain-profile=std"), 409, ("in-use", "data-missing"), words="bng1")
    refused(weftd.ask("DELETE", "weft-apm:apm/pool-domain-profile=none"), 404, TAGS)


def test_urls(weftd):
    for path in ("weft-apm:apm/entity-match=%zz", "weft-apm:apm/entity-match=%00", "%"):  # no HTTP at all
        assert weftd.ask("GET", path).status == 400
    for path in ("weft-apm:apm/entity-match=a,b",
                 "weft-apm:apm/entity-match=", "weft-apm:apm/none", "none:apm", "weft-apm:apm/", "weft-apm:apm//x",
                 "weft-apm:apm/../../etc/passwd", "weft-apm:apm/entity-match=%ff", "weft-apm:apm/inet-pool=1",
                 "weft-apm:apm?depth=x", "weft-apm:apm?depth=0", "weft-apm:apm?fields=((", "weft-apm:apm?fields=" + "(a" * 3000,
                 "weft-apm:apm?content=none", "weft-apm:apm?nonsense=1", "weft-apm:apm?depth=1&depth=2",
                 "weft-apm:apm?with-defaults=maybe", "=", ":", "weft-apm:apm/" + "x/" * 2000,
                 "weft-apm:" + "a" * 3000):
        refused(weftd.ask("GET", path), (400, 404), TAGS)
    for path, status in (("/" + "a" * 20000, (414, 431)), ("/nowhere", (404,)), ("/restconf/operations/none:x", (404, 400, 405))):
        r = weftd.ask("GET", path)
        assert r.status in status, r
    refused(weftd.ask("PATCH", "/restconf/operations/weft-apm:drain", {}), 405, "operation-not-supported")
    refused(weftd.ask("PUT", "weft-apm:apm", b"x", media="image/png"), 415, TAGS + ("operation-not-supported",))
    assert weftd.ask("GET", "weft-apm:apm", accept="image/png").status == 406


@pytest.mark.audited
def test_calls(weftd):
    for name, body in (("drain", {}), ("drain", {"weft-apm:input": {}}), ("drain", {"weft-apm:input": {"entity": "x"}}),
                       ("drain", {"weft-apm:input": {"entity": "none", "pool-domain": "d", "pool": "p"}}),
                       ("release-entity", {"weft-apm:input": {"entity": "none"}}), ("release-entity", b"{"),
                       ("release-entity", {"weft-apm:input": {"entity": "x" * 5000}}),
                       ("show-prefix", {"weft-apm:input": {"prefix": "10.0.0.1/8"}}), ("show-prefix", b"[" * 100000),
                       ("explain-domain", {"weft-apm:input": {"domain": "d", "entity": ["a"]}}), ("nothing", {})):
        r = weftd.ask("POST", "/restconf/operations/weft-apm:" + name, body)
        refused(r, (400, 404, 409, 413), TAGS + ("too-big",))


@pytest.mark.audited
def test_no_right(weftd):
    cert = weftd.certificate("viv", user=True)
    context = ssl.create_default_context(cafile=os.path.join(weftd.data, "pki", "ca.pem"))
    context.load_cert_chain(os.path.join(cert, "cert.pem"), os.path.join(cert, "key.pem"))

    def ask(*args, **kw):
        conn = weftd.tls_connection()
        conn._context = context  # pylint: disable=protected-access
        return weftd.ask(*args, conn=conn, **kw)
    assert ask("GET", "weft-apm:apm").status == 200
    refused(ask("PUT", WHERE["profile"], profile()), 403, "access-denied")
    refused(ask("DELETE", "weft-apm:apm"), 403, "access-denied")
    refused(ask("POST", "/restconf/operations/weft-apm:release-entity", {"weft-apm:input": {"entity": "x"}}), 403, "access-denied")
    for authorization in (None, "Basic eDp5", "Basic !!", "Basic " + "A" * 4000, "Bearer x", "Bearer " + "a" * 4000, "Magic x"):
        headers = {"authorization": authorization} if authorization else {}
        r = weftd.ask("GET", "weft-apm:apm", conn=weftd.tls_connection(), **headers)
        assert refused(r, (401, 431), "access-denied")
        assert r.status != 401 or "www-authenticate" in r.headers


# ---- too much ------------------------------------------------------------------------------------

def test_a_body_without_end(weftd):
    """Gigabytes announced or not: refused at the bound, and what came before it does not stay."""
    for announced in (True, False):
        s = socket.socket(socket.AF_UNIX)
        s.connect(weftd.socket)
        s.settimeout(60)
        length = f"content-length: {4 << 30}" if announced else "transfer-encoding: chunked"
        s.sendall(f"PUT /restconf/data/weft-apm:apm HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\n{length}\r\n\r\n".encode())
        block = b'{"a":"' + b"x" * (MIB - 6)
        sent, rss = 0, weftd.rss()
        try:
            for _ in range(300):
                s.sendall(block if announced else b"%x\r\n%s\r\n" % (len(block), block))
                sent += len(block)
        except OSError:
            pass
        try:
            answer = s.recv(65536)
        except OSError:
            answer = b""
        s.close()
        assert sent < 300 * MIB and (answer == b"" or b" 413 " in answer.split(b"\r\n")[0]), (sent, answer)
        assert weftd.rss() < rss + 160 * MIB


def test_a_large_change_of_small_mistakes(weftd):
    """A whole mebibyte of entries, the last one bad: none of them is there afterwards."""
    n = 8000
    entries = [{"system-id": f"many-{i}", "pool-domain-profile": "std", "description": "x" * 60} for i in range(n)]
    entries[-1]["pool-domain-profile"] = "nowhere"
    r = weftd.ask("PATCH", "weft-apm:apm", {"weft-apm:apm": {"entity-match": entries}})
    refused(r, 409, "data-missing", f"entity-match[system-id='many-{n - 1}']", "nowhere")


def test_noise_on_every_port(weftd):
    rng = random.Random(11)
    lines = [b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 5000, b"GET " + b"a" * 70000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 200,
             b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", b"\x16\x03\x01\x02\x00" + b"\x00" * 600]
    for port in [("127.0.0.1", weftd.ports[k]) for k in ("tls", "apmi", "apmi-clear")] + [weftd.socket]:
        for data in lines + [rng.randbytes(rng.randrange(1, 4000)) for _ in range(15)]:
            s = socket.socket(socket.AF_UNIX if isinstance(port, str) else socket.AF_INET)
            s.settimeout(5)
            s.connect(port)
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except OSError:
                pass
            s.close()


# ---- the command line ------------------------------------------------------------------------------

NONSENSE = [b"", b" ", b"?", b"|", b"show |", b"show | |", b"show configuration | match", b'set "', b"set '", b"\\",
            b"set apm", b"set none", b"delete", b"edit", b"edit none", b"up 99", b"rollback 99999999999", b"rollback -1",
            b"commit confirmed x", b"commit comment", b"show apm prefix 1.2.3", b"show apm prefix 10.0.0.1/8",
            b"set apm pool-domain-profile p apportion-threshold 0", b"set apm pool-domain-profile p apportion-threshold abc",
            b"set apm inet-pool partition p prefix 10.0.0.1/24", b"set apm entity-match " + b"x" * 46 + b" description y",
            b"request apm drain entity none pool-domain x pool y", b"request apm release entity none",
            b"load merge /no/such/file", b"run run run show", b"clear", b"\xff\xfe", b"\x1b[2J", b"set apm \x01\x02",
            b"show " + b"a " * 5000, b"set apm entity-match \"" + b"\\" * 1000, b"show configuration | match ((((",
            b"show configuration | match " + b"(a*)*" * 50, b"show commit 99999999999999999999", b"show log " + b"9" * 400]


@pytest.mark.audited
def test_command_lines(weftd):
    for start in (b"", b"configure private\n"):
        for line in NONSENSE:
            r = weftd.cli_raw(start + line + b"\n")
            assert r.returncode in (0, 1, 2, 4), (line, r)
            assert "connect" not in r.stderr, (line, r)
        # A quote that is open would take the lines behind it.
        closed = [line for line in NONSENSE if b'"' not in line and b"'" not in line]
        r = weftd.cli_raw(start + b"\n".join(closed), keep_going=True)
        assert r.returncode in (1, 2) and r.stderr.count("error") >= 20, r.stderr
    r = weftd.cli_raw(b"configure private\nset apm pool-domain-profile p apportion-threshold 0\n")
    assert r.returncode == 2 and "apportion-threshold" in r.stderr and "^" in r.stderr, r


def test_command_lines_of_a_mebibyte(weftd):
    for data in (b"x" * MIB, b"set apm entity-match " + b"y" * MIB, b"show " * (MIB // 5), b'"' * MIB, b"\x00" * MIB,
                 os.urandom(MIB), ("\u00e9" * (MIB // 2)).encode(), b"\n" * 20000):
        r = weftd.cli_raw(data + b"\n")
        assert r.returncode in (0, 1, 2), (data[:20], r.returncode, r.stderr[:300])
        assert len(r.stdout) + len(r.stderr) < 4 * MIB + len(data) * 4
    assert "metro" in weftd.cli("show configuration apm inet-pool")


def test_configurations_that_are_none(weftd, tmp_path):
    for i, text in enumerate((b"apm {", b"}", b"apm { inet-pool { partition", b"{" * 50000, b"set set set\n" * 1000, os.urandom(20000),
                              b"apm { entity-match x { pool-domain-profile nowhere; nonsense 1; } }", b"<apm", b"[", b"\x00\x01")):
        path = tmp_path / f"c{i}"
        path.write_bytes(text)
        for how in ("merge", "override", "set"):
            r = weftd.cli_raw(f"configure private\nload {how} {path}\ncommit\n".encode())
            assert r.returncode in (1, 2), (how, text[:60], r)
            assert "error" in r.stderr, r


def test_the_protocol_of_the_command_line(weftd):
    base = "/cli/v1/sessions"
    session = weftd.ask("POST", base, {}, media="application/json").json()["id"]
    for path, body in ((base, b"{"), (base, b"[" * 100000), (base + "/none/execute", b'{"line":"show version"}'),
                       (f"{base}/{session}/execute", b"{}"), (f"{base}/{session}/execute", b'{"line":7}'),
                       (f"{base}/{session}/execute", b"[]"), (f"{base}/{session}/complete", b'{"line":[]}'),
                       (f"{base}/{session}/nothing", b"{}"), (f"{base}/{session}/input", b"x" * 1000),
                       (f"{base}/{'x' * 5000}/execute", b"{}"), (f"{base}/{session}/terminal", b'{"rows":-1,"columns":99999999999}')):
        r = weftd.ask("POST", path, body, media="application/json", accept="*/*")
        assert 200 <= r.status < 500, (path, body, r)
    for line, cursor in (("show ", -5), ("show ", 10**12), ("\u00e9" * 100, 3), ("x" * MIB, MIB), ("set \"", 5), ("", 0)):
        r = weftd.ask("POST", f"{base}/{session}/complete", {"line": line, "cursor": cursor}, media="application/json", accept="*/*")
        assert r.status in (200, 400, 413), r
    assert weftd.ask("DELETE", f"{base}/{session}", accept="*/*").status in (200, 204)


def test_more_sessions_than_there_may_be(weftd):
    made = []
    for _ in range(2000):
        r = weftd.ask("POST", "/cli/v1/sessions", {}, media="application/json")
        if r.status not in (200, 201):
            break
        made.append(r.json()["id"])
    assert r.status in (409, 429, 503) and len(made) < 2000, r
    for i in made:
        weftd.ask("DELETE", "/cli/v1/sessions/" + i, accept="*/*")
    assert "weft" in weftd.cli("show version").lower()


# ---- gRPC ------------------------------------------------------------------------------------------

@pytest.fixture(scope="session")
def pb(tmp_path_factory):
    return generate(str(tmp_path_factory.mktemp("pb")))


@pytest.mark.audited
def test_calls_of_grpc(weftd):
    """Methods that are none, requests that are none; a gateway's messages stand in test_apmi_foreign.py."""
    creds = credentials(weftd.certificate("robot"))
    for secure in (False, True):
        channel = Channel(f"127.0.0.1:{weftd.ports['apmi' if secure else 'apmi-clear']}", creds if secure else None).channel
        for method, data, codes in (
                ("/openapmi.v1.Apmi/None", b"", {"UNIMPLEMENTED"}), ("/none.Service/X", b"", {"UNIMPLEMENTED"}),
                ("/", b"", {"UNIMPLEMENTED"}), ("/openapmi.v1.Apmi/Session", b"", {"INVALID_ARGUMENT"}),
                ("/openapmi.v1.Apmi/Session", b"\xff" * 5000, {"INVALID_ARGUMENT"}),
                ("/openapmi.v1.Apmi/Session", b"x" * (3 * MIB), {"RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"}),
                ("/openapmi.v1.ApmiAdmin/Drain", b"\xff" * 100, {"UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_ARGUMENT"}),
                ("/openapmi.v1.ApmiAdmin/ListEntities", b"y" * 100000,
                 {"UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"})):
            call = channel.stream_stream(method, request_serializer=lambda x: x, response_deserializer=lambda x: x)
            over = threading.Event()

            def requests(data=data, over=over, stays="Session" in method):
                yield data
                if stays:  # a session whose entity says no more has ended well, whatever it said before
                    over.wait(120)
            with pytest.raises(grpc.RpcError) as caught:
                list(call(requests(), timeout=100))
            over.set()
            assert caught.value.code().name in codes, (method, data[:10], caught.value)
        channel.close()


def test_many_silent_gateways(weftd, pb):
    """Hundreds that connect and say nothing don't keep one that works from its work."""
    silent = []
    for _ in range(300):
        s = socket.create_connection(("127.0.0.1", weftd.ports["apmi-clear"]))
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        silent.append(s)
    e = Entity(pb, "bng9", f"127.0.0.1:{weftd.ports['apmi-clear']}")
    assert e.hello().status.code == 7
    e.close()
    for s in silent:
        s.close()


def test_all_at_once(weftd):
    """Clients of all sorts in parallel, half of which break off in the middle."""
    faults = []

    def work(n):
        rng = random.Random(n)
        for _ in range(25):
            try:
                kind = rng.randrange(4)
                if kind == 0:
                    r = weftd.ask("PUT", "weft-apm:apm", rng.choice(UNREADABLE))
                    assert r.status in (400, 404, 413), r
                elif kind == 1:
                    where, body, *_ = rng.choice(MEANINGLESS)
                    assert 400 <= weftd.ask("PUT", WHERE[where], body).status < 500
                elif kind == 2:
                    conn = weftd.connection()
                    conn.request("PUT", "/restconf/data/weft-apm:apm", b"{" * rng.randrange(1, 100000), {"content-type": JSON})
                    conn.close()
                else:
                    assert weftd.ask("GET", "weft-apm:apm").status == 200
            except Exception as e:
                faults.append(f"{n}: {type(e).__name__} {e}")
    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert not faults, faults[:5]
