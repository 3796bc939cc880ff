#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""NETCONF over SSH with 1,000, 10,000 and 100,000 objects: one edit-config of running, one get-config of one
object, both to stay flat; a get-config of everything, with what it adds to the daemon's memory. Beside them the
same edit over RESTCONF (local socket), and the time of the answer to an empty get-config: what SSH, its client and
the way through the threads cost."""
import os
import sys
import tempfile
import time

import paramiko

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "e2e"))
os.environ.setdefault("WEFT_BUILD", "build")
from weftd_lab import Weftd  # noqa: E402

NC, APM = "urn:ietf:params:xml:ns:netconf:base:1.0", "urn:weft:apm"
ROUNDS = 200
HELLO = (f'<hello xmlns="{NC}"><capabilities><capability>urn:ietf:params:netconf:base:1.1</capability></capabilities>'
         "</hello>]]>]]>")


class Session:
    def __init__(self, port, user, password):
        self.t = paramiko.Transport(("127.0.0.1", port), default_window_size=1 << 24)
        self.t.connect(username=user, password=password)
        self.c = self.t.open_session()
        self.c.invoke_subsystem("netconf")
        self.until(b"]]>]]>")
        self.c.sendall(HELLO.encode())

    def until(self, mark):
        size, rest = 0, b""
        while mark not in rest:
            piece = self.c.recv(1 << 20)
            assert piece, "the session is over"
            size += len(piece)
            assert b"<rpc-error>" not in piece, piece
            rest = rest[-len(mark):] + piece
        return size

    def rpc(self, operation):
        text = f'<rpc xmlns="{NC}" message-id="1">{operation}</rpc>'
        self.c.sendall(f"\n#{len(text)}\n{text}\n##\n".encode())
        return self.until(b"\n##\n")


def timed(fn, rounds=ROUNDS):
    """Median and 99th percentile in ms."""
    took = []
    for i in range(rounds):
        start = time.perf_counter()
        fn(i)
        took.append(1000 * (time.perf_counter() - start))
    took.sort()
    return f"{took[len(took) // 2]:7.2f} {took[len(took) * 99 // 100]:7.2f}"


def profile(name, threshold):
    return {"name": name, "apportion-threshold": threshold, "reclaim-threshold": 70000}


def measure(w, n):
    s, conn = Session(w.ports["netconf"], "admin", w.password()), w.connection()
    one = f'<apm xmlns="{APM}"><pool-domain-profile><name>p000{n // 2:06}</name>'
    end = "</pool-domain-profile></apm>"
    edit = timed(lambda i: s.rpc(f"<edit-config><target><running/></target><config>{one}<apportion-threshold>{i + 11}"
                                 f"</apportion-threshold>{end}</config></edit-config>"))
    rest = timed(lambda i: w.ask("PATCH", f"weft-apm:apm/pool-domain-profile=p000{n // 2:06}", {
        "weft-apm:pool-domain-profile": [profile(f"p000{n // 2:06}", i + 1011)]}, conn=conn))
    get = timed(lambda i: s.rpc(f"<get-config><source><running/></source><filter>{one}{end}</filter></get-config>"))
    nothing = timed(lambda i: s.rpc("<get-config><source><running/></source><filter/></get-config>"))
    before, start = w.rss(), time.perf_counter()
    size = s.rpc("<get-config><source><running/></source></get-config>")
    seconds = time.perf_counter() - start
    print(f"{n:7} {edit} {rest} {get} {nothing}   {size / 1e6:6.1f} MB in {seconds:5.2f} s, memory "
          f"+{max(w.rss() - before, 0) / 1e6:.1f} MB", flush=True)
    s.t.close()


def main():
    print(f"ms, median and 99 % of {ROUNDS}, one client, one after the other")
    print("objects  edit-config     RESTCONF PATCH  get-config one  empty answer    get-config of everything")
    with tempfile.TemporaryDirectory(dir=os.environ["WEFT_BUILD"]) as folder:
        with Weftd(folder, options=["--listen-netconf", "127.0.0.1:0"]) as w:
            have = 0
            for n in (1000, 10000, 100000):
                while have < n:
                    more = min(n - have, 20000)
                    assert w.ask("PATCH", "weft-apm:apm", {"weft-apm:apm": {"pool-domain-profile": [
                        profile(f"p000{i:06}", 10) for i in range(have, have + more)]}}).status in (200, 204)
                    have += more
                measure(w, n)


if __name__ == "__main__":
    main()
