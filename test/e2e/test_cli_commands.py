# SPDX-License-Identifier: Apache-2.0
"""weft in scripts and single commands: statuses, commits, conflicts, what is wrong and how it is said."""
import json
import os
import re
import subprocess
import threading
import time

import pytest

from cli_daemon import WEFTD, WEFT, Daemon, Terminal

APM = ['set apm inet-pool partition west min-prefix-len 20 max-prefix-len 26',
       'set apm inet-pool partition west prefix 10.1.0.0/20',
       'set apm pool-domain-profile gold apportion-threshold 100 reclaim-threshold 400',
       'set apm entity-match bng-1 pool-domain-profile gold']


@pytest.fixture(scope='module')
def daemon():
    d = Daemon()
    yield d
    d.close()


@pytest.fixture(autouse=True)
def empty(daemon):
    yield
    _, _, err = daemon.script('configure', 'rollback', 'delete toys', 'delete apm', 'delete system token',
                              'commit force', args=('-k',))
    _, out, _ = daemon.weft('show', 'configuration', '|', 'display', 'set')
    assert not re.search('^set (toys|apm)', out, re.M), err


def ok(result):
    status, out, err = result
    assert status == 0, err
    return out


# proves: APM-160
def test_from_set_to_commit(daemon):
    ok(daemon.script('configure', *APM, 'commit check', 'commit comment "first pool"'))
    out = ok(daemon.weft('show configuration apm | display set'))
    assert out.splitlines()[0].startswith('set apm inet-pool partition west')
    assert 'first pool' in ok(daemon.weft('show', 'system', 'commit'))
    assert 'partition west {' in ok(daemon.weft('show', 'configuration'))
    data = json.loads(ok(daemon.weft('--json', 'show', 'configuration', 'apm')))
    assert 'weft-apm' in next(iter(data))
    assert '<partition>' in ok(daemon.weft('show configuration | display xml'))


def test_a_script_that_ends_with_edits_says_what_becomes_of_them(daemon):
    status, _, err = daemon.script('configure private', 'set toys box lost size 1')
    assert status == 0 and 'The edits were not committed and are lost' in err
    status, _, err = daemon.weft('-c', 'configure', '-c', 'set toys box kept size 1')
    assert status == 0 and 'they stay in the shared candidate' in err
    _, out, _ = daemon.script('configure', 'show | compare', 'rollback')
    assert 'kept' in out and 'lost' not in out
    status, _, err = daemon.script('configure private', 'set toys box c size 1', 'commit')
    assert status == 0 and 'edits' not in err


def test_a_controller_alone(daemon):
    assert ok(daemon.weft('show system cluster')) == 'The store belongs to this controller alone.\n'
    status, _, err = daemon.weft('request system cluster switch')
    assert status == 1 and 'belongs to this controller alone' in err


def test_json_is_for_what_has_data(daemon):
    out = ok(daemon.weft('--json', '-c', 'configure private', '-c', 'set toys box j size 1',
                         '-c', 'show | compare', '-c', 'commit', '-c', 'exit', '-c', 'show configuration toys'))
    data = json.loads(out[out.index('{\n  "weft-toy'):])
    assert data['weft-toy:toys']['box'] == [{'name': 'j', 'size': '1'}]
    assert json.loads(ok(daemon.weft('--json', stdin='show configuration toys\n'))) == data
    assert ok(daemon.weft('--json', 'show configuration toys | display set')) == 'set toys box j size 1\n'


# proves: APM-160
def test_rollback(daemon):
    ok(daemon.script('configure', 'set toys box a size 1', 'commit'))
    ok(daemon.script('configure', 'set toys box a size 2', 'commit comment mistake'))
    out = ok(daemon.script('configure', 'rollback 1', 'show | compare', 'commit'))
    assert '-' in out and '+' in out
    assert ok(daemon.weft('show configuration toys | display set')) == 'set toys box a size 1\n'


