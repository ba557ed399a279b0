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
	l.parts = append(l.parts, waitParts(f, m)...)
	l.drawn, l.scale = "available", "0 to "+widget.Bytes(total)
	l.series = availableSeries(f, sparkSamples)
	l.hi = float64(total)
	return l
}

// waitsLately is who waited over the frame's span, or just now. Nil without a sample.
func waitsLately(f Frame) *memoryWaits {
	if f.Span > 0 {
		return waitsOver(f)
	}
	r := newest(f, reclaimOf)
	if r == nil {
		return nil
	}
	w := &memoryWaits{Span: r.Span, rows: r.Rows, fresh: r.Fresh, newest: r}
	if r.Now != nil {
		w.now = *r.Now
	}
	if r.Kills != nil {
		w.kills = r.Kills.List
	}
	return w
}

// waitParts say who waited for memory or was killed for it in that time; nothing where nobody was.
func waitParts(f Frame, m *collectors.Memory) []part {
	var out []part
	w := waitsLately(f)
	killed := ""
	if w != nil && w.fresh > 0 && len(w.kills) > 0 {
		last := w.kills[len(w.kills)-1]
		killed = fmt.Sprintf(": %s[%d]", widget.Clip(clean(last.Comm), 15), last.Victim.TGID)
	}
	switch n, ok := m.VM.Get(collectors.VMOOMKill); {
	case ok && n > 0:
		out = append(out, part{fmt.Sprintf("%d OOM kill%s%s", n, plural(int(n)), killed), 0})
	case killed != "":
		out = append(out, part{fmt.Sprintf("%d OOM kill%s%s", w.fresh, plural(w.fresh), killed), 0})
	}
	if w == nil || w.Seconds() <= 0 {
		return out
	}
	if h := reclaimHist(&w.now); h.Count() > 0 {
		text := fmt.Sprintf("reclaim %s/s", widget.Short(float64(h.Count())/w.Seconds()))
		if len(w.rows) > 0 {
			text += fmt.Sprintf(" %s[%d]", widget.Clip(clean(w.rows[0].Comm), 15), w.rows[0].TGID)
		}
		out = append(out, part{text, 1})
	}
	return out
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
