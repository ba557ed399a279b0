// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"strings"
	"testing"
	"time"

	"bpf60/collectors"
)

// memory is /proc/meminfo of a host of 1 GiB, and what /proc/vmstat counts each second.
func memory(info map[collectors.MemField]uint64, events map[collectors.VMEvent]uint64) fill {
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		m := &collectors.Memory{Span: span, PageSize: 4096}
		m.Info.Set(collectors.MemTotal, 1<<30)
		m.Info.Set(collectors.MemAvailable, 1<<29)
		for f, n := range info {
			m.Info.Set(f, n)
		}
		for e, n := range events {
			m.VM.Set(e, n)
		}
		s.Memory = m
	}
}

func psiMem(some, full float64) fill {
	x := collectors.Pressure{Known: true, Some: time.Duration(some * 1e7), Full: time.Duration(full * 1e7)}
	return hostWith(collectors.PSI{Memory: x})
}

// swaps is swap traffic each second, and bytes read.
func swaps(in, out, read uint64) fill {
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		s.CPU = &collectors.CPU{Span: span, VMKnown: true, SwapIn: in, SwapOut: out, BlocksIn: read >> 10}
	}
}

func TestPressed(t *testing.T) {
	stalls := memory(nil, map[collectors.VMEvent]uint64{collectors.VMAllocStall: 3})
	app := tasks(
		proc{pid: 5, comm: "java", run: ms(1), rss: func(i int) uint32 { return uint32(10000 + 1000*i) }},
		proc{pid: 6, comm: "cache", run: ms(1), rss: func(int) uint32 { return 90000 }})
	waiter := func(i int, s *collectors.Snapshot, span collectors.Span) {
		w := collectors.MemoryWaiter{Process: collectors.Process{TGID: 6, Start: 6}, Comm: collectors.RawString("cache")}
		w.For[collectors.DirectStall] = ms(100)
		now := &collectors.ReclaimCounts{}
		now.Direct.Add(uint64(ms(100)))
		s.Reclaim = &collectors.Reclaim{Span: span, Reclaims: true, Now: now, Rows: []collectors.MemoryWaiter{w}}
	}
	group := func(full float64, high uint64) fill {
		info := &collectors.CgroupInfo{ID: 7, Path: collectors.RawString("/pods/api"), Depth: 2}
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Cgroups = &collectors.Cgroups{Span: span, Rows: []collectors.CgroupRow{{
				CgroupInfo: info, Span: span, Has: collectors.HasPSI | collectors.HasHigh | collectors.HasMemory, Memory: 2 << 30,
				Events: collectors.CgroupEvents{High: high}, PSI: &collectors.CgroupPSI{Memory: collectors.CgroupStall{Some: time.Duration(full * 1e7), Full: time.Duration(full * 1e7)}},
			}}}
		}
	}
	// A cgroup of v1 has no pressure, only memory.failcnt.
	failing := func(failures uint64) fill {
		pod := &collectors.CgroupInfo{ID: 7, Path: collectors.RawString("/pods/api"), Depth: 2, Own: collectors.CgroupLimits{Max: 2 << 30}}
		other := &collectors.CgroupInfo{ID: 8, Path: collectors.RawString("/pods/web"), Depth: 2}
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			row := collectors.CgroupRow{CgroupInfo: pod, Span: span, Has: collectors.HasEvents | collectors.HasMemory, Memory: 2 << 30, Events: collectors.CgroupEvents{Max: failures}}
			calm := row
			calm.CgroupInfo, calm.Events = other, collectors.CgroupEvents{}
			s.Cgroups = &collectors.Cgroups{Span: span, Rows: []collectors.CgroupRow{row, calm}}
		}
	}
	// reclaims are so many stalls a second for the host and for the cgroup of number 7.
	reclaims := func(host, memcg int) fill {
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			w := collectors.MemoryWaiter{Process: collectors.Process{TGID: 6, Start: 6}, Comm: collectors.RawString("cache"), Memcg: 7}
			now := &collectors.ReclaimCounts{}
			for range host {
				now.Direct.Add(uint64(ms(10)))
				w.For[collectors.DirectStall] += ms(10)
			}
			for range memcg {
				now.Memcg.Add(uint64(ms(10)))
				w.For[collectors.MemcgStall] += ms(10)
			}
			s.Reclaim = &collectors.Reclaim{Span: span, Reclaims: true, Now: now, Rows: []collectors.MemoryWaiter{w}}
		}
	}
	hostStalls := func(n uint64) fill { return memory(nil, map[collectors.VMEvent]uint64{collectors.VMAllocStall: n}) }
	checkCases(t, "mem.pressure", map[string]ruleCase{
		"v1: a pod at its limit":       {h: ticking(10, psiMem(40, 6), hostStalls(0), reclaims(0, 30), failing(50), app), want: "warning 6 % by /pods/api hits cache[6]", in: "/pods/api at its memory limit"},
		"v1: without BPF":              {h: ticking(10, psiMem(12, 1), hostStalls(0), failing(50), app), want: "warning 12 % by /pods/api", in: "/pods/api at its memory limit"},
		"v1: the host is short":        {h: ticking(10, psiMem(40, 6), hostStalls(90), failing(50), app), want: "warning 6 % by java[5]"},
		"v1: it is, and a pod as well": {h: ticking(10, psiMem(40, 6), hostStalls(90), reclaims(90, 30), failing(50), app), want: "warning 6 % by java[5] hits cache[6]"},
		"v1: the limit is not seen":    {h: ticking(10, psiMem(40, 6), reclaims(0, 30), failing(0), app), want: "warning 6 % by /pods/api hits cache[6]"},
		"v1: nobody waits":             {h: ticking(10, psiMem(4, 1), reclaims(0, 30), failing(50), app)},
	})
	checkCases(t, "mem.pressure", map[string]ruleCase{
		"all stand still":                {h: ticking(10, psiMem(9, 6), memory(nil, nil), app), want: "warning 6 % by java[5]"},
		"for long":                       {h: ticking(10, psiMem(40, 31), waiter, memory(nil, nil), app), want: "critical 31 % by java[5] hits cache[6]"},
		"some, and reclaim themselves":   {h: ticking(10, psiMem(12, 1), stalls), want: "warning 12 %"},
		"some, by kswapd under backup":   {h: ticking(10, psiMem(12, 1), memory(nil, map[collectors.VMEvent]uint64{collectors.VMScanKswapd: 9000}))},
		"a little":                       {h: ticking(10, psiMem(9, 4), stalls)},
		"not for ten seconds":            {h: ticking(8, psiMem(40, 31), stalls)},
		"a pod at its limit":             {h: ticking(10, psiMem(1, 0), group(31, 118)), want: "critical 31 % by /pods/api", in: "31 % stalled"},
		"a batch at memory.high":         {h: ticking(10, psiMem(1, 0), group(4, 118))},
		"a pod that stalls, no limit":    {h: ticking(10, psiMem(1, 0), group(31, 0))},
		"no pressure is measured at all": {h: ticking(10, memory(nil, map[collectors.VMEvent]uint64{collectors.VMAllocStall: 3}))},
	})
}

