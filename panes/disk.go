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

// diskView is one of the tables of the pane.
type diskView uint8

const (
	iostatView diskView = iota
	latencyView
	slowView
	ownerView
	filesView
	diskViews
)

func (v diskView) String() string {
	switch v {
	case latencyView:
		return "latency"
	case slowView:
		return "slowest"
	case ownerView:
		return "processes"
	case filesView:
		return "file systems"
	case iostatView, diskViews:
	}
	return "disks"
}

// Disk is the pane of block devices and file systems: iostat -xz, biolatency, biosnoop, biotop and df.
type Disk struct {
	view  diskView
	lists [diskViews]list
	draw  drawing
	split blockSplit
	all   bool // devices and file systems that are left out otherwise
}

// NewDisk returns the pane, the device with the longest queue first.
func NewDisk() *Disk {
	p := &Disk{}
	p.lists[iostatView], p.lists[ownerView] = newList("aqu-sz"), newList("load")
	return p
}

// Info implements Pane.
func (p *Disk) Info() Info {
	return Info{ID: DiskPane, Title: "Disk", Short: "Disk", Digit: "5", Help: "disk", Command: "iostat -xz 1; biolatency -D 1; biosnoop; biotop; df"}
}

// Wants implements Pane: a process, cgroup or disk in scope is counted apart, by a filter in the kernel.
func (p *Disk) Wants(scope Scope) []collectors.Want {
	if scope.Target.Kind == collectors.DiskTarget {
		return []collectors.Want{{ID: collectors.BlockID, Target: scope.Target}}
	}
	return scope.wants(collectors.BlockID)
}

// IDs of the keys of this pane.
const (
	keyDiskView  = "disk.view"
	keyDiskAll   = "disk.all"
	keyDiskDraw  = "disk.draw"
	keyDiskSplit = "disk.split"
	keyDiskReset = "disk.reset"
)

// Keys implements Pane.
func (p *Disk) Keys() []keymap.Key {
	all := "all"
	if p.all {
		all = "fewer"
	}
	keys := []keymap.Key{
		p.openKey(),
		keymap.New(keyDiskView, "t", ((p.view + 1) % diskViews).String(), "t").In("show disks, latency, the slowest requests, processes, file systems"),
	}
	draw := keymap.New(keyDiskDraw, "v", ((p.draw + 1) % drawings).String(), "v").In("draw latency as histogram, percentiles over time, heat map")
	split := keymap.New(keyDiskSplit, "i", "split", "i").In("split latency: device and queue, by disk, by operation, by who waits")
	if p.view == latencyView {
		keys = append(keys, draw, split)
	} else {
		keys = append(keys, draw.Off("press t for latency first"), split.Off("press t for latency first"))
	}
	keys = append(keys,
		keymap.New(keyDiskAll, "a", all, "a").In("show partitions, idle devices and file systems in memory too"),
		keymap.New(keyDiskReset, "x", "reset", "x").In("count \"start\" from now on; nothing is cleared"),
		cgroupsKey())
	if p.view == latencyView {
		keys = append(keys, zoomKeys()...)
	}
	return append(keys, p.list().keys()...)
}

// list is the table that the keys work on.
func (p *Disk) list() *list { return &p.lists[p.view] }

// Update implements Pane.
func (p *Disk) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.view = iostatView
		for prefix, view := range map[string]diskView{"fs ": filesView, "io ": latencyView, "own ": ownerView} {
			if strings.HasPrefix(msg.Row, prefix) {
				p.view = view
			}
		}
		p.list().choose(msg.Row)
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *Disk) press(msg Press) Answer {
	switch msg.ID {
	case keyDiskView:
		p.view = (p.view + 1) % diskViews
	case keyDiskAll:
		p.all = !p.all
	case keyDiskDraw:
		p.draw = (p.draw + 1) % drawings
	case keyDiskSplit:
		p.split = (p.split + 1) % blockSplits
	case keyDiskReset:
		return MarkMsg{}
	case keyCgroups:
		return openCgroups(ioResource)
	case keymap.Open:
		r, ok := p.list().row(p.current(msg.Frame))
		switch name := p.under(msg.Frame); {
		case !ok:
		case p.view == ownerView:
			return openWho(msg.Frame, r)
		case name != "":
			return OpenMsg{newDiskPage(name)}
		default:
			return SayMsg{"no disk of this host is known for this row"}
		}
	default:
		p.list().press(msg.ID, p.current(msg.Frame))
	}
	return nil
}

