// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"bpf60/collectors"
)

// waits are so many waits a second of each length.
func waits(each map[time.Duration]int) fill {
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		x := &collectors.Sched{Span: span}
		for d, n := range each {
			for range n {
				x.Host.Wait.Add(uint64(d))
			}
		}
		s.Sched = x
	}
}

// stops is a cgroup with a quota of half a CPU.
func stops(path string, periods, throttled uint64, stopped time.Duration) fill {
	info := &collectors.CgroupInfo{ID: 9, Path: collectors.RawString(path), Own: collectors.CgroupLimits{CPUs: 0.5}}
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		s.Cgroups = &collectors.Cgroups{Span: span, Rows: []collectors.CgroupRow{{
			CgroupInfo: info, Span: span, Has: collectors.HasUsage | collectors.HasThrottle, Usage: ms(400),
			Periods: periods, Throttled: throttled, ThrottledFor: stopped,
		}}}
	}
}

// measuredBy says which process took the samples.
func measuredBy(pid int32) fill {
	return func(_ int, s *collectors.Snapshot, span collectors.Span) {
		s.Self = &collectors.Self{Span: span, Process: collectors.Process{TGID: pid, Start: uint64(pid) / 100 * 100}}
	}
}

func TestSaturated(t *testing.T) {
	full := ticksOf(5, busyCPU(), busyCPU())
	hogs := []proc{
		{pid: 1, comm: "systemd"},
		{pid: 10, parent: 1, comm: "sshd"},
		{pid: 11, parent: 10, comm: "bash"},
		{pid: 21, parent: 11, comm: "sh", run: ms(450), wait: ms(550)},
		{pid: 22, parent: 11, comm: "sh", run: ms(440), wait: ms(560)},
		{pid: 23, parent: 11, comm: "sh", run: ms(430), wait: ms(570)},
		{pid: 24, parent: 11, comm: "sh", run: ms(420), wait: ms(580)},
	}
	with := func(more ...proc) fill { return tasks(append(append([]proc{}, hogs...), more...)...) }
	inGroup := func(path string) fill {
		list := append([]proc{}, hogs...)
		for i := range list[3:] {
			list[3+i].cgroup = path
		}
		return tasks(append(list, proc{pid: 30, parent: 1, comm: "victim", cgroup: "/v", run: ms(260), wait: ms(740)})...)
	}
	checkCases(t, "cpu.saturated", map[string]ruleCase{
		"another session waits": {
			h:    ticking(10, full, with(proc{pid: 30, parent: 10, comm: "victim", run: ms(260), wait: ms(740)})),
			want: "critical 74 % by sh[21], sh[22], sh[23] hits victim[30]", in: "5.0 runnable on 2 CPUs",
		},
		"another cgroup waits": {
			h:    ticking(10, full, inGroup("/load")),
			want: "critical 74 % by load, sh[21], sh[22] hits victim[30]",
		},
		"waits a little": {
			h:    ticking(10, full, with(proc{pid: 30, parent: 10, comm: "victim", run: ms(75), wait: ms(25)})),
			want: "warning 25 % by sh[21], sh[22], sh[23] hits victim[30]",
		},
		"a builder alone": {h: ticking(10, full, with()), want: "info 0 % by sh[21], sh[22], sh[23]", in: "nobody else waits"},
		"its own child waits": {
			h:    ticking(10, full, with(proc{pid: 30, parent: 21, comm: "child", run: ms(260), wait: ms(740)})),
			want: "info 0 % by sh[21], sh[22], sh[23]",
		},
		"others are niced, of the kernel, idle or ourselves": {
			h: ticking(10, full, with(
				proc{pid: 30, parent: 10, comm: "nice", nice: 19, run: ms(10), wait: ms(900)}, proc{pid: 31, parent: 2, comm: "kworker", kernel: true, run: 1, wait: ms(900)},
				proc{pid: 32, parent: 10, comm: "idle", policy: policyIdle, wait: ms(900)}, proc{pid: 33, parent: 10, comm: "bpf60", run: 1, wait: ms(900)})),
			want: "info 0 % by sh[21], sh[22], sh[23]",
		},
		"only the one that measures is ourselves": {
			h: ticking(10, full, measuredBy(33), with(
				proc{pid: 30, parent: 10, comm: "bpf60", run: ms(260), wait: ms(740)}, proc{pid: 33, parent: 10, comm: "renamed", run: 1, wait: ms(900)})),
			want: "critical 74 % by sh[21], sh[22], sh[23] hits bpf60[30]",
		},
		"its name hides nobody": {
			h: ticking(10, full, measuredBy(33), tasks(proc{pid: 1, comm: "systemd"}, proc{pid: 10, parent: 1, comm: "sshd"}, proc{pid: 20, parent: 10, comm: "bpf60x", run: ms(1900)},
				proc{pid: 11, parent: 1, comm: "sshd"}, proc{pid: 30, parent: 11, comm: "victim", run: ms(60), wait: ms(2940)})),
			want: "critical 98 % by bpf60x[20] hits victim[30]",
		},
		"others wait a moment": {
			h:    ticking(10, full, with(proc{pid: 30, parent: 10, comm: "daemon", run: ms(1), wait: ms(9)})),
			want: "info 90 % by sh[21], sh[22], sh[23]",
		},
		"others are throttled": {
			h: ticking(10, full, stops("/pod", 10, 5, ms(300)),
				with(proc{pid: 30, parent: 10, comm: "pod", cgroup: "/pod/a", run: ms(100), wait: ms(900)})),
			want: "info 0 % by sh[21], sh[22], sh[23]",
		},
		"no more runnable than CPUs": {
			h: ticking(10, ticksOf(2, busyCPU(), busyCPU()), with(proc{pid: 30, parent: 10, comm: "victim", run: ms(260), wait: ms(740)})),
		},
		"the CPUs have time": {
			h: ticking(10, ticksOf(5, busyCPU(), collectors.Ticks{User: 75, Idle: 25}), with(proc{pid: 30, parent: 10, comm: "victim", run: ms(260), wait: ms(740)})),
		},
		"others wake when we do": {h: ticking(10, full, tasks(proc{pid: 20, comm: "a", run: ms(900), wait: ms(50)}, proc{pid: 30, parent: 1, comm: "b", run: ms(700), wait: ms(300)}))},
		"not for ten seconds":    {h: ticking(8, full, with(proc{pid: 30, parent: 10, comm: "victim", run: ms(260), wait: ms(740)}))},
	})
}

