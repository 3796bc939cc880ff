# SPDX-License-Identifier: Apache-2.0
"""gRPC: python3-grpcio against our server, and as the server against our client; with and without
mutual TLS. Messages are plain bytes on both sides, so no generated code is needed."""
import concurrent.futures
import os
import socket
import struct
import subprocess
import threading
import time

import grpc
import pytest

from test_net_http import Testd, frame, h2_frames, h2_connect, literal, read_all

BUILD = os.environ.get("WEFT_BUILD", "build")
CLIENT = os.path.join(BUILD, "src/net/net_client")
SERVICE = "/weft.test.Echo/"


@pytest.fixture(scope="module")
def testd(tmp_path_factory):
    t = Testd(tmp_path_factory.mktemp("testd"))
    yield t
    t.stop()


def pem(t, name):
    with open(os.path.join(t.dir, name), "rb") as f:
        return f.read()


def channel(t, kind):
    target = f"localhost:{t.ports[kind]}"
    if kind == "h2c":
        return grpc.insecure_channel(target)
    keys = (pem(t, "client.key"), pem(t, "client.pem")) if kind == "mtls" else (None, None)
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(pem(t, "ca.pem"), *keys))


@pytest.fixture(params=["h2c", "tls", "mtls"])
def ch(request, testd):
    with channel(testd, request.param) as c:
        c.kind = request.param
        yield c


# proves: T-15
def test_unary(ch):
    call = ch.unary_unary(SERVICE + "Unary")
    for m in (b"", b"x", b"y" * 70000, b"z" * (1 << 20)):
        assert call(m, timeout=120) == m


def test_many_at_once(ch):
    call = ch.unary_unary(SERVICE + "Unary")
    futures = [call.future(b"%d" % i, timeout=120) for i in range(1000)]
    assert [f.result() for f in futures] == [b"%d" % i for i in range(1000)]


def test_identity_and_metadata(ch):
    who = ch.unary_unary(SERVICE + "Whoami")
    text = who(b"", timeout=120, metadata=[("x-test", "v")]).decode()
    assert ("cn=bng-1 " in text) == (ch.kind == "mtls")
    assert "x=v deadline=1" in text


# proves: T-13
def test_status_and_message(ch):
    with pytest.raises(grpc.RpcError) as e:
        ch.unary_unary(SERVICE + "Fail")(b"", timeout=120)
    assert e.value.code() == grpc.StatusCode.NOT_FOUND
    assert e.value.details() == "no such pool: caf\u00e9 100%"


def test_unknown_method(ch):
    with pytest.raises(grpc.RpcError) as e:
        ch.unary_unary("/no.Such/Thing")(b"", timeout=120)
    assert e.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_deadline(ch):
    start = time.monotonic()
    with pytest.raises(grpc.RpcError) as e:
        ch.unary_unary(SERVICE + "Slow")(b"", timeout=0.3)
    assert e.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - start < 5


def test_too_big(ch):
    with pytest.raises(grpc.RpcError) as e:
        ch.unary_unary(SERVICE + "Unary")(b"x" * ((1 << 20) + 1), timeout=120)
    assert e.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_compressed_is_refused(ch):
    with pytest.raises(grpc.RpcError) as e:
        ch.unary_unary(SERVICE + "Unary")(b"x" * 10000, timeout=120,
                                          compression=grpc.Compression.Gzip)
    assert e.value.code() == grpc.StatusCode.UNIMPLEMENTED


# proves: T-13
def test_bidi(ch):
    messages = [bytes([i % 256]) * (i * 997 % 60000) for i in range(300)]
    assert list(ch.stream_stream(SERVICE + "Bidi")(iter(messages), timeout=120)) == messages


# proves: T-14
def test_bidi_turn_by_turn(ch):
    ready = threading.Semaphore(1)

    def ask():
        for i in range(100):
            ready.acquire()
            yield b"%d" % i
    for i, m in enumerate(ch.stream_stream(SERVICE + "Bidi")(ask(), timeout=120)):
        assert m == b"%d" % i
        ready.release()