def test_an_earlier_configuration_as_a_whole(daemon):
    ok(daemon.script('configure', 'set toys box a size 1', 'commit'))
    ok(daemon.script('configure', 'set toys box a size 2', 'commit'))
    assert 'set toys box a size 1\n' in ok(daemon.weft('show system rollback 1 | display set'))
    assert 'set toys box a size 2\n' in ok(daemon.weft('show system rollback 0 | display set'))
    assert json.loads(ok(daemon.weft('--json', 'show system rollback 1')))['weft-toy:toys']['box'][0]['size'] == '1'


def test_load_set_is_from_the_top_unless_relative(daemon):
    ok(daemon.script('configure', *APM, 'commit'))
    out = ok(daemon.script('configure private', 'edit apm', 'load set terminal', 'set toys box t size 3',
                           'delete apm entity-match bng-1', 'EOF', 'top', 'show | compare | display set'))
    assert 'set toys box t size 3\n' in out and 'delete apm entity-match bng-1\n' in out
    out = ok(daemon.script('configure private', 'edit apm', 'load set terminal relative',
                           'delete entity-match bng-1', 'EOF', 'top', 'show | compare | display set'))
    assert out.endswith('delete apm entity-match bng-1\n')


def test_commit_confirmed_is_taken_back(daemon):
    ok(daemon.script('configure', 'set toys box a size 1', 'commit'))
    ok(daemon.script('configure', 'set toys box a size 2', 'commit confirmed 10s'))
    assert 'size 2' in ok(daemon.weft('show configuration toys | display set'))
    end = time.time() + 120
    while 'size 2' in ok(daemon.weft('show configuration toys | display set')):
        assert time.time() < end
        time.sleep(0.2)
    ok(daemon.script('configure', 'set toys box a size 3', 'commit confirmed 10s', 'commit'))
    time.sleep(11)
    assert 'size 3' in ok(daemon.weft('show configuration toys | display set'))


def test_delete_alone_in_a_script_is_refused(daemon):
    ok(daemon.script('configure', 'set toys box a size 1', 'commit'))
    status, _, err = daemon.script('configure', 'delete', 'commit')
    assert status == 1 and 'delete all' in err and 'line 2' in err
    assert daemon.weft('-c', 'configure', '-c', 'delete', '-c', 'commit')[0] == 1
    assert 'size 1' in ok(daemon.weft('show configuration toys | display set'))
    ok(daemon.script('configure', 'edit toys', 'delete all', 'commit'))
    assert ok(daemon.weft('show configuration toys | display set')) == ''


def test_private_conflict_is_named(daemon):
    t = Terminal(daemon)
    t.expect(r'> ')
    t.run('configure private')
    t.run('set toys box shared size 5')
    ok(daemon.script('configure private', 'set toys box shared size 6', 'commit'))
    text = t.run('commit')
    assert 'toys box shared' in text and 'changed by somebody else' in text
    assert 'size 6' in ok(daemon.weft('show configuration toys | display set'))
    t.run('update')
    assert 'complete' in t.run('commit and-quit')
    assert 'size 5' in ok(daemon.weft('show configuration toys | display set'))
    t.line('quit')
    assert t.wait() == 0


def test_load_and_save(daemon, tmp_path):
    ok(daemon.script('configure', *APM, 'set toys box "a" size 5', 'commit'))
    for how in ('text', 'set', 'json', 'xml'):
        f = tmp_path / ('conf.' + how)
        status, out, err = daemon.weft('show configuration apm | display %s | save %s' % (how, f))
        assert status == 0 and out == '' and 'Wrote' in err, err
        whole = tmp_path / ('whole.' + how)
        ok(daemon.weft('show configuration | display %s | save %s' % (how, whole)))
        # secrets are masked in what was saved: they stay as they are, or the load says so
        # text shows a level without the words that lead to it
        level = ['edit apm', 'load merge %s relative' % f] if how == 'text' else ['load merge %s' % f]
        ok(daemon.script('configure', *level, 'commit'))
        assert ok(daemon.script('configure', 'show | compare')) == ''
    f = tmp_path / 'new.conf'
    f.write_text('toys { box only { size 9; } }')
    status, _, err = daemon.script('configure', 'load override %s' % f, 'show | compare', 'rollback')
    assert status == 0, err
    status, out, err = daemon.script('configure', 'load merge %s' % (tmp_path / 'nowhere'))
    assert status == 1 and 'No such file' in err
    # the daemon can't make the terminal read or write what the user did not name
    status, _, err = daemon.weft('show version | save /nonexistent/x')
    assert status == 1 and 'No such file' in err


