# SPDX-License-Identifier: Apache-2.0
"""weft-phone-home with what others make: a static Apache with XML answers made by openssl, vouchers of another
project, provisioning by DHCP beside ours, documents that mean ill."""
import base64
import glob
import json
import os
import shutil
import socket
import subprocess
import tempfile
import textwrap

import pytest

from phone_home import TOP, Client, Pki, Server, sha256, write
from sztp_double import GET, Double, b64, content_info, der, onboarding, signed
from onboard_lab import wait_until
from test_phone_home import CONFIG, HOOKS, did, owner_certificate, text, voucher

NS = "urn:ietf:params:xml:ns:yang:ietf-sztp-bootstrap-server"
CI = "urn:ietf:params:xml:ns:yang:ietf-sztp-conveyed-info"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def good(pki):
    return pki.issue("server")


@pytest.fixture(scope="module")
def masa(tmp_path_factory):
    m = Pki(tmp_path_factory.mktemp("masa"), "masa")
    return m, m.issue("voucher-signer")


def by_dhcp(folder, port, masa, **more):
    c = Client(folder, hooks=HOOKS, **{"voucher-anchors": masa.cert, "sources": ["dhcp"], **more})
    write(c.path("leases", "eth0"), 'lease {\n  interface "eth0";\n  option v4-sztp-redirect '
                                    f'"https://localhost:{port}/";\n}}\n')
    return c


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# proves: PH-123
@pytest.mark.parametrize("spelt", ["sztp", "SZTP"])
def test_a_static_apache_with_answers_in_xml(tmp_path, pki, good, masa, spelt):
    """A tree of files is enough of a server: the answer to a POST is a file, in XML, with the media type and the
    spelling of the namespace that such servers use."""
    owner = pki.issue("owner")
    document = (f'<onboarding-information xmlns="{CI}"><configuration-handling>replace</configuration-handling>'
                f'<configuration>{b64(CONFIG)}</configuration></onboarding-information>')
    ci = signed(document.encode(), *owner, tmp_path, oid="1.2.840.113549.1.7.1")  # id-data
    answer = (f'<output xmlns="{NS.replace("sztp", spelt)}">'
              f'<conveyed-information>{b64(ci)}</conveyed-information><owner-certificate>'
              f'{b64(owner_certificate(pki, owner[0], tmp_path))}</owner-certificate><ownership-voucher>'
              f'{b64(voucher(tmp_path, masa[1], pki.cert))}</ownership-voucher></output>')
    port, www = free_port(), tempfile.mkdtemp(prefix="weft-www-")  # where www-data can look
    root = www + "/root"
    write(root + GET, answer)
    modules = "/usr/lib/apache2/modules"
    conf = write(www + "/apache.conf", textwrap.dedent(f"""\
        ServerRoot {www}
        ServerName localhost
        PidFile {www}/pid
        ErrorLog {www}/error.log
        Listen 127.0.0.1:{port}
        User www-data
        """) + "".join(f"LoadModule {m}_module {modules}/mod_{m}.so\n" for m in (
            "mpm_event", "authz_core", "ssl", "socache_shmcb") if os.path.exists(f"{modules}/mod_{m}.so")) +
        textwrap.dedent(f"""\
        Mutex file:{www}
        DocumentRoot {root}
        DefaultRuntimeDir {www}
        AcceptPathInfo On
        SSLEngine on
        SSLCertificateFile {good[0]}
        SSLCertificateKeyFile {good[1]}
        <Directory {root}>
            Require all granted
            ForceType application/yang.data+xml
        </Directory>
        """))
    subprocess.run(["chmod", "-R", "a+rX", www], check=True)
    apache = subprocess.Popen(["apache2", "-DFOREGROUND", "-f", conf], stderr=subprocess.PIPE, text=True)
    try:
        c = by_dhcp(tmp_path / "c", port, masa[0], lenient=spelt != "sztp")
        def up():
            assert apache.poll() is None, apache.stderr.read()
            return c.probe("post", "localhost", port, "provisional", GET, "{}")["status"] == 200
        wait_until("Apache answers", 30, up)
        p = c.phone_home("run")
        assert p.returncode == 0, p.stderr + str(c.probe("post", "localhost", port, "provisional", GET, "{}"))[:600]
        assert text(c, "applied") == CONFIG and did(c)[0] == "apply replace"
    finally:
        apache.terminate()
        apache.wait(30)
        shutil.rmtree(www)


