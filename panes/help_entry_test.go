// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"bpf60/keymap"
)

// eachState calls f with a screen in every state but that of the help, over every fixture.
func eachState(f func(fixture, state string, r *Root)) {
	for _, name := range everyFixture("extreme") {
		eachStateOf(name, func(state string, r *Root) { f(name, state, r) })
	}
}

// eachStateOf calls f with a screen over one fixture.
func eachStateOf(name string, f func(state string, r *Root)) {
	for state, keys := range states() {
		if state == "help" {
			continue
		}
		r := resize(fixture(name), 80, 24)
		press(r, keys...)
		f(state, r)
	}
}

// Every column of every pane, in every state and over every fixture, has its entry in the page of
// help. The tables that only reports have are among them.
func TestEveryColumnHasHelp(t *testing.T) {
	t.Parallel()
	missing := make(map[string]bool)
	checked := make(map[string]bool)
	eachState(func(_, _ string, r *Root) {
		help := r.top().Info().Help
		all := r.top().Table(r.frame)
		for _, table := range append([]Table{all}, all.More...) {
			for _, c := range table.Columns {
				id := fmt.Sprintf("help/%s.md lacks %s (%s), in %q", help, c.ID, c.Title, table.Title)
				if checked[id] {
					continue
				}
				checked[id] = true
				if _, ok := explain(help, table.Title, c); !ok {
					missing[id] = true
				}
			}
		}
	})
	var list []string
	for id := range missing {
		list = append(list, id)
	}
	slices.Sort(list)
	if len(list) > 0 {
		t.Errorf("%d of %d columns are not explained:\n%s", len(list), len(checked), strings.Join(list, "\n"))
	}
	if len(checked) < 300 {
		t.Errorf("only %d columns were looked at", len(checked))
	}
}

func TestHelpEntry(t *testing.T) {
	page := strings.Split(`# Things
PID      the process                  USER  who, by name
minflt/s majflt/s  page faults
RSS %MEM resident
         and more of it
the RSS is large, and so is VSZ
# Sockets
rtt var    smoothed; retr: sent again
retr all   segments
# Ended
rtt        at the end, retr in all`, "\n")
	tests := map[string]struct {
		table, id string
		want      string // how the entry begins; empty: there is none
		lines     int
	}{
		"first":             {"things", "PID", "PID      the process", 1},
		"behind a gap":      {"things", "USER", "PID      the process", 1},
		"second of two":     {"things", "majflt/s", "minflt/s majflt/s", 1},
		"continued":         {"things", "%MEM", "RSS %MEM", 2},
		"not a word of it":  {"things", "MEM", "", 0},
		"not in a sentence": {"things", "VSZ", "", 0},
		"of this table":     {"sockets", "rtt", "rtt var", 1},
		"of the other":      {"tcp ended", "rtt", "rtt        at the end", 1},
		"first one wins":    {"sockets", "retr", "retr all", 1},
	}
	for name, tt := range tests {
		got, ok := helpEntry(page, tt.table, Column{ID: tt.id, Title: tt.id})
		if ok != (tt.want != "") || ok && (!strings.HasPrefix(got[0], tt.want) || len(got) != tt.lines) {
			t.Errorf("%s: helpEntry(%s, %s) = %q, want %d lines from %q", name, tt.table, tt.id, got, tt.lines, tt.want)
		}
	}
}

// In the list of columns an entry says only what it says of the column: no further names, no loose end.
func TestBehindNames(t *testing.T) {
	for rest, want := range map[string]string{
		" %MEM resident memory":           " resident memory",
		" majflt/s     page faults":       "     page faults",
		" kB_wr/s kB_ccwr/s read":         " read",
		" voluntary switches (it slept) ": " voluntary switches (it slept) ",
		"      I/O, %util of it":          "      I/O, %util of it",
	} {
		if got := behindNames(rest); got != want {
			t.Errorf("behindNames(%q) = %q, want %q", rest, got, want)
		}
	}
	for id, want := range map[string]string{"RSS": "resident memory, shared pages", "majflt/s": "page faults", "kB_wr/s": "to be written to storage"} {
		got := brief("processes", "processes", Column{ID: id, Title: id})
		if !strings.HasPrefix(got, want) || strings.HasSuffix(got, ",") {
			t.Errorf("brief(%s) = %q, want %q…", id, got, want)
		}
	}
}

