// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"sync"
	"sync/atomic"
)

// Mailbox holds the newest of what was put into it. Put never waits: a reader that is slow finds
// the newest value and misses those between. It is for what may be dropped, such as frames.
type Mailbox[T any] struct {
	mu          sync.Mutex // one Put at a time
	slot        chan T
	overwritten atomic.Uint64
}

// NewMailbox returns an empty mailbox.
func NewMailbox[T any]() *Mailbox[T] {
	return &Mailbox[T]{slot: make(chan T, 1)}
}

// Put replaces what is in the box. Any goroutine may call it.
func (m *Mailbox[T]) Put(v T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.slot:
		m.overwritten.Add(1)
	default:
	}
	// Only Put fills the slot and only one runs: there is room.
	m.slot <- v
}

// C gives what was put last, once.
func (m *Mailbox[T]) C() <-chan T { return m.slot }

// Overwritten counts the values nobody took, since the box was made.
func (m *Mailbox[T]) Overwritten() uint64 { return m.overwritten.Load() }
