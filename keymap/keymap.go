// SPDX-License-Identifier: Apache-2.0

// Package keymap holds the bindings that work everywhere, finds conflicts, and renders the key
// table of the README. A pane's own keys are the pane's.
package keymap

import "github.com/charmbracelet/bubbles/key"

// Key is a binding that can say why it does nothing just now.
type Key struct {
	key.Binding
	ID  string // name in the config: "pause"
	Why string // shown when the key is pressed while disabled
}