func TestSwapping(t *testing.T) {
	app := tasks(proc{pid: 5, comm: "java", run: ms(1), rss: func(int) uint32 { return 1 << 16 }, more: &collectors.TaskMore{MajFlt: 40}})
	checkCases(t, "mem.swapping", map[string]ruleCase{
		"in, and waits":       {h: ticking(10, psiMem(3, 0), swaps(250, 250, 0), memory(nil, nil), app), want: "warning 3 % PSI by java[5] hits java[5]", in: "in 1000 KiB/s"},
		"in, nobody waits":    {h: ticking(10, psiMem(0.5, 0), swaps(250, 0, 0)), want: "info 0.5 % PSI"},
		"out alone":           {h: ticking(10, psiMem(3, 0), swaps(0, 250, 0)), want: "info 3 % PSI"},
		"swap is used":        {h: ticking(10, psiMem(3, 0), swaps(0, 0, 0), memory(map[collectors.MemField]uint64{collectors.MemSwapTotal: 1 << 30}, nil))},
		"once in ten seconds": {h: ticking(10, psiMem(3, 0), func(i int, s *collectors.Snapshot, span collectors.Span) { swaps(uint64(i/10*900), 0, 0)(i, s, span) })},
	})
}

func TestThrashing(t *testing.T) {
	back := func(n uint64) fill { return memory(nil, map[collectors.VMEvent]uint64{collectors.VMRefaultFile: n}) }
	reader := tasks(proc{pid: 5, comm: "grep", run: ms(1), more: &collectors.TaskMore{Read: 4 << 20}})
	checkCases(t, "mem.cache_thrash", map[string]ruleCase{
		"half of it":         {h: ticking(10, psiMem(3, 0), swaps(0, 0, 4<<20), back(512), reader), want: "warning 50 % by grep[5]"},
		"a scan":             {h: ticking(10, psiMem(3, 0), swaps(0, 0, 4<<20), back(100), reader)},
		"nobody waits":       {h: ticking(10, psiMem(1, 0), swaps(0, 0, 4<<20), back(512), reader)},
		"nothing is read":    {h: ticking(10, psiMem(3, 0), swaps(0, 0, 0), back(512), reader)},
		"pressure not known": {h: ticking(10, swaps(0, 0, 4<<20), back(512), reader)},
	})
}

