// SPDX-License-Identifier: Apache-2.0

package keymap

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGlobal(t *testing.T) {
	if c := Conflicts(Global()); len(c) > 0 {
		t.Errorf("the global keys collide: %v", c)
	}
	seen := make(map[string]bool)
	for _, k := range Global() {
		if k.ID == "" || k.Help().Desc == "" || len(k.Keys()) == 0 {
			t.Errorf("key %+v lacks an id, keys or a description", k)
		}
		if seen[k.ID] {
			t.Errorf("id %s is used twice", k.ID)
		}
		seen[k.ID] = true
	}
}

func TestConflicts(t *testing.T) {
	tests := map[string]struct {
		keys []Key
		want int
	}{
		"none":             {[]Key{New("a", "a", "x", "a"), New("b", "b", "x", "b")}, 0},
		"same key":         {[]Key{New("a", "a", "x", "z"), New("b", "b", "x", "z")}, 1},
		"prefix is a key":  {[]Key{New("a", "a", "x", "g g"), New("b", "b", "x", "g")}, 1},
		"shared prefix":    {[]Key{New("a", "a", "x", "g g"), New("b", "b", "x", "g e")}, 0},
		"twice in one":     {[]Key{New("a", "a", "x", "z", "z")}, 0},
		"space is no pair": {[]Key{New("a", "a", "x", " ", "g g")}, 0},
	}
	for name, tt := range tests {
		if got := Conflicts(tt.keys); len(got) != tt.want {
			t.Errorf("%s: Conflicts = %v, want %d", name, got, tt.want)
		}
	}
}

func TestMatch(t *testing.T) {
	keys := Global()
	tests := map[string]struct {
		prefix, pressed string
		want            string
		begins          bool
	}{
		"plain":           {"", "q", Quit, false},
		"begins":          {"", "g", "", true},
		"completes":       {"g", "g", Top, false},
		"breaks":          {"g", "x", "", false},
		"unknown":         {"", "Z", "", false},
		"space":           {"", " ", Pause, false},
		"nothing pressed": {"", "", "", false},
	}
	for name, tt := range tests {
		k, ok, begins := Match(keys, tt.prefix, tt.pressed)
		if k.ID != tt.want || ok != (tt.want != "") || begins != tt.begins {
			t.Errorf("%s: Match(%q, %q) = %q %t %t, want %q begins %t", name, tt.prefix, tt.pressed, k.ID, ok, begins, tt.want, tt.begins)
		}
	}
}

func TestRebind(t *testing.T) {
	pane := []Key{New("cpu.draw", "v", "draw", "v")}
	tests := map[string]struct {
		changes map[string][]string
		want    Map
		err     string
	}{
		"nothing":              {nil, Map{}, ""},
		"a key":                {map[string][]string{Pause: {"z"}}, Map{Pause: {"z"}}, ""},
		"a pane's key":         {map[string][]string{"cpu.draw": {"w"}}, Map{"cpu.draw": {"w"}}, ""},
		"^C is never unbound":  {map[string][]string{Quit: {"Q"}}, Map{Quit: {"Q", "ctrl+c"}}, ""},
		"quit by nothing else": {map[string][]string{Quit: nil}, Map{Quit: {"ctrl+c"}}, ""},
		"unbound":              {map[string][]string{Suspend: {}}, Map{Suspend: {}}, ""},
		"unknown":              {map[string][]string{"pauze": {"z"}}, Map{}, `no key is called "pauze"`},
		"taken":                {map[string][]string{Pause: {"q"}}, Map{}, `"q" is both`},
		"taken by a pane":      {map[string][]string{Pause: {"v"}}, Map{}, `"v" is both`},
		"begins another":       {map[string][]string{Pause: {"g"}}, Map{}, `"g" begins`},
		"one of two is known":  {map[string][]string{"a": {"x"}, Pause: {"z"}}, Map{Pause: {"z"}}, `no key is called "a"`},
		"two that swap":        {map[string][]string{NextTab: {"?"}, Help: {"tab"}}, Map{NextTab: {"?"}, Help: {"tab"}}, ""},
		"both want one":        {map[string][]string{NextTab: {"z"}, Help: {"z"}}, Map{Help: {"z"}}, `next-tab: "z" is both`},
		"no such key":          {map[string][]string{Pause: {"hyper+x"}}, Map{}, `pause: there is no key "hyper+x"; use one such as`},
		"three in a row":       {map[string][]string{Pause: {"z z z"}}, Map{}, `there is no key "z z z"`},
		"other spellings":      {map[string][]string{Pause: {"Space", "Ctrl+O", "ctrl+i"}, NextTab: {"z x"}}, Map{Pause: {" ", "ctrl+o", "tab"}, NextTab: {"z x"}}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, errs := Rebind(tt.changes, Global(), pane)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Rebind (-want +got):\n%s", diff)
			}
			switch {
			case tt.err == "" && len(errs) > 0:
				t.Errorf("Rebind complains: %v", errs)
			case tt.err != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), tt.err)):
				t.Errorf("Rebind complains %v, want one line with %q", errs, tt.err)
			}
		})
	}
}

