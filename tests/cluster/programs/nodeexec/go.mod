module plimsoll.dev/tests/cluster/nodeexec

go 1.26.0
