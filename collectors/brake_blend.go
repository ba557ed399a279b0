// SPDX-License-Identifier: Apache-2.0

package collectors

import "bpf60/bpf"

// blend is what an event takes where events of several kinds do not take the same: the mean of those since
// the last look.
type blend struct {
	last   [4]uint64
	events uint64
	ns     float64
}

// costed are events of one kind, cumulative, and what each takes in ns.
type costed struct {
	n  uint64
	ns float64
}

// of returns what an event takes, of which there were as many in all. Where none came it is as before.
func (b *blend) of(events uint64, kinds ...costed) float64 {
	var sum float64
	for i, k := range kinds {
		sum += float64(grown(b.last[i], k.n)) * k.ns
		b.last[i] = k.n
	}
	if n := grown(b.events, events); n > 0 {
		b.ns = sum / float64(n)
	}
	b.events = events
	return b.ns
}

// Gauge implements Gauger.
func (c *execCollector) Gauge() (uint64, float64, error) {
	if c.r == nil {
		return 0, 0, nil // given up
	}
	t, err := c.r.Totals()
	if err != nil {
		return 0, 0, err
	}
	forks := t.Forks + t.Threads
	n := t.Execs + forks + t.Exits
	return n, c.blend.of(n, costed{t.Execs, bpf.CostExec}, costed{forks, bpf.CostFork}, costed{t.Exits, bpf.CostExit}), nil
}

// Gauge implements Gauger.
func (c *flowCollector) Gauge() (uint64, float64, error) {
	if c.r == nil {
		return 0, 0, nil // given up
	}
	r := &c.gauged
	if err := c.r.ReadHost(r); err != nil {
		return 0, 0, err
	}
	var moves uint64
	for i := range r.Moves {
		for _, n := range r.Moves[i] {
			moves += n
		}
	}
	h := &r.Host.Counts
	resent, resets := h[bpf.FlowRetransmits], h[bpf.FlowResetsSent]+h[bpf.FlowResetsReceived]
	n := moves + r.Reads + resent + resets
	return n, c.blend.of(n, costed{moves, bpf.CostState}, costed{r.Reads, bpf.CostRead},
		costed{resent, bpf.CostRetransmit}, costed{resets, bpf.CostReset}), nil
}

// Gauge implements Gauger.
func (c *dnsCollector) Gauge() (uint64, float64, error) {
	if c.r == nil {
		return 0, 0, nil // given up
	}
	packets, messages, err := c.r.Packets()
	if err != nil {
		return 0, 0, err
	}
	return packets, c.blend.of(packets, costed{packets, bpf.CostDNSPacket}, costed{messages, bpf.CostDNSMessage}), nil
}

// Gauge implements Gauger.
func (c *fileCollector) Gauge() (uint64, float64, error) {
	all, err := c.r.Read()
	return all[0].Made + all[0].Deleted, bpf.CostFile, err
}

// Gauge implements Gauger.
func (c *signalCollector) Gauge() (n uint64, ns float64, err error) {
	if err := c.r.Read(&c.gauged); err != nil {
		return 0, 0, err
	}
	for i := range c.gauged {
		for _, k := range c.gauged[i] {
			n += k
		}
	}
	return n, bpf.CostSignal, nil
}
