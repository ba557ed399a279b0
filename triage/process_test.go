// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"testing"
	"time"

	"bpf60/collectors"
)

func TestStorm(t *testing.T) {
	make1 := collectors.Process{TGID: 11, Start: 11}
	dead := func(cpu time.Duration) fill {
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Exec = &collectors.Exec{Span: span, ExecCounts: collectors.ExecCounts{Execs: 400, Forks: 400, Exits: 400, Unseen: 400, UnseenCPU: cpu, UnseenAge: time.Second}, Short: []collectors.ShortLived{
				{Comm: collectors.RawString("sh"), Parent: make1, ParentComm: collectors.RawString("crond"), Exits: 400, Unseen: 400, UnseenCPU: cpu},
			}}
		}
	}
	two := ticksOf(2, busyCPU(), busyCPU())
	parent := proc{pid: 11, parent: 1, comm: "crond", run: ms(5)}
	victim := proc{pid: 30, parent: 1, comm: "victim", run: ms(400), wait: ms(600)}
	checkCases(t, "proc.exec_storm", map[string]ruleCase{
		"others wait":          {h: ticking(10, two, dead(ms(600)), tasks(parent, victim)), want: "warning 30 % of CPU by sh by crond[11] hits victim[30]", in: "400 exits/s"},
		"a builder":            {h: ticking(10, two, dead(ms(600)), tasks(parent)), want: "info 30 % of CPU by sh by crond[11]", in: "nobody else waits"},
		"its own tree waits":   {h: ticking(10, two, dead(ms(600)), tasks(proc{pid: 11, parent: 1, comm: "make", run: ms(5)}, proc{pid: 30, parent: 11, comm: "child", run: ms(400), wait: ms(600)})), want: "info 30 % of CPU by sh by crond[11]"},
		"many, but cheap":      {h: ticking(10, two, dead(ms(150)), tasks(parent, victim))},
		"the parent is gone":   {h: ticking(10, two, dead(ms(600)), tasks(victim)), want: "info 30 % of CPU by sh by crond[11]"},
		"exits are not traced": {h: ticking(10, two, tasks(parent, victim))},
	})
}

func TestBlocked(t *testing.T) {
	d := func(list ...collectors.Stall) *History {
		return ticking(2, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Stalls = &collectors.Stalls{Span: span, Rows: list, Tasks: len(list)}
		})
	}
	at := func(class, fn string, seen time.Duration, kernel bool) collectors.Stall {
		return collectors.Stall{
			Stack: &collectors.Stack{Class: class, Function: fn}, Task: collectors.Process{TGID: 30}, Comm: collectors.RawString("cat"), Kernel: kernel, Seen: seen,
			Device: collectors.StallDevice{Name: collectors.RawString("nas:/x")},
		}
	}
	us := at("nfs", "rpc_wait_bit", time.Minute, false)
	us.Comm = collectors.RawString("bpf60")
	checkCases(t, "proc.blocked", map[string]ruleCase{
		"NFS is dead":     {h: d(at("nfs", "rpc_wait_bit", 12*time.Second, false)), want: "warning 12 s by nas:/x hits cat[30]", in: "1 thread stuck in rpc_wait_bit on nas:/x"},
		"for minutes":     {h: d(at("nfs", "rpc_wait_bit", 130*time.Second, false), at("disk", "folio", 200*time.Second, false), at("nfs", "rpc_wait_bit", 20*time.Second, false)), want: "critical 130 s by nas:/x hits cat[30], cat[30]", in: "2 threads"},
		"a database":      {h: d(at("disk", "folio_wait", 9*time.Second, false))},
		"vfork":           {h: d(at(collectors.WaitVfork, "kernel_clone", time.Minute, false))},
		"a kernel thread": {h: d(at("idle", "kthread", time.Hour, true))},
		"nobody is in D":  {h: d()},
		"we alone":        {h: d(us)},
		"we and another":  {h: d(us, at("nfs", "rpc_wait_bit", 12*time.Second, false)), want: "warning 12 s by nas:/x hits cat[30]", in: "1 thread "},
		"without a stack": {h: d(collectors.Stall{Task: collectors.Process{TGID: 30}, Comm: collectors.RawString("cat"), Seen: 20 * time.Second}), want: "warning 20 s hits cat[30]", in: "stuck in the kernel"},
	})
	if f := judged(t, "proc.blocked", d(at("nfs", "rpc_wait_bit", 12*time.Second, false))); f.Row != "nfs rpc_wait_bit nas:/x" {
		t.Errorf("leads to %q", f.Row)
	}
}

func TestFullPids(t *testing.T) {
	pids := func(n, limit, denied uint64) *History {
		info := &collectors.CgroupInfo{ID: 1, Path: collectors.RawString("/pod"), Own: collectors.CgroupLimits{Pids: limit}}
		return ticking(3, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Cgroups = &collectors.Cgroups{Span: span, Rows: []collectors.CgroupRow{{CgroupInfo: info, Span: span, Has: collectors.HasPids, Pids: n, PidsDenied: denied}}}
		})
	}
	checkCases(t, "proc.limit", map[string]ruleCase{
		"nearly":   {h: pids(80, 100, 0), want: "warning 80 % by /pod"},
		"refused":  {h: pids(100, 100, 2), want: "critical 100 % by /pod"},
		"half":     {h: pids(50, 100, 0)},
		"no limit": {h: pids(50, collectors.NoLimit, 0)},
	})
}

