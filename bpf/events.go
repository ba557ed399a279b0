// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

// EventKind tells the records of the ring apart: enum event_kind in include/events.bpf.h.
type EventKind uint32

// The kinds of event.
const (
	EventExec EventKind = 1 + iota
	EventExit
	EventSignal
	EventBlock
	EventRetransmit
	EventConnection
	EventDNS
	EventDrop
	EventOpen
	EventSlowFile
	EventFileLife
	EventOOM
	EventReclaim
	EventReset
	EventExecFail
	EventListen
	EventCompact
	EventOpenFail
	EventConnectFail
	EventReap
	EventBlockStall
)

// EventKinds is one more than the highest kind there may be.
const EventKinds = 32

// EventHead is the length of the head of every record: kind and size, 32 bits each, and the boot
// time in ns.
const EventHead = 16

const (
	eventRing   = 512 << 10
	eventsMap   = "events"
	eventCounts = "event_counts"
	filtersMap  = "filters"
)

// EventCounts is what became of one kind's events, cumulative since the ring was made.
type EventCounts struct {
	Sent     uint64 // records in the ring
	Unlisted uint64 // passed over because the kind had had its share of a period
	Lost     uint64 // there was no room
}

// eventCount is struct event_count.
type eventCount struct{ Sent, Unlisted, Lost, Period, Used uint64 }

// sharedRing is the ring that all objects of a Kernel write to, while one of them is loaded.
type sharedRing struct {
	mu     sync.Mutex
	users  int
	events *ebpf.Map
	counts *ebpf.Map
}

// isRing says whether a map is one of those that all objects share.
func isRing(name string) bool { return name == eventsMap || name == eventCounts }

// share is how many records of a kind one CPU may send in 134 ms: event_share.
func share(cpus int) uint64 { return uint64(min(max(512/max(cpus, 1), 8), 128)) }

// openRing returns the shared maps, made if nobody has them yet. closeRing must follow.
func (k *Kernel) openRing() (*sharedRing, error) {
	r := &k.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users > 0 {
		r.users++
		return r, nil
	}
	events, err := k.newMap(&ebpf.MapSpec{Name: eventsMap, Type: ebpf.RingBuf, MaxEntries: eventRing})
	if err != nil {
		return nil, err
	}
	counts, err := k.newMap(&ebpf.MapSpec{
		Name: eventCounts, Type: ebpf.PerCPUArray,
		KeySize: 4, ValueSize: uint32(unsafe.Sizeof(eventCount{})), MaxEntries: EventKinds,
	})
	if err != nil {
		return nil, errors.Join(err, events.Close())
	}
	r.events, r.counts, r.users = events, counts, 1
	return r, nil
}

func (k *Kernel) closeRing() error {
	r := &k.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users--; r.users > 0 {
		return nil
	}
	err := errors.Join(r.events.Close(), r.counts.Close())
	r.events, r.counts = nil, nil
	return err
}

// Events is the reader's end of the ring. Drain and Counts are called from one goroutine at a time;
// Wait may run beside them.
type Events struct {
	kernel *Kernel
	ring   *ringbuf.Reader
	counts *ebpf.Map
	epoll  int
	quit   int // eventfd
	rec    ringbuf.Record
	raw    []eventCount
}

// OpenEvents opens the ring, also before any program writes to it. There is one reader at a time. The
// caller owns the result and closes it.
func OpenEvents(k *Kernel) (*Events, error) {
	if err := k.mayLoad(); err != nil {
		return nil, err
	}
	r, err := k.openRing()
	if err != nil {
		return nil, err
	}
	e := &Events{kernel: k, counts: r.counts, epoll: -1, quit: -1}
	if e.ring, err = ringbuf.NewReader(r.events); err != nil {
		return nil, errors.Join(k.explain("opening the ring of events", err), e.Close())
	}
	e.ring.SetDeadline(time.Unix(0, 0)) // never wait in a read
	if err := e.watch(r.events.FD()); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// watch makes the descriptors of Wait. The ring is level-triggered: it would report every record that
// has not been read, where only a wake-up by a program matters.
func (e *Events) watch(ring int) (err error) {
	if e.quit, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return fmt.Errorf("making an eventfd: %w", err)
	}
	if e.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("making an epoll instance: %w", err)
	}
	for fd, events := range map[int]uint32{ring: unix.EPOLLIN | unix.EPOLLET, e.quit: unix.EPOLLIN} {
		ev := unix.EpollEvent{Events: events, Fd: int32(fd)}
		if err := unix.EpollCtl(e.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			return fmt.Errorf("watching the ring of events: %w", err)
		}
	}
	return nil
}

// Wait returns when the ring is half full, or with os.ErrClosed after Stop.
func (e *Events) Wait() error {
	var got [2]unix.EpollEvent
	for {
		n, err := unix.EpollWait(e.epoll, got[:], -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("waiting for the ring of events: %w", err)
		}
		for _, ev := range got[:n] {
			if int(ev.Fd) == e.quit {
				return os.ErrClosed
			}
		}
		return nil
	}
}

// Stop ends Wait, now and for good.
func (e *Events) Stop() error {
	one := [8]byte{1}
	if _, err := unix.Write(e.quit, one[:]); err != nil {
		return fmt.Errorf("ending the wait for events: %w", err)
	}
	return nil
}

// Drain calls each with every record that is there, oldest first, and waits for none. A record holds
// its head and is valid during the call only.
func (e *Events) Drain(each func(kind EventKind, record []byte)) error {
	for {
		err := e.ring.ReadInto(&e.rec)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the ring of events: %w", err)
		}
		if rec := e.rec.RawSample; len(rec) >= EventHead {
			each(EventKind(binary.NativeEndian.Uint32(rec)), rec)
		}
	}
}

// Counts is what became of one kind's events on all CPUs.
func (e *Events) Counts(kind EventKind) (EventCounts, error) {
	var sum EventCounts
	if err := e.counts.Lookup(uint32(kind), &e.raw); err != nil {
		return sum, fmt.Errorf("reading map %s: %w", eventCounts, err)
	}
	for _, c := range e.raw {
		sum.Sent += c.Sent
		sum.Unlisted += c.Unlisted
		sum.Lost += c.Lost
	}
	return sum, nil
}

// Close frees the reader's end. Wait must have returned.
func (e *Events) Close() error {
	var errs []error
	if e.ring != nil {
		errs = append(errs, e.ring.Close())
	}
	for _, fd := range []int{e.epoll, e.quit} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(append(errs, e.kernel.closeRing())...)
}
