#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Brings what PART needs, each with what stands before it:
#
#   build   httpd's headers, libclang, OpenSSL's, a C compiler: what cargo needs to make the module
#   demo    httpd, and pebble (the ACME CA)
#   fleet   the engines of fleets (etcd, Redis)
#   test    what tests read our pages with (Chromium, axe-core, Prometheus' parser and promtool), strace, which says what
#           handshakes cost, valgrind, which watches what is read and written, DNS servers (BIND, Knot, unbound)
#   sanitizers
#           llvm-symbolizer, which gives the frames in reports of AddressSanitizer their names
#
# Without PART it is `test`.
#
# Debian packages are installed only where they are missing, as root or through sudo. pebble 2.10 comes from a
# newer suite of the mirror this machine already uses; it is unpacked below target/lab and never installed,
# and the machine's own package sources stay as they are. The system's apache service is never started.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
lab=${LAB_DIR:-$root/target/lab}
part=${1:-test}
headers="apache2-dev pkg-config libssl-dev gcc libc6-dev make"
sites="apache2-bin curl openssl ca-certificates util-linux"
# What some tests look at our pages, our system calls and our memory with. Where it cannot be had, these are
# skipped by name.
readers="chromium python3-prometheus-client strace valgrind"
# DNS servers, a load for them, and the ACME clients whose DNS hooks we call. Servers are started by tests alone.
dns="bind9 knot unbound bind9-dnsutils dnsperf dehydrated certbot lego"
# Coordination engines of fleets. Started by tests alone.
engines="etcd-server etcd-client redis-server redis-tools"
wanted=2.10
suite=forky
# What finds faults of our pages for people who do not see them, or use no mouse. The hash is npm's `dist.integrity`.
axe=4.14.1
axe_sha512=FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1; then sudo -n "$@"
    else fail "this needs root or sudo: $*"
    fi
}

# An interrupted lookup must not look like success, so the update runs at most once and loudly.
updated=
update() {
    [ -n "$updated" ] || as_root apt-get update -qq
    updated=yes
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]; }

# What apt says it is going to do, with the time that it takes: 1 to 5 minutes for 300 MB, by the line's speed.
cost() {
    LC_ALL=C apt-get install --assume-no --no-install-recommends "$@" 2>/dev/null | awk '
        / newly installed, / { count = $3 }
        /^Need to get /      { size = $4 * ($5 ~ /^GB/ ? 1000 : $5 ~ /^MB/ ? 1 : 0.001) }
        /^After this .* used/ { disk = $4 " " $5 }
        END {
            printf "%d with what they need, %d MB to download, %s on disk; ", count, size + 0.5, disk
            if (size < 60) print "below a minute"; else printf "%d to %d minutes\n", (size + 299) / 300, (size + 59) / 60
        }'
}

install_packages() {
    missing=
    for package in "$@"; do
        is_installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    update
    # shellcheck disable=SC2086 # a list of words
    say "installing$missing ($(cost $missing))"
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# libclang and the compiler's own headers. libclang-dev has four times as much.
libclang() {
    version=$(LC_ALL=C apt-cache depends libclang1 2>/dev/null | sed -n 's/^ *Depends: libclang1-\([0-9]*\)$/\1/p')
    if is_installed libclang-dev; then :
    elif [ -n "$version" ]; then echo "libclang1 libclang-common-$version-dev"
    else echo libclang-dev
    fi
}

# One by one, so that a package this release does not have leaves out no other; its tests are skipped by name.
# Debian's packages ask policy-rc.d before they start a service; a machine that has one keeps its own.
install_servers() {
    policy=/usr/sbin/policy-rc.d
    for package in "$@"; do
        ! is_installed "$package" || continue
        if [ ! -e "$policy" ]; then
            trap 'as_root rm -f "$policy"' EXIT
            as_root sh -c "printf '#!/bin/sh\\nexit 101\\n' > $policy && chmod 755 $policy"
        fi
        install_packages "$package" || say "not to be had: $package"
        # Nor shall it start when the machine does.
        case $package in
            bind9 | knot | unbound | redis-server) service=$package ;;
            etcd-server) service=etcd ;;
            *) continue ;;
        esac
        as_root systemctl disable --quiet "$service" 2>/dev/null || true
    done
}

