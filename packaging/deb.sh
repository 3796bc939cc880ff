#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the Debian packages of this work tree, changes that are not committed included, into a folder.
#   packaging/deb.sh [FOLDER]         (default: build/deb; dpkg-buildpackage runs in a copy of the tree below it)
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-build/deb}")
rm -rf "$out/src" "$out"/*.deb
mkdir -p "$out/src"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do
    [ -e "$f" ] && printf '%s\0' "$f"
done | tar --null -T - -cf - | tar -C "$out/src" -xf -
cd "$out/src"
# Unit tests run when the packages are built without this (DEB_BUILD_OPTIONS=); here `make test` has them.
export DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS-nocheck noautodbgsym}"
# debhelper gives the build a home of its own; the cache is where it always is.
command -v ccache >/dev/null && export CC="ccache gcc" CCACHE_BASEDIR="$out/src" CCACHE_NOHASHDIR=1 \
    CCACHE_DIR="${CCACHE_DIR:-$HOME/.cache/ccache}"
dpkg-buildpackage -us -uc -b >"$out/build.log" 2>&1 || {
    tail -n 40 "$out/build.log" >&2
    exit 1
}
rm -rf "$out/src"
ls "$out"/*.deb
