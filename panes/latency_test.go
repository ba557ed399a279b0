// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/triage"
)

// A column that covers more is the sum of its samples, begins at a whole step and keeps its place when
// the next sample comes; a gap stays a gap.
func TestColumnsOfSeconds(t *testing.T) {
	at := func(i int) triage.Moment {
		to := time.Duration(i) * time.Second
		s := &collectors.Sched{Span: collectors.Span{From: to - time.Second, To: to}}
		s.Host.Wait.Slots[2] = 1
		return triage.Moment{Snapshot: &collectors.Snapshot{At: to, Sched: s}}
	}
	frame := func(step time.Duration, seconds ...int) Frame {
		f := Frame{zoom: zoom{column: step}}
		for _, i := range seconds {
			f.Past = append(f.Past, at(i))
		}
		return f
	}
	tests := map[string]struct {
		f    Frame
		n    int
		want []int // events of a column; -1: missing
	}{
		"samples":       {frame(0, 1, 2, 3), 9, []int{1, 1, 1}},
		"samples, few":  {frame(0, 1, 2, 3), 2, []int{1, 1}},
		"a missed one":  {frame(0, 1, 2, 5), 9, []int{1, 1, -1, 1}},
		"of 5 s":        {frame(5*time.Second, 3, 4, 5, 6, 7, 8, 9, 10, 11), 9, []int{2, 5, 2}},
		"one more":      {frame(5*time.Second, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), 9, []int{2, 5, 3}},
		"of 5 s, few":   {frame(5*time.Second, 3, 4, 5, 6, 7, 8, 9, 10, 11), 2, []int{5, 2}},
		"a gap of 12 s": {frame(5*time.Second, 3, 4, 16, 17), 9, []int{2, -1, -1, 2}},
		"none":          {frame(5 * time.Second), 9, []int{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := []int{}
			for _, h := range columns(tt.f, tt.n, schedOf, schedSpan, schedWait) {
				n := -1
				if h != nil {
					n = int(h.Count())
				}
				got = append(got, n)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("columns (-want +got):\n%s", d)
			}
			for _, m := range tt.f.Past {
				if n := m.Sched.Host.Wait.Count(); n != 1 {
					t.Errorf("the sample at %v holds %d events, want 1: columns wrote to it", m.At, n)
				}
			}
		})
	}
}

func TestZoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := resize(root(busyStory(301).frame()), 80, 24)
		steps := []struct{ key, want string }{
			{"2", "last interval"},
			{"-", "one column 5 s, all latency"},
			{"v", "◆ p99"},
			{"v", "── one column 5 s ──"},
			{"-", "one column 10 s"},
			{"-", "one column 30 s"},
			{"-", "one column 60 s"},
			{"-", "one column 60 s"},
			{"+", "one column 30 s"},
			{"5", ""},
			{"t", ""},
			{"v", ""},
			{"v", "── one column 30 s ──"}, // the same in every pane
			{"=", "one column 10 s"},
			{"+", ""},
			{"+", "one column a sample"},
			{"+", "one column a sample"},
			{"Z", "latency from p50 up"},
			{"Z", "latency from p90 up"},
			{"Z", "latency from p99 up"},
			{"Z", "all latency"},
		}
		for _, s := range steps {
			press(r, s.key)
			sees(t, r, s.key, s.want)
		}
		press(r, "3", "-")
		if r.tape.zoom.column != 0 {
			t.Error("a pane without a drawing zooms")
		}
	})
}

// All ten minutes are in sight at 80 columns.
func TestZoomShowsTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := triage.NewHistory(1 << 30)
		for _, m := range busyStory(601).moments {
			h.Append(m)
		}
		r := resize(rootOver(h, Frame{}), 80, 24)
		press(r, "2", "v", "v", "-", "-", "j")
		sees(t, r, "10 s a column", "-10:")
		for _, l := range look(r) {
			if strings.Contains(l, "≤") && !strings.Contains(l, "████████████████████████████████████████████████████████████") {
				t.Errorf("the ten minutes are not drawn in one row of 60 columns: %q", l)
			}
		}
	})
}

