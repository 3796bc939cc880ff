# SPDX-License-Identifier: Apache-2.0
"""weft at a terminal: what the fingers expect."""
import os
import re
import time

import pytest

from cli_daemon import Daemon, Terminal, clean, echoed


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
        t.line('rollback')  # or leaving asks
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
    text = term.expect(r'configure\s+Changes the configuration')
    term.send('show ?')
    term.expect(r'Possible completions')
    text = term.expect(r'version\s+\S')
    assert 'apm' in text and 'configuration' in text
    term.send('\x03')
    term.expect(r'> ')
    term.run('configure')
    term.send('set toys box new size ?')
    text = ' '.join(clean(term.expect(r'default 10\)')).split())
    assert 'What goes in. (a number from' in text and ', litres; default 10)' in text and '<size>' in text
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


def test_caret_stands_under_the_word_of_a_long_line(daemon):
    """The line takes several rows: the caret is in the row of the word, or under a piece with it."""
    t = Terminal(daemon, columns=60)
    prompt = len('root@') + len(os.uname().nodename.split('.')[0]) + len('# ')
    t.expect(r'> ')
    t.run('configure private')
    for line, word in (('set toys box an-entry-with-a-long-name size 5 size none lock abcdefghijklmnop', 'none'),
                       ('set toys box an-entry-with-a-long-name lock abcdefghijklmnop size none', 'none'),
                       ('set toys bax an-entry-with-a-long-name lock abcdefghijklmnop size 5', 'bax')):
        t.line(line)
        text = t.expect(r'\r\n *\^\r\n')
        rows = [clean(r) for r in text.split('\r\n')]
        caret, above = rows[-2], rows[-3]
        if above.startswith('... '):
            assert above[caret.index('^'):].startswith(word) and len(above) < 60, text
        else:
            at, end = prompt + line.index(word), prompt + len(line)
            assert caret.index('^') == at % 60 and at // 60 == end // 60, text
        t.expect(r'# ')
    t.line('exit')
    t.line('quit')
    assert t.wait() == 0


def test_caret_of_a_script_does_not_wrap(daemon):
    line = 'set toys box an-entry-with-a-very-very-very-long-name-of-its-own lock abcdefghijklmnopqrstuvwxyz size none'
    status, _, err = daemon.script('configure private', line)
    rows = err.split('\n')
    assert status == 2 and rows[1].index('^') == rows[0].index('none') > 80, err


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
    t.expect(echoed('show version'))
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
    t.expect(echoed('show version'))
    t.send('\x03')
    t.send('\x04')
    assert t.wait() == 0


KEY = ['-----BEGIN PRIVATE KEY-----', 'c2VjcmV0IG9uZQ==', 'c2VjcmV0IHR3bw==', '-----END PRIVATE KEY-----']


# proves: APM-161
def test_what_is_pasted_on_several_lines(daemon):
    t = Terminal(daemon)
    t.expect(r'> ')
    t.run('configure private')
    # An open quote goes on over lines, and no key in it is a key of ours.
    t.send('set onboard configuration pasted text "first\r')
    t.expect(r'"> ')
    t.send('why?\tshow version \'so\'\r')
    t.expect(r'"> ')
    t.send('"\r')
    t.expect(r'# ')
    assert 'text "first\\nwhy?\\tshow version \'so\'\\n"' in t.run('show onboard | display set | no-more')
    # Ctrl-C drops all of it, and so does the end of input.
    t.send('set onboard configuration dropped text "first\r')
    t.expect(r'"> ')
    t.send('second\x03')
    t.expect(r'# ')
    t.send("set onboard configuration dropped text 'first\r")
    t.expect(r"'> ")
    t.send('\x04')
    t.expect("the quote ' was not closed")
    t.expect(r'# ')
    assert 'dropped' not in t.run('show onboard | display set | no-more')
    # A key in a line that is understood, in one that is not, and at the prompt for it.
    t.send('set onboard signer z key "%s"\r' % '\r'.join(KEY))
    t.expect(r'# ')
    t.send('set onboard singer z key "%s"\r' % '\r'.join(KEY))
    text = clean(t.expect(r'error: [^\r]*'))
    assert 'at singer' in text
    t.expect(r'# ')
    t.send('set onboard signer z key\r')
    t.expect(r'key: ')
    t.send('\r'.join(KEY) + '\r')
    text = clean(t.expect(r'# '))
    assert 'once more' not in text and 'c2Vj' not in text and 'error' not in text
    assert 'c2Vj' not in t.run('run show cli history')
    t.run('rollback')
    t.line('exit')
    t.expect(r'> ')
    t.line('quit')
    assert t.wait() == 0
    history = open(daemon.env()['WEFT_HISTORY']).read()
    assert 'pasted' in history and 'c2Vj' not in history and 'PRIVATE' not in history and 'dropped' not in history


