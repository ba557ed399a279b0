// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bytes"
	"testing"
)

// BenchmarkSnapshot is what the screen stands still for when S is pressed: both reports, of ten minutes
// and of 5,000 processes.
func BenchmarkSnapshot(b *testing.B) {
	for name, f := range map[string]Frame{"10-minutes": busyStory(601).frame(), "5000-processes": manyFrame(5000)} {
		r := reportOf(f)
		for format, write := range map[string]func(*bytes.Buffer) error{
			"text": func(w *bytes.Buffer) error { return Text(w, r) },
			"json": func(w *bytes.Buffer) error { return JSON(w, r) },
			"html": func(w *bytes.Buffer) error { return HTML(w, r) },
		} {
			b.Run(name+"/"+format, func(b *testing.B) {
				for b.Loop() {
					if err := write(&bytes.Buffer{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
