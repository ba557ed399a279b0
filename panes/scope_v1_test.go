// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"
	"testing"
	"time"

	"bpf60/bpf"
	"bpf60/collectors"
	"bpf60/triage"
)

// TestScopeOfV1: rows tell the memory controller's cgroup. Of one that does not stand there the processes
// tell by their path.
func TestScopeOfV1(t *testing.T) {
	batch := bpf.CgroupID(bpf.MemoryV1, bpf.CPUv1, 9)
	info := func(id uint64, path string) *collectors.CgroupInfo {
		return &collectors.CgroupInfo{ID: id, Path: collectors.RawString(path), Name: collectors.RawString(path[1:])}
	}
	proc := func(pid int32, id uint64, path string) collectors.TaskRow {
		return collectors.TaskRow{ProcInfo: &collectors.ProcInfo{
			Process: collectors.Process{TGID: pid, Start: 1}, PID: pid, Cgroup: id, CgroupPath: collectors.RawString(path),
		}}
	}
	rows := []collectors.TaskRow{proc(4, 77, "/docker/a"), proc(5, 1, "/batch/x"), proc(6, 1, "/"), proc(7, 1, "/other")}
	f := window(0, triage.Moment{Snapshot: &collectors.Snapshot{
		Cgroups: &collectors.Cgroups{Rows: []collectors.CgroupRow{{CgroupInfo: info(77, "/docker/a")}, {CgroupInfo: info(76, "/docker")}, {CgroupInfo: info(batch, "/batch")}}},
		Tasks:   &collectors.Tasks{Span: collectors.Span{To: time.Second}, Rows: rows},
	}})
	target := func(pid int32, cgroup uint64) collectors.Target {
		return inCgroup(aboutProcess(collectors.Process{TGID: pid, Start: 1}, collectors.Raw{}), cgroup)
	}
	tests := map[string]struct {
		scope uint64
		of    collectors.Target
		want  bool
	}{
		"the container":                  {77, target(4, 77), true},
		"above it":                       {76, target(4, 77), true},
		"who is dead, by the number":     {76, target(99, 77), true},
		"the root, not in it":            {76, target(6, 1), false},
		"by path":                        {batch, target(5, 1), true},
		"by path, without a number":      {batch, target(5, 0), true},
		"of another path":                {batch, target(7, 1), false},
		"in the root":                    {batch, target(6, 1), false},
		"the container, for the other":   {batch, target(4, 77), false},
		"who is dead, in the root of it": {batch, target(99, 1), false},
	}
	for name, tt := range tests {
		s := NewScope(collectors.Target{Kind: collectors.CgroupTarget, Cgroup: tt.scope})
		if got := s.holds(f)(tt.of); got != tt.want {
			t.Errorf("%s: %t, want %t", name, got, tt.want)
		}
	}
	aside := NewScope(collectors.Target{Kind: collectors.CgroupTarget, Cgroup: batch}).why()
	if !strings.Contains(aside, "another hierarchy") || strings.Contains(NewScope(collectors.Target{Kind: collectors.CgroupTarget, Cgroup: 77}).why(), "hierarchy") {
		t.Errorf("why no row passes: %q", aside)
	}
	names := newCgroupNames(f)
	for id, want := range map[uint64]string{77: "docker/a", 1: "/", 5: "#5"} {
		if got := names.cell(id).Format(0); got != want {
			t.Errorf("cgroup %d is called %q, want %q", id, got, want)
		}
	}
}

// TestCgroupPageSaysWhatIsLeftOut: more cgroups below one than the kernel's filters hold.
func TestCgroupPageSaysWhatIsLeftOut(t *testing.T) {
	const why = "not all that is below a cgroup counts for it"
	f := busyStory(40).frame()
	p := newCgroupPage(f, "/system.slice/nginx.service")
	c := Canvas{Width: 80, Height: 21, Theme: plain()}
	if out := p.View(f, c); strings.Contains(out, why) {
		t.Errorf("with nothing left out:\n%s", out)
	}
	probes := map[collectors.ID][]collectors.Probe{}
	for id, list := range f.Now.Probes {
		probes[id] = list
	}
	probes[collectors.CgroupsID] = []collectors.Probe{{Name: "cgroup", State: collectors.Degraded, Reason: why + ": more than 1024"}}
	now := *f.Now.Snapshot
	now.Probes = probes
	f.Now.Snapshot = &now
	if out := p.View(f, c); !strings.Contains(out, why) {
		t.Errorf("what is left out is not told:\n%s", out)
	}
}
