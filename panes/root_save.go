// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
)

// saving is a snapshot on its way. Ten minutes of a busy host take a pane some time to sum up, so each
// has a step of its own, between which keys are answered.
type saving struct {
	write  Writer
	report Report
	tables []Table // of the first panes of the report
	of     string  // the age of what is shown, if it is not now
}

// Writer writes a snapshot, as text and as JSON, and says where. It may block: it is called in a command,
// never by the screen.
type Writer = func(text, data []byte, failed error) (path string, err error)

// saveStep goes on with a snapshot.
type saveStep struct{ *saving }

// tallied is a pane whose table is made.
type tallied struct {
	Pane
	table Table
}

// Table implements Pane.
func (s tallied) Table(Frame) Table { return s.table }

// save begins a snapshot of what is shown, the screen itself on top.
func (r *Root) save() tea.Cmd {
	s := &saving{write: r.cfg.Save(), report: r.report(), of: r.stillAge()}
	r.hand.saves++
	s.report.Screen = r.screen()
	r.status = status{text: "saving …"}
	return send(saveStep{s})
}

// saveOn sums up one more pane. After the last it writes text and JSON, in the background.
func (r *Root) saveOn(s *saving) tea.Cmd {
	rep := &s.report
	if n := len(s.tables); n < len(rep.Panes) {
		s.tables = append(s.tables, rep.Panes[n].Table(rep.Frame))
		return send(saveStep{s})
	}
	for i, p := range rep.Panes {
		rep.Panes[i] = tallied{p, s.tables[i]}
	}
	return func() tea.Msg {
		var text, data bytes.Buffer
		failed := errors.Join(Text(&text, *rep), JSON(&data, *rep))
		path, err := s.write(text.Bytes(), data.Bytes(), failed)
		return SavedMsg{Path: path, Of: s.of, Err: err}
	}
}

// saved says what came of a snapshot, and ends if that was waited for.
func (r *Root) saved(msg SavedMsg) tea.Cmd {
	r.hand.saves = max(r.hand.saves-1, 0)
	r.status = status{text: "saved " + msg.Path + msg.Of}
	if msg.Err != nil {
		r.status = status{text: msg.Err.Error(), alert: true}
	}
	if r.hand.leaves && r.hand.saves == 0 {
		return tea.Quit
	}
	return nil
}

// quit ends, unless a snapshot is under way: then after it, or when it is asked for again.
func (r *Root) quit(key string) tea.Cmd {
	if r.hand.saves == 0 || r.hand.leaves {
		return tea.Quit
	}
	r.hand.leaves = true
	r.status = status{text: "saving …, then quit; " + key + " quits now"}
	return nil
}

// screen is what is shown, as lines of plain text.
func (r *Root) screen() []string {
	lines := strings.Split(ansi.Strip(r.View()), "\n")
	r.drawn = "" // the status line is about to change
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// report is what a snapshot holds: every pane and the drill-down on the screen, over the run.
func (r *Root) report() Report {
	f := r.frame
	f.Filter = nil // a report has the tables whole, and says what was filtered
	f.Span, f.Still = min(f.Now.At, keepFor), true
	panes := slices.Clone(r.cfg.Panes)
	if top := r.top(); !slices.Contains(panes, top) {
		panes = append(panes, top)
	}
	rep := Report{Frame: f, Panes: panes, Version: r.cfg.Version, Started: f.At.Add(-f.Span), Duration: f.Span}
	rep.Filtered = r.filtered()
	rep.Healthy, rep.Unchecked = Checked(f.Now)
	return rep
}
