# SPDX-License-Identifier: Apache-2.0
"""Backup while running, check, restore: what an administrator does beside the controller."""
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("WEFT_BUILD", "build"))
WEFTD = os.path.join(BUILD, "src", "weftd", "weftd")
WEFT = os.path.join(BUILD, "cli", "weft")


class Controller:
    def __init__(self, folder):
        self.data = str(folder / "data")
        self.socket = str(folder / "s")
        self.log = open(folder / "log", "ab")
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [WEFTD, "--data", self.data, "--unix", self.socket, "--listen", "none",
             "--listen-apmi", "none"], stdout=self.log, stderr=self.log)
        end = time.monotonic() + 120
        while self.weft("show version").returncode != 0:
            assert self.process.poll() is None and time.monotonic() < end
            time.sleep(0.1)

    def stop(self, sig=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            self.process.wait(60)
        return self.process.returncode if self.process else None

    def weft(self, lines):
        return subprocess.run([WEFT, "--socket", self.socket], input=lines + "\n", text=True,
                              capture_output=True, timeout=60, check=False)

    def must(self, lines):
        r = self.weft(lines)
        assert r.returncode == 0, r.stdout + r.stderr
        return r.stdout

    def maintain(self, *words):
        return subprocess.run([WEFTD, *words, "--data", self.data], text=True, capture_output=True,
                              timeout=60, check=False)


@pytest.fixture
def controller(tmp_path):
    c = Controller(tmp_path)
    c.start()
    yield c
    c.stop(signal.SIGKILL)
    c.log.close()


def profile(name):
    return (f"configure\nset apm pool-domain-profile {name} apportion-threshold 10\n"
            f"set apm pool-domain-profile {name} reclaim-threshold 900\ncommit\nexit")


# proves: APM-115
def test_backup_check_restore(controller):
    c = controller
    c.must(profile("before"))
    out = c.must("request system backup one.db")
    assert "one.db" in out
    backup = os.path.join(c.data, "backup", "one.db")
    assert os.path.exists(backup) and os.stat(backup).st_mode & 0o077 == 0
    c.must(profile("after"))
    r = c.weft("request system backup ../two.db")
    assert r.returncode == 1 and "begins with /" in r.stderr
    # A running controller's store is not touched.
    r = c.maintain("restore", backup)
    assert r.returncode == 1 and "open" in r.stderr, r.stderr
    r = c.maintain("check")
    assert r.returncode == 1 and "open" in r.stderr
    assert "0 problems" in c.must("request system check")
    assert c.stop() == 0
    r = c.maintain("check")
    assert r.returncode == 0 and "0 problems" in r.stdout, r.stdout + r.stderr
    r = c.maintain("restore", backup)
    assert r.returncode == 0, r.stderr
    assert "before-restore" in r.stdout
    c.start()
    shown = c.must("show configuration")
    assert "before" in shown and "pool-domain-profile after" not in shown
    c.must(profile("again"))


# proves: APM-116
def test_a_damaged_store_is_named_and_not_opened(controller):
    c = controller
    c.must(profile("a"))
    c.stop()
    store = os.path.join(c.data, "weft.db")
    with open(store, "r+b") as f:
        f.seek(0)
        f.write(b"not a database at all")
    r = c.maintain("check")
    assert r.returncode == 1 and "weft.db" in r.stderr
    p = subprocess.run([WEFTD, "--data", c.data, "--unix", c.socket, "--listen", "none",
                        "--listen-apmi", "none"], capture_output=True, text=True, timeout=120,
                       check=False)
    assert p.returncode == 1 and "weft.db" in p.stderr
    assert "listening" not in p.stderr  # nobody is served from half a store


def test_restore_refuses_what_is_no_backup(controller, tmp_path):
    c = controller
    c.must(profile("kept"))
    c.stop()
    bad = tmp_path / "bad"
    bad.write_bytes(b"x" * 5000)
    r = c.maintain("restore", str(bad))
    assert r.returncode == 1 and f"{bad}: the file is not a backup of a Weft log" in r.stderr
    r = c.maintain("restore", "/dev/zero")
    assert r.returncode == 1 and "a backup is a plain file" in r.stderr
    r = c.maintain("restore", str(tmp_path / "missing"))
    assert r.returncode == 1 and "missing" in r.stderr
    # The key that its secrets were sealed with is not made anew.
    key = os.path.join(c.data, "pki", "secrets.key")
    os.rename(key, key + ".away")
    p = subprocess.run([WEFTD, "--data", c.data, "--listen", "none", "--listen-apmi", "none"],
                       capture_output=True, text=True, timeout=120, check=False)
    assert p.returncode == 1 and "secrets.key" in p.stderr and not os.path.exists(key), p.stderr
    os.rename(key + ".away", key)
    c.start()
    assert "kept" in c.must("show configuration")


def test_an_interrupted_restore_is_told(controller):
    """Killed between the two renames there is no store: to begin with an empty one would hide that."""
    c = controller
    c.must(profile("kept"))
    c.must("request system backup one.db")
    c.stop()
    store = os.path.join(c.data, "weft.db")
    os.rename(store, store + ".before-restore-x")
    os.rename(store + "-tables", store + ".restoring-tables")
    with open(store + ".restoring", "wb"):
        pass
    p = subprocess.run([WEFTD, "--data", c.data, "--unix", c.socket, "--listen", "none",
                        "--listen-apmi", "none"], capture_output=True, text=True, timeout=30, check=False)
    assert p.returncode == 1 and "restore again" in p.stderr, p.stderr
    assert not os.path.exists(store)
    r = c.maintain("restore", os.path.join(c.data, "backup", "one.db"))
    assert r.returncode == 0, r.stderr
    c.start()
    assert "kept" in c.must("show configuration")


# proves: APM-114
def test_events_are_kept_and_shown(controller):
    c = controller
    c.must(profile("told"))
    c.must("request system token create user admin description ci")
    refused = c.weft("configure\nset apm pool-domain-profile bad apportion-threshold 9\n"
                     "set apm pool-domain-profile bad reclaim-threshold 5\ncommit\nexit")
    assert refused.returncode != 0
    assert "is ready" in c.must("show log")
    audit = c.must("show system audit")
    assert "commit" in audit and "token-create" in audit and "root" in audit
    assert "wt_" not in audit  # what was made is a secret
    assert "root (cli unix:uid=0) commit 2: done" in audit
    assert c.must("show system audit user nobody") == "No such entries.\n"
    assert c.must("show log module nonsense") == "No such lines.\n"
    c.stop(signal.SIGKILL)
    c.start()
    assert audit.splitlines()[0] in c.must("show system audit")


def test_first_start_files_are_private(controller):
    c = controller
    for folder, _, files in os.walk(c.data):
        assert os.stat(folder).st_mode & 0o077 == 0, folder
        for name in files:
            path = os.path.join(folder, name)
            if not name.endswith((".sock", "ca.pem")):
                assert os.stat(path).st_mode & 0o077 == 0, path
    assert os.path.getsize(os.path.join(c.data, "admin-password")) >= 16


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))


