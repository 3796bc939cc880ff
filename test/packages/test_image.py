# SPDX-License-Identifier: Apache-2.0
"""The container image: built by buildah from a bootstrapped Debian (no registry is asked), and run as Kubernetes runs it:
another user than root, the image read-only, the configuration of the manifests."""
import json
import os
import signal
import subprocess

import pytest
import yaml

from machine import TOP, base, run, wait_until

USER = 10001


@pytest.fixture(scope="module")
def buildah(tmp_path_factory):
    """buildah with a store of its own, without a daemon and without a runtime."""
    store = tmp_path_factory.mktemp("containers")
    options = ["--root", f"{store}/root", "--runroot", f"{store}/run", "--storage-driver", "vfs"]

    def call(*words, **more):
        return run("buildah", *options, *words, **more)
    yield call
    call("rm", "--all")
    call("rmi", "--all", "--force")


@pytest.fixture(scope="module")
def root(buildah, tmp_path_factory):
    """The image's files, as a container would have them."""
    folder = os.environ.get("WEFT_DEBS")
    if not folder:
        folder = str(tmp_path_factory.mktemp("deb"))
        run(os.path.join(TOP, "packaging", "deb.sh"), folder)
    plain = buildah("from", "scratch").strip()
    buildah("add", plain, base("ca-certificates"), "/")
    buildah("commit", plain, "localhost/debian:bookworm")
    buildah("build", "--isolation", "chroot", "--pull-never", "--build-arg", "BASE=localhost/debian:bookworm",
            "-f", f"{TOP}/packaging/image/Containerfile", "-t", "localhost/weft:test", folder)
    container = buildah("from", "--pull-never", "localhost/weft:test").strip()
    return buildah("mount", container).strip(), json.loads(buildah("inspect", "localhost/weft:test"))["OCIv1"]["config"]


def test_what_the_image_is(root):
    path, config = root
    assert config["User"] == "weft" and config["Entrypoint"][0] == "/usr/sbin/weftd"
    assert set(config["ExposedPorts"]) == {"8443", "830", "6513", "20557"} or \
        set(config["ExposedPorts"]) == {f"{p}/tcp" for p in (8443, 830, 6513, 20557)}
    assert not os.path.exists(f"{path}/usr/bin/systemctl"), "an init has no place in it"
    assert os.listdir(f"{path}/tmp") == [] and os.listdir(f"{path}/var/lib/weft") == []


def test_it_runs_as_kubernetes_runs_it(root, tmp_path):
    path, config = root
    text = run("/usr/bin/python3", f"{TOP}/packaging/kubernetes/render.py", "--image", "i", "--hostname", "localhost")
    things = list(yaml.safe_load_all(text))
    conf = next(t for t in things if t["kind"] == "ConfigMap")["data"]["weftd.conf"]
    (tmp_path / "weftd.conf").write_text(conf)
    for name in ("data", "run", "tmp"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, USER, USER)
    mounts = {"data": "/var/lib/weft", "run": "/run/weft", "tmp": "/tmp"}
    script = f"mount --rbind {path} {path} && mount -o remount,bind,ro {path} && " + \
        " && ".join(f"mount --bind {tmp_path}/{k} {path}{v}" for k, v in mounts.items()) + \
        f" && mount --bind {tmp_path}/weftd.conf {path}/etc/weft/weftd.conf && mount -t proc proc {path}/proc && " + \
        "ip link set lo up && sysctl -qw net.ipv4.ip_unprivileged_port_start=0 && " + \
        f"exec chroot --userspec={USER}:{USER} {path} " + " ".join(config["Entrypoint"])
    log = open(tmp_path / "log", "w", encoding="utf-8")
    p = subprocess.Popen(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-ec", script], stdout=log,
                         stderr=log)
    inner = None
    try:
        secret = tmp_path / "data" / "admin-password"
        wait_until("the first start", 60, lambda: "is ready" in (tmp_path / "log").read_text())
        inner = run("pgrep", "-P", str(p.pid)).split()[0]
        assert run("stat", "-c", "%u", f"/proc/{inner}").strip() == str(USER)
        # From inside its network: the probes of the manifests, and a login.
        script = f"""
import base64, http.client, ssl
c = ssl.create_default_context(cafile="{tmp_path}/data/pki/ca.pem")
for path in ("/healthz", "/readyz", "/restconf/data/weft-system:system/state/version"):
    h = http.client.HTTPSConnection("localhost", 8443, context=c, timeout=60)
    word = base64.b64encode(b"admin:{secret.read_text().strip()}").decode()
    h.request("GET", path, headers={{"Authorization": "Basic " + word}})
    print(path, h.getresponse().status)
"""
        out = run("nsenter", "-t", inner, "-n", "/usr/bin/python3", "-c", script)
        assert [line.split()[1] for line in out.splitlines()] == ["200", "200", "200"], out
        assert all(f":{port} " in run("nsenter", "-t", inner, "-n", "ss", "-ltn") for port in (8443, 20557, 830, 6513))
    finally:
        if inner is not None:  # unshare itself takes no orders; process 1 of its namespace does
            os.kill(int(inner), signal.SIGTERM)
        else:
            p.kill()
        status = p.wait(120)
        log.close()
    assert status == 0, (tmp_path / "log").read_text()
