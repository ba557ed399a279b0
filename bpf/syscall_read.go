// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// Rows that did not move for keyIdle are taken out of the kernel's tables, so that there is room for
// new ones; while a table is nearly full already after keyBusy, which is the next reading.
const (
	keyIdle = 60 * time.Second
	keyBusy = 900 * time.Millisecond
)

// keyed remembers when each row of a table last moved.
type keyed[K comparable, V comparable] struct {
	rows  map[K]*moved[V]
	round uint64
}

type moved[V comparable] struct {
	value V
	at    time.Duration
	round uint64
}

func newKeyed[K comparable, V comparable]() keyed[K, V] {
	return keyed[K, V]{rows: map[K]*moved[V]{}}
}

// see notes a row's value as it was read at now.
func (k *keyed[K, V]) see(key K, value V, now time.Duration) {
	m := k.rows[key]
	if m == nil {
		m = &moved[V]{at: now, value: value}
		k.rows[key] = m
	}
	if m.value != value {
		m.value, m.at = value, now
	}
	m.round = k.round
}

// idle forgets rows that were not seen since the last call, and returns those that rested.
func (k *keyed[K, V]) idle(now time.Duration, room int) []K {
	rest := keyIdle
	if len(k.rows) > room*3/4 {
		rest = keyBusy
	}
	var out []K
	for key, m := range k.rows {
		switch {
		case m.round != k.round:
			delete(k.rows, key)
		case now-m.at >= rest:
			out = append(out, key)
			delete(k.rows, key)
		}
	}
	k.round++
	return out
}

// CallRow is what ReadCalls hands out.
type CallRow struct {
	CallKey
	CallCounts
	Comm [16]byte // of the process, when the row was made; empty without one
}

// callState is what is known of a row: it may be in the kernel's table, on CPUs, or in both.
type callState struct {
	table, cpus CallCounts // as just read
	base        CallCounts // what it had in the table when it was taken out
	sum         CallCounts // of all three; it never falls
	comm        [16]byte
	at          time.Duration // when sum last grew
	round       uint64        // the reading that last saw it
	listed      bool          // it is in the table
}

// ReadCalls calls each with every row. The counts of the rows of TGID 0 and above, by call, add up to
// all that was counted since load. The pointer is valid during the call only.
func (s *Syscalls) ReadCalls(now time.Duration, each func(*CallRow)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.obj.createMap("calls")
	if err != nil {
		return err
	}
	s.round++
	listed := 0
	if err := readPerCPUHash(m, func(key *CallKey, cpus []callRow) {
		st := s.state(*key)
		listed++
		st.listed, st.table = true, CallCounts{}
		for i := range cpus {
			st.table.plus(&cpus[i].Counts)
			st.named(&cpus[i].Comm)
		}
	}); err != nil {
		return err
	}
	// After the table: what goes there from its CPU in between is seen by the next reading, not twice.
	if err := s.readCPUs(); err != nil {
		return err
	}
	for i := range s.cpus {
		for k := range s.cpus[i].Slots {
			if slot := &s.cpus[i].Slots[k]; slot.Counts.N > 0 {
				st := s.state(slot.Key)
				st.cpus.plus(&slot.Counts)
				st.named(&slot.Comm)
			}
		}
	}
	if err := s.readOthers(each); err != nil {
		return err
	}
	s.tell(now, each)
	return s.rest(m, now, listed)
}

// state is the row as this reading sees it.
func (s *Syscalls) state(key CallKey) *callState {
	st := s.rows[key]
	if st == nil {
		st = &callState{}
		s.rows[key] = st
	}
	if st.round != s.round {
		st.round, st.listed = s.round, false
		st.table, st.cpus = CallCounts{}, CallCounts{}
	}
	return st
}

func (st *callState) named(comm *[16]byte) {
	if comm[0] != 0 {
		st.comm = *comm
	}
}

// tell calls each with the rows, and with what the forgotten ones had counted.
func (s *Syscalls) tell(now time.Duration, each func(*CallRow)) {
	var out CallRow
	for key, st := range s.rows {
		switch s.round - st.round {
		case 0:
			sum := st.base
			sum.plus(&st.table)
			sum.plus(&st.cpus)
			if sum.N > st.sum.N {
				st.sum, st.at = sum, now
			}
		case 1: // it may have been on its way from a CPU to the table
		default: // gone from both
			if key.TGID > 0 && key.Call < CallRows {
				if st.sum.N < st.base.N {
					st.sum = st.base
				}
				s.retired[key.Call].plus(&st.sum)
			}
			delete(s.rows, key)
			continue
		}
		out = CallRow{CallKey: key, CallCounts: st.sum, Comm: st.comm}
		each(&out)
	}
	for call := range s.retired {
		if s.retired[call].N > 0 {
			out = CallRow{CallKey: CallKey{Call: uint32(call), Start: CallsRested}, CallCounts: s.retired[call]}
			each(&out)
		}
	}
}