def test_a_quote_over_several_lines(daemon, tmp_path):
    """In scripts, in one command, in files in either form; the number of a line is that where it begins."""
    wanted = 'set onboard configuration several text "one\\ntwo # \\"2\\"\\n"\n'

    def shown(*lines):
        return ok(daemon.script('configure private', *lines, 'show onboard configuration several | display set', 'rollback'))
    assert wanted in shown('set onboard configuration several text "one', 'two # \\"2\\"', '"')
    assert wanted in shown("set onboard configuration several text 'one", 'two # "2"', "'")
    out = ok(daemon.weft('-c', 'configure private', '-c', 'set onboard configuration several text "one\ntwo # \\"2\\"\n"',
                         '-c', 'show onboard configuration several | display set', '-c', 'rollback'))
    assert wanted in out
    (tmp_path / 'set').write_text('# don\'t\nset onboard configuration several text "one\ntwo # \\"2\\"\n"\n')
    (tmp_path / 'curly').write_text('onboard {\n configuration several {\n text \'one\r\ntwo # "2"\n\';\n }\n}\n')
    for form in ('set', 'curly'):
        assert shown('load merge %s' % (tmp_path / form)).count(wanted) == 1
    status, _, err = daemon.script('configure private', 'set onboard configuration x text "one', 'two', 'three" nonsense')
    assert status == 2 and 'line 2: at nonsense' in err and 'two' not in err, err
    status, _, err = daemon.script('configure private', 'set toys box x size 1', "set toys box 'x", 'y', 'rollback')
    assert status == 2 and "line 3:" in err and "the quote ' is never closed" in err, err
    (tmp_path / 'bad').write_text('set toys box a\nset onboard configuration x text "one\ntwo"\nset nonsense\n')
    status, _, err = daemon.script('configure private', 'load merge %s' % (tmp_path / 'bad'))
    assert status == 1 and 'line 4: ' in err, err


@pytest.mark.parametrize('line,status,why', [
    ('shwo version', 2, 'did you mean show'),
    ('show', 2, 'incomplete'),
    ('show version extra', 2, 'nothing may follow'),
    ('show running-config', 2, 'it is called configuration here'),
    ('no apm', 2, 'possible here'),
    ('s', 2, 'ambiguous: show, set'),
    ('request system token create user nobody | refresh', 2, 'possible here'),
    ('show system rollback 50', 2, 'from 0 to 49'),
    ('show system rollback 49', 1, 'no rollback 49'),
    ('show version | nonsense', 2, 'possible here'),
    ('show version | match "["', 2, 'regular expression'),
    ('show version | match (a)\\1', 2, 'back references'),
    ('show version | match ' + 'a' * 300, 2, 'longer than'),
    ('show version | match (a{500}){500}', 2, 'repetitions'),
    ('show "version', 2, 'never closed'),
    ('show apm prefix 10.0.0.1/24', 2, '10.0.0.0/24'),
    ('show apm prefix 10.0.0.256/24', 2, ''),
    ('show apm entity pool-domain x', 2, ''),
    ('show commit 99999999', 1, ''),
    ('show commit minus', 2, ''),
    ('request apm drain', 2, 'incomplete'),
    ('request apm drain entity nobody pool-domain x pool y', 1, 'nobody'),
    ('x' * 70000, 2, 'longer than'),
    (' '.join(['a'] * 5000), 2, 'more than 4096 words'),
    ('show \x07version', 2, 'control character'),
])
def test_bad_commands(daemon, line, status, why):
    got, _, err = daemon.script(line)
    assert got == status and why in err, (got, err)
    assert 'error:' in err


