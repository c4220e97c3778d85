#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Two example sites on loopback whose certificates come from a CA on this machine: `make demo` and
# `make demo-check`.
#
# Installs and builds what is missing, starts DNS, CA and httpd, waits until both sites are served with
# certificates of the CA, and says where to look. Runs until Ctrl-C; with --check it verifies everything with
# openssl and curl instead, and ends. Leaves nothing behind.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
lab=${LAB_DIR:-$root/target/lab}
check=
[ "${1:-}" != --check ] || check=yes

exec 3>&1
say() { printf '%s\n' "$*"; }

sh "$root/tests/support/setup.sh"
if [ -z "${MODULE:-}" ]; then
    (cd "$root" && ${CARGO:-cargo} build --release)
    MODULE=${CARGO_TARGET_DIR:-$root/target}/release/libmod_md.so
fi

apxs=$(command -v apxs || command -v apxs2)
httpd=$("$apxs" -q SBINDIR)/$("$apxs" -q PROGNAME)
modules=$("$apxs" -q LIBEXECDIR)
PATH=$lab/pebble/usr/bin:$PATH

# httpd's children are another user, who must get there.
demo=$(mktemp -d "${TMPDIR:-/tmp}/mod_md-demo.XXXXXX")
chmod 755 "$demo"
pids=

# Ends every process that was started, httpd first, and waits for it.
clean_up() {
    status=$?
    trap '' INT TERM
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait "$pid" 2>/dev/null || true; done
    # Back to where it began: an exit may come from within a redirected command.
    exec >&3
    if [ "$status" != 0 ]; then
        for log in pebble stderr error; do
            [ ! -s "$demo/$log.log" ] || { say "--- the end of $log.log"; tail -n 20 "$demo/$log.log"; }
        done
    fi
    rm -rf "$demo"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 0' INT TERM

# In a session of its own, because httpd signals its whole process group when it ends; ended by the kernel
# where this script is killed.
start() {
    log=$1; signal=$2; shift 2
    setsid setpriv --pdeathsig "$signal" -- "$@" >>"$demo/$log" 2>&1 </dev/null &
    pids="$! $pids"
}

taken=
# Sets `port` to the number asked for, or to the next one that nothing listens on.
choose_port() {
    port=$1
    while hex=$(printf ':%04X ' "$port")
        cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 2>/dev/null \
            | awk '{ print $2 " " $4 }' | grep -E ' (0A|07)$' | grep -q "$hex" \
            || case " $taken " in *" $port "*) true ;; *) false ;; esac
    do port=$((port + 1)); done
    taken="$taken $port"
}

# wait_for WHAT COMMAND…: tries for a minute.
wait_for() {
    what=$1; shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || { say "demo: not within a minute: $what"; exit 1; }
        sleep 0.2
    done
}

choose_port 8080; http=$port
choose_port 8443; https=$port
choose_port 14000; acme=$port
choose_port 15000; management=$port
choose_port 8053; dns=$port
choose_port 8055; dns_management=$port
ca=https://127.0.0.1:$acme/dir

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$demo/ca.key" -out "$demo/ca.pem" 2>/dev/null
cat > "$demo/pebble.json" <<CONFIG
{ "pebble": {
  "listenAddress": "127.0.0.1:$acme", "managementListenAddress": "127.0.0.1:$management",
  "certificate": "$demo/ca.pem", "privateKey": "$demo/ca.key", "httpPort": $http, "tlsPort": $https,
  "ocspResponderURL": "", "externalAccountBindingRequired": false, "retryAfter": { "authz": 1, "order": 1 },
  "profiles": { "default": { "description": "90 days", "validityPeriod": 7776000 } } } }
CONFIG
set -- -defaultIPv4 127.0.0.1 -defaultIPv6 "" -http01 "" -https01 "" -tlsalpn01 "" -management "127.0.0.1:$dns_management"
# Older versions have other names for some options.
if pebble-challtestsrv -h 2>&1 | grep -q -e -dnsserver; then
    set -- "$@" -dnsserver "127.0.0.1:$dns" -doh ""
else
    set -- "$@" -dns01 "127.0.0.1:$dns"
fi
start dns.log KILL pebble-challtestsrv "$@"
start pebble.log KILL env PEBBLE_VA_NOSLEEP=1 pebble -config "$demo/pebble.json" -dnsserver "127.0.0.1:$dns"

