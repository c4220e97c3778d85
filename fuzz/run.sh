#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs fuzz targets one after the other, FUZZ_SECONDS each, and closes with a table: `make fuzz` calls it.
# The targets are the arguments, or all of fuzz/fuzz_targets. One that fails does not keep the others from
# their turn; the input that made it fail and its output are in fuzz/artifacts.
set -u
cd "$(dirname "$0")" || exit 1

seconds=${FUZZ_SECONDS:-60}
fuzz=${CARGO_FUZZ:-cargo-fuzz}
cargo=${CARGO:-cargo}

command -v c++ >/dev/null || {
    echo "fuzz: a C++ compiler is missing, for libFuzzer: apt-get install g++" >&2
    exit 1
}

# What the sanitizers need is not stable. A stable compiler has it, but has to be asked for it in another way.
if "$cargo" +nightly --version >/dev/null 2>&1; then
    export RUSTUP_TOOLCHAIN=nightly
else
    export RUSTC_BOOTSTRAP=1
fi

all=$(for file in fuzz_targets/*.rs; do basename "$file" .rs; done)
for target in "$@"; do
    case " $(echo $all) " in
    *" $target "*) ;;
    *) echo "fuzz: there is no target $target; there are:" $all >&2; exit 1 ;;
    esac
done
[ $# -gt 0 ] || set -- $all

# Once for all, in parallel rather than for speed. They are called without cargo, which would look at
# everything again for each.
"$fuzz" build --fuzz-dir . --codegen-units 16 || exit 1
programs=target/$(rustc -vV | sed -n 's/^host: //p')/release
export ASAN_OPTIONS="detect_odr_violation=0:${ASAN_OPTIONS:-}"

table=$(mktemp)
trap 'rm -f "$table"' EXIT
failed=0
for target in "$@"; do
    log=artifacts/$target.log
    mkdir -p "corpus/$target" "artifacts/$target"
    # What a thread has that is about to end is no leak; its client begins one for each connection.
    case $target in http_answer) leaks=0 ;; *) leaks=1 ;; esac
    echo "fuzz: $target, $seconds s, output in fuzz/$log"
    "$programs/$target" "corpus/$target" "seeds/$target" -artifact_prefix="artifacts/$target/" \
        -max_total_time="$seconds" -max_len=8192 -timeout=10 -detect_leaks="$leaks" \
        -print_final_stats=1 </dev/null >"$log" 2>&1
    code=$?
    result=ok
    if [ "$code" -ne 0 ]; then
        failed=1
        # The fuzzer names the input; a target that did not begin has none.
        result=$(sed -n 's/.*Test unit written to .*\(artifacts\/.*\)/FAILED: fuzz\/\1/p' "$log" | tail -n 1)
        result=${result:-"FAILED: exit code $code"}
        tail -n 40 "$log"
    fi
    awk -v target="$target" -v result="$result" '
        / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
        /^stat::number_of_executed_units:/ { runs = $2 }
        /^stat::average_exec_per_sec:/ { rate = $2 }
        END { printf "%-18s %12s %10s %9s  %s\n", target, runs, rate, cov, result }' "$log" >>"$table"
done

echo
printf '%-18s %12s %10s %9s  %s\n' target executions "per second" coverage result
cat "$table"
exit "$failed"
