// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"

	"bpf60/bpf"
)

// Gauge implements Gauger.
func (c *blockCollector) Gauge() (uint64, float64, error) {
	if c.r == nil {
		return 0, 0, nil // given up
	}
	n, err := c.r.Ended()
	return n, bpf.CostBlock, err
}

// Gauge implements Gauger.
func (c *irqTimeCollector) Gauge() (n uint64, ns float64, err error) {
	if c.r == nil {
		return 0, 0, nil // given up
	}
	err = c.r.Read(func(_ int, _ bpf.IRQ, h *bpf.Hist) {
		for _, k := range h.Slots {
			n += k
		}
	})
	return n, c.probe.NsPerEvent, err
}

// Gauge implements Gauger. For targets it is the kernel's own count of switches, each of which passes the
// filter.
func (c *offCollector) Gauge() (n uint64, ns float64, err error) {
	if c.r == nil {
		return 0, 0, nil // given up
	}
	if c.narrow {
		n, _ = c.pulse.read(context.Background())
		return n, c.probe.NsPerEvent, nil
	}
	if c.gauged, err = c.r.Read(0, c.gauged); err != nil {
		return 0, 0, err
	}
	for i := range c.gauged {
		n += c.gauged[i].Arrivals
	}
	return n, c.probe.NsPerEvent, nil
}
