// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/triage"
)

// OverviewPane is the id of the first screen.
const OverviewPane ID = "overview"

// Overview is the first screen: findings, then the checklist of the first 60 seconds.
type Overview struct {
	selected string // row ID; empty: the first finding, or the first line without one
	digits   map[ID]string
}

// NewOverview returns the pane.
func NewOverview() *Overview { return &Overview{} }

// Info implements Pane.
func (p *Overview) Info() Info {
	return Info{ID: OverviewPane, Title: "Overview", Short: "Over", Digit: "1", Help: "overview"}
}

// Wants implements Pane: everything here comes from the cheap set.
func (p *Overview) Wants(Scope) []collectors.Want { return nil }

// Keys implements Pane.
func (p *Overview) Keys() []keymap.Key {
	return []keymap.Key{keymap.New(keymap.Open, "Enter", "open", "enter").In("open the pane of the line")}
}

// findingRow is the row ID of a finding; a checklist line's is its own id.
func findingRow(id string) string { return "finding " + id }

// Update implements Pane.
func (p *Overview) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.choose(msg.Row)
	case Press:
		if msg.ID == keymap.Open {
			return p.open(msg.Frame)
		}
		if row, ok := strings.CutPrefix(msg.ID, keyChoose); ok {
			p.choose(row)
			return nil
		}
		p.selected = move(msg.ID, overviewRows(msg.Frame), p.at(msg.Frame))
	}
	return nil
}

// open leads to the pane and row that the selected line or finding names.
func (p *Overview) open(f Frame) Answer {
	at := p.at(f)
	for _, l := range listed(f) {
		if findingRow(l.finding.ID) == at {
			return leadTo(l.finding)
		}
	}
	if l, ok := checked(f, at); ok && l.pane != "" {
		return GoMsg{l.pane, l.row}
	}
	return SayMsg{"this line has no pane of its own"}
}

// choose moves the cursor to a row.
func (p *Overview) choose(row string) { p.selected = row }

// at is the row the cursor is on: a row that has gone gives way to the first.
func (p *Overview) at(f Frame) string {
	rows := overviewRows(f)
	if slices.Contains(rows, p.selected) || len(rows) == 0 {
		return p.selected
	}
	return rows[0]
}

func overviewRows(f Frame) []string {
	var out []string
	for _, l := range listed(f) {
		out = append(out, findingRow(l.finding.ID))
	}
	for _, c := range checks() {
		out = append(out, c.id)
	}
	return out
}

// Describe implements Describer.
func (p *Overview) Describe(f Frame) string {
	if l, ok := checked(f, p.at(f)); ok && l.why != "" {
		return l.id + " -: " + l.why
	}
	return ""
}

// checked makes one line of the checklist, by its id.
func checked(f Frame, id string) (line, bool) {
	for _, c := range checks() {
		if c.id == id {
			return c.line(f), true
		}
	}
	return line{}, false
}

// listedFinding is a finding at its place in the tree.
type listedFinding struct {
	finding triage.Finding
	depth   int
	gone    bool // found at 60 s, or earlier, and over now
}

// listed returns the findings as a tree: causes in their order, each followed by its effects;
// then what the first triage found and is over.
func listed(f Frame) []listedFinding {
	var out []listedFinding
	all := f.Now.Findings
	ids := make(map[string]bool, len(all))
	for _, x := range all {
		ids[x.ID] = true
	}
	seen := make(map[string]bool, len(all))
	var add func(x triage.Finding, depth int)
	add = func(x triage.Finding, depth int) {
		if seen[x.ID] {
			return
		}
		seen[x.ID] = true
		out = append(out, listedFinding{x, depth, x.Until != 0})
		for _, effect := range all {
			if effect.CausedBy == x.ID {
				add(effect, depth+1)
			}
		}
	}
	for _, x := range all {
		if x.CausedBy == "" || !ids[x.CausedBy] {
			add(x, 0)
		}
	}
	for _, x := range all { // what remains is a circle; it must not vanish
		add(x, 0)
	}
	if f.judged() {
		for _, x := range f.Verdict.Findings {
			if !ids[x.ID] {
				add(x, 0)
				out[len(out)-1].gone = true
			}
		}
	}
	return out
}

// Table implements Pane.
func (p *Overview) Table(f Frame) Table {
	t := Table{Title: "60 seconds", Columns: []Column{
		{ID: "line", Title: "line", Width: 8, Left: true},
		{ID: "status", Title: "status", Width: 8, Left: true},
		{ID: "value", Title: "value", Width: 9, Decimals: 1},
		{ID: "unit", Title: "unit", Width: 11, Left: true},
		{ID: "summary", Title: "summary", Width: 56, Left: true},
	}}
	for _, l := range checklist(f) {
		status := Missing("nothing judges it yet")
		if f.Rules > 0 {
			status = Say("ok")
		}
		if sev, ok := worst(f.Now, l.id); ok {
			status = Say(sev.String())
		}
		value := Missing(l.why)
		if !math.IsNaN(l.value) {
			value = Number(l.value)
		}
		t.Rows = append(t.Rows, Row{ID: l.id, Cells: []Cell{Say(l.id), status, value, Say(l.unit), Say(l.summary(56))}})
		if l.why != "" {
			t.Notes = append(t.Notes, l.id+": "+l.why)
		}
	}
	t.Facts = overviewFacts(f)
	return t
}

func overviewFacts(f Frame) []Fact {
	var out []Fact
	if h := newest(f, hostOf); h != nil {
		for i, id := range []string{"load1", "load5", "load15"} {
			out = append(out, Fact{ID: id, Title: id, Cell: Number(h.Load[i]), Decimals: 2})
		}
		out = append(out,
			Fact{ID: "mem_available", Title: "memory available", Unit: "bytes", Cell: Number(float64(h.Mem.Available))},
			Fact{ID: "mem_total", Title: "memory", Unit: "bytes", Cell: Number(float64(h.Mem.Total))})
	}
	return append(out,
		psiFact(f, "psi_cpu", "some task waits for a CPU", psiCPU),
		psiFact(f, "psi_memory", "some task waits for memory", psiMemory),
		psiFact(f, "psi_io", "some task waits for I/O", psiIO))
}
