#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long Kea serves nobody when the gateway's agent changes its pools, against the number of leases.

Real Kea, the real agent, python's gRPC as the manager. Each change is one drain order; it is measured
twice: by the agent (config-set from question to answer) and from outside (the longest answer time and
the losses that 500 DISCOVERs a second see meanwhile). Floor of this machine in the same run: one
command to Kea that changes nothing, and the change without leases. No rival is packaged: Kea 2.2 itself,
without the agent, takes the same time for each of the changes, which the agent gathers.
"""
import ipaddress
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
sys.path.insert(0, os.path.join(TOP, "test", "e2e"))
from bng_lab import DOMAIN, Gateway, Lab, wait_until  # noqa: E402
from bng_manager import Manager, generate  # noqa: E402

BLOCKS = ["10.64.0.0/16", "10.65.0.0/16"]
ROUNDS = int(os.environ.get("ROUNDS", "5"))


def seed(gw, subnet_id, n):
    """Puts n leases into Kea's file while it is down, in the order of columns it uses itself."""
    gw.kea.stop()
    path = gw.kea_path("leases.csv")
    with open(path, encoding="ascii") as f:
        header = f.readline().strip().split(",")
    base = int(ipaddress.ip_address("10.64.0.2"))
    with open(path, "w", encoding="ascii") as f:
        f.write(",".join(header) + "\n")
        for i in range(n):
            row = {"address": str(ipaddress.ip_address(base + i)),
                   "hwaddr": ":".join(f"{b:02x}" for b in (2, 0, *(i.to_bytes(4, "big")))),
                   "client_id": "", "valid_lifetime": "86400", "expire": str(int(time.time()) + 86400),
                   "subnet_id": str(subnet_id), "fqdn_fwd": "0", "fqdn_rev": "0", "hostname": "",
                   "state": "0", "user_context": ""}
            f.write(",".join(row.get(c, "") for c in header) + "\n")
    gw.start_kea()
    wait_until("Kea with its leases", 60, lambda: gw.state()["kea"]["leases"] == n and
               gw.state()["kea"]["in-line"])


def probe(gw, seconds):
    """DISCOVERs from outside: a running perfdhcp."""
    return subprocess.Popen(["ip", "netns", "exec", gw.lab.ns("load"), "perfdhcp", "-4", "-i", "-l",
                             "eth0", "-r", "500", "-R", "20000", "-p", str(seconds), "-d", "30",
                             "-W", "2000000", gw_server()], stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.STDOUT)


def gw_server():
    return "100.64.0.1"


def main():
    with Lab("benchk", tempfile.mkdtemp(prefix="weft-bench-kea-")) as lab:
        pb = generate(lab.path("pb"))
        gw = Gateway(lab, clients=0, frr=False, length=16, lease=(86400, 43200, 80000),
                     config={"agent": {"kea": {"min-reload-interval-ms": 0, "batch-ms": 0,
                                               "interval-ms": 500}}}).build()
        m = Manager(pb, BLOCKS, thresholds=(100000, 1000000, 3600)).serve(lab.ns("core"),
                                                                          "10.255.1.1:20557")
        gw.start_agent()
        wait_until("two pools", 20, lambda: len(gw.pools()) == 2 and all(
            p["status"] == "Active" for p in gw.pools().values()))
        first = gw.pools()[DOMAIN]["subnet-id"]
        times = []
        for _ in range(50):
            t = time.perf_counter()
            gw.kea_command("status-get")
            times.append(time.perf_counter() - t)
        print(f"floor: one command that changes nothing {statistics.median(times) * 1e3:.2f} ms")
        print(f"{'leases':>8} {'config-set ms':>14} {'us a lease':>11} "
              f"{'longest answer ms':>18} {'lost':>6} {'of':>6} {'unserved ms a change':>21}")
        other, empty = next(n for n in gw.pools() if n != DOMAIN), 0.0
        for n in (0, 1000, 10000, 32000):
            if n:
                seed(gw, first, n)
            seconds = 2 * ROUNDS
            p, took = probe(gw, seconds), []
            time.sleep(0.5)
            for i in range(ROUNDS):
                kind = pb.ORDER_SET_DRAIN if i % 2 == 0 else pb.ORDER_CLEAR_DRAIN
                assert m.order(kind, DOMAIN, other, wait=60).status.code == 0
                took.append(gw.state()["kea"]["last-blackout-s"])
                time.sleep(0.5)
            out = p.communicate(timeout=120)[0]
            if ROUNDS % 2:
                m.order(pb.ORDER_CLEAR_DRAIN, DOMAIN, other, wait=60)
            longest = re.search(r"max delay: ([0-9.]+) ms", out)
            sent = re.search(r"sent packets: (\d+)", out)
            lost = re.search(r"drops: (\d+)", out)
            ms = statistics.median(took) * 1e3
            empty = ms if n == 0 else empty
            per = f"{(ms - empty) * 1e3 / n:.1f}" if n else "-"
            gone = int(lost.group(1)) / 500 / ROUNDS * 1e3 if lost else float("nan")
            print(f"{n:>8} {ms:>14.1f} {per:>11} {longest.group(1) if longest else '?':>18} "
                  f"{lost.group(1) if lost else '?':>6} {sent.group(1) if sent else '?':>6} {gone:>21.0f}")


main()
