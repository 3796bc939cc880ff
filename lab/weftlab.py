# SPDX-License-Identifier: Apache-2.0
"""A lab on one machine: network namespaces, links and the real programs in them.

    with Lab("tour", "run/tour") as lab:
        lab.node("core"); lab.node("bng1")
        lab.link("core", "to-bng1", "10.255.1.1/30", "bng1", "uplink", "10.255.1.2/30")
        lab.frr("core", zebra=True, bgp="router bgp 65000 ...")
        p = lab.spawn("bng1", "agent", ["build/agents/bng/weft-bng", "-c", path])

Everything it makes is written down in DIR/made.json first, so that the next run can clear away what a
killed one has left: processes by pid and start time, namespaces by name, and FRR's folders.

A lab's name is taken once a machine, as namespaces have one name space: `with Lab` fails while another
lab of that name is up, wherever it was started.
"""
import contextlib
import fcntl
import glob
import json
import os
import shutil
import signal
import subprocess
import time

FRR_RUN, FRR_ETC, FRR_LIB, FRR_TMP = "/var/run/frr", "/etc/frr", "/usr/lib/frr", "/var/tmp/frr"
LOCKS, NETNS, NETNS_ETC = "/run", "/run/netns", "/etc/netns"
# Unix socket paths end at 107 bytes; the longest below a lab's folder is "bng1/agent.sock" and alike.
LONGEST_FOLDER = 80
# Time limits are for a machine that is stuck, not for one that is slow.
PATIENCE = 4


class LabError(Exception):
    """Something in the lab did not come up; the text says what and where to look."""


class Ended(BaseException):
    """A signal asked the lab to end; raised at a place where that leaves nothing behind."""

    def __init__(self, signum):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Signals:
    """SIGINT, SIGTERM and SIGHUP become Ended, but never between making a thing and writing it down."""

    def __init__(self):
        self.depth, self.pending = 0, None

    def install(self):
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, self._handle)

    def _handle(self, signum, _frame):
        if self.depth:
            self.pending = signum
        else:
            raise Ended(signum)

    @contextlib.contextmanager
    def held(self, drop=False):
        """Holds signals back; at the end they are delivered, or forgotten with `drop`."""
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1
            if drop:
                self.pending = None
        if self.pending and not self.depth:
            signum, self.pending = self.pending, None
            raise Ended(signum)


signals = Signals()


