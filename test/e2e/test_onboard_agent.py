# SPDX-License-Identifier: Apache-2.0
"""A gateway that comes from the factory: its client takes an image with the gateway's agent in it, settings and a
certificate from weftd, the box reboots into the image, and the agent connects to the controller as a gateway."""
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from bng_lab import TOP, Gateway, Lab, agent_binary, wait_until
from onboard_lab import Pki, device, put
from weftd_lab import Weftd

sys.path.insert(0, os.path.join(TOP, "lab"))
from stack import Box  # noqa: E402
from topology import binary  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for the namespaces")
CTL = "10.255.1.1"
PORT = 9443
SERIAL = "BNG-77"
SETTINGS = """{{ "system-id": "{{{{ system }}}}", "address": "10.255.1.2",
  "managers": [{{ "host": "{{{{ server-address }}}}", "port": {port}, "verify-name": "weft" }}],
  "tls": {{ "certificate": "agent.crt", "key": "agent.key", "ca": "ca.crt" }},
  "state": "state/agent.db", "socket": "{socket}", "max-pools": 8,
  "kea": {{ "socket": "{kea}", "config-file": "{config}", "interval-ms": 200, "min-reload-interval-ms": 300 }},
  "domain-profiles": [{{ "name": "home", "partition": "westford", "preferred-prefix-length": 28, "interface": "subs0",
    "server-address": "100.64.0.1", "reclamation-hold-down-s": 2 }}] }}
{{{{ldevid-certificate}}}}
{{{{authority-certificate}}}}
"""


@pytest.fixture(scope="module")
def lab():
    with Lab("onba", "/tmp/weft-e2e/onba") as made:
        yield made


@pytest.fixture(scope="module")
def gw(lab):
    return Gateway(lab, clients=1, frr=False, length=28, lease=(20, 5, 15)).build()


@pytest.fixture(scope="module")
def w(lab, gw, tmp_path_factory):
    with Weftd(tmp_path_factory.mktemp("weftd"), options=["--hostname", f"weft,{CTL}"], address=CTL,
               within=["ip", "netns", "exec", lab.ns("core")]) as d:
        yield d


def make_image(w, version, **env):
    out = os.path.join(w.data, "onboard/files", f"bng-{version}.tar")
    subprocess.run([os.path.join(TOP, "agents/bng/image/weft-bng-image"), version, out], check=True,
                   env={**os.environ, "WEFT_BNG": agent_binary(), **env})
    return os.path.basename(out)


class Site:
    def __init__(self, lab, gw, w, folder):
        self.lab, self.gw, self.w, self.pki = lab, gw, w, Pki(folder)
        put(w, "device-authority", "factory", certificate=self.pki.text("factory.pem"))
        put(w, "boot-image", "bng-2.0", os_name="weftos", os_version="2.0", file=make_image(w, "2.0"))
        os.makedirs(lab.path("agent"), exist_ok=True)
        put(w, "configuration", "bng", template=True, handling="replace", text=SETTINGS.format(
            port=w.ports["apmi"], socket=lab.path("agent", "sock"), kea=gw.kea_path("ctrl"), config=gw.kea_path("kea.conf")))
        put(w, "bundle", "bng", boot_image="bng-2.0", configuration="bng")
        put(w, "device-type", "bng", certificate_request=True, certificate_days=30, rule=[{"name": "all", "bundle": "bng"}])
        put(w, "listener", "main", address=CTL, port=PORT, public_address=CTL)
        wait_until("the listener", 20, lambda: re.search(r"^main +open ", w.cli("show onboard listeners"), re.M))
        r = w.ask("PUT", "weft-apm:apm", {"weft-apm:apm": {
            "inet-pool": {"partition": [{"name": "westford", "min-prefix-len": 20, "max-prefix-len": 28,
                                         "prefix": [{"prefix": "10.60.0.0/23"}]}]},
            "pool-domain-profile": [{"name": "std", "apportion-threshold": 4, "reclaim-threshold": 32, "hold-down": 1}],
            "entity-match": [{"system-id": "bng1", "pool-domain-profile": "std"}]}})
        assert r.status in (201, 204), r.text
        self.box = None

    def power_on(self):
        b = self.box = Box(self.lab, 0, SERIAL, name="bng", vcp=[])
        cert, key = self.pki.device("idevid", f"/CN=box/serialNumber={SERIAL}")
        os.makedirs(b.path("phc"), mode=0o700, exist_ok=True)
        self.lab.write("bng/phc.json", json.dumps({
            "state": b.path("phc"), "socket": b.path("c"), "platform": {"type": "linux-stack", "socket": b.socket},
            "server-anchors": os.path.join(self.w.data, "pki/ca.pem"), "sources": ["servers"],
            "identity": {"certificate": cert, "key": key}, "servers": [f"https://{CTL}:{PORT}"],
            "limits": {"pause-min-s": 1, "pause-max-s": 2}}))
        b.start(services=[[binary("agents", "phone-home", "weft-phone-home"), "-c", b.path("phc.json"), "daemon"]],
                zeroize=[b.path("phc")])
        return b

    def status(self):
        return device(self.w, SERIAL)["status"]

    def entity(self):
        r = self.w.ask("GET", "weft-apm:apm/state/entity=bng1")
        return json.loads(r.text)["weft-apm:entity"][0] if r.status == 200 else {}

    def until(self, what, seconds, check):
        try:
            return wait_until(what, seconds, check)
        except Exception:
            print(self.w.cli(f"show onboard device {SERIAL}"), self.box.show(), self.box.process.tail(60))
            log = self.box.path("d", "agent.log")
            print(open(log, encoding="utf-8").read()[-3000:] if os.path.exists(log) else "no agent ran")
            raise


