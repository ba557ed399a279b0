// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// View implements Pane.
func (p *Network) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	v := netOver(f)
	if v == nil {
		lines := []string{widget.Title(c.Theme, c.Width, "network")}
		return fit(append(lines, missingPart(f, c, collectors.NetworkID, "sar DEV", "the network")...), c.Height)
	}
	if c.Width >= wideWidth && c.Height >= wideHeight {
		return fit(p.wide(f, c, v), c.Height)
	}
	lines := []string{p.title(c, v, dropsOver(f), p.draw)}
	foot := p.foot(f, c, v)
	room := c.Height - len(lines) - len(foot)
	if room < 4 {
		foot, room = nil, c.Height-len(lines)
	}
	lines = append(lines, p.table(f, c, v, p.draw, room, true)...)
	for len(lines) < c.Height-len(foot) && len(foot) > 0 {
		lines = append(lines, "")
	}
	return fit(append(lines, foot...), c.Height)
}

// wide shows the chosen table over the whole width, and the others below it.
func (p *Network) wide(f Frame, c Canvas, v *netView) []string {
	foot := p.foot(f, c, v)
	room := c.Height - len(foot)
	block := func(draw netDraw, width, height int) []string {
		part := c
		part.Width = width
		lines := append([]string{p.title(part, v, dropsOver(f), draw)}, p.table(f, part, v, draw, height-1, draw == p.draw)...)
		return lines[:min(len(lines), height)]
	}
	lines := block(p.draw, c.Width, room*2/5)
	if left := room*2/5 - len(lines); left >= leastGraph {
		lines = append(lines, p.graph(f, c, v, left)...)
	}
	pad := func(to int) {
		for len(lines) < to {
			lines = append(lines, "")
		}
	}
	pad(room * 2 / 5)
	var rest []netDraw
	for d := netDev; d < netDraws; d++ {
		if d != p.draw {
			rest = append(rest, d)
		}
	}
	third := (room - len(lines)) / 2
	half := (c.Width - 2) / 2
	// Namespaces are wide: they stand below, or above when they are not the chosen ones' neighbours.
	// Softnet and drops are narrow, and stand beside something.
	beside := func(left, right netDraw, height int) {
		lines = append(lines, widget.Join(block(left, half, height), half, block(right, c.Width-half-2, height), 2)...)
	}
	beside(rest[0], rest[1], third)
	pad(room*2/5 + third)
	beside(rest[2], rest[3], room-len(lines))
	pad(room)
	return append(lines, foot...)
}

// leastGraph is from how many free lines on a graph of the selected interface is drawn.
const leastGraph = 6

// graph draws the selected interface over time where its table leaves room; nothing for the other
// tables, which have no interface.
func (p *Network) graph(f Frame, c Canvas, v *netView, height int) []string {
	r, ok := p.list().row(p.shown(f, v))
	if !ok || p.draw != netDev && p.draw != netErrors {
		return nil
	}
	for _, s := range v.spaces {
		for _, x := range s.ifaces {
			if ifaceRow(s, x.link) == r.ID {
				page := newIfacePage(s, x.link)
				return page.graphs(f, c, x, height-1)
			}
		}
	}
	return nil
}

// title heads one of the tables.
func (p *Network) title(c Canvas, v *netView, d *dropsView, draw netDraw) string {
	parts := []string{draw.String()}
	switch draw {
	case netDev:
		parts[0] = "network"
		parts = append(parts, p.covers(v))
		if own := v.own(); own != nil && own.seconds > 0 {
			sum := own.sum()
			of := ""
			if own.device { // what stays on the host is in no sum
				of = "devices "
			}
			parts = append(parts, fmt.Sprintf("%srx %s tx %s", of, byteRate(ratePer(sum.RxBytes, own.seconds)), byteRate(ratePer(sum.TxBytes, own.seconds))))
		}
		if n := hiddenIdle(v); n > 0 && !p.idle {
			parts = append(parts, fmt.Sprintf("%d idle", n))
		}
		if own := v.own(); own != nil && own.left > 0 {
			parts = append(parts, fmt.Sprintf("%d more moved", own.left))
		}
	case netErrors:
		parts = append(parts, p.covers(v))
	case netSpaces:
		parts = append(parts, p.covers(v), "UDP TCP IP")
	case netSoft:
		if v.soft.dropped > 0 {
			parts = append(parts, fmt.Sprintf("%s dropped", widget.Count(v.soft.dropped)))
		}
	case netDrops:
		parts[0] = "dropped packets"
		if d != nil {
			parts = append(parts, d.rate(d.dropped).Format(1)+"/s", "mean of 10 s", "all namespaces")
		}
	case netDraws:
	}
	return widget.Title(c.Theme, c.Width, parts...)
}

