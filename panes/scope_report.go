// SPDX-License-Identifier: Apache-2.0

package panes

import "fmt"

// about says before the panes of a report what they are about, and what the screen showed of them.
func (w *writer) about(r Report) {
	if r.Frame.Scope.On() {
		w.line("")
		w.line("scope: %s. Tables whose rows tell what they belong to hold its rows alone, distributions that name it are its own, all else is the whole host's.", r.Frame.Scope.Name)
	}
	if r.Filtered != "" {
		w.line("")
		w.line("on the screen: %s. The tables below are whole.", r.Filtered)
	}
}

// filtered says which filter the pane on the screen has, and what it leaves; empty without one.
func (r *Root) filtered() string {
	if r.frame.Filter == nil {
		return ""
	}
	s := r.sightOf(r.top())
	out := fmt.Sprintf("%s, filter %s", r.top().Info().Title, r.frame.Filter)
	if s.fault != "" {
		return out + ": not for this table"
	}
	return out + fmt.Sprintf(": %d of %d rows", s.kept, s.of)
}
