// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// ProbesPane is the id of the pane of what we look through.
const ProbesPane ID = "probes"

func runsOf(s *collectors.Snapshot) *collectors.Runs { return s.Runs }

// Probes is the pane of every probe: how it is attached, what it counts and costs, or why it is off and
// what would help; and of the BPF programs behind them, as the kernel times them.
type Probes struct {
	probes, programs list
	timed            bool // the programs are shown
}

// NewProbes returns the pane.
func NewProbes() *Probes { return &Probes{probes: newList(""), programs: newList("CPU%")} }

// Info implements Pane.
func (p *Probes) Info() Info {
	return Info{ID: ProbesPane, Title: "Probes", Short: "Probes", Digit: "0", Help: "probes", Command: "bpf60 doctor"}
}

// Wants implements Pane: timing costs every BPF program of the host, so it is for as long as it is looked at.
func (p *Probes) Wants(Scope) []collectors.Want {
	if !p.timed {
		return nil
	}
	return []collectors.Want{{ID: collectors.RunsID}}
}

const keyPrograms = "probes.programs"

// Keys implements Pane.
func (p *Probes) Keys() []keymap.Key {
	to, open := "programs", keymap.New(keymap.Open, "Enter", "open", "enter").In("open the probe's page, with the message in full")
	if p.timed {
		to, open = "probes", keymap.New(keymap.Open, "Enter", "open", "enter").Off("there is nothing below a program")
	}
	return append([]keymap.Key{
		open,
		keymap.New(keyPrograms, "t", to, "t").In("move between probes and the BPF programs behind them, timed by the kernel"),
	}, p.list().keys()...)
}

func (p *Probes) list() *list {
	if p.timed {
		return &p.programs
	}
	return &p.probes
}

func (p *Probes) table(f Frame) Table {
	if p.timed {
		return p.programTable(f)
	}
	return p.probeTable(f)
}

// Update implements Pane.
func (p *Probes) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.timed = false
		p.probes.choose(msg.Row)
	case Press:
		t := p.table(msg.Frame)
		switch msg.ID {
		case keyPrograms:
			p.timed = !p.timed
			return WantMsg{}
		case keymap.Open:
			if r, ok := p.list().row(t); ok && !p.timed {
				return OpenMsg{newProbePage(r.ID)}
			}
		default:
			p.list().press(msg.ID, t)
		}
	}
	return nil
}

// probeRate is one probe over the frame.
type probeRate struct {
	collectors.Probe
	perSecond float64 // events
	known     bool    // there are two readings
}

// cost is the CPU time by the estimate, in percent of one CPU.
func (r probeRate) cost() float64 { return r.perSecond * r.NsPerEvent / 1e7 }

// traced says whether a probe is BPF; the others read files.
func traced(p collectors.Probe) bool {
	for _, kind := range []string{"tp_btf", "raw_tp", "tracepoint", "iter/", "perf_event", "fentry", "fexit", "kprobe", "BPF_"} {
		if strings.HasPrefix(p.Hook, kind) {
			return true
		}
	}
	return false
}

// rateSpan is how much of the past a rate on the screen is taken from: one slow tick does not show.
const rateSpan = 5 * time.Second

// ratesOf are all probes of the frame: BPF first, then by collector.
func ratesOf(f Frame) []probeRate {
	if f.Now.Snapshot == nil {
		return nil
	}
	before := f.Now
	for i := len(f.Past) - 1; i >= 0; i-- {
		m := f.Past[i]
		if m.Snapshot == nil || m.At > f.Now.At {
			continue
		}
		if f.Now.At-m.At > max(f.Span, rateSpan) {
			break
		}
		before = m
	}
	old := make(map[string]collectors.Probe)
	for _, p := range before.ProbeRows() {
		old[p.Name] = p
	}
	span := (f.Now.At - before.At).Seconds()
	var out []probeRate
	for _, p := range f.Now.ProbeRows() {
		r := probeRate{Probe: p, known: span > 0}
		if q := old[p.Name]; r.known {
			n := p.Events
			if q.Events <= n { // else it was attached anew
				n -= q.Events
			}
			r.perSecond = float64(n) / span
		}
		out = append(out, r)
	}
	sortStably(out, func(a, b probeRate) int {
		rank := func(r probeRate) int {
			if traced(r.Probe) {
				return 0
			}
			return 1
		}
		return cmp.Compare(rank(a), rank(b))
	})
	return out
}