fetch_root() { curl -sfk "https://127.0.0.1:$management/roots/0" -o "$demo/ca-root.pem"; }
wait_for "the CA" curl -sfk "$ca"
wait_for "the CA's root" fetch_root

cp "$MODULE" "$demo/mod_md.so"
for site in one two; do
    mkdir -p "$demo/htdocs/$site"
    printf '<!doctype html>\n<title>%s</title>\n<h1>This is %s.example.test</h1>\n' "$site" "$site" > "$demo/htdocs/$site/index.html"
done
set -- -DFOREGROUND -C "Define DEMO $demo" -C "Define MODULES $modules" -C "Define HTTP $http" -C "Define HTTPS $https" \
    -C "Define CA $ca" -f "$root/conf/demo.conf"
if [ "$(id -u)" = 0 ]; then
    for run_as in www-data apache daemon nobody; do
        if id -u "$run_as" >/dev/null 2>&1; then break; fi
    done
    set -- -DAsRoot -C "Define RUN_AS $run_as" -C "Define RUN_AS_GROUP $(id -gn "$run_as")" "$@"
fi
start stderr.log TERM "$httpd" "$@"
server=${pids%% *}

runs() { kill -0 "$server" || exit 1; }
answers() { runs; curl -sf "http://127.0.0.1:$http/md-status"; }
# Both renewals have a complete set.
staged() {
    runs
    [ "$(curl -sf "http://127.0.0.1:$http/md-status" | grep -c '"finished": *true')" = 2 ]
}
# OpenSSL 1.1.1 knows no CA store.
no_store=
! openssl s_client -help 2>&1 | grep -q -e -no-CAstore || no_store=-no-CAstore
# verified NAME: a browser that trusts the CA's root would accept the site.
verified() {
    runs
    openssl s_client -connect "127.0.0.1:$https" -servername "$1" -verify_hostname "$1" -verify_return_error \
        -no-CApath $no_store -CAfile "$demo/ca-root.pem" </dev/null
}
visit() { curl -sf --cacert "$demo/ca-root.pem" --resolve "$1:$https:127.0.0.1" "https://$1:$https/"; }

wait_for "an answer of httpd" answers
say "demo: httpd is up; getting two certificates from the CA"
if ! grep -q MDLiveActivation "$MODULE"; then
    # A module that activates at restarts.
    wait_for "two new certificates" staged
    kill -USR1 "$server"
fi
for name in one.example.test two.example.test www.two.example.test; do
    wait_for "a trusted certificate for $name" verified "$name"
done

cat <<INFO

Both sites are served with certificates of the CA on this machine.

  sites          curl --cacert $demo/ca-root.pem --resolve one.example.test:$https:127.0.0.1 https://one.example.test:$https/
                 curl --cacert $demo/ca-root.pem --resolve two.example.test:$https:127.0.0.1 https://two.example.test:$https/
  server-status  http://127.0.0.1:$http/server-status
  md-status      http://127.0.0.1:$http/md-status
  CA root        $demo/ca-root.pem
  store          $demo/md
  log            $demo/error.log
INFO

# The command, where `make build` has made it.
a2md=${A2MD:-${CARGO_TARGET_DIR:-$root/target}/cli/release/a2md}
if [ -x "$a2md" ]; then
    say ""
    say "  $a2md status --from http://127.0.0.1:$http/md-status"
    say ""
    "$a2md" status --from "http://127.0.0.1:$http/md-status" || say "demo: a2md status ended with $?"
fi

if [ -z "$check" ]; then
    say ""
    say "Ctrl-C ends it and cleans up."
    wait "$server" || { say "demo: httpd ended"; exit 1; }
    exit 0
fi

say ""
for name in one.example.test two.example.test www.two.example.test; do
    page=${name#www.}
    verified "$name" 2>/dev/null | grep -E 'Verify return code' | head -n 1 | sed "s/^ */demo-check: $name: /"
    visit "$name" | grep -q "This is $page" || { say "demo-check: $name serves something else"; exit 1; }
done
curl -sf "http://127.0.0.1:$http/server-status" | grep -q "Apache Server Status" || { say "demo-check: no server-status"; exit 1; }
curl -sf "http://127.0.0.1:$http/md-status/one.example.test" | grep -q '"state": *2' || { say "demo-check: md-status knows no certificate"; exit 1; }
say "demo-check: ok"
