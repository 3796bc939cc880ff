# SPDX-License-Identifier: Apache-2.0
"""Where the phone-home client finds data: leases of real DHCP servers by a real client, a real name server, avahi
answering to multicast, media."""
import base64
import json
import os
import socket
import struct
import subprocess
import sys
import textwrap
import threading

import pytest

from bng_lab import TOP, Lab, wait_until
from phone_home import Client, Pki, write
from sztp_double import Double, onboarding, signed
from test_phone_home import CONFIG, HOOKS, owner_certificate, text, voucher

sys.path.insert(0, os.path.join(TOP, "lab"))
from weftlab import DHCLIENT_SCRIPT, DHCLIENT6_SCRIPT  # noqa: E402

PARTS = os.path.join(TOP, "agents", "phone-home")


def uris(*list_):
    return b"".join(struct.pack(">H", len(u)) + u.encode() for u in list_)


@pytest.fixture
def lab(tmp_path):
    with Lab("phs", "/tmp/weft-e2e/phs") as made:
        made.node("srv")
        made.node("box")
        made.link("srv", "eth0", "10.77.0.1/24", "box", "eth0", None)
        made.ip("srv", "address", "add", "fd77::1/64", "dev", "eth0", "nodad")
        made.ip("box", "link", "set", "eth0", "up")
        for n in ("srv", "box"):
            wait_until("no address is tentative", 10, lambda n=n: "tentative" not in made.ip(n, "-6", "address"))
        yield made


def client(lab, **config):
    return Client(lab.path("client"), prefix=["ip", "netns", "exec", lab.ns("box")], **config)


def dhclient(lab, family, port="eth0"):
    """dhclient with our configuration and hook; gives the hook's folder and the lease file."""
    d, hooked = lab.path(f"dhc{family}"), lab.path("hooked")
    os.makedirs(d, exist_ok=True)
    script = DHCLIENT_SCRIPT if family == 4 else DHCLIENT6_SCRIPT.replace("FOLDER", d)
    write(d + "/script", script.replace("exit 0\n", "") + f"\nWEFT_LEASES={hooked}\n. {PARTS}/dhclient-hook\n")
    os.chmod(d + "/script", 0o755)
    write(d + "/conf", f'timeout 20; retry 2; initial-interval 1; backoff-cutoff 2;\ninclude "{PARTS}/dhclient.conf";\n')
    write(d + "/leases", "")
    lab.spawn("box", f"dhclient{family}", [lab.unconfined("dhclient"), f"-{family}", *(["-N"] if family == 6 else []),
                                           "-d", "-cf", d + "/conf", "-sf", d + "/script", "-lf", d + "/leases",
                                           "-pf", d + "/pid", port])
    wait_until("the hook was called", 10, lambda: os.path.exists(f"{hooked}/{port}.{family}"))
    return hooked + "/*", d + "/leases"


def found(lab, *patterns):
    """By each of the files alone: the same."""
    seen = []
    for p in patterns:
        c = client(lab, dhcp={"leases": [p]})
        seen.append(wait_until("findings of " + p, 10, lambda p=c: (lambda r: r if r["found"] or r["error"] else None)(
            p.probe("lookup", "dhcp"))))
        if seen[-1]["error"] == "":
            assert {k: seen[-1]["found"][0][k] for k in ("servers", "legacy")} == \
                {k: seen[0]["found"][0][k] for k in ("servers", "legacy")}
    return seen[0]


def kea(lab, family, definition, data):
    name = f"Dhcp{family}"
    subnet = {4: {"subnet": "10.77.0.0/24", "pools": [{"pool": "10.77.0.100-10.77.0.120"}]},
              6: {"subnet": "fd77::/64", "pools": [{"pool": "fd77::100-fd77::120"}], "interface": "eth0"}}[family]
    lab.write("kea.conf", json.dumps({name: {
        "interfaces-config": {"interfaces": ["eth0"]}, "lease-database": {"type": "memfile", "persist": False},
        "option-def": [definition], "multi-threading": {"enable-multi-threading": False},
        **({"server-id": {"type": "LL", "persist": False}} if family == 6 else {}),
        f"subnet{family}": [{"id": 1, **subnet, "option-data": data}]}}))
    p = lab.spawn("srv", "kea", [f"kea-dhcp{family}", "-c", lab.path("kea.conf")], env={
        "KEA_PIDFILE_DIR": lab.path(), "KEA_LOCKFILE_DIR": lab.path()})
    wait_until("Kea has started", 20, lambda: "STARTED" in p.tail(40))


