#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Brings what `make test-interop` needs beside the lab: CAs that others have written, and servers and proxies
# to put before one.
#
# Debian packages are unpacked below target/lab/interop and never installed, so that no service of theirs
# starts; the Python ones are installed into a venv there, in the versions of requirements.txt. What is
# missing in the end has its tests skipped by name.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
interop=${LAB_DIR:-$root/target/lab}/interop
# nginx' scripting is a module of its own. iproute2 brings up the loopback device of a test's network;
# python3-venv makes venvs.
unpacked="caddy nginx libnginx-mod-http-js tinyproxy-bin"
installed="iproute2 python3-venv"

say() { printf 'setup: %s\n' "$*"; }
miss() { say "not there: $*"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

updated=
update() {
    [ -n "$updated" ] || as_root apt-get update -qq
    updated=yes
}

install_missing() {
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" != installed ] || continue
        say "installing $package"
        update && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null \
            || miss "$package"
    done
}

# Unpacks the package into a folder of its name; done once.
unpack() {
    [ ! -d "$interop/$1" ] || return 0
    new="$interop/$1.new"
    rm -rf "$new"
    mkdir -p "$new/deb"
    (cd "$new/deb" && apt-get -qq -o APT::Sandbox::User=root download "$1") || { rm -rf "$new"; return 1; }
    dpkg -x "$new/deb/"*.deb "$new"
    rm -r "$new/deb"
    mv "$new" "$interop/$1"
    say "$1 is in ${interop#"$root"/}/$1"
}

# The list of versions is noted in the venv when all of it is there.
fill_venv() {
    ! cmp -s "$here/requirements.txt" "$interop/venv/requirements.txt" || return 0
    rm -rf "$interop/venv"
    say "installing the CAs of the Python registry"
    python3 -m venv "$interop/venv" \
        && "$interop/venv/bin/pip" install -q --disable-pip-version-check --no-deps -r "$here/requirements.txt" \
        && cp "$here/requirements.txt" "$interop/venv/requirements.txt"
}

mkdir -p "$interop"
if command -v apt-get >/dev/null 2>&1; then
    # shellcheck disable=SC2086 # a list of words
    install_missing $installed
    for package in $unpacked; do
        unpack "$package" || { update && unpack "$package"; } || miss "$package"
    done
else
    miss "Debian's packages, without apt-get"
fi
fill_venv || miss "the CAs of the Python registry"
