// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"time"

	"bpf60/collectors"
)

// cpuRules are the rules about CPUs.
func cpuRules(chosen Limits) []Rule {
	return []Rule{saturated(chosen), throttled(chosen), queued(chosen), alone(chosen), switching(chosen), calling(chosen), stolen(chosen), oneVector(chosen), oneLine(chosen), capped(chosen), periodic(chosen)}
}

// saturated: more tasks than CPUs, and somebody outside the group that has most of them waits.
func saturated(chosen Limits) Rule {
	r := Rule{
		ID: "cpu.saturated", Says: "more tasks want to run than there are CPUs, or than the CPUs they are bound to, and others than the culprit wait",
		Needs: []string{"mpstat", "pidstat"},
	}
	perCPU := r.limit(chosen, Limit{"runnable", 1, "tasks a CPU", 0.5, 100, "tasks that run or want to, in the mean of 10 s"})
	spare := r.limit(chosen, Limit{"idle", 10, "%", 0, 100, "idle in 10 s, above which it is single CPUs that are short, those that tasks are bound to"})
	wait := r.limit(chosen, Limit{"wait", 20, "%", 1, 100, "of the time in which tasks outside the culprit want to run and wait; below it the finding is info"})
	critical := r.limit(chosen, Limit{"critical", 50, "%", 1, 100, "the same, from which it is critical"})
	least := r.limit(chosen, Limit{"victims", 0.02, "tasks", 0, 100, "waiting outside the culprit at a time, in the mean, below which nobody is said to wait"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		c := w.cpu()
		cpus, idle := len(c.single), percent(c.all.Idle+c.all.IOWait, c.all.Total())
		if c.seconds < covered || cpus == 0 {
			return Finding{}, nil
		}
		if idle > spare {
			return w.confined(perCPU, spare, wait, least)
		}
		if c.runnable <= perCPU*float64(cpus) {
			return Finding{}, nil
		}
		v := w.rivals()
		// The gauge is of the moments at which we look, when others may wake, too; the sum is of all time, and
		// PSI where the waits of most threads are not known.
		runnable, stalls, leaders := c.runnable, w.pressure(psiCPU), w.leadersOnly()
		if !leaders {
			runnable = min(runnable, w.asked(v.seconds))
		} else if stalls.seconds > 0 && stalls.some < wait {
			return Finding{}, nil
		}
		if v.seconds < covered || v.culprit.name == "" || runnable <= perCPU*float64(cpus) {
			return Finding{}, nil
		}
		f := Finding{
			ID: "cpu.saturated", Resource: "cpu", Line: "uptime", Value: v.share(), Threshold: wait, Unit: "%", Window: recentFor,
			Title:    fmt.Sprintf("%.1f runnable on %d CPUs, others wait %.0f %% of their time", runnable, cpus, v.share()),
			Culprits: v.culprits(cpus), Victims: v.named(), Explains: []string{"cpu.runq_latency", "net.listen_overflow"},
			Pane: "processes", Command: "pidstat -u 1", Severity: Warning,
		}
		f.Row = firstProcess(f.Culprits)
		if stalls.seconds > 0 {
			f.Evidence = append(f.Evidence, fmt.Sprintf("PSI cpu some %.0f %%", stalls.some))
		}
		f.Evidence = append(f.Evidence, fmt.Sprintf("idle %.0f %%", idle))
		if d := v.culprit.dead; d > 0 {
			f.Evidence = append(f.Evidence, fmt.Sprintf("short-lived processes took %.0f %% of the CPUs", percent(d.Seconds(), v.seconds*float64(cpus))))
		}
		switch {
		case v.share() < wait || v.lost() < least:
			f.Severity = Info
			f.Title = fmt.Sprintf("busy: %.1f runnable on %d CPUs, nobody else waits", runnable, cpus)
			f.Victims = nil
			if leaders {
				f.Title = fmt.Sprintf("busy: %.1f runnable on %d CPUs, nobody else is seen to wait", runnable, cpus)
				f.Evidence = append(f.Evidence, "/proc tells how long a process's first thread waits, not the others")
			}
		case v.share() >= critical:
			f.Severity = Critical
		}
		return f, nil
	})
	r.Evidence = func(h *History) []string {
		w := recently(h)
		c, p := w.cpu(), w.pressure(psiCPU)
		facts := []string{fmt.Sprintf("%.1f runnable on %d CPUs, idle %.0f %%", c.runnable, len(c.single), percent(c.all.Idle+c.all.IOWait, c.all.Total()))}
		if p.seconds > 0 {
			facts = append(facts, fmt.Sprintf("PSI some %.1f %%", p.some))
		}
		return facts
	}
	return r
}