@pytest.fixture(scope="module")
def site(lab, gw, w, tmp_path_factory):
    return Site(lab, gw, w, tmp_path_factory.mktemp("pki"))


# proves: PH-001 PH-040 PH-060 PH-121
def test_a_gateway_from_the_factory(site, lab, gw, w):
    put(w, "device", SERIAL, type="bng", certificate_name="bng1", variable=[{"name": "system", "value": "bng1"}])
    box = site.power_on()
    site.until("the box is complete", 120, lambda: site.status() == "complete")
    assert box.state()["os-version"] == "2.0" and box.state()["slot"] == "a"
    # The agent is connected as the gateway, over TLS with the certificate that the box asked for.
    site.until("the agent is connected", 60, lambda: site.entity().get("status") == "reachable")
    assert site.entity()["security"] == "mutual-tls", site.entity()
    assert re.search(r"^bng1 ", w.cli("show apm entity"), re.M)
    crt = box.path("d", "agent", "agent.crt")
    shown = subprocess.run(["openssl", "x509", "-in", crt, "-noout", "-subject", "-ext", "subjectAltName", "-pubkey"],
                           capture_output=True, text=True, check=True).stdout
    assert f"serialNumber = {SERIAL}" in shown and "DNS:bng1" in shown
    # The key was made on the box, is root's alone, and is nowhere else: not in what the controller sent or keeps.
    key = box.path("d", "agent", "agent.key")
    public = subprocess.run(["openssl", "pkey", "-in", key, "-pubout"], capture_output=True, text=True, check=True).stdout
    assert public in shown and os.stat(key).st_mode & 0o77 == 0
    assert "PRIVATE KEY" not in open(box.path("phc", "record"), "rb").read().decode("latin-1")
    assert "PRIVATE KEY" not in w.cli(f"show onboard device {SERIAL}")
    # It serves: a subscriber gets an address of the pool that the controller gave it.
    assert gw.dial_in("c0").startswith("10.60.")


def agents(gw):
    """Processes of the agent in the box."""
    out = subprocess.run(["ip", "netns", "pids", gw.lab.ns("bng")], capture_output=True, text=True, check=True).stdout
    return [int(p) for p in out.split() if os.path.basename(os.readlink(f"/proc/{p}/exe")) == "weft-bng"]


def test_the_agent_stays(site, gw, w):
    """It is started again when it is killed, and with the box after power was lost."""
    (pid,) = agents(gw)
    os.kill(pid, signal.SIGKILL)
    site.until("another one runs", 30, lambda: agents(gw) not in ([], [pid]))
    site.until("it is connected", 60, lambda: site.entity().get("status") == "reachable")
    site.box.power_off()
    site.until("the controller misses it", 60, lambda: site.entity().get("status") != "reachable")
    site.box.start()
    site.until("it is connected again", 60, lambda: site.entity().get("status") == "reachable")
    assert site.status() == "complete"  # it did not phone home once more


# A configuration that the agent refuses is not put in force; the box says why and stays in factory default.
def test_settings_that_the_agent_refuses(site, gw, w):
    put(w, "configuration", "bad", template=True, handling="replace", text='{"system-id": "bng1"}\n')
    put(w, "bundle", "bad", boot_image="bng-2.0", configuration="bad")
    put(w, "device-type", "bng", certificate_request=True, rule=[{"name": "all", "bundle": "bad"}])
    w.cli(f"request onboard forget {SERIAL}")
    site.box.request("zeroize", 0)
    site.until("the box has failed", 90, lambda: site.status() == "failed")
    assert "is missing" in device(w, SERIAL)["message"]
    assert not os.path.exists(site.box.path("d", "agent")) and agents(gw) == []
    assert not os.path.exists(site.box.path("d", "key"))
    # The right settings, and it comes by itself.
    put(w, "device-type", "bng", certificate_request=True, certificate_days=30, rule=[{"name": "all", "bundle": "bng"}])
    site.until("the box is complete", 120, lambda: site.status() == "complete")
    site.until("the agent is connected", 60, lambda: site.entity().get("status") == "reachable")