# proves: PH-163 PH-306
@pytest.mark.parametrize("scripts,lenient,works", [(True, False, True), (False, False, False), (False, True, True)])
def test_a_stick_as_loaders_write_it(tmp_path, pki, masa, scripts, lenient, works):
    """The image under the names of two disks, its hash once for each; null for scripts that there are not; signed as
    plain data, an owner certificate of version 1 that is its own anchor."""
    key, cert, csr = (pki.path("v1." + s) for s in ("key", "pem", "csr"))
    subprocess.run(["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/C=XX/O=Owner", "-keyout", key, "-out",
                    csr], check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-req", "-in", csr, "-signkey", key, "-days", "30", "-out", cert], check=True,
                   capture_output=True)
    medium, image = str(tmp_path / "usb"), os.urandom(50_000)
    value = ":".join(sha256(image)[8:][i:i + 2] for i in range(0, 64, 2))
    script = b64(b"#!/bin/sh\ntrue\n") if scripts else None
    document = {"ietf-sztp-conveyed-info:onboarding-information": {
        "boot-image": {"os-name": "weft-os", "os-version": "1.0",
                       "download-uri": ["file:///disk2:/images/i.iso", "file:///disk3:/images/i.iso"],
                       "image-verification": [{"hash-algorithm": "ietf-sztp-conveyed-info:sha-256", "hash-value": value}] * 2},
        "configuration-handling": "merge", "pre-configuration-script": script, "configuration": b64(CONFIG),
        "post-configuration-script": script}}
    folder = medium + "/EN9/SN1/bootstrapping-data/"
    write(medium + "/images/i.iso", image)
    write(folder + "conveyed-information.cms", signed(json.dumps(document).encode(), cert, key, tmp_path,
                                                      oid="1.2.840.113549.1.7.1"))
    write(folder + "owner-certificate.cms", subprocess.run(
        ["openssl", "crl2pkcs7", "-nocrl", "-certfile", cert, "-outform", "DER"], check=True, capture_output=True).stdout)
    write(folder + "ownership-voucher.vcj", voucher(tmp_path, masa[1], cert))
    c = Client(tmp_path / "c", hooks=HOOKS, **{"voucher-anchors": masa[0].cert, "sources": ["removable-storage"],
                                               "storage": {"mounts": [medium]}, "lenient": lenient})
    p = c.phone_home("run")
    assert (p.returncode == 0) == works, p.stderr
    assert did(c) == (["apply merge", "confirm"] if works else [])
    assert works or "pre-configuration-script" in p.stderr


# proves: PH-142
@pytest.mark.parametrize("embedded,why", [(False, "signature"), (True, "assertion")])
def test_vouchers_of_another_project_are_refused(tmp_path, pki, good, masa, embedded, why):
    """Each with a good signature of ours beside it, and its own authority believed: the voucher decides. The published
    authorities have the name and number of the one that signed, and other keys; with the one inside, which signed, what
    the voucher says is looked at."""
    folder = os.path.join(TOP, "..", "shared", "vectors", "open-sztp")
    vouchers = glob.glob(folder + "/*/ownershipVoucher.base64")
    if not vouchers:
        pytest.skip("the vectors of open-sztp are not beside this tree")
    owner = pki.issue("owner-foreign")
    theirs = glob.glob(folder + "/*.pem")
    if embedded:
        theirs = [str(tmp_path / "embedded.pem")]
        subprocess.run(["openssl", "cms", "-verify", "-noverify", "-inform", "DER", "-signer", theirs[0]], check=True,
                       input=base64.b64decode(open(vouchers[0], "rb").read()), capture_output=True)
    anchors = write(str(tmp_path / "anchors.pem"), b"\n".join(  # theirs end without a line's end
        open(f, "rb").read() for f in [masa[0].cert, *theirs]))
    for path in vouchers:
        data = base64.b64decode(open(path, "rb").read())
        with Double((signed(onboarding(CONFIG), *owner, tmp_path), owner_certificate(pki, owner[0], tmp_path), data),
                    *good) as s:
            for serial in ("SN1", os.path.basename(os.path.dirname(path))):
                c = by_dhcp(tmp_path / serial, s.port, masa[0], **{"voucher-anchors": anchors})
                c.config["platform"]["serial-number"] = serial
                c.save()
                p = c.phone_home("run")
                assert p.returncode == 1 and did(c) == [] and s.reports == [], p.stderr
                assert f"voucher-{why}: " in p.stderr, p.stderr


def deep(n):
    return b'{"ietf-sztp-conveyed-info:onboarding-information":' + b'{"a":' * n + b"1" + b"}" * n + b"}"


BOMB = (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + b"".join(
    b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(10)) + b"]><onboarding-information "
    b'xmlns="' + CI.encode() + b'"><configuration>&k;</configuration></onboarding-information>')
XXE = (b'<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><onboarding-information xmlns="' + CI.encode() +
       b'"><configuration>&a;</configuration></onboarding-information>')


def wrapped(content, last):
    """ContentInfo of id-ct-sztpConveyedInfoXML (0x2a) or JSON (0x2b)."""
    return der(0x30, bytes.fromhex("060b2a864886f70d0109100101")[:-1] + bytes([last]) + der(0xa0, der(0x04, content)))


