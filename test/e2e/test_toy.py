# SPDX-License-Identifier: Apache-2.0
"""The kinds of test/toy/weft-toy.yang have no line of C of their own. What they can do, every kind can."""
import glob
import os
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest

from weftd_lab import JSON, RC, XML, Weftd, binary

TOYS = "weft-toy:toys"
BOX, TOY = TOYS + "/box=", TOYS + "/toy="
NS = "urn:weft:toy"


@pytest.fixture(scope="module")
def weftd(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("toy"), "weftd-toy") as d:
        yield d


@pytest.fixture(autouse=True)
def no_toys(weftd):
    r = weftd.ask("DELETE", TOYS)
    assert r.status in (204, 404), r


def get(weftd, path):
    r = weftd.ask("GET", path + "?content=config")
    assert r.status == 200, r
    return next(iter(r.json().values()))


def test_restconf_json(weftd):
    r = weftd.ask("POST", TOYS, {"weft-toy:box": [{"name": "b1", "size": "20"}]})
    assert r.status == 201 and r.headers["location"].endswith("/restconf/data/" + BOX + "b1"), r
    assert weftd.ask("POST", TOYS, {"weft-toy:box": [{"name": "b1"}]}).errors[0]["error-tag"] == "resource-denied"
    toy = {"maker": "acme", "number": 7, "colour": "red", "box": "b1", "tag": ["loud", "soft"],
           "part": [{"name": "wheel", "serial": 5, "screw": [{"size": 3, "count": 4}]}],
           "favourite": "wheel", "price": "12.5", "moods": "happy loud", "fragile": [None]}
    r = weftd.ask("PUT", TOY + "acme,7", {"weft-toy:toy": [toy]})
    assert r.status == 201, r
    assert get(weftd, TOY + "acme,7")[0] == toy
    assert get(weftd, TOY + "acme,7/part=wheel/screw=3/count") == 4
    r = weftd.ask("PATCH", TOY + "acme,7", {"weft-toy:toy": [{"maker": "acme", "number": 7, "price": "13.0"}]})
    assert r.status == 204, r
    assert get(weftd, TOY + "acme,7")[0] == {**toy, "price": "13.0"}
    assert weftd.ask("PUT", TOY + "acme,7/colour", {"weft-toy:colour": "dark-blue"}).status == 204
    assert get(weftd, TOY + "acme,7/colour") == "dark-blue"
    r = weftd.ask("GET", TOY + "acme,7/part=wheel?content=config&with-defaults=report-all&depth=1")
    assert r.status == 200, r
    assert weftd.ask("DELETE", TOY + "acme,7").status == 204
    assert weftd.ask("GET", TOY + "acme,7").status == 404
    r = weftd.ask("DELETE", TOY + "acme,7")
    assert r.status == 404 and r.errors[0]["error-message"], r


def test_restconf_xml(weftd):
    body = f'<box xmlns="{NS}"><name>b2</name><size>3</size></box>'
    r = weftd.ask("POST", TOYS, body, media=XML)
    assert r.status == 201, r
    body = f'<toy xmlns="{NS}"><maker>a b/c</maker><number>9</number><box>b2</box><turns>4</turns>' \
           '<key-size>2</key-size><step>3</step><step>1</step></toy>'
    r = weftd.ask("PUT", TOY + "a%20b%2Fc,9", body, media=XML)
    assert r.status == 201, r
    r = weftd.ask("GET", TOY + "a%20b%2Fc,9?content=config", accept=XML)
    root = ET.fromstring(r.text)
    assert root.tag == f"{{{NS}}}toy"
    assert [(e.tag.split("}")[1], e.text) for e in root] == [
        ("maker", "a b/c"), ("number", "9"), ("box", "b2"), ("step", "3"), ("step", "1"),
        ("turns", "4"), ("key-size", "2")]
    r = weftd.ask("PATCH", TOY + "a%20b%2Fc,9",
                  f'<toy xmlns="{NS}"><maker>a b/c</maker><number>9</number><colour>red</colour></toy>',
                  media=XML)
    assert r.status == 204, r
    assert get(weftd, TOY + "a%20b%2Fc,9")[0]["colour"] == "red"  # JSON sees what XML wrote
    r = weftd.ask("PUT", TOY + "a%20b%2Fc,9/colour", f'<colour xmlns="{NS}">pink</colour>', media=XML)
    assert r.status == 400, r
    error = ET.fromstring(r.text).find(f"{{{RC}}}error")
    assert error.find(f"{{{RC}}}error-tag").text == "invalid-value"
    assert "red, green, dark-blue" in error.find(f"{{{RC}}}error-message").text
    assert weftd.ask("DELETE", TOY + "a%20b%2Fc,9", accept=XML).status == 204


