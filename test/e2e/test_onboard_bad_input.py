# SPDX-License-Identifier: Apache-2.0
"""What strangers and broken devices send to the listeners for devices, and the daemon killed under reports."""
import json
import os
import socket
import ssl
import threading

import pytest
import requests

from onboard_lab import GET, JSON, TELL, XML, Pki, device, listen, onboarding, put, text64
from weftd_lab import Weftd

INPUT = "ietf-sztp-bootstrap-server:input"
BOMB = ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {chr(98 + i)} "{("&" + chr(97 + i) + ";") * 10}">' for i in range(9)) + "]>"
    '<input xmlns="urn:ietf:params:xml:ns:yang:ietf-sztp-bootstrap-server"><hw-model>&j;</hw-model></input>')


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("weftd")) as d:
        yield d


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def door(w, pki):
    put(w, "device-authority", "factory", certificate=pki.text("factory.pem"))
    put(w, "configuration", "base", text="hostname {{ host }};\n", template=True)
    with open(os.path.join(w.data, "onboard/files/os.img"), "wb") as f:
        f.write(bytes(range(256)) * 4000)
    put(w, "bundle", "edge", configuration="base")
    put(w, "device-type", "default", rule=[{"name": "all", "bundle": "edge"}])
    put(w, "device", "S1", password="secret", variable=[{"name": "host", "value": "one"}])
    return listen(w, "main", public_address="localhost")


def good(door):
    """It still serves who has a right to it."""
    _, info = onboarding(door.get(("S1", "secret")))
    assert text64(info["configuration"]) == "hostname one;\n"


