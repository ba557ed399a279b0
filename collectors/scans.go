// SPDX-License-Identifier: Apache-2.0

package collectors

import "sync"

// scanBell tells who counts what scans of the tasks do not see that one begins. Its methods may be
// called from any goroutine; a nil bell is silent.
type scanBell struct {
	mu   sync.Mutex
	hear func(boot uint64)
	last uint64
}

// listen sets who hears the next scans; nil: nobody. Who begins to listen is told of the last scan.
func (b *scanBell) listen(hear func(boot uint64)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hear = hear
	if hear != nil && b.last != 0 {
		hear(b.last)
	}
}

// ring says that a scan begins, at that boot time in ns.
func (b *scanBell) ring(boot uint64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = boot
	if b.hear != nil {
		b.hear(boot)
	}
}
