// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// Columns of df; sizes in KiB as it prints them. The last one stays.
func fileColumns() []Column {
	size := func(id, title string, rank int) Column {
		return Column{ID: id, Title: title, Unit: "KiB", Width: 13, Rank: rank}
	}
	return []Column{
		{ID: "Filesystem", Title: "Filesystem", Width: 20, Left: true, Rank: 5},
		{ID: "Type", Title: "Type", Width: 8, Left: true, Rank: 3},
		size("1K-blocks", "Size", 2),
		size("Used", "Used", 3),
		size("Available", "Avail", 1),
		{ID: "Use%", Title: "Use%", Unit: "%", Width: 4},
		{ID: "IUse%", Title: "IUse%", Unit: "%", Width: 5, Rank: 2},
		size("reserved", "reserved", 6),
		{ID: "inodes", Title: "Inodes", Unit: "inodes", Width: 12, Hidden: true, Rank: 8},
		{ID: "ifree", Title: "IFree", Unit: "inodes", Width: 12, Hidden: true, Rank: 8},
		{ID: "mounts", Title: "mounts", Unit: "mounts", Width: 6, Rank: 9},
		{ID: "options", Title: "options", Width: 24, Left: true, Rank: 10},
		{ID: "state", Title: "state", Width: 10, Left: true, Rank: 1},
		{ID: "Mounted on", Title: "Mounted on", Width: 16, Left: true},
	}
}

// fileRow is the row ID of a file system.
func fileRow(x *collectors.FileSystem) string { return "fs " + clean(x.Point) }

// fileTable is df -hT and df -i in one: those that do not answer first, then the fullest. Nil rows
// show all.
func fileTable(f Frame, show func(*collectors.FileSystem) bool) Table {
	t := Table{Title: "file systems", Columns: fileColumns()}
	files := filesOf(f)
	if files == nil {
		why, remedy := whyNot(f, collectors.FileSystemID, "df")
		t.Notes = append(t.Notes, note("df", why, remedy))
		return t
	}
	var rows []*collectors.FileSystem
	for i := range files.Rows {
		if show(&files.Rows[i]) {
			rows = append(rows, &files.Rows[i])
		}
	}
	sortStably(rows, func(a, b *collectors.FileSystem) int {
		if a.Known != b.Known {
			if a.Known {
				return 1
			}
			return -1
		}
		return cmp.Compare(fullest(b), fullest(a))
	})
	disks := diskOver(f)
	for _, x := range rows {
		var on collectors.Target
		if d := disks.deviceOf(x.Mount); d != nil {
			on = aboutDisk(d.Dev, d.title())
		}
		t.Rows = append(t.Rows, Row{ID: fileRow(x), Target: on, Cells: fileCells(f, files, x)})
	}
	if files.Unlisted > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d file systems beyond the first %d are not asked", files.Unlisted, len(files.Rows)))
	}
	return t
}

func fileCells(f Frame, files *collectors.FileSystems, x *collectors.FileSystem) []Cell {
	why := x.Err
	if x.Silent > 0 {
		why = silentFor(f, files, x)
	}
	kib := func(n uint64) Cell {
		if !x.Known {
			return Missing(why)
		}
		return Number(float64(n >> 10))
	}
	inodes := func(n uint64) Cell {
		switch {
		case !x.Known:
			return Missing(why)
		case x.Inodes == 0:
			return Missing(clean(x.Type) + " makes inodes as it needs them")
		}
		return Number(float64(n))
	}
	use, inodeUse := Missing(why), inodes(0)
	if p := usePercent(x); !math.IsNaN(p) {
		use = Number(p)
	}
	if p := inodePercent(x); !math.IsNaN(p) {
		inodeUse = Number(p)
	}
	return []Cell{
		Name(collectors.Clean(x.Source)), Name(collectors.Clean(x.Type)), kib(x.Size), kib(x.Used()), kib(x.Avail), use, inodeUse, kib(x.Free - x.Avail),
		inodes(x.Inodes), inodes(x.InodesFree), Number(float64(x.Mounts)), Name(collectors.Clean(x.Options)), Say(fileState(f, files, x)), Name(collectors.Clean(x.Point)),
	}
}

// fileState is the most important thing about a file system in one word.
func fileState(f Frame, files *collectors.FileSystems, x *collectors.FileSystem) string {
	switch {
	case x.Silent > 0:
		return "silent " + widget.Age(x.Silent+max(f.Now.At-files.To, 0))
	case !x.Known:
		return "unknown"
	case x.Forced:
		return "ro forced"
	case x.Errors > 0:
		return "err " + widget.Count(x.Errors)
	case x.ReadOnly:
		return "ro"
	}
	return "rw"
}

// usePercent is df's: of what is not reserved, rounded up. Not a number if it is not known.
func usePercent(x *collectors.FileSystem) float64 {
	if !x.Known || x.Used()+x.Avail == 0 {
		return math.NaN()
	}
	return math.Ceil(100 * float64(x.Used()) / float64(x.Used()+x.Avail))
}

// inodePercent is df -i's, rounded up.
func inodePercent(x *collectors.FileSystem) float64 {
	if !x.Known || x.Inodes == 0 {
		return math.NaN()
	}
	return math.Ceil(100 * float64(x.Inodes-x.InodesFree) / float64(x.Inodes))
}

// fullest is the share in use of what is scarcest: space or inodes. -1 if neither is known.
func fullest(x *collectors.FileSystem) float64 {
	m := -1.0
	for _, p := range []float64{usePercent(x), inodePercent(x)} {
		if !math.IsNaN(p) {
			m = math.Max(m, p)
		}
	}
	return m
}

// nearlyFull is where a file system is worth a word on the first screen: %.
const nearlyFull = 90

// worthRow says whether a file system has a row by default: what lies in memory and what cannot be
// written has one only if it does not answer, or is full although it can be written.
func worthRow(x *collectors.FileSystem, all bool) bool {
	return all || !x.Virtual || !x.Known || clean(x.Point) == "/" || !x.ReadOnly && fullest(x) >= nearlyFull
}

// humanSizes makes the sizes of a table short, as df -h prints them.
func humanSizes(t Table) Table {
	columns := slices.Clone(t.Columns)
	rows := slices.Clone(t.Rows)
	for i := range rows {
		rows[i].Cells = slices.Clone(rows[i].Cells)
	}
	for k := range columns {
		if columns[k].Unit != "KiB" {
			continue
		}
		columns[k].Width = max(6, len(columns[k].Title))
		for i := range rows {
			if v, ok := rows[i].Cells[k].Num(); ok {
				rows[i].Cells[k] = Say(widget.Bytes(uint64(v) << 10))
			}
		}
	}
	t.Columns, t.Rows = columns, rows
	return t
}
