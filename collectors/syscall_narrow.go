// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"slices"
	"time"

	"bpf60/bpf"
)

// callTargets are the targets of a collector of system calls, with their slots in the kernel.
type callTargets struct {
	list []callTarget
	only bool
	host bool // somebody looks at the host, too
}

type callTarget struct {
	target Target
	slot   int32
	since  time.Duration
}

// set takes over the kernel's slots. Targets that stay keep the time since when they are counted.
func (t *callTargets) set(targets []Target, slots bpf.Slots, now time.Duration) {
	old := t.list
	t.list = nil
	for _, target := range targets {
		slot := slices.Index(slots[:], callFilter(target))
		if slot < 1 || callFilter(target) == (bpf.Filter{}) {
			continue
		}
		next := callTarget{target, int32(slot), now}
		for _, was := range old {
			if was.target == target && was.slot == next.slot {
				next.since = was.since
			}
		}
		t.list = append(t.list, next)
	}
}

// filters are the targets that the kernel can tell by the task that makes a call.
func (t *callTargets) filters(targets []Target) []bpf.Filter {
	var out []bpf.Filter
	for _, target := range targets {
		if f := callFilter(target); f != (bpf.Filter{}) {
			out = append(out, f)
		}
	}
	t.only = len(out) > 0 && !t.host
	return out
}

// callFilter is the zero Filter for a target that is no task's.
func callFilter(t Target) bpf.Filter {
	switch t.Kind {
	case ProcessTarget:
		return bpf.Filter{Kind: bpf.FilterProcess, ID: uint64(t.Process.TGID)}
	case CgroupTarget:
		return bpf.Filter{Kind: bpf.FilterCgroup, ID: t.Cgroup}
	case HostTarget, DiskTarget, PeerTarget, NamedTarget, CPUTarget, SocketTarget:
	}
	return bpf.Filter{}
}

// narrowTo counts targets apart. What their slots counted before, for others, is the base.
func (c *syscallPart) narrowTo(t *callTargets, targets []Target, base *syscallReading) error {
	if c.r == nil {
		return nil
	}
	filters := t.filters(targets)
	slots, err := c.src.narrow(c.part, filters, t.only)
	t.set(targets, slots, c.last)
	if err != nil || !c.begun {
		return err
	}
	return c.r.ReadCalls(c.last, func(row *bpf.CallRow) {
		if row.TGID < 0 {
			base.rows[row.CallKey] = row.CallCounts
		}
	})
}
