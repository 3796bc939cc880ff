# SPDX-License-Identifier: Apache-2.0
"""The HTTP server against foreign clients (curl, nghttp, h2load) and against peers that mean ill.

WEFT_BUILD names the build directory (default: build).
"""
import ctypes
import json
import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import time

import pytest

BUILD = os.environ.get("WEFT_BUILD", "build")
TESTD = os.path.join(BUILD, "src/net/net_testd")


class Testd:
    __test__ = False

    def __init__(self, folder, *limits):
        self.dir = str(folder)
        self.err = open(os.path.join(self.dir, "err"), "w+b")
        # The sanitizer's store of freed blocks would hide what the server really holds.
        env = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:quarantine_size_mb=1")
        self.p = subprocess.Popen([TESTD, self.dir, *limits], stdout=subprocess.PIPE,
                                  stderr=self.err, env=env)
        self.ports = {}
        for line in self.p.stdout:
            words = line.split()
            if words == [b"ready"]:
                break
            self.ports[words[0].decode()] = int(words[1])
        assert self.ports, "net_testd did not start"
        self.sock = os.path.join(self.dir, "sock")
        self.ca = os.path.join(self.dir, "ca.pem")

    def url(self, kind, path):
        scheme = "https" if kind.endswith("tls") else "http"
        return f"{scheme}://localhost:{self.ports[kind]}{path}"

    def curl(self, kind, path, *options, data=None):
        cmd = ["curl", "-sS", "--max-time", "120", "--cacert", self.ca, *options,
               self.url(kind, path)]
        return subprocess.run(cmd, input=data, capture_output=True, timeout=130)

    def stats(self):
        return json.loads(self.curl("h1", "/stats").stdout)

    def connect(self, kind="h1"):
        s = socket.create_connection(("127.0.0.1", self.ports[kind]), timeout=30)
        if kind.endswith("tls"):
            c = ssl.create_default_context(cafile=self.ca)
            c.set_alpn_protocols(["http/1.1"])
            s = c.wrap_socket(s, server_hostname="localhost")
        return s

    def stop(self):
        self.p.send_signal(signal.SIGTERM)
        status = self.p.wait(60)
        self.err.seek(0)
        text = self.err.read().decode(errors="replace")
        assert status == 0, text
        assert "ERROR: " not in text and "runtime error" not in text, text


@pytest.fixture(scope="module")
def testd(tmp_path_factory):
    t = Testd(tmp_path_factory.mktemp("testd"))
    yield t
    t.stop()


@pytest.fixture
def small(request, tmp_path):
    """A server of its own, with the small limits that the test gives."""
    t = Testd(tmp_path, *request.param)
    yield t
    t.stop()


def read_all(s, bound=1 << 20):
    got = b""
    try:
        while len(got) < bound:
            piece = s.recv(65536)
            if not piece:
                break
            got += piece
    except (ConnectionResetError, TimeoutError, socket.timeout):
        pass
    return got


def until(check, seconds=60):
    """Waits for something that a fast machine does at once; its last value."""
    end = time.monotonic() + seconds
    while not (value := check()) and time.monotonic() < end:
        time.sleep(0.02)
    return value


def busy(t, requests):
    """Waits until the server has that many requests of ours; /stats itself is one more."""
    assert until(lambda: t.stats()["open_requests"] > requests)


def gone(s, seconds=60):
    """Does the server close the connection, which it does within a second or two?"""
    s.settimeout(seconds)
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            if s.recv(65536) == b"":
                return True
    except (socket.timeout, TimeoutError):
        return False
    except OSError:
        return True
    return False


# ---------------------------------------------------------------- foreign clients

WAYS = [("h1", []), ("h2c", []), ("h2c", ["--http2-prior-knowledge"]), ("tls", ["--http1.1"]),
        ("tls", ["--http2"])]
BLOB = bytes(range(256)) * 8192  # 2 MiB


