// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// View implements Pane.
func (p *Memory) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	lines := []string{widget.Title(c.Theme, c.Width, memoryTitle(f)...)}
	wide := c.Width >= wideWidth && c.Height >= wideHeight
	switch {
	case newest(f, memoryOf) == nil:
		lines = append(lines, missingPart(f, c, collectors.MemoryID, "meminfo", "memory")...)
	case c.Height < smallHeight, !wide && p.drawn():
		lines = append(lines, smallMemory(f, c)...)
	default:
		lines = append(lines, memoryLines(f, c)...)
	}
	if wide {
		lines = append(lines, memoryGraphs(f, c, min((c.Height-len(lines))/5, 9))...)
		return fit(append(lines, p.panels(f, c, c.Height-len(lines))...), c.Height)
	}
	return fit(append(lines, p.body(f, c, c.Height-len(lines))...), c.Height)
}

// memoryTitle heads the pane with what matters most: who waits, and who was killed.
func memoryTitle(f Frame) []string {
	parts := []string{"memory"}
	if some, full := memoryStall(f); !math.IsNaN(some) {
		parts = append(parts, fmt.Sprintf("psi some %2.0f %% full %2.0f %%", 100*some, 100*full))
	} else {
		parts = append(parts, "psi -")
	}
	m := memoryOver(f)
	if m == nil {
		return parts
	}
	kills := "oom kills -"
	if n, ok := m.VM.Get(collectors.VMOOMKill); ok {
		kills = fmt.Sprintf("oom kills %d, since boot %d", n, m.OOMKillsTotal)
	}
	parts = append(parts, kills)
	if n, ok := eventSum(m, collectors.VMDropPageCache, collectors.VMDropSlab); ok && n > 0 {
		parts = append(parts, "caches were dropped by hand")
	}
	return parts
}

// freeColumns are those of free -w.
func freeColumns() []string {
	return []string{"total", "used", "free", "shared", "buffers", "cache", "available"}
}

// memorySpark is how wide the sparklines at the right are.
const memorySpark = 10

// memoryLines are free, a bar of where the memory is, reclaim, faults, writeback and sar -v: nine
// lines.
func memoryLines(f Frame, c Canvas) []string {
	m := memoryOver(f)
	if m == nil {
		return missingPart(f, c, collectors.MemoryID, "meminfo", "memory")
	}
	lines := freeLines(f, c, m)
	lines = append(lines, memoryBar(c, m))
	graphs := c.Width >= wideWidth && c.Height >= wideHeight // they say the same at full length
	row := func(name string, values []string, s []float64) {
		end := c.Width
		if graphs {
			s = nil
		}
		if s != nil {
			end -= memorySpark + 1
		}
		l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, name)
		at := 9
		for i := 0; i+1 < len(values); i += 2 {
			if at+2+widget.Width(values[i])+widget.Width(values[i+1]) > end {
				break
			}
			l.To(at+1).Put(c.Theme.Dim, values[i]).Skip(1)
			at = l.Width() + 5 // a number that changes does not move the rest
			l.Plain(values[i+1])
			at = max(at, l.Width())
		}
		if s != nil {
			l.To(end+1).Put(c.Theme.Accent, widget.Spark(s, memorySpark, 0, most(s)))
		}
		lines = append(lines, l.String())
	}
	rate := func(events ...collectors.VMEvent) string { return memShort(rateOf(f, m, events...)) }
	row("reclaim", []string{
		"pgscank/s", rate(collectors.VMScanKswapd), "pgscand/s", rate(collectors.VMScanDirect),
		"stalls/s", rate(collectors.VMAllocStall), "%vmeff", memShort(efficiency(m)), "compact/s", rate(collectors.VMCompactStall),
		"throttled/s", rate(collectors.VMThrottled), "shrunk/s", rate(collectors.VMSlabsScanned),
	}, eventSeries(f, memorySpark, collectors.VMScanKswapd, collectors.VMScanDirect, collectors.VMScanOther))
	row("faults", []string{
		"fault/s", rate(collectors.VMFault), "majflt/s", rate(collectors.VMMajorFault), "refault/s", rate(collectors.VMRefaultFile, collectors.VMRefaultAnon),
		"thp/s", rate(collectors.VMTHPFault), "thp fail/s", rate(collectors.VMTHPFallback),
		"numa miss/s", rate(collectors.VMNUMAMiss),
	}, eventSeries(f, memorySpark, collectors.VMFault))
	row("pages", pageValues(m), nil)
	t := &m.Tables
	row("sar -v", []string{
		"dentunusd", memCount(tableCell(t.Unused)), "negative", memCount(tableCell(t.Negative)), "inode-nr", memCount(inodesUsed(t)),
		"file-nr", memCount(tableCell(t.Files)), "pty-nr", memCount(tableCell(t.PTYs)),
	}, nil)
	return lines
}

