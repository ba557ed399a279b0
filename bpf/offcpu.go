// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// What a switch costs with its share of wake-ups, in nanoseconds of run time in a 6.18 guest under a
// storm of switches, the 65 that an empty program has included; make bench measures it anew.
const (
	CostOffCPU       = 370 // of the whole host
	CostOffCPUTarget = 170 // of targets that take no part in the storm
)

// OffWhy is why a task is not on a CPU.
type OffWhy uint8

// The reasons: enum off_why.
const (
	Slept     OffWhy = iota // in S, stopped, or idle as a thread of the kernel
	Blocked                 // in D: uninterruptible, and counted by the load average
	Preempted               // runnable; it gave way
	OffWhys
)

// OffCounts is one CPU's part of what a slot counts, cumulative since load.
type OffCounts struct {
	Wait       Hist            // runnable, after a wake-up or a preemption, until it ran
	OnCPU      Hist            // ran at a stretch
	Off        [OffWhys]Hist   // from leaving its CPU until it ran again, waits for a CPU included
	Queued     [OffWhys]uint64 // ns of Off that it was runnable
	Arrivals   uint64          // tasks that got the CPU
	Unknown    uint64          // of them: nobody saw since when they were runnable; not in Wait
	Collided   uint64          // starts overwritten by another task's
	Unlisted   [OffWhys]uint64
	UnlistedNs [OffWhys]uint64 // of long sleeps that have no stack, for want of room or of time
}

// OffKey tells long sleeps apart: Stack is a hash of the kernel stack, Why an OffWhy.
type OffKey = offcpuOffKey

// OffStack is what slept so, cumulative until it has not moved for a minute; Frame holds addresses
// of the kernel, the innermost first.
type OffStack = offcpuOffStack

// OffStacksKept is the most different long sleeps that are told apart: OFF_STACKS of offcpu.bpf.c.
const OffStacksKept = 1024

// staleStacks is how long a stack that nobody sleeps in keeps its place.
const staleStacks = time.Minute

// Sets of starts, 32 bytes each; powers of two.
const (
	hostSets   = 1 << 14
	targetSets = 1 << 11
)

// OffCPU is the facade of offcpu.bpf.c: time off the CPU by reason and stack, time on it, and waits
// for it.
type OffCPU struct {
	obj      *object
	host     bool
	stackErr error

	raw  []offcpuOffCounts
	seen map[OffKey]stackMark
	turn uint64 // counts calls of Stacks
}

// stackMark is when a stack was last seen to be slept in.
type stackMark struct {
	count, turn uint64
	moved       time.Time
}

// OffParts says what to measure.
type OffParts struct {
	Host   bool          // the whole host; else the targets of Narrow alone
	Stacks time.Duration // sleeps of this length and more are told apart by their stacks; 0: none
}

