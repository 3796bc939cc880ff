#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""errors_check.py ERRORS: yanglint accepts the error bodies of every code and place, in JSON and in XML."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
from schemas import modules_for, yanglint  # noqa: E402

if shutil.which("yanglint") is None:
    sys.exit(77)
failures = 0
with tempfile.TemporaryDirectory() as tmp:
    os.mkdir(os.path.join(tmp, "bodies"))
    subprocess.run([sys.argv[1], os.path.join(tmp, "bodies")], check=True)
    modules = modules_for(os.path.join(tmp, "yang"), "errors")
    files = sorted(os.listdir(os.path.join(tmp, "bodies")))
    for name in files:
        text = open(os.path.join(tmp, "bodies", name), encoding="utf-8").read()
        ok, why = yanglint(tmp, text, "data", modules=modules)
        if not ok:
            failures += 1
            print(name, why, text)
    # and it would not accept just anything
    assert not yanglint(tmp, text.replace("error-tag", "error-tog"), "data", modules=modules)[0]
print(len(files), "bodies,", failures, "failures")
sys.exit(failures > 0 or len(files) < 80)
