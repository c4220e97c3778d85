#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts the module ($MODULE) and its configuration where apxs says, below $DESTDIR. Run by `make install`.
#
# A module that is not ours is kept as mod_md.so.orig, the latest one; configuration files that exist are left
# as they are.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
dest=${DESTDIR:-}
module=${MODULE:?names the module file}

apxs=$(command -v apxs || command -v apxs2) || { echo "install: apxs is missing (apache2-dev or httpd-devel)" >&2; exit 1; }
[ -f "$module" ] || { echo "install: $module is not there: run \`make build\` first" >&2; exit 1; }
libexec=$("$apxs" -q LIBEXECDIR)
sysconf=$("$apxs" -q SYSCONFDIR)
target=$dest$libexec/mod_md.so

mkdir -p "$dest$libexec"
# Every library built by rustc carries that path; the C module does not.
if [ -f "$target" ] && ! grep -qa /rustc/ "$target"; then
    cp -p "$target" "$target.orig.new"
    mv -f "$target.orig.new" "$target.orig"
    echo "install: the module that was there is now $target.orig"
fi
# Renamed into place: a running httpd has the old file mapped.
install -m 644 "$module" "$target.new"
mv -f "$target.new" "$target"
echo "install: $target"

if [ -d "$sysconf/mods-available" ] || [ -d "$dest$sysconf/mods-available" ] || [ -f /etc/debian_version ]; then
    conf=$dest$sysconf/mods-available
else
    conf=$dest$sysconf
fi
mkdir -p "$conf"
for name in md.load md.conf; do
    if [ -e "$conf/$name" ]; then
        echo "install: $conf/$name exists and is left as it is"
    else
        sed "s|@LIBEXECDIR@|$libexec|g" "$here/$name" > "$conf/$name"
        echo "install: $conf/$name"
    fi
done
