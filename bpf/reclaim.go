// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// StallKind says what a task waits for while it waits for memory: enum stall_kind.
type StallKind uint32

// The kinds of stall.
const (
	StallDirect  StallKind = iota // the host is short: direct reclaim
	StallMemcg                    // a cgroup is at its limit, and reclaims its own
	StallCompact                  // a large page is wanted: compaction of one zone
	StallKinds
)

// OOMConstraint is what an OOM kill is for: enum oom_constraint.
type OOMConstraint uint32

// The constraints.
const (
	OOMUnknown OOMConstraint = iota
	OOMHost                  // no memory anywhere
	OOMCgroup                // a cgroup's limit
)

// CostMemoryStall is what a stall costs, begin and end together, in ns; measured in a 6.18 guest with a
// cgroup at its limit.
const CostMemoryStall = 900

// CostKill is what a kill costs, in ns.
const CostKill = 3000

// ReclaimPart is one group of programs, attached on its own.
type ReclaimPart uint8

// The parts.
const (
	ReclaimStalls    ReclaimPart = iota // direct reclaim, and reclaim at a cgroup's limit
	ReclaimCompact                      // compaction
	ReclaimThrottled                    // tasks stopped in reclaim
	ReclaimKswapd                       // kswapd's wake-ups
	ReclaimOOM                          // OOM kills
	ReclaimParts
)

// ReclaimCounts is what reclaim.bpf.c counts for the host or for a target, summed over CPUs and
// cumulative since load. Of a target only Stalls and Pages are counted.
type ReclaimCounts struct {
	Stalls       [StallKinds]Hist
	Pages        [2]uint64 // reclaimed by StallDirect and StallMemcg
	Throttled    uint64
	ThrottledFor uint64 // ns
	Kswapd       uint64 // times the kswapd of a node began to work
	Background   uint64 // compactions of a zone by the kernel's own threads
	Kills        uint64 // processes the OOM killer killed
	Marks        uint64 // marks of processes that were marked already
	Unbegun      uint64 // stalls that ended here and began before we were attached
	Collided     uint64 // stalls whose start another thread's overwrote
}

// Keys, values and records.
type (
	// StallRow is one process's stalls, cumulative since its first.
	StallRow = reclaimStallRow
	// StallKey is a process. The zero key is of all that did not fit.
	StallKey = reclaimProcess
	// ReclaimEvent is one stall.
	ReclaimEvent = reclaimReclaimEvent
	// OOMEvent is one kill.
	OOMEvent = reclaimOomEvent
)

// Reclaim is the facade of reclaim.bpf.c.
type Reclaim struct {
	obj    *object
	errs   [ReclaimParts]error
	flags  bool // *_reclaim_begin have them before the order
	ofZone bool // mm_compaction_* have a struct compact_control
	raw    []reclaimReclaimCounts
	rows   idleKeys[StallKey]
	pruned time.Duration
}

// OpenReclaim loads and attaches all parts but those in off. It fails if none could be. The caller owns
// the result and closes it.
func OpenReclaim(k *Kernel, off map[ReclaimPart]bool) (*Reclaim, error) {
	obj, err := newObject(k, loadReclaim)
	if err != nil {
		return nil, err
	}
	r := &Reclaim{obj: obj}
	if err := r.prepare(); err != nil {
		return nil, errors.Join(err, obj.Close())
	}
	attached := 0
	for p := range ReclaimParts {
		if off[p] {
			continue
		}
		if r.errs[p] = r.open(p); r.errs[p] == nil {
			attached++
		}
	}
	if attached == 0 {
		return nil, errors.Join(r.errs[ReclaimStalls], obj.Close())
	}
	return r, nil
}

// prepare finds out where this kernel's tracepoints have what, and makes the row of those that do not
// fit.
func (r *Reclaim) prepare() error {
	if err := r.obj.kernel.needBTF(); err != nil {
		return err
	}
	types, err := r.obj.kernel.types().Kernel()
	if err != nil {
		return r.obj.kernel.explain("reading kernel BTF", err)
	}
	flags, limit := reclaimArgs(types, "mm_vmscan_memcg_reclaim_begin")
	compact, err := traceArgs(types, "mm_compaction_begin")
	r.flags, r.ofZone = flags, err == nil && len(compact) > 0 && isStructPtr(compact[0], "compact_control")
	for name, v := range map[string]bool{"limit_arg": limit, "compact_arg": r.ofZone} {
		if err := r.obj.set(name, v); err != nil {
			return err
		}
	}
	m, err := r.obj.createMap("stalled")
	if err != nil {
		return err
	}
	if err := m.Put(&StallKey{}, &StallRow{}); err != nil {
		return fmt.Errorf("writing map stalled: %w", err)
	}
	return nil
}

// reclaimArgs says whether the flags come first, and whether there is the cgroup: (order, flags) until
// 7.2, then (flags, order, cgroup).
func reclaimArgs(types *btf.Spec, tracepoint string) (flags, limit bool) {
	args, err := traceArgs(types, tracepoint)
	if err != nil || len(args) < 2 {
		return false, false
	}
	def, ok := args[0].(*btf.Typedef)
	return ok && def.Name == "gfp_t", len(args) > 2 && isStructPtr(args[2], "mem_cgroup")
}

