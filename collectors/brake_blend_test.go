// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"testing"

	"bpf60/bpf"
)

func (f *execFake) Totals() (bpf.ExecTotals, error) { return f.counts.Totals[0], f.err }

func (f *fakeFlow) ReadHost(r *bpf.FlowReading) error { return f.Read(r, 0) }

func (f *fakeDNS) Packets() (packets, messages uint64, err error) {
	r := &f.reading
	return r.Global.Sent + r.Global.Received, r.Slots[0].Queries + r.Slots[0].Answers, nil
}

// TestBlend: what an event takes is the mean of those since the last look.
func TestBlend(t *testing.T) {
	var b blend
	for _, step := range []struct {
		name   string
		events uint64
		a, b   uint64
		want   float64
	}{
		{"as many of both", 20, 10, 10, 200},
		{"none since", 20, 10, 10, 200},
		{"the dear ones alone", 40, 10, 30, 300},
		{"three of the cheap for one of the dear", 44, 13, 31, 150},
		{"counted anew", 4, 4, 0, 100},
	} {
		if got := b.of(step.events, costed{step.a, 100}, costed{step.b, 300}); got != step.want {
			t.Errorf("%s: %v ns an event, want %v", step.name, got, step.want)
		}
	}
}

// TestBlendedGauges looks at what several kinds of event took together.
func TestBlendedGauges(t *testing.T) {
	exec := &execFake{}
	exec.counts.Totals[0] = bpf.ExecTotals{Execs: 1, Forks: 1, Threads: 1, Exits: 2}
	flow := &fakeFlow{}
	flow.reading.Moves[1][2], flow.reading.Reads = 3, 2
	flow.reading.Host.Counts[bpf.FlowRetransmits], flow.reading.Host.Counts[bpf.FlowResetsSent] = 1, 1
	dns := &fakeDNS{}
	dns.reading.Global.Sent, dns.reading.Global.Received = 3, 2
	dns.reading.Slots[0].Queries, dns.reading.Slots[0].Answers = 1, 1
	files := &filesFake{}
	files.counts[0].Made, files.counts[0].Deleted = 3, 2
	signals := &signalFake{}
	signals.counts[9][0], signals.counts[17][1] = 3, 2
	for name, tt := range map[string]struct {
		c    Gauger
		n    uint64
		cost float64 // of all of them
	}{
		"execs":           {&execCollector{r: exec}, 5, bpf.CostExec + 2*bpf.CostFork + 2*bpf.CostExit},
		"connections":     {&flowCollector{r: flow}, 7, 3*bpf.CostState + 2*bpf.CostRead + bpf.CostRetransmit + bpf.CostReset},
		"DNS":             {&dnsCollector{r: dns}, 5, 5*bpf.CostDNSPacket + 2*bpf.CostDNSMessage},
		"files":           {&fileCollector{r: files}, 5, 5 * bpf.CostFile},
		"signals":         {&signalCollector{r: signals}, 5, 5 * bpf.CostSignal},
		"execs, given up": {&execCollector{}, 0, 0},
		"TCP, given up":   {&flowCollector{}, 0, 0},
		"DNS, given up":   {&dnsCollector{}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // a look changes nothing
				n, ns, err := tt.c.Gauge()
				if d := float64(n)*ns - tt.cost; n != tt.n || d > 0.01 || d < -0.01 || err != nil {
					t.Errorf("Gauge = %d, %v, %v, want %d events of %v ns in all", n, ns, err, tt.n, tt.cost)
				}
			}
		})
	}
}
