# SPDX-License-Identifier: Apache-2.0
"""Many pools reclaimed at once, by CLI and RESTCONF, with gateways on real connections and a daemon that is
killed in the middle."""
import threading
import time

import pytest

from apmi_entity import Ended, Entity, generate, ipaddress
from schemas import check_output
from weftd_lab import Weftd

ROOT = ipaddress.ip_network("10.20.0.0/22")
APM = {"weft-apm:apm": {
    "inet-pool": {"partition": [
        {"name": "metro", "min-prefix-len": 16, "max-prefix-len": 26, "prefix": [{"prefix": str(ROOT)}]}]},
    "pool-domain-profile": [{"name": "manual", "apportion-threshold": 10, "reclaim-threshold": 3000}],
    "entity-match": [{"system-id": n, "pool-domain-profile": "manual"} for n in ("bng1", "bng2", "bng3")]}}
WAIT = 120


@pytest.fixture(scope="module")
def pb(tmp_path_factory):
    return generate(str(tmp_path_factory.mktemp("pb")))


@pytest.fixture
def weftd(tmp_path):
    with Weftd(tmp_path / "weftd") as d:
        assert d.ask("PUT", "weft-apm:apm", APM).status in (201, 204)
        yield d


class Gateway(Entity):
    """Does what it is told. `empty`: once it is set, drained pools have no subscribers any more."""

    def __init__(self, pb, system_id, weftd):
        super().__init__(pb, system_id, f"127.0.0.1:{weftd.ports['apmi-clear']}")
        self.empty = threading.Event()
        self.used = {}
        self.drained, self.removed = [], []
        self.thread = None

    def grow(self, pools):
        self.create("home", "metro", 26)
        assert len(self.apportion("home", wanted=pools).add) == pools
        self.used = {name: 20 if name == "home" else 0 for name in self.domains["home"].pools}
        self.stats()

    def stats(self):
        d = self.domains["home"]
        used = sum(self.used.get(n, 0) for n in d.pools)
        total = sum(n.num_addresses - 2 for n in d.pools.values())
        self.stream.send("stats", domain="home", free=total - used, used=used,
                         pool=[self.pool(d, n, self.used.get(n, 0)) for n in d.pools])

    def begin(self):
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def again(self, seconds=WAIT):
        """Connects to a manager that was away."""
        until = time.monotonic() + seconds
        while True:
            try:
                self.connect()
                self.stats()
                self.begin()
                return
            except (Ended, AssertionError):
                self.close()
                assert time.monotonic() < until
                time.sleep(0.2)

    def serve(self):
        try:
            while True:
                self.obey(self.stream.order(3600))
        except Ended:
            pass

    def obey(self, o):
        d, pb = self.domains.get(o.domain), self.pb
        if o.type == pb.ORDER_REMOVE_POOL:
            d.pools.pop(o.pool, None)
            self.removed.append(o.pool)
        elif o.type == pb.ORDER_CLEAR_DRAIN:
            d.state.pop(o.pool, None)
        elif o.type == pb.ORDER_SET_DRAIN:
            d.state[o.pool] = pb.DRAINING
            self.drained.append(o.pool)
        self.confirm(o.order_id, revision=o.revision)
        if o.type == pb.ORDER_SET_DRAIN:
            threading.Thread(target=self.empties, args=(self.stream, o.pool), daemon=True).start()

    def empties(self, stream, pool):
        self.empty.wait()
        try:
            if stream is self.stream and self.domains["home"].state.get(pool) == self.pb.DRAINING:
                self.alarm(self.pb.POOL_DRAINED, "home", candidate_pool=[pool])
        except Ended:
            pass


@pytest.fixture
def gateways(weftd, pb):
    made = [Gateway(pb, name, weftd) for name in ("bng1", "bng2", "bng3")]
    for g, pools in zip(made, (4, 3, 2)):
        g.connect()
        g.grow(pools)
        g.begin()
    until = time.monotonic() + WAIT  # what they count is known
    while "6 pools would be reclaimed, 3 would stay." not in \
            weftd.cli("request apm reclaim all partition metro dry-run"):
        assert time.monotonic() < until
        time.sleep(0.1)
    yield made
    for g in made:
        g.close()


def operation(weftd, name, module="weft-apm", **given):
    return weftd.ask("POST", f"/restconf/operations/{module}:{name}", {f"{module}:input": given})


def job(weftd, number):
    """{} while there is none of that number: a part of a job is there soon after it."""
    r = operation(weftd, "show-job", "weft-job", id=str(number))
    if r.status == 404:
        return {}
    assert r.status == 200, r
    (found,) = r.json()["weft-job:output"]["job"]
    return found


