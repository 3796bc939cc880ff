# SPDX-License-Identifier: Apache-2.0
"""The packages on a clean Debian machine, with the real Kea and FRR of Debian beside the agent.

WEFT_PREVIOUS_DEBS=FOLDER has packages of a release before this one for the upgrade; without it these same ones
are taken under an earlier number, which tries scripts, units and restart, and not another program.
"""
import glob
import json
import os
import re
import shutil
import stat
import subprocess
import threading

import pytest
from machine import TOP, LabError, Machine, older, run, wait_until

NAMES = ("weft", "weft-bng", "weft-cli", "weft-phone-home")
UNITS = ("weftd.service", "weft-bng.service")
EXPOSURE = 2.5  # the most that systemd-analyze security may say

KEA = {"Dhcp4": {
    "interfaces-config": {"interfaces": ["subs0"], "dhcp-socket-type": "raw"},
    "control-socket": {"socket-type": "unix", "socket-name": "/run/kea/kea4-ctrl-socket"},
    "lease-database": {"type": "memfile", "persist": True, "name": "/var/lib/kea/kea-leases4.csv"},
    "hooks-libraries": [{"library": f"/usr/lib/x86_64-linux-gnu/kea/hooks/libdhcp_{h}.so"}
                        for h in ("lease_cmds", "stat_cmds")],
    "multi-threading": {"enable-multi-threading": False}, "subnet4": []}}

AGENT = {
    "system-id": "bng1", "address": "127.0.0.1",
    "managers": [{"host": "127.0.0.1", "port": 20557, "verify-name": "localhost"}],
    "tls": {"certificate": "/etc/weft-bng/cert.pem", "key": "/etc/weft-bng/key.pem", "ca": "/etc/weft-bng/ca.pem"},
    "state": "/var/lib/weft-bng/state.db", "socket": "/run/weft-bng/status.sock",
    "kea": {"socket": "/run/kea/kea4-ctrl-socket", "config-file": "/etc/kea/kea-dhcp4.conf", "interval-ms": 200},
    "frr": {"check-s": 1},
    "domain-profiles": [{"name": "home", "partition": "metro", "preferred-prefix-length": 24, "interface": "subs0",
                         "server-address": "100.64.0.1", "discard-routes": {"tag": 1000}}]}

SPACE = """set apm inet-pool partition metro min-prefix-len 16
set apm inet-pool partition metro max-prefix-len 28
set apm inet-pool partition metro prefix 10.60.0.0/16
set apm pool-domain-profile standard apportion-threshold 10
set apm pool-domain-profile standard reclaim-threshold 600
set apm entity-match bng1 pool-domain-profile standard
"""


def in_order(folder):
    (weft,), (agent,), (cli,), (home,) = (glob.glob(f"{folder}/{n}_*.deb") for n in NAMES)
    return [weft, agent, cli, home]


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """These packages: those of WEFT_DEBS, or built now."""
    folder = os.environ.get("WEFT_DEBS")
    if not folder:
        folder = str(tmp_path_factory.mktemp("deb"))
        run(os.path.join(TOP, "packaging", "deb.sh"), folder)
    return in_order(folder)


@pytest.fixture(scope="module")
def previous(packages, tmp_path_factory):
    folder = os.environ.get("WEFT_PREVIOUS_DEBS")
    # A build of an earlier commit has the number of the next release too.
    return [older(p, "0.0.9", str(tmp_path_factory.mktemp("older"))) for p in (in_order(folder) if folder else packages)]


@pytest.fixture(scope="module")
def machine(previous, packages, tmp_path_factory):
    with Machine(str(tmp_path_factory.mktemp("machine"))) as m:
        for folder, debs in (("before", previous), ("now", packages)):
            os.makedirs(m.path(f"/root/{folder}"))
            for p in debs:
                shutil.copy(p, m.path(f"/root/{folder}/"))
        m.fetch(*(f"/root/before/{os.path.basename(p)}" for p in previous))
        m.boot()
        m.was = m.files()
        m.failed_before = m.failed()
        m.apt("install", *(f"/root/before/{os.path.basename(p)}" for p in previous))
        yield m


def test_make_deb_brings_what_it_needs():
    """On a bare Debian, where recommended packages are not installed along."""
    with open(os.path.join(TOP, "debian", "control"), encoding="utf-8") as f:
        needs = re.search(r"^Build-Depends:(.*?)^\S", f.read(), re.M | re.S).group(1)
    needs = [re.sub(r"\(.*?\)", "", n).strip() for n in needs.split(",")]
    # virtual packages that debhelper provides, and what dpkg-buildpackage wants besides
    needs = {n for n in needs if not n.startswith(("debhelper-compat", "dh-sequence-"))}
    with open(os.path.join(TOP, "lab", "deps.sh"), encoding="utf-8") as f:
        brings = set(re.sub(r"#.*", "", f.read()).split())
    assert not (needs | {"debhelper", "dpkg-dev", "build-essential"}) - brings