// covers says how many namespaces the numbers are of.
func (p *Network) covers(v *netView) string {
	s := fmt.Sprintf("%d of %d netns", v.coverage.Covered, v.coverage.Known)
	if !v.coverage.Complete {
		return fmt.Sprintf("%d netns so far", v.coverage.Covered)
	}
	return s
}

// byteRate is bytes a second, in powers of 1024 as sar's rxkB/s in the table below it.
func byteRate(v float64) string {
	if v < 1000 {
		return widget.Short(v) + " B/s"
	}
	unit := 0
	const units = "kMGTPE"
	for v /= 1024; v >= 999.95 && unit < len(units)-1; v /= 1024 {
		unit++
	}
	return fmt.Sprintf("%.1f %cB/s", v, units[unit])
}

// table draws one of the tables in at most height lines.
func (p *Network) table(f Frame, c Canvas, v *netView, draw netDraw, height int, cursor bool) []string {
	q := *p
	q.draw = draw
	t := q.shown(f, v)
	if len(t.Rows) == 0 {
		what := "no interface did anything in the last half minute"
		switch draw {
		case netSoft:
			what = "/proc/net/softnet_stat could not be read"
		case netDrops:
			return nothing(c, t, "no packet was dropped in what is kept, ten minutes at most")
		case netDev, netErrors, netSpaces, netDraws:
		}
		return []string{widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, what).String()}
	}
	o := listOptions{Bare: !cursor}
	if draw == netDev {
		byRow := make(map[string]netKey, len(t.Rows))
		for _, r := range t.Rows {
			byRow[r.ID] = netKey{}
		}
		keys := make([]netKey, 0, len(t.Rows))
		for _, s := range v.spaces {
			for _, x := range s.ifaces {
				id := ifaceRow(s, x.link)
				if _, ok := byRow[id]; ok {
					byRow[id] = keyOf(x.link)
					keys = append(keys, byRow[id])
				}
			}
		}
		history := ifaceSeries(f, mostSpark, keys, bothBytes)
		o.Spark = func(row string) []float64 { return history(byRow[row]) }
		o.SparkTitle = "rx+tx, a sample each"
		if c.Width < wideWidth {
			o.SparkTitle = "rx+tx"
		}
	}
	return p.lists[draw].draw(c, t, height, o)
}

// foot is what is lost above the interfaces, in all namespaces: softnet, UDP, IP, connections.
func (p *Network) foot(f Frame, c Canvas, v *netView) []string {
	if c.Height < smallHeight {
		return nil
	}
	lines := []string{widget.Title(c.Theme, c.Width, "above the interfaces", "all namespaces, per second")}
	t := softnetTable(f, v)
	row := func(name, text string) {
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, fmt.Sprintf("%-11s", name)).Plain(text).String())
	}
	if len(t.Rows) > 0 && p.draw != netSoft {
		cells := t.Rows[0].Cells
		row("softnet", fmt.Sprintf("total %-7s dropped %-6s squeezed %-6s backlog %s", short(cells[1]), short(cells[2]), short(cells[3]), short(cells[6])))
	}
	row("udp", v.stackLine(c.Width-12, "idgm/s", "odgm/s", "idgmerr/s", "rcvbuf/s", "noport/s", "sndbuf/s"))
	row("ip", v.stackLine(c.Width-12, "irec/s", "fwddgm/s", "idisc/s", "odisc/s", "onort/s", "asmf/s", "fragf/s", "ihdrerr/s"))
	row("conntrack", v.trackLine(f))
	if p.draw != netDrops {
		row("drops", dropLine(f))
	}
	if who := v.worst(); who != "" {
		row("worst", who)
	}
	return lines
}

