// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/triage"
)

// diskMoments is a run of samples of two seconds each, the first without a span.
func diskMoments(samples ...[]collectors.DiskRow) Frame {
	var f Frame
	var devices []*collectors.BlockDevice
	for _, rows := range samples {
		for i := range rows {
			if !slices.Contains(devices, rows[i].BlockDevice) {
				devices = append(devices, rows[i].BlockDevice)
			}
		}
	}
	for i, rows := range samples {
		at := time.Duration(i) * 2 * time.Second
		span := collectors.Span{From: max(at-2*time.Second, 0), To: at}
		snap := &collectors.Snapshot{At: at, Disk: &collectors.Disk{
			Span: span, Rows: rows, Table: &collectors.DiskTable{Devices: devices}, Discards: true, Flushes: true,
		}}
		f.Past = append(f.Past, triage.Moment{Snapshot: snap})
	}
	f.Now = f.Past[len(f.Past)-1]
	return f
}

// cells prints a row by column.
func cells(t Table, row string) map[string]string {
	out := make(map[string]string)
	for _, r := range t.Rows {
		if r.ID == row {
			for i, c := range r.Cells {
				out[t.Columns[i].ID] = c.Format(t.Columns[i].Decimals)
			}
		}
	}
	return out
}

// TestIostatFormulas holds every column against numbers worked out by hand, over two seconds.
func TestIostatFormulas(t *testing.T) {
	disk := device(8, 0, "sda", collectors.WholeDisk, nil)
	row := collectors.DiskRow{BlockDevice: disk, InFlight: 3, DiskCounts: collectors.DiskCounts{
		Read:    collectors.IOCounts{IOs: 100, Merged: 25, Sectors: 1600, Ms: 250},
		Write:   collectors.IOCounts{IOs: 50, Merged: 50, Sectors: 3200, Ms: 1000},
		Discard: collectors.IOCounts{IOs: 4, Merged: 0, Sectors: 8192, Ms: 2},
		Flushes: 10, FlushMs: 15, BusyMs: 500, QueueMs: 3000,
	}}
	f := diskMoments(nil, []collectors.DiskRow{row})
	got := cells(NewDisk().Table(f), "sda")
	want := map[string]string{
		"Device": "sda",
		"r/s":    "50.0", "rkB/s": "400.0", "rrqm/s": "12.5", "%rrqm": "20.0", "r_await": "2.50", "rareq-sz": "8.0",
		"w/s": "25.0", "wkB/s": "800.0", "wrqm/s": "25.0", "%wrqm": "50.0", "w_await": "20.00", "wareq-sz": "32.0",
		"d/s": "2.0", "dkB/s": "2048.0", "drqm/s": "0.0", "%drqm": "0.0", "d_await": "0.50", "dareq-sz": "1024.0",
		"f/s": "5.0", "f_await": "1.50", "aqu-sz": "1.50", "%util": "25.0", "in_flight": "3",
	}
	for id, w := range want {
		if got[id] != w {
			t.Errorf("%s = %s, want %s", id, got[id], w)
		}
	}
	var order []string
	for _, c := range NewDisk().Table(f).Columns {
		if !c.Hidden {
			order = append(order, c.ID)
		}
	}
	const classic = "Device r/s rkB/s rrqm/s %rrqm r_await rareq-sz w/s wkB/s wrqm/s %wrqm w_await wareq-sz " +
		"d/s dkB/s drqm/s %drqm d_await dareq-sz f/s f_await aqu-sz %util"
	if diff := cmp.Diff(strings.Fields(classic), order); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
}

