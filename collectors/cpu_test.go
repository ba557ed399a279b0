// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func cpuIn(fs FS) Collector { return newCPU(fs, fs.shared("vmstat")) }

func TestDeriveCPU(t *testing.T) {
	ticks := func(user, idle, iowait uint64) Ticks { return Ticks{User: user, Idle: idle, IOWait: iowait} }
	span := Span{time.Second, 2 * time.Second}
	tests := map[string]struct {
		prev, cur kernelStat
		want      CPU
	}{
		"grows": {
			kernelStat{All: ticks(1, 2, 3), Switches: 10, Interrupts: 20, Forks: 30, CPUs: []CPUTime{{CPU: 0, Ticks: ticks(1, 2, 3)}}},
			kernelStat{All: ticks(5, 7, 9), Switches: 11, Interrupts: 22, Forks: 33, Running: 4, Blocked: 5, CPUs: []CPUTime{{CPU: 0, Ticks: ticks(5, 7, 9)}}},
			CPU{All: ticks(4, 5, 6), Switches: 1, Interrupts: 2, Forks: 3, Running: 4, Blocked: 5, SwitchesTotal: 11, CPUs: []CPUTime{{CPU: 0, Ticks: ticks(4, 5, 6)}}},
		},
		"idle and iowait step back, the rest stands": {
			kernelStat{All: ticks(1, 200, 300), CPUs: []CPUTime{{CPU: 0, Ticks: ticks(1, 200, 300)}}},
			kernelStat{All: ticks(5, 199, 290), CPUs: []CPUTime{{CPU: 0, Ticks: ticks(5, 199, 290)}}},
			CPU{All: ticks(4, 0, 0), CPUs: []CPUTime{{CPU: 0, Ticks: ticks(4, 0, 0)}}},
		},
		"interrupts are accounted for, and there were none": {
			kernelStat{All: Ticks{IRQ: 7}},
			kernelStat{All: Ticks{IRQ: 7}},
			CPU{CPUs: []CPUTime{}},
		},
		"counters step back": {
			kernelStat{Switches: 10, Interrupts: 20, Forks: 30},
			kernelStat{Switches: 9, Interrupts: 21, Forks: 0},
			CPU{Interrupts: 1, SwitchesTotal: 9, CPUs: []CPUTime{}},
		},
		"a CPU goes": {
			kernelStat{CPUs: []CPUTime{{CPU: 0, Ticks: ticks(1, 0, 0)}, {CPU: 1, Ticks: ticks(1, 0, 0)}, {CPU: 2, Ticks: ticks(1, 0, 0)}}},
			kernelStat{CPUs: []CPUTime{{CPU: 0, Ticks: ticks(3, 0, 0)}, {CPU: 2, Ticks: ticks(4, 0, 0)}}},
			CPU{All: ticks(5, 0, 0), CPUs: []CPUTime{{CPU: 0, Ticks: ticks(2, 0, 0)}, {CPU: 2, Ticks: ticks(3, 0, 0)}}},
		},
		"a CPU comes": {
			kernelStat{CPUs: []CPUTime{{CPU: 1, Ticks: ticks(1, 0, 0)}, {CPU: 3, Ticks: ticks(1, 0, 0)}}},
			kernelStat{CPUs: []CPUTime{{CPU: 0, Ticks: ticks(9, 9, 9)}, {CPU: 1, Ticks: ticks(3, 0, 0)}, {CPU: 2, Ticks: ticks(4, 0, 0)}, {CPU: 3, Ticks: ticks(2, 0, 0)}, {CPU: 4, Ticks: ticks(2, 0, 0)}}},
			CPU{All: ticks(3, 0, 0), CPUs: []CPUTime{{CPU: 0, New: true}, {CPU: 1, Ticks: ticks(2, 0, 0)}, {CPU: 2, New: true}, {CPU: 3, Ticks: ticks(1, 0, 0)}, {CPU: 4, New: true}}},
		},
		"a CPU comes and loses its idle": {
			kernelStat{All: ticks(10, 2000000, 5), CPUs: []CPUTime{{CPU: 0, Ticks: ticks(10, 1000000, 5)}}},
			kernelStat{All: ticks(20, 1000100, 5), CPUs: []CPUTime{{CPU: 0, Ticks: ticks(20, 1000090, 5)}, {CPU: 1, Ticks: ticks(0, 10, 0)}}},
			CPU{All: ticks(10, 90, 0), CPUs: []CPUTime{{CPU: 0, Ticks: ticks(10, 90, 0)}, {CPU: 1, New: true}}},
		},
		"a CPU goes and its idle leaps": {
			kernelStat{All: ticks(10, 1000100, 5), CPUs: []CPUTime{{CPU: 0, Ticks: ticks(10, 1000000, 5)}, {CPU: 1, Ticks: ticks(0, 100, 0)}}},
			kernelStat{All: ticks(20, 2000000, 5), CPUs: []CPUTime{{CPU: 0, Ticks: ticks(20, 1000090, 5)}}},
			CPU{All: ticks(10, 90, 0), CPUs: []CPUTime{{CPU: 0, Ticks: ticks(10, 90, 0)}}},
		},
		"a CPU goes and comes between two readings": {
			kernelStat{All: ticks(10, 1900000, 5), CPUs: []CPUTime{{CPU: 0, Ticks: ticks(10, 1000000, 5)}, {CPU: 1, Ticks: ticks(0, 900000, 0)}}},
			kernelStat{All: ticks(20, 1000095, 5), CPUs: []CPUTime{{CPU: 0, Ticks: ticks(20, 1000090, 5)}, {CPU: 1, Ticks: ticks(0, 5, 0)}}},
			CPU{All: ticks(10, 90, 0), CPUs: []CPUTime{{CPU: 0, Ticks: ticks(10, 90, 0)}, {CPU: 1}}},
		},
		"no line of a CPU": {
			kernelStat{All: ticks(1, 200, 300)},
			kernelStat{All: ticks(5, 199, 300)},
			CPU{All: ticks(4, 0, 0), CPUs: []CPUTime{}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.want.Span, tt.want.TickLen, tt.want.NoIRQTime = span, 10*time.Millisecond, tt.cur.All.IRQ == 0
			if diff := cmp.Diff(&tt.want, deriveCPU(&tt.prev, &tt.cur, span)); diff != "" {
				t.Errorf("deriveCPU (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTicksSince(t *testing.T) {
	prev := Ticks{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	cur := Ticks{11, 22, 33, 44, 55, 66, 77, 88, 99, 110}
	if got, want := cur.Since(prev), (Ticks{10, 20, 30, 40, 50, 60, 70, 80, 90, 100}); got != want {
		t.Errorf("Since = %v, want %v", got, want)
	}
	if got := prev.Since(cur); got != (Ticks{}) {
		t.Errorf("Since, all stepped back = %v, want zero", got)
	}
	if got, want := prev.Total(), uint64(1+2+3+4+5+6+7+8); got != want {
		t.Errorf("Total = %d, want %d: guest is inside user", got, want)
	}
}

// collectAs asks a collector for a sample of type S.
func collectAs[S Sample](t testing.TB, c Collector, now time.Duration) S {
	t.Helper()
	s, err := c.Collect(context.Background(), now)
	if err != nil {
		t.Fatal(err)
	}
	return s.(S)
}

func start(t testing.TB, c Collector) {
	t.Helper()
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestCPUCollector(t *testing.T) {
	tree := procTree{t, t.TempDir()}
	stat := func(user, ctxt string) {
		tree.write("stat", "cpu "+user+" 0 0 9\ncpu0 "+user+" 0 0 9\nintr 100 1\nctxt "+ctxt+"\nbtime 1\nprocesses 7\nprocs_running 2\nprocs_blocked 1\n")
	}
	stat("100", "50")
	tree.write("vmstat", "pgpgin 10\npgpgout 20\npswpin 30\npswpout 40\n")
	c := cpuIn(NewFS(tree.root))
	start(t, c)
	if p := c.Probes(); p[0].State != Warming {
		t.Errorf("Probes before the first reading = %+v, want warming", p)
	}

	want := &CPU{
		Span: Span{3 * time.Second, 3 * time.Second}, CPUs: []CPUTime{{CPU: 0}},
		Running: 2, Blocked: 1, VMKnown: true, SwitchesTotal: 50, TickLen: 10 * time.Millisecond, NoIRQTime: true,
	}
	if diff := cmp.Diff(want, collectAs[*CPU](t, c, 3*time.Second)); diff != "" {
		t.Errorf("first sample (-want +got):\n%s", diff)
	}

	stat("130", "75")
	tree.write("vmstat", "pgpgin 11\npgpgout 22\npswpin 33\npswpout 44\n")
	want.Span, want.All, want.CPUs[0].Ticks = Span{3 * time.Second, 5 * time.Second}, Ticks{User: 30}, Ticks{User: 30}
	want.Switches, want.SwitchesTotal = 25, 75
	want.BlocksIn, want.BlocksOut, want.SwapIn, want.SwapOut = 1, 2, 3, 4
	second := collectAs[*CPU](t, c, 5*time.Second)
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("second sample (-want +got):\n%s", diff)
	}

	// Without /proc/vmstat the rest goes on, and what it missed is not made up for in one span.
	tree.write("vmstat", "")
	if got := collectAs[*CPU](t, c, 5500*time.Millisecond); got.VMKnown || got.SwapIn != 0 {
		t.Errorf("empty vmstat = %+v, want VMKnown false", got)
	}
	tree.write("vmstat", "pgpgin 500\npgpgout 500\npswpin 500\npswpout 500\n")
	if got := collectAs[*CPU](t, c, 5600*time.Millisecond); !got.VMKnown || got.SwapIn != 0 {
		t.Errorf("vmstat after a gap = %+v, want a baseline", got)
	}
	if err := os.Rename(filepath.Join(tree.root, "vmstat"), filepath.Join(tree.root, "away")); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := collectAs[*CPU](t, c, 6*time.Second); got.VMKnown || got.From != got.To {
		t.Errorf("without vmstat = %+v, want a new baseline and VMKnown false", got)
	}
	if p := c.Probes(); p[0].State != On || p[1].State != Degraded || p[1].Reason == "" {
		t.Errorf("Probes without vmstat = %+v", p)
	}
	tree.write("vmstat", "pgpgin 1000\npgpgout 1000\npswpin 1000\npswpout 1000\n")
	if got := collectAs[*CPU](t, c, 7*time.Second); !got.VMKnown || got.SwapIn != 0 {
		t.Errorf("vmstat is back: %+v, want a baseline", got)
	}

	// A reading that fails is an error, and the next span begins where the last one ended.
	tree.write("stat", "cpu 1")
	if _, err := c.Collect(context.Background(), 8*time.Second); err == nil {
		t.Error("Collect of half a file succeeds")
	}
	if p := c.Probes(); p[0].State != Failed || p[1].State != Failed {
		t.Errorf("Probes after an error = %+v, want failed", p)
	}
	stat("140", "80")
	if got := collectAs[*CPU](t, c, 9*time.Second); got.From != 7*time.Second || got.All.User != 10 {
		t.Errorf("after an error = %+v, want the span from 7 s", got)
	}
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("a returned sample was written (-want +got):\n%s", diff)
	}
}

// TestCPUHost holds on this host's own files.
func TestCPUHost(t *testing.T) {
	c := cpuIn(NewFS(""))
	start(t, c)
	collectAs[*CPU](t, c, 0)
	for range 2000 {
		os.Getppid() // a system call each: some time passes
	}
	s := collectAs[*CPU](t, c, time.Second)
	if len(s.CPUs) == 0 || s.SwitchesTotal == 0 || s.Running < 1 || !s.VMKnown {
		t.Errorf("sample = %+v", s)
	}
}

func benchmarkCollect(b *testing.B, c Collector) {
	start(b, c)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Collect(context.Background(), time.Second); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCollectCPU(b *testing.B)   { benchmarkCollect(b, cpuIn(NewFS(""))) }
func BenchmarkCollectHost(b *testing.B)  { benchmarkCollect(b, hostIn(NewFS(""))) }
func BenchmarkCollectTasks(b *testing.B) { benchmarkCollect(b, newTasks(NewFS(""), nil)) }