func short(c Cell) string {
	if v, ok := c.Num(); ok {
		return widget.Short(v)
	}
	return "-"
}

// stackLine sums protocol counters over the namespaces, as many as fit in width cells.
func (v *netView) stackLine(width int, ids ...string) string {
	out := ""
	for _, id := range ids {
		for _, c := range stackColumns() {
			if c.id != id {
				continue
			}
			if next := fmt.Sprintf("%s %-6s ", strings.TrimSuffix(id, "/s"), short(v.total(c))); len(out)+len(next) <= width {
				out += next
			}
		}
	}
	return out
}

// trackLine is the table of connections that is nearest to its limit.
func (v *netView) trackLine(f Frame) string {
	var full *netSpace
	for _, s := range v.spaces {
		if s.conntrack.Known && (full == nil || s.conntrack.Entries > full.conntrack.Entries) {
			full = s
		}
	}
	if full == nil {
		why, _ := whyNot(f, collectors.NetworkID, "conntrack")
		return "- " + why
	}
	ct := full.conntrack
	text := fmt.Sprintf("%s entries", widget.Count(ct.Entries))
	if v.max > 0 {
		text = fmt.Sprintf("%s of %s, %.0f %%", widget.Count(ct.Entries), widget.Count(v.max), 100*float64(ct.Entries)/float64(v.max))
	}
	if !full.Own {
		text += " in " + full.name()
	}
	var drop, failed float64
	for _, s := range v.spaces {
		drop += ratePer(s.conntrack.Drop+s.conntrack.EarlyDrop, s.seconds) * s.share
		failed += ratePer(s.conntrack.InsertFailed, s.seconds) * s.share
	}
	return text + fmt.Sprintf("  drop %s insert_failed %s", widget.Short(drop), widget.Short(failed))
}

// worst names who drops most: interfaces, and namespaces whose sockets' buffers are full.
func (v *netView) worst() string {
	most, who := 0.0, ""
	note := func(rate float64, format string, args ...any) {
		if rate > most && !math.IsInf(rate, 0) {
			most, who = rate, fmt.Sprintf(format, args...)+fmt.Sprintf(" %s/s", widget.Short(rate))
		}
	}
	for _, s := range v.spaces {
		where := ""
		if !s.Own {
			where = " in " + s.name()
		}
		for _, x := range s.ifaces {
			c := &x.counts
			name := clean(x.link.Name) + where
			note(ratePer(c.RxDropped, x.seconds), "%s rxdrop", name)
			note(ratePer(c.TxDropped, x.seconds), "%s txdrop", name)
			note(ratePer(c.RxErrors+c.TxErrors, x.seconds), "%s errors", name)
			note(x.qdrops, "%s queue", name)
		}
		note(ratePer(s.stack.UDPReceiveFull, s.seconds), "udp receive buffers%s", where)
		note(ratePer(s.stack.TCPListenDrops, s.seconds), "listen queues%s", where)
	}
	return who
}

// dropLine names the reasons that packets were dropped for most, harmless ones included.
func dropLine(f Frame) string {
	v := dropsOver(f)
	if v == nil {
		why, _ := whyNot(f, collectors.DropsID, "dropsnoop")
		return "- " + why
	}
	if !v.known {
		return "- this kernel does not say why it frees a packet"
	}
	out := ""
	for _, r := range v.reasons {
		if r.packets > 0 && r.class != collectors.DropUnspecified {
			out += fmt.Sprintf("%s %s/s  ", r.name, short(v.rate(r.packets)))
		}
	}
	if out == "" {
		return "none in the last 10 s"
	}
	return strings.TrimRight(out, " ")
}