// TestDiskCells: what cannot be had says why, and is never 0.
func TestDiskCells(t *testing.T) {
	off := device(8, 1, "off", collectors.WholeDisk, func(d *collectors.BlockDevice) { d.NoStats = true })
	fresh := device(8, 2, "new", collectors.WholeDisk, nil)
	part := device(8, 3, "part", collectors.Partition, nil)
	par := device(259, 0, "nvme0n1", collectors.WholeDisk, func(d *collectors.BlockDevice) { d.Parallel = true })
	busy := collectors.DiskCounts{BusyMs: 2100, Read: collectors.IOCounts{IOs: 1}}
	f := diskMoments(nil, []collectors.DiskRow{
		{BlockDevice: off, InFlight: 1}, {BlockDevice: fresh, New: true}, {BlockDevice: part, DiskCounts: busy}, {BlockDevice: par, DiskCounts: busy},
	})
	f.Now.Disk.Discards = false
	p := NewDisk()
	p.all = true
	table := p.Table(f)
	for _, tt := range []struct{ row, column, want, why string }{
		{"off", "r/s", "-", "iostats is 0"},
		{"new", "r/s", "-", "appeared"},
		{"new", "%util", "-", "appeared"},
		{"part", "f/s", "-", "whole disk"},
		{"part", "d/s", "-", "4.18"},
		{"part", "w_await", "-", "no writes"},
		{"part", "%util", "100.0", ""},
		{"nvme0n1", "%util", "100.0par", ""},
		{"nvme0n1", "f/s", "0.0", ""},
	} {
		if got := cells(table, tt.row)[tt.column]; got != tt.want {
			t.Errorf("%s %s = %q, want %q", tt.row, tt.column, got, tt.want)
		}
		if tt.why == "" {
			continue
		}
		for _, r := range table.Rows {
			for i, c := range r.Cells {
				if r.ID == tt.row && table.Columns[i].ID == tt.column && !strings.Contains(c.Why, tt.why) {
					t.Errorf("%s %s is missing because %q, want %q", tt.row, tt.column, c.Why, tt.why)
				}
			}
		}
	}
}

// TestDiskSums: the I/O of a volume is that of its disk once more.
func TestDiskSums(t *testing.T) {
	io := collectors.DiskCounts{Read: collectors.IOCounts{IOs: 20, Sectors: 400, Ms: 10}, QueueMs: 10}
	raw := collectors.RawString
	disk := device(8, 0, "sda", collectors.WholeDisk, func(d *collectors.BlockDevice) { d.Holders = raws("dm-0") })
	part := device(8, 1, "sda1", collectors.Partition, func(d *collectors.BlockDevice) { d.Parent = raw("sda") })
	volume := device(253, 0, "dm-0", collectors.Mapper, func(d *collectors.BlockDevice) { d.Alias, d.Slaves = raw("vg-root"), raws("sda1") })
	array := device(9, 0, "md0", collectors.MDArray, func(d *collectors.BlockDevice) { d.Slaves = raws("sda1") })
	zram := device(252, 0, "zram0", collectors.ZRAM, nil)
	rows := []collectors.DiskRow{}
	for _, d := range []*collectors.BlockDevice{disk, part, volume, array, zram} {
		rows = append(rows, collectors.DiskRow{BlockDevice: d, DiskCounts: io, InFlight: 2})
	}
	f := diskMoments(nil, rows)
	want := map[string]float64{"tps": 10, "kB_read/s": 100, "kB_wrtn/s": 0, "in_flight": 2}
	for _, fact := range NewDisk().Table(f).Facts {
		if w, ok := want[fact.ID]; ok {
			if v, _ := fact.Cell.Num(); v != w {
				t.Errorf("%s = %v, want %v", fact.ID, v, w)
			}
		}
	}
	s := diskOver(f)
	if got, want := strings.Join(s.below(s.disk("dm-0")), " "), "sda1 sda"; got != want {
		t.Errorf("below dm-0 = %q, want %q", got, want)
	}
	var on []string
	for _, d := range s.above("sda") {
		on = append(on, d.row())
	}
	if got, want := strings.Join(on, " "), "sda sda1 dm-0 md0"; got != want {
		t.Errorf("above sda = %q, want %q", got, want)
	}
	if got := s.above("gone"); got != nil {
		t.Errorf("above a disk that is gone = %v", got)
	}
}