def test_references(weftd):
    head = weftd.head()
    r = weftd.ask("PUT", TOY + "acme,1", {"weft-toy:toy": [{"maker": "acme", "number": 1, "box": "none"}]})
    assert r.status == 409, r
    assert r.errors[0]["error-tag"] == "data-missing"
    assert r.errors[0]["error-path"] == "/weft-toy:toys/toy[maker='acme'][number='1']/box"
    assert "box=none" in r.errors[0]["error-message"]
    assert weftd.head() == head and weftd.ask("GET", TOY + "acme,1").status == 404
    # In one change both may come, in any order ...
    weftd_put = {"weft-toy:toys": {"toy": [{"maker": "acme", "number": 1, "box": "b1"}], "box": [{"name": "b1"}]}}
    assert weftd.ask("PUT", TOYS, weftd_put).status in (201, 204)
    # ... a box in use can't go, and says who uses it ...
    r = weftd.ask("DELETE", BOX + "b1")
    assert r.status == 409 and "toy=acme,1" in r.errors[0]["error-message"], r
    assert get(weftd, BOX + "b1")[0]["name"] == "b1"
    # ... and inside an object references are checked too.
    r = weftd.ask("PATCH", TOY + "acme,1", {"weft-toy:toy": [{"maker": "acme", "number": 1, "favourite": "leg"}]})
    assert r.status in (400, 409) and "leg" in r.errors[0]["error-message"], r
    assert "favourite" not in get(weftd, TOY + "acme,1")[0]


def test_rules_of_the_module(weftd):
    for bad, word in (({"price": "0"}, "Only red toys are free"), ({"number": 0}, "number"),
                      ({"key-size": 1}, "key-size"), ({"box-art": {}}, "artist"),
                      ({"gateway": "1.2.3.400"}, "400"), ({"net": "10.0.0.1/24"}, "bits set beyond")):
        toy = {"maker": "m", "number": 2, **bad}
        r = weftd.ask("POST", TOYS, {"weft-toy:toy": [toy]})
        assert r.status in (400, 409, 412), (bad, r)
        assert word in r.errors[0]["error-message"] + r.errors[0].get("error-path", ""), (bad, r)
    assert get(weftd, TOYS) == {}
    parts = [{"name": "a", "serial": 1}, {"name": "b", "serial": 1}]
    r = weftd.ask("POST", TOYS, {"weft-toy:toy": [{"maker": "m", "number": 2, "part": parts}]})
    assert r.status == 412 and "serial" in r.errors[0]["error-message"], r


def test_secret(weftd):
    assert weftd.ask("PUT", BOX + "b1", {"weft-toy:box": [{"name": "b1", "lock": "open-sesame"}]}).status == 201
    for path in (BOX + "b1", TOYS, BOX + "b1/lock"):
        assert "open-sesame" not in weftd.ask("GET", path).text
    assert "open-sesame" not in weftd.cli("show configuration toys")
    assert "open-sesame" not in weftd.cli("show configuration | display set")
    assert "********" in weftd.ask("GET", BOX + "b1").text
    r = weftd.ask("PUT", BOX + "b1", {"weft-toy:box": [{"name": "b1", "lock": "********"}]})
    assert r.status == 400, r  # what was shown is no value


def test_secret_at_rest(weftd):
    """Who gets hold of a disk or a backup finds no secret in it."""
    assert weftd.ask("PUT", BOX + "b1", {"weft-toy:box": [{"name": "b1", "lock": "at-rest-sesame"}]}).status == 201
    found = []
    for path in glob.glob(weftd.data + "/weft.db*"):
        with open(path, "rb") as f:
            if b"at-rest-sesame" in f.read():
                found.append(os.path.basename(path))
    assert not found, f"in clear text in {found}"


def test_over_kill(weftd):
    toy = {"maker": "acme", "number": 5, "colour": "red", "box": "keep", "step": [3, 1, 2]}
    weftd.ask("PUT", TOYS, {"weft-toy:toys": {"box": [{"name": "keep", "size": "99"}], "toy": [toy]}})
    weftd.ask("PUT", BOX + "gone", {"weft-toy:box": [{"name": "gone"}]})
    weftd.ask("DELETE", BOX + "gone")
    before, head = get(weftd, TOYS), weftd.head()
    for _ in range(2):
        weftd.kill()
        weftd.start()
        assert get(weftd, TOYS) == before == {"box": [{"name": "keep", "size": "99"}], "toy": [toy]}
        assert weftd.head() >= head
        # References are kept over the restart as well.
        assert weftd.ask("DELETE", BOX + "keep").status == 409


