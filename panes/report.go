// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// Healthy is a resource that was checked with every probe it needs, and ruled out.
type Healthy struct {
	Resource string   `json:"resource"`
	Evidence []string `json:"evidence"`
}

// Unchecked is a resource that was not checked, why, and what would make it so.
type Unchecked struct {
	Resource string `json:"resource"`
	Reason   string `json:"reason"`
	Remedy   string `json:"remedy"`
}

// Report is a frame whose span is the whole run, and what else a ticket needs. Times are given:
// this package knows no clock.
type Report struct {
	Frame     Frame
	Panes     []Pane // in the order of the report
	Version   string
	Started   time.Time // wall clock; its location is the local one
	Duration  time.Duration
	Interval  time.Duration // 0: not known
	Healthy   []Healthy
	Unchecked []Unchecked
	Brief     bool     // text: only the part for a ticket
	Screen    []string // text: what was on the screen, above all else; none: nobody looked
	Filtered  string   // what the pane on the screen left out; empty: nothing
}

// The text report.
const (
	reportWidth = 100
	ticketLines = 60 // the part for a ticket
	starWidth   = 40 // bcc's
)

// writer collects lines of at most reportWidth cells.
type writer struct{ lines []string }

func (w *writer) line(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	w.lines = append(w.lines, widget.Clip(strings.TrimRight(s, " "), reportWidth))
}

// wrapped prints text over as many lines as it takes, each behind the indent.
func (w *writer) wrapped(indent, text string) {
	for _, l := range wrapText(indent, text) {
		w.line("%s", l)
	}
}

// wrapText breaks text into lines of the report, each behind the indent.
func wrapText(indent, text string) []string {
	var out []string
	row := ""
	// A number stays with its per cent.
	for _, word := range strings.FieldsFunc(strings.ReplaceAll(text, " %", "\u00a0%"), func(c rune) bool { return c == ' ' }) {
		word = strings.ReplaceAll(word, "\u00a0", " ")
		if row != "" && widget.Width(indent+row+word)+1 > reportWidth {
			out = append(out, indent+row)
			row = ""
		}
		if row != "" {
			row += " "
		}
		row += word
	}
	return append(out, indent+row)
}

// head begins a part.
func (w *writer) head(title string) {
	w.line("")
	w.line("%s", title)
}

// Text writes the report as text: the screen if there is one, the part for a ticket, at most 60 lines of 100 columns, then
// every pane in full unless r.Brief.
func Text(out io.Writer, r Report) error {
	lines := ticket(r)
	if len(r.Screen) > 0 {
		rule := strings.Repeat("─", reportWidth)
		lines = slices.Concat(r.Screen, []string{rule, ""}, lines)
	}
	if !r.Brief {
		w := &writer{}
		w.about(r)
		for _, p := range r.Panes {
			textPane(w, p, r.Frame)
		}
		lines = append(lines, w.lines...)
	}
	b := bufio.NewWriter(out)
	for _, l := range lines {
		if _, err := b.WriteString(l + "\n"); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// clean is the text to show of what others chose.
func clean(r collectors.Raw) string { return collectors.Clean(r).String() }

// clean2 is clean for text whose type does not say that others chose it.
func clean2(s string) string { return clean(collectors.RawString(s)) }
