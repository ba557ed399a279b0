// SPDX-License-Identifier: Apache-2.0

package collectors

import "unsafe"

// Size is about what s holds in memory, in bytes, without what snapshots share: Facts and
// ProcInfo. Slices count with their capacity.
func (s *Snapshot) Size() int {
	n := allocSize(unsafe.Sizeof(*s)) + s.probesSize()
	if s.Host != nil {
		n += allocSize(unsafe.Sizeof(*s.Host))
	}
	if s.CPU != nil {
		n += allocSize(unsafe.Sizeof(*s.CPU)) + sliceSize(s.CPU.CPUs)
	}
	if s.Sched != nil {
		n += allocSize(unsafe.Sizeof(*s.Sched)) + sliceSize(s.Sched.CPUs)
	}
	if s.Wake != nil {
		n += allocSize(unsafe.Sizeof(*s.Wake))
	}
	if s.Self != nil {
		n += allocSize(unsafe.Sizeof(*s.Self))
	}
	if s.Disk != nil {
		n += allocSize(unsafe.Sizeof(*s.Disk)) + s.Disk.size()
	}
	if s.FileSystems != nil {
		n += allocSize(unsafe.Sizeof(*s.FileSystems)) + s.FileSystems.size()
	}
	n += sizeOf(s.Tasks)
	if s.SoftIRQTime != nil {
		n += s.SoftIRQTime.size()
	}
	if s.HardIRQTime != nil {
		n += s.HardIRQTime.size()
	}
	n += sizeOf(s.Block)
	n += sizeOf(s.Memory)
	n += sizeOf(s.Slab)
	n += sizeOf(s.Network)
	n += sizeOf(s.Stalls)
	n += sizeOf(s.Waits)
	n += sizeOf(s.Log)
	n += sizeOf(s.IRQ)
	n += sizeOf(s.SoftIRQ)
	n += sizeOf(s.TCP)
	n += sizeOf(s.Sockets)
	n += sizeOf(s.Cgroups)
	n += sizeOf(s.DNS)
	n += sizeOf(s.Drops)
	n += sizeOf(s.Reclaim)
	n += sizeOf(s.Kmem)
	n += sizeOf(s.Profile)
	n += sizeOf(s.Cachestat)
	n += sizeOf(s.Runs)
	n += sizeOf(s.Flow)
	n += sizeOf(s.OffCPU)
	n += sizeOf(s.Latency)
	n += sizeOf(s.Files)
	n += sizeOf(s.Exec)
	n += sizeOf(s.Signals)
	n += sizeOf(s.Syscalls)
	n += sizeOf(s.SyscallTimes)
	n += sizeOf(s.Opens)
	n += sizeOf(s.ExecFails)
	n += sizeOf(s.SlowFiles)
	n += sizeOf(s.Limits)
	n += sizeOf(s.Descriptors)
	n += sizeOf(s.Deleted)
	n += sizeOf(s.Sleeps)
	n += sizeOf(s.CPUClocks)
	return n
}

// sizeOf is what a sample holds, 0 without one.
func sizeOf[T any, P interface {
	*T
	size() int
}](sample P) int {
	if sample == nil {
		return 0
	}
	return sample.size()
}

// probesSize counts a map of one group of eight entries for each seven, as Go's maps grow.
func (s *Snapshot) probesSize() int {
	if s.Probes == nil {
		return 0
	}
	const group = 8 * (unsafe.Sizeof(ID("")) + unsafe.Sizeof([]Probe{}) + 1)
	n := allocSize(48)
	groups := 1
	for groups*7 < len(s.Probes) {
		groups *= 2
	}
	n += allocSize(uintptr(groups) * group)
	for _, rows := range s.Probes {
		n += sliceSize(rows)
		for _, p := range rows {
			n += len(p.Reason) + len(p.Remedy) // the rest are constants of the program
		}
	}
	return n
}

// Size is what a process's identity holds in memory, in bytes.
func (p *ProcInfo) Size() int {
	return allocSize(unsafe.Sizeof(*p)) + allocSize(uintptr(len(p.Comm.s))) + allocSize(uintptr(len(p.Args.s)))
}

