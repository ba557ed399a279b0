// SPDX-License-Identifier: Apache-2.0

package panes

import "slices"

// All returns every pane there is, in the order of the tabs.
func All() []Pane {
	return []Pane{
		NewOverview(),
		NewCPU(),
		NewProcesses(),
		NewMemory(),
		NewDisk(),
		NewNetwork(),
		NewTCP(),
		NewExec(),
		NewProfile(),
		NewProbes(),
		NewFindings(),
		NewLog(),
		NewStalls(),
		NewDNS(),
		NewCgroups(),
		NewSyscalls(),
	}
}

// Arrange returns the panes with those that are named first, in the order of their names. The others
// keep theirs.
func Arrange(panes []Pane, ids []string) []Pane {
	out := make([]Pane, 0, len(panes))
	for _, id := range ids {
		for _, p := range panes {
			if string(p.Info().ID) == id && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	for _, p := range panes {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}