def wait_for(weftd, number, what):
    until = time.monotonic() + WAIT
    while not what(job(weftd, number)):
        assert time.monotonic() < until, job(weftd, number)
        time.sleep(0.1)
    return job(weftd, number)


def over(j):
    return j.get("state") in ("done", "failed", "cancelled")


def pools(weftd):
    e = weftd.ask("GET", "weft-apm:apm/state").json()["weft-apm:state"]["entity"]
    return {x["id"]: len(x["pool-domain"][0]["pool"]) for x in e}


# proves: APM-080 APM-087 APM-088
def test_by_command(weftd, gateways, tmp_path):
    for g in gateways:
        g.empty.set()
    dry = operation(weftd, "reclaim-all", partition="metro", **{"dry-run": [None]})
    assert dry.status == 200, dry
    check_output(tmp_path, dry.text, "weft-apm:reclaim-all")
    found = dry.json()["weft-apm:output"]["pool"]
    assert len(found) == 9 and sum(p["reclaimed"] for p in found) == 6
    assert [p["info"] for p in found if not p["reclaimed"]], found
    assert pools(weftd) == {"bng1": 4, "bng2": 3, "bng3": 2}
    out = weftd.cli("request apm reclaim all partition metro")
    assert "Reclaiming up to 9 pools of 3 domains is job 1: show job id 1" in out
    done = wait_for(weftd, 1, over)
    assert done["state"] == "done"
    assert "6 of 9 reclaimed; why the others are not: show job id 2" in done["step-done"][-1]["result"]
    assert pools(weftd) == {"bng1": 1, "bng2": 1, "bng3": 1}
    assert "bng1 home home: " in weftd.cli("show job id 2")
    weftd.cli("monitor job id 1")
    assert "/weft-apm:reclaim-all: done" in weftd.cli("show system audit")


def test_killed_in_the_middle(weftd, gateways):
    r = operation(weftd, "reclaim-all", unused=90)
    assert r.status == 200 and r.json()["weft-apm:output"] == {"job": "1", "pools": "6"}, r
    wait_for(weftd, 2, lambda j: j.get("step") == "reclaim")
    assert [len(g.drained) for g in gateways] == [3, 2, 1]
    weftd.kill()
    for g in gateways:
        g.thread.join(WAIT)
        g.close()
    weftd.start()
    for g in gateways:
        g.again()
    gateways[0].empty.set()
    until = time.monotonic() + WAIT
    while pools(weftd)["bng1"] != 1:
        assert time.monotonic() < until
        time.sleep(0.1)
    wait_for(weftd, 2, lambda j: j.get("progress", "").startswith("3 of 6"))
    assert job(weftd, 1)["state"] == "waiting"
    weftd.kill()  # once more, with some of them reclaimed
    for g in gateways:
        g.thread.join(WAIT)
        g.close()
    weftd.start()
    for g in gateways:
        g.again()
        g.empty.set()
    done = wait_for(weftd, 1, over)
    assert done["state"] == "done" and "6 of 6 reclaimed" in done["step-done"][-1]["result"], done
    assert pools(weftd) == {"bng1": 1, "bng2": 1, "bng3": 1}
    for g in gateways:
        assert len(g.removed) == len(set(g.removed)) and "home" not in g.removed


def test_cancelled(weftd, gateways):
    weftd.cli("request apm reclaim all entity bng1")
    wait_for(weftd, 2, lambda j: j.get("step") == "reclaim")
    assert "draining" in weftd.cli("show apm entity id bng1") or gateways[0].domains["home"].state
    assert operation(weftd, "job-cancel", "weft-job", id="1").status == 200
    assert wait_for(weftd, 1, over)["state"] == "cancelled"
    until = time.monotonic() + WAIT
    while gateways[0].domains["home"].state:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert pools(weftd)["bng1"] == 4
    assert "No reclamations under way." in weftd.cli("show apm reclaim-events")


def test_bad_input(weftd):
    for given, status, why in (({}, 400, "say which pools"),
                               ({"entity": "x"}, 404, "there is no entity x"),
                               ({"partition": "x"}, 404, "there is no partition x"),
                               ({"pool-domain": "x"}, 404, "there is no pool domain x"),
                               ({"partition": "metro"}, 404, "no pool there can be reclaimed"),
                               ({"unused": 101}, 400, "unused"),
                               ({"entity": "x", "wait": 0}, 400, "wait"),
                               ({"unused": 1, "more": 1}, 400, "more")):
        r = operation(weftd, "reclaim-all", **given)
        assert r.status == status and why in r.errors[0]["error-message"], r
    assert "say which pools" in weftd.cli("request apm reclaim all", status=1)
    assert "there is no entity x" in weftd.cli("request apm reclaim all entity x dry-run", status=1)
    assert "No such jobs." in weftd.cli("show job")
