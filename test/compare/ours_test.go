// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// report is what the comparison reads of a JSON report.
type report struct {
	Seconds float64 `json:"duration_seconds"`
	Panes   map[string]pane
}

type pane struct {
	Columns []struct{ ID, Unit string }
	Rows    [][]any
	Facts   []struct {
		ID, Unit string
		Value    any
	}
	Missing map[string]string
	Tables  map[string]pane
}

// found says whether the program has a number.
type found int

const (
	noPane   found = iota // the report has no such pane
	noColumn              // the pane has no such column
	noRow                 // its table has no such row
	noNumber              // it is there and says that it is missing
	here
)

func readReport(text []byte) (report, error) {
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("reading the report: %w", err)
	}
	return r, nil
}

// value looks for a number of ours in a pane's facts or, with a row, in its tables; names are tried
// in turn; of two with a + between them it is the sum. The key is the column that names a row.
func (r report) value(id, key, row string, names []string) (v float64, unit string, f found) {
	p, ok := r.Panes[id]
	if !ok {
		return 0, "", noPane
	}
	best := noColumn
	for _, name := range names {
		if a, b, sum := strings.Cut(name, "+"); sum {
			v, unit, f := r.value(id, key, row, []string{a})
			w, _, g := r.value(id, key, row, []string{b})
			if f == here && g == here {
				return v + w, unit, here
			}
			best = max(best, min(f, g))
			continue
		}
		for _, x := range p.Facts {
			if row != "" || x.ID != name {
				continue
			}
			if v, ok := x.Value.(float64); ok {
				return v, x.Unit, here
			}
			best = max(best, noNumber)
		}
		if v, unit, f := p.cell(key, row, name); f == here {
			return v, unit, f
		} else {
			best = max(best, f)
		}
		for _, t := range p.Tables {
			v, unit, f := t.cell(key, row, name)
			if f == here {
				return v, unit, f
			}
			best = max(best, f)
		}
	}
	return 0, "", best
}

func (p pane) cell(key, row, name string) (float64, string, found) {
	at, by := p.column(name), p.column(key)
	if at < 0 || by < 0 && (key != "" || len(p.Rows) > 1) { // a table of one line needs no key
		return 0, "", noColumn
	}
	for _, cells := range p.Rows {
		if by >= 0 && (cells[by] == nil || fmt.Sprint(cells[by]) != row) {
			continue
		}
		if v, ok := cells[at].(float64); ok {
			return v, p.Columns[at].Unit, here
		}
		return 0, "", noNumber
	}
	return 0, "", noRow
}

// column is where a column stands, -1 if there is none.
func (p pane) column(id string) int {
	return slices.IndexFunc(p.Columns, func(c struct{ ID, Unit string }) bool { return c.ID == id })
}
