# SPDX-License-Identifier: Apache-2.0
"""Copies of the configuration on file servers: a real sshd, in all ways that APM-142..146 name."""
import gzip
import os
import re
import signal
import subprocess
import time

import pytest

from sshd import PASSWORD, Sshd, free_port
from weftd import BUILD, Weftd, error_of

WEFT = os.path.join(BUILD, "cli", "weft")
AT = "/data/weft-system:system/weft-admin:archival"


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    d = Weftd(tmp_path_factory.mktemp("weftd"), toy=False)
    yield d
    d.stop()


@pytest.fixture
def sshd(tmp_path):
    d = Sshd(tmp_path / "sshd")
    yield d
    d.stop()


@pytest.fixture(autouse=True)
def nothing_left(w):
    yield
    if not w.alive():
        w.start()
    w.delete(AT)


def cli(w, line):
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
    env.pop("WEFT_TOKEN", None)
    return subprocess.run([WEFT, "--socket", w.unix, *line.split()], text=True, capture_output=True,
                          timeout=60, check=False, env=env)


def must(w, line):
    r = cli(w, line)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout


def site(name, sshd, **more):
    return {"name": name, "url": sshd.url(), "host-key": [sshd.host_key()],
            "private-key": sshd.private_key(), **more}


def put(w, sites, **more):
    body = {"configuration": {"transfer-on-commit": True, "archive-site": sites, **more}}
    return w.put(AT, {"weft-admin:archival": body})


def set_up(w, sites, **more):
    r = put(w, sites, **more)
    assert r.status_code in (201, 204), r.text


def commit(w, text):
    r = w.put("/data/weft-system:system/settings",
              {"weft-system:settings": {"location": text}})
    assert r.status_code in (201, 204), r.text
    return newest(w)


def newest(w):
    r = w.post("/operations/weft-system:show-system-commit")
    return max(int(c["number"]) for c in r.json()["weft-system:output"]["commit"])


def state(w):
    r = w.post("/operations/weft-admin:show-archival")
    assert r.status_code == 200, r.text
    return r.json()["weft-admin:output"]


def wait_until(w, fits):
    until = time.time() + 60
    while not fits(state(w)):
        assert time.time() < until, state(w)
        time.sleep(0.05)
    return state(w)


def archived(w, commit_number):
    return wait_until(w, lambda s: s.get("archived-commit") == str(commit_number)
                      and s["waiting"] == 0 and "job" not in s)


def text_of(sshd, name):
    with gzip.open(os.path.join(sshd.files, name), "rt", encoding="utf-8") as f:
        return f.read()


# proves: A9 APM-142 APM-143 APM-144
def test_each_commit_has_files_of_its_own(w, sshd):
    set_up(w, [site("one", sshd)])
    first = newest(w)
    archived(w, first)
    second = commit(w, "second place")
    found = archived(w, second)
    assert found["archived-site"] == "one" and "failing-since" not in found
    assert len(sshd.names()) == 2
    for name in sshd.names():
        assert re.fullmatch(r"apm_\d{8}_\d{6}(-\d+)?_weft\.conf\.gz", name), name
        assert os.stat(os.path.join(sshd.files, name)).st_mode & 0o777 == 0o600
    whole = {n: text_of(sshd, n) for n in sshd.names()}
    (text,) = [t for t in whole.values() if t.startswith(f"# commit {second} at ")]
    assert text.split("\n", 1)[1] == must(w, "show configuration")
    assert 'location "second place"' in text
    # Secrets are for backups; here they are masked.
    assert "********" in text and sshd.private_key() not in text and "$y$" not in text