@pytest.mark.parametrize("kind,options", WAYS)
def test_curl(testd, kind, options):
    r = testd.curl(kind, "/show/a%2Fb?x=1&q=a%20b%26", *options)
    text = r.stdout.decode()
    assert "raw=/show/a%2Fb\n" in text and "path=/show/a/b\n" in text and "q=a b&\n" in text
    assert ("version=20" in text) == ("--http2" in options or "--http2-prior-knowledge" in options)
    assert testd.curl(kind, "/echo", *options, "--data-binary", "@-", data=BLOB).stdout == BLOB
    assert testd.curl(kind, "/whole?n=3000000", *options).stdout == b"w" * 3000000
    assert testd.curl(kind, "/big?n=3000000", *options).stdout == b"x" * 3000000
    assert testd.curl(kind, "/announced?n=100000", *options).stdout == b"x" * 100000
    assert testd.curl(kind, "/later?ms=50", *options).stdout == b"later\n"
    head = testd.curl(kind, "/whole?n=1234", *options, "-I").stdout.decode().lower()
    assert "content-length: 1234" in head
    code = testd.curl(kind, "/nothing", *options, "-w", "%{http_code}").stdout
    assert code == b"204"


@pytest.mark.parametrize("kind,options", WAYS)
@pytest.mark.parametrize("chunked", [False, True])
def test_body_over_the_cap_is_413(testd, kind, options, chunked):
    extra = ["-H", "transfer-encoding: chunked"] if chunked else []
    if chunked and "--http2" in " ".join(options):
        extra = ["-H", "content-length:"]
    r = testd.curl(kind, "/collect?cap=1000", *options, *extra, "-o", "/dev/null", "-w",
                   "%{http_code}", "--data-binary", "@-", data=BLOB)
    assert r.stdout == b"413"
    r = testd.curl(kind, "/collect?cap=1000", *options, "--data-binary", "@-", data=b"z" * 1000)
    assert r.stdout == b"z" * 1000


def test_unix_socket_tells_who_it_is(testd):
    r = subprocess.run(["curl", "-sS", "--unix-socket", testd.sock, "http://x/show"],
                       capture_output=True, timeout=120)
    assert f"uid={os.getuid()}\n".encode() in r.stdout
    assert os.stat(testd.sock).st_mode & 0o777 == 0o600


def test_client_certificates(testd):
    cert = ["--cert", os.path.join(testd.dir, "client.pem"), "--key",
            os.path.join(testd.dir, "client.key")]
    for kind in ("mtls", "otls"):
        for _ in range(2):  # the second time may resume a session
            text = testd.curl(kind, "/show", *cert).stdout.decode()
            assert "cn=bng-1\nverified=1\n" in text
    assert "verified=0" in testd.curl("otls", "/show").stdout.decode()
    assert testd.curl("mtls", "/show").returncode != 0
    other = testd.dir + "/other"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=bng-1", "-days", "2",
                    "-keyout", other + ".key", "-out", other + ".pem"], check=True,
                   capture_output=True)
    for kind in ("mtls", "otls"):  # a certificate of somebody else's is worse than none
        r = testd.curl(kind, "/show", "--cert", other + ".pem", "--key", other + ".key")
        assert r.returncode != 0


# proves: T-12
def test_session_resumption_with_client_certificate(testd, tmp_path):
    """Fails without a session id context: OpenSSL refuses the second connection."""
    sess = str(tmp_path / "sess")
    base = ["openssl", "s_client", "-connect", f"localhost:{testd.ports['mtls']}", "-CAfile",
            testd.ca, "-cert", os.path.join(testd.dir, "client.pem"), "-key",
            os.path.join(testd.dir, "client.key"), "-alpn", "http/1.1", "-ign_eof"]
    ask = b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    first = subprocess.run(base + ["-sess_out", sess], input=ask, capture_output=True, timeout=120)
    again = subprocess.run(base + ["-sess_in", sess], input=ask, capture_output=True, timeout=120)
    assert b"hello" in first.stdout and b"hello" in again.stdout
    assert b"Reused" in again.stdout


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_tls_is_refused(testd, version):
    r = subprocess.run(["openssl", "s_client", "-connect", f"localhost:{testd.ports['tls']}",
                        version, "-cipher", "ALL:@SECLEVEL=0"], input=b"", capture_output=True,
                       timeout=120)
    assert b"Cipher is (NONE)" in r.stdout or r.returncode != 0


# proves: T-11
def test_client_without_our_protocols_is_refused(testd):
    """ALPN must be agreed on: a client that offers something else gets an alert."""
    c = ssl.create_default_context(cafile=testd.ca)
    c.set_alpn_protocols(["spdy/1"])
    with pytest.raises(ssl.SSLError):
        c.wrap_socket(socket.create_connection(("127.0.0.1", testd.ports["tls"])),
                      server_hostname="localhost")


