# SPDX-License-Identifier: Apache-2.0
"""Datastores by name: get-data and edit-data (RFC 8526), RESTCONF's /ds (RFC 8527), yang-library."""
import re
import xml.etree.ElementTree as et

import pytest
from ncclient import manager
from ncclient.operations.rpc import RPCError
from ncclient.xml_ import to_ele

from schemas import ACM, yanglint
from weftd import Weftd

NC, NMDA = "urn:ietf:params:xml:ns:netconf:base:1.0", "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda"
DS, OR = "urn:ietf:params:xml:ns:yang:ietf-datastores", "urn:ietf:params:xml:ns:yang:ietf-origin"
ORIGIN = f"{{{OR}}}origin"
APM = "{urn:weft:apm}"
ORIGIN_MODULE = ACM.replace("ietf-netconf-acm", "ietf-origin")


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    d = Weftd(tmp_path_factory.mktemp("weftd"), toy=False, args=["--listen-netconf", "127.0.0.1:0"])
    r = d.put("/data/weft-apm:apm/pool-domain-profile=p", {"weft-apm:pool-domain-profile": [
        {"name": "p", "apportion-threshold": 10, "reclaim-threshold": 900, "hold-down": 45}]})
    assert r.status_code == 201, r.text
    yield d
    d.stop()


@pytest.fixture
def m(w):
    with manager.connect(host="127.0.0.1", port=w.ports["netconf"], username="admin", password=w.password,
                         hostkey_verify=False, allow_agent=False, look_for_keys=False, timeout=60) as c:
        yield c


def get_data(m, store, body=""):
    """The <data> element, and its text as it came."""
    text = m.dispatch(to_ele(f'<get-data xmlns="{NMDA}" xmlns:ds="{DS}" xmlns:or="{OR}">'
                             f'<datastore>ds:{store}</datastore>{body}</get-data>')).xml
    data = et.fromstring(text).find(f"{{{NMDA}}}data")
    assert data is not None, text
    return data, text


def inside(text):
    return re.search(r"<data [^>]*>(.*)</data>|<data [^>]*/>", text, re.S).group(1) or ""


PROFILE = '<subtree-filter><apm xmlns="urn:weft:apm"><pool-domain-profile/></apm></subtree-filter>'


OURS = '<subtree-filter><apm xmlns="urn:weft:apm"/><system xmlns="urn:weft:system"/></subtree-filter>'


def leaves(data):
    (profile,) = data.iter(APM + "pool-domain-profile")
    return {c.tag.removeprefix(APM): (c.text, c.get(ORIGIN)) for c in profile}


def test_capabilities_and_library(w, m):
    capabilities = set(m.server_capabilities)
    assert any(c.startswith("urn:ietf:params:netconf:capability:yang-library:1.1?") for c in capabilities)
    assert any(c.startswith("urn:ietf:params:netconf:capability:with-operational-defaults:1.0?basic-mode=report-all")
               for c in capabilities)
    library = w.get("/data/ietf-yang-library:yang-library").json()["ietf-yang-library:yang-library"]
    assert {d["name"] for d in library["datastore"]} == {
        "ietf-datastores:running", "ietf-datastores:candidate", "ietf-datastores:operational"}
    (nmda,) = [x for s in library["module-set"] for x in s["module"] if x["name"] == "ietf-netconf-nmda"]
    assert set(nmda["feature"]) == {"origin", "with-defaults"}
    assert "rpc get-data" in m.get_schema("ietf-netconf-nmda").data


def test_running_is_configuration(m, tmp_path):
    data, text = get_data(m, "running")
    assert [c.tag for c in data] == [APM + "apm", "{urn:weft:system}system"]
    assert data.find(f".//{APM}state") is None
    assert leaves(data) == {"name": ("p", None), "apportion-threshold": ("10", None),
                            "reclaim-threshold": ("900", None), "hold-down": ("45", None)}
    ok, why = yanglint(tmp_path, inside(text), "getconfig")
    assert ok, why
    assert len(get_data(m, "running", "<config-filter>false</config-filter>")[0]) == 0
    data, _ = get_data(m, "running", PROFILE + '<with-defaults xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-with-'
                       'defaults">report-all</with-defaults>')
    assert leaves(data)["allow-larger"] == ("false", None)


