// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// syscallReader is what the collectors need of bpf.Syscalls.
type syscallReader interface {
	Err(part bpf.SyscallParts) error
	Want(parts bpf.SyscallParts) error
	Hooks() string
	Narrow(targets []bpf.Filter, only bool) (bpf.Slots, error)
	ReadCalls(now time.Duration, each func(*bpf.CallRow)) error
	ReadErrors(each func(bpf.CallError, uint64)) error
	ReadHist(call uint32) (bpf.Hist, error)
	ReadTargetHists(each func(slot int32, call uint32, h bpf.Hist)) error
	ReadPaths(now time.Duration, each func(bpf.PathKey, *bpf.PathCounts)) error
	Totals() (bpf.SyscallTotals, error)
	Close() error
}

// syscallSource is one facade for the collectors of system calls. Each has a part of it; the programs are
// loaded while some part is in use, and the hooks are those that the parts together need.
type syscallSource struct {
	open func() (syscallReader, error)

	mu    sync.Mutex
	r     syscallReader
	users map[bpf.SyscallParts]*syscallUser
}

// syscallUser is what a collector wants of the source.
type syscallUser struct {
	paused  bool
	targets []bpf.Filter
	only    bool // nobody looks at the host
}

func newSyscallSource(k *bpf.Kernel) *syscallSource {
	return &syscallSource{open: func() (syscallReader, error) {
		s, err := bpf.OpenSyscalls(k)
		if err != nil {
			return nil, err
		}
		return s, nil
	}}
}

// acquire begins to measure a part. release must follow if it succeeds.
func (s *syscallSource) acquire(part bpf.SyscallParts) (syscallReader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.r == nil {
		r, err := s.open()
		if err != nil {
			return nil, fmt.Errorf("opening the probes of system calls: %w", err)
		}
		s.r, s.users = r, map[bpf.SyscallParts]*syscallUser{}
	}
	err := s.r.Err(part)
	if err == nil {
		s.users[part] = &syscallUser{}
		err = s.apply()
	}
	if err != nil {
		return nil, errors.Join(err, s.drop(part))
	}
	return s.r, nil
}

// release gives a part up, and the programs with the last.
func (s *syscallSource) release(part bpf.SyscallParts) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[part] == nil {
		return nil
	}
	return s.drop(part)
}

func (s *syscallSource) drop(part bpf.SyscallParts) error {
	delete(s.users, part)
	if len(s.users) > 0 {
		_, err := s.narrowAll()
		return errors.Join(err, s.apply())
	}
	r := s.r
	s.r = nil
	return r.Close()
}

// apply attaches what the parts need that are not paused.
func (s *syscallSource) apply() error {
	var parts bpf.SyscallParts
	for part, u := range s.users {
		if !u.paused {
			parts |= part
		}
	}
	return s.r.Want(parts)
}

// pause leaves a part out for a while. The hooks stay attached if another part needs them.
func (s *syscallSource) pause(part bpf.SyscallParts, on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[part]
	if u == nil {
		return nil // given up
	}
	u.paused = on
	return s.apply()
}

// share is a part's share of what the hooks cost: all parts in use divide it.
func (s *syscallSource) share() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, u := range s.users {
		if !u.paused {
			n++
		}
	}
	return 1 / float64(max(n, 1))
}

// narrow tells what one part counts apart, and whether nothing else of it is wanted.
func (s *syscallSource) narrow(part bpf.SyscallParts, targets []bpf.Filter, only bool) (bpf.Slots, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[part]
	if u == nil {
		return bpf.Slots{}, nil
	}
	u.targets, u.only = targets, only
	return s.narrowAll()
}

func (s *syscallSource) narrowAll() (bpf.Slots, error) {
	var all []bpf.Filter
	only := true
	for part := bpf.SyscallCount; part <= bpf.SyscallSlow; part <<= 1 {
		if u := s.users[part]; u != nil {
			all = append(all, u.targets...)
			only = only && u.only
		}
	}
	return s.r.Narrow(all, only)
}

