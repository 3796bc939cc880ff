# SPDX-License-Identifier: Apache-2.0
"""What `make install` puts where, as far as others build on it."""
import glob
import os
import subprocess

from weftd_lab import BUILD


def test_modules_and_protocol_are_installed(tmp_path):
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet"], check=True, capture_output=True,
                   env={**os.environ, "DESTDIR": str(tmp_path)})
    (share,) = glob.glob(f"{tmp_path}/usr*/**/share/weft", recursive=True)
    modules = glob.glob(f"{share}/yang/*.yang")
    assert {"weft-apm.yang", "weft-system.yang", "weft-types.yang", "weft-extensions.yang"} <= \
        {os.path.basename(m) for m in modules}
    # They are whole: nothing of ours is looked for elsewhere.
    for name in ("weft-apm", "weft-system"):
        subprocess.run(["yanglint", "-p", f"{share}/yang", f"{share}/yang/{name}.yang"], check=True, capture_output=True,
                       cwd=tmp_path)
    assert os.path.exists(f"{share}/mibs/WEFT-MIB.txt")
    subprocess.run(["protoc", f"--proto_path={share}/proto", f"--descriptor_set_out={tmp_path}/set",
                    "openapmi.proto"], check=True, capture_output=True)
