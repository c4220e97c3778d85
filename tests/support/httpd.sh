#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds httpd $1 (2.4.48, …) below target/lab/httpd-$1, with mod_ssl and all MPMs. `make test HTTPD=2.4.48`
# runs this and uses it.
#
# The sources come from the archive of the Apache Software Foundation, with their checksum, or from the folder
# HTTPD_SOURCES, which has httpd-$1.tar.gz. APR, PCRE and OpenSSL are the machine's; `setup.sh` has installed
# compiler and make.
set -eu

version=${1:?names a version of httpd, such as 2.4.48}
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
lab=${LAB_DIR:-$root/target/lab}
prefix=$lab/httpd-$version
archive=httpd-$version.tar.gz

say() { printf 'httpd: %s\n' "$*"; }
fail() { printf 'httpd: %s\n' "$*" >&2; exit 1; }

[ ! -x "$prefix/bin/apxs" ] || exit 0
build=$lab/httpd-$version.build
rm -rf "$build"
mkdir -p "$build"
if [ -n "${HTTPD_SOURCES:-}" ]; then
    cp "$HTTPD_SOURCES/$archive" "$build/"
else
    for file in "$archive" "$archive.sha256"; do
        curl -fsSL --retry 3 -o "$build/$file" "https://archive.apache.org/dist/httpd/$file" \
            || fail "$file could not be fetched; HTTPD_SOURCES=FOLDER takes it from there"
    done
    (cd "$build" && sha256sum -c "$archive.sha256" >/dev/null) || fail "$archive does not have the checksum of $archive.sha256"
fi
if command -v apt-get >/dev/null 2>&1; then
    # PCRE2 is what httpd has known since 2.4.53, and what newer systems have alone.
    for pcre in libpcre3-dev libpcre2-dev; do
        case $(apt-cache policy $pcre) in *'Candidate: '[0-9]*) break ;; esac
    done
    packages="libapr1-dev libaprutil1-dev $pcre libssl-dev zlib1g-dev libnghttp2-dev"
    # shellcheck disable=SC2086 # a list of words
    if ! dpkg-query -W $packages >/dev/null 2>&1; then
        root_command=
        [ "$(id -u)" = 0 ] || root_command="sudo -n"
        $root_command env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
    fi
fi
say "building $version, see $build/log"
(
    cd "$build"
    tar xf "$archive" --strip-components 1
    ./configure --prefix="$prefix" --enable-mpms-shared=all --enable-mods-shared=all --enable-ssl --enable-http2 &&
        make -j "$(nproc)" && make install
) >"$build/log" 2>&1 || { tail -n 20 "$build/log" >&2; rm -rf "$prefix"; fail "$version could not be built"; }
rm -rf "$build"
say "$version is in $prefix"