# proves: PH-160
def test_option_143_of_kea(lab):
    servers = [f"https://server{i}.of.a.long.name.example.com:{8000 + i}" for i in range(4)]
    definition = {"name": "sztp", "code": 143, "type": "binary", "space": "dhcp4"}
    kea(lab, 4, definition, [{"name": "sztp", "csv-format": False, "data": uris(*servers).hex()}])
    r = found(lab, *dhclient(lab, 4))
    assert r["found"][0]["servers"] == [[f"server{i}.of.a.long.name.example.com", 8000 + i] for i in range(4)]
    assert r["found"][0]["origin"] == "DHCPv4 on eth0" and not r["found"][0]["legacy"] and not r["found"][0]["anchored"]


# proves: PH-160
def test_option_136_of_kea(lab):
    definition = {"name": "sztp6", "code": 136, "type": "binary", "space": "dhcp6"}
    kea(lab, 6, definition, [{"name": "sztp6", "csv-format": False,
                              "data": uris("https://[fd77::1]:8443", "https://phs.example.com").hex()}])
    r = found(lab, *dhclient(lab, 6))
    assert r["found"][0]["servers"] == [["fd77::1", 8443], ["phs.example.com", 443]]
    assert r["found"][0]["origin"] == "DHCPv6 on eth0"


# proves: PH-160 PH-092
def test_option_143_of_dhcpd(lab):
    content = uris("https://one.example.com:8443", "https://two.example.com")
    conf = lab.write("dhcpd.conf", "option sztp code 143 = string;\nsubnet 10.77.0.0 netmask 255.255.255.0 {\n"
                     "range 10.77.0.100 10.77.0.120;\noption sztp " + ":".join(f"{b:02x}" for b in content) +
                     ";\noption vendor-encapsulated-options 01:03:69:6d:67;\n}\n")
    lab.write("dhcpd.leases", "")
    p = lab.spawn("srv", "dhcpd", [lab.unconfined("dhcpd"), "-4", "-f", "-d", "-cf", conf, "-lf",
                                   lab.path("dhcpd.leases"), "-pf", lab.path("dhcpd.pid"), "eth0"])
    wait_until("dhcpd has started", 10, lambda: "Server starting service" in p.tail(40))
    r = found(lab, *dhclient(lab, 4))
    assert r["found"][0]["servers"] == [["one.example.com", 8443], ["two.example.com", 443]] and r["found"][0]["legacy"]


# proves: PH-161 PH-092
def test_plain_text_and_older_provisioning_of_dnsmasq(lab):
    lab.spawn("srv", "dnsmasq", [
        "dnsmasq", "-k", "-C", "/dev/null", "-p", "0", "--dhcp-range=10.77.0.100,10.77.0.120", "-i", "eth0",
        "--dhcp-option=143,https://phs.example.com:8443/restconf/operations/"
        "ietf-sztp-bootstrap-server:get-bootstrapping-data", "--dhcp-option=66,tftp.example.com",
        "--dhcp-option=67,boot.img", "--dhcp-leasefile=" + lab.path("dnsmasq.leases"), "--user=root",
        "--dhcp-option=15,example.com"])
    hooked, leases = dhclient(lab, 4)
    r = found(lab, hooked, leases)
    assert r["found"][0]["servers"] == [["phs.example.com", 8443]] and r["found"][0]["legacy"]


