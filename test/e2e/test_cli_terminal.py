# SPDX-License-Identifier: Apache-2.0
"""weft at a terminal: what the fingers expect."""
import os
import re
import time

import pytest

from cli_daemon import Daemon, Terminal, clean


@pytest.fixture(scope='module')
def daemon():
    d = Daemon()
    status, _, err = d.script('configure', *['set toys box b%02d size %d' % (i, i + 1) for i in range(40)],
                              'commit')
    assert status == 0, err
    yield d
    d.close()


@pytest.fixture
def term(daemon):
    t = Terminal(daemon)
    t.expect(r'> ')
    yield t
    if t.status is None:
        t.send('\x03')
        t.line('exit configuration-mode')
        t.send('\x03')
        t.line('quit')
        assert t.wait() in (0, 1)


# proves: APM-161
def test_completion_by_tab(term):
    term.send('sh\tconf\ttoy\tbo\tb07')
    term.send('\t')
    term.send('\r')
    assert 'size 8;' in clean(term.expect(r'> '))


def test_tab_shows_the_choices(term):
    term.send('show configuration toys box b0\t')
    text = term.expect(r'b09\s')
    assert 'Possible completions' in text and 'b00' in text
    term.send('\x03')
    term.expect(r'\^C')


def test_question_mark_helps_everywhere(term):
    term.send('?')
    text = term.expect(r'configure\s+Change the configuration')
    term.send('show ?')
    term.expect(r'Possible completions')
    text = term.expect(r'version\s+\S')
    assert 'apm' in text and 'configuration' in text
    term.send('\x03')
    term.expect(r'> ')
    term.run('configure')
    term.send('set toys box new size ?')
    text = clean(term.expect(r'What goes in[^\n]*'))
    assert 'default 10' in text and '<size>' in clean(text)
    term.send('\x03')
    term.expect(r'# ')
    term.send('set toys box "what?"')  # inside quotes it is a character
    term.send('\x03')
    term.expect(r'\^C')
    term.send('set nonsense ?')
    term.expect(r'\^\s+unknown word')


def test_caret_stands_under_the_word(term):
    text = term.run('show confguration toys')
    lines = [l for l in text.split('\n') if l.strip()]
    caret = next(l for l in lines if l.strip() == '^')
    prompt = len('root@') + len(os.uname().nodename.split('.')[0]) + len('> ')
    assert caret.index('^') == prompt + len('show ')
    assert 'did you mean configuration?' in text


def test_pages(daemon):
    t = Terminal(daemon, rows=10)
    t.expect(r'> ')
    t.line('show configuration | display set')
    t.expect(r'---\(more\)---')
    assert t.seen.count('set toys') == 0
    t.send(' ')
    t.expect(r'---\(more\)---')
    t.send('\r')
    text = t.expect(r'---\(more\)---')
    assert len(re.findall(r'set \S+', clean(text))) == 1
    t.send('q')
    t.expect(r'> ')
    text = t.run('show configuration | display set | no-more')
    assert text.count('set toys box') == 40
    t.run('set cli screen-length 0')
    text = t.run('show configuration | display set')
    assert text.count('set toys box') == 40 and 'more' not in text
    t.line('quit')
    assert t.wait() == 0


def test_history_is_kept_and_secrets_are_not(daemon):
    t = Terminal(daemon)
    t.expect(r'> ')
    t.run('show cli')
    t.run('configure')
    t.run('set toys box hist lock 987654')
    t.run('rollback')
    t.run('exit', r'> ')
    t.run('show version')
    t.send('\x1b[A')
    t.expect('show version')
    t.send('\x1b[A')
    t.expect('exit')
    t.send('\x03')
    t.line('quit')
    assert t.wait() == 0
    history = open(daemon.env()['WEFT_HISTORY']).read()
    assert 'version' in history and '987654' not in history
    assert os.stat(daemon.env()['WEFT_HISTORY']).st_mode & 0o077 == 0
    t = Terminal(daemon)
    t.expect(r'> ')
    t.send('\x1b[A\x1b[A')
    t.expect('show version')
    t.send('\x03')
    t.send('\x04')
    assert t.wait() == 0


def test_ctrl_c_ends_the_command_not_the_session(term):
    term.line('monitor events')
    term.expect('Ctrl-C ends this')
    term.send('\x03')
    term.expect(r'> ')
    assert 'Session' in term.run('show cli')
    term.send('show some nonsense\x03')
    term.expect(r'\^C')
    assert 'Session' in term.run('show cli')


def test_questions(term):
    term.run('configure private')
    term.line('delete')
    term.expect(re.escape('[yes,no] (no) '))
    term.line('no')
    assert 'nothing was done' in term.expect(r'# ')
    assert 'size 8' in term.run('show toys box b07')
    term.line('set toys box b07 lock')
    term.expect('lock: ')
    term.line('13579')
    term.expect('once more: ')
    assert '13579' not in term.seen
    term.line('24680')
    assert 'not the same' in term.expect(r'# ')
    term.run('set toys box b07 size 99')
    term.line('exit')
    term.expect(re.escape('[yes,no] (no) '))
    term.line('yes')
    term.expect(r'Exiting configuration mode')
    term.expect(r'> ')


def test_load_at_the_terminal(term):
    term.run('configure private')
    term.line('load merge terminal')
    term.expect(re.escape('[Type ^D at a new line to end input]'))
    term.line('toys { box typed { size 77; } }')
    term.send('\x04')
    term.expect('load complete')
    term.expect(r'# ')
    assert 'size 77' in term.run('show toys box typed')
    term.line('load merge terminal')
    term.expect('Type')
    term.line('toys { box typed { size ')
    term.send('\x03')
    term.expect(r'# ')
    assert 'size 77' in term.run('show toys box typed')
    term.run('rollback')


def test_colour_only_when_wanted(daemon):
    for env, colour in (({}, True), ({'NO_COLOR': '1'}, False), ({'TERM': 'dumb'}, False)):
        t = Terminal(daemon, '-c', 'show nonsense', env=daemon.env(**env))
        t.wait()
        assert ('\x1b[31m' in t.seen) == colour
        assert 'error: ' in t.seen
    status, _, err = daemon.weft('show', 'nonsense')
    assert status == 2 and '\x1b' not in err


def test_window_size_follows(daemon):
    t = Terminal(daemon, rows=50, columns=120)
    t.expect(r'> ')
    t.run('show version')
    import fcntl
    import signal
    import struct
    import termios
    fcntl.ioctl(t.fd, termios.TIOCSWINSZ, struct.pack('HHHH', 33, 101, 0, 0))
    os.kill(t.pid, signal.SIGWINCH)
    text = t.run('show cli')
    assert 'Screen length  : 33' in text and 'Screen width   : 101' in text
    t.line('quit')
    assert t.wait() == 0


def test_no_daemon():
    env = dict(os.environ, WEFT_SOCKET='/tmp/no-such-weft.sock')
    import subprocess
    from cli_daemon import WEFT
    r = subprocess.run([WEFT, 'show', 'version'], env=env, capture_output=True, text=True)
    assert r.returncode == 3
    assert 'the daemon is not running' in r.stderr and '/tmp/no-such-weft.sock' in r.stderr


def test_daemon_goes_away(daemon):
    d = Daemon()
    t = Terminal(d)
    t.expect(r'> ')
    d.stop()
    t.line('show version')
    assert t.wait() == 3
    assert 'the daemon is not running' in t.seen
    d.start()
    # the session is gone with the process
    d.close()
    time.sleep(0)
