// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// callTool is a tool of libbpf-tools that runs beside ours. Its mounts are its own: it needs tracefs.
type callTool struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

// callStartPeer starts a tool, and returns when it has said its first line: it is attached then. It skips
// where the tool is missing, as in a guest, and fails in CI.
func callStartPeer(t *testing.T, first, name string, args ...string) *callTool {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") != "" && os.Getenv("BPF60_TEST_GUEST") == "" {
			t.Fatalf("%s of libbpf-tools is not installed: make test-deps", name)
		}
		t.Skipf("%s of libbpf-tools is not installed: make test-deps", name)
	}
	script := `mount -t tracefs nodev /sys/kernel/tracing 2>/dev/null; exec stdbuf -oL "$0" "$@"`
	cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", script, name}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	p := &callTool{cmd: cmd, out: bufio.NewReader(out)}
	if line, err := p.out.ReadString('\n'); err != nil || !strings.HasPrefix(line, first) {
		t.Fatalf("starting %s: %q, %v", name, line, err)
	}
	return p
}

// stop ends the tool and returns the lines it said.
func (p *callTool) stop(t *testing.T) (lines []string) {
	t.Helper()
	interrupt(t, p.cmd)
	for sc := bufio.NewScanner(p.out); sc.Scan(); {
		lines = append(lines, sc.Text())
	}
	_ = p.cmd.Wait() // some say 1 when they are interrupted
	return lines
}

// TestSyscallsBesideSyscount makes known calls under both: the same numbers.
func TestSyscallsBesideSyscount(t *testing.T) {
	const n = 23_000
	k := need(t)
	peer := callStartPeer(t, "Tracing", "syscount", "-p", strconv.Itoa(os.Getpid()), "-T", "50")
	s := openAllSyscalls(t, k, SyscallCount)
	for range n {
		_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	}
	for range n / 100 {
		_, _, _ = unix.RawSyscall(unix.SYS_GETPGID, ^uintptr(0), 0, 0)
	}
	got := callsOf(t, s, os.Getpid())
	theirs := map[string]uint64{}
	for _, line := range peer.stop(t) {
		if f := strings.Fields(line); len(f) == 2 {
			if count, err := strconv.ParseUint(f[1], 10, 64); err == nil {
				theirs[f[0]] = count
			}
		}
	}
	for name, call := range map[string]uint32{"getppid": unix.SYS_GETPPID, "getpgid": unix.SYS_GETPGID} {
		if got[call].N != theirs[name] || theirs[name] == 0 {
			t.Errorf("%s: %d calls, syscount says %d", name, got[call].N, theirs[name])
		}
	}
}

// TestOpensBesideOpensnoop opens the same way under both: the same rows.
func TestOpensBesideOpensnoop(t *testing.T) {
	const n = 23
	k := need(t)
	peer := callStartPeer(t, "PID", "opensnoop", "-p", strconv.Itoa(os.Getpid()))
	events := openEvents(t, k)
	s := openAllSyscalls(t, k, SyscallOpen)
	alone(t, s)
	path := "/nowhere/beside-opensnoop"
	for range n {
		_, _ = unix.Openat(unix.AT_FDCWD, path, unix.O_RDONLY, 0)
		fd, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	type row struct{ fd, errno, path string }
	ours, theirs := map[row]int{}, map[row]int{}
	list, _ := drained(t, events)
	for _, o := range list {
		r := row{fd: strconv.Itoa(int(o.Ret)), errno: "0", path: o.Path}
		if o.Ret < 0 {
			r.fd, r.errno = "-1", strconv.Itoa(int(-o.Ret))
		}
		ours[r]++
	}
	readUp(t, peer.cmd)
	for _, line := range peer.stop(t) {
		// PID COMM FD ERR PATH; no name of ours holds a blank
		if f := strings.Fields(line); len(f) == 5 {
			theirs[row{f[2], f[3], f[4]}]++
		}
	}
	for _, r := range []row{{"-1", "2", path}} {
		if ours[r] != n || theirs[r] != n {
			t.Errorf("%+v: %d times, opensnoop says %d, want %d", r, ours[r], theirs[r], n)
		}
	}
	count := func(rows map[row]int) (n int) {
		for r, c := range rows {
			if r.path == "/proc/self/exe" && r.errno == "0" {
				n += c
			}
		}
		return n
	}
	if a, b := count(ours), count(theirs); a != n || b != n {
		t.Errorf("/proc/self/exe was opened %d times, opensnoop says %d, want %d", a, b, n)
	}
	if rows := pathsOf(t, s); rows["5 2 "+path] != n {
		t.Errorf("the row of the path counts %d, want %d", rows["5 2 "+path], n)
	}
}
