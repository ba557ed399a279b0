// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"slices"
	"time"

	"bpf60/bpf"
)

// slotBases keeps which slot of the kernel's counts belongs to which target, and what a slot had
// counted for others before.
type slotBases[C any] struct {
	targets []Target
	slots   bpf.Slots
	of      [bpf.FilterSlots]slotBase[C]
}

type slotBase[C any] struct {
	target Target
	since  time.Duration
	prev   C
}

// want notes targets until there is somebody to count them.
func (n *slotBases[C]) want(targets []Target) { n.targets = slices.Clone(targets) }

// to counts the targets apart from now on. A slot that is given to another begins with what it holds.
func (n *slotBases[C]) to(targets []Target, now time.Duration, narrow func([]bpf.Filter) (bpf.Slots, error), read func(slot int) (C, error)) error {
	n.want(targets)
	by := map[bpf.Filter]Target{}
	var want []bpf.Filter
	for _, t := range targets {
		if f, ok := filterOf(t); ok && f.Kind != bpf.FilterDisk && by[f] == (Target{}) { // memory has no disk
			by[f], want = t, append(want, f)
		}
	}
	slots, err := narrow(want)
	for i, f := range slots {
		if i == 0 || f == n.slots[i] && n.of[i].target == by[f] {
			continue
		}
		n.of[i] = slotBase[C]{}
		if f == (bpf.Filter{}) {
			continue
		}
		base, e := read(i)
		if e != nil {
			return e
		}
		n.of[i] = slotBase[C]{target: by[f], since: now, prev: base}
	}
	n.slots = slots
	return err
}

// restore narrows new programs to the targets of the old ones.
func (n *slotBases[C]) restore(narrow func([]bpf.Filter) (bpf.Slots, error), read func(slot int) (C, error)) error {
	n.slots = bpf.Slots{}
	n.of = [bpf.FilterSlots]slotBase[C]{}
	if len(n.targets) == 0 {
		return nil
	}
	return n.to(n.targets, 0, narrow, read)
}

// read is what each target counted since the last reading.
func (n *slotBases[C]) read(read func(slot int) (C, error), since func(cur, prev *C) C) ([]Targeted[C], error) {
	var out []Targeted[C]
	for i := range n.of {
		x := &n.of[i]
		if x.target == (Target{}) {
			continue
		}
		cur, err := read(i)
		if err != nil {
			return nil, err
		}
		out = append(out, Targeted[C]{Target: x.target, Since: x.since, Sample: since(&cur, &x.prev)})
		x.prev = cur
	}
	return out, nil
}