def test_the_packages_keep_to_debians_rules(packages):
    r = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", *packages], capture_output=True,
                       text=True, check=False)
    assert r.returncode == 0 and r.stdout == "", r.stdout + r.stderr


def test_units_are_sandboxed(packages, tmp_path):
    for package, unit in zip(packages, UNITS):
        run("dpkg-deb", "-x", package, str(tmp_path))
        out = run("systemd-analyze", "security", "--no-pager", "--offline=true", f"{tmp_path}/lib/systemd/system/{unit}")
        level = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", out).group(1))
        assert level <= EXPOSURE, out


# proves: APM-162
def test_a_running_service_and_no_failed_unit(machine):
    assert machine.failed() == machine.failed_before == ""
    assert machine.run("systemctl", "is-active", "weftd.service").strip() == "active"
    # The agent has nobody to talk to yet: it is not started, and that is no failure.
    assert machine.tried("systemctl", "is-active", "weft-bng.service").stdout.strip() == "inactive"
    show = machine.run("systemctl", "show", "-P", "MainPID", "weftd.service").strip()
    assert machine.run("stat", "-c", "%U", f"/proc/{show}").strip() == "weft"
    assert machine.run("sed", "-n", "s/^CapBnd:[[:space:]]*//p", f"/proc/{show}/status").strip() == "0000000000000400"


def test_no_default_password(machine):
    path = machine.path("/var/lib/weft/admin-password")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert len(open(path, encoding="utf-8").read().strip()) == 20
    assert stat.S_IMODE(os.stat(machine.path("/var/lib/weft")).st_mode) == 0o700


# proves: APM-162
def test_command_line_and_completion(machine):
    assert machine.run("weft", "show", "version").startswith("Weft ")
    assert machine.run("runuser", "-u", "nobody", "--", "weft", "--version").startswith("weft ")
    words = machine.run("bash", "-c", ". /usr/share/bash-completion/completions/weft; COMP_WORDS=(weft sh); "
                        "COMP_CWORD=1; _weft; printf '%s\\n' \"${COMPREPLY[@]}\"").split()
    assert words == ["show"]


def gateway(machine):
    """A gateway on the same machine: Kea, FRR and the agent under their own units."""
    machine.run("weft", stdin="configure\n" + SPACE + "commit\n")
    machine.run("weftd", "issue", "bng1", "/etc/weft-bng/new")
    for name in ("cert.pem", "key.pem", "ca.pem"):
        machine.run("install", "-m", "640", "-g", "weft-bng", f"/etc/weft-bng/new/{name}", f"/etc/weft-bng/{name}")
    machine.run("rm", "-r", "/etc/weft-bng/new")
    machine.write("/etc/weft-bng/weft-bng.json", json.dumps(AGENT), 0o640, "weft-bng")
    machine.run("ip", "link", "add", "subs0", "type", "bridge")
    machine.run("ip", "link", "set", "subs0", "up")
    machine.run("ip", "address", "add", "100.64.0.1/24", "dev", "subs0")
    machine.write("/etc/kea/kea-dhcp4.conf", json.dumps(KEA))
    machine.run("systemctl", "restart", "frr.service", "kea-dhcp4-server.service")
    machine.run("systemctl", "start", "weft-bng.service")


def connected(machine):
    text = machine.tried("weft-bng", "status").stdout
    s = {k.strip(): v.strip() for k, v in re.findall(r"^([^:\n]+):([^\n]*)$", text, re.M)}
    if (s.get("State"), s.get("DHCP"), s.get("Routing")) != ("connected", "in line", "in line"):
        raise LabError(text + machine.run("journalctl", "-q", "-n", "30", "-o", "cat", "-u", "weft-bng"))
    return True


def kea_restarts(machine):
    return float(re.search(r"^weft_bng_kea_restarts_total (\S+)$", machine.run("weft-bng", "metrics"), re.M).group(1))


def pools(machine):
    domains = machine.json("weft-bng", "json")["domains"]
    return sorted(p["prefix"] for d in domains for p in d["pools"])


def kea_subnets(machine):
    with open(machine.path("/etc/kea/kea-dhcp4.conf"), encoding="utf-8") as f:
        dhcp = json.load(f)["Dhcp4"]
    return sorted(s["subnet"] for n in dhcp.get("shared-networks", []) for s in n["subnet4"])


def test_the_agent_needs_no_root(machine):
    gateway(machine)
    wait_until("a gateway in line", 60, lambda: connected(machine) and pools(machine))
    pid = machine.run("systemctl", "show", "-P", "MainPID", "weft-bng.service").strip()
    assert machine.run("stat", "-c", "%U", f"/proc/{pid}").strip() == "weft-bng"
    # What it did reached Kea's file, the kernel and FRR.
    wait_until("the pool in Kea's file", 60, lambda: kea_subnets(machine) == pools(machine))
    assert "proto 201" in machine.run("ip", "route", "show", "dev", "subs0")
    assert f"ip route {pools(machine)[0]} blackhole tag 1000" in \
        machine.run("vtysh", "-c", "show running-config staticd")
    # Kea restarts from the file that the agent wrote.
    restarts = kea_restarts(machine)
    machine.run("systemctl", "restart", "kea-dhcp4-server.service")
    wait_until("Kea's restart", 60, lambda: kea_restarts(machine) > restarts and connected(machine))
    assert machine.run("journalctl", "-q", "-p", "warning", "-o", "cat", "-u", "weft-bng") == ""
    assert machine.failed() == ""