# proves: A9 APM-143
def test_names_stay_and_rollback_files(w, sshd):
    commit(w, "one back")
    set_up(w, [site("one", sshd)], **{"retain-source-filename": True, "rollback-files": True})
    now = newest(w)
    archived(w, now)
    names = sshd.names()
    assert "weft.conf.gz" in names and "weft.conf.1.gz" in names
    assert all(re.fullmatch(r"weft\.conf(\.\d+)?\.gz", n) for n in names), names
    history = w.post("/operations/weft-system:show-system-commit").json()
    kept = len(history["weft-system:output"]["commit"])
    assert len(names) == kept
    assert text_of(sshd, "weft.conf.gz").startswith(f"# commit {now} ")
    assert "archival" not in text_of(sshd, "weft.conf.1.gz")
    assert text_of(sshd, "weft.conf.1.gz").split("\n", 1)[1] == must(w, "show system rollback 1")
    now = commit(w, "later")
    archived(w, now)
    assert len(sshd.names()) == kept + 1  # in place of the former ones, and one more
    assert "later" in text_of(sshd, "weft.conf.gz")
    # With both: a set of files for each commit.
    set_up(w, [site("one", sshd)], **{"rollback-files": True, "file-prefix": "noc"})
    archived(w, newest(w))
    assert [n for n in sshd.names() if re.fullmatch(r"noc_\d+_\d+(-\d+)?_weft\.conf\.1\.gz", n)]


# proves: A9 APM-144
def test_without_a_port_it_is_22(w, tmp_path):
    d = Sshd(tmp_path / "sshd", port=22, address="127.0.77.22")
    try:
        set_up(w, [site("one", d, url=d.url(port=False))])
        archived(w, newest(w))
        assert len(d.names()) == 1
    finally:
        d.stop()


def test_password_and_a_server_without_sftp(w, tmp_path):
    d = Sshd(tmp_path / "sshd", sftp=False)
    try:
        one = site("one", d, password=PASSWORD, **{"host-key": [d.host_key("rsa")]})
        del one["private-key"]
        set_up(w, [one])
        archived(w, newest(w))
        (name,) = d.names()
        assert text_of(d, name).split("\n", 1)[1] == must(w, "show configuration")
        # A wrong one: said, and nothing is copied.
        set_up(w, [dict(one, password="wrong")])
        found = wait_until(w, lambda s: "failing-since" in s)
        assert found["reason"] == "one: the server does not let archive in"
        assert len(d.names()) == 1
    finally:
        d.stop()


# proves: APM-146
def test_the_next_site_when_one_is_dead(w, sshd, tmp_path):
    dead = Sshd(tmp_path / "dead", start=False)
    set_up(w, [site("dead", dead), site("alive", sshd)])
    found = archived(w, newest(w))
    assert found["archived-site"] == "alive" and len(sshd.names()) == 1


# proves: APM-146 APM-145
def test_a_dead_site_holds_up_nothing_and_gets_all_later(w, tmp_path):
    d = Sshd(tmp_path / "sshd", start=False)
    set_up(w, [site("one", d)])
    first = newest(w)
    failing = wait_until(w, lambda s: "failing-since" in s)
    assert failing["waiting"] == 1 and "can't be reached" in failing["reason"], failing
    others = [commit(w, f"place {i}") for i in range(3)]
    found = wait_until(w, lambda s: s["waiting"] == 4)
    assert "archived-commit" not in found or int(found["archived-commit"]) < first
    job = must(w, f"show job id {found['job']}")
    assert "config-archival, backing-off" in job and "can't be reached" in job
    shown = must(w, "show system archival")
    assert "Waiting  : 4 commits" in shown and "Failing  : since " in shown
    metrics = w.request("GET", "//metrics").text
    assert "weft_archival_waiting 4" in metrics and "weft_archival_failing 1" in metrics
    # Killed meanwhile: nothing is forgotten.
    w.p.send_signal(signal.SIGKILL)
    w.p.wait()
    w.start()
    assert state(w)["waiting"] == 4
    d.start()
    try:
        answer = must(w, "request system archival transfer")
        assert f"Commit {others[-1]} is copied by job " in answer
        archived(w, others[-1])
        heads = sorted(int(text_of(d, n).split()[2]) for n in d.names())
        assert heads == [first, *others]
        assert "Failing" not in must(w, "show system archival")
        assert "weft_archival_failing 0" in w.request("GET", "//metrics").text
    finally:
        d.stop()


