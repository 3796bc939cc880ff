#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Mark 15 with rivals: the same load (bench_grpc_unary load) on the same core against python3-grpcio and,
where npm can install @grpc/grpc-js, against node; beside bench_grpc_unary's own figure of the same run."""
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile

BUILD = os.environ.get("WEFT_BUILD", "build")
BENCH = os.path.abspath(os.path.join(BUILD, "bench/bench_grpc_unary"))
SECONDS = 3

NODE = """
const grpc = require('@grpc/grpc-js');
const id = x => x;
const def = {Unary: {path: '/weft.test.Echo/Unary', requestStream: false, responseStream: false,
  requestSerialize: id, requestDeserialize: id, responseSerialize: id, responseDeserialize: id}};
const s = new grpc.Server();
s.addService(def, {Unary: (call, done) => done(null, call.request)});
s.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (e, port) => {
  if (s.start.length === 0) { try { s.start(); } catch (x) {} }
  console.log(port);
});
"""


def serve_python():
    import grpc

    class Echo(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda m, ctx: m)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), handlers=[Echo()])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


def load(name, command, **options):
    pin = lambda: os.sched_setaffinity(0, {0})
    p = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pin, **options)
    try:
        port = p.stdout.readline().strip()
        for calls in (1, 25):
            r = subprocess.run([BENCH, "load", "127.0.0.1", port, str(SECONDS), str(calls)],
                               capture_output=True, text=True, timeout=60,
                               preexec_fn=lambda: os.sched_setaffinity(0, {os.cpu_count() - 1}))
            rate, failed = (r.stdout.split() + ["0", "?"])[:2]
            print(f"{name:<16} plaintext 4 connections x {calls:2} calls: {int(rate):6} unary/s"
                  + (f" ({failed} failed)" if failed != "0" else ""), flush=True)
    finally:
        p.kill()
        p.wait()


def main():
    if not os.path.exists(BENCH):
        sys.exit(f"{BENCH} is not built")
    with tempfile.TemporaryDirectory() as work:
        subprocess.run([BENCH, work], timeout=120)
        load("python3-grpcio", [sys.executable, os.path.abspath(__file__), "python"])
        node = shutil.which("node")
        npm = shutil.which("npm")
        if not node or not npm:
            print("node grpc-js: no node or npm here")
            return
        r = subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund",
                            "@grpc/grpc-js@1"], cwd=work, capture_output=True, text=True,
                           timeout=180)
        if r.returncode != 0:
            print("node grpc-js: npm could not install it")
            return
        with open(os.path.join(work, "server.js"), "w", encoding="ascii") as f:
            f.write(NODE)
        load("node grpc-js", [node, "server.js"], cwd=work)


if __name__ == "__main__":
    if sys.argv[1:] == ["python"]:
        serve_python()
    else:
        main()
