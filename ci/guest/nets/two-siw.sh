#!/bin/bash
# Two soft-iWARP devices with a cable between them: siw0 on va, 10.7.0.1, and siw1 on vb, 10.7.0.2.
. "${0%/*}/common.sh"
load_siw
cable
rdma -b - <<EOF
link add siw0 type siw netdev va
link add siw1 type siw netdev vb
EOF
wait_for siw0
wait_for siw1