// TestDiskSpan: a report sums the run, and a device counts for the time it was there.
func TestDiskSpan(t *testing.T) {
	disk, late := device(8, 0, "sda", collectors.WholeDisk, nil), device(8, 16, "sdb", collectors.WholeDisk, nil)
	read := func(n uint64) collectors.DiskCounts {
		return collectors.DiskCounts{Read: collectors.IOCounts{IOs: n, Ms: n}}
	}
	f := diskMoments(
		[]collectors.DiskRow{{BlockDevice: disk, New: true}},
		[]collectors.DiskRow{{BlockDevice: disk, DiskCounts: read(40)}},
		[]collectors.DiskRow{{BlockDevice: disk, DiskCounts: read(20)}, {BlockDevice: late, New: true}},
		[]collectors.DiskRow{{BlockDevice: late, DiskCounts: read(60)}},
	)
	for i := range 2 { // sdb was not there yet
		f.Past[i].Disk.Table = &collectors.DiskTable{Devices: []*collectors.BlockDevice{disk}}
	}
	f.Span = time.Hour
	table := NewDisk().Table(f)
	if got, want := cells(table, "sda")["r/s"], "10.0"; got != want {
		t.Errorf("sda r/s over 6 s = %s, want %s", got, want)
	}
	if got, want := cells(table, "sdb")["r/s"], "30.0"; got != want {
		t.Errorf("sdb r/s over the 2 s it was there = %s, want %s", got, want)
	}
	f.Span = 0
	if got, want := cells(NewDisk().Table(f), "sda")["r/s"], "0.0"; got != want {
		t.Errorf("sda r/s in an idle interval = %s, want %s: it keeps its row", got, want)
	}
	if got := diskSeries(f, 9, collectors.RawString("sda"), func(d *diskIO) float64 { return await(d.Read) }); len(got) != 4 || !math.IsNaN(got[0]) || got[1] != 1 || !math.IsNaN(got[3]) {
		t.Errorf("series of r_await = %v, want a gap without reads", got)
	}
	f.Past[1].Disk.Rows = nil // the history has let go of them
	if got := diskSeries(f, 9, collectors.RawString("sda"), (*diskIO).queue); !math.IsNaN(got[1]) || got[3] != 0 {
		t.Errorf("series of aqu-sz = %v, want a gap where rows are gone and 0 where the disk was idle", got)
	}
}

func TestHiddenDisks(t *testing.T) {
	f := busyStory(91).frame()
	p := NewDisk()
	s := diskOver(f)
	if got, want := hiddenDisks(s, false), "1 partition, 2 loops, 1 idle"; got != want {
		t.Errorf("hiddenDisks = %q, want %q", got, want)
	}
	if got := hiddenDisks(s, true); got != "" {
		t.Errorf("hiddenDisks of all = %q", got)
	}
	few := len(p.Table(f).Rows)
	p.Update(Press{ID: keyDiskAll, Frame: f})
	if all := len(p.Table(f).Rows); few != 3 || all != len(s.Disks) {
		t.Errorf("%d rows and %d with a, want 3 and %d", few, all, len(s.Disks))
	}
}

// TestDiskOpens: Enter leads from a disk, and from a file system, to the page of the disk.
func TestDiskOpens(t *testing.T) {
	f := busyStory(91).frame()
	for row, want := range map[string]string{"nvme0n1": "nvme0n1", "fs /": "nvme0n1p1", "fs /backup": "dm-0"} {
		p := NewDisk()
		p.Update(Select{row})
		got := p.Update(Press{ID: keymap.Open, Frame: f})
		if got == nil {
			t.Errorf("Enter on %s does nothing", row)
			continue
		}
		if open, ok := got.(OpenMsg); !ok || open.Pane.Info().ID != ID(want) {
			t.Errorf("Enter on %s = %+v, want the page of %s", row, open, want)
		}
	}
	p := NewDisk()
	p.Update(Select{"fs /dev/shm"})
	p.all = true
	got := p.Update(Press{ID: keymap.Open, Frame: f})
	if say, ok := got.(SayMsg); !ok || !strings.Contains(say.Text, "no disk") {
		t.Errorf("Enter on what lies in memory = %+v, want why not", say)
	}
	page := newDiskPage("nvme0n1")
	page.Update(Press{ID: keyDiskNext, Frame: f})
	if page.name != "sdb" {
		t.Errorf("n on the page of nvme0n1 leads to %s, want sdb", page.name)
	}
	if view := newDiskPage("gone").View(f, Canvas{Width: 80, Height: 20, Theme: plain()}); !strings.Contains(view, "gone is gone") {
		t.Errorf("the page of a disk that is gone = %q", view)
	}
}

