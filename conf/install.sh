#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts the module ($MODULE) and its configuration where apxs says, and the command ($A2MD) with its manual pages,
# completions and units where PREFIX says, all below $DESTDIR. Run by `make install`.
#
# A module or command that is not ours is kept as mod_md.so.orig and a2md.orig, the latest one; configuration
# files that exist are left as they are.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
dest=${DESTDIR:-}
module=${MODULE:?names the module file}
command=${A2MD:-}

apxs=$(command -v apxs || command -v apxs2) || { echo "install: apxs is missing (apache2-dev or httpd-devel)" >&2; exit 1; }
[ -f "$module" ] || { echo "install: $module is not there: run \`make build\` first" >&2; exit 1; }
libexec=$("$apxs" -q LIBEXECDIR)
sysconf=$("$apxs" -q SYSCONFDIR)

# Puts file $1 to $2 with mode $3. Renamed into place: a running process has the old file mapped.
put() {
    mkdir -p "$(dirname -- "$2")"
    # Every binary built by rustc carries that path; those of the C module do not.
    if [ -f "$2" ] && ! grep -qa /rustc/ "$2"; then
        cp -p "$2" "$2.orig.new"
        mv -f "$2.orig.new" "$2.orig"
        echo "install: what was there is now $2.orig"
    fi
    install -m "$3" "$1" "$2.new"
    mv -f "$2.new" "$2"
    echo "install: $2"
}

put "$module" "$dest$libexec/mod_md.so" 644

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

if [ ! -f "$command" ]; then
    echo "install: the command a2md is not there and is left out: \`make build\` makes it" >&2
    exit 0
fi
# The program runs here to print its pages; one for another machine cannot.
if ! "$command" -V >/dev/null 2>&1; then
    echo "install: $command does not run on this machine: its manual pages and completions are left out" >&2
    runs=false
else
    runs=true
fi
# Of the system, where httpd is, as packages have it; elsewhere PREFIX says.
sbin=${SBINDIR:-${PREFIX:+$PREFIX/sbin}}
sbin=${sbin:-$("$apxs" -q SBINDIR)}
prefix=${PREFIX:-$(dirname -- "$sbin")}
share=${DATADIR:-$prefix/share}
put "$command" "$dest$sbin/a2md" 755

# $1: words of a command, or nothing; $2: the file.
print() {
    mkdir -p "$(dirname -- "$2")"
    # shellcheck disable=SC2086
    "$command" $1 > "$2.new"
    chmod 644 "$2.new"
    mv -f "$2.new" "$2"
    echo "install: $2"
}
if $runs; then
    man=$dest$share/man/man8
    print man "$man/a2md.8"
    "$command" man --list | while read -r page; do
        print "man $page" "$man/a2md-$(echo "$page" | tr ' ' '-').8"
    done
    print "completions bash" "$dest$share/bash-completion/completions/a2md"
    print "completions zsh" "$dest$share/zsh/site-functions/_a2md"
    print "completions fish" "$dest$share/fish/vendor_completions.d/a2md.fish"
fi

# Units that nobody has changed are replaced, as packages do it.
units=$dest${UNITDIR:-$prefix/lib/systemd/system}
for unit in "$here"/*.service "$here"/*.timer; do
    [ -f "$unit" ] || continue
    mkdir -p "$units"
    sed "s|@SBINDIR@|$sbin|g" "$unit" > "$units/$(basename -- "$unit").new"
    chmod 644 "$units/$(basename -- "$unit").new"
    mv -f "$units/$(basename -- "$unit").new" "$units/$(basename -- "$unit")"
    echo "install: $units/$(basename -- "$unit")"
done
