// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
	"bpf60/triage"
)

// FindingsPane is the id of the history of findings.
const FindingsPane ID = "findings"

// Findings is the history of findings: each time that one was found, when it began and how long it
// lasted, what lasts and what is over.
type Findings struct {
	list list
}

// NewFindings returns the pane: what lasts first, then what is over, the newest first.
func NewFindings() *Findings { return &Findings{list: newList("")} }

// Info implements Pane.
func (p *Findings) Info() Info {
	return Info{ID: FindingsPane, Title: "Findings", Short: "Find", Help: "findings"}
}

// Wants implements Pane: the rules ask for what they need.
func (p *Findings) Wants(Scope) []collectors.Want { return nil }

// Keys implements Pane.
func (p *Findings) Keys() []keymap.Key {
	return append([]keymap.Key{
		keymap.New(keymap.Open, "Enter", "open", "enter").In("open the pane and the row that the finding is about"),
	}, p.list.keys()...)
}

// Update implements Pane.
func (p *Findings) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.list.choose(msg.Row)
	case Press:
		all := episodes(msg.Frame)
		t := p.table(msg.Frame, all)
		if msg.ID != keymap.Open {
			p.list.press(msg.ID, t)
			return nil
		}
		if e := p.at(t, all); e != nil {
			return leadTo(e.shown())
		}
	}
	return nil
}

// leadTo opens the pane and the row that a finding names.
func leadTo(x triage.Finding) Answer {
	if x.Pane == "" {
		return SayMsg{x.ID + " has no pane of its own"}
	}
	return GoMsg{ID(x.Pane), x.Row}
}

// episodeRow is the row ID of an episode: the same from when it begins to when it is forgotten.
func episodeRow(e *episode) string {
	return e.now.ID + " " + strconv.FormatInt(e.first.Milliseconds(), 10)
}

// at is the episode that the cursor is on; nil without one.
func (p *Findings) at(t Table, all []episode) *episode {
	r, ok := p.list.row(t)
	for i := range all {
		if ok && episodeRow(&all[i]) == r.ID {
			return &all[i]
		}
	}
	return nil
}

// findingColumns are the columns, of a report with times and words in full.
func findingColumns(f Frame) []Column {
	clock, words, rank := len(time.TimeOnly), 20, 0
	if f.Span > 0 {
		clock, words, rank = len(time.RFC3339), 66, 1
	}
	return []Column{
		{ID: "finding", Title: "FINDING", Width: 20, Left: true},
		{ID: "severity", Title: "SEVERITY", Width: 8, Left: true},
		{ID: "since", Title: "SINCE", Width: clock, Left: true, Rank: rank},
		{ID: "until", Title: "UNTIL", Width: clock, Left: true, Rank: 1},
		{ID: "lasted", Title: "LASTED", Unit: "s", Width: 7, Form: Lasting, Rank: rank},
		{ID: "who", Title: "WHO", Width: 22, Left: true, Rank: 2},
		{ID: "resource", Title: "RESOURCE", Width: 8, Left: true, Rank: 3, Hidden: true},
		{ID: "value", Title: "VALUE", Width: 8, Decimals: 1, Rank: 4, Hidden: true},
		{ID: "threshold", Title: "THRESHOLD", Width: 9, Decimals: 1, Rank: 4, Hidden: true},
		{ID: "unit", Title: "UNIT", Width: 8, Left: true, Rank: 4, Hidden: true},
		{ID: "cause", Title: "CAUSE", Width: 20, Left: true, Rank: 3, Hidden: true},
		{ID: "what", Title: "WHAT", Width: words, Left: true},
	}
}

// momentCell is a time of the run by the wall clock, in a report with its day and zone. It sorts the
// newest first.
func momentCell(f Frame, at time.Duration) Cell {
	wall := f.At.Add(at - f.Now.At)
	format := time.RFC3339
	if f.Span == 0 {
		y, m, d := wall.Date()
		format = time.TimeOnly
		if y2, m2, d2 := f.At.Date(); y != y2 || m != m2 || d != d2 {
			format = "Jan 2"
		}
	}
	return Ranked(wall.Format(format), at.Seconds())
}

// blamed is the first that a finding blames; the zero Target if it blames nobody.
func blamed(x triage.Finding) collectors.Target {
	if len(x.Culprits) == 0 {
		return collectors.Target{}
	}
	first := x.Culprits[0]
	about := first.Target
	if name, _, ok := strings.Cut(first.Name.String(), "["); ok && about.Name == "" {
		about.Name = name
	}
	return about
}

