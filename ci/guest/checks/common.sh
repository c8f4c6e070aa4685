# Parts of the checks, to be sourced.

# Waits until a command succeeds. A server is ready when it listens, not after a second: hosts are busy at times.
wait_until() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
        if "$@"; then return 0; fi
        sleep 0.3
    done
    echo "waited in vain for: $*"
    return 1
}

# Somebody waits for connections by rdma_cm.
cm_listens() {
    rdma resource show cm_id | grep -q 'state LISTEN'
}

# Somebody waits for connections at a TCP port, written in four hexadecimal digits.
tcp_listens() {
    grep -q ":$1 .* 0A " /proc/net/tcp /proc/net/tcp6
}