@pytest.mark.parametrize('lines,status,why', [
    (['set apm inet-pool partition a min-prefix-len 140'], 2, '8'),
    (['set apm inet-pool partition a min-prefix-len 40 max-prefix-len 44', 'commit'], 1, 'from 8 to 30 in a partition of IPv4'),
    (['set apm inet-pool partition a min-prefix-len x'], 2, ''),
    (['set apm inet-pool partition a prefix 10.0.0.1/24'], 2, '10.0.0.0/24'),
    (['set apm inet-pool partition "bad name" min-prefix-len 20'], 2, 'A name starts'),
    (['set apm nonsense 1'], 2, 'possible here'),
    (['set apm inet-pool partition a'], 0, ''),
    (['set apm inet-pool partition a min-prefix-len 20', 'commit'], 1, 'max-prefix-len is missing'),
    (['set apm inet-pool partition a min-prefix-len 24 max-prefix-len 20', 'commit'], 1,
     'min-prefix-len is above'),
    (['set apm inet-pool partition a min-prefix-len 20 max-prefix-len 24 prefix 10.0.0.0/16', 'commit'], 1,
     '10.0.0.0/16'),
    (['set apm inet-pool partition a min-prefix-len 20 max-prefix-len 24 prefix 10.0.0.0/20',
      'set apm inet-pool partition b min-prefix-len 20 max-prefix-len 24 prefix 10.0.8.0/24', 'commit'], 1,
     'overlap'),
    (['set apm entity-match e pool-domain-profile nowhere', 'commit'], 1,
     'refers to apm pool-domain-profile nowhere, which does not exist'),
    (['no apm'], 2, 'it is called delete here'),
    (['set apm pool-domain-profile p apportion-threshold 500 reclaim-threshold 100', 'commit'], 1,
     'must be above'),
    (['delete apm inet-pool partition nowhere'], 1, ''),
    (['rollback 49'], 1, 'no rollback 49'),
    (['edit apm inet-pool partition a', 'set min-prefix-len 199'], 2, ''),
    (['insert apm inet-pool partition a prefix 10.0.0.0/24 before 10.1.0.0/24'], 1, ''),
])
# proves: APM-011 APM-017 APM-160
def test_bad_configuration(daemon, lines, status, why):
    before = ok(daemon.weft('show configuration | display set'))
    got, _, err = daemon.script('configure private', *lines)
    assert got == status and why in err, (got, err)
    if status != 0:
        assert 'line %d: ' % (len(lines) + 1) in err
    assert ok(daemon.weft('show configuration | display set')) == before


def test_scripts_stop_or_go_on(daemon):
    lines = ['configure private', 'set toys box a', 'set toys bxo b', 'set toys box c', 'show toys | display set']
    status, out, err = daemon.script(*lines)
    assert status == 2 and out == ''
    assert 'line 3: set toys bxo b\n' in err
    caret = next(line for line in err.splitlines() if line.strip() == '^')
    assert caret.index('^') == len('line 3: set toys ')
    status, out, err = daemon.script(*lines, args=('--keep-going',))
    assert status == 2 and out == 'set toys box a\nset toys box c\n'
    status, out, _ = daemon.script('# a comment', '', 'configure private', 'load merge terminal',
                                   'toys { box x; }', 'EOF', 'show toys | display set')
    assert status == 0 and 'set toys box x\n' in out
    status, _, err = daemon.weft('--json', '-c', 'show nonsense')
    assert status == 2 and json.loads(err)['error']['code'] == 'unknown-element'


