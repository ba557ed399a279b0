// SPDX-License-Identifier: Apache-2.0

// Package keymap holds the bindings that work everywhere, finds conflicts, and renders the key
// table of the README. A pane's own keys are the pane's.
package keymap

import (
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
	Columns  = "columns"
	Classic  = "classic"
	Copy     = "copy"
	Redraw   = "redraw"
	Suspend  = "suspend"
	Filter   = "filter"
	Scope    = "scope"
	Older    = "view-back"
	Newer    = "view-forward"

	FarEarlier  = "earlier-10"
	FarLater    = "later-10"
	EarlierMark = "earlier-mark"
	LaterMark   = "later-mark"
	Jump        = "jump"
	Baseline    = "baseline"
	Compare     = "compare"
)

// Global returns the keys that work everywhere, in the order of help and footer.
func Global() []Key {
	return []Key{
		New(Open, "Enter", "open the row", "enter"),
		New(Back, "Esc", "back", "esc", "backspace"),
		New(Pause, "space", "pause", " ", "p").In("pause, and resume"),
		New(Filter, "/", "filter", "/", "\\", "f4").In("keep the rows that match: text, re/…/, !text, cpu>5 and user=www; Enter keeps the filter, Esc gives up"),
		New(Scope, "f", "scope", "f").In("make the row's process, cgroup, disk or peer what all panes are about, and drop it again"),
		New(Snapshot, "S", "snapshot", "S", "ctrl+s").In("write everything shown into a text report"),
		New(Help, "?", "help", "?", "f1").In("help: column, keys, page; / searches, Enter does it"),
		New(Command, ":", "command", ":").In("go to a pane or do anything by its name; Tab completes"),
		New(Columns, "C", "columns", "C").In("choose the columns of the table: show, hide, move"),
		New(Classic, "e", "command", "e").In("the classic commands that show the same; y copies one"),
		New(Copy, "y", "copy", "y").In("copy the selected row to the terminal's clipboard"),
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
		New(FarEarlier, "{", "10 back", "{", "shift+left").In("paused: ten samples back"),
		New(FarLater, "}", "10 on", "}", "shift+right").In("paused: ten samples on"),
		New(EarlierMark, "(", "mark before", "(").In("paused: back to where something happened: kernel error, OOM kill, finding, burst of execs"),
		New(LaterMark, ")", "mark after", ")").In("paused: on to where something happened"),
		New(Jump, "J", "to a time", "J").In("stop the time at a moment that is kept: begins :at, then 12:31, 12:31:05 or -5m"),
		New(Live, "End", "live", "end").In("paused: back to live"),
		New(Older, "[", "last view", "[").In("back through the views that were open"),
		New(Newer, "]", "next view", "]").In("forward through the views that were open"),
		New(Baseline, "m", "baseline", "m").In("make the moment that is shown the baseline; x is another thing: it sets what \"start\" counts from"),
		New(Compare, "D", "difference", "D").In("every table and distribution against the baseline, or no longer"),
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
