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
	keys   []stackKey // of one scan
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

func (s *iterStalls) Scan(_ context.Context, at time.Duration, recs []stallRec) ([]stallRec, bool, error) {
	first := len(recs)
	keys := s.keys[:0]
	now, err := s.r.Read(func(x *bpf.Stall) {
		recs, keys = append(recs, s.rec(x)), append(keys, keyOf(x))
		s.seen++
	})
	s.keys = keys
	s.stacks.fill(at, recs[first:], keys)
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
		Counted: true,
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
	symbols  *symbols
	classify classifier
	known    map[stackKey]*Stack
	unnamed  *Stack // while its functions are looked for
}

// stackKey is what a Stack follows from.
type stackKey struct {
	frames [len(bpf.Stall{}.Stack)]uint64
	flags  uint32
}

func keyOf(x *bpf.Stall) stackKey {
	k := stackKey{flags: x.Flags & (bpf.StallLock | bpf.StallIOWait)}
	copy(k.frames[:], x.Stack[:min(max(int(x.StackBytes), 0)/8, len(x.Stack))])
	return k
}

// maxStacks bounds the table; a kernel has some hundred places to wait.
const maxStacks = 2048

func newStackTable(fs FS) *stackTable {
	return &stackTable{symbols: fs.names, classify: newClassifier(), known: map[stackKey]*Stack{}, unnamed: &Stack{Class: WaitUnnamed}}
}

// fill names the stacks of what one scan found. A function whose name is not known is left out.
func (t *stackTable) fill(now time.Duration, recs []stallRec, keys []stackKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	missing := false
	for i := range recs {
		recs[i].Stack = t.of(&keys[i])
		missing = missing || recs[i].Stack == nil
	}
	if !missing {
		return
	}
	found := t.symbols.find(now)
	for i := range recs {
		if recs[i].Stack == nil && found {
			recs[i].Stack = t.of(&keys[i])
		}
		if recs[i].Stack == nil {
			recs[i].Stack = t.unnamed
		}
	}
}

// of names a stack; nil while a name is looked for.
func (t *stackTable) of(k *stackKey) *Stack {
	if s := t.known[*k]; s != nil {
		return s
	}
	var frames []string
	whole := true
	for _, addr := range k.frames {
		if addr == 0 {
			break
		}
		name, ok := t.symbols.at(addr)
		whole = whole && ok
		if name != "" {
			frames = append(frames, clean(name))
		}
	}
	if !whole {
		return nil
	}
	if len(t.known) >= maxStacks {
		clear(t.known)
	}
	s := newStack(t.classify, frames, k.flags&bpf.StallLock != 0, k.flags&bpf.StallIOWait != 0)
	t.known[*k] = s
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
