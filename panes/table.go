// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
	"strconv"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// Table is what a pane knows at a frame, as numbers. View, the text report and the JSON report
// are three prints of it, so they cannot tell different stories.
type Table struct {
	Title      string
	Facts      []Fact // single numbers beside the rows
	Columns    []Column
	Rows       []Row
	Histograms []Histogram
	Notes      []string // one a line: what is missing and what would supply it

	// More are the pane's other tables (file systems beside disks): the screen shows one at a time or
	// more where there is room, reports have them all. Each has a title of its own; they have no More.
	More []Table

	scoped bool   // it counts the scope of the frame alone, though its rows do not say whose they are
	passed passed // how much of it the filter and the scope let pass
	gone   []Row  // that the baseline had, where it is drawn against that
}

// Fact is a single number with a name.
type Fact struct {
	ID, Title, Unit string
	Cell            Cell
	Decimals        int
}

// Column describes the cells of one column.
type Column struct {
	ID       string // the classic tool's name, also in JSON
	Title    string
	Unit     string // "%", "tasks"; empty for text
	Width    int
	Decimals int
	Left     bool // text: left-aligned
	Rank     int  // on a narrow screen columns of the highest rank leave first; 0: the last to go
	Hidden   bool // not on the screen; reports have it
	Form     Form // how the screen and the text report write its numbers; JSON has them plain

	// Of a table that is drawn against the baseline: the cells of the number and of its difference.
	// Without a difference both are 0; without a number only the difference is shown.
	value, delta int
}

// Form is how numbers are written.
type Form uint8

// The forms.
const (
	Plain   Form = iota
	KiB          // a size in KiB: 31M, 13.1G
	Bytes        // a size in bytes
	CPUTime      // seconds: 12:34.56, 123h45m
	Lasting      // seconds, of the clock: 42s, 6m12s, 5h12m
)

// Row is one line. Its ID stays the same from frame to frame, so that a cursor can stay on it.
type Row struct {
	ID    string
	Cells []Cell

	// Target is what the row is about and what f makes the scope. It may tell more than its Kind
	// names: the cgroup of a process, the disk of a request. Zero: the row is about the host.
	Target collectors.Target
	Sum    bool   // a sum of the others: no filter takes it away
	None   string // stands in place of rows of which none is left, and says why; the cursor finds no row
	then   then   // what it was at the baseline, where it is drawn against that
	base   []Cell // its cells there
}

// Cell is a number, a text, or missing with the reason.
type Cell struct {
	kind  cellKind
	num   float64 // of a text: what it is sorted by before its letters, the largest first
	text  collectors.Safe
	Badge string // right behind the number: ~ L12 s1/64 be par
	Why   string // why it is missing
}

type cellKind uint8

const (
	missing cellKind = iota
	number
	text
)

// Missing is a number that cannot be had, and why.
func Missing(why string) Cell { return Cell{Why: why} }

// Number is a measured number. One that is not a number is missing.
func Number(v float64) Cell {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Cell{Why: "nothing to divide by"}
	}
	return Cell{kind: number, num: v}
}

// Name is a text that others chose, cleaned.
func Name(s collectors.Safe) Cell { return Cell{kind: text, text: s} }

// Say is a text of our own.
func Say(s string) Cell { return Name(safe(s)) }

// Ranked is a text of our own that is sorted by a number: a time of day, a degree.
func Ranked(s string, by float64) Cell {
	c := Say(s)
	c.num = by
	return c
}

// safe makes Safe text of our own words.
func safe(s string) collectors.Safe { return collectors.Clean(collectors.RawString(s)) }

// Known says whether there is something to show.
func (c Cell) Known() bool { return c.kind != missing }

// Num is the number, false for a text and for what is missing.
func (c Cell) Num() (float64, bool) { return c.num, c.kind == number }

// Format prints the cell with that many decimals; - is a number that is missing.
func (c Cell) Format(decimals int) string {
	switch c.kind {
	case number:
		return strconv.FormatFloat(c.num, 'f', decimals, 64) + c.Badge
	case text:
		return c.text.String() + c.Badge
	case missing:
		if c.Badge == unknowable {
			return unknowable
		}
	}
	return "-"
}

// unknowable is the badge of a number that nobody has, as the speed of a link that has none. It is
// shown in the number's place.
const unknowable = "?"

// fit prints the cell for its column. A number that is too long is shortened, never cut: a cut
// number is a wrong one.
func (c Cell) fit(col Column) string {
	const exact = 1 << 53
	if c.kind == number && c.num >= 0 && c.num < exact {
		switch col.Form {
		case KiB:
			return widget.Bytes(uint64(c.num*1024)) + c.Badge
		case Bytes:
			return widget.Bytes(uint64(c.num)) + c.Badge
		case Lasting:
			return widget.Lasting(time.Duration(min(c.num, math.MaxInt64/1e9)*1e9)) + c.Badge
		case CPUTime:
			return widget.CPUTime(time.Duration(min(c.num, math.MaxInt64/1e9)*1e9)) + c.Badge
		case Plain:
		}
	}
	s := c.Format(col.Decimals)
	if c.kind == number && widget.Width(s) > col.Width {
		return widget.Short(c.num) + c.Badge
	}
	return s
}

// MarshalJSON writes a number, a string or null.
func (c Cell) MarshalJSON() ([]byte, error) {
	switch c.kind {
	case number:
		return []byte(strconv.FormatFloat(c.num, 'f', -1, 64)), nil
	case text:
		return marshal(c.text.String())
	case missing:
	}
	return []byte("null"), nil
}

// Histogram is a distribution of durations.
type Histogram struct {
	ID, Title string
	Now       *collectors.Hist // over the frame's span; nil: not measured
	Start     *collectors.Hist // since the probe attached, or since the mark; nil: not known
	Since     string           // what Start is called, where it is since neither
	Why       string           // why it is not measured
	Badge     string           // L12: twelve events of the span were seen and not counted
}

// leastForP99 is how many events a p99 needs: below, it is the maximum by another name.
const leastForP99 = 100

// quantile prints the q-th quantile of h as its bucket.
func quantile(h *collectors.Hist, q float64) string {
	if h == nil {
		return "-"
	}
	if q >= 0.99 && q < 1 && h.Count() < leastForP99 {
		return "-"
	}
	b, ok := h.Quantile(q)
	if !ok {
		return "-"
	}
	return widget.Range(b)
}

// mean prints the exact mean of h.
func mean(h *collectors.Hist) string {
	if h == nil || h.Count() == 0 {
		return "-"
	}
	return widget.Micros(h.Mean())
}

// count prints how many events h holds.
func count(h *collectors.Hist) string {
	if h == nil {
		return "-"
	}
	return widget.Count(h.Count())
}

// perSecond is n over d, or missing for an empty span.
func perSecond(n uint64, span collectors.Span) Cell {
	if span.Seconds() <= 0 {
		return Missing("waiting for a second reading")
	}
	return Number(float64(n) / span.Seconds())
}

// share is part of whole, false without a whole.
func share(part, whole time.Duration) (float64, bool) {
	if whole <= 0 {
		return 0, false
	}
	return float64(part) / float64(whole), true
}
