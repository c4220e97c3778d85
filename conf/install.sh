#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts the module ($MODULE), the command ($A2MD) and what belongs to them where this system looks for such files, all
# below $DESTDIR. Run by `make install`, and by packaging/packages.sh, whose packages have the same files.
#
#   LAYOUT=debian|fedora|plain   where configuration goes: mods-available; conf.modules.d and conf.d; or beside
#                                httpd.conf. Not set: what is found on this machine
#   AS=md                        the names of the C module, mod_md.so, md.load and md.conf, instead of mod_md3.so, …
#   APXS                         the apxs to ask; PREFIX, BINDIR, DATADIR, UNITDIR, DOCDIR, LIBEXECDIR, SYSCONFDIR and
#                                STOREDIR replace its answers
#
# A module or command that is not ours is kept as mod_md.so.orig and a2md.orig, the latest one; configuration files
# that exist are left as they are.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
dest=${DESTDIR:-}
module=${MODULE:?names the module file}
command=${A2MD:-}
as=${AS:-md3}
case $as in md | md3) ;; *) echo "install: AS is md3 or md" >&2; exit 1 ;; esac
[ -f "$module" ] || { echo "install: $module is not there: run \`make build\` first" >&2; exit 1; }

apxs=${APXS:-$(command -v apxs || command -v apxs2 || true)}
# ask VARIABLE VALUE: the value, or what apxs says.
ask() {
    if [ -n "$2" ]; then echo "$2"; return; fi
    [ -n "$apxs" ] || { echo "install: apxs is missing (apache2-dev or httpd-devel)" >&2; return 1; }
    "$apxs" -q "$1"
}
libexec=$(ask LIBEXECDIR "${LIBEXECDIR:-}")
sysconf=$(ask SYSCONFDIR "${SYSCONFDIR:-}")
layout=${LAYOUT:-}
if [ -z "$layout" ]; then
    if [ -d "$dest$sysconf/mods-available" ] || [ -d "$sysconf/mods-available" ]; then layout=debian
    elif [ -d "$sysconf/../conf.modules.d" ]; then layout=fedora; sysconf=$(dirname -- "$sysconf")
    elif [ "$sysconf" = /etc/apache2 ] && [ -f /etc/debian_version ]; then layout=debian
    else layout=plain
    fi
fi
bin=${BINDIR:-${PREFIX:+$PREFIX/bin}}
bin=$(ask BINDIR "$bin")
prefix=${PREFIX:-$(dirname -- "$bin")}
share=${DATADIR:-$prefix/share}
doc=${DOCDIR:-$share/doc/mod_md3}
units=${UNITDIR:-$prefix/lib/systemd/system}
zsh=$share/zsh/site-functions
case $layout in
    debian)
        load=$sysconf/mods-available/$as.load conf=$sysconf/mods-available/$as.conf store=/var/lib/apache2/md
        zsh=$share/zsh/vendor-completions
        ;;
    fedora) load=$sysconf/conf.modules.d/01-$as.conf conf=$sysconf/conf.d/$as.conf store=/var/lib/httpd/md ;;
    plain) load=$sysconf/$as.load conf=$sysconf/$as.conf store= ;;
    *) echo "install: LAYOUT is debian, fedora or plain" >&2; exit 1 ;;
esac
store=${STOREDIR:-$store}
# What a2enmod reads.
case $layout-$as in
    debian-md3) without= ;;
    debian-md) without='/^# Conflicts: /d' ;;
    *) without='/^# \(Depends\|Conflicts\): /d' ;;
esac

# fresh TO: makes $new, a file beside it that is this call's alone, whoever else installs or has left something there.
new=
trap '[ -z "$new" ] || rm -f "$new"' EXIT
fresh() {
    mkdir -p "$(dirname -- "$dest$1")"
    [ ! -d "$dest$1" ] || { echo "install: $dest$1 is a folder" >&2; exit 1; }
    new=$(mktemp "$dest$1.XXXXXX")
}
# place TO MODE: renamed into place, because a running process has the old file mapped.
place() {
    chmod "$2" "$new"
    mv -f "$new" "$dest$1"
    new=
    echo "install: $dest$1"
}
# put FILE TO MODE MARK: the mark is a text that every build of ours has in it, whatever the compiler, and nothing else
# has.
put() {
    if [ -n "$4" ] && [ -f "$dest$2" ] && ! grep -qaF -e "$4" "$dest$2"; then
        fresh "$2.orig"
        cp -p "$dest$2" "$new"
        mv -f "$new" "$dest$2.orig"
        echo "install: what was there is now $dest$2.orig"
    fi
    fresh "$2"
    cat "$1" > "$new"
    place "$2" "$3"
}
# fill TO FILE…: the files, one after the other, with their places filled in.
fill() {
    to=$1; shift
    fresh "$to"
    cat "$@" | sed -e "s|@LIBEXECDIR@|$libexec|g; s|@MODULE@|mod_$as.so|g; s|@STORE@|$store|g; s|@BINDIR@|$bin|g" \
        -e "$without" > "$new"
    place "$to" 644
}
# keep TO FILE…: the same, where nothing is yet.
keep() {
    if [ -e "$dest$1" ]; then echo "install: $dest$1 exists and is left as it is"; else fill "$@"; fi
}

