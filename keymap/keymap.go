// SPDX-License-Identifier: Apache-2.0

// Package keymap holds the bindings that work everywhere, finds conflicts, and renders the key
// table of the README. A pane's own keys are the pane's.
package keymap

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/charmbracelet/bubbles/key"
)

// Key is a binding that can say why it does nothing just now.
type Key struct {
	key.Binding
	ID   string // name in the config: "pause"
	Why  string // shown when the key is pressed while disabled
	Long string // what it does, for help and README; empty: the footer's words say it
}

// In returns the key with words that say in full what it does.
func (k Key) In(full string) Key {
	k.Long = full
	return k
}

// Does says what the key does, in full.
func (k Key) Does() string {
	if k.Long != "" {
		return k.Long
	}
	return k.Help().Desc
}

// New returns a key. Two keys pressed after each other are written with a blank: "g g".
func New(id, label, description string, keys ...string) Key {
	return Key{ID: id, Binding: key.NewBinding(key.WithKeys(keys...), key.WithHelp(label, description))}
}

// Off returns the key disabled, with the reason.
func (k Key) Off(why string) Key {
	k.SetEnabled(false)
	k.Why = why
	return k
}

// IDs of the keys that work everywhere.
const (
	Quit     = "quit"
	Help     = "help"
	Pause    = "pause"
	Earlier  = "earlier"
	Later    = "later"
	Live     = "live"
	Snapshot = "snapshot"
	NextTab  = "next-tab"
	PrevTab  = "previous-tab"
	Up       = "up"
	Down     = "down"
	PageUp   = "page-up"
	PageDown = "page-down"
	Top      = "top"
	Bottom   = "bottom"
	Open     = "open"
	Back     = "back"
	Command  = "command"
	Redraw   = "redraw"
	Suspend  = "suspend"
)

// Global returns the keys that work everywhere, in the order of help and footer.
func Global() []Key {
	return []Key{
		New(Open, "Enter", "open the row", "enter"),
		New(Back, "Esc", "back", "esc", "backspace"),
		New(Pause, "space", "pause", " ", "p").In("pause, and resume"),
		New(Snapshot, "S", "snapshot", "S", "ctrl+s").In("write everything shown into a text report"),
		New(Help, "?", "help", "?", "f1").In("help: search with /, Enter does it"),
		New(Command, ":", "command", ":").In("go to a pane or do anything by its name; Tab completes"),
		New(Quit, "q", "quit", "q", "f10", "ctrl+c"),
		New(NextTab, "Tab", "next pane", "tab"),
		New(PrevTab, "S-Tab", "previous pane", "shift+tab"),
		New(Up, "k", "up", "k", "up"),
		New(Down, "j", "down", "j", "down"),
		New(PageUp, "PgUp", "page up", "pgup", "ctrl+b", "ctrl+u"),
		New(PageDown, "PgDn", "page down", "pgdown", "ctrl+f", "ctrl+d"),
		New(Top, "gg", "first row", "g g", "home"),
		New(Bottom, "G", "last row", "G"),
		New(Earlier, "←", "back", "left", "h").In("paused: one sample back"),
		New(Later, "→", "on", "right", "l").In("paused: one sample on"),
		New(Live, "End", "live", "end").In("paused: back to live"),
		New(Redraw, "^L", "redraw", "ctrl+l"),
		New(Suspend, "^Z", "to the shell", "ctrl+z"),
	}
}

// Map is what the user changed: key names by ID. The zero Map changes nothing.
type Map map[string][]string

// Apply returns keys with the user's bindings.
func (m Map) Apply(keys []Key) []Key {
	if len(m) == 0 {
		return keys
	}
	out := slices.Clone(keys)
	for i := range out {
		if names, ok := m[out[i].ID]; ok {
			out[i].SetKeys(names...)
			out[i].SetHelp(Label(names), out[i].Help().Desc)
		}
	}
	return out
}

// Rebind checks the user's bindings against all keys there are, global ones first, and returns
// the Map to use with one error for each line of the config that cannot be followed. A line with
// an error is left out. ^C always quits.
func Rebind(changes map[string][]string, global []Key, panes ...[]Key) (Map, []error) {
	known := make(map[string]bool)
	for _, k := range slices.Concat(append([][]Key{global}, panes...)...) {
		known[k.ID] = true
	}
	out := make(Map, len(changes))
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(changes)) {
		if !known[id] {
			errs = append(errs, fmt.Errorf("keys: no key is called %q; `bpf60 keys` lists them", id))
			continue
		}
		names := slices.Clone(changes[id])
		if id == Quit && !slices.Contains(names, "ctrl+c") {
			names = append(names, "ctrl+c")
		}
		out[id] = names
		if c := conflictsOf(out, global, panes); len(c) > 0 {
			errs = append(errs, fmt.Errorf("keys: %s: %s", id, c[0]))
			delete(out, id)
		}
	}
	return out, errs
}

func conflictsOf(m Map, global []Key, panes [][]Key) []string {
	out := Conflicts(m.Apply(global))
	for _, keys := range panes {
		out = append(out, Conflicts(m.Apply(Merge(global, keys)))...)
	}
	return out
}

// Merge returns the keys that work in a pane: a pane's key with the ID of a global one stands in
// its place, with the pane's description.
func Merge(global, pane []Key) []Key {
	out := make([]Key, 0, len(global)+len(pane))
	for _, k := range pane {
		if !has(global, k.ID) {
			out = append(out, k)
		}
	}
	for _, k := range global {
		for _, p := range pane {
			if p.ID == k.ID {
				k = p
			}
		}
		out = append(out, k)
	}
	return out
}

func has(keys []Key, id string) bool {
	return slices.ContainsFunc(keys, func(k Key) bool { return k.ID == id })
}

// Conflicts names the keys that are bound twice, or that can never be completed because their
// beginning is a key of its own.
func Conflicts(keys []Key) []string {
	var out []string
	owner := make(map[string]string)
	for _, k := range keys {
		for _, name := range k.Keys() {
			if other, ok := owner[name]; ok && other != k.ID {
				out = append(out, fmt.Sprintf("%q is both %s and %s", name, other, k.ID))
			}
			owner[name] = k.ID
		}
	}
	for _, name := range slices.Sorted(maps.Keys(owner)) {
		if first, _, ok := strings.Cut(name, " "); ok && first != "" {
			if other, taken := owner[first]; taken {
				out = append(out, fmt.Sprintf("%q begins %q of %s and is %s itself", first, name, owner[name], other))
			}
		}
	}
	return out
}

// Match returns the key that a key press completes, after the keys pressed before it. With no key
// it says whether the press begins one: then the caller passes it as prefix the next time.
func Match(keys []Key, prefix, pressed string) (k Key, ok, begins bool) {
	full := pressed
	if prefix != "" {
		full = prefix + " " + pressed
	}
	for _, k := range keys {
		for _, name := range k.Keys() {
			if name == full {
				return k, true, false
			}
			begins = begins || full != "" && strings.HasPrefix(name, full+" ")
		}
	}
	return Key{}, false, begins
}