def test_operational_is_all_that_is_in_use(m, tmp_path):
    data, text = get_data(m, "operational")
    assert data.find(f".//{APM}state") is not None
    assert leaves(data)["allow-larger"] == ("false", None)  # in use, though nobody has said so
    _, text = get_data(m, "operational", OURS)
    ok, why = yanglint(tmp_path, inside(text), "get")
    assert ok, why
    data, _ = get_data(m, "operational", "<config-filter>false</config-filter>")
    assert data.find(f".//{APM}state") is not None and data.find(f".//{APM}pool-domain-profile") is None
    data, _ = get_data(m, "operational", "<config-filter>true</config-filter>")
    assert data.find(f".//{APM}state") is None and data.find(f".//{APM}pool-domain-profile") is not None


def test_filters_and_depth(m):
    data, _ = get_data(m, "operational", '<xpath-filter xmlns:a="urn:weft:apm">/a:apm/a:pool-domain-profile[a:name="p"]'
                       '/a:hold-down</xpath-filter>')
    assert leaves(data) == {"name": ("p", None), "hold-down": ("45", None)}
    data, _ = get_data(m, "running", "<max-depth>1</max-depth>")
    assert [(c.tag, len(c)) for c in data] == [(APM + "apm", 0), ("{urn:weft:system}system", 0)]
    data, _ = get_data(m, "running", PROFILE + "<max-depth>2</max-depth>")
    assert leaves(data) == {}
    data, _ = get_data(m, "running", PROFILE + "<max-depth>3</max-depth>")
    assert leaves(data)["hold-down"] == ("45", None)
    assert len(get_data(m, "running", PROFILE + "<max-depth>unbounded</max-depth>")[0]) == 1


def test_origins(m, tmp_path):
    data, text = get_data(m, "operational", PROFILE + "<with-origin/>")
    (profile,) = data.iter(APM + "pool-domain-profile")
    assert profile.get(ORIGIN) == "or:intended"
    assert leaves(data)["hold-down"] == ("45", None)  # as what it is in
    assert leaves(data)["allow-larger"] == ("false", "or:default")
    ok, why = yanglint(tmp_path, inside(text), "get", modules=[ORIGIN_MODULE])
    assert ok, why
    data, _ = get_data(m, "operational", "<with-origin/><config-filter>false</config-filter>")
    assert ORIGIN not in {a for e in data.iter() for a in e.attrib}  # state has none
    data, _ = get_data(m, "operational", PROFILE + "<origin-filter>or:default</origin-filter>")
    assert leaves(data) == {"name": ("p", None), "allow-larger": ("false", None)}
    data, _ = get_data(m, "operational", PROFILE + "<negated-origin-filter>or:default</negated-origin-filter>")
    assert "allow-larger" not in leaves(data) and "hold-down" in leaves(data)
    assert len(get_data(m, "operational", PROFILE + "<origin-filter>or:learned</origin-filter>")[0]) == 0
    assert len(leaves(get_data(m, "operational", PROFILE + "<origin-filter>or:origin</origin-filter>")[0])) == 5


@pytest.mark.parametrize("store, body, tag, says", [
    ("startup", "", "invalid-value", "running, candidate or operational"),
    ("running", "<with-origin/>", "invalid-value", "operational datastore only"),
    ("operational", "<max-depth>0</max-depth>", "invalid-value", "from 1 to 65535"),
    ("operational", "<config-filter>maybe</config-filter>", "invalid-value", "true or false"),
    ("operational", "<origin-filter>ds:running</origin-filter>", "invalid-value", "an origin"),
    ("operational", "<xpath-filter>/no:where</xpath-filter>", "invalid-value", "unknown prefix"),
])
def test_what_is_no_question(m, store, body, tag, says):
    with pytest.raises(RPCError) as caught:
        get_data(m, store, body)
    assert caught.value.tag == tag and says in caught.value.message, (caught.value.tag, caught.value.message)
    with pytest.raises(RPCError, match="datastore is missing"):
        m.dispatch(to_ele(f'<get-data xmlns="{NMDA}"/>'))


