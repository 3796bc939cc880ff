# SPDX-License-Identifier: Apache-2.0
"""Devices that phone home, against the daemon: both dialects, rules, strangers, files."""
import base64
import hashlib
import json
import os
import re
import xml.etree.ElementTree as et

import pytest
import requests

from onboard_lab import (CI_XML, GET, JSON, OLD, TELL, XML, Pki, device, events, listen, onboarding, put, run, text64, unwrap,
                         wait_until)
from weftd_lab import Weftd

NS = "urn:ietf:params:xml:ns:yang:ietf-sztp-bootstrap-server"
CI = "urn:ietf:params:xml:ns:yang:ietf-sztp-conveyed-info"
PRERFC = "http://juniper.net/zerotouch-bootstrap-server"
CONFIG = "hostname {{ host }};\nserial {{serial-number}};\n"


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("weftd")) as d:
        yield d


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def door(w, pki):
    put(w, "device-authority", "factory", certificate=pki.text("factory.pem"))
    put(w, "script", "hello", text="#!/bin/sh\necho hello\n")
    put(w, "configuration", "base", text=CONFIG, template=True)
    files = os.path.join(w.data, "onboard/files")
    with open(os.path.join(files, "os-2.img"), "wb") as f:
        f.write(os.urandom(3_000_000))
    put(w, "boot-image", "os-2", os_name="vendor-os", os_version="2.0", file="os-2.img")
    put(w, "bundle", "edge", boot_image="os-2", configuration="base", pre_script="hello", post_script="hello")
    put(w, "device-type", "default", rule=[{"name": "all", "bundle": "edge"}])
    return listen(w, "main", public_address="localhost")


# proves: PH-120 PH-122 PH-123 PH-200 PH-201 PH-202 PH-204
def test_a_device_with_a_password_is_given_its_bundle_and_reports(w, door):
    put(w, "device", "S1", password="its secret", variable=[{"name": "host", "value": "edge-1"}])
    out, info = onboarding(door.get(("S1", "its secret"), hw_model="m-1", os_name="vendor-os", os_version="1.0"))
    assert out["reporting-level"] == "verbose" and "ownership-voucher" not in out
    image = open(os.path.join(w.data, "onboard/files/os-2.img"), "rb").read()
    b = info["boot-image"]
    assert (b["os-name"], b["os-version"]) == ("vendor-os", "2.0")
    (v,) = b["image-verification"]
    assert v["hash-algorithm"] == "ietf-sztp-conveyed-info:sha-256"
    assert v["hash-value"].replace(":", "") == hashlib.sha256(image).hexdigest()
    assert info["configuration-handling"] == "merge"
    assert text64(info["configuration"]) == "hostname edge-1;\nserial S1;\n"
    assert text64(info["pre-configuration-script"]).startswith("#!/bin/sh")
    (uri,) = b["download-uri"]
    assert requests.get(uri, verify=door.ca, timeout=60).content == image
    for step in ("bootstrap-initiated", "boot-image-complete", "config-complete"):
        assert door.tell(step, ("S1", "its secret"), message=f"did {step}").status_code == 204
    d = device(w, "S1")
    assert (d["status"], d["rule"], d["answer"]) == ("under-way", "default/all", "bundle edge")
    assert (d["hw-model"], d["progress"], d["message"]) == ("m-1", "config-complete", "did config-complete")
    keys = {"ssh-host-key": [{"algorithm": "ssh-ed25519", "key-data": base64.b64encode(b"k" * 32).decode()}]}
    r = door.tell("bootstrap-complete", ("S1", "its secret"), **{"ssh-host-keys": keys})
    assert (r.status_code, r.content) == (204, b"")
    d = device(w, "S1")
    assert d["status"] == "complete" and "ssh-ed25519" in d["ssh-host-keys"]
    text = w.cli("show onboard device S1")
    assert re.search(r"answered +hw-model m-1, os vendor-os 1.0; rule default/all: bundle edge", text), text
    assert re.search(r"bootstrap-complete", text)
    assert re.search(r"^S1 +complete +yes +m-1 ", w.cli("show onboard devices"), re.M)
    assert "its secret" not in text + w.cli("show configuration onboard") + w.log()
    lines = w.cli("show onboard requests last 5").splitlines()
    assert len(lines) == 5 and re.search(r"POST  204  S1 +bootstrap-complete", lines[-1]), lines