// leadersOnly says that processes are read from /proc, which tells how long a process's first thread waits at
// most, and nothing without schedstat.
func (r *recent) leadersOnly() bool {
	t := lastOf(r.moments, func(s *collectors.Snapshot) *collectors.Tasks { return s.Tasks })
	return t != nil && t.Source == "/proc"
}

// asked is how many tasks ran or waited for a CPU at a time, in the mean, this program not counted.
func (r *recent) asked(seconds float64) float64 {
	all := time.Duration(0)
	for x := range r.processes().each {
		if !r.ourselves(x.ProcInfo) {
			all += x.run + x.wait
		}
	}
	more := r.unlooked()
	for _, d := range r.dead() {
		all += time.Duration(float64(d.UnseenCPU) * more)
	}
	return all.Seconds() / max(seconds, 1e-9)
}

// firstProcess is the row of the first process among culprits.
func firstProcess(list []Culprit) string {
	for _, c := range list {
		if row := processRow(c); row != "" {
			return row
		}
	}
	return ""
}

// Waits as the scheduler's histogram has them.
const (
	// longWait is what fires at once.
	longWait = 500 * time.Millisecond
	// enough is how many events a p99 takes.
	enough = 100
)

// atLeast counts the events of buckets that begin at d or above.
func atLeast(h *collectors.Hist, d time.Duration) (n uint64) {
	for i, count := range h.Slots {
		if lower(i) >= d {
			n += count
		}
	}
	return n
}

// lower is the lower edge of a bucket.
func lower(slot int) time.Duration {
	return time.Duration(collectors.SlotBucket(slot).Lo) * time.Microsecond
}

// edge is the lower edge of a quantile's bucket, 0 without events.
func edge(h *collectors.Hist, q float64) time.Duration {
	b, ok := h.Quantile(q)
	if !ok {
		return 0
	}
	return time.Duration(b.Lo) * time.Microsecond
}

// between is a quantile as it is known: the range of its bucket.
func between(h *collectors.Hist, q float64) string {
	b, ok := h.Quantile(q)
	if !ok {
		return "-"
	}
	switch {
	case b.Lo >= 1<<20:
		return fmt.Sprintf("%d-%d s", b.Lo>>20, (b.Hi+1)>>20)
	case b.Lo >= 1<<10:
		return fmt.Sprintf("%d-%d ms", b.Lo/1000, (b.Hi+1)/1000)
	}
	return fmt.Sprintf("%d-%d µs", b.Lo, b.Hi)
}

