#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What tests/docs/walk.rs walks pages on. Run as root.
#
# `walk.sh prepare SUITE DIR` makes a fresh root of that Debian and fetches into it the packages that pages install.
# `walk.sh enter SUITE DIR`, in namespaces of its own (network, mounts, processes), starts DNS and two CAs on loopback
# and turns into a shell in the root.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
lab=${LAB_DIR:-$here/target/lab}
docs=$here/tests/docs
what=$1 suite=$2 dir=$3
PATH=$lab/pebble/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
. "$here/tests/packages/lib.sh"

prepare() {
    sh "$here/tests/packages/root.sh" "$suite" "$dir" >&2
    mounts "$dir"
    rm -f "$dir/usr/sbin/policy-rc.d"
    within "$dir" apt-get update -qq
    # shellcheck disable=SC2046 # a list of words
    within "$dir" apt-get install -y -qq --download-only $(cat "$docs/packages") >/dev/null
    # Nothing listens there: a look for newer packages fails as it does without network, and keeps the lists.
    printf 'Acquire::http::Proxy "http://127.0.0.1:9";\nAcquire::https::Proxy "http://127.0.0.1:9";\n' \
        > "$dir/etc/apt/apt.conf.d/99offline"
    echo force-unsafe-io > "$dir/etc/dpkg/dpkg.cfg.d/unsafe-io"
    cp "$docs/systemctl" "$dir/usr/local/bin/systemctl"
    chmod 755 "$dir/usr/local/bin/systemctl"
}

wait_for() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 150 ] || { echo "walk: not within 30 seconds: $*" >&2; exit 1; }
        sleep 0.2
    done
}

# start_ca NAME PORT
start_ca() {
    cat > "$work/$1.json" <<CONFIG
{ "pebble": {
  "listenAddress": "127.0.0.1:$2", "managementListenAddress": "127.0.0.1:$(($2 + 1))",
  "certificate": "$work/ca.pem", "privateKey": "$work/ca.key", "httpPort": 80, "tlsPort": 443,
  "ocspResponderURL": "", "externalAccountBindingRequired": false, "retryAfter": { "authz": 1, "order": 1 },
  "profiles": { "default": { "description": "90 days", "validityPeriod": 7776000 } } } }
CONFIG
    PEBBLE_VA_NOSLEEP=1 pebble -config "$work/$1.json" -dnsserver 127.0.0.1:53 >"$work/$1.log" 2>&1 </dev/null &
    wait_for curl -sfk "https://127.0.0.1:$(($2 + 1))/roots/0" -o "$work/$1-root.pem"
}

enter() {
    ip link set lo up
    mounts "$dir"
    mount -t tmpfs tmpfs "$dir/run"
    work=$dir/run/walk
    mkdir -p "$work" "$dir/run/lock"
    echo "nameserver 127.0.0.1" > "$dir/etc/resolv.conf"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=walk" \
        -addext "subjectAltName=DNS:staging.ca.test,DNS:production.ca.test,IP:127.0.0.1" \
        -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
    pebble-challtestsrv -defaultIPv4 127.0.0.1 -defaultIPv6 "" -http01 "" -https01 "" -tlsalpn01 "" -doh "" \
        -dnsserver 127.0.0.1:53 -management 127.0.0.1:8055 >"$work/dns.log" 2>&1 </dev/null &
    start_ca staging 14000
    start_ca production 14100
    mkdir -p "$dir/usr/local/share/ca-certificates"
    cp "$work/ca.pem" "$dir/usr/local/share/ca-certificates/ca.crt"
    cp "$work/production-root.pem" "$dir/usr/local/share/ca-certificates/production.crt"
    within "$dir" update-ca-certificates >/dev/null 2>&1
    echo "walk: ready"
    exec env -i HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot "$dir" /bin/bash --noprofile --norc
}

case $what in
    prepare | enter) "$what" ;;
    *) echo "walk: prepare or enter, not $what" >&2; exit 1 ;;
esac