// From /proc come the run time of all threads and the wait of the first: the gauge and PSI tell of the rest.
func TestSaturatedFromProc(t *testing.T) {
	fromProc := func(_ int, s *collectors.Snapshot, _ collectors.Span) {
		s.Tasks.Source = "/proc"
		for i := range s.Tasks.Rows {
			if s.Tasks.Rows[i].Threads > 1 {
				s.Tasks.Rows[i].Lacks |= collectors.LackThreads
			}
		}
	}
	full := ticksOf(40, busyCPU(), busyCPU())
	java := proc{pid: 20, parent: 1, comm: "java", cgroup: "/java", run: ms(1700), wait: ms(2), threads: 40}
	web := proc{pid: 30, parent: 1, comm: "web", cgroup: "/web", run: ms(250), wait: ms(700)}
	unwaited := web
	unwaited.wait = 0
	h := func(psi float64, list ...proc) *History {
		return ticking(10, hostWith(collectors.PSI{CPU: some(psi)}), full, tasks(list...), fromProc)
	}
	checkCases(t, "cpu.saturated", map[string]ruleCase{
		"another waits":          {h: h(98, java, web), want: "critical 73.68 % by java[20] hits web[30]", in: "40.0 runnable on 2 CPUs"},
		"it alone":               {h: h(98, java), want: "info 0 % by java[20]", in: "40.0 runnable on 2 CPUs, nobody else is seen to wait"},
		"no schedstat":           {h: h(98, java, unwaited), want: "info 0 % by java[20]", in: "nobody else is seen to wait"},
		"without PSI":            {h: ticking(10, full, tasks(java), fromProc), want: "info 0 % by java[20]"},
		"others wake when we do": {h: h(5, java, web)},
	})
}

