# SPDX-License-Identifier: Apache-2.0
"""A credential that was ended is never good again by going back to when it was: not by a rollback, not by a
confirmed commit that is taken back, not by loading a former configuration; and not after a crash between."""
import base64
import time

import pytest

from weftd_lab import Weftd

STATE = "weft-system:system/state"
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIKeyKeyKeyKeyKeyKeyKeyKeyKeyKeyKeyKeyKeyKey8"


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def token_id(token):
    return token[3:].split(".")[0]


class Ann:
    """A user of the daemon, with all that lets her in; a new name each time, as failed logins are limited."""
    n = 0

    def __init__(self, weftd):
        self.weftd = weftd
        Ann.n += 1
        self.name = f"ann{Ann.n}"
        weftd.cli("configure", "set system role all right / access \"read write exec\"",
                  f"set system user {self.name} full-name Ann role all authorized-key k algorithm ssh-ed25519 key-data {KEY}",
                  "commit")
        self.set_password("old-password")
        self.token = self.make_token()

    def set_password(self, password):
        r = self.weftd.ask("POST", "/restconf/operations/weft-system:password",
                           {"weft-system:input": {"user": self.name, "password": password}})
        assert r.status in (200, 204), r

    def make_token(self):
        r = self.weftd.ask("POST", "/restconf/operations/weft-system:token-create", {"weft-system:input": {"user": self.name}})
        assert r.status == 200, r
        return r.json()["weft-system:output"]["token"]

    def revoke(self, token):
        r = self.weftd.ask("POST", "/restconf/operations/weft-system:token-revoke",
                           {"weft-system:input": {"id": token_id(token)}})
        assert r.status in (200, 204), r

    def status(self, authorization):
        return self.weftd.ask("GET", STATE, conn=self.weftd.tls_connection(), authorization=authorization).status

    def password(self, password):
        """Status of a request with it, over RESTCONF and for a session of the command line."""
        over = self.status(basic(self.name, password))
        r = self.weftd.ask("POST", "/cli/v1/sessions", {}, media="application/json", conn=self.weftd.tls_connection(),
                           authorization=basic(self.name, password))
        assert (r.status == 401) == (over == 401), (over, r)
        return over

    def bearer(self, token):
        return self.status("Bearer " + token)

    def crash(self):
        self.weftd.kill()
        self.weftd.start()


@pytest.fixture(name="weftd", scope="module")
def fixture_weftd(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("credentials")) as w:
        yield w


@pytest.mark.parametrize("crash", [False, True])
def test_rollback(weftd, crash):
    ann = Ann(weftd)
    assert ann.password("old-password") == 200 and ann.bearer(ann.token) == 200
    weftd.cli("configure", f"set system user {ann.name} full-name Anna", f"delete system user {ann.name} authorized-key k", "commit")
    ann.set_password("new-password")
    ann.revoke(ann.token)
    later = ann.make_token()
    if crash:
        ann.crash()
    said = weftd.cli("configure", "rollback 4", "show | compare", "commit")
    assert "full-name Ann;" in said and "password-hash" not in said and "token" not in said, said
    for _ in range(2):
        assert ann.password("old-password") == 401
        assert ann.password("new-password") == 200
        assert ann.bearer(ann.token) == 401
        assert ann.bearer(later) == 200
        user = weftd.ask("GET", f"weft-system:system/user={ann.name}").json()["weft-system:user"][0]
        assert user["full-name"] == "Ann" and "authorized-key" not in user, user
        if not crash:
            break
        ann.crash()


def test_a_user_who_comes_back(weftd):
    ann = Ann(weftd)
    weftd.cli("configure", f"delete system token {token_id(ann.token)}", f"delete system user {ann.name}", "commit")
    assert ann.password("old-password") == 401
    said = weftd.cli("configure", "rollback 1", "commit")
    assert f"system user {ann.name} comes back without password-hash, former-password-hashes, password-changed, password-must-change, authorized-key, expires; disabled is true" in said, said
    user = weftd.ask("GET", f"weft-system:system/user={ann.name}").json()["weft-system:user"][0]
    assert user["disabled"] and user["role"] == ["all"] and "password-hash" not in user, user
    assert ann.password("old-password") == 401 and ann.bearer(ann.token) == 401
    ann.set_password("new-password")
    assert ann.password("new-password") == 401
    weftd.cli("configure", f"delete system user {ann.name} disabled", "commit")
    assert ann.password("new-password") == 200 and ann.password("old-password") == 401
    assert ann.bearer(ann.token) == 401


@pytest.mark.parametrize("crash", [False, True])
def test_taken_back(weftd, crash):
    ann = Ann(weftd)
    weftd.cli("configure", "set system role more right / access read", f"set system user {ann.name} full-name Anna",
              "commit confirmed 15s")
    ann.set_password("new-password")
    ann.revoke(ann.token)
    if crash:
        ann.crash()
    end = time.monotonic() + 120
    while weftd.ask("GET", f"weft-system:system/user={ann.name}/full-name").json()["weft-system:full-name"] != "Ann":
        assert time.monotonic() < end, "it was not taken back"
        time.sleep(1)
    assert ann.password("old-password") == 401
    assert ann.password("new-password") == 200
    assert ann.bearer(ann.token) == 401


def test_a_saved_configuration(weftd, tmp_path):
    """What was saved shows masks for secrets: those of now stay, and none that was ended comes back."""
    ann = Ann(weftd)
    old = weftd.cli("show configuration")
    (tmp_path / "old").write_text(old)
    assert "old-password" not in old and "$y$" not in old and "********" in old
    ann.set_password("new-password")
    ann.revoke(ann.token)
    kept = ann.make_token()
    for form in ("", " | display set"):
        (tmp_path / "now").write_text(weftd.cli("show configuration" + form))
        said = weftd.cli("configure", f"load override {tmp_path}/now", "show | compare")
        assert "left out" not in said and "+" not in said and "-" not in said, said
        weftd.cli("configure", "rollback 0")
    said = weftd.cli("configure", f"load override {tmp_path}/old", "show | compare", "commit")
    assert f"token {token_id(ann.token)} hash: a mask in the text, and no value now: left out" in said, said
    assert "password-hash" not in said, said
    assert ann.password("old-password") == 401 and ann.password("new-password") == 200
    assert ann.bearer(ann.token) == 401
    assert ann.bearer(kept) == 401, "the text didn't know it"
    weftd.cli("configure", f"delete system user {ann.name}", "commit")
    said = weftd.cli("configure", f"load override {tmp_path}/old", "commit")
    assert f"user {ann.name} password-hash: a mask in the text" in said, said
    assert ann.password("new-password") == 401
