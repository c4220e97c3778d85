#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the image of conf/container/Dockerfile with buildah, and runs it as its user, without any capability, on a root
# file system that nobody writes to, with a CA on loopback. Run by `make test-container`, as root.
#
# No registry is needed: FROM httpd:2.4 is an image made here, of Debian's httpd in the places that the official one has.
# The module is built by the Dockerfile's commands, with the crates of this machine and the quick profile.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
lab=${LAB_DIR:-$here/target/lab}
suite=trixie
. "$here/tests/packages/lib.sh"
say() { printf 'container: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "this needs root"
if ! command -v buildah >/dev/null; then
    say "installing buildah (45 MB, below a minute)"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends buildah >/dev/null
fi

# Mounts of buildah are seen in here alone, and are gone when it ends.
[ -n "${INSIDE:-}" ] || INSIDE=build exec unshare --mount --propagation private sh "$0"
if [ "$INSIDE" != run ]; then
    store=$lab/roots/containers
    mkdir -p "$store"
    export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
    work=$(mktemp -d "${TMPDIR:-/tmp}/mod_md-container.XXXXXX")
    chmod 755 "$work"
    trap 'buildah --root "$store" --runroot "$work/run" rm -a >/dev/null 2>&1 || true; rm -rf --one-file-system "$work"' EXIT
    build() { buildah --root "$store" --runroot "$work/run" "$@"; }

    if ! build inspect --type image localhost/httpd:2.4 >/dev/null 2>&1; then
        say "making a stand-in for httpd:2.4 of Debian $suite, once: a minute"
        sh "$here/tests/packages/root.sh" "$suite" "$work/base"
        sh "$here/tests/packages/enter.sh" "$work/base" sh -c '
            apt-get update -qq && apt-get install -y -qq --no-install-recommends apache2-bin apache2-dev >/dev/null' || fail "no httpd"
        sh "$here/tests/container/stand-in.sh" "$work/base"
        made=$(build from scratch)
        build copy -q "$made" "$work/base" / >/dev/null
        build config --env PATH=/usr/local/apache2/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            --workingdir /usr/local/apache2 --stop-signal SIGWINCH --cmd httpd-foreground "$made"
        build commit -q --rm "$made" localhost/httpd:2.4 >/dev/null
        rm -rf --one-file-system "$work/base"
    fi

    say "building the image: some minutes the first time, see $lab/roots/container.log"
    mkdir -p "$work/context" "$lab/roots/container-target" "${CARGO_HOME:-$HOME/.cargo}/registry"
    (cd "$here" && git ls-files -co --exclude-standard | tar -cf - -T -) | tar -C "$work/context" -xf -
    printf '[net]\noffline = true\n' > "$work/cargo.toml"
    build build --pull-never --build-arg PROFILE=demo -f "$here/conf/container/Dockerfile" -t localhost/httpd-md \
        -v "${CARGO_HOME:-$HOME/.cargo}/registry:/root/.cargo/registry" -v "$work/cargo.toml:/root/.cargo/config.toml:ro" \
        -v "$lab/roots/container-target:/src/target" "$work/context" >"$lab/roots/container.log" 2>&1 \
        || { tail -n 30 "$lab/roots/container.log" >&2; fail "the image was not built"; }

    made=$(build from localhost/httpd-md)
    image=$(build mount "$made")
    user=$(build inspect --format '{{.OCIv1.Config.User}}' "$made")
    [ "$(build inspect --format '{{.OCIv1.Config.Cmd}}' "$made")" = "[httpd -DFOREGROUND]" ] || fail "another command"
    # Mounts, processes and network of its own, too: everything ends with this script.
    INSIDE=run WORK=$work IMAGE=$image IMAGE_USER=$user unshare --mount --propagation private --net --pid --fork --kill-child \
        --mount-proc sh "$0"
    exit 0
fi

ip link set lo up
PATH=$lab/pebble/usr/bin:$PATH
root=$WORK/root
mkdir -p "$root" "$WORK/store" "$WORK/sites"
mount --bind "$IMAGE" "$root"
# What a container's engine has: read-only, but for /run and the volume, which takes owner and mode from the image.
mount -t tmpfs -o mode=1777,nosuid,nodev,noexec tmpfs "$root/run"
chown --reference="$root/var/lib/md" "$WORK/store"
chmod --reference="$root/var/lib/md" "$WORK/store"
mount --bind "$WORK/store" "$root/var/lib/md"
mount --bind "$WORK/sites" "$root/usr/local/apache2/sites"
mount -t proc proc "$root/proc"
for device in null zero random urandom; do
    [ -e "$root/dev/$device" ] || : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -o remount,bind,ro "$root"
mount -o remount,bind,ro "$root/usr/local/apache2/sites"

id=$(chroot "$root" id -u "$IMAGE_USER")
group=$(chroot "$root" id -g "$IMAGE_USER")
[ "$id" != 0 ] || fail "the image runs as root"
# As the engine runs a process of the image with cap_drop: [ALL] and no-new-privileges.
exec_in() {
    # shellcheck disable=SC2086 # nothing, or exec
    ${in_place:-} env -i PATH=/usr/local/apache2/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" \
        setpriv --reuid "$id" --regid "$group" --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
}
start() {
    # The first process of a container is httpd itself; runc gives its output to the container's user.
    : >> "$WORK/httpd.log"
    chown "$id" "$WORK/httpd.log"
    in_place=exec exec_in httpd -DFOREGROUND >>"$WORK/httpd.log" 2>&1 </dev/null &
    server=$!
}
wait_for() {
    what=$1; shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] && { [ -z "${server:-}" ] || kill -0 "$server" 2>/dev/null; } || { tail -n 30 "$WORK/httpd.log" >&2; fail "not within a minute: $what"; }
        sleep 0.2
    done
}
trusted() {
    openssl s_client -connect 127.0.0.1:8443 -servername "$1" -verify_hostname "$1" -verify_return_error \
        -CAfile "$WORK/ca-root.pem" </dev/null
}
serial() { trusted "$1" 2>/dev/null | openssl x509 -noout -serial; }
# The CA comes to the ports that a host leads to the container.
site() {
    cat > "$WORK/sites/$1.conf" <<CONF
MDomain $1
<VirtualHost *:8443>
    ServerName $1
    SSLEngine on
</VirtualHost>
CONF
}

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$WORK/ca.key" -out "$WORK/sites/ca.pem" 2>/dev/null
chmod 644 "$WORK/sites/ca.pem"
cat > "$WORK/pebble.json" <<CONFIG
{ "pebble": {
  "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
  "certificate": "$WORK/sites/ca.pem", "privateKey": "$WORK/ca.key", "httpPort": 8080, "tlsPort": 8443,
  "ocspResponderURL": "", "externalAccountBindingRequired": false, "retryAfter": { "authz": 1, "order": 1 },
  "profiles": { "default": { "description": "90 days", "validityPeriod": 7776000 } } } }
