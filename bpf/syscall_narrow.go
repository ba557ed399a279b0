// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// targetCall is struct target_call: a call of what a slot counts.
type targetCall struct{ Slot, Call uint32 }

// Narrow counts the targets apart, in rows whose TGID is their slot below 0, and with their times apart
// if calls are timed. With only, the kernel passes over everything that belongs to none of them.
func (s *Syscalls) Narrow(targets []Filter, only bool) (Slots, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.obj.slots
	slots, err := s.obj.narrow(targets)
	s.only = only && slots != (Slots{})
	return slots, errors.Join(err, s.forget(was), s.control())
}

// forget takes the histograms of targets out of the kernel's table that are in their slots no more: it
// has room for those of about seventy calls of each.
func (s *Syscalls) forget(was Slots) error {
	if was == s.obj.slots {
		return nil
	}
	m, err := s.obj.createMap("target_hists")
	if err != nil {
		return err
	}
	var old []targetCall
	err = readPerCPUHash(m, func(key *targetCall, _ []syscallCallHist) {
		if i := key.Slot % FilterSlots; was[i] != s.obj.slots[i] {
			old = append(old, *key)
		}
	})
	for _, key := range old {
		delete(s.apart, key)
		if e := m.Delete(&key); e != nil && !errors.Is(e, ebpf.ErrKeyNotExist) {
			err = errors.Join(err, fmt.Errorf("taking a row out of map target_hists: %w", e))
		}
	}
	return err
}

// onlyProcess is the process that is the one target, 0 if there are others.
func onlyProcess(slots Slots) (tgid int32) {
	for _, f := range slots {
		switch {
		case f == (Filter{}):
		case tgid != 0 || f.Kind != FilterProcess:
			return 0
		default:
			tgid = int32(f.ID)
		}
	}
	return tgid
}

// ReadTargetHists calls each with how long a call of a target took, by the target's slot, cumulative
// since the target has it.
func (s *Syscalls) ReadTargetHists(each func(slot int32, call uint32, h Hist)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.obj.createMap("target_hists")
	if err != nil {
		return err
	}
	return readPerCPUHash(m, func(key *targetCall, cpus []syscallCallHist) {
		h := s.apart[*key]
		if h == nil {
			h = &callHist{}
			s.apart[*key] = h
		}
		each(int32(key.Slot), key.Call, h.grow(cpus))
	})
}
