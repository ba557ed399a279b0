// SPDX-License-Identifier: Apache-2.0

package triage

import "bpf60/collectors"

const (
	// lookFor is how old what a probe has seen may be that attaches on demand: rules have theirs attached for
	// ten seconds of a minute.
	lookFor = wantEvery + wantFor
	// lookLeast is how long, in seconds, such a look must be at least: attaching takes some of it.
	lookLeast = 5.0
	// spends is how much of one CPU a process takes at least, in percent, for its system calls to be looked at.
	spends = 20
	// mostlyKernel is how much of that is the kernel's, in percent.
	mostlyKernel = 50
	// waitsForIO is how much of the time tasks stand still for I/O, in percent, for calls on files to be looked
	// at, and standsFor at how many scans a process is seen to.
	waitsForIO = 10
	standsFor  = 2
)

// look is what somebody saw last through a probe that attaches on demand: the ten seconds up to its newest
// sample. Fresh: it goes on. Nil where it is too short, or too old. Of is the span of such a sample.
func (r *recent) look(of func(*collectors.Snapshot) *collectors.Span) (moments []Moment, fresh bool) {
	all := r.h.Since(r.now - lookFor)
	end := len(all)
	for end > 0 && of(all[end-1].Snapshot) == nil {
		end--
	}
	if end == 0 {
		return nil, false
	}
	last := all[end-1].At
	seconds := 0.0
	var whole collectors.Span
	for _, m := range r.h.Window(last-recentFor, last) {
		s := of(m.Snapshot)
		if s == nil {
			continue
		}
		moments = append(moments, m)
		if seconds += s.Seconds(); whole.To == 0 {
			whole.From = s.From
		}
		whole.To = s.To
	}
	if seconds < leastMeasured || whole.Seconds() < lookLeast {
		return nil, false
	}
	return moments, r.now-last <= sparse
}

func syscallSpan(s *collectors.Snapshot) *collectors.Span {
	if s.Syscalls == nil || s.Syscalls.Partial {
		return nil
	}
	return &s.Syscalls.Span
}

func openSpan(s *collectors.Snapshot) *collectors.Span {
	if s.Opens == nil || s.Opens.Partial {
		return nil
	}
	return &s.Opens.Span
}

func churnSpan(s *collectors.Snapshot) *collectors.Span {
	if s.Files == nil {
		return nil
	}
	return &s.Files.Span
}

func slowFileSpan(s *collectors.Snapshot) *collectors.Span {
	if s.SlowFiles == nil || s.SlowFiles.Partial {
		return nil
	}
	return &s.SlowFiles.Span
}

// toldFrom is a rule about what a probe sees that attaches on demand. While suspects says that something is
// likely to be seen, the rule asks for the probe, and what was seen last stands; else only what is seen just
// now. A host on which nothing is suspected stays free of the probe.
func toldFrom(probe collectors.ID, of func(*collectors.Snapshot) *collectors.Span, suspects func(*recent) bool, judge func(*recent, []Moment) Finding) func(*History) (Finding, []collectors.Want) {
	return lately(func(w *recent) (f Finding, wants []collectors.Want) {
		suspected := suspects(w)
		if suspected {
			wants = []collectors.Want{{ID: probe}}
		}
		if moments, fresh := w.look(of); fresh || suspected && moments != nil {
			f = judge(w, moments)
		}
		return f, wants
	})
}

// inKernel says that a process is busy, and most of its time is the kernel's: it makes many system calls, or
// dear ones.
func (r *recent) inKernel() bool {
	t := r.processes()
	if t.seconds < covered {
		return false
	}
	for x := range t.each {
		if !x.Kernel && !r.ourselves(x.ProcInfo) && percent(x.run.Seconds(), t.seconds) >= spends && percent(x.sys.Seconds(), x.run.Seconds()) >= mostlyKernel {
			return true
		}
	}
	return false
}

// naming says that the kernel gets to know so many files a second that it did not: names or inodes in memory.
func (r *recent) naming(rate float64) bool {
	var first, last *collectors.Memory
	for _, m := range r.moments {
		if m.Memory == nil {
			continue
		}
		if first == nil {
			first = m.Memory
		}
		last = m.Memory
	}
	if first == nil || last.To-first.To < recentFor/2 {
		return false
	}
	grows := func(of func(*collectors.KernelTables) collectors.TableGauge) bool {
		a, b := of(&first.Tables), of(&last.Tables)
		return a.Known && b.Known && float64(b.N)-float64(a.N) >= rate*(last.To-first.To).Seconds()
	}
	return grows(func(t *collectors.KernelTables) collectors.TableGauge { return t.Dentries }) ||
		grows(func(t *collectors.KernelTables) collectors.TableGauge { return t.Inodes })
}

// standing says that tasks stand still for I/O: as PSI has it, or a process in D at several scans.
func (r *recent) standing() bool {
	if p := r.pressure(psiIO); p.seconds >= covered && p.some >= waitsForIO {
		return true
	}
	in := map[collectors.Process]int{}
	for _, m := range r.moments {
		if m.Tasks == nil {
			continue
		}
		for i := range m.Tasks.Rows {
			x := &m.Tasks.Rows[i]
			if x.Blocked == 0 || x.ProcInfo == nil || x.Kernel || r.ourselves(x.ProcInfo) {
				continue
			}
			if in[x.Process]++; in[x.Process] >= standsFor {
				return true
			}
		}
	}
	return false
}
