// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"testing"
	"time"

	"bpf60/collectors"
	"bpf60/triage"
)

// TestTops: who took most over a span is who took most of it all, not in the wildest second.
func TestTops(t *testing.T) {
	type most struct {
		cpu int
		n   uint64
	}
	same := func(n int, x most) (out []most) {
		for range n {
			out = append(out, x)
		}
		return out
	}
	for name, tt := range map[string]struct {
		samples []most
		want    most
	}{
		"one":            {same(1, most{3, 5}), most{3, 5}},
		"always the one": {same(4, most{1, 5}), most{1, 20}},
		"a burst":        {append(append(same(10, most{0, 1000}), most{1, 11000}), same(49, most{0, 1000})...), most{0, 59000}},
		"it moved":       {append(same(10, most{0, 100}), same(20, most{1, 90})...), most{1, 1800}},
		"to and fro":     {[]most{{0, 10}, {1, 11}, {0, 10}, {1, 11}, {0, 10}}, most{0, 30}},
	} {
		var irqs []*collectors.IRQs
		calls := Frame{Span: time.Hour}
		who := collectors.Process{TGID: 7}
		names := []string{"read", "write", "futex", "openat"}
		for i, x := range tt.samples {
			span := collectors.Span{From: time.Duration(i) * time.Second, To: time.Duration(i+1) * time.Second}
			irqs = append(irqs, &collectors.IRQs{Span: span, Rows: []collectors.IRQRow{{Name: collectors.RawString("24"), Count: x.n, Top: x.cpu, TopN: x.n}}})
			calls.Past = append(calls.Past, triage.Moment{Snapshot: &collectors.Snapshot{At: span.To, Syscalls: &collectors.Syscalls{
				Span: span, Processes: []collectors.SyscallProcess{{Process: who, Top: names[x.cpu], TopN: x.n}},
			}}})
		}
		calls.Now = calls.Past[len(calls.Past)-1]
		if r := irqsOver(irqs).Rows[0]; r.Top != tt.want.cpu || r.TopN != tt.want.n {
			t.Errorf("%s: CPU %d took %d, want CPU %d and %d", name, r.Top, r.TopN, tt.want.cpu, tt.want.n)
		}
		if p := callsOver(calls).Processes[0]; p.Top != names[tt.want.cpu] || p.TopN != tt.want.n {
			t.Errorf("%s: most is %s with %d, want %s with %d", name, p.Top, p.TopN, names[tt.want.cpu], tt.want.n)
		}
		// The pair of the process and the last call counted in every second, though not as the most.
		for i := range calls.Past {
			calls.Past[i].Syscalls.Pairs = []collectors.SyscallPair{{Process: who, Call: 3, Name: names[3], SyscallCounts: collectors.SyscallCounts{N: 1e6}}}
		}
		if p := callsOver(calls).Processes[0]; p.Top != names[3] || p.TopN != uint64(len(tt.samples))*1e6 {
			t.Errorf("%s: most is %s with %d, want what the pairs say", name, p.Top, p.TopN)
		}
	}
}
