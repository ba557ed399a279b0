// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"slices"
	"testing"
	"time"

	"bpf60/collectors"
)

func app(pid int32) *collectors.ProcInfo {
	return &collectors.ProcInfo{Process: collectors.Process{TGID: pid, Start: uint64(pid) * 1e7}, PID: pid, PPID: 1, Comm: collectors.RawString("app")}
}

func TestExhausted(t *testing.T) {
	held := func(n int, soft, hard uint64, used func(i int) uint64) *History {
		return ticking(n, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Descriptors = &collectors.Descriptors{Span: span, Whole: true, Rows: []collectors.DescriptorRow{
				{Process: collectors.Process{TGID: 8, Start: 8e7}, Comm: collectors.RawString("app"), Used: used(i), Soft: soft, Hard: hard},
			}}
		})
	}
	always := func(n uint64) func(int) uint64 { return func(int) uint64 { return n } }
	leak := func(from, each uint64) func(int) uint64 { return func(i int) uint64 { return from + each*uint64(i) } }
	checkCases(t, "fd.exhaustion", map[string]ruleCase{
		"nearly all":              {h: held(2, 1000, 1000, always(800)), want: "warning 80 % by app[8]", in: "800 of 1000 files"},
		"less":                    {h: held(2, 1000, 1000, always(799))},
		"all":                     {h: held(2, 1000, 4000, always(1000)), want: "critical 100 % by app[8]", in: "opens fail"},
		"100k of 1M":              {h: held(60, 1e6, 1e6, always(1e5))},
		"a leak, minutes away":    {h: held(20, 1024, 1024, leak(300, 3)), want: "warning 3.689 min by app[8]", in: "all of them in about 4 min"},
		"a leak, an hour away":    {h: held(20, 65536, 65536, leak(20000, 3))},
		"nine readings":           {h: held(10, 1024, 1024, leak(300, 3))},
		"it came down":            {h: held(20, 1024, 1024, func(i int) uint64 { return 300 + 3*uint64(i) - 40*uint64(i/15) })},
		"many come, few of all":   {h: held(20, 1e6, 1e6, leak(1000, 10000))},
		"stands still below that": {h: held(60, 1024, 1024, always(700))},
	})
	host := func(files uint64) *History {
		return ticking(2, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Memory = &collectors.Memory{Span: span}
			s.Memory.Tables.Files = collectors.TableGauge{N: files, Known: true}
			s.Memory.Tables.FilesMax = collectors.TableGauge{N: 1000, Known: true}
		})
	}
	checkCases(t, "fd.exhaustion", map[string]ruleCase{
		"the host's are": {h: host(800), want: "critical 80 %", in: "the host has 800 of 1000 files open"},
		"half of them":   {h: host(500)},
	})
}

// grower is a process that holds so many MiB in each second, on a host with so many left, and whose
// memory is its own, or not.
type grower struct {
	mib   func(i int) int
	left  int // GiB
	age   time.Duration
	anon  bool
	max   uint64 // of its cgroup; 0: none
	rests bool   // its cgroup is not busy, and read now and then
}

