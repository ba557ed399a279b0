// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bpf60/bpf"
)

// Probes are runqlat, cpudist and runqlen: the first two share a program, whose cost stands in one
// row only.
func (c *schedCollector) Probes() []Probe {
	lat := Probe{Name: "runqlat", Hook: bpf.ByStamp.String(), State: Off} // why is the runner's to say
	dist, length := lat, lat
	dist.Name = "cpudist"
	length.Name, length.Hook = "runqlen", "perf_event cpu-clock 99 Hz"
	if c.r != nil {
		c.started(&lat, &dist, &length)
	} else if c.err != nil {
		for _, p := range []*Probe{&lat, &dist, &length} {
			p.State, p.Reason = Failed, clean(c.err.Error())
		}
	}
	rows := []Probe{lat, dist, length}
	for i := range rows {
		if c.off[rows[i].Name] {
			rows[i] = Probe{Name: rows[i].Name, Hook: rows[i].Hook, State: Off, Reason: switchedOff}
		}
	}
	return rows
}

// started fills the rows of an open facade.
func (c *schedCollector) started(lat, dist, length *Probe) {
	state, reason := stateOf(c.begun, c.err)
	method := c.r.Method()
	for _, p := range []*Probe{lat, dist, length} {
		p.State, p.Reason = state, reason
	}
	lat.Hook, lat.Events, lat.Lost, lat.NsPerEvent = method.String(), c.total.Switches, c.lost, costOf(method)
	if c.off["runqlat"] { // then the shared program runs for cpudist
		dist.Events, dist.NsPerEvent = c.total.Switches, costOf(method)
	}
	passed := c.use
	if p := c.r.Passed(); len(p) > 0 {
		passed = p[0]
	}
	if passed != nil && lat.State == On {
		lat.State = Degraded
		lat.explain(passed)
	}
	if method != bpf.ByStamp {
		dist.State = Off
		dist.explain(passed)
	}
	length.Events, length.NsPerEvent = c.total.QueueSamples, bpf.CostQueueSample
	if err := c.r.QueueErr(); err != nil {
		length.State = Off
		length.explain(err)
	}
}

func costOf(m bpf.Method) float64 {
	switch m {
	case bpf.ByWakeup:
		return bpf.CostWake
	case bpf.ByTracepoint:
		return bpf.CostTracepoint
	case bpf.ByStamp:
	}
	return bpf.CostSwitch
}

// Pause implements Pauser.
func (c *schedCollector) Pause(on bool) error {
	if c.r == nil {
		return nil // given up
	}
	return c.r.Pause(on)
}

func (c *schedCollector) Close() error {
	if c.r == nil {
		return nil
	}
	err := c.r.Close()
	c.r = nil
	return err
}
