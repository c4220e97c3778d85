#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the packages (PROFILE, here demo), looks at what they hold, and has the .deb live on fresh Debian 12 and 13.
# SUITES chooses among these. Run by `make test-packages`, as root; debootstrap, lintian, rpm and rpmlint are installed where
# they are missing.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
cd "$here"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { printf 'packages: %s\n' "$*"; }
fail() { say "FAILED: $*"; exit 1; }

[ "$(id -u)" = 0 ] || fail "this needs root"
for tool in debootstrap lintian rpm rpmlint; do
    command -v $tool >/dev/null 2>&1 \
        || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $tool >/dev/null \
        || say "not to be had: $tool"
done
# In its turn the Makefile calls this.
${MAKE:-make} packages PROFILE="${PROFILE:-demo}"
deb=$(ls target/packages/*.deb) rpm=$(ls target/packages/*.rpm)

# --- What they hold: the same files, each at its place ---

# expected CONFIGURATION LOAD MODULES DOC ZSH
expected() {
    printf '%s\n' "$1" "$2" "$3/mod_md3.so" /usr/bin/a2md /usr/lib/systemd/system/a2md-export@.service \
        /usr/share/bash-completion/completions/a2md "/usr/share/zsh/$5/_a2md" \
        /usr/share/fish/vendor_completions.d/a2md.fish /usr/share/man/man8/a2md.8.gz \
        "$4/NOTICE" "$4/README.md" "$4/CHANGELOG.md" "$4/SECURITY.md" "$4/LICENCES.txt"
    "target/cli/${PROFILE:-demo}/a2md" man --list | tr ' ' - | sed 's|.*|/usr/share/man/man8/a2md-&.8.gz|'
    for page in docs/*.md; do echo "$4/$page"; done
    for file in conf/*.yml conf/*.json; do [ ! -f "$file" ] || echo "$4/examples/${file#conf/}"; done
}
doc=/usr/share/doc/libapache2-mod-md3
{
    expected /etc/apache2/mods-available/md3.conf /etc/apache2/mods-available/md3.load /usr/lib/apache2/modules $doc \
        vendor-completions
    printf '%s\n' $doc/copyright $doc/changelog.Debian.gz
} | sort > "$work/expected"
dpkg-deb -c "$deb" | awk '$1 !~ /^d/ { sub(/^\./, "", $6); print $6 }' | sort > "$work/deb"
diff "$work/expected" "$work/deb" || fail "the files of the .deb"
dpkg-deb -f "$deb" Depends | grep -q 'apache2-api-20120211.*libssl3\|libssl3.*apache2-api-20120211' || fail "Depends"
# So that these have to be there, and no newer ones.
if command -v lintian >/dev/null 2>&1; then
    lintian --fail-on error --suppress-tags bogus-mail-host-in-debian-changelog "$deb" || fail "lintian"
fi

if command -v rpm >/dev/null 2>&1; then
    doc=/usr/share/doc/mod_md3
    {
        expected /etc/httpd/conf.d/md3.conf /etc/httpd/conf.modules.d/01-md3.conf /usr/lib64/httpd/modules $doc \
            site-functions
        echo $doc/LICENSE
    } | sort > "$work/expected"
    rpm -qlp "$rpm" | sort > "$work/rpm"
    diff "$work/expected" "$work/rpm" || fail "the files of the .rpm"
    rpm -qp --requires "$rpm" | grep -q '^httpd-mmn = 20120211' || fail "the .rpm requires no httpd-mmn"
    rpm -qp --conflicts "$rpm" | grep -q '^mod_md' || fail "the .rpm and mod_md have the same command"
    printf '%s\n' /etc/httpd/conf.d/md3.conf /etc/httpd/conf.modules.d/01-md3.conf > "$work/expected"
    rpm -qcp "$rpm" | sort | diff "$work/expected" - || fail "configuration of the .rpm"
    mkdir "$work/root"
    (cd "$work/root" && rpm2cpio "$here/$rpm" | cpio -id --quiet)
    "$work/root/usr/bin/a2md" -V
    for wanted in 'httpd >= 2.4.48' mod_ssl 'libssl.so.3()(64bit)'; do
        rpm -qp --requires "$rpm" | grep -qxF -e "$wanted" || fail "the .rpm requires no $wanted"
    done
    ! command -v rpmlint >/dev/null 2>&1 || rpmlint -r tests/packages/rpmlintrc "$rpm" || fail "rpmlint"
    sh tests/packages/fedora.sh "$rpm" || fail "the .rpm in the layout of Fedora"
fi
say "both packages hold what they should"

for suite in ${SUITES:-bookworm trixie}; do
    begin=$(date +%s)
    sh tests/packages/life.sh "$suite" "$deb" || fail "$suite"
    say "$suite took $(($(date +%s) - begin)) s"
done
