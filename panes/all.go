// SPDX-License-Identifier: Apache-2.0

package panes

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
		NewLog(),
		NewStalls(),
		NewCgroups(),
	}
}
