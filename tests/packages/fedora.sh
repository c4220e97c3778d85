#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fedora.sh RPM: what the .rpm holds, and its scripts, tried with the httpd of a fresh Debian in the layout of Fedora,
# for machines that get no root file system of Fedora. systemctl is one of the test, and notes how it is called.
set -eu

rpm=$(realpath "${1:?names the package}")
here=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
. "$here/tests/packages/lib.sh"
alone "$0" "$@"

say() { printf 'fedora: %s\n' "$*"; }
fail() { say "FAILED: $*"; [ ! -s "$output" ] || cat "$output"; exit 1; }
roots=${LAB_DIR:-$here/target/lab}/roots
mkdir -p "$roots"
work=$(mktemp -d "$roots/fedora.XXXXXX")
chmod 755 "$work"
dir=$work/root output=$work/output
trap 'umount "$dir"/proc "$dir"/dev/shm 2>/dev/null || true
    rm -rf --one-file-system "$work"' EXIT
sh "$here/tests/packages/root.sh" bookworm "$dir"
mounts "$dir"
printf '#!/bin/sh\nexit 101\n' > "$dir/usr/sbin/policy-rc.d"
chmod 755 "$dir/usr/sbin/policy-rc.d"
within "$dir" apt-get -qq install -y --no-install-recommends apache2-bin >"$output" 2>&1 || fail "apache2-bin"
keep "$dir"
(cd "$dir" && rpm2cpio "$rpm" | cpio -id --quiet)

# As Fedora's httpd.conf has it: modules first, settings last.
mkdir -p "$dir/etc/httpd/conf" "$dir/var/lib/httpd" "$dir/run/httpd" "$dir/etc/httpd/logs"
cat > "$dir/etc/httpd/conf.modules.d/00-base.conf" <<'CONFIG'
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule authz_host_module /usr/lib/apache2/modules/mod_authz_host.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
CONFIG
# configure TEXT: an httpd.conf with it.
configure() {
    cat > "$dir/etc/httpd/conf/httpd.conf" <<CONFIG
ServerRoot /etc/httpd
ServerName localhost
Include conf.modules.d/*.conf
$1
MDomain example.org
IncludeOptional conf.d/*.conf
CONFIG
}
cat > "$dir/usr/sbin/httpd" <<'RUN'
#!/bin/sh
exec apache2 -f /etc/httpd/conf/httpd.conf "$@"
RUN
cat > "$dir/usr/bin/systemctl" <<'RUN'
#!/bin/sh
echo "$*" >> /called
RUN
chmod 755 "$dir/usr/sbin/httpd" "$dir/usr/bin/systemctl"

# script NAME ARGUMENT: the scriptlet as rpm calls it.
script() {
    rpm -qp --qf "%{$1}" "$rpm" > "$dir/script"
    : > "$dir/called"
    within "$dir" sh -e /script "$2" >"$output" 2>&1 || fail "$1 $2"
}
store() {
    within "$dir" httpd -t -D DUMP_MD_JSON >"$output" 2>&1 || fail "the configuration"
    grep -qE "\"[a-z-]*store[a-z-]*\": *\"$1\"" "$output" || fail "the store is not $1"
}
reloads() { grep -cxF 'reload httpd' "$dir/called" || true; }

configure ""
store /etc/httpd/md
script POSTIN 1
[ -d "$dir/var/lib/httpd/md" ] || fail "no folder for a new store"
store /var/lib/httpd/md
script POSTTRANS 1
[ "$(reloads)" = 1 ] || fail "not reloaded at the end of the transaction"
say "a new installation: the store is /var/lib/httpd/md, and httpd is reloaded"

configure "MDStoreDir /srv/md"
store /srv/md
rmdir "$dir/var/lib/httpd/md"
script POSTIN 1
[ ! -e "$dir/var/lib/httpd/md" ] || fail "a folder beside the store of the administrator"
configure ""
mkdir "$dir/etc/httpd/md"
: > "$dir/etc/httpd/md/md_store.json"
script POSTIN 1
grep -q 'stays where it is: /etc/httpd/md' "$output" && [ ! -e "$dir/var/lib/httpd/md" ] || fail "a store of before"
store /etc/httpd/md
say "a store of before stays, and MDStoreDir is followed"

script PREUN 1
[ ! -s "$output" ] || fail "an upgrade removes nothing"
script POSTUN 1
[ "$(reloads)" = 0 ] || fail "an upgrade reloads once, at its end"
script PREUN 0
grep -q 'kept in /etc/httpd/md' "$output" || fail "where the store is"
script POSTUN 0
[ "$(reloads)" = 1 ] || fail "not reloaded after the removal"
configure Nonsense
script POSTUN 0
[ "$(reloads)" = 0 ] && grep -q Nonsense "$output" || fail "reloaded with a broken configuration"
script POSTTRANS 1
[ "$(reloads)" = 0 ] && grep -q Nonsense "$output" || fail "reloaded with a broken configuration"
say "a broken configuration is not loaded, and told"
