// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"time"

	"bpf60/collectors"
)

// ofHost leaves out the samples that counted targets alone: of the host they say nothing.
func ofHost[T any](get func(*collectors.Snapshot) *T, partial func(*T) bool) func(*collectors.Snapshot) *T {
	return func(s *collectors.Snapshot) *T {
		if v := get(s); v != nil && !partial(v) {
			return v
		}
		return nil
	}
}

// narrowedOf finds what was counted of one target alone in a list of samples.
func narrowedOf[N any](list []collectors.Targeted[N], t collectors.Target) *collectors.Targeted[N] {
	for i := range list {
		if list[i].Target == t {
			return &list[i]
		}
	}
	return nil
}

// apart is a sample, by pointer, that counts targets apart.
type apart[S, N any] interface {
	*S
	Apart() ([]collectors.Targeted[N], collectors.Span)
}

// narrowedIn is what a sample counts of one target, and over which span. Nil without the sample too.
func narrowedIn[S, N any, P apart[S, N]](s P, t collectors.Target) (*collectors.Targeted[N], collectors.Span) {
	if s == nil {
		return nil, collectors.Span{}
	}
	list, span := s.Apart()
	return narrowedOf(list, t), span
}

// narrowedOver is what samples count of one target, oldest first, and the time that it spans. None if
// nobody looked.
func narrowedOver[S, N any, P apart[S, N]](samples []P, t collectors.Target) ([]*collectors.Targeted[N], collectors.Span) {
	var out []*collectors.Targeted[N]
	var sum collectors.Span
	for _, s := range samples {
		if one, at := narrowedIn(s, t); one != nil {
			at.From = max(at.From, min(one.Since, at.To)) // it was not looked at before
			out, sum = append(out, one), join(sum, at)
		}
	}
	return out, sum
}

// sinceOf returns since when a collector has counted the target apart, as a sample says.
func sinceOf(s *collectors.Snapshot, id collectors.ID, t collectors.Target) (time.Duration, bool) {
	since := map[collectors.ID]func() (time.Duration, bool){
		collectors.LatencyID:      func() (time.Duration, bool) { return sinceIn(s.Latency, t) },
		collectors.BlockID:        func() (time.Duration, bool) { return sinceIn(s.Block, t) },
		collectors.OpensID:        func() (time.Duration, bool) { return sinceIn(s.Opens, t) },
		collectors.SyscallsID:     func() (time.Duration, bool) { return sinceIn(s.Syscalls, t) },
		collectors.SyscallTimesID: func() (time.Duration, bool) { return sinceIn(s.SyscallTimes, t) },
		collectors.ProfileID:      func() (time.Duration, bool) { return sinceIn(s.Profile, t) },
		collectors.KmemID:         func() (time.Duration, bool) { return sinceIn(s.Kmem, t) },
		collectors.ReclaimID:      func() (time.Duration, bool) { return sinceIn(s.Reclaim, t) },
		collectors.FlowID:         func() (time.Duration, bool) { return sinceIn(s.Flow, t) },
		collectors.DNSID:          func() (time.Duration, bool) { return sinceIn(s.DNS, t) },
		collectors.LimitsID:       func() (time.Duration, bool) { return sinceIn(s.Limits, t) },
		collectors.CPUClocksID:    func() (time.Duration, bool) { return sinceIn(s.CPUClocks, t) },
		collectors.SoftIRQID:      func() (time.Duration, bool) { return sinceIn(s.SoftIRQ, t) },
		collectors.IRQID:          func() (time.Duration, bool) { return sinceIn(s.IRQ, t) },
	}[id]
	if since == nil {
		return 0, false
	}
	return since()
}

func sinceIn[S, N any, P apart[S, N]](s P, t collectors.Target) (time.Duration, bool) {
	if one, _ := narrowedIn(s, t); one != nil {
		return one.Since, true
	}
	return 0, false
}

// unrecorded says why a frame has nothing of a target: the probe does not work, it has only just been
// asked, or the moment is before anybody asked.
func unrecorded(f Frame, id collectors.ID, probe string, t collectors.Target) string {
	for i := len(f.Live) - 1; i >= 0; i-- {
		m := f.Live[i]
		if m.Snapshot == nil {
			continue
		}
		if since, ok := sinceOf(m.Snapshot, id, t); ok && since > f.Now.At {
			return "not recorded: nobody was looking until " + m.Taken.Add(since-m.At).Format(time.TimeOnly)
		}
	}
	why, remedy := whyNot(f, id, probe)
	if p, ok := probeNamed(f, id, probe); ok && (p.State == collectors.Off || p.State == collectors.Failed) {
		return note(probe, why, remedy)
	}
	if f.behind() {
		return "not recorded: nobody was looking"
	}
	return why
}

// behind says that the frame is not at the end of what is known.
func (f Frame) behind() bool {
	n := len(f.Live)
	return n > 0 && f.Now.Snapshot != nil && f.Now.At < f.Live[n-1].At
}
