# SPDX-License-Identifier: Apache-2.0
"""A clean Debian machine in a container: debootstrap's root, systemd as process 1, no network but its own."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(TOP, "lab"))
from weftlab import LabError, wait_until  # noqa: E402

# What was fetched once stays for the next run; nothing of ours is in there.
CACHE = os.environ.get("WEFT_PACKAGES_CACHE", os.path.join(TOP, "build-cache"))
RELEASE = "bookworm"
APT = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "-o", "Dpkg::Use-Pty=0"]


def run(*argv, **more):
    r = subprocess.run(argv, capture_output=True, text=True, check=False, **more)
    assert r.returncode == 0, f"{' '.join(argv)}: {r.returncode}\n{r.stdout[-4000:]}\n{r.stderr[-4000:]}"
    return r.stdout


def sources():
    """The sources of this machine's apt that are Debian's, and of the release."""
    found = [f for f in glob.glob("/etc/apt/sources.list.d/*.sources") if RELEASE in open(f, encoding="utf-8").read()]
    assert found, "this machine's apt has no source of " + RELEASE
    return found


def mirror():
    with open(sources()[0], encoding="utf-8") as f:
        return re.search(r"^URIs:\s*(\S+)", f.read(), re.M).group(1)


def base(include="systemd,systemd-sysv,dbus"):
    """The tarball of a bootstrapped root; made the first time (a minute or two)."""
    tarball = os.path.join(CACHE, f"{RELEASE}-{include.split(',')[0]}.tar")
    if not os.path.exists(tarball):
        os.makedirs(os.path.join(CACHE, "archives"), exist_ok=True)
        root = os.path.join(CACHE, "root.new")
        shutil.rmtree(root, ignore_errors=True)
        run("debootstrap", "--variant=minbase", f"--include={include}", RELEASE, root, mirror())
        for f in glob.glob(f"{root}/var/cache/apt/archives/*.deb") + glob.glob(f"{root}/etc/apt/sources.list"):
            os.unlink(f)
        for f in sources():
            shutil.copy(f, f"{root}/etc/apt/sources.list.d/")
        run("chroot", root, "apt-get", "-q", "update")
        run("tar", "-C", root, "-cf", tarball + ".new", ".")
        os.rename(tarball + ".new", tarball)
        shutil.rmtree(root)
    return tarball


class Machine:
    def __init__(self, folder):
        self.folder = folder
        self.root = os.path.join(folder, "root")
        self.nspawn = self.leader = None

    def __enter__(self):
        os.makedirs(self.root)
        os.makedirs(os.path.join(CACHE, "archives"), exist_ok=True)
        run("tar", "-C", self.root, "-xf", base())
        return self

    def __exit__(self, *_):
        if self.nspawn is not None:
            self.nspawn.terminate()
            try:
                self.nspawn.wait(60)
            except subprocess.TimeoutExpired:
                self.nspawn.kill()
                self.nspawn.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    def fetch(self, *packages):
        """What they depend on, into the machine's cache of archives, from outside: it has no network itself."""
        archives = f"{self.root}/var/cache/apt/archives"
        for f in glob.glob(f"{CACHE}/archives/*.deb"):
            shutil.copy(f, archives)
        shutil.copy("/etc/resolv.conf", f"{self.root}/etc/resolv.conf")
        run("chroot", self.root, *APT, "install", "--download-only", *packages)
        for f in glob.glob(f"{archives}/*.deb"):
            if not os.path.exists(f"{CACHE}/archives/{os.path.basename(f)}"):
                shutil.copy(f, f"{CACHE}/archives/")

    def boot(self):
        with open(os.path.join(self.folder, "console"), "w", encoding="utf-8") as console:
            self.nspawn = subprocess.Popen(
                ["systemd-nspawn", "-q", "-b", "-D", self.root, "--register=no", "--keep-unit", "--private-network",
                 "--link-journal=no", "--console=pipe", "-M", f"weft-test-{os.getpid()}"],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        self.leader = wait_until("the container's process 1", 30, self._leader)
        wait_until("the container's start", 120, lambda: self.state() in ("running", "degraded"))
        return self

    def _leader(self):
        assert self.nspawn.poll() is None, "systemd-nspawn ended: see " + os.path.join(self.folder, "console")
        # Helpers of nspawn come and go before it.
        r = subprocess.run(["pgrep", "-P", str(self.nspawn.pid), "-x", "systemd"], capture_output=True, text=True,
                           check=False)
        return r.stdout.strip()

    def argv(self, *argv):
        return ["nsenter", "-t", self.leader, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "env", "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root", *argv]

    def tried(self, *argv, stdin=None):
        return subprocess.run(self.argv(*argv), capture_output=True, text=True, check=False, input=stdin)

    def run(self, *argv, stdin=None):
        r = self.tried(*argv, stdin=stdin)
        assert r.returncode == 0, f"{' '.join(argv)}: {r.returncode}\n{r.stdout[-4000:]}\n{r.stderr[-4000:]}"
        return r.stdout

    def apt(self, *words):
        return self.run(*APT, *words)

    def state(self):
        return self.tried("systemctl", "is-system-running").stdout.strip()

    def failed(self):
        return self.run("systemctl", "list-units", "--failed", "--no-legend", "--plain").split("\n")[0]

    def path(self, name):
        return self.root + name

    def write(self, name, text, mode=0o644, group=None):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.path(name), mode)
        if group:
            self.run("chgrp", group, name)

    def files(self):
        """All that is there, but for what the kernel and the package manager keep for themselves."""
        return set(self.run("find", "/", "-xdev", "-not", "-path", "/proc/*", "-not", "-path", "/var/log/*", "-not",
                            "-path", "/var/cache/*", "-not", "-path", "/var/lib/apt/*").split("\n"))

    def json(self, *argv):
        return json.loads(self.run(*argv))


def older(package, version, folder):
    """The same package under an earlier version number, as apt takes it for the one of before."""
    tree = os.path.join(folder, "tree-" + os.path.basename(package))
    run("dpkg-deb", "-R", package, tree)
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control, encoding="utf-8") as f:
        text = re.sub(r"^Version: .*$", f"Version: {version}", f.read(), flags=re.M)
    with open(control, "w", encoding="utf-8") as f:
        f.write(text)
    out = os.path.join(folder, re.sub(r"_[^_]*_", f"_{version}_", os.path.basename(package)))
    run("dpkg-deb", "-b", "-Znone", tree, out)
    shutil.rmtree(tree)
    return out


__all__ = ["TOP", "LabError", "Machine", "older", "run", "wait_until"]
