// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
)

func TestDifference(t *testing.T) {
	one := Column{ID: "a", Width: 6, Decimals: 1, delta: 6, value: 6}
	kib := Column{ID: "rss", Width: 5, Form: KiB, delta: 6, value: 5}
	seconds := Column{ID: "TIME+", Width: 8, Form: CPUTime, delta: 6, value: 8}
	tests := map[string]struct {
		col      Column
		was, is  Cell
		then     then
		want     string
		inNumber string
	}{
		"more":              {one, Number(8.2), Number(12.3), oldRow, "+4.1", "12.3"},
		"less":              {one, Number(12.3), Number(8.2), oldRow, "-4.1", "8.2"},
		"the same":          {one, Number(12.3), Number(12.3), oldRow, "", "12.3"},
		"the same as shown": {one, Number(12.31), Number(12.33), oldRow, "", "12.3"},
		"too long":          {one, Number(0), Number(123_456), oldRow, "+123k", "123.5k"},
		"sizes":             {kib, Number(2048), Number(4096), oldRow, "+2M", "4M"},
		"times":             {seconds, Number(1), Number(62.5), oldRow, "+1:01.50", "1:02.50"},
		"was not known":     {one, Missing("why"), Number(3), oldRow, "", "3.0"},
		"is not known":      {one, Number(3), Missing("why"), oldRow, "", "-"},
		"new":               {one, Cell{}, Number(3), newRow, "", "3.0"},
		"gone":              {one, Number(3), Cell{}, goneRow, "-3.0", ""},
		"below zero":        {one, Number(-2), Number(-5), oldRow, "-3.0", "-5.0"},
		"texts":             {one, Say("a"), Say("b"), oldRow, "", "b"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := Row{Cells: []Cell{tt.is}, base: []Cell{tt.was}, then: tt.then}
			number, difference := r.parts(0, tt.col, false)
			if number != tt.inNumber || difference != tt.want {
				t.Errorf("parts = %q %q, want %q %q", number, difference, tt.inNumber, tt.want)
			}
			if r.cellText(0, tt.col); len(r.cellText(0, tt.col)) > tt.col.value+1+tt.col.delta && name != "times" {
				t.Errorf("cellText = %q, wider than its column", r.cellText(0, tt.col))
			}
		})
	}
}

// compared draws a table against another in width cells.
func compared(now, base Table, width, height int) []string {
	x := &comparison{recording: true}
	c := Canvas{Width: width, Height: height, Theme: plain(), against: x}
	l := newList("a")
	l.draw(c, base, height, listOptions{})
	x.recording = false
	x.restart()
	return l.draw(c, now, height, listOptions{})
}

// What happened once is not compared with what happened before.
func TestComparedEvents(t *testing.T) {
	events := func(ids ...string) Table {
		out := Table{Columns: []Column{{ID: "TIME", Title: "TIME", Width: 8, Left: true}, {ID: "MS", Title: "MS", Width: 6}}}
		for _, id := range ids {
			out.Rows = append(out.Rows, Row{ID: id, Cells: []Cell{Say(id), Number(4)}})
		}
		return out
	}
	want := []string{" TIME         MS", ">12:00:02      4", " 12:00:03      4"}
	if d := cmp.Diff(want, compared(events("12:00:02", "12:00:03"), events("12:00:01", "12:00:02"), 17, 10)); d != "" {
		t.Errorf("compared events (-want +got):\n%s", d)
	}
}

func TestComparedTable(t *testing.T) {
	now, base := table(), table()
	now.Rows[0].Cells[1] = Number(4.5) // three
	now.Rows[4].ID = "fresh"           // one is gone, fresh is new
	now.Rows[4].Cells = append([]Cell{}, now.Rows[4].Cells...)
	now.Rows[4].Cells[4] = Say("fresh")
	tests := map[string]struct {
		width int
		want  []string
	}{
		"wide": {60, []string{
			"   ID     ±   ↓aaa      ±    bbb      ± NAME",
			">   0          4.5   +1.5    100        three",
			"    1            -            99        none",
			"    2         10.0            98        ten",
			"    3          3.0            97        also three",
			"+   4   new    1.0            96        fresh",
			"-gone    -4          -1.0           -96 one",
		}},
		"narrow: only the difference of what matters less": {42, []string{
			"   ID     ±   ↓aaa      ±   Δbbb NAME",
			">   0          4.5   +1.5      = three",
			"    1            -             = none",
			"    2         10.0             = ten",
			"    3          3.0             = also thr…",
			"+   4   new    1.0           +96 fresh",
			"-gone    -4          -1.0    -96 one",
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, compared(now, base, tt.width, 28)); d != "" {
				t.Errorf("compared table (-want +got):\n%s", d)
			}
		})
	}
}

