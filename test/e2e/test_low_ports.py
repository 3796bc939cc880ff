# SPDX-License-Identifier: Apache-2.0
"""--user: of what root may, the daemon keeps nothing but ports below 1024, and those also when it has executed itself
anew."""
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from weftd_lab import binary


def capabilities(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        text = f.read()
    return {n: int(re.search(rf"^{n}:\t(\w+)$", text, re.M).group(1), 16) for n in ("CapPrm", "CapEff", "CapInh", "CapAmb")}


@pytest.fixture(name="folder")
def fixture_folder():
    path = tempfile.mkdtemp(prefix="weft-ports-")  # pytest's own are closed to other users
    os.chmod(path, 0o777)
    yield path
    shutil.rmtree(path)


def test_low_ports_are_kept_and_nothing_else(folder):
    ports = f"{folder}/ports"
    with open(f"{folder}/log", "wb") as log:
        p = subprocess.Popen([binary("src", "weftd", "weftd"), "--user", "nobody", "--data", f"{folder}/data", "--listen",
                              "127.0.0.1:843", "--listen-apmi", "none", "--port-file", ports], stdout=log, stderr=log)
    try:
        end = time.time() + 60
        while not os.path.exists(ports) or "ready" not in open(ports, encoding="ascii").read():
            assert p.poll() is None and time.time() < end, open(f"{folder}/log", encoding="utf-8").read()
            time.sleep(0.05)
        with socket.create_connection(("127.0.0.1", 843), timeout=10):
            pass
        # Ambient: what is executed next has it as well.
        assert capabilities(p.pid) == dict.fromkeys(("CapPrm", "CapEff", "CapInh", "CapAmb"), 1 << 10)
    finally:
        p.send_signal(signal.SIGTERM)
        assert p.wait(60) == 0


def test_a_node_that_executes_itself_anew(folder):
    """It has led, gives the lead away, begins anew as another user than root, and listens at its low port again."""
    from test_cluster import Cluster, until
    os.chmod(folder, 0o755)
    options = {n: ("--listen", f"127.0.0.1:{843 + i}") for i, n in enumerate("abc")}
    cluster = Cluster(folder, options)
    try:
        for n in cluster.nodes:
            n.wait_till_it_serves()
        n = cluster.followers()[0]
        n.p.terminate()
        n.p.wait(60)
        subprocess.run(["chown", "-R", "nobody", n.dir], check=True)
        n.options += ["--user", "nobody"]
        n.start()
        n.wait_till_it_serves()
        while cluster.leader() is not n:
            cluster.leader().ask("POST", "/restconf/operations/weft-system:cluster-switch")
            cluster.write_anywhere(60)
            for m in cluster.nodes:
                until(m.ready, 60)
        began = n.log_text().count("is ready")
        assert n.ask("POST", "/restconf/operations/weft-system:cluster-switch").status in (200, 204)
        until(lambda: n.log_text().count("is ready") > began, 60)
        until(n.ready, 60)
        with socket.create_connection(("127.0.0.1", int(n.options[1].rsplit(":", 1)[1])), timeout=10):
            pass
        assert capabilities(n.p.pid)["CapEff"] == 1 << 10
    finally:
        cluster.close()
