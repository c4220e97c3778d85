#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# life.sh SUITE DEB: the life of the Debian package on a fresh Debian of that suite, whose httpd serves a site all the
# while: installed over the C module, both upgraded, removed, purged, installed again; then on its own. As root; only
# the packages of the distribution are fetched, everything else is on a loopback of its own.
set -eu

suite=${1:?names a suite} deb=$(realpath "${2:?names the package}") phase=${3:-fetch}
here=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
. "$here/tests/packages/lib.sh"
# shellcheck disable=SC2034 # `alone` looks at it
[ "$phase" = fetch ] || LOOPBACK=yes
alone "$0" "$@"

say() { printf 'life %s: %s\n' "$suite" "$*"; }
fail() {
    say "FAILED: $*"
    [ ! -s "${output:-}" ] || { say "what the last command said:"; cat "$output"; }
    for log in "$dir/var/log/apache2/error.log" "$work/pebble.log"; do
        [ ! -s "$log" ] || { say "the end of $log:"; tail -n 30 "$log"; }
    done
    exit 1
}

if [ "$phase" = fetch ]; then
    roots=${LAB_DIR:-$here/target/lab}/roots
    mkdir -p "$roots"
    work=$(mktemp -d "$roots/life.XXXXXX")
    chmod 755 "$work"
    # Mounts are those of this process; they are undone before anything is removed.
    trap 'umount "$work"/root/proc "$work"/root/dev/shm 2>/dev/null || true
        rm -rf --one-file-system "$work"' EXIT
    dir=$work/root
    sh "$here/tests/packages/root.sh" "$suite" "$dir"
    mounts "$dir"
    # httpd is started by the test alone.
    printf '#!/bin/sh\nexit 101\n' > "$dir/usr/sbin/policy-rc.d"
    chmod 755 "$dir/usr/sbin/policy-rc.d"
    within "$dir" apt-get -qq install -y --no-install-recommends apache2 >"$work/apt.log" 2>&1 \
        || { cat "$work/apt.log"; exit 1; }
    mkdir "$dir/root/distribution"
    within "$dir" sh -c 'cd /root/distribution && apt-get -qq download apache2 apache2-bin' >"$work/apt.log" 2>&1 \
        || { cat "$work/apt.log"; exit 1; }
    keep "$dir"
    umount "$dir/proc" "$dir/dev/shm"
    WORK=$work sh "$0" "$suite" "$deb" serve
    exit
fi

work=${WORK:?} dir=$work/root output=$work/output
lab=${LAB_DIR:-$here/target/lab}
PATH=$lab/pebble/usr/bin:$PATH
conf=$dir/etc/apache2
mounts "$dir"

# --- What the steps are made of ---

