# Processes of the cluster, known by pid file, never by name. A pid file holds the pid, the start time of the process and
# the boot of this machine, so that a reused pid is never taken for ours. Beside the pid files only one thing makes a
# process ours: that it lives in the network namespace we made.

boot=$(</proc/sys/kernel/random/boot_id)

birth() { # the start time of process $1; nothing if there is none, or only a zombie
    local stat fields
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
    read -ra fields <<<"${stat##*) }" # what follows the program's name, which may hold spaces
    [ "${fields[0]}" = Z ] || echo "${fields[19]}"
}
recorded() { # sets pid to what the pid file $1 holds; fails without a file of this boot
    local when
    { read -r pid born when <"$state/pid/$1"; } 2>/dev/null && [ "$when" = "$boot" ]
}
pid_of() { # the pid of our process $1; fails if it does not run
    local pid born
    recorded "$1" && [ "$(birth "$pid")" = "$born" ] && echo "$pid"
}
is_running() { pid_of "$1" >/dev/null; }
is_paused() {
    local pid stat
    pid=$(pid_of "$1") && { stat=$(<"/proc/$pid/stat"); } 2>/dev/null && [[ ${stat##*) } == T* ]]
}

start() { # start NAME COMMAND...: a daemon in the cluster's network, leader of its own process group
    local process=$1 file=$state/pid/$1
    shift
    ! is_running "$process" || return 0
    stop "$process"
    # It records itself before it becomes the daemon: whatever is killed when, none runs unrecorded.
    # A daemon must not hold the caller's stderr (3) nor the lock (9), which it keeps until it is one.
    (
        self=$BASHPID # inside $(...) it would be another
        echo "$self $(birth "$self") $boot" >"$file.new"
        mv "$file.new" "$file"
        exec setsid "${inside[@]}" "$@" 9>&-
    ) </dev/null >>"$state/log/$process.log" 2>&1 3>&- &
    within 10 test -e "$file"
}
stop() { # stop NAME...: power off, at once; first all signals, then all waiting
    local process pid born
    for process in "$@"; do
        # The whole group, even without its leader: when only the main process of a node is killed, its guest programs
        # go on as programs of this machine. A leader alive with another start time is a stranger with a reused pid.
        if recorded "$process" && [[ $(birth "$pid") =~ ^($born)?$ ]]; then
            kill -KILL "$pid" "-$pid" 2>/dev/null || true # by pid too: it may not lead its group yet
        fi
    done
    for process in "$@"; do
        if recorded "$process" && [[ $(birth "$pid") =~ ^($born)?$ ]]; then
            within 10 group_is_gone "$pid"
        fi
        rm -f "$state/pid/$process" "$state/pid/$process.new"
    done
}
group_is_gone() { ! ps -e -o pgid=,stat= | awk -v group="$1" '$1 == group && $2 !~ /^Z/ { found = 1 } END { exit !found }'; }

all_processes() { # every process there is a pid file of
    local file
    for file in "$state"/pid/*; do [[ $file == *.new ]] || echo "${file##*/}"; done
}
signal() { # signal NAME SIGNAL; of a node only its main process: a stopped guest program would look broken to its kernel
    local pid
    pid=$(pid_of "$1") || die "$1 does not run; see: cluster status"
    kill "-$2" "$pid"
}

residents() { # the pids of all that runs in the cluster's network
    local id
    network_exists || return 0
    id=$(stat -L -c %i "$network")
    { stat -L -c '%i %n' /proc/[0-9]*/ns/net 2>/dev/null || true; } |
        awk -v id="$id" '$1 == id { split($2, part, "/"); print part[3] }'
}
end_residents() { # what `cluster exec` left behind, or what lost its pid file
    local pid
    for pid in $(residents); do
        echo "cluster: ends process $pid, still in the cluster's network: $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | cut -c-100)" >&3
        kill -KILL "$pid" 2>/dev/null || true
    done
    within 10 nobody_resides
}
nobody_resides() { [ -z "$(residents)" ]; }
