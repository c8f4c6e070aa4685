#!/bin/bash
# Both devices are there, and what rdma_cm connects between them goes by the cable unharmed.
set -eu
. "${0%/*}/common.sh"
. "${0%/*}/rping.sh"
read -r before < /sys/class/net/va/statistics/tx_bytes
rping_between 10.7.0.1 10.7.0.2
read -r after < /sys/class/net/va/statistics/tx_bytes
[ $((after - before)) -gt 40960 ] || { echo "only $((after - before)) bytes went by the cable"; exit 1; }
ls /sys/class/infiniband