CONFIG
pebble-challtestsrv -defaultIPv4 127.0.0.1 -defaultIPv6 "" -http01 "" -https01 "" -tlsalpn01 "" -doh "" \
    -dnsserver 127.0.0.1:8053 -management 127.0.0.1:8055 >"$WORK/dns.log" 2>&1 &
PEBBLE_VA_NOSLEEP=1 pebble -config "$WORK/pebble.json" -dnsserver 127.0.0.1:8053 >"$WORK/pebble.log" 2>&1 &
wait_for "the CA" curl -sfk https://127.0.0.1:15000/roots/0 -o "$WORK/ca-root.pem"
cat > "$WORK/sites/ca.conf" <<CONF
MDCertificateAgreement accepted
MDContactEmail admin@example.test
MDCertificateAuthority https://127.0.0.1:14000/dir
MDCACertificateFile sites/ca.pem
CONF
site one.example.test

exec_in sh -c ': > /usr/local/apache2/conf/x' 2>/dev/null && fail "the root file system can be written to"
start
wait_for "a trusted certificate" trusted one.example.test
say "a certificate of the CA is served by the user $id, on a root file system that is read-only"
children=$(cat "/proc/$server/task/$server/children")
for pid in $server $children; do
    owner=$(stat -c %u "/proc/$pid")
    caps=$(sed -n 's/^CapEff:[[:space:]]*//p' "/proc/$pid/status")
    [ "$owner $caps" = "$id 0000000000000000" ] || fail "process $pid is of the user $owner with capabilities $caps"
done
[ -z "$(find "$WORK/store" ! -user "$id")" ] || fail "files in the store are not of the user $id"

exec_in a2md status || fail "a2md status in the container"
site two.example.test
exec_in httpd -k graceful
wait_for "a trusted certificate of a site that came with a reload" trusted two.example.test
say "a reload has brought a second site"

before=$(serial one.example.test)
kill -WINCH "$server"
wait "$server" || fail "httpd ended with $?"
start
wait_for "the site after a start" trusted one.example.test
[ "$(serial one.example.test)" = "$before" ] || fail "another certificate after a new start on the same volume"
say "a new container on the same volume serves the same certificate"
kill -WINCH "$server"
wait "$server" || fail "httpd ended with $?"
say "ok"