func TestIostatLine(t *testing.T) {
	slow := device(8, 0, "sda", collectors.WholeDisk, nil)
	fast := device(259, 0, "nvme0n1", collectors.WholeDisk, func(d *collectors.BlockDevice) { d.Parallel = true })
	volume := device(253, 0, "dm-0", collectors.Mapper, func(d *collectors.BlockDevice) { d.Slaves = raws("sda") })
	io := func(reads, ms uint64) collectors.DiskCounts {
		return collectors.DiskCounts{Read: collectors.IOCounts{IOs: reads, Ms: ms}, QueueMs: ms, BusyMs: 2000}
	}
	tests := map[string]struct {
		f    Frame
		want string
	}{
		"nothing":        {Frame{}, "-"},
		"first reading":  {diskMoments([]collectors.DiskRow{{BlockDevice: slow, New: true}}), "-"},
		"idle":           {diskMoments(nil, nil), "no I/O"},
		"the longest":    {diskMoments(nil, []collectors.DiskRow{{BlockDevice: fast, DiskCounts: io(9000, 900)}, {BlockDevice: slow, DiskCounts: io(40, 4000)}}), "sda 20.0 r/s  r_await 100.0  aqu-sz 2.0  %util 100"},
		"parallel":       {diskMoments(nil, []collectors.DiskRow{{BlockDevice: fast, DiskCounts: io(9000, 900)}}), "nvme0n1 4.5k r/s  r_await 0.1  aqu-sz 0.5  %util 100par"},
		"a hung request": {diskMoments(nil, []collectors.DiskRow{{BlockDevice: slow, InFlight: 1, DiskCounts: collectors.DiskCounts{BusyMs: 2000, QueueMs: 2000}}}), "sda 1 in flight, none completed  aqu-sz 1.0  %util 100"},
		"not the volume": {diskMoments(nil, []collectors.DiskRow{{BlockDevice: slow, DiskCounts: io(4, 4)}, {BlockDevice: volume, DiskCounts: io(4, 400)}}), "sda 2.0 r/s  r_await 1.0  aqu-sz 0.0  %util 100"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := iostatLine(tt.f)
			if got := l.summary(200); got != tt.want {
				t.Errorf("iostat says %q, want %q", got, tt.want)
			}
			if l.id != "iostat" || l.pane != DiskPane || math.IsNaN(l.value) && l.why == "" {
				t.Errorf("line = %+v, want a reason where there is no value", l)
			}
		})
	}
}

func TestFileParts(t *testing.T) {
	at := func(files *collectors.FileSystems) Frame {
		snap := &collectors.Snapshot{At: 14 * time.Second, FileSystems: files}
		return Frame{Now: triage.Moment{Snapshot: snap}, Past: []triage.Moment{{Snapshot: snap}}}
	}
	fs := func(point string, avail, ifree uint64, change func(*collectors.FileSystem)) collectors.FileSystem {
		x := collectors.FileSystem{
			Mount: &collectors.Mount{Point: collectors.RawString(point), Type: collectors.RawString("ext4")}, Known: true, Size: 100 << 20, Free: avail << 20, Avail: avail << 20,
			Inodes: 100, InodesFree: ifree,
		}
		if change != nil {
			change(&x)
		}
		return x
	}
	files := &collectors.FileSystems{Span: collectors.Span{To: 12 * time.Second}, Rows: []collectors.FileSystem{
		fs("/a", 9, 50, nil), fs("/b", 3, 50, nil), fs("/image", 0, 0, func(x *collectors.FileSystem) { x.Virtual = true }),
		fs("/cd", 0, 0, func(x *collectors.FileSystem) { x.ReadOnly = true }), fs("/c", 11, 50, nil),
		{Mount: &collectors.Mount{Point: collectors.RawString("/net")}, Silent: 10 * time.Second},
	}}
	got := ""
	for _, p := range fileParts(at(files)) {
		got += p.text + "; "
	}
	if want := "/net silent 12s; /b 97 % full; "; got != want {
		t.Errorf("fileParts = %q, want %q", got, want)
	}
	files.Rows = []collectors.FileSystem{fs("/i", 50, 2, nil)}
	if got := fmt.Sprint(fileParts(at(files))); !strings.Contains(got, "/i 98 % of inodes") {
		t.Errorf("fileParts = %s, want inodes", got)
	}
	files.Rows = []collectors.FileSystem{fs("/ok", 50, 50, nil)}
	if got := fileParts(at(files)); got != nil {
		t.Errorf("fileParts of a half-full file system = %v", got)
	}
	old := at(files)
	old.Now = triage.Moment{Snapshot: &collectors.Snapshot{At: time.Minute}}
	if filesOf(old) != nil {
		t.Error("a round of a minute ago is shown as now")
	}
}

