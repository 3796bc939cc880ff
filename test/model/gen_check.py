#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""gen_check.py GENERATOR YANG_DIR BAD_DIR: each module in BAD_DIR breaks one rule of docs/model.md;
the generator must refuse it, with the message that the module's first line expects, and write
nothing. A module that breaks none must pass."""
import glob
import os
import subprocess
import sys
import tempfile

# proves: T-04
generator, yang, bad = sys.argv[1:4]
ours = [os.path.join(yang, m + '.yang') for m in ('weft-extensions', 'weft-types')]
failures = 0
modules = sorted(glob.glob(os.path.join(bad, '*.yang')))
assert len(modules) > 25, 'the modules are missing'
with tempfile.TemporaryDirectory() as tmp:
    out = [os.path.join(tmp, 'kinds.h'), os.path.join(tmp, 'tables.c')]
    for path in modules:
        want = open(path).readline().removeprefix('// expect: ').strip()
        p = subprocess.run([generator, '-p', yang, '-h', out[0], '-c', out[1], *ours, path],
                           capture_output=True, text=True)
        if p.returncode != 1 or want not in p.stderr or os.path.exists(out[1]):
            failures += 1
            print(f'{path}: status {p.returncode}, wanted "{want}", got:\n{p.stderr}')
    p = subprocess.run([generator, '-p', yang, '-h', out[0], '-c', out[1], *ours],
                       capture_output=True, text=True)
    if p.returncode != 0 or not os.path.exists(out[1]):
        failures += 1
        print('modules that break no rule were refused:\n' + p.stderr)
    # A protocol's module is listed with its text and the features asked for; nothing is made of its nodes.
    protocol = os.path.join(tmp, 'proto.yang')
    open(protocol, 'w').write('module proto { namespace "urn:p"; prefix p; feature a; feature b;\n'
                              ' rpc call-me { if-feature a; } container data { leaf x { type string; } } }\n')
    p = subprocess.run([generator, '-p', yang, '-x', protocol + ':b', '-h', out[0], '-c', out[1], *ours],
                       capture_output=True, text=True)
    text = open(out[1]).read() if p.returncode == 0 else ''
    load_order = text.partition('load_order[]')[2].partition(';')[0]
    if ('{"proto", "", "urn:p", "p", ' not in text or '{"b", NULL}' not in text or 'proto' in load_order or
            text.count('call-me') != 1 or 'call_me' in open(out[0]).read()):
        failures += 1
        print('a module of a protocol is not as it should be:\n' + p.stderr + text[:2000])
    p = subprocess.run([generator, '-p', yang, '-x', protocol + '.not', '-h', out[0], '-c', out[1], *ours],
                       capture_output=True, text=True)
    if p.returncode != 1 or 'not a valid module' not in p.stderr:
        failures += 1
        print('a module of a protocol that is not there was taken')
print(f'{len(modules)} modules, {failures} failures')
sys.exit(failures > 0)
