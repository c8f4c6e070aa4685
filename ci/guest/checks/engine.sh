#!/bin/bash
# Two engines, each with a device of its own: one exports a volume, the other reads all of it, and every byte is compared with the
# file. Then the exporter dies, comes back, and all of it is read once more.
set -eu
. "${0%/*}/common.sh"
program=$1
# Sockets have no place on the folder that is shared with the host.
sockets=$(mktemp -d -p /tmp)
"$program" make-volume volumes --needles 200 --longest 64KiB
(umask 077; head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > key)
common="--backend verbs --buffer-size 64MiB --segment-cache 32MiB --key-file key --metrics off"
export_it() {
    # shellcheck disable=SC2086 # several words
    "$program" engine $common --device rxe1 --listen 10.7.0.2 --export volumes --ipc-socket "$sockets/exporter" >> exporter 2>&1 &
    exporter=$!
    wait_until tcp_listens 4853 || { cat exporter; exit 1; }
}
audit() {
    "$program" audit --volume volumes --ipc-socket "$sockets/reader" "$@" || { cat exporter reader; exit 1; }
}
export_it
# shellcheck disable=SC2086
"$program" engine $common --device rxe0 --peer 10.7.0.2:18515 --ipc-socket "$sockets/reader" > reader 2>&1 &
reader=$!
wait_until test -S "$sockets/reader" || { cat reader; exit 1; }
audit --needs push --needs pull
kill -KILL $exporter
wait $exporter || true
export_it
audit --seed 2 --needs push
kill -TERM $reader $exporter
wait $reader || { cat exporter reader; exit 1; }
wait $exporter || { cat exporter reader; exit 1; }
