// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// leastDNSHist is from how many lines on a distribution is drawn below a table.
const leastDNSHist = 6

// View implements Pane: the table of the tab, and below it the latency of the host.
func (p *DNS) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	v := dnsOver(f)
	if v == nil {
		lines := []string{widget.Title(c.Theme, c.Width, "dns")}
		return fit(append(lines, missingPart(f, c, collectors.DNSID, "dnssnoop", "questions to name servers")...), c.Height)
	}
	lines := []string{p.title(c, v)}
	if c.Height >= smallHeight {
		lines = append(lines, p.tabLine(c), codeLine(c, v))
	}
	t := p.shown(f, v, p.tab)
	var notes []string
	if c.Height >= smallHeight {
		notes = noteLines(c, append(t.Notes, dnsNotes(f, v)...), 3)
	}
	room := c.Height - len(lines) - len(notes)
	table := tableOrNone(c, &p.lists[p.tab], t, none(p.tab), room)
	if p.tab != dnsQuestions && room >= leastDNSHist+4 {
		most := max(room/3, 4)
		if p.lists[p.tab].index(t) < most-1 || len(t.Rows) < most {
			table = table[:min(len(table), most)]
		} else {
			table = tableOrNone(c, &p.lists[p.tab], t, none(p.tab), most)
		}
		of := "all servers"
		if f.Scope.apart(collectors.DNSID) {
			of = f.Scope.Name
		}
		table = append(table, drawDNS(f, c, p.draw, dnsHistogram(f, v), dnsOfScope(f), of, room-len(table))...)
	}
	lines = append(lines, pad(table, room)...)
	return fit(append(lines, notes...), c.Height)
}

// none is said of a table without rows.
func none(tab dnsTab) string {
	if tab == dnsQuestions {
		return "no question was slow, failed or unanswered so far"
	}
	return "nobody asked a name server in the last minute"
}

func tableOrNone(c Canvas, l *list, t Table, otherwise string, room int) []string {
	if len(t.Rows) == 0 {
		return []string{widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, otherwise).String()}
	}
	return l.draw(c, t, room, listOptions{})
}

// drawDNS draws a latency as the key asks, with a title of its own.
func drawDNS(f Frame, c Canvas, how drawing, h Histogram, get func(*collectors.DNS) *collectors.Hist, of string, height int) []string {
	if height < 3 {
		return nil
	}
	parts := []string{"latency", of, "last 10 s"}
	if how != asHistogram {
		parts = []string{"latency over time", of, how.String(), c.columnIs()}
	}
	if how == asPercentiles {
		parts[2] = widget.PercentilesKey
	}
	lines := []string{widget.Title(c.Theme, c.Width, parts...)}
	if h.Now == nil {
		return append(lines, wrap(c, "- ", h.Why)...)
	}
	if how == asHistogram {
		return append(lines, withStats(c, h, c.Width, height-1)...)
	}
	cols := columns(f, 2*widget.PlotColumns(c.Width), dnsOf, dnsSpan, get)
	return append(lines, drawPlots(c, []plot{{"", cols}}, how, c.Width, height-1)...)
}

func (p *DNS) title(c Canvas, v *dnsView) string {
	parts := []string{"dns"}
	if v.seconds > 0 {
		rate := func(n uint64) string { return widget.Short(float64(n) / v.seconds) }
		parts = append(parts, rate(v.host.Queries)+" questions/s", rate(v.host.Answers)+" answers/s", rate(v.host.Unanswered)+" unanswered/s")
		if v.pending > 0 {
			parts = append(parts, fmt.Sprintf("%d wait", v.pending))
		}
		parts = append(parts, "mean of 10 s")
	}
	return widget.Title(c.Theme, c.Width, parts...)
}

// tabLine names the tables; the one that is shown stands out.
func (p *DNS) tabLine(c Canvas) string {
	l := widget.NewLine(c.Width).Skip(1)
	for t := range dnsTabs {
		if t == p.tab {
			l.Put(c.Theme.Focus, "["+t.String()+"]")
			continue
		}
		l.Skip(1).Put(c.Theme.Dim, t.String()).Skip(1)
	}
	return l.String()
}