// Table implements Pane.
func (p *Probes) Table(f Frame) Table {
	t := p.probeTable(f)
	if newest(f, runsOf) != nil || p.timed {
		t.More = append(t.More, p.programTable(f))
	}
	return t
}

func (p *Probes) probeTable(f Frame) Table {
	t := Table{Title: "probes", Columns: []Column{
		{ID: "probe", Title: "probe", Width: 14, Left: true},
		{ID: "state", Title: "state", Width: 8, Left: true},
		{ID: "hook", Title: "hook", Width: 24, Left: true, Rank: 1},
		{ID: "events/s", Title: "events/s", Unit: "events/s", Width: 8},
		{ID: "ns/event", Title: "ns/event", Unit: "ns", Width: 8, Rank: 3},
		{ID: "CPU%", Title: "CPU%", Unit: "%", Width: 6, Decimals: 2},
		{ID: "lost", Title: "lost", Unit: "events", Width: 6},
		{ID: "events", Title: "events", Unit: "events", Width: 9, Rank: 4},
		{ID: "reason", Title: "why", Width: 60, Left: true, Hidden: true},
		{ID: "remedy", Title: "remedy", Width: 60, Left: true, Hidden: true},
	}}
	for _, r := range ratesOf(f) {
		running := r.State == collectors.On || r.State == collectors.Degraded
		rate, ns, cost, lost := Missing("it does not run"), Missing("it does not run"), Missing("it does not run"), Missing("it does not run")
		if running {
			lost = Number(float64(r.Lost))
			rate, ns, cost = Missing("it counts no events"), Missing("its cost is part of our own CPU time"), Missing("its cost is part of our own CPU time")
			switch {
			case !r.known:
				rate = Missing("waiting for a second reading")
			case r.Events > 0 || traced(r.Probe):
				rate = Number(r.perSecond)
			}
			if r.NsPerEvent > 0 {
				ns = Number(r.NsPerEvent)
				if r.known {
					cost = Number(r.cost())
				}
			}
		}
		t.Rows = append(t.Rows, Row{ID: r.Name, Cells: []Cell{
			Say(r.Name), Say(r.State.String()), Say(r.Hook), rate, ns, cost, lost, Number(float64(r.Events)), Say(r.Reason), Say(r.Remedy),
		}})
	}
	p.probes.arrange(f, &t)
	return t
}

func (p *Probes) programTable(f Frame) Table {
	t := Table{Title: "programs", Columns: []Column{
		{ID: "program", Title: "program", Width: 22, Left: true},
		{ID: "runs/s", Title: "runs/s", Unit: "runs/s", Width: 8},
		{ID: "ns/run", Title: "ns/run", Unit: "ns", Width: 8},
		{ID: "CPU%", Title: "CPU%", Unit: "%", Width: 6, Decimals: 2},
		{ID: "missed", Title: "missed", Unit: "runs/s", Width: 6},
	}}
	s := runsOver(f)
	if s == nil {
		why, remedy := whyNot(f, collectors.RunsID, "bpf-stats")
		t.Notes = append(t.Notes, note("bpf-stats", why, remedy))
		return t
	}
	span := s.Seconds()
	for _, r := range s.Programs {
		runs, ns, cost := perSecond(r.Count, s.Span), Missing("it did not run"), Missing("nothing was timed")
		if !s.Timed {
			why, remedy := whyNot(f, collectors.RunsID, "bpf-stats")
			runs, ns = Missing(note("bpf-stats", why, remedy)), Missing(note("bpf-stats", why, remedy))
		} else if span > 0 {
			cost = Number(100 * r.Time.Seconds() / span)
			if r.Count > 0 {
				ns = Number(float64(r.Time) / float64(r.Count))
			}
		}
		t.Rows = append(t.Rows, Row{ID: r.Name, Cells: []Cell{
			Say(r.Name), runs, ns, cost, perSecond(r.Missed, s.Span),
		}})
	}
	p.programs.arrange(f, &t)
	return t
}