# proves: PH-123
@pytest.mark.parametrize("kind, body, statuses", [
    (JSON, b"", (400,)), (JSON, b"[" * 200000, (400,)), (JSON, b'{"a":' * 40000, (400,)),
    (JSON, b"\0" * 100, (400,)), (JSON, b'{"' + INPUT.encode() + b'":{"hw-model":"\xff\xfe"}}', (400,)),
    (JSON, json.dumps({INPUT: {"nonce": "x" * 100000}}).encode(), (400,)),
    (JSON, json.dumps({INPUT: {"hw-model": "x" * 200000}}).encode(), (400,)),
    (JSON, json.dumps({INPUT: {"no-such": 1}}).encode(), (200, 400)),
    (JSON, b"x" * (300 << 10), (413,)),
    (XML, BOMB.encode(), (400,)), (XML, b"<a>" * 50000, (400,)), (XML, b"<input", (400,)),
    (XML, b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', (400,)),
    ("text/plain", b"{}", (415,)), ("application/json; charset=\x01", b"{}", (400, 415)),
    ("application/yang-data+json2", b"{}", (415,)),
])
@pytest.mark.parametrize("path", [GET, TELL])
def test_bodies_that_are_none_are_refused(door, path, kind, body, statuses):
    try:
        r = door.ask("POST", path, body, ("S1", "secret"), Content_Type=kind)
        assert r.status_code in statuses, (r.status_code, r.text[:500])
    except (requests.exceptions.InvalidHeader, requests.exceptions.ConnectionError):
        pass  # the client would not send it; the server has closed before it read all
    good(door)


# proves: PH-208
def test_files_are_those_of_the_folder_and_ranges_do_no_harm(w, door):
    context = ssl.create_default_context(cafile=door.ca)

    def raw(target, *fields):
        with socket.create_connection(("127.0.0.1", door.port), timeout=60) as s, \
                context.wrap_socket(s, server_hostname="localhost") as t:
            lines = (f"GET {target} HTTP/1.1", "Host: localhost", "Connection: close", *fields, "", "")
            t.sendall("\r\n".join(lines).encode())
            got = b""
            while piece := t.recv(1 << 16):
                got += piece
        head, _, body = got.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    os.symlink("/etc/passwd", os.path.join(w.data, "onboard/files/link.img"))
    os.mkfifo(os.path.join(w.data, "onboard/files/pipe.img"))
    for name in ("", ".", "..", "../../admin-password", "..%2f..%2fadmin-password", "%2e%2e/%2e%2e/pki/ca.key",
                 "..%252f..%252fadmin-password", "os.img/", "os.img%00", "os.img/../../../admin-password", "link.img",
                 "pipe.img", "/etc/passwd", "a" * 300, "..\\..\\admin-password"):
        status, body = raw("/files/" + name)
        assert status in (400, 404), (name, status)
        assert b"root:" not in body
    whole = bytes(range(256)) * 4000
    for text, status, body in (
            ("bytes=0-0", 206, whole[:1]), ("bytes=-1", 206, whole[-1:]), ("bytes=5-2", 200, whole),
            ("bytes=0-18446744073709551615", 206, whole), ("bytes=0-18446744073709551616", 200, whole),
            ("bytes=18446744073709551615-", 416, None), ("bytes=99999999999999999999999-", 200, whole),
            ("bytes=-18446744073709551615", 206, whole), ("bytes=-0", 416, None), ("bytes=--1", 200, whole),
            ("bytes=" + ",".join(["0-"] * 2000), 200, whole), ("bytes=0-1,2-3", 200, whole), ("lines=1-2", 200, whole),
            ("bytes=1024000-", 416, None), ("bytes=1023999-", 206, whole[-1:])):
        got = raw("/files/os.img", f"Range: {text}")
        assert got[0] == status and body in (None, got[1]), (text[:60], got[0], len(got[1]))


# proves: PH-121
def test_certificates_of_others_and_old_ones_are_nobodys(pki, door):
    pki.root("stranger", "Stranger CA")
    pki.root("namesake", "Factory CA")
    for name, by in (("alien", "stranger"), ("double", "namesake")):
        pair = pki.issue(name, "/serialNumber=S1", by)
        try:
            assert door.get(None, pair).status_code in (401, 403)
        except requests.exceptions.ConnectionError:
            pass  # refused in the handshake
    own = pki.issue("leaf", "/serialNumber=S1", "factory")
    grandchild = pki.issue("grandchild", "/serialNumber=S1", "leaf")  # by one that is no authority
    try:
        assert door.get(None, grandchild).status_code in (401, 403)
    except requests.exceptions.ConnectionError:
        pass
    assert door.get(None, own).status_code == 200
    good(door)


# proves: PH-202
def test_the_serial_number_is_read_where_the_devices_type_says(w, pki, door):
    put(w, "device-type", "by-name", serial_from="common-name", rule=[{"name": "all", "bundle": "edge"}])
    both = pki.device("both", "/serialNumber=S20/CN=other")
    same = pki.device("same", "/serialNumber=S21/CN=S21")
    for serial in ("S20", "S21"):
        put(w, "device", serial, type="by-name", variable=[{"name": "host", "value": serial}])
    assert door.get(None, both).status_code in (401, 403)  # claims S20, and its type wants that as the CN
    assert door.get(None, same).status_code == 200


# proves: PH-201
def test_values_of_variables_are_not_read_as_templates(w, door):
    for i, value in enumerate(("{{ host }}", "{{ password }}", "x\n};\nroot {", "{{", "}}", "%s%n", "a" * 500)):
        put(w, "device", f"T{i}", password="secret", variable=[{"name": "host", "value": value}])
        _, info = onboarding(door.get((f"T{i}", "secret")))
        assert text64(info["configuration"]) == f"hostname {value};\n"


def test_slow_senders_hold_up_nobody(door):
    context = ssl.create_default_context(cafile=door.ca)
    head = f"POST {GET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {JSON}\r\nContent-Length: 1000\r\n\r\n{{".encode()
    plain = [socket.create_connection(("127.0.0.1", door.port)) for _ in range(100)]
    slow = [context.wrap_socket(socket.create_connection(("127.0.0.1", door.port)), server_hostname="localhost")
            for _ in range(50)]
    for i, t in enumerate(slow):
        t.sendall(head if i % 2 else head[:20])
    for s in plain:
        s.sendall(b"\x16\x03\x01\xff\xff")
    good(door)
    for s in plain + slow:
        s.close()
    good(door)


# proves: PH-204
def test_nothing_that_was_acknowledged_is_lost_when_the_daemon_is_killed(w, door):
    names = [f"K{i}" for i in range(8)]
    for n in names:
        put(w, "device", n, password="secret", variable=[{"name": "host", "value": n}])
        onboarding(door.get((n, "secret")))
    acknowledged, enough, lock = {}, threading.Event(), threading.Lock()

    def flood(name):
        i = 0
        try:
            while True:
                i += 1
                r = door.tell("informational", (name, "secret"), message=f"step {i}")
                assert r.status_code == 204, r.text
                with lock:
                    acknowledged[name] = i
                    if sum(acknowledged.values()) >= 200 and len(acknowledged) == len(names):
                        enough.set()
        except requests.exceptions.RequestException:
            pass

    threads = [threading.Thread(target=flood, args=(n,)) for n in names]
    for t in threads:
        t.start()
    assert enough.wait(300)
    w.kill()
    for t in threads:
        t.join()
    w.start()
    for n in names:
        message = device(w, n)["message"]
        assert message.startswith("step ") and int(message[5:]) in (acknowledged[n], acknowledged[n] + 1), \
            (n, message, acknowledged[n])


# proves: PH-207
def test_a_flood_of_strangers_from_one_address_is_put_off(w, door):
    seen = {door.get((f"nobody-{i}", "x")).status_code for i in range(60)}
    assert seen == {401, 429} or seen == {403, 429}, seen
    assert "nobody-59" not in w.cli("show onboard devices")
