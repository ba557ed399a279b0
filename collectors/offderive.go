// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"bpf60/bpf"
)

// offCountsOf brings a reading into the shape of a sample.
func offCountsOf(c *bpf.OffCounts) OffCounts {
	out := OffCounts{
		Wait: Hist(c.Wait), OnCPU: Hist(c.OnCPU), Queued: c.Queued,
		Arrivals: c.Arrivals, Unknown: c.Unknown, Collided: c.Collided, Unlisted: c.Unlisted, UnlistedNs: c.UnlistedNs,
	}
	for w := range out.Off {
		out.Off[w] = Hist(c.Off[w])
	}
	return out
}

// sumOff adds up a slot's reading of all CPUs.
func sumOff(cpus []bpf.OffCounts) (sum OffCounts) {
	for i := range cpus {
		c := offCountsOf(&cpus[i])
		sum.Plus(&c)
	}
	return sum
}

// since is c less an earlier reading; a counter that went back was made anew.
func (c *OffCounts) since(prev *OffCounts) OffCounts {
	d := OffCounts{
		Wait: c.Wait.Since(&prev.Wait), OnCPU: c.OnCPU.Since(&prev.OnCPU),
		Arrivals: grown(prev.Arrivals, c.Arrivals), Unknown: grown(prev.Unknown, c.Unknown), Collided: grown(prev.Collided, c.Collided),
	}
	for w := range c.Off {
		d.Off[w] = c.Off[w].Since(&prev.Off[w])
		d.Queued[w] = grown(prev.Queued[w], c.Queued[w])
	}
	for w := range c.Unlisted {
		d.Unlisted[w] = grown(prev.Unlisted[w], c.Unlisted[w])
		d.UnlistedNs[w] = grown(prev.UnlistedNs[w], c.UnlistedNs[w])
	}
	return d
}

// deriveOffCPU subtracts two readings of the host, CPU by CPU. base is the first reading.
func deriveOffCPU(base, prev, cur []bpf.OffCounts, span Span) *OffCPU {
	s := &OffCPU{Span: span}
	for cpu := range cur {
		var b, p bpf.OffCounts
		if cpu < len(prev) {
			p = prev[cpu]
		}
		if cpu < len(base) {
			b = base[cpu]
		}
		c, was, first := offCountsOf(&cur[cpu]), offCountsOf(&p), offCountsOf(&b)
		if c.Arrivals == 0 {
			continue // possible, and never online
		}
		d, total := c.since(&was), c.since(&first)
		s.Host.Plus(&d)
		s.Total.Plus(&total)
	}
	return s
}

// offStacks are the last readings of the table of stacks.
type offStacks struct{ prev map[bpf.OffKey]stackSum }

type stackSum struct{ count, ns uint64 }

// read returns a row for every stack. Rows that are gone from the table are forgotten: they have not
// moved for a minute.
func (o *offStacks) read(r offReader, names *stackTable, now time.Duration) ([]OffStack, error) {
	cur := make(map[bpf.OffKey]stackSum, len(o.prev)+16)
	rows := make([]OffStack, 0, len(o.prev)+16)
	keys := make([]stackKey, 0, len(o.prev)+16)
	err := r.Stacks(func(k *bpf.OffKey, s *bpf.OffStack) {
		if _, twice := cur[*k]; twice || k.Why >= uint32(OffPreempted) {
			return
		}
		cur[*k] = stackSum{s.Count, s.Ns}
		p := o.prev[*k]
		rows = append(rows, OffStack{
			Task: Process{k.Tgid, k.Start}, Comm: rawComm(s.Comm[:]), Why: OffWhy(k.Why),
			Count: grown(p.count, s.Count), Ns: grown(p.ns, s.Ns), TotalCount: s.Count, TotalNs: s.Ns,
		})
		var key stackKey
		copy(key.frames[:], s.Frame[:min(int(s.Frames), len(s.Frame))])
		keys = append(keys, key)
	})
	if err != nil {
		return nil, err
	}
	o.prev = cur
	named := make([]stallRec, len(keys))
	names.fill(now, named, keys)
	for i := range rows {
		rows[i].Stack = named[i].Stack
	}
	return rows, nil
}

