# SPDX-License-Identifier: Apache-2.0
"""The support bundle: all that helps is in it, and no secret, wherever one was put."""
import os
import tarfile

import pytest

from sshd import Sshd
from weftd_lab import Weftd

WORDS = {"olga's": "Zebra-crossing-41", "given and refused": "Quokka-habitat-42", "site's": "Narwhal-tusk-43"}


@pytest.fixture(scope="module")
def weftd(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("bundle")) as d:
        yield d


def rpc(d, name, **given):
    return d.ask("POST", f"/restconf/operations/{name}", {f"{name.split(':')[0]}:input": given})


def test_everything_but_secrets(weftd, tmp_path):
    # Secrets are put wherever there is room for one.
    planted = dict(WORDS)
    weftd.cli("configure private", "set system settings passwords former 3", "set system user olga full-name Olga",
              "set system settings location Somewhere", "set system logging level debug", "commit")
    weftd.cli("request system password user olga password " + WORDS["olga's"])
    weftd.cli("request system password user olga password first-" + WORDS["olga's"])
    weftd.cli("request system password user nobody password " + WORDS["given and refused"], status=1)
    weftd.cli("set nonsense password " + WORDS["given and refused"], status=2)
    r = rpc(weftd, "weft-system:token-create", user="olga", description="a token")
    planted["token"] = r.json()["weft-system:output"]["token"].split(".")[1]
    d = Sshd(tmp_path / "sshd", start=False)
    sites = [{"name": "one", "url": d.url(), "host-key": [d.host_key()], "private-key": d.private_key()},
             {"name": "two", "url": d.url(), "host-key": [d.host_key()], "password": WORDS["site's"]}]
    r = weftd.ask("PUT", "weft-system:system/weft-admin:archival", {
        "weft-admin:archival": {"configuration": {"transfer-on-commit": True, "archive-site": sites}}})
    assert r.status in (201, 204), r
    planted["private key"] = d.private_key()
    planted["private key's text"] = d.read("user").splitlines()[1]
    planted["first password"] = weftd.password()
    for name in ("ca.key", "server.key"):
        with open(os.path.join(weftd.data, "pki", name), encoding="utf-8") as f:
            planted[name] = f.read().splitlines()[1]
    weftd.certificate("bng1")

    out = weftd.cli("request system support-bundle case-7")
    path = os.path.join(weftd.data, "support", "case-7.tar.gz")
    assert path in out and os.stat(path).st_mode & 0o777 == 0o600
    with tarfile.open(path) as tar:
        parts = {m.name.removeprefix("weft-support/"): tar.extractfile(m).read().decode() for m in tar}
    assert {"configuration.txt", "metrics.txt", "machine.txt", "show-version.txt", "show-log.txt", "show-job.txt",
            "show-system-audit.txt", "show-system-commit.txt", "show-apm-entity.txt", "show-apm-alarms.txt",
            "show-system-archival.txt", "show-system-maintenance.txt"} <= set(parts), sorted(parts)
    assert "full-name Olga;" in parts["configuration.txt"] and "********" in parts["configuration.txt"]
    assert "weft_commits_total" in parts["metrics.txt"] and "VmRSS" in parts["machine.txt"]
    assert "config-archival" in parts["show-job.txt"] and "is ready" in parts["show-log.txt"]
    assert not [n for n, t in parts.items() if t.startswith("error:") or not t.strip()], parts
    whole = "".join(parts.values())
    for what, secret in planted.items():
        assert len(secret) > 8 and secret not in whole, what
    for mark in ("$y$", "PRIVATE KEY"):
        assert mark not in whole
    # Again, in place of the one before.
    assert "case-7" in weftd.cli("request system support-bundle case-7")


def test_rights_and_bad_input(weftd):
    for name in ("../x", "", ".x", "a/b", "x" * 65):
        assert rpc(weftd, "weft-admin:support-bundle", file=name).status == 400, name
    weftd.ask("PUT", "weft-system:system/role=some", {"weft-system:role": [{"name": "some", "right": [
        {"path": "/weft-admin:", "access": "read exec"}]}]})
    weftd.ask("PUT", "weft-system:system/user=guest", {"weft-system:user": [{"name": "guest", "role": ["some"]}]})
    r = rpc(weftd, "weft-system:token-create", user="guest")
    token = r.json()["weft-system:output"]["token"]
    r = weftd.ask("POST", "/restconf/operations/weft-admin:support-bundle", {"weft-admin:input": {"file": "x"}},
                  conn=weftd.tls_connection(), authorization="Bearer " + token)
    assert r.status == 403, r
    assert not os.path.exists(os.path.join(weftd.data, "support", "x.tar.gz"))
