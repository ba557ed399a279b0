// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// printTable writes the matrix: a block a variant, a row a probe and hook, a column a kernel.
func printTable(out io.Writer, columns []*column) error {
	var lines [][]string
	row := func(name string, cell func(*column) string, last string) {
		line := []string{name}
		for _, c := range columns {
			line = append(line, cmp.Or(cell(c), "-"))
		}
		lines = append(lines, append(line, last))
	}
	row("kernel", func(c *column) string { return c.kernel.name }, "")
	row("version", func(c *column) string { return c.pkg.version }, "")
	row("suite", func(c *column) string { return c.pkg.suite }, "")
	for i, b := range boots() {
		row("boot "+b.name, func(c *column) string {
			if i >= len(c.boots) {
				return ""
			}
			return fmt.Sprintf("%.1f of %.1f s", c.boots[i].started.Seconds(), c.boots[i].took.Seconds())
		}, "until init ran, of all; "+b.command)
	}
	row("tests", func(c *column) string {
		if c.passed+len(c.skipped) == 0 {
			return ""
		}
		return fmt.Sprintf("%d pass %d skip", c.passed, len(c.skipped))
	}, "")
	for _, v := range variants() {
		title := make([]string, len(columns)+2)
		title[0], title[len(title)-1] = v.name, "hook ("+v.says+")"
		lines = append(lines, nil, title)
		for _, r := range probeRows(columns, v.name) {
			row("  "+r.probe, func(c *column) string {
				if p, ok := c.probes[at{c.kernel.name, v.name, "report", r.probe}]; ok && p.Hook == r.hook {
					return p.State
				}
				return ""
			}, cmp.Or(r.hook, "-"))
		}
	}
	return printColumns(out, lines)
}

// printColumns aligns all lines alike. A tabwriter begins anew after each empty line.
func printColumns(out io.Writer, lines [][]string) error {
	var width []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], len(cell))
		}
	}
	for _, line := range lines {
		var b strings.Builder
		for i, cell := range line {
			fmt.Fprintf(&b, "%-*s  ", width[i], cell)
		}
		if _, err := fmt.Fprintln(out, strings.TrimRight(b.String(), " ")); err != nil {
			return fmt.Errorf("printing the matrix: %w", err)
		}
	}
	return nil
}

type probeRow struct{ probe, hook string }

// probeRows are the probes of a variant; one that hooks differently on some kernel has more rows.
func probeRows(columns []*column, variant string) []probeRow {
	rows := map[probeRow]bool{}
	for _, c := range columns {
		for a, p := range c.probes {
			if a.variant == variant && a.command == "report" {
				rows[probeRow{a.probe, p.Hook}] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(rows), func(a, b probeRow) int {
		return cmp.Or(cmp.Compare(a.probe, b.probe), cmp.Compare(a.hook, b.hook))
	})
}
