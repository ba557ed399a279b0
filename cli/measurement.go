// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/bpf"
	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes"
	"bpf60/theme"
	"bpf60/triage"
)

// measurement is the session of the shipped program: the runner over all collectors, the engine
// and the history.
type measurement struct {
	o       options
	kernel  *bpf.Kernel
	runner  *collectors.Runner
	history *triage.History
	engine  *triage.Engine
	rules   int
	settled bool // every probe has been tried, and the kernel's types were let go
}

func newMeasurement(o options) *measurement {
	m := &measurement{o: o, kernel: bpf.Inspect(), history: &triage.History{}}
	if !o.BPF {
		m.kernel.Refuse("--no-bpf")
	}
	off, on := map[string]bool{}, []collectors.Want{}
	for _, p := range o.Probes {
		name := p[1:]
		off[name] = strings.HasPrefix(p, "-")
		if name == "runqlat-cause" && !off[name] {
			on = append(on, collectors.Want{ID: collectors.WakeID})
		}
	}
	every := collectors.All(m.kernel, collectors.NewFS(""), off)
	for _, c := range every {
		if meta := c.Meta(); o.Wide && meta.OnDemand {
			on = append(on, collectors.Want{ID: meta.ID})
		}
	}
	for _, p := range panes.All() { // nobody looks while a report measures
		if slices.Contains(o.Hold, string(p.Info().ID)) {
			on = append(on, p.Wants(panes.Scope{})...)
		}
	}
	m.runner = collectors.NewRunner(collectors.RunnerConfig{Interval: o.Interval, Collectors: every})
	m.runner.Want("options", on)
	rules := triage.All()
	m.rules = len(rules)
	m.engine = triage.NewEngine(rules, m.history, m.runner.Want)
	return m
}

func (m *measurement) Run(ctx context.Context, emit func()) error {
	defer settle()()
	return m.runner.Run(ctx, func(s *collectors.Snapshot) {
		m.engine.Tick(s)
		if !m.settled && settled(m.Probes()) {
			m.settled = true
			m.kernel.Release()
		}
		emit()
	})
}

func (m *measurement) Model(s screen) tea.Model {
	own := make([][]keymap.Key, 0)
	all := panes.All()
	for _, p := range all {
		own = append(own, p.Keys())
	}
	keys, _ := keymap.Rebind(s.Keys, panes.GlobalKeys(all), own...) // the problems are among the warnings
	glyphs := theme.ASCII
	if s.UTF8 {
		glyphs = theme.Blocks
	}
	return panes.New(panes.Config{
		Panes: all, History: m.history, Want: m.runner.Want, Save: s.Save, Clock: s.Clock,
		Theme: theme.New(s.Theme, s.Profile), Glyphs: glyphs, Keys: keys,
		Version: s.Version, Rules: m.rules,
	})
}

func (m *measurement) Line() string {
	return panes.Line(m.frame())
}

// frame is everything measured so far.
func (m *measurement) frame() panes.Frame {
	now, ok := m.history.Last()
	if !ok {
		return panes.Frame{Rules: m.rules}
	}
	return panes.Frame{
		Now: now, Past: m.history.Since(-1), At: now.Taken, Rules: m.rules,
	}
}

func (m *measurement) Probes() []collectors.Probe {
	now, ok := m.history.Last()
	if !ok {
		return nil
	}
	return now.ProbeRows()
}

func (m *measurement) Report(w io.Writer, r reportRequest) error {
	f := m.frame()
	f.Span = r.Ended.Sub(r.Started) + time.Second // the whole run
	all := panes.All()
	if len(r.Panes) > 0 {
		all = slices.DeleteFunc(all, func(p panes.Pane) bool { return !slices.Contains(r.Panes, string(p.Info().ID)) })
	}
	report := panes.Report{
		Frame: f, Panes: all, Version: r.Version, Started: r.Started,
		Duration: r.Ended.Sub(r.Started), Interval: m.o.Interval, Brief: r.Brief,
	}
	if r.Format == "json" {
		return panes.JSON(w, report)
	}
	return panes.Text(w, report)
}
