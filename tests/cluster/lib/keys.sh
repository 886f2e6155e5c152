# Keys, certificates and kubeconfigs: one CA for everything; each is created once and used as long as the cluster exists.

certificate() { # certificate FILE SUBJECT EXTENSION...
    local file=$state/pki/$1 subject=$2
    shift 2
    [ ! -s "$file.crt" ] || return 0
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$file.key" -subj "$subject" -out "$file.csr"
    openssl x509 -req -in "$file.csr" -CA "$state/pki/ca.crt" -CAkey "$state/pki/ca.key" -CAcreateserial -days 365 \
        -extfile <(printf '%s\n' "$@") -out "$file.new"
    mv "$file.new" "$file.crt" # complete or not at all
}
kubeconfig() { # kubeconfig FILE SUBJECT: a user and its kubeconfig, with embedded keys
    local pki=$state/pki
    certificate "$1" "$2" extendedKeyUsage=clientAuth
    cat >"$state/$1.kubeconfig.new" <<END
apiVersion: v1
kind: Config
current-context: $name
contexts: [{name: $name, context: {cluster: $name, user: $1}}]
clusters: [{name: $name, cluster: {server: "https://$api:6443", certificate-authority-data: $(base64 -w0 <"$pki/ca.crt")}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 <"$pki/$1.crt"), client-key-data: $(base64 -w0 <"$pki/$1.key")}}]
END
    mv "$state/$1.kubeconfig.new" "$state/$1.kubeconfig"
}
make_keys() {
    local pki=$state/pki
    if [ ! -s "$pki/ca.crt" ]; then
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=plimsoll-test-authority \
            -keyout "$pki/ca.key" -out "$pki/ca.new"
        mv "$pki/ca.new" "$pki/ca.crt"
    fi
    if [ ! -s "$pki/sa.key" ]; then
        openssl genrsa -out "$pki/sa.new" 2048 # signs service-account tokens; RSA, as in most clusters
        mv "$pki/sa.new" "$pki/sa.key"
    fi
    certificate apiserver /CN=kube-apiserver extendedKeyUsage=serverAuth \
        "subjectAltName=IP:$api,IP:10.96.0.1,IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc"
    certificate kubelet-client /O=system:masters/CN=apiserver-kubelet-client extendedKeyUsage=clientAuth
    certificate front-proxy /CN=front-proxy-client extendedKeyUsage=clientAuth
    kubeconfig admin /O=system:masters/CN=admin
    kubeconfig controller-manager /CN=system:kube-controller-manager
    kubeconfig scheduler /CN=system:kube-scheduler
    kubeconfig kube-proxy /CN=system:kube-proxy
    kubeconfig coredns /CN=system:coredns
}
