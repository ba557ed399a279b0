// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// Bounds of the HTML report. What is left out is counted.
const (
	htmlRowsMost = 200
	htmlTextMost = 300 // cells of one text
)

//go:embed report.css
var htmlStyle string

// HTML writes the report as one page that needs nothing else: no script, and nothing is loaded.
func HTML(out io.Writer, r Report) error {
	var w htmlWriter
	w.page(r)
	if _, err := io.WriteString(out, w.b.String()); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func (w *htmlWriter) page(r Report) {
	sum := sha256.Sum256([]byte(htmlStyle))
	w.put(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
`, base64.StdEncoding.EncodeToString(sum[:]))
	w.put("<title>bpf60 {}</title>\n<style>", hostname(r.Frame))
	w.put(markup(htmlStyle))
	w.put("</style>\n</head>\n<body>\n<header>\n<h1>{}</h1>\n", verdict(r))
	for _, l := range hostNotes(r) {
		w.put("<p>{}</p>\n", l)
	}
	w.put(`</header>
<nav aria-label="contents"><a href="#found">findings</a> <a href="#checklist">60 seconds</a>`)
	for _, p := range r.Panes {
		info := p.Info()
		w.put(` <a href="#{}">{}</a>`, string(info.ID), info.Title)
	}
	w.put("</nav>\n<main>\n")
	w.findings(r.Frame)
	w.checklist(r.Frame)
	w.notes("Ruled out, and not checked", checkNotes(r))
	w.notes("What changed", changeNotes(r.Frame))
	w.notes("To verify", verifyNotes(r, math.MaxInt))
	w.notes("Quality", qualityNotes(r))
	for _, p := range r.Panes {
		w.pane(p, r.Frame)
	}
	w.put("</main>\n</body>\n</html>\n")
}

func (w *htmlWriter) findings(f Frame) {
	w.put("<section id=\"found\">\n<h2>Findings</h2>\n")
	all := listed(f)
	for _, l := range all {
		x := l.finding
		severity, title := x.Severity.String(), x.Title+x.Quality
		if l.gone {
			title += " (over)"
		}
		w.put("<article class=\"finding {} depth{}\">\n", severity, strconv.Itoa(min(l.depth, 4)))
		w.put("<h3><span class=\"mark\">{} {}</span> <code>{}</code> {}</h3>\n<ul>",
			strings.TrimSpace(mark(x.Severity)), severity, x.ID, title)
		w.put("<li>{}</li>", measured(x))
		for _, fact := range x.Evidence {
			w.put("<li>{}</li>", fact)
		}
		w.with(people(f, x.Culprits), "<li>by {}</li>")
		w.with(people(Frame{}, x.Victims), "<li>hits {}</li>")
		w.put("</ul>\n</article>\n")
	}
	if len(all) == 0 {
		w.put("<p>{}</p>\n", silence(f))
	}
	w.put("</section>\n")
}

func (w *htmlWriter) checklist(f Frame) {
	w.put(`<section id="checklist">
<h2>60 seconds</h2>
<div class="wide"><table class="checks">
<thead><tr><th class="l">line</th><th class="l">says</th><th class="l">over time</th></tr></thead>
<tbody>
`)
	for _, l := range checklist(f) {
		severity, badge := "", ""
		if sev, ok := worst(f.Now, l.id); ok {
			severity, badge = sev.String(), strings.TrimSpace(mark(sev))
		}
		w.put(`<tr><th class="l {}" scope="row">{}`, severity, l.id)
		w.with(badge, ` <span class="mark">{}</span>`)
		w.put(`</th><td class="l">{}</td><td class="l spark">`, cmp.Or(l.summary(80), l.why))
		w.spark(l)
		w.put("</td></tr>\n")
	}
	w.put("</tbody></table></div>\n</section>\n")
}

// spark draws the line's series: a bar a moment, in hundredths of its height. A gap has none.
func (w *htmlWriter) spark(l line) {
	if l.hi <= l.lo || !slices.ContainsFunc(l.series, func(v float64) bool { return v == v }) {
		return
	}
	w.number(`<svg viewBox="0 0 {} 100" preserveAspectRatio="none" role="img"`, len(l.series))
	w.put(` aria-label="{} over time">`, l.id)
	for i, v := range l.series {
		if v == v { // not a gap
			h := int(max(0, min(1, (v-l.lo)/(l.hi-l.lo))) * 100)
			w.put(`<rect x="{}" y="{}" width="1" height="{}"/>`, strconv.Itoa(i), strconv.Itoa(100-h), strconv.Itoa(h))
		}
	}
	w.put("</svg>")
}

// notes writes a list of lines; none without lines.
func (w *htmlWriter) notes(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	w.put("<section class=\"notes\">\n<h2>{}</h2>\n<ul>", title)
	for _, l := range lines {
		w.with(htmlText(l), "<li>{}</li>")
	}
	w.put("</ul>\n</section>\n")
}

func (w *htmlWriter) pane(p Pane, f Frame) {
	info := p.Info()
	w.put("<section id=\"{}\" class=\"pane\">\n<h2>{}", string(info.ID), info.Title)
	w.with(info.Command, " <small>{}</small>")
	w.put("</h2>\n")
	t := p.Table(f)
	maps := heatMaps(p, t, f)
	w.table(t, maps)
	for _, more := range t.More {
		w.table(more, maps)
	}
	w.put("</section>\n")
}

func (w *htmlWriter) table(t Table, maps map[string]*htmlHeatMap) {
	w.with(t.Title, "<h3>{}</h3>\n")
	w.facts(t.Facts)
	w.rows(t)
	for _, h := range t.Histograms {
		w.histogram(h, maps[h.ID])
	}
	for _, l := range t.Notes {
		w.put("<p class=\"note\">{}</p>\n", l)
	}
}

func (w *htmlWriter) facts(facts []Fact) {
	if len(facts) == 0 {
		return
	}
	w.put("<div class=\"wide\"><table class=\"facts\"><tbody>\n")
	for _, x := range facts {
		value, unit := x.Cell.fit(Column{Decimals: x.Decimals, Width: 14}), x.Unit
		if n, ok := x.Cell.Num(); ok && unit == "bytes" && n >= 0 {
			value, unit = widget.Bytes(uint64(n)), ""
		}
		w.put(`<tr><th class="l" scope="row">{}</th>`, x.ID)
		w.cell(`<td`, false, x.Cell.Why)
		w.put(`{}</td><td class="l">{}</td><td class="l">{}`, htmlText(value), unit, x.Title)
		w.with(x.Cell.Why, " ({})")
		w.put("</td></tr>\n")
	}
	w.put("</tbody></table></div>\n")
}

func (w *htmlWriter) rows(t Table) {
	rows := t.Rows[:min(len(t.Rows), htmlRowsMost)]
	if len(rows) == 0 {
		return
	}
	w.put("<div class=\"wide\"><table>\n<thead><tr>")
	for _, c := range t.Columns {
		w.cell(`<th`, c.Left, c.Unit)
		w.put("{}</th>", c.Title)
	}
	w.put("</tr></thead>\n<tbody>\n")
	for _, r := range rows {
		w.put("<tr>")
		for i, c := range t.Columns {
			x, why := r.cell(i), ""
			if !x.Known() {
				why = x.Why
			}
			w.cell(`<td`, c.Left, why)
			w.put("{}</td>", htmlText(x.fit(c)))
		}
		w.put("</tr>\n")
	}
	w.put("</tbody></table></div>\n")
	if more := len(t.Rows) - len(rows); more > 0 {
		w.number("<p class=\"note\">and {} more rows</p>\n", more)
	}
}

// htmlText bounds a text that others chose.
func htmlText(s string) string { return widget.Clip(s, htmlTextMost) }

func (w *htmlWriter) histogram(h Histogram, heat *htmlHeatMap) {
	w.put("<figure class=\"histogram\">\n<figcaption>{}", h.Title)
	if h.Now == nil {
		w.with(h.Why, ": not measured ({})")
		w.put("</figcaption>\n</figure>\n")
		return
	}
	w.with(histogramSummary(h), ": {}")
	w.put("</figcaption>\n")
	w.bars(h.Now)
	if heat != nil {
		w.heatMap(heat)
	}
	w.put("</figure>\n")
}

// bars draws a row a bucket: its bucket, the events, and the bar in thousandths of the fullest one.
func (w *htmlWriter) bars(h *collectors.Hist) {
	first, last, most := -1, -1, uint64(0)
	for i, n := range h.Slots {
		if n == 0 {
			continue
		}
		if first < 0 {
			first = i
		}
		last, most = i, max(most, n)
	}
	if first < 0 {
		return
	}
	w.put("<table class=\"bars\"><tbody>\n")
	for i, n := range h.Slots[first : last+1] {
		w.bucket(widget.Range(collectors.SlotBucket(first+i)), strconv.FormatUint(n, 10))
		w.put(`<svg viewBox="0 0 1000 1" preserveAspectRatio="none" aria-hidden="true">`)
		if n > 0 { // what is there is seen
			permille := max(int(1000*(float64(n)/float64(most))+0.5), 3)
			w.number(`<rect y=".08" width="{}" height=".84"/>`, permille)
		}
		w.put("</svg></td></tr>\n")
	}
	w.put("</tbody></table>\n")
}

// bucket writes a row up to the cell for its picture.
func (w *htmlWriter) bucket(bounds, count string) {
	w.put(`<tr><th scope="row">{}</th><td>{}</td><td class="bar">`, bounds, count)
}

func (w *htmlWriter) heatMap(m *htmlHeatMap) {
	w.put("<table class=\"bars heat\" aria-label=\"over time\"><tbody>\n")
	for _, row := range m.Rows {
		w.bucket(row.Range, row.Count)
		w.number(`<svg viewBox="0 0 {} 1" preserveAspectRatio="none" aria-hidden="true">`, m.Columns)
		for _, s := range row.Shades {
			w.put(`<path class="h{}" d="{}"/>`, strconv.Itoa(s.Shade), s.Path)
		}
		w.put("</svg></td></tr>\n")
	}
	w.put(`<tr><th></th><td></td><td class="axis"><span>{}</span> <span>each column {}</span> <span>{}</span></td></tr>
</tbody></table>
<p class="legend">events in a cell, up to:`, m.From, m.Each, m.To)
	for _, step := range m.Legend {
		w.put(` <span><svg viewBox="0 0 1 1" aria-hidden="true"><path class="h{}" d="M0 0h1v1h-1z"/></svg> {}</span>`,
			strconv.Itoa(step.Shade), step.Most)
	}
	w.put("</p>\n")
}