// pageValues is what is to be written, what is promised, and the pool of huge pages.
func pageValues(m *collectors.Memory) []string {
	bytes := func(field collectors.MemField) string {
		if n, ok := m.Info.Get(field); ok {
			return widget.Bytes(n)
		}
		return "-"
	}
	dirty := bytes(collectors.MemDirty)
	if m.DirtyLimit > 0 {
		dirty += " of " + widget.Bytes(m.DirtyLimit)
	}
	commit, percent := bytes(collectors.MemCommittedAS), committed(m).Format(1)
	huge := "-"
	if n, ok := m.Info.Get(collectors.MemHugePagesTotal); ok {
		huge = fmt.Sprint(n)
		if n > 0 {
			huge = fmt.Sprintf("%d of %d", less(n, m.Info.N[collectors.MemHugePagesFree]), n)
		}
	}
	out := []string{"dirty", dirty, "writeback", bytes(collectors.MemWriteback), "commit", commit, "%commit", percent, "huge", huge}
	if n, ok := compressed(m); ok && n > 0 {
		out = append(out, "zram/zswap", widget.Bytes(n))
	}
	return append(out, "mapped", bytes(collectors.MemMapped), "mlocked", bytes(collectors.MemMlocked))
}

// freeLines is free -m -w with vmstat's si and so in the line of the swap.
func freeLines(f Frame, c Canvas, m *collectors.Memory) []string {
	const name, width, narrow, last = 6, 8, 7, 9 // 69 cells
	info := &m.Info
	values := []Cell{
		memCell(info, collectors.MemTotal), inMiB(info.Used()), memCell(info, collectors.MemFree), memCell(info, collectors.MemShmem),
		memCell(info, collectors.MemBuffers), inMiB(info.Cache()), inMiB(info.Available()),
	}
	head := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "MiB")
	mem := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "Mem:")
	swap := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "Swap:")
	end := name
	for i, col := range freeColumns() {
		w := width
		switch i {
		case 3:
			w = narrow
		case len(values) - 1:
			w = last
		}
		end += w + 1
		column := Column{Width: w}
		head.Right(c.Theme.Dim, col, end)
		style := theme.Style{}
		if i == len(values)-1 {
			style = c.Theme.Title
		}
		mem.Right(style, cutMiB(values[i]).fit(column), end)
		switch i {
		case 0:
			swap.Right(style, cutMiB(memCell(info, collectors.MemSwapTotal)).fit(column), end)
		case 1:
			swap.Right(style, cutMiB(inMiB(info.SwapUsed())).fit(column), end)
		case 2:
			swap.Right(style, cutMiB(memCell(info, collectors.MemSwapFree)).fit(column), end)
		}
	}
	si, so := pagesRate(m, collectors.VMSwapIn), pagesRate(m, collectors.VMSwapOut)
	swap.Skip(3).Put(c.Theme.Dim, "si ").Plain(fmt.Sprintf("%-6s", swapRate(si))).Put(c.Theme.Dim, " so ").Plain(fmt.Sprintf("%-6s", swapRate(so))).Put(c.Theme.Dim, " KiB/s")
	if c.Width >= wideWidth && c.Height >= wideHeight {
		return []string{head.String(), mem.String(), swap.String()}
	}
	at := c.Width - memorySpark
	total := float64(info.N[collectors.MemTotal])
	mem.To(at).Put(c.Theme.Accent, widget.Spark(availableSeries(f, memorySpark), memorySpark, 0, total))
	moved := eventSeries(f, memorySpark, collectors.VMSwapIn, collectors.VMSwapOut)
	swap.To(at).Put(c.Theme.Accent, widget.Spark(moved, memorySpark, 0, most(moved)))
	return []string{head.String(), mem.String(), swap.String()}
}

// cutMiB cuts to whole MiB as free does, rather than rounding.
func cutMiB(c Cell) Cell {
	if c.kind == number {
		c.num = math.Floor(c.num)
	}
	return c
}

// memShort writes a cell in at most six cells.
func memShort(c Cell) string {
	if v, ok := c.Num(); ok {
		return widget.Short(v)
	}
	return "-"
}

// memCount writes a count.
func memCount(c Cell) string {
	if v, ok := c.Num(); ok {
		return whole1(v)
	}
	return "-"
}

// smallMemory is the same on two lines of forty cells.
func smallMemory(f Frame, c Canvas) []string {
	m := memoryOver(f)
	if m == nil {
		return nil
	}
	si, so := pagesRate(m, collectors.VMSwapIn), pagesRate(m, collectors.VMSwapOut)
	size := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "avail ").Plain(widget.Bytes(m.Info.Available())).
		Put(c.Theme.Dim, " of ").Plain(widget.Bytes(m.Info.N[collectors.MemTotal])).
		Put(c.Theme.Dim, "  swap ").Plain(widget.Bytes(m.Info.SwapUsed()))
	flow := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "si ").Plain(swapRate(si)).Put(c.Theme.Dim, " so ").Plain(swapRate(so)).
		Put(c.Theme.Dim, "  pgscand/s ").Plain(memShort(rateOf(f, m, collectors.VMScanDirect))).
		Put(c.Theme.Dim, "  stalls/s ").Plain(memShort(rateOf(f, m, collectors.VMAllocStall)))
	return []string{size.String(), flow.String()}
}