# run COMMAND…: in the root. What it says is in $output.
run() { within "$dir" "$@" >"$output" 2>&1 </dev/null; }
must() { run "$@" || fail "$*"; }
said() { grep -qF -e "$1" "$output" || fail "not said: $1"; }
wait_for() {
    what=$1; shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || fail "not within a minute: $what"
        sleep 0.2
    done
}
# A client that trusts the CA alone accepts the site.
verified() {
    openssl s_client -connect 127.0.0.1:443 -servername "$1" -verify_hostname "$1" -verify_return_error \
        -no-CApath -no-CAstore -CAfile "$work/root.pem" </dev/null
}
serial() {
    openssl s_client -connect 127.0.0.1:443 -servername live.example.test </dev/null 2>/dev/null \
        | openssl x509 -noout -serial
}
status() { curl -sf http://127.0.0.1/md-status | tr -d ' \n'; }
status_has() { status | grep -qF -e "$1"; }
enabled() { [ -e "$conf/mods-enabled/$1.load" ]; }
# step WHAT MODULE VERSION: the site is served with the certificate of the beginning, by that module alone.
step() {
    run apache2ctl configtest || fail "configtest after: $1"
    for module in md md3; do
        if [ "$module" = "$2" ]; then enabled "$module" || fail "not enabled: $module"
        else ! enabled "$module" || fail "still enabled: $module"
        fi
    done
    # The children of before end when their requests have.
    wait_for "version $3 after: $1" status_has "\"version\":\"$3"
    wait_for "the site after: $1" verified live.example.test
    [ "$(serial)" = "$serial" ] || fail "another certificate after: $1"
    # Without what is in the running processes too.
    must apache2ctl stop
    wait_for "the end" ended
    must apache2ctl start
    wait_for "the site after a start" verified live.example.test
    [ "$(serial)" = "$serial" ] || fail "another certificate after a start: $1"
    status_has "\"version\":\"$3" || fail "another version after a start: $1"
    say "$1"
}
ended() { [ ! -e "$dir/run/apache2/apache2.pid" ]; }
reloads() { grep -c 'Doing graceful restart' "$dir/var/log/apache2/error.log" || true; }
install() { cp "$1" "$dir/root/package.deb"; run dpkg -i /root/package.deb; }

# --- The CA, outside of the root ---

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
cat > "$work/pebble.json" <<CONFIG
{ "pebble": {
  "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
  "certificate": "$work/ca.pem", "privateKey": "$work/ca.key", "httpPort": 80, "tlsPort": 443,
  "ocspResponderURL": "", "externalAccountBindingRequired": false, "retryAfter": { "authz": 1, "order": 1 },
  "profiles": { "default": { "description": "90 days", "validityPeriod": 7776000 } } } }
CONFIG
set -- -defaultIPv4 127.0.0.1 -defaultIPv6 "" -http01 "" -https01 "" -tlsalpn01 "" -management 127.0.0.1:8055
if pebble-challtestsrv -h 2>&1 | grep -q -e -dnsserver; then set -- "$@" -dnsserver 127.0.0.1:8053 -doh ""
else set -- "$@" -dns01 127.0.0.1:8053; fi
pebble-challtestsrv "$@" >"$work/dns.log" 2>&1 </dev/null &
PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 pebble -config "$work/pebble.json" -dnsserver 127.0.0.1:8053 \
    >"$work/pebble.log" 2>&1 </dev/null &
wait_for "the CA" curl -sfk https://127.0.0.1:15000/roots/0 -o "$work/root.pem"
cp "$work/ca.pem" "$dir/etc/ssl/ca-of-test.pem"

# --- The C module, with a site ---

# Where no init runs, nothing is done without such a policy.
policy() { printf '#!/bin/sh\nexit %s\n' "$1" > "$dir/usr/sbin/policy-rc.d"; }
policy 0
echo 'ServerName localhost' > "$conf/conf-enabled/name.conf"
settings() {
    cat <<CONFIG
MDCertificateAgreement accepted
MDContactEmail admin@example.test
MDCertificateAuthority https://127.0.0.1:14000/dir
MDCACertificateFile /etc/ssl/ca-of-test.pem
CONFIG
}
# site NAME
site() {
    cat <<CONFIG
MDomain $1
<VirtualHost *:443>
    ServerName $1
    DocumentRoot /var/www/html
    SSLEngine on
</VirtualHost>
<Location "/md-status">
    SetHandler md-status
</Location>
CONFIG
}
site live.example.test > "$conf/sites-enabled/live.conf"
# A file that an administrator has made.
settings > "$conf/mods-available/md.conf"
must a2enmod ssl md
must apache2ctl start
wait_for "the certificate" status_has '"renewal":{"name":"live.example.test","finished":true'
must apache2ctl graceful
wait_for "the site" verified live.example.test
serial=$(serial)
c=$(status | sed 's/.*"version":"\([^"]*\)".*/\1/')
ours=$(dpkg-deb -f "$deb" Version)
ours=${ours%-*}
step "the C module $c serves a site" md "$c"

# --- Installed over it ---

# Not with a configuration that httpd does not take.
echo Nonsense > "$conf/conf-enabled/broken.conf"
install "$deb" || fail "the installation beside a broken configuration"
said "httpd does not take its configuration with md3, md stays enabled"
said "Nonsense"
rm "$conf/conf-enabled/broken.conf"
step "md stays where the configuration is broken" md "$c"
must dpkg -P libapache2-mod-md3
step "purged before it was used" md "$c"

# Nor with settings that are not those of the administrator: md.conf may lead anywhere, whatever is in mods-available.
own_settings() { [ "$(readlink "$conf/mods-enabled/md.conf")" = ../own/md.conf ] || fail "another md.conf: $1"; }
mkdir "$conf/own"
mv "$conf/mods-available/md.conf" "$conf/own/md.conf"
echo '# Not this one.' > "$conf/mods-available/md.conf"
ln -sfn ../own/md.conf "$conf/mods-enabled/md.conf"
echo Nonsense > "$conf/conf-enabled/broken.conf"
install "$deb" || fail "the installation beside an md.conf of one's own"
rm "$conf/conf-enabled/broken.conf"
own_settings "md stays"
step "md stays with the settings that it has" md "$c"
must dpkg -P libapache2-mod-md3
install "$deb" || fail "the installation beside an md.conf of one's own"
own_settings "md3 takes the place"
step "md3 takes the settings that md has" md3 "$ours"
must dpkg -P libapache2-mod-md3
own_settings "md comes back"
step "and gives them back" md "$c"
mv "$conf/own/md.conf" "$conf/mods-available/md.conf"
ln -sfn ../mods-available/md.conf "$conf/mods-enabled/md.conf"

# An md.load that a2dismod does not remove, and a port that nobody has asked for.
rm "$conf/mods-enabled/md.load"
cp "$conf/mods-available/md.load" "$conf/mods-enabled/md.load"
install "$deb" || fail "the installation beside an md.load of one's own"
said "md.load is a file of its own, md stays enabled"
step "md stays where an administrator has written md.load" md "$c"
must dpkg -P libapache2-mod-md3
ln -sfn ../mods-available/md.load "$conf/mods-enabled/md.load"
must a2dismod -f ssl
install "$deb" || fail "the installation without ssl"
said "md is enabled without ssl, and stays enabled"
! enabled ssl && enabled md || fail "ssl was enabled, and listens on port 443"
must dpkg -P libapache2-mod-md3
must a2enmod ssl
step "md stays where ssl is not enabled" md "$c"

install "$deb" || fail "the installation"
said "md3 has taken the place of md"
said "stays where it is: /etc/apache2/md"
[ ! -e "$dir/var/lib/apache2/md" ] || fail "a second store"
step "installed: md3 serves the same certificate" md3 "$ours"
must a2md -V
must a2md status
said live.example.test
must a2md check

# --- Upgrades of httpd, and of itself under load ---

must sh -c 'dpkg -i /root/distribution/*.deb'
step "apache2 and apache2-bin installed again under it" md3 "$ours"

# The same module with another text for its build.
dpkg-deb -R "$deb" "$work/next"
sed -i 's/httpd 2\.4\./HTTPD 2.4./' "$work/next/usr/lib/apache2/modules/mod_md3.so"
sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
rm -f "$work/next/DEBIAN/md5sums"
dpkg-deb --root-owner-group -Zgzip -z1 -b "$work/next" "$work/next.deb" >/dev/null
status_has 'HTTPD2.4.' && fail "the next build is not told from this one"
: > "$work/failed"
(
    handshakes=0
    while [ ! -e "$work/enough" ]; do
        if verified live.example.test >"$work/handshake" 2>&1; then handshakes=$((handshakes + 1))
        else cat "$work/handshake" >> "$work/failed"; fi
        echo "$handshakes" > "$work/handshakes.new" && mv "$work/handshakes.new" "$work/handshakes"
    done
) &
load=$!
many() { [ "$(cat "$work/handshakes")" -ge "$1" ]; }
wait_for "a load" many 10
install "$work/next.deb" || fail "the upgrade"
wait_for "the next build" status_has 'HTTPD2.4.'
wait_for "a load after the upgrade" many $(($(cat "$work/handshakes") + 10))
: > "$work/enough"
wait "$load"
[ ! -s "$work/failed" ] || { cat "$work/failed"; fail "handshakes under the upgrade"; }
step "upgraded under $(cat "$work/handshakes") handshakes, none failed: the new code runs" md3 "$ours"
install "$deb" || fail "the downgrade"
wait_for "the previous build" status_has 'httpd2.4.'
step "back to the version before" md3 "$ours"

before=$(reloads)
echo Nonsense > "$conf/conf-enabled/broken.conf"
install "$work/next.deb" || fail "the upgrade beside a broken configuration"
said "configuration is broken"
[ "$(reloads)" = "$before" ] || fail "a reload with a broken configuration"
verified live.example.test >/dev/null 2>&1 || fail "the site beside a broken configuration"
rm "$conf/conf-enabled/broken.conf"
policy 101
install "$deb" || fail "the upgrade under a policy"
[ "$(reloads)" = "$before" ] || fail "a reload that the policy forbids"
policy 0
step "neither a broken configuration nor a policy is passed over" md3 "$ours"

must apache2ctl stop
wait_for "the end" ended
install "$deb" || fail "the upgrade while httpd is stopped"
ended || fail "httpd was started"
must apache2ctl start
step "what does not run is not started" md3 "$ours"

# The administrator's word counts.
must a2dismod md3
must a2enmod md
must apache2ctl graceful
install "$work/next.deb" || fail "the upgrade of a module that is disabled"
step "an administrator has gone back to md, and an upgrade leaves it so" md "$c"
must a2dismod md
must a2enmod md3
must apache2ctl graceful
install "$deb" || fail "the installation again"
step "and has come again" md3 "$ours"

# --- Removed, installed, purged, installed ---

must dpkg -r libapache2-mod-md3
said "md is enabled again"
step "removed: md serves the same certificate" md "$c"
install "$deb" || fail "the installation after a removal"
step "installed after a removal" md3 "$ours"
must dpkg -P libapache2-mod-md3
said "Keys, certificates and accounts are kept in /etc/apache2/md"
[ -e "$conf/md/md_store.json" ] && [ ! -e "$conf/mods-available/md3.load" ] || fail "what a purge leaves"
step "purged: the store is left, md serves the same certificate" md "$c"
must sh -c 'dpkg -i /root/distribution/*.deb'
step "apache2 and apache2-bin installed again" md "$c"
# apt may configure them in any order.
must sh -c 'dpkg --unpack /root/distribution/apache2_*.deb'
install "$deb" || fail "the installation after a purge"
must dpkg --configure apache2
step "installed after a purge, while apache2 is being upgraded" md3 "$ours"

# --- On its own, where no md was ---

must apache2ctl stop
wait_for "the end" ended
rm "$conf/sites-enabled/live.conf"
must dpkg -P libapache2-mod-md3
must a2dismod md
rm -rf "$conf/md" "$conf/mods-available/md.conf"
install "$deb" || fail "the installation where there is no md"
said "To use it: a2enmod ssl md3"
! enabled md3 || fail "it was enabled, and nobody had asked for it"
[ -d "$dir/var/lib/apache2/md" ] || fail "no folder for the store"
{ settings; site new.example.test; } > "$conf/sites-enabled/new.conf"
must a2enmod ssl md3
must apache2ctl configtest
must apache2ctl start
wait_for "the first certificate" verified new.example.test
[ -e "$dir/var/lib/apache2/md/md_store.json" ] && [ ! -e "$conf/md" ] || fail "the store is below /var/lib"
must a2md status
said new.example.test
say "on its own: enabled by hand, the store below /var/lib"
prerm=$dir/var/lib/dpkg/info/libapache2-mod-md3.prerm
sed -i 's/^exit 0$/exit 1/' "$prerm"
! run dpkg -r libapache2-mod-md3 || fail "the removal was to fail"
enabled md3 || fail "disabled by a removal that has failed"
must apache2ctl configtest
sed -i 's/^exit 1$/exit 0/' "$prerm"
say "a removal that fails leaves it enabled"
must dpkg -r libapache2-mod-md3
said "httpd goes on with what it has loaded"
! enabled md && ! enabled md3 || fail "which was enabled before?"
verified new.example.test >/dev/null 2>&1 || fail "the site after the removal"
must a2dismod -f ssl
install "$deb" || fail "the installation where ssl is not enabled any more"
! enabled md3 && ! enabled ssl || fail "ssl was enabled, and listens on port 443"
must dpkg -r libapache2-mod-md3
must a2enmod ssl
install "$deb" || fail "the installation again"
enabled md3 || fail "it was enabled when it was removed"
must apache2ctl graceful
wait_for "the site" verified new.example.test
say "on its own: removed, and installed again as it was"
must apache2ctl stop
wait_for "the end" ended
must dpkg -P libapache2-mod-md3
said "Keys, certificates and accounts are kept in /var/lib/apache2/md"

# An MDStoreDir of the administrator is the one that counts, also where it begins like ours.
rm -rf "$dir/var/lib/apache2/md"
sed -i '1i MDStoreDir /var/lib/apache2/md-own' "$conf/sites-enabled/new.conf"
install "$deb" || fail "the installation with an MDStoreDir"
[ ! -e "$dir/var/lib/apache2/md" ] || fail "a folder for a store that has another"
must a2enmod md3
must apache2ctl start
wait_for "the first certificate" verified new.example.test
[ -e "$dir/var/lib/apache2/md-own/md_store.json" ] && [ ! -e "$conf/md" ] \
    || fail "the store is where MDStoreDir says"
must apache2ctl stop
wait_for "the end" ended
say "an MDStoreDir is followed"
say "done"
