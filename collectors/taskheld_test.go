// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bpf60/bpf"
)

// fakeTasks is one reading after the other.
type fakeTasks struct {
	scans   [][]bpf.Task
	turns   []bool // after each
	n       int
	lagging error
	pids    bpf.TaskPIDs
}

func (f *fakeTasks) Read(each func(*bpf.Task)) error {
	for i := range f.scans[f.n] {
		each(&f.scans[f.n][i])
	}
	f.n++
	return nil
}
func (f *fakeTasks) TakeTurns() bool    { return f.turns[f.n-1] }
func (f *fakeTasks) Lagging() error     { return f.lagging }
func (f *fakeTasks) PIDs() bpf.TaskPIDs { return f.pids }
func (f *fakeTasks) Close() error       { return nil }

// TestHeldPages has a process whose CPUs hold pages back scanned several times.
func TestHeldPages(t *testing.T) {
	task := func(rss int64, held int32, edit ...func(*bpf.Task)) bpf.Task {
		x := bpf.Task{Pid: 7, Tgid: 7, Start: 5, ExecId: 1, Rss: rss, Swap: 2 * rss, Held: held, SwapHeld: 2 * held, Has: bpf.TaskHasRSS | bpf.TaskHasHeld}
		for _, e := range edit {
			e(&x)
		}
		return x
	}
	waits := func(x *bpf.Task) { x.Held, x.SwapHeld, x.Has = 0, 0, bpf.TaskHasRSS }
	execs := func(x *bpf.Task) { x.ExecId++ }
	again := func(x *bpf.Task) { x.Start++ }
	none := bpf.Task{Pid: 8, Tgid: 8}
	tests := map[string]struct {
		scans []bpf.Task
		turns []bool
		want  []uint64
	}{
		"all at once":             {[]bpf.Task{task(100, 7), task(100, -7)}, []bool{false, false}, []uint64{107, 93}},
		"its turn has gone by":    {[]bpf.Task{task(100, 1), task(100, 7), task(110, 0, waits), task(120, 0, waits), task(120, 3)}, []bool{true, true, true, true, true}, []uint64{101, 107, 117, 127, 123}},
		"counts are below 0":      {[]bpf.Task{task(-30, 35), task(-30, 35), task(-32, 0, waits), task(-40, 0, waits)}, []bool{true, true, true, true}, []uint64{5, 5, 3, 0}},
		"never had its turn":      {[]bpf.Task{task(100, 0, waits), task(-3, 0, waits)}, []bool{true, true}, []uint64{100, 0}},
		"another program":         {[]bpf.Task{task(100, 7), task(100, 7), task(50, 0, waits, execs)}, []bool{true, true, true}, []uint64{107, 107, 50}},
		"another process":         {[]bpf.Task{task(100, 7), task(100, 7), task(50, 0, waits, again)}, []bool{true, true, true}, []uint64{107, 107, 50}},
		"was away":                {[]bpf.Task{task(100, 7), task(100, 7), none, task(50, 0, waits)}, []bool{true, true, true, true}, []uint64{107, 107, 0, 50}},
		"turns were taken before": {[]bpf.Task{task(100, 7), task(100, 7), task(100, 8), task(50, 0, waits)}, []bool{true, false, true, true}, []uint64{107, 107, 108, 50}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := &fakeTasks{turns: tt.turns}
			for _, x := range tt.scans {
				thread := bpf.Task{Pid: 9, Tgid: x.Tgid, Start: x.Start, ExecId: x.ExecId, Has: bpf.TaskHasRSS}
				f.scans = append(f.scans, []bpf.Task{x, thread})
			}
			s := &iterScanner{r: f}
			var rss, swap []uint64
			for range tt.scans {
				recs, err := s.Scan(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				rss, swap = append(rss, recs[0].RSS), append(swap, recs[0].Swap/2)
			}
			if diff := cmp.Diff(tt.want, rss); diff != "" {
				t.Errorf("RSS (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, swap); diff != "" {
				t.Errorf("half of Swap (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLaggingRSSIsTold holds that the probe says what RSS lacks.
func TestLaggingRSSIsTold(t *testing.T) {
	s := &iterScanner{r: &fakeTasks{lagging: errors.New("refused")}}
	if p := s.Probe(); p.State != Degraded || !strings.Contains(p.Reason, "RSS lacks") || !strings.Contains(p.Reason, "refused") || p.Remedy == "" {
		t.Errorf("Probe() = %+v, want degraded, with the reason and a remedy", p)
	}
	s.r = &fakeTasks{}
	if p := s.Probe(); p.State != On || p.Reason != "" {
		t.Errorf("Probe() = %+v, want on", p)
	}
}
