# SPDX-License-Identifier: Apache-2.0
"""weft-stackd: four namespaces in a ring, with real cables, processes and images."""
import os
import signal
import sys

import pytest

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(TOP, "lab"))
from stack import Box, make_image, ring, wait_formed  # noqa: E402
from weftlab import Lab, wait_until  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for the namespaces")

HOOK = """#!/bin/sh
# Notes what it was told; refuses a configuration that says so.
case "$1" in
apply) grep -q refuse "$3" && { echo "line 1: no such statement"; exit 1; }
    cp "$3" "$WEFT_DIRECTORY/in-force";;
rollback) cp "$2" "$WEFT_DIRECTORY/in-force";;
esac
echo "$*" >>"$WEFT_DIRECTORY/hook.log"
"""
INIT = """#!/bin/sh
echo "$1 $WEFT_SERIAL" >>"$WEFT_DIRECTORY/init.log"
sleep 1000 &
echo $! >"$WEFT_DIRECTORY/daemon.pid"
"""


@pytest.fixture
def lab(tmp_path):
    with Lab("stack", f"/tmp/wst-{os.getpid()}") as lab:
        yield lab


def four(lab, **settings):
    hook = lab.write("hook", HOOK, 0o755)
    boxes = [Box(lab, i, f"PE00{i}", **{"config-hook": hook, **settings}) for i in range(4)]
    ring(lab, boxes)
    for b in boxes:
        b.start()
    primary, backup = wait_formed(boxes)
    return boxes, primary, backup


def ids_of(box):
    return {s: m["id"] for s, m in box.members().items()}


# proves: PH-006 PH-008 PH-010 PH-050 PH-090
def test_election_and_switchover(lab):
    boxes, primary, backup = four(lab)
    assert (primary.serial, backup.serial) == ("PE000", "PE001")
    ids = ids_of(boxes[3])
    assert sorted(ids.values()) == [0, 1, 2, 3]
    shown = boxes[2].show()
    assert "Chassis: formed" in shown and shown.count("linecard") == 2 and "vcp0 PE003" in shown

    # The primary's process is killed: the backup takes over, the other comes back as a member with its number.
    os.kill(primary.member_pid(), signal.SIGKILL)
    wait_until("the backup took over", 20, lambda: backup.state().get("primary"))
    assert wait_formed(boxes, ids=ids)[0] is backup

    # A loss of power: the ring is a line, and the rest goes on.
    boxes[3].power_off()
    wait_until("it is seen to be away", 20, lambda: backup.members()["PE003"]["up"] is False)
    rest = [b for b in boxes if b is not boxes[3]]
    wait_formed(rest, ids=ids)
    boxes[3].start()
    assert wait_formed(boxes, ids=ids)[0] is backup

    # A cable is pulled, and another: two halves, each with a primary; joined again there is one.
    lab.ip("box0", "link", "set", "vcp0", "down")
    lab.ip("box2", "link", "set", "vcp0", "down")
    halves = [boxes[1:3], [boxes[3], boxes[0]]]
    for half in halves:
        wait_formed(half, ids=ids)
    lab.ip("box0", "link", "set", "vcp0", "up")
    lab.ip("box2", "link", "set", "vcp0", "up")
    wait_formed(boxes, ids=ids)