// The CPU time of processes that no scan has seen is their parent's group's.
func TestSaturatedByTheDead(t *testing.T) {
	dead := func(i int, s *collectors.Snapshot, span collectors.Span) {
		s.Exec = &collectors.Exec{Span: span, Short: []collectors.ShortLived{{
			Comm: collectors.RawString("cc1"), Parent: collectors.Process{TGID: 11, Start: 11}, ParentComm: collectors.RawString("make"),
			Unseen: 50, UnseenCPU: ms(1500), Exits: 50,
		}}}
	}
	f := judged(t, "cpu.saturated", ticking(10, ticksOf(4, busyCPU(), busyCPU()), dead, tasks(
		proc{pid: 10, parent: 1, comm: "sshd"}, proc{pid: 11, parent: 10, comm: "make", run: ms(10)}, proc{pid: 30, parent: 1, comm: "victim", run: ms(400), wait: ms(600)})))
	if got, want := says(f), "critical 60 % by cc1 by make[11], make[11] hits victim[30]"; got != want {
		t.Errorf("found %q, want %q", got, want)
	}
	if f.Row != "11" || f.Pane != "processes" {
		t.Errorf("leads to %s %s, want processes 11", f.Pane, f.Row)
	}
}

func TestQueued(t *testing.T) {
	long := waits(map[time.Duration]int{time.Millisecond: 40, 9 * time.Millisecond: 60})
	hog := proc{pid: 20, parent: 1, comm: "hog", run: ms(1500), wait: ms(100)}
	victim := proc{pid: 30, parent: 1, comm: "victim", run: ms(400), wait: ms(600)}
	one := ticksOf(1, busyCPU(), busyCPU())
	slow := func(comm string, nice int8, parent int32) *History {
		return ticking(10, one, waits(map[time.Duration]int{600 * time.Millisecond: 1}),
			tasks(hog, proc{pid: 30, parent: parent, comm: comm, nice: nice, run: ms(1), wait: ms(600)}))
	}
	checkCases(t, "cpu.runq_latency", map[string]ruleCase{
		"others wait":  {h: ticking(10, one, long, tasks(hog, victim)), want: "warning 8.192 ms by hog[20] hits victim[30]", in: "p99 8-16 ms"},
		"itself waits": {h: ticking(10, one, long, tasks(proc{pid: 20, parent: 1, comm: "hog", run: ms(1500), wait: ms(600)})), want: "info 8.192 ms by hog[20]"},
		"niced ones wait": {
			h: ticking(10, one, long, tasks(proc{pid: 20, parent: 1, comm: "hog", run: ms(1500)}, proc{pid: 30, parent: 1, comm: "batch", nice: 10, run: ms(400), wait: ms(600)})),
		},
		"throttled ones wait": {
			h: ticking(10, one, long, stops("/pod", 10, 5, ms(300)), tasks(proc{pid: 20, parent: 1, comm: "hog", run: ms(1500)}, proc{pid: 30, comm: "pod", cgroup: "/pod", run: ms(400), wait: ms(600)})),
		},
		"a bucket that begins below":       {h: ticking(10, one, waits(map[time.Duration]int{8100 * time.Microsecond: 100}), tasks(hog, victim))},
		"seldom":                           {h: ticking(10, one, waits(map[time.Duration]int{time.Millisecond: 40, 9 * time.Millisecond: 49}), tasks(hog, victim))},
		"a small part":                     {h: ticking(10, one, waits(map[time.Duration]int{time.Millisecond: 9940, 9 * time.Millisecond: 60}), tasks(hog, victim))},
		"half a second":                    {h: slow("victim", 0, 1), want: "warning 524.3 ms by hog[20] hits victim[30] at once"},
		"half a second, of a niced one":    {h: slow("batch", 5, 1)},
		"half a second, of the culprit":    {h: slow("child", 0, 20)},
		"half a second, of nobody we know": {h: ticking(10, one, waits(map[time.Duration]int{600 * time.Millisecond: 1}), tasks(hog))},
	})
}