# proves: PH-121 PH-202
def test_a_certificate_says_who_it_is(w, door, pki):
    put(w, "device", "S2", variable=[{"name": "host", "value": "edge-2"}])
    cert = pki.device("s2", "/CN=a switch/serialNumber=S2")
    _, info = onboarding(door.get(cert=cert))
    assert text64(info["configuration"]) == "hostname edge-2;\nserial S2;\n"
    assert device(w, "S2")["authenticated-by"] == "certificate"
    # Both say the same, or nothing is given.
    assert door.get(("S2", ""), cert).status_code == 200
    put(w, "device", "S2b", password="p", variable=[{"name": "host", "value": "x"}])
    assert door.get(("S2b", "p"), cert).status_code == 401
    # Where the number stands is the type's to say.
    put(w, "device-type", "by-cn", serial_from="common-name", rule=[{"name": "all", "bundle": "edge"}])
    put(w, "device", "S3", type="by-cn", variable=[{"name": "host", "value": "edge-3"}])
    assert door.get(("S3", ""), pki.device("s3", "/CN=S3/serialNumber=other")).status_code == 200
    assert door.get(("S3", ""), pki.device("s3x", "/CN=other/serialNumber=S3")).status_code == 401


# proves: PH-207
def test_strangers_are_refused_and_those_with_certificates_wait(w, door, pki):
    r = door.get(("nobody", "x"))
    e = r.json()["ietf-restconf:errors"]["error"][0]
    assert (r.status_code, e["error-tag"]) == (401, "access-denied")
    assert r.headers["www-authenticate"].startswith("Basic ")
    wrong = door.get(("S1", "wrong"))
    assert (wrong.status_code, wrong.json()) == (401, r.json())  # nothing tells one from the other
    assert door.get().status_code == 401
    r = door.get(cert=pki.device("s9", "/serialNumber=S9"), hw_model="m-9")
    assert (r.status_code, r.json()["ietf-restconf:errors"]["error"][0]["error-tag"]) == (404, "data-missing")
    assert re.search(r"^S9 +pending +no +m-9 ", w.cli("show onboard devices pending"), re.M)
    assert "nobody" not in w.cli("show onboard devices")
    w.cli("request onboard authorise S9")
    assert door.get(cert=(pki.path("s9.pem"), pki.path("s9.key"))).status_code == 500  # its template lacks a variable
    assert "the device has no variable host" in w.cli("show onboard device S9")
    w.cli("request onboard block S9")
    assert door.get(cert=(pki.path("s9.pem"), pki.path("s9.key"))).status_code == 403
    assert device(w, "S9")["status"] == "blocked"


# proves: PH-123
def test_xml_is_answered_with_xml(w, door):
    put(w, "device", "S4", password="p", variable=[{"name": "host", "value": "edge-4"}])
    for media in (XML, "application/yang.data+xml", "application/xml"):
        r = door.ask("POST", GET, f'<input xmlns="{NS}"><hw-model>m</hw-model></input>', ("S4", "p"), Content_Type=media)
        assert r.status_code == 200, r.text
        oid, content = unwrap(et.fromstring(r.content).find(f"{{{NS}}}conveyed-information").text)
        assert oid == CI_XML
        c = et.fromstring(content).find(f"{{{CI}}}configuration")
        assert text64(c.text) == "hostname edge-4;\nserial S4;\n"
    r = door.ask("POST", TELL, f'<input xmlns="{NS}"><progress-type>bootstrap-complete</progress-type></input>',
                 ("S4", "p"), Content_Type=XML)
    assert r.status_code == 204


