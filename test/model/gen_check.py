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
print(f'{len(modules)} modules, {failures} failures')
sys.exit(failures > 0)
