// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
)

// pageParts are n distributions of which the second has nothing.
func pageParts(n int) []distribution {
	out := make([]distribution, n)
	for i := range out {
		h := spread(map[int]uint64{4 + i: 200})
		out[i] = distribution{Histogram{ID: "x", Title: "part " + string(rune('a'+i)), Now: &h}, func(int) []*collectors.Hist { return []*collectors.Hist{&h, &h} }}
	}
	if n > 1 {
		out[1].Now, out[1].Why = nil, "needs CAP_BPF"
	}
	return out
}

// TestPageDraw: what the keys of a page make of its distributions, and which of them have room.
func TestPageDraw(t *testing.T) {
	tests := map[string]struct {
		keys  []string
		width int
		parts int
		want  []string // there
		not   []string // not there
	}{
		"side by side":          {nil, 80, 4, []string{"part a", "part b", "part c", "needs CAP_BPF", "█"}, []string{"part d"}},
		"wide":                  {nil, 200, 6, []string{"part e"}, []string{"part f"}},
		"narrow":                {nil, 40, 3, []string{"part a", "part b", "part c", "n 200", "- needs"}, nil},
		"over time":             {[]string{keyDraw}, 80, 4, []string{"part a", "part b", "needs CAP_BPF", "│", "n 200"}, []string{"part c"}},
		"heat map":              {[]string{keyDraw, keyDraw}, 40, 4, []string{"part a", "│"}, []string{"part b"}},
		"one":                   {[]string{keyPagePart}, 80, 4, []string{"part a", "last interval", "p99"}, []string{"part b"}},
		"one without data":      {[]string{keyPagePart, keyPagePart}, 80, 4, []string{"part b", "needs CAP_BPF"}, []string{"part a"}},
		"the last over time":    {[]string{keyPagePart, keyPagePart, keyPagePart, keyDraw}, 80, 3, []string{"part c", "one column a sample"}, []string{"part a"}},
		"and all again":         {[]string{keyPagePart, keyPagePart, keyPagePart, keyPagePart, keyDraw, keyDraw, keyDraw}, 80, 3, []string{"part a", "part b", "part c"}, nil},
		"fewer than one chosen": {[]string{keyPagePart, keyPagePart, keyPagePart}, 80, 1, []string{"part a"}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var d pageDraw
			for _, k := range tt.keys {
				if !d.press(k, 3) {
					t.Fatalf("%s is not a key of it", k)
				}
			}
			const height = 9
			out := strings.Join(d.draw(Canvas{Width: tt.width, Height: 24, Theme: plain()}, pageParts(tt.parts), height), "\n")
			fits(t, out, tt.width, height)
			for _, w := range tt.want {
				if !strings.Contains(out, w) {
					t.Errorf("it lacks %q:\n%s", w, out)
				}
			}
			for _, w := range tt.not {
				if strings.Contains(out, w) {
					t.Errorf("it has %q:\n%s", w, out)
				}
			}
		})
	}
	var d pageDraw
	if d.press("another", 3) {
		t.Error("another's key was taken")
	}
	if out := d.draw(Canvas{Width: 80, Theme: plain()}, pageParts(3), 2); out != nil {
		t.Errorf("in two lines: %q, want nothing", out)
	}
}

// TestPageDrawKeys: the keys draw on the pages of a process and of a disk, whatever the table, and in a
// moment of the past.
func TestPageDrawKeys(t *testing.T) {
	tests := map[string]struct {
		keys []string
		want []string
	}{
		"process over time":         {[]string{"3", "enter", "v"}, []string{"waits for a CPU", "p50", "v heat map"}},
		"process one":               {[]string{"3", "enter", "i", "v", "v"}, []string{"── waits for a CPU ── one column a sample", "p99"}},
		"the call of the cursor":    {[]string{"3", "enter", "T", "T", "T", "j", "i", "i", "i", "i", "i", "i", "i"}, []string{"── times of futex ── last interval", "mean"}},
		"the call of most time":     {[]string{"3", "enter", "i", "i", "i", "i", "i", "i", "i"}, []string{"── times of "}},
		"zoomed":                    {[]string{"3", "enter", "v", "v", "-"}, []string{"one column 5 s"}},
		"in the past":               {[]string{"3", "enter", "i", "v", " ", "{", "{"}, []string{"waits for a CPU", "PAUSED", "p50"}},
		"against the baseline":      {[]string{"3", "enter", "i", " ", "{", "m", "end", "D"}, []string{"── waits for a CPU", "now"}},
		"disk over time":            {[]string{"5", "enter", "v", "v"}, []string{"time on the device", "time in the queue", "-00:28"}},
		"reads of a disk":           {[]string{"5", "enter", "i", "i", "i"}, []string{"── reads on the device ── last interval"}},
		"the tables have others":    {[]string{"3", "enter", "t", "t"}, []string{"[block I/O]"}},
		"the disk's tables as well": {[]string{"5", "enter", "T"}, []string{"[sizes]"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := resize(root(frames()["busy"]), 80, 24)
			press(r, tt.keys...)
			out := r.View()
			for _, w := range tt.want {
				if !strings.Contains(out, w) {
					t.Errorf("after %q the screen lacks %q:\n%s", tt.keys, w, out)
				}
			}
		})
	}
}

// TestTargetTimes: the table of a target's calls has their times, and says why it has none.
func TestTargetTimes(t *testing.T) {
	f := frames()["busy"]
	target := pageOf(t, f, 4121).target()
	table := targetCallTable(f, target)
	column := func(id string) int {
		for i, c := range table.Columns {
			if c.ID == id {
				return i
			}
		}
		t.Fatalf("no column %s", id)
		return 0
	}
	var got []string
	for _, r := range table.Rows[:3] {
		got = append(got, r.ID+" "+r.Cells[column("mean_us")].Format(0)+" "+r.Cells[column("max")].Format(0))
	}
	if diff := cmp.Diff([]string{"read 7 4-7µs", "futex 225 128-255µs", "write 14 8-15µs"}, got); diff != "" {
		t.Errorf("mean and maximum (-want +got):\n%s", diff)
	}
	if len(table.Histograms) == 0 || table.Histograms[0].Title != "times of read" || table.Histograms[0].Now.Count() != 15651 {
		t.Errorf("histograms %+v, want that of read first", table.Histograms)
	}
	f.Past = slices.Clone(f.Past) // others draw the same frame
	for i := range f.Past {
		if s := f.Past[i].Snapshot; s != nil && s.SyscallTimes != nil {
			c := *s
			times := *s.SyscallTimes
			times.Narrowed = nil
			c.SyscallTimes = &times
			f.Past[i].Snapshot = &c
		}
	}
	f.Now = f.Past[len(f.Past)-1]
	table = targetCallTable(f, target)
	if cell := table.Rows[0].Cells[column("max")]; cell.Known() {
		t.Errorf("nobody timed them, and the maximum is %s", cell.Format(0))
	}
	if d := callDistribution(f, target, "read"); d.Now != nil || d.Why == "" {
		t.Errorf("nobody timed them, and there is a distribution: %+v", d.Histogram)
	}
}
