# SPDX-License-Identifier: Apache-2.0
"""Bootstrap servers as small as can be, and what they hand out, made by openssl."""
import base64
import hashlib
import json
import os
import xml.etree.ElementTree as et

from phone_home import Server, openssl

GET = "/restconf/operations/ietf-sztp-bootstrap-server:get-bootstrapping-data"
TELL = "/restconf/operations/ietf-sztp-bootstrap-server:report-progress"
JSON = "application/yang-data+json"
OLD_NS = "http://juniper.net/zerotouch-bootstrap-server"


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def der(tag, body):
    n = len(body)
    length = bytes([n]) if n < 128 else bytes([0x80 + len(x := n.to_bytes((n.bit_length() + 7) // 8, "big"))]) + x
    return bytes([tag]) + length + body


def content_info(document):
    """ContentInfo of id-ct-sztpConveyedInfoJSON around the document, as PH-130 has it."""
    oid = bytes.fromhex("060b2a864886f70d010910012b")
    return der(0x30, oid + der(0xa0, der(0x04, json.dumps(document).encode())))


def signed(document, cert, key, folder, oid="1.2.840.113549.1.9.16.1.43"):
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    path = os.path.join(str(folder), "to-sign")
    with open(path, "wb") as f:
        f.write(data)
    return openssl("cms", "-sign", "-nodetach", "-binary", "-econtent_type", oid, "-in", path, "-signer", cert,
                   "-inkey", key, "-outform", "DER")


def onboarding(config=None, handling="merge", pre=None, post=None, image=None):
    o = {}
    if image:
        o["boot-image"] = image
    if pre is not None:
        o["pre-configuration-script"] = b64(pre)
    if config is not None:
        o["configuration-handling"] = handling
        o["configuration"] = b64(config)
    if post is not None:
        o["post-configuration-script"] = b64(post)
    return {"ietf-sztp-conveyed-info:onboarding-information": o}


def redirect(*servers):
    """(address, port[, anchor in DER]) each."""
    entries = []
    for s in servers:
        entries.append({"address": s[0], "port": s[1], **({"trust-anchor": b64(s[2])} if len(s) > 2 else {})})
    return {"ietf-sztp-conveyed-info:redirect-information": {"bootstrap-server": entries}}


class Double(Server):
    """Answers get-bootstrapping-data with `data` (DER, or three of them; a callable is asked), notes reports."""

    def __init__(self, data, cert, key, level="verbose", **kw):
        self.data, self.level, self.reports, self.report_status = data, level, [], 204
        super().__init__(self.reply, cert, key, **kw)

    def reply(self, h):
        if h.path == TELL:
            self.reports.append(json.loads(h.body)["ietf-sztp-bootstrap-server:input"])
            h.send(self.report_status)
            return
        data = self.data(h) if callable(self.data) else self.data
        if h.path != GET or data is None:
            h.send(404, json.dumps({"ietf-restconf:errors": {"error": [
                {"error-type": "protocol", "error-tag": "invalid-value"}]}}).encode(), Content_Type=JSON)
            return
        out = {"reporting-level": self.level} if self.level else {}
        parts = data if isinstance(data, tuple) else (data,)
        for name, part in zip(("conveyed-information", "owner-certificate", "ownership-voucher"), parts):
            out[name] = b64(part)
        h.send(200, json.dumps({"ietf-sztp-bootstrap-server:output": out}).encode(), Content_Type=JSON)

    def types(self):
        return [r["progress-type"].split(":")[-1] for r in self.reports]


class OldDouble(Server):
    """What devices asked before RFC 8572: answers with what `data` gives for a serial number (XML; None: it is not known),
    notes notifications as (type, message, member), `member` as (number, serial number, role) or None."""

    def __init__(self, data, cert, key, **kw):
        self.data, self.told = data, []
        super().__init__(self.reply, cert, key, **kw)

    def reply(self, h):
        if h.command == "GET":
            data = self.data(h.path.split("device=")[-1])
            h.send(404 if data is None else 200, (data or "").encode(), Content_Type="application/yang.data+xml")
            return
        root = et.fromstring(h.body)
        of = {e.tag: e.text for e in root.iter()}
        member = tuple(of.get(f"{{{OLD_NS}}}{n}") for n in ("member-id", "serial-id", "role"))
        self.told.append((of[f"{{{OLD_NS}}}notification-type"], of[f"{{{OLD_NS}}}message"],
                          (int(member[0]), *member[1:]) if member[0] is not None else None))
        h.send(201)

    def types(self):
        return [t[0] for t in self.told]


def old_device(serial, config, image=None, members=None, strict=False, post=None):
    """The answer to it; `image`: (name, URL, bytes), `members`: serial numbers of a chassis, () for one that isn't said."""
    out = f'<device xmlns="{OLD_NS}"><unique-id>{serial}</unique-id>'
    if image:
        name, url, data = image
        out += (f"<boot-image><name>{name}</name><md5/><sha1>{hashlib.sha1(data).hexdigest()}</sha1><path>{url}</path>"
                "<signature/></boot-image>")
    out += f"<configuration><config>{config}</config></configuration>"
    out += f"<script>{b64(post)}</script>" if post else ""
    if members is not None:
        out += (f'<virtual-chassis xmlns="urn:openphonehome:params:xml:ns:vc:1">'
                f'{"<strict-provisioning/>" if strict else ""}'
                + "".join(f"<member><serial-id>{m}</serial-id></member>" for m in members) + "</virtual-chassis>")
    return out + "</device>"