# proves: PH-200
def test_the_first_rule_that_holds_decides(w, door):
    put(w, "configuration", "old", text="old\n")
    put(w, "configuration", "new", text="new\n")
    put(w, "bundle", "old", configuration="old")
    put(w, "bundle", "new", configuration="new", reporting_level="minimal")
    put(w, "redirect-list", "there", server=[{"address": "phs1.example.net", "port": 8443, "own-authority": [None]}])
    put(w, "device", "S5", password="p", rule=[
        {"name": "wait", "os-version": ["0.9"], "nothing-yet": [None]},
        {"name": "old", "os-name": ["v"], "os-version": ["1.0", "1.1"], "bundle": "old"},
        {"name": "away", "signed-data-preferred": True, "redirect-list": "there"},
        {"name": "nonce", "nonce": True, "bundle": "new"}])
    put(w, "device-type", "m5", hw_model=["m-5"], rule=[{"name": "rest", "bundle": "new"}])
    auth = ("S5", "p")

    def configuration(**leaves):
        return text64(onboarding(door.get(auth, **leaves))[1]["configuration"])

    assert door.get(auth, os_version="0.9").status_code == 404
    assert device(w, "S5")["status"] == "waiting"
    assert configuration(os_name="v", os_version="1.1") == "old\n"
    assert configuration(nonce=base64.b64encode(b"n" * 16).decode()) == "new\n"
    assert device(w, "S5")["rule"] == "device/nonce"
    assert configuration(hw_model="m-5", os_name="w", os_version="1.1") == "new\n"
    assert device(w, "S5")["rule"] == "m5/rest"
    r = door.get(auth, signed_data_preferred=[None])
    _, content = unwrap(r.json()["ietf-sztp-bootstrap-server:output"]["conveyed-information"])
    (s,) = json.loads(content)["ietf-sztp-conveyed-info:redirect-information"]["bootstrap-server"]
    assert (s["address"], s["port"]) == ("phs1.example.net", 8443)
    anchor = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", data=base64.b64decode(s["trust-anchor"]))
    assert open(door.ca, "rb").read().strip().splitlines()[1] in anchor
    seen = device(w, "S5")
    assert seen["status"] == "redirected" and seen["answer"] == "redirect list there"  # there is no signer: unsigned
    assert seen["because"].startswith(
        "rule device/wait does not hold (it does not say its os-version, which is to be 0.9); rule device/old does not "
        "hold (it does not say its os-name, which is to be v); rule device/away holds: redirect list there; not signed")


# proves: PH-200 PH-204
def test_a_device_explains_itself(w, door):
    put(w, "device-type", "m6", hw_model=["m-6"], rule=[{"name": "rest", "bundle": "new"}])
    put(w, "device", "E1", password="p", authorisation="pending", type="m6",
        rule=[{"name": "other", "hw-model": ["m-7", "m-8"], "bundle": "old"}])

    def why(serial="E1"):
        because = device(w, serial)["because"]
        assert re.search(rf"^because +{re.escape(because)}$", w.cli(f"show onboard device {serial}"), re.M)
        return because
    assert why() == "was not here yet, and gets nothing until authorised"
    assert door.get(("E1", "p"), hw_model="m-6").status_code == 404 and why() == "waits to be authorised"
    w.cli("request onboard authorise E1")
    assert why() == ("was authorised since it was here; when it comes: rule device/other does not hold (hw-model is m-6, "
                     "not m-7 or m-8); rule m6/rest holds: bundle new")
    assert door.get(("E1", "p"), hw_model="m-6").status_code == 200
    assert why() == "rule device/other does not hold (hw-model is m-6, not m-7 or m-8); rule m6/rest holds: bundle new"
    put(w, "bundle", "closed", configuration="new", signing="never")
    put(w, "device-type", "m6", hw_model=["m-6"], rule=[{"name": "rest", "bundle": "closed"}])
    assert door.get(("E1", "p"), hw_model="m-9", signed_data_preferred=[None]).status_code == 404
    assert why() == ("rule device/other does not hold (hw-model is m-9, not m-7 or m-8); rule m6/rest holds: bundle closed; "
                     "it asks for signed data, and bundle closed is never signed")
    assert "Because: rule device/other holds: bundle old" in w.cli("show onboard answer E1 hw-model m-7")
    shown = w.cli("show onboard answer E1 hw-model m-6")
    assert re.search(r"^Because: rule device/other does not hold \(hw-model is m-6, not m-7 or m-8\); rule m6/rest holds: ",
                     shown, re.M), shown
    w.cli("request onboard block E1")
    assert why() == "is blocked in the configuration: it gets nothing"
    assert door.get(("E1", "p")).status_code == 403 and why() == "is blocked"


