# SPDX-License-Identifier: Apache-2.0
"""The gateway's agent among others that mean ill or are broken: a Kea and a vtysh that answer anything or
nothing, state that was damaged, clients of its status socket by the hundred. It lives, says what is wrong,
and keeps its pools."""
import json
import os
import resource
import socket
import subprocess
import threading
import time

import pytest

from weftd_lab import binary

POOL = "10.254.0.0/28"
# Its interface does not exist: nothing of this machine is touched.
CONFIG = {
    "system-id": "bng1", "managers": [{"host": "127.0.0.1", "port": 9}], "clear-text": True, "max-pools": 8,
    "kea": {"interval-ms": 50, "coalesce-ms": 0, "batch-ms": 0, "min-reload-interval-ms": 0, "timeout-ms": 300},
    "frr": {"check-s": 1, "late-s": 0}, "local-reserve": {"prefixes": ["10.254.0.0/20"]},
    "domain-profiles": [{"name": "home", "partition": "westford", "preferred-prefix-length": 28,
                         "interface": "weft-none0", "discard-routes": {"tag": 1000, "backup-tag": 2000}}]}


class Kea(threading.Thread):
    """A peer at Kea's socket; `odd` (command -> bytes, None: never) answers instead of the usual."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.config = {"Dhcp4": {"interfaces-config": {"interfaces": []}, "subnet4": [], "shared-networks": []}}
        self.odd, self.asked = None, 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        self.start()

    def run(self):
        while True:
            conn, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        data = b""
        try:
            while True:
                data += conn.recv(1 << 20)
                try:
                    m = json.loads(data)
                    break
                except ValueError:
                    continue
            self.asked += 1
            out = self.odd(m["command"]) if self.odd else self.usual(m["command"], m.get("arguments"))
            if out is None:
                conn.recv(1)
            else:
                conn.sendall(out)
        except OSError:
            pass
        conn.close()

    def usual(self, command, arguments=None):
        r = {"result": 0, "text": "ok"}
        if command == "status-get":
            r["arguments"] = {"pid": 7, "uptime": 1000, "reload": 1000}
        elif command == "config-get":
            r["arguments"] = self.config
        elif command == "config-set":
            self.config = arguments
        elif command == "stat-lease4-get":
            r["arguments"] = {"result-set": {"columns": ["subnet-id", "total-addresses",
                              "cumulative-assigned-addresses", "assigned-addresses", "declined-addresses"], "rows": []}}
        return json.dumps(r).encode()


class Agent:
    def __init__(self, folder):
        self.folder = str(folder)
        self.socket = self.path("sock")
        self.process = None
        self.kea = Kea(self.path("kea"))
        with open(self.path("kea.conf"), "w", encoding="ascii") as f:
            json.dump(self.kea.config, f)
        self.vtysh_is(f"""st={self.path("routes")}; touch $st
            for a in "$@"; do case "$a" in
            "show running-config staticd") echo "Current configuration:"; echo "!"; cat $st; echo end;;
            "no ip route"*) grep -vxF "${{a#no }}" $st > $st.n; mv $st.n $st;;
            "ip route"*) echo "$a" >> $st;; esac; done""")
        config = json.loads(json.dumps(CONFIG))
        config.update(state=self.path("state.db"), socket=self.socket)
        config["kea"].update({"socket": self.path("kea"), "config-file": self.path("kea.conf")})
        config["frr"]["vtysh"] = self.path("vtysh")
        with open(self.path("conf"), "w", encoding="ascii") as f:
            json.dump(config, f)

    def path(self, name):
        return os.path.join(self.folder, name)

    def vtysh_is(self, script):
        with open(self.path("vtysh.new"), "w", encoding="utf-8") as f:
            f.write("#!/bin/bash\n" + script + "\n")
        os.chmod(self.path("vtysh.new"), 0o755)
        os.rename(self.path("vtysh.new"), self.path("vtysh"))

    def start(self, files=None):
        def limit():
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen([binary("agents", "bng", "weft-bng"), "-c", self.path("conf")], stdout=log,
                                            stderr=log, preexec_fn=limit)
        return self

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(20)

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def get(self, path):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(120)
            s.connect(self.socket)
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while piece := s.recv(1 << 20):
                data += piece
        head, body = data.split(b"\r\n\r\n", 1)
        assert b" 200 " in head.split(b"\r\n")[0] or path == "/healthz", head
        return body.decode()

    def state(self):
        return json.loads(self.get("/state.json"))

    def pools(self):
        return [p["prefix"] for d in self.state()["domains"] for p in d["pools"]]

    def until(self, what, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log()[-3000:]
            try:
                if what():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(self.get("/status") + self.log()[-2000:])

    def in_line(self):
        s = self.state()
        return s["kea"]["in-line"] and s["frr"]["in-line"] and self.pools() == [POOL]

    def shown(self):
        """Everything that it shows is one line of plain text each, however odd the words of others are."""
        for path in ("/status", "/domains", "/alarms", "/adoption", "/metrics", "/state.json", "/healthz"):
            text = self.get(path)
            assert not any(c < " " and c != "\n" or "\x7f" <= c < "\xa0" for c in text), (path, text)
            assert "\nforged" not in text, (path, text)


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    a = Agent(tmp_path_factory.mktemp("agent"))
    a.start()
    a.until(a.in_line)
    yield a
    assert a.stop() == 0, a.log()[-3000:]


ODD = [
    b"", b"\xff\xfe", b"null", b"[]", b"7", b"{", b"[" * 100000, b'{"a":' * 50000, b"<html>" * 1000, b'{"result":"0"}',
    b'{"result":99999999999999999999}', b'{"result":1,"text":7}', b'{"result":1,"text":"\\ud800"}', b'{"result":1,"text":"a\\u0000"}',
    json.dumps({"result": 1, "text": "\x1b[2J\r\nforged: \u009b31m \u202e"}).encode(),
    json.dumps({"result": 1, "text": "x" + "\u20ac\u00e9" * 10000}, ensure_ascii=False).encode(), None]
ODD_ARGUMENTS = {
    "status-get": [None, 7, {"pid": "x", "reload": -5}, {"pid": -1, "reload": 9223372036854775807}],
    "config-get": [None, [], {}, {"Dhcp4": 7}, {"Dhcp4": {"shared-networks": "x", "subnet4": 7, "client-classes": [1, None]}},
                   {"Dhcp4": {"shared-networks": [None, 1, {"name": 7}, {"name": "weft-home-default", "subnet4": [
                       None, {"id": "x"}, {"id": -1, "subnet": "10.0.0.0/8"}, {"id": 2**40, "subnet": 5}]}],
                       "subnet4": [{"id": 1, "subnet": "\u20ac" * 100}, {"id": 0, "subnet": "::/0"}]}}],
    "stat-lease4-get": [None, {"result-set": 7}, {"result-set": {"columns": ["subnet-id"], "rows": [[1], ["x"], None]}}],
    "statistic-get": [{"pkt4-discover-received": [[-5]]}, {"pkt4-discover-received": 7}]}


def answers(agent, odd, times):
    """Kea answers like that for a while, and as usual again: its next pause has to be short."""
    kea = agent.kea
    kea.odd, asked = odd, kea.asked
    agent.until(lambda: kea.asked >= asked + times)
    agent.shown()
    kea.odd = None
    agent.until(agent.in_line)


def test_kea_answers_anything(agent):
    for answer in ODD:
        answers(agent, lambda command, a=answer: a, 1)
    for name, all_arguments in ODD_ARGUMENTS.items():
        for arguments in all_arguments:
            def odd(command, n=name, a=arguments):
                return json.dumps({"result": 0, "arguments": a}).encode() if command == n else agent.kea.usual(command)
            answers(agent, odd, 3)


@pytest.mark.parametrize("script", [
    "printf 'fehler: \\xe4\\xf6 \\x1b[31m \\x9b2J\\r\\nforged: line'; exit 1", "exit 1", "kill -9 $$", "head -c 70000000 /dev/zero",
    "head -c 3000000 /dev/urandom", "exec 1>&- 2>&-; sleep 1; exit 1",
    "printf '\\u20ac%.0s' $(seq 1 400); exit 1",
    "echo 'Current configuration:'; for i in $(seq 1 50000); do echo 'ip route 10.0.0.0/8 blackhole tag 1000'; done",
    "echo 'Current configuration:'; echo 'ip route 999.9.9.9/99 blackhole tag 99999999999999999999'; echo end"])
def test_vtysh_fails(agent, script):
    with open(agent.path("vtysh"), encoding="utf-8") as f:
        usual = f.read()
    agent.vtysh_is(f"touch {agent.path('ran')}; " + script)
    agent.until(lambda: os.path.exists(agent.path("ran")))
    os.unlink(agent.path("ran"))
    agent.until(lambda: not agent.state()["frr"]["in-line"])
    agent.shown()
    agent.vtysh_is(usual)
    agent.until(agent.in_line)


def test_descriptors_are_left_for_work(tmp_path):
    """Whoever may connect to the status socket can't keep the agent from running vtysh and asking Kea."""
    a = Agent(tmp_path).start(files=256)
    a.until(a.in_line)
    many = []
    for _ in range(400):
        s = socket.socket(socket.AF_UNIX)
        s.connect(a.socket)
        many.append(s)
    asked = a.kea.asked
    a.vtysh_is(f"touch {a.path('ran')}; exit 1")
    end = time.monotonic() + 120
    while not (os.path.exists(a.path("ran")) and a.kea.asked > asked + 5):
        assert a.process.poll() is None and time.monotonic() < end, a.log()[-3000:]
        time.sleep(0.05)
    for s in many:
        s.close()
    a.until(lambda: a.pools() == [POOL])
    assert a.stop() == 0
    assert "Too many open files" not in a.log()


def test_damaged_state(tmp_path):
    """It says so and ends, rather than begin without pools that subscribers are in."""
    a = Agent(tmp_path).start()
    a.until(a.in_line)
    assert a.stop() == 0
    kept = {}
    for name in os.listdir(a.folder):
        if name.startswith("state.db"):
            with open(a.path(name), "rb") as f:
                kept[name] = f.read()
    for damage in (lambda b: b[:100], lambda b: os.urandom(len(b))):
        for name, data in kept.items():
            with open(a.path(name), "wb") as f:
                f.write(damage(data) if name == "state.db" else data)
        a.start()
        assert a.process.wait(20) == 1, a.log()[-3000:]
        assert "weft-bng: " in a.log() and "state.db" in a.log().splitlines()[-1]
    for name, data in kept.items():
        with open(a.path(name), "wb") as f:
            f.write(data)
    a.start()
    a.until(a.in_line)
    assert a.stop() == 0
