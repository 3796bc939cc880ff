# SPDX-License-Identifier: Apache-2.0
"""Rules for passwords; how many sessions there may be; what ends when a login does."""
import os
import subprocess
import time

import pytest
from ncclient import manager
from ncclient.operations.rpc import RPCError
from ncclient.transport.errors import SSHError, SessionCloseError, TransportError

from weftd import BUILD, Weftd, error_of

WEFT = os.path.join(BUILD, "cli", "weft")
SETTINGS = "/data/weft-system:system/settings"
FIRST = "a long pass phrase"


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    d = Weftd(tmp_path_factory.mktemp("weftd"), toy=False,
              args=["--listen-netconf", "127.0.0.1:0"])
    d.put("/data/weft-system:system/role=all", {"weft-system:role": [
        {"name": "all", "right": [{"path": "/", "access": "read write exec"}]}]})
    yield d
    d.stop()


@pytest.fixture
def olga(w):
    """A user who may do everything, with a password."""
    r = w.put("/data/weft-system:system/user=olga", {"weft-system:user": [{"name": "olga", "role": ["all"]}]})
    assert r.status_code in (201, 204), r.text
    assert password(w, FIRST).status_code in (200, 204)
    yield w.session("olga", FIRST)
    w.delete("/data/weft-system:system/user=olga")
    w.delete(SETTINGS)


def password(w, new, user="olga", session=None):
    return w.post("/operations/weft-system:password",
                  {"weft-system:input": {"user": user, "password": new}}, session=session)


def settings(w, **given):
    r = w.put(SETTINGS, {"weft-system:settings": given})
    assert r.status_code in (201, 204), r.text


def refused(r, says):
    status, _, _, message = error_of(r)
    assert status == 400 and says in message, r.text


def test_length_and_kinds(w, olga):
    settings(w, passwords={"min-length": 12, "min-classes": 3})
    refused(password(w, "Short-1"), "from 8 to 128 characters")  # the model's own bound
    refused(password(w, "Eleven-char"), "at least 12 characters")
    refused(password(w, "all of one kind"), "at least 3 kinds")
    refused(password(w, "ALLOFONEKIND1"), "at least 3 kinds")
    assert w.get("/data", session=olga).status_code == 200  # the former one is good still
    assert password(w, "Three kinds of them").status_code in (200, 204)
    # A letter of two bytes is one character.
    refused(password(w, "Ääääää1ö"), "at least 12 characters")
    settings(w)
    w.put("/data/weft-system:system/user=longname", {"weft-system:user": [{"name": "longname"}]})
    refused(password(w, "LongName", user="longname"), "not the user's name")
    w.delete("/data/weft-system:system/user=longname")


def test_former_passwords(w, olga):
    settings(w, passwords={"former": 2})
    refused(password(w, FIRST), "the password at hand or one of the 2 before it")
    words = ["the second one", "the third one", "the fourth one"]
    for new in words[:2]:
        assert password(w, new).status_code in (200, 204)
    for old in (FIRST, *words[:2]):
        refused(password(w, old), "one of the 2 before it")
    assert password(w, words[2]).status_code in (200, 204)
    # Not for others to find out: only who may set it is told.
    w.put("/data/weft-system:system/role=own", {"weft-system:role": [
        {"name": "own", "right": [{"path": "/weft-system:password", "access": "exec"}]}]})
    w.put("/data/weft-system:system/user=guest", {"weft-system:user": [{"name": "guest", "role": ["own"]}]})
    assert password(w, "guest's own", user="guest").status_code in (200, 204)
    guest = w.session("guest", "guest's own")
    r = password(w, words[2], session=guest)
    assert r.status_code == 403 and "before it" not in r.text
    assert password(w, "guest's next", user="guest", session=guest).status_code in (200, 204)
    # They are kept as hashes, and shown to nobody.
    text = w.get("/data/weft-system:system/user=olga").text
    assert '"former-password-hashes":"********"' in text
    with open(os.path.join(w.data, "weft.db"), "rb") as f:
        store = f.read()
    with open(os.path.join(w.data, "weft.db-wal"), "rb") as f:
        store += f.read()
    for word in (FIRST, *words):
        assert word.encode() not in store
    assert password(w, FIRST).status_code in (200, 204)  # three ago
    settings(w)
    assert password(w, FIRST).status_code in (200, 204)  # no rule any more
    assert "former-password-hashes" not in w.get("/data/weft-system:system/user=olga").text
    w.delete("/data/weft-system:system/user=guest")