// queued: tasks that are neither patient nor throttled wait long for a CPU, and often.
func queued(chosen Limits) Rule {
	r := Rule{ID: "cpu.runq_latency", Says: "tasks wait long for a CPU", Needs: []string{"runqlat", "pidstat"}}
	long := r.limit(chosen, Limit{"ms", 8, "ms", 1, 10000, "the lower edge of the p99 of waits for a CPU"})
	rate := r.limit(chosen, Limit{"rate", 50, "a second", 1, 1e6, "waits that long"})
	wait := r.limit(chosen, Limit{"wait", 5, "%", 1, 100, "of the time in which tasks that are not niced, throttled or the culprit's want to run and wait; below it the finding is info"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		var sum collectors.Hist
		seconds := 0.0
		for _, m := range w.moments {
			if m.Sched != nil {
				sum.Plus(&m.Sched.Host.Wait)
				seconds += m.Sched.Seconds()
			}
		}
		if last := w.moments[len(w.moments)-1]; last.Sched != nil && atLeast(&last.Sched.Host.Wait, longWait) > 0 {
			if f, ok := w.waitedLong(&last.Sched.Host.Wait); ok {
				return f, nil
			}
		}
		limit := time.Duration(long * float64(time.Millisecond))
		n := atLeast(&sum, limit)
		if !w.covers(schedSpan) || sum.Count() < enough || edge(&sum, 0.99) < limit || float64(n) < rate*seconds {
			return Finding{}, nil
		}
		v := w.rivals()
		if w.eager(v.seconds) < rate*limit.Seconds() {
			return Finding{}, nil // they are niced or throttled, who wait
		}
		f := Finding{
			ID: "cpu.runq_latency", Resource: "cpu", Line: "runqlat", Severity: Info, N: sum.Count(), Window: recentFor,
			Value: edge(&sum, 0.99).Seconds() * 1e3, Threshold: long, Unit: "ms", Pane: "cpu", Row: "all", Command: "runqlat 1",
			Title:    fmt.Sprintf("waits for a CPU: p99 %s; nobody but the culprit waits", between(&sum, 0.99)),
			Culprits: v.culprits(len(w.cpu().single)),
			Evidence: []string{fmt.Sprintf("%.0f waits/s of %g ms or more", float64(n)/seconds, long)},
		}
		if v.share() >= wait && v.lost() >= rate*limit.Seconds() {
			f.Severity, f.Victims = Warning, v.named()
			f.Title = fmt.Sprintf("waits for a CPU: p99 %s", between(&sum, 0.99))
			f.Evidence = append(f.Evidence, fmt.Sprintf("others than the culprit wait %.0f %% of their time", v.share()))
		}
		return f, nil
	})
	r.Evidence = func(h *History) []string {
		var sum collectors.Hist
		for _, m := range recently(h).moments {
			if m.Sched != nil {
				sum.Plus(&m.Sched.Host.Wait)
			}
		}
		if sum.Count() < enough {
			return nil
		}
		return []string{"run-queue p99 " + between(&sum, 0.99)}
	}
	return r
}

// eager is how many tasks waited for a CPU at a time in the mean, of those that are neither patient
// nor throttled, the culprit's among them.
func (r *recent) eager(seconds float64) float64 {
	waited := 0.0
	for x := range r.processes().each {
		if x.wait > 0 && !r.patient(x.ProcInfo) && !r.throttled(x.ProcInfo) {
			waited += x.wait.Seconds()
		}
	}
	return waited / max(seconds, 1e-9)
}

// waitedLong tells of a single wait of half a second and more, if somebody had it who is neither
// patient nor throttled and does not belong to who had the CPUs, and nobody else can have had it.
func (r *recent) waitedLong(h *collectors.Hist) (Finding, bool) {
	last := r.moments[len(r.moments)-1]
	if last.Tasks == nil {
		return Finding{}, false
	}
	who, v := r.together(), r.rivals()
	var had []*collectors.ProcInfo
	for i := range last.Tasks.Rows {
		x := &last.Tasks.Rows[i]
		if x.ProcInfo == nil || x.Wait < longWait {
			continue
		}
		if r.patient(x.ProcInfo) || r.throttled(x.ProcInfo) || who.of(x.ProcInfo) == v.culprit.group {
			return Finding{}, false
		}
		had = append(had, x.ProcInfo)
	}
	if len(had) == 0 {
		return Finding{}, false
	}
	n := atLeast(h, longWait)
	f := Finding{
		ID: "cpu.runq_latency", Resource: "cpu", Line: "runqlat", Severity: Warning, Outlier: true, N: n, Window: time.Second,
		Value: edge(h, 1).Seconds() * 1e3, Threshold: longWait.Seconds() * 1e3, Unit: "ms", Pane: "cpu", Row: "all", Command: "runqslower 500000",
		Title:    fmt.Sprintf("a wait for a CPU of %s", between(h, 1)),
		Culprits: v.culprits(len(r.cpu().single)),
	}
	for _, p := range had[:min(len(had), few)] {
		f.Victims = append(f.Victims, process(p, 0))
	}
	return f, true
}