# proves: PH-204
def test_an_answer_that_cannot_be_made_says_so(w, door):
    put(w, "configuration", "lacks", text="{{no-such-thing}}\n", template=True)
    put(w, "bundle", "lacks", configuration="lacks")
    put(w, "device", "E2", password="p", rule=[{"name": "all", "bundle": "lacks"}])
    assert door.get(("E2", "p")).status_code == 500
    (line,) = [x for x in w.cli("show onboard requests last 20").splitlines() if " E2 " in x]
    assert re.search(r" 500  E2 .*no-such-thing", line), line
    seen = device(w, "E2")
    assert seen["status"] == "waiting" and "answer" not in seen
    assert seen["because"].startswith("what rule device/all gives can't be made: ") and "no-such-thing" in seen["because"]
    # Told once for each thing that is wrong, and when it is right again.
    for _ in range(3):
        assert door.get(("E2", "p"), hw_model="m-2").status_code == 500
    put(w, "configuration", "lacks", text="{{another}}\n", template=True)
    for _ in range(3):
        assert door.get(("E2", "p"), hw_model="m-2").status_code == 500
    put(w, "configuration", "lacks", text="nothing\n", template=True)
    for _ in range(2):
        assert door.get(("E2", "p"), hw_model="m-2").status_code == 200
    told = events(w, "E2")
    assert [name for name, _ in told] == ["device-answered", "device-waiting", "device-waiting", "device-answered",
                                          "device-answered"]
    assert "no-such-thing" in told[1][1]["because"] and "another" in told[2][1]["because"]
    assert told[2][1]["hw-model"] == "m-2" and told[3][1]["answer"] == "bundle lacks"
    put(w, "device", "E2", password="p", authorisation="blocked")
    assert [door.get(("E2", "p")).status_code for _ in range(3)] == [403] * 3
    assert [name for name, _ in events(w, "E2")][5:] == ["device-blocked"]


# proves: PH-204
def test_what_could_not_be_given_is_not_logged_as_given(w, door):
    put(w, "configuration", "half", text="{{ host }}\n{{ hots }}\n", template=True)
    put(w, "bundle", "half", configuration="half")
    put(w, "device", "E4", password="p", variable=[{"name": "host", "value": "h"}], rule=[{"name": "all", "bundle": "half"}])
    why = "what rule device/all gives can't be made: configuration half: line 2: the device has no variable hots"
    assert why in w.cli("show onboard answer E4", status=1)
    assert door.get(("E4", "p")).status_code == 500

    def log():
        return re.findall(r"^\S+Z  (\S+) +(.*)$", w.cli("show onboard device E4"), re.M)
    assert [x for x in log() if x[0] in ("answered", "answer-error")] == [("answer-error", why)]
    put(w, "configuration", "half", text="{{ host }}\n", template=True)
    assert door.get(("E4", "p")).status_code == 200
    assert [event for event, _ in log() if event.startswith("answer")] == ["answer-error", "answered"]
    for kind, leaves in (("script", {"pre_script": "gone"}), ("boot-image", {"boot_image": "gone"})):
        put(w, kind, "gone", file="gone.file", **({"os_name": "v", "os_version": "1"} if kind == "boot-image" else {}))
        put(w, "bundle", "half", configuration="half", **leaves)
        assert f"{kind.replace('-', ' ')} gone: " in w.cli("show onboard answer E4", status=1)


