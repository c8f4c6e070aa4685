#!/bin/sh
# Stands for cargo in tests/program.rs: says what it was asked and where, fails at the subcommand $FAKE_FAIL,
# and answers a replay with $FAKE_DEBUG_HASH in debug.
echo "fake cargo in $(pwd): $*" >&2
if [ "$1" = "${FAKE_FAIL:-none}" ]; then
    echo "fake cargo: $1 fails" >&2
    exit 101
fi
hash=1
case "$*" in
*--release*--seed\ 2*) hash=2 ;;
*--release*) ;;
*) hash=${FAKE_DEBUG_HASH:-1} ;;
esac
case "$*" in
# Canaries have to fail.
*--canary*)
    echo '{"failed": {"canary": 2}}'
    exit "${FAKE_CANARY:-1}"
    ;;
esac
case "$1" in
run) echo "{\"ok\": ${FAKE_OK:-true}, \"trace_hash\": $hash, \"virtual_ns\": 7, \"bytes_verified\": 8}" ;;
test) echo "test result: ok. 3 passed" ;;
esac
