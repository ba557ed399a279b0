// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every table that can be named has columns without any data, the same that it has with data.
func TestTableNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, x := range allTables(All()) {
		if seen[x.name] {
			t.Errorf("two tables are called %s", x.name)
		}
		seen[x.name] = true
		if len(x.columns()) < 2 {
			t.Errorf("%s has the columns %v", x.name, x.columns())
		}
		ids := ColumnsOf(x.name)
		for _, id := range ids {
			if got, ok := FindColumn(ids, id); !ok || got != id {
				t.Errorf("%s: %q means %q, %t", x.name, id, got, ok)
			}
		}
	}
	for _, p := range All() {
		if _, ok := p.(hasTables); ok && !seen[string(p.Info().ID)] {
			t.Errorf("no table is called after the pane %s", p.Info().ID)
		}
	}
	if ColumnsOf("nonsense") != nil {
		t.Error("there is a table called nonsense")
	}
}

// What is drawn with the cursor in it can be named, with the columns that it is drawn with.
func TestTablesAreNamed(t *testing.T) {
	f := frames()["busy"]
	columns := map[string][]string{}
	for state, keys := range states() {
		r := resize(root(f), 200, 60)
		press(r, keys...)
		r.View()
		tables := allTables(r.cfg.Panes)
		if len(r.stacks[r.tab]) > 1 { // pages are made anew each time; C does for them
			continue
		}
		for _, b := range r.hand.seen.blocks {
			if b.list == nil {
				continue
			}
			i := slices.IndexFunc(tables, func(x namedTable) bool { return x.list == b.list })
			if i < 0 {
				t.Errorf("%s: the table %q has no name", state, b.table.Title)
				continue
			}
			x := tables[i]
			if columns[x.name] == nil {
				columns[x.name] = ColumnsOf(x.name)
			}
			for _, c := range b.cols {
				if !c.spark && !slices.Contains(columns[x.name], c.ID) && !strings.HasPrefix(state, "memory") {
					t.Errorf("%s: %s has no column %q", state, x.name, c.ID)
				}
			}
		}
	}
}

func TestFindColumn(t *testing.T) {
	ids := []string{"PID", "%usr", "kB_rd/s", "rx", "RX", "max", "high", "high/s"}
	tests := map[string]struct {
		name, want string
	}{
		"as it is":      {"PID", "PID"},
		"case":          {"pid", "PID"},
		"signs":         {"usr", "%usr"},
		"a second":      {"kbrd", "kB_rd/s"},
		"exact wins":    {"rx", "rx"},
		"other exact":   {"RX", "RX"},
		"two are meant": {"Rx", ""},
		"plain wins":    {"high", "high"},
		"nothing":       {"", ""},
		"unknown":       {"tx", ""},
	}
	for name, tt := range tests {
		if got, ok := FindColumn(ids, tt.name); got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: FindColumn(%q) = %q %t, want %q", name, tt.name, got, ok, tt.want)
		}
	}
}

func TestConfiguredColumns(t *testing.T) {
	c, err := CheckColumns("processes", Columns{Show: []string{"rss", "VSZ", "pid", "RSS"}, Sort: "vsz", Reverse: true})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Columns{Show: []string{"RSS", "VSZ", "PID"}, Sort: "VSZ", Reverse: true}, c); d != "" {
		t.Fatalf("CheckColumns (-want +got):\n%s", d)
	}
	r := resize(root(frames()["busy"], func(cfg *Config) { cfg.Columns = map[string]Columns{"processes": c} }), 80, 24)
	press(r, "3")
	heads := ""
	for _, l := range look(r) {
		if strings.Contains(l, "VSZ") {
			heads = strings.Join(strings.Fields(l), " ")
		}
	}
	if !strings.HasPrefix(heads, "RSS ↑VSZ PID") || strings.Contains(heads, "COMMAND") {
		t.Errorf("the heads are %q, want RSS, VSZ from small to large, PID", heads)
	}
	press(r, "2")
	sees(t, r, "another table", "%usr", "%idle")
}

func TestChooser(t *testing.T) {
	r := resize(root(frames()["busy"]), 80, 24)
	press(r, "3")
	r.View()
	press(r, "C")
	sees(t, r, "C", "── columns: Processes ── 11 of 29 shown ──", ">[x] PID", "[x] USER", "the process", "space show, hide")
	press(r, "j", "enter") // no USER
	press(r, "left")       // and it has moved before PID, hidden
	press(r, "G", " ")     // no COMMAND
	press(r, "/", "esc")
	view := r.View()
	if strings.Contains(view, "USER") || strings.Contains(view, "COMMAND") || !strings.Contains(view, "kB_rd/s kB_wr/s") {
		t.Errorf("want all but USER and COMMAND:\n%s", view)
	}
	press(r, "C", "gg", "right", "esc")
	if i, j := strings.Index(r.View(), "%usr"), strings.Index(r.View(), "PID"); i < 0 || i > j {
		t.Errorf("PID was moved to the right of %%usr:\n%s", r.View())
	}
	press(r, "C", "x", "esc")
	sees(t, r, "x", "PID USER", "COMMAND")

	press(r, "2", "1")
	r.View()
	press(r, "C")
	sees(t, r, "a pane without columns", "there is no table with columns to choose here")

	// A pane that draws its table by hand has the same.
	press(r, "2")
	r.View()
	press(r, "C", "enter", "G", "enter", "esc")
	if view := r.View(); strings.Contains(view, "runq ") || !strings.Contains(view, "%usr") {
		t.Errorf("the columns of CPUs:\n%s", view)
	}
	one := &chooser{ids: []string{"a"}, on: map[string]bool{}, list: &list{}}
	one.apply(r)
	if !one.on["a"] || one.list.show != nil {
		t.Error("the last column can be hidden")
	}
}

// What is chosen on a page is there on the next page of its kind.
func TestChosenForPages(t *testing.T) {
	r := resize(root(frames()["busy"]), 200, 60)
	press(r, "7")
	r.View()
	press(r, "enter")
	r.View()
	press(r, "C")
	if r.over == nil {
		t.Fatalf("no columns to choose:\n%s", r.View())
	}
	press(r, "j", "enter", "esc")
	shown := func() []string {
		r.View()
		b, ok := r.hand.seen.heads()
		if !ok {
			t.Fatalf("no table:\n%s", r.View())
		}
		return b.list.show
	}
	first := shown()
	press(r, "esc", "j", "enter")
	if d := cmp.Diff(first, shown()); d != "" || len(first) == 0 {
		t.Errorf("the next page shows other columns (-want +got):\n%s", d)
	}
}

func TestTabs(t *testing.T) {
	r := resize(root(frames()["busy"], func(c *Config) {
		c.Tabs = []string{"disk", "log", "cpu"}
		c.Panes = Arrange(c.Panes, c.Tabs)
	}), 80, 24)
	sees(t, r, "at first", "[5 Disk] Log  2 CPU")
	press(r, "tab")
	sees(t, r, "Tab", " 5 Disk [Log] 2 CPU")
	press(r, "tab", "tab")
	sees(t, r, "around", "[5 Disk]")
	press(r, "3")
	sees(t, r, "a pane without a tab, by its digit", "[3 Proc] 5 Disk")
	if len(r.cfg.Panes) != len(All()) {
		t.Errorf("there are %d panes, want all %d", len(r.cfg.Panes), len(All()))
	}
}