# proves: PH-042 PH-052 PH-054
def test_upgrade_as_the_client_does_it(lab):
    boxes, primary, backup = four(lab)
    ids = ids_of(primary)
    image = make_image(lab.path("image.tar"), "2.0", {"init": INIT, "share/big": os.urandom(3000000)})
    by_id = {ids[b.serial]: b for b in boxes}
    cards = [b for b in boxes if b not in (primary, backup)]
    primary.request("freeze")
    for b in cards:
        primary.request("install", ids[b.serial], "2.0", image)
    assert all(m["os-version"] == "1.0" for m in primary.members().values())
    primary.request("reboot", *[ids[b.serial] for b in cards])
    wait_until("linecards run 2.0", 40, lambda: all(
        primary.members()[b.serial]["up"] and primary.members()[b.serial]["os-version"] == "2.0" for b in cards))
    assert open(cards[0].path("d", "init.log")).read() == f"start {cards[0].serial}\n"

    primary.request("install", ids[backup.serial], "2.0", image)
    primary.request("reboot", ids[backup.serial])
    wait_until("the backup runs 2.0", 40, lambda: (
        primary.members()[backup.serial]["up"] and primary.members()[backup.serial]["os-version"] == "2.0"))
    assert wait_formed(boxes, ids=ids) == (primary, backup)  # frozen: it is the backup still

    primary.request("install", ids[primary.serial], "2.0", image)
    record = lab.write("record", "what the client knows\n" * 1000)
    primary.request("replicate", record)
    assert backup.request("inherited") == open(record).read()
    assert "has left a record here" in cards[0].ask("request", "inherited").stderr
    primary.request("reboot", ids[primary.serial])
    wait_until("roles were exchanged", 60, lambda: wait_formed(boxes, ids=ids) == (backup, primary))
    assert all(m["os-version"] == "2.0" for m in backup.members().values())
    assert backup.state()["frozen"]
    backup.request("thaw")
    assert not by_id[0].state()["frozen"]
    # What runs beside goes with a boot, as with a loss of power.
    pid = int(open(cards[1].path("d", "daemon.pid")).read())
    assert os.path.exists(f"/proc/{pid}")
    backup.request("reboot", ids[cards[1].serial])
    wait_until("the old daemon has gone", 30, lambda: not os.path.exists(f"/proc/{pid}"))
    wait_formed(boxes, ids=ids)


# proves: PH-043
def test_an_image_that_does_not_come_up(lab):
    boxes, primary, _ = four(lab, **{"boot-tries": 2, "init-s": 3})
    ids = ids_of(primary)
    card = boxes[3]
    good = make_image(lab.path("good.tar"), "2.0", {"init": "#!/bin/sh\nexit 0\n"})
    bad = make_image(lab.path("bad.tar"), "3.0", {"init": "#!/bin/sh\necho tried >>$WEFT_DIRECTORY/tries\nexit 1\n"})
    hangs = make_image(lab.path("hangs.tar"), "4.0", {"init": "#!/bin/sh\nsleep 100\n"})
    for version, image, runs in (("2.0", good, "2.0"), ("3.0", bad, "2.0"), ("4.0", hangs, "2.0")):
        primary.request("install", ids[card.serial], version, image)
        primary.request("reboot", ids[card.serial])
        wait_until(f"after {version}, {runs} runs", 60, lambda: (
            primary.members()[card.serial]["up"] and card.state().get("os-version") == runs
            and card.state().get("failed-version") == (version if version != runs else "")))
    assert open(card.path("d", "tries")).read() == "tried\n" * 2
    assert "Version 4.0 did not come up here" in card.show()


def test_images_that_are_refused(lab):
    boxes, primary, _ = four(lab)
    ids = ids_of(primary)
    card = ids["PE003"]
    good = make_image(lab.path("good.tar"), "2.0", {"init": "#!/bin/sh\n"})
    data = bytearray(open(good, "rb").read())
    data[data.index(b"#!/bin/sh")] ^= 1
    open(lab.path("damaged.tar"), "wb").write(data)
    open(lab.path("short.tar"), "wb").write(open(good, "rb").read()[:700])
    open(lab.path("none.tar"), "wb").write(b"no archive" * 100)
    for name, version, why in (("damaged.tar", "2.0", "init: is not what the manifest says"),
                               ("short.tar", "2.0", "ends in the middle"),
                               ("none.tar", "2.0", "is no tar archive"),
                               ("good.tar", "3.0", "of version 2.0, not 3.0")):
        for member in (card, ids[primary.serial]):
            r = primary.ask("request", "install", member, version, lab.path(name))
            assert r.returncode == 1 and why in r.stderr, (name, r.stderr)
    r = primary.ask("request", "install", 7, "2.0", good)
    assert "there is no such member" in r.stderr
    r = boxes[3].ask("request", "install", ids["PE002"], "2.0", good)
    assert "is not the primary" in r.stderr
    assert wait_formed(boxes, ids=ids)[0] is primary


