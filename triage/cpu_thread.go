// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"slices"
	"time"

	"bpf60/collectors"
)

const (
	// lockedIn is how many of a process's threads must be seen to wait for a lock, in percent, and handsOn how
	// often a second it must switch, for them to wait for the one that runs: what waits for work does not switch.
	lockedIn = 50
	handsOn  = 2000
)

// alone: one thread runs all the time while CPUs are idle. It is a warning if work waits for it.
func alone(chosen Limits) Rule {
	r := Rule{
		ID: "cpu.single_thread", Says: "one thread runs all the time while other CPUs are idle; a warning if its process's sockets hold what it has not read or accepted, or its other threads wait for a lock all the time",
		Resource: "cpu", Needs: []string{"pidstat"},
	}
	share := r.limit(chosen, Limit{"share", 95, "%", 50, 100, "of 10 s that one thread ran"})
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
			if x.Kernel || x.threads == 0 || w.ourselves(x.ProcInfo) || percent(x.run.Seconds(), t.seconds) < share {
				return 0
			}
			return x.run.Seconds()
		})
		isolated := w.facts().Isolated
		several := slices.ContainsFunc(list, func(x *task) bool { return x.threads > 1 })
		var wants []collectors.Want
		if several || len(list) > 0 && len(isolated) > 0 {
			wants = w.threads()
		}
		if len(isolated) > 0 {
			list = w.offIsolated(list, isolated)
		}
		x, one := w.spinning(list, share, isolated)
		if x == nil {
			return Finding{}, wants
		}
		part := min(one.part, 100)
		what := named(x.Comm, x.PID).String()
		if one.tid != 0 {
			what = fmt.Sprintf("thread %s of %s", named(one.comm, one.tid), what)
		}
		f := Finding{
			ID: "cpu.single_thread", Severity: Info, Resource: "cpu", Line: "pidstat", Value: part, Threshold: share, Unit: "%", Window: recentFor,
			Title:    what + " runs all the time on one CPU while others are idle",
			Culprits: []Culprit{process(x.ProcInfo, part/100)}, Pane: "processes", Command: "pidstat -u 1; top -H",
		}
		f.Row = firstProcess(f.Culprits)
		// What was seen a moment ago stands until somebody looks again.
		if s := lastOf(w.h.Since(w.now-sleepsFor), socketsOf); s != nil {
			if held := unread(s, x.Process); held != "" {
				f.Evidence = append(f.Evidence, held)
			}
		}
		wants = append(wants, collectors.Want{ID: collectors.SocketsID})
		if one.tid != 0 {
			if held := w.lockedOut(x); held != "" {
				f.Evidence = append(f.Evidence, held)
			}
			wants = append(wants, collectors.Want{ID: collectors.SleepsID, Target: collectors.Target{Kind: collectors.ProcessTarget, Process: x.Process}})
		}
		if len(f.Evidence) > 0 {
			f.Severity = Warning
			f.Title = what + " runs all the time on one CPU, and work waits for it"
		}
		return f, wants
	})
	return r
}

// spinner is the thread of a process that runs most.
type spinner struct {
	part float64 // of the time, in percent
	tid  int32   // 0: the process has no other
	comm collectors.Raw
	run  time.Duration
	off  bool // it was seen on a CPU that is not isolated
}

// spinning is the first process one thread of which runs for share percent of the time, and that thread; nil
// without. Of processes with several threads the looks at threads tell.
func (r *recent) spinning(list []*task, share float64, isolated []int) (*task, *spinner) {
	var most map[collectors.Process]*spinner
	for _, x := range list {
		if x.threads == 1 {
			return x, &spinner{part: percent(x.run.Seconds(), r.processes().seconds)}
		}
		if most == nil {
			most = r.busiestThreads(isolated)
		}
		if s := most[x.Process]; s != nil && s.part >= share && s.off {
			return x, s
		}
	}
	return nil, nil
}

// busiestThreads are the threads that ran most of each process, by the looks at threads of the last minute;
// none while these are too few.
func (r *recent) busiestThreads(isolated []int) map[collectors.Process]*spinner {
	type thread struct {
		p   collectors.Process
		tid int32
	}
	all, looks, seconds := map[thread]*spinner{}, 0, 0.0
	for s := range r.looksAtThreads {
		if s.Source == "/proc" { // a process is one row there, whatever its threads
			continue
		}
		looks++
		seconds += s.Seconds()
		for i := range s.Busy {
			x := &s.Busy[i]
			k := thread{x.Process, x.TID}
			if all[k] == nil {
				all[k] = &spinner{tid: x.TID}
			}
			all[k].comm = x.Comm
			all[k].run += x.Run
			all[k].off = all[k].off || !slices.Contains(isolated, int(x.LastCPU)-1)
		}
	}
	if looks < leastLooks {
		return nil
	}
	out := map[collectors.Process]*spinner{}
	for k, x := range all {
		x.part = percent(x.run.Seconds(), seconds)
		if best := out[k.p]; best == nil || x.run > best.run || x.run == best.run && x.tid < best.tid {
			out[k.p] = x
		}
	}
	return out
}

// lockedOut says that most threads of a process wait for a lock that is handed on all the time; empty: they
// do not, or nobody looked.
func (r *recent) lockedOut(x *task) string {
	s := r.sleeps()[x.Process]
	if s == nil || s.threads == 0 || float64(x.switches) < handsOn*r.processes().seconds || percent(uint64(s.in[collectors.WaitFutex]), uint64(s.threads)) < lockedIn {
		return ""
	}
	return s.says()
}

// spinners is how many processes that run all the time are looked at: of those on isolated CPUs, where that
// is the purpose, there may be several.
const spinners = 64

// offIsolated leaves out the processes of one thread that were seen on isolated CPUs alone, or not at all yet.
func (r *recent) offIsolated(list []*task, isolated []int) []*task {
	off := map[collectors.Process]bool{}
	for s := range r.looksAtThreads {
		for i := range s.Busy {
			if x := &s.Busy[i]; x.LastCPU > 0 {
				off[x.Process] = off[x.Process] || !slices.Contains(isolated, int(x.LastCPU)-1)
			}
		}
	}
	var out []*task
	for _, x := range list {
		if x.threads > 1 || off[x.Process] {
			out = append(out, x)
		}
	}
	return out
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
