#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the demos have in common: module, folder, processes, ports, DNS and CA. Read by demo.sh and demo-fleet.sh,
# which set `root`, `program` (their name) and `part` (what setup.sh brings).

lab=${LAB_DIR:-$root/target/lab}
exec 3>&1
say() { printf '%s\n' "$*"; }

target=${CARGO_TARGET_DIR:-$root/target}
# No source is newer than this file.
is_current() {
    [ -f "$1" ] && [ -z "$(cd "$root" && find Cargo.toml Cargo.lock build.rs src apache-sys -type f -newer "$1" | head -n 1)" ]
}

sh "$root/tests/support/setup.sh" "$part"
if [ -n "${MODULE:-}" ]; then
    :
elif is_current "$target/release/libmod_md.so"; then
    MODULE=$target/release/libmod_md.so
else
    MODULE=$target/demo/libmod_md.so
    command -v "${CARGO:-cargo}" >/dev/null 2>&1 || { say "$program: cargo is missing, see README.md for a Rust toolchain"; exit 1; }
    [ -f "$MODULE" ] || say "$program: building the module; the first time takes some minutes"
    (cd "$root" && ${CARGO:-cargo} build --profile demo)
fi
# The command, where `make build` has made it.
a2md=${A2MD:-$target/cli/release/a2md}

apxs=$(command -v apxs || command -v apxs2)
httpd=$("$apxs" -q SBINDIR)/$("$apxs" -q PROGNAME)
modules=$("$apxs" -q LIBEXECDIR)
PATH=$lab/pebble/usr/bin:$PATH

# httpd's children are another user, who must get there.
demo=$(mktemp -d "${TMPDIR:-/tmp}/$program.XXXXXX")
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
        for log in "$demo"/*.log "$demo"/*/*.log; do
            [ ! -s "$log" ] || { say "--- the end of ${log#"$demo"/}"; tail -n 20 "$log"; }
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

# wait_for WHAT COMMAND…: tries for two minutes.
wait_for() {
    what=$1; shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || { say "$program: not within two minutes: $what"; exit 1; }
        sleep 0.2
    done
}


# start_ca ADDRESS: the CA and its DNS, which says that every name is there, at ports $http and $https. Sets `ca` and
# `dns_management`; the CA's root is in $demo/ca-root.pem.
start_ca() {
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
    set -- -defaultIPv4 "$1" -defaultIPv6 "" -http01 "" -https01 "" -tlsalpn01 "" \
        -management "127.0.0.1:$dns_management"
    # Older versions have other names for some options.
    if pebble-challtestsrv -h 2>&1 | grep -q -e -dnsserver; then
        set -- "$@" -dnsserver "127.0.0.1:$dns" -doh ""
    else
        set -- "$@" -dns01 "127.0.0.1:$dns"
    fi
    start dns.log KILL pebble-challtestsrv "$@"
    start pebble.log KILL env PEBBLE_VA_NOSLEEP=1 pebble -config "$demo/pebble.json" -dnsserver "127.0.0.1:$dns"
    wait_for "the CA" curl -sfk "$ca"
    wait_for "the CA's root" fetch_root
}
fetch_root() { curl -sfk "https://127.0.0.1:$management/roots/0" -o "$demo/ca-root.pem"; }

# start_httpd FOLDER ADDRESS OPTION…: serves the demo's sites at $http and $https of the address, with conf/demo.conf.
# Sets `server` to its process.
start_httpd() {
    folder=$1; address=$2; shift 2
    mkdir -p "$folder"
    cp "$MODULE" "$folder/mod_md.so"
    for site in one two; do
        mkdir -p "$folder/htdocs/$site"
        printf '<!doctype html>\n<title>%s</title>\n<h1>This is %s.example.test</h1>\n' "$site" "$site" \
            > "$folder/htdocs/$site/index.html"
    done
    set -- -DFOREGROUND -C "Define DEMO $folder" -C "Define CA_FILE $demo/ca.pem" -C "Define MODULES $modules" \
        -C "Define ADDRESS $address" -C "Define HTTP $http" -C "Define HTTPS $https" -C "Define CA $ca" "$@" \
        -f "$root/conf/demo.conf"
    if [ "$(id -u)" = 0 ]; then
        for run_as in www-data apache daemon nobody; do
            if id -u "$run_as" >/dev/null 2>&1; then break; fi
        done
        set -- -DAsRoot -C "Define RUN_AS $run_as" -C "Define RUN_AS_GROUP $(id -gn "$run_as")" "$@"
    fi
    start "${folder##*/}-stderr.log" TERM "$httpd" "$@"
    server=${pids%% *}
}

# OpenSSL 1.1.1 knows no CA store.
no_store=
! openssl s_client -help 2>&1 | grep -q -e -no-CAstore || no_store=-no-CAstore
# verified ADDRESS NAME: a browser that trusts the CA's root would accept the site.
verified() {
    openssl s_client -connect "$1:$https" -servername "$2" -verify_hostname "$2" -verify_return_error \
        -no-CApath $no_store -CAfile "$demo/ca-root.pem" </dev/null
}
# visit ADDRESS NAME
visit() { curl -sf --cacert "$demo/ca-root.pem" --resolve "$2:$https:$1" "https://$2:$https/"; }