def start_time(pid):
    """The kernel's start time of a process: tells it from a later one of the same pid."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return None


def wait_until(what, seconds, check, step=0.05, waiting=None):
    """Calls `check` until it returns something true and returns that; LabError when time is over.

    `seconds` is what a fast machine with nothing else to do may need; PATIENCE times that is waited.
    `waiting(seconds so far, last error or None)` is called between two tries.
    """
    started = time.monotonic()
    last = None
    while True:
        try:
            value = check()
            if value:
                return value
        except (LabError, OSError, ValueError, KeyError, subprocess.SubprocessError) as e:
            last = e
        took = time.monotonic() - started
        if took > seconds * PATIENCE:
            raise LabError(f"not seen within {seconds * PATIENCE} s: {what}" + (f" ({last})" if last else ""))
        if waiting:
            waiting(took, last)
        time.sleep(step)


@contextlib.contextmanager
def netns_folder():
    """Nobody makes a namespace while another lab removes the folder of their names, or the other way round."""
    fd = os.open(LOCKS, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


class Process:
    def __init__(self, lab, name, popen, log):
        self.lab, self.name, self.popen, self.log = lab, name, popen, log
        self.pid = popen.pid

    def alive(self):
        return self.popen.poll() is None

    def kill(self, sig=signal.SIGKILL):
        if self.alive():
            self.popen.send_signal(sig)
        return self.popen.wait(timeout=10 * PATIENCE)

    def stop(self, seconds=5):
        """SIGTERM, and SIGKILL for what does not listen."""
        if self.alive():
            self.popen.terminate()
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()

    def tail(self, lines=15):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-lines:])


class Lab:
    def __init__(self, name, directory):
        self.name = name
        self.dir = os.path.abspath(directory)
        self.made_path = os.path.join(self.dir, "made.json")
        self.made = {"pids": [], "namespaces": [], "folders": [], "parents": []}
        self.lock = self.lock_path = None
        self.processes = []

    # ---- life -----------------------------------------------------------------------------------
    def __enter__(self):
        if len(self.dir) > LONGEST_FOLDER:
            raise LabError(f"the path {self.dir} is too long for the sockets in it (at most "
                           f"{LONGEST_FOLDER} bytes): move the tree")
        with signals.held():
            self._lock()
            try:
                os.makedirs(self.dir, exist_ok=True)
                if os.path.exists(self.made_path):
                    with open(self.made_path, encoding="utf-8") as f:
                        self.made = json.load(f)
                # A killed lab of another tree has left the same names, and its notes are over there.
                names = os.listdir(NETNS) if os.path.isdir(NETNS) else []
                self.made["namespaces"] += [n for n in names if n.startswith(self.ns(""))]
                for base in (FRR_RUN, FRR_ETC, NETNS_ETC):
                    self.made["folders"] += glob.glob(os.path.join(base, self.ns("*")))
                self.clear()
                shutil.rmtree(self.dir)
                os.makedirs(self.dir)
            except BaseException:
                self._unlock()
                raise
        return self

    def __exit__(self, *_):
        with signals.held(drop=True):
            self._stop_all()
            self.clear()
            self._unlock()
        return False

    def _lock(self):
        self.lock_path = os.path.join(LOCKS, f"weft-{self.name}.lock")
        while True:
            self.lock = open(self.lock_path, "a+", encoding="utf-8")
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self.lock.seek(0)
                raise LabError(f"the lab \"{self.name}\" is up already ({self.lock.read().strip()}): "
                               "end that one first (Ctrl-C there)") from None
            # The one before may have removed the file between our opening and locking it.
            try:
                if os.path.samestat(os.stat(self.lock_path), os.fstat(self.lock.fileno())):
                    break
            except FileNotFoundError:
                pass
            self.lock.close()
        self.lock.truncate(0)
        self.lock.write(f"process {os.getpid()} in {os.path.dirname(os.path.dirname(self.dir))}")
        self.lock.flush()

    def _unlock(self):
        os.unlink(self.lock_path)
        self.lock.close()

    def _stop_all(self):
        """SIGTERM to all at once, SIGKILL for those that have not ended after five seconds."""
        for p in self.processes:
            if p.alive():
                p.popen.terminate()
        end = time.monotonic() + 5
        for p in reversed(self.processes):
            p.stop(max(0.1, end - time.monotonic()))

    def _write_down(self):
        tmp = self.made_path + ".new"
        with open(tmp, "w", encoding="utf-8") as f:
            json.dump(self.made, f)
        os.replace(tmp, self.made_path)

    def clear(self):
        """Removes all that made.json names and is still there."""
        # In a session of their own, so that a second Ctrl-C on the terminal does not end these.
        quiet = {"capture_output": True, "text": True, "check": False, "start_new_session": True}
        for pid, started in reversed(self.made["pids"]):
            if start_time(pid) == started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for ns in dict.fromkeys(self.made["namespaces"]):
            # Daemons that put themselves in the background live on only in their namespace.
            for pid in subprocess.run(["ip", "netns", "pids", ns], **quiet).stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", ns], **quiet)
        if self.made.get("netns"):
            with netns_folder(), contextlib.suppress(OSError):
                if not os.listdir(NETNS):  # `ip` has mounted it on itself
                    subprocess.run(["umount", "-n", NETNS], **quiet)
                    os.rmdir(NETNS)
        for folder in self.made["folders"]:
            shutil.rmtree(folder, ignore_errors=True)
        for pid, _ in self.made["pids"]:
            # FRR's crash buffers, which it leaves behind when it is killed.
            for folder in glob.glob(os.path.join(FRR_TMP, f"*.{pid}")):
                shutil.rmtree(folder, ignore_errors=True)
        for folder in reversed(self.made.get("parents", [])):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        self.made = {"pids": [], "namespaces": [], "folders": [], "parents": []}
        if os.path.exists(self.made_path):
            self._write_down()

    # ---- network --------------------------------------------------------------------------------
    def ns(self, node):
        return f"weft-{self.name}-{node}"

    def run(self, node, *argv, check=True, timeout=60, stdin=None):
        """Runs a command in a node and returns its standard output."""
        r = subprocess.run(["ip", "netns", "exec", self.ns(node), *argv], capture_output=True,
                           text=True, timeout=timeout, check=False, input=stdin)
        if check and r.returncode != 0:
            raise LabError(f"{node}: {' '.join(argv)}: status {r.returncode}: "
                           f"{(r.stderr or r.stdout).strip()[-400:]}")
        return r.stdout

    def ip(self, node, *argv, check=True):
        return self.run(node, "ip", *argv, check=check)

    def node(self, node, forward=False):
        self.made["namespaces"].append(self.ns(node))
        with netns_folder():
            if not os.path.isdir(NETNS):
                self.made["netns"] = True
            self._write_down()
            subprocess.run(["ip", "netns", "add", self.ns(node)], check=True)
        self.ip(node, "link", "set", "lo", "up")
        if forward:
            self.run(node, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.run(node, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", check=False)

    def etc(self, node, name, text):
        """A file of /etc of a node's own, for programs that are started in it later; `ip netns exec` puts it there."""
        folder = os.path.join(NETNS_ETC, self.ns(node))
        if not os.path.isdir(NETNS_ETC):
            self.made.setdefault("parents", []).append(NETNS_ETC)
        if folder not in self.made["folders"]:
            self.made["folders"].append(folder)
        self._write_down()
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(text)

    def link(self, a, if_a, ip_a, b, if_b, ip_b):
        """A cable between two nodes; addresses may be None."""
        subprocess.run(["ip", "link", "add", if_a, "netns", self.ns(a), "type", "veth", "peer",
                        "name", if_b, "netns", self.ns(b)], check=True)
        for node, ifname, address in ((a, if_a, ip_a), (b, if_b, ip_b)):
            if address:
                self.ip(node, "address", "add", address, "dev", ifname)
            self.ip(node, "link", "set", "dev", ifname, "up")

    def bridge(self, node, name, ports):
        self.ip(node, "link", "add", name, "type", "bridge")
        self.ip(node, "link", "set", "dev", name, "up")
        for p in ports:
            self.ip(node, "link", "set", "dev", p, "master", name)

    # ---- programs -------------------------------------------------------------------------------
    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, text, mode=0o644):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def spawn(self, node, name, argv, env=None):
        log = self.path("log", name + ".log")
        os.makedirs(os.path.dirname(log), exist_ok=True)
        # A signal between the start and the note would leave the process behind.
        with signals.held(), open(log, "ab") as out:
            popen = subprocess.Popen(["ip", "netns", "exec", self.ns(node), *argv], stdout=out,
                                     stderr=out, stdin=subprocess.DEVNULL,
                                     env={**os.environ, "VTYSH_HISTFILE": "/dev/null",
                                          **(env or {})}, start_new_session=True)
            self.made["pids"].append([popen.pid, start_time(popen.pid)])
            self._write_down()
            p = Process(self, name, popen, log)
            self.processes.append(p)
        return p

    def _frr_folder(self, base, name):
        folder = os.path.join(base, name)
        for parent in (base, FRR_TMP):
            if not os.path.isdir(parent):
                self.made.setdefault("parents", []).append(parent)
        self.made["folders"].append(folder)
        self._write_down()
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        shutil.chown(folder, "frr", "frr")
        return folder

    def frr(self, node, configs):
        """Starts FRR daemons in a node; `configs`: {"zebra": text, "bgpd": text, ...}."""
        name = self.ns(node)
        self._frr_folder(FRR_RUN, name)
        etc = self._frr_folder(FRR_ETC, name)
        for extra in ("vtysh.conf",):
            open(os.path.join(etc, extra), "w", encoding="ascii").close()
        order = ["zebra"] + [d for d in configs if d != "zebra"]
        for daemon in order:
            conf = os.path.join(etc, daemon + ".conf")
            with open(conf, "w", encoding="ascii") as f:
                f.write("log file " + self.path("log", f"{node}-{daemon}.log") + "\n" +
                        configs[daemon] + "\n")
            shutil.chown(conf, "frr", "frr")
            os.makedirs(self.path("log"), exist_ok=True)
            os.chmod(self.path("log"), 0o777)
            self.spawn(node, f"{node}-{daemon}-out",
                       [f"{FRR_LIB}/{daemon}", "-N", name, "-f", conf, "-i",
                        os.path.join(FRR_RUN, name, daemon + ".pid")])
            wait_until(f"{daemon} of {node}", 15,
                       lambda d=daemon: os.path.exists(os.path.join(FRR_RUN, name, d + ".vty")))

    def vtysh(self, node, *commands):
        # Without -H it would write root's ~/.history_frr.
        argv = ["vtysh", "-H", "/dev/null", "-N", self.ns(node)]
        for c in commands:
            argv += ["-c", c]
        return self.run(node, *argv)

    # ---- subscribers ----------------------------------------------------------------------------
    def unconfined(self, program):
        """The path of a program that AppArmor lets use the lab's files.

        Debian confines Kea and dhclient to their own folders by the path of the program; a copy is
        another path.
        """
        path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if not path:
            raise LabError(f"{program} is not installed: make deps")
        with contextlib.suppress(OSError):
            with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as f:
                if f.read().strip() == "Y":
                    copy = self.path("bin", program)
                    os.makedirs(self.path("bin"), exist_ok=True)
                    shutil.copy2(path, copy)
                    return copy
        return path

    def dhclient(self, node, ifname):
        """A real DHCP client that configures its interface and nothing else on this machine."""
        script = self.write("dhclient-script", DHCLIENT_SCRIPT, 0o755)
        d = self.path("dhclient", node)
        os.makedirs(d, exist_ok=True)
        conf = self.write(os.path.join("dhclient", node, "conf"),
                          "timeout 10; retry 2; initial-interval 1; backoff-cutoff 2;\n")
        return self.spawn(node, f"dhclient-{node}",
                          [self.unconfined("dhclient"), "-4", "-d", "-cf", conf, "-sf", script, "-lf", f"{d}/leases",
                           "-pf", f"{d}/pid", ifname])

    def dhclient6(self, node, ifname, *wants):
        """A real DHCPv6 client; `wants`: "-N" an address, "-P" a delegated prefix. What it has is in lease6_of()."""
        d = self.path("dhclient6", node)
        os.makedirs(d, exist_ok=True)
        script = self.write(os.path.join("dhclient6", node, "script"),
                            DHCLIENT6_SCRIPT.replace("FOLDER", d), 0o755)
        conf = self.write(os.path.join("dhclient6", node, "conf"), "timeout 10; retry 2;\n")
        return self.spawn(node, f"dhclient6-{node}",
                          [self.unconfined("dhclient"), "-6", *wants, "-d", "-cf", conf, "-sf", script, "-lf",
                           f"{d}/leases", "-pf", f"{d}/pid", ifname])

    def lease6_of(self, node):
        """{"address": ..., "prefix": ...} of a node's DHCPv6 client: what it has at this moment."""
        found = {}
        for what in ("address", "prefix"):
            with contextlib.suppress(OSError):
                with open(self.path("dhclient6", node, what), encoding="ascii") as f:
                    found[what] = f.read().strip()
        return {k: v for k, v in found.items() if v}

    def address_of(self, node, ifname):
        """The IPv4 address on an interface, or None."""
        for entry in json.loads(self.ip(node, "-j", "-4", "address", "show", "dev", ifname)):
            for a in entry.get("addr_info", []):
                return a["local"]
        return None

    def ping(self, node, address, count=1, seconds=1):
        r = subprocess.run(["ip", "netns", "exec", self.ns(node), "ping", "-n", "-q", "-c",
                            str(count), "-W", str(seconds), address], capture_output=True,
                           check=False)
        return r.returncode == 0


