// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sleeps says whether the first thread of a process sleeps, or has ended.
func sleeps(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, after, _ := strings.Cut(string(b), ") ")
	return err != nil || strings.HasPrefix(after, "S")
}

// readUp returns when a tool that prints a line an event has read all events until now. Its buffer wakes it
// for each one, at the latest by the interrupt work of the next tick; so one that sleeps has nothing to read.
func readUp(t testing.TB, tool *exec.Cmd) {
	t.Helper()
	time.Sleep(300 * time.Millisecond)
	awaiting(t, fmt.Sprint(tool, " to have read its events"), func() bool { return sleeps(tool.Process.Pid) })
}

// awaiting waits for a condition. A host may be so busy that it takes a minute.
func awaiting(t testing.TB, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !met(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waiting in vain for %s", what)
		}
	}
}

// peerTool is a tool of libbpf-tools that draws histograms when it is interrupted.
type peerTool struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

// interrupt ends a tool. What it prints it prints before it sleeps: a signal that comes between is handled,
// and the sleep that follows is of years.
func interrupt(t testing.TB, tool *exec.Cmd) {
	t.Helper()
	awaiting(t, fmt.Sprint(tool, " to sleep"), func() bool { return sleeps(tool.Process.Pid) })
	if err := tool.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
}

// startTool starts one that says nothing until it is interrupted, and returns when it has attached and
// sleeps until then.
func startTool(t *testing.T, path string, args ...string) *peerTool {
	t.Helper()
	cmd := exec.Command(path, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	awaiting(t, fmt.Sprint(cmd, " to attach"), func() bool { return pausing(cmd.Process.Pid) })
	return &peerTool{cmd: cmd, out: bufio.NewReader(out)}
}

// pausing says whether a process is in sleep(3).
func pausing(pid int) bool {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/syscall")
	return strings.HasPrefix(string(b), fmt.Sprint(unix.SYS_CLOCK_NANOSLEEP, " "))
}

// stopped interrupts the tool and returns its lines.
func (p *peerTool) stopped(t *testing.T) (lines []string) {
	t.Helper()
	interrupt(t, p.cmd)
	for sc := bufio.NewScanner(p.out); sc.Scan(); {
		lines = append(lines, sc.Text())
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("%v: %v", p.cmd, err)
	}
	return lines
}

// startPeer returns when the tool has said that it is tracing.
func startPeer(t *testing.T, path string, args ...string) *peerTool {
	t.Helper()
	cmd := exec.Command("stdbuf", append([]string{"-oL", path}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	p := &peerTool{cmd: cmd, out: bufio.NewReader(out)}
	if line, err := p.out.ReadString('\n'); err != nil || !strings.HasPrefix(line, "Tracing") {
		t.Fatalf("starting %s: %q, %v", path, line, err)
	}
	return p
}

// stop interrupts the tool and returns its histograms by the name above each: "softirq = net_rx";
// "" for the one of a tool that has but one.
func (p *peerTool) stop(t *testing.T) map[string]Hist {
	t.Helper()
	interrupt(t, p.cmd)
	out, name := make(map[string]Hist), ""
	for sc := bufio.NewScanner(p.out); sc.Scan(); {
		if _, after, ok := strings.Cut(sc.Text(), " = "); ok {
			name = strings.TrimSpace(after)
			continue
		}
		m := bucketLine.FindStringSubmatch(sc.Text())
		if m == nil {
			continue
		}
		lo, _ := strconv.Atoi(m[1])
		n, _ := strconv.ParseUint(m[2], 10, 64)
		slot := 0
		for 1<<slot < lo {
			slot++
		}
		h := out[name]
		h.Slots[slot] = n
		out[name] = h
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("%v: %v", p.cmd, err)
	}
	return out
}