# proves: PH-202
def test_the_answer_that_is_shown_is_what_the_device_gets(w, door):
    put(w, "configuration", "full", text="{{server-address}}:{{server-port}} {{ldevid-certificate}}\n", template=True)
    put(w, "bundle", "full", boot_image="os-2", configuration="full")
    put(w, "device-type", "full", certificate_request=True, rule=[{"name": "all", "bundle": "full"}])
    put(w, "device", "A1", type="full", password="p")
    shown = w.cli("show onboard answer A1")
    assert f"Asked at listener main: localhost port {door.port}\n" in shown, shown
    assert f"https://localhost:{door.port}/files/" in shown.replace("\\/", "/")
    assert f"localhost:{door.port} (the certificate that is signed when the device asks)" in shown
    # One that says how it is reached comes before others, whatever it is called; roles count.
    more = [listen(w, "a-here", role=["bootstrap"]), listen(w, "z-away", role=["redirect"], public_address="away.example.net")]
    shown = w.cli("show onboard answer A1")
    assert f"Asked at listener main: localhost port {door.port}; at the other 1 with that role" in shown, shown
    put(w, "listener", "main", address="127.0.0.1", port=door.port, disabled=True)
    assert f"Asked at listener a-here: 127.0.0.1 port {more[0].port}\n" in w.cli("show onboard answer A1")
    put(w, "listener", "main", address="127.0.0.1", port=door.port, public_address="localhost")
    for name in ("a-here", "z-away"):
        assert w.ask("DELETE", f"weft-onboard:onboard/listener={name}").status == 204
    wait_until("listener main", 20, lambda: re.search(r"^main +open ", w.cli("show onboard listeners"), re.M))
    # A type that asks for no certificate has none, then as now.
    put(w, "device-type", "full", rule=[{"name": "all", "bundle": "full"}])
    assert "configuration full: line 1: the device has no variable ldevid-certificate" in w.cli("show onboard answer A1", status=1)


# proves: PH-200
def test_a_rule_that_is_never_reached_is_warned_of(w, door):
    rule = "set onboard device E3 rule"
    said = w.cli("configure", f"{rule} few os-version 1.0 os-version 1.1 bundle new", f"{rule} one os-version 1.1 bundle old",
                 f"{rule} all bundle new", f"{rule} away redirect-list there", f"{rule} behind os-name v bundle old", "commit")
    assert "onboard/device=E3: rule one is never reached: rule few before it holds for all it does" in said, said
    assert "rule behind is never reached: rule all before it" in said and said.count("never reached") == 2
    # Lists go to listeners that redirect, where rules for bundles are passed over: "away" is reached there.
    # Types are looked at like devices.
    said = w.cli("configure", "set onboard device-type m7 rule a nothing-yet", "set onboard device-type m7 rule b bundle new",
                 "commit")
    assert "onboard/device-type=m7: rule b is never reached: rule a before it holds for all it does" in said, said


# proves: PH-110 PH-111 PH-112 PH-113 PH-114 PH-116
def test_the_older_dialect(w, door):
    put(w, "configuration", "junos", text="<configuration><system><host-name>{{host}}</host-name></system></configuration>",
        template=True)
    put(w, "bundle", "junos", boot_image="os-2", configuration="junos")
    put(w, "device", "J1", activation_code="code", variable=[{"name": "host", "value": "a<b"}],
        rule=[{"name": "all", "bundle": "junos"}])
    assert door.ask("GET", OLD + "J9").status_code == 404
    assert door.ask("GET", OLD + "J1").status_code == 404
    r = door.ask("GET", OLD + "J1", auth=("J1", "code"), Accept="application/yang.data+xml")
    assert r.status_code == 200, r.text
    root = et.fromstring(r.content)
    assert root.tag == f"{{{PRERFC}}}device" and root.find(f"{{{PRERFC}}}unique-id").text == "J1"
    image = root.find(f"{{{PRERFC}}}boot-image")
    data = open(os.path.join(w.data, "onboard/files/os-2.img"), "rb").read()
    assert image.find(f"{{{PRERFC}}}md5").text == hashlib.md5(data).hexdigest()
    assert image.find(f"{{{PRERFC}}}sha1").text == hashlib.sha1(data).hexdigest()
    assert "a&lt;b" in r.text
    body = (f'<input xmlns="{PRERFC}"><notification-type>vc-member-upgrade-success</notification-type>'
            "<message>Member detected and successfully upgraded.</message><virtual-chassis-member><member-id>2</member-id>"
            "<serial-id>PE3716100123</serial-id><role>linecard</role></virtual-chassis-member></input>")
    r = door.ask("POST", OLD + "J1/notification", body, ("J1", "code"), Content_Type="application/yang.data+xml")
    assert r.status_code == 201, r.text
    assert device(w, "J1")["message"].endswith(
        "Member 2 (PE3716100123, linecard): Member detected and successfully upgraded.")
    r = door.ask("POST", OLD + "J1/notification", body.replace("vc-member-upgrade-success", "bootstrap-complete"),
                 ("J1", "code"), Content_Type=XML)
    assert r.status_code == 201 and device(w, "J1")["status"] == "complete"
    put(w, "redirect-list", "phs", server=[{"address": "phs1.example.com", "port": 8443, "own-authority": [None]}])
    put(w, "device-type", "lax", authentication="none", rule=[{"name": "all", "redirect-list": "phs"}])
    put(w, "device", "J2", type="lax")
    r = door.ask("GET", OLD + "J2")
    s = et.fromstring(r.content).find(f".//{{{PRERFC}}}bootstrap-server")
    assert s.find(f"{{{PRERFC}}}address").text == "phs1.example.com"
    run("openssl", "x509", "-inform", "DER", "-noout", data=base64.b64decode(s.find(f"{{{PRERFC}}}trust-anchor").text))


