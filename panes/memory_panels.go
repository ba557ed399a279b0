// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// drawn says whether the view draws more than a table, and needs the room for it.
func (p *Memory) drawn() bool { return p.view == showWaits || p.view == showPages }

// body is what stands below the memory's lines: the drawing of the view, if it has one, and its list.
func (p *Memory) body(f Frame, c Canvas, height int) []string {
	var lines []string
	switch p.view {
	case showWaits:
		lines = p.waitsDrawing(f, c, height/2)
	case showPages:
		lines = p.pagesDrawing(f, c, height)
	case showSlab, showKills, showWhere, showLimits, memoryViews:
	}
	return append(lines, p.listLines(f, c, p.view, p.listed(f, p.view), height-len(lines), true)...)
}

// beside are the two lists that a wide screen shows beside the one with the cursor: of those that need
// no probe of their own.
func (p *Memory) beside() []memoryView {
	switch p.view {
	case showWhere:
		return []memoryView{showWaits, showLimits}
	case showLimits:
		return []memoryView{showWaits, showWhere}
	case showWaits:
		return []memoryView{showKills, showWhere}
	case showSlab, showKills, showPages, memoryViews:
	}
	return []memoryView{showWaits, showWhere}
}

// panels puts the list with the cursor at the left, two others at the right.
func (p *Memory) panels(f Frame, c Canvas, height int) []string {
	left, right := c, c
	left.Width = (c.Width - 2) / 2
	right.Width = c.Width - left.Width - 2
	side := p.beside()
	var tables []Table
	var need []int
	for _, v := range side {
		t := p.listed(f, v)
		tables, need = append(tables, t), append(need, len(t.Rows)+len(t.Notes)+2)
	}
	if need[0]+need[1] > height {
		need[0] = max(height-need[1], height/2)
		need[1] = height - need[0]
	}
	var others []string
	for i, v := range side {
		others = append(others, p.listLines(f, right, v, tables[i], need[i], false)...)
	}
	return widget.Join(p.body(f, left, height), left.Width, others, 2)
}

// listLines draws one list below its title. Only one has the cursor.
func (p *Memory) listLines(f Frame, c Canvas, v memoryView, t Table, height int, cursor bool) []string {
	if height < 2 {
		return nil
	}
	title := []string{t.Title}
	switch v {
	case showSlab:
		title = append(title, slabTitle(f)...)
	case showWaits:
		title = append(title, p.waitsTitle(f)...)
	case showKills:
		title = append(title, "of this run")
	case showPages, showWhere, showLimits, memoryViews:
	}
	if cursor && c.Height >= smallHeight {
		title = append(title, "v "+((p.view+1)%memoryViews).String())
	}
	lines := []string{widget.Title(c.Theme, c.Width, title...)}
	if len(t.Rows) == 0 && (v == showWaits || v == showKills || v == showPages) {
		lines = append(lines, nothing(c, t, noneYet(v))...)
		return lines[:min(len(lines), height)]
	}
	if v == showSlab && len(t.Rows) == 0 {
		lines = append(lines, missingPart(f, c, collectors.SlabID, "slabtop", "slabtop")...)
		if rest := height - len(lines); cursor && c.Width < wideWidth && rest >= 5 && newest(f, memoryOf) != nil {
			lines = append(lines, p.listLines(f, c, showWhere, p.listed(f, showWhere), rest, false)...)
		}
		return lines[:min(len(lines), height)]
	}
	notes := t.Notes[:min(len(t.Notes), max(height-6, 0))]
	room := height - 1 - len(notes)
	if cursor {
		lines = append(lines, p.lists[v].draw(c, t, room, listOptions{})...)
	} else {
		lines = append(lines, onlooker(c, t, room)...)
	}
	for _, n := range notes {
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, n).String())
	}
	return lines
}

// noneYet says that there was nothing, which is good news.
func noneYet(v memoryView) string {
	switch v {
	case showWaits:
		return "nobody waited for memory"
	case showKills:
		return "nobody was killed for memory since bpf60 looks"
	case showSlab, showPages, showWhere, showLimits, memoryViews:
	}
	return "nobody used the page cache just now"
}

// waitsTitle says what the waits are summed over.
func (p *Memory) waitsTitle(f Frame) []string {
	w := waitsOver(f)
	if w == nil {
		return nil
	}
	out := []string{fmt.Sprintf("last %.0f s", w.Seconds())}
	if p.view == showWaits {
		out = append(out, "i "+((p.split+1)%waitsSplits).String())
	}
	return out
}

// waitsDrawing is the distribution of the waits, as the keys ask.
func (p *Memory) waitsDrawing(f Frame, c Canvas, height int) []string {
	w := waitsOver(f)
	if w == nil || height < 4 {
		return nil
	}
	h := waitsHistograms(f, w)[0]
	title := []string{
		h.Title, fmt.Sprintf("host %s  cgroup %s  compact %s", widget.Count(w.now.Direct.Count()), widget.Count(w.now.Memcg.Count()), widget.Count(w.now.Compact.Count())),
		fmt.Sprintf("kswapd %s  stopped %s", widget.Count(w.now.Kswapd), widget.Count(w.now.Throttled)), "d " + ((p.draw + 1) % drawings).String(),
	}
	if p.draw == asPercentiles {
		title = []string{h.Title, widget.PercentilesKey, c.columnIs(), "d " + ((p.draw + 1) % drawings).String()}
	}
	lines := []string{widget.Title(c.Theme, c.Width, title...)}
	switch {
	case h.Now == nil:
		return append(lines, widget.NewLine(c.Width).Skip(1).Plain(h.Why).String())
	case p.draw == asPercentiles, p.draw == asHeatMap:
		n := 2 * widget.PlotColumns(c.Width)
		plots := []plot{{"", columns(f, n, reclaimOf, reclaimSpan, reclaimWaits)}}
		return append(lines, drawPlots(c, plots, p.draw, c.Width, height-1)...)
	case h.Now.Count() == 0:
		return append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, fmt.Sprintf("none in the last %.0f s, %s since the probe attached", w.Seconds(), count(h.Start))).String())
	}
	return append(lines, withStats(c, h, c.Width, height-1)...)
}

func reclaimSpan(r *collectors.Reclaim) collectors.Span { return r.Span }

// reclaimWaits is one sample's histogram: empty, not missing, where nobody waited.
func reclaimWaits(r *collectors.Reclaim) *collectors.Hist {
	if r.Now == nil {
		return &collectors.Hist{}
	}
	return reclaimHist(r.Now)
}

// pagesDrawing is the host's page cache in a line, and over time.
func (p *Memory) pagesDrawing(f Frame, c Canvas, height int) []string {
	s := cachestatOver(f)
	if s == nil {
		return nil
	}
	hook := "accesses by " + s.Hook
	if s.Hook == "" {
		hook = "accesses are not seen"
	}
	lines := []string{widget.Title(c.Theme, c.Width, "page cache", "be: best effort", hook)}
	lines = append(lines, pagesLines(f, c)...)
	return append(lines, pagesGraphs(f, c, min(height/3, 8))...)
}
