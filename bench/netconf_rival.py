#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""edit-config of one object and get-config of one object over SSH, with 1,000, 10,000 and 100,000 of them: ours and
yuma123's netconfd behind OpenSSH, with the same client, in the same run. netconfd holds a list of the same leaves,
without a service behind it and without access control; it is measured as it comes (`saving`: each edit writes the
whole configuration to a file) and without that (`memory`: nothing survives its end). Ours is durable: synced before
it is answered. What takes longer than LIMIT_S to fill is left out, and said.

  bench/netconf_rival.py [OBJECTS...]
"""
import os
import subprocess
import sys
import tempfile
import time

from netconf_edit import ROUNDS, Session, profile, timed

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "e2e"))
from sshd import PASSWORD, Sshd, free_port  # noqa: E402
from weftd_lab import Weftd  # noqa: E402

LIMIT_S, FILL, RIVALS_ROUNDS = 120, 1000, 30
MODULE = """module bench { namespace "urn:weft:apm"; prefix b; revision 2026-11-27;
  container apm { list pool-domain-profile { key name; leaf name { type string; }
    leaf apportion-threshold { type uint32; } leaf reclaim-threshold { type uint32; } } } }
"""


def entry(i, threshold=10):
    return (f"<pool-domain-profile><name>p000{i:06}</name><apportion-threshold>{threshold}</apportion-threshold>"
            "<reclaim-threshold>70000</reclaim-threshold></pool-domain-profile>")


def edit_config(inside):
    return (f'<edit-config><target><running/></target><config><apm xmlns="urn:weft:apm">{inside}</apm></config>'
            "</edit-config>")


def measure(s, n, who, rounds):
    edit = timed(lambda i: s.rpc(edit_config(entry(n // 2, i + 11))), rounds)
    get = timed(lambda i: s.rpc('<get-config><source><running/></source><filter><apm xmlns="urn:weft:apm">'
                                f"<pool-domain-profile><name>p000{n // 2:06}</name></pool-domain-profile></apm>"
                                "</filter></get-config>"), rounds)
    print(f"{n:7} {who:16} {edit} {get}", flush=True)
    return float(edit.split()[0])


class Netconfd:
    def __init__(self, folder, saving):
        self.dir = folder
        with open(os.path.join(folder, "bench.yang"), "w", encoding="ascii") as f:
            f.write(MODULE)
        with open(os.path.join(folder, "startup.xml"), "w", encoding="ascii") as f:
            f.write('<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"></config>')
        port, socket = free_port(), os.path.join(folder, "ncx")
        self.sshd = self.session = None
        self.log = open(os.path.join(folder, "out"), "wb")
        self.p = subprocess.Popen(
            ["netconfd", f"--module={folder}/bench.yang", "--target=running", "--superuser=root", "--access-control=off",
             f"--with-startup={'false' if saving else 'true'}", f"--startup={folder}/startup.xml",
             f"--port={port}", f"--ncxserver-sockname={socket}", f"--log={folder}/log", "--log-level=error"],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, cwd=folder, env={**os.environ, "HOME": folder})
        try:
            self.reach(port, socket)
        except BaseException:
            self.end()
            raise

    def reach(self, port, socket):
        folder = self.dir
        self.sshd = Sshd(os.path.join(folder, "sshd"), port=port, sftp=False,
                         more=f"Subsystem netconf /usr/sbin/netconf-subsystem --ncxserver-sockname={port}@{socket}\n")
        until = time.monotonic() + 30
        while not os.path.exists(socket):
            assert self.p.poll() is None and time.monotonic() < until, "netconfd does not start"
            time.sleep(0.05)
        self.session = Session(port, "archive", PASSWORD)

    def fill(self, have, n):
        """False: it takes too long."""
        end = time.monotonic() + LIMIT_S
        for at in range(have, n, FILL):
            self.session.rpc(edit_config("".join(entry(i) for i in range(at, min(at + FILL, n)))))
            if time.monotonic() > end:
                print(f"{n:7} {'':16} not measured: {at + FILL - have} objects took {LIMIT_S} s", flush=True)
                return False
        return True

    def end(self):
        if self.session is not None:
            self.session.t.close()
        if self.sshd is not None:
            self.sshd.stop()
        self.p.terminate()
        self.p.wait(30)


def fill_ours(w, have, n):
    while have < n:
        more = min(n - have, 20000)
        assert w.ask("PATCH", "weft-apm:apm", {"weft-apm:apm": {"pool-domain-profile": [
            profile(f"p000{i:06}", 10) for i in range(have, have + more)]}}).status in (200, 204)
        have += more


def main():
    sizes = [int(x) for x in sys.argv[1:]] or [1000, 10000, 100000]
    took = {}
    if subprocess.run(["which", "netconfd"], capture_output=True, check=False).returncode != 0:
        print("netconfd is not installed (apt-get install netconfd): nothing to compare with")
        return
    print(f"ms, median and 99 % of {ROUNDS}, of netconfd (yuma123) {RIVALS_ROUNDS}; one client, one after the other")
    print("objects who              edit-config     get-config one")
    with tempfile.TemporaryDirectory(dir=os.environ["WEFT_BUILD"]) as folder:
        with Weftd(folder, options=["--listen-netconf", "127.0.0.1:0"]) as w:
            have = 0
            for n in sizes:
                fill_ours(w, have, n)
                have = n
                s = Session(w.ports["netconf"], "admin", w.password())
                took["ours", n] = measure(s, n, "weftd, durable", ROUNDS)
                s.t.close()
    for saving in (False, True):
        who = "netconfd saving" if saving else "netconfd memory"
        with tempfile.TemporaryDirectory(dir=os.environ["WEFT_BUILD"]) as folder:
            rival, have = Netconfd(os.path.abspath(folder), saving), 0
            try:
                for n in sizes:
                    if not rival.fill(have, n):
                        break
                    have = n
                    took[who, n] = measure(rival.session, n, who, RIVALS_ROUNDS)
            finally:
                rival.end()
    for (who, n), ms in took.items():
        if who != "ours":
            print(f"{n:7} {who}: edit-config takes {ms / took['ours', n]:.1f} times as long as ours")


if __name__ == "__main__":
    main()
