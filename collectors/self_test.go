// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSelfMeasuresThisProcess(t *testing.T) {
	c := NewSelf(nil)
	if err := c.Start(t.Context()); err != nil {
		t.Fatalf("Start = %v", err)
	}
	first := collectSelf(t, c, time.Second)
	if first.Seconds() != 0 || first.CPU != 0 || first.CPUTotal == 0 {
		t.Errorf("first sample: span %v, CPU %v of %v, want no span and only a total", first.Span, first.CPU, first.CPUTotal)
	}
	if first.RSS < 1<<20 || first.RSS > 1<<30 || first.MaxRSS < 1<<20 {
		t.Errorf("RSS %d, most %d, want plausible bytes", first.RSS, first.MaxRSS)
	}

	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		t.Fatal(err)
	}
	// Not from Go's heap, whose pages may be resident already.
	held, err := unix.Mmap(-1, 0, 32<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(held) }()
	for burnt := int64(0); burnt < int64(30*time.Millisecond); { // until the kernel has charged us so much
		for i := range held {
			held[i]++
		}
		if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
			t.Fatal(err)
		}
		burnt = after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	}
	second := collectSelf(t, c, 3*time.Second)
	if second.Span != (Span{time.Second, 3 * time.Second}) {
		t.Errorf("span = %v, want 1 s to 3 s", second.Span)
	}
	if second.CPU < 30*time.Millisecond || second.CPU > time.Minute || second.CPUTotal != first.CPUTotal+second.CPU {
		t.Errorf("CPU = %v (%v in all), want at least the 30ms burnt, added to %v", second.CPU, second.CPUTotal, first.CPUTotal)
	}
	if grown := int64(second.RSS) - int64(first.RSS); grown < 24<<20 {
		t.Errorf("RSS grew by %d, want about the %d touched", grown, len(held))
	}
	if held[0] == 0 {
		t.Error("nothing was written")
	}

	nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	if second.Nice != 20-nice || second.Nice < -20 || second.Nice > 19 {
		t.Errorf("Nice = %d, want %d", second.Nice, 20-nice)
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if _, err := c.Collect(t.Context(), 0); err == nil {
		t.Error("Collect after Close = nil, want an error")
	}
}

// TestSelfProcess: it is the process that the scan of tasks lists as this one.
func TestSelfProcess(t *testing.T) {
	c := NewSelf(nil)
	if err := c.Start(t.Context()); err != nil {
		t.Fatalf("Start = %v", err)
	}
	defer c.Close()
	s := collectSelf(t, c, 0)
	tasks := newTasks(NewFS(""), nil)
	if err := tasks.Start(t.Context()); err != nil {
		t.Fatalf("Start = %v", err)
	}
	defer tasks.Close()
	all, err := tasks.Collect(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all.(*Tasks).Key {
		if int(p.PID) == os.Getpid() {
			if !s.Process.Same(p.Process) || s.Process.Same(Process{p.TGID, p.Start + tickNs}) {
				t.Errorf("Self is %+v, the scan has %+v", s.Process, p.Process)
			}
			return
		}
	}
	t.Error("the scan does not list this process")
}

func TestSelfAudit(t *testing.T) {
	tests := map[string]struct {
		rows     [][]Probe // one tick each
		wantBPF  []time.Duration
		wantLost []uint64
	}{
		"sums over probes": {
			rows: [][]Probe{
				{{Name: "a", Events: 10, NsPerEvent: 100}, {Name: "b", Events: 5, NsPerEvent: 20, Lost: 2}},
				{{Name: "a", Events: 30, NsPerEvent: 100, Lost: 1}, {Name: "b", Events: 5, NsPerEvent: 20, Lost: 2}},
			},
			wantBPF: []time.Duration{1100, 2000}, wantLost: []uint64{2, 3},
		},
		"attached anew": {
			rows: [][]Probe{
				{{Name: "a", Events: 10, NsPerEvent: 100, Lost: 4}},
				{{Name: "a", Events: 3, NsPerEvent: 100, Lost: 1}},
			},
			wantBPF: []time.Duration{1000, 300}, wantLost: []uint64{4, 5},
		},
		"gone and back": {
			rows: [][]Probe{
				{{Name: "a", Events: 10, NsPerEvent: 1.5}},
				{},
				{{Name: "a", Events: 12, NsPerEvent: 1.5}},
			},
			wantBPF: []time.Duration{15, 0, 3}, wantLost: []uint64{0, 0, 0},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := NewSelf(nil)
			if err := c.Start(t.Context()); err != nil {
				t.Fatalf("Start = %v", err)
			}
			defer func() {
				if err := c.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			}()
			collectSelf(t, c, 0)
			var total time.Duration
			for i, rows := range tt.rows {
				c.(Auditor).Audit(rows)
				s := collectSelf(t, c, time.Duration(i+1)*time.Second)
				total += tt.wantBPF[i]
				if s.BPF != tt.wantBPF[i] || s.BPFTotal != total || s.Lost != tt.wantLost[i] {
					t.Errorf("tick %d: BPF %v (%v in all), lost %d, want %v (%v), %d", i, s.BPF, s.BPFTotal, s.Lost, tt.wantBPF[i], total, tt.wantLost[i])
				}
			}
		})
	}
}

func collectSelf(t *testing.T, c Collector, now time.Duration) *Self {
	t.Helper()
	s, err := c.Collect(t.Context(), now)
	if err != nil {
		t.Fatalf("Collect = %v", err)
	}
	return s.(*Self)
}

func BenchmarkSelf(b *testing.B) {
	c := NewSelf(nil)
	if err := c.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Collect(b.Context(), 0); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
}