def test_nghttp(testd):
    r = subprocess.run(["nghttp", "-m", "20", testd.url("h2c", "/hello")], capture_output=True,
                       timeout=120)
    assert r.stdout == b"hello\n" * 20


@pytest.mark.parametrize("options,kind", [(["-m", "30"], "h2c"), (["-m", "30"], "tls"),
                                          (["--h1", "-m", "4"], "h1")])
def test_h2load(testd, options, kind):
    r = subprocess.run(["h2load", "-n", "5000", "-c", "50", *options, testd.url(kind, "/hello")],
                       capture_output=True, timeout=60)
    assert b"5000 succeeded, 0 failed" in r.stdout, r.stdout


def test_early_answer_with_a_body_on_the_way(testd):
    for kind, options in WAYS:
        r = testd.curl(kind, "/nosuch", *options, "--data-binary", "@-", "-w", "%{http_code}",
                       data=BLOB)
        assert r.stdout.endswith(b"404"), (kind, options, r.stderr)


# ---------------------------------------------------------------- smuggling and other bad syntax

GOOD = b"GET /hello HTTP/1.1\r\nHost: x\r\n"
BAD = {
    "bare LF": (b"GET /hello HTTP/1.1\nHost: x\n\n", 400),
    "bare LF in a field": (GOOD + b"A: b\nC: d\r\n\r\n", 400),
    "CR inside a value": (GOOD + b"A: b\rC: d\r\n\r\n", 400),
    "NUL": (GOOD + b"A: b\0c\r\n\r\n", 400),
    "obs-fold": (GOOD + b"A: b\r\n c\r\n\r\n", 400),
    "space before colon": (GOOD + b"A : b\r\n\r\n", 400),
    "no name": (GOOD + b": b\r\n\r\n", 400),
    "no colon": (GOOD + b"Ab\r\n\r\n", 400),
    "name with a control": (GOOD + b"A\x01: b\r\n\r\n", 400),
    "no host": (b"GET /hello HTTP/1.1\r\n\r\n", 400),
    "two hosts": (GOOD + b"Host: y\r\n\r\n", 400),
    "host with userinfo": (b"GET /hello HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    "CL+TE": (GOOD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "TE+CL": (GOOD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
    "two CL": (GOOD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "CL list": (GOOD + b"Content-Length: 4, 4\r\n\r\nabcd", 400),
    "CL sign": (GOOD + b"Content-Length: +4\r\n\r\nabcd", 400),
    "CL negative": (GOOD + b"Content-Length: -1\r\n\r\n", 400),
    "CL hex": (GOOD + b"Content-Length: 0x4\r\n\r\nabcd", 400),
    "CL huge": (GOOD + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "CL empty": (GOOD + b"Content-Length: \r\n\r\n", 400),
    "TE unknown": (GOOD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "TE obfuscated": (GOOD + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
    "TE twice": (GOOD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "TE in 1.0": (b"GET /hello HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "version 2": (b"GET /hello HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "version nonsense": (b"GET /hello HTTP/1.1x\r\nHost: x\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /hello\r\n\r\n", 400),
    "two spaces": (b"GET  /hello HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "tab": (b"GET\t/hello HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "CONNECT": (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    "fragment": (b"GET /hello#x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "8-bit target": (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "bad escape": (b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "encoded NUL": (b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "chunk size nonsense": (GOOD.replace(b"/hello", b"/collect") +
                            b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    "chunk size sign": (GOOD.replace(b"/hello", b"/collect") +
                        b"Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n", 400),
    "chunk size space": (GOOD.replace(b"/hello", b"/collect") +
                         b"Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n", 400),
    "chunk size absurd": (GOOD.replace(b"/hello", b"/collect") +
                          b"Transfer-Encoding: chunked\r\n\r\n0000000000000000001\r\na\r\n", 400),
    "chunk bare LF": (GOOD.replace(b"/hello", b"/collect") +
                      b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", 400),
    "chunk too long": (GOOD.replace(b"/hello", b"/collect") +
                       b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400),
    "chunk extension too long": (GOOD.replace(b"/hello", b"/collect") +
                                 b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * 5000 +
                                 b"\r\na\r\n0\r\n\r\n", 400),
    "trailer nonsense": (GOOD.replace(b"/hello", b"/collect") +
                         b"Transfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n", 400),
    "trailers too long": (GOOD.replace(b"/hello", b"/collect") +
                          b"Transfer-Encoding: chunked\r\n\r\n0\r\na: " + b"e" * 9000 +
                          b"\r\n\r\n", 431),
    "too many fields": (GOOD + b"".join(b"a%d: b\r\n" % i for i in range(200)) + b"\r\n", 431),
    "header too long": (GOOD + b"A: " + b"b" * 70000 + b"\r\n\r\n", 431),
    "other expectation": (GOOD + b"Expect: tea\r\nContent-Length: 1\r\n\r\n", 417),
}


# proves: T-06
@pytest.mark.parametrize("name", BAD)
def test_bad_syntax(testd, name):
    data, status = BAD[name]
    s = testd.connect()
    # What is smuggled behind must never be answered.
    s.sendall(data + b"GET /show HTTP/1.1\r\nHost: smuggled\r\n\r\n")
    got = read_all(s)
    assert got.startswith(b"HTTP/1.1 %d " % status), got[:200]
    assert got.count(b"HTTP/1.1 ") == 1 and b"smuggled" not in got
    assert b"connection: close\r\n" in got


def test_bad_syntax_byte_by_byte(testd):
    """Errors don't depend on how the bytes are cut."""
    for name in ("bare LF", "CL+TE", "obs-fold", "chunk too long"):
        s = testd.connect()
        data, status = BAD[name]
        try:
            for i in range(len(data)):
                s.sendall(data[i:i + 1])
                time.sleep(0.0005)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert read_all(s).startswith(b"HTTP/1.1 %d " % status), name


def test_good_chunks_byte_by_byte(testd):
    s = testd.connect()
    data = (b"\r\nPOST /collect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;ext=\"v\"\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
            b"GET http://other/hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    for i in range(len(data)):
        s.sendall(data[i:i + 1])
    got = read_all(s)
    assert got.count(b"HTTP/1.1 200 OK") == 2 and b"abc0123456789" in got and b"hello\n" in got


def test_pipelining_and_keep_alive(testd):
    s = testd.connect()
    one = b"GET /later?ms=5 HTTP/1.1\r\nHost: x\r\n\r\n"
    s.sendall(one * 20 + b"GET /hello HTTP/1.0\r\n\r\n")
    got = read_all(s)
    assert got.count(b"later\n") == 20 and got.endswith(b"hello\n")


def test_expect_continue(testd):
    s = testd.connect()
    s.sendall(b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
              b"Expect: 100-continue\r\n\r\n")
    assert s.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    s.sendall(b"abc")
    assert s.recv(1000).endswith(b"abc")
    s = testd.connect()  # refused before the body: no 100
    s.sendall(b"POST /collect?cap=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
              b"Expect: 100-continue\r\n\r\n")
    assert s.recv(1000).startswith(b"HTTP/1.1 413 ")


# ---------------------------------------------------------------- peers that cost too much

@pytest.mark.parametrize("small", [("header_ms=1000", "idle_ms=1500", "body_grace_ms=1000",
                                    "write_stall_ms=1500")], indirect=True, ids=[""])
class TestSlow:
    # proves: T-05
    def test_slow_loris(self, small):
        """A header that drips is cut by a total deadline, however often a byte comes."""
        s = small.connect()
        start = time.monotonic()
        s.settimeout(0.05)
        s.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nX: ")
        closed = False
        while time.monotonic() - start < 60 and not closed:
            try:
                s.sendall(b"a")
                closed = s.recv(100) == b""
            except socket.timeout:
                pass
            except OSError:
                closed = True
        assert closed
        assert small.stats()["timeout_header"] == 1

    def test_silent_tls(self, small):
        s = socket.create_connection(("127.0.0.1", small.ports["tls"]))
        assert gone(s)

    # proves: T-05
    def test_idle(self, small):
        s = small.connect()
        s.sendall(GOOD + b"\r\n")
        assert s.recv(1000).endswith(b"hello\n")
        assert gone(s)
        assert small.stats()["timeout_idle"] == 1

    # proves: T-05
    def test_dripping_body(self, small):
        s = small.connect()
        s.sendall(b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        s.settimeout(0.1)
        got = b""
        for _ in range(600):
            try:
                s.sendall(b"a")
                piece = s.recv(1000)
                got += piece
                if not piece:
                    break
            except socket.timeout:
                continue
            except OSError:
                break
        assert got.startswith(b"HTTP/1.1 408 ")
        assert small.stats()["timeout_body"] == 1

    # proves: T-07
    def test_reader_that_stops(self, small):
        """Memory stays bounded while it waits, and it is cut in the end."""
        before = small.stats()["rss"]
        conns = []
        for _ in range(10):
            s = small.connect()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.sendall(b"GET /big?n=100000000 HTTP/1.1\r\nHost: x\r\n\r\n")
            conns.append(s)
        time.sleep(0.7)
        assert small.stats()["rss"] - before < 60 << 20  # of 1 GB that was asked for
        assert until(lambda: small.stats()["timeout_write"] == 10)
        assert small.stats()["open_requests"] == 1  # the one that asks

    def test_h2_reader_that_stops(self, small):
        """The same with a window that is never opened again."""
        s = h2_connect(small)
        s.sendall(b"".join(h2_get(2 * i + 1, b"/big?n=100000000") for i in range(20)))
        before = small.stats()
        assert until(lambda: small.stats()["timeout_write"] >= 1)
        after = small.stats()
        assert after["rss"] - before["rss"] < 60 << 20


# proves: T-07
@pytest.mark.parametrize("small", [("queue_max=1000000",)], indirect=True, ids=[""])
def test_rude_producer_is_cut(small):
    """A handler that ignores back-pressure costs queue_max and a little, not all memory."""
    s = small.connect()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.sendall(b"GET /rude HTTP/1.1\r\nHost: x\r\n\r\n")
    assert until(lambda: small.stats()["aborted"] == 1)


def refused(t):
    """Connections that were refused; 0 while this question is one of them."""
    try:
        return t.stats()["refused_conns"]
    except ValueError:
        return 0


# proves: T-08
@pytest.mark.parametrize("small", [("max_conns=40", "max_conns_per_peer=30",)], indirect=True, ids=[""])
def test_connection_limits(small):
    conns = [small.connect() for _ in range(60)]
    alive = []
    for s in conns:
        try:
            s.sendall(GOOD + b"\r\n")
            if s.recv(1000):
                alive.append(s)
        except OSError:
            pass
    assert len(alive) == 30
    for s in conns:
        s.close()
    assert until(lambda: refused(small)) >= 30


@pytest.mark.parametrize("small", [("max_greeting=20", "header_ms=600000")], indirect=True, ids=[""])
def test_connections_that_say_nothing(small):
    """They are fewer than those which speak, so that they can't take the places of those."""
    mute = [socket.create_connection(("127.0.0.1", small.ports["tls"]), timeout=60) for _ in range(60)]
    ended = lambda: len(select.select(mute, [], [], 0)[0])
    assert until(lambda: ended() >= 40) and ended() == 40
    for s in mute:
        s.close()
    assert until(lambda: refused(small)) >= 40
    spoken = [small.connect("tls") for _ in range(40)]
    for s in spoken:
        s.sendall(GOOD + b"\r\n")
        assert s.recv(1000).startswith(b"HTTP/1.1 200 ")
    for s in spoken:
        s.close()


@pytest.mark.parametrize("small", [("max_collected=1000000",)], indirect=True, ids=[""])
def test_bodies_that_are_collected(small):
    """All of them together are bounded; small ones come through all the same."""
    head = b"POST /collect?cap=900000 HTTP/1.1\r\nHost: x\r\nContent-Length: 800000\r\n\r\n"
    both = [small.connect(), small.connect()]
    for s in both:
        s.sendall(head + b"x" * 500000)
    for s in both:
        s.sendall(b"x" * 200000)
    one = select.select(both, [], [], 60)[0][0]  # whose bytes came when the room was full
    assert one.recv(1000).startswith(b"HTTP/1.1 503 ")
    assert len(small.curl("h1", "/collect", "-X", "POST", "--data-binary", "x" * 50000).stdout) == 50000
    other = both[1 - both.index(one)]
    other.sendall(b"x" * 100000)
    assert other.recv(1000).startswith(b"HTTP/1.1 200 ")
    one.close()
    other.close()
    assert until(lambda: small.stats()["open_conns"] == 1)
    third = small.connect()  # and what is gone is forgotten
    third.sendall(head + b"x" * 800000)
    assert third.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_abort_is_noticed(testd):
    before = testd.stats()["aborted"]
    for kind in ("h1", "tls"):
        s = testd.connect(kind)
        s.sendall(b"GET /later?ms=60000 HTTP/1.1\r\nHost: x\r\n\r\n")
        busy(testd, 1)
        s.close()
        assert until(lambda: testd.stats()["open_requests"] == 1)
    s = h2_connect(testd)
    s.sendall(h2_get(1, b"/later?ms=60000"))
    busy(testd, 1)
    s.close()
    assert until(lambda: testd.stats()["aborted"] - before == 3)


def test_idle_connections_are_small(testd):
    """Thousands of them are kept by one loop: a few KB each."""
    before = testd.stats()["rss"]
    conns = []
    for _ in range(500):
        s = testd.connect()
        s.sendall(GOOD + b"\r\n")
        conns.append(s)
    for s in conns:
        s.recv(1000)
    after = testd.stats()
    assert after["open_conns"] >= 500
    assert (after["rss"] - before) / 500 < 32 << 10  # with the sanitizer's red zones
    for s in conns:
        s.close()


# ---------------------------------------------------------------- HTTP/2 by hand

def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + \
        struct.pack(">I", stream) + payload


def literal(name, value):
    """HPACK: literal without indexing, no Huffman (lengths under 127)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def h2_get(stream, path, extra=b"", flags=0x5, method=b"GET"):
    block = literal(b":method", method) + literal(b":scheme", b"http") + \
        literal(b":path", path) + literal(b":authority", b"x") + extra
    return frame(1, flags, stream, block)


def h2_connect(t):
    s = t.connect("h2c")
    s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
    return s


def h2_frames(data):
    out = []
    while len(data) >= 9:
        n = int.from_bytes(data[:3], "big")
        out.append((data[3], data[4], int.from_bytes(data[5:9], "big") & 0x7fffffff,
                    data[9:9 + n]))
        data = data[9 + n:]
    return out


def h2_until(s, done):
    """Frames that come until `done` likes them, or the connection ends."""
    data = b""
    try:
        while piece := s.recv(65536):
            data += piece
            if done(h2_frames(data)):
                break
    except (ConnectionResetError, TimeoutError):
        pass
    return h2_frames(data)


def cut_for_flood(t, s, data, rounds):
    """Sends until the server has had enough; does it?"""
    before = t.stats()["flood"]
    try:
        for i in range(rounds):
            s.sendall(data(i))
    except OSError:
        pass
    return until(lambda: t.stats()["flood"] == before + 1)


def test_rapid_reset(testd):
    """CVE-2023-44487: streams opened and reset at once."""
    s = h2_connect(testd)
    assert cut_for_flood(testd, s, lambda i: h2_get(2 * i + 1, b"/later?ms=60000") +
                         frame(3, 0, 2 * i + 1, struct.pack(">I", 8)), 2000)
    got = h2_until(s, lambda got: any(k == 7 for k, _, _, _ in got))
    assert any(k == 7 and p[4:8] == struct.pack(">I", 11) for k, _, _, p in got)  # CALM
    assert testd.stats()["open_requests"] == 1


@pytest.mark.parametrize("what,data", [
    ("ping", lambda i: frame(6, 0, 0, b"12345678") * 100),
    ("settings", lambda i: frame(4, 0, 0) * 100),
    ("priority", lambda i: frame(2, 0, 1, b"\0\0\0\0\1") * 100),
])
def test_control_floods(testd, what, data):
    assert cut_for_flood(testd, h2_connect(testd), data, 100)


def test_empty_data_flood(testd):
    s = h2_connect(testd)
    s.sendall(h2_get(1, b"/collect", flags=0x4, method=b"POST"))
    assert cut_for_flood(testd, s, lambda i: frame(0, 0, 1) * 100, 100)


def test_continuation_flood(testd):
    """CVE-2024-27316: a header block that never ends."""
    s = h2_connect(testd)
    try:
        s.sendall(h2_get(1, b"/hello", flags=0x1))
        for _ in range(5000):
            s.sendall(frame(9, 0, 1, literal(b"a", b"b" * 100) * 50))
    except OSError:
        pass
    assert gone(s)
    assert testd.curl("h1", "/hello").stdout == b"hello\n"


def test_answers_that_nobody_wants(testd):
    """CVE-2025-8671: requests whose streams the peer has *us* reset, so that it never runs out of streams
    while the work goes on."""
    s = h2_connect(testd)
    overflow = struct.pack(">I", 0x7fffffff)
    assert cut_for_flood(testd, s, lambda i: h2_get(2 * i + 1, b"/later?ms=60000") +
                         frame(8, 0, 2 * i + 1, overflow), 2000)
    assert testd.stats()["open_requests"] == 1


# The value goes into the compression table once, then a byte stands for its 3.9 kB.
TABLE_ENTRY = b"\x40\x01x\x7f\xbd\x1d" + b"y" * 3900


@pytest.mark.parametrize("place", ["head", "trailers"])
def test_a_compressed_header_without_end(testd, place):
    s = h2_connect(testd)
    s.sendall(h2_get(1, b"/later?ms=60000", TABLE_ENTRY, flags=0x4, method=b"POST"))
    if place == "head":
        assert cut_for_flood(testd, s, lambda i: h2_get(2 * i + 3, b"/hello", b"\xbe" * 12000), 1)
    else:
        assert cut_for_flood(testd, s, lambda i: frame(1, 5, 1, b"\xbe" * 12000), 1)


def test_compressed_heads_of_many_requests(testd):
    """Requests that are never ended: their heads cost the peer next to nothing and us a bounded amount."""
    before = testd.stats()
    conns = []
    for _ in range(20):
        s = h2_connect(testd)
        s.sendall(frame(4, 0, 0, struct.pack(">HI", 4, 0)))  # it takes no body either
        s.sendall(h2_get(1, b"/later?ms=60000", TABLE_ENTRY + b"\xbe" * 3, flags=0x4, method=b"POST") +
                  b"".join(h2_get(2 * i + 1, b"/later?ms=60000", b"\xbe" * 3, flags=0x4, method=b"POST")
                           for i in range(1, 120)))
        conns.append(s)
    until(lambda: testd.stats()["too_big"] >= before["too_big"] + 20 * 90)
    after = testd.stats()
    # 120 heads of 12 kB each were asked for, 256 kB of them are kept.
    assert after["too_big"] >= before["too_big"] + 20 * 90
    assert after["rss"] - before["rss"] < 20 * (1 << 20)
    for s in conns:
        s.close()


def test_h2_header_bounds(testd):
    s = h2_connect(testd)
    s.sendall(h2_get(1, b"/hello", b"".join(literal(b"a%d" % i, b"b" * 90) for i in range(150))))
    s.sendall(h2_get(3, b"/hello"))
    got = h2_until(s, lambda got: any(k == 1 and st == 1 for k, _, st, _ in got) and
                   any(k == 0 and st == 3 and p for k, _, st, p in got))
    assert any(k == 1 and st == 1 for k, _, st, _ in got)  # 431; the other stream is served
    assert not any(k == 0 and st == 1 and p for k, _, st, p in got)
    assert any(k == 0 and st == 3 and p == b"hello\n" for k, _, st, p in got)
    assert testd.stats()["too_big"] >= 1


@pytest.mark.parametrize("extra", [
    literal(b"connection", b"close"), literal(b"transfer-encoding", b"chunked"),
    literal(b"Upper", b"x"), literal(b"content-length", b"5"), literal(b"a", b"b\r\nc: d"),
    literal(b":path", b"/other"), literal(b"te", b"gzip"),
])
def test_h2_smuggling(testd, extra):
    """What could be turned into a second HTTP/1 request is refused as malformed."""
    s = h2_connect(testd)
    s.sendall(h2_get(1, b"/hello", extra) + h2_get(3, b"/hello"))
    got = h2_until(s, lambda got: any(k == 7 for k, _, _, _ in got) or
                   {st for k, _, st, _ in got if k in (0, 3)} >= {1, 3})
    assert any(k == 3 and st == 1 for k, _, st, _ in got) or \
        not any(k == 0 and st == 1 for k, _, st, _ in got)
    assert not any(k == 0 and st == 1 and p == b"hello\n" for k, _, st, p in got)


@pytest.mark.parametrize("path", [b"hello", b"", b"/a#b", b"/%zz", b"http://x/", b"/a b"])
def test_h2_bad_path(testd, path):
    s = h2_connect(testd)
    s.sendall(h2_get(1, path))
    got = h2_until(s, lambda got: any(k in (1, 3, 7) for k, _, _, _ in got))
    assert not any(k == 0 and p == b"hello\n" for k, _, _, p in got)
    assert any(k in (1, 3, 7) for k, _, _, _ in got)


def test_no_h2c_unless_asked(testd):
    s = testd.connect("h1")
    s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
    assert read_all(s).startswith(b"HTTP/1.1 505 ")


# ---------------------------------------------------------------- small answers at once

PIDFD_GETFD = 438  # the same on all architectures


def socket_of(pid, port):
    """A copy of the process's TCP socket whose peer is at that port."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"):
                    continue
            except FileNotFoundError:
                continue
            mine = libc.syscall(PIDFD_GETFD, pidfd, int(fd), 0)
            assert mine >= 0, os.strerror(ctypes.get_errno())
            s = socket.socket(fileno=mine)
            try:
                if s.family in (socket.AF_INET, socket.AF_INET6) and s.getpeername()[1] == port:
                    return s
            except OSError:
                pass
            s.close()
    finally:
        os.close(pidfd)
    return None


# proves: T-09
@pytest.mark.parametrize("kind", ["h1", "h2c", "tls", "mtls"])
def test_nagle_is_off_from_accept_on(testd, kind):
    """Or an answer in two writes waits for the peer's delayed acknowledgement, 40 ms and more."""
    with socket.create_connection(("127.0.0.1", testd.ports[kind]), timeout=30) as s:
        theirs = until(lambda: socket_of(testd.p.pid, s.getsockname()[1]))
        with theirs:  # nothing was said yet, not even a TLS hello
            assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


# ---------------------------------------------------------------- event streams

def test_events(testd):
    for kind, options in WAYS:
        text = testd.curl(kind, "/events?n=5", *options).stdout.decode()
        assert text.count("event: tick\n") == 5 and text.startswith("id: 0\nevent: tick\ndata: {")
        assert text.endswith("event: end\ndata: one\ndata: two\n\n")
        assert "resync" not in text


# proves: T-10
def test_events_of_a_slow_client_become_one_resync(testd):
    s = testd.connect()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    s.sendall(b"GET /events?n=40000&rate=200&max=20000 HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(2)  # some 16 MB are made in that time
    s.settimeout(60)
    got = b""
    while b"event: end" not in got:
        piece = s.recv(1 << 20)
        assert piece
        got += piece
    ids = [int(line[4:]) for line in got.split(b"\n") if line.startswith(b"id: ")]
    resyncs = got.count(b"event: resync")
    gaps = sum(1 for a, b in zip(ids, ids[1:]) if b != a + 1)
    assert resyncs >= 1 and len(ids) < 40000
    assert gaps <= resyncs  # every gap is announced
    assert ids == sorted(ids)


# ---------------------------------------------------------------- the end

def test_graceful_shutdown(tmp_path):
    t = Testd(tmp_path)
    s = t.connect()
    s.sendall(b"GET /later?ms=2000 HTTP/1.1\r\nHost: x\r\n\r\n")
    h2 = h2_connect(t)
    h2.sendall(h2_get(1, b"/later?ms=2000"))
    idle = t.connect()
    busy(t, 2)
    t.p.send_signal(signal.SIGTERM)
    assert b"later\n" in read_all(s)  # what was begun is finished
    got = h2_frames(read_all(h2))
    assert any(k == 7 for k, _, _, _ in got) and any(p == b"later\n" for _, _, _, p in got)
    assert read_all(idle) == b""
    assert t.p.wait(60) == 0
    assert not os.path.exists(t.sock)


def test_stale_socket_is_replaced_but_nothing_else(tmp_path):
    t = Testd(tmp_path)
    second = subprocess.run([TESTD, str(tmp_path)], capture_output=True, timeout=120)
    assert second.returncode == 1 and b"another program listens" in second.stderr
    t.p.kill()
    t.p.wait()
    assert os.path.exists(t.sock)
    t = Testd(tmp_path)
    t.stop()
    (tmp_path / "sock").write_text("mine")
    r = subprocess.run([TESTD, str(tmp_path)], capture_output=True, timeout=120)
    assert r.returncode == 1 and (tmp_path / "sock").read_text() == "mine"
