# SPDX-License-Identifier: Apache-2.0
"""A chassis in default mode: what its primary reports about the other members is theirs, in both dialects."""
import re
import threading

import pytest

from onboard_lab import OLD, XML, device, listen, onboarding, put, wait_until
from test_onboard_runs import run_of, tell, until
from weftd_lab import Weftd

PRERFC = "http://juniper.net/zerotouch-bootstrap-server"
ROLES = ("master", "backup", "linecard", "linecard")
SAME, DETECTED = "No upgrade required.", "Member detected and successfully upgraded."
NOT_DETECTED = "Did not come up post image upgrade"


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("weftd")) as d:
        yield d


@pytest.fixture(scope="module")
def door(w):
    put(w, "configuration", "c", text="<configuration/>")
    put(w, "bundle", "b", configuration="c")
    put(w, "device-type", "t", rule=[{"name": "all", "bundle": "b"}])
    put(w, "device-type", "short", report_limit=10, rule=[{"name": "all", "bundle": "b"}])
    return listen(w, "chassis", public_address="localhost")


class Chassis:
    """Four members; the first asks and reports, in one dialect."""

    def __init__(self, w, door, name, prerfc, kind="t"):
        self.w, self.door, self.name, self.prerfc, self.kind = w, door, name, prerfc, kind
        self.serials = [f"{name}-{i}" for i in range(4)]

    def lines(self, listed=True):
        yield f"set onboard topology {self.name} strict false"
        for s in self.serials:
            if listed:
                yield f"set onboard topology {self.name} member {s}"
            yield f"set onboard device {s} type {self.kind} password p topology {self.name}"

    def commit(self, wait, listed=True):
        """In the background when it waits; returns what it will have said."""
        out = {}

        def go():
            lines = ["configure", *self.lines(listed), "commit wait 60s" if wait else "commit"]
            out["r"] = self.w.cli_raw(("\n".join(lines) + "\n").encode())
        t = threading.Thread(target=go)
        t.start()
        wait_until("they are there", 20, lambda: self.w.ask("GET", f"weft-onboard:onboard/device={self.serials[3]}").status == 200)
        out["t"] = t
        return out

    def asks(self, i=0):
        auth = (self.serials[i], "p")
        if self.prerfc:
            r = self.door.ask("GET", OLD + self.serials[i], auth=auth)
            assert r.status_code == 200 and "virtual-chassis" in r.text, r.text
        else:
            assert "weft-onboard:virtual-chassis" in onboarding(self.door.get(auth))[1]

    def tells(self, new, old, text, about=None, by=0, status=None):
        """`new`, `old`: what the dialects call it; `about`: a member's number, or a serial number."""
        serial = self.serials[about] if isinstance(about, int) else about
        number = about if isinstance(about, int) else 9
        role = ROLES[number] if number < 4 else "linecard"
        auth = (self.serials[by], "p")
        if not self.prerfc:
            more = {} if serial is None else {"weft-onboard:virtual-chassis-member": {
                "serial-id": serial, "member-id": number, "role": role}}
            r = self.door.tell(new, auth, message=text, **more)
        else:
            member = "" if serial is None else (
                f"<virtual-chassis-member><member-id>{number}</member-id><serial-id>{serial}</serial-id><role>{role}</role>"
                "</virtual-chassis-member>")
            r = self.door.ask("POST", f"{OLD}{self.serials[by]}/notification", f'<input xmlns="{PRERFC}"><notification-type>{old}'
                              f"</notification-type><message>{text}</message>{member}</input>", auth, Content_Type=XML)
        assert r.status_code == (status or (201 if self.prerfc else 204)), r.text

    def upgraded(self, about, text=SAME, by=0):
        self.tells("informational", "vc-member-upgrade-success", text, about, by)

    def missing(self, about, by=0):
        self.tells("boot-image-warning", "vc-member-detection-failed", NOT_DETECTED, about, by)

    def complete(self, by=0):
        self.tells("bootstrap-complete", "bootstrap-complete", "Bootstrapping is complete.", by=by)

    def statuses(self):
        return [device(self.w, s)["status"] for s in self.serials]

    def shown(self):
        r = self.w.ask("POST", "/restconf/operations/weft-onboard:show-onboard-chassis", {"weft-onboard:input": {"name": self.name}})
        (c,) = r.json()["weft-onboard:output"]["chassis"]
        return c["member"]