// memoryBar divides the total: what processes hold, the kernel, what nobody accounts for, what can
// be had back, what is free. The shade tells the groups apart, and the words behind it.
func memoryBar(c Canvas, m *collectors.Memory) string {
	var sums [partGroups]uint64
	for _, p := range memoryParts() {
		n, _ := p.of(m)
		sums[p.group] += n
	}
	var all uint64
	for _, n := range sums {
		all += n
	}
	style := func(g partGroup) theme.Style {
		switch g {
		case forApps:
			return c.Theme.Accent
		case forKernel, forNobody:
			return c.Theme.Title
		case forCache, notUsed, partGroups:
		}
		return c.Theme.Dim
	}
	words := widget.NewLine(c.Width)
	for g := range partGroups {
		words.Skip(1).Put(style(g), g.shade()).Put(c.Theme.Dim, g.String()).Skip(1).Plain(widget.Bytes(sums[g]))
	}
	room := c.Width - words.Width() - 1
	l := widget.NewLine(c.Width).Skip(1)
	for i, n := range barCells(sums[:], all, room-1) {
		l.Put(style(partGroup(i)), strings.Repeat(partGroup(i).shade(), n))
	}
	return l.To(room+1).Raw(words.String(), words.Width()).String()
}

// barCells divides width cells by parts of a whole. What is not nothing gets a cell as long as
// there is one, and the cells add up to the width.
func barCells(parts []uint64, all uint64, width int) []int {
	out := make([]int, len(parts))
	if all == 0 || width <= 0 {
		return out
	}
	left, largest := width, 0
	for i, n := range parts {
		if n == 0 {
			continue
		}
		out[i] = min(max(int(float64(n)/float64(all)*float64(width)), 1), left)
		left -= out[i]
		if n > parts[largest] {
			largest = i
		}
	}
	out[largest] += left
	return out
}

// memoryGraphs are what was available, swapped, scanned and faulted over time, side by side.
func memoryGraphs(f Frame, c Canvas, height int) []string {
	m := newest(f, memoryOf)
	if m == nil || height < 3 {
		return nil
	}
	const gap = 2
	width := (c.Width - 3*gap) / 4
	graph := func(title string, values []float64, hi float64, unit string) []string {
		top := most(values)
		if hi == 0 {
			hi = top
		}
		lines := []string{widget.Title(c.Theme, width, title, unit+" at most")}
		return append(lines, widget.Area(c.Theme, values, hi, width, height-1)...)
	}
	page := float64(m.PageSize)
	swapped := eventSeries(f, width, collectors.VMSwapIn, collectors.VMSwapOut)
	scanned := eventSeries(f, width, collectors.VMScanKswapd, collectors.VMScanDirect, collectors.VMScanOther)
	faults := eventSeries(f, width, collectors.VMFault)
	total := float64(m.Info.N[collectors.MemTotal])
	blocks := [][]string{
		graph("available", availableSeries(f, width), total, widget.Bytes(m.Info.N[collectors.MemTotal])),
		graph("si + so", swapped, 0, widget.Bytes(uint64(most(swapped)*page))+"/s"),
		graph("pgscan", scanned, 0, widget.Short(most(scanned))+"/s"),
		graph("fault", faults, 0, widget.Short(most(faults))+"/s"),
	}
	out := blocks[0]
	for i, b := range blocks[1:] {
		out = widget.Join(out, (i+1)*width+i*gap, b, gap)
	}
	return out
}

// onlooker draws a table that has no cursor.
func onlooker(c Canvas, t Table, height int) []string {
	var l list
	cols := l.layout(t, c.Width, listOptions{})
	lines := []string{l.heads(c, cols)}
	for _, r := range t.Rows[:max(min(len(t.Rows), height-1), 0)] {
		lines = append(lines, l.line(c, r, cols, false, listOptions{}))
	}
	return lines
}

// slabTitle is what slabtop prints above its table.
func slabTitle(f Frame) []string {
	s := slabOver(f)
	if s == nil {
		return nil
	}
	t := &s.Total
	out := []string{fmt.Sprintf("%s, %.0f %% used", widget.Bytes(t.Bytes), memPercent(t.ActiveBytes, t.Bytes))}
	if v, ok := slabGrowth(t.Grown, s.Span).Num(); ok {
		out = append(out, fmt.Sprintf("%+.1f KiB/s", v))
	}
	return append(out, fmt.Sprintf("%d of %d caches", t.ActiveCaches, t.Caches), fmt.Sprintf("%s of %s objects", widget.Count(t.Active), widget.Count(t.Objects)))
}
