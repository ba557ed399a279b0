// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
)

// ExecPane is the id of the pane of what processes start, end and open.
const ExecPane ID = "exec"

// execSection is one table of the pane. Its rows keep their order, newest or most first, until the
// user sorts them. Facts stand in the title, and notes below the rows, or in their place.
type execSection struct {
	id, title string                      // "execs"
	wants     []collectors.Want           // what must be collected while it is shown
	table     func(f Frame) Table         // title and columns also where nothing is known
	open      func(f Frame, r Row) Answer // Enter; nil: rows have no page
}

// execSections are the tables of the pane, in the order that v goes through.
func execSections() []execSection {
	return slices.Concat([]execSection{
		{id: "execs", title: "execs", table: execTable, open: openExec},
		{id: "exits", title: "exits", table: exitTable, open: openExit},
		{id: "short", title: "short-lived", table: shortTable, open: openShort},
		{id: "programs", title: "programs", table: programTable, open: openProgram},
		{id: "forks", title: "forks", table: forkTable, open: openForker},
		{id: "signals", title: "signals", table: signalTable, open: openSignal},
	}, openSections(), []execSection{
		{id: "lives", title: "short-lived files", wants: []collectors.Want{{ID: collectors.FilesID}}, table: fileLifeTable, open: openWho},
		{id: "churn", title: "file churn", wants: []collectors.Want{{ID: collectors.FilesID}}, table: fileChurnTable, open: openWho},
	})
}

// Exec is the pane of events of processes and files: several tables, of which one is shown.
type Exec struct {
	sections []execSection
	at       int // the section that is shown
	lists    []list
	slow     slowDrawing
}

// NewExec returns the pane, with the newest execs.
func NewExec() *Exec {
	p := &Exec{sections: execSections()}
	p.lists = make([]list, len(p.sections))
	return p
}

// Info implements Pane.
func (p *Exec) Info() Info {
	return Info{ID: ExecPane, Title: "Exec & files", Short: "Exec", Digit: "8", Help: "exec", Command: "execsnoop; exitsnoop"}
}

// Wants implements Pane: what the section that is shown needs, and the scope apart.
func (p *Exec) Wants(s Scope) []collectors.Want {
	wants := p.sections[p.at].wants
	ids := []collectors.ID{collectors.ExecID, collectors.SignalsID}
	for _, w := range wants {
		ids = append([]collectors.ID{w.ID}, ids...)
	}
	return append(slices.Clip(wants), s.wants(ids...)...)
}

// IDs of the keys of this pane.
const (
	keyExecNext = "exec.next"
	keyExecBack = "exec.back"
)

// Keys implements Pane.
func (p *Exec) Keys() []keymap.Key {
	open := keymap.New(keymap.Open, "Enter", "open", "enter").In("open the page of the row")
	if p.sections[p.at].open == nil {
		open = open.Off("these rows have no page")
	}
	next := p.sections[p.beside(1)].title
	keys := []keymap.Key{
		open,
		keymap.New(keyExecNext, "v", next, "v").In("the next table: execs, exits, short-lived, signals, …"),
		keymap.New(keyExecBack, "V", "back", "V").In("the table before"),
	}
	if p.drawsTimes() {
		keys = append(keys, p.slow.keys()...)
	}
	return append(keys, p.lists[p.at].keys()...)
}

func (p *Exec) beside(step int) int { return (p.at + step + len(p.sections)) % len(p.sections) }

// Update implements Pane. Select takes a section, or a section and a row: "exits/12".
func (p *Exec) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		section, row, _ := strings.Cut(msg.Row, "/")
		at := slices.IndexFunc(p.sections, func(s execSection) bool { return s.id == section })
		if at < 0 {
			return nil
		}
		p.at = at
		p.lists[at].choose(row)
		return WantMsg{}
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *Exec) press(msg Press) Answer {
	l := &p.lists[p.at]
	if p.drawsTimes() && p.slow.press(msg.ID) {
		return nil
	}
	switch msg.ID {
	case keyExecNext:
		p.at = p.beside(1)
		return WantMsg{}
	case keyExecBack:
		p.at = p.beside(-1)
		return WantMsg{}
	case keymap.Open:
		open := p.sections[p.at].open
		if r, ok := l.row(p.current(msg.Frame)); ok && open != nil {
			return open(msg.Frame, r)
		}
	default:
		l.press(msg.ID, p.current(msg.Frame))
	}
	return nil
}

// current is the table that is shown, in the order of its cursor.
func (p *Exec) current(f Frame) Table {
	t := p.sections[p.at].table(f)
	p.lists[p.at].arrange(f, &t)
	return t
}

// Describe implements Describer: why a cell of the selected row is missing.
func (p *Exec) Describe(f Frame) string { return p.lists[p.at].why(p.current(f)) }

// Table implements Pane: the table that is shown, and more all the others.
func (p *Exec) Table(f Frame) Table {
	t := p.current(f)
	for i := range p.sections {
		if i != p.at {
			more := p.sections[i].table(f)
			p.lists[i].arrange(f, &more)
			t.More = append(t.More, more)
		}
	}
	return t
}