def log(w, serial):
    """What is kept of what it did: [(event, text)]."""
    r = w.ask("POST", "/restconf/operations/weft-onboard:show-onboard-device", {"weft-onboard:input": {"serial-number": serial}})
    return [(x["event"], x["text"]) for x in r.json()["weft-onboard:output"]["log"]]


def ended(out, status):
    out["t"].join(90)
    r = out["r"]
    assert r.returncode == status, r.stdout + r.stderr
    return r.stdout + r.stderr


# proves: PH-030 PH-032 PH-081
@pytest.mark.parametrize("prerfc", (True, False))
@pytest.mark.parametrize("listed", (True, False))
def test_a_commit_waits_for_members_that_say_nothing_themselves(w, door, prerfc, listed):
    c = Chassis(w, door, f"vc{'a' if prerfc else 'b'}{'l' if listed else 'n'}", prerfc)
    out = c.commit(True, listed)
    c.asks()
    assert c.statuses() == ["answered", "expected", "expected", "expected"]
    for i in range(4):
        c.upgraded(i)
    assert c.statuses() == ["under-way"] * 4
    members = c.shown()
    assert [(m["serial-number"], m["member-id"], m["role"], m["asked-for-by"]) for m in members] == [
        (s, i, ROLES[i], c.serials[0]) for i, s in enumerate(c.serials)]
    assert all(m["told-by"] == c.serials[0] and SAME in m["message"] and m["since"] for m in members[1:]), members
    assert "told-by" not in members[0] and out["t"].is_alive()
    text = w.cli(f"show onboard chassis {c.name}")
    assert text.startswith(f"Chassis {c.name}\n"), text
    for i, s in enumerate(c.serials):
        about = i or 3  # the primary's own last word was about another
        assert re.search(rf"^  {i} +{s} +{ROLES[i]} +under-way +\S+Z +{c.serials[0]} .*Member {about} "
                         rf"\({c.serials[about]}, {ROLES[about]}\): {SAME}$", text, re.M), text
    assert log(w, c.serials[2])[-1] == ("informational", f"{c.serials[0]} reports: " + (
        "vc-member-upgrade-success: " if prerfc else "") + f"Member 2 ({c.serials[2]}, linecard): {SAME}")
    c.complete()
    ended(out, 0)
    assert c.statuses() == ["complete"] * 4


# proves: PH-030 PH-082
@pytest.mark.parametrize("prerfc", (True, False))
def test_a_member_that_fails_is_the_commits_answer(w, door, prerfc):
    """The others go on without it."""
    c = Chassis(w, door, f"vf{'a' if prerfc else 'b'}", prerfc)
    out = c.commit(True)
    c.asks()
    for i in (0, 1, 2):
        c.upgraded(i)
    c.missing(3)
    text = ended(out, 5)
    assert f"device:{c.serials[3]}" in text and NOT_DETECTED in text, text
    assert c.statuses() == ["under-way"] * 3 + ["failed"]
    c.complete()
    assert c.statuses() == ["complete"] * 3 + ["failed"]
    assert log(w, c.serials[3])[-1] == ("chassis", f"chassis {c.name} is complete, and this member has failed")


# proves: PH-051 PH-054
@pytest.mark.parametrize("prerfc", (True, False))
def test_what_was_reported_of_members_outlives_the_controller(w, door, prerfc):
    c = Chassis(w, door, f"vk{'a' if prerfc else 'b'}", prerfc)
    c.commit(False)["t"].join(60)
    n = w.ask("GET", "weft-system:system/state").json()["weft-system:state"]["commit"]
    c.asks()
    for i in range(4):
        c.upgraded(i, DETECTED)
        before = w.cli(f"show onboard chassis {c.name}")
        w.kill()
        w.start()
        wait_until("the listener", 20, lambda: re.search(r"^chassis +open ", w.cli("show onboard listeners"), re.M))
        assert w.cli(f"show onboard chassis {c.name}") == before
        assert c.statuses() == ["under-way"] * (i + 1) + ["expected"] * (3 - i)
    c.complete(by=1)  # the backup leads by now
    assert c.statuses() == ["complete"] * 4
    assert log(w, c.serials[1])[-2:][0][1] == f"goes on with what {c.serials[0]} was given for chassis {c.name}"
    assert until(w, c.serials[0], "done")
    text = w.cli(f"show commit {n} status")
    assert all(f"device:{s}: applied" in text for s in c.serials), text