# proves: PH-020 PH-025 PH-117
def test_a_chassis_is_told_its_members(w, door):
    put(w, "topology", "stack", strict=True, member=[{"serial-number": "K1", "id": 0, "role": "primary"},
                                                     {"serial-number": "K2", "id": 1, "role": "backup"}, {"serial-number": "K3"}])
    put(w, "configuration", "stack", text="<configuration/>")
    put(w, "bundle", "stack", configuration="stack")
    put(w, "device", "K1", password="p", topology="stack", rule=[{"name": "all", "bundle": "stack"}])
    r = door.ask("GET", OLD + "K1", auth=("K1", "p"))
    vc = et.fromstring(r.content).find("{urn:openphonehome:params:xml:ns:vc:1}virtual-chassis")
    ns = {"v": "urn:openphonehome:params:xml:ns:vc:1"}
    assert vc.find("v:strict-provisioning", ns) is not None
    assert [m.find("v:serial-id", ns).text for m in vc.findall("v:member", ns)] == ["K1", "K2", "K3"]
    assert [m.findtext("v:role", None, ns) for m in vc.findall("v:member", ns)] == ["master", "backup", None]
    _, info = onboarding(door.get(("K1", "p")))
    chassis = info["weft-onboard:virtual-chassis"]
    assert [m["serial-id"] for m in chassis["member"]] == ["K1", "K2", "K3"], chassis


def test_a_listener_of_all_addresses_has_those_of_ipv4(w, door):
    put(w, "device", "S21", password="p", variable=[{"name": "host", "value": "x"}])
    everywhere = listen(w, "everywhere", address="::")
    for host, source in ("127.0.0.1", "127.0.0.1:"), ("[::1]", "[::1]:"):
        if host == "[::1]" and not os.path.exists("/proc/net/if_inet6"):
            continue
        everywhere.base = f"https://{host}:{everywhere.port}"
        assert everywhere.get(("S21", "p")).status_code == 200, host
        assert device(w, "S21")["source"].startswith(source)
    assert w.ask("DELETE", "weft-onboard:onboard/listener=everywhere").status == 204
    wait_until("the listener is gone", 20, lambda: "everywhere" not in w.cli("show onboard listeners"))