func TestCrashing(t *testing.T) {
	exits := func(n int, x collectors.ExitRow) *History {
		x.Comm, x.Age = collectors.RawString("app"), time.Second
		return ticking(30, func(i int, s *collectors.Snapshot, span collectors.Span) {
			if i <= n {
				s.Exec = &collectors.Exec{Span: span, Exits: []collectors.ExitRow{x}}
			}
		})
	}
	shell := collectors.ExitRow{Parent: collectors.Process{TGID: 70}, ParentComm: collectors.RawString("sh")}
	with := func(f func(*collectors.ExitRow)) collectors.ExitRow { x := shell; f(&x); return x }
	checkCases(t, "proc.crash_loop", map[string]ruleCase{
		"segfaults":            {h: exits(3, with(func(x *collectors.ExitRow) { x.Signal = 11 })), want: "warning 3 exits by app by sh[70]"},
		"a shell tells of one": {h: exits(3, with(func(x *collectors.ExitRow) { x.Code = 139 })), want: "warning 3 exits by app by sh[70]"},
		"a unit fails":         {h: exits(4, with(func(x *collectors.ExitRow) { x.Parent.TGID, x.Code = 1, 1 })), want: "warning 4 exits by app by sh[1]"},
		"twice":                {h: exits(2, with(func(x *collectors.ExitRow) { x.Signal = 11 }))},
		"grep finds nothing":   {h: exits(20, with(func(x *collectors.ExitRow) { x.Code = 1 }))},
		"is ended by somebody": {h: exits(20, with(func(x *collectors.ExitRow) { x.Signal = 15 }))},
		"a unit ends in order": {h: exits(20, with(func(x *collectors.ExitRow) { x.Parent.TGID = 1 }))},
	})
}

// TestCrashingContainers: each start of a container has a parent of its own, and a cgroup.
func TestCrashingContainers(t *testing.T) {
	starts := func(manager string, code uint8, pods ...string) *History {
		return ticking(30, func(i int, s *collectors.Snapshot, span collectors.Span) {
			if i > len(pods) {
				return
			}
			s.Exec = &collectors.Exec{Span: span, Exits: []collectors.ExitRow{{
				Comm: collectors.RawString("app"), Age: time.Second, Code: code, Cgroup: uint64(i),
				Parent: collectors.Process{TGID: int32(70 + i), Start: uint64(i)}, ParentComm: collectors.RawString(manager),
			}}}
			if pod := pods[i-1]; pod != "" {
				info := &collectors.CgroupInfo{ID: uint64(i), Path: collectors.RawString(fmt.Sprintf("%s/%d", pod, i))}
				s.Cgroups = &collectors.Cgroups{Span: span, Rows: []collectors.CgroupRow{{CgroupInfo: info}}}
			}
		})
	}
	checkCases(t, "proc.crash_loop", map[string]ruleCase{
		"podman":                  {h: starts("conmon", 1, "", "", ""), want: "warning 3 exits by app by conmon[73]"},
		"docker":                  {h: starts("containerd-shim", 139, "/docker", "/docker", "/docker"), want: "warning 3 exits by app by containerd-shim[73]"},
		"a pod, one start unseen": {h: starts("containerd-shim", 1, "/pod1", "", "/pod1"), want: "warning 3 exits by app by containerd-shim[73]"},
		"two pods, twice each":    {h: starts("containerd-shim", 1, "/pod1", "/pod2", "/pod1", "/pod2")},
		"twice":                   {h: starts("conmon", 1, "", "")},
		"in order":                {h: starts("conmon", 0, "", "", "", "")},
		"of shells":               {h: starts("sh", 139, "", "", "")},
	})
}

func TestUnreaped(t *testing.T) {
	dead := func(n func(i int) int) *History {
		return ticking(61, func(i int, s *collectors.Snapshot, span collectors.Span) {
			x := &collectors.Tasks{Span: span, Zombies: n(i)}
			if i == 1 || i == 61 {
				x.Key = append(x.Key, collectors.TaskState{ProcInfo: &collectors.ProcInfo{PID: 5, Comm: collectors.RawString("app"), Process: collectors.Process{TGID: 5}}, State: 'S'})
				for k := range n(i) {
					x.Key = append(x.Key, collectors.TaskState{ProcInfo: &collectors.ProcInfo{PID: int32(100 + k), PPID: 5}, State: 'Z'})
				}
			}
			s.Tasks = x
		})
	}
	checkCases(t, "proc.zombies", map[string]ruleCase{
		"grows":     {h: dead(func(i int) int { return 200 + i }), want: "warning 261 processes by app[5]"},
		"stays":     {h: dead(func(int) int { return 300 }), want: "info 300 processes by app[5]"},
		"a hundred": {h: dead(func(i int) int { return 100 + i }), want: "info 161 processes by app[5]"},
		"some":      {h: dead(func(int) int { return 99 })},
	})
}
