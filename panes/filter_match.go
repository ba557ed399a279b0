// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// expr is a part of a filter. It learns which columns a table has before it tests the rows.
type expr interface {
	bind(b *binding) (test, error)
}

// test says whether a row stays. It looks at the cells that its binding needs, and no others.
type test func(cells []Cell) bool

// binding is a filter meeting a table: what columns it has, and which of them the filter reads.
type binding struct {
	columns []Column
	needs   []bool
}

// bind makes the test for tables with these columns. A nil filter has none. An error is a *fault: it
// names a column that the table lacks, or compares it with what it cannot hold.
func (f *Filter) bind(columns []Column) (test, *binding, error) {
	b := &binding{columns: columns, needs: make([]bool, len(columns))}
	if f == nil {
		return nil, b, nil
	}
	t, err := f.root.bind(b)
	return t, b, err
}

// String is the filter as it was typed.
func (f *Filter) String() string {
	if f == nil {
		return ""
	}
	return f.text
}

type (
	either  struct{ a, b expr }
	both    struct{ a, b expr }
	negated struct{ x expr }
)

func (e either) bind(b *binding) (test, error) {
	x, y, err := bindTwo(b, e.a, e.b)
	return func(cells []Cell) bool { return x(cells) || y(cells) }, err
}

func (e both) bind(b *binding) (test, error) {
	x, y, err := bindTwo(b, e.a, e.b)
	return func(cells []Cell) bool { return x(cells) && y(cells) }, err
}

func bindTwo(b *binding, p, q expr) (x, y test, err error) {
	if x, err = p.bind(b); err != nil {
		return nil, nil, err
	}
	y, err = q.bind(b)
	return x, y, err
}

func (e negated) bind(b *binding) (test, error) {
	x, err := e.x.bind(b)
	return func(cells []Cell) bool { return !x(cells) }, err
}

// containing looks for a text in every cell.
type containing struct {
	text  string
	exact bool // case counts
}

func newText(text string) containing {
	c := containing{text: text, exact: capital(text)}
	if !c.exact {
		c.text = strings.ToLower(text)
	}
	return c
}

func (e containing) in(s string) bool {
	if !e.exact {
		s = strings.ToLower(s)
	}
	return strings.Contains(s, e.text)
}

// same says whether a text is the wanted one, or begins with it as its first word: the command of a
// command line.
func (e containing) same(s string) bool {
	if !e.exact {
		s = strings.ToLower(s)
	}
	first, _, _ := strings.Cut(s, " ")
	return s == e.text || first == e.text
}

func (e containing) bind(b *binding) (test, error) {
	// Few texts can be part of a number, and writing numbers is what costs.
	numbers := strings.ContainsAny(e.text, "0123456789")
	for i := range b.needs {
		b.needs[i] = b.needs[i] || numbers || b.columns[i].Left
	}
	columns := b.columns
	return func(cells []Cell) bool {
		for i, c := range cells {
			switch c.kind {
			case text:
				if e.in(c.text.String()) {
					return true
				}
			case number:
				if numbers && i < len(columns) && e.in(c.fit(columns[i])) {
					return true
				}
			case missing:
			}
		}
		return false
	}, nil
}

// matching looks for a pattern in every cell.
type matching struct{ re *regexp.Regexp }

func (e matching) bind(b *binding) (test, error) {
	for i := range b.needs {
		b.needs[i] = true
	}
	columns := b.columns
	return func(cells []Cell) bool {
		for i, c := range cells {
			if c.Known() && i < len(columns) && e.re.MatchString(c.fit(columns[i])) {
				return true
			}
		}
		return false
	}, nil
}

// versus is a column against a value.
type versus struct {
	column token
	op     string
	value  token
	text   containing     // of = and !=
	re     *regexp.Regexp // of ~ and !~
}

// dash is how a missing number is written, on the screen and in a filter.
const dash = "-"

