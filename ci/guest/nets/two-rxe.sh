#!/bin/bash
# Two soft-RoCE devices with a cable between them: rxe0 on va, 10.7.0.1, and rxe1 on vb, 10.7.0.2. `tc` on va or vb
# disturbs what passes. GID 1 is the IPv4 one, the active MTU 4096.
. "${0%/*}/common.sh"
load_modules rdma_rxe
cable
rdma -b - <<EOF
link add rxe0 type rxe netdev va
link add rxe1 type rxe netdev vb
EOF
wait_for rxe0 0000:0000:0000:0000:0000:ffff:0a07:0001
wait_for rxe1 0000:0000:0000:0000:0000:ffff:0a07:0002