# proves: PH-060
def test_configuration(lab):
    boxes, primary, _ = four(lab)
    first = lab.write("first", "first\n")
    second = lab.write("second", "second\n")

    def in_force(box):
        path = box.path("d", "in-force")
        return open(path).read() if os.path.exists(path) else ""
    assert all(b.state()["factory-default"] for b in boxes)
    primary.request("apply", "replace", first, 60)
    assert in_force(primary) == "first\n" and primary.state()["factory-default"]
    primary.request("confirm")
    wait_until("all have it", 20, lambda: all(in_force(b) == "first\n" and not b.state()["factory-default"] for b in boxes))
    # Not confirmed in time; taken back; refused; not confirmed before a loss of power.
    primary.request("apply", "merge", second, 1)
    assert in_force(primary) == "second\n"
    wait_until("taken back by itself", 20, lambda: in_force(primary) == "first\n")
    primary.request("apply", "merge", second, 60)
    primary.request("rollback")
    assert in_force(primary) == "first\n"
    r = primary.ask("request", "apply", "replace", lab.write("bad", "refuse\n"), 60)
    assert r.returncode == 1 and "line 1: no such statement" in r.stderr
    assert in_force(primary) == "first\n"
    primary.request("apply", "replace", second, 600)
    primary.power_off()
    assert in_force(primary) == "second\n"
    primary.start()
    wait_until("taken back at the start", 30, lambda: in_force(primary) == "first\n" and primary.state().get("up"))
    wait_formed(boxes)


# proves: PH-060
def test_a_configuration_goes_to_all_when_roles_are_free_and_to_those_who_come_later(lab):
    boxes, primary, _ = four(lab)
    ids = ids_of(primary)
    first = lab.write("first", "first\n")

    def have(those):
        return all(os.path.exists(b.path("d", "in-force")) and not b.state()["factory-default"] for b in those)
    # While roles are held a run may still fail: what was confirmed is the primary's alone, and can be taken back.
    primary.request("freeze")
    for _ in range(2):
        primary.request("apply", "replace", first, 60)
        primary.request("confirm")
        assert not primary.state()["factory-default"]
        primary.request("rollback")
        assert primary.state()["factory-default"] and open(primary.path("d", "in-force")).read() == ""
    primary.request("apply", "replace", first, 60)
    primary.request("confirm")
    boxes[3].power_off()
    wait_until("it is seen to be away", 20, lambda: primary.members()["PE003"]["up"] is False)
    assert not any(os.path.exists(b.path("d", "hook.log")) for b in boxes if b is not primary)
    primary.request("thaw")
    wait_until("those that are up have it", 20, lambda: have(boxes[:3]))
    primary.request("rollback")  # there is no way back any more
    assert have(boxes[:3])
    # One that was away, and one that went back to factory default by itself.
    boxes[3].start()
    wait_until("it has it too", 20, lambda: have(boxes))
    lab.write(os.path.join("box2", "d", "mark"), "")  # goes with it
    primary.request("zeroize", ids["PE002"])
    wait_until("it is as the others again", 30, lambda: not os.path.exists(boxes[2].path("d", "mark")) and have(boxes))
    wait_formed(boxes, ids=ids)
    # Whoever has it already does nothing.
    for b in boxes[1:]:
        os.remove(b.path("d", "hook.log"))
    primary.request("apply", "replace", first, 60)
    primary.request("confirm")
    primary.request("apply", "replace", lab.write("second", "second\n"), 60)
    primary.request("confirm")
    wait_until("all have the second", 20, lambda: all(open(b.path("d", "in-force")).read() == "second\n" for b in boxes))
    for b in boxes[1:]:
        assert open(b.path("d", "hook.log")).read().count("apply") == 1


