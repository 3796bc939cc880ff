# SPDX-License-Identifier: Apache-2.0
"""A device's run is a job: its steps are the device's reports, and commits wait for its end."""
import json
import re
import threading

import pytest

from onboard_lab import device, listen, onboarding, put, wait_until
from weftd_lab import Weftd


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("weftd")) as d:
        yield d


@pytest.fixture(scope="module")
def door(w):
    put(w, "configuration", "c", text="v1\n")
    put(w, "bundle", "b", configuration="c")
    put(w, "device-type", "t", rule=[{"name": "all", "bundle": "b"}])
    return listen(w, "runs", public_address="localhost")


def job(w, number):
    r = w.ask("POST", "/restconf/operations/weft-job:show-job", {"weft-job:input": {"id": str(number)}})
    return json.loads(r.text)["weft-job:output"]["job"][0]


def run_of(w, serial):
    """The device's last run."""
    return job(w, device(w, serial)["job"])


def until(w, serial, state):
    return wait_until(f"the run of {serial} is {state}", 60,
                      lambda: run_of(w, serial)["state"] == state and run_of(w, serial))


def begin(w, door, serial, **more):
    put(w, "device", serial, **{"type": "t", "password": "p", **more})
    onboarding(door.get((serial, "p")))
    return until(w, serial, "running")


def tell(door, serial, kind, message=""):
    assert door.tell(kind, (serial, "p"), message=message).status_code == 204


def steps(j):
    return [(s["name"], s.get("result", "")) for s in j["step-done"]]


def step_is(w, serial, name):
    wait_until(f"{serial} is at {name}", 30, lambda: run_of(w, serial).get("step") == name)


# proves: PH-204
def test_its_steps_are_its_reports(w, door):
    begin(w, door, "J1")
    for kind, message, at in (("bootstrap-initiated", "", "answer"), ("boot-image-initiated", "loads 2.0", "image"),
                              ("boot-image-installed-rebooting", "reboots", "image")):
        tell(door, "J1", kind, message)
        step_is(w, "J1", at)
    first = device(w, "J1")["job"]
    onboarding(door.get(("J1", "p"), os_version="2.0"))  # it is back: the same run
    step_is(w, "J1", "answer")
    for kind, at in (("pre-script-complete", "pre-script"), ("config-initiated", "configuration"),
                     ("config-complete", "configuration"), ("post-script-complete", "post-script")):
        tell(door, "J1", kind, f"{kind} it is")
        step_is(w, "J1", at)
    tell(door, "J1", "bootstrap-complete", "all is well")
    j = until(w, "J1", "done")
    assert device(w, "J1")["job"] == first
    assert steps(j) == [
        ("answer", "bootstrap-initiated"), ("image", "boot-image-installed-rebooting: reboots"), ("answer", "answered: bundle b"),
        ("pre-script", "pre-script-complete: pre-script-complete it is"),
        ("configuration", "config-complete: config-complete it is"), ("post-script", "bootstrap-complete: all is well")], j
    assert f"Job {first}: device-bootstrap, done" in w.cli(f"show job id {first}")
    # The next one, after it was forgotten, is a run of its own.
    w.cli("request onboard forget J1")
    onboarding(door.get(("J1", "p")))
    assert until(w, "J1", "running")["id"] != first


def test_an_error_ends_it_with_its_reason(w, door):
    begin(w, door, "J2")
    tell(door, "J2", "config-error", "line 3: no such interface")
    j = until(w, "J2", "failed")
    assert "config-error: line 3: no such interface" in j["reason"]
    onboarding(door.get(("J2", "p")))  # it comes again by itself
    assert until(w, "J2", "running")["id"] != j["id"]
    # What can't be made is told as well.
    put(w, "configuration", "bad", text="{{nowhere}}", template=True)
    put(w, "bundle", "bad", configuration="bad")
    put(w, "device", "J3", type="t", password="p", rule=[{"name": "all", "bundle": "bad"}])
    assert door.get(("J3", "p")).status_code == 500
    assert "nowhere" in until(w, "J3", "failed")["reason"]
    # A device that is blocked, or told that there is nothing, has ended its run.
    put(w, "device", "J2", type="t", password="p", authorisation="blocked")
    assert door.get(("J2", "p")).status_code == 403
    assert "is blocked" in until(w, "J2", "failed")["reason"]


def commit_wait(w, *lines, seconds=30):
    """Exit status and what was printed, in the background; the answer is a function."""
    out = {}

    def go():
        out["r"] = w.cli_raw(("\n".join(["configure", *lines, f"commit wait {seconds}s"]) + "\n").encode())
    t = threading.Thread(target=go)
    t.start()

    def end():
        t.join()
        return out["r"].returncode, out["r"].stdout + out["r"].stderr
    return end


def configured(w, serial):
    return w.ask("GET", f"weft-onboard:onboard/device={serial}").status == 200


