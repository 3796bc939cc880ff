#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One boot image over TLS on the loopback, from weftd and from nginx with the same certificate and file: MB/s as a
client sees it, and MB for each second of the server's own processor time (the client shares the machine's cores)."""
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "e2e"))
os.environ.setdefault("WEFT_BUILD", "build")
from onboard_lab import free_port, listen, put, wait_until  # noqa: E402
from weftd_lab import Weftd  # noqa: E402

MB, ROUNDS = 512, 3


def cpu(pids):
    """Processor time in s."""
    ticks = 0
    for p in pids:
        with open(f"/proc/{p}/stat", encoding="ascii") as f:
            words = f.read().rsplit(")", 1)[1].split()
        ticks += int(words[11]) + int(words[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def fetch(url, ca):
    r = subprocess.run(["curl", "-sS", "--http1.1", "--fail", "--noproxy", "*", "--cacert", ca, "-o", "/dev/null", "-w",
                        "%{size_download}", url], check=True, capture_output=True, text=True)
    assert int(r.stdout) == MB << 20, r.stdout


def measure(name, url, ca, pids):
    fetch(url, ca)  # the file is in memory afterwards
    best, before, rounds = 0.0, cpu(pids), []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        fetch(url, ca)
        rounds.append(MB / (time.perf_counter() - start))
    best, per_core = max(rounds), ROUNDS * MB / max(cpu(pids) - before, 0.01)
    print(f"{name:8} {best:7.0f} MB/s   a core {per_core:7.0f} MB/s", flush=True)
    return best, per_core


def main():
    with tempfile.TemporaryDirectory() as folder, Weftd(os.path.join(folder, "weftd")) as w:
        files = os.path.join(w.data, "onboard/files")
        with open(os.path.join(files, "os.img"), "wb") as f:
            for _ in range(MB):
                f.write(os.urandom(1 << 20))
        put(w, "boot-image", "os", os_name="os", os_version="1", file="os.img")
        door = listen(w, "main")
        port, ca, pki = free_port(), os.path.join(w.data, "pki/ca.pem"), os.path.join(w.data, "pki")
        conf = os.path.join(folder, "nginx.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(f"daemon off; worker_processes 1; user root; pid {folder}/nginx.pid; error_log stderr;\n"
                    "events { }\nhttp { access_log off; sendfile on; server {\n"
                    f"listen 127.0.0.1:{port} ssl; ssl_certificate {pki}/server.pem;\n"
                    f"ssl_certificate_key {pki}/server.key; location /files/ {{ alias {files}/; }} }} }}\n")
        nginx = subprocess.Popen(["nginx", "-p", folder, "-c", conf], stderr=subprocess.DEVNULL)
        try:
            def workers():
                with open(f"/proc/{nginx.pid}/task/{nginx.pid}/children", encoding="ascii") as f:
                    return [int(p) for p in f.read().split()]
            wait_until("nginx", 20, workers)
            ours = measure("weftd", f"{door.base}/files/os.img", ca, [w.process.pid])
            theirs = measure("nginx", f"https://localhost:{port}/files/os.img", ca, workers())
            print(f"ratio {ours[0] / theirs[0]:.2f}, a core {ours[1] / theirs[1]:.2f}")
        finally:
            nginx.terminate()
            nginx.wait()


if __name__ == "__main__":
    main()
