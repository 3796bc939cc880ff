#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""yanglint_check.py YANG_DIR: yanglint accepts every module of ours without a word."""
import glob
import os
import shutil
import subprocess
import sys

yang = sys.argv[1]
if shutil.which('yanglint') is None:
    sys.exit(77)
extra = os.environ.get('WEFT_YANG_EXTRA')
# The module that weft-nacm deviates from comes from the package that the build reads it from.
search = ['-p', yang, '-p', '/usr/share/yuma/modules/ietf'] + (['-p', extra] if extra else [])
modules = sorted(glob.glob(os.path.join(yang, '*.yang')))
toys = sorted(glob.glob(os.path.join(yang, '../test/toy/*.yang')))
failures = 0
for path in modules + toys:
    p = subprocess.run(['yanglint', *search, path], capture_output=True, text=True)
    if p.returncode != 0 or p.stderr:
        failures += 1
        print(path, p.stderr)
print(len(modules) + len(toys), 'modules,', failures, 'failures')
sys.exit(failures > 0)
