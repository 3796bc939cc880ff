# SPDX-License-Identifier: Apache-2.0
"""A weftd (with the toy module) and terminals for the command line's tests."""
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
BUILD = os.path.join(ROOT, os.environ.get('WEFT_BUILD', 'build'))
WEFT = os.path.join(BUILD, 'cli', 'weft')
WEFTD = os.path.join(BUILD, 'src', 'weftd', 'weftd-toy')


class Daemon:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix='weft-cli-')
        self.socket = os.path.join(self.folder, 'weft.sock')
        self.data = os.path.join(self.folder, 'data')
        self.start()

    def start(self):
        ports = os.path.join(self.folder, 'ports')
        if os.path.exists(ports):
            os.unlink(ports)
        self.log = open(os.path.join(self.folder, 'log'), 'ab')
        self.process = subprocess.Popen(
            [WEFTD, '-d', self.data, '-l', '127.0.0.1:0', '--listen-apmi', 'none', '-u', self.socket,
             '--port-file', ports, '-n', 'localhost'], stdout=self.log, stderr=self.log)
        end = time.time() + 120
        while True:
            text = open(ports).read() if os.path.exists(ports) else ''
            if 'ready' in text:
                break
            assert self.process.poll() is None and time.time() < end, self.tail()
            time.sleep(0.05)
        self.tls_port = int(re.search(r'tls (\d+)', text).group(1))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.log.close()
        return status

    def tail(self):
        with open(os.path.join(self.folder, 'log'), errors='replace') as f:
            return f.read()[-4000:]

    def close(self):
        status = self.stop()
        text = self.tail()
        shutil.rmtree(self.folder)
        assert status == 0, text
        assert 'ERROR: AddressSanitizer' not in text and 'runtime error' not in text, text

    def env(self, **more):
        env = dict(os.environ, WEFT_SOCKET=self.socket, TERM='xterm', LC_ALL='C.UTF-8',
                   ASAN_OPTIONS='detect_leaks=0',  # libedit keeps some of its own for ever
                   WEFT_HISTORY=os.path.join(self.folder, 'history'))
        env.pop('WEFT_TOKEN', None)
        env.update(more)
        return env

    def weft(self, *args, stdin=None, env=None):
        """Runs weft; returns (status, standard output, standard error)."""
        r = subprocess.run([WEFT, *args], input=stdin, capture_output=True, text=True, timeout=120,
                           env=env or self.env(), stdin=subprocess.DEVNULL if stdin is None else None)
        assert 'Sanitizer' not in r.stderr and 'runtime error' not in r.stderr, r.stderr
        return r.returncode, r.stdout, r.stderr

    def script(self, *lines, args=()):
        return self.weft(*args, stdin=''.join(line + '\n' for line in lines))


class Terminal:
    """A weft at a pseudo terminal."""

    def __init__(self, daemon, *args, rows=24, columns=80, env=None):
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(WEFT, [WEFT, *args], env or daemon.env())
        self.pid, self.fd, self.seen = pid, fd, ''
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
        self.status = None

    def send(self, text):
        time.sleep(0.2)  # the editor has the terminal in its own mode by then
        os.write(self.fd, text.encode())

    def line(self, text):
        self.send(text + '\r')

    def _read(self, wait):
        if not select.select([self.fd], [], [], wait)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b''
        self.seen += data.decode(errors='replace')
        return bool(data)

    def expect(self, pattern, timeout=120):
        """Waits for the pattern in what came since the last match; returns the text up to its end."""
        end = time.time() + timeout
        while True:
            m = re.search(pattern, self.seen)
            if m:
                text = self.seen[:m.end()]
                self.seen = self.seen[m.end():]
                return text
            left = end - time.time()
            assert left > 0, 'no %r in %r' % (pattern, self.seen)
            if not self._read(left) and time.time() < end:
                m = re.search(pattern, self.seen)
                assert m, 'ended before %r in %r' % (pattern, self.seen)

    def run(self, text, prompt=r'\S+@\S+[>#] '):
        """Types a line and returns everything up to the next prompt."""
        self.line(text)
        self.expect(echoed(text))
        return clean(self.expect(prompt))

    def wait(self):
        end = time.time() + 120
        while self.status is None and time.time() < end:
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        while self._read(0):  # what it wrote just before its end
            pass
        os.close(self.fd)
        return self.status


def echoed(text):
    """What a typed line looks like on its way back: the editor moves the cursor over some blanks."""
    return r'(?:\s|\x1b\[[0-9;]*[A-Za-z])*'.join(map(re.escape, text.split()[-3:]))


def clean(text):
    """Without control sequences and carriage returns."""
    return re.sub(r'\x1b\[[0-9;?]*[A-Za-z]|\r', '', text)