func (e versus) bind(b *binding) (test, error) {
	var tests []test
	for _, i := range findColumns(b.columns, e.column.text) {
		b.needs[i] = true
		t, err := e.against(b.columns[i], i)
		if err != nil {
			return nil, err
		}
		tests = append(tests, t)
	}
	switch len(tests) {
	case 0:
		return nil, &fault{e.column.at, "no column " + e.column.text + ` here; Tab completes names, "…" looks for text`}
	case 1:
		return tests[0], nil
	}
	return func(cells []Cell) bool {
		return slices.ContainsFunc(tests, func(t test) bool { return t(cells) })
	}, nil
}

// against makes the test of column i. A cell that is missing is neither more, less, equal nor unequal:
// it equals - alone.
func (e versus) against(col Column, i int) (test, error) {
	if e.re != nil {
		want := e.op == "~"
		return present(i, func(c Cell) bool { return e.re.MatchString(c.fit(col)) == want }), nil
	}
	equal, unequal := e.op == "=", e.op == "!="
	if e.value.kind == wordToken && e.value.text == dash && (equal || unequal) {
		return func(cells []Cell) bool { return (i < len(cells) && cells[i].Known()) == unequal }, nil
	}
	v, err := numberIn(col, e.value.text)
	if err != nil && col.Unit == "" && !equal && !unequal { // it may hold buckets, which carry their unit
		if s, ok := secondsOf(e.value.text); ok {
			return present(i, func(c Cell) bool { return e.beyond(c.text.String(), s) }), nil
		}
	}
	if err != nil && !equal && !unequal {
		return nil, &fault{e.value.at, err.Error()}
	}
	if equal || unequal {
		shown := Number(v).fit(col)
		return present(i, func(c Cell) bool {
			same := false
			if c.kind == number {
				c.Badge = ""
				same = err == nil && c.fit(col) == shown // as it is written: nobody types 12.3456
			} else {
				same = e.text.same(c.text.String())
			}
			return same == equal
		}), nil
	}
	return present(i, func(c Cell) bool {
		n := c.num
		if c.kind == text {
			var err error
			if n, err = strconv.ParseFloat(c.text.String(), 64); err != nil {
				return false
			}
		}
		switch e.op {
		case ">":
			return n > v
		case ">=":
			return n >= v
		case "<":
			return n < v
		}
		return n <= v
	}), nil
}

// beyond says whether all of a bucket, as a quantile has it, is on the wanted side of a time in seconds.
func (e versus) beyond(bucket string, seconds float64) bool {
	lo, hi, ok := bucketOf(bucket)
	if e.op == ">" || e.op == ">=" {
		return ok && lo >= seconds
	}
	return ok && hi <= seconds
}

// present is false for a row whose cell i is missing.
func present(i int, t func(Cell) bool) test {
	return func(cells []Cell) bool { return i < len(cells) && cells[i].Known() && t(cells[i]) }
}

// findColumns are the columns that a name means: the one of that id, of that title, that rate, without
// regard to case or %; or else all whose id ends in _name, as r_await and w_await do for await.
func findColumns(columns []Column, name string) []int {
	name = plainName(name)
	switch name {
	case "":
		return nil
	case "name", "cmd", "comm":
		name = "command"
	case "retrans/s": // until sysstat 12.7.6
		name = "retrseg/s"
	}
	tests := []func(c Column) bool{
		func(c Column) bool { return strings.EqualFold(c.ID, name) },
		func(c Column) bool { return plainName(c.ID) == name },
		func(c Column) bool { return plainName(c.Title) == name },
		func(c Column) bool { return strings.TrimSuffix(plainName(c.ID), "/s") == name },
	}
	for _, is := range tests {
		if i := slices.IndexFunc(columns, is); i >= 0 {
			return []int{i}
		}
	}
	var out []int
	for i, c := range columns {
		if strings.HasSuffix(plainName(c.ID), "_"+name) {
			out = append(out, i)
		}
	}
	if out == nil && name == "command" { // what the row is about stands last
		if n := len(columns); n > 0 && columns[n-1].Left {
			return []int{n - 1}
		}
	}
	return out
}

// plainName is a column's name as it is compared.
func plainName(s string) string { return strings.ToLower(strings.ReplaceAll(s, "%", "")) }
