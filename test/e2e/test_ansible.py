# SPDX-License-Identifier: Apache-2.0
"""The Ansible collection with Debian's Ansible, against a real weftd over TLS."""
import json
import os
import shutil
import subprocess

import pytest
import yaml

from weftd_lab import TOP, Weftd

GOLD = "/weft-apm:apm/pool-domain-profile=gold"


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("weftd")) as d:
        yield d


@pytest.fixture
def play(w, tmp_path):
    """Runs one task; returns its result as Ansible registered it."""
    def run(module, check=False, login=None, fails=False, **args):
        login = login or {"user": "admin", "password": w.password()}
        args = {"url": f"https://localhost:{w.ports['tls']}", "ca_path": f"{w.data}/pki/ca.pem", **login, **args}
        book = [{"hosts": "localhost", "gather_facts": False, "tasks": [
            {f"weft.controller.{module}": args, "register": "r", "ignore_errors": True},
            {"copy": {"content": "{{ r | to_json }}", "dest": str(tmp_path / "result")}, "check_mode": False,
             "diff": False}]}]
        (tmp_path / "play.yml").write_text(yaml.safe_dump(book))
        r = subprocess.run(["ansible-playbook", "-i", "localhost,", "-c", "local", "--diff",
                            *(["--check"] if check else []), str(tmp_path / "play.yml")], capture_output=True, text=True,
                           check=False, env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": f"{TOP}/ansible",
                                             "ANSIBLE_COLLECTIONS_PATHS": f"{TOP}/ansible", "ANSIBLE_NOCOLOR": "1",
                                             "ANSIBLE_LOCAL_TEMP": str(tmp_path / "t"), "HOME": str(tmp_path),
                                             "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3"})
        assert r.returncode == 0, r.stdout + r.stderr
        assert w.password() not in r.stdout
        result = json.loads((tmp_path / "result").read_text())
        assert bool(result.get("failed")) == fails, result
        result["shown"] = r.stdout
        return result
    return run


def edit(path=GOLD, **parts):
    return {"path": path, **parts}


def last(w):
    return int(w.ask("GET", "weft-system:system/state").json()["weft-system:state"]["commit"])


def test_a_change_is_made_once(w, play):
    edits = [edit(value={"apportion-threshold": 100, "reclaim-threshold": 300}),
             edit("/weft-apm:apm/inet-pool/partition=metro", operation="replace",
                  value={"min-prefix-len": 20, "max-prefix-len": 28, "prefix": [{"prefix": "100.64.0.0/23"}]})]
    before = last(w)
    r = play("weft_config", check=True, edits=edits)
    assert r["changed"] and "set apm pool-domain-profile gold apportion-threshold 100" in r["difference"]
    assert "set apm pool-domain-profile gold apportion-threshold 100" in r["shown"]
    assert last(w) == before and w.ask("GET", GOLD[1:]).status == 404
    r = play("weft_config", edits=edits, comment="change 4711")
    assert r["changed"] and r["commit"] == last(w) > before
    assert "change 4711" in w.cli("show system commit")
    r = play("weft_config", edits=edits, comment="again")
    assert not r["changed"] and r["difference"] == [] and "commit" not in r
    r = play("weft_config", edits=[edit(operation="remove"), edit(GOLD + "-never", operation="remove")])
    assert r["changed"] and w.ask("GET", GOLD[1:]).status == 404
    assert not play("weft_config", edits=[edit(operation="remove")])["changed"]


def test_refusals_say_place_and_reason_and_change_nothing(w, play):
    before = last(w)
    r = play("weft_config", fails=True, edits=[
        edit(GOLD + "2", value={"apportion-threshold": 1, "reclaim-threshold": 9}),
        edit(value={"apportion-threshold": 100, "reclaim-threshold": 30})])
    assert "reclaim-threshold must be above" in r["msg"] and r["errors"][0]["error-path"]
    assert last(w) == before and w.ask("GET", GOLD[1:] + "2").status == 404
    r = play("weft_config", fails=True, edits=[edit(value={"bogus": 1})])
    assert '"bogus" is unknown' in r["msg"]
    assert "needs a value" in play("weft_config", fails=True, edits=[edit()])["msg"]
    assert play("weft_info", fails=True, login={"user": "admin", "password": "wrong"})["msg"]
    r = play("weft_info", fails=True, ca_path="/etc/ssl/certs/ca-certificates.crt")
    assert "can't be asked" in r["msg"] and "certificate" in r["msg"].lower()


def test_a_confirmed_commit(w, play):
    r = play("weft_config", confirmed=600, edits=[edit("/weft-system:system/settings", value={"location": "rack 9"})])
    assert r["changed"]
    assert "rack 9" in w.ask("GET", "weft-system:system/settings").text
    assert "confirm" in w.cli("show system commit")
    play("weft_config", edits=[edit("/weft-system:system/settings", value={"location": "rack 10"})])
    assert "rack 10" in w.ask("GET", "weft-system:system/settings").text


def test_looking_and_commands(w, play):
    r = play("weft_info", path="/weft-system:system/state", check=True)
    assert r["exists"] and r["data"]["weft-system:state"]["version"]
    r = play("weft_info", path=GOLD + "-none")
    assert not r["exists"] and r["data"] is None and not r["changed"]
    assert "unknown" in play("weft_info", path="/weft-apm:apm/bogus", fails=True)["msg"]
    r = play("weft_call", operation="weft-system:token-create",
             input={"user": "admin", "description": "ansible", "days": 3})
    assert r["changed"]
    r = play("weft_info", path="/weft-system:system/state", login={"token": r["output"]["token"]})
    assert r["exists"]
    r = play("weft_call", operation="weft-system:backup", input={"file": "not-made"}, check=True)
    assert r["changed"] and not os.path.exists(f"{w.data}/backup/not-made")
    r = play("weft_call", operation="weft-system:backup", input={"file": "made"})
    assert os.path.exists(f"{w.data}/backup/made")
    assert "write the operation" in play("weft_call", operation="backup", fails=True)["msg"]


@pytest.mark.parametrize("module", ["weft_config", "weft_info", "weft_call"])
def test_documentation(module, tmp_path):
    assert shutil.which("ansible-doc")
    r = subprocess.run(["ansible-doc", "-j", f"weft.controller.{module}"], capture_output=True, text=True, check=True,
                       env={**os.environ, "ANSIBLE_COLLECTIONS_PATHS": f"{TOP}/ansible", "HOME": str(tmp_path)})
    doc = json.loads(r.stdout)[f"weft.controller.{module}"]
    assert doc["examples"] and "ca_path" in doc["doc"]["options"]
