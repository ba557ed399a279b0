// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"bpf60/bpf"
)

// TestExecLive starts 23 programs and lets them end, under the real programs, and holds that no scan of
// the tasks has seen them.
func TestExecLive(t *testing.T) {
	k := bpf.Inspect()
	bell := &scanBell{}
	c := NewExec(k, NewFS(""), nil, newFeed(k), bell).(*execCollector)
	if err := c.Start(t.Context()); err != nil {
		lacking(t, "opening the probes of execs and exits: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	fs := NewFS("")
	tasks := newTasks(fs, bell, newIterScanner(k, fs.pids))
	if err := tasks.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tasks.Close() })
	if _, err := tasks.Collect(t.Context(), 0); err != nil && !errors.Is(err, ErrWarming) {
		t.Fatal(err)
	}
	if err := exec.Command("/proc/self/exe", "-test.run=^$").Run(); err != nil { // os looks for pidfds once, with a child
		t.Fatal(err)
	}
	self := Target{Kind: ProcessTarget, Process: Process{TGID: int32(os.Getpid())}}
	if err := c.Narrow([]Target{self}); err != nil {
		t.Fatal(err)
	}
	execAt(t, c, time.Second)
	// The lists hold the newest of the host, so each tick has one of ours.
	const n = 23
	pids := make(map[int32]int)
	var sum ExecCounts
	var listed, ended, unlisted int
	short := ShortLived{}
	now := time.Second
	tick := func() {
		t.Helper()
		now += time.Second
		s := execAt(t, c, now)
		if len(s.Narrowed) != 1 {
			t.Fatalf("narrowed to this process: %+v", s.Narrowed)
		}
		x := s.Narrowed[0].Sample
		unlisted += int(s.ExecsUnlisted + s.ExitsUnlisted)
		sum.Execs, sum.Exits, sum.Unseen = sum.Execs+x.Execs, sum.Exits+x.Exits, sum.Unseen+x.Unseen
		for _, r := range s.Execs {
			i, ours := pids[r.Process.TGID]
			if !ours {
				continue
			}
			listed++
			if want := "/proc/self/exe -test.run=^$ -test.count=" + strconv.Itoa(i+1); r.Args.Bytes() != want || r.Parent.TGID != int32(os.Getpid()) || r.At > now {
				t.Errorf("exec %+v, want arguments %q", r, want)
			}
		}
		for _, r := range s.Exits {
			if _, ours := pids[r.Process.TGID]; ours {
				ended++
				if r.Code != 0 || r.Signal != 0 || r.CPU <= 0 || r.Age <= 0 {
					t.Errorf("exit %+v", r)
				}
			}
		}
		for _, r := range s.Short {
			if r.Parent.TGID == int32(os.Getpid()) && r.Comm.Bytes() == "exe" {
				short.Exits, short.Unseen, short.CPU = short.Exits+r.Exits, short.Unseen+r.Unseen, short.CPU+r.CPU
			}
		}
	}
	for i := range n {
		cmd := exec.Command("/proc/self/exe", "-test.run=^$", "-test.count="+strconv.Itoa(i+1))
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		pids[int32(cmd.Process.Pid)] = i
		tick()
	}
	tick() // an exit is listed when it was waited for, or a while later
	if sum.Execs != n || sum.Exits != n || sum.Unseen != n {
		t.Errorf("narrowed to this process: %+v, want %d execs and exits that no scan has seen", sum, n)
	}
	// A host that starts hundreds a second leaves no room for all of ours.
	if listed > n || listed+unlisted < n || listed == 0 {
		t.Errorf("%d execs listed, want %d; %d of the host were not", listed, n, unlisted)
	}
	if ended > n || ended+unlisted < n || ended == 0 {
		t.Errorf("%d exits listed, want %d; %d of the host were not", ended, n, unlisted)
	}
	if short.Exits != n || short.Unseen != n || short.CPU <= 0 {
		t.Errorf("short-lived %+v, want %d of ours", short, n)
	}
}
