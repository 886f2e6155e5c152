# The parts of the cluster: Debian packages, programs built from their Go modules, two base images.

packages=(containerd runc user-mode-linux busybox-static containernetworking-plugins
    iproute2 iptables kmod jq openssl gcc libc6-dev util-linux procps)
programs=(kube coredns nodeexec)

fitting_machine() { # fails with one line before anything is changed
    [ "$(uname -sm)" = "Linux x86_64" ] || die "cannot run here: it needs Linux on x86_64, for user-mode-linux"
    command -v apt-get dpkg-query >/dev/null || die "cannot run here: it needs Debian (apt-get)"
    command -v go >/dev/null || die "cannot run here: it needs Go to build Kubernetes, and there is no \`go\` on the PATH"
}
missing_packages() {
    local package
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
    done
}
install_packages() {
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}
link_kernel_modules() { # modprobe of a node searches /lib/modules, the package installs them elsewhere
    local folder
    mkdir -p /lib/modules
    for folder in /usr/lib/uml/modules/*; do ln -sfn "$folder" "/lib/modules/${folder##*/}"; done
}

# The hash of the inputs of a file in the cache: content_of TEXT FILE...
content_of() { { printf '%s\n' "$1"; shift; cat "$@"; } | sha256sum | cut -c-64; }
is_cached() { [ -e "$cache/$1" ] && [ "$(cat "$cache/$1.made-from" 2>/dev/null)" = "$2" ]; }
keep() { # keep NAME CONTENT: replaces NAME by NAME.new; running nodes still use the old file
    rm -f "$cache/$1.made-from" # a crash between the two must not leave a wrong hash
    mv "$cache/$1.new" "$cache/$1"
    echo "$2" >"$cache/$1.made-from"
}
build_program() { # build_program NAME CONTENT: without a version in the binary a node would report v0.0.0-master
    local version
    version=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' "$here/programs/$1/go.mod")
    (cd "$here/programs/$1" && CGO_ENABLED=0 nice go build -trimpath -buildvcs=false -o "$cache/$1.new" \
        -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version" .)
    keep "$1" "$2"
}
build_pause() { # the image of the program that holds a pod's namespaces open
    local root
    root=$(mktemp -d)
    gcc -static -Os -Wall -o "$root/pause" "$here/programs/pause.c"
    make_image localhost/pause:1 "$root" "$cache/$1.new" /pause
    rm -r "$root"
    keep "$1" "$2"
}
build_xstate() { # preloaded into each node's kernel, which would panic on CPUs with AMX: see the source
    gcc -O2 -Wall -shared -fPIC -o "$cache/$1.new" "$here/programs/xstate.c"
    keep "$1" "$2"
}
build_busybox() { # busybox:test, for pods that need a shell
    local root applet
    root=$(mktemp -d)
    mkdir -p "$root"/{bin,etc,tmp}
    cp "$(command -v busybox)" "$root/bin/busybox"
    for applet in $(busybox --list); do [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"; done
    echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
    make_image busybox:test "$root" "$cache/$1.new"
    rm -r "$root"
    keep "$1" "$2"
}
built() { # built NAME TEXT CONTENT COMMAND: runs a step unless its result is in the cache
    if is_cached "$1" "$3"; then return; fi
    step "$2" "$4" "$1" "$3"
}

#: install
#: install and build all parts; takes a second if nothing changed
#:
#: Installs missing Debian packages, builds etcd, Kubernetes and CoreDNS from their Go modules (about 8 minutes on 2 cores the
#: first time; 25 seconds if only our own sources changed), and builds the images busybox:test and pause. Results are stored in
#: CLUSTER_CACHE, by the hash of their sources. Starts nothing.
cmd_install() {
    local begun=${EPOCHREALTIME/./} missing program go image=$here/lib/image.sh
    no_words "$@"
    fitting_machine
    mkdir -p "$cache/images"
    exec 8>"$cache/lock"
    flock -n 8 || echo "cluster: waiting for another install" >&2
    flock 8
    log=$cache/install.log
    : >"$log"
    mapfile -t missing < <(missing_packages)
    if [ ${#missing[@]} != 0 ]; then
        step "Debian packages: ${missing[*]}" install_packages "${missing[@]}"
    fi
    link_kernel_modules
    go=$(go version)
    for program in "${programs[@]}"; do
        built "$program" "building $program from its Go modules (follow: tail -f $log)" \
            "$(content_of "$go $(declare -f build_program)" "$here/programs/$program"/*)" build_program
    done
    built xstate.so "xstate.so, for node kernels on CPUs with AMX" "$(content_of xstate "$here/programs/xstate.c")" build_xstate
    built images/pause.tar "image localhost/pause:1" "$(content_of pause "$here/programs/pause.c" "$image")" build_pause
    built images/busybox.tar "image busybox:test" "$(content_of busybox "$(command -v busybox)" "$image")" build_busybox
    echo "installed in $(seconds_since "$begun"); cache: $cache"
}
need_install() {
    local part
    for part in "${programs[@]}" xstate.so images/pause.tar images/busybox.tar; do
        [ -e "$cache/$part" ] || die "$cache/$part is missing; first run: cluster install"
    done
}
