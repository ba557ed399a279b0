// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"time"
	"unsafe"

	"bpf60/bpf"
)

// ReclaimID is the collector of who waits for memory and who is killed for it: drsnoop, compactsnoop
// and oomkill.
const ReclaimID ID = "reclaim"

// Reclaim is who waited for memory over the span, and what the kernel did about it.
type Reclaim struct {
	Span
	Now   *ReclaimCounts // over the span; nil: nothing happened
	Total *ReclaimCounts `record:"must"` // since the programs attached; shared by the samples in which nothing happened

	Rows []MemoryWaiter // processes that waited in the span, the longest first; at most 200
	// Others sums up processes that are not in Rows: those that did not fit, there or in the kernel.
	Others MemoryWaiter

	// Stalls are single stalls of the span, the longest first, at most 200. Unlisted more were passed over
	// in a storm or here, and StallsLost found no room: all are in Now.
	Stalls     []MemoryStall
	Unlisted   uint64
	StallsLost uint64

	Kills *OOMKills // since the programs attached; nil: none. Shared by the samples in which nobody was killed
	Fresh int       // of them in the span

	Narrowed []Targeted[ReclaimCounts] // over the span

	Reclaims, Compacts, OOM bool // which parts are measured here
}

// ReclaimCounts are additive.
type ReclaimCounts struct {
	// Direct are stalls because the host is short of memory, Memcg because a cgroup is at its limit, from
	// the moment a task began to reclaim until it was done. Compact are stalls in which a task moved pages
	// of one zone to make a large one.
	Direct, Memcg, Compact Hist

	PagesDirect, PagesMemcg uint64 // reclaimed in them

	Throttled    uint64        // times a task was stopped because it reclaimed faster than pages are written
	ThrottledFor time.Duration // summed over tasks
	Kswapd       uint64        // times the kswapd of a node began to work
	Background   uint64        // compactions of a zone by the kernel's own threads
	Kills        uint64        // of the OOM killer
	Missed       uint64        // stalls seen to end and not to begin, and starts that were overwritten
}

// Stalls is how often tasks waited for memory.
func (c *ReclaimCounts) Stalls() uint64 {
	return c.Direct.Count() + c.Memcg.Count() + c.Compact.Count()
}

// Plus adds the counts of another span.
func (c *ReclaimCounts) Plus(d *ReclaimCounts) {
	c.Direct.Plus(&d.Direct)
	c.Memcg.Plus(&d.Memcg)
	c.Compact.Plus(&d.Compact)
	c.PagesDirect += d.PagesDirect
	c.PagesMemcg += d.PagesMemcg
	c.Throttled += d.Throttled
	c.ThrottledFor += d.ThrottledFor
	c.Kswapd += d.Kswapd
	c.Background += d.Background
	c.Kills += d.Kills
	c.Missed += d.Missed
}

// StallKind is why a task waited for memory.
type StallKind uint8

// The kinds, as bpf.StallKind.
const (
	DirectStall StallKind = iota
	MemcgStall
	CompactStall
	StallKinds
)

// String is the word that views show.
func (k StallKind) String() string {
	switch k {
	case DirectStall:
		return "host"
	case MemcgStall:
		return "cgroup"
	case CompactStall:
		return "compact"
	case StallKinds:
	}
	return "unknown"
}

// MemoryWaiter is what one process waited for memory: additive deltas. The zero Process is several.
type MemoryWaiter struct {
	Process
	Comm          Raw
	Cgroup, Memcg uint64 // IDs: as ProcInfo.Cgroup, and of the memory controller's, when it first waited
	Count         [StallKinds]uint64
	For           [StallKinds]time.Duration
	Pages         uint64 // reclaimed
	Throttled     time.Duration
	Reclaim       Hist32 // of DirectStall and MemcgStall; Sum is theirs
}

// Waited is how long it waited for memory in all.
func (w *MemoryWaiter) Waited() time.Duration {
	return w.For[DirectStall] + w.For[MemcgStall] + w.For[CompactStall]
}

// Stalls is how often it did.
func (w *MemoryWaiter) Stalls() uint64 {
	return w.Count[DirectStall] + w.Count[MemcgStall] + w.Count[CompactStall]
}

func (w *MemoryWaiter) plus(o *MemoryWaiter) {
	for i := range w.Count {
		w.Count[i] += o.Count[i]
		w.For[i] += o.For[i]
	}
	w.Pages += o.Pages
	w.Throttled += o.Throttled
	for i, n := range o.Reclaim.Slots {
		w.Reclaim.Slots[i] += n
	}
	w.Reclaim.Sum += o.Reclaim.Sum
}

// MemoryStall is one time that a task waited for memory.
type MemoryStall struct {
	At time.Duration // when it ended, monotonic since the run began
	Process
	TID           int32
	Comm          Raw
	Kind          StallKind
	Took          time.Duration
	Pages         uint64 // reclaimed
	Order         uint32 // 2^Order pages were wanted
	Cgroup, Memcg uint64
	Limit         uint64 // the cgroup whose limit it was; 0: the kernel does not say (before 7.3)
}

// OOMKill is one process that was killed for want of memory.
type OOMKill struct {
	At      time.Duration // monotonic since the run began
	Victim  Process
	Comm    Raw
	UID     uint32
	Score   int32  // oom_score_adj
	Cgroup  uint64 // as ProcInfo.Cgroup
	Memcg   uint64 // of the memory controller
	Trigger Process
	By      Raw // the trigger's name
	// ByCgroup is the trigger's cgroup, ByMemcg that of the memory controller.
	ByCgroup, ByMemcg uint64
	Limit             uint64 // the cgroup whose limit it was; 0: the kernel does not say (before 7.3)
	For               OOMCause
	Order             uint32 // 2^Order pages were wanted

	Known                         bool   // the rest is
	Anon, File, Shmem, Swap, Size uint64 // bytes: resident by kind, swapped out, address space
}

