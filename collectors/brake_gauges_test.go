// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"testing"

	"bpf60/bpf"
)

// TestGauges looks at what ended and what it took.
func TestGauges(t *testing.T) {
	fs, say := statFile(t)
	say("ctxt", 23)
	host := newOffCollector(nil, fs, bpf.OffParts{Host: true})
	host.r = &offFake{counts: [bpf.FilterSlots]bpf.OffCounts{{Arrivals: 23}, {Arrivals: 5}}}
	targets := newOffCollector(nil, fs, bpf.OffParts{})
	targets.r = &offFake{}
	irqs := NewHardIRQTime(nil, fs).(*irqTimeCollector)
	irqs.r = &irqFake{reads: []irqReading{{{0, 24, bpfHist(3)}, {1, 24, bpfHist(13)}, {1, 30, bpfHist(7)}}}}
	for name, tt := range map[string]struct {
		c    Gauger
		want uint64
		ns   float64
	}{
		"block":            {&blockCollector{r: &blockFake{ended: 23}}, 23, bpf.CostBlock},
		"off-CPU":          {host, 23, bpf.CostOffCPU},
		"targets' latency": {targets, 23, bpf.CostOffCPUTarget},
		"interrupts":       {irqs, 23, bpf.CostHardirq},
		"block, given up":  {&blockCollector{}, 0, 0},
		"off, given up":    {&offCollector{}, 0, 0},
		"irqs, given up":   {&irqTimeCollector{}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // a look changes nothing
				if n, ns, err := tt.c.Gauge(); n != tt.want || ns != tt.ns || err != nil {
					t.Errorf("Gauge = %d, %v, %v, want %d, %v", n, ns, err, tt.want, tt.ns)
				}
			}
		})
	}
}
