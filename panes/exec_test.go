// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/keymap"
)

func TestSumExec(t *testing.T) {
	raw := collectors.RawString
	parent := collectors.Process{TGID: 3, Start: 9}
	sample := func(from, to time.Duration, n uint64) *collectors.Exec {
		return &collectors.Exec{
			Span:       collectors.Span{From: from, To: to},
			ExecCounts: collectors.ExecCounts{Execs: n, Unseen: n, UnseenCPU: time.Duration(n) * time.Millisecond},
			Short: []collectors.ShortLived{
				{Comm: raw("cc1"), Parent: parent, ParentComm: raw("make"), Exits: n, Unseen: n, UnseenCPU: time.Duration(n) * time.Millisecond, Age: time.Second},
			},
			Files:   []collectors.ExecFile{{ParentComm: raw("make"), File: raw("/usr/bin/cc1"), Execs: n}},
			Forkers: []collectors.Forker{{Process: parent, Comm: raw("make"), Forks: n}},
		}
	}
	if sumExec(nil) != nil || sumExec([]*collectors.Exec{{}}) != nil {
		t.Error("nothing sums to something")
	}
	other := sample(2*time.Second, 4*time.Second, 5)
	other.Short[0].Comm = raw("as")
	other.Short[0].UnseenCPU = time.Second
	s := sumExec([]*collectors.Exec{sample(0, time.Second, 10), sample(time.Second, 2*time.Second, 20), other})
	if s.Seconds() != 4 || s.ExecCounts.Execs != 35 || s.perSecond(s.ExecCounts.Execs) != 8.75 {
		t.Errorf("sum over %v: %+v", s.Span, s.ExecCounts)
	}
	if len(s.short) != 2 || s.short[0].Comm.Bytes() != "as" || s.short[1].Exits != 30 || s.short[1].Age != 2*time.Second {
		t.Errorf("short-lived: %+v", s.short)
	}
	if len(s.files) != 1 || s.files[0].Execs != 35 || len(s.forkers) != 1 || s.forkers[0].Forks != 35 {
		t.Errorf("files %+v, forkers %+v", s.files, s.forkers)
	}
	if got := s.percent(s.short[0].UnseenCPU); got != 25 {
		t.Errorf("a second of four is %v %%", got)
	}
}

func TestArgsText(t *testing.T) {
	raw := collectors.RawString
	tests := map[string]struct {
		row  collectors.ExecRow
		want string
	}{
		"whole":        {collectors.ExecRow{Args: raw("ls -l"), ArgsWhole: 6, ArgsKept: 6}, "ls -l"},
		"cut":          {collectors.ExecRow{Args: raw("x"), ArgsWhole: 100_512, ArgsKept: 512}, "x …+98K"},
		"no arguments": {collectors.ExecRow{File: raw("/bin/x")}, "[/bin/x]"},
		"unreadable":   {collectors.ExecRow{File: raw("/bin/x"), ArgsWhole: 40}, "[/bin/x] …+40"},
		"escape codes": {collectors.ExecRow{Args: raw("a\x1b[2J"), ArgsWhole: 5, ArgsKept: 5}, `a\x1b[2J`},
	}
	for name, tt := range tests {
		if got := argsText(&tt.row); got != tt.want {
			t.Errorf("%s: argsText = %q, want %q", name, got, tt.want)
		}
	}
}

