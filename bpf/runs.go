// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Run is what the kernel counted of one loaded program, cumulative since statistics were first
// switched on while it was loaded.
type Run struct {
	Name   string // of the program, whole: the kernel keeps 15 bytes
	ID     uint32
	Count  uint64        // runs that were timed
	Time   time.Duration // in them, some 60 ns of each the statistics' own
	Missed uint64        // runs left out because the program was running on that CPU already
}

// CountRuns makes the kernel time the runs of all BPF programs of the host, until the result is closed or
// this process ends. That costs each run some 50 ns, so it is for as long as somebody looks.
func (k *Kernel) CountRuns() (io.Closer, error) {
	c, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, &NeedError{
			Need:   "CAP_SYS_ADMIN, to have the kernel time BPF programs",
			Remedy: "run sudo bpf60",
			Err:    unix.EPERM,
		}
	case err != nil:
		return nil, k.explain("switching BPF statistics on", err)
	}
	return c, nil
}

// Runs lists the programs that are loaded now, by name.
func (k *Kernel) Runs() ([]Run, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []Run
	for p, name := range k.progs {
		s, err := p.Stats()
		if err != nil {
			return nil, fmt.Errorf("reading the statistics of %s: %w", name, err)
		}
		info, err := p.Info()
		if err != nil {
			return nil, fmt.Errorf("reading about %s: %w", name, err)
		}
		id, _ := info.ID()
		out = append(out, Run{Name: name, ID: uint32(id), Count: s.RunCount, Time: s.Runtime, Missed: s.RecursionMisses})
	}
	slices.SortFunc(out, func(a, b Run) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

// loaded and unloaded keep the list of Runs. A program is closed only after unloaded.
func (k *Kernel) loaded(p *ebpf.Program, name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.progs == nil {
		k.progs = make(map[*ebpf.Program]string)
	}
	k.progs[p] = name
}

func (k *Kernel) unloaded(p *ebpf.Program) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.progs, p)
}

// Missed is how many runs of the loaded programs of a name the kernel passed over, cumulative since each was
// loaded, because the program was running on that CPU already: within an interrupt, and since 6.13 at system
// calls and 7.0 at all tracepoints also when a task was preempted in it. Before 5.12 nobody counts them.
func (k *Kernel) Missed(program string) (n uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p, name := range k.progs {
		if name != program {
			continue
		}
		if s, err := p.Stats(); err == nil {
			n += s.RecursionMisses
		}
	}
	return n
}
