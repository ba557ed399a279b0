// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// printTable writes the matrix: a block a variant, a row a probe and hook, a column a kernel.
func printTable(out io.Writer, columns []*column) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	row := func(name string, cell func(*column) string, last string) {
		fmt.Fprint(w, name)
		for _, c := range columns {
			fmt.Fprint(w, "\t", cmp.Or(cell(c), "-"))
		}
		fmt.Fprintln(w, "\t"+last)
	}
	row("kernel", func(c *column) string { return c.kernel.name }, "")
	row("version", func(c *column) string { return c.pkg.version }, "")
	row("suite", func(c *column) string { return c.pkg.suite }, "")
	for i, b := range boots() {
		row("boot "+b.name, func(c *column) string {
			if i >= len(c.boots) {
				return ""
			}
			return fmt.Sprintf("%.1f s", c.boots[i].started.Seconds())
		}, "until init ran; "+b.command)
		row("  whole", func(c *column) string {
			if i >= len(c.boots) {
				return ""
			}
			return fmt.Sprintf("%.1f s", c.boots[i].took.Seconds())
		}, "")
	}
	row("tests", func(c *column) string {
		if c.passed+len(c.skipped) == 0 {
			return ""
		}
		return fmt.Sprintf("%d pass %d skip", c.passed, len(c.skipped))
	}, "")
	for _, v := range variants() {
		fmt.Fprintf(w, "\n%s\t%s\thook (%s)\n", v.name, strings.Repeat("\t", len(columns)-1), v.says)
		for _, r := range probeRows(columns, v.name) {
			row("  "+r.probe, func(c *column) string {
				if p, ok := c.probes[at{c.kernel.name, v.name, "report", r.probe}]; ok && p.Hook == r.hook {
					return p.State
				}
				return ""
			}, r.hook)
		}
	}
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
