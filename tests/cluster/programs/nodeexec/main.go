// Command nodeexec runs commands on a node of the test cluster.
//
//	nodeexec serve ADDR FROM     on the node: run what callers with the address FROM send to ADDR
//	nodeexec run ADDR CMD...     on the host: run CMD there; its output and exit code become ours
//
// A call is one connection. The caller sends the command as one line of JSON (a list of words) and keeps its side open:
// when it goes away, the command is killed with all it started. The answer is a row of frames: one byte kind (stdout,
// stderr, exit code), four bytes length, the payload. There is no password and no encryption; what guards the node is
// that the port exists only in the cluster's network, and that pods do not have the address FROM.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const usage = "usage: nodeexec serve ADDR FROM | nodeexec run ADDR CMD..."

// The kinds of frames.
const (
	stdout byte = '1'
	stderr byte = '2'
	exited byte = 'x'
)

// Exit codes that are not those of the command.
const (
	notFound    = 127 // as in a shell
	signaled    = 128 // plus the signal, as in a shell
	unreachable = 255
)

// frames writes frames of one kind; all writers of a connection share its lock.
type frames struct {
	lock *sync.Mutex
	conn net.Conn
	kind byte
}

func (f frames) Write(payload []byte) (int, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	frame := binary.BigEndian.AppendUint32([]byte{f.kind}, uint32(len(payload)))
	_, err := f.conn.Write(append(frame, payload...))
	return len(payload), err
}

func serve(address, from string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			continue // of this one caller
		}
		if peer, ok := conn.RemoteAddr().(*net.TCPAddr); !ok || peer.IP.String() != from {
			conn.Close()
			continue
		}
		go answer(conn)
	}
}

func answer(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	line, err := in.ReadBytes('\n')
	var words []string
	if err != nil || json.Unmarshal(line, &words) != nil || len(words) == 0 {
		return
	}
	lock := new(sync.Mutex)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout = frames{lock, conn, stdout}
	cmd.Stderr = frames{lock, conn, stderr}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that it can be killed with all it started
	cmd.WaitDelay = time.Second                           // a daemon that keeps stdout open does not hold the call
	code := execute(cmd, in)
	frames{lock, conn, exited}.Write([]byte{byte(code)})
}

// execute runs cmd until it ends or the caller, who sends nothing more, goes away.
func execute(cmd *exec.Cmd, caller io.ByteReader) int {
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(cmd.Stderr, err)
		return notFound
	}
	go func() {
		caller.ReadByte()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}()
	err := cmd.Wait()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled():
		return signaled + int(status.Signal())
	case err != nil && status.ExitStatus() == 0 && !errors.Is(err, exec.ErrWaitDelay):
		return 1 // its output could not be sent
	}
	return status.ExitStatus()
}

func run(address string, words []string) (int, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return unreachable, err
	}
	if err := json.NewEncoder(conn).Encode(words); err != nil {
		return unreachable, err
	}
	for head := make([]byte, 5); ; {
		if _, err := io.ReadFull(conn, head); err != nil {
			return unreachable, fmt.Errorf("the node went away: %w", err)
		}
		payload := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(conn, payload); err != nil {
			return unreachable, fmt.Errorf("the node went away: %w", err)
		}
		switch head[0] {
		case stdout:
			os.Stdout.Write(payload)
		case stderr:
			os.Stderr.Write(payload)
		case exited:
			return int(payload[0]), nil
		}
	}
}

func main() {
	var code int
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "serve":
		code, err = 1, serve(os.Args[2], os.Args[3])
	case len(os.Args) > 3 && os.Args[1] == "run":
		code, err = run(os.Args[2], os.Args[3:])
	default:
		code, err = 2, errors.New(usage)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nodeexec:", err)
	}
	os.Exit(code)
}