// TestDfPercent holds df's rounding: up, and without what is reserved.
func TestDfPercent(t *testing.T) {
	x := &collectors.FileSystem{Known: true, Size: 1000, Free: 300, Avail: 250, Inodes: 3, InodesFree: 2}
	if got := usePercent(x); got != 74 { // 700 of 950 is 73.7
		t.Errorf("use %% = %v, want 74", got)
	}
	if got := inodePercent(x); got != 34 {
		t.Errorf("inode use %% = %v, want 34", got)
	}
	if got := usePercent(&collectors.FileSystem{}); !math.IsNaN(got) {
		t.Errorf("use %% of what did not answer = %v", got)
	}
}

func TestArrayTrouble(t *testing.T) {
	raw := collectors.RawString
	for want, a := range map[string]collectors.Array{
		"": {Name: raw("md0"), Level: raw("raid1"), Active: true, Want: 2, Have: 2},
		"md0 raid1 degraded: 1 of 2 members, recovery 12.5 %, 2h left at 32MB/s": {
			Name: raw("md0"), Level: raw("raid1"), Active: true, Want: 2, Have: 1, Action: raw("recovery"), Done: 1, All: 8, Finish: 2 * time.Hour, Speed: 32 << 20,
		},
		"md1 raid6, resync waits":    {Name: raw("md1"), Level: raw("raid6"), Active: true, Want: 4, Have: 4, Action: raw("resync"), Waits: true},
		"md2 is inactive":            {Name: raw("md2")},
		"md3 raid0: 1 failed member": {Name: raw("md3"), Level: raw("raid0"), Active: true, Failed: 1},
	} {
		if got := arrayTrouble(&a); got != want {
			t.Errorf("arrayTrouble = %q, want %q", got, want)
		}
	}
}

// TestHotDisks holds that a disk keeps its row for a minute of rest, however rare the samples.
func TestHotDisks(t *testing.T) {
	for name, tt := range map[string]struct {
		idle int // samples of 2 s
		want bool
	}{"half a minute": {15, true}, "two minutes": {60, false}} {
		disk := device(8, 0, "sda", collectors.WholeDisk, nil)
		list := [][]collectors.DiskRow{{{BlockDevice: disk, New: true}}, {{BlockDevice: disk, DiskCounts: collectors.DiskCounts{Read: collectors.IOCounts{IOs: 1}}}}}
		f := diskMoments(append(list, make([][]collectors.DiskRow, tt.idle)...)...)
		for i := range f.Past {
			f.Past[i].Block = &collectors.Block{}
		}
		f.Past[1].Block.Rows = []collectors.BlockRow{{Dev: disk.Dev, Class: collectors.ReadSync}}
		if got := diskOver(f).disk("sda").Active; got != tt.want {
			t.Errorf("after %s of rest the disk is active: %v", name, got)
		}
		if got := len(blockOver(f).hot) == 1; got != tt.want {
			t.Errorf("after %s of rest its requests are listed: %v", name, got)
		}
	}
}