// rest takes rows out of the table that did not move for a while.
func (s *Syscalls) rest(m *ebpf.Map, now time.Duration, listed int) error {
	rest := keyIdle
	if listed > callTable*3/4 {
		rest = keyBusy
	}
	for key, st := range s.rows {
		if !st.listed || now-st.at < rest {
			continue
		}
		var cpus []callRow
		err := m.LookupAndDelete(&key, &cpus)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) { // before 5.14 it takes two steps
			if err = m.Lookup(&key, &cpus); err == nil {
				err = m.Delete(&key)
			}
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("taking a row out of map calls: %w", err)
		}
		for i := range cpus {
			st.base.plus(&cpus[i].Counts)
		}
	}
	return nil
}

// readCPUs reads what the CPUs keep for themselves.
func (s *Syscalls) readCPUs() error {
	m, err := s.obj.createMap("call_cpus")
	if err != nil {
		return err
	}
	if err := m.Lookup(uint32(0), &s.cpus); err != nil {
		return fmt.Errorf("reading map call_cpus: %w", err)
	}
	return nil
}

func (s *Syscalls) readOthers(each func(*CallRow)) error {
	if s.sumTotals().Others == 0 {
		return nil
	}
	m, err := s.obj.createMap("call_others")
	if err != nil {
		return err
	}
	var cpus []CallCounts
	for call := range CallRows {
		if err := m.Lookup(&call, &cpus); err != nil {
			return fmt.Errorf("reading map call_others: %w", err)
		}
		var sum CallCounts
		for i := range cpus {
			sum.plus(&cpus[i])
		}
		if sum.N > 0 {
			each(&CallRow{CallKey: CallKey{Call: call}, CallCounts: sum})
		}
	}
	return nil
}

// ReadErrors calls each with how often a call failed with an errno, cumulative since load.
func (s *Syscalls) ReadErrors(each func(CallError, uint64)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.obj.createMap("call_errors")
	if err != nil {
		return err
	}
	return readPerCPUHash(m, func(key *CallError, cpus []uint64) {
		var n uint64
		for _, c := range cpus {
			n += c
		}
		each(*key, n)
	})
}

// ReadHist is the histogram of how long a call took, cumulative since load.
func (s *Syscalls) ReadHist(call uint32) (Hist, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.obj.createMap("call_hists")
	if err != nil {
		return Hist{}, err
	}
	var cpus []syscallCallHist
	if err := m.Lookup(&call, &cpus); err != nil {
		return Hist{}, fmt.Errorf("reading map call_hists: %w", err)
	}
	h := s.hists[call]
	if h == nil {
		h = &callHist{}
		s.hists[call] = h
	}
	return h.grow(cpus), nil
}

// ReadPaths calls each with every row of a path. The pointer is valid during the call only.
func (s *Syscalls) ReadPaths(now time.Duration, each func(PathKey, *PathCounts)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.obj.createMap("call_paths")
	if err != nil {
		return err
	}
	if err := readHash(m, func(key *PathKey, c *PathCounts) {
		s.paths.see(*key, c.N, now)
		each(*key, c)
	}); err != nil {
		return err
	}
	for _, key := range s.paths.idle(now, pathTable) {
		if err := m.Delete(&key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("taking a row out of map call_paths: %w", err)
		}
	}
	return nil
}

// Totals are cumulative since load.
func (s *Syscalls) Totals() (SyscallTotals, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.totals()
}

func (s *Syscalls) totals() (SyscallTotals, error) {
	if err := s.readCPUs(); err != nil {
		return SyscallTotals{}, err
	}
	return s.sumTotals(), nil
}

// sumTotals adds up what readCPUs has read.
func (s *Syscalls) sumTotals() (sum SyscallTotals) {
	for i := range s.cpus {
		c := &s.cpus[i].Totals
		sum.Calls += c.Calls
		sum.Own += c.Own
		sum.Others += c.Others
		sum.Collided += c.Collided
		sum.Paths += c.Paths
		sum.Slow += c.Slow
		sum.Unread += c.Unread
		sum.Unkept += c.Unkept
	}
	return sum
}
