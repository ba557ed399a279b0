// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"testing"
	"testing/synctest"

	"bpf60/bpf"
)

// TestNameBookOtherPIDs: in a container BPF has the host's numbers, by which /proc has other processes.
func TestNameBookOtherPIDs(t *testing.T) {
	root, fs := bookTree(t)
	put(t, root+"/proc/5/cmdline", "another\x00one\x00")
	put(t, root+"/proc/5/cgroup", "0::/another\n")
	put(t, root+"/proc/17/cmdline", "its\x00own\x00")
	put(t, root+"/proc/17/cgroup", "0::/own\n")
	for name, tt := range map[string]struct {
		there      int32
		args, path string
		state      ArgsState
	}{
		"known here":     {17, "its own", "/own", ArgsRead},
		"the same":       {5, "another one", "/another", ArgsRead},
		"in another one": {0, "", "", ArgsElsewhere},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newNameBook(fs)
				b.start()
				defer b.stop()
				s := scans{book: b}
				five := rec(5, 5, 1, 0).with(func(r *taskRec) { r.There, r.Cgroup = tt.there, 77 })
				settle(&s, b, five)
				got := settle(&s, b, five).Rows
				if len(got) != 1 || got[0].PID != 5 || got[0].Args.Bytes() != tt.args || got[0].ArgsRead != tt.state || got[0].CgroupPath.Bytes() != tt.path {
					t.Errorf("rows %+v, want 5 with %q of %q, state %d", got, tt.args, tt.path, tt.state)
				}
			})
		})
	}
}

// TestIterPIDs: the scan tells everybody what /proc calls the threads it found.
func TestIterPIDs(t *testing.T) {
	threads := []bpf.Task{{Pid: 500, Tgid: 500, NsPid: 1}, {Pid: 501, Tgid: 500, NsPid: 2}, {Pid: 600, Tgid: 600}}
	for name, tt := range map[string]struct {
		pids   bpf.TaskPIDs
		differ bool
		there  [4]int32 // of 500, 501, 600, and 1
		here   int32    // of 2
	}{
		"a host":         {bpf.PIDsSame, false, [4]int32{500, 501, 600, 1}, 2},
		"a container":    {bpf.PIDsOther, true, [4]int32{1, 2, 0, 0}, 501},
		"cannot be told": {bpf.PIDsUnknown, true, [4]int32{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			tasks := append([]bpf.Task(nil), threads...)
			if tt.pids != bpf.PIDsOther {
				for i := range tasks {
					tasks[i].NsPid = 0
				}
			}
			fs := NewFS(t.TempDir())
			fs.pids.distrust()
			if fs.dir(500) != noProcess || !fs.unnamed(500) {
				t.Errorf("before a scan 500 is %s", fs.dir(500))
			}
			s := &iterScanner{r: &fakeTasks{scans: [][]bpf.Task{tasks}, turns: []bool{false}, pids: tt.pids}, pids: fs.pids}
			recs, err := s.Scan(context.Background(), nil)
			if err != nil || len(recs) != 3 {
				t.Fatalf("Scan = %+v, %v", recs, err)
			}
			if fs.pids.differ() != tt.differ || fs.pids.here(2) != tt.here {
				t.Errorf("differ: %v, 2 is %d here; want %v and %d", fs.pids.differ(), fs.pids.here(2), tt.differ, tt.here)
			}
			for i, pid := range []int32{500, 501, 600, 1} {
				if got := fs.pids.there(pid); got != tt.there[i] {
					t.Errorf("%d is %d there, want %d", pid, got, tt.there[i])
				}
				if want := pidDir(tt.there[i]); fs.dir(pid) != want {
					t.Errorf("the directory of %d is %s, want %s", pid, fs.dir(pid), want)
				}
				if i < len(recs) && recs[i].There != tt.there[i] {
					t.Errorf("record %+v, want %d there", recs[i], tt.there[i])
				}
			}
			if p := s.Probe(); (p.State == Degraded) != (tt.pids == bpf.PIDsUnknown) || p.State == Degraded && p.Remedy == "" {
				t.Errorf("probe = %+v", p)
			}
			fs.pids.trust()
			if fs.dir(500) != "500" || fs.unnamed(500) {
				t.Errorf("where all comes from /proc 500 is %s", fs.dir(500))
			}
		})
	}
}

// TestLimitsOtherPIDs: of a process that /proc does not show nothing is read, and least of all another one's.
func TestLimitsOtherPIDs(t *testing.T) {
	root, fs := bookTree(t)
	put(t, root+"/proc/5/stat", "5 (x) S 1 5 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n")
	fs.pids.distrust()
	if got := readLimits(fs, Process{TGID: 5}); len(got.Rows) != 0 || got.Why != whyUnnamed {
		t.Errorf("readLimits = %+v, want nothing for the reason %q", got, whyUnnamed)
	}
}
