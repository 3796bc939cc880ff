#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that are missing.
#   lab/deps.sh run    what building and the lab need (make, make run, make install)
#   lab/deps.sh        that, and what the tests, measurements and fuzz targets need
set -euo pipefail
run=(
    # the compiler, the build, the libraries
    gcc libc6-dev meson ninja-build pkg-config git python3
    libevent-dev libssl-dev libyang2-dev libyang2-tools libyuma-base libnghttp2-dev libssh-dev libexpat1-dev zlib1g-dev
    libprotobuf-c-dev protobuf-c-compiler libsqlite3-dev libjansson-dev libcurl4-openssl-dev libldns-dev libsnmp-dev
    libedit-dev libcrypt-dev libpam0g-dev libcmocka-dev man-db groff-base
    # what the lab runs
    kea-dhcp4-server kea-dhcp6-server kea-ctrl-agent kea-admin kea-common frr iproute2 iputils-ping isc-dhcp-client procps
    knot openssl
)
all=(
    ccache g++ clang clang-14 libclang-rt-14-dev clang-format clang-tidy llvm-14 lld protobuf-compiler
    sqlite3 nghttp2-client curl jq socat tcpdump
    ansible-core python3-pytest python3-ncclient libnetconf2-dev yangcli netconfd openssh-client openssh-server python3-grpcio python3-grpc-tools python3-requests python3-yaml
    snmp snmptrapd rsyslog rsyslog-gnutls
    isc-dhcp-server dnsmasq-base nginx-light avahi-daemon dbus python3-dbus apache2
    buildah python3-kubernetes
    build-essential dpkg-dev debhelper lintian debootstrap systemd systemd-container
    etcd-server etcd-client nodejs npm ca-certificates
)
case "${1:-}" in
run) packages=("${run[@]}") ;;
"") packages=("${run[@]}" "${all[@]}") ;;
*) echo "usage: $0 [run]" >&2 && exit 2 ;;
esac
# A node that is there already, from wherever, will do.
if command -v node >/dev/null && command -v npm >/dev/null; then skip=' nodejs npm '; else skip=' '; fi
missing=()
for p in "${packages[@]}"; do
    [[ $skip == *" $p "* ]] ||
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
command -v apt-get >/dev/null || {
    echo "this is no Debian: install what corresponds to ${missing[*]}" >&2
    exit 1
}
sudo=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "packages are missing, and installing them needs root: ${missing[*]}" >&2
        exit 1
    }
    sudo=sudo
fi
log=$(mktemp)
# Services of these packages are not to be started here: the lab starts its own. A policy that is there
# already stays; ours goes again with the script.
policy=/usr/sbin/policy-rc.d
ours=
# shellcheck disable=SC2317
finish() {
    rm -f "$log"
    [ -z "$ours" ] || $sudo rm -f $policy
}
trap finish EXIT
if [ ! -e $policy ]; then
    ours=1
    printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
    $sudo chmod 755 $policy
fi
apt() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@" >>"$log" 2>&1; }
echo "installing ${#missing[@]} packages: ${missing[*]}"
if ! { apt update && apt install --no-install-recommends "${missing[@]}"; }; then
    tail -n 20 "$log" >&2
    echo "installing packages failed (see above)" >&2
    exit 1
fi
