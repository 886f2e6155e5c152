# Processes of the cluster, identified by pid file, never by name. A pid file contains the pid, the start time of the process
# and the boot id of this machine, so that a reused pid is not mistaken for ours. The only other processes of the cluster are
# those in its network namespace.

boot=$(</proc/sys/kernel/random/boot_id)

birth() { # the start time of process $1; empty if there is none, or only a zombie
    local stat fields
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
    read -ra fields <<<"${stat##*) }" # the fields after the program's name, which may contain spaces
    [ "${fields[0]}" = Z ] || echo "${fields[19]}"
}
recorded() { # reads pid and start time from the pid file $1; fails without a file of this boot
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
    # It records itself before it becomes the daemon, so that no daemon is ever unrecorded, whatever is killed when.
    # A daemon must not inherit the caller's stderr (3) or the lock (9); until then it holds the lock.
    (
        self=$BASHPID # inside $(...) it would differ
        echo "$self $(birth "$self") $boot" >"$file.new"
        mv "$file.new" "$file"
        exec setsid "${inside[@]}" "$@" 9>&-
    ) </dev/null >>"$state/log/$process.log" 2>&1 3>&- &
    within 10 test -e "$file"
}
stop() { # stop NAME...: kills at once; first signals all, then waits for all
    local process pid born
    for process in "$@"; do
        # The whole group, even without its leader: when only the main process of a node is killed, its guest programs
        # continue as programs of this machine. A leader with another start time is another process with a reused pid.
        if recorded "$process" && [[ $(birth "$pid") =~ ^($born)?$ ]]; then
            kill -KILL "$pid" "-$pid" 2>/dev/null || true # also by pid: it may not lead its group yet
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

all_processes() { # every process with a pid file
    local file
    for file in "$state"/pid/*; do [[ $file == *.new ]] || echo "${file##*/}"; done
}
signal() { # signal NAME SIGNAL; of a node only its main process: a stopped guest program would look broken to its kernel
    local pid
    pid=$(pid_of "$1") || die "$1 does not run; see: cluster status"
    kill "-$2" "$pid"
}

residents() { # the pids of all processes in the cluster's network
    local id
    network_exists || return 0
    id=$(stat -L -c %i "$network")
    { stat -L -c '%i %n' /proc/[0-9]*/ns/net 2>/dev/null || true; } |
        awk -v id="$id" '$1 == id { split($2, part, "/"); print part[3] }'
}
end_residents() { # kills what `cluster exec` left, and processes whose pid file is lost
    local pid
    for pid in $(residents); do
        echo "cluster: ends process $pid, still in the cluster's network: $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | cut -c-100)" >&3
        kill -KILL "$pid" 2>/dev/null || true
    done
    within 10 nobody_resides
}
nobody_resides() { [ -z "$(residents)" ]; }