func TestThrottled(t *testing.T) {
	app := tasks(proc{pid: 5, comm: "java", cgroup: "/pod/a", run: ms(300)}, proc{pid: 6, comm: "else", cgroup: "/podium", run: ms(900)})
	elsewhere := func(i int, s *collectors.Snapshot, span collectors.Span) {
		stops("/pod", 10, 6, ms(350))(i, s, span)
		s.Cgroups.Rows[0].Has, s.Cgroups.Rows[0].Usage = collectors.HasThrottle, 0
	}
	checkCases(t, "cpu.throttled", map[string]ruleCase{
		"stopped":                {h: ticking(10, app, stops("/pod", 10, 6, ms(350))), want: "warning 60 % by /pod, java[5]", in: "0.40 of 0.50 CPU used, stopped in 60 % of periods"},
		"the usage is elsewhere": {h: ticking(10, app, elsewhere), want: "warning 60 % by /pod, java[5]", in: "0.50 CPU allowed, stopped in 60 % of periods"},
		"seldom":                 {h: ticking(10, app, stops("/pod", 10, 2, ms(350)))},
		"nobody wanted to run":   {h: ticking(10, app, stops("/pod", 10, 6, ms(40)))},
		"at its start, for 8 s":  {h: ticking(8, app, stops("/pod", 10, 6, ms(350)))},
		"without a quota at all": {h: ticking(10, app)},
	})
}

// A kernel that does not account for interrupts cannot rule them out; the rest of the CPUs' time it can.
func TestInterruptsNotAccounted(t *testing.T) {
	unaccounted := func(_ int, s *collectors.Snapshot, _ collectors.Span) { s.CPU.NoIRQTime = true }
	r := All(nil)[indexOf(t, "cpu.interrupts")]
	if why, remedy := r.Blind(ticking(10, ticksOf(0, idleCPU()), unaccounted)); why == "" || !strings.Contains(remedy, "hardirqs") {
		t.Errorf("blind: %q, %q; want a reason, and hardirqs", why, remedy)
	}
	if why, _ := r.Blind(ticking(10, ticksOf(0, idleCPU()))); why != "" {
		t.Errorf("a kernel that accounts for them does not rule them out: %s", why)
	}
	if r.Resource == "" {
		t.Error("the CPUs are not ruled out either")
	}
}

func TestStolen(t *testing.T) {
	stolen := func(n uint64, runnable int) *History {
		return ticking(10, ticksOf(runnable, collectors.Ticks{User: 100 - n, Steal: n}))
	}
	checkCases(t, "cpu.steal", map[string]ruleCase{
		"a third":              {h: stolen(35, 1), want: "critical 35 %"},
		"a tenth":              {h: stolen(10, 1), want: "warning 10 %"},
		"a burstable instance": {h: stolen(3, 1)},
		"nothing wants to run": {h: stolen(35, 0)},
	})
	r := All(nil)[indexOf(t, "cpu.steal")]
	virtual := func(i int, s *collectors.Snapshot, span collectors.Span) {
		s.Host = &collectors.Host{Span: span, Facts: &collectors.Facts{Virtual: "kvm"}}
	}
	if why, _ := r.Blind(ticking(10, virtual, ticksOf(0, idleCPU()))); why == "" {
		t.Error("a virtual machine that never reported steal rules it out")
	}
	if why, _ := r.Blind(ticking(10, virtual, ticksOf(0, collectors.Ticks{Idle: 99, Steal: 1}))); why != "" {
		t.Errorf("one that reports steal does not rule it out: %s", why)
	}
	if why, _ := r.Blind(ticking(10, ticksOf(0, idleCPU()))); why != "" {
		t.Errorf("a machine does not rule steal out: %s", why)
	}
}

