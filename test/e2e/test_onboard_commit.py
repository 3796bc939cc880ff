# SPDX-License-Identifier: Apache-2.0
"""What keeps devices from coming up is refused or warned of when it is committed, not when the device is on site."""
import base64
import os
import re

import pytest

from onboard_lab import Pki, events, put, wait_until
from weftd_lab import Weftd


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("weftd"), options=("--hostname", "weft.example.net,127.0.0.1")) as d:
        yield d


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    p = Pki(tmp_path_factory.mktemp("pki"))
    for name, cn in (("masa", "MASA"), ("owner-ca", "Owner CA"), ("other-ca", "Other CA")):
        p.root(name, cn)
    p.issue("owner", "/CN=owner", "owner-ca")
    return p


def refused(w, kind, name, **leaves):
    """(error-path, error-message)"""
    key = "serial-number" if kind == "device" else "name"
    r = w.ask("PUT", f"weft-onboard:onboard/{kind}={name}", {f"weft-onboard:{kind}": [{key: name, **leaves}]})
    assert r.status == 400, r
    path = re.sub(r"\[[\w-]+='([^']*)'\]", r"=\1", r.errors[0]["error-path"])
    return path, r.errors[0]["error-message"]


def warnings(w, *lines):
    said = w.cli("configure", *lines, "commit")
    return [line.partition("warning: ")[2] for line in said.splitlines() if "warning: " in line]


# proves: PH-201
@pytest.mark.parametrize("kind", ["configuration", "script"])
@pytest.mark.parametrize("text, why", [("hello\n\n {{ host", "line 3: {{ without }}"), ("{{ }}", "line 1: between {{ and }} stands no name"),
                                       ("a\n{{ a b }}", "line 2: between {{ and }} stands no name")])
def test_a_template_that_is_none_is_refused(w, kind, text, why):
    path, message = refused(w, kind, "broken", text=text, template=True)
    assert path.endswith(f"{kind}=broken/text") and message == why, (path, message)
    put(w, kind, "braces", text=text)  # as it is, it is a text like others


# proves: PH-201
def test_names_that_devices_have_by_themselves_are_no_variables(w):
    for name in ("serial-number", "server-address", "authority-certificate", "os-version"):
        path, message = refused(w, "device", "B1", variable=[{"name": name, "value": "EVIL"}])
        assert path.endswith(f"device=B1/variable={name}") and "has a variable of this name" in message


# proves: PH-201
def test_variables_that_devices_lack_are_warned_of(w):
    w.cli("configure", "set onboard configuration wants text x", "set onboard bundle wants configuration wants",
          "set onboard device-type wants rule all bundle wants",
          *(f"set onboard device D{i:02} type wants" for i in range(13)), "set onboard device D05 variable host value x",
          "set onboard device D06 rule mine nothing-yet", "commit")
    said = warnings(w, 'set onboard configuration wants text "{{host}} {{serial-number}} {{ldevid-certificate}} {{host}}" template true')
    first = "D00, D01, D02, D03, D04, D07, D08, D09, D10, D11 and 1 more"
    assert said == [f"bundle wants, configuration wants: nothing is given to devices without a variable host: {first}",
                    "bundle wants, configuration wants: nothing is given to devices without a variable ldevid-certificate "
                    "(no certificate-request in their type): D00, D01, D02, D03, D04, D05, D07, D08, D09, D10 and 2 more"], said
    # Only what the change touches: another device, its type, nothing of it.
    assert warnings(w, "set onboard device-type wants certificate-request true") == said[:1]
    assert warnings(w, "set onboard device D20 type wants") == [said[0].replace(first, "D20")]
    assert warnings(w, "set onboard device D20 variable host value y") == []
    assert warnings(w, "set onboard device-type other rule all bundle wants") == []
    # A device says its model only when it comes: nothing is said of one that may be of another type.
    assert warnings(w, "set onboard device-type default certificate-request true rule all bundle wants", "set onboard device D30 description x") == \
        [said[0].replace(first, "D30")]
    assert warnings(w, "set onboard device-type m hw-model m1 rule all bundle wants", "set onboard device D30 description y") == []
    w.cli("configure", "delete onboard device-type default", "commit")


# proves: PH-208
def test_files_that_are_not_there_are_warned_of(w):
    files = os.path.join(w.data, "onboard/files")
    said = warnings(w, "set onboard boot-image i os-name x file i.img", "set onboard configuration f file f.conf template true",
                    "set onboard script s file s.sh", "set onboard bundle f configuration f pre-script s")
    assert sorted(said) == [f"devices get nothing of it until the file {f} is in {files}: /weft-onboard:onboard/{o}"
                            for f, o in (("f.conf", "configuration=f"), ("i.img", "boot-image=i"), ("s.sh", "script=s"))], said
    for name, text in (("i.img", "x"), ("f.conf", "x\ny {{"), ("s.sh", "x")):
        with open(os.path.join(files, name), "w", encoding="ascii") as f:
            f.write(text)
    said = warnings(w, "set onboard boot-image i os-version 2", "set onboard configuration f handling replace")
    assert said == ["/weft-onboard:onboard/configuration=f: the file is no good template, devices get nothing of it "
                    "(line 2: {{ without }}): f.conf"], said
    for uri in ("ftp://a/b", "file:///images/b"):
        path, message = refused(w, "boot-image", "u", uri=[uri], **{"sha-256": "00" * 32})
        assert path.endswith("boot-image=u") and message.endswith(f"{uri}: devices load images by https:// and http://")
    put(w, "boot-image", "u", uri=["http://a/b", "HTTPS://a/b"], sha_256="00" * 32)


