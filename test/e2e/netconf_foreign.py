# SPDX-License-Identifier: Apache-2.0
"""test/netconf/nc2_client.c, a client over libnetconf2, as an object."""
import os
import select
import subprocess

from lxml import etree

from weftd_lab import binary

PROGRAM = binary("test", "netconf", "nc2_client")
NC = "urn:ietf:params:xml:ns:netconf:base:1.0"


class Refused(Exception):
    """An <rpc-error>."""

    def __init__(self, envelope):
        text = lambda name: next(iter(envelope.xpath(f"//*[local-name()='{name}']/text()")), None)
        self.tag, self.path, self.message = text("error-tag"), text("error-path"), text("error-message")
        self.type = text("error-type")
        super().__init__(f"{self.tag}: {self.path}: {self.message}")


class NoSession(Exception):
    pass


class Client:
    """One session. `args`: as nc2_client's usage has them."""

    def __init__(self, *args, seconds=120):
        # Its own exit is no test of ours, and what libyang keeps would be called a leak.
        self.p = subprocess.Popen([PROGRAM, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
        self.rest, self.seconds = b"", seconds
        self.id = None
        if not args[0].startswith("listen-"):
            self.begin()
        else:
            assert self.line() == "listening", self.p.stderr.read()

    def begin(self):
        """Waits for the session; after listen-... it is the server who opens it."""
        word, _, rest = self.line().partition(" ")
        if word != "ok":
            self.p.stdin.close()
            errors = self.p.stderr.read().decode(errors="replace")
            self.p.wait()
            raise NoSession(errors)
        self.id = rest
        return self

    def line(self):
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.p.stdout], [], [], self.seconds)
            piece = os.read(self.p.stdout.fileno(), 1 << 16) if ready else b""
            if not piece:
                raise EOFError(self.p.stderr.read() if ready else "nothing came in time")
            self.rest += piece
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode()

    def ask(self, command):
        """None for <ok/>, else the tree of what came."""
        self.p.stdin.write(command.replace("\n", " ").encode() + b"\n")
        self.p.stdin.flush()
        word, _, rest = self.line().partition(" ")
        if word == "failed":
            raise EOFError(rest)
        if word == "ok":
            return None
        if command == "capabilities":
            return rest.split()
        tree = etree.fromstring(f"<all>{rest}</all>".encode(), etree.XMLParser(huge_tree=True))
        if word == "error":
            raise Refused(tree)
        return tree

    def close(self):
        if self.p.poll() is None:
            self.p.stdin.close()
            self.p.wait(30)
        for f in (self.p.stdout, self.p.stderr):
            f.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