def test_words_of_the_shell(daemon):
    ok(daemon.script('configure', 'set toys box a size 7', 'set toys toy "big maker" 5 colour red', 'commit'))
    out = ok(daemon.weft('show', 'configuration', 'toys', 'toy', 'big maker', '5', '|', 'display', 'set'))
    assert out == 'set toys toy "big maker" 5 colour red\n'
    assert ok(daemon.weft('sh', 'conf', 'to', '|', 'disp', 'set', '|', 'cou')) == 'Count: 2 lines\n'
    assert '1' in ok(daemon.weft('show configuration toys | display set | match "big maker|zzz" | count'))
    assert 'configuration\t' in ok(daemon.weft('--complete', 'show conf'))


def test_remote_over_tls(daemon):
    ca = os.path.join(daemon.data, 'pki', 'ca.pem')
    host = 'localhost:%d' % daemon.tls_port
    password = os.path.join(daemon.data, 'admin-password')
    text = open(password).read()
    secret = re.search(r'^\S+$', text, re.M).group(0)
    f = os.path.join(daemon.folder, 'pw')
    with open(f, 'w') as out:
        out.write(secret + '\n')
    base = ('-H', host, '--ca', ca, '-u', 'admin', '--password-file', f)
    out = ok(daemon.weft(*base, 'show', 'cli'))
    assert 'User           : admin' in out
    status, _, err = daemon.weft('-H', host, '-u', 'admin', '--password-file', f, 'show', 'cli')
    assert status == 3 and 'not trusted' in err
    # What is wrong with it is told apart.
    other = ('-u', 'admin', '--password-file', f, 'show', 'cli')
    status, _, err = daemon.weft('-H', host, '--ca', f, *other)
    assert status == 3 and f in err and 'no certificate' in err, err
    stranger = os.path.join(daemon.folder, 'stranger.pem')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                    '-subj', '/CN=x', '-keyout', os.devnull, '-out', stranger], check=True, capture_output=True)
    status, _, err = daemon.weft('-H', host, '--ca', stranger, *other)
    assert status == 3 and 'not from the authority in' in err, err
    status, _, err = daemon.weft('-H', '::1', '--ca', ca, *other)
    assert status == 3 and 'URL' not in err, err
    with open(f, 'w') as out:
        out.write('wrong\n')
    status, _, err = daemon.weft(*base, 'show', 'cli')
    assert status == 4, err
    status, _, err = daemon.weft('-H', host, '--ca', ca, 'show', 'cli')
    assert status == 4, err
    # a token
    out = ok(daemon.weft('--json', 'request system token create user admin'))
    token = json.loads(out)
    token = next(iter(token.values()))['token']
    with open(f, 'w') as out:
        out.write(token + '\n')
    assert 'admin' in ok(daemon.weft('-H', host, '--ca', ca, '--token-file', f, 'show', 'cli'))


def test_remote_with_a_certificate(daemon):
    ok(daemon.script('configure', 'set system user cert role admin', 'commit'))
    files = {}
    for folder, name, extra in (('user', 'cert', ['--user']), ('gateway', 'cert', []), ('other', 'nobody', ['--user'])):
        path = os.path.join(daemon.folder, 'cert-' + folder)
        subprocess.run([WEFTD, 'issue', name, path, '--data', daemon.data, *extra], check=True, capture_output=True)
        files[folder] = ('--cert', path + '/cert.pem', '--key', path + '/key.pem')
    base = ('-H', 'localhost:%d' % daemon.tls_port, '--ca', os.path.join(daemon.data, 'pki', 'ca.pem'))
    assert 'User           : cert\n' in ok(daemon.weft(*base, *files['user'], 'show', 'cli'))
    for folder in ('gateway', 'other'):
        status, out, err = daemon.weft(*base, *files[folder], 'show', 'cli')
        assert status == 4 and out == '', (status, out, err)
    # A key that is not that certificate's, no key at all, nobody to show it to.
    mixed = (*files['user'][:3], files['other'][3])
    status, _, err = daemon.weft(*base, *mixed, 'show', 'cli')
    assert status == 3 and 'no certificate and its key' in err and files['other'][3] in err, err
    status, _, err = daemon.weft(*base, *files['user'][:2], 'show', 'cli')
    assert status == 2 and 'go together' in err, err
    status, _, err = daemon.weft(*files['user'], 'show', 'cli')
    assert status == 2 and '--host' in err, err
    ok(daemon.script('configure', 'set system user cert disabled true', 'commit'))
    status, _, err = daemon.weft(*base, *files['user'], 'show', 'cli')
    assert status == 4, err
    ok(daemon.script('configure', 'delete system user cert', 'commit'))