def test_command_line(weftd):
    out = weftd.cli("configure", "set toys box b1 size 20", "set toys toy acme 1 box b1 colour red",
                    "set toys toy acme 1 part wheel screw 3 count 4", "show | compare", "commit check",
                    'commit comment "two toys"')
    assert "+   box b1 {" in out and "complete" in out
    assert get(weftd, TOY + "acme,1")[0]["part"] == [{"name": "wheel", "screw": [{"size": 3, "count": 4}]}]
    shown = weftd.cli("show configuration toys")
    assert "toy acme 1 {" in shown and "colour red;" in shown and "box b1 {" in shown
    lines = weftd.cli("show configuration toys | display set").splitlines()
    assert "set toys box b1 size 20" in lines
    assert "set toys toy acme 1 part wheel screw 3 count 4" in lines
    # What is shown can be set again, and means the same.
    before = get(weftd, TOYS)
    weftd.cli("configure", "delete toys", "commit")
    assert get(weftd, TOYS) == {}
    weftd.cli("configure", *lines, "commit")
    assert get(weftd, TOYS) == before
    # Change, delete, take back.
    weftd.cli("configure", "edit toys toy acme 1", "set price 3.50", "delete colour", "up", "commit")
    assert get(weftd, TOY + "acme,1")[0]["price"] == "3.5"
    assert "colour" not in get(weftd, TOY + "acme,1")[0]
    weftd.cli("configure", "rollback 1", "commit")
    assert get(weftd, TOYS) == before
    # A reference that leads nowhere: refused at the commit, with place and reason; nothing changed.
    out = weftd.cli("configure private", "set toys toy acme 2 box nowhere", "commit", status=1)
    assert "[edit toys toy acme 2 box]" in out and "nowhere" in out and "nothing was changed" in out
    out = weftd.cli("configure private", "delete toys box b1", "commit", status=1)
    assert "toys toy acme 1" in out
    out = weftd.cli("configure private", "set toys toy acme 1 colour pink", status=2)
    assert "red, green, dark-blue" in out
    assert get(weftd, TOYS) == before


def test_completion_and_help(weftd):
    weftd.ask("PUT", TOYS, {"weft-toy:toys": {"box": [{"name": "attic"}, {"name": "cellar"}],
                                              "toy": [{"maker": "acme", "number": 1}]}})
    s = weftd.session()
    assert "toys" in s.words("show ")
    assert {"box", "limit"} <= set(s.words("show toys "))
    assert {"attic", "cellar"} <= set(s.words("show toys box "))
    s.run("configure")
    assert s.words("set to")["toys"] == "Toys and the boxes they are kept in"
    assert {"box": "A box", "toy": "A toy"}.items() <= s.words("set toys ").items()
    assert "acme" in s.words("set toys toy ")          # instances
    assert "1" in s.words("set toys toy acme ")
    leaves = s.words("set toys toy acme 1 ")
    assert leaves["price"].startswith("What it costs") and leaves["box"].startswith("Where it is kept")
    assert leaves["part"] and leaves["fragile"]
    assert {"red", "green", "dark-blue"} == {w for w in s.words("set toys toy acme 1 colour ") if w[0] != "<"}
    assert s.words("set toys toy acme 1 colour dark")["dark-blue"] == "Like the sea"
    assert {"attic", "cellar"} <= set(s.words("set toys toy acme 1 box "))  # by reference
    c = s.complete("set toys box at")
    assert c["insert"].strip() == "attic" and c["from"] == len("set toys box ")
    assert s.complete("set toyz ")["error"]["start"] == 4


def test_manual_pages(tmp_path):
    subprocess.run([binary("test", "toy", "weft-model-man-toy"), "-d", str(tmp_path)], check=True)
    pages = {os.path.basename(p): p for p in glob.glob(str(tmp_path / "man?" / "*"))}
    toy = [p for n, p in pages.items() if "toy" in n]
    kinds = [p for p in toy if "/man5/" in p]
    assert len(kinds) == 3 and any("/man1/" in p for p in toy), sorted(pages)
    text = ""
    for page in toy:
        r = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-P-cbou", page], capture_output=True,
                           text=True, check=True)
        assert r.stderr == "", f"{page}: {r.stderr}"
        text += r.stdout
        if shutil.which("man") is None:
            continue  # groff has laid it out already
        r = subprocess.run(["man", "-l", page], capture_output=True, text=True, check=False,
                           env={**os.environ, "PAGER": "cat", "MANPAGER": "cat", "LC_ALL": "C.UTF-8"})
        assert r.returncode == 0 and "NAME" in r.stdout, r
    for words in ("A toy.", "Where it is kept", "dark-blue", "Like the sea", "A box.", "litres", "show toys",
                  "At a terminal it asks first: Smash box {box} and what is in it?"):
        assert words in " ".join(text.split()), words


def test_openapi(weftd):
    r = weftd.ask("GET", "/openapi.json", accept="application/json")
    assert r.status == 200, r
    doc = r.json()
    path = next(p for p in doc["paths"] if p.endswith("/weft-toy:toys/toy={toy.maker},{toy.number}"))
    assert {"get", "put", "patch", "delete"} <= set(doc["paths"][path])
    assert any(p.endswith("/operations/weft-toy:show-toys") for p in doc["paths"])
    assert "x-confirm" not in doc["paths"]["/restconf/operations/weft-toy:show-toys"]["post"]
    smash = doc["paths"]["/restconf/operations/weft-toy:smash"]["post"]
    assert smash["x-confirm"] == "Smash box {box} and what is in it?"
    assert any("toys/box={box.name}" in p for p in doc["paths"])
    text = r.text
    assert '"dark-blue"' in text and "Where it is kept" in text


def test_described_by_yang_library(weftd):
    r = weftd.ask("GET", "ietf-yang-library:yang-library")
    assert r.status == 200 and '"weft-toy"' in r.text, r
    r = weftd.ask("GET", "ietf-yang-library:yang-library", accept=JSON)
    assert '"urn:weft:toy"' in r.text
