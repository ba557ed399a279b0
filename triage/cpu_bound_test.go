// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"slices"
	"strings"
	"testing"
	"time"

	"bpf60/collectors"
)

// seen is a process of one thread on a CPU, with what it does each second.
type seen struct {
	proc
	cpu   int
	other int // where it is every second time, plus 1; 0: nowhere else
}

// threadsOf are processes as the tasks tell of them, and their threads in the last so many of ten seconds.
func threadsOf(looks int, list ...seen) fill {
	var procs []proc
	for _, x := range list {
		procs = append(procs, x.proc)
	}
	all := tasks(procs...)
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		all(i, s, span)
		if i <= 10-looks {
			return
		}
		s.Tasks.BusyAll = true
		for k, row := range s.Tasks.Rows {
			x := list[slices.IndexFunc(list, func(x seen) bool { return x.pid == row.PID })]
			cpu := x.cpu
			if x.other > 0 && i%2 == 0 {
				cpu = x.other - 1
			}
			s.Tasks.Busy = append(s.Tasks.Busy, collectors.ThreadRow{
				ProcInfo: s.Tasks.Rows[k].ProcInfo, TID: row.PID, Run: row.Run, Wait: row.Wait, LastCPU: uint16(cpu) + 1,
			})
		}
	}
}

func TestConfined(t *testing.T) {
	at := func(pid int32, comm, cgroup string, cpu int, run, wait time.Duration) seen {
		return seen{proc: proc{pid: pid, parent: 1, comm: comm, cgroup: cgroup, run: run, wait: wait}, cpu: cpu}
	}
	// Four CPUs, of which the second is full.
	cpus := ticksOf(3, idleCPU(), busyCPU(), idleCPU(), collectors.Ticks{User: 20, Idle: 80})
	hog, hog2 := at(20, "spin", "/batch", 1, ms(400), ms(600)), at(21, "spin", "/batch", 1, ms(380), ms(620))
	web := at(30, "web", "/web", 1, ms(200), ms(800))
	elsewhere := at(40, "db", "/db", 3, ms(190), ms(1))
	nice := web
	nice.nice = 19
	wanders := func(x seen) seen { x.other = 3; return x }
	h := func(looks int, list ...seen) *History { return ticking(10, cpus, threadsOf(looks, list...)) }
	checkCases(t, "cpu.saturated", map[string]ruleCase{
		"another cgroup is bound there, too": {
			h:    h(6, hog, hog2, web, elsewhere),
			want: "warning 80 % by spin[20], spin[21] hits web[30]", in: "3.0 runnable on cpu1, others wait 80 % of their time; other CPUs are idle 93 %",
		},
		"only its own wait":           {h: h(6, hog, hog2, elsewhere), want: "info 0 % by spin[20], spin[21]", in: "busy: 2.0 runnable on cpu1"},
		"the other is patient":        {h: h(6, hog, hog2, nice), want: "info 0 % by spin[20], spin[21]"},
		"nobody looked yet":           {h: h(0, hog, hog2, web)},
		"too few looks":               {h: h(4, hog, hog2, web)},
		"they are moved about":        {h: h(6, wanders(hog), wanders(hog2), wanders(web))},
		"one spins there and no more": {h: h(6, at(20, "spin", "/batch", 1, ms(1000), 0), elsewhere)},
		"the others are busy, too": {
			h: ticking(10, ticksOf(4, busyCPU(), collectors.Ticks{User: 60, Idle: 40}), threadsOf(6, at(20, "spin", "/batch", 0, ms(500), ms(500)), at(30, "web", "/web", 0, ms(500), ms(500)))),
		},
	})
	f, wants := judge(t, "cpu.saturated", h(0, hog, hog2, web))
	if f.ID != "" || !slices.Equal(wants, threadsWanted()) {
		t.Errorf("finds %q and asks for %v, want the threads first", f.ID, wants)
	}
	if _, wants := judge(t, "cpu.saturated", h(0, elsewhere)); wants != nil {
		t.Errorf("asks for %v where nobody waits", wants)
	}
	f = judged(t, "cpu.saturated", h(6, hog, hog2, web))
	if want := "taskset -cap 20;"; !strings.HasPrefix(f.Command, want) || f.Row != "20" || len(f.Evidence) != 1 || !strings.Contains(f.Evidence[0], "on no other CPU in 6 looks") {
		t.Errorf("command %q, row %q, evidence %q", f.Command, f.Row, f.Evidence)
	}
}

// Looks are asked for while there are too few that last, and one at the threads of a single process is none.
func TestLooksAtThreads(t *testing.T) {
	hog := seen{proc: proc{pid: 20, parent: 1, comm: "spin", cgroup: "/batch", run: ms(400), wait: ms(600)}, cpu: 1}
	one := func(_ int, s *collectors.Snapshot, _ collectors.Span) { s.Tasks.BusyAll = false }
	for name, tt := range map[string]struct {
		h    *History
		want int
	}{
		"none":            {ticking(10, threadsOf(0, hog)), 1},
		"enough":          {ticking(10, threadsOf(6, hog)), 0},
		"of one process":  {ticking(10, threadsOf(6, hog), one), 1},
		"they become old": {ticking(70, threadsOf(10, hog), func(i int, s *collectors.Snapshot, _ collectors.Span) { s.Tasks.BusyAll = i < 20 }), 1},
	} {
		if got := len(recently(tt.h).threads()); got != tt.want {
			t.Errorf("%s: %d wants, want %d", name, got, tt.want)
		}
	}
}

func TestCPUNames(t *testing.T) {
	for want, cpus := range map[string][]int{"cpu3": {3}, "cpu0, cpu2, cpu9": {0, 2, 9}, "4 CPUs": {1, 2, 3, 4}} {
		if got := cpuNames(cpus); got != want {
			t.Errorf("cpuNames(%v) = %q, want %q", cpus, got, want)
		}
	}
}

func TestAloneOnIsolated(t *testing.T) {
	facts := &collectors.Facts{Isolated: []int{1}}
	host := func(_ int, s *collectors.Snapshot, span collectors.Span) {
		s.Host = &collectors.Host{Span: span, Facts: facts}
	}
	on := func(pid int32, cpu int) seen {
		return seen{proc: proc{pid: pid, parent: 1, comm: "poll", run: ms(990)}, cpu: cpu}
	}
	one := ticksOf(1, idleCPU(), busyCPU(), idleCPU())
	two := ticksOf(2, idleCPU(), busyCPU(), busyCPU())
	checkCases(t, "cpu.single_thread", map[string]ruleCase{
		"on an isolated CPU":      {h: ticking(10, host, one, threadsOf(3, on(40, 1)))},
		"on another":              {h: ticking(10, host, one, threadsOf(3, on(40, 2))), want: "info 99 % by poll[40]"},
		"one of two":              {h: ticking(10, host, two, threadsOf(3, on(40, 1), on(41, 2))), want: "info 99 % by poll[41]"},
		"nobody looked yet":       {h: ticking(10, host, one, threadsOf(0, on(40, 1)))},
		"no CPU is isolated here": {h: ticking(10, one, threadsOf(0, on(40, 1))), want: "info 99 % by poll[40]"},
	})
	if _, wants := judge(t, "cpu.single_thread", ticking(10, host, one, threadsOf(0, on(40, 1)))); !slices.Equal(wants, threadsWanted()) {
		t.Errorf("asks for %v, want where threads run", wants)
	}
}