def test_rights(daemon):
    ok(daemon.script('configure', 'set toys box a lock 12345', 'set system role looker right /weft-toy:toys access read',
                     'set system user lou role looker', 'commit'))
    out = json.loads(ok(daemon.weft('--json', 'request system token create user lou')))
    token = next(iter(out.values()))['token']
    ca = os.path.join(daemon.data, 'pki', 'ca.pem')
    env = daemon.env(WEFT_TOKEN=token)
    base = ('-H', 'localhost:%d' % daemon.tls_port, '--ca', ca)
    status, out, err = daemon.weft(*base, 'show configuration | display set', env=env)
    assert status == 0 and 'toys box a' in out and 'system' not in out and '12345' not in out
    r = daemon.weft(*base, '-c', 'configure private', '-c', 'set toys box b', env=env)
    assert r[0] == 4, r
    r = daemon.weft(*base, 'request system backup x', env=env)
    assert r[0] == 4, r
    ok(daemon.script('configure', 'delete system token', 'delete system user lou', 'delete system role looker',
                     'commit'))


def curl(daemon, method, path, body=None, extra=()):
    cmd = ['curl', '-sS', '--max-time', '20', '--unix-socket', daemon.socket, '-X', method, '-w', '\n%{http_code}',
           *extra, 'http://x/cli/v1/sessions' + path]
    if body is not None:
        cmd += ['--data-binary', '@-']
    r = subprocess.run(cmd, input=body, capture_output=True, text=True, timeout=120)
    text, _, code = r.stdout.rpartition('\n')
    return int(code), text


def test_protocol(daemon):
    code, text = curl(daemon, 'POST', '', '{"interactive":false}')
    assert code == 201
    sid = json.loads(text)['id']
    for body in ('', '{', '[]', '{"line":5}', '{"line":"x","line":"y"}', '{"line":"\\ud800"}', '[' * 100000):
        code, text = curl(daemon, 'POST', '/%s/execute' % sid, body)
        assert code in (400, 413), (body[:20], code, text)
        assert 'error' in text
    code, text = curl(daemon, 'POST', '/%s/execute' % sid, json.dumps({'line': 'show version'}))
    events = [json.loads(l) for l in text.splitlines()]
    assert events[-1]['end']['status'] == 0 and any('text' in e for e in events)
    code, text = curl(daemon, 'POST', '/%s/execute' % sid, json.dumps({'line': 'show \u0000'}))
    assert code in (200, 400)
    assert curl(daemon, 'POST', '/%s/input' % sid, 'x')[0] == 409
    assert curl(daemon, 'POST', '/%s/interrupt' % sid, '')[0] == 204
    assert curl(daemon, 'GET', '/%s' % sid)[0] == 405
    assert curl(daemon, 'POST', '/%s/nothing' % sid, '{}')[0] == 404
    assert curl(daemon, 'POST', '/%s/execute' % ('x' * 32), '{"line":"show version"}')[0] == 404
    assert curl(daemon, 'POST', '/%s/execute' % sid, '{"line":"%s"}' % ('x' * 200000))[0] == 413
    code, text = curl(daemon, 'POST', '/%s/complete' % sid, '{"line":"show conf","cursor":9}')
    assert json.loads(text)['insert'] == 'configuration '
    for cursor in (-1, 10 ** 12, 0, 3):
        code, text = curl(daemon, 'POST', '/%s/complete' % sid, json.dumps({'line': 'show conf', 'cursor': cursor}))
        assert code == 200
    assert curl(daemon, 'DELETE', '/%s' % sid)[0] == 204
    assert curl(daemon, 'DELETE', '/%s' % sid)[0] == 404


