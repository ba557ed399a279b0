// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// section is one table of a page about a process or a cgroup. Facts stand in its title, notes in the
// place of rows.
type section struct {
	id, title string
	wants     []collectors.ID // narrowed to the target while the page is open
	table     func(f Frame, t collectors.Target) Table
	open      func(f Frame, t collectors.Target, r Row) Answer // Enter; nil: see why
	why       string                                           // why rows have no page
	opens     string                                           // what Enter opens, in a word
	none      string                                           // what an empty table says
	look      func(Table) Table                                // how it is drawn; the report keeps the numbers
	spark     func(f Frame, row string) []float64              // the history of a row; nil: none is kept

	above func(f Frame, c Canvas, t collectors.Target, height int) []string // what is drawn over the rows; nil: nothing
}

// sections are the tables of a page: on a low screen one at a time, on a large one all.
type sections struct {
	target collectors.Target
	all    []section
	lists  []list
	at     int // the one with the cursor
}

func newSections(t collectors.Target, all []section) sections {
	return sections{target: t, all: all, lists: make([]list, len(all))}
}

// IDs of the keys of every page with sections.
const (
	keySectionNext = "page.next"
	keySectionBack = "page.back"
)

// PageKeys are the keys of pages that have several tables.
func PageKeys() []keymap.Key {
	return []keymap.Key{
		keymap.New(keySectionNext, "t", "next table", "t").In("the next table of the page"),
		keymap.New(keySectionBack, "T", "table before", "T").In("the table before"),
		keymap.New(keyPagePart, "i", "one alone", "i").In("draw one distribution of the page alone, the next one, all side by side"),
		keymap.New(keyDiskNext, "n", "next one", "n").In("the page of the next CPU, or the next disk that has done something"),
		keymap.New(keyDiskPrev, "N", "previous one", "N").In("the page of the CPU or disk before"),
	}
}

// wants are what the sections need, narrowed to the target.
func (s *sections) wants() []collectors.Want {
	var out []collectors.Want
	seen := make(map[collectors.ID]bool)
	for _, x := range s.all {
		for _, id := range x.wants {
			if !seen[id] {
				seen[id] = true
				out = append(out, collectors.Want{ID: id, Target: s.target})
			}
		}
	}
	return out
}

func (s *sections) beside(step int) int { return (s.at + step + len(s.all)) % len(s.all) }

// keys are those of the sections and of the table with the cursor.
func (s *sections) keys() []keymap.Key {
	x := &s.all[s.at]
	open := keymap.New(keymap.Open, "Enter", "open", "enter")
	if x.open == nil {
		open = open.Off(x.why)
	} else {
		open = keymap.New(keymap.Open, "Enter", x.opens, "enter").In("open the page of what the row is about")
	}
	return append([]keymap.Key{
		keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"),
		open,
		pageKey(keySectionNext, s.all[s.beside(1)].title), pageKey(keySectionBack, "back"),
	}, s.lists[s.at].keys()...)
}

// keysWith are those of a page that has keys beside them: they stand behind those that change the table.
func (s *sections) keysWith(own []keymap.Key) []keymap.Key {
	keys := s.keys()
	return slices.Insert(keys, 3, own...)
}

// selected is the row that the cursor of a section is on; empty if there is none.
func (s *sections) selected(f Frame, id string) string {
	at := slices.IndexFunc(s.all, func(x section) bool { return x.id == id })
	if at < 0 {
		return ""
	}
	r, _ := s.lists[at].row(s.table(f, at))
	return r.ID
}

// pageKey is a key of pages with the words for the footer.
func pageKey(id, words string) keymap.Key {
	keys := PageKeys()
	k := keys[slices.IndexFunc(keys, func(k keymap.Key) bool { return k.ID == id })]
	k.SetHelp(k.Help().Key, words)
	return k
}

// choose takes a section, or a section and a row: "calls/openat".
func (s *sections) choose(text string) {
	id, row, _ := strings.Cut(text, "/")
	for i := range s.all {
		if s.all[i].id == id {
			s.at = i
			s.lists[i].choose(row)
		}
	}
}

// press does what a key says.
func (s *sections) press(msg Press) Answer {
	switch msg.ID {
	case keySectionNext:
		s.at = s.beside(1)
	case keySectionBack:
		s.at = s.beside(-1)
	case keymap.Open:
		x := &s.all[s.at]
		r, ok := s.lists[s.at].row(s.table(msg.Frame, s.at))
		switch {
		case !ok:
			return SayMsg{"there is no row to open"}
		case x.open != nil:
			return x.open(msg.Frame, s.target, r)
		}
	default:
		s.lists[s.at].press(msg.ID, s.table(msg.Frame, s.at))
	}
	return nil
}

// table is one of the tables, in the order of its cursor.
func (s *sections) table(f Frame, i int) Table {
	t := s.all[i].table(f, s.target)
	t.Title = s.all[i].title
	s.lists[i].arrange(f, &t)
	return t
}

