// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// FilterSlots is the number of slots that narrowed counts are kept in; slot 0 is the host's:
// FILTER_SLOTS in include/filter.bpf.h.
const FilterSlots = 8

// FilterKind says what a Filter's ID names.
type FilterKind uint64

// The kinds of filter: enum filter_kind.
const (
	FilterNone    FilterKind = iota
	FilterProcess            // a thread group
	FilterCgroup             // a cgroup with all below it, by CgroupID
	FilterDisk               // the kernel's dev_t: major << 20 | minor
	FilterPeer               // another host, by Addr: of Flow and DNS only
)

// Filter is one target that programs count apart.
type Filter struct {
	ID   uint64
	Kind FilterKind
	Addr netip.AddrPort // of a peer: see PeerFilter
}

// PeerFilter is the filter of what is exchanged with an address: with a port of it, or with any for port 0.
// IPv4 is the same written as IPv6, and a zone is left out: sockets do not tell it.
func PeerFilter(a netip.AddrPort) Filter {
	return Filter{Kind: FilterPeer, Addr: netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())}
}

// Slots are the filters in use, by slot; the zero Filter is a slot that is free.
type Slots [FilterSlots]Filter

// filterTable is struct filters.
type filterTable struct {
	Slots   uint64
	Cgroups uint64
	Other   uint64
	Peers   uint64
	Of      [FilterSlots]struct{ ID, Kind uint64 }
}

// ErrHierarchy says that cgroups of two further hierarchies of version 1 were asked for at a time.
var ErrHierarchy = errors.New("cgroups that do not stand in the memory controller's hierarchy are counted apart in one other at a time")

// ErrSlots says that more targets were asked for than are counted apart.
var ErrSlots = errors.New("more targets than are counted apart at a time")

// narrow makes the object's programs count the targets apart, from slot 1 on. A target that stays
// keeps its slot. What a slot counted before, for another target, stays in it: who reads it takes
// the reading at this moment as the base. Targets beyond the slots are left out, with ErrSlots, and
// cgroups of a third hierarchy with ErrHierarchy.
func (o *object) narrow(want []Filter) (Slots, error) {
	want, other, over := oneOther(want)
	next := assign(o.slots, want)
	for _, f := range want {
		if !slices.Contains(next[:], f) {
			over = errors.Join(over, fmt.Errorf("narrowing to %d targets: %w", len(want), ErrSlots))
		}
	}
	if next == o.slots {
		return next, over
	}
	m, err := o.createMap(filtersMap)
	if err != nil {
		return o.slots, err
	}
	t := filterTable{Other: other}
	for i, f := range next {
		t.Of[i].ID, t.Of[i].Kind = f.ID, uint64(f.Kind)
		if f != (Filter{}) {
			t.Slots = uint64(i) + 1
		}
		switch f.Kind {
		case FilterCgroup:
			t.Cgroups = 1
		case FilterPeer:
			t.Peers = 1
		case FilterNone, FilterProcess, FilterDisk:
		}
	}
	if err := o.tellPeers(next); err != nil {
		return o.slots, err
	}
	if err := o.kernel.follow.narrow(o, next); errors.Is(err, ErrSlots) {
		over = errors.Join(over, err)
	} else if err != nil {
		return o.slots, err
	}
	if err := m.Put(uint32(0), &t); err != nil {
		return o.slots, fmt.Errorf("writing map %s: %w", filtersMap, err)
	}
	o.slots = next
	return next, over
}

// oneOther leaves out the cgroups that stand in a third hierarchy: programs look at the one that is shown and
// at one other, which is that of the first such target.
func oneOther(want []Filter) (kept []Filter, other uint64, over error) {
	for _, f := range want {
		if h := otherHierarchy(f.ID); f.Kind == FilterCgroup && h != 0 {
			if other == 0 {
				other = h
			}
			if h != other {
				over = fmt.Errorf("narrowing to %d targets: %w", len(want), ErrHierarchy)
				continue
			}
		}
		kept = append(kept, f)
	}
	return kept, other, over
}

// assign keeps the targets that stay where they are and puts new ones into free slots.
func assign(cur Slots, want []Filter) Slots {
	var next Slots
	for i, f := range cur {
		if f != (Filter{}) && slices.Contains(want, f) {
			next[i] = f
		}
	}
	for _, f := range want {
		if f == (Filter{}) || slices.Contains(next[:], f) {
			continue
		}
		if i := slices.Index(next[1:], Filter{}); i >= 0 {
			next[i+1] = f
		}
	}
	return next
}
