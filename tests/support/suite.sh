#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs all tests in two streams: those with httpds and CAs that mostly wait for others, whose output is seen at once,
# and beside them all others, which mostly compute, and whose output follows. Fails if either does. The argument is how
# many tests run at a time in each.
set -u
cd "$(dirname "$0")/../.." || exit 1
cargo=${CARGO:-cargo}
threads=${1:-4}
export LAB_REQUIRED=1

run() { "$cargo" test --no-fail-fast --no-default-features --features cli "$@"; }

waiting="--test e2e --test fleet"
others="--lib --bins"
for file in tests/*.rs tests/*/main.rs; do
    name=${file#tests/}
    name=${name%.rs}
    name=${name%/main}
    case " $waiting " in
        *" $name "*) ;;
        *) others="$others --test $name" ;;
    esac
done

if [ "${2:-}" = others ]; then
    failed=0
    # shellcheck disable=SC2086 # a list of words
    run $others -- --test-threads="$threads" || failed=1
    run --doc -- --test-threads="$threads" || failed=1
    exit "$failed"
fi

run --no-run || exit 1
log=$(mktemp)
# In a session of its own, all of which ends with this: what a shell has in the background does not hear Ctrl-C.
setsid sh tests/support/suite.sh "$threads" others >"$log" 2>&1 &
beside=$!
trap 'rm -f "$log"' EXIT
trap 'kill -s TERM -- "-$beside" 2>/dev/null; exit 130' INT TERM HUP
failed=0
# shellcheck disable=SC2086 # a list of words
run $waiting -- --test-threads="$threads" || failed=1
wait "$beside" || failed=1
cat "$log"
exit "$failed"