DHCLIENT6_SCRIPT = """#!/bin/sh
# Called by dhclient -6 on every event, for an address and for a prefix by itself.
case "$reason" in
BOUND6|RENEW6|REBIND6)
    if [ -n "$old_ip6_address" ] && [ "$old_ip6_address" != "$new_ip6_address" ]; then
        ip -6 address del "$old_ip6_address/128" dev "$interface"
    fi
    if [ -n "$new_ip6_address" ]; then
        ip -6 address replace "$new_ip6_address/128" dev "$interface"
        echo "$new_ip6_address" >FOLDER/address
    fi
    [ -n "$new_ip6_prefix" ] && echo "$new_ip6_prefix" >FOLDER/prefix
    ;;
EXPIRE6|RELEASE6|STOP6)
    if [ -n "$old_ip6_address" ]; then
        ip -6 address del "$old_ip6_address/128" dev "$interface"
        [ "$(cat FOLDER/address)" = "$old_ip6_address" ] && : >FOLDER/address
    fi
    [ -n "$old_ip6_prefix" ] && [ "$(cat FOLDER/prefix)" = "$old_ip6_prefix" ] && : >FOLDER/prefix
    ;;
PREINIT6)
    ip link set "$interface" up
    ;;
esac
exit 0
"""

DHCLIENT_SCRIPT = """#!/bin/sh
# Called by dhclient on every event: sets address and default route, never a file of this machine.
case "$reason" in
BOUND|RENEW|REBIND|REBOOT)
    if [ "$old_ip_address" != "$new_ip_address" ] && [ -n "$old_ip_address" ]; then
        ip -4 address flush dev "$interface"
    fi
    ip -4 address replace "$new_ip_address/${new_subnet_mask:-24}" dev "$interface"
    [ -n "$new_routers" ] && ip route replace default via "${new_routers%% *}" dev "$interface"
    ;;
EXPIRE|FAIL|RELEASE|STOP)
    ip -4 address flush dev "$interface"
    ;;
PREINIT)
    ip link set "$interface" up
    ;;
esac
exit 0
"""
