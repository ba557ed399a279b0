// SPDX-License-Identifier: Apache-2.0

package panes

import "bpf60/collectors"

// hostPIDs is what the header says where BPF gives processes other numbers than the container does that we
// are in, and whyHostPIDs what that means.
const (
	hostPIDs    = "host's PIDs"
	whyHostPIDs = "in a container's PID namespace: PIDs are the host's; command lines of processes outside it are unknown"
)

// foreignPIDs says whether that is so.
func foreignPIDs(f Frame) bool {
	h, t := newest(f, hostOf), newest(f, tasksOf)
	return h != nil && h.Facts != nil && h.Facts.InContainer && t != nil && t.Source == collectors.SourceIter
}

// pidNotes tell of it in a line.
func pidNotes(f Frame) []string {
	if foreignPIDs(f) {
		return []string{whyHostPIDs}
	}
	return nil
}
