// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

const (
	// maxListed is how many events of a kind one sample lists.
	maxListed = 200
	// feedRecords and feedBytes bound what waits for one collector, should it not ask.
	feedRecords = 4 * maxListed
	feedBytes   = 1 << 20
)

// feed hands a collector the events of its programs. A record is valid during the call only; counts
// are cumulative since open.
type feed interface {
	open(kinds ...bpf.EventKind) error
	take(kind bpf.EventKind, each func(record []byte)) (bpf.EventCounts, error)
	close(kinds ...bpf.EventKind) error
}

// ring is what a feed needs of bpf.Events.
type ring interface {
	Wait() error
	Stop() error
	Drain(each func(kind bpf.EventKind, record []byte)) error
	Counts(kind bpf.EventKind) (bpf.EventCounts, error)
	Close() error
}

// ringFeed shares the one ring among the collectors. Whoever takes empties the whole ring and leaves
// the others theirs; a goroutine does so too when the ring fills between two ticks. The ring is open
// while some kind is.
type ringFeed struct {
	openRing func() (ring, error)

	mu     sync.Mutex
	ring   ring
	done   chan error // the waiting goroutine's last word
	queues map[bpf.EventKind]*eventQueue
}

// eventQueue holds one kind's records until they are taken.
type eventQueue struct {
	users   int
	bytes   []byte
	ends    []int // of each record in bytes
	dropped uint64
	base    bpf.EventCounts
}

// newFeed returns the feed of a kernel's ring.
func newFeed(k *bpf.Kernel) *ringFeed {
	return &ringFeed{
		openRing: func() (ring, error) {
			e, err := bpf.OpenEvents(k)
			if err != nil {
				return nil, err
			}
			return e, nil
		},
		queues: map[bpf.EventKind]*eventQueue{},
	}
}

// open begins to keep the records of some kinds: all of them or, with an error, none. Each open that
// succeeds needs its close.
func (f *ringFeed) open(kinds ...bpf.EventKind) error {
	for i, k := range kinds {
		if err := f.openKind(k); err != nil {
			return errors.Join(err, f.close(kinds[:i+1]...))
		}
	}
	return nil
}

func (f *ringFeed) openKind(kind bpf.EventKind) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if q := f.queues[kind]; q != nil {
		q.users++
		return nil
	}
	if f.ring == nil {
		r, err := f.openRing()
		if err != nil {
			return fmt.Errorf("opening the ring of events: %w", err)
		}
		f.ring, f.done = r, make(chan error, 1)
		go f.watch(r, f.done)
	}
	q := &eventQueue{users: 1}
	f.queues[kind] = q // also if the counts cannot be read: the caller closes it
	var err error
	q.base, err = f.ring.Counts(kind)
	return err
}

// watch empties the ring whenever a program says that it is half full.
func (f *ringFeed) watch(r ring, done chan<- error) {
	var err error
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		done <- err
	}()
	for err == nil {
		if err = r.Wait(); err == nil {
			err = f.empty(r)
		}
	}
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
}

func (f *ringFeed) empty(r ring) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.drain(r)
}

func (f *ringFeed) drain(r ring) error {
	return r.Drain(func(kind bpf.EventKind, record []byte) {
		q := f.queues[kind]
		if q == nil {
			return // of a program that is being closed
		}
		if len(q.ends) == feedRecords || len(q.bytes)+len(record) > feedBytes {
			q.dropped++
			return
		}
		q.bytes = append(q.bytes, record...)
		q.ends = append(q.ends, len(q.bytes))
	})
}

// take calls each with the records of one kind since the last call, oldest first.
func (f *ringFeed) take(kind bpf.EventKind, each func(record []byte)) (bpf.EventCounts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := f.queues[kind]
	if q == nil {
		return bpf.EventCounts{}, fmt.Errorf("taking events of kind %d: not open", kind)
	}
	if err := f.drain(f.ring); err != nil {
		return bpf.EventCounts{}, err
	}
	begin := 0
	for _, end := range q.ends {
		each(q.bytes[begin:end])
		begin = end
	}
	q.bytes, q.ends = q.bytes[:0], q.ends[:0]
	if cap(q.bytes) > feedBytes/8 { // a storm's memory goes back
		q.bytes = nil
	}
	c, err := f.ring.Counts(kind)
	if err != nil {
		return bpf.EventCounts{}, err
	}
	return bpf.EventCounts{
		Sent:     c.Sent - q.base.Sent - q.dropped,
		Unlisted: c.Unlisted - q.base.Unlisted + q.dropped,
		Lost:     c.Lost - q.base.Lost,
	}, nil
}

// close gives up kinds, and the ring with the last.
func (f *ringFeed) close(kinds ...bpf.EventKind) error {
	f.mu.Lock()
	for _, k := range kinds {
		if q := f.queues[k]; q != nil {
			if q.users--; q.users == 0 {
				delete(f.queues, k)
			}
		}
	}
	if len(f.queues) > 0 || f.ring == nil {
		f.mu.Unlock()
		return nil
	}
	r, done := f.ring, f.done
	f.ring = nil
	f.mu.Unlock() // the goroutine may be waiting for it
	if err := r.Stop(); err != nil {
		return err // Close would pull the ring from under the goroutine
	}
	return errors.Join(<-done, r.Close())
}

// bootTime is CLOCK_BOOTTIME in ns: the clock of events.
func bootTime() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0
	}
	return t.Nano()
}

// eventTime turns an event's boot time into time since the run began, given both clocks' now.
func eventTime(at uint64, boot int64, now time.Duration) time.Duration {
	return now - time.Duration(boot-int64(at))
}

// newestOf keeps the last n of a list, in memory of its own.
func newestOf[T any](list []T, n int) []T {
	if len(list) <= n {
		return list
	}
	return slices.Clone(list[len(list)-n:])
}

// text is what stands before the ending 0 of a name that a program copied.
func text(b []int8) string {
	n := 0
	for n < len(b) && b[n] != 0 {
		n++
	}
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(b[i])
	}
	return string(out)
}

func rawText(b []int8) Raw { return RawString(text(b)) }
