# SPDX-License-Identifier: Apache-2.0
"""docs/cli.md says what the program says, and its examples work; bash completes through the daemon."""
import os
import re
import subprocess
import sys

import pytest

from cli_daemon import BUILD, ROOT, WEFT, Daemon


@pytest.fixture(scope='module')
def daemon():
    d = Daemon()
    yield d
    d.close()


def test_generated_parts_are_up_to_date():
    r = subprocess.run([sys.executable, os.path.join(ROOT, 'docs', 'cli.py'), BUILD, '--check'],
                       capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr


def test_examples(daemon):
    with open(os.path.join(ROOT, 'docs', 'cli.in.md')) as f:
        blocks = re.findall(r'```weft\n(.*?)```', f.read(), re.S)
    assert len(blocks) >= 3
    for block in blocks:
        status, _, err = daemon.weft(stdin=block)
        assert status == 0, err


def test_manual_page_is_well_formed():
    r = subprocess.run(['man', '--warnings', '-E', 'UTF-8', '-l', '-Tutf8', '-Z', os.path.join(ROOT, 'docs', 'weft.1')],
                       capture_output=True, text=True)
    assert r.returncode == 0 and r.stderr == '', r.stderr


@pytest.mark.parametrize('typed,want', [
    ('weft sho', ['show']),
    ('weft show conf', ['configuration']),
    ('weft show configuration to', ['toys']),
    ('weft --js', ['--json']),
    ('weft -j show ver', ['version']),
    ('weft --ye', ['--yes']),
    ('weft show configuration \\| save /etc/host.con', ['/etc/host.conf']),
    ('weft show configuration \\| mat', ['match']),
    ('weft voucher re', ['renew']),
    ('weft voucher issue --ass', ['--assertion']),
    ('weft voucher issue --assertion pro', ['proximity']),
    ('weft voucher show /etc/host.con', ['/etc/host.conf']),
])
def test_bash_completion(daemon, typed, want):
    script = '''
source %s/cli/weft.bash-completion
COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _weft; printf '%%s\\n' "${COMPREPLY[@]}"
''' % (ROOT, typed)
    env = daemon.env(PATH=os.path.dirname(WEFT) + ':' + os.environ['PATH'])
    r = subprocess.run(['bash', '-c', script], capture_output=True, text=True, env=env)
    assert r.stdout.split() == want, r.stderr