def test_help_is_wrapped_to_the_terminal(daemon):
    for columns in (132, 80, 50, 24):
        t = Terminal(daemon, rows=200, columns=columns)
        t.expect(r'> ')
        t.send('request apm ?')
        text = clean(t.expect(r'release[^>]*' + echoed('> request apm')))
        lines = text.split('\n')
        assert max(len(line.rstrip()) for line in lines) <= columns, text
        # nothing is cut off: all of the longest explanation is there
        assert 'Refused when the domain would run short, unless forced.' in ' '.join(text.split())
        if columns == 80:  # beside the words, not below them
            assert any(line.startswith(' ' * 12 + 'it') or line.startswith(' ' * 12) for line in lines)
        t.send('\x03')
        t.line('quit')
        assert t.wait() == 0


def test_help_stops_at_the_end_of_the_screen(daemon):
    t = Terminal(daemon, rows=10)
    t.expect(r'> ')
    t.send('show configuration toys box ?')
    t.expect(r'---\(more\)---')
    t.send('q')
    t.expect(echoed('configuration toys box'))
    t.send('\x03')
    t.line('quit')
    assert t.wait() == 0


def keys(t, text):
    """Typed key by key: what comes at once is pasted, and a blank in it is a blank."""
    for key in text:
        t.send(key)


def test_blank_writes_out_the_word(daemon):
    t = Terminal(daemon)
    t.expect(r'> ')
    keys(t, 'sh conf ')
    t.send('toys box b07\r')
    assert 'size 8;' in clean(t.expect(r'> '))
    assert '1  show configuration toys box b07' in t.run('show cli history')
    keys(t, 'c ')  # two commands begin with it: which?
    text = clean(t.expect(r'configure\s+Changes'))
    assert 'clear' in text
    t.send('\x03')
    t.expect(r'> ')
    t.run('configure private')
    keys(t, 'set toys box n ')  # a name that does not exist, though others begin like that
    t.send('size 3\r')
    t.expect(r'# ')
    assert 'set toys box n size 3' in t.run('show | compare | display set')
    t.run('rollback')
    t.run('run set cli complete-on-space off')
    t.send('sh toys box b07\r')
    assert 'size 8;' in clean(t.expect(r'# '))
    t.line('exit')
    t.expect(r'> ')
    t.line('quit')
    assert t.wait() == 0


def test_names_of_files_are_completed_here(daemon, tmp_path):
    (tmp_path / 'first.conf').write_text('toys { box fromfile { size 3; } }')
    (tmp_path / 'folder').mkdir()
    t = Terminal(daemon)
    t.expect(r'> ')
    t.run('configure private')
    t.send('load merge %s/fi\t' % tmp_path)
    t.send('\r')
    t.expect('load complete')
    assert 'size 3' in t.run('show toys box fromfile')
    t.send('load merge %s/f\t' % tmp_path)
    text = clean(t.expect('folder/'))
    assert 'first.conf' in text
    t.send('\x03')
    t.expect(r'# ')
    t.run('rollback')
    t.line('exit')
    t.expect(r'> ')
    t.line('quit')
    assert t.wait() == 0


def test_ctrl_d_is_exit_and_asks(daemon):
    t = Terminal(daemon)
    t.expect(r'> ')
    t.run('configure private')
    t.run('edit toys')
    t.run('set box private-one')
    t.send('\x04')
    t.expect(r'\[edit\]')
    t.expect(r'# ')
    t.send('\x04')
    t.expect(re.escape('would be lost. Leave? [yes,no] (no) '))
    t.line('no')
    t.expect(r'# ')
    assert 'private-one' in t.run('show toys box private-one | display set')
    t.send('\x04')
    t.expect(re.escape('(no) '))
    t.line('yes')
    t.expect(r'> ')
    t.send('\x04')
    assert t.wait() == 0


def test_a_terminal_that_is_gone_leaves_no_lock(daemon):
    import signal
    for end in (signal.SIGHUP, signal.SIGTERM):
        t = Terminal(daemon)
        t.expect(r'> ')
        t.run('configure exclusive')
        status, _, err = daemon.script('configure', 'set toys box locked')
        assert status == 1 and 'locked by root' in err
        os.kill(t.pid, end)
        assert t.wait() == 128 + end
        assert daemon.script('configure exclusive', 'exit')[0] == 0


def test_refresh(term):
    term.line('show configuration toys box b07 | refresh 1')
    term.expect(r'size 8;')
    term.expect(r'---\(20\S+Z\)---')
    term.expect(r'size 8;')
    term.send('\x03')
    term.expect(r'> ')
    assert 'Session' in term.run('show cli')


def test_monitor_log(term, daemon):
    term.line('monitor log')
    term.expect('Ctrl-C ends this')
    assert daemon.script('configure', 'set toys box logged size 3', 'commit confirmed 1s')[0] == 0
    term.expect(r'was taken back')
    term.send('\x03')
    term.expect(r'> ')


