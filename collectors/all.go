// SPDX-License-Identifier: Apache-2.0

package collectors

import "bpf60/bpf"

// All returns every collector, cheapest first, as the Runner takes them. Probes named in off stay
// off.
func All(k *bpf.Kernel, fs FS, off map[string]bool) []Collector {
	return []Collector{
		NewHost(fs),
		NewCPU(fs),
		NewMemory(fs),
		NewSlab(fs),
		NewDisk(fs),
		NewFileSystems(fs),
		NewNetwork(fs),
		NewTCP(fs),
		NewSched(k, fs, off),
		NewWake(k),
		NewTasks(fs, newIterScanner(k)),
		NewLog(fs),
		NewSoftIRQ(fs),
		NewIRQ(fs),
		NewStalls(k, fs),
		NewWaits(k, fs),
		NewSockets(k, fs),
		NewCgroups(fs),
		NewSelf(),
	}
}
