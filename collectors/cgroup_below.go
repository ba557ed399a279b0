// SPDX-License-Identifier: Apache-2.0

package collectors

import "bpf60/bpf"

// shownHierarchy is whose IDs the kernel's programs tell. A kernel that does not say has no version 1.
func (fs FS) shownHierarchy() hierarchy {
	b, _ := fs.readSome("cgroups", 16<<10)
	return hierarchy(bpf.ShownHierarchy(string(b)))
}

// rank finds out which hierarchy is shown, and which each mount is known by: that one where it is among
// those of the mount, else the first of them.
func (t *cgroupTree) rank() {
	t.shown = t.fs.shownHierarchy()
	t.of = make([]hierarchy, len(t.dirs))
	for h := hierarchies; h > 0; h-- {
		if i := t.at[h-1]; i >= 0 {
			t.of[i] = h - 1
		}
	}
	if i := t.at[t.shown]; i >= 0 {
		t.of[i] = t.shown
	}
}

// number is what the kernel's programs and their filters call a cgroup in the i-th mount.
func (t *cgroupTree) number(n *cgroupNode, i int) uint64 {
	return bpf.CgroupID(bpf.Hierarchy(t.shown), bpf.Hierarchy(t.of[i]), n.ids[i])
}

// known is the mount that a cgroup is known by: that of the hierarchy that is shown, or the first that it
// stands in.
func (t *cgroupTree) known(n *cgroupNode) int {
	if i := t.at[t.shown]; i >= 0 && n.in&(1<<i) != 0 {
		return i
	}
	for i := range t.dirs {
		if n.in&(1<<i) != 0 {
			return i
		}
	}
	return 0
}

// id is the cgroup's number wherever we name it; no other cgroup of the host has it. v2 says whether it is of
// the unified hierarchy.
func (t *cgroupTree) id(n *cgroupNode) (id uint64, v2 bool) {
	i := t.known(n)
	return t.number(n, i), t.of[i] == unified
}

// below is which cgroups there are, in the words of the kernel's filters: below each that may be a target
// those of the hierarchy that it is known by.
func (t *cgroupTree) below() bpf.Cgroups {
	out := make(bpf.Cgroups)
	reach := make(map[*cgroupNode]uint8, len(t.order)) // in which mounts somebody above may be a target
	for _, n := range t.order {
		reach[n] = 1 << t.known(n)
		if n.parent == nil {
			continue
		}
		from := reach[n.parent] & n.in & n.parent.in
		reach[n] |= from
		for i := range t.dirs {
			if from&(1<<i) != 0 {
				up := t.number(n.parent, i)
				out[up] = append(out[up], t.number(n, i))
			}
		}
	}
	return out
}

// follow tells the kernel's filters which cgroups there are, if that has changed, or could not be told.
func (c *cgroupCollector) follow() {
	if c.tell == nil || c.told == c.tree.changes && c.untold == nil {
		return
	}
	c.told, c.untold = c.tree.changes, c.tell(c.tree.below())
}
