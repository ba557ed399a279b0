// SPDX-License-Identifier: Apache-2.0

package keymap

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Problem is what cannot be followed of the user's bindings.
type Problem struct {
	ID   string // of the key in the config
	Text string
}

// Error implements error.
func (p *Problem) Error() string { return "keys: " + p.Text }

// Rebind checks the user's bindings against all keys there are: the global ones, and each list of
// keys that work together with them. It returns the Map to use, with one Problem for each binding
// that cannot be followed and is left out. Keys may change places. ^C always quits.
func Rebind(changes map[string][]string, global []Key, panes ...[]Key) (Map, []error) {
	known := make(map[string]bool)
	for _, k := range slices.Concat(append([][]Key{global}, panes...)...) {
		known[k.ID] = true
	}
	out := make(Map, len(changes))
	problems := make(map[string]string)
	for id, names := range changes {
		if !known[id] {
			problems[id] = fmt.Sprintf("no key is called %q; `bpf60 keys` lists them", id)
			continue
		}
		valid := make([]string, 0, len(names)+1)
		for _, name := range names {
			n, ok := canonical(name)
			if !ok {
				problems[id] = fmt.Sprintf("%s: there is no key %q; use one such as x, X, ctrl+x, alt+x, f5, enter, space, pgup, or two as in \"g x\"", id, name)
				break
			}
			valid = append(valid, n)
		}
		if problems[id] != "" {
			continue
		}
		if id == Quit && !slices.Contains(valid, "ctrl+c") {
			valid = append(valid, "ctrl+c")
		}
		out[id] = valid
	}
	// One change at a time is given up, so that what is left is as much as can be had together.
	for {
		c, ok := firstConflict(out, global, panes)
		if !ok {
			break
		}
		id := c.second
		if _, changed := out[id]; !changed {
			id = c.first
		}
		problems[id] = id + ": " + c.String()
		delete(out, id)
	}
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(problems)) {
		errs = append(errs, &Problem{ID: id, Text: problems[id]})
	}
	return out, errs
}

// firstConflict is the first one that involves a change; false if there is none.
func firstConflict(m Map, global []Key, panes [][]Key) (conflict, bool) {
	check := func(keys []Key) (conflict, bool) {
		for _, c := range conflicts(keys) {
			_, a := m[c.first]
			_, b := m[c.second]
			if a || b {
				return c, true
			}
		}
		return conflict{}, false
	}
	if c, ok := check(m.Apply(global)); ok {
		return c, true
	}
	for _, keys := range panes {
		if c, ok := check(m.Apply(Merge(global, keys))); ok {
			return c, true
		}
	}
	return conflict{}, false
}

// conflict is one press that means two things.
type conflict struct {
	first, second string // IDs, in the order of the alphabet
	text          string
}

// String says what the conflict is.
func (c conflict) String() string { return c.text }

func newConflict(a, b, text string) conflict {
	return conflict{first: min(a, b), second: max(a, b), text: text}
}

// conflicts finds the keys that are bound twice, or that can never be completed because their
// beginning is a key of its own.
func conflicts(keys []Key) []conflict {
	var out []conflict
	owner := make(map[string]string)
	for _, k := range keys {
		for _, name := range k.Keys() {
			if other, ok := owner[name]; ok && other != k.ID {
				out = append(out, newConflict(other, k.ID, fmt.Sprintf("%q is both %s and %s", name, other, k.ID)))
			}
			owner[name] = k.ID
		}
	}
	for _, name := range slices.Sorted(maps.Keys(owner)) {
		if first, _, ok := strings.Cut(name, " "); ok && first != "" {
			if other, taken := owner[first]; taken {
				out = append(out, newConflict(owner[name], other,
					fmt.Sprintf("%q begins %q of %s and is %s itself", first, name, owner[name], other)))
			}
		}
	}
	return out
}

// Conflicts names the keys that are bound twice, or that can never be completed because their
// beginning is a key of its own.
func Conflicts(keys []Key) []string {
	var out []string
	for _, c := range conflicts(keys) {
		out = append(out, c.String())
	}
	return out
}

// canonical is a key as a terminal sends it, in the spelling of Bubble Tea; false if no terminal
// sends it. Two keys are pressed after each other.
func canonical(name string) (string, bool) {
	if name == " " {
		return name, true
	}
	parts := strings.Split(name, " ")
	if len(parts) > 2 {
		return "", false
	}
	for i, p := range parts {
		one, ok := canonicalOne(p)
		if !ok || one == " " && len(parts) == 2 {
			return "", false
		}
		parts[i] = one
	}
	return strings.Join(parts, " "), true
}

func canonicalOne(name string) (string, bool) {
	if r, size := utf8.DecodeRuneInString(name); size == len(name) {
		return name, r != utf8.RuneError && unicode.IsGraphic(r)
	}
	if r, ok := strings.CutPrefix(name, "alt+"); ok && utf8.RuneCountInString(r) == 1 {
		return name, unicode.IsGraphic([]rune(r)[0])
	}
	lower := strings.ToLower(name)
	switch lower { // a terminal sends the same byte for both
	case "space":
		return " ", true
	case "ctrl+i":
		return "tab", true
	case "ctrl+m", "return":
		return "enter", true
	case "ctrl+[", "escape":
		return "esc", true
	}
	if rest, ok := strings.CutPrefix(lower, "ctrl+"); ok && len(rest) == 1 {
		return lower, rest[0] >= 'a' && rest[0] <= 'z' || strings.Contains(`@\]^_`, rest)
	}
	if rest, ok := strings.CutPrefix(lower, "f"); ok {
		var n int
		if _, err := fmt.Sscanf(rest, "%d", &n); err == nil {
			return lower, n >= 1 && n <= 20 && rest == fmt.Sprint(n)
		}
	}
	switch lower {
	case "enter", "esc", "tab", "shift+tab", "backspace", "delete", "insert", "pgup", "pgdown", "ctrl+pgup", "ctrl+pgdown":
		return lower, true
	}
	at := max(strings.LastIndexByte(lower, '+')+1, 0)
	switch lower[:at] {
	case "", "ctrl+", "shift+", "alt+", "ctrl+shift+":
		return lower, slices.Contains([]string{"up", "down", "left", "right", "home", "end"}, lower[at:])
	}
	return "", false
}
