# SPDX-License-Identifier: Apache-2.0
"""A lab on one machine: network namespaces, links and the real programs in them.

    with Lab("tour", "run/tour") as lab:
        lab.node("core"); lab.node("bng1")
        lab.link("core", "to-bng1", "10.255.1.1/30", "bng1", "uplink", "10.255.1.2/30")
        lab.frr("core", zebra=True, bgp="router bgp 65000 ...")
        p = lab.spawn("bng1", "agent", ["build/agents/bng/weft-bng", "-c", path])

Everything it makes is written down in DIR/made.json first, so that the next run can clear away what a
killed one has left: processes by pid and start time, namespaces by name, and FRR's folders.
"""
import json
import os
import shutil
import signal
import subprocess
import time

FRR_RUN, FRR_ETC, FRR_LIB = "/var/run/frr", "/etc/frr", "/usr/lib/frr"


class LabError(Exception):
    """Something in the lab did not come up; the text says what and where to look."""


def start_time(pid):
    """The kernel's start time of a process: tells it from a later one of the same pid."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return None


def wait_until(what, seconds, check, step=0.05):
    """Calls `check` until it returns something true and returns that; LabError when time is over."""
    end = time.monotonic() + seconds
    last = None
    while True:
        try:
            value = check()
            if value:
                return value
        except (LabError, OSError, ValueError, KeyError, subprocess.SubprocessError) as e:
            last = e
        if time.monotonic() > end:
            raise LabError(f"not seen within {seconds} s: {what}" + (f" ({last})" if last else ""))
        time.sleep(step)


class Process:
    def __init__(self, lab, name, popen, log):
        self.lab, self.name, self.popen, self.log = lab, name, popen, log
        self.pid = popen.pid

    def alive(self):
        return self.popen.poll() is None

    def kill(self, sig=signal.SIGKILL):
        if self.alive():
            self.popen.send_signal(sig)
        return self.popen.wait(timeout=10)

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
        self.made = {"pids": [], "namespaces": [], "folders": []}
        self.processes = []

    # ---- life -----------------------------------------------------------------------------------
    def __enter__(self):
        os.makedirs(self.dir, exist_ok=True)
        if os.path.exists(self.made_path):
            with open(self.made_path, encoding="utf-8") as f:
                self.made = json.load(f)
            self.clear()
        shutil.rmtree(self.dir)
        os.makedirs(self.dir)
        return self

    def __exit__(self, *_):
        for p in reversed(self.processes):
            p.stop()
        self.clear()
        return False

    def _write_down(self):
        tmp = self.made_path + ".new"
        with open(tmp, "w", encoding="utf-8") as f:
            json.dump(self.made, f)
        os.replace(tmp, self.made_path)

    def clear(self):
        """Removes all that made.json names and is still there."""
        for pid, started in reversed(self.made["pids"]):
            if start_time(pid) == started:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        for ns in self.made["namespaces"]:
            # Daemons that put themselves in the background live on only in their namespace.
            pids = subprocess.run(["ip", "netns", "pids", ns], capture_output=True, text=True,
                                  check=False).stdout.split()
            for pid in pids:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            subprocess.run(["ip", "netns", "del", ns], capture_output=True, check=False)
        for folder in self.made["folders"]:
            shutil.rmtree(folder, ignore_errors=True)
        self.made = {"pids": [], "namespaces": [], "folders": []}
        if os.path.exists(self.made_path):
            self._write_down()

    # ---- network --------------------------------------------------------------------------------
    def ns(self, node):
        return f"weft-{self.name}-{node}"

    def run(self, node, *argv, check=True, timeout=30, stdin=None):
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
        self._write_down()
        subprocess.run(["ip", "netns", "add", self.ns(node)], check=True)
        self.ip(node, "link", "set", "lo", "up")
        if forward:
            self.run(node, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.run(node, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", check=False)

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
        with open(log, "ab") as out:
            popen = subprocess.Popen(["ip", "netns", "exec", self.ns(node), *argv], stdout=out,
                                     stderr=out, stdin=subprocess.DEVNULL,
                                     env={**os.environ, **(env or {})}, start_new_session=True)
        self.made["pids"].append([popen.pid, start_time(popen.pid)])
        self._write_down()
        p = Process(self, name, popen, log)
        self.processes.append(p)
        return p

    def _frr_folder(self, base, name):
        folder = os.path.join(base, name)
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
            wait_until(f"{daemon} of {node}", 10,
                       lambda d=daemon: os.path.exists(os.path.join(FRR_RUN, name, d + ".vty")))

    def vtysh(self, node, *commands):
        argv = ["vtysh", "-N", self.ns(node)]
        for c in commands:
            argv += ["-c", c]
        return self.run(node, *argv)

    # ---- subscribers ----------------------------------------------------------------------------
    def dhclient(self, node, ifname):
        """A real DHCP client that configures its interface and nothing else on this machine."""
        script = self.write("dhclient-script", DHCLIENT_SCRIPT, 0o755)
        d = self.path("dhclient", node)
        os.makedirs(d, exist_ok=True)
        conf = self.write(os.path.join("dhclient", node, "conf"),
                          "timeout 10; retry 2; initial-interval 1; backoff-cutoff 2;\n")
        return self.spawn(node, f"dhclient-{node}",
                          ["dhclient", "-4", "-d", "-cf", conf, "-sf", script, "-lf", f"{d}/leases",
                           "-pf", f"{d}/pid", ifname])

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
