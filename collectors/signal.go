// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"bpf60/bpf"
)

// SignalsID is the collector of signals.
const SignalsID ID = "signals"

// Signals is who signalled whom over the span.
type Signals struct {
	Span
	SignalCounts
	Counts []SignalCount // by number, those that moved
	Total  SignalCounts  // since the probe attached

	Rows     []SignalRow // signals that may end or stop a process, oldest first
	Unlisted uint64

	Narrowed []Targeted[SignalCounts] // signals to or by a process, to a cgroup
}

// SignalCounts are additive deltas.
type SignalCounts struct {
	Signals uint64
	Fatal   uint64 // of those: of the kinds that Rows lists
}

// SignalCount is one signal over the span.
type SignalCount struct {
	Number  uint8
	Sent    uint64 // queued for the target, or waiting there already
	Ignored uint64 // the target does not want it, or is ending
	Lost    uint64 // the target's queue was full
}

// SignalResult is what became of a signal when it was sent.
type SignalResult uint8

// The results.
const (
	SignalDelivered SignalResult = bpf.SignalDelivered
	SignalIgnored   SignalResult = bpf.SignalIgnored
	SignalPending   SignalResult = bpf.SignalPending
	SignalOverflow  SignalResult = bpf.SignalOverflow
	SignalLostInfo  SignalResult = bpf.SignalLostInfo
)

// SignalAction is what the target does with a signal.
type SignalAction uint8

// The actions.
const (
	ActionUnknown SignalAction = bpf.ActionUnknown
	ActionDefault SignalAction = bpf.ActionDefault // it ends, or stops
	ActionIgnored SignalAction = bpf.ActionIgnored
	ActionHandled SignalAction = bpf.ActionHandled // it has a handler
)

// SignalRow is one signal.
type SignalRow struct {
	At         time.Duration // monotonic since the run began
	Number     uint8
	Code       int32   // si_code: 0 by kill, -6 by tgkill, above 0 of the kernel
	Sender     Process // zero: the kernel
	SenderComm Raw
	UID        uint32 // of the sender
	Target     Process
	TargetComm Raw
	Cgroup     uint64 // of the target
	Thread     int32  // the one it was sent to; 0: to the process
	Result     SignalResult
	Action     SignalAction
}

func (s *Signals) put(snap *Snapshot) { snap.Signals = s }

func (s *Signals) size() int {
	n := allocSize(unsafe.Sizeof(*s)) + sliceSize(s.Counts) + sliceSize(s.Rows) + sliceSize(s.Narrowed)
	for i := range s.Rows {
		n += textSize(s.Rows[i].SenderComm, s.Rows[i].TargetComm)
	}
	return n
}

func (s *Signals) withoutRows() *Signals {
	if s.Rows == nil {
		return s
	}
	c := *s
	c.Rows = nil
	return &c
}

// listedSignal says whether signals of a number are listed: LISTED in signal.bpf.c.
func listedSignal(number int) bool {
	const listed = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<9 | 1<<11 | 1<<15 | 1<<19 | 1<<24 | 1<<25 | 1<<31
	return number > 0 && number < 64 && uint64(listed)>>number&1 == 1
}

// signalReader is what the collector needs of bpf.Signal.
type signalReader interface {
	Read(dst *[bpf.Signals]bpf.SignalCounts) error
	ReadSlot(slot int) (bpf.SignalTotals, error)
	Narrow(want []bpf.Filter) (bpf.Slots, error)
	Pause(on bool) error
	Close() error
}

type signalCollector struct {
	open func() (signalReader, error)
	feed feed
	boot func() int64
	off  bool

	r         signalReader
	begun     bool
	err       error
	last      time.Duration
	prev, cur [bpf.Signals]bpf.SignalCounts
	gauged    [bpf.Signals]bpf.SignalCounts // of the last look of the brake
	total     SignalCounts
	slots     narrowing
	narrow    [bpf.FilterSlots]bpf.SignalTotals
	events    bpf.EventCounts
}