func TestOneVector(t *testing.T) {
	quiet := idleCPU()
	soft := func(n uint64) collectors.Ticks { return collectors.Ticks{SoftIRQ: n, Idle: 100 - n} }
	net := func(processed, dropped, squeezed uint32) fill {
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Network = &collectors.Network{Span: span, SoftnetKnown: true, SoftnetAll: collectors.SoftnetCPU{Processed: processed, Dropped: dropped, Squeezed: squeezed}}
		}
	}
	daemon := func(wait time.Duration) fill {
		return tasks(proc{pid: 14, comm: "ksoftirqd/0", kernel: true, run: 1, wait: wait}, proc{pid: 50, comm: "hog", run: ms(900)})
	}
	four := func(t collectors.Ticks) fill { return ticksOf(1, t, quiet, quiet, quiet) }
	checkCases(t, "cpu.softirq", map[string]ruleCase{
		"one of four":         {h: ticking(10, four(soft(98))), want: "warning 98 %", in: "cpu0"},
		"not full":            {h: ticking(10, four(soft(79)))},
		"all of them":         {h: ticking(10, ticksOf(1, soft(98), soft(97), soft(98), soft(98)))},
		"drops":               {h: ticking(10, four(quiet), net(9990, 10, 0)), want: "warning 0.1 %", in: "10 dropped a second"},
		"one drop":            {h: ticking(10, four(quiet), net(100000, 1, 0))},
		"no budget, waits":    {h: ticking(10, four(quiet), net(1000, 0, 5), daemon(ms(200))), want: "warning 20 % by hog[50]"},
		"no budget, no waits": {h: ticking(10, four(quiet), net(1000, 0, 5), daemon(ms(50)))},
		"budget, waits":       {h: ticking(10, four(quiet), net(1000, 0, 0), daemon(ms(200)))},
	})
	irq := collectors.Ticks{IRQ: 90, Idle: 10}
	checkCases(t, "cpu.interrupts", map[string]ruleCase{
		"one of four": {h: ticking(10, four(irq)), want: "warning 90 % by cpu0"},
		"all of them": {h: ticking(10, ticksOf(1, irq, irq, irq, irq))},
	})
}

func TestAlone(t *testing.T) {
	redis := proc{pid: 40, parent: 1, comm: "redis", run: ms(990)}
	half := ticksOf(1, busyCPU(), idleCPU())
	sockets := func(queue, unread uint32) fill {
		mine := &collectors.SocketID{Local: netip.MustParseAddrPort("0.0.0.0:6379"), Owner: &collectors.SocketOwner{Process: collectors.Process{TGID: 40, Start: 40}}}
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Sockets = &collectors.Sockets{Span: span, Listeners: []collectors.ListenRow{{SocketID: mine, Queue: queue, Backlog: 128}}, Rows: []collectors.SocketRow{{SocketID: mine, RecvQ: unread}}}
		}
	}
	checkCases(t, "cpu.single_thread", map[string]ruleCase{
		"gzip":                     {h: ticking(10, half, tasks(redis)), want: "info 99 % by redis[40]"},
		"redis, nobody waits":      {h: ticking(10, half, tasks(redis), sockets(0, 0)), want: "info 99 % by redis[40]"},
		"connections wait":         {h: ticking(10, half, tasks(redis), sockets(5, 0)), want: "warning 99 % by redis[40]", in: "work waits"},
		"requests wait":            {h: ticking(10, half, tasks(redis), sockets(0, 900)), want: "warning 99 % by redis[40]"},
		"not quite all the time":   {h: ticking(10, half, tasks(proc{pid: 40, comm: "redis", run: ms(940)}))},
		"nobody looked at threads": {h: ticking(10, half, tasks(proc{pid: 40, comm: "java", run: ms(990), threads: 30}))},
		"all CPUs are busy anyway": {h: ticking(10, ticksOf(2, busyCPU(), busyCPU()), tasks(redis))},
	})
}

