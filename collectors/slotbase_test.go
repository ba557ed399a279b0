// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bpf60/bpf"
)

func TestSlotBases(t *testing.T) {
	var n slotBases[uint64]
	counts := [bpf.FilterSlots]uint64{0, 100, 200}
	read := func(slot int) (uint64, error) { return counts[slot], nil }
	var slots bpf.Slots
	narrow := func(want []bpf.Filter) (bpf.Slots, error) { // as the kernel's side: who stays keeps the slot
		next := bpf.Slots{}
		for _, f := range want {
			for i := 1; i < len(slots); i++ {
				if slots[i] == f {
					next[i] = f
				}
			}
		}
		for _, f := range want {
			found, free := false, 0
			for i := len(next) - 1; i > 0; i-- {
				found = found || next[i] == f
				if next[i] == (bpf.Filter{}) {
					free = i
				}
			}
			if !found {
				next[free] = f
			}
		}
		slots = next
		return next, nil
	}
	minus := func(cur, prev *uint64) uint64 { return *cur - *prev }
	a, b, d := Target{Kind: ProcessTarget, Process: Process{1, 1}}, Target{Kind: CgroupTarget, Cgroup: 9}, Target{Kind: ProcessTarget, Process: Process{1, 2}}
	steps := []struct {
		targets []Target
		add     [3]uint64
		want    map[Target]uint64
	}{
		{targets: []Target{a}, add: [3]uint64{0, 5}, want: map[Target]uint64{a: 5}},
		{targets: []Target{a, b}, add: [3]uint64{0, 1, 7}, want: map[Target]uint64{a: 1, b: 7}},
		{targets: []Target{b}, add: [3]uint64{0, 50, 2}, want: map[Target]uint64{b: 2}},
		{targets: []Target{b, a}, add: [3]uint64{0, 3, 0}, want: map[Target]uint64{a: 3, b: 0}},
		{targets: []Target{b, d}, add: [3]uint64{0, 4, 1}, want: map[Target]uint64{d: 4, b: 1}}, // the PID again
	}
	for i, step := range steps {
		if err := n.to(step.targets, 0, narrow, read); err != nil {
			t.Fatal(err)
		}
		for slot, add := range step.add {
			counts[slot] += add
		}
		list, err := n.read(read, minus)
		if err != nil {
			t.Fatal(err)
		}
		got := map[Target]uint64{}
		for _, x := range list {
			got[x.Target] = x.Sample
		}
		if diff := cmp.Diff(step.want, got, cmpopts.EquateComparable(Target{})); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
}
