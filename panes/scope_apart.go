// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"time"

	"bpf60/collectors"
)

// apart says whether a collector counts the scope apart in the kernel: then distributions are the scope's.
func (s Scope) apart(id collectors.ID) bool { return len(s.wants(id)) > 0 }

// sinceScoped is what the sum of all that was counted of a scope is called, beside "start" of the host's.
const sinceScoped = "scoped"

// allInSight is a frame over all that the history has, or over what came after the mark.
func allInSight(f Frame) Frame {
	f.Span = max(f.Now.At, time.Nanosecond)
	if f.Mark != nil && f.Mark.Snapshot != nil && f.Mark.At < f.Now.At {
		f.Span = f.Now.At - f.Mark.At
	}
	return f
}

// seeScope says at the end of the pane's title that what is drawn is the scope's, where no table says so.
func seeScope(f Frame) {
	if f.sight != nil {
		f.sight.passed = passed{sight: f.sight, scoped: true}
	}
}

// flowScope is what the scope's connections did over the window, and in all that is in sight. Nil, with a
// reason, if nobody looked.
func flowScope(f Frame) (now, all *collectors.FlowSet, why string) {
	t := f.Scope.Target
	if now, _ = flowNarrowed(f, t); now == nil {
		return nil, nil, unrecorded(f, collectors.FlowID, "tcpconnect", t)
	}
	if all, _ = flowNarrowed(allInSight(f), t); all == nil {
		all = &collectors.FlowSet{}
	}
	return now, all, ""
}

// flowOfScope is what one sample counts of the frame's scope, else of the host; nil where the scope was not
// counted apart.
func flowOfScope(f Frame) func(*collectors.Flow) *collectors.FlowSet {
	apart := f.Scope.apart(collectors.FlowID)
	return func(s *collectors.Flow) *collectors.FlowSet {
		d := &s.Host
		if apart {
			one := narrowedOf(s.Narrowed, f.Scope.Target)
			if one == nil {
				return nil
			}
			d = &one.Sample
		}
		set := d.Set()
		return &set
	}
}

// dnsOfScope is the latency in one sample of the frame's scope, else of the host; nil where the scope was
// not counted apart.
func dnsOfScope(f Frame) func(*collectors.DNS) *collectors.Hist {
	if !f.Scope.apart(collectors.DNSID) {
		return dnsLatency
	}
	return func(d *collectors.DNS) *collectors.Hist {
		if one := narrowedOf(d.Narrowed, f.Scope.Target); one != nil {
			return &one.Sample.Delta.Latency
		}
		return nil
	}
}

// dnsNarrowed is what a target's questions did over the last seconds, in sum. Nil if nobody looked.
func dnsNarrowed(f Frame, t collectors.Target) *collectors.DNSCounts {
	f.Span = max(f.Span, dnsOverLast)
	list, _ := narrowedOver(within(f, dnsOf), t)
	if len(list) == 0 {
		return nil
	}
	sum := &collectors.DNSCounts{}
	for _, x := range list {
		sum.Plus(&x.Sample.Delta)
	}
	return sum
}