# proves: PH-203
def test_a_listener_that_only_redirects(w, door):
    away = listen(w, "away", role=["redirect"], client_certificate="none")
    put(w, "device", "S6", password="p", rule=[{"name": "all", "redirect-list": "there"}])
    put(w, "device", "S7", password="p", variable=[{"name": "host", "value": "x"}])
    assert away.get(("S6", "p")).status_code == 200
    assert away.get(("S7", "p")).status_code == 404 and door.get(("S7", "p")).status_code == 200
    # Some clients report to whoever answered: it is kept, and says what happened.
    assert away.tell("bootstrap-initiated", ("S6", "p"), message="begins").status_code == 204
    assert away.tell("bootstrap-initiated", ("S6", "wrong")).status_code == 401
    assert device(w, "S6")["progress"] == "bootstrap-initiated" and device(w, "S6")["answer"] == "redirect list there"
    assert re.search(r"bootstrap-initiated +begins$", w.cli("show onboard device S6"), re.M)
    assert away.ask("GET", "/files/os-2.img").status_code == 404
    assert w.ask("DELETE", "weft-onboard:onboard/listener=away").status == 204
    wait_until("the listener is gone", 20, lambda: "away" not in w.cli("show onboard listeners"))


# proves: PH-208
def test_files_come_in_parts(w, door):
    data = open(os.path.join(w.data, "onboard/files/os-2.img"), "rb").read()
    whole = door.ask("GET", "/files/os-2.img")
    assert whole.content == data and whole.headers["accept-ranges"] == "bytes"
    etag, n = whole.headers["etag"], len(data)
    for value, first, last in (("bytes=0-0", 0, 0), ("bytes=100-1099", 100, 1099), (f"bytes={n - 5}-", n - 5, n - 1),
                               ("bytes=-7", n - 7, n - 1), (f"bytes=0-{n + 5}", 0, n - 1)):
        r = door.ask("GET", "/files/os-2.img", Range=value)
        assert (r.status_code, r.content) == (206, data[first:last + 1]), value
        assert r.headers["content-range"] == f"bytes {first}-{last}/{n}"
    for value in (f"bytes={n}-", "bytes=-0"):
        r = door.ask("GET", "/files/os-2.img", Range=value)
        assert (r.status_code, r.headers["content-range"]) == (416, f"bytes */{n}")
    for value in ("bytes=5-4", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=99999999999999999999-"):
        assert door.ask("GET", "/files/os-2.img", Range=value).status_code == 200
    assert door.ask("GET", "/files/os-2.img", Range="bytes=0-9", If_Range=etag).status_code == 206
    assert door.ask("GET", "/files/os-2.img", Range="bytes=0-9", If_Range='"other"').content == data
    assert door.ask("GET", "/files/os-2.img", If_None_Match=etag).status_code == 304
    head = door.ask("HEAD", "/files/os-2.img")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(n))
    for bad in ("none", "", ".", "..", "%2e%2e%2fpki%2fca.key", "../../pki/ca.key", "a/b"):
        assert door.ask("GET", "/files/" + bad).status_code == 404, bad
    assert door.ask("PUT", "/files/os-2.img", b"x").status_code == 405
    # Resumed by another's program, from the middle.
    part = os.path.join(w.folder, "part")
    with open(part, "wb") as f:
        f.write(data[:1_000_000])
    run("curl", "-sS", "--cacert", door.ca, "-C", "-", "-o", part, door.base + "/files/os-2.img")
    assert open(part, "rb").read() == data