def edit(m, store, threshold, more="", operation=""):
    return m.dispatch(to_ele(
        f'<edit-data xmlns="{NMDA}" xmlns:ds="{DS}" xmlns:nc="{NC}"><datastore>ds:{store}</datastore>{more}<config>'
        f'<apm xmlns="urn:weft:apm"><pool-domain-profile {operation}><name>p</name>'
        f'<apportion-threshold>{threshold}</apportion-threshold></pool-domain-profile></apm></config></edit-data>'))


def test_edit_data(w, m):
    assert edit(m, "running", 11).ok
    assert leaves(get_data(m, "running")[0])["apportion-threshold"][0] == "11"
    m.dispatch(to_ele(f'<lock xmlns="{NC}"><target><datastore xmlns="{NMDA}" xmlns:ds="{DS}">ds:candidate</datastore>'
                      "</target></lock>"))
    assert edit(m, "candidate", 12).ok
    assert leaves(get_data(m, "candidate")[0])["apportion-threshold"][0] == "12"
    assert leaves(get_data(m, "operational")[0])["apportion-threshold"][0] == "11"
    m.dispatch(to_ele(f'<validate xmlns="{NC}"><source><datastore xmlns="{NMDA}" xmlns:ds="{DS}">ds:candidate</datastore>'
                      "</source></validate>"))
    m.commit()
    m.dispatch(to_ele(f'<unlock xmlns="{NC}"><target><datastore xmlns="{NMDA}" xmlns:ds="{DS}">ds:candidate</datastore>'
                      "</target></unlock>"))
    assert leaves(get_data(m, "operational")[0])["apportion-threshold"][0] == "12"
    with pytest.raises(RPCError, match="can't be edited"):
        edit(m, "operational", 13)
    with pytest.raises(RPCError) as caught:
        edit(m, "running", 13, operation='nc:operation="create"')
    assert caught.value.tag == "data-exists"
    with pytest.raises(RPCError, match="default-operation can't be"):
        edit(m, "running", 13, more="<default-operation>delete</default-operation>")
    assert leaves(get_data(m, "running")[0])["apportion-threshold"][0] == "12"
    # Rights on the operations, as on those of RFC 6241.
    r = w.put("/data/weft-system:system/role=none", {"weft-system:role": [
        {"name": "none", "right": [{"path": "/ietf-netconf-nmda:get-data", "access": ""}]}]})
    assert r.status_code == 201, r.text


def test_restconf(w):
    running, operational = "/ds/ietf-datastores:running", "/ds/ietf-datastores:operational"
    p = "/weft-apm:apm/pool-domain-profile=p"
    assert "allow-larger" not in w.get(running + p).json()["weft-apm:pool-domain-profile"][0]
    assert w.get(operational + p).json()["weft-apm:pool-domain-profile"][0]["allow-larger"] is False
    assert "state" not in w.get(running).json()["ietf-restconf:data"]["weft-apm:apm"]
    assert "state" in w.get(operational).json()["ietf-restconf:data"]["weft-apm:apm"]
    assert w.get(running + "/weft-apm:apm/state").status_code == 404
    assert w.get(operational + "/weft-apm:apm/state/statistics").status_code == 200
    assert w.get(running + "?content=all").status_code == 400
    r = w.patch(running + p, {"weft-apm:pool-domain-profile": [{"name": "p", "hold-down": 61}]})
    assert r.status_code == 204, r.text
    assert w.get("/data" + p).json()["weft-apm:pool-domain-profile"][0]["hold-down"] == 61
    for method in ("PUT", "PATCH", "DELETE", "POST"):
        r = w.request(method, operational + p, {} if method != "DELETE" else None)
        assert r.status_code == 405 and "PUT" not in r.headers["allow"], (method, r.headers)
    assert w.get("/ds/ietf-datastores:startup").status_code == 404
