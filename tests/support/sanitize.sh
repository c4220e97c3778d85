#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the tests that `sanitized` names, with an httpd whose memory is watched (sanitizer.rs):
#
#   sanitize.sh asan       by AddressSanitizer, with which the module is built for that
#   sanitize.sh valgrind   by valgrind's memcheck
#   sanitize.sh units      unit tests of what reads bytes of others, by AddressSanitizer, without httpd
#
# Further arguments choose among the names: `sanitize.sh asan stapling live::`. THREADS is how many tests run at a
# time.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
cd "$root"
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}
host=$(rustc -vV | sed -n 's/^host: //p')

say() { printf 'sanitize: %s\n' "$*"; }
fail() { printf 'sanitize: %s\n' "$*" >&2; exit 1; }

# The sanitizer is not stable in any release of Rust, but it is in each of them. The target is named so that build
# scripts and macros, which the compiler runs, are built without it.
asan="-Zsanitizer=address -Cforce-frame-pointers=yes"
module() {
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="$asan" "$cargo" build --target "$host" --target-dir "$target/asan"
}

# The runtime of the compiler itself, which fits what it generates, is an archive that rustc links into programs.
# httpd is another's program and has it preloaded, so it is made a library. What the archive has for the very start
# of a program cannot be in one: there the runtime begins with the first call of malloc.
runtime() {
    archive=$(find "$(rustc --print target-libdir)" -name 'librustc-*_rt.asan.a' | head -n 1)
    [ -n "$archive" ] || fail "this Rust has no runtime of AddressSanitizer: one of rustup has"
    own=$target/asan/runtime.a
    cp "$archive" "$own"
    ar d "$own" asan_preinit.cpp.o
    "${CC:-cc}" -shared -o "$target/asan/runtime.so" -Wl,--whole-archive "$own" -Wl,--no-whole-archive \
        -ldl -lpthread -lm -lrt
    rm "$own"
}

# Whether errors are told at all: httpd loads a library with a known one, built as the module is.
canary() {
    folder=$target/asan/canary
    mkdir -p "$folder"
    # shellcheck disable=SC2086 # a list of words
    RUSTC_BOOTSTRAP=1 rustc --edition 2024 --crate-type cdylib $asan --target "$host" -o "$folder/canary.so" \
        tests/support/canary.rs
    folder=$(realpath "$folder")
    apxs=${APXS:-apxs}
    mpm=$("$apxs" -q LIBEXECDIR)/mod_mpm_event.so
    [ ! -f "$mpm" ] || echo "LoadModule mpm_event_module $mpm" >"$folder/httpd.conf"
    printf 'LoadFile %s\n' "$folder/canary.so" >>"$folder/httpd.conf"
    LD_PRELOAD=$target/asan/runtime.so ASAN_OPTIONS=detect_leaks=0 \
        "$("$apxs" -q SBINDIR)/$("$apxs" -q PROGNAME)" -t -f "$folder/httpd.conf" >"$folder/report" 2>&1 || true
    grep -q 'AddressSanitizer: heap-use-after-free' "$folder/report" ||
        fail "a use of freed memory in httpd was not reported, see $folder/report"
    rm -r "$folder"
}

# The names in the list for this sanitizer, or those that contain one of the arguments; each is that of a test.
chosen() {
    all=$(awk '/^(e2e|a2md) / { print $2 }' tests/support/sanitized)
    # shellcheck disable=SC2086 # a list of words
    tests=$(test_run --list --exact $all | grep -c ': test$' || true)
    [ "$tests" = "$(echo "$all" | wc -l)" ] || fail "a name in tests/support/sanitized is not that of a test"
    names=$(awk -v own="$command" '/^(e2e|a2md) / && (NF == 2 || $3 == own) { print $2 }' tests/support/sanitized)
    [ $# = 0 ] || names=$(for word in "$@"; do echo "$names" | grep -F -e "$word"; done) || true
    [ -n "$names" ] || fail "no name in tests/support/sanitized has any of: $*"
}

test_run() {
    LAB_REQUIRED=1 "$cargo" test --no-fail-fast --no-default-features --features cli \
        --test e2e --test a2md -- "$@"
}

units() {
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="$asan" "$cargo" test --target "$host" --target-dir "$target/asan" \
        --no-default-features --features cli --lib \
        -- crypto:: dns:: ocsp:: responder:: --test-threads="${THREADS:-1}"
}

command=${1:-}
[ $# = 0 ] || shift
case $command in
    asan)
        module
        runtime
        canary
        chosen "$@"
        export SANITIZER=asan ASAN_RUNTIME="$(realpath "$target/asan/runtime.so")"
        export MODULE="$(realpath "$target/asan/$host/debug/libmod_md.so")"
        ;;
    valgrind)
        "$cargo" build
        mkdir -p "$target/valgrind"
        cp "$target/debug/libmod_md.so" "$target/valgrind/mod_md.so"
        chosen "$@"
        export SANITIZER=valgrind MODULE="$(realpath "$target/valgrind/mod_md.so")"
        ;;
    units)
        units
        exit
        ;;
    *) fail "there is no '$command': asan, valgrind, units" ;;
esac
say "$(echo "$names" | wc -l) tests with $MODULE"
# shellcheck disable=SC2086 # a list of words
test_run --exact $names --test-threads="${THREADS:-1}"
