// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"slices"
)

// hierarchy is a tree of cgroups that one of our files may stand in.
type hierarchy uint8

// The hierarchies: the one of version 2, and of version 1 one for each controller that is read,
// several of which may be one mount. Their numbers are those of bpf.Hierarchy.
const (
	unified hierarchy = iota
	v1CPU
	v1CPUAcct
	v1Memory
	v1Blkio
	v1Pids
	v1Freezer
	hierarchies
)

// controller is the name of a hierarchy's controller in the options of its mount.
func (h hierarchy) controller() string {
	return [...]string{"", "cpu", "cpuacct", "memory", "blkio", "pids", "freezer", ""}[h]
}

// cgroupMounts says where each hierarchy is mounted, "" where it is not.
type cgroupMounts [hierarchies]string

// parseCgroupMounts reads /proc/PID/mountinfo. Of a hierarchy that is mounted more than once the
// mount that shows most counts: the one of its root, and of those the first.
func parseCgroupMounts(b []byte) (m cgroupMounts) {
	var whole [hierarchies]bool
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		// 32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
		head, tail, ok := bytes.Cut(line, []byte(" - "))
		if !ok {
			continue
		}
		kind, tail := cutField(tail)
		if string(kind) != "cgroup" && string(kind) != "cgroup2" {
			continue
		}
		_, tail = cutField(tail)
		options, _ := cutField(tail)
		var root, point []byte
		for range 4 {
			root, head = cutField(head)
		}
		point, _ = cutField(head)
		if len(point) == 0 || point[0] != '/' {
			continue
		}
		take := func(h hierarchy) {
			if isRoot := string(root) == "/"; m[h] == "" || isRoot && !whole[h] {
				m[h], whole[h] = unescapeMount(point), isRoot
			}
		}
		if string(kind) == "cgroup2" {
			take(unified)
			continue
		}
		for o := range bytes.SplitSeq(options, []byte{','}) {
			for h := v1CPU; h < hierarchies; h++ {
				if string(o) == h.controller() {
					take(h)
				}
			}
		}
	}
	return m
}

// version says which of the two there is: v2, v1, v1 + v2, or "".
func (m *cgroupMounts) version() string {
	v1 := slices.ContainsFunc(m[v1CPU:], func(s string) bool { return s != "" })
	switch {
	case m[unified] != "" && v1:
		return "v1 + v2"
	case m[unified] != "":
		return "v2"
	case v1:
		return "v1"
	}
	return ""
}