def test_cancel_is_noticed(ch, testd):
    who = ch.unary_unary(SERVICE + "Whoami")
    count = lambda: int(who(b"", timeout=120).decode().rsplit("=", 1)[1])
    before = count()

    def wait(what):
        end = time.monotonic() + 60
        while not what() and time.monotonic() < end:
            time.sleep(0.05)
    idle = testd.stats()["open_requests"]
    f = ch.unary_unary(SERVICE + "Slow").future(b"x", timeout=120)
    wait(lambda: testd.stats()["open_requests"] > idle)
    f.cancel()
    wait(lambda: count() > before)
    assert count() == before + 1


# proves: T-16
def test_reader_that_stalls(ch, testd):
    """Half a gigabyte is asked for; what is not read is not made."""
    before = testd.stats()["rss"]
    calls = [ch.unary_stream(SERVICE + "Source")(b"500000", timeout=60) for _ in range(4)]
    for c in calls:
        assert next(c) == b"s" * 1000
    time.sleep(1)
    assert testd.stats()["rss"] - before < 40 << 20
    got = 1 + sum(1 for _, m in zip(range(20000), calls[0]))
    assert got == 20001
    for c in calls:
        c.cancel()


# proves: T-16
def test_whole_stream(ch):
    assert sum(len(m) for m in ch.unary_stream(SERVICE + "Source")(b"20000", timeout=60)) == \
        20000000


def test_no_certificate_no_call(testd):
    creds = grpc.ssl_channel_credentials(pem(testd, "ca.pem"))
    with grpc.secure_channel(f"localhost:{testd.ports['mtls']}", creds) as c:
        with pytest.raises(grpc.RpcError) as e:
            c.unary_unary(SERVICE + "Unary")(b"x", timeout=3)
    assert e.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


# ---------------------------------------------------------------- framing by hand

def open_call(s, stream, path=SERVICE + "Unary", extra=b""):
    block = literal(b":method", b"POST") + literal(b":scheme", b"http") + \
        literal(b":path", path.encode()) + literal(b":authority", b"x") + \
        literal(b"content-type", b"application/grpc") + literal(b"te", b"trailers") + extra
    s.sendall(frame(1, 0x4, stream, block))


def ended(s, stream):
    """Did the server end the call (a header block with END_STREAM)?"""
    s.settimeout(1)
    return any(k == 1 and f & 1 and st == stream for k, f, st, _ in h2_frames(read_all(s)))


@pytest.mark.parametrize("data,flags", [
    (b"\x02\0\0\0\1x", 1),             # unknown flag
    (b"\0\0\0\0\5x", 1),               # ends inside a message
    (b"\0\0", 1),                      # ends inside a prefix
    (b"\0\xff\xff\xff\xff", 0),        # 4 GiB announced
])
def test_bad_frames(testd, data, flags):
    s = h2_connect(testd)
    open_call(s, 1)
    s.sendall(frame(0, flags, 1, data))
    assert ended(s, 1)
    s.close()
    assert testd.curl("h1", "/hello").stdout == b"hello\n"


def test_incomplete_messages_of_a_connection_are_bounded(testd):
    """128 streams x 1 MiB would be 128 MiB; the connection's share ends before."""
    before = testd.stats()["rss"]
    s = h2_connect(testd)
    s.settimeout(5)
    stop = threading.Event()

    def drink():
        while not stop.is_set():
            try:
                if not s.recv(65536):
                    return
            except OSError:
                return
    t = threading.Thread(target=drink)
    t.start()
    try:
        for i in range(100):
            open_call(s, 2 * i + 1)
            s.sendall(frame(0, 0, 2 * i + 1, b"\0" + struct.pack(">I", 1 << 20)))
            for _ in range(7):
                s.sendall(frame(0, 0, 2 * i + 1, b"m" * 16000))
    except OSError:
        pass
    time.sleep(0.5)
    used = testd.stats()["rss"] - before
    stop.set()
    s.close()
    t.join()
    assert used < 30 << 20


