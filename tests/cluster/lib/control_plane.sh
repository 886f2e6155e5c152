# etcd, API server, controller manager, scheduler and CoreDNS: processes of this machine in the cluster's network.

as_admin() { "${inside[@]}" env KUBECONFIG="$state/admin.kubeconfig" HOME="$state" "$cache/kube" kubectl "$@" 9>&-; }
api_is_ready() { [ "$(as_admin get --raw /readyz)" = ok ]; } # exactly `ok`, which includes the RBAC bootstrap

start_etcd() {
    start etcd "$cache/kube" etcd --data-dir="$state/etcd" --unsafe-no-fsync --log-level=warn \
        --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
        --listen-peer-urls=http://127.0.0.1:2380
}
start_apiserver() {
    local pki=$state/pki more
    mapfile -t more <"$state/apiserver.flags"
    # Aggregator routing: it connects to Services through pod addresses, because no kube-proxy runs on this machine.
    start apiserver "$cache/kube" apiserver --etcd-servers=http://127.0.0.1:2379 --allow-privileged=true \
        --bind-address=0.0.0.0 --advertise-address="$api" --secure-port=6443 --service-cluster-ip-range=10.96.0.0/16 \
        --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
        --service-account-key-file="$pki/sa.key" --service-account-signing-key-file="$pki/sa.key" \
        --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
        --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
        --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
        --enable-aggregator-routing=true --requestheader-client-ca-file="$pki/ca.crt" \
        --requestheader-allowed-names=front-proxy-client --requestheader-username-headers=X-Remote-User \
        --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
        --proxy-client-cert-file="$pki/front-proxy.crt" --proxy-client-key-file="$pki/front-proxy.key" "${more[@]}"
}
start_controllers() { # a dead node becomes NotReady after 20 s instead of 50 s
    start controller-manager "$cache/kube" controller-manager --leader-elect=false --bind-address=127.0.0.1 \
        --{,authentication-,authorization-}kubeconfig="$state/controller-manager.kubeconfig" \
        --service-account-private-key-file="$state/pki/sa.key" --root-ca-file="$state/pki/ca.crt" \
        --cluster-signing-cert-file="$state/pki/ca.crt" --cluster-signing-key-file="$state/pki/ca.key" \
        --use-service-account-credentials --node-monitor-grace-period=20s
    start scheduler "$cache/kube" scheduler --leader-elect=false --bind-address=127.0.0.1 \
        --{,authentication-,authorization-}kubeconfig="$state/scheduler.kubeconfig"
}
start_control_plane() {
    start_etcd
    start_apiserver
    within 120 api_is_ready # a controller manager that starts earlier is rejected and exits
    start_controllers
}
start_dns() { # independent of the nodes: the endpoint of a Service without selector
    as_admin apply -f "$here/dns.yaml"
    start coredns env STATE="$state" "$cache/coredns" -conf "$here/Corefile"
}
set_apiserver_flags() { # one per line; a running API server with other flags is stopped here and restarted by `up`
    local flags=$state/apiserver.flags
    printf '%s\n' "$@" | sed '/^$/d' >"$flags.new"
    if cmp -s "$flags.new" "$flags"; then rm "$flags.new"; return; fi
    mv "$flags.new" "$flags"
    stop apiserver
}

#: restart-apiserver [--after SECONDS]
#: kill and restart the API server
#:
#: It is killed with SIGKILL, as in a crash. --after is the delay before the restart (default 0, at most 600).
cmd_restart_apiserver() {
    local pause=0
    case $#:${1:-} in 0:) ;; 2:--after) pause=$2 ;; *) misused "takes at most --after SECONDS" ;; esac
    [[ $pause =~ ^([0-9]|[1-9][0-9]|[1-5][0-9]{2}|600)$ ]] || misused "--after takes 0 to 600 seconds, not '$pause'"
    need_cluster
    one_at_a_time
    log=$state/log/up.log
    stop apiserver
    sleep "$pause"
    restart() { start_apiserver; within 120 api_is_ready; }
    step "API server is ready again" restart
}

#: pause-etcd
#: freeze etcd
#:
#: The API server continues to run, but writes fail, and reads succeed only from its caches.
cmd_pause_etcd() { no_words "$@"; need_cluster; signal etcd STOP; }

#: resume-etcd
#: resume etcd
cmd_resume_etcd() { no_words "$@"; need_cluster; signal etcd CONT; }
