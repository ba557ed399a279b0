// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/triage"
)

// cgroupSecond is a moment with rows of cgroups, read over the second before.
func cgroupSecond(sec int, change func(*collectors.Cgroups), rows ...collectors.CgroupRow) triage.Moment {
	at := time.Duration(sec) * time.Second
	g := &collectors.Cgroups{Span: collectors.Span{From: at - time.Second, To: at}, Count: len(rows), Rows: rows}
	for i := range g.Rows {
		g.Rows[i].Span = g.Span
	}
	if change != nil {
		change(g)
	}
	return triage.Moment{Snapshot: &collectors.Snapshot{At: at, Cgroups: g}}
}

// cgroupInfo is a leaf with limits of its own.
func cgroupInfo(id uint64, path string, own collectors.CgroupLimits) *collectors.CgroupInfo {
	return &collectors.CgroupInfo{
		ID: id, Path: collectors.RawString(path), Name: collectors.RawString(strings.Trim(path, "/")), Depth: uint8(strings.Count(path, "/")),
		Leaf: true, Own: own, Tight: own,
	}
}

func window(span time.Duration, moments ...triage.Moment) Frame {
	return Frame{Now: moments[len(moments)-1], Past: moments, Span: span}
}

const hasAll = collectors.HasUsage | collectors.HasThrottle | collectors.HasMemory | collectors.HasEvents | collectors.HasHigh | collectors.HasPSI | collectors.HasIO

