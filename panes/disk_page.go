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
type diskPage struct{ name string }

func newDiskPage(name string) *diskPage { return &diskPage{name} }

// Info implements Pane.
func (p *diskPage) Info() Info {
	return Info{ID: ID(p.name), Title: p.name, Short: p.name, Help: "disk"}
}

// Wants implements Pane.
func (p *diskPage) Wants(Scope) []collectors.Want { return nil }

// Keys implements Pane.
func (p *diskPage) Keys() []keymap.Key {
	return []keymap.Key{
		keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"),
		keymap.New(keymap.Open, "Enter", "open", "enter").Off("there is nothing below one disk yet"),
		keymap.New(keymap.Up, "k", "previous disk", "k", "up"),
		keymap.New(keymap.Down, "j", "next disk", "j", "down"),
	}
}

// Update implements Pane: the cursor keys walk over the disks that have done something.
func (p *diskPage) Update(msg tea.Msg) tea.Cmd {
	press, ok := msg.(Press)
	if !ok {
		return nil
	}
	s := diskOver(press.Frame)
	if s == nil {
		return nil
	}
	var order []string
	for i := range s.Disks {
		if d := &s.Disks[i]; d.shown(false) || d.row() == p.name {
			order = append(order, d.row())
		}
	}
	p.name = move(press.ID, order, p.name)
	return nil
}

// Table implements Pane: the disk's row, those of what lies on it, and its file systems.
func (p *diskPage) Table(f Frame) Table {
	s := diskOver(f)
	on := make(map[string]bool)
	for _, d := range s.above(p.name) {
		on[d.row()] = true
	}
	t := diskTable(f, s, func(d *diskIO) bool { return on[d.row()] })
	t.Title = p.name
	for i := range t.Rows { // the disk itself before what lies on it
		if t.Rows[i].ID == p.name {
			own := t.Rows[i]
			copy(t.Rows[1:i+1], t.Rows[:i])
			t.Rows[0] = own
			break
		}
	}
	if s != nil && len(t.Rows) == 0 {
		t.Notes = append(t.Notes, p.name+" is gone")
	}
	t.More = []Table{fileTable(f, func(x *collectors.FileSystem) bool {
		d := s.deviceOf(x.Mount)
		return d != nil && on[d.row()]
	})}
	return t
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
	t := p.Table(f)
	below := p.below(c, t)
	if room := c.Height - len(lines) - len(below); room >= 1+len(diskTrends()) || len(below) == 0 {
		lines = append(lines, p.history(f, c, s, room)...)
	} else {
		lines = append(lines, p.history(f, c, s, 1+len(diskTrends()))...)
	}
	return fit(append(lines, below...), c.Height)
}

// history draws the disk's numbers over time.
func (p *diskPage) history(f Frame, c Canvas, s *diskSum, height int) []string {
	if height < 2 {
		return nil
	}
	lines := []string{widget.Title(c.Theme, c.Width, "history", "one column a sample")}
	if height >= 1+4*len(diskTrends()) {
		return append(lines, trendAreas(f, c, s, p.name, c.Width, min(height, 1+8*len(diskTrends())))[1:]...)
	}
	for _, x := range diskTrends() {
		lines = append(lines, trendLine(f, c, s.disk(p.name), x, c.Width))
	}
	return lines
}

// below draws what lies on the disk: partitions and others, then file systems.
func (p *diskPage) below(c Canvas, t Table) []string {
	var lines []string
	if len(t.Rows) > 1 {
		var l list
		above := t
		above.Rows = t.Rows[1:]
		lines = append(lines, widget.Title(c.Theme, c.Width, "on it", fmt.Sprintf("%d device%s", len(above.Rows), plural(len(above.Rows)))))
		lines = append(lines, l.draw(c, above, min(len(above.Rows)+1, max(c.Height/4, 4)), listOptions{Bare: true})...)
	}
	if files := t.More[0]; len(files.Rows) > 0 {
		lines = append(lines, widget.Title(c.Theme, c.Width, "file systems"))
		lines = append(lines, drawFiles(c, files, min(len(files.Rows)+1, max(c.Height/4, 4)), list{}, true)...)
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
	facts := []string{"aqu-sz " + cells["aqu-sz"], "%util " + cells["%util"]}
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
