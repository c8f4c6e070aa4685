#!/bin/bash
# rdma_cm connects through one device and data goes by SEND, READ and WRITE unharmed; a measurement by READ ends well.
set -eu
. "${0%/*}/common.sh"
. "${0%/*}/rping.sh"
rping_between 10.9.9.1 10.9.9.1
ib_read_lat -R -d siw0 -F -n 100 -s 4096 > server 2>&1 &
wait_until cm_listens
ib_read_lat -R -d siw0 -F -n 100 -s 4096 10.9.9.1 > client 2>&1 || { cat client; exit 1; }
wait $! || { cat server; exit 1; }
grep -q '^ 4096 *100 ' client || { cat client; echo "there is no result"; exit 1; }
tail -n 3 client
