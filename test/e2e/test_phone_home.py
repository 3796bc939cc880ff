# SPDX-License-Identifier: Apache-2.0
"""weft-phone-home end to end: a box with hooks, bootstrap servers of a few lines."""
import json
import os
import signal
import subprocess
import time

import pytest

from phone_home import Client, Pki, Server, binary, openssl, sha256, write
from sztp_double import Double, content_info, onboarding, redirect, signed

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
CONFIG = '{"hostname": "box1"}'
HOOKS = {
    "install": 'cp "$1" $(dirname $0)/../slot; echo install $2 >>$(dirname $0)/../did; echo "$2" >$(dirname $0)/../next',
    "reboot": 'cp $(dirname $0)/../next $(dirname $0)/../version; echo reboot >>$(dirname $0)/../did',
    "apply": 'cp "$1" $(dirname $0)/../applied; echo apply $2 >>$(dirname $0)/../did',
    "confirm": 'echo confirm >>$(dirname $0)/../did',
    "rollback": 'rm -f $(dirname $0)/../applied; echo rollback >>$(dirname $0)/../did',
    "zeroize": 'echo zeroize >>$(dirname $0)/../did',
}


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def good(pki):
    return pki.issue("server")


def client(folder, pki, *ports, **more):
    hooks = dict(HOOKS, **more.pop("hooks", {}))
    return Client(folder, hooks=hooks, **{"server-anchors": pki.cert, "sources": ["servers"],
                                          "servers": [f"https://localhost:{p}" for p in ports], **more})


def did(c):
    path = c.path("did")
    return open(path, encoding="ascii").read().splitlines() if os.path.exists(path) else []


def text(c, *name):
    with open(c.path(*name), encoding="utf-8") as f:
        return f.read()


# proves: PH-120 PH-122 PH-152
def test_a_box_is_bootstrapped_by_a_configured_server(tmp_path, pki, good):
    pre = f"#!/bin/sh\necho pre $WEFT_SERIAL >>{tmp_path}/did\n"
    post = f"#!/usr/bin/env python3\nopen('{tmp_path}/did', 'a').write('post\\n')\n"
    data = content_info(onboarding(CONFIG, "replace", pre, post))
    with Double(data, *good) as s:
        c = client(tmp_path, pki, s.port)
        p = c.phone_home("run")
        assert p.returncode == 0, p.stderr
        assert did(c) == ["pre SN1", "apply replace", "confirm", "post"]
        assert text(c, "applied") == CONFIG
        types = s.types()
        assert types[0] == "bootstrap-initiated" and types[-1] == "bootstrap-complete"
        for t in ("pre-script-complete", "config-complete", "post-script-complete"):
            assert t in types
        asked = json.loads(s.requests[0]["body"])["ietf-sztp-bootstrap-server:input"]
        assert asked["hw-model"] == "box" and asked["os-version"] == "1.0"
        # It is over for good.
        assert text(c, "state", "enabled") == "false\n"
        n = len(s.requests)
        p = c.phone_home("run")
        assert p.returncode == 0 and "switched off" in p.stderr and len(s.requests) == n
        p = c.phone_home("status")
        assert p.returncode == 3 and "off" in p.stdout
        # And begins anew when the box is zeroized.
        assert c.phone_home("zeroize").returncode == 2
        p = c.phone_home("zeroize", "--yes")
        assert p.returncode == 0 and did(c)[-1] == "zeroize"
        assert c.phone_home("run").returncode == 0 and len(s.requests) > n


