// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
)

// The style and the script of a flame graph. It needs no other files, and without the script it still has
// all names, as tooltips.
var (
	//go:embed flame.css
	flameStyle string
	//go:embed flame.js
	flameScript string
)

// Measures of the drawing, in pixels; flame.js has them too.
const (
	flameWidth = 1200
	flameRow   = 17
	flameTop   = 80 // for the words above
	flameChar  = 6.7
	// maxFlames bounds what is drawn: a page with more is slow. The narrowest frames are left out.
	maxFlames = 12000
)

// SVG draws a profile of a scope as a flame graph: one file that needs no other.
func SVG(w io.Writer, p *collectors.Profile, host collectors.Safe, of Scope) error {
	root := flames(p)
	least, left := flameLeast(root)
	depth := root.depth(least)
	height := flameTop + depth*flameRow + 8
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="monospace" font-size="11">`+"\n", flameWidth, height)
	fmt.Fprintf(&b, "<style>%s</style>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n", flameStyle)
	title := "CPU profile of " + cmp.Or(host.String(), "this host")
	if of.On() {
		title = "CPU profile of " + of.Name + " on " + cmp.Or(host.String(), "this host")
	}
	fmt.Fprintf(&b, `<text class="t" x="8" y="20">%s, %s</text>`+"\n", html.EscapeString(title), p.Started.Format(time.RFC3339))
	for i, words := range flameWords(p, left) {
		fmt.Fprintf(&b, `<text x="8" y="%d">%s</text>`+"\n", 36+16*i, html.EscapeString(words))
	}
	b.WriteString(`<text x="8" y="68"><tspan class="k">■</tspan> kernel <tspan class="u">■</tspan> user space <tspan class="n">■</tspan> no name <tspan class="c">■</tspan> command · width: share of samples</text>` + "\n")
	b.WriteString(`<text id="s" class="b" x="1192" y="20" text-anchor="end" hidden="">search (/)</text><text id="m" x="1192" y="52" text-anchor="end"/><text id="r" class="b" x="1192" y="68" text-anchor="end" hidden="">zoom out (Esc)</text>` + "\n<g id=\"f\">\n")
	d := flameDrawing{b: &b, total: root.count, least: least, height: height}
	if root.count > 0 {
		d.draw(root, 0, 0)
	} else {
		fmt.Fprintf(&b, `<text x="8" y="%d">nothing ran: no samples</text>`, flameTop+12)
	}
	fmt.Fprintf(&b, "</g>\n<script>\n//<![CDATA[\n%s//]]>\n</script>\n</svg>\n", flameScript)
	_, err := w.Write(b.Bytes())
	return err
}

// flameWords are the two lines below the title.
func flameWords(p *collectors.Profile, left int) [2]string {
	good, cost, _ := strings.Cut(ProfileSummary(p), "; own")
	cost = "own" + cost
	if left > 0 {
		cost += fmt.Sprintf("; %s too narrow to draw", several(uint64(left), "frame"))
	}
	return [2]string{good, cost}
}

// flameLeast is the least count that is drawn, and how many frames that leaves out: what is narrower than a
// tenth of a pixel, and what is beyond maxFlames.
func flameLeast(root *flame) (least uint64, left int) {
	var counts []uint64
	var walk func(f *flame)
	walk = func(f *flame) {
		counts = append(counts, f.count)
		for _, next := range f.below {
			walk(next)
		}
	}
	walk(root)
	slices.Sort(counts)
	least = root.count / (flameWidth * 10)
	if n := len(counts); n > maxFlames {
		least = max(least, counts[n-maxFlames-1]+1)
	}
	left, _ = slices.BinarySearch(counts, least)
	return least, left
}

func (f *flame) depth(least uint64) int {
	deepest := 0
	for _, next := range f.below {
		if next.count >= least {
			deepest = max(deepest, next.depth(least))
		}
	}
	return deepest + 1
}

// flameDrawing draws frames; x is in samples.
type flameDrawing struct {
	b      *bytes.Buffer
	total  uint64
	least  uint64
	height int
}

func (d *flameDrawing) draw(f *flame, x uint64, level int) {
	left := float64(x) / float64(d.total) * flameWidth
	width := float64(f.count) / float64(d.total) * flameWidth
	y := d.height - 8 - (level+1)*flameRow
	name := f.name
	if f.kind == flameKernel {
		name += " [kernel]"
	}
	safe := html.EscapeString(name)
	fmt.Fprintf(d.b, `<g class="%s%d" data-x="%d" data-n="%d"><title>%s (%s, %.2f%%)</title><rect x="%.1f" y="%d" width="%.1f" height="16"/>`,
		f.kind, flameShade(f.name), x, f.count, safe, several(f.count, "sample"), 100*portion(f.count, d.total), left, y, max(width-0.3, 0.1))
	fmt.Fprintf(d.b, `<text x="%.1f" y="%d">%s</text></g>`+"\n", left+3, y+12, html.EscapeString(flameText(f.name, width)))
	for _, next := range f.below {
		if next.count >= d.least {
			d.draw(next, x, level+1)
		}
		x += next.count
	}
}

// flameText is what of a name fits into a frame.
func flameText(name string, width float64) string {
	room := int((width - 6) / flameChar)
	switch runes := []rune(name); {
	case room < 3:
		return ""
	case len(runes) > room:
		return strings.TrimRight(string(runes[:room-1]), " ") + "…"
	}
	return name
}

// flameShade tells neighbours apart: one of three shades of a kind's colour, the same for a name everywhere.
func flameShade(name string) int {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return int(h>>8) % 3
}
