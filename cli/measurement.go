// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"io"
	"runtime/debug"
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
	source  collectors.Source
	want    func(holder string, wants []collectors.Want) // nil in a replay
	pace    func(interval time.Duration)                 // nil in a replay
	crashes func() []collectors.Crash                    // of collectors; nil in a replay
	hold    func(on bool, atMost time.Duration) bool     // nil in a replay
	history *triage.History
	engine  *triage.Engine
	rules   int
	began   time.Time     // when the first snapshot was taken, by the wall clock
	from    time.Duration // and by the run's
	most    int           // bytes that may be resident; 0: mostMemory
	settled bool          // every probe has been tried, and the kernel's types were let go
}

const (
	// replayBudget is the least that the history of a replay holds before the oldest rows go, and replayRatio
	// so many bytes for each of the file, which keeps an hour of a busy host in full: a small file that
	// somebody else made must not take more than 256 MiB, the program itself included.
	replayBudget = 128 << 20
	replayRatio  = 64
	replayMost   = 512 << 20
	// replayMargin is what the program takes beside the history, by and large.
	replayMargin = 80 << 20
)

// replayHistory is what the history of a recording of that size in bytes may hold.
func replayHistory(size int64) int {
	return int(min(max(replayBudget, size*replayRatio), replayMost))
}

// newReplay is the session over a recording.
func newReplay(o options) *measurement {
	if took := o.Replay.Header().Interval; took > 0 {
		o.Interval = took
	}
	m := &measurement{o: o, source: o.Replay, history: triage.NewHistory(replayHistory(o.Replay.Size())), settled: true}
	rules := triage.All(o.Limits)
	m.rules = len(rules)
	m.engine = triage.NewEngine(rules, m.history, func(string, []collectors.Want) {})
	return m
}

func newMeasurement(o options) *measurement {
	if o.Replay != nil {
		return newReplay(o)
	}
	m := &measurement{o: o, kernel: bpf.Inspect(), history: &triage.History{}}
	if !o.BPF {
		m.kernel.Refuse("--no-bpf")
	}
	off, on := map[string]bool{}, []collectors.Want{}
	for _, p := range o.Probes {
		off[p[1:]] = strings.HasPrefix(p, "-") // the last one counts
	}
	every := collectors.All(m.kernel, collectors.NewFS(""), off)
	for _, c := range every {
		if meta := c.Meta(); meta.OnDemand && (o.Wide || asked(c.Probes(), off)) {
			on = append(on, collectors.Want{ID: meta.ID})
		}
	}
	for _, p := range panes.All() { // nobody looks while a report measures
		if slices.Contains(o.Hold, string(p.Info().ID)) {
			on = append(on, p.Wants(o.Scope)...)
			if r, ok := p.(panes.Reporter); ok {
				on = append(on, r.ReportWants()...)
			}
		}
	}
	runner := collectors.NewRunner(collectors.RunnerConfig{Interval: o.Interval, Chosen: o.Chosen, Collectors: every, Missed: m.kernel.Missed, Off: collectors.SwitchedOff(every, off)})
	runner.Want("options", on)
	m.source, m.want, m.pace, m.crashes, m.hold = runner, runner.Want, runner.SetInterval, runner.Crashes, runner.Hold
	rules := triage.All(o.Limits)
	m.rules = len(rules)
	m.engine = triage.NewEngine(rules, m.history, m.want)
	return m
}

// asked says that one of the probes was switched on by name: then it does not wait for somebody to look.
func asked(probes []collectors.Probe, off map[string]bool) bool {
	return slices.ContainsFunc(probes, func(p collectors.Probe) bool {
		isOff, named := off[p.Name]
		return named && !isOff
	})
}

