#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts the files of a package below a folder, and makes the packages of them, in target/packages.
#
#   packages.sh stage LAYOUT FOLDER   the files alone: debian or fedora. debian/rules does this
#   packages.sh all                   the .deb and the .rpm
#
# MODULE and A2MD are what to pack; CARGO_DEB and GENERATE_RPM the programs that write packages. Called by make.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
: "${MODULE:?names the module file}" "${A2MD:?names the command}"
work=target/packages

stage() {
    layout=$1 tree=$2
    mkdir -p "$work" "$tree"
    [ -n "${licences:-}" ] || { licences=$work/LICENCES.txt; sh packaging/licences.sh > "$licences"; }
    # What the packages are for, wherever they are made.
    case $layout in
        debian)
            set -- LIBEXECDIR=/usr/lib/apache2/modules SYSCONFDIR=/etc/apache2 \
                DOCDIR=/usr/share/doc/libapache2-mod-md3
            ;;
        fedora) set -- LIBEXECDIR=/usr/lib64/httpd/modules SYSCONFDIR=/etc/httpd DOCDIR=/usr/share/doc/mod_md3 ;;
        *) echo "packages: $layout is no layout" >&2; exit 1 ;;
    esac
    env LAYOUT="$layout" AS=md3 PREFIX=/usr BINDIR=/usr/bin DATADIR=/usr/share UNITDIR=/usr/lib/systemd/system \
        STOREDIR= DESTDIR="$tree" LICENCES="$licences" "$@" sh conf/install.sh > "$work/$layout.log"
    [ "$layout" = fedora ] || rm "$tree/usr/share/doc/libapache2-mod-md3/LICENSE"
    for file in "$tree"/usr/bin/a2md "$tree"/usr/lib*/*/modules/mod_md3.so; do strip --strip-unneeded "$file"; done
}

case ${1:-} in
    stage) stage "$2" "$3" ;;
    all)
        rm -rf "$work"
        stage debian "$work/debian"
        stage fedora "$work/fedora"
        find "$work/debian/usr/share/man" "$work/fedora/usr/share/man" -type f -exec gzip -n9 {} +
        # The token is for debhelper alone.
        mkdir "$work/scripts"
        for script in postinst prerm postrm; do
            sed '/^#DEBHELPER#$/,+1d' "debian/$script" > "$work/scripts/$script"
        done
        # What is made for tests is not sent anywhere.
        quick=
        [ "${PROFILE:-release}" = release ] || quick=yes
        # shellcheck disable=SC2086 # lists of words
        "${CARGO_DEB:-cargo-deb}" --no-build --no-strip ${quick:+--fast} --output "$work/" ${CARGO_FLAGS:-}
        # Of Fedora's httpd; with the architecture where that is known.
        case $(uname -m) in x86_64) mmn=20120211x8664 ;; aarch64) mmn=20120211aarch64 ;; *) mmn=20120211 ;; esac
        "${GENERATE_RPM:-cargo-generate-rpm}" ${quick:+--payload-compress gzip} --output "$work/" \
            --set-metadata "requires = { httpd-mmn = '= $mmn', httpd = '>= 2.4.48', mod_ssl = '*' }"
        echo "made:"
        ls "$work"/*.deb "$work"/*.rpm
        ;;
    *) echo "packages.sh stage LAYOUT FOLDER | all" >&2; exit 1 ;;
esac
