#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""man_check.py WEFT_MODEL_MAN REFERENCE: groff finds nothing wrong with any page; the reference in
docs/ is what the model says today."""
import glob
import os
import shutil
import subprocess
import sys
import tempfile

program, reference = sys.argv[1:3]
failures = 0
with tempfile.TemporaryDirectory() as tmp:
    subprocess.run([program, '-d', tmp], check=True)
    pages = glob.glob(os.path.join(tmp, 'man?', '*'))
    assert len(pages) > 20, pages
    for page in pages:
        if shutil.which('groff') is None:
            print('groff is not installed: layout not checked')
            break
        p = subprocess.run(['groff', '-man', '-Tascii', '-ww', '-P-cbou', page], capture_output=True, text=True)
        if p.returncode != 0 or p.stderr or 'DESCRIPTION' not in p.stdout:
            failures += 1
            print(page, p.stderr[:500])
now = subprocess.run([program, '-r'], capture_output=True, text=True, check=True).stdout
if now != open(reference).read():
    failures += 1
    print(f'{reference} is not up to date: {program} -r > docs/reference.md')
print(len(pages), 'pages,', failures, 'failures')
sys.exit(failures > 0)
