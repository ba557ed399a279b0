// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// askers are the cgroups whose requests took most time in the last samples, as far as their processes are
// known. They are chosen once, when the split is: what is counted apart must not change with each second.
func askers(f Frame) []single {
	took := make(map[uint64]time.Duration)
	seen := 0
	for i := len(f.Past) - 1; i >= 0 && seen < recentSamples; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.Block == nil {
			continue
		}
		seen++
		for k := range s.Block.Owners {
			if o := &s.Block.Owners[k]; o.Cgroup != 0 {
				took[o.Cgroup] += o.IOTime + o.FlushTime
			}
		}
	}
	ids := sortedIDs(took)
	names := newCgroupNames(f)
	var out []single
	for _, id := range ids[:min(len(ids), mostSingles)] {
		out = append(out, single{collectors.Target{Kind: collectors.CgroupTarget, Cgroup: id}, names.cell(id).Format(0)})
	}
	return out
}

// sortedIDs are the keys of a map, those with the most time first.
func sortedIDs(took map[uint64]time.Duration) []uint64 {
	ids := make([]uint64, 0, len(took))
	for id := range took {
		ids = append(ids, id)
	}
	sortBy(ids, func(a, b uint64) int { return cmp.Or(cmp.Compare(took[b], took[a]), cmp.Compare(a, b)) })
	return ids
}

// onDevice is the time on the device of a target's requests. Flushes are not in it: of them the whole wait
// is counted.
func onDevice(b *collectors.BlockTarget) *collectors.Hist {
	var sum collectors.Hist
	for op := range b.Device {
		if blockOps()[op] == "flushes" {
			continue
		}
		h := b.Device[op].Hist()
		sum.Plus(&h)
	}
	return &sum
}

// askerParts are the distributions of the cgroups that were chosen.
func (p *Disk) askerParts(f Frame) []distribution {
	var out []distribution
	for _, x := range p.single {
		h := Histogram{ID: "biolatency " + x.name, Title: x.name}
		if list, _ := narrowedOver(within(f, blockOf), x.target); len(list) == 0 {
			h.Why = unrecorded(f, collectors.BlockID, "biolatency", x.target)
		} else {
			h.Now = &collectors.Hist{}
			for _, one := range list {
				h.Now.Plus(onDevice(&one.Sample))
			}
		}
		out = append(out, distribution{h, func(n int) []*collectors.Hist {
			return columns(f, n, blockOf, blockSpan, func(b *collectors.Block) *collectors.Hist {
				if one := narrowedOf(b.Narrowed, x.target); one != nil {
					return onDevice(&one.Sample)
				}
				return nil
			})
		}})
	}
	return out
}

// drawAskers draws the split by cgroup in at most height lines. A wide screen shows it over time as well.
func (p *Disk) drawAskers(f Frame, c Canvas, height int) []string {
	if len(p.single) == 0 {
		return wrap(c, "", "- no process in a cgroup asked for block I/O when the split was chosen; press i to choose again")
	}
	parts := p.askerParts(f)
	known := false
	for _, x := range parts {
		known = known || x.Now != nil
	}
	if !known {
		return wrap(c, "", "- "+parts[0].Why)
	}
	half := height
	wide := p.draw == asHistogram && c.Width >= wideWidth && height >= 2*leastPlot+2
	if wide {
		half = height / 2
	}
	lines := drawDistributions(c, parts, p.draw, c.Width, half)
	if wide {
		lines = append(pad(lines, half), widget.Title(c.Theme, c.Width, p.split.String()+" over time", c.columnIs()))
		lines = append(lines, drawDistributions(c, parts, asHeatMap, c.Width, height-len(lines))...)
	}
	return lines
}
