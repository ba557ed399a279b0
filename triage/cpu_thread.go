// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"slices"

	"bpf60/collectors"
)

// alone: one thread runs all the time while CPUs are idle. It is a warning if work waits for it.
func alone(chosen Limits) Rule {
	r := Rule{ID: "cpu.single_thread", Says: "one thread runs all the time while other CPUs are idle; a warning if its sockets hold what it has not read or accepted", Resource: "cpu", Needs: []string{"pidstat"}}
	share := r.limit(chosen, Limit{"share", 95, "%", 50, 100, "of 10 s that one process of one thread ran"})
	spare := r.limit(chosen, Limit{"idle", 50, "% of a CPU", 1, 1e5, "idle in the mean, less than which the host is short of CPUs anyway"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		c := w.cpu()
		cpus := float64(len(c.single))
		// A thread that runs all the time makes one CPU busy: cheaper to see than all processes.
		if c.seconds < covered || cpus < 2 || 100-percent(c.all.Idle+c.all.IOWait, c.all.Total()) < share/cpus || percent(c.all.Idle+c.all.IOWait, c.all.Total())*cpus < spare {
			return Finding{}, nil
		}
		t := w.processes()
		if t.seconds < covered {
			return Finding{}, nil
		}
		list := t.most(spinners, func(x *task) float64 {
			if x.Kernel || x.threads != 1 || w.ourselves(x.ProcInfo) || percent(x.run.Seconds(), t.seconds) < share {
				return 0
			}
			return x.run.Seconds()
		})
		isolated := w.facts().Isolated
		if len(list) > 0 && len(isolated) > 0 {
			known, free := w.offIsolated(list, isolated)
			if !known {
				return Finding{}, w.threads()
			}
			list = free
		}
		if len(list) == 0 {
			return Finding{}, nil
		}
		x := list[0]
		part := min(percent(x.run.Seconds(), t.seconds), 100)
		f := Finding{
			ID: "cpu.single_thread", Severity: Info, Resource: "cpu", Line: "pidstat", Value: part, Threshold: share, Unit: "%", Window: recentFor,
			Title:    fmt.Sprintf("%s runs all the time on one CPU while others are idle", named(x.Comm, x.PID)),
			Culprits: []Culprit{process(x.ProcInfo, part/100)}, Pane: "processes", Command: "pidstat -u 1; top -H",
		}
		f.Row = firstProcess(f.Culprits)
		s := lastOf(w.moments, func(s *collectors.Snapshot) *collectors.Sockets { return s.Sockets })
		if s != nil {
			if held := unread(s, x.Process); held != "" {
				f.Severity = Warning
				f.Title = fmt.Sprintf("%s runs all the time on one CPU, and work waits for it", named(x.Comm, x.PID))
				f.Evidence = []string{held}
			}
		}
		wants := []collectors.Want{{ID: collectors.SocketsID}}
		if len(isolated) > 0 { // looks are given to who has not asked before, so nothing is asked for all the time
			if s != nil {
				wants = nil
			}
			wants = append(wants, w.threads()...)
		}
		return f, wants
	})
	return r
}

// spinners is how many processes that run all the time are looked at: of those on isolated CPUs, where that
// is the purpose, there may be several.
const spinners = 64

// offIsolated leaves out the processes that were seen on isolated CPUs alone. Unknown: not all of them have
// been looked at.
func (r *recent) offIsolated(list []*task, isolated []int) (known bool, free []*task) {
	seen, off := map[collectors.Process]bool{}, map[collectors.Process]bool{}
	for s := range r.looksAtThreads {
		for i := range s.Busy {
			if x := &s.Busy[i]; x.LastCPU > 0 {
				seen[x.Process] = true
				off[x.Process] = off[x.Process] || !slices.Contains(isolated, int(x.LastCPU)-1)
			}
		}
	}
	for _, x := range list {
		if !seen[x.Process] {
			return false, nil
		}
		if off[x.Process] {
			free = append(free, x)
		}
	}
	return true, free
}

// unread says what a process's sockets hold that it has not read or accepted; empty: nothing, or it has
// none.
func unread(s *collectors.Sockets, p collectors.Process) string {
	mine := func(id *collectors.SocketID) bool { return id != nil && id.Owner != nil && id.Owner.Process == p }
	if i := slices.IndexFunc(s.Listeners, func(x collectors.ListenRow) bool { return mine(x.SocketID) && x.Queue > 0 }); i >= 0 {
		x := &s.Listeners[i]
		return fmt.Sprintf("%d of %d connections wait to be accepted at %s", x.Queue, x.Backlog, x.Local)
	}
	n, bytes := 0, uint64(0)
	for i := range s.Rows {
		if x := &s.Rows[i]; mine(x.SocketID) && x.RecvQ > 0 {
			n++
			bytes += uint64(x.RecvQ)
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s not read of %d connection%s", bytesText(bytes), n, plural(n))
}
