#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Two example sites on loopback whose certificates come from a CA on this machine: `make demo` and
# `make demo-check`.
#
# Installs and builds what is missing, starts DNS, CA and httpd, waits until both sites are served with
# certificates of the CA, and says where to look. Runs until Ctrl-C; with --check it verifies everything with
# openssl and curl instead, and ends. Leaves nothing behind.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
program=mod_md-demo
part=demo
check=
[ "${1:-}" != --check ] || check=yes
. "$root/conf/demo-lab.sh"

choose_port 8080; http=$port
choose_port 8443; https=$port
start_ca 127.0.0.1
start_httpd "$demo/httpd" 127.0.0.1

runs() { kill -0 "$server" || exit 1; }
answers() { runs; curl -sf "http://127.0.0.1:$http/md-status"; }
# Both renewals have a complete set.
staged() {
    runs
    [ "$(curl -sf "http://127.0.0.1:$http/md-status" | grep -c '"finished": *true')" = 2 ]
}
trusted() { runs; verified 127.0.0.1 "$1"; }

wait_for "an answer of httpd" answers
say "demo: httpd is up; getting two certificates from the CA"
if ! grep -q MDLiveActivation "$MODULE"; then
    # A module that activates at restarts.
    wait_for "two new certificates" staged
    kill -USR1 "$server"
fi
for name in one.example.test two.example.test www.two.example.test; do
    wait_for "a trusted certificate for $name" trusted "$name"
done

cat <<INFO

Both sites are served with certificates of the CA on this machine.

  sites          curl --cacert $demo/ca-root.pem --resolve one.example.test:$https:127.0.0.1 https://one.example.test:$https/
                 curl --cacert $demo/ca-root.pem --resolve two.example.test:$https:127.0.0.1 https://two.example.test:$https/
  dashboard      http://127.0.0.1:$http/md-dashboard
  server-status  http://127.0.0.1:$http/server-status
  md-status      http://127.0.0.1:$http/md-status
  CA root        $demo/ca-root.pem
  store          $demo/httpd/md
  log            $demo/httpd/error.log
INFO

if [ -x "$a2md" ]; then
    say ""
    say "  $a2md status --from http://127.0.0.1:$http/md-status"
    say ""
    "$a2md" status --from "http://127.0.0.1:$http/md-status" || say "demo: a2md status ended with $?"
fi

if [ -z "$check" ]; then
    say ""
    say "Ctrl-C ends it and cleans up."
    wait "$server" || { say "demo: httpd ended"; exit 1; }
    exit 0
fi

say ""
for name in one.example.test two.example.test www.two.example.test; do
    page=${name#www.}
    verified 127.0.0.1 "$name" 2>/dev/null | grep -E 'Verify return code' | head -n 1 | sed "s/^ */demo-check: $name: /"
    visit 127.0.0.1 "$name" | grep -q "This is $page" || { say "demo-check: $name serves something else"; exit 1; }
done
curl -sf "http://127.0.0.1:$http/server-status" | grep -q "Apache Server Status" || { say "demo-check: no server-status"; exit 1; }
curl -sf "http://127.0.0.1:$http/md-status/one.example.test" | grep -q '"state": *2' || { say "demo-check: md-status knows no certificate"; exit 1; }
curl -sf "http://127.0.0.1:$http/md-dashboard" | grep -q "Nothing needs attention" || { say "demo-check: no dashboard"; exit 1; }
say "demo-check: ok"