# promtool is in the package of the whole server, which is unpacked and never installed.
fetch_promtool() {
    [ ! -x "$lab/prometheus/usr/bin/promtool" ] && ! command -v promtool >/dev/null 2>&1 || return 0
    say "fetching promtool (below a minute)"
    rm -rf "$lab/prometheus"
    mkdir -p "$lab/prometheus"
    (cd "$lab/prometheus" && apt-get -qq -o APT::Sandbox::User=root download prometheus && dpkg -x ./*.deb . && rm ./*.deb)
}

# From the registry that npm is set to, or, where there is no npm, from the public one. Unpacked only if it is the one
# with that hash.
fetch_axe() {
    [ "$(cat "$lab/axe/VERSION" 2>/dev/null)" != "$axe" ] || return 0
    rm -rf "$lab/axe" "$lab/axe.new"
    mkdir -p "$lab/axe.new"
    (
        file=axe-core-$axe.tgz
        cd "$lab/axe.new" \
            && if command -v npm >/dev/null 2>&1; then npm pack --silent "axe-core@$axe" >/dev/null
            else curl -fsS --max-time 120 -O "https://registry.npmjs.org/axe-core/-/$file"
            fi \
            && [ "$(openssl dgst -sha512 -binary "$file" | openssl base64 -A)" = "$axe_sha512" ] \
            && tar -xzf "$file" --strip-components=1 package/axe.min.js package/LICENSE \
            && rm "$file" && echo "$axe" > VERSION
    ) && mv "$lab/axe.new" "$lab/axe"
}

# The mirror of this machine's own Debian sources; nothing where it has none.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' \
        | grep -v security | head -n 1
}

# apt-get with a state of its own: reads and writes nothing of the machine's lists.
own_apt() {
    apt-get -qq \
        -o Dir::Etc::sourcelist="$lab/apt/sources.list" -o Dir::Etc::sourceparts="$lab/apt/none" \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts="$lab/apt/none" -o APT::Default-Release= \
        -o Dir::State::lists="$lab/apt/lists" -o Dir::Cache="$lab/apt/cache" \
        -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}

pebble_runs() { "$lab/pebble.new/usr/bin/pebble" -help 2>&1 | grep -q -e -config; }

# A pebble of a newer release may want a newer C library than the machine has. It gets that one, for itself.
own_library() {
    (cd "$lab/apt/deb" && own_apt download libc6) && dpkg -x "$lab"/apt/deb/libc6_*.deb "$lab/pebble.new/libc6" || return 1
    loader=$(cd "$lab/pebble.new/libc6" && find . -type f -name 'ld-linux*' | head -n 1)
    for program in pebble pebble-challtestsrv; do
        mv "$lab/pebble.new/usr/bin/$program" "$lab/pebble.new/libc6/"
        cat > "$lab/pebble.new/usr/bin/$program" <<RUN
#!/bin/sh
libc6=\$(dirname "\$0")/../../libc6
exec "\$libc6/$loader" --library-path "\$libc6/$(dirname "$loader")" "\$libc6/$program" "\$@"
RUN
        chmod 755 "$lab/pebble.new/usr/bin/$program"
    done
}

# Unpacks the one .deb in $lab/apt/deb and records its version: pebble itself does not know it.
unpack() {
    deb=$(find "$lab/apt/deb" -name 'pebble_*.deb' | head -n 1)
    [ -n "$deb" ] || return 1
    rm -rf "$lab/pebble.new"
    dpkg -x "$deb" "$lab/pebble.new"
    pebble_runs || { own_library && pebble_runs; } || return 1
    dpkg-deb -f "$deb" Version > "$lab/pebble.new/VERSION"
    rm -rf "$lab/pebble" "$lab/apt"
    mv "$lab/pebble.new" "$lab/pebble"
    say "pebble $(cat "$lab/pebble/VERSION") is in ${lab#"$root"/}/pebble"
}

newer_pebble() {
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    uri=$(mirror)
    if [ -z "$uri" ] && [ -r /etc/debian_version ]; then
        update
        uri=$(mirror)
    fi
    if [ -z "$uri" ] || [ ! -r "$keyring" ]; then
        say "this machine has no Debian mirror to take pebble $wanted from"
        return 1
    fi
    mkdir -p "$lab/apt/none" "$lab/apt/lists/partial" "$lab/apt/cache/archives/partial" "$lab/apt/deb"
    printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$uri" "$suite" > "$lab/apt/sources.list"
    own_apt update && (cd "$lab/apt/deb" && own_apt download pebble) && unpack
}

own_pebble() {
    say "falling back to the pebble of this machine's own sources; tests that need $wanted will be skipped"
    rm -rf "$lab/apt"
    mkdir -p "$lab/apt/deb"
    (cd "$lab/apt/deb" && apt-get -qq -o APT::Sandbox::User=root download pebble) || { update; (cd "$lab/apt/deb" && apt-get -qq -o APT::Sandbox::User=root download pebble); }
    unpack
}

without_apt() {
    for command in make cc; do
        command -v "$command" >/dev/null 2>&1 || fail "please install $command"
    done
    command -v apxs >/dev/null 2>&1 || command -v apxs2 >/dev/null 2>&1 \
        || fail "please install the development files of Apache httpd (apxs)"
    [ "$part" != build ] || return 0
    for command in openssl curl setpriv; do
        command -v "$command" >/dev/null 2>&1 || fail "please install $command"
    done
    [ -x "$lab/pebble/usr/bin/pebble" ] || command -v pebble >/dev/null 2>&1 \
        || fail "please install pebble $wanted and pebble-challtestsrv"
}

case $part in
    build | demo | fleet | test | sanitizers) ;;
    *) fail "there is no part '$part': build, demo, fleet, test, sanitizers" ;;
esac
if ! command -v apt-get >/dev/null 2>&1; then
    say "no apt-get here: nothing is installed, only looked for"
    without_apt
    exit 0
fi
is_installed libclang1 || update
# shellcheck disable=SC2046,SC2086 # lists of words
install_packages $headers $(libclang)
# With mod_ssl's own header a build checks one hook more. It has to be of the same version as the others.
install_packages apache2-ssl-dev || say "no mod_ssl_openssl.h: its hook is taken as mod_md declares it"
[ "$part" != build ] || exit 0

# shellcheck disable=SC2086 # a list of words
install_packages $sites
if [ ! -x "$lab/pebble/usr/bin/pebble" ] || [ ! -s "$lab/pebble/VERSION" ]; then
    mkdir -p "$lab"
    say "fetching pebble (30 MB, below a minute)"
    newer_pebble || own_pebble || fail "pebble could not be had from any package source"
fi
[ "$part" != demo ] || exit 0

# shellcheck disable=SC2086 # a list of words
install_servers $engines
[ "$part" != fleet ] || exit 0

# shellcheck disable=SC2086 # a list of words
install_packages $readers || say "not to be had: $readers"
# shellcheck disable=SC2086 # a list of words
install_servers $dns
fetch_promtool || say "promtool could not be had"
fetch_axe || say "not to be had: axe-core"
[ "$part" != test ] || exit 0

install_packages llvm
