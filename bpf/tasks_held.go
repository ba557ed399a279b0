// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// heldLines is how many lines of CPUs' memory a reading looks at for what they hold back: one for each
// CPU and process. They may all lie in another CPU's cache, at some 100 ns each. With more of them
// processes take turns.
const heldLines = 32 << 10

// heldCPUs is the largest number of CPUs that are gone through: MAX_CPUS of include/held.bpf.h.
const heldCPUs = 4096

// heldPages has the pages summed that CPUs hold back: include/held.bpf.h. The zero value sums nothing.
type heldPages struct {
	missing   error     // why nothing is summed where it should be
	turns     *ebpf.Map // tells the program next
	cpus      int
	lines     int // heldLines
	processes int // of user space, in the last reading
	readings  uint32
	next      tasksTurn
	began     uint64 // the last reading, boot time in ns
}

// load loads the program that sums, and sizes its map.
func (h *heldPages) load(obj *object) (*ebpf.Program, error) {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, fmt.Errorf("counting possible CPUs: %w", err)
	}
	if cpus > heldCPUs {
		return nil, fmt.Errorf("summing the pages of %d CPUs: more than %d: %w", cpus, heldCPUs, ErrUnsupported)
	}
	if err := obj.set("possible_cpus", uint32(cpus)); err != nil {
		return nil, err
	}
	if err := obj.resize("cpu_memory", uint32(cpus)); err != nil {
		return nil, err
	}
	p, err := obj.load("tasks_listed_summed")
	if err != nil {
		return nil, err
	}
	h.turns, h.cpus, h.lines = obj.maps["whose_turn"], cpus, heldLines
	return p, nil
}

// begin tells the program whose turn it is: everybody's, as long as that is cheap.
func (h *heldPages) begin() error {
	if h.turns == nil {
		return nil
	}
	// Powers of two: the number of processes changes all the time, and the order of turns should not.
	every := uint32(1)
	for every < 1<<16 && int(every)*h.lines < h.processes*h.cpus {
		every *= 2
	}
	h.readings++
	h.processes = 0
	if every > 1 || h.next.Every > 1 {
		h.next = tasksTurn{Since: h.began, Every: every, Rest: h.readings % every}
		if err := h.turns.Put(uint32(0), h.next); err != nil {
			return fmt.Errorf("saying whose pages are summed: %w", err)
		}
	}
	now, err := bootTime()
	if err != nil {
		return err
	}
	h.began = uint64(now)
	return nil
}

// saw counts processes.
func (h *heldPages) saw(t *Task) {
	if t.Pid == t.Tgid && t.Vsz > 0 {
		h.processes++
	}
}

// TakeTurns says whether processes take turns in having Held, or soon may: what it was is of use then.
// Call it after Read.
func (t *Tasks) TakeTurns() bool {
	return t.held.turns != nil && t.held.processes*t.held.cpus > t.held.lines/2
}

// Lagging is why Rss and Swap lack what CPUs hold back of them, though this kernel has them do so; nil
// if they do not.
func (t *Tasks) Lagging() error { return t.held.missing }
