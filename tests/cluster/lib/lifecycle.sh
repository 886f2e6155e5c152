# up, down, status, exec and logs. `up` and `down` work from any state, also after a crash.

make_folders() {
    mkdir -p "$state"/{pid,pki,log,etcd,images,uml,memory,bin}
    chmod 700 "$state" "$state/etcd"
    printf '#!/bin/sh\nexec %q kubectl "$@"\n' "$cache/kube" >"$state/bin/kubectl"
    chmod +x "$state/bin/kubectl"
    # The memory of the nodes is on a tmpfs of our own: /dev/shm is often small or noexec, and their kernels map code from it.
    mountpoint -q "$state/memory" || mount -t tmpfs -o size=95%,mode=700,exec tmpfs "$state/memory"
}
end_crashed() { # kills the programs of crashed kernels, and resumes what is paused
    local process
    for process in $(all_processes); do
        network_exists || stop "$process" # it runs in a network that no longer exists
        if is_paused "$process"; then signal "$process" CONT; fi
        is_running "$process" || stop "$process"
    done
    # If no process with a pid file is left, kill those without one: they would hold our ports.
    [ -n "$(all_processes)" ] || end_residents
}
how_to_use() {
    cat <<END

  tests/cluster/cluster kubectl get nodes        # kubectl ($cache/kube)
  tests/cluster/cluster exec bash                # a shell in its network, with KUBECONFIG and kubectl
  kubeconfig: $state/admin.kubeconfig
              (its address exists only in the cluster's network: nsenter --net=$network)
  tests/cluster/cluster down                     # stops everything
END
}

#: up [--nodes N] [--audit]
#: start everything that does not run yet
#:
#: 3 nodes by default, at most 9; 0 is an API server with its controllers. Takes about half a minute from nothing, a second if
#: everything runs. Remains of a crash are killed first, paused processes are resumed, running nodes beyond N stay.
#: --audit logs every write request to log/audit.log. A running API server with other flags is restarted.
cmd_up() {
    local begun=${EPOCHREALTIME/./} count=3 flags=() nodes
    while [ $# != 0 ]; do
        case $1 in
        --nodes) count=${2:-}; [[ $count =~ ^[0-9]$ ]] || misused "--nodes takes 0 to 9, not '$count'"; shift 2 ;;
        --audit) flags+=("--audit-policy-file=$here/audit.yaml" "--audit-log-path=$state/log/audit.log"); shift ;;
        *) misused "no option '$1'; there are --nodes N and --audit" ;;
        esac
    done
    need_install
    one_at_a_time
    make_folders
    log=$state/log/up.log
    # shellcheck disable=SC2086 # a list of flags
    set_apiserver_flags "${flags[@]}" ${CLUSTER_APISERVER_FLAGS:-}
    end_crashed
    mapfile -t nodes < <(seq 1 "$count")
    step "network namespace" make_network
    step "keys and certificates" make_keys
    step "etcd, API server, controllers" start_control_plane
    step "CoreDNS" start_dns
    boot() { local n; for n in "${nodes[@]}"; do start_node "$n"; done; }
    if [ "$count" != 0 ]; then
        step "$count nodes boot" boot
        step "all nodes are Ready" wait_ready "${nodes[@]}"
        step "every node resolves a Service" wait_dns "${nodes[@]}"
    fi
    echo "the cluster $name is up after $(seconds_since "$begun")"
    how_to_use
}

unmount() {
    while mountpoint -q "$1"; do umount "$1" || return 1; done
}

#: down
#: stop and remove everything, also the remains of a crash
#:
#: That is: the processes with a pid file, all other processes in the cluster's network (such as a program of `cluster exec`),
#: the network, mounts, keys, data and logs. The cache stays.
cmd_down() {
    local begun=${EPOCHREALTIME/./} process mounted
    no_words "$@"
    if network_exists && [ "$(readlink /proc/self/ns/net)" = "$("${inside[@]}" readlink /proc/self/ns/net)" ]; then
        die "cannot stop the cluster from inside its own network; exit \`cluster exec\` first"
    fi
    one_at_a_time
    if [ ! -e "$state" ]; then
        echo "the cluster $name is not up"
        return
    fi
    mapfile -t process < <(all_processes)
    stop "${process[@]}"
    end_residents
    for mounted in "$network" "$state/memory"; do
        within 10 unmount "$mounted" # the last threads of a killed process may still use it
    done
    rm -rf --one-file-system "$state"
    rmdir --ignore-fail-on-non-empty "${state%/*}"
    echo "the cluster $name is down after $(seconds_since "$begun")"
}

#: status
#: list the processes
#:
#: Exit code 0 if everything that was started runs, 1 if something died or is paused, 3 if the cluster is not up.
cmd_status() {
    local process pid word all_run=0
    no_words "$@"
    if ! is_up; then
        echo "the cluster $name is not up"
        exit 3
    fi
    for process in $(all_processes); do
        word=runs pid=$(pid_of "$process") || { word=died pid=-; }
        ! is_paused "$process" || word=paused
        [ $word = runs ] || all_run=1
        printf '%-20s %-7s %s\n' "$process" $word "$pid"
    done
    exit $all_run
}

enter() { # replaces this process by a command in the cluster's network, so that signals and the exit code are those of the command
    need_cluster
    exec "${inside[@]}" env KUBECONFIG="$state/admin.kubeconfig" PATH="$state/bin:$PATH" "$@" 3>&-
}

#: exec COMMAND...
#: run a command in the cluster's network
#:
#: KUBECONFIG is set, and kubectl is first on the PATH. Nodes, pods and Services are reachable, this machine's own network is
#: not. `cluster exec bash` starts a shell.
cmd_exec() { [ $# -ge 1 ] || misused "takes a command"; enter "$@"; }

#: kubectl ARGUMENT...
#: kubectl as the administrator of the cluster
cmd_kubectl() { enter kubectl "$@"; }

#: logs [NAME [-f]]
#: the last 100 lines of a log, or the list of logs
#:
#: -f follows it. Without NAME it lists the logs.
#: NAME is etcd, apiserver, controller-manager, scheduler, coredns, audit, up, node-N (its console),
#: or node-N/kubelet, node-N/containerd, node-N/kube-proxy, node-N/nodeexec.
cmd_logs() {
    need_cluster
    cd "$state/log"
    if [ $# = 0 ]; then
        find . -name '*.log' -printf '%P %k KiB\n' | sed 's/\.log / /' | sort | column -t
        return
    fi
    [ -f "$1.log" ] && [[ $1 != *..* ]] ||
        misused "no log '$1'; there are: $(find . -name '*.log' -printf '%P\n' | sed 's/\.log$//' | sort | paste -sd' ')"
    case $#:${2:-} in
    1:) tail -n 100 "$1.log" ;;
    2:-f) exec tail -n 100 -F "$1.log" 3>&- ;;
    *) misused "takes a name and -f, not '${*:2}'" ;;
    esac
}