// OpenOffCPU loads and attaches the programs. The caller owns the result and closes it.
func OpenOffCPU(k *Kernel, parts OffParts) (*OffCPU, error) {
	o := &OffCPU{host: parts.Host, seen: make(map[OffKey]stackMark)}
	err := o.open(k, parts)
	if err != nil && parts.Stacks > 0 { // the helper for stacks may be what is refused
		o.stackErr = err
		parts.Stacks = 0
		err = o.open(k, parts)
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

func (o *OffCPU) open(k *Kernel, parts OffParts) error { return o.openWith(k, parts, OffStacksKept) }

func (o *OffCPU) openWith(k *Kernel, parts OffParts, stacks uint32) error {
	obj, err := newObject(k, loadOffcpu)
	if err != nil {
		return err
	}
	if err := k.needBTF(); err != nil {
		return err
	}
	sets := uint32(targetSets)
	if parts.Host {
		sets = hostSets
		if err := obj.resize("off_sums", 1); err != nil {
			return err
		}
	}
	if err := errors.Join(obj.resize("off_starts", sets), obj.resize("off_stacks", stacks)); err != nil {
		return err
	}
	for name, v := range map[string]any{"whole_host": parts.Host, "start_mask": sets - 1, "stack_ns": uint64(parts.Stacks)} {
		if err := obj.set(name, v); err != nil {
			return err
		}
	}
	// sched_switch last: what sleeps once it is attached will be seen to wake.
	for _, name := range []string{"off_woken", "off_forked"} {
		if err := obj.attachTracing(name); err != nil {
			return errors.Join(err, obj.Close())
		}
	}
	if err := attachSwitch(obj, "off_switched"); err != nil {
		return errors.Join(err, obj.Close())
	}
	o.obj = obj
	return nil
}

// StackErr says why there are no stacks; nil if there are, or none were asked for.
func (o *OffCPU) StackErr() error { return o.stackErr }

// Narrow counts targets apart, processes and cgroups, each in the slot that it has in the result; see
// object.narrow. The programs of the whole host know no targets. What left its CPU or was woken before a
// target was added counts as unknown: while it was no target, it may have run.
func (o *OffCPU) Narrow(want []Filter) (Slots, error) {
	was := o.obj.slots
	slots, err := o.obj.narrow(want)
	for i, f := range slots {
		if f != (Filter{}) && f != was[i] && !o.host {
			return slots, errors.Join(err, o.obj.forgetStarts("off_since"))
		}
	}
	return slots, err
}

// Read copies what all possible CPUs counted in a slot into dst, by CPU number, and returns it.
func (o *OffCPU) Read(slot int, dst []OffCounts) ([]OffCounts, error) {
	m, err := o.obj.createMap("off_sums")
	if err != nil {
		return nil, err
	}
	key := uint32(slot)
	if err := m.Lookup(&key, &o.raw); err != nil {
		return nil, fmt.Errorf("reading map off_sums: %w", err)
	}
	dst = dst[:0]
	for i := range o.raw {
		r := &o.raw[i]
		c := OffCounts{
			Wait: Hist{r.Wait.Slots, r.Wait.Sum}, OnCPU: Hist{r.OnCpu.Slots, r.OnCpu.Sum},
			Queued: r.Queued, Arrivals: r.Arrivals, Unknown: r.Unknown, Collided: r.Collided,
			Unlisted: r.Unlisted, UnlistedNs: r.UnlistedNs,
		}
		for why := range c.Off {
			c.Off[why] = Hist{r.Off[why].Slots, r.Off[why].Sum}
		}
		dst = append(dst, c)
	}
	return dst, nil
}

// Stacks calls each with every long sleep that is told apart. Those that have not moved for a
// minute give their place to others: what they counted is in Read's sums. Both pointers are valid
// during the call only.
func (o *OffCPU) Stacks(each func(*OffKey, *OffStack)) error {
	m := o.obj.maps["off_stacks"]
	if m == nil {
		return nil // no program uses it
	}
	o.turn++
	now := time.Now()
	var stale []OffKey
	if err := readHash(m, func(k *OffKey, s *OffStack) {
		mark, known := o.seen[*k]
		if !known || mark.count != s.Count {
			mark = stackMark{count: s.Count, moved: now}
		}
		mark.turn = o.turn
		o.seen[*k] = mark
		if now.Sub(mark.moved) > staleStacks {
			stale = append(stale, *k)
		}
		each(k, s)
	}); err != nil {
		return err
	}
	for k, mark := range o.seen {
		if mark.turn != o.turn {
			delete(o.seen, k)
		}
	}
	for i := range stale {
		o.drop(m, &stale[i])
	}
	return nil
}

// drop deletes a stack unless it was slept in just now.
func (o *OffCPU) drop(m *ebpf.Map, k *OffKey) {
	var s OffStack
	if err := m.Lookup(k, &s); err == nil && s.Count == o.seen[*k].count && m.Delete(k) == nil {
		delete(o.seen, *k)
	}
}

// Pause detaches the programs, or attaches them again. What left its CPU or was woken before they
// were attached again counts as unknown: it may have run meanwhile.
func (o *OffCPU) Pause(on bool) error { return o.obj.pauseSince(on, "off_since") }

// Close detaches the programs and frees the maps.
func (o *OffCPU) Close() error { return o.obj.Close() }
