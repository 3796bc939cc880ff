# SPDX-License-Identifier: Apache-2.0
"""Passwords that end or must be changed, users, tokens and certificates that end by date: in every dialect."""
import datetime
import os
import subprocess
import time

import pytest
from ncclient import manager
from ncclient.operations.rpc import RPCError
from ncclient.transport.errors import AuthenticationError, SessionCloseError, SSHError, TransportError
from ncclient.xml_ import to_ele

from weftd import BUILD, Weftd

WEFT = os.path.join(BUILD, "cli", "weft")
FIRST, SECOND, THIRD = "the first long one", "the second long one", "the third long one"
USER = "/data/weft-system:system/user=olga"


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    d = Weftd(tmp_path_factory.mktemp("weftd"), toy=False, args=["--listen-netconf", "127.0.0.1:0"])
    d.put("/data/weft-system:system/role=all", {"weft-system:role": [
        {"name": "all", "right": [{"path": "/", "access": "read write exec"}]}]})
    yield d
    d.stop()


@pytest.fixture(autouse=True)
def olga(w):
    assert w.put(USER, {"weft-system:user": [{"name": "olga", "role": ["all"]}]}).status_code in (201, 204)
    set_password(w, FIRST)
    yield
    w.delete("/data/weft-system:system/settings")
    for t in w.get("/data/weft-system:system/token").json().get("weft-system:token", []):
        w.delete("/data/weft-system:system/token=" + t["id"])
    assert w.delete(USER).status_code == 204


def set_password(w, new, session=None, user="olga", **more):
    r = w.post("/operations/weft-system:password", {"weft-system:input": {"user": user, "password": new, **more}},
               session=session)
    return r


def at(seconds):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).strftime(
        "%Y-%m-%dT%H:%M:%SZ")


def change_user(w, **given):
    r = w.patch(USER, {"weft-system:user": [{"name": "olga", **given}]})
    assert r.status_code == 204, r.text


def terminal(w, tmp_path, word, *words, status=0):
    f = tmp_path / "word"
    f.write_text(word + "\n")
    r = subprocess.run([WEFT, "-H", f"localhost:{w.port}", "--ca", w.ca, "-u", "olga", "--password-file", str(f), *words],
                       env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}, capture_output=True, text=True, timeout=60,
                       check=False)
    assert r.returncode == status, r.stdout + r.stderr
    return r.stdout + r.stderr


def connect(w, word):
    return manager.connect(host="127.0.0.1", port=w.ports["netconf"], username="olga", password=word,
                           hostkey_verify=False, allow_agent=False, look_for_keys=False, timeout=60)


def test_a_password_that_must_be_changed(w, tmp_path):
    assert set_password(w, FIRST, **{"must-change": [None]}).status_code in (200, 204)
    mine = w.session("olga", FIRST)
    for path in ("/data", "/data/weft-system:system/settings", "//streams/NETCONF/json", "/operations"):
        r = w.get(path, session=mine)
        assert r.status_code == 403 and "has ended" in r.text, r.text
    assert w.post("/operations/weft-system:show-version", session=mine).status_code == 403
    assert set_password(w, SECOND, mine, user="admin").status_code == 403  # only one's own
    out = terminal(w, tmp_path, FIRST, "show", "version", status=4)
    assert out.count("has ended") == 2, out  # a note at the login, and why
    m = connect(w, FIRST)
    with pytest.raises(RPCError, match="has ended"):
        m.get()
    with pytest.raises(RPCError, match="the password that has ended"):
        m.dispatch(to_ele(f'<password xmlns="urn:weft:system"><password>{FIRST}</password></password>'))
    m.dispatch(to_ele(f'<password xmlns="urn:weft:system"><password>{SECOND}</password></password>'))
    m.get_config("running")  # in the same session
    m.close_session()
    assert w.get("/data", session=mine).status_code == 401
    assert w.get("/data", session=w.session("olga", SECOND)).status_code == 200
    assert "password-must-change" not in w.get(USER).text


def test_a_password_grows_old(w, tmp_path):
    w.put("/data/weft-system:system/settings", {"weft-system:settings": {"passwords": {"max-age": 30}}})
    assert "note:" not in terminal(w, tmp_path, FIRST, "show", "version")
    change_user(w, **{"password-changed": at(-20 * 86400)})
    assert "note: the password of olga ends at" in terminal(w, tmp_path, FIRST, "show", "version")
    change_user(w, **{"password-changed": at(-31 * 86400)})
    assert w.get("/data", session=w.session("olga", FIRST)).status_code == 403
    assert w.request("GET", "//metrics", session=w.session("olga", FIRST)).status_code == 403
    terminal(w, tmp_path, FIRST, "request", "system", "password", "password", THIRD)
    assert w.get("/data", session=w.session("olga", THIRD)).status_code == 200


def ends(what):
    """Waits until it is over: True when it was there before."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("it goes on")


def gone(m):
    try:
        m.get_config("running")
    except (SessionCloseError, SSHError, TransportError, OSError):
        return True
    return not m.connected


def test_a_user_ends_and_what_runs_for_him(w):
    m = connect(w, FIRST)
    stream = w.get("//streams/NETCONF/json", session=w.session("olga", FIRST), stream=True)
    assert stream.status_code == 200
    change_user(w, expires=at(2))
    assert w.get("/data", session=w.session("olga", FIRST)).status_code == 200
    for _ in stream.iter_content(1024):
        pass  # up to its end, without an event that would ask
    ends(lambda: gone(m))
    assert w.get("/data", session=w.session("olga", FIRST)).status_code == 401
    with pytest.raises(AuthenticationError):
        connect(w, FIRST)
    change_user(w, expires=at(3600))
    assert w.get("/data", session=w.session("olga", FIRST)).status_code == 200


def test_a_token_ends_its_stream(w):
    r = w.post("/operations/weft-system:token-create", {"weft-system:input": {"user": "olga"}})
    made = r.json()["weft-system:output"]
    token = w.session(None)
    token.headers["Authorization"] = "Bearer " + made["token"]
    stream = w.get("//streams/NETCONF/json", session=token, stream=True)
    assert stream.status_code == 200
    r = w.patch("/data/weft-system:system/token=" + made["id"],
                {"weft-system:token": [{"id": made["id"], "expires": at(2)}]})
    assert r.status_code == 204, r.text
    for _ in stream.iter_content(1024):
        pass
    assert w.get("/data", session=token).status_code == 401
