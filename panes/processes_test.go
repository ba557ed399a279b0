// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/triage"
)

// proc is an identity for the tests below.
func proc(pid, ppid int32, name string) *collectors.ProcInfo {
	return &collectors.ProcInfo{
		Process: collectors.Process{TGID: pid, Start: uint64(pid)}, PID: pid, PPID: ppid, Comm: collectors.RawString(name),
	}
}

// tasksFrame is a frame over samples of one second each.
func tasksFrame(samples ...*collectors.Tasks) Frame {
	var f Frame
	for i, t := range samples {
		at := time.Duration(i+1) * time.Second
		if t != nil {
			t.Span = collectors.Span{From: at - time.Second, To: at}
			t.Source = "iter/task"
		}
		f.Past = append(f.Past, triage.Moment{Snapshot: &collectors.Snapshot{At: at, Tasks: t}})
	}
	f.Now = f.Past[len(f.Past)-1]
	return f
}

func TestProcessesOver(t *testing.T) {
	type T = collectors.Tasks
	type R = collectors.TaskRow
	a, b, c, d := proc(1, 0, "a"), proc(2, 1, "b"), proc(3, 1, "c"), proc(4, 1, "d")
	key := []collectors.TaskState{
		{ProcInfo: a, Time: time.Minute, RSS: 10, VSZ: 100, State: 'S', Threads: 1},
		{ProcInfo: b, RSS: 20, VSZ: 200, Swap: 5, State: 'S', Threads: 1},
		{ProcInfo: c, RSS: 30, VSZ: 300, State: 'S', Threads: 1},
	}
	ran := func(p *collectors.ProcInfo, ms int, rss uint32) R {
		return R{ProcInfo: p, Run: time.Duration(ms) * time.Millisecond, RSS: rss, State: 'R', Threads: 2, Voluntary: 1}
	}
	more := ran(b, 5, 25)
	more.More = &collectors.TaskMore{VSZ: 250, Swap: 7, Read: 4096}
	samples := func() []*T {
		return []*T{
			{Key: key},
			{Rows: []R{ran(a, 100, 11), more}},
			nil, // late
			{Rows: []R{ran(a, 200, 12), ran(d, 50, 40)}, Gone: []collectors.Process{c.Process}},
			{Rows: []R{ran(d, 10, 41)}},
		}
	}
	type row struct {
		Name      string
		Run, Time time.Duration
		RSS       uint64 // pages
		VSZ, Swap uint64
		State     string
		Ended     bool
	}
	const ms = time.Millisecond
	tests := map[string]struct {
		frame func() Frame
		want  []row
		all   bool
	}{
		"now": {func() Frame { return tasksFrame(samples()...) }, []row{
			{"a", 0, time.Minute + 300*ms, 12, 100, 0, "R", false},
			{"b", 0, 5 * ms, 25, 250, 7, "R", false},
			{"d", 10 * ms, 60 * ms, 41, 0, 0, "R", false},
		}, true},
		"the whole run": {func() Frame { f := tasksFrame(samples()...); f.Span = time.Hour; return f }, []row{
			{"a", 300 * ms, time.Minute + 300*ms, 12, 100, 0, "R", false},
			{"b", 5 * ms, 5 * ms, 25, 250, 7, "R", false},
			{"d", 60 * ms, 60 * ms, 41, 0, 0, "R", false},
		}, true},
		"before one ended": {func() Frame { return tasksFrame(samples()[:2]...) }, []row{
			{"a", 100 * ms, time.Minute + 100*ms, 11, 100, 0, "R", false},
			{"b", 5 * ms, 5 * ms, 25, 250, 7, "R", false},
			{"c", 0, 0, 30, 300, 0, "S", false},
		}, true},
		"one ended that had run": {func() Frame {
			f := tasksFrame(&T{Key: key}, &T{Rows: []R{ran(c, 70, 31)}}, &T{Gone: []collectors.Process{c.Process}})
			f.Span = time.Hour
			return f
		}, []row{
			{"a", 0, time.Minute, 10, 100, 0, "S", false},
			{"b", 0, 0, 20, 200, 5, "S", false},
			{"c", 70 * ms, 70 * ms, 31, 0, 0, "R", true},
		}, true},
		"the list of all was given up": {func() Frame { return tasksFrame(samples()[1:]...) }, []row{
			{"a", 0, 300 * ms, 12, 0, 0, "R", false},
			{"b", 0, 5 * ms, 25, 250, 7, "R", false},
			{"d", 10 * ms, 60 * ms, 41, 0, 0, "R", false},
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			set := processesOver(tt.frame())
			var got []row
			for _, x := range set.list {
				got = append(got, row{
					x.Comm.Bytes(), x.run, x.time, x.rss / 4096, x.vsz / 4096, x.swap / 4096, string(rune(x.state)), x.ended,
				})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("processes (-want +got):\n%s", diff)
			}
			if set.all != tt.all {
				t.Errorf("all = %v, want %v", set.all, tt.all)
			}
		})
	}
	if set := processesOver(tasksFrame(nil, nil)); set != nil {
		t.Errorf("without a scan = %+v", set)
	}
}

