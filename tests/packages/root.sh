#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# root.sh SUITE DIR: makes DIR, which must not exist or be empty, a fresh Debian of that suite (bookworm, trixie),
# as small as Debian can be, with its lists of packages. The first call of a suite takes minutes; it is kept in
# target/lab/roots/SUITE.tar, and the next ones take seconds. As root, on a Debian machine, whose mirror it takes.
set -eu

suite=${1:?names a suite} dir=${2:?names a folder}
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
roots=${LAB_DIR:-$root/target/lab}/roots
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'root: %s\n' "$*" >&2; }

# Mounts of debootstrap are seen in here alone, and are gone when it ends.
if [ "${MOUNTS:-}" != own ]; then
    MOUNTS=own exec unshare --mount --propagation private sh "$0" "$@"
fi
unset MOUNTS

[ -z "$(ls -A "$dir" 2>/dev/null)" ] || { say "$dir is not empty"; exit 1; }

if [ ! -s "$roots/$suite.tar" ]; then
    command -v debootstrap >/dev/null || { say "debootstrap is missing"; exit 1; }
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' \
        | grep -v security | head -n 1)
    [ -n "$mirror" ] || { say "this machine has no Debian mirror"; exit 1; }
    say "making a Debian $suite with debootstrap, once: some minutes"
    mkdir -p "$roots"
    new=$(mktemp -d "$roots/new.XXXXXX")
    chmod 755 "$new"
    # Nothing of it stays mounted: rm gets to none of this machine's files.
    trap 'umount -R "$new"/* 2>/dev/null || true; rm -rf --one-file-system "$new" "$new.tar"' EXIT
    debootstrap --variant=minbase --include=ca-certificates --keyring="$keyring" "$suite" "$new" "$mirror" \
        >"$roots/$suite.log" 2>&1 || { tail -n 20 "$roots/$suite.log" >&2; exit 1; }
    cp /etc/resolv.conf "$new/etc/resolv.conf"
    chroot "$new" apt-get -qq update >>"$roots/$suite.log" 2>&1
    rm -f "$new"/var/cache/apt/archives/*.deb
    umount -R "$new"/* 2>/dev/null || true
    tar -C "$new" --one-file-system --numeric-owner -cf "$new.tar" .
    # Renamed into place: two calls at once spoil nothing.
    mv -f "$new.tar" "$roots/$suite.tar"
fi
mkdir -p "$dir"
tar -C "$dir" --numeric-owner -xpf "$roots/$suite.tar"
chmod 755 "$dir"
# That of today's machine.
cp /etc/resolv.conf "$dir/etc/resolv.conf"
