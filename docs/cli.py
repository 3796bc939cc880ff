#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/cli.md and docs/weft.1 from docs/cli.in.md, the program's usage and the grammar's own tables.

  docs/cli.py BUILD           writes them
  docs/cli.py BUILD --check   status 1 when they are not what would be written
"""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def read(name):
    with open(os.path.join(HERE, name), encoding='utf-8') as f:
        return f.read()


def output(*command):
    env = dict(os.environ, ASAN_OPTIONS='detect_leaks=0')
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout


def markdown(build):
    usage = output(os.path.join(build, 'cli', 'weft'), '--help')
    voucher = output(os.path.join(build, 'cli', 'weft'), 'voucher', '--help')
    commands = output(os.path.join(build, 'src', 'north', 'cli', 'cli-reference'))
    text = read('cli.in.md').replace('@usage@', '```\n' + usage.rstrip() + '\n```')
    text = text.replace('@voucher@', '```\n' + voucher.rstrip() + '\n```')
    text = text.replace('@commands@', commands.rstrip())
    return text.replace('```weft\n', '```\n').rstrip() + '\n'


def roff_text(s):
    s = s.replace('\\', '\\e').replace('-', '\\-')
    s = re.sub(r'`([^`]*)`', r'\\fB\1\\fP', s)
    s = re.sub(r'\*\*([^*]*)\*\*', r'\\fB\1\\fP', s)
    return "\\&" + s if s.startswith(('.', "'")) else s


def roff(text):
    out = ['.TH WEFT 1 "" "Weft" "Weft"', '.SH NAME', 'weft \\- the command line of Weft',
           '.SH SYNOPSIS', '.B weft\n.RI [ option ]...\n.RI [ command ]...', '.SH DESCRIPTION']
    code = False
    for line in text.split('\n')[1:]:
        if line.startswith('```'):
            code = not code
            out.append('.PP\n.nf\n.RS 4' if code else '.RE\n.fi\n.PP')
        elif code:
            out.append(("\\&" if line.startswith(('.', "'")) else '') + line.replace('\\', '\\e').replace('-', '\\-'))
        elif line.startswith('### '):
            out.append('.SS ' + line[4:])
        elif line.startswith('## '):
            out.append('.SH ' + line[3:].upper())
        elif line.startswith('- '):
            first = line[2:]
            out.append('.TP\n' + roff_text(first) if first.startswith('`') else '.IP \\(bu 2\n' + roff_text(first))
        elif re.match(r'\|[ -|]*\|$', line) and set(line) <= set('| -'):
            continue
        elif line.startswith('|'):
            cells = [c.strip() for c in line.strip('|').split(' | ')]
            out.append('.TP\n%s\n%s' % (roff_text(cells[0].strip()), roff_text(' '.join(cells[1:]).strip())))
        elif line.strip() == '':
            out.append('.PP')
        else:
            out.append(roff_text(line.strip()))
    out.append('.SH SEE ALSO\n.BR weftd (8),\n.BR weft\\-bng (8);\na page for each command, such as\n'
               '.BR weft\\-show\\-apm\\-entity (1),\nand for each kind of object, such as\n'
               '.BR weft\\-apm\\-partition (5)')
    return re.sub(r'(\.PP\n)+(?=\.(SH|SS|TP|IP|PP|TH))', '', '\n'.join(out)).rstrip() + '\n'


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    text = markdown(sys.argv[1])
    wrong = 0
    for name, want in (('cli.md', text), ('weft.1', roff(text))):
        path = os.path.join(HERE, name)
        if '--check' in sys.argv:
            if not os.path.exists(path) or read(name) != want:
                print('docs/%s is not what docs/cli.py writes: run it' % name)
                wrong = 1
        else:
            with open(path, 'w', encoding='utf-8') as f:
                f.write(want)
    sys.exit(wrong)


if __name__ == '__main__':
    main()