// What the virtual CPUs of a process had is not %usr, here as in the table.
func TestPidstatLine(t *testing.T) {
	row := func(ms, sys, guest int) collectors.TaskRow {
		return collectors.TaskRow{
			ProcInfo: proc(1, 0, "qemu"), Run: time.Duration(ms) * time.Millisecond, Sys: collectors.Micros(1000 * sys),
			More: &collectors.TaskMore{Guest: collectors.Micros(1000 * guest)},
		}
	}
	for name, tt := range map[string]struct {
		row  collectors.TaskRow
		want string
	}{
		"no guest":         {row(950, 50, 0), "qemu[1] %usr 90 %sys 5"},
		"all of it":        {row(950, 0, 950), "qemu[1] %usr 0 %sys 0 %guest 95"},
		"some":             {row(900, 100, 600), "qemu[1] %usr 20 %sys 10 %guest 60"},
		"coarser than run": {row(100, 90, 20), "qemu[1] %usr 0 %sys 9 %guest 2"},
	} {
		f := tasksFrame(&collectors.Tasks{}, &collectors.Tasks{Rows: []collectors.TaskRow{tt.row}})
		if got := pidstatLine(f).summary(200); got != tt.want {
			t.Errorf("%s: pidstat says %q, want %q", name, got, tt.want)
		}
	}
}

// TestTimeKnown: TIME+ is that of a life or not known, never that of the rows which happen to be kept.
func TestTimeKnown(t *testing.T) {
	type T = collectors.Tasks
	const up = time.Hour // when the run began
	old, young := proc(1, 0, "old"), proc(2, 1, "young")
	old.Start, young.Start = uint64(time.Minute), uint64(up+2500*time.Millisecond)
	key := []collectors.TaskState{{ProcInfo: old, Time: time.Minute}}
	ran := func(who ...*collectors.ProcInfo) (rows []collectors.TaskRow) {
		for _, p := range who {
			rows = append(rows, collectors.TaskRow{ProcInfo: p, Run: time.Second})
		}
		return rows
	}
	none := &T{}
	gone := &T{Gone: []collectors.Process{old.Process, young.Process}}
	for name, tt := range map[string]struct {
		samples    []*T
		over       time.Duration
		noHost     bool
		old, young string
	}{
		"listed":             {samples: []*T{{Key: key}, {Rows: ran(old)}, {Rows: ran(old, young)}}, old: "1:02.00", young: "0:01.00"},
		"no list is kept":    {samples: []*T{none, {Rows: ran(old)}, {Rows: ran(old, young)}}, old: "-", young: "0:01.00"},
		"rows begin later":   {samples: []*T{none, none, none, {Rows: ran(old, young)}}, old: "-", young: "-"},
		"no uptime":          {samples: []*T{none, {Rows: ran(old)}, {Rows: ran(old, young)}}, noHost: true, old: "-", young: "-"},
		"ended, listed":      {samples: []*T{{Key: key}, {Rows: ran(old)}, {Rows: ran(old, young)}, gone}, over: time.Hour, old: "1:02.00", young: "0:01.00"},
		"ended, not listed":  {samples: []*T{none, {Rows: ran(old)}, {Rows: ran(old, young)}, gone}, over: time.Hour, old: "-", young: "0:01.00"},
		"ended, short span":  {samples: []*T{{Key: key}, {Rows: ran(old)}, {Rows: ran(old)}, {Rows: ran(old)}, {Gone: gone.Gone}}, over: 2 * time.Second, old: "1:03.00"},
		"listed after a gap": {samples: []*T{{Rows: ran(old)}, {Key: key}, {Rows: ran(old)}}, old: "1:01.00"},
	} {
		t.Run(name, func(t *testing.T) {
			f := tasksFrame(tt.samples...)
			f.Span = tt.over
			for i := range f.Past {
				if s := f.Past[i].Snapshot; !tt.noHost {
					s.Host = &collectors.Host{Span: s.Tasks.Span, Uptime: up + s.At, Facts: &collectors.Facts{}}
				}
			}
			got := make(map[int32]string)
			set := processesOver(f)
			for i := range set.list {
				for _, c := range processColumns(0) {
					if c.ID == "TIME+" {
						got[set.list[i].PID] = c.cell(&set.list[i], set.Span).fit(c.Column)
					}
				}
			}
			if got[1] != tt.old || got[2] != tt.young {
				t.Errorf("TIME+ %q and %q, want %q and %q", got[1], got[2], tt.old, tt.young)
			}
		})
	}
}

