// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// freeLine is the checklist's free: what is available, and whether the host swaps or stalls.
func freeLine(f Frame) line {
	l := line{id: "free", pane: MemoryPane, value: math.NaN(), unit: "MiB"}
	m := memoryOver(f)
	if m == nil {
		l.why, _ = whyNot(f, collectors.MemoryID, "meminfo")
		l.parts = []part{{"available -", 0}}
		return l
	}
	available, total := m.Info.Available(), m.Info.N[collectors.MemTotal]
	l.value = float64(available) / mib
	l.parts = []part{{fmt.Sprintf("available %s of %s", widget.Bytes(available), widget.Bytes(total)), 0}}

	swap := part{"swap " + widget.Bytes(m.Info.SwapUsed()), 2}
	si, so := pagesRate(m, collectors.VMSwapIn), pagesRate(m, collectors.VMSwapOut)
	if si.num+so.num > 0 {
		swap.rank = 1
		l.parts = append(l.parts, swap, part{fmt.Sprintf("si %s so %s", swapRate(si), swapRate(so)), 0})
	} else {
		l.parts = append(l.parts, swap)
	}
	psi := "psi m-"
	if some, _ := memoryStall(f); !math.IsNaN(some) {
		psi = fmt.Sprintf("psi m%.0f", 100*some) // as the header has it
	} else if h := newest(f, hostOf); h != nil && h.PSI.Err != "" {
		l.why = "psi: " + h.PSI.Err
	}
	l.parts = append(l.parts, part{psi, 1})
	if n, ok := m.VM.Get(collectors.VMOOMKill); ok && n > 0 {
		l.parts = append(l.parts, part{fmt.Sprintf("%d OOM kill%s", n, plural(int(n))), 0})
	}
	l.series = availableSeries(f, sparkSamples)
	l.hi = float64(total)
	return l
}

// swapRate writes a rate in KiB a second.
func swapRate(c Cell) string {
	if v, ok := c.Num(); ok {
		return whole1(v)
	}
	return "-"
}

// freeDetail is what free and vmstat say, in at most height lines.
func freeDetail(f Frame, c Canvas, height int) []string {
	lines := append([]string{widget.Title(c.Theme, c.Width, memoryTitle(f)...)}, memoryLines(f, c)...)
	return lines[:min(len(lines), height)]
}
