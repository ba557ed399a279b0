// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
)

// WakeCounts is one CPU's part of the wake-up method's map, cumulative since load.
type WakeCounts struct {
	Woken, Preempted Hist // waits by why the task was queued
	Switches         uint64
	Negative         uint64
	Lost             uint64 // switches to a task whose start was not seen
	Collided         uint64 // starts overwritten by another task's
}

// Wake measures waits from our own stamps at wake-up and preemption. It tells the two apart, and
// is the check on the kernel's stamp. It costs twice to three times as much as Sched.
type Wake struct {
	obj    *object
	method Method
	raw    []schedWakeCounts
}

// OpenWake loads and attaches the wake-up method, through text tracepoints where BTF is missing.
// The caller owns the result and closes it.
func OpenWake(k *Kernel) (*Wake, error) {
	obj, err := newObject(k, loadSched)
	if err != nil {
		return nil, err
	}
	w := &Wake{obj: obj, method: ByWakeup}
	first := attachWake(obj)
	if first == nil {
		return w, nil
	}
	err = obj.detach()
	w.method = ByTracepoint
	if attachTraceWake(obj) == nil {
		return w, nil
	}
	return nil, errors.Join(first, err, obj.Close())
}

// Method is ByWakeup or ByTracepoint.
func (w *Wake) Method() Method { return w.method }

// Read copies the counts of all possible CPUs into dst, by CPU number, and returns it.
func (w *Wake) Read(dst []WakeCounts) ([]WakeCounts, error) {
	raw, err := readWake(w.obj, w.raw)
	if err != nil {
		return nil, err
	}
	w.raw = raw
	dst = dst[:0]
	for i := range raw {
		c := &raw[i]
		dst = append(dst, WakeCounts{
			Woken: Hist{c.Woken.Slots, c.Woken.Sum}, Preempted: Hist{c.Preempted.Slots, c.Preempted.Sum},
			Switches: c.Switches, Negative: c.Negative, Lost: c.Lost, Collided: c.Collided,
		})
	}
	return dst, nil
}

// Pause detaches the programs and keeps them, or attaches them again. What waits already then counts as lost.
func (w *Wake) Pause(on bool) error { return w.obj.pauseSince(on, "sched_since") }

// Close detaches the programs and frees the maps.
func (w *Wake) Close() error { return w.obj.Close() }

func readWake(obj *object, raw []schedWakeCounts) ([]schedWakeCounts, error) {
	m, err := obj.createMap("wake")
	if err != nil {
		return nil, err
	}
	zero := uint32(0)
	if err := m.Lookup(&zero, &raw); err != nil {
		return nil, fmt.Errorf("reading map wake: %w", err)
	}
	return raw, nil
}