func TestGone(t *testing.T) {
	cpu := func(user, idle uint64) *collectors.CPU {
		return &collectors.CPU{
			Span: collectors.Span{From: time.Second, To: 2 * time.Second},
			All:  collectors.Ticks{User: user, System: 10, IRQ: 5, Idle: idle}, CPUs: make([]collectors.CPUTime, 2),
		}
	}
	run := collectors.TaskRow{ProcInfo: proc(1, 0, "a"), Run: 600 * time.Millisecond}
	tests := map[string]struct {
		cpu  *collectors.CPU
		want float64 // ms
		ok   bool
	}{
		"some":           {cpu(90, 95), 400, true}, // 100 of 200 ticks on 2 CPUs are 1 s
		"none":           {cpu(50, 135), 0, true},
		"less than rows": {cpu(10, 175), 0, true},
		"no /proc/stat":  {nil, 0, false},
		"first reading":  {&collectors.CPU{}, 0, false},
		"another span":   {&collectors.CPU{Span: collectors.Span{To: 9 * time.Second}, All: collectors.Ticks{User: 1}, CPUs: make([]collectors.CPUTime, 1)}, 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := tasksFrame(&collectors.Tasks{}, &collectors.Tasks{Rows: []collectors.TaskRow{run}})
			f.Past[1].CPU = tt.cpu
			got, ok := processesOver(f).gone(f)
			if ok != tt.ok || math.Abs(float64(got)/1e6-tt.want) > 1 {
				t.Errorf("gone = %v, %v, want %v ms, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestGrowTree(t *testing.T) {
	list := []*process{
		{ProcInfo: proc(30, 10, "busy")},
		{ProcInfo: proc(10, 1, "shell")},
		{ProcInfo: proc(1, 0, "init")},
		{ProcInfo: proc(20, 1, "idle")},
		{ProcInfo: proc(40, 30, "child")},
		{ProcInfo: proc(50, 999, "orphan")},
		{ProcInfo: proc(60, 61, "odd")},
		{ProcInfo: proc(61, 60, "circle")},
	}
	out, branches := growTree(list)
	var got []string
	for i, x := range out {
		got = append(got, branches[i]+x.Comm.Bytes())
	}
	want := []string{"init", "├ shell", "│ └ busy", "│   └ child", "└ idle", "orphan", "odd", "└ circle"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}

func TestCommandOf(t *testing.T) {
	tests := map[string]struct {
		comm, args string
		kernel     bool
		want       string
	}{
		"a path":            {"python3", "/usr/bin/python3 /srv/app.py", false, "python3 /srv/app.py"},
		"alone":             {"bash", "-bash", false, "bash: -bash"},
		"a title":           {"nginx", "nginx: worker process", false, "nginx: worker process"},
		"a long name":       {"systemd-journal", "/usr/lib/systemd/systemd-journald", false, "systemd-journald"},
		"renamed":           {"worker-3", "/opt/app --all", false, "worker-3: /opt/app --all"},
		"none":              {"defunct", "", false, "defunct"},
		"a kernel thread":   {"kswapd0", "", true, "[kswapd0]"},
		"the name and more": {"java", "/usr/bin/java", false, "java"},
		"hostile":           {"x\x1b", "/bin/x\x1b[2J", false, `x\x1b[2J`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &collectors.ProcInfo{Comm: collectors.RawString(tt.comm), Args: collectors.RawString(tt.args), Kernel: tt.kernel}
			got := commandOf(p)
			if name == "hostile" {
				if strings.ContainsRune(got, 0x1b) {
					t.Errorf("commandOf = %q", got)
				}
				return
			}
			if got != tt.want {
				t.Errorf("commandOf(%q, %q) = %q, want %q", tt.comm, tt.args, got, tt.want)
			}
		})
	}
}

// TestProcessesTableIsWhole holds that reports get every row with all its cells, and that the screen's
// part of them says the same.
func TestProcessesTableIsWhole(t *testing.T) {
	f := manyFrame(2000)
	p := NewProcesses()
	whole, part := p.Table(f), p.table(f, shown)
	if len(whole.Rows) != 2000 || len(part.Rows) != 2000 {
		t.Fatalf("%d and %d rows, want 2000", len(whole.Rows), len(part.Rows))
	}
	filled := 0
	for i := range whole.Rows {
		if len(whole.Rows[i].Cells) != len(whole.Columns) {
			t.Fatalf("row %d has %d cells of %d", i, len(whole.Rows[i].Cells), len(whole.Columns))
		}
		if part.Rows[i].ID != whole.Rows[i].ID {
			t.Fatalf("row %d is %s, and %s on the screen", i, whole.Rows[i].ID, part.Rows[i].ID)
		}
		if part.Rows[i].Cells != nil {
			filled++
		}
	}
	if filled != shown {
		t.Errorf("%d rows for the screen, want %d", filled, shown)
	}
	for i := 1; i < len(whole.Rows); i++ {
		x, _ := whole.Rows[i-1].Cells[5].Num()
		y, _ := whole.Rows[i].Cells[5].Num()
		if x < y {
			t.Fatalf("%%CPU goes up at row %d: %v, %v", i, x, y)
		}
	}
}

// manyFrame is a host of n processes of which a tenth does something.
func manyFrame(n int) Frame {
	var samples []*collectors.Tasks
	key := &collectors.Tasks{Processes: n}
	for i := range n {
		info := proc(int32(i+1), int32(i/4), fmt.Sprintf("worker-%d", i%50))
		info.Args = collectors.RawString(fmt.Sprintf("/usr/bin/worker --number %d", i))
		key.Key = append(key.Key, collectors.TaskState{ProcInfo: info, RSS: uint32(i), State: 'S', Threads: 1})
	}
	samples = append(samples, key)
	for s := range 59 {
		t := &collectors.Tasks{Processes: n}
		for i := s; i < n; i += 10 {
			t.Rows = append(t.Rows, collectors.TaskRow{
				ProcInfo: key.Key[i].ProcInfo, Run: time.Duration(i) * time.Microsecond, RSS: uint32(i), State: 'S', Threads: 1,
			})
		}
		samples = append(samples, t)
	}
	return tasksFrame(samples...)
}

// BenchmarkProcesses draws a host of 5,000 processes.
func BenchmarkProcesses(b *testing.B) {
	f := manyFrame(5000)
	for name, size := range map[string][2]int{"80x24": {80, 24}, "200x60": {200, 60}} {
		b.Run(name, func(b *testing.B) {
			p := NewProcesses()
			c := Canvas{Width: size[0], Height: size[1], Theme: plain()}
			b.ReportAllocs()
			for b.Loop() {
				p.View(f, c)
			}
		})
	}
	b.Run("report", func(b *testing.B) {
		for b.Loop() {
			NewProcesses().Table(f)
		}
	})
}

// On a kernel of 64 KiB pages what is counted in pages is sixteen times as much.
func TestPageSize(t *testing.T) {
	at := func(page uint64) (rss, fallback uint64) {
		f := busyStory(90).frame()
		for i := range f.Past {
			if s := f.Past[i].Snapshot; s != nil && s.Host != nil {
				h, facts := *s.Host, *s.Host.Facts
				facts.PageSize, h.Facts = page, &facts
				s.Host = &h
			}
		}
		set := processesOver(f)
		return set.list[set.find(mostRSS(set).Process)].rss, pageBytes(f)
	}
	small, four := at(0)
	large, sixtyFour := at(64 << 10)
	if four != 4096 || sixtyFour != 64<<10 || small == 0 || large != 16*small {
		t.Errorf("RSS = %d with pages of %d bytes, %d with %d", small, four, large, sixtyFour)
	}
}

func mostRSS(set *processes) *process {
	most := &set.list[0]
	for i := range set.list {
		if set.list[i].rss > most.rss {
			most = &set.list[i]
		}
	}
	return most
}