// Every drawing over time has its numbers beside it, and every pane that draws latency can zoom.
func TestDrawingsHaveNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := root(busyStory(91).frame()).cfg.History
		f := busyStory(91).frame()
		for name, keys := range map[string][]string{
			"run queue":    {"2", "v", "v"},
			"one CPU":      {"2", "j", "enter", "i", "v", "v"},
			"softirqs":     {"2", "t", "v", "v"},
			"interrupts":   {"2", "t", "t", "v", "v"},
			"off-CPU":      {"2", "t", "t", "t", "i", "v", "v"},
			"reclaim":      {"4", "v", "d", "d"},
			"block":        {"5", "t", "v", "v"},
			"connect":      {"7", "t", "t", "v", "v"},
			"round trip":   {"7", "t", "t", "w", "v", "v"},
			"slow files":   {"8", "V", "V", "V", "d", "d"},
			"DNS":          {"6", "d", "v", "v"},
			"system calls": {":", "s", "y", "s", "c", "enter", "t", "v", "v"},
		} {
			for _, how := range []string{"heat map", "percentiles"} {
				r := resize(rootOver(full, f), 100, 40)
				press(r, keys...)
				if how == "percentiles" { // one press before: round again
					press(r, keys[len(keys)-1], keys[len(keys)-1])
				}
				out := r.View()
				axis := false
				for _, l := range look(r) {
					fields := strings.Fields(l)
					axis = axis || len(fields) > 6 && strings.HasPrefix(fields[0], "-0") && fields[1] == "n" && strings.Contains(l, "max ")
				}
				if !axis || !strings.Contains(out, " │") {
					t.Errorf("%s as %s lacks a plot or the numbers below it:\n%s", name, how, out)
				}
				if how == "percentiles" != strings.Contains(out, "◆ p99") {
					t.Errorf("%s is not drawn as %s:\n%s", name, how, out)
				}
				found := 0
				for _, k := range r.bindings() {
					if k.ID == keyZoomIn || k.ID == keyZoomOut || k.ID == keyRange {
						found++
					}
				}
				if found != 3 {
					t.Errorf("%s has %d of the 3 keys that zoom", name, found)
				}
			}
		}
	})
}

func TestSlowFilesAreDivided(t *testing.T) {
	f := busyStory(91).frame()
	tests := map[slowSplit][]string{
		slowWhole:     {""},
		slowByCall:    {"fsync", "openat", "pread64", "statx"},
		slowByProcess: {"gzip[4121]", "php-fpm[812]"},
	}
	for split, want := range tests {
		s := slowDrawing{split: split}
		var got []string
		var n uint64
		for _, p := range s.parts(f) {
			got = append(got, p.Title)
			n += p.Start.Count()
			if p.Now.Count() > p.Start.Count() {
				t.Errorf("%s %s: more in the last interval than since start", split, p.Title)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", split, d)
		}
		if whole := (&slowDrawing{}).parts(f)[0].Start.Count(); n != whole {
			t.Errorf("%s: the parts hold %d calls, want all %d", split, n, whole)
		}
	}
	var s slowDrawing
	if got := s.press(keymap.Open); got {
		t.Error("the drawing takes Enter from the table")
	}
}

// No two distributions that are drawn together hide an event of each other.
func TestIRQParts(t *testing.T) {
	f := busyStory(91).frame()
	s := newIRQState()
	s.view, s.all = softirqView, true
	parts := s.parts(f, s.table(f))
	if len(parts) < 2 {
		t.Fatalf("%d vectors are drawn together, want several", len(parts))
	}
	for i, p := range parts {
		cols := p.over(5)
		if len(cols) != 5 || cols[4].Count() != p.Now.Count() {
			t.Errorf("%s: the newest column holds %s events, want those of the last interval, %s", p.Title, count(cols[len(cols)-1]), count(p.Now))
		}
		if i > 0 && p.Now.Sum > parts[i-1].Now.Sum {
			t.Errorf("%s took more time than %s before it", p.Title, parts[i-1].Title)
		}
	}
}