// Load begins after m: D shows it, in tables and distributions, marks what is new, and forgets it again.
func TestCompareFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStory("busy", "db-2", 2, time.Hour)
		for i := range 30 {
			s.second(calmLoad(i))
		}
		r := resize(root(s.frame()), 80, 24)
		press(r, "3", "D")
		sees(t, r, "no baseline", "mark a baseline first: m")
		press(r, "m")
		sees(t, r, "marked", "the baseline is now 09:26:29; D shows")
		for i := range 30 {
			s.second(busyLoad(i))
			r.cfg.History.Append(s.moments[len(s.moments)-1])
		}
		r.Update(NewMsg{})
		if strings.Contains(r.View(), "±") {
			t.Errorf("differences without D:\n%s", r.View())
		}
		press(r, "D")
		sees(t, r, "processes", "Δ since 09:26:29", "gzip -9", "new", "↓%CPU      ±", "-11.3")
		press(r, "2")
		sees(t, r, "cpu", "+38.8", "now              09:26:29", "16-33ms     4-7µs")
		press(r, "j", "enter")
		sees(t, r, "a page", "› cpu0", "Δ since 09:26:29")
		press(r, "esc", "1")
		sees(t, r, "overview", "+5.2")
		press(r, " ", "2", "{", "{", "{", "{")
		sees(t, r, "stepped back to before it", "Δ 09:26:29", "PAUSED 40s ago")
		press(r, "D")
		if strings.Contains(r.View(), "Δ") {
			t.Errorf("D again compares still:\n%s", r.View())
		}
	})
}

// Every pane draws its tables and distributions against the baseline, or says why it does not.
func TestEveryPaneCompares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := varied(60)
		h := root(s.frame()).cfg.History
		says := map[string]int{}
		for state, keys := range states() {
			if state == "help" || slices.Contains(keys, " ") {
				continue
			}
			small := sizes[1:]
			if raceDetector { // as for everyFixture
				small = small[len(small)-1:]
			}
			for _, size := range small {
				r := resize(rootOver(h, s.frame()), size[0], size[1])
				press(r, " ", "left", "m", "end")
				press(r, keys...)
				press(r, "D")
				out := r.View()
				fits(t, out, size[0], size[1])
				line := look(r)[size[1]-2]
				if !strings.Contains(line, "Δ since 09:26:58") {
					t.Errorf("%s at %d×%d does not say what it is compared with: %q", state, size[0], size[1], line)
				}
				if strings.Contains(line, "±difference") {
					says[state]++
				} else if !strings.Contains(line, "nothing here to compare") && !strings.Contains(line, "at the baseline") && !strings.Contains(line, "events are not compared") {
					t.Errorf("%s compares nothing and does not say why: %q", state, line)
				}
			}
		}
		for _, state := range []string{"overview", "cpu", "cpu by cpu", "processes", "process page", "memory", "disk", "disk latency", "network", "tcp", "tcp latency", "exec openers", "probes", "dns", "cgroups", "syscalls"} {
			if says[state] == 0 {
				t.Errorf("%s compares nothing", state)
			}
		}
	})
}

// A mark of a distribution: both sides of the same pane, whatever the split.
func TestComparedHistograms(t *testing.T) {
	var now, then collectors.Hist
	now.Slots[3], now.Slots[9], then.Slots[3] = 40, 7, 80
	x := &comparison{recording: true, at: began}
	c := Canvas{Width: 80, Height: 20, Theme: plain(), against: x}
	withStats(c, Histogram{ID: "a", Title: "a", Now: &then}, 80, 9)
	x.recording = false
	x.restart()
	got := strings.Join(withStats(c, Histogram{ID: "a", Title: "a", Now: &now, Start: &now}, 80, 9), "\n")
	for _, want := range []string{"now              09:26:00", "40 ", "80 ", "n           47        80"} {
		if !strings.Contains(got, want) {
			t.Errorf("the histogram lacks %q:\n%s", want, got)
		}
	}
	if x.found != 1 || x.missed != 0 {
		t.Errorf("found %d, missed %d, want 1 and 0", x.found, x.missed)
	}
	withStats(c, Histogram{ID: "b", Title: "b", Now: &now}, 80, 9)
	if x.missed != 1 {
		t.Errorf("a distribution that the baseline lacks is not counted as missed")
	}
	narrow := withStats(Canvas{Width: 40, Height: 20, Theme: plain(), against: &comparison{hists: map[string][]*collectors.Hist{"a a": {&then}}, at: began}}, Histogram{ID: "a", Title: "a", Now: &now}, 40, 12)
	if s := strings.Join(narrow, "\n"); !strings.Contains(s, "09:26:00") || !strings.Contains(s, "80") {
		t.Errorf("a narrow screen lacks the baseline:\n%s", s)
	}
}

// BenchmarkCompare draws panes of 5,000 processes against the baseline.
func BenchmarkCompare(b *testing.B) {
	h := manyProcesses(120)
	for _, keys := range [][]string{{"2"}, {"3"}} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			r := New(Config{Panes: All(), History: h, Theme: plain()})
			resize(r, 200, 50)
			r.Update(NewMsg{})
			press(r, "m")
			press(r, keys...)
			press(r, "D")
			b.ReportAllocs()
			for b.Loop() {
				r.Update(NewMsg{})
				r.View()
			}
		})
	}
}
