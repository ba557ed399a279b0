// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// TestOffCPUPause holds that what slept over a pause is not taken for a long sleep.
func TestOffCPUPause(t *testing.T) {
	o := openOffCPU(t, OffParts{})
	a := newActor(t, "naps", lastCPU(t))
	slot := watch(t, o, a.pid)[0]
	a.play(t)
	if err := o.Pause(true); err != nil {
		t.Fatal(err)
	}
	paused := readOff(t, o, slot)
	a.play(t)
	nap(2200 * time.Millisecond) // longer than a busy host makes anybody wait
	if now := readOff(t, o, slot); now != paused {
		t.Errorf("counted while detached: %+v, before %+v", now, paused)
	}
	if err := o.Pause(false); err != nil {
		t.Fatal(err)
	}
	a.play(t)
	got := readOff(t, o, slot)
	got.minus(&paused)
	short, long := uint64(0), uint64(0)
	for why := range got.Off {
		for slot, n := range got.Off[why].Slots {
			if slot >= 21 { // 2.1 s
				long += n
			} else {
				short += n
			}
		}
	}
	if short < 290 || long > 0 {
		t.Errorf("after the pause %d sleeps up to 2.1 s and %d longer, want 300 and none: %+v", short, long, &got.Off[Slept])
	}
}

// TestOffStacksExpire holds that stacks nobody sleeps in give their places away, and not those that
// are in use.
func TestOffStacksExpire(t *testing.T) {
	o := openOffCPU(t, OffParts{Stacks: time.Millisecond})
	a := newActor(t, "naps", lastCPU(t))
	watch(t, o, a.pid)
	a.play(t)
	count := func() (n int) {
		if err := o.Stacks(func(*OffKey, *OffStack) { n++ }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	all := count()
	if all == 0 {
		t.Fatal("no stacks")
	}
	for k, mark := range o.seen {
		mark.moved = mark.moved.Add(-2 * staleStacks)
		o.seen[k] = mark
	}
	a.play(t) // moves at least one
	count()
	left := count()
	if left == 0 {
		t.Error("a stack that was in use has gone")
	}
	n := left
	for tries := 0; n != 0 && tries < 10; tries++ { // what sleeps just now moves once more
		for k, mark := range o.seen {
			mark.moved = mark.moved.Add(-2 * staleStacks)
			o.seen[k] = mark
		}
		count()
		n = count()
	}
	if n != 0 || len(o.seen) != 0 {
		t.Errorf("%d stacks left of %d, %d remembered, want none", n, all, len(o.seen))
	}
}

// TestOffStacksOverflow fills the table: what finds no place is counted.
func TestOffStacksOverflow(t *testing.T) {
	k := need(t)
	o := &OffCPU{seen: make(map[OffKey]stackMark)}
	if err := o.openWith(k, OffParts{Stacks: time.Millisecond}, 2); err != nil {
		t.Fatal(err)
	}
	closing(t, o)
	a, b := newActor(t, "naps", lastCPU(t)), newActor(t, "sleeps", lastCPU(t))
	slots := watch(t, o, a.pid, b.pid, syscall.Getpid())
	b.play(t)
	a.play(t)
	const slack = 10 // what ends between the readings
	var listed, unlisted, long uint64
	if err := o.Stacks(func(k *OffKey, s *OffStack) { listed += s.Count }); err != nil {
		t.Fatal(err)
	}
	for _, slot := range slots {
		c := readOff(t, o, slot)
		for _, n := range c.Unlisted {
			unlisted += n
		}
		for _, why := range []OffWhy{Slept, Blocked} {
			for s := 10; s < HistSlots; s++ { // 1 ms, a little more than the threshold
				long += c.Off[why].Slots[s]
			}
		}
	}
	if unlisted == 0 || listed+unlisted+slack < long {
		t.Errorf("%d sleeps listed and %d not, of %d", listed, unlisted, long)
	}
}

// TestOffCPUAgainstCpudist compares one process's sleeps with what libbpf-tools' cpudist makes of them.
func TestOffCPUAgainstCpudist(t *testing.T) {
	path := peer(t, "cpudist")
	o := openOffCPU(t, OffParts{})
	a := newActor(t, "naps", lastCPU(t))
	slot := watch(t, o, a.pid)[0]
	compare(t, "naps", "ours", "cpudist", func() (ours, theirs Hist) {
		p := startPeer(t, path, "-O", "-p", strconv.Itoa(a.pid))
		before := readOff(t, o, slot)
		a.play(t)
		got := readOff(t, o, slot)
		got.minus(&before)
		for why := range got.Off {
			ours.plus(&got.Off[why])
		}
		for _, h := range p.stop(t) {
			theirs.plus(&h)
		}
		if n := ours.count(); n < 300 { // other threads of Go sleep, too
			t.Errorf("%d times off a CPU, want at least 300", n)
		}
		return ours, theirs
	})
}

// TestOffCPUAgainstOffcputime compares how long one process was off a CPU in all with what
// libbpf-tools' offcputime adds up from its stacks.
func TestOffCPUAgainstOffcputime(t *testing.T) {
	path := peer(t, "offcputime")
	a := newActor(t, "sleeps", lastCPU(t))
	var why string
	for range 3 {
		// Both anew: what sleeps since before, neither knows how long.
		o := openOffCPU(t, OffParts{})
		slot := watch(t, o, a.pid)[0]
		p := startTool(t, path, "-p", strconv.Itoa(a.pid))
		before := readOff(t, o, slot)
		a.play(t)
		got := readOff(t, o, slot)
		got.minus(&before)
		var ours, theirs time.Duration
		for w := range got.Off {
			ours += time.Duration(got.Off[w].Sum)
		}
		for _, line := range p.stopped(t) {
			if us, err := strconv.ParseUint(strings.TrimSpace(line), 10, 64); err == nil {
				theirs += time.Duration(us) * time.Microsecond
			}
		}
		t.Logf("ours %v, offcputime %v", ours, theirs)
		// It is attached a little longer, and other threads of the actor sleep meanwhile.
		if theirs > ours*9/10 && theirs < ours*13/10 && ours > actTimes*actHold {
			return
		}
		why = fmt.Sprintf("%v off a CPU, offcputime says %v", ours, theirs)
	}
	t.Error(why)
}

// TestEveryOffProgramAttaches attaches all but those for a tracepoint that no kernel of ours has.
func TestEveryOffProgramAttaches(t *testing.T) {
	k := need(t)
	for name, load := range map[string]func() (*ebpf.CollectionSpec, error){"offcpu": loadOffcpu, "irqtime": loadIrqtime} {
		obj, err := newObject(k, load)
		if err != nil {
			t.Fatal(err)
		}
		closing(t, obj)
		for prog := range elf(t, obj).Programs {
			err := obj.attachTracing(prog)
			if strings.HasSuffix(prog, "_state2") != (err != nil) {
				t.Errorf("%s: attaching %s: %v", name, prog, err)
			}
		}
	}
}
