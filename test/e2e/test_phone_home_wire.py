# SPDX-License-Identifier: Apache-2.0
"""The phone-home client's connections and downloads among servers that mean ill, are slow or break off."""
import os
import socket
import subprocess
import threading
import time

import pytest

from phone_home import Client, Pki, Server, sha256, write

PATH = "/restconf/operations/x"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("other"), "other")


@pytest.fixture(scope="module")
def good(pki):
    return pki.issue("server")


def ok(h):
    h.send(200, b"hello", Content_Type="application/yang-data+json")


# proves: PH-140 PH-143 PH-144
def test_whom_a_connection_believes(tmp_path, pki, other, good):
    c = Client(tmp_path, **{"server-anchors": pki.cert})
    with Server(ok, *good) as s:
        def get(how, host="localhost", **kw):
            return c.probe("get", host, s.port, how, PATH, **kw)
        for how in ("provisional", "built-in", pki.anchor()):
            assert get(how)["status"] == 200, how
        r = get(other.anchor())
        assert r["status"] == 0 and r["error"] == "UNAVAILABLE" and "certificate" in r["text"]
        # One certificate in DER, as the older dialect has it.
        der = write(str(tmp_path / "one.der"), subprocess.run(
            ["openssl", "x509", "-in", pki.cert, "-outform", "DER"], capture_output=True, check=True).stdout)
        assert get(der)["status"] == 200
        assert get(write(str(tmp_path / "junk.der"), b"junk"))["error"] != ""
        # Built-in anchors are other ones, or none.
        c.config["server-anchors"] = other.cert
        c.save()
        assert get("built-in")["status"] == 0
        del c.config["server-anchors"]
        c.save()
        assert get("built-in")["error"] == "MISSING"
    # Another name than the certificate's.
    c.config["server-anchors"] = pki.cert
    c.save()
    with Server(ok, *pki.issue("elsewhere", names=("DNS:elsewhere.example.com",))) as s:
        assert c.probe("get", "localhost", s.port, "built-in", PATH)["status"] == 0
        assert c.probe("get", "localhost", s.port, "provisional", PATH)["status"] == 200
    # Dates count, unless the clock was never set.
    old = pki.issue("old", start="20200101000000Z", end="20210101000000Z")
    with Server(ok, *old) as s:
        r = c.probe("get", "localhost", s.port, "built-in", PATH)
        assert r["status"] == 0 and "expired" in r["text"]
        assert c.probe("get", "localhost", s.port, "built-in", PATH, env={"PROBE_NO_CLOCK": "1"})["status"] == 200


