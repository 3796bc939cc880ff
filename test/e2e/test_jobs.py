# SPDX-License-Identifier: Apache-2.0
"""Jobs as people and programs see them: a backup in the background through CLI and RESTCONF."""
import os
import shutil
import signal
import subprocess
import time

import pytest

from schemas import check_output
from weftd import BUILD, Weftd, error_of

WEFT = os.path.join(BUILD, "cli", "weft")


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    d = Weftd(tmp_path_factory.mktemp("weftd"), toy=False)
    yield d
    d.stop()


def cli(w, line):
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
    env.pop("WEFT_TOKEN", None)
    return subprocess.run([WEFT, "--socket", w.unix, *line.split()], text=True, capture_output=True,
                          timeout=60, check=False, env=env)


def must(w, line):
    r = cli(w, line)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout


def operation(w, name, **given):
    return w.post(f"/operations/weft-job:{name}", {"weft-job:input": given})


def job(w, number):
    r = operation(w, "show-job", id=str(number))
    assert r.status_code == 200, r.text
    (found,) = r.json()["weft-job:output"]["job"]
    return found


def wait_for(w, number, state):
    until = time.time() + 60
    while job(w, number)["state"] != state:
        assert time.time() < until, job(w, number)
        time.sleep(0.05)
    return job(w, number)


def test_none_yet(w):
    assert must(w, "show job") == "No such jobs.\n"
    assert w.get("/data/weft-job:jobs").status_code in (200, 404)


def test_backup_in_the_background(w):
    out = must(w, "request system backup one.db background")
    assert "one.db is job 1: show job id 1" in out
    done = wait_for(w, 1, "done")
    assert [s["name"] for s in done["step-done"]] == ["copy", "name"]
    assert done["percent"] == 100 and done["user"] and "ended" in done
    backup = os.path.join(w.data, "backup", "one.db")
    assert os.stat(backup).st_mode & 0o077 == 0
    assert os.listdir(os.path.dirname(backup)) == ["one.db"]
    assert "system-backup" in must(w, "show job state done")
    shown = must(w, "show job id 1")
    assert "Job 1: system-backup, done" in shown and "Step 2 name: done: " in shown
    # What it made is a backup: it can be restored.
    other = os.path.join(w.dir, "other")
    shutil.copytree(os.path.join(w.data, "pki"), os.path.join(other, "pki"))
    for words in (("restore", backup), ("check",)):
        r = subprocess.run([w.program, *words, "--data", other], text=True, capture_output=True,
                           timeout=60, check=False)
        assert r.returncode == 0, r.stdout + r.stderr
    r = w.post("/operations/weft-system:backup",
               {"weft-system:input": {"file": "two.db", "background": [None]}})
    assert r.status_code == 200 and r.json()["weft-system:output"]["job"] == "2", r.text
    wait_for(w, 2, "done")
    r = cli(w, "request system backup one.db background")
    assert r.returncode == 1 and "exists already" in r.stderr


def test_state_and_output_fit_the_model(w, tmp_path):
    r = operation(w, "show-job", id="1")
    check_output(tmp_path, r.text, "weft-job:show-job")
    r = w.get("/data/weft-job:jobs")
    assert [j["id"] for j in r.json()["weft-job:jobs"]["job"]][:2] == ["1", "2"]
    r = w.get("/data/weft-job:jobs/job=1/state")
    assert r.json() == {"weft-job:state": "done"}


def test_cancel_and_what_a_restart_leaves(w):
    must(w, "request system backup /nowhere/three.db background")
    waiting = wait_for(w, 3, "backing-off")
    assert waiting["step"] == "copy" and "nowhere" in waiting["reason"], waiting
    assert "next-time" in waiting
    w.p.send_signal(signal.SIGKILL)
    w.p.wait()
    w.start()
    assert job(w, 3)["state"] in ("backing-off", "running")
    assert "Job 3 is " in must(w, "request job cancel id 3")
    ended = wait_for(w, 3, "cancelled")
    assert ended["reason"].startswith("cancelled by ")
    assert [s["outcome"] for s in ended["step-done"]] == ["undone"]
    audit = must(w, "show system audit")
    assert "/weft-job:job-cancel: done" in audit


