// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"time"
	"unsafe"
)

// CgroupsID is the collector of control groups.
const CgroupsID ID = "cgroups"

// CgroupLimits are what bounds a cgroup. The zero of a field of CPU is no limit, NoLimit elsewhere.
type CgroupLimits struct {
	CPUs            float64 // cpu.max: quota over period; 0: none
	High, Max, Swap uint64  // bytes; v1: Max is limit_in_bytes, and there is no High
	Pids            uint64
}

// CgroupInfo is the part of a cgroup that rarely changes. It is interned: samples share it, and it
// is never written after it is published.
type CgroupInfo struct {
	// ID is what the kernel's programs call the cgroup, and no other of the host: bpf.CgroupID of the
	// inode of its directory, in the hierarchy that is shown (of v1's memory controller where that has
	// one, else of v2), or in the first that it stands in.
	ID     uint64
	V2     bool // ID is of v2
	Path   Raw  // below the mount, "/" for the root
	Name   Raw  // short, for people: containerName
	Depth  uint8
	Leaf   bool // no cgroups below
	Empty  bool // no process in it or below
	Frozen bool

	Weight uint32        // cpu.weight, 1 to 10000; v1: cpu.shares, 2 to 262144; 0 unknown
	Period time.Duration // of the quota; 0 unknown
	Own    CgroupLimits
	Tight  CgroupLimits // the tightest of its own and its ancestors': what holds for it
	Owner  CgroupOwners // whose the tightest is
}

// CgroupOwners are depths: 0 is the root.
type CgroupOwners struct{ CPU, High, Max, Swap, Pids uint8 }

// CgroupHas says which numbers of a row were read.
type CgroupHas uint16

// The parts of a row. Those of counters need two readings, one right after the other.
const (
	HasUsage    CgroupHas = 1 << iota // Usage
	HasSplit                          // User, System
	HasThrottle                       // Periods, Throttled, ThrottledFor
	HasMemory                         // Memory
	HasSwap                           // Swap
	HasHigh                           // Events of v2: all
	HasEvents                         // Events: Max and OOMKill at least
	HasPids                           // Pids
	HasPSI                            // PSI
	HasIO                             // IO
	HasDetail                         // Detail: all but Soft and IOMax
	HasDenied                         // PidsDenied
)

// CgroupRow is one cgroup over a span of its own: rows are read at different times, busy ones at
// every tick. Everything includes the cgroups below, as the kernel counts it, but Periods,
// Throttled and ThrottledFor, which are of this cgroup's own quota. A sample holds rows of those
// that were read in its span; who looks takes the newest of each.
type CgroupRow struct {
	*CgroupInfo `record:"must"`
	Span        // since the reading before; empty in the first
	Has         CgroupHas

	Usage, User, System time.Duration // of CPU, summed over CPUs
	Periods, Throttled  uint64        // of the quota, and those of them in which it was used up
	ThrottledFor        time.Duration // summed over CPUs, so it may exceed the span

	Memory, Swap     uint64 // bytes
	Events           CgroupEvents
	Pids, PidsDenied uint64 // tasks (gauge), and forks refused

	PSI    *CgroupPSI    // nil: not read
	IO     *CgroupIO     // nil: not read
	Detail *CgroupDetail // nil: nobody looks
}

// CgroupEvents are the increases of memory.events. Of v1 Max is memory.failcnt.
type CgroupEvents struct{ Low, High, Max, OOM, OOMKill uint64 }

// CgroupPSI is the stall time of a cgroup's tasks over the span.
type CgroupPSI struct{ CPU, Memory, IO CgroupStall }

// CgroupIO is the I/O of a cgroup's tasks over the span, at the lowest devices only.
type CgroupIO struct{ RBytes, WBytes, RIOs, WIOs uint64 }

// CgroupDetail is what is read only of a cgroup near its limit, or looked at.
type CgroupDetail struct {
	Anon, File, InactiveFile, Shmem, Slab, Sock uint64 // bytes; Slab and Sock of v2 only
	Refaults, MajorFaults                       uint64 // over the span; 0 in the first reading
	OOMKills, PidsDenied                        uint64 // since the cgroup was made
	Soft                                        uint64 // v1: memory.soft_limit_in_bytes; 0: none
	IOMax                                       []CgroupIOLimit
}

// Cgroups is what was read of the cgroups in the span, at most MaxCgroupReads of them.
type Cgroups struct {
	Span
	Rows    []CgroupRow
	Count   int    // cgroups that are known, the root not counted
	Leaves  int    // of them without cgroups below
	Limited int    // of them with a limit of their own on CPU or memory
	Omitted int    // directories beyond MaxCgroups, at least
	Version string // "v2", "v1", "v1 + v2"

	// Oldest is how long ago the cgroup that was left alone longest was read: who looks for the
	// newest row of every cgroup need not look further back.
	Oldest time.Duration
	Gone   []Raw // paths of cgroups that went in the span, and may have come again
}

// MaxCgroups bounds how many cgroups are known at once.
const MaxCgroups = 8192

// MaxCgroupReads bounds how many are read at one tick while somebody looks, and else.
const (
	MaxCgroupReads  = 512
	idleCgroupReads = 128
)

func (c *Cgroups) put(s *Snapshot) { s.Cgroups = c }

// rare: a cgroup that does little is read every few seconds only, and its row is in that sample.
func (c *Cgroups) rare() bool { return len(c.Rows) > 0 || len(c.Gone) > 0 }

