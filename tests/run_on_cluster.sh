# Functions for scripts that run programs on the test cluster: tests/e2e/run and tests/peers/run source it, from the project's
# root.
#
# Requirements: root, Go, Rust and Debian, as for tests/cluster; missing packages are installed. Builds and downloads stay in
# the cache. The cluster stops with the script, and the next run stops what a killed run left.
# shellcheck shell=bash disable=SC2154,SC2120 # the scripts set `title`, their name

PATH=$PATH:/usr/local/go/bin
cache=${CLUSTER_CACHE:-${HOME:-/root}/.cache/plimsoll-cluster}
cluster=tests/cluster/cluster

fail() { echo "$title: cannot run here: $*" >&2; exit 1; }
say() { echo "$title: $* ($((SECONDS / 60)) min $((SECONDS % 60)) s)"; }

check_requirements() { # check_requirements [REMEDY]: fails, with REMEDY, on a machine that lacks one; stops what a killed run left
    local remedy=${1:-}
    [ "$(id -u)" = 0 ] || fail "it needs root, for a network namespace and mounts$remedy"
    command -v go >/dev/null || fail "it needs Go to build Kubernetes, and there is no \`go\` on the PATH$remedy"
    command -v cargo >/dev/null || fail "it needs Rust to build Plimsoll, and there is no \`cargo\` on the PATH$remedy"
    $cluster down >/dev/null
}

debian_program() { # debian_program PACKAGE: its files into the cache; installing the package would start its program
    local folder=$cache/debian/$1 new=$cache/debian/.$1
    [ ! -d "$folder" ] || return 0
    say "downloading $1"
    rm -rf "$new"
    mkdir -p "$new"
    (
        cd "$new" || exit
        fetch() { apt-get -qq -o APT::Sandbox::User=root download "$1"; }
        fetch "$1" || { apt-get -qq update && fetch "$1"; } # the package lists may be missing or out of date
        dpkg -x "$1"_*.deb .
        rm ./*.deb
    )
    mv "$new" "$folder"
}

cargo_program() { # cargo_program TARGET CARGO-ARGUMENT...: builds cargo's TARGET, and prints the path of the program
    local target=$1
    shift
    cargo "$@" --quiet --message-format json |
        jq -ers --arg target "$target" 'map(select(.target.name == $target and .executable).executable) | last'
}
test_program() { cargo_program "$1" test --package plimsoll-tests --test "$1" --no-run; }

new_cluster() { # new_cluster IMAGE.tar...: starts a cluster of three nodes with our images and these; it stops with the script
    trap '$cluster down >/dev/null' EXIT
    trap 'exit 130' INT TERM HUP
    say "the cluster"
    $cluster up --audit
    $cluster load target/images/agent.tar target/images/aggregator.tar "$@"
}