# proves: PH-123 PH-306
@pytest.mark.parametrize("ci", [
    b"", b"\x30", b"\x30\x84\xff\xff\xff\xff", os.urandom(2000), wrapped(BOMB, 0x2a), wrapped(XXE, 0x2a),
    wrapped(deep(100_000), 0x2b), wrapped(b"{" * 100_000, 0x2b), wrapped(b"[]", 0x2b), wrapped(b"\xff\xfe{}", 0x2b),
    content_info({"ietf-sztp-conveyed-info:onboarding-information": {"configuration": "!!!", "configuration-handling": "x"}}),
    content_info({"ietf-sztp-conveyed-info:redirect-information": {"bootstrap-server": []}}),
    content_info({"ietf-sztp-conveyed-info:redirect-information": {"bootstrap-server": [
        {"address": f"10.0.{i // 250}.{i % 250}"} for i in range(5000)]}}),
    content_info(onboarding(CONFIG, image={"os-version": "9", "download-uri": ["https://localhost:1/x"], "image-verification": [
        {"hash-algorithm": "ietf-sztp-conveyed-info:sha-256", "hash-value": "00:" * 31 + "00"},
        {"hash-algorithm": "ietf-sztp-conveyed-info:sha-256", "hash-value": "11:" * 31 + "11"}]})),
], ids=lambda x: str(len(x)))
def test_documents_that_mean_ill(tmp_path, pki, good, ci):
    with Double(ci, *good) as s:
        c = Client(tmp_path, hooks=HOOKS, **{"server-anchors": pki.cert, "sources": ["servers"],
                                             "servers": [f"https://localhost:{s.port}"]})
        p = c.phone_home("run")
        assert p.returncode == 1 and did(c) == [], p.stderr
        assert "root:x:0" not in json.dumps(s.reports)


@pytest.mark.parametrize("body,kind", [
    (b"", "application/yang-data+json"), (b"{}", "application/yang-data+json"), (b"<html>", "text/html"),
    (b"x" * 60_000_000, "application/yang-data+json"), (b"{" * 5_000_000, "application/yang-data+json"), (BOMB, "application/xml")],
    ids=lambda x: str(len(x)))
def test_answers_that_mean_ill(tmp_path, pki, good, body, kind):
    with Server(lambda h: h.send(200, body, Content_Type=kind), *good) as s:
        c = Client(tmp_path, hooks=HOOKS, **{"server-anchors": pki.cert, "sources": ["servers"],
                                             "servers": [f"https://localhost:{s.port}"]})
        p = c.phone_home("run")
        assert p.returncode == 1 and did(c) == [], p.stderr


# proves: PH-021 PH-041
def test_a_tampered_image_is_never_installed(tmp_path, pki, good):
    image = os.urandom(100_000)
    with Server(lambda h: h.send(200, image[:-1] + b"x"), *good) as files, Double(None, *good) as s:
        s.data = content_info(onboarding(CONFIG, image={
            "os-version": "2.0", "download-uri": [f"https://localhost:{files.port}/i"], "image-verification": [
                {"hash-algorithm": "ietf-sztp-conveyed-info:sha-256",
                 "hash-value": ":".join(sha256(image)[8:][i:i + 2] for i in range(0, 64, 2))}]}))
        c = Client(tmp_path, hooks=HOOKS, **{
            "server-anchors": pki.cert, "sources": ["servers"], "servers": [f"https://localhost:{s.port}"],
            "limits": {"pause-min-s": 1, "pause-max-s": 1, "checksum-rounds": 2}})
        p = c.phone_home("run")
        assert p.returncode == 1 and did(c) == [] and len(files.requests) == 2, p.stderr
        assert "boot-image-error" in s.types() and not os.path.exists(c.path("applied"))
        assert not os.path.exists(c.path("state", "image"))


# proves: PH-093 PH-092
@pytest.mark.parametrize("precedence,works,legacy,done", [
    ("phone-home", True, False, True), ("ztp", True, True, False), ("first-success", True, False, True),
    ("first-success", False, True, False), ("auto", True, True, False), ("phone-home", False, False, False)])
def test_provisioning_by_dhcp_beside_ours(tmp_path, pki, good, masa, precedence, works, legacy, done):
    owner = pki.issue("owner-dhcp")
    with Double((signed(onboarding(CONFIG), *owner, tmp_path), owner_certificate(pki, owner[0], tmp_path),
                 voucher(tmp_path, masa[1], pki.cert, "SN1" if works else "SN2")), *good) as s:
        command = write(str(tmp_path / "legacy"), f"#!/bin/sh\necho legacy >>{tmp_path}/c/did\n")
        os.chmod(command, 0o755)
        c = by_dhcp(tmp_path / "c", s.port, masa[0], dhcp={"leases": [str(tmp_path / "c/leases/*")],
                                                         "precedence": precedence, "legacy-command": command})
        write(c.path("leases", "eth0"), 'lease {\n  interface "eth0";\n  option bootfile-name "boot.cfg";\n'
                                        f'  option v4-sztp-redirect "https://localhost:{s.port}/";\n}}\n')
        p = c.phone_home("run")
        assert ("legacy" in did(c)) == legacy and os.path.exists(c.path("applied")) == done, p.stderr
        assert p.returncode == (0 if legacy or done else 1)
