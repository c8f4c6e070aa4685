#!/bin/bash
# One soft-RoCE device, rxe0 at 10.9.9.1, which talks to itself. GID 1 is the IPv4 one, the active MTU 4096.
. "${0%/*}/common.sh"
load_modules rdma_rxe
dummy
rdma link add rxe0 type rxe netdev dummy0
wait_for rxe0 0000:0000:0000:0000:0000:ffff:0a09:0901
