# What the programs that run on the test cluster share: tests/e2e/run and tests/peers/run source it, from the project's root.
#
# They need root, Go, Rust and Debian, as tests/cluster does, and install what is missing. What is built or downloaded stays
# in the cache, what runs does not: the cluster ends with the script, and what a killed run left ends with the next one.
# shellcheck shell=bash disable=SC2154,SC2120 # they set `title`, their name

PATH=$PATH:/usr/local/go/bin
cache=${CLUSTER_CACHE:-${HOME:-/root}/.cache/plimsoll-cluster}
cluster=tests/cluster/cluster

refuse() { echo "$title: cannot run here: $*" >&2; exit 1; }
say() { echo "$title: $* ($((SECONDS / 60)) min $((SECONDS % 60)) s)"; }

set_the_stage() { # set_the_stage [CURE]: the machine fits, or CURE helps; and what a killed run left ends
    local cure=${1:-}
    [ "$(id -u)" = 0 ] || refuse "it needs root, for a network namespace and mounts$cure"
    command -v go >/dev/null || refuse "it needs Go to build Kubernetes, and there is no \`go\` on the PATH$cure"
    command -v cargo >/dev/null || refuse "it needs Rust to build Plimsoll, and there is no \`cargo\` on the PATH$cure"
    $cluster down >/dev/null
}

debian_program() { # debian_program PACKAGE: its files, in the cache; a package that is installed would start its program
    local folder=$cache/debian/$1 new=$cache/debian/.$1
    [ ! -d "$folder" ] || return 0
    say "downloading $1"
    rm -rf "$new"
    mkdir -p "$new"
    (
        cd "$new" || exit
        fetch() { apt-get -qq -o APT::Sandbox::User=root download "$1"; }
        fetch "$1" || { apt-get -qq update && fetch "$1"; } # the lists may be missing or old
        dpkg -x "$1"_*.deb .
        rm ./*.deb
    )
    mv "$new" "$folder"
}

cargo_program() { # cargo_program TARGET CARGO-ARGUMENT...: builds what cargo calls TARGET, and prints the path of the program
    local target=$1
    shift
    cargo "$@" --quiet --message-format json |
        jq -ers --arg target "$target" 'map(select(.target.name == $target and .executable).executable) | last'
}
test_program() { cargo_program "$1" test --package plimsoll-tests --test "$1" --no-run; }

new_cluster() { # new_cluster IMAGE.tar...: a cluster of three nodes with our images and these, until the script ends
    trap '$cluster down >/dev/null' EXIT
    trap 'exit 130' INT TERM HUP
    say "the cluster"
    $cluster up --audit
    $cluster load target/images/agent.tar target/images/aggregator.tar "$@"
}
