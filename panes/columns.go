// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"strings"

	"bpf60/panes/widget"
)

// Columns is what the user wants of one table.
type Columns struct {
	Show    []string // column IDs in the order they are drawn; nil: as they are by default
	Sort    string   // column ID; empty: as it is by default
	Reverse bool     // sort from small to large, from Z to A
}

// Tables names the tables whose columns can be chosen in the configuration.
func Tables() []string {
	var out []string
	for _, t := range allTables(All()) {
		out = append(out, t.name)
	}
	return out
}

// ColumnsOf are the IDs of the columns of a table, nil if there is no such table.
func ColumnsOf(table string) []string {
	for _, t := range allTables(All()) {
		if t.name != table {
			continue
		}
		var out []string
		for _, c := range t.columns() {
			out = append(out, c.ID)
		}
		return out
	}
	return nil
}

func allTables(panes []Pane) []namedTable {
	var out []namedTable
	for _, p := range panes {
		if h, ok := p.(hasTables); ok {
			out = append(out, h.tables()...)
		}
	}
	return out
}

// FindColumn is the column that a user means: its ID, whatever its case and without its signs, if
// no other is meant as well.
func FindColumn(ids []string, name string) (id string, ok bool) {
	for _, same := range []func(id string) bool{
		func(id string) bool { return id == name },
		func(id string) bool { return strings.EqualFold(id, name) },
		func(id string) bool { return bare(id) == bare(name) && bare(name) != "" },
	} {
		switch i := slices.IndexFunc(ids, same); {
		case i < 0:
		case slices.IndexFunc(ids[i+1:], same) >= 0:
			return "", false
		default:
			return ids[i], true
		}
	}
	return "", false
}

// bare is an ID without case, signs and "a second": %CPU is cpu, kB_rd/s is kbrd.
func bare(id string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, strings.TrimSuffix(strings.ToLower(id), "/s"))
}

// CheckColumns returns the columns with the IDs that are meant. The error names what would be valid.
func CheckColumns(table string, c Columns) (Columns, error) {
	ids := ColumnsOf(table)
	if ids == nil {
		return c, fmt.Errorf("there is no table %q: use %s", table, strings.Join(Tables(), ", "))
	}
	find := func(name string) (string, error) {
		id, ok := FindColumn(ids, name)
		if !ok {
			return "", fmt.Errorf("%s has no column %q: use %s", table, name, strings.Join(ids, ", "))
		}
		return id, nil
	}
	out := Columns{Reverse: c.Reverse}
	for _, name := range c.Show {
		id, err := find(name)
		if err != nil {
			return c, err
		}
		if !slices.Contains(out.Show, id) {
			out.Show = append(out.Show, id)
		}
	}
	if c.Sort == "" {
		return out, nil
	}
	id, err := find(c.Sort)
	out.Sort = id
	return out, err
}

// choose gives the tables of the panes the columns that the configuration has for them.
func choose(panes []Pane, by map[string]Columns) {
	for _, t := range allTables(panes) {
		c, ok := by[t.name]
		if !ok {
			continue
		}
		t.list.show = c.Show
		if c.Sort != "" {
			t.list.sort = c.Sort
		}
		t.list.up = c.Reverse
	}
}

// restart empties the list but for the columns that were chosen.
func (l *list) restart(sort string) { *l = list{sort: sort, show: l.show, tail: l.tail} }

// arranged are the columns that the screen has, in their order, whether they fit or not: those that
// were chosen, else those of the table that are not for reports alone.
func (l *list) arranged(t Table) []drawn {
	var out []drawn
	for _, id := range l.show {
		if i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.ID == id }); i >= 0 {
			c := t.Columns[i]
			c.Rank = 0 // who chose them does not want others to give way: the last ones do
			out = append(out, drawn{Column: c, index: i})
		}
	}
	if len(out) > 0 {
		return out
	}
	for i, c := range t.Columns {
		if !c.Hidden {
			out = append(out, drawn{Column: c, index: i})
		}
	}
	return out
}

// longest is how wide the widest cell of a column is.
func longest(t Table, column int) (n int) {
	for _, r := range t.Rows {
		if column < len(r.Cells) {
			n = max(n, widget.Width(r.Cells[column].Format(0)))
		}
	}
	return n
}
