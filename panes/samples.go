// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"math"
	"slices"
	"time"

	"bpf60/collectors"
	"bpf60/triage"
)

// staleAfter is how many moments a sample may be old and still be shown as now. A slow collector
// misses a tick or two; one that has stopped must not look alive.
const staleAfter = 3

func hostOf(s *collectors.Snapshot) *collectors.Host   { return s.Host }
func cpuOf(s *collectors.Snapshot) *collectors.CPU     { return s.CPU }
func schedOf(s *collectors.Snapshot) *collectors.Sched { return s.Sched }
func wakeOf(s *collectors.Snapshot) *collectors.Wake   { return s.Wake }
func tasksOf(s *collectors.Snapshot) *collectors.Tasks { return s.Tasks }
func selfOf(s *collectors.Snapshot) *collectors.Self   { return s.Self }
func diskOf(s *collectors.Snapshot) *collectors.Disk   { return s.Disk }

// newest returns the newest sample of one kind, nil if there is none that is still true.
func newest[T any](f Frame, get func(*collectors.Snapshot) *T) *T {
	for i := len(f.Past) - 1; i >= 0 && i >= len(f.Past)-staleAfter; i-- {
		if s := f.Past[i].Snapshot; s != nil {
			if v := get(s); v != nil {
				return v
			}
		}
	}
	return nil
}

// within returns the samples of one kind that the frame sums, oldest first: the newest alone, or
// those of its span.
func within[T any](f Frame, get func(*collectors.Snapshot) *T) []*T {
	last := newest(f, get)
	if last == nil && f.Span == 0 {
		return nil
	}
	if f.Span == 0 {
		return []*T{last}
	}
	var out []*T
	for _, m := range f.Past {
		if m.Snapshot == nil || m.At <= f.Now.At-f.Span && f.Span < f.Now.At {
			continue
		}
		if v := get(m.Snapshot); v != nil {
			out = append(out, v)
		}
	}
	return out
}

// rowed cuts the span to the time whose rows are kept. Of what the history gave up nobody knows what
// happened: it must not count as time in which nothing did.
func (f Frame) rowed() Frame {
	if f.Span == 0 {
		return f
	}
	for _, m := range slices.Backward(f.Past) {
		if m.Snapshot != nil && m.Snapshot.Thin() {
			if kept := f.Now.At - m.At; kept > 0 {
				f.Span = min(f.Span, kept)
			}
			break
		}
	}
	return f
}

// rowsNote says from when the rows of a table are, where that is not the whole span.
func rowsNote(f Frame, t *Table) {
	if kept := f.rowed().Span; kept < f.Span && kept < f.Now.At {
		t.Notes = append(t.Notes, "rows: since "+f.At.Add(-kept).Format(time.TimeOnly)+", what is older was given up for room")
	}
}

// cpusNote says from when the single CPUs of a table are, where those of older samples were given up: they
// are of less time than the sum of all.
func cpusNote(f Frame, t *Table, given func(*collectors.Snapshot) bool) {
	for _, m := range slices.Backward(f.Past) {
		if f.Span == 0 || m.At <= f.Now.At-f.Span {
			return
		}
		if m.Snapshot != nil && given(m.Snapshot) {
			t.Notes = append(t.Notes, "single CPUs: since "+f.At.Add(m.At-f.Now.At).Format(time.TimeOnly)+", what is older is only known of all together")
			return
		}
	}
}

// series returns one number a moment, the newest last, at most n of them. A moment without the
// sample is left out: the next sample spans it.
func series[T any](f Frame, n int, get func(*collectors.Snapshot) *T, value func(*T) float64) []float64 {
	out := make([]float64, 0, n)
	for i := len(f.Past) - 1; i >= 0 && len(out) < n; i-- {
		if s := f.Past[i].Snapshot; s != nil {
			if v := get(s); v != nil {
				out = append(out, value(v))
			}
		}
	}
	slices.Reverse(out)
	return out
}

