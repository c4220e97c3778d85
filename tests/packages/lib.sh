# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What scripts of this folder have in common: a root file system that one is in. Read by them; `here` is the folder of
# the sources.

# mounts DIR: what a system needs, in the mount namespace of the caller, where it is gone with it; and the packages that
# apt has fetched for others of its suite.
mounts() {
    mount -t proc proc "$1/proc"
    mount -t tmpfs tmpfs "$1/dev/shm"
    archives=$(archives "$1")
    mkdir -p "$archives"
    cp -l "$archives"/*.deb "$1/var/cache/apt/archives/" 2>/dev/null \
        || cp -f "$archives"/*.deb "$1/var/cache/apt/archives/" 2>/dev/null || true
    # There is no /dev/pts, which apt would complain of.
    echo 'Binary::apt::APT::Keep-Downloaded-Packages "true"; APT::Sandbox::User "root"; Dpkg::Use-Pty "false";' \
        > "$1/etc/apt/apt.conf.d/90kept"
}
# shellcheck source=/dev/null
archives() { echo "${LAB_DIR:-$here/target/lab}/roots/archives/$(. "$1/etc/os-release" && echo "$VERSION_CODENAME")"; }

# keep DIR: what apt has fetched in it, beside the suite's tar, so that the next root needs no network for that.
keep() {
    archives=$(archives "$1")
    for package in "$1"/var/cache/apt/archives/*.deb; do
        [ -f "$package" ] && [ ! -e "$archives/${package##*/}" ] || continue
        # Renamed into place: several may do this at once.
        new=$(mktemp "$archives/new.XXXXXX")
        cp "$package" "$new" && chmod 644 "$new" && mv "$new" "$archives/${package##*/}"
    done
}

# within DIR COMMAND…
within() {
    within=$1; shift
    env -i HOME=/root LC_ALL=C.UTF-8 TERM=dumb DEBIAN_FRONTEND=noninteractive \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot "$within" "$@"
}

# alone SCRIPT ARGUMENT…: runs the script again where its mounts and processes are its own, and end with it; and its
# network, a loopback, where LOOPBACK is set. Returns once that is so.
alone() {
    [ "${ALONE:-}" != "$1" ] || { unset ALONE; [ -z "${LOOPBACK:-}" ] || ip link set lo up; return 0; }
    # shellcheck disable=SC2086 # nothing, or an option
    ALONE=$1 exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
        ${LOOPBACK:+--net} sh "$@"
}