def test_grpc_over_http1_is_refused(testd):
    r = testd.curl("h1", SERVICE + "Unary", "-H", "content-type: application/grpc", "-o",
                   "/dev/null", "-w", "%{http_code}", "--data-binary", "x")
    assert r.stdout == b"505"


# ---------------------------------------------------------------- our client, foreign server

class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        def unary(m, ctx):
            return m

        def fail(m, ctx):
            ctx.abort(grpc.StatusCode.NOT_FOUND, "no such pool: caf\u00e9 100%")

        def slow(m, ctx):
            time.sleep(1)
            return m

        def bidi(it, ctx):
            yield from it

        def source(m, ctx):
            for _ in range(int(m)):
                yield b"s" * 1000
        name = details.method.rsplit("/", 1)[1] if details.method.startswith(SERVICE) else ""
        kinds = {"Unary": (grpc.unary_unary_rpc_method_handler, unary),
                 "Fail": (grpc.unary_unary_rpc_method_handler, fail),
                 "Slow": (grpc.unary_unary_rpc_method_handler, slow),
                 "Bidi": (grpc.stream_stream_rpc_method_handler, bidi),
                 "Source": (grpc.unary_stream_rpc_method_handler, source)}
        return kinds[name][0](kinds[name][1]) if name in kinds else None


# proves: T-13
@pytest.mark.parametrize("way", ["plain", "tls", "mtls"])
def test_our_client_with_their_server(testd, way):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), handlers=[Echo()])
    if way == "plain":
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        creds = grpc.ssl_server_credentials(
            [(pem(testd, "server.key"), pem(testd, "server.pem"))],
            root_certificates=pem(testd, "ca.pem") if way == "mtls" else None,
            require_client_auth=way == "mtls")
        port = server.add_secure_port("127.0.0.1:0", creds)
    server.start()
    args = [CLIENT, "localhost" if way != "plain" else "127.0.0.1", str(port)]
    if way != "plain":
        args.append(testd.ca)
    if way == "mtls":
        args += [os.path.join(testd.dir, "client.pem"), os.path.join(testd.dir, "client.key")]
    r = subprocess.run(args, capture_output=True, timeout=60)
    server.stop(0)
    assert r.returncode == 0 and b"0 failed" in r.stdout, r.stdout + r.stderr


@pytest.mark.parametrize("kind", ["h2c", "tls", "mtls"])
def test_our_client_with_our_server(testd, kind):
    args = [CLIENT, "localhost", str(testd.ports[kind])]
    if kind != "h2c":
        args += [testd.ca, os.path.join(testd.dir, "client.pem"),
                 os.path.join(testd.dir, "client.key")]
    r = subprocess.run(args, capture_output=True, timeout=60)
    assert r.returncode == 0 and b"0 failed" in r.stdout, r.stdout + r.stderr


def test_our_client_says_why(testd, tmp_path):
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    port = str(closed.getsockname()[1])
    closed.close()
    run = lambda *a: subprocess.run([CLIENT, *a], capture_output=True, timeout=120).stdout
    assert b"Connection refused" in run("127.0.0.1", port)
    assert b"no address for the name" in run("nosuch.invalid", port)
    other = Testd(tmp_path)
    text = run("localhost", str(testd.ports["tls"]), other.ca)  # not the CA of that server
    other.stop()
    assert b"the peer's certificate" in text
    assert b"does not speak HTTP/2" in run("localhost", str(plain_tls(testd, tmp_path)), testd.ca)


def plain_tls(t, tmp_path):
    """A TLS server without ALPN."""
    import ssl
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(os.path.join(t.dir, "server.pem"), os.path.join(t.dir, "server.key"))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        s, _ = listener.accept()
        try:
            ctx.wrap_socket(s, server_side=True).recv(100)
        except OSError:
            pass
    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]
