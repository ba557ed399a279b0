// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bpf60/collectors"
)

// crowded are the limits that say whether a CPU is short: others than a culprit want to run and wait.
type crowded struct{ wait, least float64 }

func (r *Rule) crowded(chosen Limits) crowded {
	return crowded{
		wait:  r.limit(chosen, Limit{"wait", 20, "%", 1, 100, "of the time in which tasks of others want to run and wait; below it the finding is info"}),
		least: r.limit(chosen, Limit{"victims", 0.02, "tasks", 0, 100, "of others waiting at a time, in the mean, below which nobody is said to wait"}),
	}
}

// by says that others wait for the CPUs that a group has.
func (c *crowded) by(v *rivals) bool { return v.share() >= c.wait && v.lost() >= c.least }

// taskOf is a process over the window; nil if it did nothing in it.
func (r *recent) taskOf(p collectors.Process) *task {
	t := r.processes()
	if i, ok := t.at[p]; ok && t.list[i].rows > 0 {
		return &t.list[i]
	}
	return nil
}

// heat fills in a finding about a process whose time goes into the kernel, and makes it a warning if it
// is most of the process's time and others wait for the CPUs.
func (r *recent) heat(f *Finding, x *task, sys float64, c *crowded) {
	part := percent(x.sys.Seconds(), x.run.Seconds())
	f.Culprits = []Culprit{process(x.ProcInfo, min(x.run.Seconds()/max(r.processes().seconds*float64(max(len(r.cpu().single), 1)), 1e-9), 1))}
	f.Row = firstProcess(f.Culprits)
	f.Evidence = append(f.Evidence, fmt.Sprintf("%.0f %% of its CPU time in the kernel", part))
	f.Explains = []string{"cpu.saturated", "cpu.runq_latency"}
	if part < sys {
		return
	}
	if v := r.rivalsOf(r.together().group(x)); c.by(v) {
		f.Severity, f.Victims = Warning, v.named()
		f.Evidence = append(f.Evidence, fmt.Sprintf("others wait %.0f %% of their time", v.share()))
	}
}

// switching: the time of a process goes into switches of contexts.
func switching(chosen Limits) Rule {
	r := Rule{ID: "cpu.switch_storm", Says: "one process makes the CPUs switch all the time; a warning if most of its time is the kernel's and others wait", Resource: "cpu", Needs: []string{"pidstat"}}
	rate := r.limit(chosen, Limit{"rate", 100000, "a second", 100, 1e9, "switches of contexts of one process, all its threads together, in 10 s"})
	sys := r.limit(chosen, Limit{"sys", 50, "%", 1, 100, "of the process's CPU time in the kernel"})
	short := r.crowded(chosen)
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		t := w.processes()
		if t.seconds < covered {
			return Finding{}, nil
		}
		list := t.most(1, func(x *task) float64 {
			if n := float64(x.switches); n >= rate*t.seconds && !x.Kernel && !w.ourselves(x.ProcInfo) {
				return n
			}
			return 0
		})
		if len(list) == 0 {
			return Finding{}, nil
		}
		x := list[0]
		each := float64(x.switches) / t.seconds
		f := Finding{
			ID: "cpu.switch_storm", Severity: Info, Resource: "cpu", Line: "pidstat", Value: each, Threshold: rate, Unit: "a second", N: x.switches, Window: recentFor,
			Title: fmt.Sprintf("%s switches %.0f k times a second", named(x.Comm, x.PID), each/1e3), Pane: "processes", Command: fmt.Sprintf("pidstat -w -p %d 1", x.PID),
		}
		w.heat(&f, x, sys, &short)
		return f, nil
	})
	return r
}

// pair is a process and a call that it makes.
type pair struct {
	process collectors.Process
	name    string
}

// moves says that a call moves bytes, of which nobody counts how many.
func moves(call string) bool {
	for _, s := range []string{"read", "write", "send", "recv", "splice", "copy_file", "getdents", "io_", "vmsplice", "tee"} {
		if strings.Contains(call, s) {
			return true
		}
	}
	return false
}

// calling: the time of a process goes into one system call that fails, or moves nothing.
func calling(chosen Limits) Rule {
	r := Rule{
		ID: "cpu.syscall_storm", Says: "one process makes one system call all the time that fails or moves nothing; a warning if most of its time is the kernel's and others wait",
		Resource: "system calls", Needs: []string{"syscount", "pidstat"},
	}
	rate := r.limit(chosen, Limit{"rate", 100000, "a second", 100, 1e9, "of one call by one process, in 10 s"})
	failing := r.limit(chosen, Limit{"failing", 50, "%", 1, 100, "of a call that moves bytes that fail; calls that move none need not fail"})
	sys := r.limit(chosen, Limit{"sys", 50, "%", 1, 100, "of the process's CPU time in the kernel"})
	short := r.crowded(chosen)
	r.Check = toldFrom(collectors.SyscallsID, syscallSpan, (*recent).inKernel, func(w *recent, moments []Moment) Finding {
		sums, seconds := map[pair]*collectors.SyscallCounts{}, 0.0
		for _, m := range moments {
			seconds += m.Syscalls.Seconds()
			for i := range m.Syscalls.Pairs {
				x := &m.Syscalls.Pairs[i]
				k := pair{x.Process, x.Name}
				if sums[k] == nil {
					sums[k] = &collectors.SyscallCounts{}
				}
				sums[k].Plus(&x.SyscallCounts)
			}
		}
		keys := slices.SortedFunc(maps.Keys(sums), func(a, b pair) int {
			return cmp.Or(cmp.Compare(sums[b].N, sums[a].N), cmp.Compare(a.process.TGID, b.process.TGID), cmp.Compare(a.name, b.name))
		})
		for _, k := range keys {
			n := sums[k]
			bad := percent(n.Errors, n.N)
			x := w.taskOf(k.process)
			if float64(n.N) < rate*seconds || moves(k.name) && bad < failing || x == nil || w.ourselves(x.ProcInfo) {
				continue
			}
			f := Finding{
				ID: "cpu.syscall_storm", Severity: Info, Resource: "system calls", Line: "pidstat", Value: float64(n.N) / seconds, Threshold: rate, Unit: "a second", N: n.N, Window: recentFor,
				Title:    fmt.Sprintf("%s calls %s %.0f k times a second", named(x.Comm, x.PID), k.name, float64(n.N)/seconds/1e3),
				Evidence: []string{fmt.Sprintf("%.0f %% of the calls fail", bad)},
				Pane:     "syscalls", Command: fmt.Sprintf("strace -cfp %d; syscount -p %d", x.PID, x.PID),
			}
			w.heat(&f, x, sys, &short)
			return f
		}
		return Finding{}
	})
	return r
}