// topStacks returns the first n rows, by the time of the span and then by all time, and what is left out.
func topStacks(rows []OffStack, n int) (top []OffStack, unlisted int, ns uint64) {
	sortBy(rows, func(a, b OffStack) int {
		return cmp.Or(cmp.Compare(b.Ns, a.Ns), cmp.Compare(b.TotalNs, a.TotalNs),
			cmp.Compare(a.Task.TGID, b.Task.TGID), cmp.Compare(a.Function, b.Function))
	})
	if len(rows) <= n {
		return rows, 0, 0
	}
	for _, r := range rows[n:] {
		ns += r.Ns
	}
	return slices.Clone(rows[:n]), len(rows) - n, ns
}

// rawComm is a name of the kernel's, which ends at a NUL.
func rawComm(c []int8) Raw {
	b := make([]byte, 0, len(c))
	for _, x := range c {
		if x == 0 {
			break
		}
		b = append(b, byte(x))
	}
	return RawString(string(b))
}

// Narrow implements Narrower: processes and cgroups. Collect does the work.
func (c *latencyCollector) Narrow(targets []Target) error {
	if !slices.Equal(c.targets, targets) {
		c.targets, c.fresh = slices.Clone(targets), true
	}
	return nil
}

// assign gives the targets their slots. Of a target that is new the slot's reading is the base.
func (c *offCollector) assign(now time.Duration) error {
	byFilter := make(map[bpf.Filter]Target, len(c.targets))
	var want []bpf.Filter
	for _, t := range c.targets {
		if f, ok := filterOf(t); ok && f.ID != 0 && f.Kind != bpf.FilterDisk { // a disk runs no tasks
			byFilter[f] = t
			want = append(want, f)
		}
	}
	slots, err := c.r.Narrow(want)
	c.tooMany = nil
	if errors.Is(err, bpf.ErrSlots) {
		c.tooMany, err = err, nil
	}
	if err != nil {
		return err
	}
	for i, f := range slots {
		t, used := byFilter[f]
		switch {
		case !used:
			c.slots[i] = nil
		case c.slots[i] == nil || c.slots[i].target != t:
			if c.raw, err = c.r.Read(i, c.raw); err != nil {
				return err
			}
			sum := sumOff(c.raw)
			c.slots[i] = &offSlot{target: t, since: now, prev: sum, base: sum}
		}
	}
	c.fresh = false
	return nil
}

func (c *offCollector) collectTargets(now time.Duration) (Sample, bool, error) {
	if c.fresh {
		if err := c.assign(now); err != nil {
			return nil, false, err
		}
	}
	rows, err := c.stacks.read(c.r, c.names, now)
	if err != nil {
		return nil, false, err
	}
	if !c.begun {
		c.last = now
	}
	s := &Latency{Span: Span{c.last, now}}
	for i, slot := range c.slots {
		if slot == nil {
			continue
		}
		cur := slot.base
		if slot.since < now { // else this is the moment of its base
			if c.raw, err = c.r.Read(i, c.raw); err != nil {
				return nil, false, err
			}
			cur = sumOff(c.raw)
		}
		t := Targeted[LatencyCounts]{Target: slot.target, Since: slot.since}
		t.Sample.OffCounts, t.Sample.Total = cur.since(&slot.prev), cur.since(&slot.base)
		t.Sample.Stacks, t.Sample.Hidden, _ = topStacks(stacksOf(rows, slot.target), maxTargetStacks)
		c.lost += t.Sample.Collided
		c.unlisted += t.Sample.OffCounts.Unlisted[OffSlept] + t.Sample.OffCounts.Unlisted[OffBlocked]
		slot.prev = cur
		s.Narrowed = append(s.Narrowed, t)
	}
	// A target that does nothing says nothing of the probe.
	return s, true, nil
}

// stacksOf are the rows of a process. The table does not say which cgroup a process was in.
func stacksOf(rows []OffStack, t Target) (out []OffStack) {
	if t.Kind != ProcessTarget {
		return nil
	}
	for _, r := range rows {
		if r.Task == t.Process {
			out = append(out, r)
		}
	}
	return out
}
