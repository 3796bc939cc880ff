# SPDX-License-Identifier: Apache-2.0
"""What may be seen of a controller that is starting: nothing, and then everything."""
import http.client
import subprocess
import threading
import time

import pytest
from apmi_entity import Ended, Entity, generate
from weftd_lab import Weftd, binary

GATEWAYS = 4000


def configuration():
    return {"weft-apm:apm": {
        "inet-pool": {"partition": [{"name": "metro", "min-prefix-len": 16, "max-prefix-len": 26,
                                     "prefix": [{"prefix": "10.20.0.0/22"}]}]},
        "pool-domain-profile": [{"name": "std", "apportion-threshold": 10, "reclaim-threshold": 300}],
        "entity-match": [{"system-id": f"zz-{i}", "pool-domain-profile": "std"} for i in range(GATEWAYS)]}}


def first_answers(weftd, seen, over):
    """Asks from before the process is there until it has answered three times."""
    while len(seen) < 3 and not over.is_set():
        try:
            r = weftd.ask("GET", "weft-apm:apm/entity-match", conn=weftd.connection(5))
            seen.append((r.status, r.body.count(b"system-id")))
        except (OSError, http.client.HTTPException):
            pass  # not there yet


@pytest.mark.parametrize("line, why", [
    ("hostname", "hostname: a value is missing"),
    ("listen-relay 192.0.2.2", 'listen-relay: "192.0.2.2" does not end with a port'),
    ("listen-relay :8444", 'listen-relay: ":8444": name the address and the port'),
    ("listen-apmi here:20557", 'listen-apmi: "here:20557"'),
    ("stoer x", '"stoer" is no option')])
def test_what_is_wrong_in_the_options_is_named_with_its_place(tmp_path, line, why):
    conf = tmp_path / "weftd.conf"
    conf.write_text(f"# one\n{line}\n", encoding="ascii")
    weftd = [binary("src", "weftd", "weftd"), "--data", str(tmp_path / "d")]
    p = subprocess.run([*weftd, "--config", str(conf)], capture_output=True, text=True, timeout=60)
    assert p.returncode == 2 and f"{conf} line 2: {why}" in p.stderr, p.stderr
    word, _, value = line.partition(" ")
    if word.startswith("listen"):
        p = subprocess.run([*weftd, f"--{word}", value], capture_output=True, text=True, timeout=60)
        assert p.returncode == 2 and f"--{why}" in p.stderr, p.stderr
    assert not (tmp_path / "d").exists()


# proves: APM-113 APM-115 APM-116
def test_nobody_is_served_before_everything_is_read(tmp_path):
    pb = generate(str(tmp_path / "pb"))
    with Weftd(tmp_path / "weftd") as weftd:
        assert weftd.ask("PUT", "weft-apm:apm", configuration()).status in (201, 204)
        # The last one in the store's order: admitted only by who has read to the end.
        gateway = Entity(pb, f"zz-{GATEWAYS - 1}", f"127.0.0.1:{weftd.ports['apmi-clear']}")
        gateway.connect()
        gateway.create("d", "metro", 26)
        given = gateway.take("d", gateway.apportion("d", wanted=2))
        gateway.close()
        for _ in range(5):
            weftd.kill()
            seen, refusals, over = [], [], threading.Event()
            asking = threading.Thread(target=first_answers, args=(weftd, seen, over))
            asking.start()

            def dial():
                while not over.is_set():
                    try:
                        ack = gateway.hello()
                        refusals.append(ack.status.code)
                        return
                    except Ended as e:
                        if e.code != 14:  # there was somebody, and he said no
                            refusals.append(e.code)
                            return
                        gateway.close()
                        time.sleep(0.02)
            dialling = threading.Thread(target=dial)
            dialling.start()
            weftd.start()
            asking.join(60)
            dialling.join(60)
            over.set()
            assert seen == [(200, GATEWAYS)] * 3, seen
            assert refusals == [0], "the gateway was told that nobody knows it"
            # What it was given before is known at once as well.
            gateway.sync()
            shown = weftd.cli(f"show apm prefix {given[0][1]}")
            assert f"zz-{GATEWAYS - 1}" in shown, shown
            gateway.close()