func TestKilled(t *testing.T) {
	kill := func(at time.Duration, why collectors.OOMCause) fill {
		list := &collectors.OOMKills{List: []collectors.OOMKill{{
			At: at, Victim: collectors.Process{TGID: 771}, Comm: collectors.RawString("worker"), By: collectors.RawString("sh"), Trigger: collectors.Process{TGID: 3},
			For: why, Memcg: 7, Known: true, Anon: 1 << 20,
		}}}
		limit := &collectors.CgroupInfo{ID: 7, Path: collectors.RawString("/pods/api"), Tight: collectors.CgroupLimits{Max: 512 << 20}}
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Reclaim, s.Cgroups = &collectors.Reclaim{Span: span, OOM: true}, &collectors.Cgroups{Span: span, Rows: []collectors.CgroupRow{{CgroupInfo: limit}}}
			if span.To > at {
				s.Reclaim.Kills = list
			}
		}
	}
	log := func(age time.Duration, text string, trouble collectors.Trouble) fill {
		base := hostWith(collectors.PSI{})
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			base(i, s, span)
			s.Log = &collectors.Log{Span: span, Tail: &collectors.LogTail{Records: []*collectors.LogRecord{{Since: s.Host.Uptime - age, Text: collectors.RawString(text), Trouble: trouble}}}}
		}
	}
	checkCases(t, "mem.oom_kill", map[string]ruleCase{
		"of a cgroup":           {h: ticking(10, kill(5*time.Second, collectors.OOMCgroup)), want: "warning 5 s ago by /pods/api hits worker[771]", in: "limit of 512 MiB"},
		"of the host":           {h: ticking(10, kill(5*time.Second, collectors.OOMHost)), want: "critical 5 s ago hits worker[771]"},
		"a while ago":           {h: ticking(90, kill(5*time.Second, collectors.OOMHost)), want: "info 85 s ago hits worker[771]"},
		"in the log, fresh":     {h: ticking(10, log(20*time.Second, "Memory cgroup out of memory: Killed process 5 (x)", collectors.TroubleOOM)), want: "warning 20 s ago hits x[5]", in: "x[5] killed: a cgroup was at its limit"},
		"in the log, global":    {h: ticking(10, log(20*time.Second, "Out of memory: Killed process 5 (x)", collectors.TroubleOOM)), want: "critical 20 s ago hits x[5]", in: "the host's memory ran out"},
		"in the log, hours ago": {h: ticking(10, log(30*time.Minute, "Out of memory: Killed process 5 (x)", collectors.TroubleOOM)), want: "info 1800 s ago hits x[5]", in: "30 min ago"},
		"three days ago":        {h: ticking(10, log(72*time.Hour, "Out of memory: Killed process 5 (x)", collectors.TroubleOOM))},
		"nobody was killed yet": {h: ticking(10, log(20*time.Second, "java invoked oom-killer: gfp_mask=0xcc0", collectors.TroubleOOM))},
		"another trouble":       {h: ticking(10, log(20*time.Second, "nfs: server not responding", collectors.TroubleNFS))},
	})
	e := NewEngine(All(nil), &History{}, nil)
	var last Moment
	for _, m := range ticking(10, kill(9*time.Second, collectors.OOMCgroup)).Since(-1) {
		last = e.Tick(m.Snapshot)
	}
	if len(last.Findings) != 1 || last.Findings[0].Since != 9*time.Second {
		t.Errorf("a kill is not listed at once, with its time: %+v", last.Findings)
	}
}