// row is the row of an episode.
func (e *episode) row(f Frame) Row {
	x := e.shown()
	until, lasted := Ranked("now", f.Now.At.Seconds()+1), Number((f.Now.At - x.Since).Seconds())
	switch {
	case e.until > 0:
		until, lasted = momentCell(f, e.until), Number((e.until - x.Since).Seconds())
	case e.lost:
		until = Missing("found at 60 s and over: when it ended is no longer kept")
		lasted = until
	}
	if lasted.Known() && x.AtStart {
		lasted.Badge = "+"
	}
	r := Row{ID: episodeRow(e)}
	who := Missing("the finding blames nobody")
	if len(x.Culprits) > 0 {
		who, r.Target = Say(culprit(x.Culprits[0])), blamed(x)
	}
	cause := Missing("no other finding explains it")
	if x.CausedBy != "" {
		cause = Say(x.CausedBy)
	}
	r.Cells = []Cell{
		Say(x.ID), Ranked(e.severity().String(), float64(e.severity())), momentCell(f, x.Since), until, lasted, who,
		Say(x.Resource), Number(x.Value), Number(x.Threshold), Say(x.Unit), cause, Say(x.Title + x.Quality),
	}
	return r
}

// table is the table of episodes, in the order of the cursor.
func (p *Findings) table(f Frame, all []episode) Table {
	t := Table{Title: "findings", Columns: findingColumns(f)}
	live := 0
	for i := range all {
		if !all[i].over() {
			live++
		}
		t.Rows = append(t.Rows, all[i].row(f))
	}
	t.Facts = []Fact{
		{ID: "now", Title: "findings that last", Cell: Number(float64(live))},
		{ID: "over", Title: "findings that are over", Cell: Number(float64(len(all) - live))},
		{ID: "kept", Title: "how far back the history reaches", Unit: "s", Cell: reach(f)},
	}
	if len(all) == 0 {
		t.Notes = append(t.Notes, silence(f))
	}
	p.list.arrange(f, &t)
	return t
}

// reach is how far back the moments that are kept reach.
func reach(f Frame) Cell {
	kept := f.kept()
	if len(kept) == 0 || kept[0].Snapshot == nil {
		return Missing("waiting for the first sample")
	}
	return Number((f.Now.At - kept[0].At).Seconds())
}

// Table implements Pane.
func (p *Findings) Table(f Frame) Table { return p.table(f, episodes(f)) }

// Describe implements Describer: why a cell of the selected row is missing.
func (p *Findings) Describe(f Frame) string { return p.list.why(p.Table(f)) }

// View implements Pane: the table, and the selected finding in full below it.
func (p *Findings) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	all := episodes(f)
	t := p.table(f, all)
	lines := []string{widget.Title(c.Theme, c.Width, findingsTitle(t)...)}
	if len(t.Rows) == 0 {
		return fit(append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, silence(f)).String()), c.Height)
	}
	var whole []string
	if e := p.at(t, all); e != nil {
		whole = p.whole(f, c, e)
	}
	room := c.Height - 1
	if rest := room - len(whole); rest < min(len(t.Rows)+1, room/2) { // the table has half of the screen, if it needs it
		whole = whole[:max(room-min(len(t.Rows)+1, max(room/2, 4)), 0)]
	}
	lines = append(lines, p.list.draw(c, t, min(room-len(whole), len(t.Rows)+1), listOptions{Wide: []string{"who"}})...)
	return fit(append(lines, whole...), c.Height)
}

func findingsTitle(t Table) []string {
	now, _ := t.Facts[0].Cell.Num()
	over, _ := t.Facts[1].Cell.Num()
	parts := []string{"findings", fmt.Sprintf("%.0f now, %.0f over", now, over)}
	if s, ok := t.Facts[2].Cell.Num(); ok {
		parts = append(parts, "of the last "+widget.Lasting(time.Duration(s*float64(time.Second))))
	}
	return parts
}

// whole is all that a finding says, over as many lines as it takes.
func (p *Findings) whole(f Frame, c Canvas, e *episode) []string {
	x := e.shown()
	title := []string{x.ID, e.severity().String()}
	if x.CausedBy != "" {
		title = append(title, "caused by "+x.CausedBy)
	}
	lines := []string{widget.Title(c.Theme, c.Width, title...)}
	put := func(label, text string) {
		if text != "" {
			lines = append(lines, wrapWide(c, label, text)...)
		}
	}
	put("what    ", x.Title+x.Quality)
	put("value   ", measured(x))
	for i, fact := range x.Evidence {
		put(map[bool]string{true: "facts   ", false: "        "}[i == 0], fact)
	}
	put("by      ", people(f, x.Culprits))
	put("hits    ", people(Frame{}, x.Victims))
	put("verify  ", x.Command)
	return lines
}

// tables implements hasTables.
func (p *Findings) tables() []namedTable {
	return []namedTable{{"findings", &p.list, columnsOf(NewFindings().Table)}}
}

// classics are the commands that show what was found, that of the selected finding first; without any
// those that look at everything.
func (p *Findings) classics(f Frame) []Classic {
	all := episodes(f)
	var out []Classic
	seen := make(map[string]bool)
	add := func(x triage.Finding) {
		if x.Command != "" && !seen[x.Command] {
			seen[x.Command] = true
			out = append(out, Classic{Command: x.Command, From: "for " + x.ID})
		}
	}
	if e := p.at(p.table(f, all), all); e != nil {
		add(e.shown())
	}
	for i := range all {
		add(all[i].shown())
	}
	if len(out) == 0 {
		return NewOverview().classics(f)
	}
	return out
}