class Dhcp(threading.Thread):
    """A DHCPv4 server of a few lines that sends the options it is told, as they are."""

    def __init__(self, lab, options):
        super().__init__(daemon=True)
        self.options = options
        self.s = socket_of(lab, 67)
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.start()

    def run(self):
        while True:
            m = self.s.recv(2000)
            kind = {1: 2, 3: 5}.get(m[m.index(b"\x35\x01", 240) + 2])
            if kind:
                head = bytearray(m[:240])
                head[0], head[16:20], head[20:24] = 2, socket.inet_aton("10.77.0.50"), socket.inet_aton("10.77.0.1")
                self.s.sendto(bytes(head) + bytes([53, 1, kind, 54, 4, 10, 77, 0, 1, 51, 4, 0, 0, 2, 0, 1, 4, 255, 255,
                                                   255, 0]) + self.options + b"\xff", ("255.255.255.255", 68))


def socket_of(lab, port):
    """A UDP socket of the server's namespace."""
    with open(f"/run/netns/{lab.ns('srv')}", encoding="ascii") as ns, open("/proc/self/ns/net", encoding="ascii") as own:
        os_setns(ns.fileno())
        try:
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            s.bind(("", port))
            return s
        finally:
            os_setns(own.fileno())


def os_setns(fd):
    import ctypes
    if ctypes.CDLL(None, use_errno=True).setns(fd, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def option(code, data):
    return bytes([code, len(data)]) + data


# proves: PH-160
def test_one_option_in_three_instances(lab):
    servers = [f"https://s{i}.example.com:{9000 + i}" for i in range(12)]
    whole = uris(*servers)
    third = len(whole) // 3 + 1
    Dhcp(lab, b"".join(option(143, whole[i:i + third]) for i in range(0, len(whole), third)))
    r = found(lab, *dhclient(lab, 4))
    assert r["found"][0]["servers"] == [[f"s{i}.example.com", 9000 + i] for i in range(12)]


# proves: PH-160 PH-153 PH-007
@pytest.mark.parametrize("port", ["me0", "ge-0_0_11"])
def test_from_the_lease_to_the_configuration(lab, tmp_path, port):
    """Nothing but a cable, in the management port or any other, while the others have none: dhclient's lease names a
    stranger, whose signed data a voucher vouches for."""
    lab.ip("box", "link", "set", "eth0", "down")
    lab.ip("box", "link", "set", "eth0", "name", port)
    lab.ip("box", "link", "set", port, "up")
    for empty in {"me0", "ge-0_0_11"} - {port}:
        lab.ip("box", "link", "add", empty, "type", "veth", "peer", "name", "nowhere")
    pki, masa = Pki(tmp_path / "pki"), Pki(tmp_path / "masa", "masa")
    owner, server = pki.issue("owner"), pki.issue("server", names=("IP:10.77.0.1",))
    data = (signed(onboarding(CONFIG), *owner, tmp_path), owner_certificate(pki, owner[0], tmp_path),
            voucher(tmp_path, masa.issue("voucher-signer"), pki.cert))
    with open(f"/run/netns/{lab.ns('srv')}", encoding="ascii") as ns, open("/proc/self/ns/net", encoding="ascii") as own:
        os_setns(ns.fileno())
        try:
            s = Double(data, *server, address="10.77.0.1", port=8443)
        finally:
            os_setns(own.fileno())
    with s:
        Dhcp(lab, option(143, uris("https://10.77.0.1:9", "https://10.77.0.1:8443")))
        hooked, _ = dhclient(lab, 4, port)
        c = client(lab, hooks=HOOKS, dhcp={"leases": [hooked]}, **{"voucher-anchors": masa.cert})
        p = c.phone_home("run")
        assert p.returncode == 0, p.stderr
        assert text(c, "applied") == CONFIG and s.reports == []


# proves: PH-160
@pytest.mark.parametrize("content,servers", [
    (uris("http://a.example.com", "https://b.example.com", "https://c.example.com/path"), [["b.example.com", 443]]),
    (uris("https://a.example.com") + b"\xff\xff" + b"https://cut", [["a.example.com", 443]]),
    (b"\0\0\0\0" + uris("https://a.example.com:1"), [["a.example.com", 1]]),
    (b"\0\7garbage", None), (b"\xff\xff\xff", None)])
def test_lists_with_faults(lab, content, servers):
    Dhcp(lab, option(143, content))
    hooked, leases = dhclient(lab, 4)
    r = found(lab, hooked, leases)
    if servers is None:
        assert r["error"] == "MALFORMED" and "option 143 is not followed" in r["text"]
        assert all(f["servers"] == [] for f in r["found"])
    else:
        assert r["found"][0]["servers"] == servers


# ---- DNS ----

CI = bytes(range(256)) * 15  # 3,840 octets: more than a datagram of EDNS takes


def txt_text(key, data):
    """A value as strings of 255 octets in a zone file."""
    whole = key.encode() + b"=" + data
    return " ".join('"' + "".join(f"\\{b:03d}" for b in whole[i:i + 255]) + '"' for i in range(0, len(whole), 255))


# proves: PH-162
def test_records_of_a_name_server(lab):
    lab.ip("box", "address", "add", "10.77.0.2/24", "dev", "eth0")
    lab.write("zones/example.com.zone", textwrap.dedent(f"""\
        $ORIGIN example.com.
        $TTL 60
        @ SOA ns hostmaster 1 60 60 60 60
        @ NS ns
        ns A 10.77.0.1
        SN1._sztp TXT "txtvers=1" {txt_text("ci", CI)} {txt_text("oc", b"owner")} {txt_text("ov", b"voucher")}
        _sztp._tcp SRV 20 0 8443 second.example.com.
        _sztp._tcp SRV 10 0 443 first.example.com.
        """))
    lab.write("zones/alias.example.zone", textwrap.dedent("""\
        $ORIGIN alias.example.
        $TTL 60
        @ SOA ns hostmaster 1 60 60 60 60
        @ NS ns
        ns A 10.77.0.1
        _sztp._tcp CNAME real
        real SRV 1 0 8443 third.alias.example.
        """))
    conf = lab.write("knot.conf", textwrap.dedent(f"""\
        server:
            listen: 10.77.0.1@53
            rundir: {lab.path()}
            user: root:root
        database:
            storage: {lab.path()}/knot
        template:
          - id: default
            storage: {lab.path()}/zones
        zone:
          - domain: example.com
          - domain: alias.example
        log:
          - target: stderr
            any: info
        """))
    lab.spawn("srv", "knot", ["knotd", "-c", conf])
    c = client(lab)
    write(c.path("resolv.conf"), "nameserver 10.77.0.1\nsearch nothing.example example.com\n")
    write(c.path("leases", "eth0"), 'lease { interface "eth0"; option domain-name "alias.example"; }\n')
    r = wait_until("the name server answers", 20, lambda: (lambda r: r if len(r["found"]) == 3 else None)(
        c.probe("lookup", "dns")))
    specific, srv, alias = r["found"]
    assert specific["origin"] == "TXT SN1._sztp.example.com" and base64.b64decode(specific["ci"]) == CI
    assert base64.b64decode(specific["owner"]) == b"owner" and base64.b64decode(specific["voucher"]) == b"voucher"
    assert srv["servers"] == [["first.example.com", 443], ["second.example.com", 8443]] and not srv["anchored"]
    assert alias["servers"] == [["third.alias.example", 8443]]
    # A name server that is not there is said, and the other one asked.
    write(c.path("resolv.conf"), "nameserver 10.77.0.9\nnameserver 10.77.0.1\nsearch example.com\n")
    c.config["dns"]["timeout-ms"] = 200
    c.save()
    assert len(c.probe("lookup", "dns")["found"]) == 3
    write(c.path("resolv.conf"), "nameserver 10.77.0.9\nsearch example.com\n")
    r = c.probe("lookup", "dns")
    assert r["found"] == [] and r["error"] == "UNAVAILABLE"


PUBLISH = """
import dbus, sys, time
group = dbus.Interface(dbus.SystemBus().get_object("org.freedesktop.Avahi", dbus.Interface(dbus.SystemBus().get_object(
    "org.freedesktop.Avahi", "/"), "org.freedesktop.Avahi.Server").EntryGroupNew()), "org.freedesktop.Avahi.EntryGroup")
for record in sys.stdin.read().split():
    name, kind, data = record.split("|")
    group.AddRecord(dbus.Int32(-1), dbus.Int32(-1), dbus.UInt32(0), name, dbus.UInt16(1), dbus.UInt16(int(kind)),
                    dbus.UInt32(60), dbus.ByteArray(bytes.fromhex(data)))
if len(sys.argv) > 1:
    group.AddService(dbus.Int32(-1), dbus.Int32(-1), dbus.UInt32(0), "PHS one", "_sztp._tcp", "", sys.argv[1],
                     dbus.UInt16(8444), [])
group.Commit()
print("published", flush=True)
time.sleep(1000)
"""


def avahi(lab):
    """avahi-daemon on a message bus of its own; gives what its clients need in their environment."""
    bus = lab.write("bus.conf", f"""<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={lab.path("bus")}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>""")
    env = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=" + lab.path("bus")}
    lab.spawn("srv", "dbus", ["dbus-daemon", "--config-file=" + bus, "--nofork"])
    wait_until("the message bus", 10, lambda: os.path.exists(lab.path("bus")))
    conf = lab.write("avahi.conf", "[server]\nhost-name=phs\nallow-interfaces=eth0\nuse-ipv4=yes\nuse-ipv6=yes\n"
                                   "[wide-area]\nenable-wide-area=no\n[rlimits]\n")
    p = lab.spawn("srv", "avahi", ["unshare", "-m", "sh", "-c", "mkdir -p /run/avahi-daemon && mount -t tmpfs none "
                                   "/run/avahi-daemon && exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f " +
                                   conf], env=env)
    wait_until("avahi", 20, lambda: "Server startup complete" in p.tail(40))
    return env


def srv(priority, port, host):
    return struct.pack(">HHH", priority, 0, port) + b"".join(
        bytes([len(x)]) + x.encode() for x in host.split(".")) + b"\0"


def txt(key, data):
    whole = key.encode() + b"=" + data
    return b"".join(bytes([len(whole[i:i + 255])]) + whole[i:i + 255] for i in range(0, len(whole), 255))


# proves: PH-162
def test_records_by_multicast(lab):
    lab.ip("box", "address", "add", "10.77.0.2/24", "dev", "eth0")
    env = avahi(lab)
    c = client(lab, dns={"resolv-conf": "/nonexistent", "multicast": True})
    assert c.probe("lookup", "dns") == {"found": [], "error": "", "text": ""}
    records = lab.write("records", " ".join("|".join((n, str(k), d.hex())) for n, k, d in (
        ("SN1._sztp.local", 16, txt("ci", CI[:900]) + txt("oc", b"owner") + txt("ov", b"voucher")),
        ("_sztp._tcp.local", 33, srv(5, 8443, "phs.local")))))
    lab.spawn("srv", "publish", ["sh", "-c", f"exec /usr/bin/python3 -c '{PUBLISH}' phs.local <{records}"], env=env)
    r = wait_until("avahi answers", 20, lambda: (lambda r: r if len(r["found"]) == 2 and len(
        r["found"][1]["servers"]) == 2 else None)(c.probe("lookup", "dns")))
    assert base64.b64decode(r["found"][0]["ci"]) == CI[:900]
    assert base64.b64decode(r["found"][0]["voucher"]) == b"voucher"
    assert r["found"][0]["origin"] == "TXT SN1._sztp.local (multicast)"
    assert sorted(r["found"][1]["servers"]) == [["phs.local", 8443], ["phs.local", 8444]]
    # Names below .local are asked for in the same way when a server is called.
    lab.spawn("srv", "listen", ["socat", "-u", "tcp-listen:8443,fork,reuseaddr", "create:" + lab.path("called")])
    wait_until("a connection", 20, lambda: c.probe("get", "phs.local", 8443, "provisional", "/", "", 100, 1500) and
               os.path.exists(lab.path("called")))


class Multicast(threading.Thread):
    """Answers each query by multicast with the messages it is told (bytes without their 12 bytes of head)."""

    def __init__(self, lab, *records):
        super().__init__(daemon=True)
        self.records = records
        self.s = socket_of(lab, 5353)
        self.s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                          socket.inet_aton("224.0.0.251") + socket.inet_aton("10.77.0.1"))
        self.start()

    def run(self):
        while True:
            _, peer = self.s.recvfrom(9000)
            for r in self.records:
                self.s.sendto(r, peer)


