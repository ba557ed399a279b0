// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"slices"
	"strings"

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

// Wants implements Pane: who takes objects of this cache, and of no other.
func (p *slabPage) Wants(Scope) []collectors.Want {
	return []collectors.Want{{ID: collectors.SlabID}, {ID: collectors.KmemID, Target: collectors.Target{Kind: collectors.NamedTarget, Name: p.name}}}
}

// Keys implements Pane.
func (p *slabPage) Keys() []keymap.Key {
	return append([]keymap.Key{
		keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"),
		keymap.New(keymap.Open, "Enter", "process", "enter").In("open the page of the process that allocates"),
	}, p.list.keys()...)
}

// Update implements Pane.
func (p *slabPage) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.list.choose(msg.Row)
	case Press:
		t := p.Table(msg.Frame)
		if r, ok := p.list.row(t); ok && msg.ID == keymap.Open {
			return openWho(msg.Frame, r)
		}
		p.list.press(msg.ID, t)
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

// Table implements Pane: who allocates, and more from where, and the readings.
func (p *slabPage) Table(f Frame) Table {
	read, first := p.readings(f)
	t := allocTable(f, p.name)
	t.Title = "slab " + p.name
	p.list.arrange(f, &t)
	if first != nil {
		t.Facts = []Fact{
			{ID: "OBJ SIZE", Title: "size of an object", Unit: "bytes", Cell: Number(float64(first.ObjSize))},
			{ID: "OBJ/SLAB", Title: "objects a slab", Cell: Number(float64(first.PerSlab))},
			{ID: "pages", Title: "pages a slab", Cell: Number(float64(first.Pages))},
		}
		t.Facts = append(t.Facts, p.allocFacts(f)...)
	}
	t.More = []Table{siteTable(f, p.name), read}
	return t
}

// readings has a row a reading, the newest first, and the newest one.
func (p *slabPage) readings(f Frame) (t Table, first *collectors.SlabCache) {
	t = Table{Title: "readings", Columns: []Column{
		{ID: "ago", Title: "ago", Unit: "s", Width: 5},
		{ID: "OBJS", Title: "OBJS", Width: 10},
		{ID: "ACTIVE", Title: "ACTIVE", Width: 10},
		{ID: "active/s", Title: "active/s", Unit: "/s", Width: 10, Decimals: 1},
		{ID: "SLABS", Title: "SLABS", Width: 8, Rank: 1},
		{ID: colCacheSize, Title: colCacheSize, Unit: "KiB", Width: 11},
		{ID: colGrowth, Title: colGrowth, Unit: "KiB/s", Width: 10, Decimals: 1},
	}}
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
	}
	return t, first
}

// allocFacts are the rates of the cache.
func (p *slabPage) allocFacts(f Frame) []Fact {
	k := cacheOver(f, p.name)
	allocs, frees, _ := slabRates(f, k, collectors.RawString(p.name))
	return []Fact{
		{ID: "allocs/s", Title: "objects taken from it", Unit: "/s", Decimals: 1, Cell: allocs},
		{ID: "frees/s", Title: "objects given back to it", Unit: "/s", Decimals: 1, Cell: frees},
	}
}

// View implements Pane: size and objects over time, who allocates and from where, then the readings.
func (p *slabPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	t := p.Table(f)
	title := []string{t.Title}
	for _, x := range t.Facts {
		if x.Unit != "/s" {
			title = append(title, fmt.Sprintf("%s %s", x.ID, x.Cell.Format(0)))
		}
	}
	lines := []string{widget.Title(c.Theme, c.Width, title...)}
	read := t.More[1]
	for _, n := range read.Notes {
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Plain(n).String())
	}
	if len(read.Rows) == 0 && len(t.Rows) == 0 {
		return fit(lines, c.Height)
	}
	if height := c.Height / 4; height >= 4 {
		lines = append(lines, p.graphs(f, c, height)...)
	}
	if height := c.Height / 3; height >= 4 {
		lines = append(lines, p.allocations(c, t, height)...)
	}
	lines = append(lines, onlooker(c, read, c.Height-len(lines))...)
	return fit(lines, c.Height)
}

// allocations shows who allocates at the left and from where at the right.
func (p *slabPage) allocations(c Canvas, t Table, height int) []string {
	const gap = 2
	left, right := c, c
	left.Width = max(min(c.Width*2/5, 60), min(36, c.Width/2))
	right.Width = c.Width - left.Width - gap
	part := func(c Canvas, title string, t Table, draw func() []string) []string {
		lines := []string{widget.Title(c.Theme, c.Width, title)}
		if len(t.Rows) == 0 {
			lines = append(lines, nothing(c, t, "")...)
			return lines[:min(len(lines), height)]
		}
		return append(lines, draw()...)
	}
	var rates []string
	for _, x := range t.Facts {
		if x.Unit == "/s" && x.Cell.Known() {
			rates = append(rates, headText(x))
		}
	}
	sites := t.More[0]
	who := part(left, strings.Join(append([]string{"who allocates"}, rates...), " "), t, func() []string {
		return p.list.draw(left, t, height-1, listOptions{})
	})
	from := part(right, sites.Title, sites, func() []string { return onlooker(right, sites, height-1) })
	return pad(widget.Join(who, left.Width, from, gap), height)
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
