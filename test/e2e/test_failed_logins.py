# SPDX-License-Identifier: Apache-2.0
"""Failed logins are in the audit trail, whichever way somebody tried to come in: with the reason, without the
secret, and not one record each when many fail."""
import base64
import os
import re
import subprocess

import grpc
import pytest

from apmi_entity import Admin, credentials, generate
from weftd_lab import Weftd, binary

STATE = "/restconf/data/weft-system:system/state"


def basic(user, password):
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture(name="weftd", scope="module")
def fixture_weftd(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("logins")) as w:
        yield w


@pytest.fixture(name="pb", scope="module")
def fixture_pb(tmp_path_factory):
    return generate(str(tmp_path_factory.mktemp("pb")))


def logins(weftd):
    """(user, from, result) of each record."""
    r = weftd.ask("POST", "/restconf/operations/weft-system:show-audit", {"weft-system:input": {"lines": 10000}})
    assert r.status == 200, r
    return [(e["user"], e["from"], e["result"]) for e in r.json()["weft-system:output"].get("entry", [])
            if e["action"] == "login"]


def new_ones(weftd, before):
    return sorted(set(logins(weftd)) - set(before))


def everything_kept(weftd):
    """All bytes of the store and of the daemon's log."""
    out = b""
    for folder, _, files in os.walk(weftd.data):
        for name in files:
            if "weft.db" in name:
                with open(os.path.join(folder, name), "rb") as f:
                    out += f.read()
    return out + weftd.log().encode()


def test_every_way_in(weftd, pb):
    before = logins(weftd)
    tls = lambda headers: weftd.ask("GET", STATE, conn=weftd.tls_connection(), **headers)
    # RESTCONF: password, unknown name (perhaps a password typed too early), token, nonsense; metrics
    assert tls(basic("admin", "wrong-secret-1")).status == 401
    assert tls(basic("typed-secret-2", "x")).status == 401
    assert tls({"authorization": "Bearer wt_abcdefghijkl.wrong-secret-3"}).status == 401
    assert tls({"authorization": "Basic !!secret-4"}).status == 401
    assert weftd.ask("GET", "/metrics", conn=weftd.tls_connection(), **basic("admin", "wrong-secret-5")).status == 401
    # nobody tried to log in here: no record
    assert tls({}).status == 401
    # the command line over TLS
    secret = os.path.join(weftd.folder, "wrong")
    with open(secret, "w", encoding="ascii") as f:
        f.write("wrong-secret-6\n")
    os.chmod(secret, 0o600)
    r = subprocess.run([binary("cli", "weft"), "-H", f"localhost:{weftd.ports['tls']}", "-u", "admin", "--password-file",
                        secret, "--ca", os.path.join(weftd.data, "pki", "ca.pem"), "show", "version"],
                       capture_output=True, text=True, timeout=60, check=False)
    assert r.returncode != 0 and "wrong" in r.stderr, r.stderr
    # gRPC, with a gateway's certificate and the wrong password
    admin = Admin(pb, f"127.0.0.1:{weftd.ports['apmi']}", credentials(weftd.certificate("bng1")),
                  basic("admin", "wrong-secret-7")["authorization"])
    with pytest.raises(grpc.RpcError) as caught:
        admin("ListEntities")
    assert caught.value.code().name == "UNAUTHENTICATED"
    admin.close()
    # the local socket, as somebody who is no user
    r = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", weftd.socket,
                        "http://localhost" + STATE], user=65534, group=65534, capture_output=True, text=True, timeout=60,
                       check=False)
    assert r.stdout == "401", r.stdout + r.stderr

    found = new_ones(weftd, before)
    wanted = [("(unknown)", "restconf 127.0.0.1", "failed: no such user"),
              ("(unknown)", "restconf 127.0.0.1", "failed: no such token"),
              ("(unknown)", "restconf 127.0.0.1", "failed: the Authorization header is malformed"),
              ("admin", "restconf 127.0.0.1", "failed: wrong password"),
              ("admin", "metrics 127.0.0.1", "failed: wrong password"),
              ("admin", "cli 127.0.0.1", "failed: wrong password"),
              ("nobody", "restconf unix:uid=65534", "failed: no local user of the controller")]
    for w in wanted:
        assert w in found, (w, found)
        found.remove(w)
    (user, source, result), = found
    assert user == "admin" and source.endswith(" 127.0.0.1") and result == "failed: wrong password"
    text = weftd.cli("show system audit")
    assert re.search(r"Z admin \(restconf 127\.0\.0\.1\) login: failed: wrong password\n", text), text
    assert weftd.cli("show system audit user admin").count("login: failed") >= 4
    assert not re.search(rb"secret-\d", everything_kept(weftd))


def test_a_flood_is_one_number(weftd):
    conn = weftd.tls_connection()
    before, head = logins(weftd), weftd.head()
    n = 1500
    for i in range(n):
        r = weftd.ask("GET", STATE, conn=conn, authorization=f"Bearer wt_flood{i}.{i}")
        assert r.status == 401
        if i % 100 == 0:  # meanwhile somebody works
            r = weftd.ask("PUT", "weft-apm:apm/pool-domain-profile=a", {"weft-apm:pool-domain-profile": [
                {"name": "a", "apportion-threshold": 1 + i, "reclaim-threshold": 9999}]})
            assert r.status in (201, 204), r
    assert len(new_ones(weftd, before)) <= 3
    assert weftd.head() - head < 200  # and not 1,500: commits, records of them, what was left of the test before
    weftd.stop()  # what waited for its minute is written at the end
    weftd.start()
    told = sum(int((re.search(r"failed (\d+) times", result) or [0, 1])[1])
               for _, _, result in logins(weftd)[len(before):] if result.endswith("no such token"))
    assert told == n