# A device that can't be answered, or that is blocked meanwhile, is no reason to wait.
def test_a_commit_is_told_why_a_device_gets_nothing(w, door):
    put(w, "configuration", "lacks", text="{{host}}", template=True)
    put(w, "bundle", "lacks", configuration="lacks")
    put(w, "device-type", "lacks", rule=[{"name": "all", "bundle": "lacks"}])
    end = commit_wait(w, "set onboard device W1 type lacks password p")
    wait_until("W1 is there", 30, lambda: configured(w, "W1"))
    assert door.get(("W1", "p")).status_code == 500
    status, said = end()
    assert status == 5 and "configuration lacks: line 1: the device has no variable host" in said, said
    # What mends it is waited for as ever.
    end = commit_wait(w, "set onboard device W1 variable host value h")
    wait_until("it can be answered", 30, lambda: door.get(("W1", "p")).status_code == 200)
    tell(door, "W1", "bootstrap-complete")
    assert end()[0] == 0

    end = commit_wait(w, "set onboard device W2 type t password p")
    wait_until("W2 is there", 30, lambda: configured(w, "W2"))
    onboarding(door.get(("W2", "p")))
    w.cli("request onboard block W2")
    status, said = end()
    assert status == 5 and "is blocked" in said, said
    # Nor does anything wait for it afterwards; who is authorised again is expected.
    put(w, "device-type", "t2", rule=[{"name": "all", "bundle": "b"}])
    put(w, "device", "W3", type="t2", password="p", authorisation="blocked")
    assert commit_wait(w, "set onboard device-type t2 rule all os-version 9")()[0] == 0
    assert door.get(("W3", "p")).status_code == 403 and device(w, "W3")["status"] == "blocked"
    w.cli("request onboard authorise W3")
    assert device(w, "W3")["status"] == "expected" and "was authorised since it was here" in device(w, "W3")["because"]


def test_what_a_device_asks_after_its_run_is_no_failure(w, door):
    n = begin(w, door, "A1")["id"]
    tell(door, "A1", "bootstrap-complete")
    until(w, "A1", "done")
    put(w, "device", "A1", type="t", password="p", rule=[{"name": "nothing", "nothing-yet": [None]}])
    assert door.get(("A1", "p")).status_code == 404
    w.kill()  # ... and a restart does not bring it back
    w.start()
    wait_until("the listener", 20, lambda: re.search(r"^runs +open ", w.cli("show onboard listeners"), re.M))
    begin(w, door, "A2")
    tell(door, "A2", "config-error", "no")
    failed = until(w, "A2", "failed")
    # One that is cancelled is found by the same look that would have taken A1's run for one.
    m = begin(w, door, "A3")["id"]
    w.cli(f"request job cancel id {m}")
    wait_until("A3 has failed", 30, lambda: device(w, "A3")["status"] == "failed")
    a1 = device(w, "A1")
    assert a1["status"] == "waiting" and a1["job"] == n and job(w, n)["state"] == "done"
    assert "run-ended" not in w.cli("show onboard device A1")
    # A run is the device's to begin again.
    said = w.cli(f"request job retry id {failed['id']}", status=1)
    assert "it is the device that begins again, when it asks" in said and job(w, failed["id"])["reason"] == failed["reason"]
    # Given something again, it has a run again.
    put(w, "device", "A1", type="t", password="p")
    onboarding(door.get(("A1", "p")))
    assert until(w, "A1", "running")["id"] != n


def test_silence_ends_it(w, door):
    put(w, "device-type", "short", report_limit=10, rule=[{"name": "all", "bundle": "b"}])
    begin(w, door, "J4", type="short")
    j = until(w, "J4", "failed")
    assert "nothing was heard of it for 10 s" in j["reason"] and device(w, "J4")["status"] == "failed"
    assert re.search(r"silent +nothing was heard of it", w.cli("show onboard device J4"))


def test_it_is_cancelled_and_forgotten(w, door):
    begin(w, door, "J5")
    n = device(w, "J5")["job"]
    w.cli(f"request job cancel id {n}")
    until(w, "J5", "cancelled")
    wait_until("the device has failed", 30, lambda: device(w, "J5")["status"] == "failed")
    tell(door, "J5", "bootstrap-complete")  # nobody has stopped the device, and what it says is true
    assert device(w, "J5")["status"] == "complete" and job(w, n)["state"] == "cancelled"
    n = begin(w, door, "J6")["id"]
    w.cli("request onboard forget J6")
    wait_until("its run has ended", 30, lambda: job(w, n)["state"] == "failed")
    assert "was forgotten" in job(w, n)["reason"]
    n = begin(w, door, "J6B")["id"]
    assert w.ask("DELETE", "weft-onboard:onboard/device=J6B").status == 204
    wait_until("its run has ended", 30, lambda: job(w, n)["state"] == "failed")


