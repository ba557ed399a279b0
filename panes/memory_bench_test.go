// SPDX-License-Identifier: Apache-2.0

package panes

import "testing"

// BenchmarkMemoryView is the pane at its largest, with 310 caches.
func BenchmarkMemoryView(b *testing.B) {
	f := extremeFrame()
	p := NewMemory()
	c := Canvas{Width: 200, Height: 57, Theme: plain(), Focused: true}
	b.ReportAllocs()
	for b.Loop() {
		p.View(f, c)
	}
}
