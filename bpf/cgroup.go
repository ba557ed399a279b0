// SPDX-License-Identifier: Apache-2.0

package bpf

import "strings"

// Hierarchy is a tree of cgroups: the one of version 2, and of version 1 one for each controller, several
// of which may be one: enum hierarchy in include/cgroup.bpf.h.
type Hierarchy uint8

// The hierarchies that programs can filter by. Others of version 1 have no numbers of their own to show, and
// those without a controller (name=systemd) programs cannot find.
const (
	Unified Hierarchy = iota
	CPUv1
	CPUAcctV1
	MemoryV1
	BlkioV1
	PidsV1
	FreezerV1
)

// hierarchyShift is HIERARCHY_SHIFT in include/filter.bpf.h.
const hierarchyShift = 56

// memoryV1 is the constant of include/cgroup.bpf.h.
const memoryV1 = "memory_v1"

// ShownHierarchy is whose IDs the programs show, of /proc/cgroups: those of the memory controller where it
// is in version 1, else the unified ones.
func ShownHierarchy(procCgroups string) Hierarchy {
	for line := range strings.Lines(procCgroups) {
		// memory 4 80 1
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == "memory" && f[1] != "0" {
			return MemoryV1
		}
	}
	return Unified
}

// CgroupID makes one number of a cgroup's ID in a hierarchy, that no other cgroup of the host has: the ID
// itself in the hierarchy that is shown. It is what programs tell and filters take.
func CgroupID(shown, in Hierarchy, id uint64) uint64 {
	if id == 0 || in == shown {
		return id
	}
	return id | uint64(in+1)<<hierarchyShift
}

// Aside says whether a number of CgroupID is of another hierarchy than the one that is shown.
func Aside(id uint64) bool { return otherHierarchy(id) != 0 }

// otherHierarchy is 1 more than the hierarchy of a number of CgroupID that is not the shown one's, 0 for
// that.
func otherHierarchy(id uint64) uint64 { return id >> hierarchyShift }
