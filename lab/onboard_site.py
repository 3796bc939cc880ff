# SPDX-License-Identifier: Apache-2.0
"""A site with boxes from the factory: one by itself, and four in a ring, that phone home to the controller.

        ctl ---- core ---- site --- lan --+-- me0 edge (one box)
      redirect            Kea, knot       +-- me0 ring1 -- ring2 -- ring3 -- ring4 -- (ring1)
      phs1, phs2         option 143

Nobody touches the boxes. Each has a certificate and a trust anchor from its maker, DHCP names the redirect server, whose
answer is believed for its signature and the maker's voucher; it names the two bootstrap servers.
"""
import base64
import json
import os
import re
import socket
import struct
import subprocess
import textwrap

from stack import Box, make_image, ring
from topology import TOP, binary
from weftlab import DHCLIENT_SCRIPT, LabError

PARTS = os.path.join(TOP, "agents", "phone-home")
DOMAIN = "weft.example"
REDIRECT, PHS = "10.255.0.2", ("10.255.5.1", "10.255.5.2")
NAMES = {f"redirect.{DOMAIN}": REDIRECT, f"phs1.{DOMAIN}": PHS[0], f"phs2.{DOMAIN}": PHS[1]}
ROUTER, UPLINK = "10.50.0.1", "10.255.4.2"
EDGE, RING = "EDGE0001", [f"RING000{i}" for i in range(1, 5)]
# What each box is configured with: an address, by which it is reached then.
ADDRESS = {EDGE: "10.50.0.200", **{s: f"10.50.0.20{i}" for i, s in enumerate(RING, 1)}}
# The program in the image that puts a configuration in force. It is of lines: hostname NAME; SERIAL ADDRESS/LENGTH.
HOOK = """#!/bin/sh
new=$3
[ "$1" = apply ] || new=$2
grep -q '^hostname ' "$new" || [ ! -s "$new" ] || { echo "line 1: no hostname"; exit 1; }
ip address flush dev me0 label me0:c 2>/dev/null
while read -r word value; do
    [ "$word" != "$WEFT_SERIAL" ] || ip address replace "$value" dev me0 label me0:c || exit 1
done <"$new"
"""
EDGE_CONFIG = """hostname {{ host }}
{{ serial-number }} {{ address }}/24
"""
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def command(*argv, cwd=None):
    r = subprocess.run([str(a) for a in argv], capture_output=True, cwd=cwd, check=False)
    if r.returncode != 0:
        raise LabError(f"{' '.join(map(str, argv))}: {r.stderr.decode(errors='replace').strip()[-400:]}")
    return r.stdout


class Papers:
    """The maker's authority with its MASA, and the owner's: what a factory and an owner have before anything is plugged in."""

    def __init__(self, folder):
        self.dir = folder
        os.makedirs(folder, mode=0o700, exist_ok=True)
        command(binary("cli", "weft"), "voucher", "init", self.path("masa"), "--name", "Box works MASA")
        for who, name in (("maker", "Box works devices"), ("owner-ca", "Metro owner CA")):
            command("openssl", "req", "-x509", *EC, "-days", "3650", "-subj", f"/CN={name}", "-keyout",
                    self.path(who + ".key"), "-out", self.path(who + ".pem"))
        self.issue("owner", "/CN=Metro owner", "owner-ca")

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def issue(self, name, subject, by):
        command("openssl", "req", *EC, "-subj", subject, "-keyout", self.path(name + ".key"), "-out",
                self.path(name + ".csr"))
        with open(self.path("ext"), "w", encoding="ascii") as f:
            f.write("basicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\nkeyUsage=critical,digitalSignature\n")
        command("openssl", "x509", "-req", "-in", self.path(name + ".csr"), "-CA", self.path(by + ".pem"), "-CAkey",
                self.path(by + ".key"), "-CAcreateserial", "-days", "3650", "-extfile", self.path("ext"), "-out",
                self.path(name + ".pem"))

    def device(self, serial):
        """The box's own certificate, and the voucher that the maker gives its owner."""
        self.issue(serial, f"/O=Box works/CN=box-1/serialNumber={serial}", "maker")
        command(binary("cli", "weft"), "voucher", "issue", "--masa", self.path("masa"), "--serial", serial, "--pinned",
                self.path("owner-ca.pem"), "--days", "365", "--idevid", self.path(serial + ".pem"), "--out",
                self.path(serial + ".vcj"))

    def base64(self, *names):
        data = b""
        for n in names:
            with open(self.path(n), "rb") as f:
                data += f.read()
        return base64.b64encode(data).decode()


