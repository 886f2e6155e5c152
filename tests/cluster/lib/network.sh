# The network of the cluster: one namespace with a bridge, one tap device per node, static routes instead of an overlay.
# The namespace is mounted on a file in the state folder, so that the host's list of namespaces does not change.

network_exists() { [ -e "$network" ] && "${inside[@]}" true 2>/dev/null; }
is_up() { [ -d "$state/pid" ] && network_exists; }
need_cluster() { is_up || die "the cluster $name is not up; start it with: cluster up"; }

make_network() {
    local n
    if ! network_exists; then
        touch "$network"
        unshare --net="$network" true
    fi
    "${inside[@]}" ip link set lo up # down in a new namespace
    "${inside[@]}" ip link show br0 >/dev/null 2>&1 || "${inside[@]}" ip link add br0 type bridge
    "${inside[@]}" ip address replace "$api/24" dev br0
    "${inside[@]}" ip link set br0 up
    for n in {1..9}; do "${inside[@]}" ip route replace "10.244.$n.0/24" via "$(node_address "$n")"; done
    # Service addresses, for programs of this machine: translated by node 1, so node 1 must run.
    "${inside[@]}" ip route replace 10.96.0.0/16 via "$(node_address 1)"
}
make_tap() { # the network device of node $1
    "${inside[@]}" ip link show "tap$1" >/dev/null 2>&1 || "${inside[@]}" ip tuntap add dev "tap$1" mode tap
    "${inside[@]}" ip link set "tap$1" master br0 up
}
