#!/bin/bash
# Two processes, each with a device of its own, find each other over TCP, connect, and one READs the other's memory.
set -eu
. "${0%/*}/common.sh"
program=$1
"$program" --serve 10.7.0.2:7471 --device rxe1 > served 2>&1 &
wait_until tcp_listens 1D2F
"$program" --connect 10.7.0.2:7471 --device rxe0 > read 2>&1 || { cat served read; exit 1; }
wait $! || { cat served read; exit 1; }
cat served read