// TestCgroupFormulas pins each column to a row whose numbers a person can work out.
func TestCgroupFormulas(t *testing.T) {
	row := collectors.CgroupRow{
		CgroupInfo: cgroupInfo(7, "/a", limits(2, 400, 500)), Has: hasAll | collectors.HasSplit | collectors.HasPids | collectors.HasSwap,
		Usage: 500 * time.Millisecond, User: 300 * time.Millisecond, System: 200 * time.Millisecond,
		Periods: 10, Throttled: 4, ThrottledFor: 1500 * time.Millisecond, Memory: 300, Swap: 50, Pids: 12,
		Events: collectors.CgroupEvents{High: 6, Max: 2, OOMKill: 1},
		PSI: &collectors.CgroupPSI{
			CPU:    collectors.CgroupStall{Some: 250 * time.Millisecond, Full: 100 * time.Millisecond},
			Memory: collectors.CgroupStall{Some: 2 * time.Second}, // more than there is: a late reading
		},
		IO: &collectors.CgroupIO{RBytes: 4096, WBytes: 8192, RIOs: 1, WIOs: 3},
	}
	row.Weight = 100
	half := func(g *collectors.Cgroups) { g.Rows[0].From -= time.Second } // two seconds
	p := NewCgroups()
	tab := p.Table(window(0, cgroupSecond(2, half, row)))
	got := map[string]float64{}
	for i, c := range tab.Columns {
		if v, ok := tab.Rows[0].Cells[i].Num(); ok {
			got[c.ID] = v
		}
	}
	want := map[string]float64{
		"%CPU": 25, "%usr": 15, "%sys": 10, "quota": 2, "%quota": 12.5, "%thr": 40, "thr_ms": 750, "periods": 5, "weight": 100,
		"MEM": 300, "high": 400, "max": 500, "%lim": 75, "swap": 50, "high/s": 3, "max/s": 1, "oom": 1,
		"psi_cpu": 12.5, "psi_cpu_full": 5, "psi_mem": 100, "psi_mem_full": 0, "psi_io": 0, "psi_io_full": 0,
		"rd/s": 2048, "wr/s": 4096, "r/s": 0.5, "w/s": 1.5, "TASKS": 12,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
}

// TestCgroupCellsSayWhy: whatever is missing has a reason.
func TestCgroupCellsSayWhy(t *testing.T) {
	f := window(0, cgroupSecond(2, nil, collectors.CgroupRow{CgroupInfo: cgroupInfo(7, "/a", limits(0, 0, 0))}))
	f.Now.Snapshot.Probes = map[collectors.ID][]collectors.Probe{collectors.CgroupsID: cgroupProbes("lossy")}
	tab := NewCgroups().Table(f)
	for i, c := range tab.Columns {
		cell := tab.Rows[0].Cells[i]
		if c.ID == "CGROUP" {
			continue
		}
		if cell.Known() || cell.Why == "" || strings.HasSuffix(cell.Why, ":") {
			t.Errorf("%s = %s, why %q, want it missing with a reason", c.ID, cell.Format(1), cell.Why)
		}
		if c.ID == "psi_mem" && !strings.Contains(cell.Why, "psi=1") {
			t.Errorf("%s: why %q, want the probe's words", c.ID, cell.Why)
		}
	}
}

func TestCgroupsOver(t *testing.T) {
	a := cgroupInfo(7, "/a", limits(0, 0, 0))
	anew := cgroupInfo(8, "/a", limits(0, 0, 0))
	b := cgroupInfo(9, "/b", limits(0, 0, 0))
	row := func(info *collectors.CgroupInfo, ms int, has collectors.CgroupHas) collectors.CgroupRow {
		return collectors.CgroupRow{CgroupInfo: info, Has: has, Usage: time.Duration(ms) * time.Millisecond, Memory: uint64(ms)}
	}
	const usage, memory = collectors.HasUsage, collectors.HasMemory
	rested := func(g *collectors.Cgroups) { g.Oldest = 8 * time.Second }
	tests := map[string]struct {
		f    Frame
		want map[string]float64 // CPUs by path
	}{
		"the newest row of each, within the oldest reading": {
			window(0, cgroupSecond(1, nil, row(b, 900, usage)), cgroupSecond(5, nil, row(b, 100, usage)), cgroupSecond(9, rested, row(a, 250, usage))),
			map[string]float64{"/a": 0.25, "/b": 0.1},
		},
		"older rows are not now": {
			window(0, cgroupSecond(1, nil, row(b, 900, usage)), cgroupSecond(9, nil, row(a, 250, usage))),
			map[string]float64{"/a": 0.25},
		},
		"gone": {
			window(0, cgroupSecond(8, nil, row(a, 250, usage), row(b, 1, usage)), cgroupSecond(9, func(g *collectors.Cgroups) {
				rested(g)
				g.Gone = []collectors.Raw{collectors.RawString("/b")}
			})),
			map[string]float64{"/a": 0.25},
		},
		"gone and come again": {
			window(0, cgroupSecond(8, nil, row(a, 250, usage)), cgroupSecond(9, func(g *collectors.Cgroups) {
				rested(g)
				g.Gone = []collectors.Raw{collectors.RawString("/a")}
			}, row(anew, 500, usage))),
			map[string]float64{"/a": 0.5},
		},
		"a span sums": {
			window(10*time.Second, cgroupSecond(8, nil, row(a, 250, usage)), cgroupSecond(9, nil, row(a, 500, usage), row(b, 100, usage))),
			map[string]float64{"/a": 0.375, "/b": 0.1},
		},
		"of a span counts what was read": {
			window(10*time.Second, cgroupSecond(8, nil, row(a, 250, usage)), cgroupSecond(9, nil, row(a, 0, memory))),
			map[string]float64{"/a": 0.25},
		},
		"a span does not sum two of one name": {
			window(10*time.Second, cgroupSecond(8, nil, row(a, 250, usage)), cgroupSecond(9, nil, row(anew, 500, usage))),
			map[string]float64{"/a": 0.5},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rows, _ := cgroupsOver(tt.f)
			got := map[string]float64{}
			for i := range rows {
				got[rows[i].Path.Bytes()] = rows[i].cpus()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("CPUs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNearestCgroup: pain comes before closeness, and limits above are not one's own.
func TestNearestCgroup(t *testing.T) {
	row := func(path string, own collectors.CgroupLimits, change func(*collectors.CgroupRow)) collectors.CgroupRow {
		r := collectors.CgroupRow{CgroupInfo: cgroupInfo(uint64(len(path)), path, own), Has: hasAll, PSI: &collectors.CgroupPSI{}, IO: &collectors.CgroupIO{}}
		if change != nil {
			change(&r)
		}
		return r
	}
	full := row("/full", limits(0, 0, 1000), func(r *collectors.CgroupRow) { r.Memory = 1000 })
	half := row("/half", limits(0, 1000, 0), func(r *collectors.CgroupRow) { r.Memory = 500 })
	throttled := row("/throttled", limits(1, 0, 0), func(r *collectors.CgroupRow) { r.Usage, r.Periods, r.Throttled = 4e8, 10, 6 })
	uncounted := row("/uncounted", limits(0.2, 0, 0), func(r *collectors.CgroupRow) { r.Has, r.Periods, r.Throttled = collectors.HasThrottle, 10, 10 })
	stalled := row("/stalled", limits(0, 1000, 0), func(r *collectors.CgroupRow) { r.Memory, r.PSI.Memory.Some = 990, 7e8 })
	killed := row("/killed", limits(0, 0, 1000), func(r *collectors.CgroupRow) { r.Events.OOMKill = 1 })
	below := row("/below", limits(0, 0, 0), func(r *collectors.CgroupRow) { r.Tight.Max, r.Memory = 1000, 1000 })
	tests := map[string]struct {
		rows []collectors.CgroupRow
		want string
		hit  int
		line string
	}{
		"full":           {[]collectors.CgroupRow{half, full}, "/full", 1, "full mem 100 % of max"},
		"throttled":      {[]collectors.CgroupRow{full, throttled, half}, "/throttled", 2, "throttled cpu 40 % of 1"},
		"without usage":  {[]collectors.CgroupRow{uncounted, half}, "/uncounted", 1, "uncounted cpu - of 0.2"},
		"stalled":        {[]collectors.CgroupRow{stalled, throttled, full}, "/stalled", 3, "stalled mem 99 % of high"},
		"killed":         {[]collectors.CgroupRow{stalled, killed}, "/killed", 2, "killed mem 0 % of max"},
		"not near":       {[]collectors.CgroupRow{half}, "/half", 0, "half mem 50 % of high"},
		"not of its own": {[]collectors.CgroupRow{below}, "", 0, "none of 1 has a limit"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := window(0, cgroupSecond(2, nil, tt.rows...))
			rows, _ := cgroupsOver(f)
			got, hit := nearestCgroup(rows)
			path := ""
			if got != nil {
				path = got.Path.Bytes()
			}
			if path != tt.want || hit != tt.hit {
				t.Errorf("nearestCgroup = %q, %d at a limit, want %q, %d", path, hit, tt.want, tt.hit)
			}
			if l := cgroupLine(f); l.parts[0].text != tt.line || l.row != tt.want {
				t.Errorf("line = %q of row %q, want %q", l.parts[0].text, l.row, tt.line)
			}
		})
	}
}

// TestCgroupKeys walks from the CPU pane to a cgroup's page and back.
func TestCgroupKeys(t *testing.T) {
	r := resize(root(busyStory(91).frame()), 80, 24)
	see := func(what string, want ...string) {
		t.Helper()
		out := r.View()
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: the screen has no %q:\n%s", what, w, out)
			}
		}
	}
	press(r, "2", "c")
	see("c in CPU", "by cgroup", "by cpu", "%thr", ">", "backup.service")
	press(r, "t")
	see("t", "tree", "system.slice")
	press(r, "t", "down", "enter")
	see("Enter", "php8.2-fpm.service", "limits", "512M*")
	press(r, "esc")
	see("Esc", "> ", "by cgroup")
	press(r, "c")
	see("c again", "by memory", "high/s")
	press(r, "c")
	see("c again", "by io", "fullI")
	press(r, "esc")
	see("Esc", "run-queue latency")
	press(r, "5", "c")
	see("c in Disk", "by io")
}

// TestCgroupPageGone: a page outlives its cgroup.
// The page of a cgroup lists its processes and those of the cgroups below, and leads to their pages.
func TestCgroupPageProcesses(t *testing.T) {
	f := busyStory(90).frame()
	want := map[string][]string{}
	set := processesOver(f)
	for i := range set.list {
		x := &set.list[i]
		want[x.CgroupPath.Bytes()] = append(want[x.CgroupPath.Bytes()], rowOf(x))
		if x.CgroupPath.Bytes() != "/system.slice" && isAbove("/system.slice", x.CgroupPath.Bytes()) {
			want["/system.slice"] = append(want["/system.slice"], rowOf(x))
		}
	}
	for _, path := range []string{"/system.slice/mariadb.service", "/system.slice"} {
		p := newCgroupPage(f, path)
		if p == nil {
			t.Fatalf("no page of %s", path)
		}
		var got []string
		for _, r := range p.inside(f, collectors.Target{}).Rows {
			got = append(got, r.ID)
		}
		slices.Sort(got)
		slices.Sort(want[path])
		if len(got) == 0 || !slices.Equal(got, want[path]) {
			t.Errorf("processes of %s = %v, want %v", path, got, want[path])
		}
	}
	p := newCgroupPage(f, "/system.slice/mariadb.service")
	top, _ := p.parts.lists[0].row(p.parts.table(f, 0))
	open := p.Update(Press{ID: "open", Frame: f})
	if open == nil {
		t.Fatal("Enter opens nothing")
	}
	page, ok := open.(OpenMsg)
	if !ok || page.Pane.Info().ID != ID("process "+top.ID) {
		t.Errorf("Enter on process %s opens %+v", top.ID, page)
	}
	if (&cgroupPage{path: "/a"}).holds("/ab") || (&cgroupPage{path: "/a"}).holds("") || !(&cgroupPage{path: "/"}).holds("/ab/c") {
		t.Error("a cgroup holds the processes of another, or the root not all")
	}
}

func TestCgroupPageGone(t *testing.T) {
	f := busyStory(40).frame()
	p := newCgroupPage(f, "/system.slice/nginx.service")
	if p == nil {
		t.Fatal("no page of nginx.service")
	}
	w := p.Wants(Scope{})
	if len(w) < 3 || w[1].Target.Cgroup == 0 || w[0].ID != collectors.CgroupsID {
		t.Errorf("Wants = %+v", w)
	}
	for _, x := range w[1:] {
		if x.Target.Kind != collectors.CgroupTarget || x.Target.Cgroup != p.id {
			t.Errorf("it wants %s of %+v, not of itself", x.ID, x.Target)
		}
	}
	gone := window(0, cgroupSecond(99, nil))
	if out := p.View(gone, Canvas{Width: 80, Height: 21, Theme: plain()}); !strings.Contains(out, "it is gone") {
		t.Errorf("view of a cgroup that went = %q", out)
	}
	if tab := p.Table(gone); len(tab.Notes) == 0 || len(tab.Rows) != 0 {
		t.Errorf("table of a cgroup that went = %+v", tab)
	}
	if newCgroupPage(f, "/nowhere") != nil {
		t.Error("a page of a cgroup that is not there")
	}
	if a := p.Update(Press{ID: keymap.Down}); a != nil {
		t.Error("the page answers a key that it does not have")
	}
}

func BenchmarkCgroupsView(b *testing.B) {
	f := extremeFrame()
	p := NewCgroups()
	c := Canvas{Width: 200, Height: 57, Theme: plain()}
	b.ReportAllocs()
	for b.Loop() {
		p.View(f, c)
	}
}