// A new binding shows in the footer and does not reach the keys of others.
func TestApply(t *testing.T) {
	keys := Global()
	m := Map{Pause: {"ctrl+p"}}
	got := m.Apply(keys)
	i := slices.IndexFunc(got, func(k Key) bool { return k.ID == Pause })
	if got[i].Help().Key != "^P" || got[i].Help().Desc != "pause" || !slices.Equal(got[i].Keys(), []string{"ctrl+p"}) {
		t.Errorf("Apply gives %q %q %v", got[i].Help().Key, got[i].Help().Desc, got[i].Keys())
	}
	if keys[i].Keys()[0] != " " {
		t.Error("Apply changed the keys it was given")
	}
}

func TestMerge(t *testing.T) {
	pane := []Key{New(Open, "Enter", "cpu", "enter"), New("cpu.draw", "v", "draw", "v")}
	got := Merge(Global(), pane)
	if got[0].ID != "cpu.draw" {
		t.Errorf("Merge begins with %s, want the pane's own key", got[0].ID)
	}
	n := 0
	for _, k := range got {
		if k.ID == Open {
			n++
			if k.Help().Desc != "cpu" {
				t.Errorf("Enter says %q, want the pane's word", k.Help().Desc)
			}
		}
	}
	if n != 1 || len(got) != len(Global())+1 {
		t.Errorf("Merge has %d keys, %d of them Enter", len(got), n)
	}
}

func TestTables(t *testing.T) {
	s := []Section{{"everywhere", Global()}, {"CPU", []Key{New("cpu.draw", "v", "draw", "v").In("draw it otherwise")}}}
	md, text := Markdown(s...), Text(s...)
	for _, want := range []string{"| everywhere | `q` `F10` `^C` | quit | `quit` |", "| CPU | `v` | draw it otherwise | `cpu.draw` |", "| everywhere | `gg` `Home` |"} {
		if !strings.Contains(md, want) {
			t.Errorf("Markdown lacks %q:\n%s", want, md)
		}
	}
	if n := strings.Count(md, "\n"); n != len(Global())+3 {
		t.Errorf("Markdown has %d lines, want %d", n, len(Global())+3)
	}
	if !strings.Contains(text, "everywhere\n") || !strings.Contains(text, "draw it otherwise") {
		t.Errorf("Text lacks a section:\n%s", text)
	}
}

func TestCanonical(t *testing.T) {
	tests := map[string]struct {
		name, want string
		ok         bool
	}{
		"letter":          {"x", "x", true},
		"capital":         {"X", "X", true},
		"not ASCII":       {"ö", "ö", true},
		"space":           {"space", " ", true},
		"control":         {"CTRL+A", "ctrl+a", true},
		"enter by ^M":     {"ctrl+m", "enter", true},
		"alt keeps case":  {"alt+X", "alt+X", true},
		"arrow":           {"ctrl+left", "ctrl+left", true},
		"function":        {"F12", "f12", true},
		"no function":     {"f21", "", false},
		"control of it":   {"ctrl+1", "", false},
		"nothing":         {"", "", false},
		"a control":       {"\x07", "", false},
		"word":            {"quit", "", false},
		"two":             {"g space", "", false},
		"two of letters":  {"g x", "g x", true},
		"super":           {"super+x", "", false},
		"super and arrow": {"super+up", "", false},
	}
	for name, tt := range tests {
		got, ok := canonical(tt.name)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s: canonical(%q) = %q %t, want %q %t", name, tt.name, got, ok, tt.want, tt.ok)
		}
	}
}