// size is what c holds in bytes, without the infos.
func (c *Cgroups) size() int {
	n := allocSize(unsafe.Sizeof(*c)) + sliceSize(c.Rows) + sliceSize(c.Gone)
	for i := range c.Rows {
		r := &c.Rows[i]
		if r.PSI != nil {
			n += allocSize(unsafe.Sizeof(*r.PSI))
		}
		if r.IO != nil {
			n += allocSize(unsafe.Sizeof(*r.IO))
		}
		if r.Detail != nil {
			n += allocSize(unsafe.Sizeof(*r.Detail)) + sliceSize(r.Detail.IOMax)
		}
	}
	return n
}

// withoutRows returns a copy of c that has lost its rows.
func (c *Cgroups) withoutRows() *Cgroups {
	thin := *c
	thin.Rows, thin.Gone = nil, nil
	return &thin
}

// cgroupReading is everything of a cgroup that is read, cumulative, or a gauge.
type cgroupReading struct {
	at  time.Duration
	has CgroupHas

	usage, user, system, throttledNs uint64 // ns
	periods, throttled               uint64
	memory, swap, pids, denied       uint64
	events                           memEvents
	psi                              [3]CgroupStall
	io                               cgroupIO
	mem                              memStat
	soft                             uint64
	ioMax                            []CgroupIOLimit
}

// counters are the parts that count: their increase is known only where both readings have them.
const counters = HasUsage | HasSplit | HasThrottle | HasEvents | HasHigh | HasPSI | HasIO | HasDenied

// deriveCgroup subtracts two readings of one cgroup; prev is nil for the first, which gives gauges.
// A counter that went back gives 0.
func deriveCgroup(info *CgroupInfo, prev, cur *cgroupReading) CgroupRow {
	r := CgroupRow{CgroupInfo: info, Span: Span{cur.at, cur.at}, Has: cur.has &^ counters, Memory: cur.memory, Swap: cur.swap, Pids: cur.pids}
	if cur.has&HasDetail != 0 || len(cur.ioMax) > 0 { // who limits I/O need not count memory
		r.Detail = &CgroupDetail{
			Anon: cur.mem.Anon, File: cur.mem.File, InactiveFile: cur.mem.InactiveFile, Shmem: cur.mem.Shmem, Slab: cur.mem.Slab, Sock: cur.mem.Sock,
			OOMKills: cur.events.OOMKill, PidsDenied: cur.denied, Soft: cur.soft, IOMax: cur.ioMax,
		}
	}
	if prev == nil {
		return r
	}
	r.From = prev.at
	both := cur.has & prev.has
	r.Has |= both & counters
	nanos := func(was, now uint64) time.Duration { return time.Duration(min(since(was, now), 1<<62)) }
	if both&HasUsage != 0 {
		r.Usage = nanos(prev.usage, cur.usage)
	}
	if both&HasSplit != 0 {
		r.User, r.System = nanos(prev.user, cur.user), nanos(prev.system, cur.system)
	}
	if both&HasThrottle != 0 {
		r.Periods, r.Throttled = since(prev.periods, cur.periods), since(prev.throttled, cur.throttled)
		r.ThrottledFor = nanos(prev.throttledNs, cur.throttledNs)
	}
	if both&HasEvents != 0 {
		e, was := cur.events, prev.events
		r.Events = CgroupEvents{since(was.Low, e.Low), since(was.High, e.High), since(was.Max, e.Max), since(was.OOM, e.OOM), since(was.OOMKill, e.OOMKill)}
	}
	if both&HasDenied != 0 {
		r.PidsDenied = since(prev.denied, cur.denied)
	}
	if both&HasPSI != 0 {
		r.PSI = &CgroupPSI{cur.psi[0].since(prev.psi[0]), cur.psi[1].since(prev.psi[1]), cur.psi[2].since(prev.psi[2])}
	}
	if both&HasIO != 0 {
		r.IO = &CgroupIO{
			RBytes: since(prev.io.RBytes, cur.io.RBytes), WBytes: since(prev.io.WBytes, cur.io.WBytes),
			RIOs: since(prev.io.RIOs, cur.io.RIOs), WIOs: since(prev.io.WIOs, cur.io.WIOs),
		}
	}
	if both&HasDetail != 0 {
		r.Detail.Refaults, r.Detail.MajorFaults = since(prev.mem.Refaults, cur.mem.Refaults), since(prev.mem.MajorFaults, cur.mem.MajorFaults)
	}
	return r
}

func (s CgroupStall) since(prev CgroupStall) CgroupStall {
	return CgroupStall{max(s.Some-prev.Some, 0), max(s.Full-prev.Full, 0)}
}

// unlimited bounds nothing.
func unlimited() CgroupLimits {
	return CgroupLimits{High: NoLimit, Max: NoLimit, Swap: NoLimit, Pids: NoLimit}
}

// tighten takes over from own, which stands at depth, what is tighter than what is known.
func tighten(tight *CgroupLimits, owner *CgroupOwners, own CgroupLimits, depth uint8) {
	if own.CPUs > 0 && (tight.CPUs == 0 || own.CPUs < tight.CPUs) {
		tight.CPUs, owner.CPU = own.CPUs, depth
	}
	for _, l := range [...]struct {
		own   uint64
		tight *uint64
		owner *uint8
	}{
		{own.High, &tight.High, &owner.High},
		{own.Max, &tight.Max, &owner.Max},
		{own.Swap, &tight.Swap, &owner.Swap},
		{own.Pids, &tight.Pids, &owner.Pids},
	} {
		if l.own < *l.tight {
			*l.tight, *l.owner = l.own, depth
		}
	}
}
