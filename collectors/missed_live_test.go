// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// TestMissedLive makes and frees objects of the kernel's while interrupts do as much on the same CPUs: within
// the counting of another, they are passed over. The row says how often, by the kernel's own count.
func TestMissedLive(t *testing.T) {
	k := bpf.Inspect()
	w := &worker{c: NewKmem(k, NewFS("")), began: time.Now(), missed: missedRuns{read: k.Missed}}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	look := func() Probe {
		a := w.serve(t.Context(), request{on: true, collect: true})
		if !a.running {
			lacking(t, "%v", a.err)
		}
		return a.rows[0]
	}
	if p := look(); p.Missed > p.Lost {
		t.Fatalf("at the start: %+v", p)
	}
	var mine []string
	kernel := func() (n uint64) {
		runs, err := k.Runs()
		if err != nil {
			t.Fatal(err)
		}
		mine = mine[:0]
		for _, r := range runs {
			n += r.Missed
			mine = append(mine, r.Name)
		}
		return n
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() { // what a pipe is made of is freed by callbacks of RCU
				var fds [2]int
				if unix.Pipe2(fds[:], unix.O_CLOEXEC) == nil {
					_ = unix.Close(fds[0])
					_ = unix.Close(fds[1])
				}
			}
		})
	}
	for end := time.Now().Add(20 * time.Second); kernel() < 3 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	// What happens meanwhile may be in the row or not.
	least := kernel()
	row := look()
	most := kernel()
	stop.Store(true)
	wg.Wait()
	t.Logf("%d to %d runs passed over of %v, the row: %+v", least, most, mine, row)
	if row.Missed < least || row.Missed > most || row.Lost < row.Missed {
		t.Errorf("%d runs are missed and %d lost, the kernel passed over %d to %d", row.Missed, row.Lost, least, most)
	}
	if !slices.Contains(mine, "kmem_allocated") || most == 0 {
		t.Skipf("within 20 s no interrupt came amid one of %v", mine)
	}
}
