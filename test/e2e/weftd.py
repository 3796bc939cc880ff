# SPDX-License-Identifier: Apache-2.0
"""A weftd of one's own for a test: started in a fresh folder, stopped with its module.

WEFT_BUILD names the build directory (default: build).
"""
import base64
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time

import requests

BUILD = os.environ.get("WEFT_BUILD", "build")
JSON = "application/yang-data+json"
XML = "application/yang-data+xml"
TOYS = "/data/weft-toy:toys"


def box(name, **more):
    return {"weft-toy:box": [{"name": name, **more}]}


def toy(maker, number, **more):
    return {"weft-toy:toy": [{"maker": maker, "number": number, **more}]}


class Weftd:
    """`toy`: with the toy module. `args`: further options."""

    def __init__(self, folder, toy=True, args=()):
        self.dir = str(folder)
        self.data = os.path.join(self.dir, "data")
        self.program = os.path.join(BUILD, "src/weftd", "weftd-toy" if toy else "weftd")
        self.args = list(args)
        self.p = None
        self.start()

    def start(self):
        port_file = os.path.join(self.dir, "ports")
        if os.path.exists(port_file):
            os.unlink(port_file)
        self.log = open(os.path.join(self.dir, "log"), "ab")
        env = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:quarantine_size_mb=1",
                   UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1")
        self.p = subprocess.Popen(
            [self.program, "--data", self.data, "--listen", "127.0.0.1:0", "--listen-apmi", "none",
             "--port-file", port_file, *self.args], stdout=self.log, stderr=self.log, env=env)
        until = time.time() + 120
        while not (os.path.exists(port_file) and "ready" in open(port_file).read()):
            assert self.p.poll() is None and time.time() < until, self.log_text()
            time.sleep(0.05)
        words = [line.split(None, 1) for line in open(port_file).read().splitlines()]
        self.ports = {w[0]: int(w[1]) for w in words if len(w) == 2 and w[1].isdigit()}
        self.port = self.ports["tls"]
        self.unix = os.path.join(self.data, "weft.sock")
        self.ca = os.path.join(self.data, "pki/ca.pem")
        self.password = open(os.path.join(self.data, "admin-password")).read().strip()
        self.base = f"https://localhost:{self.port}"
        self.http = self.session()

    def session(self, user="admin", password=None):
        s = requests.Session()
        s.trust_env = False  # REQUESTS_CA_BUNDLE would win
        s.verify = self.ca
        if user:
            s.auth = (user, password or self.password)
        return s

    def stop(self):
        """Ends it politely; sanitizers have their say in the exit status."""
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGTERM)
        status = self.p.wait(timeout=60)
        assert status == 0, self.log_text()

    def alive(self):
        return self.p.poll() is None

    def log_text(self):
        return open(os.path.join(self.dir, "log"), errors="replace").read()[-6000:]

    def rss(self):
        """Bytes of memory in use."""
        with open(f"/proc/{self.p.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) * 1024

    def request(self, method, path, body=None, headers=None, session=None, **kw):
        """path: below /restconf unless it begins with "//". body: dict, str or bytes."""
        url = self.base + (path[1:] if path.startswith("//") else "/restconf" + path)
        h = {}
        if body is not None:
            h["Content-Type"] = JSON
            if not isinstance(body, (str, bytes)):
                body = json.dumps(body)
            if isinstance(body, str):
                body = body.encode()
                h["Content-Type"] = XML if body.lstrip()[:1] == b"<" else JSON
        h.update(headers or {})
        return (session or self.http).request(method, url, data=body, headers=h, timeout=60, **kw)

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def put(self, path, body, **kw):
        return self.request("PUT", path, body, **kw)

    def post(self, path, body=None, **kw):
        return self.request("POST", path, body, **kw)

    def patch(self, path, body, **kw):
        return self.request("PATCH", path, body, **kw)

    def delete(self, path, **kw):
        return self.request("DELETE", path, **kw)

    def head_index(self):
        """Number of the newest commit: changes with every change of configuration."""
        return self.get("/data?content=config&depth=1").headers["etag"]

    def basic(self):
        """Value of an Authorization header."""
        return "Basic " + base64.b64encode(f"admin:{self.password}".encode()).decode()

    def tls_socket(self, alpn="http/1.1"):
        c = ssl.create_default_context(cafile=self.ca)
        c.set_alpn_protocols([alpn])
        s = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        return c.wrap_socket(s, server_hostname="localhost")


def error_of(response):
    """The one error of a response: (status, tag, path or None, message)."""
    if "xml" in response.headers.get("content-type", ""):
        import xml.etree.ElementTree as et
        ns = {"rc": "urn:ietf:params:xml:ns:yang:ietf-restconf"}
        e = et.fromstring(response.content).find("rc:error", ns)
        text = lambda n: (e.find(f"rc:{n}", ns).text if e.find(f"rc:{n}", ns) is not None else None)
        return response.status_code, text("error-tag"), text("error-path"), text("error-message")
    body = response.json()
    (e,) = body["ietf-restconf:errors"]["error"]
    assert e["error-type"] in ("transport", "rpc", "protocol", "application")
    return response.status_code, e["error-tag"], e.get("error-path"), e["error-message"]


async def exchange(reader, writer, method, path, body=b"", **headers):
    """One HTTP/1.1 request on a connection that stays open: (status, headers, body)."""
    h = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
    writer.write((f"{method} /restconf{path} HTTP/1.1\r\nhost: localhost\r\n"
                  f"content-length: {len(body)}\r\n{h}\r\n").encode() + body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    text = await reader.readexactly(int(fields.get("content-length", 0)))
    return int(head[0].split()[1]), fields, text
