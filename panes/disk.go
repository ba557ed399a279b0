// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
)

// DiskPane is the id of the disk pane.
const DiskPane ID = "disk"

// Disk is the pane of block devices and file systems: iostat -xz and df.
type Disk struct {
	disks, files list
	showFiles    bool // the table of file systems
	all          bool // devices and file systems that are left out otherwise
}

// NewDisk returns the pane, the device with the longest queue first.
func NewDisk() *Disk { return &Disk{disks: newList("aqu-sz"), files: newList("")} }

// Info implements Pane.
func (p *Disk) Info() Info {
	return Info{ID: DiskPane, Title: "Disk", Short: "Disk", Digit: "5", Help: "disk", Command: "iostat -xz 1; df"}
}

// Wants implements Pane: everything here is always collected.
func (p *Disk) Wants(Scope) []collectors.Want { return nil }

// IDs of the keys of this pane.
const (
	keyDiskView = "disk.view"
	keyDiskAll  = "disk.all"
)

// Keys implements Pane.
func (p *Disk) Keys() []keymap.Key {
	view, all := "file systems", "all"
	if p.showFiles {
		view = "disks"
	}
	if p.all {
		all = "fewer"
	}
	return append([]keymap.Key{
		keymap.New(keymap.Open, "Enter", "disk", "enter").In("open the page of the disk"),
		keymap.New(keyDiskView, "v", view, "v").In("show disks, or file systems"),
		keymap.New(keyDiskAll, "a", all, "a").In("show partitions, loops, idle devices and file systems in memory too"),
		cgroupsKey(),
	}, p.list().keys()...)
}

// list is the table that the keys work on.
func (p *Disk) list() *list {
	if p.showFiles {
		return &p.files
	}
	return &p.disks
}

// Update implements Pane.
func (p *Disk) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case Select:
		p.showFiles = strings.HasPrefix(msg.Row, "fs ")
		p.list().choose(msg.Row)
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *Disk) press(msg Press) tea.Cmd {
	switch msg.ID {
	case keyDiskView:
		p.showFiles = !p.showFiles
	case keyDiskAll:
		p.all = !p.all
	case keyCgroups:
		return openCgroups(ioResource)
	case keymap.Open:
		if name := p.under(msg.Frame); name != "" {
			return send(OpenMsg{newDiskPage(name)})
		}
	default:
		p.list().press(msg.ID, p.current(msg.Frame))
	}
	return nil
}

// under names the disk of the selected row: of a file system the one it lies on. Empty without one.
func (p *Disk) under(f Frame) string {
	r, ok := p.list().row(p.current(f))
	if !ok {
		return ""
	}
	if !p.showFiles {
		return r.ID
	}
	files := filesOf(f)
	if files == nil {
		return ""
	}
	for i := range files.Rows {
		if x := &files.Rows[i]; fileRow(x) == r.ID {
			if d := diskOver(f).deviceOf(x.Mount); d != nil {
				return d.row()
			}
		}
	}
	return ""
}

// current is the table that the keys work on.
func (p *Disk) current(f Frame) Table {
	if p.showFiles {
		return p.fileTable(f)
	}
	return p.diskTable(f, diskOver(f))
}

func (p *Disk) diskTable(f Frame, s *diskSum) Table {
	t := diskTable(f, s, func(d *diskIO) bool { return d.shown(p.all) })
	p.disks.order(&t)
	return t
}

func (p *Disk) fileTable(f Frame) Table {
	t := fileTable(f, func(x *collectors.FileSystem) bool { return worthRow(x, p.all) })
	p.files.order(&t)
	return t
}

// Table implements Pane: the disks, and more the file systems.
func (p *Disk) Table(f Frame) Table {
	s := diskOver(f)
	t := p.diskTable(f, s)
	t.Facts = diskFacts(f, s)
	t.Notes = append(t.Notes, troubles(f, s)...)
	if hidden := hiddenDisks(s, p.all); hidden != "" {
		t.Notes = append(t.Notes, "not listed: "+hidden)
	}
	t.More = []Table{p.fileTable(f)}
	return t
}

// Describe implements Describer: why a cell of the selected row is missing.
func (p *Disk) Describe(f Frame) string { return p.list().why(p.current(f)) }
