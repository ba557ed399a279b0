// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/triage"
)

// oneSecond is a frame of one snapshot over the last second.
func oneSecond(fill func(*collectors.Snapshot, collectors.Span)) Frame {
	s := &collectors.Snapshot{At: 10 * time.Second}
	fill(s, collectors.Span{From: 9 * time.Second, To: 10 * time.Second})
	return window(0, triage.Moment{Snapshot: s})
}

// While only a target is counted nothing is said of the host: not even that it did nothing.
func TestPartialSamples(t *testing.T) {
	facts := func(t Table) (out []string) {
		for _, x := range t.Facts {
			out = append(out, x.ID+" "+x.Cell.Format(x.Decimals))
		}
		return out
	}
	for name, partial := range map[string]bool{"the host": false, "a target": true} {
		f := oneSecond(func(s *collectors.Snapshot, span collectors.Span) {
			s.Opens = &collectors.Opens{Span: span, N: 3, Failed: 1, Partial: partial}
			s.ExecFails = &collectors.ExecFails{Span: span, Failed: 2, Partial: partial}
			s.SlowFiles = &collectors.SlowFiles{Span: span, N: 4, Partial: partial}
			s.Syscalls = &collectors.Syscalls{Span: span, Partial: partial, SyscallCounts: collectors.SyscallCounts{N: 7}}
		})
		want := map[string][]string{
			"opens": {"opens 3.0", "failed 1.0"}, "openers": {"opens 3.0", "failed 1.0"}, "openfails": {"opens 3.0", "failed 1.0"},
			"execfails": {"failed 2.0"}, "slowfiles": {"slow 4.0"},
		}
		got := map[string][]string{}
		for _, x := range openSections() {
			tab := x.table(f)
			if got[x.id] = facts(tab); partial && len(tab.Notes) == 0 {
				t.Errorf("%s: %s does not say why it is empty", name, x.id)
			}
			if partial {
				want[x.id] = nil
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if sum := callsOver(f); (sum == nil) != partial {
			t.Errorf("%s: system calls of the host: %+v", name, sum)
		}
	}
}

// A table that counts the scope alone says so, and not that it is of the whole host.
func TestScopedTable(t *testing.T) {
	for name, scoped := range map[string]bool{" whole host ": false, " in gzip[4121] ": true} {
		x := &sight{}
		f := frames()["busy"]
		f.Scope, f.sight = Scope{Target: aboutProcess(collectors.Process{TGID: 4121, Start: 1}, collectors.RawString("gzip")), Name: "gzip[4121]"}, x
		tab := Table{Columns: []Column{{ID: "CALL", Width: 9, Left: true}}, Rows: []Row{{ID: "read", Cells: []Cell{Say("read")}}}, scoped: scoped}
		l := newList("")
		l.arrange(f, &tab)
		if got := x.badge(f, 40); got != name || len(tab.Rows) != 1 {
			t.Errorf("scoped %v: badge %q of %d rows, want %q of one", scoped, got, len(tab.Rows), name)
		}
	}
}

// The name of a row's process is that of its target, not the first word in the row.
func TestNameOfRow(t *testing.T) {
	about := aboutProcess(collectors.Process{TGID: 7, Start: 1}, collectors.RawString("cat"))
	for name, tt := range map[string]struct {
		row  Row
		want string
	}{
		"an errno before it": {Row{Target: about, Cells: []Cell{Number(8), Say("ENOENT"), Say("cat")}}, "cat"},
		"no target":          {Row{Cells: []Cell{Number(8), Say("dog"), Say("/bin")}}, "dog"},
		"nothing":            {Row{Cells: []Cell{Number(8)}}, ""},
	} {
		if got := commOf(tt.row).Bytes(); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// Notes that do not fit say that they go on, and who waits is left out together with the share.
func TestCutTexts(t *testing.T) {
	c := Canvas{Width: 30, Theme: plain()}
	notes := []string{"this first note takes more than one line here", "second"}
	for most, want := range map[int]string{
		0: "", 1: " this first note takes more …", 2: " this first note takes more| than one line here …", 9: " this first note takes more| than one line here| second",
	} {
		var lines []string
		for _, l := range noteLines(c, notes, most) {
			lines = append(lines, strings.TrimRight(l, " "))
		}
		if got := strings.Join(lines, "|"); got != want {
			t.Errorf("%d lines of notes: %q, want %q", most, got, want)
		}
	}
	for cells, want := range map[int]string{27: "python3 79 %  hunt.test 9 %", 26: "python3 79 %", 13: "python3 79 %", 10: "python3 …"} {
		if got := clipEntries("python3 79 %  hunt.test 9 %", cells); got != want {
			t.Errorf("clipEntries in %d cells = %q, want %q", cells, got, want)
		}
	}
}

// Columns of texts take the room that nothing else needs, as far as they need it.
func TestWideColumns(t *testing.T) {
	tab := Table{
		Columns: []Column{{ID: "hook", Title: "hook", Width: 4, Left: true}, {ID: "n", Title: "n", Width: 3}},
		Rows:    []Row{{ID: "a", Cells: []Cell{Say("tp_btf:long"), Number(1)}}, {ID: "b", Cells: []Cell{Say("x"), Number(2)}}},
	}
	for width, want := range map[int]int{9: 4, 12: 7, 60: 11} {
		l := newList("")
		if got := l.layout(tab, width, listOptions{Wide: []string{"hook"}})[0].Width; got != want {
			t.Errorf("at %d the column is %d wide, want %d", width, got, want)
		}
	}
}
