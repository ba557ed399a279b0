// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Snapshot bundles the samples of one tick. It is immutable once emitted and shared by all
// readers. A nil field was not collected at this tick; each sample appears in exactly one snapshot.
type Snapshot struct {
	Seq    uint64
	Taken  time.Time     // wall clock, for display only
	At     time.Duration // monotonic, since the run began: the tick this snapshot belongs to
	Probes map[ID][]Probe

	// Late is how far behind its tick this snapshot began, when that was more than two intervals,
	// else 0: the host slept, or bpf60 itself was stopped or got no CPU.
	Late time.Duration

	// Step is by how much the wall clock was set since the last snapshot, when that was more than a second,
	// else 0. Taken follows it; At and spans know nothing of it.
	Step time.Duration

	// Eased is the time between two ticks while that is more than was asked for, and EasedBy why: bpf60
	// itself or the host has too little CPU time. 0 and empty otherwise.
	Eased   time.Duration
	EasedBy string

	Host        *Host
	CPU         *CPU
	Sched       *Sched
	Wake        *Wake
	Tasks       *Tasks
	Self        *Self
	Disk        *Disk
	Block       *Block
	FileSystems *FileSystems
	Memory      *Memory
	Slab        *Slab
	Network     *Network
	Stalls      *Stalls
	Waits       *Waits
	Log         *Log
	IRQ         *IRQ
	SoftIRQ     *SoftIRQ
	TCP         *TCP
	Sockets     *Sockets
	Cgroups     *Cgroups
	DNS         *DNS
	Drops       *Drops
	Reclaim     *Reclaim
	Kmem        *Kmem
	Profile     *CPUProfile
	Cachestat   *Cachestat
	Runs        *Runs
	Flow        *Flow
	SoftIRQTime *SoftIRQTime
	HardIRQTime *HardIRQTime
	OffCPU      *OffCPU
	Latency     *Latency
	Files       *Files
	Exec        *Exec
	Signals     *Signals

	Syscalls     *Syscalls
	SyscallTimes *SyscallTimes
	Opens        *Opens
	ExecFails    *ExecFails
	SlowFiles    *SlowFiles
	Limits       *Limits

	Descriptors *Descriptors
	Deleted     *Deleted
	Sleeps      *Sleeps
	CPUClocks   *CPUClocks

	thin bool // see Thin
}

// Thin says that the rows were given up for room. That there are none then says nothing of what happened.
func (s *Snapshot) Thin() bool { return s.thin }

// ProbeRows lists the rows of all collectors, by collector and in its order.
func (s *Snapshot) ProbeRows() []Probe {
	var rows []Probe
	for _, id := range slices.Sorted(maps.Keys(s.Probes)) {
		rows = append(rows, s.Probes[id]...)
	}
	return rows
}

// Source produces snapshots until its context ends: the Runner live, a Replay from a recording.
type Source interface {
	Run(ctx context.Context, emit func(*Snapshot)) error
}
