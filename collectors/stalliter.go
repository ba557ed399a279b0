// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"fmt"
	"sync"
	"time"

	"bpf60/bpf"
)

// stallReader is what the scanner needs of bpf.Stalls.
type stallReader interface {
	Read(each func(*bpf.Stall)) (now uint64, err error)
	Close() error
}

// iterStalls reads waiting threads and their stacks through the BPF task iterator.
type iterStalls struct {
	open   func() (stallReader, error)
	stacks *stackTable
	r      stallReader
	seen   uint64
}

func newIterStalls(k *bpf.Kernel, fs FS) *iterStalls {
	return &iterStalls{stacks: newStackTable(fs), open: func() (stallReader, error) {
		s, err := bpf.OpenStalls(k, false)
		if err != nil {
			return nil, err
		}
		return s, nil
	}}
}

func (s *iterStalls) Open(context.Context) error {
	r, err := s.open()
	if err != nil {
		return fmt.Errorf("opening the task iterator: %w", err)
	}
	s.r = r
	return nil
}

func (s *iterStalls) Scan(_ context.Context, _ time.Duration, recs []stallRec) ([]stallRec, bool, error) {
	first := len(recs)
	now, err := s.r.Read(func(x *bpf.Stall) {
		recs = append(recs, s.rec(x))
		s.seen++
	})
	for i := range recs[first:] {
		// Until now AtMost holds the arrival: the present is known when all were read.
		r := &recs[first+i]
		if arrival := uint64(r.AtMost); arrival == 0 || arrival > now {
			r.AtMost = NoBound
		} else {
			r.AtMost = time.Duration(now - arrival)
		}
	}
	return recs, true, err
}

func (s *iterStalls) rec(x *bpf.Stall) stallRec {
	comm := make([]byte, 0, commLen)
	for _, c := range x.Comm {
		if c == 0 {
			break
		}
		comm = append(comm, byte(c))
	}
	return stallRec{
		TID: x.Pid, Task: Process{x.Tgid, x.Start}, Switches: x.Switches, AtMost: time.Duration(x.Arrival & (1<<63 - 1)),
		Comm: RawString(string(comm)), Kernel: x.Flags&bpf.StallKernel != 0, IOWait: x.Flags&bpf.StallIOWait != 0,
		Stack: s.stacks.of(x),
	}
}

func (s *iterStalls) Probe() Probe {
	p := Probe{State: On, Hook: "iter/task, stacks", Events: s.seen, NsPerEvent: bpf.CostStall}
	if need := s.stacks.need(); need != nil {
		p.State, p.Reason, p.Remedy = Degraded, "no wait functions: needs "+need.Need, need.Remedy
	}
	return p
}

func (s *iterStalls) Source() string { return "iter/task" }

func (s *iterStalls) Close() error {
	if s.r == nil {
		return nil
	}
	err := s.r.Close()
	s.r = nil
	return err
}

// stackTable turns stacks into names, each once.
type stackTable struct {
	mu       sync.Mutex // two collectors may share one
	symbols  symbols
	classify classifier
	known    map[stackKey]*Stack
}

// stackKey is what a Stack follows from.
type stackKey struct {
	frames [len(bpf.Stall{}.Stack)]uint64
	flags  uint32
}

// maxStacks bounds the table; a kernel has some hundred places to wait.
const maxStacks = 2048

func newStackTable(fs FS) *stackTable {
	return &stackTable{symbols: symbols{path: fs.path("kallsyms")}, classify: newClassifier(), known: map[stackKey]*Stack{}}
}

// of names the stack of a thread. A function whose name is not known is left out.
func (t *stackTable) of(x *bpf.Stall) *Stack {
	k := stackKey{flags: x.Flags & (bpf.StallLock | bpf.StallIOWait)}
	n := copy(k.frames[:], x.Stack[:min(max(int(x.StackBytes), 0)/8, len(x.Stack))])
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.known[k]; s != nil {
		return s
	}
	var frames []string
	for _, addr := range k.frames[:n] {
		if addr == 0 {
			break
		}
		if name, ok := t.symbols.at(addr); ok {
			frames = append(frames, clean(name))
		}
	}
	if len(t.known) >= maxStacks {
		clear(t.known)
	}
	s := newStack(t.classify, frames, k.flags&bpf.StallLock != 0, k.flags&bpf.StallIOWait != 0)
	t.known[k] = s
	return s
}

func newStack(c classifier, frames []string, lock, iowait bool) *Stack {
	s := &Stack{Frames: frames}
	s.Function, s.Class = c.of(frames, lock, iowait)
	return s
}

func (t *stackTable) need() *NeedError {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.symbols.need()
}
