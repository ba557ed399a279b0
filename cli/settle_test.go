// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// settleVariable makes the test binary a process that settles, runs too long, and says how it is
// scheduled before and after: all of that cannot be undone in the tests' own process.
const settleVariable = "BPF60_TEST_SETTLE"

func settleMain() {
	runtime.LockOSThread() // the kernel counts by thread
	stop := settle()
	if os.Getenv(settleVariable) == "stop" {
		stop()
		fmt.Println(policies())
		os.Exit(0)
	}
	before := policies()
	for begun := time.Now(); strings.Contains(policies(), before) && time.Since(begun) < time.Minute; { // until the last thread
		for spin := time.Now(); time.Since(spin) < 10*time.Millisecond; { // no call that sleeps
		}
	}
	fmt.Println(before, policies())
	stop()
	os.Exit(0)
}

// policies names the policies that the threads of this process have.
func policies() string {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err.Error()
	}
	seen := make(map[string]bool)
	for _, t := range tasks {
		var tid int
		if _, err := fmt.Sscan(t.Name(), &tid); err != nil {
			return err.Error()
		}
		a, err := unix.SchedGetAttr(tid, 0)
		switch {
		case err == unix.ESRCH:
		case err != nil:
			return err.Error()
		case a.Policy == unix.SCHED_RR:
			seen[fmt.Sprintf("RR%d", a.Priority)] = true
		case a.Policy == unix.SCHED_NORMAL:
			seen[fmt.Sprintf("normal%d", a.Nice)] = true
		default:
			seen[fmt.Sprintf("policy%d", a.Policy)] = true
		}
	}
	var out []string
	for p := range seen {
		out = append(out, p)
	}
	return strings.Join(out, "+")
}

// A process that answers at once must not be able to hold the CPU: after 200 ms at a stretch it is a
// normal one.
func TestSettleOnALeash(t *testing.T) {
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_NORMAL, Nice: -1}, 0); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("setting a priority: %v", err)
		}
		t.Skipf("needs CAP_SYS_NICE: %v", err)
	}
	if got, want := settledAs(t, "run on"), "RR1 normal-5"; got != want {
		t.Errorf("scheduled as %q, want %q", got, want)
	}
}

// What follows the measuring has no leash: a long report is made as a normal process.
func TestSettleStops(t *testing.T) {
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_NORMAL, Nice: -1}, 0); err != nil {
		t.Skipf("needs CAP_SYS_NICE: %v", err)
	}
	if got, want := settledAs(t, "stop"), "normal-5"; got != want {
		t.Errorf("scheduled as %q after the end, want %q", got, want)
	}
}

// settledAs is what a process that settles says of its scheduling.
func settledAs(t *testing.T, what string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), settleVariable+"="+what)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("settling: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}
