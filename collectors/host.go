// SPDX-License-Identifier: Apache-2.0

package collectors

import "time"

// HostID is the collector of the host's name plate and its gauges.
const HostID ID = "host"

// Host is what the header shows: facts that do not change and gauges that need no baseline.
type Host struct {
	Span
	Facts *Facts // shared by all samples of a run

	Uptime   time.Duration // /proc/uptime
	Load     [3]float64    // /proc/loadavg: 1, 5, 15 min; counts D tasks too
	Runnable int           // /proc/loadavg field 4, before the slash: on a CPU or waiting for one, ourselves included
	Threads  int           // /proc/loadavg field 4, after the slash

	Mem Mem
	PSI PSI // Err says why it is absent
}

// Facts do not change while the host is up.
type Facts struct {
	Hostname    Raw
	Kernel      string // uname -r
	Arch        string // uname -m
	CPUs        int    // online at start
	BootID      string
	Boot        time.Time // wall clock
	Virtual     string    // "kvm", "docker", … or ""
	InContainer bool
}

// Mem is /proc/meminfo in bytes.
type Mem struct {
	Total, Free, Available, Buffers, Cached, SReclaimable, Shmem, SwapTotal, SwapFree uint64
}

// PSI is /proc/pressure: stall time since boot and its increase over the span.
// Full for CPU at system level means nothing and is not read.
type PSI struct {
	CPU, Memory, IO Pressure
	Err             string // why there is none: "PSI is off: boot with psi=1"; empty when read
}

// Pressure is one file of /proc/pressure. Totals are cumulative; deltas are of the span and
// 0 in the first sample, whose span is empty.
type Pressure struct {
	SomeTotal, FullTotal time.Duration
	Some, Full           time.Duration
	Known                bool
}

func (h *Host) put(s *Snapshot) { s.Host = h }
