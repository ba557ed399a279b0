// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// offPage is one kernel stack that a process sleeps in, as the host's probe tells it or, with a target,
// that of the target alone.
type offPage struct {
	row    string
	target collectors.Target
}

func newOffPage(row string) *offPage { return &offPage{row: row} }

// Info implements Pane.
func (p *offPage) Info() Info {
	return Info{ID: "off-cpu stack", Title: "off-cpu stack", Short: "stack", Help: "cpu"}
}

// Wants implements Pane: the probe stays while the page is open.
func (p *offPage) Wants(Scope) []collectors.Want {
	if p.target != (collectors.Target{}) {
		return []collectors.Want{latencyWant(p.target)}
	}
	return []collectors.Want{{ID: collectors.OffCPUID}}
}

// Keys implements Pane.
func (p *offPage) Keys() []keymap.Key {
	return []keymap.Key{
		keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"),
		keymap.New(keymap.Open, "Enter", "process", "enter").In("open the page of the process that sleeps"),
	}
}

// Update implements Pane.
func (p *offPage) Update(msg tea.Msg) Answer {
	if press, ok := msg.(Press); ok && press.ID == keymap.Open {
		if r, _ := p.find(press.Frame); r != nil {
			return openProcess(press.Frame, r.Task, r.Comm)
		}
		return SayMsg{"nobody has slept here for a minute"}
	}
	return nil
}

// find is the row, nil if nobody has slept there for a minute.
func (p *offPage) find(f Frame) (*collectors.OffStack, collectors.Span) {
	if p.target != (collectors.Target{}) {
		if x, span := latencyOf(f.rowed(), p.target); x != nil {
			for i := range x.Sample.Stacks {
				if offStackID(&x.Sample.Stacks[i]) == p.row {
					return &x.Sample.Stacks[i], span
				}
			}
		}
		return nil, collectors.Span{}
	}
	sum := offcpuOver(f)
	if sum == nil {
		return nil, collectors.Span{}
	}
	for i := range sum.stacks {
		if offStackID(&sum.stacks[i]) == p.row {
			return &sum.stacks[i], sum.Span
		}
	}
	return nil, sum.Span
}

// Table implements Pane: the row, and a line for each function.
func (p *offPage) Table(f Frame) Table {
	t := Table{Title: p.Info().Title, Columns: []Column{{ID: "function", Title: "FUNCTION", Width: 40, Left: true}}}
	r, span := p.find(f)
	if r == nil {
		t.Notes = append(t.Notes, "nobody has slept here for a minute")
		return t
	}
	heads := (&offState{}).stackTable(f).Columns
	for i, c := range offStackRow("", r, span).Cells {
		t.Facts = append(t.Facts, Fact{ID: heads[i].ID, Title: heads[i].Title, Unit: heads[i].Unit, Cell: c, Decimals: heads[i].Decimals})
	}
	if r.Stack != nil {
		for i, fn := range r.Frames {
			t.Rows = append(t.Rows, Row{ID: fmt.Sprint(i), Cells: []Cell{Say(clean2(fn))}})
		}
	}
	return t
}

// View implements Pane.
func (p *offPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	t := p.Table(f)
	r, _ := p.find(f)
	if r == nil {
		return fit(append([]string{widget.Title(c.Theme, c.Width, t.Title)}, wrap(c, "", t.Notes[0])...), c.Height)
	}
	who := fmt.Sprintf("%s[%d]", clean(r.Comm), r.Task.TGID)
	lines := []string{widget.Title(c.Theme, c.Width, t.Title, who, r.Why.String())}
	l := widget.NewLine(c.Width).Skip(1)
	for _, fact := range t.Facts {
		if v, ok := fact.Cell.Num(); ok && fact.ID != "pid" {
			l.Put(c.Theme.Dim, fact.Title+" ").Plain(fmt.Sprintf("%.*f", fact.Decimals, v)).Skip(2)
		}
	}
	lines = append(lines, l.String())
	if r.Stack != nil {
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "waits for ").Plain(r.Class).Put(c.Theme.Dim, "  in ").Plain(clean2(r.Function)).String())
	}
	lines = append(lines, widget.Title(c.Theme, c.Width, "kernel stack", "innermost first"))
	if len(t.Rows) == 0 {
		lines = append(lines, wrap(c, "", "- no names of functions: "+noFunction(f))...)
	}
	for _, row := range t.Rows {
		lines = append(lines, widget.NewLine(c.Width).Skip(2).Plain(row.Cells[0].Format(0)).String())
	}
	return fit(lines, c.Height)
}
