# SPDX-License-Identifier: Apache-2.0
"""What the tests of onboarding share: certificates by openssl, listeners, requests of devices."""
import base64
import datetime
import json
import os
import re
import socket
import subprocess
import sys
import time

import requests

from weftd_lab import TOP

sys.path.insert(0, os.path.join(TOP, "lab"))
from weftlab import wait_until  # noqa: E402

GET = "/restconf/operations/ietf-sztp-bootstrap-server:get-bootstrapping-data"
TELL = "/restconf/operations/ietf-sztp-bootstrap-server:report-progress"
OLD = "/restconf/data/juniper-zerotouch-bootstrap-server:devices/device="
JSON = "application/yang-data+json"
XML = "application/yang-data+xml"
CI_JSON = "2a864886f70d010910012b"
CI_XML = "2a864886f70d010910012a"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(*args, data=None):
    r = subprocess.run(args, check=False, capture_output=True, input=data)
    assert r.returncode == 0, (args, r.stderr.decode(errors="replace"))
    return r.stdout


EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Pki:
    """Authorities (a factory's, an owner's, a MASA's) and what they gave out; by openssl."""

    def __init__(self, folder):
        self.dir = str(folder)
        self.root("factory", "Factory CA")

    def path(self, name):
        return os.path.join(self.dir, name)

    def text(self, name):
        with open(self.path(name), encoding="ascii") as f:
            return f.read()

    def root(self, name, cn):
        run("openssl", "req", "-x509", *EC, "-days", "30", "-subj", f"/CN={cn}", "-keyout", self.path(f"{name}.key"),
            "-out", self.path(f"{name}.pem"))

    def issue(self, name, subject, by):
        run("openssl", "req", *EC, "-subj", subject, "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.csr"))
        run("openssl", "x509", "-req", "-in", self.path(f"{name}.csr"), "-CA", self.path(f"{by}.pem"), "-CAkey",
            self.path(f"{by}.key"), "-CAcreateserial", "-days", "30", "-out", self.path(f"{name}.pem"))
        return self.path(f"{name}.pem"), self.path(f"{name}.key")

    def device(self, name, subject):
        return self.issue(name, subject, "factory")

    def der(self, name):
        return run("openssl", "x509", "-in", self.path(f"{name}.pem"), "-outform", "DER")

    def voucher(self, serial, pinned, masa, **leaves):
        """A voucher in CMS, base64."""
        now = datetime.datetime.now(datetime.timezone.utc)
        v = {"created-on": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "assertion": "verified", "serial-number": serial,
             "pinned-domain-cert": base64.b64encode(self.der(pinned)).decode(), **leaves}
        der = run("openssl", "cms", "-sign", "-nodetach", "-binary", "-outform", "DER", "-signer", self.path(f"{masa}.pem"),
                  "-inkey", self.path(f"{masa}.key"), "-econtent_type", "1.2.840.113549.1.9.16.1.40",
                  data=json.dumps({"ietf-voucher:voucher": v}).encode())
        return base64.b64encode(der).decode()


class Door:
    """A listener, and how to ask there."""

    def __init__(self, w, port):
        self.w, self.port, self.ca, self.base = w, port, os.path.join(w.data, "pki/ca.pem"), f"https://localhost:{port}"

    def ask(self, method, path, body=None, auth=None, cert=None, **headers):
        h = {k.replace("_", "-"): v for k, v in headers.items()}
        with requests.Session() as s:
            s.trust_env = False
            return s.request(method, self.base + path, data=body, auth=auth, cert=cert, headers=h, verify=self.ca,
                             timeout=60)

    def get(self, auth=None, cert=None, **leaves):
        body = {"ietf-sztp-bootstrap-server:input": {k.replace("_", "-"): v for k, v in leaves.items()}}
        return self.ask("POST", GET, json.dumps(body), auth, cert, Content_Type=JSON)

    def tell(self, kind, auth=None, cert=None, message="", **more):
        body = {"ietf-sztp-bootstrap-server:input": {"progress-type": kind, "message": message, **more}}
        return self.ask("POST", TELL, json.dumps(body), auth, cert, Content_Type=JSON)


def put(w, kind, name, **leaves):
    """One object of the configuration."""
    key = "serial-number" if kind == "device" else "name"
    body = {f"weft-onboard:{kind}": [{key: name, **{k.replace("_", "-"): v for k, v in leaves.items()}}]}
    r = w.ask("PUT", f"weft-onboard:onboard/{kind}={name}", body)
    assert r.status in (201, 204), r.text
    return r


def listen(w, name, **leaves):
    port = free_port()
    put(w, "listener", name, **{"address": "127.0.0.1", "port": port, **leaves})
    wait_until(f"listener {name}", 20, lambda: re.search(rf"^{name} +open ", w.cli("show onboard listeners"), re.M))
    return Door(w, port)


def device(w, serial):
    """What is known of it."""
    return w.ask("GET", f"weft-onboard:onboard/state/device={serial}").json()["weft-onboard:device"][0]


def events(w, serial):
    """All events about it that the controller has kept: [(name without module, leaves)]."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    r = w.ask("GET", f"/streams/NETCONF/json?start-time=2020-01-01T00:00:00Z&stop-time={now}", accept="text/event-stream")
    found = []
    for line in r.text.splitlines():
        if line.startswith("data: "):
            found += json.loads(line[6:])["ietf-restconf:notification"].items()
    return [(k.partition(":")[2], v) for k, v in found
            if k.startswith("weft-onboard:device-") and v.get("serial-number") == serial]


def tlv(der, at=0):
    """One DER element: (tag, content, place behind it)."""
    tag, n, at = der[at], der[at + 1], at + 2
    if n & 0x80:
        count = n & 0x7F
        n, at = int.from_bytes(der[at:at + count], "big"), at + count
    return tag, der[at:at + n], at + n


def unwrap(ci):
    """(OID in hex, content) of a bare ContentInfo in base64."""
    _, seq, _ = tlv(base64.b64decode(ci))
    _, oid, at = tlv(seq)
    _, inner, _ = tlv(seq, at)
    _, content, _ = tlv(inner)
    return oid.hex(), content


def onboarding(response):
    """(output, onboarding information) of an unsigned answer in JSON."""
    assert response.status_code == 200, response.text
    out = response.json()["ietf-sztp-bootstrap-server:output"]
    oid, content = unwrap(out["conveyed-information"])
    assert oid == CI_JSON
    return out, json.loads(content)["ietf-sztp-conveyed-info:onboarding-information"]


def text64(s):
    return base64.b64decode(s).decode()
