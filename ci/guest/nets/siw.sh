#!/bin/bash
# One soft-iWARP device, siw0 at 10.9.9.1, which talks to itself. Reliable connections by rdma_cm, no atomics, no windows.
. "${0%/*}/common.sh"
load_siw
dummy
rdma link add siw0 type siw netdev dummy0
wait_for siw0
