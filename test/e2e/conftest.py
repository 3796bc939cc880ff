# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess

import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "audited: what is refused here leaves a line in the audit")


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory):
    """test/e2e/node with its packages; the committed lock file says exactly which."""
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node")
    with open(os.path.join(here, "package.json"), encoding="utf-8") as f:
        wanted = json.load(f)["dependencies"]
    if not all(os.path.isdir(os.path.join(here, "node_modules", name)) for name in wanted):
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache",
                        str(tmp_path_factory.mktemp("npm"))], cwd=here, check=True, capture_output=True,
                       timeout=900)
    return here


@pytest.fixture(scope="session")
def node_modules(node_folder):
    return os.path.join(node_folder, "node_modules")
