// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"
	"unicode/utf8"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
)

// mostCopied is how many bytes are copied at most: terminals take no long ones.
const mostCopied = 4096

// copiedMsg says that a text was given to the terminal, or why not.
type copiedMsg struct {
	text string
	err  error
}

// copyRow gives the selected row to the terminal's clipboard.
func (r *Root) copyRow() tea.Cmd {
	b, ok := r.look().cursor()
	if !ok {
		r.status = status{text: "there is no row to copy here"}
		return nil
	}
	return r.copy(b.text())
}

// copy gives a text to the terminal's clipboard. Only what Clean made leaves, and only for the key
// that says so.
func (r *Root) copy(text string) tea.Cmd {
	if r.cfg.Copy == nil {
		r.status = status{text: "there is no terminal to copy to"}
		return nil
	}
	text = strings.Join(strings.Fields(safe(text).String()), " ")
	if len(text) > mostCopied {
		cut := mostCopied
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut]
	}
	give, what := r.cfg.Copy, safe(text)
	return func() tea.Msg { return copiedMsg{text: what.String(), err: give(what)} }
}

// copied says what was copied. The terminal does not tell whether it took it.
func (r *Root) copied(msg copiedMsg) {
	r.status = status{text: "sent to the clipboard: " + msg.text}
	if msg.err != nil {
		r.status = status{text: "copying: " + msg.err.Error(), alert: true}
	}
}

// Copier gives a text to the clipboard. It may block: it is called in a command.
type Copier func(text collectors.Safe) error