// TestKilledInLog: what the kernel logs of one kill is several records, and the last is not the kill.
func TestKilledInLog(t *testing.T) {
	const (
		asked  = "worker invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"
		usage  = "memory: usage 32768kB, limit 32768kB, failcnt 31"
		pod    = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/pods/api,task_memcg=/pods/api/a,task=worker,pid=771,uid=0"
		host   = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/pods/api,task=java,pid=80,uid=0"
		nodes  = "oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=0,cpuset=half,mems_allowed=0,global_oom,task_memcg=/,task=java,pid=80,uid=0"
		inPod  = "Memory cgroup out of memory: Killed process 771 (worker) total-vm:104476kB, anon-rss:32000kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:104kB oom_score_adj:0"
		old    = "Memory cgroup out of memory: Kill process 771 (a (b)) score 1000 or sacrifice child"
		onHost = "Out of memory: Killed process 80 (java) total-vm:104476kB, anon-rss:32000kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:104kB oom_score_adj:0"
		reaped = "oom_reaper: reaped process 771 (worker), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB"
	)
	log := func(lines ...string) *History {
		base := hostWith(collectors.PSI{})
		var list []*collectors.LogRecord
		for i, text := range lines {
			x := &collectors.LogRecord{Seq: uint64(i), Since: time.Hour + time.Duration(i)*time.Millisecond, Text: collectors.RawString(text)}
			if !strings.HasPrefix(text, "memory: ") {
				x.Trouble = collectors.TroubleOOM
			}
			list = append(list, x)
		}
		return ticking(10, func(i int, s *collectors.Snapshot, span collectors.Span) {
			base(i, s, span)
			s.Log = &collectors.Log{Span: span, Tail: &collectors.LogTail{Records: list}}
		})
	}
	checkCases(t, "mem.oom_kill", map[string]ruleCase{
		"of a cgroup":          {h: log(asked, usage, pod, inPod, reaped), want: "warning 9.997 s ago by /pods/api hits worker[771]", in: "worker[771] killed: cgroup /pods/api was at its limit of 32.0 MiB"},
		"of the host":          {h: log(asked, usage, pod, inPod, asked, host, onHost, reaped), want: "critical 9.994 s ago hits java[80]", in: "the host's memory ran out"},
		"of a part of it":      {h: log(asked, nodes, onHost), want: "critical 9.998 s ago hits java[80]", in: "the nodes of memory"},
		"a cgroup goes whole":  {h: log(asked, usage, pod, inPod, inPod, inPod), want: "warning 9.995 s ago by /pods/api hits worker[771]", in: "of 32.0 MiB"},
		"before 5.1":           {h: log(asked, usage, old), want: "warning 9.998 s ago hits a (b)[771]", in: "of 32.0 MiB"},
		"the next one is near": {h: log(asked, usage, pod, inPod, reaped, asked), want: "warning 9.997 s ago by /pods/api hits worker[771]"},
	})
}