def test_issue_keeps_the_key_that_is_there(controller, tmp_path):
    folder = tmp_path / "bng1"
    issue = lambda *a: subprocess.run([WEFTD, "issue", "bng1", str(folder), "--data", controller.data, *a],
                                      capture_output=True, text=True)
    files = lambda: {p.name: p.read_bytes() for p in folder.iterdir()}
    assert issue().returncode == 0
    first = files()
    assert sorted(first) == ["ca.pem", "cert.pem", "key.pem"]
    r = issue()
    assert r.returncode == 1 and f"{folder}/key.pem: is there already" in r.stderr and "--force" in r.stderr, r
    assert files() == first
    r = issue("--force")
    assert r.returncode == 0, r
    second = files()
    assert second["key.pem"] != first["key.pem"] and second["cert.pem"] != first["cert.pem"]
    (folder / "key.pem").unlink()  # a certificate without its key is kept as well
    r = issue()
    assert r.returncode == 1 and "cert.pem: is there already" in r.stderr, r


def test_every_address_and_the_names_of_the_certificate(tmp_path):
    """Without an address IPv4 is served as well as IPv6, under all names that were given."""
    ports, data = tmp_path / "ports", str(tmp_path / "data")
    argv = [WEFTD, "--data", data, "--listen", ":0", "--listen-apmi", "0", "--port-file", str(ports)]
    with open(tmp_path / "log", "wb") as log:
        p = subprocess.Popen([*argv, "--hostname", "localhost,weft.example.net,192.0.2.7"],
                             stdout=log, stderr=log)
    try:
        end = time.monotonic() + 120
        while not ports.exists() or "ready" not in ports.read_text():
            assert p.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.1)
        lines = [line.split() for line in ports.read_text().splitlines()]
        families = (socket.AF_INET6, socket.AF_INET) if socket.has_ipv6 else (socket.AF_INET,)
        for what in ("tls", "apmi"):
            mine = [int(line[1]) for line in lines if line[0] == what]
            assert len(mine) == len(families)
            for family, port in zip(families, mine):
                with socket.socket(family) as s:
                    s.connect(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
        tls = ssl.create_default_context(cafile=os.path.join(data, "pki", "ca.pem"))
        port = next(int(line[1]) for line in reversed(lines) if line[0] == "tls")
        for name, good in (("weft.example.net", True), ("192.0.2.7", True), ("192.0.2.8", False)):
            with socket.create_connection(("127.0.0.1", port)) as s:
                try:
                    tls.wrap_socket(s, server_hostname=name).close()
                    assert good, name
                except ssl.SSLCertVerificationError:
                    assert not good, name
        r = subprocess.run([WEFT, "-H", f"127.0.0.2:{port}", "--ca", os.path.join(data, "pki", "ca.pem"), "-u",
                            "admin", "--password-file", os.path.join(data, "admin-password"), "show version"],
                           capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
        assert r.returncode == 3 and "is for other names" in r.stderr, r.stderr
    finally:
        p.send_signal(signal.SIGTERM)
        assert p.wait(20) == 0
    # A name that the certificate lacks is told; the certificate, perhaps the operator's own, stays.
    p = subprocess.Popen([*argv, "--hostname", "other.example.net"], stderr=subprocess.PIPE, text=True)
    said = ""
    for line in p.stderr:
        said += line
        if "is ready" in line:
            p.send_signal(signal.SIGTERM)
            break
    p.communicate(timeout=120)
    assert "server.pem is not for other.example.net" in said, said
    p = subprocess.run([WEFTD, "--data", str(tmp_path / "new"), "--listen", "none", "--listen-apmi",
                        "none", "--hostname", "two/words"], capture_output=True, text=True, timeout=120,
                       check=False)
    assert p.returncode == 1 and "is no host name" in p.stderr, p.stderr