@pytest.mark.parametrize("prerfc", (True, False))
def test_reports_about_others_change_nothing(w, door, prerfc):
    """Serial numbers that are no member's, and devices that are not of the chassis."""
    c = Chassis(w, door, f"vo{'a' if prerfc else 'b'}", prerfc)
    c.commit(False)["t"].join(60)
    other = Chassis(w, door, f"vp{'a' if prerfc else 'b'}", prerfc)
    other.commit(False)["t"].join(60)
    c.missing(1, by=0)  # before it was given anything
    assert c.statuses()[1] == "expected"
    assert any("was not given the topology" in text for _, text in log(w, c.serials[0]))
    c.asks()
    other.asks()
    for serial in ("nobody", other.serials[2]):
        c.missing(serial)
        assert any(f"nothing follows for member {serial}: no device of that serial number is a member of this chassis" in text
                   for _, text in log(w, c.serials[0]))
    assert other.statuses() == ["answered"] + ["expected"] * 3
    assert w.ask("GET", "weft-onboard:onboard/state/device=nobody").status == 404
    if not prerfc:  # what is not in the dialect is refused, and named
        r = door.tell("informational", (c.serials[0], "p"), **{"weft-onboard:virtual-chassis-member": {"serial-id": "x", "place": 1}})
        assert r.status_code == 400 and "virtual-chassis-member/place" in r.text, r.text


# proves: PH-051
def test_the_former_primary_fails_and_the_run_goes_on(w, door):
    c = Chassis(w, door, "vr", False)
    c.commit(False)["t"].join(60)
    c.asks()
    until(w, c.serials[0], "running")
    tell(door, c.serials[0], "boot-image-installed-rebooting", "reboots")
    c.missing(0, by=1)
    assert c.statuses() == ["failed", "under-way", "expected", "expected"]
    assert run_of(w, c.serials[0])["state"] == "running"
    for i in (2, 3):
        c.upgraded(i, by=1)
    c.complete(by=1)
    assert NOT_DETECTED in until(w, c.serials[0], "failed")["reason"]
    assert c.statuses() == ["failed", "complete", "complete", "complete"]


def test_silence_is_that_of_all_members(w, door):
    c = Chassis(w, door, "vs", False, kind="short")
    out = c.commit(True)
    c.asks()
    for i in (1, 2):
        c.upgraded(i)
    assert "nothing was heard of it for 10 s" in ended(out, 5)
    wait_until("they have failed", 60, lambda: c.statuses() == ["failed", "failed", "failed", "expected"])
    assert log(w, c.serials[2])[-1] == (
        "silent", f"{c.serials[0]} was given the bundle for chassis vs: nothing was heard of it for 10 s")


def test_the_command(w, door):
    assert "there is no topology nowhere" in w.cli("show onboard chassis nowhere", status=1)
    put(w, "topology", "vx", strict=True, member=[{"serial-number": "vx-0", "id": 4, "role": "primary"}, {"serial-number": "vx-1"}])
    put(w, "device", "vx-1", type="t", password="p")
    text = w.cli("show onboard chassis vx")
    assert re.search(r"^Chassis vx, strict$", text, re.M), text
    assert re.search(r"^  4 +vx-0 +master +unknown +- +- +-$", text, re.M) and re.search(r"^  - +vx-1 +- +expected +- +- +-$", text, re.M), text
    assert "Chassis vx, strict" in w.cli("show onboard chassis")
    assert "vx" in w.session().words("show onboard chassis ")
