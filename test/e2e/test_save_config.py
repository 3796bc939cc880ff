# SPDX-License-Identifier: Apache-2.0
"""The configuration in a file: written by the controller, read by `load` and by a new store."""
import base64
import os
import subprocess

import pytest

from sshd import Sshd
from weftd_lab import Weftd, binary


@pytest.fixture(scope="module")
def weftd(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("save")) as d:
        d.cli("configure private", "set system settings location here",
              "set system user olga full-name Olga", "commit")
        d.cli('request system password user olga password "a long pass phrase"')
        yield d


def rpc(d, **given):
    return d.ask("POST", "/restconf/operations/weft-admin:save-config", {"weft-admin:input": given})


def saved(d, name):
    with open(os.path.join(d.data, "config", name), encoding="utf-8") as f:
        return f.read()


def _login(d, user, password):
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    r = d.ask("GET", "/restconf/yang-library-version", conn=d.tls_connection(),
              authorization="Basic " + basic)
    return r.status


# proves: APM-141 APM-162
def test_save_and_load(weftd):
    out = weftd.cli("request system save-config weft.conf")
    path = os.path.join(weftd.data, "config", "weft.conf")
    assert f" is in {path}: " in out
    assert os.stat(path).st_mode & 0o777 == 0o600
    text = saved(weftd, "weft.conf")
    assert text.startswith("# commit ") and "location here;" in text
    assert "********" in text and "$y$" not in text
    weftd.cli("configure private", "set system settings location elsewhere", "commit")
    weftd.cli("configure private", f"load override {path}", "commit")
    assert "location here;" in weftd.cli("show configuration")
    weftd.cli("request system save-config weft.conf")  # in place of the former one
    assert os.listdir(os.path.dirname(path)) == ["weft.conf"]


# proves: APM-140 APM-141
def test_a_new_store_begins_with_it(weftd, tmp_path):
    assert "with secrets in clear" in weftd.cli("request system save-config whole.conf secrets")
    path = os.path.join(weftd.data, "config", "whole.conf")
    assert "$y$" in saved(weftd, "whole.conf")
    with Weftd(tmp_path / "other", options=["--initial-config", path]) as other:
        text = other.cli("show configuration")
        assert "location here;" in text and "full-name Olga;" in text
        assert "initial configuration" in other.cli("show system commit")
        assert _login(other, "olga", "a long pass phrase") == 200
        # Only a new store does: what was changed since stays.
        other.cli("configure private", "set system settings location moved", "commit")
        other.stop()
        other.start()
        assert "location moved;" in other.cli("show configuration")


# proves: APM-140
@pytest.mark.parametrize("text, says", [
    ("system { settings { location a; location-x b; } }", "location-x"),
    ("system { role r { right /nowhere: { access read; } } }", "there is no such module"),
    (None, "can't be read"),
])
def test_a_wrong_one_is_said_and_nothing_starts(tmp_path, text, says):
    path = str(tmp_path / "initial.conf")
    if text is not None:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    argv = [binary("src", "weftd", "weftd"), "--data", str(tmp_path / "data"), "--listen", "none",
            "--listen-apmi", "none", "--initial-config", path]
    r = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert r.returncode == 1 and path in r.stderr and says in r.stderr, r.stderr
    # Mended it starts with it: nothing of the wrong one has become of record.
    with open(path, "w", encoding="utf-8") as f:
        f.write("system { settings { location mended; } }")
    with Weftd(tmp_path, options=["--initial-config", path]) as d:
        assert "location mended;" in d.cli("show configuration")


def test_at_a_site(weftd, tmp_path):
    d = Sshd(tmp_path / "sshd")
    try:
        site = {"name": "one", "url": d.url(), "host-key": [d.host_key()], "private-key": d.private_key()}
        r = weftd.ask("PUT", "weft-system:system/weft-admin:archival",
                      {"weft-admin:archival": {"configuration": {"archive-site": [site]}}})
        assert r.status in (201, 204), r
        r = rpc(weftd, file="noc.conf", site="one")
        assert r.status == 200, r
        with open(os.path.join(d.files, "noc.conf"), encoding="utf-8") as f:
            text = f.read()
        assert "location here;" in text and d.private_key() not in text
        assert d.names() == ["noc.conf"]
    finally:
        d.stop()
    r = rpc(weftd, file="noc.conf", site="one")
    assert r.status == 500 and "can't be reached" in r.text, r
    r = rpc(weftd, file="noc.conf", site="two")
    assert r.status == 404 and "no archive-site" in r.text, r


def test_bad_input(weftd):
    for name in ("../x", ".hidden", "a/b", "", "x" * 129, "a b"):
        assert rpc(weftd, file=name).status == 400, name
    assert rpc(weftd).status == 400
    r = weftd.ask_tls("POST", "/restconf/operations/weft-admin:save-config",
                      {"weft-admin:input": {"file": "x.conf", "secrets": [None]}})
    assert r.status == 403 and "only for an administrator of the machine itself" in r.text, r
    assert not os.path.exists(os.path.join(weftd.data, "config", "x.conf"))
