#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that building, testing and the lab need, when some are missing.
set -euo pipefail
packages=(
    gcc g++ clang clang-14 clang-format clang-tidy llvm-14 lld meson ninja-build ccache pkg-config git
    libevent-dev libssl-dev libexpat1-dev groff-base libyang2-dev libyang2-tools libyuma-base libnghttp2-dev nghttp2-client
    libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libsqlite3-dev sqlite3 libjansson-dev
    libcmocka-dev libcurl4-openssl-dev libedit-dev libcrypt-dev
    python3 python3-pytest python3-grpcio python3-grpc-tools python3-requests python3-yaml
    kea-dhcp4-server kea-admin kea-common frr iproute2 iputils-ping isc-dhcp-client tcpdump curl openssl
    procps man-db jq socat nodejs npm
)
missing=()
for p in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
# A node that is there already, from wherever, will do.
command -v node >/dev/null && command -v npm >/dev/null &&
    missing=($(printf '%s\n' "${missing[@]}" | grep -vxE 'nodejs|npm' || true))
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing ${#missing[@]} packages: ${missing[*]}"
if [ "$(id -u)" -ne 0 ]; then sudo=sudo; else sudo=; fi
# Nothing of what is installed is to be started here: the lab starts its own.
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/tmp/weft-deps.log 2>&1 || {
    tail -20 /tmp/weft-deps.log
    exit 1
}
rm -f /tmp/weft-deps.log