// runsOver sums the frame's samples, program by program. Nil without one.
func runsOver(f Frame) *collectors.Runs {
	samples := within(f, runsOf)
	if len(samples) == 0 {
		return nil
	}
	sum := &collectors.Runs{Timed: true}
	at := make(map[string]int)
	for _, s := range samples {
		sum.Span = join(sum.Span, s.Span)
		sum.Timed = sum.Timed && s.Timed
		for _, r := range s.Programs {
			i, ok := at[r.Name]
			if !ok {
				at[r.Name] = len(sum.Programs)
				sum.Programs = append(sum.Programs, r)
				continue
			}
			x := &sum.Programs[i]
			x.Count += r.Count
			x.Time += r.Time
			x.Missed += r.Missed
		}
	}
	return sum
}

// Describe implements Describer: why the selected probe is not fully on, and what would help.
func (p *Probes) Describe(f Frame) string {
	t := p.table(f)
	if p.timed {
		return cmp.Or(p.programs.why(t), strings.Join(t.Notes, "; "))
	}
	if r, ok := p.probes.row(t); ok {
		if pr, ok := probeByName(f, r.ID); ok && pr.Reason != "" {
			return note(pr.Name, pr.Reason, pr.Remedy)
		}
	}
	return p.probes.why(t)
}

func probeByName(f Frame, name string) (collectors.Probe, bool) {
	if f.Now.Snapshot == nil {
		return collectors.Probe{}, false
	}
	for _, p := range f.Now.ProbeRows() {
		if p.Name == name {
			return p, true
		}
	}
	return collectors.Probe{}, false
}

// heading sums the table up: "21 on, 2 degraded, 1 off", what BPF costs and what was lost.
func (p *Probes) heading(f Frame) []string {
	if p.timed {
		parts := []string{"programs", "timed by the kernel", "each run ≈ 60 ns less than shown"}
		if s := newest(f, runsOf); s != nil {
			var sum time.Duration
			for _, r := range s.Programs {
				sum += r.Time
			}
			if span := s.Seconds(); span > 0 && s.Timed {
				parts = slices.Insert(parts, 1, fmt.Sprintf("%.2f %% of a CPU", 100*sum.Seconds()/span))
			}
		}
		return parts
	}
	counts := make(map[collectors.State]int)
	var cost float64
	var lost uint64
	for _, r := range ratesOf(f) {
		counts[r.State]++
		lost += r.Lost
		if r.State == collectors.On || r.State == collectors.Degraded {
			cost += r.cost()
		}
	}
	var states []string
	for _, s := range []collectors.State{collectors.On, collectors.Degraded, collectors.Warming, collectors.Idle, collectors.Off, collectors.Failed} {
		if n := counts[s]; n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, s))
		}
	}
	return []string{"probes", strings.Join(states, ", "), fmt.Sprintf("bpf ≈ %.2f %% of a CPU", cost), fmt.Sprintf("lost %d", lost)}
}

// View implements Pane: the table, and beneath it why the selected probe is not on.
func (p *Probes) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	t := p.table(f)
	lines := []string{widget.Title(c.Theme, c.Width, p.heading(f)...)}
	if p.timed && len(t.Rows) == 0 {
		why := missingPart(f, c, collectors.RunsID, "bpf-stats", "the time of BPF programs")
		return fit(append(lines, why...), c.Height)
	}
	var below []string
	if r, ok := p.list().row(t); ok && !p.timed {
		if pr, ok := probeByName(f, r.ID); ok && pr.Reason != "" {
			below = append(below, wrap(c, widget.Clip(pr.Name, 14)+" ", pr.Reason)...)
			if pr.Remedy != "" {
				below = append(below, wrap(c, "  needs ", pr.Remedy)...)
			}
		}
	}
	room := c.Height - len(lines) - len(below)
	if room < 4 {
		below, room = nil, c.Height-len(lines)
	}
	lines = append(lines, p.list().draw(c, t, room, listOptions{Wide: []string{"probe", "hook", "program"}})...)
	for len(below) > 0 && len(lines) < c.Height-len(below) {
		lines = append(lines, "")
	}
	return fit(append(lines, below...), c.Height)
}