// describe says why a cell of the selected row is missing.
func (s *sections) describe(f Frame) string { return s.lists[s.at].why(s.table(f, s.at)) }

// into puts the tables into a page's: that with the cursor first, as it is what the screen shows.
func (s *sections) into(f Frame, t *Table) {
	for i := range s.all {
		x := s.table(f, i)
		if i == s.at {
			t.Columns, t.Rows, t.Notes = x.Columns, x.Rows, append(t.Notes, x.Notes...)
			t.Facts, t.Histograms = append(t.Facts, x.Facts...), append(t.Histograms, x.Histograms...)
			continue
		}
		t.More = append(t.More, x)
	}
}

// tabs names the sections; the one with the cursor stands out.
func (s *sections) tabs(c Canvas) string {
	titles := make([]string, len(s.all))
	for i := range s.all {
		titles[i] = s.all[i].title
	}
	return tabLine(c, titles, s.at)
}

// draw shows the sections in at most height lines.
func (s *sections) draw(f Frame, c Canvas, height int) []string {
	switch {
	case height < 2:
		return nil
	case c.Width >= wideWidth && height >= leastGrid:
		return s.grid(f, c, height)
	}
	return append([]string{s.tabs(c)}, s.one(f, c, s.table(f, s.at), s.at, height-1)...)
}

// leastGrid is the fewest lines in which all sections are shown at once.
const leastGrid = 20

// leastAbove is the fewest lines of which a section gives some to what it draws over its rows.
const leastAbove = 8

// one draws a section: its facts, its rows, what is missing.
func (s *sections) one(f Frame, c Canvas, t Table, i, height int) []string {
	l := &s.lists[i]
	return sectionLines(c, t, s.all[i].none, height, func(room int) []string {
		var over []string
		if above := s.all[i].above; above != nil && room >= leastAbove {
			over = above(f, c, s.target, room/2)
			room -= len(over)
		}
		options := listOptions{Bare: i != s.at}
		if spark := s.all[i].spark; spark != nil {
			options.SparkTitle, options.Spark = "history", func(row string) []float64 { return spark(f, row) }
		}
		if look := s.all[i].look; look != nil && c.against == nil { // numbers are compared, not texts
			t = look(t)
		}
		return append(over, l.draw(c, t, room, options)...)
	})
}

// sectionLines are a table with its facts in the title.
func sectionLines(c Canvas, t Table, none string, height int, rows func(room int) []string) []string {
	parts := []string{t.Title}
	for _, x := range t.Facts {
		if x.Cell.Known() && x.Title != "" {
			parts = append(parts, strings.TrimPrefix(headText(x), t.Title+" ")) // it is said already
		}
	}
	lines := []string{widget.Title(c.Theme, c.Width, parts...)}
	if len(t.Rows) == 0 {
		lines = append(lines, nothing(c, t, none)...)
		return lines[:min(len(lines), max(height, 0))]
	}
	notes := noteLines(c, t.Notes, min(2, height/6))
	lines = append(lines, rows(height-1-len(notes))...)
	return append(lines, notes...)[:min(len(lines)+len(notes), max(height, 0))]
}

// grid shows all sections in two columns, each with room as it has rows.
func (s *sections) grid(f Frame, c Canvas, height int) []string {
	const gap = 2
	left, right := c, c
	left.Width = (c.Width - gap) / 2
	right.Width = c.Width - left.Width - gap
	need, tables := make([]int, len(s.all)), make([]Table, len(s.all))
	whole := 0
	for i := range s.all {
		t := s.table(f, i)
		tables[i], need[i] = t, 2
		if n := len(t.Rows); n > 0 {
			need[i] = n + 2 + min(len(t.Notes), 1)
		}
		whole += min(need[i], mostInGrid)
	}
	split, sum := 0, 0
	for ; split < len(s.all)-1 && sum < whole/2; split++ {
		sum += min(need[split], mostInGrid)
	}
	column := func(c Canvas, from, to int) []string {
		var out []string
		for k, room := range share3(need[from:to], height) {
			lines := s.one(f, c, tables[from+k], from+k, room)
			out = append(out, pad(lines, min(room, need[from+k]))...)
		}
		return pad(out, height)[:height]
	}
	return widget.Join(column(left, 0, split), left.Width, column(right, split, len(s.all)), gap)
}

// mostInGrid bounds what one section counts when they are divided into columns.
const mostInGrid = 12

// share3 divides lines among those that need them: three to each, the rest one by one.
func share3(need []int, height int) []int {
	out := make([]int, len(need))
	for i, n := range need {
		out[i] = min(n, 3, height)
		height -= out[i]
	}
	for more := true; more && height > 0; {
		more = false
		for i, n := range need {
			if out[i] < n && out[i] > 0 && height > 0 {
				out[i]++
				height--
				more = true
			}
		}
	}
	return out
}
