# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI rendering: valid by other people's judgement, and true of what is really exchanged."""
import json
import subprocess

import pytest

from weftd import TOYS, Weftd, box, toy

APM = {"weft-apm:apm": {
    "inet-pool": {"partition": [{"name": "p", "min-prefix-len": 20, "max-prefix-len": 27,
                                 "prefix": [{"prefix": "10.0.0.0/20"}]}]},
    "pool-domain-profile": [{"name": "gold", "apportion-threshold": 100, "reclaim-threshold": 300}],
    "entity-match": [{"system-id": "bng1", "pool-domain-profile": "gold"}]}}


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    d = Weftd(tmp_path_factory.mktemp("weftd"))
    assert d.put("/data/weft-apm:apm", APM).ok
    d.put(TOYS + "/box=b", box("b", lock="1234"))
    yield d
    d.stop()


def test_document(w):
    d = w.get("//openapi.json").json()
    assert d["openapi"] == "3.1.0"
    item = d["paths"]["/restconf/data/weft-toy:toys/toy={toy.maker},{toy.number}"]
    assert set(item) == {"get", "put", "patch", "post", "delete", "parameters"}
    assert [p["name"] for p in item["parameters"]] == ["toy.maker", "toy.number"]
    schema = d["components"]["schemas"]["weft-toy.toy"]
    assert schema["properties"]["colour"]["enum"] == ["red", "green", "dark-blue"]
    assert schema["properties"]["number"]["minimum"] == 1 and schema["properties"]["number"]["maximum"] == 99999
    assert schema["required"] == d["components"]["schemas"]["weft-toy.toy.part"]["required"] == ["maker", "number"]
    assert "delete" not in d["paths"]["/restconf/data"] and "put" not in d["paths"]["/restconf/data/weft-toy:toys/toy"]
    state = d["paths"]["/restconf/data/weft-system:system/state"]
    assert set(state) == {"get"}
    assert set(d["paths"]["/restconf/operations/weft-system:show-version"]) == {"post"}


def test_valid_and_true(w, node_folder, tmp_path):
    """Every answer that a reader can get, and bodies that are taken, against the document's schemas."""
    document = w.get("//openapi.json").json()
    seen = []

    def take(method, path, code, body):
        seen.append({"path": path, "method": method, "code": str(code), "body": body})

    def exchange(method, path, template, body=None):
        r = w.request(method.upper(), path, body)
        assert r.ok, (path, r.text)
        if body is not None:
            take(method, template, "request", body)
        take(method, template, r.status_code, r.json() if r.content else None)
    data = "/restconf/data/weft-toy:toys"
    t = toy("acme", 1, colour="red", box="b", price="1.5", net="2001:db8::/32", fragile=[None], moods="happy", level=5,
            tag=["a"], step=[3, 1], batteries=2, **{"box-art": {"artist": "x"}}, part=[{"name": "p", "screw": [{"size": 1}]}])
    one = data + "/toy={toy.maker},{toy.number}"
    exchange("put", TOYS + "/toy=acme,1", one, t)
    exchange("put", TOYS + "/toy=acme,1", one, t)
    exchange("patch", TOYS + "/toy=acme,1", one, toy("acme", 1, price="2.5"))
    exchange("post", TOYS + "/toy=acme,1", one, {"weft-toy:part": [{"name": "new"}]})
    exchange("post", TOYS, data, box("posted"))
    exchange("delete", TOYS + "/box=posted", data + "/box={box.name}")
    exchange("patch", "/data", "/restconf/data", {"ietf-restconf:data": {"weft-toy:toys": {"box": [{"name": "b"}]}}})
    read = 0
    for template, item in document["paths"].items():
        if template.startswith("/restconf/data") and "{" not in template:
            for query in ("", "?content=config", "?with-defaults=report-all"):
                r = w.get(template[len("/restconf"):] + query)
                assert r.status_code in (200, 404), (template, r.text)
                if r.status_code == 200:
                    take("get", template, 200, r.json())
                    read += 1
        elif "{" not in template and "get" in item and "streams" not in template:
            assert w.get("/" + template).status_code == 200, template
    assert read > 40
    for path, template in (("/weft-apm:apm/inet-pool/partition=p", "/weft-apm:apm/inet-pool/partition={partition.name}"),
                           ("/weft-system:system/user=admin", "/weft-system:system/user={user.name}"),
                           ("/weft-toy:toys/toy=acme,1", "/weft-toy:toys/toy={toy.maker},{toy.number}")):
        exchange("get", "/data" + path, "/restconf/data" + template)
    ran = 0
    for template in document["paths"]:
        name = template.split("/")[-1]
        if template.startswith("/restconf/operations/") and ":show-" in name and "weft-toy" not in name:
            r = w.post("/operations/" + name)
            if r.status_code in (200, 204):
                take("post", template, r.status_code, r.json() if r.content else None)
                ran += 1
    assert ran > 8
    r = w.put(TOYS + "/toy=acme,1", toy("acme", 1, price="0", colour="green"))
    take("put", one, "default", None)
    errors = document["components"]["responses"]["errors"]["content"]["application/yang-data+json"]["schema"]
    document["paths"]["/error"] = {"get": {"responses": {"200": {"description": "An error.", "content": {
        "application/yang-data+json": {"schema": errors}}}}}}
    take("get", "/error", 200, r.json())
    for name, what in (("doc", document), ("seen", seen)):
        (tmp_path / name).write_text(json.dumps(what))
    p = subprocess.run(["node", f"{node_folder}/openapi.js", str(tmp_path / "doc"), str(tmp_path / "seen")],
                       capture_output=True, text=True, timeout=120)
    assert p.returncode == 0, p.stdout + p.stderr
