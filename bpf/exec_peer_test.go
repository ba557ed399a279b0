// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// snoop is a tool of libbpf-tools that prints a line an event.
type snoop struct {
	cmd *exec.Cmd
	all chan []byte // what it has printed, once it has ended
}

// startSnoop starts a tool and returns when it prints its heads, which it does once it is attached.
func startSnoop(t *testing.T, name string, args ...string) *snoop {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "" && os.Getenv("BPF60_TEST_GUEST") == "" {
			t.Fatalf("%s of libbpf-tools is not installed: make test-deps", name)
		}
		t.Skipf("%s of libbpf-tools is not installed: make test-deps", name)
	}
	cmd := exec.Command("stdbuf", append([]string{"-oL", path}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	s, in := &snoop{cmd: cmd, all: make(chan []byte, 1)}, bufio.NewReader(out)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "PID") {
		t.Fatalf("starting %s: %q, %v", name, line, err)
	}
	// It prints what the whole host does, and would wait for room in the pipe.
	go func() {
		all, _ := io.ReadAll(in)
		s.all <- all
	}()
	return s
}

// stop ends the tool and returns its lines, by the PID in one of their columns.
func (s *snoop) stop(t *testing.T, column int) map[int32][][]string {
	t.Helper()
	readUp(t, s.cmd)
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	all := <-s.all
	_ = s.cmd.Wait()
	lines := make(map[int32][][]string)
	for line := range strings.Lines(string(all)) {
		f := strings.Fields(line)
		if len(f) <= column {
			continue
		}
		if pid, err := strconv.ParseInt(f[column], 10, 32); err == nil {
			lines[int32(pid)] = append(lines[int32(pid)], f)
		}
	}
	return lines
}

// TestExecAgainstPeers starts 23 programs, of which some fail and some are killed, beside the tools of
// libbpf-tools: the same rows.
func TestExecAgainstPeers(t *testing.T) {
	if inWorld(t, "tracefs") {
		return
	}
	w := watchExec(t)
	execs, exits := startSnoop(t, "execsnoop"), startSnoop(t, "exitsnoop")
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "peer-good"), filepath.Join(dir, "peer-bad")
	tiny(t, good, 0, false)
	tiny(t, bad, 7, false)
	pids := make(map[int32]bool)
	for i := range 23 {
		path := good
		if i%3 == 1 {
			path = bad
		}
		pid := spawn(t, path, []string{path, "arg", strconv.Itoa(i)})
		reap(t, pid)
		pids[int32(pid)] = true
	}
	w.settled(t, "peer-good", 23)
	theirExecs, theirExits := execs.stop(t, 1), exits.stop(t, 1)
	w.take(t)

	type row struct{ comm, ppid, rest string }
	ours, theirs := make(map[int32]row), make(map[int32]row)
	for _, e := range w.execs {
		if pids[e.TGID] {
			args := strings.TrimSpace(strings.ReplaceAll(string(e.Args), "\x00", " "))
			ours[e.TGID] = row{e.Comm, fmt.Sprint(e.ParentTGID), "0 " + args}
		}
	}
	for pid, lines := range theirExecs {
		if f := lines[0]; pids[pid] {
			theirs[pid] = row{f[0], f[2], strings.Join(f[3:], " ")}
		}
	}
	if diff := cmp.Diff(theirs, ours, cmp.AllowUnexported(row{})); diff != "" || len(ours) != 23 {
		t.Errorf("%d execs (-execsnoop +ours):\n%s", len(ours), diff)
	}

	clear(ours)
	clear(theirs)
	for _, e := range w.exits {
		if pids[e.TGID] {
			end := fmt.Sprint(e.Code >> 8)
			if e.Code != 0 {
				end = fmt.Sprintf("code %d", e.Code>>8)
			}
			ours[e.TGID] = row{e.Comm, fmt.Sprint(e.ParentTGID), end}
		}
	}
	for pid, lines := range theirExits {
		if f := lines[0]; pids[pid] {
			theirs[pid] = row{f[0], f[2], strings.Join(f[5:], " ")}
		}
	}
	if diff := cmp.Diff(theirs, ours, cmp.AllowUnexported(row{})); diff != "" || len(ours) != 23 {
		t.Errorf("%d exits (-exitsnoop +ours):\n%s", len(ours), diff)
	}
}

// TestSignalAgainstPeer kills 23 processes beside sigsnoop: the same rows.
func TestSignalAgainstPeer(t *testing.T) {
	if inWorld(t, "tracefs") {
		return
	}
	w := watchSignal(t)
	peer := startSnoop(t, "sigsnoop")
	targets := make(map[int32]bool)
	want := make(map[int32]string)
	for i := range 23 {
		pid := startReady(t, "handle 10")
		sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[i%2]
		targets[int32(pid)] = true
		want[int32(pid)] = fmt.Sprintf("%d %d", os.Getpid(), sig)
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
		_, _ = syscall.Wait4(pid, nil, 0, nil)
	}
	lines := peer.stop(t, 4) // TIME PID COMM SIG TPID RESULT
	w.take(t)
	theirs, ours := make(map[int32]string), make(map[int32]string)
	for pid, all := range lines {
		for _, f := range all {
			if targets[pid] && f[1] == strconv.Itoa(os.Getpid()) {
				theirs[pid] = f[1] + " " + f[3]
			}
		}
	}
	for _, e := range w.got {
		if targets[e.TargetTGID] && e.SenderTGID == int32(os.Getpid()) {
			ours[e.TargetTGID] = fmt.Sprintf("%d %d", e.SenderTGID, e.Signal)
		}
	}
	if diff := cmp.Diff(want, ours); diff != "" {
		t.Errorf("signals (-want +ours):\n%s", diff)
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("signals (-sigsnoop +ours):\n%s", diff)
	}
}