// codeLine has the reply codes and the kinds of questions, those that there were.
func codeLine(c Canvas, v *dnsView) string {
	l := widget.NewLine(c.Width).Skip(1)
	put := func(parts []string) {
		for _, part := range parts {
			if l.Left() < len(part)+2 {
				return
			}
			l.Plain(part).Skip(2)
		}
	}
	var codes, types []string
	if all := v.host.Answers; all > 0 {
		for code := range uint8(collectors.Rcodes) {
			name := rcodeName(code)
			if code == collectors.RcodeOther {
				name = "other"
			}
			if n := v.host.Rcodes[code]; n > 0 {
				codes = append(codes, fmt.Sprintf("%s %.0f %%", name, 100*float64(n)/float64(all)))
			}
		}
	}
	if all := v.host.Queries; all > 0 {
		for i, name := range countedTypes() {
			if n := v.types[i]; n > 0 {
				types = append(types, fmt.Sprintf("%s %.0f %%", name, 100*float64(n)/float64(all)))
			}
		}
	}
	put(codes)
	if len(codes) > 0 && len(types) > 0 {
		l.Put(c.Theme.Dim, "· ")
	}
	put(types)
	if len(codes)+len(types) == 0 {
		l.Put(c.Theme.Dim, "no question in the last 10 s")
	}
	return l.String()
}

// View implements Pane: the counts of the subject, the other side, its latency, its questions.
func (p *dnsPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	v := dnsOver(f)
	if v == nil {
		lines := []string{widget.Title(c.Theme, c.Width, p.title)}
		return fit(append(lines, missingPart(f, c, collectors.DNSID, "dnssnoop", "questions to name servers")...), c.Height)
	}
	lines := []string{widget.Title(c.Theme, c.Width, p.title, p.others().String(), "mean of 10 s")}
	rows, asked := p.table(f, v, false), p.table(f, v, true)
	lines = append(lines, p.numbers(f, c, v)...)
	room := c.Height - len(lines)
	// A third each; who has less to show leaves it to the others.
	top := min(max(room/3, 3), len(rows.Rows)+1)
	if p.tab && len(rows.Rows) > 0 {
		lines = append(lines, p.rows.draw(c, rows, top, listOptions{Bare: true})...)
	} else {
		lines = append(lines, tableOrNone(c, &p.rows, rows, "nobody asked in the last minute", top)...)
	}
	room = c.Height - len(lines)
	list := min(max(room/2, 3), len(asked.Rows)+2)
	if room-list >= leastDNSHist {
		lines = append(lines, pad(drawDNS(f, c, p.draw, p.histogram(f, v), p.latency, p.title, room-list), room-list)...)
		room = list
	}
	if room >= 3 {
		lines = append(lines, widget.Title(c.Theme, c.Width, "slow, failed or unanswered", fmt.Sprintf("%d listed", len(asked.Rows))))
		if p.tab {
			lines = append(lines, tableOrNone(c, &p.asked, asked, none(dnsQuestions), room-1)...)
		} else if len(asked.Rows) > 0 {
			lines = append(lines, p.asked.draw(c, asked, room-1, listOptions{Bare: true})...)
		} else {
			lines = append(lines, tableOrNone(c, &p.asked, asked, none(dnsQuestions), room-1)...)
		}
	}
	return fit(lines, c.Height)
}

// latency is what one sample holds of the subject, nil for nothing.
func (p *dnsPage) latency(d *collectors.DNS) *collectors.Hist {
	var sum *collectors.Hist
	for i := range d.Pairs {
		if x := &d.Pairs[i]; p.keep(x.Process, x.Server) {
			if sum == nil {
				sum = new(collectors.Hist)
			}
			sum.Plus(&x.Latency)
		}
	}
	return sum
}

// numbers are the subject's counts, and what the kernel counts of it apart since its page was opened.
func (p *dnsPage) numbers(f Frame, c Canvas, v *dnsView) []string {
	counts, _ := p.sums(v)
	line := func(label, text string) string {
		return widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, fmt.Sprintf("%-8s", label)).Plain(text).String()
	}
	text := "waiting for a second reading"
	if v.seconds > 0 {
		text = ""
		for _, x := range []struct {
			name string
			n    uint64
		}{{"questions", counts.Queries}, {"unanswered", counts.Unanswered}, {"answers", counts.Answers}, {"retries", counts.Retries}, {"tcp", counts.TCP}} {
			part := fmt.Sprintf("%s %s/s  ", x.name, widget.Short(float64(x.n)/v.seconds))
			if len(text)+len(part) > c.Width-9 {
				break
			}
			text += part
		}
		text = strings.TrimRight(text, " ")
	}
	out := []string{line("rates", text)}
	if p.process.TGID == 0 && !p.server.IsValid() || c.Height < smallHeight {
		return out
	}
	if n, span := narrowedIn(newest(f, dnsOf), p.target()); n != nil {
		t := &n.Sample.Total
		out = append(out, line("opened", fmt.Sprintf("%s ago: %s questions, %s answers, %s unanswered, p50 %s, max %s",
			widget.Age(span.To-n.Since), widget.Count(t.Queries), widget.Count(t.Answers), widget.Count(t.Unanswered), quantile(&t.Latency, 0.5), quantile(&t.Latency, 1))))
	}
	return out
}
