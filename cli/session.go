// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/colorprofile"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes"
)

// parts are the constructors and names that the commands are put together from. They are values,
// not imports, so that tests run the same commands over a source of their own.
type parts struct {
	open    func(o options) (session, error)   // makes a session; nothing is read or attached before Run
	news    tea.Msg                            // tells the screen that history has grown
	facts   func() []Fact                      // what doctor says of the host
	profile func(o *options) (profiler, error) // makes a profiler, and sets the scope that the options name
	keys    func(rebound map[string][]string) (sections []keymap.Section, problems []error)
	panes   []string // ids of the panes there are
	dear    []string // of those, the panes that a report holds only when they are named
	probes  []string // names that --probes takes
	themes  []string
	unread  time.Duration // that the terminal takes nothing before the dashboard ends as if it were gone; 0: for ever
}

// session is one run of the measuring half: source, findings and history, and what is made of
// them.
type session interface {
	// Run measures until ctx ends and calls emit after each moment, serially. The end of ctx is
	// not an error; an error after it names what hung.
	Run(ctx context.Context, emit func()) error

	// Model is the dashboard over the session's history.
	Model(s screen) tea.Model

	// Line is the newest moment as one plain line without a line feed, "" before there is one.
	Line() string

	// Probes is the newest state of every probe.
	Probes() []collectors.Probe

	// Crashes are the panics of collectors and rules so far, which ended those alone.
	Crashes() []collectors.Crash

	// Rest lets go of the kernel, or goes on: what is stopped must leave nothing attached, as nobody would
	// hold its cost down. Rest(true) waits for it, for a moment at most; Rest(false) waits for nothing.
	Rest(on bool)

	// Report writes what was measured so far.
	Report(w io.Writer, r reportRequest) error
}

// screen is what the dashboard is told of its surroundings.
type screen struct {
	Version string
	Theme   string
	Profile colorprofile.Profile
	UTF8    bool                // block and line characters may be used
	Keys    map[string][]string // rebound keys by id
	Clock   func() time.Duration

	// Save notes a snapshot and returns what writes it.
	Save func() panes.Writer

	Copy     func(text collectors.Safe) error // puts a text on the clipboard; may block, so it is called from a Cmd
	Warnings []string                         // of the configuration, for the status line
}

// reportRequest says which report is wanted.
type reportRequest struct {
	Format  string   // one of formats()
	Brief   bool     // only the part for a ticket
	Panes   []string // empty means all
	Version string
}

// formats are the formats of a report.
func formats() []string { return []string{"text", "json", "html"} }

// formatsOf are the formats that a command writes.
func formatsOf(command string) []string {
	if command == "profile" {
		return profileFormats()
	}
	return formats()
}
