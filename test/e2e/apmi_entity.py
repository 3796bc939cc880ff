# SPDX-License-Identifier: Apache-2.0
"""An entity (a gateway as the pools service sees it), made from our .proto with python3-grpcio."""
import hashlib
import ipaddress
import os
import queue
import threading
import time

import grpc

from bng_manager import generate, network, prefix

WAIT = 60  # seconds for any answer, on a machine with other things to do


def credentials(folder, authority=None):
    """TLS with the certificate in `folder` (as `weftd issue` writes it); None: clear text."""
    def read(path):
        with open(path, "rb") as f:
            return f.read()
    ca = read(authority or os.path.join(folder, "ca.pem"))
    if authority:
        return grpc.ssl_channel_credentials(ca)
    return grpc.ssl_channel_credentials(ca, read(os.path.join(folder, "key.pem")),
                                        read(os.path.join(folder, "cert.pem")))


class Ended(Exception):
    """The stream is over."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


class Channel:
    def __init__(self, target, creds=None):
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1),
                   ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
        self.channel = grpc.secure_channel(target, creds, options) if creds else \
            grpc.insecure_channel(target, options)

    def close(self):
        self.channel.close()


class Stream:
    """One Session call, message by message. Knows nothing but ids."""

    def __init__(self, pb, target, creds=None):
        self.pb = pb
        self.channel = Channel(target, creds)
        self.out, self.inbox, self.orders = queue.Queue(), {}, queue.Queue()
        self.cond = threading.Condition()
        self.ended, self.last, self.move = None, 0, None
        call = self.channel.channel.stream_stream("/openapmi.v1.Apmi/Session",
                                                  request_serializer=lambda m: m,
                                                  response_deserializer=pb.ManagerMsg.FromString)
        self.call_ = call(iter(self.out.get, None))
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        try:
            for m in self.call_:
                with self.cond:
                    if m.in_reply_to:
                        self.inbox[m.in_reply_to] = m
                    elif m.WhichOneof("body") == "move":
                        self.move = m.move.node
                    else:
                        self.orders.put(m.order)
                    self.cond.notify_all()
            end = (grpc.StatusCode.OK, "")
        except grpc.RpcError as e:
            end = (e.code(), e.details())
        with self.cond:
            self.ended = Ended(end[0].value[0], end[1])
            self.cond.notify_all()
        self.orders.put(None)

    def send_raw(self, data):
        self.out.put(data)

    def send(self, what, /, msg_id=None, **fields):
        """Sends a message whose body is `what`; returns its id."""
        m = self.pb.EntityMsg()
        self.last = m.msg_id = msg_id if msg_id is not None else self.last + 1
        body = getattr(m, what)
        body.SetInParent()
        for key, value in fields.items():
            if isinstance(value, (list, tuple)):
                getattr(body, key).extend(value)
            elif hasattr(value, "DESCRIPTOR"):
                getattr(body, key).CopyFrom(value)
            else:
                setattr(body, key, value)
        self.out.put(m.SerializeToString())
        return m.msg_id

    def reply(self, msg_id, seconds=WAIT):
        """The answer to a message. Raises Ended when there will be none."""
        end = time.monotonic() + seconds
        with self.cond:
            while msg_id not in self.inbox:
                if self.ended:
                    raise self.ended
                assert self.cond.wait(end - time.monotonic()), f"message {msg_id} got no answer"
            m = self.inbox.pop(msg_id)
        return getattr(m, m.WhichOneof("body"))

    def ask(self, what, /, **fields):
        return self.reply(self.send(what, **fields))

    def order(self, seconds=WAIT):
        o = self.orders.get(timeout=seconds)
        if o is None:
            raise self.ended
        return o

    def end(self, seconds=WAIT):
        """Waits for the manager to end the stream: (code, text)."""
        end = time.monotonic() + seconds
        with self.cond:
            while not self.ended:
                assert self.cond.wait(end - time.monotonic()), "the stream was not ended"
        return self.ended.code, self.ended.text

    def close(self):
        self.out.put(None)
        self.call_.cancel()
        self.channel.close()


class Domain:
    def __init__(self, partition, length):
        self.partition, self.length = partition, length
        self.pools = {}      # name -> network; what this gateway has
        self.state = {}      # name -> DRAINING, DRAINED
        self.thresholds = None


class Entity:
    """What a gateway must remember, and the conversation of proto/README.md about it."""

    def __init__(self, pb, system_id, target, creds=None):
        self.pb, self.system_id, self.target, self.creds = pb, system_id, target, creds
        self.domains, self.epoch, self.stream = {}, 0, None
        self.alarms = 0

    # ---- session -----------------------------------------------------------------------------
    def hello(self, **fields):
        self.epoch += 1
        self.stream = Stream(self.pb, self.target, self.creds)
        h = {"system_id": self.system_id, "min_version": 1, "max_version": 1, "kind": 1,
             "software": "python", "boot_epoch": self.epoch, **fields}
        return self.stream.ask("hello", **h)

    def connect(self):
        ack = self.hello()
        assert ack.status.code == 0 and ack.version == 1, ack
        self.sync()
        return self

    def close(self):
        if self.stream:
            self.stream.close()

    def sync(self, digest=False):
        s = self.stream
        r = s.ask("domain_sync", domain=sorted(self.domains), epoch=self.epoch)
        for name in r.create_first:
            self.create(name, self.domains[name].partition, self.domains[name].length)
        for name in sorted(self.domains):
            self.pool_sync(name, digest)
        ack = s.ask("sync_done", epoch=self.epoch)
        assert ack.status.code == 0, ack
        return r

    def pool_sync(self, name, digest=False):
        d = self.domains[name]
        if digest:
            text = "".join(f"{n} {p}\n" for n, p in sorted(d.pools.items()))
            r = self.stream.ask("pool_sync", domain=name, partition=d.partition,
                                preferred_length=d.length,
                                digest=hashlib.sha256(text.encode()).digest())
        if not digest or r.status.code == 10:  # asked in full, or the digests differ
            r = self.stream.ask("pool_sync", domain=name, partition=d.partition,
                                preferred_length=d.length, pool=[self.pool(d, n) for n in d.pools])
        if r.status.code == 5:
            assert not d.pools, r
            del self.domains[name]  # empty: created again at need (APM-037)
        else:
            assert r.status.code == 0, r
        return r

    def pool(self, d, name, used=0):
        n = d.pools[name]
        return self.pb.Pool(name=name, prefix=prefix(self.pb, n), total=n.num_addresses - 2, used=used,
                            state=d.state.get(name, self.pb.ACTIVE))

    # ---- domains and pools -------------------------------------------------------------------
    def create(self, name, partition, length):
        r = self.stream.ask("create_domain", domain=name, domain_profile="home", partition=partition,
                            routing_instance="default", af=self.pb.IPV4, preferred_length=length)
        if r.status.code == 0:
            d = self.domains.setdefault(name, Domain(partition, length))
            d.thresholds = (r.thresholds.apportion, r.thresholds.reclaim)
        return r

    def alarm(self, kind, domain, alarm_id=None, attempt=1, **fields):
        if alarm_id is None:
            self.alarms += 1
            alarm_id = f"{self.system_id}-{self.epoch}-{self.alarms}"
        return self.stream.ask("alarm", alarm_id=alarm_id, type=kind, domain=domain, attempt=attempt,
                               raised_at=int(time.time()), **fields)

    def take(self, domain, response):
        """The pools of an answer are in use; returns them as they came."""
        d = self.domains[domain]
        new = [(p.name, network(p.prefix)) for p in response.add]
        d.pools.update(new)
        return new

    def apportion(self, domain, wanted=1, free=0, confirm=True, **fields):
        r = self.alarm(self.pb.APPORTION, domain, free_addresses=free,
                       total_addresses=sum(n.num_addresses - 2 for n in self.domains[domain].pools.values()),
                       wanted_prefixes=wanted, preferred_length=self.domains[domain].length, **fields)
        if r.action == self.pb.ADD_POOLS:
            self.take(domain, r)
            if confirm:
                assert self.confirm(r.alarm_id).status.code == 0
        return r

    def confirm(self, order_id, code=0, text="", pool=None, revision=0):
        fields = {"order_id": order_id, "status": self.pb.Status(code=code, text=text),
                  "revision": revision}
        if pool is not None:
            fields["pool"] = pool
        return self.stream.ask("order_result", **fields)

    def give_back(self, domain, name):
        """Reclaim alarm, drain, drained, removal: all that a surplus pool goes through."""
        d, pb = self.domains[domain], self.pb
        free = sum(n.num_addresses - 2 for n in d.pools.values())
        r = self.alarm(pb.RECLAIM, domain, free_addresses=free, total_addresses=free,
                       candidate_pool=[name], candidate_used=0,
                       candidate_total=d.pools[name].num_addresses - 2)
        if r.action != pb.SET_DRAIN:
            return r
        assert r.pool == name, r
        d.state[name] = pb.DRAINING
        self.confirm(r.alarm_id, pool=self.pool(d, name))
        d.state[name] = pb.DRAINED
        r = self.alarm(pb.POOL_DRAINED, domain, candidate_pool=[name], free_addresses=free,
                       total_addresses=free)
        assert r.action == pb.REMOVE_POOL and r.pool == name, r
        gone = self.pool(d, name)
        del d.pools[name], d.state[name]
        self.confirm(r.alarm_id, pool=gone)
        return r


class Admin:
    """ApmiAdmin, unary and streaming calls with an optional Basic or Bearer authorization."""
    STREAMING = {"ListEntities": ("ListReq", "EntityInfo"), "ListAlarms": ("ListReq", "AlarmInfo"),
                 "Watch": ("ListReq", "Event")}
    UNARY = {"GetDomain": ("DomainKey", "DomainInfo"), "Drain": ("PoolRef", "OpResult"),
             "Activate": ("PoolRef", "OpResult"), "Reclaim": ("PoolRef", "OpResult"),
             "ReleaseEntity": ("EntityRef", "OpResult")}

    def __init__(self, pb, target, creds=None, authorization=None):
        self.pb, self.channel = pb, Channel(target, creds)
        self.metadata = [("authorization", authorization)] if authorization else []

    def __call__(self, method, **fields):
        streaming = method in self.STREAMING
        request, answer = (self.STREAMING if streaming else self.UNARY)[method]
        make = self.channel.channel.unary_stream if streaming else self.channel.channel.unary_unary
        call = make("/openapmi.v1.ApmiAdmin/" + method,
                    request_serializer=getattr(self.pb, request).SerializeToString,
                    response_deserializer=getattr(self.pb, answer).FromString)
        # Watch has no end: it has no deadline either, its caller cancels it.
        r = call(getattr(self.pb, request)(**fields), metadata=self.metadata,
                 timeout=None if method == "Watch" else WAIT)
        return r if method == "Watch" or not streaming else list(r)

    def close(self):
        self.channel.close()


__all__ = ["Admin", "Domain", "Ended", "Entity", "Stream", "credentials", "generate", "network", "prefix",
           "ipaddress"]
