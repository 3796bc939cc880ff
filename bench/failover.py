#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How soon another controller takes changes: three controllers over three real etcd on this machine, the leader given away,
killed, paused, cut off from etcd up, down and both ways, each so many times; a change is tried all the time.

    failover.py [TIMES]         WEFT_BUILD: the build to measure

Beside it, as the floor, how soon etcd itself takes a put again when the member that leads it is killed.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "e2e"))
os.environ.setdefault("WEFT_BUILD", "build")
from test_cluster import Cluster, operation, until  # noqa: E402


def given_away(leader):
    operation(leader, "cluster-switch")
    return lambda: None


def killed(leader):
    leader.kill()
    return leader.start


def paused(leader):
    leader.p.send_signal(signal.SIGSTOP)
    return lambda: leader.p.send_signal(signal.SIGCONT)


def cut(ways):
    def fault(leader):
        leader.cut(ways)
        return lambda: leader.cut("")
    return fault


FAULTS = {"given away": given_away, "killed": killed, "paused": paused, "cut both ways": cut("up down"),
          "questions to etcd lost": cut("up"), "answers of etcd lost": cut("down")}


def taken(cluster, but):
    """Seconds until some other node has taken a change."""
    begun = time.monotonic()
    while True:
        for n in cluster.nodes:
            if n is not but:
                r = cluster.write(n, 1)
                if r is not None and r.status == 201:
                    return time.monotonic() - begun
        time.sleep(0.02)


def etcdctl(cluster, *words, but=None, seconds="1s"):
    ends = ",".join(f"127.0.0.1:{m.port}" for m in cluster.members if m is not but)
    return subprocess.run(["etcdctl", "--endpoints", ends, "--command-timeout", seconds, "--dial-timeout", seconds, *words],
                          capture_output=True, text=True, env={**os.environ, "ETCDCTL_API": "3"}, check=False)


def etcd_itself(cluster):
    """The member that leads is killed; a put is tried at the others."""
    def leads(m):
        text = etcdctl(cluster, "endpoint", "status", "-w", "fields", but=None).stdout
        parts = {}
        for line in text.splitlines():
            name, _, value = line.partition(" : ")
            parts.setdefault(name.strip('"'), []).append(value.strip('"'))
        mine = [i for i, e in enumerate(parts.get("Endpoint", [])) if e.endswith(f":{m.port}")]
        return bool(mine) and parts["MemberID"][mine[0]] == parts["Leader"][mine[0]]
    member = until(lambda: next((m for m in cluster.members if leads(m)), None))
    member.kill()
    begun = time.monotonic()
    while etcdctl(cluster, "put", "floor", "x", but=member).returncode != 0:
        time.sleep(0.02)
    took = time.monotonic() - begun
    member.start()
    time.sleep(2)
    return took


def line(name, times):
    times.sort()
    at = [times[min(len(times) - 1, len(times) * p // 100)] for p in (50, 90)]
    print(f"{name:26} {len(times):5} {times[0]:7.1f} {at[0]:7.1f} {at[1]:7.1f} {times[-1]:7.1f}", flush=True)


def main():
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    folder = tempfile.mkdtemp(prefix="weft-failover-")
    cluster = Cluster(folder)
    try:
        for n in cluster.nodes:
            n.wait_till_it_serves()
        print(f"{'seconds until a change is taken':26} {'times':>0} {'least':>6} {'median':>7} {'p90':>7} {'most':>7}")
        for name, fault in FAULTS.items():
            took = []
            for _ in range(times):
                leader = cluster.leader()
                end = fault(leader)
                took.append(taken(cluster, leader))
                end()
                for n in cluster.nodes:
                    until(n.ready, 90)
            line(name, took)
        cluster.agree()
        line("etcd 3.4 by itself, killed", [etcd_itself(cluster) for _ in range(max(times // 3, 1))])
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


main()
