#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the licences of everything that is linked into the module and the command: the crates, as cargo says, with the
# texts that each carries, and Rust's library. Fails where a crate names no licence. CARGO and CARGO_FLAGS are honoured.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo=${CARGO:-cargo}

# What is linked in, one "NAME VERSION LICENCE" a line. Macros run in the compiler alone.
for features in httpd cli; do
    # shellcheck disable=SC2086 # lists of words
    $cargo tree ${CARGO_FLAGS:-} -e normal,no-proc-macro --no-default-features --features $features --prefix none \
        --format '{p}|{l}'
done | sed 's/ (\*)$//' | awk -F '|' '
    { split($1, crate, " "); sub(/^v/, "", crate[2]); gsub(/\//, " OR ", $2) }
    crate[1] != "mod_md" && crate[1] != "apache-sys" { print crate[1], crate[2], $2 }' | sort -u > "$work/crates"

# Where the sources of each are, one "NAME VERSION FOLDER" a line.
# shellcheck disable=SC2086
$cargo metadata ${CARGO_FLAGS:-} --format-version 1 --features cli | grep -o '"manifest_path":"[^"]*"' \
    | sed 's/^"manifest_path":"//; s/"$//' | sort -u | while read -r manifest; do
        awk -F '"' -v folder="${manifest%/*}" '
            /^\[/ { inside = $0 == "[package]" }
            inside && /^name *=/ { name = $2 }
            inside && /^version *=/ { version = $2 }
            END { print name, version, folder }' "$manifest"
    done > "$work/folders"

mkdir "$work/texts"
while read -r name version licence; do
    [ -n "$licence" ] || { echo "licences: $name $version names no licence" >&2; exit 1; }
    folder=$(awk -v name="$name" -v version="$version" '$1 == name && $2 == version { print $3 }' "$work/folders")
    [ -d "$folder" ] || { echo "licences: where are the sources of $name $version?" >&2; exit 1; }
    printf '  %-28s %s\n' "$name $version" "$licence" >> "$work/list"
    # shellcheck disable=SC2012 # names that crates have
    for file in $(cd "$folder" && ls -d LICEN[CS]E* COPYING* NOTICE* UNLICEN[CS]E* COPYRIGHT* 2>/dev/null); do
        [ -f "$folder/$file" ] || continue
        sum=$(tr -s ' \t\r\n' '    ' < "$folder/$file" | cksum | tr ' ' -)
        [ -e "$work/texts/$sum" ] || cp "$folder/$file" "$work/texts/$sum"
        echo "$name $version: $file" >> "$work/texts/$sum.of"
    done
done < "$work/crates"

cat <<TEXT
mod_md is under the Apache License 2.0: see the file LICENSE, or copyright, beside this one. Into the module and the
command the following libraries are linked, under the licences named here; their texts follow.

TEXT
cat "$work/list"
# That of the compiler, in every program that it makes.
printf '  %-28s %s\n' "std of $(rustc --version | cut -d ' ' -f 1-2)" "MIT OR Apache-2.0"
for of in "$work"/texts/*.of; do
    printf '\n%s\n' "------------------------------------------------------------------------------"
    cat "$of"
    printf '\n'
    tr -d '\r' < "${of%.of}"
done
