// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bpf60/bpf"
)

// fakeRing is a ring that a test fills.
type fakeRing struct {
	mu      sync.Mutex
	records []fakeRecord
	counts  map[bpf.EventKind]bpf.EventCounts
	wake    chan struct{}
	stopped chan struct{}
	drained chan int // records of each drain that found some
	err     error    // of Counts
	closed  int
}

type fakeRecord struct {
	kind bpf.EventKind
	data string
}

func newFakeRing() *fakeRing {
	return &fakeRing{
		counts: map[bpf.EventKind]bpf.EventCounts{}, wake: make(chan struct{}),
		stopped: make(chan struct{}), drained: make(chan int, 8),
	}
}

func (r *fakeRing) put(kind bpf.EventKind, data ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range data {
		r.records = append(r.records, fakeRecord{kind, d})
		c := r.counts[kind]
		c.Sent++
		r.counts[kind] = c
	}
}

func (r *fakeRing) Wait() error {
	select {
	case <-r.wake:
		return nil
	case <-r.stopped:
		return os.ErrClosed
	}
}

func (r *fakeRing) Stop() error { close(r.stopped); return nil }

func (r *fakeRing) Drain(each func(bpf.EventKind, []byte)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.records) > 0 {
		r.drained <- len(r.records)
	}
	for _, rec := range r.records {
		each(rec.kind, []byte(rec.data))
	}
	r.records = nil
	return nil
}

func (r *fakeRing) Counts(kind bpf.EventKind) (bpf.EventCounts, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[kind], r.err
}

func (r *fakeRing) Close() error { r.closed++; return nil }

func feedOf(r *fakeRing) *ringFeed {
	return &ringFeed{openRing: func() (ring, error) { return r, nil }, queues: map[bpf.EventKind]*eventQueue{}}
}

func taken(t *testing.T, f feed, kind bpf.EventKind) ([]string, bpf.EventCounts) {
	t.Helper()
	var got []string
	c, err := f.take(kind, func(rec []byte) { got = append(got, string(rec)) })
	if err != nil {
		t.Fatalf("take(%d): %v", kind, err)
	}
	return got, c
}

func TestFeedKeepsOthersRecords(t *testing.T) {
	r := newFakeRing()
	r.put(bpf.EventExec, "before")
	r.records = nil // counted, and read by somebody earlier
	f := feedOf(r)
	if err := f.open(bpf.EventExec, bpf.EventExit); err != nil {
		t.Fatal(err)
	}
	r.put(bpf.EventExec, "a", "b")
	r.put(bpf.EventExit, "x")
	r.put(bpf.EventDNS, "nobody's")

	exits, counts := taken(t, f, bpf.EventExit)
	if diff := cmp.Diff([]string{"x"}, exits); diff != "" || counts.Sent != 1 {
		t.Errorf("exits (-want +got):\n%s, counts %+v, want 1 sent", diff, counts)
	}
	r.put(bpf.EventExec, "c")
	execs, counts := taken(t, f, bpf.EventExec)
	if diff := cmp.Diff([]string{"a", "b", "c"}, execs); diff != "" || counts.Sent != 3 {
		t.Errorf("execs (-want +got):\n%s, counts %+v, want 3 sent", diff, counts)
	}
	if again, _ := taken(t, f, bpf.EventExec); again != nil {
		t.Errorf("taken twice: %q", again)
	}
	if err := f.close(bpf.EventExec); err != nil || r.closed != 0 {
		t.Errorf("close of one kind: %v, ring closed %d times, want 0", err, r.closed)
	}
	if _, err := f.take(bpf.EventExec, func([]byte) {}); err == nil {
		t.Error("take of a closed kind: no error")
	}
	if err := f.close(bpf.EventExit); err != nil || r.closed != 1 {
		t.Errorf("close of the last kind: %v, ring closed %d times, want 1", err, r.closed)
	}
}

// TestFeedDrainsWhenWoken: a ring that fills between two ticks is emptied, and what the queue does not
// hold is counted.
func TestFeedDrainsWhenWoken(t *testing.T) {
	r := newFakeRing()
	f := feedOf(r)
	if err := f.open(bpf.EventOpen); err != nil {
		t.Fatal(err)
	}
	for range feedRecords + 7 {
		r.put(bpf.EventOpen, "r")
	}
	r.wake <- struct{}{}
	if n := <-r.drained; n != feedRecords+7 {
		t.Fatalf("the wake-up drained %d records, want %d", n, feedRecords+7)
	}
	got, counts := taken(t, f, bpf.EventOpen)
	want := bpf.EventCounts{Sent: feedRecords, Unlisted: 7}
	if len(got) != feedRecords || counts != want {
		t.Errorf("%d records with %+v, want %d with %+v", len(got), counts, feedRecords, want)
	}
	if err := f.close(bpf.EventOpen); err != nil {
		t.Error(err)
	}
}

// brokenRing panics when the watcher drains it.
type brokenRing struct{ *fakeRing }

func (brokenRing) Drain(func(bpf.EventKind, []byte)) error { panic("a record of no kind") }

func TestFeedWatcherPanics(t *testing.T) {
	r := newFakeRing()
	f := feedOf(r)
	done := make(chan error, 1)
	go f.watch(brokenRing{r}, done)
	r.wake <- struct{}{}
	if err := <-done; err == nil || err.Error() != "panic: a record of no kind" {
		t.Errorf("the watcher ended with %v, want the panic", err)
	}
	if !f.mu.TryLock() {
		t.Error("the watcher left the feed locked")
	}
}

func TestFeedOpensAllOrNothing(t *testing.T) {
	r := newFakeRing()
	r.err = errors.New("no counts")
	f := feedOf(r)
	if err := f.open(bpf.EventExec, bpf.EventExit); !errors.Is(err, r.err) {
		t.Errorf("open = %v, want %v", err, r.err)
	}
	if len(f.queues) != 0 || r.closed != 1 {
		t.Errorf("left open: %d queues, ring closed %d times", len(f.queues), r.closed)
	}
}
