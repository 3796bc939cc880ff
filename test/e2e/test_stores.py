#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Folders of the daemon, with secrets sealed in the store, as releases so far have left them
(test/stores/weftd-N.tar.gz): today's program opens each, and the secrets in it are still good.

    test_stores.py FILE.tar.gz      makes one with the program that is built
"""
import base64
import glob
import json
import os
import re
import sys
import tarfile
import tempfile

import pytest

from onboard_lab import device, listen, put, wait_until
from weftd_lab import TOP, Weftd

STORES = os.path.join(TOP, "test", "stores")
KEPT = ("weft.db", "weft.db-tables", "pki/secrets.key", "expect.json")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIDDdXPGsxQd3LlCfEqk0xKQ6qgqLL3pS6kX1tVWg0Zq"
RPC = "/restconf/operations/weft-system:"


def bearer(weftd, token):
    return weftd.ask("GET", "weft-system:system/role", conn=weftd.tls_connection(),
                     authorization=f"Bearer {token}").status


def basic(weftd, user, password):
    word = base64.b64encode(f"{user}:{password}".encode()).decode()
    return weftd.ask("GET", "weft-system:system/role", conn=weftd.tls_connection(),
                     authorization="Basic " + word).status


def set_password(weftd, password):
    return weftd.ask("POST", RPC + "password", {"weft-system:input": {"user": "ann", "password": password}})


def made_since(weftd, expect):
    """What later releases have besides: former passwords, maintenance, copies that wait for their site."""
    if "maintenance" in expect:
        r = set_password(weftd, "another-good-one")
        assert r.status == 503 and expect["maintenance"] in r.errors[0]["error-message"], r
        shown = weftd.cli("show system maintenance")
        assert "Mode  : maintenance" in shown and expect["maintenance"] in shown, shown
        weftd.cli("request system maintenance off")
    if "waiting" in expect:
        assert "can't be reached" in weftd.cli("show system archival"), weftd.cli("show system archival")
    if "former" in expect:
        r = set_password(weftd, expect["former"])
        assert r.status in (400, 409) and "before it" in r.errors[0]["error-message"], r


def onboarded(weftd):
    """Devices that came, in each state that lasts; returns what there is to be known of them."""
    put(weftd, "configuration", "c", text="hostname {{host}}\n", template=True)
    put(weftd, "bundle", "b", configuration="c")
    put(weftd, "topology", "ring", member=[{"serial-number": "M1"}, {"serial-number": "M2"}])
    put(weftd, "device-type", "default", unknown="pending", rule=[{"name": "all", "bundle": "b"}])
    for serial in ("DONE", "FAILED", "M1", "M2", "NEVER"):
        put(weftd, "device", serial, password="pass " + serial, variable=[{"name": "host", "value": serial.lower()}],
            **({"topology": "ring"} if serial[0] == "M" else {}))
    door = listen(weftd, "door", public_address="localhost")
    for serial in ("DONE", "FAILED", "M1"):
        assert door.get((serial, "pass " + serial), os_version="1").status_code == 200
    assert door.get(("STRANGER", "x"), os_version="1").status_code == 401
    for serial, kind in (("DONE", "config-initiated"), ("DONE", "bootstrap-complete"), ("FAILED", "config-error"),
                         ("M1", "boot-image-installed-rebooting"), ("M2", "pre-script-initiated")):
        assert door.tell(kind, (serial, "pass " + serial), message="it was " + kind).status_code == 204
    put(weftd, "listener", "door", port=door.port, address="127.0.0.1", disabled=True)
    states = {s: device(weftd, s)["status"] for s in ("DONE", "FAILED", "M1", "M2", "STRANGER")}
    assert states == {"DONE": "complete", "FAILED": "failed", "M1": "rebooting", "M2": "under-way", "STRANGER": "pending"}
    return {"states": states, "requests": len(weftd.cli("show onboard requests").splitlines()),
            "log": [line.split(None, 1)[1] for line in weftd.cli("show onboard device M2").split("\n\n")[1].splitlines()]}


def still_onboarded(weftd, expect):
    # Nobody heard of those that were under way since the folder was made: that ended their runs.
    states = {**expect["states"], "M1": "failed", "M2": "failed"}
    wait_until("silence has ended the runs", 20, lambda: {s: device(weftd, s)["status"] for s in states} == states)
    assert len(weftd.cli("show onboard requests").splitlines()) == expect["requests"]
    log = weftd.cli("show onboard device M2").split("\n\n")[1]
    *before, last = [line.split(None, 1)[1] for line in log.splitlines()]
    assert before == expect["log"] and re.match(r"silent .*nothing was heard of it for 14400 s", last), log
    door = listen(weftd, "other", public_address="localhost")
    assert door.get(("NEVER", "pass NEVER"), os_version="1").status_code == 200
    assert door.get(("NEVER", "pass"), os_version="1").status_code == 401
    # What comes after all is believed.
    assert door.tell("bootstrap-complete", ("M2", "pass M2")).status_code == 204
    assert device(weftd, "M1")["status"] == "complete"


def make(path):
    with tempfile.TemporaryDirectory() as folder:
        with Weftd(folder) as weftd:
            weftd.cli("configure", "set system role look right / access read", "set system user ann role look",
                      "set apm pool-domain-profile std apportion-threshold 10 reclaim-threshold 300",
                      "set apm entity-match bng1 pool-domain-profile std",
                      "set apm inet-pool partition metro min-prefix-len 20 max-prefix-len 28 prefix 10.0.0.0/20",
                      "set system settings passwords former 3",
                      f'set system archival configuration archive-site away url scp://x@127.0.0.1:1/ password x host-key "{KEY}"',
                      "set system archival configuration transfer-on-commit true",
                      'commit comment "first"')
            onboard = onboarded(weftd)
            for password in ("much-older-times", "good-old-times"):
                assert set_password(weftd, password).status in (200, 204)
            token = weftd.ask("POST", RPC + "token-create", {"weft-system:input": {"user": "ann"}}).json()
            weftd.cli("configure", "delete system user ann role look", 'commit comment "a mistake"')
            weftd.cli("request system backup inside.db")
            expect = {"password": "good-old-times", "former": "much-older-times", "maintenance": "for a picture",
                      "waiting": True, "onboard": onboard, "token": token["weft-system:output"]["token"]}
            weftd.cli('request system maintenance on "for a picture"')
            assert bearer(weftd, expect["token"]) == 403 and basic(weftd, "ann", expect["password"]) == 403
        with open(os.path.join(weftd.data, "expect.json"), "w", encoding="utf-8") as f:
            json.dump(expect, f)
        with tarfile.open(path, "w:gz") as tar:
            for name in KEPT:
                tar.add(os.path.join(weftd.data, name), name)


@pytest.mark.parametrize("path", sorted(glob.glob(os.path.join(STORES, "weftd-*.tar.gz"))), ids=os.path.basename)
def test_a_folder_of_an_earlier_release(path, tmp_path):
    weftd = Weftd(tmp_path)
    os.makedirs(weftd.data, mode=0o700)
    with tarfile.open(path) as tar:
        tar.extractall(weftd.data)
    with open(os.path.join(weftd.data, "expect.json"), encoding="utf-8") as f:
        expect = json.load(f)
    with weftd:
        assert not os.path.exists(os.path.join(weftd.data, "admin-password")), "it has an administrator already"
        shown = weftd.cli("show configuration | display set")
        for line in ("set apm inet-pool partition metro prefix 10.0.0.0/20", "set system user ann",
                     "set apm entity-match bng1 pool-domain-profile std"):
            assert line in shown, shown
        history = weftd.cli("show system commit")
        assert "a mistake" in history and "first" in history, history
        # A password's hash and a token's, and what a rollback takes out of a commit's sealed record.
        assert bearer(weftd, expect["token"]) == 403 and basic(weftd, "ann", expect["password"]) == 403
        assert bearer(weftd, expect["token"] + "x") == 401 and basic(weftd, "ann", "another") == 401
        made_since(weftd, expect)
        weftd.cli("configure", "rollback 1", "commit")
        assert bearer(weftd, expect["token"]) == 200 and basic(weftd, "ann", expect["password"]) == 200
        if "onboard" in expect:
            still_onboarded(weftd, expect["onboard"])
        assert "0 problems" in weftd.cli("request system check")
    assert weftd.check().returncode == 0
    with weftd:  # written by today's program meanwhile
        assert basic(weftd, "ann", expect["password"]) == 200


def test_there_is_one():
    assert glob.glob(os.path.join(STORES, "weftd-*.tar.gz"))


if __name__ == "__main__":
    make(sys.argv[1])