# proves: APM-144
def test_only_the_server_whose_key_is_known(w, sshd, tmp_path):
    other = Sshd(tmp_path / "other", start=False)
    set_up(w, [site("one", sshd, **{"host-key": [other.host_key()]})])
    found = wait_until(w, lambda s: "failing-since" in s)
    assert "another host key than configured, SHA256:" in found["reason"], found
    assert sshd.names() == []
    assert "Accepted" not in sshd.read("log")  # nobody was told who we are
    set_up(w, [site("one", sshd, **{"host-key": [other.host_key(), sshd.host_key("rsa"),
                                                 sshd.host_key()]})])
    archived(w, newest(w))


def test_a_folder_that_is_not_there(w, sshd):
    set_up(w, [site("one", sshd, url=sshd.url(folder="/nowhere/at/all"))])
    found = wait_until(w, lambda s: "failing-since" in s)
    assert "/nowhere/at/all" in found["reason"] and "no such file or folder" in found["reason"]


def test_a_server_that_says_nothing(w, sshd):
    """A port that accepts and is silent: the job can be cancelled, weftd stops without waiting."""
    import socket
    with socket.create_server(("127.0.0.1", free_port())) as s:
        port = s.getsockname()[1]
        set_up(w, [site("one", sshd, url=f"scp://archive@127.0.0.1:{port}/x")])
        conn, _ = s.accept()
        job = state(w)["job"]
        assert "running" in must(w, f"show job id {job}")
        must(w, f"request job cancel id {job}")
        wait_until(w, lambda st: "job" not in st)
        conn.close()
        must(w, "request system archival transfer")
        conn, _ = s.accept()
        w.stop()
        conn.close()
    w.start()


def test_deleted_while_it_waits(w, tmp_path):
    dead = Sshd(tmp_path / "dead", start=False)
    set_up(w, [site("dead", dead)])
    wait_until(w, lambda s: "failing-since" in s)
    assert w.delete(AT).status_code == 204
    found = wait_until(w, lambda s: "job" not in s)
    assert found["waiting"] == 0 and "failing-since" not in found
    r = cli(w, "request system archival transfer")
    assert r.returncode == 1 and "there is no archive-site" in r.stderr


# proves: APM-144
@pytest.mark.parametrize("change, says", [
    ({"url": "scp://archive:secret@127.0.0.1/x"}, "without a password"),
    ({"url": "ftp://archive@127.0.0.1/x"}, "scp://LOGIN@SERVER"),
    ({"url": "scp://archive@127.0.0.1"}, "scp://LOGIN@SERVER"),
    ({"url": "scp://127.0.0.1/x"}, "scp://LOGIN@SERVER"),
    ({"url": "scp://archive@127.0.0.1:0/x"}, "1 to 65535"),
    ({"url": "scp://archive@127.0.0.1:70000/x"}, "1 to 65535"),
    ({"url": "scp://archive@[::zz]/x"}, "scp://LOGIN@SERVER"),
    ({"url": "scp://archive@[1:2]/x"}, "no IPv6 address"),
    ({"host-key": []}, "host-key"),
    ({"host-key": ["ssh-ed25519 AAAAnonsenseAAAA"]}, "this is no host key"),
    ({"private-key": "bm8ga2V5IGF0IGFsbA=="}, "no private key without a passphrase"),
    ({"password": "both"}, "either a password or a private-key"),
    ({"private-key": None}, "either a password or a private-key"),
])
def test_bad_sites(w, sshd, change, says):
    one = {k: v for k, v in {**site("one", sshd), **change}.items() if v is not None}
    before = w.head_index()
    r = put(w, [one])
    assert 400 <= r.status_code < 500, r.text
    _, _, path, message = error_of(r)
    assert says in message, message
    assert path is not None and "archiv" in path, r.text
    assert w.head_index() == before


def test_bad_values(w, sshd):
    assert put(w, [site("one", sshd)], **{"transfer-interval": 0}).status_code == 400
    assert put(w, [site("one", sshd)], **{"transfer-interval": 3000}).status_code == 400
    assert put(w, [site("one", sshd)], **{"file-prefix": "../x"}).status_code == 400
    assert put(w, [site(f"s{i}", sshd) for i in range(9)]).status_code >= 400
