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
	if s.Tasks != nil {
		n += s.Tasks.size()
	}
	if s.Network != nil {
		n += s.Network.size()
	}
	if s.Log != nil {
		n += s.Log.size()
	}
	if s.SoftIRQ != nil {
		n += s.SoftIRQ.size()
	}
	if s.IRQ != nil {
		n += s.IRQ.size()
	}
	if s.Stalls != nil {
		n += s.Stalls.size()
	}
	if s.Waits != nil {
		n += s.Waits.size()
	}
	if s.TCP != nil {
		n += s.TCP.size()
	}
	if s.Sockets != nil {
		n += s.Sockets.size()
	}
	if s.Self != nil {
		n += allocSize(unsafe.Sizeof(*s.Self))
	}
	if s.Memory != nil {
		n += s.Memory.size()
	}
	if s.Slab != nil {
		n += s.Slab.size()
	}
	if s.Disk != nil {
		n += allocSize(unsafe.Sizeof(*s.Disk)) + s.Disk.size()
	}
	if s.FileSystems != nil {
		n += allocSize(unsafe.Sizeof(*s.FileSystems)) + s.FileSystems.size()
	}
	if s.Cgroups != nil {
		n += s.Cgroups.size()
	}
	return n
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

// WithoutRows returns s, or a copy of s whose samples of tasks, disks, slab caches, sockets and cgroups
// have lost their rows, and that of the network all but our own namespace's devices.
func (s *Snapshot) WithoutRows() *Snapshot {
	tasks := s.Tasks != nil && (s.Tasks.Rows != nil || s.Tasks.Key != nil || s.Tasks.Gone != nil || s.Tasks.Busy != nil)
	disk := s.Disk != nil && s.Disk.Rows != nil
	sockets := s.Sockets != nil && (s.Sockets.Rows != nil || s.Sockets.Listeners != nil || s.Sockets.Peers != nil)
	slab := s.Slab != nil && s.Slab.Caches != nil
	cgroups := s.Cgroups != nil && s.Cgroups.Rows != nil
	network := s.Network
	if network != nil {
		network = network.thin()
	}
	if !tasks && !disk && !slab && !sockets && !cgroups && network == s.Network {
		return s
	}
	c := *s
	if tasks {
		t := *s.Tasks
		t.Rows, t.Key, t.Gone, t.Busy = nil, nil, nil, nil
		c.Tasks = &t
	}
	if slab {
		c.Slab = s.Slab.withoutRows()
	}
	if disk {
		d := *s.Disk
		d.Rows = nil
		c.Disk = &d
	}
	if cgroups {
		c.Cgroups = s.Cgroups.withoutRows()
	}
	c.Network = network
	if sockets {
		c.Sockets = s.Sockets.withoutRows()
	}
	return &c
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
