// SPDX-License-Identifier: Apache-2.0

package panes

import (
	tea "github.com/charmbracelet/bubbletea"

	"bpf60/keymap"
)

// overlay is what takes the keys until it closes itself, by setting the root's to nil. It may draw
// in place of the pane; an empty view leaves the pane on the screen.
type overlay interface {
	key(r *Root, msg tea.KeyMsg) tea.Cmd
	view(c Canvas) string
}

// overlayKey finds the key that is pressed among the overlay's own and those that work everywhere,
// with the user's bindings.
func (r *Root) overlayKey(msg tea.KeyMsg, own []keymap.Key) (keymap.Key, bool) {
	keys := r.cfg.Keys.Apply(keymap.Merge(keymap.Global(), own))
	k, ok, begins := keymap.Match(keys, r.hand.prefix, msg.String())
	r.hand.prefix = ""
	if begins {
		r.hand.prefix = msg.String()
	}
	return k, ok
}

// moveTo is the line of n that a key of the cursor leads to from the line at.
func moveTo(id string, at, n int) int {
	const page = 10
	switch id {
	case keymap.Up:
		at--
	case keymap.Down:
		at++
	case keymap.PageUp:
		at -= page
	case keymap.PageDown:
		at += page
	case keymap.Top:
		at = 0
	case keymap.Bottom:
		at = n - 1
	}
	return max(0, min(at, n-1))
}

// terminalKey does what the keys of the terminal do, in an overlay too.
func terminalKey(id string) tea.Cmd {
	switch id {
	case keymap.Redraw:
		return tea.ClearScreen
	case keymap.Suspend:
		return tea.Suspend
	}
	return nil
}

// overlayKeys are the keys of the overlay on the screen, for the footer; nil without one that has
// keys.
func (r *Root) overlayKeys() []keymap.Key {
	switch r.over.(type) {
	case *help:
		return r.cfg.Keys.Apply(helpKeys())
	case *classic:
		return r.cfg.Keys.Apply(classicKeys())
	case *chooser:
		return r.cfg.Keys.Apply(chooserKeys())
	}
	return nil
}
