# Parts of the nets, to be sourced. fork and exec take 60 ms in an emulated guest: what can be one call is one call.
set -eu

# Everything a test may need afterwards.
load_modules() {
    modprobe -a veth sch_netem sch_ingress cls_matchall cls_u32 act_gact rdma_ucm ib_umad "$@"
}

# In the guest the module is one that was built for it; elsewhere the kernel brings it or does not.
load_siw() {
    if [ -n "${WAVETANK_SIW:-}" ]; then
        load_modules iw_cm ib_uverbs libcrc32c
        insmod "$WAVETANK_SIW"
    else
        load_modules siw
    fi
}

# An interface that leads nowhere, whose address is reached within this machine.
dummy() {
    # By itself the module makes a dummy0, or does not, as the host's modprobe.d says.
    modprobe dummy numdummies=0
    ip -batch - <<EOF
link add dummy0 mtu 4500 type dummy
addr add 10.9.9.1/24 dev dummy0
link set dummy0 up
EOF
}

# A cable from va (10.7.0.1) to vb (10.7.0.2). Both ends are this machine's own, so without more the kernel would carry
# packets between them by itself: rules ahead of those for local addresses send them out at one end and in at the other,
# where tc and the devices see them.
cable() {
    ip -batch - <<EOF
link add va mtu 4500 type veth peer name vb mtu 4500
addr add 10.7.0.1/24 dev va
addr add 10.7.0.2/24 dev vb
link set va up
link set vb up
EOF
    for interface in all default va vb; do
        conf=/proc/sys/net/ipv4/conf/$interface
        echo 0 > $conf/rp_filter
        echo 1 > $conf/accept_local
        echo 1 > $conf/arp_ignore
        echo 2 > $conf/arp_announce
    done
    read -r mac_a < /sys/class/net/va/address
    read -r mac_b < /sys/class/net/vb/address
    ip -batch - <<EOF
route add default dev va table 101
route add default dev vb table 102
rule add pref 10 iif lo from 10.7.0.1 to 10.7.0.2 lookup 101
rule add pref 11 iif lo from 10.7.0.2 to 10.7.0.1 lookup 102
rule add pref 20 iif lo to 10.7.0.2 oif va lookup 101
rule add pref 21 iif lo to 10.7.0.1 oif vb lookup 102
rule add pref 100 lookup local
rule del pref 0
neigh replace 10.7.0.2 lladdr $mac_b dev va nud permanent
neigh replace 10.7.0.1 lladdr $mac_a dev vb nud permanent
EOF
}

# Waits for a device to be active and, if a GID is given, for it to be at index 1: both come a moment after the device.
wait_for() {
    port=/sys/class/infiniband/$1/ports/1
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        state="" gid=""
        { read -r state < "$port/state" && read -r gid < "$port/gids/1"; } 2> /dev/null || :
        case "$state" in
        *ACTIVE) if [ -z "${2:-}" ] || [ "$gid" = "$2" ]; then return 0; fi ;;
        esac
        sleep 0.5
    done
    echo "$1 did not become ready: its state is ${state:-unknown}, its GID 1 is ${gid:-unknown}, wanted: ${2:-any}" >&2
    return 1
}
