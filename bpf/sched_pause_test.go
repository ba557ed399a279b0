// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"strconv"
	"testing"
	"time"
)

// crowd keeps n processes busy on one CPU.
func crowd(t *testing.T, cpu, n int) {
	t.Helper()
	for range n {
		startReady(t, "crowd "+strconv.Itoa(cpu))
	}
}

// TestSchedPause: neither a run nor a wait after a pause is longer than the programs are attached again.
func TestSchedPause(t *testing.T) {
	tests := map[string]func(t *testing.T) (pause func(bool) error, times func() []Hist){
		"runs": func(t *testing.T) (func(bool) error, func() []Hist) {
			s := openSched(t, need(t))
			return s.Pause, func() (out []Hist) {
				for _, c := range readSched(t, s) {
					out = append(out, c.OnCPU)
				}
				return out
			}
		},
		"waits": func(t *testing.T) (func(bool) error, func() []Hist) {
			w := openWake(t, need(t))
			return w.Pause, func() (out []Hist) {
				for _, c := range readWakes(t, w) {
					out = append(out, c.Woken, c.Preempted)
				}
				return out
			}
		},
	}
	for name, open := range tests {
		t.Run(name, func(t *testing.T) {
			pause, times := open(t)
			crowd(t, lastCPU(t), 4)
			nap(50 * time.Millisecond)
			if err := pause(true); err != nil {
				t.Fatal(err)
			}
			before := times()
			nap(500 * time.Millisecond)
			again := time.Now()
			if err := pause(false); err != nil {
				t.Fatal(err)
			}
			nap(50 * time.Millisecond)
			after := times()
			looked := time.Since(again)
			var n uint64
			for i := range after {
				h := after[i]
				h.minus(&before[i])
				n += h.count()
				for slot, n := range h.Slots {
					if least := time.Duration(1<<slot) * time.Microsecond; n > 0 && least > looked {
						t.Errorf("%d %s of %v and more, attached for %v", n, name, least, looked)
					}
				}
			}
			if n == 0 {
				t.Error("nothing is counted after the pause")
			}
		})
	}
}
