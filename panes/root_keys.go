// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/keymap"
)

// keys takes key presses apart: runes that arrive in one read are as many presses, and what is
// pasted is no press. Each press is done before the next.
func (r *Root) keys(msg tea.KeyMsg) tea.Cmd {
	if msg.Paste {
		return nil
	}
	if r.escaped(msg) {
		cmd := r.key(tea.KeyMsg{Type: tea.KeyEsc})
		msg.Alt = false
		return tea.Batch(cmd, r.keys(msg))
	}
	if msg.Type != tea.KeyRunes || len(msg.Runes) < 2 {
		return r.key(msg)
	}
	var cmds []tea.Cmd
	for _, c := range msg.Runes {
		one := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{c}, Alt: msg.Alt}
		if c == ' ' {
			one.Type = tea.KeySpace
		}
		cmds = append(cmds, r.key(one))
	}
	return tea.Batch(cmds...)
}

// escaped says whether msg is Esc and another key rather than one with Alt. Terminals send the same bytes for
// both, and a line that is slow hands over in one read what was typed one after the other.
func (r *Root) escaped(msg tea.KeyMsg) bool {
	switch {
	case !msg.Alt:
		return false
	case msg.Type != tea.KeyRunes && msg.Type != tea.KeySpace && msg.Type != tea.KeyEnter && msg.Type != tea.KeyTab && msg.Type != tea.KeyBackspace:
		return false // the others with Alt have sequences of their own
	case r.over != nil:
		return true
	}
	_, ok, begins := keymap.Match(r.bindings(), r.hand.prefix, msg.String())
	return !ok && !begins
}

// key handles one press.
func (r *Root) key(msg tea.KeyMsg) tea.Cmd {
	if msg.Type == tea.KeyCtrlC {
		return tea.Quit
	}
	r.changes()
	defer func() { r.hand.stale = true }()
	r.status, r.carried = status{}, carried{}
	if r.over != nil {
		r.hand.stale = true // what it does as it closes is about the pane
		return r.over.key(r, msg)
	}
	k, ok, begins := keymap.Match(r.bindings(), r.hand.prefix, msg.String())
	if !ok && !begins && r.hand.prefix != "" { // a broken sequence: the second key counts alone
		k, ok, begins = keymap.Match(r.bindings(), "", msg.String())
	}
	r.hand.prefix = ""
	switch {
	case begins:
		r.hand.prefix = msg.String()
		return nil
	case !ok:
		return nil
	}
	return r.act(k)
}

// bindings are the keys that work now: the global ones, a digit for each pane, the pane's own.
func (r *Root) bindings() []keymap.Key {
	global := slices.Clone(r.hand.global)
	for i := range global {
		r.fitKey(&global[i])
	}
	own := r.top().Keys()
	if r.tape.paused { // then the arrows step in time
		own = slices.DeleteFunc(own, func(k keymap.Key) bool { return k.ID == keymap.Earlier || k.ID == keymap.Later })
	}
	return r.cfg.Keys.Apply(keymap.Merge(global, own))
}

// goKey begins the IDs of the keys that open panes.
const goKey = "go."

// GlobalKeys returns the keys that work everywhere: those of keymap, and one for each pane that has
// a digit.
func GlobalKeys(panes []Pane) []keymap.Key {
	keys := keymap.Global()
	for _, p := range panes {
		i := p.Info()
		if i.Digit == "" {
			continue
		}
		keys = append(keys, keymap.New(goKey+string(i.ID), i.Digit, i.Title, i.Digit).In("open "+i.Title))
	}
	return keys
}

// fitKey says what a global key does, or why it does nothing, in the present state.
func (r *Root) fitKey(k *keymap.Key) {
	const notPaused = "pause first: space"
	r.fitNav(k)
	switch k.ID {
	case keymap.Pause:
		switch {
		case r.cfg.Recorded != "" && r.tape.plays:
			k.SetHelp(k.Help().Key, "stop")
		case r.cfg.Recorded != "":
			k.SetHelp(k.Help().Key, "play")
		case r.tape.paused:
			k.SetHelp(k.Help().Key, "resume")
		}
	case keymap.Earlier, keymap.Later, keymap.FarEarlier, keymap.FarLater, keymap.EarlierMark, keymap.LaterMark:
		if !r.tape.paused {
			*k = k.Off(notPaused)
		}
	case keymap.Live:
		if !r.tape.paused {
			*k = k.Off("this is live")
		}
	case keymap.Baseline:
		if r.frame.Now.Snapshot == nil {
			*k = k.Off("nothing to compare with yet")
		}
	case keymap.Compare:
		switch {
		case r.tape.base.frame.Now.Snapshot == nil:
			*k = k.Off("mark a baseline first: m")
		case r.tape.base.on:
			k.SetHelp(k.Help().Key, "no difference")
		}
	case keymap.Snapshot:
		switch {
		case r.cfg.Save == nil:
			*k = k.Off("there is nowhere to save here")
		case r.frame.Now.Snapshot == nil:
			*k = k.Off("nothing to save yet")
		}
	}
}

// act does what a key stands for.
func (r *Root) act(k keymap.Key) tea.Cmd {
	if !k.Enabled() {
		r.status = status{text: k.Why}
		return nil
	}
	if cmd, ok := r.tapeKey(k.ID); ok {
		return cmd
	}
	if r.zoomKey(k.ID) {
		return nil
	}
	switch k.ID {
	case keymap.Quit:
		return r.quit(k.Help().Key)
	case keymap.Suspend:
		return tea.Suspend
	case keymap.Redraw:
		return tea.ClearScreen
	case keymap.Help:
		r.over = r.newHelp()
	case keymap.Command:
		r.look()
		r.over = &palette{}
	case keymap.Snapshot:
		return r.save()
	case keymap.Copy:
		return r.copyRow()
	case keymap.Classic:
		r.over = r.newClassic()
	case keymap.Columns:
		if o := r.newChooser(); o != nil {
			r.over = o
		} else {
			r.status = status{text: "there is no table with columns to choose here"}
		}
	case keymap.NextTab, keymap.PrevTab:
		about := r.under()
		r.turn(map[string]int{keymap.NextTab: 1, keymap.PrevTab: -1}[k.ID])
		r.carry(about)
	case keymap.Pause:
		if r.cfg.Recorded != "" {
			return r.playOrStop()
		}
		r.pause(!r.tape.paused)
	case keymap.Live:
		r.toEnd()
	case keymap.Back:
		r.stepBack()
	case keymap.Filter:
		r.openFilter()
	case keymap.Scope:
		r.scopeKey()
	case keymap.Older:
		r.travel(-1)
	case keymap.Newer:
		r.travel(1)
	default:
		if id, ok := strings.CutPrefix(k.ID, goKey); ok {
			r.trail = nil
			about := r.under()
			r.goTo(GoMsg{Pane: ID(id)})
			r.carry(about)
			return nil
		}
		a := r.top().Update(Press{ID: k.ID, Frame: r.frame})
		if r.answer(a); a == nil && selects(k.ID) {
			r.status.asked = true
			r.describe()
			if k.ID == keymap.Open && r.status.text == "" {
				r.status.text = "there is no row to open"
			}
		}
	}
	return nil
}

// selects says whether a key asks for a row: then the status line tells what the row lacks.
func selects(id string) bool {
	switch id {
	case keymap.Open, keymap.Up, keymap.Down, keymap.PageUp, keymap.PageDown, keymap.Top, keymap.Bottom, keymap.Earlier, keymap.Later:
		return true
	}
	return false
}