func (m *measurement) Run(ctx context.Context, emit func()) error {
	limit := func() {}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if m.o.Replay != nil { // it keeps what is in the file, on whatever host
		debug.SetMemoryLimit(int64(replayHistory(m.o.Replay.Size()) + replayMargin))
	} else {
		defer settle()()
		memory := newMemory()
		defer memory.Close()
		memory.most = cmp.Or(m.most, memory.most)
		limit = func() {
			m.history.Limit(memory.tune(m.history.Held()))
			if err := memory.ceiling(memory.resident(), func() { m.history.Limit(leastHistory) }); err != nil {
				cancel(err)
			}
		}
	}
	err := m.source.Run(ctx, func(s *collectors.Snapshot) {
		m.engine.Tick(s)
		if m.began.IsZero() {
			m.began, m.from = s.Taken, s.At
		}
		if m.o.Each != nil {
			m.o.Each(s)
		}
		if !m.settled && settled(m.Probes()) {
			m.settled = true
			m.kernel.Release()
		}
		limit()
		emit()
	})
	var over *tooMuchMemory
	if errors.As(context.Cause(ctx), &over) {
		return over
	}
	return err
}

func (m *measurement) Model(s screen) tea.Model {
	all := panes.Arrange(panes.All(), m.o.Panes)
	_, sets := panes.AllKeys(all)
	keys, _ := keymap.Rebind(s.Keys, panes.GlobalKeys(all), sets...) // the problems are among the warnings
	glyphs := theme.ASCII
	if s.UTF8 {
		glyphs = theme.Blocks
	}
	clock, recorded := s.Clock, ""
	if r := m.o.Replay; r != nil { // time is the recording's
		clock, recorded = nil, cmp.Or(collectors.Clean(r.Header().Host).String(), "a recording") // of no name is not live
	}
	themed := func(name string) theme.Theme { return theme.New(name, s.Profile).With(m.o.Colors, s.Profile) }
	return panes.New(panes.Config{
		Panes: all, Tabs: m.o.Panes, Columns: m.o.Columns, Themes: themed, Interval: m.interval(), History: m.history, Want: m.want, Save: s.Save, Clock: clock, Recorded: recorded,
		Scope: m.o.Scope, Copy: s.Copy, Uptime: s.Clock,
		Theme: themed(s.Theme), Glyphs: glyphs, Keys: keys,
		Version: s.Version, Rules: m.rules,
	})
}

// interval changes the time between two measurements, given as text; nil in a replay, which has its
// own.
func (m *measurement) interval() func(text string) error {
	if m.pace == nil {
		return nil
	}
	return func(text string) error {
		var o options
		if err := o.set("interval", text, &parts{}); err != nil {
			return err
		}
		m.pace(o.Interval)
		return nil
	}
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
		Now: now, Past: m.history.Since(-1), At: now.Taken, Rules: m.rules, Scope: m.o.Scope,
	}
}

func (m *measurement) Probes() []collectors.Probe {
	now, ok := m.history.Last()
	if !ok {
		return nil
	}
	return now.ProbeRows()
}

// Rest implements session.
func (m *measurement) Rest(on bool) {
	if m.hold != nil {
		m.hold(on, restWait)
	}
}

// Crashes implements session.
func (m *measurement) Crashes() []collectors.Crash {
	all := m.engine.Crashes()
	if m.crashes != nil {
		all = append(m.crashes(), all...)
	}
	return all
}

// window is when measuring began, in the time of the host that measured, and how long it took: from the first snapshot to the last,
// so that a recording tells what its run told.
func (m *measurement) window() (started time.Time, took time.Duration) {
	last, ok := m.history.Last()
	if !ok {
		return time.Now(), 0
	}
	return m.began, last.At - m.from
}

func (m *measurement) Report(w io.Writer, r reportRequest) error {
	f := m.frame()
	started, took := m.window()
	f.Span, f.Still = took+time.Second, true // the whole run, which is over
	all := panes.All()
	if len(r.Panes) > 0 {
		all = slices.DeleteFunc(all, func(p panes.Pane) bool { return !slices.Contains(r.Panes, string(p.Info().ID)) })
	}
	report := panes.Report{
		Frame: f, Panes: all, Version: r.Version, Started: started,
		Duration: took, Interval: m.o.Interval, Brief: r.Brief,
	}
	report.Healthy, report.Unchecked = panes.Checked(f.Now)
	switch r.Format {
	case "json":
		return panes.JSON(w, report)
	case "html":
		return panes.HTML(w, report)
	}
	return panes.Text(w, report)
}
