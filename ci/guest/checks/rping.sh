# To be sourced after common.sh: connects from one address to another and has rping move and compare data.

# rping fills a buffer, the peer READs it and WRITEs it back, and both are compared (-V). A peer that closes first is no
# failure of ours: what counts is that the client saw every round.
rping_between() {
    rping -s -a "$2" -C 10 -S 4096 -V > rping-server 2>&1 &
    wait_until cm_listens
    rping -c -I "$1" -a "$2" -C 10 -S 4096 -V -v > rping-client 2>&1 || { cat rping-client rping-server; return 1; }
    wait $! || { cat rping-server; return 1; }
    rounds=$(grep -c '^ping data: rdma-ping-' rping-client) || :
    [ "$rounds" = 10 ] || { cat rping-client; echo "only $rounds of 10 rounds came back"; return 1; }
}
