#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# enter.sh DIR COMMAND…: runs the command in the root file system DIR, as root. All that it starts and mounts ends with
# it. With LOOPBACK=yes it has no network but a loopback of its own.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
. "$here/tests/packages/lib.sh"
alone "$0" "$@"
dir=$(realpath "${1:?names a root file system}"); shift
mounts "$dir"
status=0
within "$dir" "$@" || status=$?
keep "$dir"
exit "$status"