// OOMKills are the newest 100 of a run, oldest first. Not written after they are published.
type OOMKills struct{ List []OOMKill }

// RSS is what the victim held in memory.
func (k *OOMKill) RSS() uint64 { return k.Anon + k.File + k.Shmem }

// OOMCause is whose memory had run out.
type OOMCause uint8

// The causes, as bpf.OOMConstraint.
const (
	OOMUnknown OOMCause = iota
	OOMHost             // the host's
	OOMCgroup           // a cgroup's, or that of one above it
)

// String is the word that views show.
func (c OOMCause) String() string {
	switch c {
	case OOMHost:
		return "host"
	case OOMCgroup:
		return "cgroup"
	case OOMUnknown:
	}
	return "unknown"
}

func (r *Reclaim) put(s *Snapshot) { s.Reclaim = r }

// rare says that there is something that the next sample does not have.
func (r *Reclaim) rare() bool { return r.Now != nil || r.Fresh > 0 }

// size counts what the sample holds alone: kills are shared, and so are totals mostly.
func (r *Reclaim) size() int {
	n := allocSize(unsafe.Sizeof(*r)) + sliceSize(r.Rows) + sliceSize(r.Stalls) + sliceSize(r.Narrowed)
	if r.Now != nil {
		n += 2 * allocSize(unsafe.Sizeof(*r.Now))
	}
	for i := range r.Rows {
		n += allocSize(uintptr(len(r.Rows[i].Comm.s)))
	}
	for i := range r.Stalls {
		n += allocSize(uintptr(len(r.Stalls[i].Comm.s)))
	}
	if r.Fresh > 0 && r.Kills != nil {
		n += sliceSize(r.Kills.List)
	}
	return n
}

// withoutRows returns a copy that keeps the sums and the kills.
func (r *Reclaim) withoutRows() *Reclaim {
	c := *r
	for i := range c.Rows {
		c.Others.plus(&c.Rows[i])
	}
	c.Unlisted += uint64(len(c.Stalls))
	c.Rows, c.Stalls, c.Narrowed = nil, nil, nil
	return &c
}

func reclaimCounts(c *bpf.ReclaimCounts) ReclaimCounts {
	return ReclaimCounts{
		Direct: Hist(c.Stalls[bpf.StallDirect]), Memcg: Hist(c.Stalls[bpf.StallMemcg]), Compact: Hist(c.Stalls[bpf.StallCompact]),
		PagesDirect: c.Pages[bpf.StallDirect], PagesMemcg: c.Pages[bpf.StallMemcg],
		Throttled: c.Throttled, ThrottledFor: time.Duration(c.ThrottledFor),
		Kswapd: c.Kswapd, Background: c.Background, Kills: c.Kills, Missed: c.Unbegun + c.Collided,
	}
}

// since subtracts an earlier reading of the same cumulative counts.
func (c *ReclaimCounts) since(p *ReclaimCounts) ReclaimCounts {
	return ReclaimCounts{
		Direct: c.Direct.Since(&p.Direct), Memcg: c.Memcg.Since(&p.Memcg), Compact: c.Compact.Since(&p.Compact),
		PagesDirect: grown(p.PagesDirect, c.PagesDirect), PagesMemcg: grown(p.PagesMemcg, c.PagesMemcg),
		Throttled: grown(p.Throttled, c.Throttled), ThrottledFor: max(c.ThrottledFor-p.ThrottledFor, 0),
		Kswapd: grown(p.Kswapd, c.Kswapd), Background: grown(p.Background, c.Background),
		Kills: grown(p.Kills, c.Kills), Missed: grown(p.Missed, c.Missed),
	}
}

func waiterOf(k *bpf.StallKey, v *bpf.StallRow) MemoryWaiter {
	w := MemoryWaiter{
		Process: Process{k.Tgid, k.Start}, Comm: rawName(v.Comm[:]), Cgroup: v.Cgroup, Memcg: v.Memcg,
		Pages: v.Pages, Throttled: time.Duration(v.ThrottledNs),
	}
	for i := range w.Count {
		w.Count[i], w.For[i] = v.Count[i], time.Duration(v.Ns[i])
	}
	w.Reclaim.Slots = v.Slots
	w.Reclaim.Sum = v.Ns[bpf.StallDirect] + v.Ns[bpf.StallMemcg]
	return w
}

// since subtracts an earlier reading of the same process.
func (w *MemoryWaiter) since(p *MemoryWaiter) MemoryWaiter {
	d := *w
	for i := range d.Count {
		d.Count[i] -= min(p.Count[i], d.Count[i])
		d.For[i] -= min(p.For[i], d.For[i])
	}
	d.Pages -= min(p.Pages, d.Pages)
	d.Throttled -= min(p.Throttled, d.Throttled)
	for i := range d.Reclaim.Slots {
		d.Reclaim.Slots[i] -= min(p.Reclaim.Slots[i], d.Reclaim.Slots[i])
	}
	d.Reclaim.Sum -= min(p.Reclaim.Sum, d.Reclaim.Sum)
	return d
}

// rawName is a name as a BPF program copied it: bytes up to a NUL.
func rawName(b []int8) Raw {
	out := make([]byte, 0, len(b))
	for _, c := range b {
		if c == 0 {
			break
		}
		out = append(out, byte(c))
	}
	return RawString(string(out))
}