def dns_name(name):
    return b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0"


def answer(name, kind, data, flags=0x8400):
    return struct.pack(">6H", 0, flags, 0, 1, 0, 0) + dns_name(name) + struct.pack(">HHIH", kind, 0x8001, 60,
                                                                                  len(data)) + data


# proves: PH-162
def test_large_and_many_answers_by_multicast(lab):
    lab.ip("box", "address", "add", "10.77.0.2/24", "dev", "eth0")
    large = CI * 2 + CI[:1000]  # 8,680 octets in 35 strings
    Multicast(lab, b"junk", answer("SN1._sztp.local", 16, txt("ci", CI * 3)),  # more than 9,000: not read
              answer("SN2._sztp.local", 16, txt("ci", b"of another")), answer("SN1._sztp.local", 16, txt("ci", b"query"), 0),
              answer("SN1._sztp.local", 16, txt("ci", large)),
              *(answer("_sztp._tcp.local", 33, srv(5, 8000 + i, f"phs{i}.local")) for i in range(3)))
    c = client(lab, dns={"resolv-conf": "/nonexistent", "multicast": True})
    r = c.probe("lookup", "dns")
    assert base64.b64decode(r["found"][0]["ci"]) == large
    assert sorted(r["found"][1]["servers"]) == [[f"phs{i}.local", 8000 + i] for i in range(3)]


