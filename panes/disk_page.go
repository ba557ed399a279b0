// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// diskPage is everything about one block device.
type diskPage struct {
	name  string
	parts sections
	draw  pageDraw
}

func newDiskPage(name string) *diskPage {
	p := &diskPage{name: name}
	p.parts = newSections(collectors.Target{Kind: collectors.DiskTarget, Name: name}, p.sections())
	return p
}

// Info implements Pane.
func (p *diskPage) Info() Info {
	return Info{ID: ID(p.name), Title: p.name, Short: p.name, Help: "disk"}
}

// Wants implements Pane: the host's samples hold every disk.
func (p *diskPage) Wants(Scope) []collectors.Want { return nil }

// IDs of the keys of this page.
const (
	keyDiskNext = "disk.next"
	keyDiskPrev = "disk.previous"
)

// Keys implements Pane.
func (p *diskPage) Keys() []keymap.Key {
	return append(p.parts.keysWith(p.draw.keys()), pageKey(keyDiskNext, "next disk"), pageKey(keyDiskPrev, "previous disk"))
}

// Update implements Pane: n and N walk over the disks that have done something.
func (p *diskPage) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.parts.choose(msg.Row)
	case Press:
		to := map[string]string{keyDiskNext: keymap.Down, keyDiskPrev: keymap.Up}[msg.ID]
		switch {
		case to != "":
		case p.draw.press(msg.ID, len(p.distributions(msg.Frame))):
			return nil
		default:
			return p.parts.press(msg)
		}
		s := diskOver(msg.Frame)
		if s == nil {
			return nil
		}
		var order []string
		for i := range s.Disks {
			if d := &s.Disks[i]; d.shown(false) || d.row() == p.name {
				order = append(order, d.row())
			}
		}
		p.name = move(to, order, p.name)
	}
	return nil
}

// Describe implements Describer.
func (p *diskPage) Describe(f Frame) string { return p.parts.describe(f) }

// Table implements Pane: the disk's numbers as facts, its histograms, and its sections.
func (p *diskPage) Table(f Frame) Table {
	t := Table{Title: p.name}
	s := diskOver(f)
	d := s.disk(p.name)
	if s != nil && d == nil {
		t.Notes = append(t.Notes, p.name+" is gone")
	}
	if d != nil {
		for _, c := range diskColumns() {
			t.Facts = append(t.Facts, Fact{ID: c.ID, Title: c.Title, Unit: c.Unit, Cell: c.cell(s, d), Decimals: c.Decimals})
		}
		for _, x := range p.distributions(f) {
			t.Histograms = append(t.Histograms, x.Histogram)
		}
	}
	p.parts.into(f, &t)
	return t
}

// distributions are of the disk's requests: of all, and of reads and writes.
func (p *diskPage) distributions(f Frame) []distribution {
	devs, b := p.devs(f), blockOver(f)
	one := func(id, title string, queued bool, pick blockPick) distribution {
		return distribution{blockHistogram(f, b, id, title, queued, pick), func(n int) []*collectors.Hist { return blockColumns(f, n, queued, pick) }}
	}
	all := ofClasses(^uint(0), devs...)
	return []distribution{
		one("biolatency", "time on the device", false, all),
		one("biolatency.queued", "time in the queue", true, all),
		one("biolatency.reads", "reads on the device", false, ofClasses(readClasses, devs...)),
		one("biolatency.writes", "writes on the device", false, ofClasses(writeClasses, devs...)),
	}
}

// View implements Pane.
func (p *diskPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	s := diskOver(f)
	d := s.disk(p.name)
	if d == nil {
		lines := []string{widget.Title(c.Theme, c.Width, p.name)}
		if s == nil {
			return fit(append(lines, missingPart(f, c, collectors.DiskID, "iostat", "the I/O of the disks")...), c.Height)
		}
		return fit(append(lines, widget.NewLine(c.Width).Skip(1).Plain(p.name+" is gone").String()), c.Height)
	}
	lines := []string{widget.Title(c.Theme, c.Width, diskParts(s, d)...)}
	lines = append(lines, diskNumbers(c, s, d)...)
	rest := c.Height - len(lines)
	if blockOver(f) != nil && rest >= leastPanels {
		lines = append(lines, p.draw.draw(c, p.distributions(f), min(max(rest/3, 6), 14))...)
	}
	if c.Height >= wideHeight {
		lines = append(lines, p.history(f, c, s, 1+len(diskTrends()))...)
	}
	return fit(append(lines, p.parts.draw(f, c, c.Height-len(lines))...), c.Height)
}

