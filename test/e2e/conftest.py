# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess

import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "audited: what is refused here leaves a line in the audit")


@pytest.fixture(scope="session")
def node_folder():
    """test/e2e/node with its packages; the committed lock file says exactly which."""
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node")
    wanted = json.load(open(os.path.join(here, "package.json"), encoding="utf-8"))["dependencies"]
    if not all(os.path.isdir(os.path.join(here, "node_modules", name)) for name in wanted):
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=here, check=True,
                       capture_output=True, timeout=180)
    return here
