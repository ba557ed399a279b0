// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"os"
	"slices"
)

// isolatedCPUs are the CPUs that somebody took out of the balance for a program of their own; none where
// that is not known.
func isolatedCPUs(fs FS) []int {
	var all []int
	for _, name := range []string{"isolated", "nohz_full"} {
		b, err := os.ReadFile(fs.sysPath("devices/system/cpu/" + name))
		if err != nil {
			continue
		}
		// Without any: an empty line, or "(null)" of old kernels.
		if cpus, err := parseCPUList(b); err == nil {
			all = append(all, cpus...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