// NewSignals returns the collector of Signals. Its probe is off if it is named in off.
func NewSignals(k *bpf.Kernel, off map[string]bool, events feed) Collector {
	return &signalCollector{
		open: func() (signalReader, error) {
			s, err := bpf.OpenSignal(k)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
		feed: events, boot: bootTime, off: off[killsnoop],
	}
}

// killsnoop is bcc's name of the probe; libbpf-tools calls it sigsnoop.
const killsnoop = "killsnoop"

func (c *signalCollector) Meta() Meta { return Meta{ID: SignalsID, Slow: true, Switched: true} }

func (c *signalCollector) Start(context.Context) error {
	c.begun, c.err, c.total, c.slots, c.events = false, nil, SignalCounts{}, narrowing{}, bpf.EventCounts{}
	if c.off {
		return errSwitchedOff
	}
	r, err := c.open()
	if err != nil {
		return fmt.Errorf("opening the probe of signals: %w", err)
	}
	if err := c.feed.open(bpf.EventSignal); err != nil {
		return errors.Join(err, r.Close())
	}
	c.r = r
	return nil
}

// Narrow implements Narrower.
func (c *signalCollector) Narrow(targets []Target) error {
	filters, err := c.slots.filters(targets)
	slots, more := c.r.Narrow(filters)
	c.slots.assign(slots)
	return errors.Join(err, more)
}

// Pause implements Pauser.
func (c *signalCollector) Pause(on bool) error { return c.r.Pause(on) }

// Collect reads the counts and the events.
func (c *signalCollector) Collect(_ context.Context, now time.Duration) (Sample, error) {
	s, err := c.collect(now)
	if c.err = err; errors.Is(err, ErrWarming) {
		c.err = nil
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (c *signalCollector) collect(now time.Duration) (*Signals, error) {
	if err := c.r.Read(&c.cur); err != nil {
		return nil, err
	}
	s := &Signals{Span: Span{c.last, now}}
	boot, broken := c.boot(), 0
	took, err := c.feed.take(bpf.EventSignal, func(rec []byte) {
		e, ok := bpf.ParseSignal(rec)
		if !ok {
			broken++
			return
		}
		s.Rows = append(s.Rows, signalRow(&e, boot, now))
	})
	if err != nil {
		return nil, err
	}
	if broken > 0 {
		return nil, fmt.Errorf("%d events are not what the program writes", broken)
	}
	s.Unlisted = grown(c.events.Unlisted, took.Unlisted) + grown(c.events.Lost, took.Lost) + uint64(max(len(s.Rows)-maxListed, 0))
	s.Rows = newestOf(s.Rows, maxListed)
	if c.begun {
		s.count(&c.prev, &c.cur)
		c.total.Signals += s.Signals
		c.total.Fatal += s.Fatal
	}
	s.Total = c.total
	var failed error
	c.slots.each(now, func(slot int, t Target, since time.Duration, fresh bool) {
		cur, err := c.r.ReadSlot(slot)
		failed = errors.Join(failed, err)
		if was := c.narrow[slot]; !fresh {
			s.Narrowed = append(s.Narrowed, Targeted[SignalCounts]{t, since, SignalCounts{grown(was.Signals, cur.Signals), grown(was.Fatal, cur.Fatal)}})
		}
		c.narrow[slot] = cur
	})
	if failed != nil {
		return nil, failed
	}
	first := !c.begun
	c.prev, c.last, c.begun, c.events = c.cur, now, true, took
	if first {
		return nil, ErrWarming
	}
	return s, nil
}

// count subtracts two readings.
func (s *Signals) count(prev, cur *[bpf.Signals]bpf.SignalCounts) {
	for number := range cur {
		d := SignalCount{Number: uint8(number)}
		for result, n := range cur[number] {
			n = grown(prev[number][result], n)
			switch result {
			case bpf.SignalIgnored:
				d.Ignored += n
			case bpf.SignalOverflow:
				d.Lost += n
			default:
				d.Sent += n
			}
		}
		all := d.Sent + d.Ignored + d.Lost
		if all == 0 {
			continue
		}
		s.Counts = append(s.Counts, d)
		s.Signals += all
		if listedSignal(number) {
			s.Fatal += all
		}
	}
}

func signalRow(e *bpf.SignalEvent, boot int64, now time.Duration) SignalRow {
	return SignalRow{
		At: eventTime(e.At, boot, now), Number: uint8(e.Signal), Code: e.Code,
		Sender: Process{e.SenderTGID, e.SenderStart}, SenderComm: RawString(e.SenderComm), UID: e.UID,
		Target: Process{e.TargetTGID, e.TargetStart}, TargetComm: RawString(e.TargetComm),
		Cgroup: e.Cgroup, Thread: e.Thread, Result: SignalResult(e.Result), Action: SignalAction(e.Action),
	}
}

// Probes implements Collector.
func (c *signalCollector) Probes() []Probe {
	p := Probe{Name: killsnoop, Hook: "tp_btf signal_generate", NsPerEvent: bpf.CostSignal}
	switch {
	case c.off:
		p.State, p.Reason, p.NsPerEvent = Off, switchedOff, 0
	case c.r != nil:
		p.State, p.Reason = stateOf(c.begun, c.err)
		p.Events, p.Lost = c.total.Signals, c.events.Lost
	}
	return []Probe{p}
}

func (c *signalCollector) Close() error {
	if c.r == nil {
		return nil
	}
	err := errors.Join(c.feed.close(bpf.EventSignal), c.r.Close())
	c.r = nil
	return err
}