// Of a process with several threads the looks at threads tell whether one of them runs all the time.
func TestAloneAmongOthers(t *testing.T) {
	half := ticksOf(1, busyCPU(), idleCPU())
	host := func(isolated ...int) fill {
		facts := &collectors.Facts{Isolated: isolated}
		return func(_ int, s *collectors.Snapshot, span collectors.Span) {
			s.Host = &collectors.Host{Span: span, Facts: facts}
		}
	}
	java := func(switches uint32, runs ...time.Duration) fill {
		all := tasks(proc{pid: 40, parent: 1, comm: "java", run: ms(995), threads: 30})
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			all(i, s, span)
			s.Tasks.Rows[0].Voluntary = switches
			s.Tasks.BusyAll = i > 4
			for k, run := range runs {
				if s.Tasks.BusyAll {
					s.Tasks.Busy = append(s.Tasks.Busy, collectors.ThreadRow{
						ProcInfo: s.Tasks.Rows[0].ProcInfo, TID: 41 + int32(k), Comm: collectors.RawString("worker"), Run: run, LastCPU: 1,
					})
				}
			}
		}
	}
	accepts := func(_ int, s *collectors.Snapshot, span collectors.Span) {
		id := &collectors.SocketID{Owner: &collectors.SocketOwner{Process: collectors.Process{TGID: 40, Start: 40}}}
		s.Sockets = &collectors.Sockets{Span: span, Listeners: []collectors.ListenRow{{SocketID: id, Queue: 5, Backlog: 128}}}
	}
	sleep := func(class string) fill {
		return func(_ int, s *collectors.Snapshot, span collectors.Span) {
			s.Sleeps = &collectors.Sleeps{Span: span, Narrowed: []collectors.Targeted[collectors.SleepCounts]{{
				Target: collectors.Target{Kind: collectors.ProcessTarget, Process: collectors.Process{TGID: 40, Start: 40}},
				Sample: collectors.SleepCounts{Comm: collectors.RawString("java"), Rows: []collectors.SleepRow{{Class: class, Threads: 29}, {Threads: 1}}},
			}}}
		}
	}
	fromProc := func(_ int, s *collectors.Snapshot, _ collectors.Span) { s.Tasks.Source = "/proc" }
	found, waits := "info 98.5 % by java[40]", "warning 98.5 % by java[40]"
	checkCases(t, "cpu.single_thread", map[string]ruleCase{
		"one runs all the time": {h: ticking(10, half, java(10, ms(985), ms(5))), want: found, in: "thread worker[41] of java[40] runs all the time"},
		"many together":         {h: ticking(10, half, java(10, ms(500), ms(495)))},
		"connections wait":      {h: ticking(10, half, java(10, ms(985)), accepts), want: waits, in: "work waits"},
		"others want its lock":  {h: ticking(10, half, java(5000, ms(985)), sleep(collectors.WaitFutex)), want: waits, in: "work waits"},
		"a pool that rests":     {h: ticking(10, half, java(10, ms(985)), sleep(collectors.WaitFutex)), want: found},
		"others poll":           {h: ticking(10, half, java(5000, ms(985)), sleep(collectors.WaitPoll)), want: found},
		"processes as a whole":  {h: ticking(10, half, java(10, ms(985)), fromProc)},
		"on an isolated CPU":    {h: ticking(10, host(0), half, java(10, ms(985)))},
		"on another":            {h: ticking(10, host(1), half, java(10, ms(985))), want: found},
	})
	_, wants := judge(t, "cpu.single_thread", ticking(10, half, tasks(proc{pid: 40, parent: 1, comm: "java", run: ms(995), threads: 30})))
	if !slices.Equal(wants, threadsWanted()) {
		t.Errorf("asks for %v, want the threads", wants)
	}
	if _, wants := judge(t, "cpu.single_thread", ticking(10, half, tasks(proc{pid: 40, parent: 1, comm: "java", run: ms(600), threads: 30}))); wants != nil {
		t.Errorf("asks for %v where nothing runs all the time", wants)
	}
}