// openKey says what Enter opens: of who asks the process, else the disk.
func (p *Disk) openKey() keymap.Key {
	if p.view == ownerView {
		return keymap.New(keymap.Open, "Enter", "process", "enter").In("open the page of the process that asks")
	}
	return keymap.New(keymap.Open, "Enter", "disk", "enter").In("open the page of the disk")
}

// under names the disk of the selected row: of a file system the one it lies on. Empty without one.
func (p *Disk) under(f Frame) string {
	r, ok := p.list().row(p.current(f))
	if !ok {
		return ""
	}
	disks := diskOver(f)
	switch p.view {
	case filesView:
		return p.underFile(f, disks, r.ID)
	case latencyView, slowView, ownerView:
		at := map[diskView]int{latencyView: 0, slowView: 3, ownerView: 2}[p.view]
		for i := range disksOf(disks) {
			if d := &disks.Disks[i]; d.title() == r.Cells[at].Format(0) {
				return d.row()
			}
		}
		return ""
	case iostatView, diskViews:
	}
	return r.ID
}

// disksOf are the devices of a sum that may be nil.
func disksOf(s *diskSum) []diskIO {
	if s == nil {
		return nil
	}
	return s.Disks
}

func (p *Disk) underFile(f Frame, disks *diskSum, row string) string {
	files := filesOf(f)
	if files == nil {
		return ""
	}
	for i := range files.Rows {
		if x := &files.Rows[i]; fileRow(x) == row {
			if d := disks.deviceOf(x.Mount); d != nil {
				return d.row()
			}
		}
	}
	return ""
}

// current is the table that the keys work on.
func (p *Disk) current(f Frame) Table {
	disks := diskOver(f)
	var t Table
	switch p.view {
	case filesView:
		return p.fileTable(f)
	case latencyView:
		t = blockTable(f, disks, blockOver(f), p.shows(disks))
	case slowView:
		t = slowTable(f, disks, blockOver(f), p.shows(disks))
	case ownerView:
		t = ownerTable(f, disks, blockOver(f.rowed()), p.shows(disks))
	case iostatView, diskViews:
		return p.diskTable(f, disks)
	}
	p.list().arrange(f, &t)
	return t
}

// shows says which disks' requests are shown: those that have a row among the disks, and those that no
// table knows.
func (p *Disk) shows(s *diskSum) func(collectors.DevID) bool {
	return func(dev collectors.DevID) bool {
		for i := range disksOf(s) {
			if d := &s.Disks[i]; d.Dev == dev {
				return d.shown(p.all) || d.Kind == collectors.Path
			}
		}
		return true
	}
}

func (p *Disk) diskTable(f Frame, s *diskSum) Table {
	t := diskTable(f, s, func(d *diskIO) bool { return d.shown(p.all) })
	p.lists[iostatView].arrange(f, &t)
	return t
}

func (p *Disk) fileTable(f Frame) Table {
	t := fileTable(f, func(x *collectors.FileSystem) bool { return worthRow(x, p.all) })
	p.lists[filesView].arrange(f, &t)
	return t
}

// Table implements Pane: the disks, and more the latency, the slowest, who asked, and file systems.
func (p *Disk) Table(f Frame) Table {
	s, b := diskOver(f), blockOver(f)
	t := p.diskTable(f, s)
	t.Facts = diskFacts(f, s)
	t.Notes = append(t.Notes, troubles(f, s)...)
	if hidden := hiddenDisks(s, p.all); hidden != "" {
		t.Notes = append(t.Notes, "not listed: "+hidden)
	}
	t.Histograms = []Histogram{
		blockHistogram(f, b, "biolatency", "time on the device", false, allRequests),
		blockHistogram(f, b, "biolatency.queued", "time in the queue", true, allRequests),
		blockHistogram(f, b, "biolatency.awaited", "time on the device of what somebody waits for", false, ofClasses(awaitedClasses)),
	}
	show := p.shows(s)
	t.More = []Table{
		blockTable(f, s, b, show), slowTable(f, s, b, show), ownerTable(f, s, b, show), sizeTable(b, allRequests), p.fileTable(f),
	}
	return t
}

// Describe implements Describer: why a cell of the selected row is missing.
func (p *Disk) Describe(f Frame) string { return p.list().why(p.current(f)) }
