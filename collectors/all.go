// SPDX-License-Identifier: Apache-2.0

package collectors

import "bpf60/bpf"

// All returns every collector, cheapest first, as the Runner takes them. A nil kernel leaves out
// what needs BPF: processes then come from /proc.
func All(k *bpf.Kernel, fs FS) []Collector {
	all := []Collector{NewHost(fs), NewCPU(fs)}
	if k == nil {
		return append(all, NewTasks(fs), NewSelf())
	}
	return append(all,
		NewSched(k, fs),
		NewWake(k),
		NewTasks(fs, newIterScanner(k)),
		NewSelf(),
	)
}