def test_one_command_at_a_time_and_a_terminal_that_goes(daemon):
    sid = json.loads(curl(daemon, 'POST', '', '{}')[1])['id']
    p = subprocess.Popen(['curl', '-sSN', '--unix-socket', daemon.socket, '-d', '{"line":"monitor events"}',
                          'http://x/cli/v1/sessions/%s/execute' % sid], stdout=subprocess.PIPE)
    assert b'paging' in p.stdout.readline()
    assert curl(daemon, 'POST', '/%s/execute' % sid, '{"line":"show version"}')[0] == 409
    p.terminate()
    p.wait()
    end = time.time() + 120
    while curl(daemon, 'POST', '/%s/execute' % sid, '{"line":"show version"}')[0] != 200:
        assert time.time() < end
        time.sleep(0.1)
    assert curl(daemon, 'DELETE', '/%s' % sid)[0] == 204


def test_sessions_are_bounded(daemon):
    opened = []
    while True:
        code, text = curl(daemon, 'POST', '', '{}')
        if code != 201:
            break
        opened.append(json.loads(text)['id'])
        assert len(opened) <= 32
    assert code == 503 and 'sessions already' in text
    for sid in opened:
        assert curl(daemon, 'DELETE', '/%s' % sid)[0] == 204
    ok(daemon.weft('show', 'version'))


def test_a_slow_reader_holds_its_command_and_nothing_else(daemon, tmp_path):
    """What is not taken is not made: the command waits, the daemon's memory does not grow with it."""
    toys = [{'maker': 'm' * 40, 'number': i + 1, 'colour': 'dark-blue', 'price': '1.25', 'moods': 'happy loud',
             'gateway': '192.0.2.1', 'net': '192.0.2.0/24'} for i in range(8000)]
    f = tmp_path / 'many.json'
    f.write_text(json.dumps({'weft-toy:toys': {'toy': toys}}))
    ok(daemon.script('configure', 'load merge %s' % f, 'commit'))
    sids = [json.loads(curl(daemon, 'POST', '', '{}')[1])['id'] for _ in range(8)]
    stalled = [subprocess.Popen(['curl', '-sSN', '--limit-rate', '1k', '--unix-socket', daemon.socket, '-d',
                                 '{"line":"show configuration | display xml"}',
                                 'http://x/cli/v1/sessions/%s/execute' % s],
                                stdout=subprocess.DEVNULL) for s in sids]
    time.sleep(3)
    for s in sids:  # each command still runs
        assert curl(daemon, 'POST', '/%s/execute' % s, '{"line":"show version"}')[0] == 409
    ok(daemon.weft('show', 'version'))
    for p in stalled:
        p.terminate()
        p.wait()
    for s in sids:
        end = time.time() + 120
        while curl(daemon, 'POST', '/%s/execute' % s, '{"line":"show version"}')[0] != 200:
            assert time.time() < end
            time.sleep(0.1)
        assert curl(daemon, 'DELETE', '/%s' % s)[0] == 204


def test_interrupting_a_single_command(daemon):
    p = subprocess.Popen([WEFT, 'monitor', 'events'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, env=daemon.env(), text=True)
    assert 'Ctrl-C' in p.stderr.readline()
    ok(daemon.script('configure', 'set toys box seen', 'commit'))
    assert 'weft-system:commit' in p.stdout.readline()
    p.send_signal(2)
    assert p.wait(20) == 130


def test_many_at_once(daemon):
    """Private candidates committed side by side: each object once, nothing lost."""
    results = []

    def work(n):
        results.append(daemon.script('configure private', 'set toys box par%d size %d' % (n, n + 1), 'commit'))
    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(r[0] == 0 for r in results), results
    assert ok(daemon.weft('show configuration toys | display set | match par | count')) == 'Count: 12 lines\n'