// leastPanels is the fewest lines that histograms and a table have room in.
const leastPanels = 11

// history draws the disk's numbers over time.
func (p *diskPage) history(f Frame, c Canvas, s *diskSum, height int) []string {
	if height < 2 {
		return nil
	}
	lines := []string{widget.Title(c.Theme, c.Width, "history", "one column a sample")}
	for _, x := range diskTrends() {
		lines = append(lines, trendLine(f, c, s.disk(p.name), x, c.Width))
	}
	return lines
}

// diskNumbers is all that is counted of a disk, a line a direction, and what it is.
func diskNumbers(c Canvas, s *diskSum, d *diskIO) []string {
	cells := make(map[string]string)
	for _, col := range diskColumns() {
		cells[col.ID] = col.cell(s, d).fit(col.Column)
	}
	const name, width = 9, 9
	row := func(style theme.Style, what string, values ...string) string {
		l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, what).To(name)
		for i, v := range values {
			if end := name + (i+1)*width; end <= c.Width {
				l.Right(style, v, end)
			}
		}
		return l.String()
	}
	lines := []string{row(c.Theme.Dim, "", "/s", "await ms", "kB/s", "size kB", "merged/s", "%merged")}
	for _, x := range []struct{ what, id string }{{"reads", "r"}, {"writes", "w"}, {"discards", "d"}} {
		lines = append(lines, row(
			theme.Style{}, x.what, cells[x.id+"/s"], cells[x.id+"_await"], cells[x.id+"kB/s"], cells[x.id+"areq-sz"],
			cells[x.id+"rqm/s"], cells["%"+x.id+"rqm"],
		))
	}
	lines = append(lines, row(theme.Style{}, "flushes", cells["f/s"], cells["f_await"]))
	facts := []string{"aqu-sz " + cells["aqu-sz"], "%util " + cells["%util"], fmt.Sprintf("in flight %d", d.InFlight)}
	for _, x := range []struct{ title, id string }{
		{"kind", "kind"},
		{"state", "state"},
		{"hardware queues", "hw_queues"},
		{"nr_requests", "nr_requests"},
		{"queue_depth", "queue_depth"},
		{"rotates", "rotates"},
		{"removable", "removable"},
		{"read-only", "ro"},
		{"failed commands", "ioerr"},
	} {
		if v := cells[x.id]; v != "-" {
			facts = append(facts, x.title+" "+v)
		}
	}
	if len(d.Holders) > 0 {
		var holders []string
		for _, h := range d.Holders {
			if up := s.disk(clean(h)); up != nil {
				holders = append(holders, up.title())
			}
		}
		facts = append(facts, "holds "+strings.Join(holders, " "))
	}
	for i := range s.Arrays {
		if a := &s.Arrays[i]; a.Name == d.Name {
			facts = append(facts, fmt.Sprintf("%s, %d of %d members", clean(a.Level), a.Have, a.Want))
			if bad := arrayTrouble(a); bad != "" {
				facts = append(facts, bad)
			}
		}
	}
	return append(lines, wrapParts(c, facts)...)
}

// wrapParts sets short texts one behind the other, on as many lines as they take.
func wrapParts(c Canvas, parts []string) []string {
	var out []string
	l := widget.NewLine(c.Width).Skip(1)
	for _, p := range parts {
		if l.Width() > 1 && l.Left() < widget.Width(p)+3 {
			out = append(out, l.String())
			l = widget.NewLine(c.Width).Skip(1)
		}
		if l.Width() > 1 {
			l.Put(c.Theme.Dim, " · ")
		}
		l.Plain(p)
	}
	return append(out, l.String())
}
