# SPDX-License-Identifier: Apache-2.0
"""weftd as a process: started, asked over every way in, killed, started again."""
import base64
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.path.join(TOP, os.environ.get("WEFT_BUILD", "build"))
JSON, XML = "application/yang-data+json", "application/yang-data+xml"
RC = "urn:ietf:params:xml:ns:yang:ietf-restconf"


def binary(*path):
    return os.path.join(BUILD, *path)


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)

    @property
    def errors(self):
        return self.json()["ietf-restconf:errors"]["error"]

    def __repr__(self):
        return f"<{self.status} {self.body[:600]!r}>"


class LocalConnection(http.client.HTTPConnection):
    """HTTP/1.1 over the daemon's local socket, where our user id says who we are."""

    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Weftd:
    """One daemon with its own folder, on ports of its own choice."""

    def __init__(self, folder, program="weftd", env=None, options=(), address="127.0.0.1", within=()):
        """`within`: words before the command, such as `ip netns exec NAME`, which become the daemon."""
        self.folder = str(folder)
        self.data = os.path.join(self.folder, "data")
        # The name of a local socket has at most 107 bytes, pytest's folders may be longer.
        self.socket = f"/tmp/weft-{os.getpid()}-{abs(hash(self.folder)) % 10**9}.sock"
        self.port_file = os.path.join(self.folder, "ports")
        self.log_file = os.path.join(self.folder, "log")
        self.program = binary("src", "weftd", program) if "/" not in program else program
        # What was freed is kept by ASan for a while; less of it, so that memory can be measured.
        asan = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=8"
        self.env, self.options = {"ASAN_OPTIONS": asan.lstrip(":"), **(env or {})}, list(options)
        self.address, self.within = address, list(within)
        self.process, self.ports, self.fixed = None, {}, {}
        self.starts = 0
        os.makedirs(self.folder, exist_ok=True)

    # ---- the process -------------------------------------------------------------------------
    def start(self, seconds=120):
        """Ports are chosen at the first start and kept, as they are for peers that come again."""
        if os.path.exists(self.port_file):
            os.unlink(self.port_file)
        at = {k: f"{self.address}:{self.fixed.get(k, 0)}" for k in ("tls", "apmi", "apmi-clear")}
        argv = [self.program, "--data", self.data, "--listen", at["tls"], "--listen-apmi", at["apmi"],
                "--listen-apmi-clear-text", at["apmi-clear"], "--unix", self.socket,
                "--port-file", self.port_file, *self.options]
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(self.within + argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **self.env})
        self.starts += 1
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"weftd ended with {self.process.returncode}:\n{self.log()[-4000:]}")
            if os.path.exists(self.port_file):
                with open(self.port_file, encoding="ascii") as f:
                    words = f.read().split()
                if words[-1:] == ["ready"]:
                    self.ports = {k: int(p) for k, p in zip(words[::2], words[1::2]) if p.isdigit()}
                    self.fixed = self.fixed or dict(self.ports)
                    return self
            time.sleep(0.01)
        raise AssertionError(f"weftd was not ready within {seconds} s:\n{self.log()[-4000:]}")

    def kill_now(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)

    def kill(self):
        self.kill_now()
        if self.process is not None:
            self.process.wait()

    def stop(self, seconds=30):
        """An orderly end; under a sanitizer also the proof that nothing was leaked."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"weftd did not stop within {seconds} s:\n{self.log()[-2000:]}") from None
        assert self.process.returncode == 0, f"status {self.process.returncode}:\n{self.log()[-6000:]}"

    def alive(self):
        return self.process.poll() is None

    def log(self):
        with open(self.log_file, encoding="utf-8", errors="replace") as f:
            return f.read()

    def rss(self):
        """Resident memory in bytes."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) * 1024

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.stop()
            else:
                self.kill()
        finally:
            if os.path.exists(self.socket):
                os.unlink(self.socket)

    # ---- HTTP --------------------------------------------------------------------------------
    def connection(self, timeout=60):
        return LocalConnection(self.socket, timeout)

    def tls_connection(self, timeout=60):
        context = ssl.create_default_context(cafile=os.path.join(self.data, "pki", "ca.pem"))
        return http.client.HTTPSConnection("localhost", self.ports["tls"], context=context,
                                           timeout=timeout)

    def password(self):
        with open(os.path.join(self.data, "admin-password"), encoding="ascii") as f:
            return f.read().strip()

    def ask(self, method, path, body=None, media=JSON, accept=None, conn=None, **headers):
        """One request; `path` below /restconf/data unless it begins with a slash."""
        own = conn is None
        conn = conn or self.connection()
        h = {"accept": accept or (media if media in (JSON, XML) else JSON)}
        if body is not None:
            h["content-type"] = media
            if not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            if isinstance(body, str):
                body = body.encode()
        h.update({k.replace("_", "-"): v for k, v in headers.items()})
        conn.request(method, path if path.startswith("/") else "/restconf/data/" + path, body, h)
        r = conn.getresponse()
        reply = Reply(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read())
        if own:
            conn.close()
        return reply

    def ask_tls(self, *args, **kw):
        """The same over TLS with the administrator's password."""
        basic = base64.b64encode(f"admin:{self.password()}".encode()).decode()
        return self.ask(*args, conn=self.tls_connection(), authorization="Basic " + basic, **kw)

    def metric(self, name):
        text = self.ask("GET", "/metrics", accept="*/*").text
        return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M).group(1))

    def head(self):
        """Index of the last log entry."""
        return int(self.metric("weft_log_head"))

    # ---- the command line --------------------------------------------------------------------
    def cli(self, *lines, status=0, keep_going=False):
        """Runs the lines in one session of the real terminal program; returns what it printed."""
        r = self.cli_raw("\n".join(lines).encode() + b"\n", keep_going)
        assert status is None or r.returncode == status, \
            f"exit status {r.returncode}:\n{r.stdout}\n{r.stderr}"
        return r.stdout + r.stderr

    def cli_raw(self, data, keep_going=False):
        argv = [binary("cli", "weft"), "--no-color"] + (["-k"] if keep_going else [])
        r = subprocess.run(argv, input=data, capture_output=True, timeout=120, check=False,
                           env={**os.environ, "WEFT_SOCKET": self.socket})
        r.stdout, r.stderr = (x.decode(errors="replace") for x in (r.stdout, r.stderr))
        return r

    def session(self):
        return CliSession(self)

    # ---- maintenance -------------------------------------------------------------------------
    def certificate(self, name, folder=None, user=False):
        """A client certificate of the daemon's own authority, for a gateway or for a user; returns
        the folder."""
        folder = folder or os.path.join(self.folder, f"cert-{name}")
        subprocess.run([self.program, "issue", name, folder, "--data", self.data, "--force"] +
                       (["--user"] if user else []), check=True, capture_output=True)
        return folder

    def check(self):
        """`weftd check` on the store of a daemon that does not run."""
        return subprocess.run([self.program, "check", "--data", self.data], capture_output=True,
                              text=True, check=False)


class CliSession:
    """An interactive session as the terminal program holds it: for completion and help."""

    def __init__(self, weftd):
        self.weftd = weftd
        r = weftd.ask("POST", "/cli/v1/sessions", {"interactive": True}, media="application/json")
        assert r.status in (200, 201), r
        self.base = "/cli/v1/sessions/" + r.json()["id"]

    def post(self, what, **body):
        return self.weftd.ask("POST", self.base + "/" + what, body, media="application/json",
                              accept="*/*")

    def run(self, line):
        r = self.post("execute", line=line)
        assert r.status == 200, r
        return [json.loads(x) for x in r.text.splitlines()]

    def complete(self, line):
        r = self.post("complete", line=line, cursor=len(line))
        assert r.status == 200, r
        return r.json()

    def words(self, line):
        """word -> help of what may stand at the end of `line`"""
        return {i["word"]: i.get("help") for i in self.complete(line)["items"]}
