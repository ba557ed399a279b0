// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"slices"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// slabPage is everything about one slab cache: how many objects it holds and held.
type slabPage struct {
	name string // cleaned: what the row was called
	list list
}

func newSlabPage(name string) *slabPage {
	return &slabPage{name: name, list: newList("")}
}

// Info implements Pane.
func (p *slabPage) Info() Info {
	return Info{ID: "slab", Title: "slab " + widget.Clip(p.name, 40), Short: "slab", Help: "memory"}
}

// Wants implements Pane.
func (p *slabPage) Wants(Scope) []collectors.Want { return []collectors.Want{{ID: collectors.SlabID}} }

// Keys implements Pane.
func (p *slabPage) Keys() []keymap.Key {
	return append([]keymap.Key{
		keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"),
		keymap.New(keymap.Open, "Enter", "open", "enter").Off("there is nothing below one reading of a cache"),
	}, p.list.keys()...)
}

// Update implements Pane.
func (p *slabPage) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case Select:
		p.list.choose(msg.Row)
	case Press:
		p.list.press(msg.ID, p.Table(msg.Frame))
	}
	return nil
}

// find is the cache in a sample, nil where it is not.
func (p *slabPage) find(s *collectors.Slab) *collectors.SlabCache {
	i := slices.IndexFunc(s.Caches, func(c collectors.SlabCache) bool { return clean(c.Name) == p.name })
	if i < 0 {
		return nil
	}
	return &s.Caches[i]
}

// Table implements Pane: a row a reading, the newest first.
func (p *slabPage) Table(f Frame) Table {
	t := Table{Title: "slab " + p.name, Columns: []Column{
		{ID: "ago", Title: "ago", Unit: "s", Width: 5},
		{ID: "OBJS", Title: "OBJS", Width: 10},
		{ID: "ACTIVE", Title: "ACTIVE", Width: 10},
		{ID: "active/s", Title: "active/s", Unit: "/s", Width: 10, Decimals: 1},
		{ID: "SLABS", Title: "SLABS", Width: 8, Rank: 1},
		{ID: colCacheSize, Title: colCacheSize, Unit: "KiB", Width: 11},
		{ID: colGrowth, Title: colGrowth, Unit: "KiB/s", Width: 10, Decimals: 1},
	}}
	var first *collectors.SlabCache
	for _, m := range slices.Backward(f.Past) {
		if m.Snapshot == nil || m.Slab == nil {
			continue
		}
		s := m.Slab
		c := p.find(s)
		if c == nil {
			continue
		}
		if first == nil {
			first = c
		}
		active := Missing("the first reading of the caches")
		if s.Seconds() > 0 {
			active = Number(float64(c.GrownActive) / s.Seconds())
		}
		t.Rows = append(t.Rows, Row{ID: fmt.Sprint(m.Seq), Cells: []Cell{
			Number(math.Round((f.Now.At - m.At).Seconds())), Number(float64(c.Objects)), Number(float64(c.Active)), active,
			Number(float64(c.Slabs)), Number(float64(c.Bytes) / 1024), slabGrowth(c.Grown, s.Span),
		}})
	}
	if first == nil {
		if why, remedy := whyNot(f, collectors.SlabID, "slabtop"); slabOver(f) == nil {
			t.Notes = append(t.Notes, note("slabtop", why, remedy))
		} else {
			t.Notes = append(t.Notes, p.name+" holds no object in any reading that is kept")
		}
		return t
	}
	t.Facts = []Fact{
		{ID: "OBJ SIZE", Title: "size of an object", Unit: "bytes", Cell: Number(float64(first.ObjSize))},
		{ID: "OBJ/SLAB", Title: "objects a slab", Cell: Number(float64(first.PerSlab))},
		{ID: "pages", Title: "pages a slab", Cell: Number(float64(first.Pages))},
	}
	p.list.order(&t)
	return t
}

// View implements Pane: size and objects over time, then the readings.
func (p *slabPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	t := p.Table(f)
	title := []string{t.Title}
	for _, x := range t.Facts {
		title = append(title, fmt.Sprintf("%s %s", x.ID, x.Cell.Format(0)))
	}
	lines := []string{widget.Title(c.Theme, c.Width, title...)}
	for _, n := range t.Notes {
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Plain(n).String())
	}
	if len(t.Rows) == 0 {
		return fit(lines, c.Height)
	}
	if height := c.Height / 3; height >= 4 {
		lines = append(lines, p.graphs(f, c, height)...)
	}
	lines = append(lines, p.list.draw(c, t, c.Height-len(lines), listOptions{})...)
	return fit(lines, c.Height)
}

// graphs draws the size and the objects in use, a column a reading.
func (p *slabPage) graphs(f Frame, c Canvas, height int) []string {
	const gap = 2
	half := (c.Width - gap) / 2
	of := func(value func(*collectors.SlabCache) float64) []float64 {
		return series(f, half, slabOf, func(s *collectors.Slab) float64 {
			if one := p.find(s); one != nil {
				return value(one)
			}
			return math.NaN()
		})
	}
	graph := func(title, top string, values []float64) []string {
		lines := []string{widget.Title(c.Theme, half, title, top+" at most", "a column a reading")}
		return append(lines, widget.Area(c.Theme, values, most(values), half, height-1)...)
	}
	size := of(func(one *collectors.SlabCache) float64 { return float64(one.Bytes) })
	active := of(func(one *collectors.SlabCache) float64 { return float64(one.Active) })
	return widget.Join(graph("size", widget.Bytes(uint64(most(size))), size), half,
		graph("active", widget.Count(uint64(most(active))), active), gap)
}