// WithoutRows returns a copy of s whose samples have lost their rows, and that of the network all but
// our own namespace's devices; s itself where there is nothing to lose.
func (s *Snapshot) WithoutRows() *Snapshot {
	c, lost := *s, false
	if s.Network != nil {
		c.Network = s.Network.thin()
		lost = c.Network != s.Network
	}
	dropRows(&c.Tasks, (*Tasks).withoutRows, &lost)
	dropRows(&c.Disk, (*Disk).withoutRows, &lost)
	dropRows(&c.Block, (*Block).withoutRows, &lost)
	dropRows(&c.Slab, (*Slab).withoutRows, &lost)
	dropRows(&c.Sockets, (*Sockets).withoutRows, &lost)
	dropRows(&c.Cgroups, (*Cgroups).withoutRows, &lost)
	dropRows(&c.DNS, (*DNS).withoutRows, &lost)
	dropRows(&c.Drops, (*Drops).withoutRows, &lost)
	dropRows(&c.Reclaim, (*Reclaim).withoutRows, &lost)
	dropRows(&c.Kmem, (*Kmem).withoutRows, &lost)
	dropRows(&c.Profile, (*CPUProfile).withoutRows, &lost)
	dropRows(&c.Cachestat, (*Cachestat).withoutRows, &lost)
	dropRows(&c.Flow, (*Flow).withoutRows, &lost)
	dropRows(&c.OffCPU, (*OffCPU).withoutRows, &lost)
	dropRows(&c.Latency, (*Latency).withoutRows, &lost)
	dropRows(&c.Exec, (*Exec).withoutRows, &lost)
	dropRows(&c.Signals, (*Signals).withoutRows, &lost)
	dropRows(&c.Syscalls, (*Syscalls).withoutRows, &lost)
	dropRows(&c.SyscallTimes, (*SyscallTimes).withoutRows, &lost)
	dropRows(&c.Opens, (*Opens).withoutRows, &lost)
	dropRows(&c.ExecFails, (*ExecFails).withoutRows, &lost)
	dropRows(&c.SlowFiles, (*SlowFiles).withoutRows, &lost)
	dropRows(&c.Limits, (*Limits).withoutRows, &lost)
	dropRows(&c.Descriptors, (*Descriptors).withoutRows, &lost)
	dropRows(&c.CPUClocks, (*CPUClocks).withoutRows, &lost)
	if !lost {
		return s
	}
	c.thin = true
	return &c
}

// dropRows replaces a sample by one without rows; lost becomes true if there is one.
func dropRows[T any, P interface {
	*T
	size() int
}](sample *P, withoutRows func(P) P, lost *bool) {
	if *sample == nil {
		return
	}
	if bare := withoutRows(*sample); bare.size() < (*sample).size() {
		*sample, *lost = bare, true
	}
}

// WithoutCPUs returns s, or a copy of s that keeps the host's sums and no single CPU.
func (s *Snapshot) WithoutCPUs() *Snapshot {
	sched := s.Sched != nil && s.Sched.CPUs != nil
	cpu := s.CPU != nil && s.CPU.CPUs != nil
	softnet := s.Network != nil && s.Network.Softnet != nil
	if !sched && !cpu && !softnet {
		return s
	}
	c := *s
	if sched {
		d := *s.Sched
		d.CPUs = nil
		c.Sched = &d
	}
	if cpu {
		d := *s.CPU
		d.CPUs = nil
		c.CPU = &d
	}
	if softnet {
		d := *s.Network
		d.Softnet = nil
		c.Network = &d
	}
	return &c
}

func sliceSize[T any](s []T) int {
	var t T
	return allocSize(uintptr(cap(s)) * unsafe.Sizeof(t))
}

// allocSize is about what n bytes take. Go rounds objects up to one of 68 sizes: small ones to 16
// bytes, those above by a sixteenth on average, large ones to pages of 8 KiB.
func allocSize(n uintptr) int {
	const small, large, page = 128, 32 << 10, 8 << 10
	switch {
	case n <= small:
		return int((n + 15) / 16 * 16)
	case n <= large:
		return int(n + n/16)
	}
	return int((n + page - 1) / page * page)
}