// ? on a column begins with what it says; without one it is as before. Everything in it can be
// searched and done, in every pane.
func TestColumnHelp(t *testing.T) {
	r := resize(root(frames()["busy"]), 80, 24)
	press(r, "3")
	r.View()
	press(r, "?")
	if strings.Contains(r.View(), "column ") && strings.Contains(look(r)[3], "column") {
		t.Errorf("help begins with a column that nobody chose:\n%s", r.View())
	}
	press(r, "esc", "right", "right")
	r.View()
	press(r, "?")
	sees(t, r, "? on a column", "── help: Processes ──", ">column %MEM, in %", "RSS %MEM resident memory, shared pages included: sums over processes count\n those twice")
	press(r, "/", "s", "n", "a", "p")
	sees(t, r, "a search", "/snap", ">S ^S")
	if strings.Contains(r.View(), "column %MEM") {
		t.Error("the column does not give way to the search")
	}
}

func TestEveryPaneHasExecutableHelp(t *testing.T) {
	t.Parallel()
	eachStateOf("busy", func(state string, r *Root) {
		before := r.top().Info().ID
		press(r, "?", "/")
		r.keys(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("go to a pane or")})
		press(r, "enter")
		if _, ok := r.over.(*palette); !ok {
			t.Errorf("%s: help, searched for the palette, opens %T", state, r.over)
		}
		press(r, "esc")
		if r.over != nil || r.top().Info().ID != before {
			t.Errorf("%s: help does not lead back", state)
		}
	})
}

// A key that works somewhere is in the lists that the config checks and the README shows.
func TestAllKeys(t *testing.T) {
	t.Parallel()
	known := make(map[string]bool)
	sections, sets := AllKeys(All())
	for _, s := range sections {
		for _, k := range s.Keys {
			known[k.ID] = true
		}
	}
	for _, keys := range sets[:len(sets)-3] { // the last three are overlays, which have the keys for themselves
		if c := keymap.Conflicts(keymap.Merge(GlobalKeys(All()), keys)); len(c) > 0 {
			t.Errorf("keys collide: %v", c)
		}
	}
	eachState(func(fixture, state string, r *Root) {
		for _, k := range r.bindings() {
			if !known[k.ID] {
				t.Errorf("%s of %s: the key %s is in no list: put the pane as it is then into variants()", state, fixture, k.ID)
			}
		}
	})
}

// Nothing of a page is lost where it is narrower than the page.
func TestHelpIsWhole(t *testing.T) {
	for _, width := range []int{80, 200} {
		for _, p := range All() {
			r := resize(root(frames()["busy"]), width, 24)
			r.goTo(GoMsg{Pane: p.Info().ID})
			h := r.newHelp()
			got := strings.Fields(strings.Join(h.page, " "))
			if want := strings.Fields(strings.Join(r.helpText(p.Info()), " ")); !slices.Equal(got, want) {
				t.Errorf("%s at %d: the page has %d words, want %d", p.Info().ID, width, len(got), len(want))
			}
			for _, l := range h.page {
				if w := ansi.StringWidth(l); w > width-1 {
					t.Errorf("%s at %d: a line is %d wide: %q", p.Info().ID, width, w, l)
				}
			}
		}
	}
}

func TestBrief(t *testing.T) {
	tests := map[string]struct{ table, id, want string }{
		"first of two":  {"processes", "PID", "the process"},
		"second of two": {"processes", "USER", "its real user, by /etc/passwd, else the number"},
		"one of a list": {"processes", "majflt/s", "page faults without and with I/O"},
		"no entry":      {"processes", "nonsense", ""},
	}
	for name, tt := range tests {
		if got := brief("processes", tt.table, Column{ID: tt.id, Title: tt.id}); got != tt.want {
			t.Errorf("%s: brief(%s) = %q, want %q", name, tt.id, got, tt.want)
		}
	}
}