def test_the_key_of_a_certificate_goes_with_its_configuration(lab):
    boxes, primary, _ = four(lab)
    first, second = lab.write("first", "first\n"), lab.write("second", "second\n")
    one, two = lab.write("one", "key one\n"), lab.write("two", "key two\n")

    def key(box):
        path = box.path("d", "key")
        assert not os.path.exists(path) or os.stat(path).st_mode & 0o77 == 0
        return open(path, encoding="ascii").read() if os.path.exists(path) else ""
    # Of a configuration that is taken back nothing is left.
    primary.request("key", one)
    assert key(primary) == ""
    primary.request("apply", "replace", first, 60)
    assert key(primary) == "key one\n"
    primary.request("rollback")
    assert key(primary) == ""
    # What is confirmed goes to all, the key as well.
    primary.request("key", one)
    primary.request("apply", "replace", first, 60)
    primary.request("confirm")
    wait_until("all have it", 20, lambda: all(
        key(b) == "key one\n" and not b.state()["factory-default"] and
        open(b.path("d", "config"), encoding="ascii").read() == "first\n" for b in boxes))
    # The former key comes back with the former configuration; one without a key leaves the key alone.
    primary.request("key", two)
    primary.request("apply", "merge", second, 60)
    assert key(primary) == "key two\n"
    primary.request("rollback")
    assert key(primary) == "key one\n"
    primary.request("key", two)
    primary.request("apply", "merge", second, 600)
    primary.power_off()
    assert key(primary) == "key two\n"
    primary.start()
    wait_until("taken back at the start", 30, lambda: key(primary) == "key one\n" and primary.state().get("up"))
    primary, _ = wait_formed(boxes)
    primary.request("apply", "merge", second, 60)
    primary.request("confirm")
    wait_until("all have it", 20, lambda: all(
        open(b.path("d", "config"), encoding="ascii").read() == "second\n" for b in boxes))
    assert all(key(b) == "key one\n" for b in boxes)
    r = primary.ask("request", "key", lab.write("long", "x" * 70000))
    assert r.returncode == 1 and key(primary) == "key one\n"


# proves: PH-004
def test_zeroize(lab):
    boxes, primary, _ = four(lab)
    ids = ids_of(primary)
    primary.request("apply", "replace", lab.write("first", "first\n"), 60)
    primary.request("confirm")
    wait_until("all have it", 20, lambda: not any(b.state()["factory-default"] for b in boxes))
    primary.request("zeroize", *ids.values())
    wait_until("all are new", 40, lambda: all(b.state().get("factory-default") for b in boxes))
    assert not os.path.exists(boxes[2].path("d", "config"))
    wait_formed(boxes)


def test_settings_and_bad_requests(lab, tmp_path):
    box = Box(lab, 0, "PE000")
    ring(lab, [box])
    for bad, why in (({"vcp": ["a", "a"]}, "vcp: a is there twice"), ({"priority": 300}, "from 0 to 255"),
                     ({"serial": ""}, "serial: must be a string"), ({"colour": 1}, "colour: is no setting"),
                     ({"services": [["relative"]]}, "absolute path"), ({"dead-ms": 300}, "twice hello-ms"),
                     ({"directory": "d"}, "absolute path")):
        r = box.ask("-c", box.write(**bad), "--check")
        assert r.returncode == 1 and why in r.stderr, r.stderr
    box.start(vcp=[])
    wait_until("a device of its own", 20, lambda: box.state().get("primary"))
    assert "a standalone device" in box.show()
    again = box.ask("-c", box.path("stackd.json"))
    assert again.returncode == 1 and "is this member already" in again.stderr
    for words, status in ((["request", "reboot", "x"], 2), (["request", "what"], 2), (["request", "install", 0, "v" * 50, "/dev/null"], 1),
                          (["request", "apply", "append", "/etc/hostname", 1], 1), (["request", "confirm"], 1)):
        assert box.ask(*words).returncode == status, words
    assert box.state()["primary"]
