// SPDX-License-Identifier: Apache-2.0

// Package panes draws. It knows no kernel and no clock: a pane is a pure function of a frame,
// which is a window on the history, and of its own cursor.
package panes

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/theme"
	"bpf60/triage"
)

// ID names a pane: the names of the JSON report.
type ID string

// Info is what the root needs to know of a pane.
type Info struct {
	ID    ID
	Title string // in full: "CPU"
	Short string // in the tab bar
	Digit string // the key that opens it; empty: it has no tab of its own until it is opened
	Help  string // name of its page of help

	Command string // the classic command whose numbers it shows: "iostat -xz 1"; empty for a drill-down

	// Dear says that what the pane wants costs every task of the host: a report that prints all panes
	// does without it, one that names the pane does not.
	Dear bool
}

// Pane is one view. View and Table are pure functions of the frame and the pane's cursor.
type Pane interface {
	Info() Info
	// Wants names the on-demand collectors that what is shown now needs.
	Wants(Scope) []collectors.Want
	// Keys lists what works now; a disabled key carries its reason. A key with the ID of a global
	// one describes what that does here. Nothing else lists keys.
	Keys() []keymap.Key
	// Update gets Press, Select and messages that the root does not know. It must not block.
	Update(msg tea.Msg) Answer
	// View fits c.Width × c.Height. Its lines hold no trailing blanks.
	View(f Frame, c Canvas) string
	// Table holds the same facts as numbers: the source of View, report and JSON.
	Table(f Frame) Table
}

// Describer is a pane whose selected row has something to say on the status line: why a cell is
// missing.
type Describer interface{ Describe(f Frame) string }

// Frame is a window on the history. Now is under the time cursor and the last of Past.
type Frame struct {
	Now  triage.Moment   // Snapshot is nil before the first
	Past []triage.Moment // oldest first, Now included
	Kept []triage.Moment // oldest first, all that the history keeps, Now included; nil: Past
	// Span is what is summed, counted back from Now: 0 is the newest sample alone, which is what
	// the screen shows; a report sums the whole run.
	Span  time.Duration
	Mark  *triage.Moment // "since start" counts from here; nil: since the probe attached
	Scope Scope
	At    time.Time       // wall clock of Now, for display
	Live  []triage.Moment // the newest moments that are known; Now is older where time stands still

	Filter *Filter // what the tables of the pane on the screen keep; nil: every row
	sight  *sight  // where they note what is shown; nil: nobody asks
	zoom   zoom    // of what is drawn over time

	Still bool // the time stands: what Now lacks will not come
	// RowsSince and CPUsSince are from when on the history has rows, and single CPUs: wall clock, for
	// display. They are zero if Now has its own.
	RowsSince, CPUsSince time.Time

	Rules   int      // how many rules judge; 0: nothing is judged
	Verdict *Verdict // nil before the first triage is complete
}

// judged says that the first triage was complete at the moment shown.
func (f Frame) judged() bool {
	return f.Verdict != nil && f.Now.Snapshot != nil && f.Now.At >= f.Verdict.After
}

// Verdict is what was found when the first triage was complete. It stays.
type Verdict struct {
	After    time.Duration // when, monotonic since the run began
	Findings []triage.Finding
}

// Canvas is where a view is drawn.
type Canvas struct {
	Width, Height int
	Theme         theme.Theme
	Focused       bool

	zoom    zoom        // as the frame's
	against *comparison // what tables and distributions are drawn against; nil: nothing
	seen    *seen       // gets what can be pointed at; nil: nobody asks
	unseen  bool        // nobody looks: what the frame's sight gets is all that is wanted
}

// NewMsg says that the history has a new moment.
type NewMsg struct{}

// Answer is what a pane wants of the root, which does it before it looks at the next key: that one is meant for
// what is on the screen then. A command would come after keys that are there already. Nil: nothing.
type Answer interface{ answer() }

func (OpenMsg) answer() {}
func (BackMsg) answer() {}
func (GoMsg) answer()   {}
func (SayMsg) answer()  {}
func (MarkMsg) answer() {}
func (WantMsg) answer() {}

// OpenMsg pushes a drill-down.
type OpenMsg struct{ Pane Pane }

// BackMsg pops the top drill-down.
type BackMsg struct{}

// GoMsg opens another tab and selects a row there.
type GoMsg struct {
	Pane ID
	Row  string
}

// SayMsg shows a text on the status line: why a key did nothing.
type SayMsg struct{ Text string }

// MarkMsg makes the moment that is shown the start of "since start".
type MarkMsg struct{}

// WantMsg says that what a pane wants has changed.
type WantMsg struct{}

// SavedMsg says where a snapshot was written, or why not.
type SavedMsg struct {
	Path string
	Of   string // which moment it shows, in words; empty: the present
	Err  error
}

// Press is a key of the pane, by its ID, or one of the global keys that move and open. Frame is
// what the user was looking at when pressing it.
type Press struct {
	ID    string
	Frame Frame
}

// Select moves the pane's cursor to a row.
type Select struct{ Row string }

// send returns a command that delivers msg.
func send(msg tea.Msg) tea.Cmd { return func() tea.Msg { return msg } }