# proves: PH-020
def test_members_that_nobody_entered_are_warned_of(w):
    said = warnings(w, "set onboard topology ring member R1", "set onboard topology ring member R2", "set onboard device R2")
    assert said == ["topology ring has members that are no configured devices: R1"], said


# proves: PH-142
def test_vouchers_that_no_device_would_believe(w, pki):
    chain = pki.text("owner.pem") + pki.text("owner-ca.pem")
    put(w, "signer", "us", certificate=chain, key=pki.text("owner.key"))
    put(w, "device-type", "signed", signer="us", rule=[{"name": "all", "nothing-yet": [None]}])
    path, message = refused(w, "device", "V1", type="signed",
                            voucher=pki.voucher("V1", "owner-ca", "masa", nonce=base64.b64encode(b"n" * 16).decode()))
    assert path.endswith("device=V1/voucher") and message.startswith("it is bound to a nonce"), message

    def said(serial, *, pinned="owner-ca", **leaves):
        return warnings(w, f"set onboard device {serial} type signed voucher {pki.voucher(serial, pinned, 'masa', **leaves)}")

    assert said("V1") == []
    assert said("V2", **{"expires-on": "2026-01-01T00:00:00Z", "created-on": "2025-01-01T00:00:00Z"}) == \
        ["vouchers that have ended, which no device believes any more: V2 (2026-01-01T00:00:00Z)"]
    (other,) = said("V3", pinned="other-ca")
    assert other.startswith("signer us is not who the voucher names (it does not lead to the certificate that the voucher pins: ")
    assert other.endswith("): nothing that is signed will be believed by: V3"), other
    # The signer changes under the vouchers that are there.
    pki.issue("next", "/CN=next", "other-ca")
    for leaf, text in (("certificate", pki.text("next.pem") + pki.text("other-ca.pem")), ("key", pki.text("next.key"))):
        with open(pki.path(leaf + ".b64"), "wb") as f:
            f.write(base64.b64encode(text.encode()))
    values = {n: open(pki.path(n + ".b64"), encoding="ascii").read() for n in ("certificate", "key")}
    (other,) = [x for x in warnings(w, f"set onboard signer us certificate {values['certificate']} key {values['key']}")
                if "signer us" in x]
    assert other.endswith("believed by: V1, V2"), other


def test_a_device_that_takes_anothers_place_says_so(w):
    w.cli("configure", 'set onboard device O1 password "p" variable host value x', "commit")
    w.cli("configure", "rename onboard device O1 to O2", "commit")
    shown = w.cli("show onboard device O2")
    assert re.search(r" replaces +takes the place of O1 \(\w+\)$", shown, re.M), shown
    ((name, event),) = events(w, "O2")
    assert name == "device-replaced" and event["former"] == "O1" and event["by"] in shown
    w.cli("configure", "delete onboard device O2", "set onboard device O3 description other", "commit")
    assert "replaces" not in w.cli("show onboard device O3")


# proves: PH-203
def test_a_listener_that_devices_would_not_trust(w, pki):
    assert warnings(w, "set onboard listener a disabled true public-address weft.example.net") == []
    assert warnings(w, "set onboard listener a public-address 127.0.0.1") == []
    assert warnings(w, "set onboard listener a public-address phs.example.net") == [
        "/weft-onboard:onboard/listener=a: devices that check names turn away, for the controller's certificate does not have "
        "public-address among its names (--hostname of weftd says them): phs.example.net"]
    name = "/weft-onboard:onboard/listener=b: it can't be opened as long as the file can't be read: "
    port = "set onboard listener b address 127.0.0.1 port 1 disabled true"
    assert warnings(w, f"{port} certificate-file /nosuch/cert.pem key-file {pki.path('owner.key')}") == [name + "/nosuch/cert.pem"]
    said = warnings(w, f"set onboard listener b certificate-file {pki.path('owner.pem')} public-address owner")
    assert said == ["/weft-onboard:onboard/listener=b: devices that check names turn away, for its certificate does not have "
                    "public-address among its names: owner"], said
    w.cli("configure", "set onboard listener b certificate-file /nosuch/cert.pem disabled false", "commit")
    wait_until("what is wrong with b", 20, lambda: re.search(r"^b +failed .*/nosuch/cert.pem.*[Nn]o such file",
                                                             w.cli("show onboard listeners"), re.M))