// join adds a span to a sum of others. It is as long as both, and ends where the later does: between two
// samples nobody may have looked, and that time is not measured.
func join(a, b collectors.Span) collectors.Span {
	if a.Seconds() == 0 {
		return b
	}
	to := max(a.To, b.To)
	return collectors.Span{From: to - (a.To - a.From) - max(b.To-b.From, 0), To: to}
}

// cpuOver is /proc/stat over the frame: deltas summed, gauges of the newest. Nil without one.
func cpuOver(f Frame) *collectors.CPU {
	samples := within(f, cpuOf)
	switch len(samples) {
	case 0:
		return nil
	case 1:
		return samples[0]
	}
	sum := *samples[len(samples)-1]
	sum.Span, sum.All = collectors.Span{}, collectors.Ticks{}
	sum.Switches, sum.Interrupts, sum.Forks = 0, 0, 0
	sum.SwapIn, sum.SwapOut, sum.BlocksIn, sum.BlocksOut = 0, 0, 0, 0
	at := make(map[int]int)
	sum.CPUs = nil
	for _, c := range samples {
		if c.Seconds() == 0 {
			continue
		}
		sum.Span = join(sum.Span, c.Span)
		sum.All = sum.All.Plus(c.All)
		sum.Switches += c.Switches
		sum.Interrupts += c.Interrupts
		sum.Forks += c.Forks
		sum.VMKnown = sum.VMKnown && c.VMKnown // a part of the run is no rate of it
		sum.NoIRQTime = sum.NoIRQTime && c.NoIRQTime
		sum.SwapIn += c.SwapIn
		sum.SwapOut += c.SwapOut
		sum.BlocksIn += c.BlocksIn
		sum.BlocksOut += c.BlocksOut
		for _, t := range c.CPUs {
			i, ok := at[t.CPU]
			if !ok {
				i = len(sum.CPUs)
				at[t.CPU] = i
				sum.CPUs = append(sum.CPUs, collectors.CPUTime{CPU: t.CPU})
			}
			sum.CPUs[i].Ticks = sum.CPUs[i].Ticks.Plus(t.Ticks)
		}
	}
	sortBy(sum.CPUs, func(a, b collectors.CPUTime) int { return cmp.Compare(a.CPU, b.CPU) })
	return &sum
}

// schedSum is the scheduler over a frame: deltas summed at full width, totals of the newest sample.
type schedSum struct {
	collectors.Span
	Host                  collectors.SchedCounts
	CPUs                  []cpuSched      // ascending
	apart                 collectors.Span // of the samples that tell CPUs apart: CPUs is of these
	WaitTotal, OnCPUTotal collectors.Hist
	Method                string
}

// cpuSched is one CPU's share.
type cpuSched struct {
	CPU int
	collectors.SchedCounts
	WaitTotal, OnCPUTotal collectors.Hist
}

// schedOver is the scheduler over the frame. Nil without a sample.
func schedOver(f Frame) *schedSum { return sumSched(within(f, schedOf)) }

// sumSched sums samples, oldest first. CPUs that the newest does not know are left out.
func sumSched(samples []*collectors.Sched) *schedSum {
	if len(samples) == 0 {
		return nil
	}
	last := samples[len(samples)-1]
	sum := &schedSum{WaitTotal: last.WaitTotal, OnCPUTotal: last.OnCPUTotal, Method: last.Method}
	at := make(map[int]int, len(last.CPUs))
	for i := range last.CPUs {
		c := &last.CPUs[i]
		at[c.CPU] = i
		sum.CPUs = append(sum.CPUs, cpuSched{CPU: c.CPU, WaitTotal: c.WaitTotal, OnCPUTotal: c.OnCPUTotal})
	}
	for _, s := range samples {
		sum.Span = join(sum.Span, s.Span)
		sum.Host.Plus(&s.Host)
		if len(s.CPUs) > 0 {
			sum.apart = join(sum.apart, s.Span)
		}
		for i := range s.CPUs {
			if k, ok := at[s.CPUs[i].CPU]; ok {
				c := s.CPUs[i].Counts()
				sum.CPUs[k].Plus(&c)
			}
		}
	}
	return sum
}