def connect(w, user="olga", word=FIRST):
    return manager.connect(host="127.0.0.1", port=w.ports["netconf"], username=user, password=word,
                           hostkey_verify=False, allow_agent=False, look_for_keys=False, timeout=60)


def token(w):
    r = w.post("/operations/weft-system:token-create", {"weft-system:input": {"user": "olga"}})
    made = r.json()["weft-system:output"]
    return made["id"], {**os.environ, "WEFT_TOKEN": made["token"], "ASAN_OPTIONS": "detect_leaks=0"}


def revoke(w, id_):
    assert w.post("/operations/weft-system:token-revoke", {"weft-system:input": {"id": id_}}).status_code in (200, 204)


def terminal(w, env, *lines):
    """A session at the terminal program, over TLS, which reads its lines from us."""
    p = subprocess.Popen([WEFT, "-H", f"localhost:{w.port}", "--ca", w.ca, "--no-color"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         env=env)
    for line in lines:
        p.stdin.write(line + "\n")
        p.stdin.flush()
    return p


def users(w):
    r = w.post("/operations/weft-system:show-system-users")
    return [s["user"] for s in r.json()["weft-system:output"].get("session", [])]


def wait_for(fits):
    until = time.time() + 60
    while not fits():
        assert time.time() < until
        time.sleep(0.05)


@pytest.mark.parametrize("how", ["disabled", "deleted"])
def test_everything_ends_with_the_login(w, olga, how):
    m = connect(w)
    m.create_subscription()
    stream = w.get("//streams/NETCONF/json", session=olga, stream=True,
                   headers={"Accept": "text/event-stream"})
    assert stream.status_code == 200, stream.text
    id_, env = token(w)
    t = terminal(w, env, "monitor events")
    wait_for(lambda: users(w).count("olga") == 2)
    if how == "disabled":
        r = w.put("/data/weft-system:system/user=olga/disabled", {"weft-system:disabled": True})
    else:
        revoke(w, id_)
        r = w.delete("/data/weft-system:system/user=olga")
    assert r.status_code in (201, 204), r.text
    wait_for(lambda: "olga" not in users(w))
    for _ in stream.iter_content(4096):  # it ends
        pass
    wait_for(lambda: not m.connected)
    out, _ = t.communicate(timeout=60)
    assert t.returncode != 0, out
    assert w.get("/data", session=olga).status_code == 401
    if how == "disabled":
        revoke(w, id_)


def test_no_more_sessions_than_so_many(w, olga):
    settings(w, sessions={"max-per-user": 2})
    one, two = connect(w), connect(w)
    with pytest.raises((SSHError, SessionCloseError, TransportError, RPCError, OSError)):
        connect(w)
    id_, env = token(w)
    argv = [WEFT, "-H", f"localhost:{w.port}", "--ca", w.ca, "show", "version"]
    r = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=60, check=False)
    assert r.returncode != 0 and "olga has 2 sessions already" in r.stderr, r
    two.close_session()
    wait_for(lambda: users(w).count("olga") == 1)
    r = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=60, check=False)
    assert r.returncode == 0, r
    settings(w, sessions={"max-sessions": 1})
    r = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=60, check=False)
    assert r.returncode != 0 and "there are 1 sessions already" in r.stderr, r
    # Root at the machine itself is never kept out.
    plain = {k: v for k, v in env.items() if k != "WEFT_TOKEN"}
    r = subprocess.run([WEFT, "--socket", w.unix, "show", "version"], capture_output=True, text=True,
                       env=plain, timeout=60, check=False)
    assert r.returncode == 0, r
    one.close_session()
    revoke(w, id_)


def test_bad_input(w):
    for given in ({"passwords": {"min-length": 7}}, {"passwords": {"min-classes": 5}},
                  {"passwords": {"former": 25}}, {"sessions": {"max-sessions": 0}},
                  {"sessions": {"max-per-user": 1001}}):
        r = w.put(SETTINGS, {"weft-system:settings": given})
        assert r.status_code == 400, r.text
