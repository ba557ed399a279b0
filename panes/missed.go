// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// missedOver is how many runs of the programs behind some probes the kernel passed over in what the frame
// sums: since the moment before the newest, or over its span.
func missedOver(f Frame, id collectors.ID, probes ...string) (n uint64) {
	if f.Now.Snapshot == nil {
		return 0
	}
	var before []collectors.Probe
	for i := len(f.Past) - 1; i >= 0; i-- {
		m := f.Past[i]
		if m.Snapshot != nil && m.At < f.Now.At && m.At <= f.Now.At-f.Span {
			before = m.Probes[id]
			break
		}
	}
	for _, p := range f.Now.Probes[id] {
		if !slices.Contains(probes, p.Name) {
			continue
		}
		was := uint64(0)
		for _, q := range before {
			if q.Name == p.Name && q.Missed <= p.Missed { // else it was attached anew
				was = q.Missed
			}
		}
		n += p.Missed - was
	}
	return n
}

// lossBadge marks what lacks n events; empty for none.
func lossBadge(n uint64) string {
	if n == 0 {
		return ""
	}
	return "L" + widget.Count(n)
}

// missedNote says of a table what the kernel passed over.
func missedNote(f Frame, t *Table, id collectors.ID, probes ...string) {
	if n := missedOver(f, id, probes...); n > 0 {
		t.Notes = append(t.Notes, lossBadge(n)+": the kernel passed over so many, as the program was running on that CPU already")
	}
}