// TestKilledCounted: without a probe and without the log, counters tell of kills.
func TestKilledCounted(t *testing.T) {
	counted := func(vm uint64, rows ...collectors.CgroupRow) *History {
		return ticking(10, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Memory = &collectors.Memory{Span: span}
			s.Memory.VM.Set(collectors.VMOOMKill, 0)
			s.Cgroups = &collectors.Cgroups{Span: span}
			if i == 4 {
				s.Memory.VM.Set(collectors.VMOOMKill, vm)
				s.Cgroups.Rows = rows
			}
		})
	}
	row := func(path string, depth uint8, limit, tight uint64, e collectors.CgroupEvents) collectors.CgroupRow {
		return collectors.CgroupRow{
			CgroupInfo: &collectors.CgroupInfo{Path: collectors.RawString(path), Depth: depth, Own: collectors.CgroupLimits{Max: limit}, Tight: collectors.CgroupLimits{Max: tight}},
			Has:        collectors.HasEvents, Events: e,
		}
	}
	const none = collectors.NoLimit
	kill, limit := collectors.CgroupEvents{OOMKill: 2}, collectors.CgroupEvents{OOMKill: 2, OOM: 1, Max: 3}
	for name, tt := range map[string]struct {
		h                 *History
		want, title, pane string
	}{
		"a cgroup of v2": {
			counted(2, row("/pod", 1, 32<<20, 32<<20, limit), row("/pod/a", 2, none, 32<<20, kill)),
			"warning 6 s ago by /pod hits /pod/a", "2 processes killed 6 s ago: cgroup /pod was at its limit of 32.0 MiB", "cgroups",
		},
		"a cgroup of v1": {
			counted(0, row("/pod", 1, 32<<20, 32<<20, collectors.CgroupEvents{OOMKill: 1, Max: 9})),
			"warning 6 s ago by /pod", "a process killed 6 s ago: cgroup /pod was at its limit of 32.0 MiB", "cgroups",
		},
		"no cgroup has a limit":   {counted(2, row("/pod", 1, none, none, kill)), "critical 6 s ago hits /pod", "2 processes killed 6 s ago: the host's memory ran out", "cgroups"},
		"it may be the host's":    {counted(2, row("/pod", 1, 32<<20, 32<<20, kill)), "warning 6 s ago hits /pod", "2 processes killed 6 s ago: whose memory ran out is not known", "cgroups"},
		"the host counts it only": {counted(1), "warning 6 s ago", "a process killed 6 s ago: whose memory ran out is not known", "memory"},
		"none":                    {counted(0, row("/pod", 1, 32<<20, 32<<20, collectors.CgroupEvents{Max: 9})), "", "", ""},
	} {
		f := judged(t, "mem.oom_kill", tt.h)
		if says(f) != tt.want || f.Title != tt.title || f.Pane != tt.pane {
			t.Errorf("%s: %q, %q, leads to %q; want %q, %q, %q", name, says(f), f.Title, f.Pane, tt.want, tt.title, tt.pane)
		}
	}
}

func TestSlabs(t *testing.T) {
	of := func(fixed, loose, scanned, ghosts uint64) *History {
		m := memory(map[collectors.MemField]uint64{collectors.MemSUnreclaim: fixed << 30 / 100, collectors.MemSReclaimable: loose << 30 / 100}, map[collectors.VMEvent]uint64{collectors.VMScanKswapd: scanned})
		return ticking(3, func(i int, s *collectors.Snapshot, span collectors.Span) {
			m(i, s, span)
			s.Memory.Tables.Dentries = collectors.TableGauge{N: 100, Known: true}
			s.Memory.Tables.Negative = collectors.TableGauge{N: ghosts, Known: true}
			s.Slab = &collectors.Slab{Caches: []collectors.SlabCache{{Name: collectors.RawString("kmalloc-64"), Bytes: 1 << 20}, {Name: collectors.RawString("dentry"), Bytes: 1 << 28}}}
		})
	}
	checkCases(t, "mem.slab_growth", map[string]ruleCase{
		"cannot be reclaimed":          {h: of(16, 0, 0, 0), want: "warning 16 % by dentry, kmalloc-64"},
		"little of that":               {h: of(14, 0, 0, 0)},
		"can be, and memory is short":  {h: of(0, 31, 5, 0), want: "warning 31 % by dentry, kmalloc-64"},
		"names of nothing":             {h: of(0, 31, 0, 51), want: "warning 31 % by dentry, kmalloc-64", in: "51 names"},
		"git, npm, find: it can wait":  {h: of(0, 60, 0, 10)},
		"names of nothing, but little": {h: of(0, 20, 0, 90)},
	})
	if f, wants := judge(t, "mem.slab_growth", of(16, 0, 0, 0)); len(wants) != 2 || wants[0].ID != collectors.SlabID || wants[1].ID != collectors.KmemID || f.Row != "dentry" {
		t.Errorf("asks for %v and leads to %q, want slabs, who allocates, and dentry", wants, f.Row)
	}
}
