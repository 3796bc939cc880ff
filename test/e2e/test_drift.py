# SPDX-License-Identifier: Apache-2.0
"""An older backup is restored: what the gateways have by then is shown, put right, and never given twice."""
import json
import subprocess

import pytest

from apmi_entity import Entity, generate
from weftd_lab import Weftd, binary

STATE = "weft-apm:apm/state"


@pytest.fixture(scope="module")
def pb(tmp_path_factory):
    return generate(str(tmp_path_factory.mktemp("pb")))


CONFIG = {"weft-apm:apm": {
    "inet-pool": {"partition": [{"name": "metro", "min-prefix-len": 16, "max-prefix-len": 28,
                                 "prefix": [{"prefix": "10.0.0.0/16"}]}]},
    "pool-domain-profile": [{"name": "p", "apportion-threshold": 10, "reclaim-threshold": 900}],
    "entity-match": [{"system-id": n, "pool-domain-profile": "p"} for n in ("bng1", "bng2", "bng3")]}}


def entity(w, pb, name):
    return Entity(pb, name, f"127.0.0.1:{w.ports['apmi-clear']}")


def again(w, e):
    """The same gateway, with what it has, at the controller that was started anew."""
    e.close()
    e.target = f"127.0.0.1:{w.ports['apmi-clear']}"
    return e.connect()


def drift(w):
    r = w.ask("GET", STATE + "/drift").json()
    return [(d["entity"], d.get("prefix"), d["where"], d["outcome"]) for d in r.get("weft-apm:drift", [])]


def maintain(w, *words):
    return subprocess.run([binary("src", "weftd", "weftd"), *words, "--data", w.data], text=True,
                          capture_output=True, timeout=120, check=False)


# proves: APM-073 APM-115
def test_an_older_backup_is_put_right(tmp_path, pb):
    with Weftd(tmp_path) as w:
        assert w.ask("PUT", "weft-apm:apm", CONFIG).status in (201, 204)
        one, two, three = (entity(w, pb, n).connect() for n in ("bng1", "bng2", "bng3"))
        for e in (one, two, three):
            assert e.create("d", "metro", 24).status.code == 0
            assert e.apportion("d").action == pb.ADD_POOLS
        assert drift(w) == []
        w.cli("request system backup old")
        # After the backup: more for one, less for two, whose prefix three gets.
        given = {str(n) for _, n in one.take("d", one.apportion("d", confirm=False))}
        one.confirm(f"bng1-1-{one.alarms}")
        lost = str(two.domains["d"].pools["d"])
        two.stream.ask("delete_domain", domain="d")
        del two.domains["d"]
        got = three.apportion("d")
        assert got.action == pb.ADD_POOLS
        moved = [str(n) for n in three.domains["d"].pools.values()]
        assert lost in moved, (lost, moved)
        w.stop()
        r = maintain(w, "restore", "old")
        assert r.returncode == 0 and "show apm drift" in r.stdout, r
        w.start()
        assert "Not yet synchronised since the start: bng1, bng2, bng3" in w.cli("show apm drift")
        # three comes before two has said that it no longer has it: one of the two must give way for now.
        again(w, one)
        again(w, three)
        assert sorted(drift(w)) == sorted([("bng1", p, "only-there", "adopted") for p in given]
                                          + [("bng3", lost, "only-there", "conflict")])
        again(w, two)
        assert ("bng2", lost, "only-here", "freed") in drift(w)
        text = w.cli("show apm drift")
        assert "Not yet" not in text and f"C1: {lost} is allocated to bng2 domain d" in text, text
        # three's is free now: with its next synchronisation it keeps what it has.
        three.domains["d"].state.clear()
        again(w, three)
        tree = w.cli("show apm partition name metro tree")
        holders = [line for line in tree.splitlines() if "allocated" in line]
        prefixes = [line.split()[0] for line in holders]
        assert len(prefixes) == len(set(prefixes)) == 4, tree
        assert sum(lost in line and "bng3" in line for line in holders) == 1, tree
        shown = w.ask("GET", STATE + "/entity=bng3").json()
        assert json.dumps(shown).count('"conflict"') == 0, shown
        for e in (one, two, three):
            e.close()
        w.stop()
        r = w.check()
        assert r.returncode == 0 and "differences to what gateways had are in it: show apm drift" in r.stdout, r