def test_cancel_over_restconf(w):
    must(w, "request system backup /nowhere/four.db background")
    wait_for(w, 4, "backing-off")
    r = operation(w, "job-cancel", id="4")
    assert r.status_code == 200, r.text
    assert r.json()["weft-job:output"]["state"] in ("cancelled", "rolling-back", "cancelling")
    wait_for(w, 4, "cancelled")


def test_bad_input(w):
    for name in ("job-cancel", "job-retry"):
        status, tag, _, message = error_of(operation(w, name, id="99"))
        assert (status, tag, message) == (404, "invalid-value", "there is no job 99")
        status, _, _, message = error_of(operation(w, name, id="1"))
        assert status == 412 and "job 1 is done" in message
        assert operation(w, name).status_code == 400
        assert operation(w, name, id="-1").status_code == 400
        assert operation(w, name, id="1", more="x").status_code == 400
    assert error_of(operation(w, "show-job", id="99"))[0] == 404
    assert operation(w, "show-job", state="asleep").status_code == 400
    assert operation(w, "show-job", last=0).status_code == 400
    r = cli(w, "request job cancel id 99")
    assert r.returncode == 1 and "there is no job 99" in r.stderr
    r = cli(w, "request job cancel id seven")
    assert r.returncode == 2 and "seven" in r.stderr
    r = cli(w, "request job retry id 3")
    assert r.returncode == 1 and "only a failed one is retried" in r.stderr


def test_rights(w):
    """Looking is a matter of reading; stopping takes the right to execute."""
    w.put("/data/weft-system:system/role=watcher", {"weft-system:role": [
        {"name": "watcher", "right": [{"path": "/", "access": "read"}]}]})
    r = w.put("/data/weft-system:system/user=olga", {"weft-system:user": [
        {"name": "olga", "role": ["watcher"]}]})
    assert r.status_code in (201, 204), r.text
    r = w.post("/operations/weft-system:password",
               {"weft-system:input": {"user": "olga", "password": "olga-password"}})
    assert r.status_code in (200, 204), r.text
    olga = w.session("olga", "olga-password")
    assert w.get("/data/weft-job:jobs/job=1/state", session=olga).status_code == 200
    r = w.post("/operations/weft-job:job-cancel", {"weft-job:input": {"id": "1"}}, session=olga)
    assert r.status_code == 403, r.text


def test_monitor_job(w):
    out = must(w, "request system backup watched.db background")
    number = out.split(" is job ")[1].split(":")[0]
    lines = must(w, f"monitor job id {number}").splitlines()
    assert lines[-1].endswith(" done, 100%") or " done, 100%: " in lines[-1], lines
    # One that can't go on says why, and its end is the command's status, for scripts.
    out = must(w, "request system backup /nowhere/watched.db background")
    number = out.split(" is job ")[1].split(":")[0]
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
    with subprocess.Popen([WEFT, "--socket", w.unix, "monitor", "job", "id", number], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as watch:
        line = watch.stdout.readline()
        while "backing-off, step copy" not in line:
            assert line, watch.stderr.read()
            line = watch.stdout.readline()
        assert "nowhere" in line
        must(w, f"request job cancel id {number}")
        rest, fault = watch.communicate(timeout=60)
        assert watch.returncode == 1 and "has been cancelled" in fault, rest + fault
        assert " cancelled, " in rest
    r = cli(w, "monitor job id 999")
    assert r.returncode == 1 and "there is no job 999" in r.stderr
    r = cli(w, "monitor job id x")
    assert r.returncode == 2 and "id x" in r.stderr
