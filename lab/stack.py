# SPDX-License-Identifier: Apache-2.0
"""A stack of boxes in namespaces, joined in a ring by cables, each with its weft-stackd; and images for them."""
import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile

from topology import binary
from weftlab import LabError, wait_until


def make_image(path, version, programs=None, os_name="weftos", name="box"):
    """An image of a member: `programs` are the files in it, by name; those that begin with #! can be run."""
    files = {n: t.encode() if isinstance(t, str) else t for n, t in (programs or {}).items()}
    manifest = {"name": name, "os-name": os_name, "os-version": version,
                "files": {n: hashlib.sha256(t).hexdigest() for n, t in files.items()}}
    files["manifest.json"] = json.dumps(manifest, indent=1).encode()
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for n, data in sorted(files.items()):
            info = tarfile.TarInfo(n)
            info.size = len(data)
            info.mode = 0o755 if data[:2] in (b"#!", b"\x7fE") else 0o644
            tar.addfile(info, io.BytesIO(data))
    return path


class Box:
    """One member: a namespace with two VCP ports, and its weft-stackd."""

    def __init__(self, lab, number, serial, name=None, **settings):
        self.lab, self.number, self.serial = lab, number, serial
        self.node = name or f"box{number}"
        self.settings = settings
        self.process = None

    def path(self, *parts):
        return self.lab.path(self.node, *parts)

    @property
    def socket(self):
        return self.path("s")

    def write(self, **more):
        os.makedirs(self.path(), exist_ok=True)
        conf = {"serial": self.serial, "model": "box-1", "os-name": "weftos", "os-version": "1.0", "vcp": ["vcp0", "vcp1"],
                "directory": self.path("d"), "socket": self.socket, "trial-ms": 300, "clock-trusted": True,
                **self.settings, **more}
        return self.lab.write(os.path.join(self.node, "stackd.json"), json.dumps(conf, indent=1))

    def start(self, **more):
        self.settings.update(more)
        file = self.write()
        self.process = self.lab.spawn(self.node, f"{self.node}-stackd",
                                      [binary("agents", "phone-home", "stack", "weft-stackd"), "-c", file])
        return self

    def ask(self, *words, check=False, timeout=300):
        r = subprocess.run([binary("agents", "phone-home", "stack", "weft-stackd"), *map(str, words), "-s", self.socket],
                           capture_output=True, text=True, timeout=timeout, check=False)
        if check and r.returncode != 0:
            raise LabError(f"{self.node}: {' '.join(map(str, words))}: {r.stderr.strip()}")
        return r

    def request(self, *words, **more):
        return self.ask("request", *words, check=True, **more).stdout

    def show(self):
        return self.ask("show", "virtual-chassis", check=True).stdout

    def state(self):
        """What `show virtual-chassis --json` says, or {} while nobody answers."""
        r = self.ask("show", "virtual-chassis", "--json")
        return json.loads(r.stdout) if r.returncode == 0 else {}

    def members(self):
        return {m["serial"]: m for m in self.state().get("members", [])}

    def member_pid(self):
        """The member process, below its supervisor."""
        r = subprocess.run(["pgrep", "-P", str(self.process.pid), "-f", "--", "--member"], capture_output=True,
                           text=True, check=False)
        return int(r.stdout.split()[0]) if r.stdout.split() else None

    def power_off(self):
        """The supervisor and everything below it, at once."""
        below, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            try:
                os.kill(pid, signal.SIGSTOP)  # whatever it was about to do
                below.append(pid)
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
                        queue += [int(p) for p in f.read().split()]
            except (OSError, ProcessLookupError):
                pass  # it ended by itself
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.popen.wait(timeout=20)


def ring(lab, boxes, closed=True):
    """Namespaces, and cables from each one's vcp0 to the next one's vcp1."""
    for b in boxes:
        lab.node(b.node)
    for i, b in enumerate(boxes):
        if len(boxes) > 1 and (closed or i + 1 < len(boxes)):
            other = boxes[(i + 1) % len(boxes)]
            lab.link(b.node, "vcp0", None, other.node, "vcp1", None)


def formed(boxes, ids=None):
    """All of the boxes see each other up, with the same primary, backup and numbers: (primary, backup); else None."""
    views = []
    for b in boxes:
        s = b.state()
        members = {m["serial"]: (m.get("id"), m["role"], m["up"]) for m in s.get("members", [])}
        if not s.get("up") or not all(members.get(o.serial, (0, 0, False))[2] for o in boxes):
            return None
        views.append(members)
    if any(v != views[0] for v in views):
        return None
    by_role = {}
    for b in boxes:
        by_role.setdefault(views[0][b.serial][1], []).append(b)
    if len(by_role.get("primary", [])) != 1 or (len(boxes) > 1 and len(by_role.get("backup", [])) != 1):
        return None
    if ids and any(views[0][s][0] != n for s, n in ids.items()):
        raise LabError(f"numbers have changed: {ids} became {views[0]}")
    return by_role["primary"][0], by_role.get("backup", [None])[0]


def wait_formed(boxes, seconds=30, ids=None):
    return wait_until("the chassis has formed", seconds, lambda: formed(boxes, ids))
