// SPDX-License-Identifier: Apache-2.0

package collectors

import "bpf60/bpf"

// All returns every collector, cheapest first, as the Runner takes them. Probes named in off stay
// off.
func All(k *bpf.Kernel, fs FS, off map[string]bool) []Collector {
	events, calls, bell := newFeed(k), newSyscallSource(k), &scanBell{}
	fs.names.ask = func(addrs []uint64, each func(bpf.Function)) error { return bpf.Functions(k, addrs, each) }
	meminfo, vmstat := fs.shared("meminfo"), fs.shared("vmstat")
	return []Collector{
		newHost(fs, meminfo),
		newCPU(fs, vmstat),
		newMemory(fs, meminfo, vmstat),
		NewSlab(fs),
		NewDisk(fs),
		NewFileSystems(fs),
		NewNetwork(fs),
		NewTCP(fs),
		NewSched(k, fs, off),
		NewWake(k),
		newTasks(fs, bell, newIterScanner(k, fs.pids)),
		NewBlock(k, fs, events, off),
		NewLog(fs),
		NewSoftIRQ(fs),
		NewIRQ(fs),
		NewSoftIRQTime(k, fs),
		NewHardIRQTime(k, fs),
		NewOffCPU(k, fs),
		NewLatency(k, fs),
		NewStalls(k, fs),
		NewWaits(k, fs),
		NewSockets(k, fs),
		NewCgroups(fs, k.FollowCgroups),
		NewDNS(k, fs, events, off),
		NewDrops(k, fs, events, off),
		NewReclaim(k, fs, events, off),
		NewKmem(k, fs),
		NewProfile(k, fs),
		NewCachestat(k),
		NewFlow(k, fs, events, off),
		NewFiles(k, events),
		NewExec(k, fs, off, events, bell),
		NewSignals(k, off, events),
		NewSyscalls(calls),
		NewSyscallTimes(calls),
		NewOpens(calls, events),
		NewExecFails(calls, events),
		NewSlowFiles(k, calls, events),
		NewLimits(fs),
		NewDescriptors(fs),
		NewDeleted(fs),
		NewSleeps(fs),
		NewCPUClocks(fs),
		NewRuns(k),
		NewSelf(k),
	}
}
