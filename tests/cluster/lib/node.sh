# Nodes: each is a user-mode-linux guest, a Linux kernel that runs as a process of this machine. node-init is its process 1.

running_nodes() { # their numbers
    local n
    for n in {1..9}; do ! is_running "node-$n" || echo "$n"; done
}
on_node() { # on_node N COMMAND...
    local n=$1
    shift
    "${inside[@]}" "$cache/nodeexec" run "$(node_address "$n"):2222" "$@" 9>&-
}
start_node() {
    local n=$1 node=node-$1 address
    address=$(node_address "$n")
    ! is_running "$node" || return 0
    stop "$node" # the programs of a killed kernel continue: kill them before their files are reused
    kubeconfig "$node" "/O=system:nodes/CN=system:node:$node"
    certificate "$node-server" "/CN=$node" "subjectAltName=IP:$address,DNS:$node" extendedKeyUsage=serverAuth
    make_tap "$n"
    mkdir -p "$state/log/$node"
    rm -rf "$state/log/$node/boot_id" "$state/uml/$node" # those of the previous boot would be mistaken for those of this one
    # TMPDIR contains the guest's memory. gro: without it the guest drops the large frames of programs on this machine.
    # A fixed MAC address keeps the neighbors' ARP entries valid. No IPv6: kube-proxy's two families would compete for one lock.
    # xstate.so lets the kernel boot on CPUs with AMX (see programs/xstate.c); on others it changes nothing.
    start "$node" env TMPDIR="$state/memory" LD_PRELOAD="$cache/xstate.so" linux mem="${CLUSTER_NODE_MEMORY:-2G}" umid="$node" uml_dir="$state/uml/" \
        root=/dev/root rootfstype=hostfs rootflags=/ ro init="$here/node-init" node="$n" state="$state" cache="$cache" \
        ipv6.disable=1 con=null con0=null,fd:1 quiet "vec0:transport=tap,ifname=tap$n,depth=128,gro=1,mac=02:00:0a:4d:00:0$n"
}
node_is_ready() { # since this boot: the API server shows the Ready condition of the previous boot for a while
    [ "$(as_admin get node "node-$1" \
        -o jsonpath='{.status.nodeInfo.bootID} {.status.conditions[?(@.type=="Ready")].status}')" \
        = "$(cat "$state/log/node-$1/boot_id") True" ]
}
node_resolves() { on_node "$1" busybox nslookup kubernetes.default.svc.cluster.local 10.96.0.10; }
wait_ready() { # wait_ready N...: a node whose kernel dies meanwhile is reported at once
    local n waiting=("$@") end=$((SECONDS + 180))
    while true; do
        for n in "$@"; do is_running "node-$n" || { kernel_died "$n"; return 1; }; done
        for n in "${!waiting[@]}"; do ! node_is_ready "${waiting[n]}" || unset "waiting[n]"; done
        [ ${#waiting[@]} != 0 ] || return 0
        ((SECONDS < end)) || { echo "not Ready after 180 s: node ${waiting[*]}"; return 1; }
        sleep 0.2
    done
}
kernel_died() { # the last lines of its console, without colors
    echo "the kernel of node $1 died; the last lines of $state/log/node-$1.log:"
    tail -n 10 "$state/log/node-$1.log" | tr -d '\000\r' | sed 's/\x1b\[[0-9;]*m//g; s/^/    /'
}
wait_dns() { local n; for n in "$@"; do within 60 node_resolves "$n"; done; }

#: node-exec N COMMAND...
#: run a command on node N
#:
#: Output and exit code are those of COMMAND. COMMAND is not a shell line (use `sh -c '...'`), gets no input, and is killed when
#: the caller exits. The exit code is 255 if the node does not answer within 5 s.
cmd_node_exec() {
    node_number "${1:-}"
    [ $# -ge 2 ] || misused "takes a node and a command"
    need_cluster
    exec "${inside[@]}" "$cache/nodeexec" run "$(node_address "$1"):2222" "${@:2}" 3>&-
}

#: kill-node N
#: power off node N at once
cmd_kill_node() {
    node_number "${1:-}"
    no_words "${@:2}"
    need_cluster
    is_running "node-$1" || die "node $1 does not run"
    stop "node-$1"
}

#: start-node N
#: boot node N and wait until it is Ready
#:
#: Its disks are empty except for the images of the cluster.
cmd_start_node() {
    node_number "${1:-}"
    no_words "${@:2}"
    need_cluster
    one_at_a_time
    log=$state/log/up.log
    start_node "$1"
    step "node $1 is Ready" wait_ready "$1"
}

#: pause-node N
#: freeze node N
#:
#: Its kernel does not respond, like a machine that hangs.
cmd_pause_node() { node_number "${1:-}"; no_words "${@:2}"; need_cluster; signal "node-$1" STOP; }

#: resume-node N
#: resume node N
cmd_resume_node() { node_number "${1:-}"; no_words "${@:2}"; need_cluster; signal "node-$1" CONT; }
