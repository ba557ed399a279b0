// SPDX-License-Identifier: Apache-2.0

package panes

import "bpf60/collectors"

// noVMStat is why there is no si so bi bo.
const noVMStat = "/proc/vmstat could not be read"

// vmstatTable is vmstat's line without its memory part, in numbers. Shares are of all CPUs' time;
// guests' time (gu) is not in us. Page is what the kernel swaps, in bytes.
func vmstatTable(c *collectors.CPU, page uint64) Table {
	t := Table{Title: "vmstat 1"}
	r := Row{ID: "vmstat"}
	add := func(id, unit string, width int, cell Cell) {
		t.Columns = append(t.Columns, Column{ID: id, Title: id, Unit: unit, Width: width})
		r.Cells = append(r.Cells, cell)
	}
	add("r", "tasks", 3, Number(float64(c.Running)))
	add("b", "tasks", 3, Number(float64(c.Blocked)))
	moved := func(id string, width int, kib uint64) {
		cell := perSecond(kib, c.Span)
		if !c.VMKnown {
			cell = Missing(noVMStat)
		}
		add(id, "KiB/s", width, cell)
	}
	moved("si", 6, c.SwapIn*page/1024)
	moved("so", 6, c.SwapOut*page/1024)
	moved("bi", 7, c.BlocksIn)
	moved("bo", 7, c.BlocksOut)
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