// wakeOver is the split by cause over the frame. Nil without one.
func wakeOver(f Frame) *collectors.Wake {
	samples := within(f, wakeOf)
	if len(samples) == 0 {
		return nil
	}
	sum := *samples[len(samples)-1]
	for _, w := range samples[:len(samples)-1] {
		sum.Span = join(sum.Span, w.Span)
		sum.Woken.Plus(&w.Woken)
		sum.Preempted.Plus(&w.Preempted)
		sum.Lost += w.Lost
		sum.Collided += w.Collided
	}
	return &sum
}

// schedCPU finds one CPU's share, nil if it never switched.
func schedCPU(s *schedSum, cpu int) *cpuSched {
	if s == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(s.CPUs, cpu, func(c cpuSched, n int) int { return cmp.Compare(c.CPU, n) })
	if !ok {
		return nil
	}
	return &s.CPUs[i]
}

// pressure is the share of time that some task stalled, from differences of the totals; false
// where the kernel does not tell or there is only one reading.
func pressure(f Frame, get func(*collectors.Host) collectors.Pressure) (float64, bool) {
	var stalled, whole time.Duration
	for _, h := range within(f, hostOf) {
		if p := get(h); p.Known {
			stalled += p.Some
			whole += h.To - h.From
		}
	}
	v, ok := share(stalled, whole)
	return min(v, 1), ok
}

func psiCPU(h *collectors.Host) collectors.Pressure    { return h.PSI.CPU }
func psiMemory(h *collectors.Host) collectors.Pressure { return h.PSI.Memory }
func psiIO(h *collectors.Host) collectors.Pressure     { return h.PSI.IO }

// named is one command's share of a time.
type named struct {
	name  collectors.Safe
	share float64 // of all commands', 0 to 1
	time  time.Duration
}

// topBy returns the commands with the largest share of a time over the frame, largest first.
// Processes of one name count together: who looks wants the service, not its seventh worker.
func topBy(f Frame, n int, value func(collectors.TaskRow) time.Duration) []named {
	sums := make(map[string]time.Duration)
	var all time.Duration
	for _, t := range within(f, tasksOf) {
		for _, r := range t.Rows {
			if v := value(r); v > 0 && r.ProcInfo != nil {
				sums[r.Comm.Bytes()] += v
				all += v
			}
		}
	}
	out := make([]named, 0, len(sums))
	for raw, d := range sums {
		s, _ := share(d, all)
		out = append(out, named{collectors.Clean(collectors.RawString(raw)), s, d})
	}
	sortBy(out, func(a, b named) int {
		return cmp.Or(cmp.Compare(b.time, a.time), cmp.Compare(a.name.String(), b.name.String()))
	})
	return out[:min(n, len(out))]
}

func waited(r collectors.TaskRow) time.Duration { return r.Wait }
func ran(r collectors.TaskRow) time.Duration    { return r.Run }

func schedSpan(s *collectors.Sched) collectors.Span     { return s.Span }
func wakeSpan(w *collectors.Wake) collectors.Span       { return w.Span }
func schedWait(s *collectors.Sched) *collectors.Hist    { return &s.Host.Wait }
func wakeWoken(w *collectors.Wake) *collectors.Hist     { return &w.Woken }
func wakePreempted(w *collectors.Wake) *collectors.Hist { return &w.Preempted }
func cpuWait(cpu int) func(*collectors.Sched) *collectors.Hist {
	return ofCPU(cpu, func(c *collectors.SchedCPU) *collectors.Hist32 { return &c.Wait })
}

func cpuRun(cpu int) func(*collectors.Sched) *collectors.Hist {
	return ofCPU(cpu, func(c *collectors.SchedCPU) *collectors.Hist32 { return &c.OnCPU })
}

