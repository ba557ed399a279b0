// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bpf60/keymap"
)

func table() Table {
	t := Table{Columns: []Column{
		{ID: "id", Title: "ID", Width: 4},
		{ID: "a", Title: "aaa", Width: 6, Decimals: 1, Rank: 2},
		{ID: "b", Title: "bbb", Width: 6, Rank: 5},
		{ID: "secret", Title: "secret", Width: 9, Hidden: true},
		{ID: "name", Title: "NAME", Width: 8, Left: true},
	}}
	for i, x := range []struct {
		a    Cell
		name string
	}{{Number(3), "three"}, {Missing("it is not known"), "none"}, {Number(10), "ten"}, {Number(3), "also three"}, {Number(1), "one"}} {
		t.Rows = append(t.Rows, Row{ID: x.name, Cells: []Cell{Number(float64(i)), x.a, Number(float64(100 - i)), Number(7), Say(x.name)}})
	}
	return t
}

func names(t Table) (out []string) {
	for _, r := range t.Rows {
		out = append(out, r.ID)
	}
	return out
}

func TestListOrder(t *testing.T) {
	tests := map[string]struct {
		list list
		want []string
	}{
		"the table's own":      {newList(""), []string{"three", "none", "ten", "also three", "one"}},
		"largest first":        {newList("a"), []string{"ten", "three", "also three", "one", "none"}},
		"smallest first":       {list{sort: "a", up: true}, []string{"one", "three", "also three", "ten", "none"}},
		"by name":              {newList("name"), []string{"also three", "none", "one", "ten", "three"}},
		"a column that is not": {newList("gone"), []string{"three", "none", "ten", "also three", "one"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := table()
			tt.list.order(&got)
			if d := cmp.Diff(tt.want, names(got)); d != "" {
				t.Errorf("order (-want +got):\n%s", d)
			}
		})
	}
}

func TestListKeys(t *testing.T) {
	tests := map[string]struct {
		keys             []string
		row, sort, under string
		up               bool
	}{
		"nothing":                        {nil, "ten", "a", "", false},
		"down":                           {[]string{keymap.Down}, "three", "a", "", false},
		"bottom and up":                  {[]string{keymap.Bottom, keymap.Up}, "one", "a", "", false},
		"reverse":                        {[]string{keyReverse}, "one", "a", "", true},
		"the cursor's column":            {[]string{keymap.Later, keySort}, "three", "b", "b", false},
		"the cursor's column, twice":     {[]string{keymap.Later, keySort, keySort}, "one", "b", "b", true},
		"sort right":                     {[]string{keySortRight}, "three", "b", "b", false},
		"sort left, and no further":      {[]string{keySortLeft, keySortLeft}, "one", "id", "id", false},
		"hidden columns are not reached": {[]string{keymap.Later, keymap.Later}, "ten", "a", "name", false},
		"the row stays under the cursor": {[]string{keymap.Down, keyReverse}, "three", "a", "", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newList("a")
			for _, k := range tt.keys {
				tab := table()
				l.order(&tab)
				if !l.press(k, tab) {
					t.Fatalf("%s is not the list's", k)
				}
			}
			tab := table()
			l.order(&tab)
			r, _ := l.row(tab)
			if r.ID != tt.row || l.sort != tt.sort || l.column != tt.under || l.up != tt.up {
				t.Errorf("after %q row %s, sort %s up %t, column %q; want %s, %s %t, %q", tt.keys, r.ID, l.sort, l.up, l.column, tt.row, tt.sort, tt.up, tt.under)
			}
		})
	}
	l := newList("a")
	if l.press("cpu.draw", table()) {
		t.Error("a key of the pane was taken by its list")
	}
}

// The cursor stays with whatever is first until it is moved, and goes back to that at the top.
func TestListFollowsTheFirst(t *testing.T) {
	l := newList("a")
	tab := table()
	l.order(&tab)
	l.press(keymap.Down, tab)
	l.press(keymap.Top, tab)
	tab.Rows = tab.Rows[1:]
	if r, _ := l.row(tab); r.ID != "three" {
		t.Errorf("the cursor is on %s, want the row that is first now", r.ID)
	}
	l.choose("one")
	tab.Rows = tab.Rows[:1]
	if r, _ := l.row(tab); r.ID != "three" {
		t.Errorf("the selected row has gone and the cursor is on %s, want the first", r.ID)
	}
	if _, ok := l.row(Table{}); ok {
		t.Error("an empty table has a row")
	}
}

func TestListDraw(t *testing.T) {
	spark := listOptions{Spark: func(string) []float64 { return []float64{1, 2, 3} }, SparkTitle: "history"}
	tests := map[string]struct {
		list   list
		width  int
		height int
		o      listOptions
		want   string
	}{
		"all fit": {newList("a"), 40, 3, listOptions{}, `
   ID   ↓aaa    bbb NAME
>   2   10.0     98 ten
    0    3.0    100 three`},
		"narrow": {newList("a"), 24, 3, listOptions{}, `
   ID   ↓aaa NAME
>   2   10.0 ten
    0    3.0 three`},
		"narrow, with the cursor on what would leave": {list{sort: "a", column: "b"}, 24, 3, listOptions{}, `
   ID   ·bbb NAME
>   2     98 ten
    0    100 three`},
		"very narrow": {newList("name"), 12, 2, listOptions{}, `
↓NAME
>also three`},
		"history": {newList(""), 50, 2, spark, `
   ID    aaa    bbb history    NAME
>   0    3.0    100        ▃▅▇ three`},
		"around the cursor": {list{selected: "one"}, 40, 3, listOptions{}, `
   ID    aaa    bbb NAME
    3    3.0     97 also three
>   4    1.0     96 one`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tab := table()
			tt.list.order(&tab)
			got := tt.list.draw(Canvas{Width: tt.width, Theme: plain()}, tab, tt.height, tt.o)
			if d := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), strings.Join(got, "\n")); d != "" {
				t.Errorf("draw (-want +got):\n%s", d)
			}
		})
	}
}

func TestListDrawFits(t *testing.T) {
	for width := range 60 {
		for height := range 8 {
			t.Run(fmt.Sprintf("%dx%d", width, height), func(t *testing.T) {
				l := list{sort: "b", column: "name", selected: "one"}
				o := listOptions{Spark: func(string) []float64 { return make([]float64, 100) }}
				fits(t, strings.Join(l.draw(Canvas{Width: width, Theme: plain()}, table(), height, o), "\n"), width, max(height, 1))
			})
		}
	}
}

func TestListWhy(t *testing.T) {
	l := list{selected: "none"}
	if got, want := l.why(table()), "aaa -: it is not known"; got != want {
		t.Errorf("why() = %q, want %q", got, want)
	}
	l.choose("ten")
	if got := l.why(table()); got != "" {
		t.Errorf("why() = %q of a row that lacks nothing", got)
	}
}
