# SPDX-License-Identifier: Apache-2.0
"""A bootstrap server of RFC 8572 as small as can be, and what it hands out, made by openssl."""
import base64
import json
import os

from phone_home import Server, openssl

GET = "/restconf/operations/ietf-sztp-bootstrap-server:get-bootstrapping-data"
TELL = "/restconf/operations/ietf-sztp-bootstrap-server:report-progress"
JSON = "application/yang-data+json"


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
