// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cilium/ebpf"
)

// cgroupsMap and its size: filter_cgroups in include/filter.bpf.h.
const (
	cgroupsMap  = "filter_cgroups"
	mostCgroups = 1024
)

// Cgroups are the cgroups of the host by CgroupID: those right below each, in the same hierarchy. It is not
// written after it is handed over.
type Cgroups map[uint64][]uint64

// cgroupFollower keeps what the objects know of cgroups that are targets: which others are below them.
type cgroupFollower struct {
	mu      sync.Mutex
	tree    Cgroups
	objects map[*object]*cgroupSlots
}

// cgroupSlots is what an object counts apart, and what its map holds.
type cgroupSlots struct {
	m     *ebpf.Map
	slots Slots
	told  map[uint64]uint32
}

// FollowCgroups takes over which cgroups there are: what is below a target counts for it from then on, in
// all objects. It is for the goroutine that reads the tree; others may narrow meanwhile.
func (k *Kernel) FollowCgroups(tree Cgroups) error {
	f := &k.follow
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tree = tree
	var errs []error
	for _, s := range f.objects {
		errs = append(errs, f.tell(s))
	}
	return errors.Join(errs...)
}

// narrow tells an object's programs the cgroups of its new slots, on the object's goroutine. ErrSlots says
// that there are too many.
func (f *cgroupFollower) narrow(o *object, slots Slots) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.objects[o]
	if s == nil {
		if !slices.ContainsFunc(slots[:], func(x Filter) bool { return x.Kind == FilterCgroup }) {
			return nil
		}
		m, err := o.createMap(cgroupsMap)
		if err != nil {
			return err
		}
		if f.objects == nil {
			f.objects = make(map[*object]*cgroupSlots)
		}
		s = &cgroupSlots{m: m, told: make(map[uint64]uint32)}
		f.objects[o] = s
	}
	s.slots = slots
	return f.tell(s)
}

// forget leaves an object out, whose maps are closed next.
func (f *cgroupFollower) forget(o *object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, o)
}

// tell makes an object's map hold what it should, and writes only what changed.
func (f *cgroupFollower) tell(s *cgroupSlots) error {
	want, full := belongs(s.slots, f.tree)
	for id := range s.told { // first room, then what needs it
		if want[id] != 0 {
			continue
		}
		if err := s.m.Delete(&id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("taking a row out of map %s: %w", cgroupsMap, err)
		}
		delete(s.told, id)
	}
	for id, bits := range want {
		if s.told[id] == bits {
			continue
		}
		if err := s.m.Put(&id, &bits); err != nil {
			return fmt.Errorf("writing map %s: %w", cgroupsMap, err)
		}
		s.told[id] = bits
	}
	return full
}

// belongs says which slots each cgroup counts for: a bit for each target that it is, or is below. ErrSlots
// says that some were left out.
func belongs(slots Slots, children Cgroups) (map[uint64]uint32, error) {
	out := make(map[uint64]uint32)
	var full error
	for i, f := range slots {
		if f.Kind != FilterCgroup {
			continue
		}
		bit := uint32(1) << i
		for next := []uint64{f.ID}; len(next) > 0; next = next[1:] {
			id := next[0]
			if out[id]&bit != 0 { // a tree has no circles, and what was read of it over a while may
				continue
			}
			if out[id] == 0 && len(out) == mostCgroups {
				full = fmt.Errorf("narrowing to a cgroup with more than %d below it: %w", mostCgroups, ErrSlots)
				continue
			}
			out[id] |= bit
			next = append(next, children[id]...)
		}
	}
	return out, full
}