# ---- media ----

# proves: PH-163
@pytest.mark.parametrize("layout", ["SN1/", "SN1/bootstrapping-data/", "EN9/SN1/bootstrapping-data/", "any-vendor/SN1/",
                                    "bootstrapping-data/", "sztp/", "", "sztp/SN1-", "SN1-"])
def test_layouts_of_media(tmp_path, layout):
    media = [str(tmp_path / f"m{i}") for i in range(3)]
    os.makedirs(media[0])
    for other in ("SN2/", "EN9/SN2/bootstrapping-data/", "SN1x/", "sztp/SN2-"):
        write(f"{media[1]}/{other}conveyed-information.cms", b"of another")
    write(f"{media[1]}/{layout}conveyed-information.cms", b"ours")
    write(f"{media[1]}/{layout}ownership-voucher.cms", b"voucher")
    c = Client(tmp_path / "c", storage={"mounts": media})
    r = c.probe("lookup", "storage")
    assert len(r["found"]) == 1 and r["error"] == ""
    f = r["found"][0]
    assert (base64.b64decode(f["ci"]), base64.b64decode(f["voucher"]), f["owner"]) == (b"ours", b"voucher", "")
    assert f["origin"].startswith(media[1])


# proves: PH-163
def test_media_that_mean_ill(tmp_path):
    medium = str(tmp_path / "m")
    c = Client(tmp_path / "c", storage={"mounts": [medium]})
    ci = write(medium + "/SN1/conveyed-information.cms", b"")
    r = c.probe("lookup", "storage")
    assert r["found"] == [] and r["error"] == "INVALID" and "empty" in r["text"]
    os.unlink(ci)
    os.symlink("/etc/passwd", ci)
    assert c.probe("lookup", "storage")["found"] == []
    os.unlink(ci)
    os.mkfifo(ci)
    assert c.probe("lookup", "storage")["error"] == "INVALID"
    os.unlink(ci)
    with open(ci, "wb") as f:
        f.truncate(17 << 20)
    assert c.probe("lookup", "storage")["error"] == "TOO_BIG"
    os.unlink(ci)
    os.rmdir(medium + "/SN1")
    os.makedirs(str(tmp_path / "outside"))
    write(str(tmp_path / "outside/conveyed-information.cms"), b"outside")
    os.symlink(str(tmp_path / "outside"), medium + "/SN1")
    assert c.probe("lookup", "storage")["found"] == []
    for serial in ("../outside", ".", "..", "a/b"):
        d = Client(tmp_path / "c", serial=serial, storage={"mounts": [medium]})
        assert d.probe("lookup", "storage")["found"] == []
    for i in range(2000):
        os.makedirs(f"{medium}/vendor{i}/SN9")
    assert c.probe("lookup", "storage")["found"] == []