def test_it_lasts_over_a_crash_and_a_restart(w, door):
    n = begin(w, door, "J7")["id"]
    tell(door, "J7", "pre-script-initiated", "runs")
    step_is(w, "J7", "pre-script")
    for end in (w.kill, w.stop):
        end()
        w.start()
        wait_until("the listener", 20, lambda: re.search(r"^runs +open ", w.cli("show onboard listeners"), re.M))
        assert run_of(w, "J7")["state"] == "running" and run_of(w, "J7")["id"] == n
    tell(door, "J7", "bootstrap-complete")
    assert steps(until(w, "J7", "done"))[-1][0] == "pre-script"
    # Silence is reckoned over a restart, too: from when it was heard.
    put(w, "device-type", "short", report_limit=10, rule=[{"name": "all", "bundle": "b"}])
    begin(w, door, "J8", type="short")
    w.kill()
    w.start()
    until(w, "J8", "failed")


def test_whenever_the_controller_is_killed(w, door):
    reports = ("bootstrap-initiated", "parsing-complete", "boot-image-complete", "pre-script-complete", "config-initiated",
               "config-complete", "post-script-complete")
    n = begin(w, door, "J14")["id"]
    for kind in reports:
        tell(door, "J14", kind)
        w.kill()  # at once: its job may not have been told yet
        w.start()
        wait_until("the listener", 20, lambda: re.search(r"^runs +open ", w.cli("show onboard listeners"), re.M))
    step_is(w, "J14", "post-script")
    tell(door, "J14", "bootstrap-complete")
    w.kill()
    w.start()
    j = until(w, "J14", "done")
    assert j["id"] == n
    names = [name for name, _ in steps(j)]
    order = ["answer", "image", "pre-script", "configuration", "post-script"]
    assert names == [x for x in order if x in names] and names[0] == "answer" and names[-1] == "post-script", j


# What waits in the background: (result, thread).
def waiting(w, *lines):
    out = {}

    def go():
        out["r"] = w.cli_raw(("\n".join(["configure", *lines, "commit wait 60s"]) + "\n").encode())
    t = threading.Thread(target=go)
    t.start()
    return out, t


def test_a_commit_waits_to_the_end_of_the_run(w, door):
    out, t = waiting(w, "set onboard device J9 type t password p")
    wait_until("it is there", 20, lambda: w.ask("GET", "weft-onboard:onboard/device=J9").status == 200)
    onboarding(door.get(("J9", "p")))
    tell(door, "J9", "config-initiated")
    step_is(w, "J9", "configuration")
    assert t.is_alive() and "r" not in out  # what was given is not yet done
    tell(door, "J9", "bootstrap-complete")
    t.join(60)
    assert out["r"].returncode == 0, out["r"].stdout + out["r"].stderr
    # An error is the commit's answer. So is silence.
    for serial, end, why in (("J10", lambda: tell(door, "J10", "pre-script-error", "exit 3"), "exit 3"),
                             ("J11", lambda: None, "nothing was heard of it")):
        out, t = waiting(w, f"set onboard device {serial} type short password p")
        wait_until("it is there", 20, lambda s=serial: w.ask("GET", f"weft-onboard:onboard/device={s}").status == 200)
        onboarding(door.get((serial, "p")))
        end()
        t.join(60)
        assert out["r"].returncode == 5 and why in out["r"].stdout + out["r"].stderr, out["r"]


def test_a_commit_that_authorises_waits(w, door):
    put(w, "device-type", "open", hw_model=["open-box"], authentication="none", unknown="pending",
        rule=[{"name": "all", "bundle": "b"}])
    put(w, "device", "J12", type="t", password="p", authorisation="pending")
    assert door.get(("J12", "p")).status_code == 404
    out, t = waiting(w, "set onboard device J12 authorisation authorised")
    wait_until("it is let in", 20, lambda: door.get(("J12", "p")).status_code == 200)
    until(w, "J12", "running")
    assert "r" not in out
    tell(door, "J12", "bootstrap-complete")
    t.join(60)
    assert out["r"].returncode == 0, out["r"].stdout + out["r"].stderr


def test_redirects(w, door):
    """To others: what comes of it is not known here, and there is no run. To us: it is part of one."""
    put(w, "redirect-list", "homes", server=[{"address": "phs.example.net", "own-authority": [None]}])
    put(w, "device", "J13", type="t", password="p", rule=[{"name": "all", "redirect-list": "homes"}])
    assert door.get(("J13", "p")).status_code == 200
    assert "job" not in device(w, "J13") and device(w, "J13")["status"] == "redirected"


# proves: PH-050
def test_a_chassis_is_one_run(w, door):
    """Its primary begins it, and whoever is the primary by then ends it."""
    for n, (first, second, end, state) in enumerate((("K1", "K2", "bootstrap-complete", "done"),
                                                     ("K3", "K4", "post-script-error", "failed"))):
        put(w, "topology", f"vc{n}", member=[{"serial-number": first}, {"serial-number": second}])
        put(w, "device", second, type="t", password="p", topology=f"vc{n}")
        begin(w, door, first, topology=f"vc{n}")
        tell(door, first, "boot-image-installed-rebooting", "reboots")
        step_is(w, first, "image")
        tell(door, second, "config-initiated", "goes on")
        step_is(w, first, "configuration")
        tell(door, second, end, "by the other")
        j = until(w, first, state)
        assert "by the other" in (j["reason"] if state == "failed" else steps(j)[-1][1]), j
        assert "job" not in device(w, second)
