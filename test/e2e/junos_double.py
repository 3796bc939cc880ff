#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A Junos device as its NETCONF sessions show it: a standalone one, or the members of a virtual chassis.

In memory: members with versions, slots and roles that are elected; candidate and committed configuration with a
history; commits that are taken back unless they are confirmed; images; and faults that a test orders. A member is
a local socket. It is no description of Junos, but of what we were able to read about it.

  junos_double.py connect SOCKET      its standard input and output are a session, like those of `cli`
"""
import copy
import os
import re
import select
import shutil
import socket
import sys
import threading
import time
import xml.etree.ElementTree as ET

NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
JUNOS = "http://xml.juniper.net/junos/20.3R1/junos"
END = b"]]>]]>"
GROUP = "weft-phone-home"


def local(tag):
    return tag.rsplit("}", 1)[-1]


def stripped(e):
    """A copy without namespaces."""
    out = ET.Element(local(e.tag), {local(k): v for k, v in e.attrib.items()})
    out.text = (e.text or "").strip()
    out.extend(stripped(c) for c in e)
    return out


def el(tag, *children, text=None, **attributes):
    e = ET.Element(tag.replace("_", "-"), attributes)
    e.text = text
    e.extend(children)
    return e


class Refused(Exception):
    """An <rpc-error>."""

    def __init__(self, message, tag="operation-failed", path="", bad=""):
        super().__init__(message)
        self.tag, self.path, self.bad = tag, path, bad


def same(a, b):
    return a.tag == b.tag and (a.find("name") is None or a.findtext("name") == b.findtext("name")) and \
        (a.tag != "apply-groups" or a.text == b.text)


def merge(into, change):
    for c in change:
        mine = next((m for m in into if same(m, c)), None)
        if c.get("delete") == "delete":
            if mine is None:
                raise Refused("statement not found", path=f"[edit {into.tag}]", bad=c.tag)
            into.remove(mine)
            continue
        if mine is not None and c.get("replace") == "replace":
            into.remove(mine)
            mine = None
        if mine is None:
            c = copy.deepcopy(c)
            for x in c.iter():
                x.attrib.clear()
            into.append(c)
        elif len(c):
            merge(mine, c)
        else:
            mine.text = c.text


def from_words(words):
    """a b c -> <a><b>c</b></a>"""
    top = e = el(words[0])
    for w in words[1:-1]:
        e.append(n := el(w))
        e = n
    if len(words) > 1:
        e.text = words[-1]
    return top


def from_text(text):
    """Curly braces."""
    top = el("configuration")
    at = [top]
    for token in re.findall(r"[^;{}]+[;{]|}", text):
        token = token.strip()
        if token == "}":
            at.pop()
            if not at:
                raise Refused("syntax error", path="[edit]", bad="}")
            continue
        words = token[:-1].split()
        if token.endswith("{"):
            at[-1].append(e := el(words[0]))
            at.append(e)
        else:
            at[-1].append(from_words(words))
    if len(at) != 1:
        raise Refused("syntax error, missing }", path="[edit]")
    return top


class Member:
    def __init__(self, number, serial, version, root):
        self.number, self.serial, self.version, self.slot, self.root = number, serial, version, None, root
        self.role, self.up, self.comes_back = "Linecard", True, True
        self.connections = set()

    @property
    def socket(self):
        return os.path.join(self.root, "mgd")


FACTORY = """<configuration><system><phone-home><server>https://redirect.example.net</server></phone-home></system>
</configuration>"""


class Junos:
    """`n` members; 1 with chassis=False: a device alone. Members' folders are `folder`/m0 and so on."""

    def __init__(self, folder, n=1, chassis=False, version="20.2R1.10", boot_s=2.5, on_up=None, on_down=None,
                 answer_ns=JUNOS):
        self.chassis, self.boot_s, self.ns = chassis, boot_s, answer_ns
        self.on_up, self.on_down = on_up or (lambda m: None), on_down or (lambda m: None)
        self.lock = threading.RLock()
        self.did = []        # what was ordered, as tuples
        self.broken = []     # what no client may do
        self.faults = {}     # RPC -> list of what goes wrong with it, one after another
        self.minute = 60.0   # seconds of a minute of commit confirmed
        self.factory = stripped(ET.fromstring(FACTORY))
        self.committed = copy.deepcopy(self.factory)
        self.history = [("", "factory", copy.deepcopy(self.committed))]
        self.pending = None  # the timer of commit confirmed
        self.holder = None   # who has the candidate locked
        self.candidate = None
        self.locks_denied = 0
        self.members = []
        for i in range(n):
            root = os.path.join(str(folder), f"m{i}")
            os.makedirs(root, exist_ok=True)
            self.members.append(Member(i, f"PE37{i:06}" if chassis else "PE37000000", version, root))
        self.members[0].role = "Master"
        self.elect()
        self.closing = False
        self.listeners = []
        for m in self.members:
            s = socket.socket(socket.AF_UNIX)
            s.bind(m.socket)
            s.listen(20)
            self.listeners.append(s)
            threading.Thread(target=self.serve, args=(m, s), daemon=True).start()

    # ---- the chassis ----

    def priority(self, m):
        group = next((g for g in self.committed.findall("groups") if g.findtext("name") == GROUP), None)
        if group is not None and any(a.text == GROUP for a in self.committed.findall("apply-groups")):
            for e in group.iter("member"):
                if e.findtext("name") == str(m.number):
                    return int(e.findtext("mastership-priority"))
        return 128

    def primary(self):
        return next((m for m in self.members if m.up and m.role == "Master"), None)

    def elect(self):
        if not self.chassis:
            return
        up = [m for m in self.members if m.up]
        order = {"Master": 0, "Backup": 1, "Linecard": 2}
        up.sort(key=lambda m: (-self.priority(m), order[m.role], m.number))
        for i, m in enumerate(up):
            m.role = "Master" if i == 0 else "Backup" if i == 1 else "Linecard"

    def reboot(self, m, zeroize=False):
        def back():
            with self.lock:
                if zeroize:
                    self.committed = copy.deepcopy(self.factory)
                    self.history = [("", "factory", copy.deepcopy(self.committed))]
                    for name in os.listdir(m.root):
                        path = os.path.join(m.root, name)
                        if os.path.isdir(path) and name == "state":
                            shutil.rmtree(path)
                            os.mkdir(path, 0o700)
                if m.slot:
                    m.version = m.slot
                m.role, m.up = ("Linecard" if self.chassis else "Master"), True
                self.elect()
            self.on_up(m)

        m.up = False
        m.role = "Linecard"
        if self.chassis and all(not x.up or x.role == "Linecard" for x in self.members):
            self.broken.append("primary and backup are away together")
        self.elect()
        for c in list(m.connections):
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.on_down(m)
        if m.comes_back and not self.closing:
            t = threading.Timer(self.boot_s, back)
            t.daemon = True
            t.start()

    # ---- configuration ----

    def commit(self, session, log, confirm_s):
        if self.faults.get("commit-check"):
            self.faults["commit-check"].pop()
            raise Refused("configuration check-out failed", path="[edit interfaces]", bad="ge-9/9/9")
        if self.pending:
            self.pending.cancel()
            self.pending = None
        before = copy.deepcopy(self.committed)
        self.committed = copy.deepcopy(self.candidate)
        self.history.insert(0, (log, "netconf", copy.deepcopy(self.committed)))
        self.elect()
        if confirm_s:
            def back():
                with self.lock:
                    self.pending = None
                    self.did.append(("taken back",))
                    self.committed = before
                    self.history.insert(0, ("", "other", copy.deepcopy(before)))
                    self.elect()

            self.pending = threading.Timer(confirm_s, back)
            self.pending.daemon = True
            self.pending.start()

    def load(self, e):
        if e.get("rollback"):
            self.candidate = copy.deepcopy(self.history[int(e.get("rollback"))][2])
            return
        action = e.get("action", "merge")
        if action == "set":
            for line in e.findtext("configuration-set").splitlines():
                words = line.split()
                if words and words[0] == "set":
                    merge(self.candidate, el("configuration", from_words(words[1:])))
                elif words:
                    raise Refused("unknown command", bad=words[0])
            return
        change = from_text(e.findtext("configuration-text")) if e.get("format") == "text" else e.find("configuration")
        if change.find("bad-statement") is not None:
            raise Refused("syntax error", path="[edit]", bad="bad-statement-with-s3cret")
        if action == "override":
            self.candidate = el("configuration")
        merge(self.candidate, change)

    # ---- RPCs ----

    def rpc(self, m, session, e):
        name = e.tag
        handler = getattr(self, "do_" + name.replace("-", "_"), None)
        if handler is None:
            raise Refused("syntax error, expecting <command>", bad=name)
        if name not in ("get-system-information", "get-virtual-chassis-information", "get-software-information",
                        "get-configuration") and m is not self.primary():
            self.broken.append(f"{name} on member {m.number}, which is not the primary")
        return handler(m, session, e)

    def do_get_system_information(self, m, *_):
        return [el("system-information", el("hardware-model", text="ex4300-48t"), el("os-name", text="junos"),
                   el("os-version", text=m.version), el("serial-number", text=m.serial), el("host-name", text=""))]

    def do_get_virtual_chassis_information(self, m, *_):
        if not self.chassis:
            raise Refused("syntax error, expecting <command>", bad="get-virtual-chassis-information")
        members = el("member-list")
        for x in self.members:
            if x.up:
                members.append(el("member", el("member-status", text="Prsnt"), el("member-id", text=f"{x.number}"),
                                  el("fpc-slot", text=f"(FPC {x.number})"), el("member-serial-number", text=x.serial),
                                  el("member-model", text="ex4300-48t"),
                                  el("member-priority", text=str(self.priority(x))),
                                  el("member-role", text=x.role + ("*" if x is m else ""))))
            else:
                members.append(el("member", el("member-status", text="NotPrsnt"), el("member-id", text=f"{x.number}"),
                                  el("member-serial-number", text=x.serial), el("member-model", text="ex4300-48t")))
        return [el("virtual-chassis-information", el("virtual-chassis-id-information",
                                                     el("virtual-chassis-id", text="0000.1111.2222")), members)]

    def do_get_software_information(self, m, _, e):
        def info(x):
            return el("software-information", el("host-name", text=""), el("product-model", text="ex4300-48t"),
                      el("junos-version", text=x.version))
        if e.find("all-members") is None:
            return [info(m)]
        return [el("multi-routing-engine-results", *(
            el("multi-routing-engine-item", el("re-name", text=f"fpc{x.number}"), info(x))
            for x in self.members if x.up))]

    def do_get_configuration(self, m, *_):
        c = el("configuration")
        for tag in ("system", "groups"):
            c.extend(copy.deepcopy(x) for x in self.committed.findall(tag))
        return [c]

    def do_get_commit_information(self, *_):
        return [el("commit-information", *(
            el("commit-history", el("sequence-number", text=str(i)), el("user", text="root"),
               el("client", text=client), el("date-time", text="2024-01-01 00:00:00 UTC"),
               *([el("log", text=log)] if log else []))
            for i, (log, client, _) in enumerate(self.history)))]

    def do_lock(self, m, session, e):
        if self.holder is not None and self.holder is not session:
            self.locks_denied += 1
            raise Refused("configuration database locked by: root", tag="lock-denied")
        self.holder = session
        self.candidate = copy.deepcopy(self.committed)
        return [el("ok")]

    def do_unlock(self, m, session, e):
        self.holder = self.candidate = None
        return [el("ok")]

    def do_load_configuration(self, m, session, e):
        if self.holder is not session:
            self.broken.append("a load without the lock")
        self.load(e)
        return [el("load-configuration-results", el("ok"))]

    def do_commit_configuration(self, m, session, e):
        if self.holder is not session:
            self.broken.append("a commit without the lock")
        confirmed = e.find("confirmed") is not None
        self.commit(session, e.findtext("log", ""), self.minute * int(e.findtext("confirm-timeout", "10"))
                    if confirmed else 0)
        self.did.append(("commit", e.findtext("log", "").split(": ")[-1]))
        if self.chassis and e.find("synchronize") is None:
            self.broken.append("a commit that is not synchronized")
        return [el("commit-results", el("routing-engine", el("name", text=f"fpc{m.number}"), el("commit-success")))]

    def do_request_package_add(self, m, session, e):
        member = self.members[int(e.findtext("member", str(m.number)))]
        with open(e.findtext("package-name"), "rb") as f:
            image = f.read()
        if not member.up:
            raise Refused(f"member {member.number} is not present")
        if self.faults.get(("install", member.number)):
            if self.faults[("install", member.number)].pop() == "rpc-error":
                raise Refused(f"no space on fpc{member.number}")
            return [el("output", text="Verifying the package\nERROR: the package is for another platform\n"),
                    el("package-result", text="1")]
        member.slot = image.split(b"\n")[0].decode().split()[-1]
        self.did.append(("install", member.number, member.slot, "validate" if e.find("validate") is not None else ""))
        return [el("output", text="Verified. Installing...\nA REBOOT IS REQUIRED\n"), el("package-result", text="0")]

    def do_request_reboot(self, m, session, e):
        member = self.members[int(e.findtext("member", str(m.number)))]
        self.did.append(("reboot", member.number))
        threading.Timer(0.05, self.locked, (self.reboot, member)).start()
        return [el("request-reboot-results", el("request-reboot-status", text="Shutdown NOW!"))]

    def do_file_copy(self, m, session, e):
        where, path = e.findtext("destination").split(":", 1)
        to = self.members[int(where.replace("fpc", ""))]
        if not to.up:
            raise Refused(f"could not connect to {where}")
        shutil.copyfile(e.findtext("source"), path.replace(f"{m.root}/", f"{to.root}/"))
        self.did.append(("copy", to.number))
        return []

    def do_request_system_zeroize(self, m, session, e):
        self.did.append(("zeroize",))
        for x in self.members:
            if x.up:
                threading.Timer(0.05, self.locked, (self.reboot, x, True)).start()
        return [el("output", text="warning: zeroizing")]

    def locked(self, fn, *args):
        with self.lock:
            fn(*args)

    # ---- sessions ----

    def serve(self, m, listener):
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                if not m.up:
                    c.close()
                    continue
                m.connections.add(c)
            threading.Thread(target=self.session, args=(m, c), daemon=True).start()

    def session(self, m, c):
        try:
            c.sendall(b'<!-- user root -->\n<hello xmlns="' + NC.encode() + b'"><capabilities><capability>'
                      b"urn:ietf:params:netconf:base:1.0</capability><capability>http://xml.juniper.net/netconf/junos/"
                      b"1.0</capability></capabilities><session-id>17</session-id></hello>\n" + END + b"\n")
            data = b""
            while True:
                got = c.recv(65536)
                if not got:
                    break
                data += got
                while END in data:
                    message, data = data.split(END, 1)
                    if b"<hello" not in message:
                        self.message(m, c, message)
        except OSError:
            pass
        with self.lock:
            m.connections.discard(c)
            if self.holder is c:
                self.holder = self.candidate = None
        c.close()

    def message(self, m, c, message):
        e = ET.fromstring(message)
        op = stripped(e[0])
        fault = None
        with self.lock:
            if self.faults.get(op.tag):
                fault = self.faults[op.tag].pop()
            try:
                if fault == "rpc-error":
                    raise Refused("the test wants it", bad=op.tag)
                answer = self.rpc(m, c, op) if fault in (None, "xnm-warning") else []
            except Refused as r:
                answer = [el("rpc-error", el("error-type", text="application"), el("error-tag", text=r.tag),
                             el("error-severity", text="error"), el("error-path", text=r.path),
                             el("error-message", text="\n" + str(r) + "\n"),
                             el("error-info", el("bad-element", text=r.bad)))]
        body = b"".join(ET.tostring(a) for a in answer)
        reply = (f'<rpc-reply xmlns="{NC}" xmlns:junos="{self.ns}" message-id="{e.get("message-id")}">\n'.encode() +
                 body + b"\n</rpc-reply>\n" + END + b"\n")
        if fault == "cut":
            c.sendall(reply[:len(reply) // 2])
            c.shutdown(socket.SHUT_RDWR)
        elif fault == "junk":
            c.sendall(b"<rpc-reply><a>\x00\xff</b>&nothing;" + END)
        elif fault == "endless":
            try:
                while True:
                    c.sendall(b"<output>" + b"x" * 65000)
            except OSError:
                pass
        elif fault == "silent":
            return
        else:
            c.sendall(reply)

    def close(self):
        self.closing = True
        if self.pending:
            self.pending.cancel()
        for s in self.listeners:
            s.shutdown(socket.SHUT_RDWR)
            s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    while True:
        ready, _, _ = select.select([s, 0], [], [])
        if s in ready:
            data = s.recv(65536)
            if not data:
                return
            while data:
                data = data[os.write(1, data):]
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return
            s.sendall(data)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "connect":
        sys.exit(__doc__)
    try:
        connect(sys.argv[2])
    except OSError:
        time.sleep(0)
        sys.exit(1)
