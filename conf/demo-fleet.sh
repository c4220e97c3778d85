#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A fleet on loopback: an engine, a CA, and three httpds that share their certificates: `make demo-fleet`
# and `make demo-fleet-check`.
#
# The CA looks for its answers at the second httpd alone, whichever renews. When all three serve, the one that renews
# is killed, and a domain is renewed by another. Runs until Ctrl-C; with --check it verifies everything on both
# engines, etcd and Redis, and ends. ENGINE=redis shows the other one. Leaves nothing behind.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
program=mod_md-demo-fleet
part=fleet
check=
[ "${1:-}" != --check ] || check=yes
if [ -n "$check" ] && [ -z "${ENGINE:-}" ]; then
    # One after the other, each from nothing.
    for ENGINE in etcd redis; do ENGINE=$ENGINE sh "$0" --check; done
    exit 0
fi
engine=${ENGINE:-etcd}
. "$root/conf/demo-lab.sh"

names="one.example.test two.example.test www.two.example.test"
addresses="127.0.0.1 127.0.0.2 127.0.0.3"

# The engine, with a password, because it is what a fleet has (TLS: docs/fleet.md). Sets `url`.
start_engine() {
    case $engine in
        etcd)
            choose_port 2379; client=$port
            choose_port 2380; peer=$port
            start etcd.log KILL etcd --data-dir "$demo/etcd" --name demo --auto-compaction-retention 1h \
                --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
                --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
                --initial-cluster "demo=http://127.0.0.1:$peer"
            url=etcd://127.0.0.1:$client
            wait_for "etcd" curl -sf "http://127.0.0.1:$client/health"
            ;;
        redis)
            choose_port 6379
            start redis.log KILL redis-server --port "$port" --bind 127.0.0.1 --dir "$demo" --appendonly yes
            url=redis://127.0.0.1:$port
            wait_for "Redis" redis-cli -h 127.0.0.1 -p "$port" PING
            ;;
        *) say "$program: ENGINE is etcd or redis, not $engine"; exit 1 ;;
    esac
}

choose_port 8080; http=$port
choose_port 8443; https=$port
start_ca 127.0.0.2
start_engine
"$a2md" fleet secret > "$demo/secret"
chmod 600 "$demo/secret"

node=0
servers=
for address in $addresses; do
    node=$((node + 1))
    start_httpd "$demo/node$node" "$address" -D Fleet -C "Define ENGINE $url" -C "Define SECRET $demo/secret" \
        -C "Define NODE node$node"
    servers="$servers $server"
done

status() { curl -sf "http://$1:$http/md-status"; }
for address in $addresses; do wait_for "an answer of httpd at $address" status "$address"; done
say "$program: three httpds and $engine are up; one gets two certificates from the CA, which looks at 127.0.0.2"

all_verified() {
    for name in $names; do
        for address in $addresses; do verified "$address" "$name" || return 1; done
    done
}
wait_for "trusted certificates at all three" all_verified

# served ADDRESS NAME: the fingerprint of the certificate there.
served() { verified "$1" "$2" 2>/dev/null | openssl x509 -noout -fingerprint -sha256 2>/dev/null; }
# same NAME ADDRESS…: all serve the same certificate.
same() {
    name=$1; one=$(served "$2" "$1"); shift 2
    for address in "$@"; do [ "$(served "$address" "$name")" = "$one" ] || return 1; done
}
for name in $names; do
    # shellcheck disable=SC2086 # a list of addresses
    wait_for "one certificate of $name at all three" same "$name" $addresses
done

cat <<INFO

All three serve the same certificates of the CA on this machine.

  sites          curl --cacert $demo/ca-root.pem --resolve one.example.test:$https:127.0.0.1 https://one.example.test:$https/
                 the same at 127.0.0.2 and 127.0.0.3
  server-status  http://127.0.0.1:$http/server-status
  md-status      http://127.0.0.1:$http/md-status
  engine         $url
  stores, logs   $demo/node1 and so on
INFO

# The process of the node that has the domain, and its address.
before=$(served 127.0.0.2 two.example.test)
# shellcheck disable=SC2086 # a list of numbers
set -- $servers
say ""
say "$program: the httpd at 127.0.0.1 is killed, and two.example.test is to be renewed"
kill -s KILL -- "-$1"
"$a2md" -d "$demo/node2/md" renew --force two.example.test >>"$demo/renew.log" 2>&1 || { say "$program: a2md renew ended with $?"; exit 1; }
renewed() { now=$(served 127.0.0.2 two.example.test); [ -n "$now" ] && [ "$now" != "$before" ]; }
wait_for "a new certificate at 127.0.0.2" renewed
wait_for "the same at 127.0.0.3" same two.example.test 127.0.0.2 127.0.0.3
say "$program: the two that are left serve a new certificate of two.example.test"
"$a2md" fleet status --from "http://127.0.0.2:$http/md-status" || say "$program: a2md fleet status ended with $?"

if [ -z "$check" ]; then
    say ""
    say "Ctrl-C ends it and cleans up."
    wait "$server" || { say "$program: httpd ended"; exit 1; }
    exit 0
fi

for address in 127.0.0.2 127.0.0.3; do
    for name in $names; do
        verified "$address" "$name" 2>/dev/null | grep -q 'Verify return code: 0' || { say "$program: $name is not trusted at $address"; exit 1; }
        visit "$address" "$name" | grep -q "This is ${name#www.}" || { say "$program: $name serves something else at $address"; exit 1; }
    done
    status "$address" | grep -q '"connected": *true' || { say "$program: md-status of $address shows no fleet"; exit 1; }
done
say "demo-fleet-check: ok with $engine"
