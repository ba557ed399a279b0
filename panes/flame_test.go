// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/theme"
)

// flameStacks makes stacks of lines such as "2 sh main work kernel!read".
func flameStacks(lines ...string) (out []flameStack) {
	for _, l := range lines {
		words := strings.Fields(l)
		s := flameStack{comm: words[1], n: uint64(words[0][0] - '0')}
		for _, w := range words[2:] {
			name, kernel := strings.CutPrefix(w, "kernel!")
			s.frames = append(s.frames, collectors.CallFrame{Name: name, Kernel: kernel, Known: !strings.HasPrefix(name, "[")})
		}
		out = append(out, s)
	}
	return out
}

// TestFunctions: what a function ran itself and with what it called; one that calls itself counts once.
func TestFunctions(t *testing.T) {
	got := map[string][2]uint64{}
	for _, f := range functionsOf(flameStacks("5 sh main walk walk walk", "3 sh main walk read", "1 sh main")) {
		got[f.fn] = [2]uint64{f.self, f.total}
	}
	want := map[string][2]uint64{"walk": {5, 8}, "main": {1, 9}, "read": {3, 3}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("functions (-want +got):\n%s", d)
	}
}

// TestIcicle: frames stand below their callers, as wide as their part; what is narrower than a cell is left
// out, and the signs of a terminal without more are the same in number.
func TestIcicle(t *testing.T) {
	root := flamesOf(flameStacks("5 sh main work", "3 sh main kernel!read", "2 cat [unknown]"))
	c := Canvas{Width: 40, Theme: plain()}
	marked := func(f function) bool { return f.fn == "work" }
	got := layOut(root, c.Width, 10).draw(c, flameDraw{selected: root.find([]flameKey{{name: "sh", kind: flameCommand}}), marked: marked}, 10)
	want := []string{
		"│all────────────────────────────────────",
		"│cat────>sh─────────────────────────────",
		"│[unkno…│main───────────────────────────",
		"        │read_[k]───│work▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the graph (-want +got):\n%s", d)
	}
	if ascii := theme.ASCII.Fold(got[3]); !strings.HasPrefix(ascii, "        |read_[k]---|work:") {
		t.Errorf("in ASCII: %q", ascii)
	}
	if g := layOut(root, 3, 10); len(g.rows) == 0 || len(g.rows[0]) != 1 {
		t.Errorf("on three cells: %+v", g.rows)
	}
	if low := layOut(root, 40, 10).draw(c, flameDraw{selected: root.find([]flameKey{{name: "sh", kind: flameCommand}, {name: "main", kind: flameUser}, {name: "work", kind: flameUser}})}, 2); len(low) != 2 || !strings.Contains(low[1], ">work") {
		t.Errorf("on two lines the selected frame is not there:\n%s", strings.Join(low, "\n"))
	}
}

// TestProfileKeys: Enter zooms in, Esc zooms out before it leaves, the cursor moves between frames, and what
// is looked for is told as a part of the samples.
func TestProfileKeys(t *testing.T) {
	r := resize(fixture("busy"), 80, 24)
	press(r, "9", "j", "j", "enter")
	if out := r.View(); strings.Contains(out, "│all") || !strings.Contains(out, ">_start") {
		t.Errorf("after Enter:\n%s", out)
	}
	press(r, "esc")
	sees(t, r, "after Esc", "│all", ">_start", "[9 Prof]")
	press(r, "k", "l")
	sees(t, r, "to the caller and the right", ">ngi")
	press(r, "/", "r", "e", "a", "d", "enter")
	sees(t, r, "a search", "found in 47.8 %", "read▒")
	press(r, "esc", "t", "enter")
	sees(t, r, "from the table", ">longest_match", "Esc zooms out")
	press(r, "o")
	sees(t, r, "off-CPU", "off-CPU", "[sleep]", "ms")
	press(r, "o", "w")
	sees(t, r, "another window", "last 10s")
}

// TestProfileReport: a report without samples says so, one with samples has the functions.
func TestProfileReport(t *testing.T) {
	f := busyStory(91).frame()
	table := NewProfile().Table(f)
	if len(table.Rows) == 0 || len(table.More) != 1 {
		t.Errorf("%d rows, %d more tables", len(table.Rows), len(table.More))
	}
	for i := range f.Past {
		s := *f.Past[i].Snapshot
		s.Profile, s.OffCPU = nil, nil
		f.Past[i].Snapshot = &s
	}
	if table := NewProfile().Table(f); len(table.Rows) != 0 || len(table.Notes) != 1 || !strings.Contains(table.Notes[0], "not sampled") {
		t.Errorf("without samples: %d rows, %q", len(table.Rows), table.Notes)
	}
}