def test_nonsense_gets_an_error_in_the_dialects_form(w, door):
    auth = ("S1", "its secret")

    def error(r):
        return r.json()["ietf-restconf:errors"]["error"][0]["error-tag"]

    r = door.ask("GET", GET)
    assert (r.status_code, r.headers["allow"], error(r)) == (405, "POST", "operation-not-supported")
    r = door.ask("POST", GET, "{}", auth, Content_Type="text/plain")
    assert (r.status_code, error(r)) == (415, "operation-not-supported")
    r = door.ask("POST", GET, None, auth)  # all input may be left out (RFC 8040 section 3.6.1)
    assert r.status_code not in (400, 415), r.text
    r = door.ask("POST", GET, "", auth, Content_Type=JSON)
    assert "there is nothing in it" in r.text and "column" not in r.text
    assert door.ask("POST", TELL, None, auth).status_code == 415
    r = door.ask("POST", GET, b"{}", auth)
    assert r.status_code == 415
    for body in ("", "{", "[]", "{}", '{"ietf-sztp-bootstrap-server:input":{"nonce":"!"}}',
                 '{"ietf-sztp-bootstrap-server:input":{"hw-model":5}}'):
        r = door.ask("POST", GET, body, auth, Content_Type=JSON)
        assert r.status_code == 400, (body, r.status_code)
        assert error(r)
    r = door.ask("POST", GET, "<input/>", auth, Content_Type=XML)
    assert r.status_code == 400 and et.fromstring(r.content).tag.endswith("}errors")
    r = door.ask("POST", GET, "<!DOCTYPE x []><input/>", auth, Content_Type=XML)
    assert r.status_code == 400
    r = door.ask("POST", GET, b"x" * (1 << 20), auth, Content_Type=JSON)
    assert (r.status_code, error(r)) == (413, "too-big")
    r = door.ask("POST", "/restconf/data", "{}", auth, Content_Type=JSON)
    assert (r.status_code, error(r)) == (404, "invalid-value")
    r = door.ask("POST", TELL, '{"ietf-sztp-bootstrap-server:input":{"progress-type":"party"}}', auth, Content_Type=JSON)
    assert r.status_code == 400
    r = door.ask("PUT", OLD + "J1", "x", auth)
    assert (r.status_code, r.headers["allow"]) == (405, "GET")
    assert et.fromstring(r.content).tag.endswith("}errors")
    assert door.ask("GET", OLD + "x" * 100, auth=auth).status_code == 404
    assert door.ask("GET", OLD + "%01%02", auth=auth).status_code == 404


# proves: PH-110 PH-204
def test_a_client_of_the_older_dialect_goes_where_it_is_sent(w, door, tmp_path):
    """As one in the field does it: no password, the anchor's text put between the lines of PEM and believed alone, the
    namespace cut away, a configuration two elements down."""
    put(w, "configuration", "sent", text='<configuration operation="merge"><system><host-name>{{serial-number}}'
                                         '</host-name></system></configuration>', template=True)
    put(w, "bundle", "sent", configuration="sent")
    put(w, "device-type", "sent", authentication="none", rule=[{"name": "all", "bundle": "sent"}])
    away = listen(w, "sends", role=["redirect"])
    put(w, "redirect-list", "sent", server=[{"address": "localhost", "port": door.port, "own-authority": [None]}])
    put(w, "device", "J20", type="sent", rule=[{"name": "first", "redirect-list": "sent"}])
    r = requests.get(away.base + OLD + "J20", auth=("J20", ""), verify=away.ca, timeout=60)
    server = et.fromstring(r.content).find(f".//{{{PRERFC}}}bootstrap-server")
    address, port, anchor = (server.find(f"{{{PRERFC}}}{n}").text for n in ("address", "port", "trust-anchor"))
    pem = tmp_path / "anchor.pem"
    pem.write_text(f"-----BEGIN CERTIFICATE-----\n{anchor.strip()}\n-----END CERTIFICATE-----\n", encoding="ascii")
    put(w, "device", "J20", type="sent")  # a listener for all would send it away again
    r = requests.get(f"https://{address}:{port}" + OLD + "J20", auth=("J20", ""), verify=str(pem), timeout=60)
    assert r.status_code == 200, r.text
    found = et.fromstring(r.text.replace(f' xmlns="{PRERFC}"', "")).find(".//config/configuration")
    assert found.find("system/host-name").text == "J20"
    assert requests.get(away.base + OLD + "J21", auth=("J21", ""), verify=away.ca, timeout=60).status_code == 404


# proves: PH-207
def test_one_source_that_fails_is_slowed(w, pki):
    # The last one here: failures are of an address, whatever the listener.
    slow = listen(w, "slow")
    for _ in range(100):
        r = slow.get(("S1", "guess"))
        if r.status_code == 429:
            break
        assert r.status_code == 401
    assert r.status_code == 429 and int(r.headers["retry-after"]) > 0
    assert r.json()["ietf-restconf:errors"]["error"][0]["error-tag"] == "resource-denied"
    # Who shows a certificate is let through.
    assert slow.get(cert=(pki.path("s2.pem"), pki.path("s2.key"))).status_code == 200
