// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/base64"
	"errors"
	"strings"

	"bpf60/collectors"
)

// clipboard returns what puts a text on the clipboard of the terminal: one OSC 52, which works over
// ssh as well. A terminal does not tell whether it took it.
func (o *output) clipboard(env func(string) string) func(text collectors.Safe) error {
	return func(text collectors.Safe) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		select {
		case <-o.aborted:
			return errors.New("the terminal takes nothing any more")
		default:
		}
		f := o.File
		if o.async != nil {
			f = o.async
		}
		_, err := f.WriteString(osc52(text, env))
		return cause(err)
	}
}

// osc52 is the sequence, wrapped for the multiplexer in between. tmux takes it, and passes it on, only with
// set-clipboard on; wrapped, it passes it on only with allow-passthrough on, or always before 3.3: it gets
// both, as it ignores what it is not to take. sudo takes
// TMUX and STY away: TERM=screen may then be either, and a wrapper for the wrong one would be seen
// on the screen.
func osc52(text collectors.Safe, env func(string) string) string {
	const bell, end = "\a", "\x1b\\"
	s := "\x1b]52;c;" + base64.StdEncoding.EncodeToString([]byte(text.String())) + bell
	switch term := env("TERM"); {
	case env("TMUX") != "", strings.HasPrefix(term, "tmux"):
		return "\x1bPtmux;" + strings.ReplaceAll(s, "\x1b", "\x1b\x1b") + end + s
	case env("STY") != "":
		return "\x1bP" + s + end
	}
	return s
}