# proves: PH-111 PH-121
def test_who_we_are(tmp_path, pki, good):
    cert, key = pki.issue("device", subject="/CN=box/serialNumber=SN1", names=())
    c = Client(tmp_path, identity={"certificate": cert, "key": key}, **{
        "server-anchors": pki.cert, "password-file": write(str(tmp_path / "password"), "secret\nmore")})
    with Server(ok, *good, client_ca=pki.cert) as s:
        c.probe("post", "localhost", s.port, "built-in", PATH, "{}")
        seen = s.requests[-1]
        assert ("serialNumber", "SN1") in [x for rdn in seen["peer"]["subject"] for x in rdn]
        assert seen["headers"]["authorization"] == "Basic U04xOnNlY3JldA=="
        assert seen["method"] == "POST" and seen["body"] == b"{}"
        assert seen["headers"]["content-type"] == seen["headers"]["accept"] == "application/yang-data+json"
        assert "expect" not in seen["headers"]
        # Nobody vouches for the server: it does not get the password.
        c.probe("get", "localhost", s.port, "provisional", PATH)
        assert "authorization" not in s.requests[-1]["headers"]
        c.config["password-to-untrusted"] = True
        c.save()
        c.probe("get", "localhost", s.port, "provisional", PATH)
        assert "authorization" in s.requests[-1]["headers"]
        # An empty one is no secret (the older dialect).
        del c.config["password-file"], c.config["password-to-untrusted"]
        c.save()
        c.probe("get", "localhost", s.port, "provisional", PATH)
        assert s.requests[-1]["headers"]["authorization"] == "Basic U04xOg=="
        # Neither proxies nor .netrc of the environment.
        env = {"https_proxy": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9", "HOME": str(tmp_path)}
        write(str(tmp_path / ".netrc"), "default login x password y\n")
        assert c.probe("get", "localhost", s.port, "built-in", PATH, env=env)["status"] == 200


# proves: PH-143 PH-100
def test_all_addresses_of_a_host_are_tried(tmp_path, pki, good):
    hosts = write(str(tmp_path / "hosts"), "127.0.0.1 phs.example.com\n127.0.0.2 phs.example.com\n"
                                           "127.0.0.3 phs.example.com\n::1 localhost\n127.0.0.1 localhost\n")
    cert = pki.issue("many", names=("DNS:phs.example.com",))
    c = Client(tmp_path, prefix=["unshare", "-m", "sh", "-c", f"mount --bind {hosts} /etc/hosts && exec \"$0\" \"$@\""],
               **{"server-anchors": pki.cert})
    def refuses(h):
        h.send(503, b"not here", Retry_After="7")
    with Server(refuses, *cert, address="127.0.0.1") as a, Server(ok, *cert, address="127.0.0.3", port=a.port) as b:
        r = c.probe("get", "phs.example.com", a.port, "built-in", PATH)  # 127.0.0.2: nobody listens
        assert r["status"] == 200 and r["body"] == "hello" and len(a.requests) <= 1 and len(b.requests) == 1
    with Server(refuses, *cert, address="127.0.0.1") as a:
        r = c.probe("get", "phs.example.com", a.port, "built-in", PATH)
        assert r["status"] == 503 and r["retry-after-ms"] == 7000 and r["body"] == "not here"

    def holds(h):  # until somebody has said yes (PH-100)
        time.sleep(9)
        ok(h)
    with Server(holds, *cert, address="127.0.0.1") as a:
        r = c.probe("get", "phs.example.com", a.port, "built-in", PATH, "", 1000, 20000)
        assert r["status"] == 200 and len(a.requests) == 1


# proves: PH-143
def test_hosts_that_are_none(tmp_path):
    c = Client(tmp_path)
    for host in ("a/b", "user@localhost", "localhost:1", "a b", "", "[::1]", "-x", "a\nb"):
        assert c.probe("get", host, 443, "provisional", PATH)["error"] in ("INVALID", "ABSENT"), host
    for path in ("/a b", "/a\r\nHost: evil"):
        assert c.probe("get", "localhost", 443, "provisional", path)["error"] == "INVALID"


def endless_body(h):
    h.send_response(200)
    h.end_headers()
    while True:
        h.wfile.write(b"x" * 65536)


def endless_head(h):
    h.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        h.wfile.write(b"X-Field: " + b"y" * 1000 + b"\r\n")


def endless_continue(h):
    while True:
        h.wfile.write(b"HTTP/1.1 100 Continue\r\nX-Field: " + b"y" * 1000 + b"\r\n\r\n")


def trickle(h):
    h.send_response(200)
    h.send_header("Content-Length", "1000000")
    h.end_headers()
    while True:
        h.wfile.write(b"x")
        time.sleep(0.1)


def silent(_):
    time.sleep(60)


def cut_off(h):
    h.send_response(200)
    h.send_header("Content-Length", "1000")
    h.end_headers()
    h.wfile.write(b"x" * 10)


def no_http(h):
    h.wfile.write(b"SSH-2.0-hello\r\n")


# proves: PH-115
@pytest.mark.parametrize("answer", [endless_body, endless_head, endless_continue, trickle, silent, cut_off, no_http])
def test_answers_are_bounded_in_size_and_time(tmp_path, pki, good, answer):
    c = Client(tmp_path, **{"server-anchors": pki.cert})
    with Server(answer, *good) as s:
        r = c.probe("get", "localhost", s.port, "built-in", PATH, "", 1 << 20, 3000)
        assert r["status"] == 0 and r["error"] in ("UNAVAILABLE", "TIMEOUT") and r["text"] and r["n"] == 0


def test_redirects_of_http_are_not_followed(tmp_path, pki, good):
    c = Client(tmp_path, **{"server-anchors": pki.cert})
    with Server(lambda h: h.send(302, b"", Location="/elsewhere"), *good) as s:
        assert c.probe("get", "localhost", s.port, "built-in", PATH)["status"] == 302
        assert len(s.requests) == 1


def test_a_server_that_never_ends_its_handshake(tmp_path):
    c = Client(tmp_path)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        r = c.probe("get", "127.0.0.1", s.getsockname()[1], "provisional", PATH, "", 1000, 1500)
        assert r["error"] == "TIMEOUT"
        port = s.getsockname()[1]
    assert c.probe("get", "127.0.0.1", port, "provisional", PATH)["error"] == "UNAVAILABLE"


# ---- downloads ----

IMAGE = os.urandom(3_000_000)


class Images:
    """Serves IMAGE with ranges; breaks off after `breaks[i]` bytes of the i-th answer."""

    def __init__(self, etag='"v1"', ranges=True, breaks=(), data=IMAGE):
        self.etag, self.ranges, self.breaks, self.data = etag, ranges, list(breaks), data

    def __call__(self, h):
        start, status, fields = 0, 200, {}
        wanted = h.headers.get("Range")
        if self.ranges and wanted and h.headers.get("If-Range") == self.etag:
            start = int(wanted.split("=")[1].split("-")[0])
            if start >= len(self.data):
                h.send(416, b"", Content_Range=f"bytes */{len(self.data)}")
                return
            status = 206
            fields["Content-Range"] = f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
        h.send_response(status)
        if self.etag:
            h.send_header("ETag", self.etag)
        for k, v in fields.items():
            h.send_header(k, v)
        h.send_header("Content-Length", str(len(self.data) - start))
        h.end_headers()
        rest = self.data[start:]
        h.wfile.write(rest[:self.breaks.pop(0)] if self.breaks else rest)


def got(c, name="image"):
    with open(c.path("state", name), "rb") as f:
        return f.read()


# proves: PH-041
def test_a_download_goes_on_where_it_broke_off(tmp_path, pki, good):
    c = Client(tmp_path, **{"server-anchors": pki.cert})
    images = Images(breaks=[1_000_000, 1_200_000])
    with Server(images, *good) as s:
        def get(*hashes, how="built-in"):
            return c.probe("download", f"https://localhost:{s.port}/image.tar?v=1#top", "image", how, *hashes)
        for _ in range(2):
            r = get(sha256(IMAGE))
            assert r["error"] == "UNAVAILABLE" and not r["checksum"]
        r = get(sha256(IMAGE))
        assert r["error"] == "" and r["path"] == c.path("state", "image") and got(c) == IMAGE
        ranges = [x["headers"].get("range") for x in s.requests]
        assert ranges == [None, "bytes=1000000-", "bytes=2200000-"]
        assert s.requests[0]["path"] == "/image.tar?v=1"
        assert sorted(os.listdir(c.path("state"))) == ["image"]
        # It is there: nobody is asked.
        assert get(sha256(IMAGE))["error"] == "" and len(s.requests) == 3
        # An image of nobody we know without a digest.
        assert get(how="provisional")["error"] == "DENIED"
        assert get()["error"] == "" and len(s.requests) == 4


# proves: PH-041
def test_a_download_starts_again_when_the_server_has_another_one(tmp_path, pki, good):
    c = Client(tmp_path, **{"server-anchors": pki.cert})
    other = os.urandom(2_000_000)
    images = Images(breaks=[1_000_000])
    with Server(images, *good) as s:
        def get():
            return c.probe("download", f"https://localhost:{s.port}/i", "image", "built-in", sha256(other))
        assert get()["error"] == "UNAVAILABLE"
        images.data, images.etag = other, '"v2"'
        assert get()["error"] == "" and got(c) == other
        # What is there is longer than what the server has now.
        os.unlink(c.path("state", "image"))
        images.breaks, images.data = [1_500_000], IMAGE
        assert get()["error"] == "UNAVAILABLE"
        images.data = IMAGE[:1000]
        r = get()
        assert r["checksum"] and [x["headers"].get("range") for x in s.requests][-2:] == ["bytes=1500000-", None]
        # Without anything to tell versions apart nothing is gone on with.
        images.etag, images.breaks, images.data = "", [1_000_000], other
        assert get()["error"] == "UNAVAILABLE"
        assert get()["error"] == "" and s.requests[-1]["headers"].get("range") is None


# proves: PH-041 PH-021
def test_an_image_with_other_bytes_is_not_kept(tmp_path, pki, good):
    c = Client(tmp_path, **{"server-anchors": pki.cert})
    with Server(Images(), *good) as s:
        uri = f"https://localhost:{s.port}/i"
        for wrong in ([sha256(b"x")], [sha256(IMAGE), "md5:" + "0" * 32], [sha256(IMAGE), "sha-1:" + "0" * 40]):
            r = c.probe("download", uri, "image", "built-in", *wrong)
            assert r["checksum"] and r["error"] == "REFUSED" and os.listdir(c.path("state")) == []
        import hashlib
        r = c.probe("download", uri, "image", "built-in", sha256(IMAGE), "md5:" + hashlib.md5(IMAGE).hexdigest(),
                    "sha-1:" + hashlib.sha1(IMAGE).hexdigest())
        assert r["error"] == ""
    # Plain HTTP is good enough when there is a digest.
    with Server(Images()) as s:
        uri = f"http://localhost:{s.port}/i"
        assert c.probe("download", uri, "other", "built-in")["error"] == "DENIED"
        assert c.probe("download", uri, "other", "built-in", sha256(IMAGE))["error"] == ""


def test_odd_answers_to_downloads(tmp_path, pki, good):
    c = Client(tmp_path, limits={"image-mb": 1, "stall-s": 2}, **{"server-anchors": pki.cert})
    small = IMAGE[:1000]

    def part_unasked(h):
        h.send(206, small, Content_Range="bytes 0-999/1000")

    def redirect(h):
        h.send(302, b"", Location="/elsewhere")

    def gone(h):
        h.send(404, b"<html>" + b"x" * 10_000_000)

    def lie(h):
        h.send_response(200)
        h.send_header("Content-Length", str(1 << 60))
        h.end_headers()
        h.wfile.write(small)

    def stall(h):
        h.send_response(200)
        h.send_header("Content-Length", "100000")
        h.end_headers()
        h.wfile.write(small)
        time.sleep(60)

    for answer, error in ((part_unasked, "REFUSED"), (redirect, "REFUSED"), (gone, ("REFUSED", "UNAVAILABLE")),
                          (lie, "TOO_BIG"), (endless_body, "TOO_BIG"), (endless_head, "TOO_BIG"),
                          (stall, "TIMEOUT"), (no_http, "UNAVAILABLE")):
        with Server(answer, *good) as s:
            r = c.probe("download", f"https://localhost:{s.port}/i", "image", "built-in", sha256(small))
            assert r["error"] in error and r["text"], (answer, r)
            assert not os.path.exists(c.path("state", "image"))
    for uri in ("ftp://localhost/i", "https://", "https://user@localhost/i", "https://localhost:0/i", "/i", "",
                "https://localhost/a b", "file:///etc/passwd", "https://localhost/" + "x" * 3000):
        r = c.probe("download", uri, "image", "built-in", sha256(small))
        assert r["error"] in ("UNSUPPORTED", "INVALID", "ABSENT"), (uri, r)
    for name in ("../image", ".hidden", "a/b"):
        assert c.probe("download", "https://localhost/i", name, "built-in", sha256(small))["error"] == "INVALID"


def test_a_full_disk_is_said_and_left_free(tmp_path, pki, good):
    c = Client(tmp_path, prefix=["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o size=10m none {tmp_path}/state && "
                                 f"\"$0\" \"$@\"; rc=$?; du -k {tmp_path}/state | cut -f1 >{tmp_path}/used; exit $rc"],
               **{"server-anchors": pki.cert})
    def unsaid(h):  # its length
        h.send_response(200)
        h.end_headers()
        for _ in range(40):
            h.wfile.write(IMAGE)
    for answer in (Images(), unsaid):
        with Server(answer, *good) as s:
            r = c.probe("download", f"https://localhost:{s.port}/i", "image", "built-in", sha256(IMAGE))
            assert r["error"] == "LIMIT", r
            assert int(open(tmp_path / "used").read()) < 100


# proves: PH-163
def test_images_on_media(tmp_path):
    medium = str(tmp_path / "medium")
    c = Client(tmp_path / "c", storage={"mounts": [medium]})
    write(medium + "/EN9/SN1/images/i.tar", IMAGE)
    os.symlink("/etc/passwd", medium + "/link")
    os.symlink("/etc", medium + "/folder")
    os.mkfifo(medium + "/fifo")
    for uri in (f"file://{medium}/EN9/SN1/images/i.tar", "file:///EN9/SN1/images/i.tar",
                "file:///disk2:/EN9/SN1/images/i.tar"):
        r = c.probe("download", uri, "image", "provisional", sha256(IMAGE))
        assert r["error"] == "" and got(c) == IMAGE, r
        os.unlink(c.path("state", "image"))
    for uri in ("file:///link", "file:///folder/passwd", "file:///fifo", "file:///EN9/../link", "file:///EN9",
                f"file://{medium}/../../etc/passwd", "file:///", "file:///disk2:/", "file://host/EN9"):
        r = c.probe("download", uri, "image", "provisional", sha256(IMAGE))
        assert r["error"] in ("ABSENT", "INVALID"), (uri, r)