// open attaches the programs of one part, a start before its end.
func (r *Reclaim) open(p ReclaimPart) error {
	switch p {
	case ReclaimStalls:
		if r.flags {
			return r.all("direct_begun_flags", "direct_ended", "memcg_begun_flags", "memcg_ended")
		}
		return r.all("direct_begun", "direct_ended", "memcg_begun", "memcg_ended")
	case ReclaimCompact:
		if r.ofZone {
			return r.all("compact_begun", "compact_ended")
		}
		return r.all("compact_begun", "compact_ended_numbers")
	case ReclaimThrottled:
		return r.all("throttled")
	case ReclaimKswapd:
		return r.all("kswapd_woken")
	case ReclaimOOM:
		return r.openOOM()
	case ReclaimParts:
	}
	return nil
}

func (r *Reclaim) all(names ...string) error {
	for _, name := range names {
		if err := r.obj.attachTracing(name); err != nil {
			return err
		}
	}
	return nil
}

// openOOM attaches the program for what mark_victim gives, and for how this kernel counts memory.
// Under a lockdown that forbids what an old one needs, the victim's memory stays unknown.
func (r *Reclaim) openOOM() error {
	types, err := r.obj.kernel.types().Kernel()
	if err != nil {
		return r.obj.kernel.explain("reading kernel BTF", err)
	}
	args, err := traceArgs(types, "mark_victim")
	if err != nil {
		return err
	}
	if len(args) == 0 || !isStructPtr(args[0], "task_struct") {
		return r.obj.attachTracing("oom_killed_pid")
	}
	var old *btf.Struct
	if types.TypeByName("mm_rss_stat", &old) == nil && r.obj.attachTracing("oom_killed_atomic") == nil {
		return nil
	}
	return r.obj.attachTracing("oom_killed")
}

// Err says why a part is not attached; nil if it is, or was not asked for.
func (r *Reclaim) Err(p ReclaimPart) error { return r.errs[p] }

// Narrow counts targets apart, from slot 1 on; see object.narrow.
func (r *Reclaim) Narrow(want []Filter) (Slots, error) { return r.obj.narrow(want) }

// Pause detaches the programs and keeps the counts, or attaches them again.
func (r *Reclaim) Pause(on bool) error { return r.obj.pause(on) }

// Read sums the counts of a slot over CPUs; slot 0 is the host's.
func (r *Reclaim) Read(slot int) (ReclaimCounts, error) {
	var sum ReclaimCounts
	m, err := r.obj.createMap("reclaim")
	if err != nil {
		return sum, err
	}
	if err := m.Lookup(uint32(slot), &r.raw); err != nil {
		return sum, fmt.Errorf("reading map reclaim: %w", err)
	}
	for i := range r.raw {
		c := &r.raw[i]
		for k := range sum.Stalls {
			for s, n := range c.Stalls[k].Slots {
				sum.Stalls[k].Slots[s] += n
			}
			sum.Stalls[k].Sum += c.Stalls[k].Sum
		}
		sum.Pages[0] += c.Pages[0]
		sum.Pages[1] += c.Pages[1]
		sum.Throttled += c.Throttled
		sum.ThrottledFor += c.ThrottledNs
		sum.Kswapd += c.Kswapd
		sum.Background += c.Background
		sum.Kills += c.Kills
		sum.Marks += c.Marks
		sum.Unbegun += c.Unbegun
		sum.Collided += c.Collided
	}
	return sum, nil
}

// Rows calls each with every process that stalled, and forgets those that have not for a minute: now is
// any clock that goes on. Both pointers are valid during the call only.
func (r *Reclaim) Rows(now time.Duration, each func(*StallKey, *StallRow)) error {
	m, err := r.obj.createMap("stalled")
	if err != nil {
		return err
	}
	r.rows.begin(now)
	if err := readHash(m, func(k *StallKey, v *StallRow) {
		each(k, v)
		if *k != (StallKey{}) {
			r.rows.see(*k, v.Count[0]+v.Count[1]+v.Count[2]+v.ThrottledNs)
		}
	}); err != nil {
		return err
	}
	if err := r.rows.forget(m); err != nil {
		return err
	}
	return r.forgetVictims(now)
}

// forgetVictims makes room for others: a mark long ago says nothing of a new one.
func (r *Reclaim) forgetVictims(now time.Duration) error {
	if now-r.pruned < keyedIdle || r.errs[ReclaimOOM] != nil {
		return nil
	}
	r.pruned = now
	m, err := r.obj.createMap("victims")
	if err != nil {
		return err
	}
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return fmt.Errorf("reading the clock: %w", err)
	}
	var old []StallKey
	if err := readHash(m, func(k *StallKey, at *uint64) {
		if uint64(boot.Nano())-*at > uint64(keyedIdle) {
			old = append(old, *k)
		}
	}); err != nil {
		return err
	}
	for _, k := range old {
		if err := m.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forgetting a victim: %w", err)
		}
	}
	return nil
}

// Close detaches the programs and frees the maps.
func (r *Reclaim) Close() error { return r.obj.Close() }

// ReclaimEventOf reads a record of EventReclaim or EventCompact; false if it is none.
func ReclaimEventOf(record []byte) (e ReclaimEvent, ok bool) {
	return e, copy(unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e)), record) == int(unsafe.Sizeof(e))
}

// OOMEventOf reads a record of EventOOM; false if it is none.
func OOMEventOf(record []byte) (e OOMEvent, ok bool) {
	return e, copy(unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e)), record) == int(unsafe.Sizeof(e))
}