class Site:
    def __init__(self, lab):
        self.lab = lab
        self.papers = Papers(lab.path("papers"))
        self.edge = Box(lab, 0, EDGE, "edge")
        self.ring = [Box(lab, i, s, f"ring{i}") for i, s in enumerate(RING, 1)]
        self.boxes = [self.edge, *self.ring]

    # ---- the network ----------------------------------------------------------------------------
    def build(self):
        """Site, cables and name service; the boxes stay without power. Needs `core` and `ctl`."""
        lab = self.lab
        lab.node("site", forward=True)
        lab.link("core", "to-site", "10.255.4.1/30", "site", "uplink", f"{UPLINK}/30")
        lab.ip("site", "route", "add", "default", "via", "10.255.4.1")
        lab.ip("core", "route", "add", "10.50.0.0/24", "via", UPLINK)
        for a in PHS:
            lab.ip("ctl", "address", "add", f"{a}/32", "dev", "lo")
            lab.ip("core", "route", "add", f"{a}/32", "via", REDIRECT)
        ring(lab, [self.edge])
        ring(lab, self.ring)
        ports = []
        for b in self.boxes:
            lab.etc(b.node, "resolv.conf", "")
            lab.link(b.node, "me0", None, "site", f"p-{b.node}", None)
            ports.append(f"p-{b.node}")
            self.papers.device(b.serial)
        lab.bridge("site", "lan", ports)
        lab.ip("site", "address", "add", f"{ROUTER}/24", "dev", "lan")
        self.start_dhcp()
        self.start_dns()

    def start_dhcp(self):
        uri = f"https://redirect.{DOMAIN}".encode()
        os.makedirs(self.lab.path("site"), exist_ok=True)
        conf = self.lab.write("site/kea.json", json.dumps({"Dhcp4": {
            "interfaces-config": {"interfaces": ["lan"], "service-sockets-max-retries": 5},
            "lease-database": {"type": "memfile", "persist": False}, "valid-lifetime": 600,
            "multi-threading": {"enable-multi-threading": False},
            "option-def": [{"name": "v4-sztp-redirect", "code": 143, "type": "binary", "space": "dhcp4"}],
            "loggers": [{"name": "kea-dhcp4", "severity": "INFO", "output_options": [{"output": "stdout"}]}],
            "subnet4": [{"id": 1, "subnet": "10.50.0.0/24", "pools": [{"pool": "10.50.0.100 - 10.50.0.150"}],
                         "option-data": [
                             {"name": "routers", "data": ROUTER}, {"name": "domain-name-servers", "data": ROUTER},
                             {"name": "domain-name", "data": DOMAIN},
                             {"name": "v4-sztp-redirect", "csv-format": False,
                              "data": (struct.pack(">H", len(uri)) + uri).hex()}]}]}}, indent=1))
        self.lab.spawn("site", "site-kea", [self.lab.unconfined("kea-dhcp4"), "-c", conf],
                       {"KEA_PIDFILE_DIR": self.lab.path("site"), "KEA_LOCKFILE_DIR": self.lab.path("site")})

    def start_dns(self):
        records = "".join(f"{n.split('.')[0]} A {a}\n" for n, a in NAMES.items())
        self.lab.write(f"site/{DOMAIN}.zone",
                       f"$ORIGIN {DOMAIN}.\n$TTL 60\n@ SOA ns hostmaster 1 60 60 60 60\n@ NS ns\nns A {ROUTER}\n{records}")
        conf = self.lab.write("site/knot.conf", textwrap.dedent(f"""\
            server:
                listen: {ROUTER}@53
                rundir: {self.lab.path("site")}
                user: root:root
            database:
                storage: {self.lab.path("site", "knot")}
            zone:
              - domain: {DOMAIN}
                file: {self.lab.path("site", DOMAIN + ".zone")}
            log:
              - target: stderr
                any: info
            """))
        self.lab.spawn("site", "site-knot", [self.lab.unconfined("knotd"), "-c", conf])

    def cut(self, phs):
        """Takes the way to a bootstrap server away."""
        self.lab.ip("core", "route", "replace", "unreachable", f"{phs}/32")

    # ---- the boxes ------------------------------------------------------------------------------
    def services(self, box):
        """What runs on a box from the factory: a DHCP client and weft-phone-home, with their files."""
        lab, node = self.lab, box.node
        leases = box.path("leases")
        script = lab.write(f"{node}/dhclient-script", DHCLIENT_SCRIPT.replace("exit 0\n", "") + textwrap.dedent(f"""\
            case "$reason" in BOUND|RENEW|REBIND|REBOOT)
                {{ [ -z "$new_domain_name" ] || echo "search $new_domain_name"
                for server in $new_domain_name_servers; do echo "nameserver $server"; done; }} >/etc/resolv.conf
            esac
            WEFT_LEASES={leases}
            . {PARTS}/dhclient-hook
            """), 0o755)
        conf = lab.write(f"{node}/dhclient.conf", "timeout 10; retry 2; initial-interval 1; backoff-cutoff 2;\n"
                                                  f'include "{PARTS}/dhclient.conf";\n')
        phone_home = lab.write(f"{node}/phc.json", json.dumps({
            "state": box.path("phc"), "socket": box.path("c"),
            "platform": {"type": "linux-stack", "socket": box.socket},
            "identity": {"certificate": self.papers.path(box.serial + ".pem"),
                         "key": self.papers.path(box.serial + ".key")},
            "voucher-anchors": self.papers.path("masa", "anchor.pem"),
            "dhcp": {"leases": [leases + "/*"]},
            "limits": {"pause-min-s": 1, "pause-max-s": 5, "member-detection-s": 120, "settle-s": 2}}, indent=1))
        os.makedirs(box.path("phc"), mode=0o700, exist_ok=True)
        return [[lab.unconfined("dhclient"), "-4", "-d", "-cf", conf, "-sf", script, "-lf", box.path("dhclient.leases"),
                 "-pf", box.path("dhclient.pid"), "me0"],
                [binary("agents", "phone-home", "weft-phone-home"), "-c", phone_home, "daemon"]]

    def power_on(self, box):
        hook = self.lab.write(f"{box.node}/hook", HOOK, 0o755)
        more = {"vcp": []} if box is self.edge else {}
        box.start(services=self.services(box), zeroize=[box.path("phc")], **{"config-hook": hook}, **more)

    def status(self, box):
        """What the box's client says of itself, or {}."""
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(10)
                s.connect(box.path("c"))
                s.sendall(b"GET /status HTTP/1.0\r\n\r\n")
                answer = b"".join(iter(lambda: s.recv(65536), b""))
        except OSError:
            return {}
        head, _, body = answer.partition(b"\r\n\r\n")
        return json.loads(body) if b" 200 " in head.split(b"\r\n")[0] else {}

    # ---- the operator ---------------------------------------------------------------------------
    def make_image(self, folder, version="2.0", size=8_000_000):
        """The system that the boxes are to run, where the controller serves it from; about `size` bytes."""
        return make_image(os.path.join(folder, f"box-{version}.img"), version, {
            "init": '#!/bin/sh\n[ ! -s "$WEFT_CONFIG" ] || "$WEFT_SLOT/hook" apply replace "$WEFT_CONFIG" /dev/null\n',
            "hook": HOOK, "share/data": os.urandom(size)})

    def statements(self):
        """What the operator enters, as lines of `weft`; certificates, keys and vouchers in Base64."""
        p = self.papers
        members = "\n".join(f"{s} {ADDRESS[s]}/24" for s in RING)
        lines = [
            f"listener away address {REDIRECT} role redirect public-address redirect.{DOMAIN}",
            *(f"listener phs{i} address {a} role [ bootstrap images ] public-address phs{i}.{DOMAIN}"
              for i, a in enumerate(PHS, 1)),
            *(f"redirect-list homes server phs{i}.{DOMAIN} own-authority" for i in (1, 2)),
            f"device-authority box-works certificate {p.base64('maker.pem')}",
            f"signer us certificate {p.base64('owner.pem', 'owner-ca.pem')} key {p.base64('owner.key')}",
            "boot-image box-2 os-name weftos os-version 2.0 file box-2.0.img",
            'script report text "#!/bin/sh\\necho I am $WEFT_SERIAL\\n"',
            f"configuration edge handling replace template true text {quoted(EDGE_CONFIG)}",
            f"configuration ring handling replace text {quoted(f'hostname ring-1{chr(10)}{members}{chr(10)}')}",
            "bundle edge boot-image box-2 pre-script report configuration edge",
            "bundle ring boot-image box-2 pre-script report configuration ring",
            "topology ring strict true",
            *(f"topology ring member {s}" for s in RING),
            "device-type box hw-model box-1 signer us authentication certificate",
            "device-type box rule away redirect-list homes",
            # What they are, devices tell servers that they know; here a stranger redirects them first.
            f"device {EDGE} type box",
            f"device {EDGE} voucher {p.base64(EDGE + '.vcj')}",
            f"device {EDGE} variable host value edge-1",
            f"device {EDGE} variable address value {ADDRESS[EDGE]}",
            f"device {EDGE} rule all bundle edge"]
        for s in RING:
            lines += [f"device {s} type box", f"device {s} voucher {p.base64(s + '.vcj')}", f"device {s} topology ring",
                      f"device {s} rule all bundle ring"]
        return "".join(f"set onboard {line}\n" for line in lines)


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def shortened(statements):
    """For people to read: Base64 with its middle left out."""
    return re.sub(r"([A-Za-z0-9+/]{12})[A-Za-z0-9+/]{60,}=*", r"\1...", statements)
