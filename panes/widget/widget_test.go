// SPDX-License-Identifier: Apache-2.0

package widget

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/theme"
)

func TestLine(t *testing.T) {
	dim := theme.New("dark", colorprofile.ANSI256).Dim
	tests := map[string]struct {
		line *Line
		want string
	}{
		"plain":             {NewLine(10).Plain("abc"), "abc"},
		"cut":               {NewLine(4).Plain("abcdef"), "abc…"},
		"cut wide":          {NewLine(4).Plain("日本語"), "日…"},
		"no trailing blank": {NewLine(10).Plain("abc  ").Skip(3), "abc"},
		"blanks kept":       {NewLine(10).Plain("a  ").Plain("b"), "a  b"},
		"block keeps":       {NewLine(10).Block(theme.Style{}, " a "), " a "},
		"right":             {NewLine(10).Right(theme.Style{}, "abc", 8), "     abc"},
		"right too late":    {NewLine(10).Plain("12345").Right(theme.Style{}, "abc", 6), "12345abc"},
		"full":              {NewLine(3).Plain("abc").Plain("d"), "abc"},
		"style":             {NewLine(9).Put(dim, "a"), "\x1b[38;5;245ma\x1b[0m"},
		"raw that fits":     {NewLine(5).Raw("\x1b[1mab\x1b[0m", 2), "\x1b[1mab\x1b[0m"},
		"raw too wide":      {NewLine(1).Raw("ab", 2), ""},
		"rule":              {NewLine(5).Plain("a ").Rule(theme.Style{}), "a ───"},
		"no room":           {NewLine(-3).Plain("a"), ""},
	}
	for name, tt := range tests {
		if got := tt.line.String(); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestClipWords(t *testing.T) {
	for _, tt := range []struct {
		cells int
		want  string
	}{{40, "12.7 runnable on 2 CPUs"}, {20, "12.7 runnable on 2 …"}, {19, "12.7 runnable on …"}, {8, "12.7 …"}, {3, "12…"}, {0, ""}} {
		if got := ClipWords("12.7 runnable on 2 CPUs", tt.cells); got != tt.want {
			t.Errorf("ClipWords to %d = %q, want %q", tt.cells, got, tt.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{Count(0), "0"},
		{Count(18204), "18204"},
		{Count(99999), "99999"},
		{Count(601_234), "601.2k"},
		{Count(1_234_567), "1.2M"},
		{Count(math.MaxUint64), "18.4E"},
		{Short(0), "0"},
		{Short(0.44), "0.4"},
		{Short(99.94), "99.9"},
		{Short(99.96), "100"},
		{Short(999.4), "999"},
		{Short(999.6), "1.0k"},
		{Short(41_234), "41.2k"},
		{Short(999_960), "1.0M"},
		{Short(-3), "-3.0"},
		{Short(math.NaN()), "-"},
		{Short(math.Inf(1)), "-"},
		{Bytes(0), "0"},
		{Bytes(1023), "1023"},
		{Bytes(31 << 20), "31M"},
		{Bytes(14066000000), "13.1G"},
		{Bytes(24 << 40), "24.0T"},
		{Bytes(1 << 63), "8.0E"},
		{Micros(41_100), "41.1µs"},
		{Micros(560 * time.Microsecond), "560µs"},
		{Micros(2100 * time.Microsecond), "2.1ms"},
		{Micros(1800 * time.Millisecond), "1.8s"},
		{Micros(999_700 * time.Nanosecond), "1.0ms"},
		{Age(9 * time.Second), "9s"},
		{Age(12 * time.Minute), "12m"},
		{Age(3 * time.Hour), "3h"},
		{Age(41 * 24 * time.Hour), "41d"},
		{Age(-time.Second), "0s"},
		{Clock(37 * time.Second), "00:37"},
		{Clock(75 * time.Minute), "75:00"},
		{Clock(-time.Second), "00:00"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

// A bucket's name never takes more than nine cells, and no two are the same.
func TestRange(t *testing.T) {
	want := []string{
		"0-1µs", "2-3µs", "4-7µs", "8-15µs", "16-31µs", "32-63µs", "64-127µs", "128-255µs", "256-511µs", "0.5-1ms",
		"1-2ms", "2-4ms", "4-8ms", "8-16ms", "16-33ms", "33-66ms", "66-131ms", "131-262ms", "262-524ms", "0.5-1s",
		"1-2s", "2-4s", "4-8s", "8-17s", "17-34s", "34-67s", ">67s",
	}
	var got []string
	for i := range collectors.HistSlots {
		s := Range(collectors.SlotBucket(i))
		got = append(got, s)
		if Width(s) > shortLabel {
			t.Errorf("%q is wider than %d", s, shortLabel)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Range (-want +got):\n%s", diff)
	}
}

func TestBar(t *testing.T) {
	tests := map[string]struct {
		value, most float64
		width       int
		want        string
	}{
		"full":         {10, 10, 4, "████"},
		"half":         {5, 10, 4, "██"},
		"an eighth":    {1, 32, 4, "▏"},
		"five eighths": {5, 32, 4, "▋"},
		"tiny shows":   {1, 1e9, 4, "▏"},
		"zero":         {0, 10, 4, ""},
		"over":         {20, 10, 2, "██"},
		"no scale":     {5, 0, 4, ""},
		"no width":     {5, 10, 0, ""},
		"not a number": {math.NaN(), 10, 4, ""},
	}
	for name, tt := range tests {
		if got := Bar(tt.value, tt.most, tt.width); got != tt.want {
			t.Errorf("%s: Bar(%v, %v, %d) = %q, want %q", name, tt.value, tt.most, tt.width, got, tt.want)
		}
	}
}

func TestSpark(t *testing.T) {
	nan := math.NaN()
	tests := map[string]struct {
		values []float64
		width  int
		lo, hi float64
		want   string
	}{
		"scale":        {[]float64{0, 1, 2, 3, 4, 5, 6}, 7, 0, 6, "▁▂▃▄▅▆▇"},
		"the last":     {[]float64{6, 0, 6}, 2, 0, 6, "▁▇"},
		"young":        {[]float64{6}, 3, 0, 6, "  ▇"},
		"gap":          {[]float64{0, nan, 6}, 3, 0, 6, "▁ ▇"},
		"beyond":       {[]float64{-5, 99}, 2, 0, 6, "▁▇"},
		"flat scale":   {[]float64{1, 1}, 2, 0, 0, "▁▁"},
		"no width":     {[]float64{1}, 0, 0, 1, ""},
		"nothing seen": {nil, 2, 0, 1, "  "},
	}
	for name, tt := range tests {
		if got := Spark(tt.values, tt.width, tt.lo, tt.hi); got != tt.want {
			t.Errorf("%s: Spark = %q, want %q", name, got, tt.want)
		}
	}
}

func TestProgress(t *testing.T) {
	for _, tt := range []struct {
		done float64
		want string
	}{{0, "░░░░"}, {30, "▓▓░░"}, {59, "▓▓▓░"}, {60, "▓▓▓▓"}, {90, "▓▓▓▓"}, {-1, "░░░░"}} {
		if got := Progress(tt.done, 60, 4); got != tt.want {
			t.Errorf("Progress(%v, 60, 4) = %q, want %q", tt.done, got, tt.want)
		}
	}
}

func hist(counts map[int]uint64) *collectors.Hist {
	var h collectors.Hist
	for i, n := range counts {
		h.Slots[i] = n
	}
	return &h
}

func TestHistogram(t *testing.T) {
	two := hist(map[int]uint64{0: 100, 1: 50, 13: 4, 14: 2})
	full := hist(nil)
	for i := range full.Slots {
		full.Slots[i] = uint64(100 - i)
	}
	none := theme.Theme{}
	tests := map[string]struct {
		series        []Series
		width, height int
		want          []string
	}{
		"gap gathered": {[]Series{{"count", two}}, 40, 10, []string{
			"             count",
			"    0-1µs      100 ████████████████████",
			"    2-3µs       50 ██████████",
			"      ...",
			"   8-16ms        4 ▊",
			"  16-33ms        2 ▍",
		}},
		"low": {[]Series{{"count", full}}, 30, 5, []string{
			"             count",
			"    0-1µs      100 ██████████",
			"    2-3µs       99 █████████▉",
			"      ...     2076",
			"     >67s       74 ███████▍",
		}},
		"empty": {[]Series{{"count", hist(nil)}}, 40, 10, []string{"             count", "    0-1µs        0"}},
		"two": {[]Series{{"woken", hist(map[int]uint64{0: 8})}, {"preempted", hist(map[int]uint64{1: 4})}}, 51, 10, []string{
			"             woken            preempted",
			"    0-1µs        8 ██████████         0",
			"    2-3µs        0                    4 █████",
		}},
		"slow only": {[]Series{{"count", hist(map[int]uint64{13: 1})}}, 30, 10, []string{"             count", "   8-16ms        1 ██████████"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Histogram(none, tt.series, tt.width, tt.height, 0)); diff != "" {
				t.Errorf("Histogram (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever is left out, every event is on the screen: in a row or in the sum of the dots.
func TestHistogramHidesNothing(t *testing.T) {
	h := hist(nil)
	for i := range h.Slots {
		h.Slots[i] = uint64(i*i%7) * 10
	}
	for height := 4; height < 40; height++ {
		var sum uint64
		rows := histRows([]Series{{"n", h}}, height, 0)
		for _, r := range rows {
			sum += r.weight
		}
		if sum != h.Count() {
			t.Errorf("at height %d the rows hold %d events, want %d", height, sum, h.Count())
		}
		if len(rows) > height {
			t.Errorf("at height %d there are %d rows", height, len(rows))
		}
	}
}

func TestHeatMap(t *testing.T) {
	columns := []*collectors.Hist{hist(map[int]uint64{0: 1000}), nil, hist(map[int]uint64{0: 1000, 5: 1}), hist(map[int]uint64{0: 10, 5: 100})}
	want := []string{
		"128-255µs │ ·", // the axis ends at every fourth bucket
		" 64-127µs │ ·",
		"  32-63µs │ ·░▓",
		"  16-31µs │ ·",
		"   8-15µs │ ·",
		"    4-7µs │ ·",
		"    2-3µs │ ·",
		"    0-1µs │█·█▒",
	}
	if diff := cmp.Diff(want, HeatMap(theme.Theme{}, columns, 15, 10, 0)); diff != "" {
		t.Errorf("HeatMap (-want +got):\n%s", diff)
	}
	low := HeatMap(theme.Theme{}, columns, 15, 3, 0)
	if len(low) != 3 || !strings.HasPrefix(low[2], "    ≤15µs │█") {
		t.Errorf("what is below the axis is not in its lowest row: %q", low)
	}
}

// Two seconds apart a full heat map differs by one column, not by where it stands or how it is shaded.
func TestHeatMapIsSteady(t *testing.T) {
	var columns []*collectors.Hist
	for i := range 60 {
		columns = append(columns, hist(map[int]uint64{0: 1000 + uint64(i), 3: 40, 5 + i%2: 2}))
	}
	before := HeatMap(theme.Theme{}, columns[:59], 31, 12, 0)
	after := HeatMap(theme.Theme{}, columns, 31, 12, 0)
	if len(before) != len(after) {
		t.Fatalf("%d rows became %d", len(before), len(after))
	}
	for i := range after {
		a, b := []rune(before[i]+strings.Repeat(" ", 31)), []rune(after[i]+strings.Repeat(" ", 31))
		if string(a[PlotLabel+1:31]) != string(b[PlotLabel:30]) {
			t.Errorf("row %d did not move by one column:\n%s\n%s", i, before[i], after[i])
		}
	}
}

// Below the floor everything is in one row, and no event is lost.
func TestFloor(t *testing.T) {
	h := hist(map[int]uint64{0: 5000, 1: 400, 3: 60, 5: 7, 9: 2})
	want := []string{
		"             count",
		"      ...     5400",
		"    4-7µs        0",
		"   8-15µs       60 ██████████",
		"  16-31µs        0",
		"  32-63µs        7 █▏",
		"      ...",
		"  0.5-1ms        2 ▍",
	}
	got := Histogram(theme.Theme{}, []Series{{"count", h}}, 30, 12, 2)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Histogram from 4 µs (-want +got):\n%s", diff)
	}
	few := Percentiles(theme.Theme{}, []*collectors.Hist{h}, 14, 10, 3, 100)
	if len(few) < 7 || !strings.Contains(few[len(few)-1], "≤15µs") || !strings.HasSuffix(few[len(few)-1], "◆") {
		t.Errorf("what lies below the floor is not in the lowest row: %q", few)
	}
	if heat := HeatMap(theme.Theme{}, []*collectors.Hist{h}, 14, 10, 3); len(heat) != len(few) || !strings.HasSuffix(heat[len(heat)-1], "█") {
		t.Errorf("the heat map has another axis: %q", heat)
	}
}

func TestPercentiles(t *testing.T) {
	many := hist(map[int]uint64{0: 600, 2: 350, 4: 45, 6: 5})
	few := hist(map[int]uint64{0: 6, 2: 3, 4: 1})
	want := []string{
		"128-255µs │",
		" 64-127µs │▲",
		"  32-63µs │",
		"  16-31µs │◆ ▲",
		"   8-15µs │",
		"    4-7µs │9 9",
		"    2-3µs │",
		"    0-1µs │5·5",
	}
	if diff := cmp.Diff(want, Percentiles(theme.Theme{}, []*collectors.Hist{many, nil, few}, 14, 10, 0, 100)); diff != "" {
		t.Errorf("Percentiles (-want +got):\n%s", diff)
	}
}

func TestArea(t *testing.T) {
	got := Area(theme.Theme{}, []float64{0, 1, 2, math.NaN(), 4}, 4, 6, 2)
	if diff := cmp.Diff([]string{"     █", " ▁▄█ █"}, got); diff != "" {
		t.Errorf("Area (-want +got):\n%s", diff)
	}
}

func TestTable(t *testing.T) {
	columns := []Column{{Title: "CPU", Width: 3}, {Title: "%usr", Width: 5}, {Title: "name", Width: 6, Left: true}}
	for name, tt := range map[string]struct{ got, want string }{
		"heads":    {Heads(theme.Theme{}, columns, 40), " CPU  %usr name"},
		"row":      {Cells(theme.Theme{}, columns, []string{"0", "1.0", "ab"}, false, 40), "   0   1.0 ab"},
		"selected": {Cells(theme.Theme{}, columns, []string{"0", "1.0", "abcdefgh"}, true, 40), ">  0   1.0 abcde…"},
		"narrow":   {Cells(theme.Theme{}, columns, []string{"0", "1.0", "ab"}, false, 8), "   0   …"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", name, tt.got, tt.want)
		}
	}
}

func TestTitle(t *testing.T) {
	for width := range 60 {
		if w := ansi.StringWidth(Title(theme.Theme{}, width, "cpu", "cs 41.2k/s", "in 18.0k/s")); w > width || w < width-1 {
			t.Errorf("Title of width %d is %d wide", width, w)
		}
	}
	if got := Title(theme.Theme{}, 20, "cpu", "", "cs 41.2k/s"); got != "── cpu ─────────────" {
		t.Errorf("Title = %q", got)
	}
}

func TestJoin(t *testing.T) {
	got := Join([]string{"a", "bb", "c"}, 3, []string{"x", "", "z"}, 1)
	if diff := cmp.Diff([]string{"a   x", "bb", "c   z"}, got); diff != "" {
		t.Errorf("Join (-want +got):\n%s", diff)
	}
}
