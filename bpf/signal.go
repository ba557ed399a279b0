// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"unsafe"
)

// CostSignal is the nanoseconds that a signal costs, measured as the constants of exec.go are.
const CostSignal = 250

// Signals is one more than the highest signal's number, SignalResults no less than there are results.
const (
	Signals       = 65
	SignalResults = 8
)

// What became of a signal when it was sent: include/trace/events/signal.h.
const (
	SignalDelivered = iota // it was queued
	SignalIgnored          // the target ignores it, or is ending
	SignalPending          // the same one is waiting already
	SignalOverflow         // a real-time signal found the queue full
	SignalLostInfo         // it was delivered without its siginfo: the queue is full
)

// What the target does with a signal: ACTION_ in signal.bpf.c.
const (
	ActionUnknown = iota
	ActionDefault
	ActionIgnored
	ActionHandled
)

// SignalCounts counts the signals of one number by result, cumulative since load.
type SignalCounts [SignalResults]uint64

// SignalTotals are the signals that a target sent or got, cumulative since load.
type SignalTotals struct {
	Signals uint64
	Fatal   uint64 // of those: of a kind that may end or stop a process
}

// SignalEvent is a record of EventSignal.
type SignalEvent struct {
	At          uint64 // boot time, ns
	SenderTGID  int32  // 0: the kernel
	SenderStart uint64
	TargetTGID  int32
	TargetStart uint64
	Cgroup      uint64 // of the target
	Signal      int32
	Code        int32 // si_code
	Result      uint32
	Action      uint32
	UID         uint32 // of the sender
	Slots       uint32
	Thread      int32 // the one it was sent to; 0: to the process
	SenderComm  string
	TargetComm  string
}

// Signal is the facade of signal.bpf.c.
type Signal struct {
	obj  *object
	raw  []signalSignalCounts
	sums []signalSignalTotals
}

// OpenSignal loads and attaches the program. The caller owns the result and closes it.
func OpenSignal(k *Kernel) (*Signal, error) {
	obj, err := newObject(k, loadSignal)
	if err != nil {
		return nil, err
	}
	if err := k.needBTF(); err != nil {
		return nil, errors.Join(err, obj.Close())
	}
	if err := obj.attachTracing("signal_sent"); err != nil {
		if again := obj.set("info_is_number", true); again != nil || obj.attachTracing("signal_sent") != nil {
			return nil, errors.Join(err, obj.Close())
		}
	}
	return &Signal{obj: obj}, nil
}

// Narrow counts targets apart: processes that send or get signals, and cgroups that get them.
func (s *Signal) Narrow(want []Filter) (Slots, error) { return s.obj.narrow(want) }

// Pause detaches the program, or attaches it again.
func (s *Signal) Pause(on bool) error { return s.obj.pause(on) }

// Read copies the counts of all CPUs, by signal.
func (s *Signal) Read(dst *[Signals]SignalCounts) error {
	*dst = [Signals]SignalCounts{}
	m, err := s.obj.createMap("signals")
	if err != nil {
		return err
	}
	if len(s.raw) == 0 {
		var one []signalSignalCounts
		if err := m.Lookup(uint32(0), &one); err != nil {
			return fmt.Errorf("reading map signals: %w", err)
		}
		s.raw = make([]signalSignalCounts, Signals*len(one))
	}
	each := len(s.raw) / Signals
	for sig := range dst {
		of := s.raw[sig*each : (sig+1)*each]
		if err := m.Lookup(uint32(sig), &of); err != nil {
			return fmt.Errorf("reading map signals: %w", err)
		}
		for i := range of {
			for r, n := range of[i].Results {
				dst[sig][r] += n
			}
		}
	}
	return nil
}

// ReadSlot is what the target of a slot has counted.
func (s *Signal) ReadSlot(slot int) (SignalTotals, error) {
	var t SignalTotals
	m, err := s.obj.createMap("signal_sums")
	if err != nil {
		return t, err
	}
	if err := m.Lookup(uint32(slot), &s.sums); err != nil {
		return t, fmt.Errorf("reading map signal_sums: %w", err)
	}
	for i := range s.sums {
		t.Signals += s.sums[i].Signals
		t.Fatal += s.sums[i].Fatal
	}
	return t, nil
}

// Close detaches the program and frees the maps.
func (s *Signal) Close() error { return s.obj.Close() }

// ParseSignal reads a record of EventSignal; false if it is not whole.
func ParseSignal(rec []byte) (SignalEvent, bool) {
	e := record[signalSignalEvent](rec, unsafe.Sizeof(signalSignalEvent{}))
	if e == nil {
		return SignalEvent{}, false
	}
	return SignalEvent{
		At: e.Head.At, SenderTGID: e.Sender.Tgid, SenderStart: e.Sender.Start,
		TargetTGID: e.Target.Tgid, TargetStart: e.Target.Start, Cgroup: e.Cgroup,
		Signal: e.Sig, Code: e.Code, Result: e.Result, Action: e.Action, UID: e.Uid, Slots: e.Slots, Thread: e.Thread,
		SenderComm: cText(e.SenderComm[:]), TargetComm: cText(e.TargetComm[:]),
	}, true
}
