// SPDX-License-Identifier: Apache-2.0

package panes

import "bpf60/collectors"

// vmstatTable is vmstat's line without its memory part, in numbers. Shares are of all CPUs' time;
// guests' time (gu) is not in us.
func vmstatTable(c *collectors.CPU) Table {
	t := Table{Title: "vmstat 1"}
	r := Row{ID: "vmstat"}
	add := func(id, unit string, width int, cell Cell) {
		t.Columns = append(t.Columns, Column{ID: id, Title: id, Unit: unit, Width: width})
		r.Cells = append(r.Cells, cell)
	}
	add("r", "tasks", 3, Number(float64(c.Running)))
	add("b", "tasks", 3, Number(float64(c.Blocked)))
	const pageKiB = 4
	add("si", "KiB/s", 6, perSecond(c.SwapIn*pageKiB, c.Span))
	add("so", "KiB/s", 6, perSecond(c.SwapOut*pageKiB, c.Span))
	add("bi", "KiB/s", 7, perSecond(c.BlocksIn, c.Span))
	add("bo", "KiB/s", 7, perSecond(c.BlocksOut, c.Span))
	add("in", "/s", 7, perSecond(c.Interrupts, c.Span))
	add("cs", "/s", 7, perSecond(c.Switches, c.Span))
	x, total := c.All, c.All.Total()
	part := func(id string, n uint64) {
		cell := Missing("waiting for a second reading")
		if total > 0 {
			cell = Number(100 * float64(n) / float64(total))
		}
		add(id, "%", 3, cell)
	}
	part("us", less(x.User+x.Nice, x.Guest+x.GuestNice))
	part("sy", x.System+x.IRQ+x.SoftIRQ)
	part("id", x.Idle)
	part("wa", x.IOWait)
	part("st", x.Steal)
	part("gu", x.Guest+x.GuestNice)
	t.Rows = []Row{r}
	return t
}