// syscallPart is what the collectors of system calls have in common: their part of the source, whether it
// is alive, and what it costs.
type syscallPart struct {
	src  *syscallSource
	part bpf.SyscallParts
	name string  // of the probe
	ns   float64 // an event costs, beside the hooks

	r      syscallReader
	begun  bool
	last   time.Duration
	totals bpf.SyscallTotals
	err    error
	events uint64
	lost   uint64
	cost   float64 // ns since start, with the part's share of the hooks
}

func (p *syscallPart) start() error {
	r, err := p.src.acquire(p.part)
	if err != nil {
		return err
	}
	p.r, p.begun, p.err, p.events, p.lost, p.cost = r, false, nil, 0, 0, 0
	return nil
}

// errSilent says that a hook is attached and does not run: this process's own calls are not seen.
var errSilent = errors.New("the hook of system calls is attached and does not run: this process's own calls are not seen")

// span begins or continues: it returns false at the first reading, which is the baseline.
func (p *syscallPart) span(now time.Duration) (Span, bool, error) {
	t, err := p.r.Totals()
	if err != nil {
		return Span{}, false, err
	}
	span, begun := Span{p.last, now}, p.begun
	prev := p.totals
	p.last, p.begun, p.totals = now, true, t
	if !begun {
		return span, false, nil
	}
	if t.Own == prev.Own { // reading alone makes some
		return span, false, errSilent
	}
	p.cost += float64(since(prev.Calls, t.Calls)) * p.hooks() * p.src.share()
	return span, true, nil
}

// hooks is what the hooks that the part needs add to every call, ns.
func (p *syscallPart) hooks() float64 {
	if p.part&(bpf.SyscallTime|bpf.SyscallSlow) != 0 {
		return bpf.CostSysExit + bpf.CostSysEnter
	}
	return bpf.CostSysExit
}

// counted adds events of the span that just ended.
func (p *syscallPart) counted(events, lost uint64) {
	p.events += events
	p.lost += lost
	p.cost += float64(events) * p.ns
}

func (p *syscallPart) probe() Probe {
	row := Probe{Name: p.name, State: Idle, Hook: "tp_btf sys_exit", Reason: "adds about 85 ns to every system call while looked at"}
	if p.part&(bpf.SyscallTime|bpf.SyscallSlow) != 0 {
		row.Hook = "tp_btf sys_exit, sys_enter"
		row.Reason = "adds about 140 ns to every system call while looked at"
	}
	if p.r == nil {
		return row
	}
	p.tell(&row)
	return row
}

// tell says how a probe in use is doing.
func (p *syscallPart) tell(row *Probe) {
	row.State, row.Reason = stateOf(p.begun, p.err)
	row.Events, row.Lost = p.events, p.lost
	if p.events > 0 {
		row.NsPerEvent = p.cost / float64(p.events)
	}
}

// Pause implements Pauser.
func (p *syscallPart) Pause(on bool) error { return p.src.pause(p.part, on) }

func (p *syscallPart) stop() error {
	if p.r == nil {
		return nil
	}
	p.r = nil
	return p.src.release(p.part)
}

// callNamer names calls, those of no name by their number.
type callNamer struct{ names []string }

func newCallNamer() callNamer { return callNamer{callNames()} }

func (n callNamer) name(call uint32) string {
	switch {
	case call == bpf.CallCompat:
		return "32-bit calls"
	case call == bpf.CallNone:
		return "sigreturn"
	case call == bpf.CallHigh:
		return "unknown"
	case int(call) < len(n.names) && n.names[call] != "":
		return n.names[call]
	}
	return fmt.Sprintf("sys_%d", call)
}

// ErrnoCount is how often a call failed with an errno, over the span.
type ErrnoCount struct {
	Errno uint32
	N     uint64
}

// ErrnoName is ENOENT for 2.
func ErrnoName(errno uint32) string {
	if name := unix.ErrnoName(unix.Errno(errno)); name != "" {
		return name
	}
	return fmt.Sprintf("errno %d", errno)
}

// ErrnoText is what the C library says of an error: "no such file or directory".
func ErrnoText(errno uint32) string { return unix.Errno(errno).Error() }
