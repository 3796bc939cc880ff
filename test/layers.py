#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The layers of docs/architecture.md, as a check of every #include.

  layers.py ROOT          prints what breaks the rules, status 1 if anything does
  layers.py ROOT STAMP DEPFILE   the same as a step of the build: STAMP is made when nothing does,
                          DEPFILE names what was read, folders included, so that ninja asks again
  layers.py --self-test   breaks each rule in a scratch tree and expects to be told

Rules: a folder includes only itself and what is below it; never sideways between services or
between dialects; libyang's headers in src/model only; src/base nothing but the C library; no
strcpy, strcat, sprintf, system; each file begins with its licence; each folder of sources has a
README.md that says what it owns.
"""
import os
import re
import subprocess
import sys
import tempfile

SERVICES = ('admin', 'forward', 'pools', 'onboard', 'network', 'fabric', 'vnfm')
LOW = {'base', 'model', 'log', 'net'}
SZTP = {'sztp'}  # wire formats that a service, an agent and the terminal share
CORE = LOW | {'core'}
AGENT = LOW | {'proto'} | SZTP
EVERYWHERE = None  # may include anything


def may_know(unit):
    """The units that `unit` may include besides itself; EVERYWHERE: all of them."""
    if unit == 'base':
        return set()
    if unit in ('model', 'log', 'net'):
        return {'base'}
    if unit == 'etcd':
        return {'base', 'log', 'net', 'proto'}
    if unit == 'core':
        return set(LOW)
    if unit.startswith('north/'):
        return set(CORE) | {'north'}  # `north` itself: what dialects share
    if unit == 'north':
        return set(CORE)
    if unit == 'sztp':
        return {'base', 'net'}
    if unit in SERVICES:
        return CORE | {'proto'} | SZTP
    if unit.startswith('agents/'):
        return set(AGENT)
    if unit == 'cli':
        return {'base', 'net'} | SZTP
    if unit in ('weftd', 'bench', 'fuzz', 'test'):
        return EVERYWHERE
    return set()


def unit_of(path):
    """'src/north/cli/x.c' -> 'north/cli'; 'agents/bng/x.c' -> 'agents/bng'; 'src/base/x.h' -> 'base';
    None: not one of the parts of the program."""
    parts = path.split('/')
    if parts[0] == 'src' and len(parts) > 2:
        if parts[1] == 'north':
            return 'north/' + parts[2] if len(parts) > 3 else 'north'
        return parts[1]
    if parts[0] == 'agents' and len(parts) > 2:
        return 'agents/' + parts[1]
    if parts[0] in ('cli', 'bench', 'fuzz', 'test', 'proto', 'drivers', 'lab'):
        return parts[0]
    return None


def target_of(root, path, name):
    """The unit that the header of `#include "name"` in `path` belongs to; None: not known."""
    for base in (os.path.dirname(path), 'src', 'agents', '.'):
        there = os.path.normpath(os.path.join(base, name))
        if os.path.isfile(os.path.join(root, there)):
            return unit_of(there)
    if name.endswith('.pb-c.h'):  # generated from proto/
        return 'proto'
    if '/' not in name:  # generated beside the file
        return unit_of(path)
    first = name.split('/')[0]
    if os.path.isdir(os.path.join(root, 'src', first)):  # generated in that folder
        return unit_of('src/' + name)
    if os.path.isdir(os.path.join(root, 'agents', first)):
        return unit_of('agents/' + name)
    return None


TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def without(text, strings):
    """The text with comments, and with `strings` literals too, blanked out; lines stay."""
    def blank(m):
        s = m.group(0)
        if s[0] == '/' or strings:
            return re.sub(r'[^\n]', ' ', s)
        return s
    return TOKEN.sub(blank, text)


INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>|(\S+))', re.M)
BANNED = re.compile(r'(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|system)\s*\(')
LIBRARY = re.compile(r'^(event2?|openssl|libyang|nghttp2|jansson|sqlite3|curl|libssh|expat|libnetconf2'
                     r'|protobuf-c|google|ldns|libmnl|bpf|linux/bpf|crypt|cmocka|zlib|uv)[./]')


def faults_in(root, path):
    with open(os.path.join(root, path), encoding='utf-8') as f:
        text = f.read()
    unit = unit_of(path)
    code = without(text, strings=False)

    def at(pos):
        return '%s:%d' % (path, code.count('\n', 0, pos) + 1)

    if not text.startswith('// SPDX-License-Identifier: Apache-2.0\n'):
        yield '%s:1: the first line is not the licence identifier' % path
    for m in BANNED.finditer(without(text, strings=True)):
        yield '%s: %s() is banned' % (at(m.start()), m.group(1))
    if unit is None:
        yield '%s:1: lies in no folder that docs/architecture.md knows' % path
        return
    known = may_know(unit)
    for m in INCLUDE.finditer(code):
        ours, system, macro = m.groups()
        if macro:
            yield '%s: an include must name its file' % at(m.start())
        elif system:
            if system.startswith('libyang/') and unit not in ('model', 'test', 'bench', 'fuzz'):
                yield '%s: <%s>: libyang stays in src/model' % (at(m.start()), system)
            if unit == 'base' and LIBRARY.match(system) and not (
                    system == 'cmocka.h' and path.endswith('_test.c')):
                yield '%s: <%s>: src/base knows the C library only' % (at(m.start()), system)
        else:
            to = target_of(root, path, ours)
            if to is None:
                yield '%s: "%s" is nowhere to be found' % (at(m.start()), ours)
            elif '..' in ours.split('/'):
                yield '%s: "%s": includes are written from src/' % (at(m.start()), ours)
            elif to != unit and known is not EVERYWHERE and to not in known:
                yield '%s: "%s": %s may not know %s' % (at(m.start()), ours, unit, to)


def sources(root):
    for top in ('src', 'agents', 'cli', 'bench', 'fuzz', 'test', 'drivers', 'lab', 'proto'):
        for folder, dirs, files in os.walk(os.path.join(root, top)):
            dirs[:] = sorted(d for d in dirs if not d.startswith(('.', 'build')))
            for name in sorted(files):
                if name.endswith(('.c', '.h')):
                    yield os.path.relpath(os.path.join(folder, name), root)


def undescribed(root):
    for folder in sorted({os.path.dirname(path) for path in sources(root)}):
        if not os.path.isfile(os.path.join(root, folder, 'README.md')):
            yield '%s: has no README.md' % folder


def faults(root):
    return [fault for path in sources(root) for fault in faults_in(root, path)] + list(undescribed(root))


def stamp(root, path, depfile):
    """As a step of the build. A new file changes its folder, so folders are read things too."""
    read = [os.path.join(root, p) for p in sources(root)]
    folders = {os.path.dirname(p) for p in read}
    for top in list(folders):
        while len(top) > len(root):
            folders.add(top)
            top = os.path.dirname(top)
    with open(depfile, 'w', encoding='utf-8') as f:
        f.write('%s: %s\n' % (path, ' '.join(p.replace(' ', '\\ ') for p in sorted(folders) + read)))
    with open(path, 'w', encoding='utf-8'):
        pass


# ---- the check of the check ----

HEADERS = ['src/base/b.h', 'src/model/m.h', 'src/log/l.h', 'src/net/n.h', 'src/core/c.h',
           'src/north/restconf/r.h', 'src/north/cli/k.h', 'src/north/shared.h', 'src/pools/p.h',
           'src/sztp/z.h', 'src/network/w.h', 'src/weftd/d.h', 'agents/bng/g.h', 'agents/vrouter/v.h', 'cli/t.h']

ALLOWED = [
    ('src/base/x.c', '#include "base/b.h"\n#include <string.h>\n#include <sys/random.h>'),
    ('src/base/x_test.c', '#include <cmocka.h>'),
    ('src/model/x.c', '#include <libyang/libyang.h>\n#include "base/b.h"\n#include "model/made.h"'),
    ('src/core/x.c', '#include "base/b.h"\n#include "model/m.h"\n#include "log/l.h"\n#include "net/n.h"'),
    ('src/north/restconf/x.c', '#include "core/c.h"\n#include "north/restconf/r.h"\n#include "net/n.h"'),
    ('src/north/restconf/x.c', '#include "north/shared.h"'),
    ('src/pools/x.c', '#include "core/c.h"\n#include "openapmi.pb-c.h"'),
    ('src/weftd/x.c', '#include "pools/p.h"\n#include "north/cli/k.h"\n#include "core/c.h"'),
    ('agents/bng/x.c', '#include "bng/g.h"\n#include "log/l.h"\n#include "net/n.h"\n'
                       '#include "openapmi.pb-c.h"'),
    ('cli/x.c', '#include "base/b.h"\n#include "net/n.h"\n#include "t.h"\n#include "sztp/z.h"'),
    ('src/sztp/x.c', '#include "base/b.h"\n#include "net/n.h"'),
    ('bench/x.c', '#include "core/c.h"\n#include "pools/p.h"'),
    ('src/core/x.c', '// #include "pools/p.h"\n/*\n#include "pools/p.h"\n*/'),
    ('src/core/x.c', 'char *s = "system(1) strcpy(a, b)"; /* sprintf( */ int fs_system(int); x.system(1);'),
]

FORBIDDEN = [
    ('src/base/x.c', '#include "model/m.h"', 'base may not know model'),
    ('src/base/x.c', '#include <jansson.h>', 'C library only'),
    ('src/base/x.h', '#include <cmocka.h>', 'C library only'),
    ('src/base/x.c', '#include "core/c.h"', 'base may not know core'),
    ('src/model/x.c', '#include "log/l.h"', 'model may not know log'),
    ('src/log/x.c', '#include "net/n.h"', 'log may not know net'),
    ('src/net/x.c', '#include "core/c.h"', 'net may not know core'),
    ('src/net/x.c', '#include "openapmi.pb-c.h"', 'net may not know proto'),
    ('src/core/x.c', '#include "pools/p.h"', 'core may not know pools'),
    ('src/core/x.c', '#include "sztp/z.h"', 'core may not know sztp'),
    ('src/sztp/x.c', '#include "core/c.h"', 'sztp may not know core'),
    ('src/core/x.c', '#  include\t"north/cli/k.h"', 'core may not know north/cli'),
    ('src/core/x.c', '#include <libyang/libyang.h>', 'libyang stays'),
    ('src/core/x.c', 'int a; /* c */ // d\n\n#include "../pools/p.h"', 'x.c:4:'),
    ('src/north/restconf/x.c', '#include "north/cli/k.h"', 'north/restconf may not know north/cli'),
    ('src/north/restconf/x.c', '#include "pools/p.h"', 'north/restconf may not know pools'),
    ('src/north/shared.c', '#include "north/cli/k.h"', 'north may not know north/cli'),
    ('src/pools/x.c', '#include "network/w.h"', 'pools may not know network'),
    ('src/pools/x.c', '#include "north/cli/k.h"', 'pools may not know north/cli'),
    ('src/pools/x.c', '#include "weftd/d.h"', 'pools may not know weftd'),
    ('agents/bng/x.c', '#include "core/c.h"', 'agents/bng may not know core'),
    ('agents/bng/x.c', '#include "vrouter/v.h"', 'agents/bng may not know agents/vrouter'),
    ('cli/x.c', '#include "core/c.h"', 'cli may not know core'),
    ('src/core/x.c', '#include "core/../pools/p.h"', 'written from src/'),
    ('src/core/x.c', '#include "nowhere/x.h"', 'nowhere to be found'),
    ('src/core/x.c', '#include HEADER', 'must name its file'),
    ('src/strange/x.c', '#include "base/b.h"', 'strange may not know base'),
    ('src/core/x.c', 'void f(void) { system("ls"); }', 'system() is banned'),
    ('src/core/x.c', 'void f(char *a) { strcpy (a, "b"); }', 'strcpy() is banned'),
    ('src/core/x.c', 'void f(char *a) { strcat(a, "//"); }', 'strcat() is banned'),
    ('src/core/x.c', "char c = '\"'; void f(char *a) { sprintf(a, \"b\"); }", 'sprintf() is banned'),
    ('src/core/x.c', None, 'licence'),
]


def told(path, text, bare=False):
    with tempfile.TemporaryDirectory() as root:
        def put(name, body):
            full = os.path.join(root, name)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, 'w', encoding='utf-8') as f:
                f.write(body)
        licence = '// SPDX-License-Identifier: Apache-2.0\n'
        for name in HEADERS:
            put(name, licence)
        put(path, licence + text + '\n' if text is not None else 'int a;\n')
        for folder in {os.path.dirname(p) for p in sources(root)} - ({os.path.dirname(path)} if bare else set()):
            put(folder + '/README.md', '# What it owns\n')
        return faults(root)


def step_of_the_build():
    """What the build does: fails, and leaves no stamp, when one include points upwards."""
    with tempfile.TemporaryDirectory() as root:
        def put(name, body):
            full = os.path.join(root, name)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, 'w', encoding='utf-8') as f:
                f.write('// SPDX-License-Identifier: Apache-2.0\n' + body)
        made, deps = os.path.join(root, 'stamp'), os.path.join(root, 'deps')
        argv = [sys.executable, os.path.abspath(__file__), root, made, deps]
        for folder in ('src/core', 'src/base'):
            put(folder + '/README.md', '')
        put('src/core/c.h', '')
        put('src/base/b.c', '#include <string.h>\n')
        good = subprocess.run(argv, capture_output=True, check=False).returncode == 0 and \
            os.path.exists(made) and os.path.join(root, 'src/base') in open(deps, encoding='utf-8').read()
        os.unlink(made)
        put('src/base/b.c', '#include "core/c.h"\n')
        return good and subprocess.run(argv, capture_output=True, check=False).returncode == 1 and \
            not os.path.exists(made)


def self_test():
    wrong = 0 if step_of_the_build() else 1
    if told('src/pools/more/x.c', '', bare=True) != ['src/pools/more: has no README.md']:
        print('a folder without README.md was not found')
        wrong += 1
    for path, text in ALLOWED:
        found = told(path, text)
        if found:
            print('refused what is allowed:\n  ' + '\n  '.join(found))
            wrong += 1
    for path, text, want in FORBIDDEN:
        found = told(path, text)
        if len(found) < 1 or want not in ' '.join(found):
            print('%s with %r: expected "%s", found %r' % (path, text, want, found))
            wrong += 1
    print('%d allowed and %d forbidden cases, %d wrong' % (len(ALLOWED), len(FORBIDDEN), wrong))
    return wrong


if __name__ == '__main__':
    if sys.argv[1:] == ['--self-test']:
        sys.exit(1 if self_test() else 0)
    found = faults(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(
        os.path.abspath(__file__))))
    if not found and len(sys.argv) > 3:
        stamp(sys.argv[1], sys.argv[2], sys.argv[3])
    else:
        print('\n'.join(found) if found else 'every include keeps to its layer')
    sys.exit(1 if found else 0)
