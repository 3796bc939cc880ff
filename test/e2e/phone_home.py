# SPDX-License-Identifier: Apache-2.0
"""The phone-home client's surroundings: a PKI by openssl, servers that behave as a test says, its files."""
import hashlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


def binary(name):
    return os.path.join(TOP, os.environ.get("WEFT_BUILD", "build"), "agents", "phone-home", name)


def openssl(*args, data=None):
    return subprocess.run(["openssl", *map(str, args)], input=data, capture_output=True, check=True).stdout


class Pki:
    """One authority and what it issues, as PEM files in a folder."""

    def __init__(self, folder, name="ca"):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.cert, self.key = self.path(name + ".pem"), self.path(name + ".key")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
                "-subj", f"/CN=Test {name}", "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
                "keyUsage=critical,keyCertSign,cRLSign", "-keyout", self.key, "-out", self.cert)

    def path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, name, subject=None, names=("DNS:localhost", "IP:127.0.0.1", "IP:::1"), start=None, end=None,
              usage="digitalSignature"):
        """(certificate, key) of an end entity."""
        key, cert, csr, ext = (self.path(name + s) for s in (".key", ".pem", ".csr", ".ext"))
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                subject or f"/CN={name}", "-keyout", key, "-out", csr)
        with open(ext, "w", encoding="ascii") as f:
            f.write("basicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
                    f"keyUsage=critical,{usage}\n" + (f"subjectAltName={','.join(names)}\n" if names else ""))
        if start:  # `x509 -req` of Debian 12's openssl takes days only
            self.issue_by_ca(csr, ext, cert, start, end)
        else:
            openssl("x509", "-req", "-in", csr, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days",
                    "3650", "-extfile", ext, "-out", cert)
        return cert, key

    def issue_by_ca(self, csr, ext, cert, start, end):
        base = self.path("ca-db")
        for name, text in ((".txt", ""), (".cnf", f"[ca]\ndefault_ca=d\n[d]\ndatabase={base}.txt\nnew_certs_dir="
                                          f"{self.folder}\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n"
                                          "unique_subject=no\n[p]\ncommonName=supplied\nserialNumber=optional\n")):
            with open(base + name, "w", encoding="ascii") as f:
                f.write(text)
        openssl("ca", "-batch", "-config", base + ".cnf", "-in", csr, "-cert", self.cert, "-keyfile", self.key,
                "-startdate", start, "-enddate", end, "-extfile", ext, "-out", cert, "-notext")

    def anchor(self):
        """The authority as RFC 8572 has it: a degenerate SignedData, in a file."""
        path = self.path("anchor.cms")
        openssl("crl2pkcs7", "-nocrl", "-certfile", self.cert, "-outform", "DER", "-out", path)
        return path


class Server(http.server.ThreadingHTTPServer):
    """HTTPS (or HTTP) on a free port of `address`; `answer(handler)` does what it likes. Keeps the requests, and with
    `keep` the connections, which it counts: `keep` is how many requests each takes."""
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answer, cert=None, key=None, client_ca=None, address="127.0.0.1", port=0, keep=1):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.requests, self.connections = [], 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                server.connections += 1
                self.left = keep

            def handle_any(self):
                n = int(self.headers.get("Content-Length") or 0)
                self.body = self.rfile.read(n)
                peer = self.connection.getpeercert() if cert else None
                server.requests.append({"method": self.command, "path": self.path, "body": self.body, "peer": peer,
                                        "headers": {k.lower(): v for k, v in self.headers.items()}})
                try:
                    answer(self)
                except (OSError, ssl.SSLError):
                    pass
                self.left -= 1
                self.close_connection = self.left <= 0  # without a word: the client finds out

            do_GET = do_POST = handle_any

            def send(self, status, body=b"", **headers):
                self.send_response(status)
                for k, v in headers.items():
                    self.send_header(k.replace("_", "-"), v)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        super().__init__((address, port), Handler)
        self.port = self.server_address[1]
        if cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert, key)
            if client_ca:
                context.load_verify_locations(client_ca)
                context.verify_mode = ssl.CERT_OPTIONAL
            self.context = context
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def get_request(self):
        conn, peer = super().get_request()
        if hasattr(self, "context"):  # the handshake is the handler's thread's
            conn = self.context.wrap_socket(conn, server_side=True, do_handshake_on_connect=False)
        return conn, peer

    def handle_error(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    return path


def sha256(data):
    return "sha-256:" + hashlib.sha256(data).hexdigest()


class Client:
    """The client's folder and configuration; `hooks` are shell scripts by name."""

    def __init__(self, folder, serial="SN1", hooks=None, prefix=(), **config):
        self.dir = str(folder)
        self.prefix = list(prefix)  # "ip netns exec NAME"
        os.makedirs(self.path("hooks"), exist_ok=True)
        os.makedirs(self.path("state"), mode=0o700, exist_ok=True)
        for name, text in (hooks or {}).items():
            os.chmod(write(self.path("hooks", name), "#!/bin/sh\n" + text), 0o755)
        self.config = {
            "state": self.path("state"), "socket": self.path("socket"),
            "platform": {"type": "hooks", "folder": self.path("hooks"), "serial-number": serial, "model": "box",
                         "os-name": "weft-os", "os-version-file": write(self.path("version"), "1.0\n")},
            "dhcp": {"leases": [self.path("leases", "*")]},
            "dns": {"resolv-conf": self.path("resolv.conf"), "multicast": False},
            "limits": {"pause-min-s": 1, "pause-max-s": 2}}
        self.config.update(config)
        self.save()
        self.process = None

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def save(self):
        write(self.path("config.json"), json.dumps(self.config))

    def command(self, program, *args, env=None, timeout=240):
        environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=1", UBSAN_OPTIONS="halt_on_error=1", **(env or {}))
        return subprocess.run([*self.prefix, binary(program), *map(str, args)], capture_output=True, text=True,
                              env=environment, timeout=timeout, check=False)

    def probe(self, *args, env=None):
        p = self.command("phone-home-probe", self.path("config.json"), *args, env=env)
        assert p.returncode == 0, p.stderr
        assert "Sanitizer" not in p.stderr, p.stderr
        return json.loads(p.stdout)

    def phone_home(self, *args, env=None):
        p = self.command("weft-phone-home", "-c", self.path("config.json"), *args, env=env)
        assert "Sanitizer" not in p.stderr, p.stderr
        return p
