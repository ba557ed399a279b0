// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"bpf60/keymap"
	"bpf60/panes"
	"bpf60/theme"
	"bpf60/triage"
)

// tableNames are the tables of a file, as they are written.
func tableNames() []string { return []string{"[colors]", "[columns.TABLE]", "[keys]", "[thresholds]"} }

// reading is one file while it is applied.
type reading struct {
	o        *options
	p        *parts
	data     []byte
	problems []problem
}

// problem is what cannot be followed, and where it stands.
type problem struct {
	line int
	text string
}

// parse applies the text of a file. Warnings and the error begin with the line. A value that cannot be
// followed is left out and the rest counts.
func (o *options) parse(data []byte, p *parts) (warnings []string, err error) {
	var file map[string]any
	if _, err := toml.Decode(string(data), &file); err != nil {
		var pe toml.ParseError
		if errors.As(err, &pe) {
			return nil, fmt.Errorf("%d: %s; the file is ignored", pe.Position.Line, pe.Message)
		}
		return nil, fmt.Errorf(" %w; the file is ignored", err)
	}
	r := &reading{o: o, p: p, data: data}
	for _, name := range slices.Sorted(maps.Keys(file)) {
		switch value := file[name]; name {
		case "keys":
			r.table(value, name, r.keys)
		case "colors":
			r.table(value, name, r.colors)
		case "columns":
			r.table(value, name, r.columns)
		case "thresholds":
			r.table(value, name, r.thresholds)
		default:
			r.scalar(name, value)
		}
	}
	slices.SortStableFunc(r.problems, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
	for _, x := range r.problems {
		warnings = append(warnings, fmt.Sprintf("%d: %s", x.line, x.text))
	}
	return warnings, nil
}

// warn notes what cannot be followed of a key.
func (r *reading) warn(format string, args []any, key ...string) {
	r.problems = append(r.problems, problem{lineOf(r.data, key), fmt.Sprintf(format, args...)})
}

// scalar applies a key that a variable can set as well.
func (r *reading) scalar(name string, value any) {
	if !slices.Contains(scalars(), name) {
		r.warn("unknown key %q: use %s", []any{name, strings.Join(slices.Concat(scalars(), tableNames()), ", ")}, name)
		return
	}
	text := fmt.Sprint(value)
	switch v := value.(type) {
	case []any:
		list, ok := texts(v)
		if !ok {
			r.warn("%s: a list of texts in quotes is needed", []any{name}, name)
			return
		}
		if len(list) == 0 && r.o.unset(name) {
			return
		}
		text = strings.Join(list, ",")
	case map[string]any, []map[string]any:
		r.warn("%s is no table: write %s = …", []any{name, name}, name)
		return
	}
	if err := r.o.set(name, text, r.p); err != nil {
		r.warn("%s: %v", []any{name, err}, name)
	}
}

// table hands on the entries of a table.
func (r *reading) table(value any, name string, apply func(entries map[string]any)) {
	entries, ok := value.(map[string]any)
	if !ok {
		r.warn("%s is a table: write [%s] and its keys below it", []any{name, name}, name)
		return
	}
	apply(entries)
}

// keys takes over the bindings that can be followed together with those of the files before.
func (r *reading) keys(entries map[string]any) {
	bound := maps.Clone(r.o.Keys)
	if bound == nil {
		bound = make(map[string][]string)
	}
	for id, value := range flat(entries, "") {
		names, ok := texts(value)
		if !ok {
			r.warn(`keys: %s: a list of keys is needed, as in ["x", "ctrl+x"]`, []any{id}, "keys", id)
			continue
		}
		bound[id] = names
	}
	_, problems := r.p.keys(bound)
	for _, err := range problems {
		var p *keymap.Problem
		if errors.As(err, &p) {
			delete(bound, p.ID)
			r.warn("%v", []any{err}, "keys", p.ID)
		}
	}
	r.o.Keys = bound
}

func (r *reading) colors(entries map[string]any) {
	looks := maps.Clone(r.o.Colors)
	if looks == nil {
		looks = make(map[string]string)
	}
	for name, value := range entries {
		look := fmt.Sprint(value)
		if err := theme.Check(name, look); err != nil {
			r.warn("colors: %s: %v", []any{name, err}, "colors", name)
			continue
		}
		looks[name] = look
	}
	r.o.Colors = looks
}

func (r *reading) columns(entries map[string]any) {
	chosen := maps.Clone(r.o.Columns)
	if chosen == nil {
		chosen = make(map[string]panes.Columns)
	}
	for name, value := range entries {
		r.table(value, "columns."+name, func(entries map[string]any) {
			if c, ok := r.chosen(name, entries); ok {
				chosen[name] = c
			}
		})
	}
	r.o.Columns = chosen
}

// chosen are the columns of one table.
func (r *reading) chosen(name string, entries map[string]any) (c panes.Columns, ok bool) {
	ok = true
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		value, right := entries[key], false
		switch key {
		case "show":
			c.Show, right = texts(value)
		case "sort":
			c.Sort, right = value.(string)
		case "reverse":
			c.Reverse, right = value.(bool)
		default:
			r.warn("columns.%s: unknown key %q: use show, sort, reverse", []any{name, key}, "columns", name, key)
			continue
		}
		if !right {
			r.warn(`columns.%s: %s: write show = ["…"], sort = "…", reverse = true`, []any{name, key}, "columns", name, key)
			ok = false
		}
	}
	if !ok {
		return c, false
	}
	checked, err := panes.CheckColumns(name, c)
	if err != nil {
		r.warn("columns: %v", []any{err}, "columns", name)
	}
	return checked, err == nil
}

// thresholds takes over the limits that there are and that lie in their range.
func (r *reading) thresholds(entries map[string]any) {
	limits := maps.Clone(r.o.Limits)
	if limits == nil {
		limits = make(triage.Limits)
	}
	for name, value := range flat(entries, "") {
		var n float64
		switch v := value.(type) {
		case int64:
			n = float64(v)
		case float64:
			n = v
		default:
			r.warn("thresholds: %s: a number is needed, without quotes", []any{name}, "thresholds", name)
			continue
		}
		if err := triage.CheckLimit(name, n); err != nil {
			r.warn("thresholds: %s: %v", []any{name, err}, "thresholds", name)
			continue
		}
		limits[name] = n
	}
	r.o.Limits = limits
}

// flat are the entries of a table by their names in full: a name with a dot may stand with quotes or
// without, where it is a table of its own.
func flat(entries map[string]any, prefix string) map[string]any {
	out := make(map[string]any, len(entries))
	for name, value := range entries {
		if below, ok := value.(map[string]any); ok {
			maps.Copy(out, flat(below, prefix+name+"."))
			continue
		}
		out[prefix+name] = value
	}
	return out
}

// texts is a list of texts, or one text alone.
func texts(value any) ([]string, bool) {
	if s, ok := value.(string); ok {
		return []string{s}, true
	}
	list, ok := value.([]any)
	if !ok {
		return nil, false
	}
	out := make([]string, 0, len(list))
	for _, v := range list {
		s, ok := v.(string)
		if !ok {
			return nil, false
		}
		out = append(out, s)
	}
	return out, true
}
