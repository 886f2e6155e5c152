# Images without Docker: created from a folder, loaded into nodes as docker-archive tars.

make_image() { # make_image NAME FOLDER OUT [ENTRYPOINT...]: one layer, reproducible
    local tag=$1 folder=$2 out=$3 work layer config
    local steady=(--sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner)
    shift 3
    work=$(mktemp -d)
    tar -C "$folder" "${steady[@]}" -cf "$work/layer.tar" .
    layer=$(sha256sum <"$work/layer.tar" | cut -c-64)
    jq -cn --arg layer "sha256:$layer" --arg user "${IMAGE_USER:-}" '{architecture: "amd64", os: "linux",
        config: {Entrypoint: $ARGS.positional, User: $user, Env: ["PATH=/bin:/usr/bin"]},
        rootfs: {type: "layers", diff_ids: [$layer]}}' --args -- "$@" >"$work/config.json"
    config=$(sha256sum <"$work/config.json" | cut -c-64).json
    mv "$work/config.json" "$work/$config"
    jq -cn --arg tag "$tag" --arg config "$config" \
        '[{Config: $config, RepoTags: [$tag], Layers: ["layer.tar"]}]' >"$work/manifest.json"
    tar -C "$work" "${steady[@]}" -cf "$out" manifest.json "$config" layer.tar
    rm -r "$work"
}

#: image NAME FOLDER OUT.tar [ENTRYPOINT...]
#: create a docker-archive of one layer from a folder
#:
#: NAME is a name with a tag, such as lookup:test. IMAGE_USER=65532 in the environment sets its user. Load it with `load`.
cmd_image() {
    [ $# -ge 3 ] || misused "takes NAME FOLDER OUT.tar"
    [ -d "$2" ] || die "cannot make $1: $2 is no folder"
    make_image "$@"
}

#: load IMAGE.tar...
#: import docker-archives into every node
#:
#: For instance those of `make images`, into each running node and each node that starts later. Fails if one node fails or is
#: paused. Pods with such images need `imagePullPolicy: Never` (or a tag other than latest: then IfNotPresent is the default).
cmd_load() {
    local tar tag file n jobs=() failed=() job
    [ $# -ge 1 ] || misused "takes at least one IMAGE.tar"
    need_cluster
    for n in $(running_nodes); do
        ! is_paused "node-$n" || die "node $n is paused; first: cluster resume-node $n"
    done
    one_at_a_time
    for tar in "$@"; do
        [ -f "$tar" ] || die "cannot load $tar: no such file"
        tag=$(tar -xOf "$tar" manifest.json 2>/dev/null | jq -er '.[0].RepoTags[0]' 2>/dev/null) ||
            die "cannot load $tar: it is no docker-archive with a tag"
        file=${tag//[^A-Za-z0-9._-]/_}.tar # one file per tag: a node that starts later imports the newest
        cp "$tar" "$state/images/.$file"
        mv "$state/images/.$file" "$state/images/$file"
        jobs=() failed=()
        for n in $(running_nodes); do
            timeout 180 "${inside[@]}" "$cache/nodeexec" run "$(node_address "$n"):2222" \
                ctr -n k8s.io images import "/mnt/state/images/$file" >/dev/null 9>&- &
            jobs+=("$!:$n")
        done
        for job in "${jobs[@]}"; do wait "${job%:*}" || failed+=("${job#*:}"); done
        [ ${#failed[@]} = 0 ] || die "could not import $tag on node ${failed[*]}"
        echo "loaded $tag into ${#jobs[@]} nodes"
    done
}