func (g grower) history(n int) *History {
	p := app(8)
	p.CgroupPath = collectors.RawString("/pod/app")
	target := collectors.Target{Kind: collectors.ProcessTarget, Process: p.Process}
	plate := hostWith(collectors.PSI{})
	return ticking(n, func(i int, s *collectors.Snapshot, span collectors.Span) {
		plate(i, s, span)
		s.Host.Uptime = time.Duration(p.Start) + g.age + span.To
		s.Memory = &collectors.Memory{Span: span}
		s.Memory.Info.Set(collectors.MemTotal, 64<<30)
		s.Memory.Info.Set(collectors.MemAvailable, uint64(g.left)<<30)
		p := p
		if i > 20 { // what is known of a process is made anew now and then
			again := *p
			p = &again
		}
		s.Tasks = &collectors.Tasks{Span: span, Rows: []collectors.TaskRow{{ProcInfo: p, RSS: uint32(g.mib(i) << 8), Run: 1}}}
		limits := collectors.ProcessLimits{AnonKnown: true}
		if g.anon {
			limits.Anon = uint64(g.mib(i)) << 20
		}
		s.Limits = &collectors.Limits{Span: span, Narrowed: []collectors.Targeted[collectors.ProcessLimits]{{Target: target, Sample: limits}}}
		if g.max > 0 && (!g.rests || i%16 == 4) {
			own := &collectors.CgroupInfo{Path: collectors.RawString("/pod"), Own: collectors.CgroupLimits{Max: g.max}}
			s.Cgroups = &collectors.Cgroups{Span: span, Rows: []collectors.CgroupRow{{CgroupInfo: own, Has: collectors.HasMemory, Memory: uint64(g.mib(i)) << 20}}}
		}
	})
}

func TestGrows(t *testing.T) {
	steady := func(each int) func(int) int { return func(i int) int { return 100 + each*i } }
	hour := time.Hour
	checkCases(t, "mem.growth", map[string]ruleCase{
		"an hour away":       {h: grower{steady(10), 20, hour, true, 0, false}.history(70), want: "warning 34.13 min by app[8]", in: "the host's available memory is gone in about 34 min"},
		"young":              {h: grower{steady(10), 20, 0, true, 0, false}.history(70)},
		"young, minutes":     {h: grower{steady(100), 20, 0, true, 0, false}.history(70), want: "warning 3.413 min by app[8]"},
		"far away":           {h: grower{steady(1), 20, hour, true, 0, false}.history(70)},
		"its cgroup is near": {h: grower{steady(10), 20, hour, true, 2 << 30, false}.history(70), want: "warning 2.08 min by app[8]", in: "the limit of /pod"},
		"its cgroup rests":   {h: grower{steady(10), 20, hour, true, 2 << 30, true}.history(70), want: "warning 2.113 min by app[8]", in: "the limit of /pod"},
		"it maps files":      {h: grower{steady(10), 20, hour, false, 0, false}.history(70)},
		"ten points":         {h: grower{steady(10), 20, hour, true, 0, false}.history(50)},
		"up and down":        {h: grower{func(i int) int { return 100 + 10*(i%30) }, 1, hour, true, 0, false}.history(90)},
		"a JVM up to its heap": {h: grower{func(i int) int {
			if i < 30 {
				return 100 + 100*i
			}
			return 3100 + i/6
		}, 4, hour, true, 0, false}.history(90)},
		"small": {h: grower{func(i int) int { return 1 + i/2 }, 1, hour, true, 0, false}.history(70)},
	})
	_, wants := judge(t, "mem.growth", grower{steady(10), 20, hour, false, 0, false}.history(70))
	if len(wants) != 1 || wants[0].ID != collectors.LimitsID || wants[0].Target.Process.TGID != 8 {
		t.Errorf("asks for %+v, want the process's own memory", wants)
	}
}

// What is kept of those that grow is what the history tells anew.
func TestGrowthFollowsTheHistory(t *testing.T) {
	full := grower{func(i int) int { return 100 + 7*i }, 1, time.Hour, true, 0, false}.history(200)
	kept := &upkeep{}
	for _, m := range full.Since(-1) {
		view := &History{memo: &recent{upkeep: kept}}
		view.published.Store(&published{moments: full.Window(-1, m.At)})
		recently(view).growing()
	}
	bare := recently(full).growing()
	for p, x := range bare.of {
		if y := kept.growth.of[p]; y == nil || !slices.Equal(x.points, y.points) {
			t.Errorf("kept %+v, made anew %+v", y, x)
		}
	}
	if len(bare.of) != 1 || len(kept.growth.of) != 1 {
		t.Errorf("%d processes, kept %d, want one", len(bare.of), len(kept.growth.of))
	}
}
