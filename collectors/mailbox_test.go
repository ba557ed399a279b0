// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"sync"
	"testing"
)

func TestMailboxKeepsTheNewest(t *testing.T) {
	m := NewMailbox[int]()
	for i := 1; i <= 3; i++ {
		m.Put(i)
	}
	if got := <-m.C(); got != 3 {
		t.Errorf("took %d, want the newest, 3", got)
	}
	if got := m.Overwritten(); got != 2 {
		t.Errorf("Overwritten() = %d, want 2", got)
	}
	select {
	case v := <-m.C():
		t.Errorf("took %d a second time, want an empty box", v)
	default:
	}
	m.Put(4)
	if got := <-m.C(); got != 4 || m.Overwritten() != 2 {
		t.Errorf("took %d with %d overwritten, want 4 with 2", got, m.Overwritten())
	}
}

// TestMailboxCountsAll has writers and a reader at once: what was taken and what was overwritten
// is all there was.
func TestMailboxCountsAll(t *testing.T) {
	const writers, each = 4, 500
	m := NewMailbox[int]()
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := range each {
				m.Put(i)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var taken uint64
	for ended := false; !ended; {
		select {
		case <-m.C():
			taken++
		case <-done:
			ended = true
		}
	}
	taken += uint64(len(m.C()))
	if taken+m.Overwritten() != writers*each {
		t.Errorf("taken %d + overwritten %d, want %d together", taken, m.Overwritten(), writers*each)
	}
}
