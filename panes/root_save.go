// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bytes"
	"slices"

	tea "github.com/charmbracelet/bubbletea"
)

// save renders the report now, of what is shown, and writes it in the background.
func (r *Root) save() tea.Cmd {
	var b bytes.Buffer
	if err := Text(&b, r.report()); err != nil {
		r.status = status{text: err.Error(), alert: true}
		return nil
	}
	r.status = status{text: "saving …"}
	write := r.cfg.Save
	return func() tea.Msg {
		path, err := write(b.Bytes())
		return SavedMsg{Path: path, Err: err}
	}
}

// report is what a snapshot holds: every pane and the drill-down on the screen, over the run.
func (r *Root) report() Report {
	f := r.frame
	f.Span = min(f.Now.At, keepFor)
	panes := slices.Clone(r.cfg.Panes)
	if top := r.top(); !slices.Contains(panes, top) {
		panes = append(panes, top)
	}
	rep := Report{Frame: f, Panes: panes, Version: r.cfg.Version, Started: f.At.Add(-f.Span), Duration: f.Span}
	if r.cfg.Healthy != nil {
		rep.Healthy = r.cfg.Healthy()
	}
	if r.cfg.Unchecked != nil {
		rep.Unchecked = r.cfg.Unchecked()
	}
	return rep
}