func TestSignalWords(t *testing.T) {
	tests := map[string]struct {
		row               collectors.SignalRow
		name, effect, why string
	}{
		"kill":    {collectors.SignalRow{Number: 9, Action: collectors.ActionDefault}, "KILL", "kills", "kill"},
		"handled": {collectors.SignalRow{Number: 15, Code: -6, Action: collectors.ActionHandled}, "TERM", "handled", "tgkill"},
		"ignored": {collectors.SignalRow{Number: 1, Code: -1, Result: collectors.SignalIgnored, Action: collectors.ActionIgnored}, "HUP", "ignored", "sigqueue"},
		"init":    {collectors.SignalRow{Number: 15, Result: collectors.SignalIgnored, Action: collectors.ActionDefault}, "TERM", "none", "kill"},
		"pending": {collectors.SignalRow{Number: 2, Code: 0x80, Result: collectors.SignalPending}, "INT", "pending", "kernel"},
		"lost":    {collectors.SignalRow{Number: 34, Code: -2, Result: collectors.SignalOverflow}, "RT2", "lost", "timer"},
		"stop":    {collectors.SignalRow{Number: 19, Action: collectors.ActionDefault}, "STOP", "stops", "kill"},
		"fault":   {collectors.SignalRow{Number: 11, Code: 1, Action: collectors.ActionDefault}, "SEGV", "kills", "fault"},
		"unknown": {collectors.SignalRow{Number: 3, Code: -60}, "QUIT", "sent", "-60"},
	}
	for name, tt := range tests {
		got := [3]string{signalName(tt.row.Number), effect(&tt.row), signalCause(&tt.row)}
		if diff := cmp.Diff([3]string{tt.name, tt.effect, tt.why}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestEndText(t *testing.T) {
	for want, r := range map[string]collectors.ExitRow{
		"0": {}, "22": {Code: 22}, "KILL": {Signal: 9}, "SEGV core": {Signal: 11, Core: true},
	} {
		if got := endText(&r); got != want {
			t.Errorf("endText(%+v) = %q, want %q", r, got, want)
		}
	}
}

// Every section is reached by v, is named in the strip while it is shown, and its table has a title and
// columns also without a reading.
func TestExecSections(t *testing.T) {
	for _, width := range []int{40, 80, 200} {
		p := NewExec()
		for range execSections() {
			s := p.sections[p.at]
			strip := p.tabs(Canvas{Width: width, Theme: plain()})
			if !strings.Contains(strip, "["+s.title+"]") {
				t.Errorf("at %d cells the strip of %s is %q", width, s.id, strip)
			}
			table := s.table(Frame{})
			if table.Title == "" || len(table.Columns) == 0 || len(table.Notes) == 0 || len(table.Rows) != 0 {
				t.Errorf("section %s without a reading: %+v", s.id, table)
			}
			p.Update(Press{ID: keyExecNext})
		}
		if p.at != 0 {
			t.Errorf("v does not come round: at %d", p.at)
		}
	}
	p := NewExec()
	p.Update(Select{Row: "signals/12 3"})
	if p.sections[p.at].id != "signals" || p.lists[p.at].selected != "12 3" {
		t.Errorf("Select went to %s, row %q", p.sections[p.at].id, p.lists[p.at].selected)
	}
	p.Update(Select{Row: "none"})
	if p.sections[p.at].id != "signals" {
		t.Error("Select of what there is not moved")
	}
}

// A row's page is of that row.
func TestExecPages(t *testing.T) {
	f := busyStory(91).frame()
	for _, s := range execSections() {
		if s.open == nil || s.wants != nil {
			continue
		}
		table := s.table(f)
		if len(table.Rows) < 1 {
			t.Errorf("%s has no rows", s.id)
			continue
		}
		last := table.Rows[len(table.Rows)-1]
		got := s.open(f, last)
		if got == nil {
			t.Errorf("%s: row %q has no page", s.id, last.ID)
			continue
		}
		page, ok := got.(OpenMsg)
		if !ok {
			t.Errorf("%s: row %q opens %T", s.id, last.ID, got)
			continue
		}
		view := page.Pane.View(f, Canvas{Width: 80, Height: 20, Theme: plain()})
		if !strings.Contains(view, "command ") {
			t.Errorf("%s: the page is\n%s", s.id, view)
		}
		if s.open(f, Row{ID: "no such row"}) != nil {
			t.Errorf("%s: a row that is gone has a page", s.id)
		}
	}
}

// The short-lived are named where they matter, and next to nothing is not.
func TestShortLine(t *testing.T) {
	c := Canvas{Width: 80, Height: 20, Theme: plain()}
	if got := shortLine(busyStory(91).frame(), c); len(got) != 1 || !strings.Contains(got[0], "short-lived 4.0 % in 9.0/s: curl from check.sh[702] 4.0 %") {
		t.Errorf("busy: %q", got)
	}
	if got := shortLine(idleStory().frame(), c); got != nil {
		t.Errorf("idle: %q", got)
	}
	if got := shortLine(Frame{}, c); got != nil {
		t.Errorf("empty: %q", got)
	}
}

// TestExecSelect holds that the tables that findings lead to are there.
func TestExecSelect(t *testing.T) {
	for _, want := range []string{"churn", "openers", "openfails", "slowfiles", "exits", "short", "forks"} {
		p := NewExec()
		if p.Update(Select{Row: want + "/"}); p.sections[p.at].id != want {
			t.Errorf("%s shows %s", want, p.sections[p.at].id)
		}
	}
}

// TestCommandScroll holds that the page of a command does not scroll beyond its end: a line up from there is
// the line before.
func TestCommandScroll(t *testing.T) {
	p := &commandPage{comm: collectors.RawString("sh")}
	for i := range 30 {
		p.event = append(p.event, [2]string{"fact", strconv.Itoa(i)})
	}
	last := func() string {
		lines := strings.Split(strings.TrimSpace(p.View(Frame{}, Canvas{Width: 60, Height: 11, Theme: plain()})), "\n")
		return strings.TrimSpace(lines[len(lines)-1])
	}
	last()
	for _, tt := range []struct{ key, want string }{{keymap.Bottom, "fact       29"}, {keymap.Up, "fact       28"}, {keymap.Down, "fact       29"}, {keymap.Down, "fact       29"}, {keymap.Up, "fact       28"}, {keymap.Top, "fact       9"}} {
		p.Update(Press{ID: tt.key})
		if got := last(); got != tt.want {
			t.Errorf("after %s the last line is %q, want %q", tt.key, got, tt.want)
		}
	}
}
