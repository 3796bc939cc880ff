# SPDX-License-Identifier: Apache-2.0
import os
import subprocess

import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "audited: what is refused here leaves a line in the audit")


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory):
    """The folder of grpc-js; the committed lock file says exactly what is installed."""
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node")
    modules = os.path.join(here, "node_modules")
    if not os.path.isdir(os.path.join(modules, "@grpc", "grpc-js")):
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache",
                        str(tmp_path_factory.mktemp("npm"))], cwd=here, check=True, capture_output=True,
                       timeout=900)
    return modules
