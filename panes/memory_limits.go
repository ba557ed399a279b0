// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// tableUnlimited is where a limit stops being one: systemd sets fs.file-max to the largest number.
const tableUnlimited = 1 << 60

// limitsTable is sar -v, and what else has a limit: swap areas, commit, huge pages, nodes.
func limitsTable(f Frame) Table {
	t := Table{Title: "tables and limits", Columns: []Column{
		{ID: "USED", Title: "USED", Width: 10},
		{ID: "FREE", Title: "FREE", Width: 10},
		{ID: "LIMIT", Title: "LIMIT", Width: 10},
		{ID: "USE%", Title: "USE%", Unit: "%", Width: 5, Decimals: 1},
		{ID: "UNIT", Title: "", Width: 3, Left: true},
		{ID: "NAME", Title: "NAME", Width: 32, Left: true},
	}}
	m := newest(f, memoryOf)
	if m == nil {
		why, remedy := whyNot(f, collectors.MemoryID, "meminfo")
		t.Notes = append(t.Notes, note("meminfo", why, remedy))
		return t
	}
	sarTables(&t, &m.Tables, m.Rare)
	info := &m.Info
	if used, ok := info.Get(collectors.MemCommittedAS); ok {
		limit, _ := info.Get(collectors.MemCommitLimit)
		name, enforced := "commit, promised to processes", m.Rare != nil && m.Rare.Overcommit.Known && m.Rare.Overcommit.N == 2
		if !enforced {
			name = "commit; nothing enforces this limit"
		}
		t.limit("commit", name, used, limit)
	}
	if dirty, ok := info.Get(collectors.MemDirty); ok && m.DirtyLimit > 0 {
		t.limit("dirty", "dirty; writers wait at the limit", dirty+info.N[collectors.MemWriteback], m.DirtyLimit)
	}
	for _, s := range m.Swaps {
		kind := "partition"
		switch {
		case strings.HasPrefix(s.Name.Bytes(), "/dev/zram"):
			kind = "zram"
		case s.File:
			kind = "file"
		}
		t.limit("swap "+clean(s.Name), fmt.Sprintf("swap %s, %s, priority %d", collectors.Clean(s.Name), kind, s.Priority), s.Used, s.Size)
	}
	if m.Rare == nil {
		return t
	}
	for _, h := range m.Rare.HugePages {
		if h.Total == 0 {
			continue
		}
		name := fmt.Sprintf("huge pages %s, %d rsvd, %d surplus", widget.Bytes(h.Size), h.Reserved, h.Surplus)
		t.count("huge "+widget.Bytes(h.Size), name, collectors.TableGauge{N: less(h.Total, h.Free), Known: true}, collectors.TableGauge{N: h.Free, Known: true}, collectors.TableGauge{N: h.Total, Known: true})
	}
	for _, n := range m.Rare.Nodes {
		t.limit(fmt.Sprintf("node %d", n.Node), fmt.Sprintf("node %d: %s files, %s anonymous", n.Node, widget.Bytes(n.File), widget.Bytes(n.Anon)), less(n.Total, n.Free), n.Total)
	}
	if note := ownLimitNote(m); note != "" {
		t.Notes = append(t.Notes, note)
	}
	return t
}

// sarTables adds sar -v's lines.
func sarTables(t *Table, k *collectors.KernelTables, rare *collectors.MemoryRare) {
	var none collectors.TableGauge
	used := func(all, free collectors.TableGauge) collectors.TableGauge {
		return collectors.TableGauge{N: less(all.N, free.N), Known: all.Known && free.Known}
	}
	if rare == nil {
		rare = &collectors.MemoryRare{}
	}
	t.count("dentries", "dentries; FREE is dentunusd", used(k.Dentries, k.Unused), k.Unused, none)
	t.count("negative", "dentries of names that do not exist", k.Negative, none, none)
	t.count("inodes", "inodes; USED is inode-nr", used(k.Inodes, k.InodeFree), k.InodeFree, none)
	t.count("files", "open files, file-nr of fs.file-max", k.Files, none, k.FilesMax)
	t.count("ptys", "terminals, pty-nr of kernel.pty.max", k.PTYs, none, rare.PTYsMax)
	t.count("aio", "async I/O, aio-nr of fs.aio-max-nr", rare.AIO, none, rare.AIOMax)
}

// count adds a line of things that are counted.
func (t *Table) count(id, name string, used, free, limit collectors.TableGauge) {
	cell := func(g collectors.TableGauge, why string) Cell {
		if !g.Known {
			return Missing(why)
		}
		return Number(float64(g.N))
	}
	l := cell(limit, "it has no limit of its own")
	share := Missing("it has no limit of its own")
	switch {
	case limit.Known && limit.N >= tableUnlimited:
		l, share = Missing("set so high that it is none"), Missing("set so high that it is none")
	case limit.Known && used.Known && limit.N > 0:
		share = Number(memPercent(used.N, limit.N))
	}
	t.Rows = append(t.Rows, Row{ID: "limit " + id, Cells: []Cell{
		cell(used, "its file cannot be read here"), cell(free, "not counted apart"), l, share, Say(""), Say(name),
	}})
}

// limit adds a line of bytes.
func (t *Table) limit(id, name string, used, limit uint64) {
	t.Rows = append(t.Rows, Row{ID: "limit " + id, Cells: []Cell{
		inMiB(used), inMiB(less(limit, used)), inMiB(limit), Number(memPercent(used, limit)), Say("MiB"), Say(name),
	}})
}
