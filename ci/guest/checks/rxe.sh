#!/bin/bash
# Both devices are there and active at an MTU of 4096, and a ping-pong with events between them keeps every byte.
set -eu
. "${0%/*}/common.sh"
# Each by its name: a machine of its own may have others.
for device in rxe0 rxe1; do
    ibv_devinfo -d $device
done > devices
[ "$(grep -c 'PORT_ACTIVE' devices)" = 2 ] || { cat devices; echo "there are not two active ports"; exit 1; }
[ "$(grep -c 'active_mtu:.*4096' devices)" = 2 ] || { cat devices; echo "the active MTU is not 4096"; exit 1; }
read -r before < /sys/class/net/va/statistics/tx_bytes

# 200 round trips of 4 KiB, each message compared with what it should hold (-c).
ibv_rc_pingpong -c -e -n 200 -g 1 -d rxe1 > server 2>&1 &
wait_until tcp_listens 4853
ibv_rc_pingpong -c -e -n 200 -g 1 -d rxe0 10.7.0.2 > client 2>&1 || { cat client; exit 1; }
wait $! || { cat server; exit 1; }
for side in client server; do
    grep -q '^200 iters in' $side || { cat $side; echo "the $side did not finish"; exit 1; }
    ! grep -q 'invalid data' $side || { cat $side; echo "the $side received something else"; exit 1; }
done
# What never left by the cable could not be disturbed there either.
read -r after < /sys/class/net/va/statistics/tx_bytes
[ $((after - before)) -gt 819200 ] || { echo "only $((after - before)) bytes went by the cable"; exit 1; }
cat client