class Load(threading.Thread):
    """Commits one after the other through the local socket, and remembers those that were acknowledged."""

    def __init__(self, machine):
        super().__init__()
        self.machine, self.done, self.acknowledged, self.refused = machine, threading.Event(), [], 0

    def run(self):
        n = 0
        while not self.done.is_set():
            n += 1
            r = self.machine.tried("weft", stdin=f"configure\nset system role r{n} description \"number {n}\"\ncommit\n")
            if re.search(r"^commit \d+ complete", r.stdout, re.M):
                self.acknowledged.append(n)
            else:
                self.refused += 1


def test_upgrade_under_load_keeps_sessions_and_data(machine, packages):
    before = wait_until("a gateway in line", 60, lambda: connected(machine) and pools(machine))
    wait_until("the pool in Kea's file", 60, lambda: kea_subnets(machine) == before)
    token = re.search(r"wt_\S+", machine.run("weft", "request", "system", "token", "create", "user", "admin",
                                             "description", "kept", "days", "9")).group(0)
    old = {u: machine.run("systemctl", "show", "-P", "MainPID", u).strip() for u in UNITS}
    load = Load(machine)
    load.start()
    try:
        wait_until("commits before the upgrade", 60, lambda: len(load.acknowledged) >= 5)
        machine.apt("install", *(f"/root/now/{os.path.basename(p)}" for p in packages))
        so_far = len(load.acknowledged)
        wait_until("commits after the upgrade", 60, lambda: len(load.acknowledged) >= so_far + 5)
    finally:
        load.done.set()
        load.join()
    new = {u: machine.run("systemctl", "show", "-P", "MainPID", u).strip() for u in UNITS}
    assert all(new[u] not in ("0", old[u]) for u in UNITS), "the new programs run"
    roles = machine.run("weft", "show", "configuration", "system")
    missing = [n for n in load.acknowledged if f'"number {n}"' not in roles]
    assert not missing, f"acknowledged and lost: {missing}"
    wait_until("the gateway's session", 60, lambda: connected(machine))
    assert pools(machine) == before == kea_subnets(machine)
    machine.write("/root/token", token, 0o600)
    assert machine.run("weft", "-H", "localhost", "--ca", "/var/lib/weft/pki/ca.pem", "--token-file", "/root/token",
                       "show", "version").startswith("Weft ")
    assert machine.failed() == ""


def test_a_reload_makes_a_new_certificate(machine):
    path = machine.path("/var/lib/weft/pki/server.pem")
    with open(path, encoding="utf-8") as f:
        before = f.read()
    os.unlink(path)
    machine.run("systemctl", "reload", "weftd.service")
    wait_until("the new certificate", 30, lambda: os.path.exists(path) and open(path, encoding="utf-8").read() != before)
    assert machine.run("systemctl", "is-active", "weftd.service").strip() == "active"


def test_a_restore_by_root_is_the_daemons(machine):
    machine.run("weft", "request system backup kept")
    machine.run("systemctl", "stop", "weftd.service")
    assert "0 problems" in machine.run("weftd", "check")
    assert "restored to" in machine.run("weftd", "restore", "kept")
    machine.run("systemctl", "start", "weftd.service")
    assert machine.run("weft", "show", "version").startswith("Weft ")


def test_an_own_configuration_survives_removal_and_purge_leaves_nothing(machine):
    with open(machine.path("/etc/weft/weftd.conf"), "a", encoding="utf-8") as f:
        f.write("listen-netconf 127.0.0.1:830\n")
    machine.run("systemctl", "restart", "weftd.service")
    assert ":830" in machine.run("ss", "-ltn")
    machine.apt("remove", *NAMES)
    assert machine.tried("systemctl", "is-active", "weftd.service").stdout.strip() in ("inactive", "unknown")
    assert "listen-netconf" in open(machine.path("/etc/weft/weftd.conf"), encoding="utf-8").read()
    assert os.path.exists(machine.path("/var/lib/weft/weft.db"))
    machine.apt("purge", *NAMES)
    left = [f for f in machine.files() - machine.was if "weft" in f and not f.startswith("/root/")]
    assert left == []
    for database in ("passwd", "group"):
        assert "weft" not in machine.run("getent", database)
    assert machine.run("stat", "-c", "%U:%G %a", "/etc/kea").strip() == "root:root 755"
    # Subscribers' addresses are Kea's: it goes on, also from its next start.
    machine.run("systemctl", "restart", "kea-dhcp4-server.service")
    assert machine.failed() == ""