def test_prompt_has_the_host_name(daemon):
    machine = os.uname().nodename.split('.')[0]
    t = Terminal(daemon)
    t.expect(r'root@%s> ' % re.escape(machine))
    t.run('configure')
    t.run('set system settings location "rack 7"')  # some other setting: the name stays
    t.run('commit')
    t.line('set system settings hostname core-1.example')
    t.expect(r'root@%s# ' % re.escape(machine))
    t.line('commit and-quit')
    t.expect(r'root@core-1\.example> ')
    t.run('configure')
    t.run('delete system settings')
    t.line('commit and-quit')
    t.expect(r'root@%s> ' % re.escape(machine))
    t.line('quit')
    assert t.wait() == 0


def test_wide_deletes_and_rails_ask(term, daemon):
    assert daemon.script('configure', 'set system settings guard-rails delete-objects 5', 'commit')[0] == 0
    term.run('configure private')
    term.line('delete toys box')
    term.expect(re.escape('Delete 40 objects under toys box? [yes,no] (no) '))
    term.line('yes')
    term.expect(r'# ')
    term.line('commit')
    text = clean(term.expect(re.escape('Commit all the same? [yes,no] (no) ')))
    assert 'this would delete 40 objects' in text
    term.line('')
    assert 'nothing was changed' in clean(term.expect(r'# '))
    assert daemon.script('configure', 'delete system settings', 'commit')[0] == 0


def test_confirmation_in_one_shot_use(daemon):
    t = Terminal(daemon, 'request', 'system', 'token', 'revoke', 'no-such-token')
    t.expect(re.escape('End token no-such-token? Programs that use it are locked out. [yes,no] (no) '))
    t.line('no')
    assert t.wait() == 0
    assert 'nothing was done' in t.seen
    t = Terminal(daemon, '--yes', 'request', 'system', 'token', 'revoke', 'no-such-token')
    assert t.wait() == 1
    assert 'no-such-token' in t.seen and 'nothing was done' not in t.seen
    # nobody is there to ask
    status, _, err = daemon.weft('request', 'system', 'token', 'revoke', 'no-such-token')
    assert status == 1 and '[yes,no]' not in err


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


def test_window_changes_while_typing(daemon):
    """Sizes change again and again between and within keys: the line stays what was typed."""
    import fcntl
    import signal
    import struct
    import termios
    t = Terminal(daemon, rows=50, columns=120)
    t.expect(r'> ')
    for i in range(60):
        fcntl.ioctl(t.fd, termios.TIOCSWINSZ, struct.pack('HHHH', 20 + i % 7, 40 + i % 50, 0, 0))
        os.kill(t.pid, signal.SIGWINCH)
        os.write(t.fd, b'show configuration toys box b07 \xc3\xa4\x08\x7f'[i % 34:i % 34 + 1])
        if i % 5 == 0:
            t._read(0.01)
    t.send('\x03')
    t.expect(r'\^C')
    os.kill(t.pid, signal.SIGSTOP)
    os.kill(t.pid, signal.SIGCONT)
    assert 'size 8' in t.run('show configuration toys box b07')
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
    assert 'the daemon is not running' in t.seen and 'trying to connect again' in t.seen
    d.start()
    d.close()


def test_daemon_is_restarted(daemon):
    """The terminal goes on in a new session, in the same mode, and says what is gone."""
    d = Daemon()
    assert d.script('configure', 'set toys box a size 1', 'commit')[0] == 0
    private, plain = Terminal(d), Terminal(d)
    for t in (private, plain):
        t.expect(r'> ')
    private.run('configure private')
    private.run('edit toys box a')
    private.run('set size 2')
    assert d.stop() == 0
    d.start()
    text = private.run('show')
    assert 'the daemon was restarted' in text and 'connected again' in text
    assert 'not committed are gone' in text and text.rstrip().endswith('#')
    assert 'size 1' in private.run('show')
    text = private.run('status')
    assert 'private candidate, this one' in text
    # somebody who only looks loses nothing; here the daemon comes back while it is tried
    assert d.stop() == 0
    plain.line('show version')
    plain.expect('trying to connect again')
    d.start()
    text = plain.expect(r'\S+> ')
    assert 'connected again' in text and 'not committed' not in text
    assert 'Weft' in plain.run('show version')
    # a session that was ended is ended
    number = re.search(r'Session\s+: (\d+)', plain.run('show cli')).group(1)
    assert d.weft('request system logout ' + number)[0] == 0
    plain.line('show version')
    plain.wait()
    assert 'connected again' not in plain.seen
    private.run('show')  # in one more session, for it was not asked since
    private.run('exit configuration-mode')
    private.line('quit')
    assert private.wait() == 0
    d.close()


def test_a_script_does_not_go_on_in_another_session(daemon):
    d = Daemon()
    import subprocess
    from cli_daemon import WEFT
    p = subprocess.Popen([WEFT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True, env=d.env())
    p.stdin.write('show cli\nconfigure\nset toys box a size 1\n')
    p.stdin.flush()
    while 'Session' not in p.stdout.readline():
        pass
    time.sleep(1)
    d.stop()
    d.start()
    _, err = p.communicate('commit\n', timeout=120)
    assert p.returncode == 3 and 'the daemon was restarted' in err
    d.close()
