// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"slices"
	"time"

	"bpf60/bpf"
)

// narrowing keeps what a collector counts apart: which target has which slot of its programs' maps, and
// since when.
type narrowing struct {
	targets []Target
	of      [bpf.FilterSlots]narrowSlot
	peers   bool // the programs know whom an event is exchanged with
}

type narrowSlot struct {
	target Target
	filter bpf.Filter
	since  time.Duration
	begun  bool // since is known
}

// filterOf is the kernel's word for a target; false if there is none.
func filterOf(t Target) (bpf.Filter, bool) {
	switch t.Kind {
	case ProcessTarget:
		return bpf.Filter{Kind: bpf.FilterProcess, ID: uint64(t.Process.TGID)}, true
	case CgroupTarget:
		return bpf.Filter{Kind: bpf.FilterCgroup, ID: t.Cgroup}, true
	case DiskTarget:
		return bpf.Filter{Kind: bpf.FilterDisk, ID: uint64(t.Dev)}, true
	case HostTarget, PeerTarget, NamedTarget, CPUTarget, SocketTarget:
	}
	return bpf.Filter{}, false
}

// filterOf is filterOf, with peers where they can be counted apart.
func (n *narrowing) filterOf(t Target) (bpf.Filter, bool) {
	if n.peers && t.Kind == PeerTarget {
		return bpf.PeerFilter(t.Addr), t.Addr.IsValid()
	}
	return filterOf(t)
}

// filters turns targets into what the facade takes. A target that the kernel cannot filter by is left
// out, with an error.
func (n *narrowing) filters(targets []Target) ([]bpf.Filter, error) {
	var out []bpf.Filter
	var err error
	n.targets = nil
	for _, t := range targets {
		f, ok := n.filterOf(t)
		if !ok {
			what := "processes, cgroups and disks"
			if n.peers {
				what = "processes, cgroups and peers"
			}
			err = fmt.Errorf("narrowing to %v: only %s can be counted apart", t.Kind, what)
			continue
		}
		out = append(out, f)
		n.targets = append(n.targets, t)
	}
	return out, err
}

// assign notes which slot each target was given. A target that keeps its slot goes on.
func (n *narrowing) assign(slots bpf.Slots) {
	for i, f := range slots {
		if n.of[i].filter == f {
			continue
		}
		n.of[i] = narrowSlot{filter: f}
		at := slices.IndexFunc(n.targets, func(t Target) bool { g, _ := n.filterOf(t); return g == f })
		if f != (bpf.Filter{}) && at >= 0 {
			n.of[i].target = n.targets[at]
		}
	}
}

// each calls f with every target and its slot. At the first call after its slot was given the target is
// fresh: what is read now is its base. since is when that was.
func (n *narrowing) each(now time.Duration, f func(slot int, t Target, since time.Duration, fresh bool)) {
	for i := range n.of {
		s := &n.of[i]
		if s.filter == (bpf.Filter{}) {
			continue
		}
		fresh := !s.begun
		if fresh {
			s.begun, s.since = true, now
		}
		f(i, s.target, s.since, fresh)
	}
}
