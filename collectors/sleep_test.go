// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestSleepsOfAProgram: a program that sleeps is seen to, in the function that the kernel names.
func TestSleepsOfAProgram(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	pid := int32(cmd.Process.Pid)
	c := NewSleeps(NewFS("")).(*sleepCollector)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	at := Target{Kind: ProcessTarget, Process: Process{TGID: pid}}
	gone := Target{Kind: ProcessTarget, Process: Process{TGID: pid, Start: 1}}
	if err := c.Narrow([]Target{at, gone, {Kind: CgroupTarget, Cgroup: 1}}); err != nil {
		t.Fatal(err)
	}
	look := func(now time.Duration) *Sleeps {
		t.Helper()
		s, err := c.Collect(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		x := s.(*Sleeps)
		if len(x.Narrowed) != 1 || x.Narrowed[0].Target != at {
			t.Fatalf("%+v, want the program alone: the other one has ended", x.Narrowed)
		}
		return x
	}
	wchan := func() string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", pid))
		if err != nil {
			lacking(t, "needs /proc/PID/wchan: %v", err)
		}
		return string(b)
	}
	for now := time.Second; ; now += time.Second {
		before := wchan()
		x := look(now).Narrowed[0].Sample
		if !strings.Contains(before, "nanosleep") || wchan() != before {
			if now > time.Hour {
				t.Fatalf("it is not seen to sleep: %q", before)
			}
			time.Sleep(time.Millisecond)
			continue // it has not come so far yet
		}
		if len(x.Rows) != 1 || x.Rows[0] != (SleepRow{WaitSleep, before, 1}) || x.Comm.Bytes() != "sleep" || x.Unlooked != 0 {
			t.Errorf("%+v, want one thread in %s", x, before)
		}
		break
	}
	if p := c.Probes()[0]; p.State != On && os.Geteuid() == 0 {
		t.Errorf("the probe is %v: %s", p.State, p.Reason)
	}
}