// ofCPU is a histogram of one CPU, nil of one that a sample has not.
func ofCPU(cpu int, get func(*collectors.SchedCPU) *collectors.Hist32) func(*collectors.Sched) *collectors.Hist {
	return func(s *collectors.Sched) *collectors.Hist {
		i, ok := slices.BinarySearchFunc(s.CPUs, cpu, func(c collectors.SchedCPU, n int) int { return cmp.Compare(c.CPU, n) })
		if !ok {
			return nil
		}
		h := get(&s.CPUs[i]).Hist()
		return &h
	}
}

// since is total less what had been counted at the mark.
func since(total, mark *collectors.Hist) *collectors.Hist {
	if total == nil || mark == nil {
		return total
	}
	d := total.Since(mark)
	return &d
}

// marked returns the scheduler's totals at the mark, nil without a mark before the time shown.
func marked[T any](f Frame, get func(*collectors.Snapshot) *T) *T {
	if f.Mark == nil || f.Mark.Snapshot == nil || f.Now.Snapshot == nil || f.Mark.At > f.Now.At {
		return nil
	}
	return get(f.Mark.Snapshot)
}

// markedSched is the scheduler's sample at the mark, nil without a mark.
func markedSched(f Frame) *schedSum {
	if m := marked(f, schedOf); m != nil {
		return sumSched([]*collectors.Sched{m})
	}
	return nil
}

// whyNot says why a probe gives nothing just now, and what would help. Of a collector that has no
// probe of that name the first one speaks.
func whyNot(f Frame, id collectors.ID, name string) (why, remedy string) {
	if f.Now.Snapshot == nil {
		return "waiting for the first reading", ""
	}
	p, ok := probeNamed(f, id, name)
	if !ok {
		return "no collector of " + name + " here", ""
	}
	switch p.State {
	case collectors.Off, collectors.Failed:
		if p.Reason == "" {
			return name + " is " + p.State.String(), p.Remedy
		}
		return p.Reason, p.Remedy
	case collectors.Idle:
		if f.Still {
			return "not attached then: " + name + " is measured only while somebody looks", ""
		}
		return "attaching " + name + " …", ""
	case collectors.On, collectors.Degraded:
		if p.Reason != "" {
			return p.Reason, p.Remedy
		}
	case collectors.Warming:
	}
	switch {
	case !f.RowsSince.IsZero():
		return "the history has rows since " + f.RowsSince.Format(time.TimeOnly) + " only: what is older was given up for room", ""
	case f.Still:
		return "this moment has nothing of " + name, ""
	}
	return "waiting for " + name, ""
}

// probeNamed finds a probe of the newest snapshot: that name, or the collector's first.
func probeNamed(f Frame, id collectors.ID, name string) (collectors.Probe, bool) {
	if f.Now.Snapshot == nil {
		return collectors.Probe{}, false
	}
	list := f.Now.Probes[id]
	for _, p := range list {
		if p.Name == name {
			return p, true
		}
	}
	if len(list) == 0 {
		return collectors.Probe{}, false
	}
	return list[0], true
}

// cores is how many CPUs are online, 0 when unknown.
func cores(f Frame) int {
	if c := newest(f, cpuOf); c != nil && len(c.CPUs) > 0 {
		return len(c.CPUs)
	}
	if h := newest(f, hostOf); h != nil && h.Facts != nil {
		return h.Facts.CPUs
	}
	return 0
}

// worst is the worst live finding that names a line, false without one.
func worst(m triage.Moment, line string) (triage.Severity, bool) {
	found, sev := false, triage.Info
	for _, f := range m.Findings {
		if f.Line == line && f.Until == 0 {
			found, sev = true, max(sev, f.Severity)
		}
	}
	return sev, found
}

// ticksBusy is the share of time a CPU did anything: all but idle and iowait.
func ticksBusy(t collectors.Ticks) float64 {
	total := t.Total()
	if total == 0 {
		return math.NaN()
	}
	return float64(total-t.Idle-t.IOWait) / float64(total)
}
