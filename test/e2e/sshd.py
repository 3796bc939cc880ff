# SPDX-License-Identifier: Apache-2.0
"""OpenSSH's sshd for a test: own keys, own accounts, one address of the loopback.

It runs in a mount namespace of its own in which /etc/passwd and /etc/shadow have one more account,
"archive", with a password; nothing of the machine is changed.
"""
import base64
import os
import re
import subprocess

PASSWORD = "archive-password"


def free_port(address="127.0.0.1"):
    import socket
    with socket.socket() as s:
        s.bind((address, 0))
        return s.getsockname()[1]


class Sshd:
    """`sftp`: with that subsystem; otherwise only the SCP protocol is left. `more`: lines for its configuration."""

    def __init__(self, folder, port=None, address="127.0.0.1", sftp=True, start=True, more=""):
        self.dir = str(folder)
        os.makedirs(self.dir, exist_ok=True)
        self.address, self.port, self.sftp, self.more = address, port or free_port(address), sftp, more
        self.files = os.path.join(self.dir, "files")
        os.makedirs(self.files, exist_ok=True)
        for name, kind in (("host_ed25519", "ed25519"), ("host_rsa", "rsa"), ("user", "ed25519")):
            path = os.path.join(self.dir, name)
            if not os.path.exists(path):
                subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path], check=True)
        self.p = None
        if start:
            self.start()

    def read(self, name):
        with open(os.path.join(self.dir, name), encoding="utf-8") as f:
            return f.read()

    def host_key(self, kind="ed25519"):
        return " ".join(self.read(f"host_{kind}.pub").split()[:2])

    def private_key(self):
        return base64.b64encode(self.read("user").encode()).decode()

    def url(self, login="archive", port=True, folder=None):
        at = f":{self.port}" if port else ""
        return f"scp://{login}@{self.address}{at}{folder or self.files}"

    def start(self):
        d = self.dir
        hash_ = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True,
                               check=True).stdout.strip()
        with open("/etc/passwd", encoding="utf-8") as f:
            passwd = f.read()
        with open("/etc/shadow", encoding="utf-8") as f:
            shadow = f.read()
        for name, text, line in (("passwd", passwd, f"archive:x:0:0::{d}:/bin/sh\n"),
                                 ("shadow", shadow, f"archive:{hash_}:19000:0:99999:7:::\n")):
            with open(os.path.join(d, name), "w", encoding="utf-8") as f:
                f.write(text + line)
        config = os.path.join(d, "sshd_config")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"Port {self.port}\nListenAddress {self.address}\nHostKey {d}/host_ed25519\n"
                    f"HostKey {d}/host_rsa\nAuthorizedKeysFile {d}/user.pub\nPermitRootLogin yes\n"
                    "StrictModes no\nUsePAM no\nPasswordAuthentication yes\nPidFile none\n"
                    "LogLevel VERBOSE\n")
            if self.sftp:
                f.write("Subsystem sftp internal-sftp\n")
            f.write(self.more)
        script = ('mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/shadow" /etc/shadow && '
                  'mkdir -p /run/sshd && exec /usr/sbin/sshd -D -e -f "$1/sshd_config"')
        self.log = open(os.path.join(d, "log"), "wb")
        self.p = subprocess.Popen(["unshare", "-m", "sh", "-c", script, "sh", d], stderr=self.log,
                                  stdin=subprocess.DEVNULL)
        while not re.search("Server listening", self.read("log")):
            assert self.p.poll() is None, self.read("log")
            try:
                self.p.wait(0.05)
            except subprocess.TimeoutExpired:
                pass

    def stop(self):
        if self.p is not None and self.p.poll() is None:
            self.p.terminate()
            self.p.wait(30)
        self.p = None

    def names(self):
        return sorted(os.listdir(self.files))
