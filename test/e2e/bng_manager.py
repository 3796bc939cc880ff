# SPDX-License-Identifier: Apache-2.0
"""A manager for the gateway's agent, made from our .proto with somebody else's gRPC (python3-grpcio).

It is a peer, not an imitation of the pools service: it hands out prefixes from a list, remembers what
it was told, and lets a test order anything.
"""
import ctypes
import hashlib
import importlib
import ipaddress
import os
import queue
import subprocess
import sys
import threading
import time
from concurrent import futures

import grpc

HERE = os.path.dirname(os.path.abspath(__file__))
PROTO = os.path.join(HERE, "..", "..", "proto")


def generate(folder):
    """Python classes from proto/openapmi.proto; returns the module."""
    os.makedirs(folder, exist_ok=True)
    subprocess.run(["protoc", f"--proto_path={PROTO}", f"--python_out={folder}",
                    os.path.join(PROTO, "openapmi.proto")], check=True)
    os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("openapmi_pb2")
    finally:
        sys.path.pop(0)


class inside:
    """Sockets that are made in this thread belong to a network namespace of the lab."""
    libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, ns):
        self.ns = ns

    def __enter__(self):
        self.own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        fd = os.open(f"/run/netns/{self.ns}", os.O_RDONLY)
        if self.libc.setns(fd, 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(fd)

    def __exit__(self, *_):
        self.libc.setns(self.own, 0)
        os.close(self.own)


def warm_up():
    """gRPC's own threads begin now, in the namespace of this process."""
    channel = grpc.insecure_channel("localhost:9")
    future = grpc.channel_ready_future(channel)
    try:
        future.result(timeout=0.3)
    except grpc.FutureTimeoutError:
        pass
    future.cancel()
    channel.close()


class Manager:
    def __init__(self, pb, blocks, thresholds=(20, 1000, 2)):
        self.pb = pb
        self.lock = threading.RLock()
        self.free = [ipaddress.ip_network(b) for b in blocks]
        self.pools = {}        # domain -> {pool name: network}
        self.usage = {}        # domain -> last Stats
        self.thresholds = thresholds
        self.sequence = {}
        self.auto = False      # answer reclaim alarms with a drain
        self.hold_back = 0     # NACK that many apportion alarms
        self.log = []          # every message of the entity
        self.results = {}      # order id -> OrderResult
        self.sessions = 0
        self.synced = threading.Event()
        self.out = None
        self.peer_auth = None
        self.server = None
        self.orders = 0

    # ---- serving ---------------------------------------------------------------------------
    def serve(self, ns, address, credentials=None):
        handler = grpc.method_handlers_generic_handler("openapmi.v1.Apmi", {
            "Session": grpc.stream_stream_rpc_method_handler(
                self.session, self.pb.EntityMsg.FromString,
                self.pb.ManagerMsg.SerializeToString)})
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=8),
                                  options=[("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers((handler,))
        warm_up()
        with inside(ns):
            if credentials is None:
                port = self.server.add_insecure_port(address)
            else:
                port = self.server.add_secure_port(address, credentials)
        # Not in there: a thread that gRPC begins meanwhile would stay there, and connect from there for whoever
        # uses gRPC next in this process.
        self.server.start()
        assert port, f"nothing listens on {address}"
        return self

    def stop(self):
        if self.server:
            self.server.stop(0).wait(5)
            self.server = None
        self.synced.clear()

    def session(self, requests, context):
        out = queue.Queue()
        self.peer_auth = context.auth_context()
        with self.lock:
            self.sessions += 1
            if self.out:
                self.out.put(None)  # the newer session takes over (P-02)
            self.out = out

        def read():
            try:
                for m in requests:
                    with self.lock:
                        # What an ended session still says must not reach the new one's books: nobody
                        # would hear the answer.
                        if out is not self.out:
                            break
                        self.log.append(m)
                        self.on(m, out)
            except grpc.RpcError:
                pass
            finally:
                out.put(None)

        threading.Thread(target=read, daemon=True).start()
        while (m := out.get()) is not None:
            yield m
        with self.lock:
            if out is self.out:
                self.synced.clear()

    # ---- the protocol ----------------------------------------------------------------------
    def on(self, m, out):
        kind = m.WhichOneof("body")
        reply = self.pb.ManagerMsg(in_reply_to=m.msg_id)
        getattr(self, "on_" + kind, lambda *_: reply.ack.SetInParent())(getattr(m, kind), reply)
        out.put(reply)

    def on_hello(self, hello, reply):
        self.hello = hello
        reply.hello_ack.version = 1
        reply.hello_ack.stats_interval_s = 1

    def on_domain_sync(self, sync, reply):
        r = reply.domain_sync_result
        r.SetInParent()
        for d in sync.domain:
            (r.keep if d in self.pools else r.create_first).append(d)
        for d in [d for d in self.pools if d not in sync.domain]:
            self.free += self.pools.pop(d).values()
            r.removed_here.append(d)

    def on_create_domain(self, create, reply):
        self.pools.setdefault(create.domain, {})
        self.created = create
        reply.domain_created.domain = create.domain
        self.fill(reply.domain_created.thresholds)

    def on_delete_domain(self, delete, reply):
        self.pools.pop(delete.domain, None)
        reply.ack.SetInParent()

    def fill(self, t):
        t.apportion, t.reclaim, t.hold_down_s = self.thresholds

    def digest(self, domain):
        text = "".join(f"{n} {p}\n" for n, p in sorted(self.pools[domain].items()))
        return hashlib.sha256(text.encode()).digest()

    def on_pool_sync(self, sync, reply):
        r = reply.pool_sync_result
        r.domain = sync.domain
        if sync.digest:
            if sync.digest != self.digest(sync.domain):
                r.status.code = 10
                return
        else:
            listed = {p.name: network(p.prefix) for p in sync.pool if not p.local}
            ours = self.pools[sync.domain]
            for name in [n for n in ours if n not in listed]:
                self.free.append(ours.pop(name))
            for name, net in listed.items():
                adopted = name not in ours
                ours[name] = net
                self.free = [f for f in self.free if not f.overlaps(net)]
                r.verdict.add(pool=name, verdict=2 if adopted else 1)
        self.fill(r.thresholds)

    def on_sync_done(self, _, reply):
        reply.ack.SetInParent()
        self.synced.set()

    def on_stats(self, stats, reply):
        self.usage[stats.domain] = stats
        reply.ack.SetInParent()

    def on_ping(self, ping, reply):
        reply.pong.sent_at_us = ping.sent_at_us

    def on_order_result(self, result, reply):
        self.results[result.order_id] = result
        if result.pool.name and not result.status.code:
            for d, pools in self.pools.items():
                if result.order_id.startswith("rm:") or result.order_id in self.removing:
                    if result.pool.name in pools:
                        self.free.append(pools.pop(result.pool.name))
        reply.ack.SetInParent()

    removing = frozenset()

    def on_alarm(self, a, reply):
        r = reply.alarm_response
        r.alarm_id = a.alarm_id
        r.result = 1
        ours = self.pools.setdefault(a.domain, {})
        if a.type == self.pb.APPORTION:
            if self.hold_back > 0 or not self.free:
                self.hold_back -= 1
                r.result, r.action, r.reason = 2, 1, 1
                r.retry_at = int(time.time()) + 2
                return
            r.action = 2
            for _ in range(a.wanted_prefixes):
                if not self.free:
                    r.shortfall += 1
                    continue
                net = self.free.pop(0)
                n = self.sequence.setdefault(a.domain, -1)
                name = a.domain if n < 0 else f"{a.domain}-{n:04d}"
                self.sequence[a.domain] = n + 1
                ours[name] = net
                r.add.add(name=name, prefix=prefix(self.pb, net))
        elif a.type == self.pb.RECLAIM and self.auto:
            r.action, r.pool = 3, a.candidate_pool[0]
        elif a.type == self.pb.POOL_DRAINED and self.auto:
            r.action, r.pool = 4, a.candidate_pool[0]
            self.removing = self.removing | {a.alarm_id}
        elif a.type != self.pb.ABATE:
            r.result = 3

    # ---- orders ----------------------------------------------------------------------------
    def order(self, kind, domain="", pool="", thresholds=None, revision=0, wait=60):
        with self.lock:
            self.orders += 1
            oid = f"{'rm' if kind == self.pb.ORDER_REMOVE_POOL else 'o'}:{self.orders}"
            m = self.pb.ManagerMsg()
            o = m.order
            o.order_id, o.type, o.domain, o.pool, o.revision = oid, kind, domain, pool, revision
            if thresholds:
                o.thresholds.apportion, o.thresholds.reclaim, o.thresholds.hold_down_s = thresholds
            self.out.put(m)
        end = time.monotonic() + wait
        while oid not in self.results:
            assert time.monotonic() < end, f"order {oid} was not answered in {wait} s"
            time.sleep(0.02)
        return self.results[oid]

    def alarms(self, kind):
        with self.lock:
            return [m.alarm for m in self.log
                    if m.WhichOneof("body") == "alarm" and m.alarm.type == kind]


def network(p):
    return ipaddress.ip_network((p.address, p.length))


def prefix(pb, net):
    return pb.Prefix(af=pb.IPV4, address=net.network_address.packed, length=net.prefixlen)


def make_certificates(folder, system_id):
    """A CA, a server certificate for `weft`, a client certificate for the gateway, and a stranger's."""
    os.makedirs(folder, exist_ok=True)

    def run(*argv):
        subprocess.run(argv, check=True, capture_output=True, cwd=folder)

    for ca in ("ca", "other"):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", f"{ca}.key", "-out", f"{ca}.crt", "-days", "2", "-subj", f"/CN={ca}")
    for name, cn, ca in (("server", "weft", "ca"), ("client", system_id, "ca"),
                         ("stranger", system_id, "other")):
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={cn}")
        with open(os.path.join(folder, "ext"), "w", encoding="ascii") as f:
            f.write(f"subjectAltName=DNS:{cn}\n")
        run("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key",
            "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", f"{name}.crt")

    def read(name):
        with open(os.path.join(folder, name), "rb") as f:
            return f.read()

    return grpc.ssl_server_credentials([(read("server.key"), read("server.crt"))], read("ca.crt"), True)
