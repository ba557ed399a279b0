// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cilium/ebpf"
)

// What a softirq or an interrupt costs, in nanoseconds of run time in a 6.18 guest, the
// 65 that each of two empty programs has included; make bench measures it anew.
const (
	CostSoftirq = 320 // an entry and its exit
	CostHardirq = 400
)

// SoftirqCount is the number of softirq vectors: NR_SOFTIRQS, include/linux/interrupt.h.
const SoftirqCount = 10

// IRQ names what interrupted: a softirq's vector, a line's number, or one of the below.
type IRQ int32

// Interrupts without a line, and what stands for many lines.
const (
	IRQOtherLines   IRQ = -1 - iota // lines that found no place of their own on a CPU
	IRQLocalTimer                   // LOC of /proc/interrupts
	IRQReschedule                   // RES
	IRQCallFunction                 // CAL
	IRQWork                         // IWI
)

// Memory that the histograms of lines may take, on all CPUs together, and the most lines of one CPU.
const (
	lineMemory = 512 << 10
	mostLines  = 255
	leastLines = 16
)

// IRQTime is the facade of irqtime.bpf.c: the time of softirqs, or of hardware interrupts.
type IRQTime struct {
	obj       *object
	soft      bool
	own       int // lines of one CPU with a histogram of their own
	lineErr   error
	vectorErr error

	rawSoft []irqtimeSoftirqCounts
	rawHard []irqtimeHardirqCounts
	rawHist []irqtimeHist
}

// OpenSoftirqs measures softirqs by vector. The caller owns the result and closes it.
func OpenSoftirqs(k *Kernel) (*IRQTime, error) {
	t, err := newIRQTime(k)
	if err != nil {
		return nil, err
	}
	t.soft = true
	if err := t.attach("softirq_entered", "softirq_left"); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// OpenHardirqs measures interrupts by line and, on x86, the local timer and those between CPUs; it
// fails when neither can be had. The caller owns the result and closes it.
func OpenHardirqs(k *Kernel) (*IRQTime, error) {
	t, err := newIRQTime(k)
	if err != nil {
		return nil, err
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("counting CPUs: %w", err), t.Close())
	}
	t.own = ownLines(cpus)
	if err := errors.Join(t.obj.resize("lines", uint32(t.own+1)), t.obj.set("own_lines", uint32(t.own))); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.lineErr = t.attach("irq_entered", "irq_left")
	attached := t.lineErr == nil
	if runtime.GOARCH == "amd64" { // elsewhere these are lines, or have no tracepoint
		for _, pair := range vectorPrograms() {
			err := t.attach(pair[0], pair[1])
			attached = attached || err == nil
			if t.vectorErr == nil {
				t.vectorErr = err
			}
		}
	}
	if !attached {
		return nil, errors.Join(t.lineErr, t.Close())
	}
	return t, nil
}

// vectorPrograms are the programs for entry and exit of what has no line.
func vectorPrograms() [][2]string {
	return [][2]string{
		{"timer_entered", "timer_left"},
		{"reschedule_entered", "reschedule_left"},
		{"calls_entered", "calls_left"},
		{"call_entered", "call_left"},
		{"work_entered", "work_left"},
	}
}

// ownLines is how many lines a CPU can tell apart where there are so many of them.
func ownLines(cpus int) int {
	each := lineMemory / (max(cpus, 1) * (HistSlots + 1) * 8)
	return max(leastLines, min(each-1, mostLines))
}

func newIRQTime(k *Kernel) (*IRQTime, error) {
	obj, err := newObject(k, loadIrqtime)
	if err != nil {
		return nil, err
	}
	if err := k.needBTF(); err != nil {
		return nil, err
	}
	return &IRQTime{obj: obj}, nil
}

// attach attaches a pair. The entry goes first: an exit whose entry was not seen counts nothing.
func (t *IRQTime) attach(entry, exit string) error {
	for _, name := range []string{entry, exit} {
		if err := t.obj.attachTracing(name); err != nil {
			return err
		}
	}
	return nil
}

// LineErr says why interrupts are not measured by line; nil if they are.
func (t *IRQTime) LineErr() error { return t.lineErr }

// VectorErr says why some of what has no line is not measured; nil if all of it is that this
// architecture has.
func (t *IRQTime) VectorErr() error { return t.vectorErr }

// Read calls each with the time of what ever interrupted a CPU, cumulative since load. The Hist is
// valid during the call only.
func (t *IRQTime) Read(each func(cpu int, irq IRQ, h *Hist)) error {
	if t.soft {
		return t.readSoft(each)
	}
	return t.readHard(each)
}

func (t *IRQTime) readSoft(each func(cpu int, irq IRQ, h *Hist)) error {
	if err := t.lookup("softirqs", 0, &t.rawSoft); err != nil {
		return err
	}
	for cpu := range t.rawSoft {
		for vec := range t.rawSoft[cpu].Time {
			tell(cpu, IRQ(vec), &t.rawSoft[cpu].Time[vec], each)
		}
	}
	return nil
}

func (t *IRQTime) readHard(each func(cpu int, irq IRQ, h *Hist)) error {
	if err := t.lookup("hardirqs", 0, &t.rawHard); err != nil {
		return err
	}
	used := uint32(0)
	for cpu := range t.rawHard {
		c := &t.rawHard[cpu]
		used = max(used, c.Used)
		for v := range c.Time {
			tell(cpu, IRQLocalTimer-IRQ(v), &c.Time[v], each)
		}
	}
	if t.lineErr != nil {
		return nil
	}
	for slot := range used + 1 {
		if err := t.lookup("lines", slot, &t.rawHist); err != nil {
			return err
		}
		for cpu := range t.rawHist {
			if h := &t.rawHist[cpu]; h.Slots != [HistSlots]uint64{} {
				tell(cpu, t.rawHard[cpu].lineOf(slot), h, each)
			}
		}
	}
	return nil
}

// lineOf is the line that a CPU gave a slot to; 0 is the slot of all that have none.
func (c *irqtimeHardirqCounts) lineOf(slot uint32) IRQ {
	if slot > 0 {
		for irq, s := range c.Slot {
			if uint32(s) == slot {
				return IRQ(irq)
			}
		}
	}
	return IRQOtherLines
}

func tell(cpu int, irq IRQ, raw *irqtimeHist, each func(cpu int, irq IRQ, h *Hist)) {
	if h := (Hist{raw.Slots, raw.Sum}); h != (Hist{}) {
		each(cpu, irq, &h)
	}
}

// lookup reads one key of a per-CPU map into a slice by CPU number.
func (t *IRQTime) lookup(name string, key uint32, into any) error {
	m, err := t.obj.createMap(name)
	if err != nil {
		return err
	}
	if err := m.Lookup(&key, into); err != nil {
		return fmt.Errorf("reading map %s: %w", name, err)
	}
	return nil
}

// Pause detaches the programs, or attaches them again.
func (t *IRQTime) Pause(on bool) error { return t.obj.pause(on) }

// Close detaches the programs and frees the maps.
func (t *IRQTime) Close() error { return t.obj.Close() }