put "$module" "$libexec/mod_$as.so" 644 trial-loading.json
# The place of the store comes before all that an administrator may write. Beside an httpd of one's own it is in the
# ServerRoot, as that is.
case $layout in
    debian) keep "$load" "$here/md.load"; keep "$conf" "$here/md.conf" "$here/md.store.conf" ;;
    fedora) keep "$load" "$here/md.load" "$here/md.store.conf"; keep "$conf" "$here/md.conf" ;;
    plain) keep "$load" "$here/md.load"; keep "$conf" "$here/md.conf" ;;
esac

# The program runs here to print its pages; one for another machine cannot.
# print WORDS TO: what the command prints when it is called with these.
print() {
    fresh "$2"
    # shellcheck disable=SC2086 # words, or none
    "$command" $1 > "$new"
    place "$2" 644
}
if [ ! -f "$command" ]; then
    echo "install: the command a2md is not there and is left out: \`make build\` makes it" >&2
else
    put "$command" "$bin/a2md" 755 trial-loading.json
    if "$command" -V >/dev/null 2>&1; then
        man=$share/man/man8
        print man "$man/a2md.8"
        "$command" man --list | while read -r page; do
            print "man $page" "$man/a2md-$(echo "$page" | tr ' ' '-').8"
        done
        print "completions bash" "$share/bash-completion/completions/a2md"
        print "completions zsh" "$zsh/_a2md"
        print "completions fish" "$share/fish/vendor_completions.d/a2md.fish"
    else
        echo "install: $command does not run on this machine: its manual pages and completions are left out" >&2
    fi
    # Units that nobody has changed are replaced, as packages do it.
    for unit in "$here"/*.service "$here"/*.timer; do
        [ ! -f "$unit" ] || fill "$units/$(basename -- "$unit")" "$unit"
    done
fi

# Manuals keep their places, so that links from one to the other lead somewhere.
for page in README.md CHANGELOG.md SECURITY.md LICENSE NOTICE; do put "$here/../$page" "$doc/$page" 644 ""; done
for page in "$here"/../docs/*.md; do put "$page" "$doc/docs/$(basename -- "$page")" 644 ""; done
for file in "$here"/*.yml "$here"/*.json; do
    [ ! -f "$file" ] || put "$file" "$doc/examples/$(basename -- "$file")" 644 ""
done
if [ -n "${LICENCES:-}" ]; then put "$LICENCES" "$doc/LICENCES.txt" 644 ""; fi

# A package is not this machine.
[ -z "$dest" ] || exit 0

# The same decision as in the scripts of our packages.
root=$sysconf
[ "$layout" != plain ] || root=$(dirname -- "$sysconf")
if [ -e "$root/md/md_store.json" ]; then
    echo "install: the store of certificates stays where it is: $root/md"
elif grep -RhsiE --include='*.conf' '^[[:space:]]*MDStoreDir[[:space:]]' "$root" \
    | grep -qviE "MDStoreDir[[:space:]]+\"?${store:-none}/?\"?[[:space:]]*$"; then
    echo "install: the store of certificates is where MDStoreDir says"
elif [ -n "$store" ]; then
    [ -d "$store" ] || [ -e "$root/mods-enabled/md.load" ] || install -d -m 755 "$store"
    [ ! -d "$store" ] || echo "install: the store of certificates is $store"
fi

loaded=$(grep -RsE "^[[:space:]]*(LoadModule[[:space:]]+md_module[[:space:]]|Include.*/$as\.load)" \
    "$root/mods-enabled" "$root/conf.modules.d" "$root/httpd.conf" "$root/conf/httpd.conf" || true)
if [ "$(printf '%s\n' "$loaded" | grep -c .)" -gt 1 ]; then
    echo "install: WARNING: md_module is loaded twice, and httpd uses the first one alone:"
    printf '%s\n' "$loaded" | sed 's/^/  /'
    [ "$layout" != debian ] || [ "$as" = md ] || echo "  a2dismod md                             # leaves this one"
fi
echo "install: what to do next:"
case $layout in
    debian)
        if [ -e "$sysconf/mods-enabled/$as.load" ]; then :
        elif [ "$as" = md3 ] && [ -e "$sysconf/mods-enabled/md.load" ]; then
            echo "  a2dismod md && a2enmod md3              # this module in place of the one of the distribution"
            [ ! -e "$sysconf/mods-enabled/md.conf" ] \
                || echo "  ln -s ../mods-available/md.conf $sysconf/mods-enabled/    # with the settings that are there"
        else
            echo "  a2enmod ssl $as                         # loads it, with mod_ssl"
        fi
        ;;
    plain)
        echo "  Include $load            # both in httpd.conf, after mod_ssl"
        echo "  Include $conf"
        ;;
esac
echo "  edit $conf          # MDCertificateAgreement, MDContactEmail and an MDomain for each certificate"
case $layout in
    debian) echo "  apachectl configtest && systemctl reload apache2" ;;
    fedora) echo "  apachectl configtest && systemctl reload httpd" ;;
    plain) echo "  apachectl configtest && apachectl graceful" ;;
esac