# proves: PH-143
@pytest.mark.parametrize("keep", [1, 2, 1000])  # requests that the server takes on one connection
def test_a_run_uses_the_connection_that_it_has(tmp_path, pki, good, keep):
    with Double(content_info(onboarding(CONFIG)), *good, keep=keep) as s:
        c = client(tmp_path, pki, s.port)
        p = c.phone_home("run")
        assert p.returncode == 0, p.stderr
        assert len(s.requests) >= 4 and s.types()[-1] == "bootstrap-complete"
        assert len(s.types()) == len(set(s.types()))  # nothing is said twice where it has to connect anew
        assert s.connections == -(-len(s.requests) // keep)


# proves: PH-145
def test_a_connection_is_not_used_for_another_trust(tmp_path, pki, good):
    """The same server twice: first nobody vouches for it, then the redirect that it gave does."""
    asked = []
    anchor = open(pki.anchor(), "rb").read()
    masa = pki.issue("masa")
    owner = pki.issue("owner")

    def data(h):
        asked.append(h.connection)
        if len(asked) == 1:
            return (signed(redirect(("localhost", s.port, anchor)), *owner, tmp_path), owner_certificate(
                pki, owner[0], tmp_path), voucher(tmp_path, masa, pki.cert))
        return content_info(onboarding(CONFIG))
    with Double(data, *good, keep=1000) as s:
        c = client(tmp_path, pki)
        write(c.path("leases", "eth0"), f'lease {{\n  interface "eth0";\n  option v4-sztp-redirect '
                                        f'"https://localhost:{s.port}/";\n}}\n')
        c.config.update({"sources": ["dhcp"], "voucher-anchors": pki.cert})
        c.save()
        p = c.phone_home("run")
        assert p.returncode == 0, p.stderr
        assert len(asked) >= 2 and asked[0] is not asked[1] and s.connections == 2


OLD = """<device xmlns="{ns}"><unique-id>SN1</unique-id><configuration><config>
<configuration operation="merge"><system><host-name>old</host-name></system></configuration>
</config></configuration></device>"""
NAMESPACE = "http://juniper.net/zerotouch-bootstrap-server"


# What servers of the older dialect in the field answer to notifications, and the other namespace they write.
# proves: PH-113 PH-114
@pytest.mark.parametrize("status,namespace", [
    (200, NAMESPACE), (201, NAMESPACE), (204, NAMESPACE), (201, "http://juniper.net/bootstrap-server")])
def test_servers_of_the_older_dialect(tmp_path, pki, good, status, namespace):
    def answer(h):
        if h.command == "GET":
            h.send(200, OLD.format(ns=namespace).encode(), Content_Type="application/xml")
        else:
            h.send(status)
    with Server(answer, *good) as s:
        c = client(tmp_path, pki, s.port, dialect="prerfc")
        p = c.phone_home("run")
        assert p.returncode == 0, p.stderr
        assert "<host-name>old</host-name>" in text(c, "applied")
        told = [r for r in s.requests if r["method"] == "POST"]
        assert told and all(r["path"] == s.requests[0]["path"] + "/notification" for r in told)
        assert b"bootstrap-complete" in told[-1]["body"]
        # Each is told once: the answer was taken, and not given up.
        assert len({r["body"] for r in told}) == len(told) and "does not take the report" not in p.stderr


# What producers that stand on S/MIME encrypt: the ContentInfo as data. And what is for another device.
# proves: PH-120
def test_what_openssl_encrypts_for_the_box(tmp_path, pki, good):
    (cert, key), (other, _) = pki.issue("idevid"), pki.issue("another")
    plain = write(str(tmp_path / "plain"), content_info(onboarding(CONFIG, "replace")))
    for to, well in ((other, False), (cert, True)):
        sealed = openssl("cms", "-encrypt", "-binary", "-aes-256-cbc", "-outform", "DER", "-in", plain, to)
        with Double(sealed, *good) as s:
            c = client(tmp_path / ("well" if well else "ill"), pki, s.port, identity={"certificate": cert, "key": key})
            p = c.phone_home("run")
            assert (p.returncode == 0) == well, p.stderr
            assert did(c) == (["apply replace", "confirm"] if well else [])
            assert s.types()[-1] == ("bootstrap-complete" if well else "parsing-error")
            if not well:
                assert "is not encrypted for this device" in s.reports[-1]["message"]


# proves: PH-040 PH-041
def test_an_image_is_installed_and_the_run_goes_on_after_the_reboot(tmp_path, pki, good):
    image = os.urandom(200_000)
    with Server(lambda h: h.send(200, image), *good) as files, Double(None, *good) as s:
        s.data = content_info(onboarding(CONFIG, image={
            "os-name": "weft-os", "os-version": "2.0",
            "download-uri": [f"https://localhost:{files.port}/missing/../image"],
            "image-verification": [{"hash-algorithm": "ietf-sztp-conveyed-info:sha-256",
                                    "hash-value": ":".join(sha256(image)[8:][i:i + 2] for i in range(0, 64, 2))}]}))
        c = client(tmp_path, pki, s.port)
        # The reboot ends the client, as it would.
        p = subprocess.Popen([binary("weft-phone-home"), "-c", c.path("config.json"), "daemon"],
                             stderr=subprocess.PIPE, text=True)
        until = time.time() + 120
        while "reboot" not in did(c) and time.time() < until:
            time.sleep(0.1)
        p.send_signal(signal.SIGKILL)
        p.communicate()
        assert did(c) == ["install 2.0", "reboot"] and open(c.path("slot"), "rb").read() == image
        assert "boot-image-installed-rebooting" in s.types()
        p = c.phone_home("run")
        assert p.returncode == 0, p.stderr
        assert text(c, "applied") == CONFIG and did(c).count("install 2.0") == 1
        assert s.types()[-1] == "bootstrap-complete"


# proves: PH-009
def test_nothing_is_needed_of_the_device_but_its_hooks(tmp_path, pki, good):
    """The client itself calls no program and knows nothing but what the device says: checksums, downloads and
    the serial number are its own business."""
    image = os.urandom(100_000)
    serial = write(str(tmp_path / "serial"), "  SN-77 \nmore\n")
    with Server(lambda h: h.send(200, image), *good) as files, Double(None, *good) as s:
        def offer(digest):
            s.data = content_info(onboarding(CONFIG, image={
                "os-name": "weft-os", "os-version": "2.0", "download-uri": [f"https://localhost:{files.port}/image"],
                "image-verification": [{"hash-algorithm": "ietf-sztp-conveyed-info:sha-256",
                                        "hash-value": ":".join(digest[i:i + 2] for i in range(0, 64, 2))}]}))
        c = client(tmp_path / "c", pki, s.port, hooks={"reboot": HOOKS["reboot"] + "; kill -9 $PPID"})
        del c.config["platform"]["serial-number"]
        c.config["platform"]["serial-number-file"] = serial
        c.config["limits"]["checksum-rounds"] = 1
        c.save()
        offer(sha256(b"another image")[8:])
        bare = {"PATH": "/nonexistent"}
        assert c.phone_home("run", env=bare).returncode == 1 and did(c) == []
        offer(sha256(image)[8:])
        c.phone_home("run", env=bare)  # the reboot ends it
        assert did(c) == ["install 2.0", "reboot"]
        p = c.phone_home("run", env=bare)
        assert p.returncode == 0, p.stderr
        assert text(c, "applied") == CONFIG
        assert json.loads(c.phone_home("status", "-j", env=bare).stdout) == {"enabled": False, "running": False}


# proves: PH-091
def test_what_to_look_at_when_it_does_not_work(tmp_path, pki, good):
    """Cable, server, serial number: the device's own status and log name each."""
    with Double(content_info(onboarding(CONFIG)), *good) as s:
        s.shutdown()
        s.server_close()
        c = client(tmp_path, pki, s.port)
        p = c.phone_home("run")
        assert p.returncode == 1 and f"localhost:{s.port}: " in p.stderr and "onnect" in p.stderr, p.stderr
        assert "no source had data that may be used\n" in p.stderr and "looks again" not in p.stderr, p.stderr
    with Server(lambda h: h.send(404), *good) as s:
        c = client(tmp_path, pki, s.port)
        log = str(tmp_path / "log")
        with open(log, "w", encoding="ascii") as f:
            p = subprocess.Popen([binary("weft-phone-home"), "-c", c.path("config.json"), "daemon"], stderr=f)
        try:
            end = time.time() + 120
            while "looks again in" not in text(c, "log") and time.time() < end:
                time.sleep(0.05)
            shown = c.phone_home("status").stdout
            why = f"localhost:{s.port}: answers 404: it does not know this device"
            assert f"last error     {why}" in shown and "serial number  SN1" in shown and why in text(c, "log"), shown
        finally:
            p.send_signal(signal.SIGTERM)
            p.wait(60)


# proves: PH-062 PH-151
def test_a_script_that_fails_is_told_and_leaves_nothing(tmp_path, pki, good):
    post = "#!/bin/sh\necho no luck; exit 9\n"
    with Double(content_info(onboarding(CONFIG, "merge", None, post)), *good) as s:
        c = client(tmp_path, pki, s.port)
        p = c.phone_home("run")
        assert p.returncode == 1
        assert "rollback" in did(c) and not os.path.exists(c.path("applied"))
        failed = [r for r in s.reports if r["progress-type"].endswith("post-script-error")]
        assert failed and "no luck" in failed[0]["message"]
        assert not os.path.exists(c.path("state", "enabled"))


# proves: PH-012 PH-143
def test_redirects_lead_to_the_server_that_has_the_data(tmp_path, pki, good):
    with Double(content_info(onboarding(CONFIG)), *good) as last, Double(None, *good) as first:
        anchor = open(pki.anchor(), "rb").read()
        first.data = content_info(redirect(("127.0.0.1", 1), ("localhost", last.port, anchor)))
        c = client(tmp_path, pki, first.port)
        p = c.phone_home("run")
        assert p.returncode == 0, p.stderr
        assert text(c, "applied") == CONFIG and last.types()[-1] == "bootstrap-complete" and first.reports == []


# proves: PH-141 PH-143
def test_servers_that_redirect_in_circles_and_for_ever(tmp_path, pki, good):
    with Double(None, *good) as a, Double(None, *good) as b:
        anchor = open(pki.anchor(), "rb").read()
        a.data = content_info(redirect(("localhost", b.port, anchor)))
        b.data = content_info(redirect(("localhost", a.port, anchor), ("127.0.0.1", a.port, anchor)))
        c = client(tmp_path, pki, a.port)
        assert c.phone_home("run").returncode == 1
        assert len(a.requests) < 20 and len(b.requests) < 20 and did(c) == []


# proves: PH-120 PH-141 PH-145 PH-150
def test_unsigned_data_of_a_stranger_is_not_taken(tmp_path, pki, good):
    other = Pki(tmp_path / "other", "other")
    with Double(content_info(onboarding(CONFIG)), *other.issue("stranger")) as s:
        # Configured: its certificate must be good.
        c = client(tmp_path / "c", pki, s.port)
        assert c.phone_home("run").returncode == 1 and did(c) == [] and s.requests == []
        # By DHCP: it may have any, but then what it says must be signed.
        write(c.path("leases", "eth0"), f'lease {{\n  interface "eth0";\n  option v4-sztp-redirect '
                                        f'"https://localhost:{s.port}/";\n}}\n')
        c.config["sources"] = ["dhcp"]
        c.save()
        p = c.phone_home("run")
        assert p.returncode == 1 and did(c) == [] and s.reports == []
        asked = json.loads(s.requests[0]["body"])["ietf-sztp-bootstrap-server:input"]
        assert set(asked) == {"signed-data-preferred", "nonce"}  # not what the device is (PH-145)


def voucher(folder, masa, pinned_cert, serial="SN1"):
    """A voucher that names the owner's authority."""
    der = openssl("x509", "-in", pinned_cert, "-outform", "DER")
    import base64
    return signed({"ietf-voucher:voucher": {
        "created-on": "2024-01-01T00:00:00Z", "expires-on": "2050-01-01T00:00:00Z", "assertion": "verified",
        "serial-number": serial, "pinned-domain-cert": base64.b64encode(der).decode()}}, *masa, folder,
        oid="1.2.840.113549.1.9.16.1.40")


def owner_certificate(pki, cert, folder):
    chain, out = os.path.join(str(folder), "chain.pem"), os.path.join(str(folder), "owner.cms")
    with open(chain, "w", encoding="ascii") as f:
        f.write(open(cert, encoding="ascii").read() + open(pki.cert, encoding="ascii").read())
    openssl("crl2pkcs7", "-nocrl", "-certfile", chain, "-outform", "DER", "-out", out)
    return open(out, "rb").read()


# proves: PH-142 PH-163 PH-130 PH-306
@pytest.mark.parametrize("oid", ["1.2.840.113549.1.9.16.1.43", "1.2.840.113549.1.7.1"])  # the second: id-data
def test_signed_data_on_a_medium(tmp_path, pki, oid):
    owner, masa = pki.issue("owner"), Pki(tmp_path / "masa", "masa")
    signer = masa.issue("voucher-signer")
    image, medium = os.urandom(100_000), str(tmp_path / "medium")
    c = Client(tmp_path / "c", hooks=HOOKS, **{"voucher-anchors": masa.cert, "sources": ["removable-storage"],
                                               "storage": {"mounts": [medium]}})
    write(c.path("version"), "2.0\n")
    data = onboarding(CONFIG, image={
        "os-version": "2.0", "download-uri": ["file:///disk2:/EN9/SN1/images/i.tar"], "image-verification": [
            {"hash-algorithm": "ietf-sztp-conveyed-info:sha-256",
             "hash-value": ":".join(sha256(image)[8:][i:i + 2] for i in range(0, 64, 2))}] * 2})
    folder = medium + "/EN9/SN1/bootstrapping-data/"
    write(medium + "/EN9/SN1/images/i.tar", image)
    write(folder + "conveyed-information.cms", signed(data, *owner, tmp_path, oid))
    write(folder + "owner-certificate.cms", owner_certificate(pki, owner[0], tmp_path))
    # For another device, of nobody we know, without: nothing happens.
    for bad in (voucher(tmp_path, signer, pki.cert, "SN2"), voucher(tmp_path, owner, pki.cert), b"junk", None):
        path = folder + "ownership-voucher.vcj"
        if bad is None:
            os.unlink(path)
        else:
            write(path, bad)
        p = c.phone_home("run")
        assert p.returncode == 1 and did(c) == [], p.stderr
    write(folder + "ownership-voucher.vcj", voucher(tmp_path, signer, pki.cert))
    p = c.phone_home("run")
    assert p.returncode == 0, p.stderr
    assert text(c, "applied") == CONFIG and did(c)[0].startswith("apply")
    # From the medium's image.
    c.phone_home("zeroize", "--yes")
    write(c.path("version"), "1.0\n")
    os.unlink(c.path("did"))
    p = subprocess.Popen([binary("weft-phone-home"), "-c", c.path("config.json"), "daemon"],
                         stderr=subprocess.DEVNULL)
    until = time.time() + 120
    while "reboot" not in did(c) and time.time() < until:
        time.sleep(0.1)
    p.kill()
    p.wait()
    assert did(c) == ["install 2.0", "reboot"] and open(c.path("slot"), "rb").read() == image


def test_nothing_goes_on_when_it_cannot_be_recorded(tmp_path, pki, good):
    """The disk of the state is full: the run ends, and goes on when there is room."""
    mount = f"mount -t tmpfs -o size=256k none {tmp_path}/c/state && head -c 248k /dev/zero >{tmp_path}/c/state/filler"
    with Double(content_info(onboarding(CONFIG, pre="#!/bin/sh\n" + "#" * 20000 + "\n")), *good) as s:
        c = client(tmp_path / "c", pki, s.port,
                   prefix=["unshare", "-m", "sh", "-c", mount + "; \"$0\" \"$@\"; rc=$?; rm -f " +
                           f"{tmp_path}/c/state/filler; \"$0\" \"$@\" && echo second; exit $rc"])
        p = c.phone_home("run")
        assert p.returncode == 1 and "its state can't be kept" in p.stderr, p.stderr
        assert p.stdout == "second\n" and text(c, "applied") == CONFIG


def test_the_daemon_tells_what_it_does_and_stops(tmp_path, pki, good):
    with Double(None, *good) as s:
        c = client(tmp_path, pki, s.port)
        p = subprocess.Popen([binary("weft-phone-home"), "-c", c.path("config.json"), "daemon"],
                             stderr=subprocess.PIPE, text=True)
        try:
            until = time.time() + 120
            while len(s.requests) < 3 and time.time() < until:
                time.sleep(0.1)
            assert len(s.requests) >= 3  # it comes again
            status = json.loads(c.phone_home("status", "-j").stdout)
            assert status["enabled"] and status["serial-number"] == "SN1" and status["platform"] == "hooks"
            shown = c.phone_home("status").stdout
            assert "bootstrapping  on" in shown and "SN1" in shown
            # Another one beside it is refused.
            second = c.phone_home("run")
            assert second.returncode == 1 and "another weft-phone-home" in second.stderr
            assert c.phone_home("stop").returncode == 0
            # Factory default: what is under way ends, and nothing of it stays.
            assert c.phone_home("zeroize", "--yes").returncode == 0
            until = time.time() + 60
            while "zeroize" not in did(c) and time.time() < until:
                time.sleep(0.1)
            assert "zeroize" in did(c) and os.listdir(c.path("state")) == ["lock"]
        finally:
            p.send_signal(signal.SIGTERM)
            out = p.communicate(timeout=60)[1]
        print(out)
        assert p.returncode == 0 and "Sanitizer" not in out, out
    assert c.phone_home("stop").returncode == 2


# proves: PH-153
def test_a_new_lease_ends_the_pause(tmp_path, pki, good):
    """dhclient's hook wakes the client that waits, and only when the lease says something new."""
    with Double(content_info(onboarding(CONFIG)), *good) as s:
        c = client(tmp_path, pki, **{"limits": {"pause-min-s": 300, "pause-max-s": 300}, "sources": ["dhcp"], "dhcp": {
            "leases": [str(tmp_path / "leases/*")]}, "server-anchors": pki.cert})
        log = str(tmp_path / "log")
        with open(log, "w", encoding="ascii") as f:
            p = subprocess.Popen([binary("weft-phone-home"), "-c", c.path("config.json"), "daemon"], stderr=f)

        def until(what):
            end = time.time() + 120
            while not what() and p.poll() is None and time.time() < end:
                time.sleep(0.05)
            assert what(), text(c, "log")

        def lease(uri, expiry):
            hook = os.path.join(TOP, "agents/phone-home/dhclient-hook")
            env = {"WEFT_LEASES": str(tmp_path / "leases"), "reason": "BOUND", "interface": "eth0", "new_expiry": expiry,
                   "new_v4_sztp_redirect": uri, "PATH": os.environ["PATH"],
                   "WEFT_PHONE_HOME": f"{binary('weft-phone-home')} -c {c.path('config.json')}"}
            subprocess.run(["sh", "-c", f"set -e; . {hook}; wait"], check=True, env=env)
        try:
            until(lambda: "looks again in" in text(c, "log"))
            lease(f"https://localhost:{s.port}", "4000000000")
            until(lambda: len(s.requests) == 1)  # asked at once, not in five minutes
            until(lambda: text(c, "log").count("looks again in") == 2)
            lease(f"https://localhost:{s.port}", "4000000099")  # renewed: no news
            assert text(c, "log").count("is woken") == 1
            assert c.phone_home("wake").returncode == 0
            until(lambda: len(s.requests) == 2)
        finally:
            p.send_signal(signal.SIGTERM)
            assert p.wait(60) == 0, text(c, "log")
    assert c.phone_home("wake").returncode == 2


BAD = [
    ({"state": "relative"}, "/state: must be an absolute path"),
    ({"stat": "/x"}, "/stat: no such member here"),
    ({"state": 7}, "/state: must be a string"),
    ({"platform": {"type": "toaster"}}, "/platform/type: must be one of linux-stack, hooks"),
    ({"platform": {"type": "hooks", "folder": "/x"}}, "/platform/serial-number: either"),
    ({"servers": ["http://a"]}, "/servers: [0]: must be https://"),
    ({"servers": ["https://a"]}, "/server-anchors: is missing"),
    ({"sources": ["dns", "dns"]}, "/sources: [1]: is there twice"),
    ({"sources": ["air"]}, "/sources: [0]: is none of the words"),
    ({"dns": {"servers": ["x"]}}, "/dns/servers: [0]: must be an address"),
    ({"dns": {"port": 0}}, "/dns/port: must be a whole number from 1 to 65535"),
    ({"dhcp": {"precedence": "x"}}, "/dhcp/precedence: must be one of phone-home"),
    ({"storage": {"mounts": ["usb"]}}, "/storage/mounts: [0]: must be an absolute path"),
    ({"limits": {"redirects": 65}}, "/limits/redirects: must be a whole number from 1 to 64"),
    ({"limits": {"pause-min-s": 10, "pause-max-s": 5}}, "/limits/pause-max-s: must not be below"),
    ({"identity": {"certificate": "/x"}}, "/identity/key: is missing"),
    ({"voucher-assertions": ["x"]}, "/voucher-assertions: [0]"),
]


@pytest.mark.parametrize("change,error", BAD)
def test_configurations_that_are_refused(tmp_path, change, error):
    c = Client(tmp_path)
    assert c.phone_home("check-config").returncode == 0
    c.config.update(change)
    c.save()
    p = c.phone_home("check-config")
    assert p.returncode == 1 and c.path("config.json") + error in p.stderr, p.stderr


def test_what_is_missing_is_named(tmp_path, pki):
    c = Client(tmp_path)
    assert "can't be opened" in c.command("weft-phone-home", "-c", "/no/file", "run").stderr
    write(c.path("config.json"), "{")
    assert "line 1" in c.phone_home("check-config").stderr
    for key, value in (("server-anchors", "/no/anchors"), ("voucher-anchors", c.path("config.json")),
                       ("identity", {"certificate": "/no/cert", "key": "/no/key"}),
                       ("identity", {"certificate": pki.cert, "key": pki.issue("x")[1]})):
        d = Client(tmp_path, **{key: value})
        p = d.phone_home("run")
        assert p.returncode == 1 and p.stderr.startswith("weft-phone-home: "), p.stderr
    d = Client(tmp_path)
    write(d.path("state", "enabled"), "maybe\n")
    assert "must be true or false" in d.phone_home("run").stderr
    assert c.command("weft-phone-home", "dance").returncode == 2
    assert c.command("weft-phone-home", "--version").stdout.startswith("weft-phone-home ")
