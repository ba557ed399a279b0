// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"strconv"

	"bpf60/collectors"
)

// cgroupNames names cgroups by the ID that the kernel's programs tell: of processes that live, and of those
// that the collector of cgroups has read.
type cgroupNames struct{ of map[uint64]collectors.Raw }

func newCgroupNames(f Frame) *cgroupNames {
	n := &cgroupNames{of: map[uint64]collectors.Raw{}}
	for i := len(f.Past) - 1; i >= 0 && i >= len(f.Past)-60; i-- { // rows of cgroups come when they are read
		s := f.Past[i].Snapshot
		if s == nil {
			continue
		}
		if s.Cgroups != nil {
			for _, r := range s.Cgroups.Rows {
				if r.CgroupInfo != nil {
					n.add(r.ID, r.Name)
				}
			}
		}
		if s.Tasks != nil && i >= len(f.Past)-staleAfter {
			for _, r := range s.Tasks.Rows {
				if r.ProcInfo != nil {
					if id := r.NamedCgroup(); id != 0 && n.of[id] == (collectors.Raw{}) { // a name takes a while
						n.add(id, r.CgroupName())
					}
				}
			}
		}
	}
	return n
}

func (n *cgroupNames) add(id uint64, name collectors.Raw) {
	if _, ok := n.of[id]; !ok && name != (collectors.Raw{}) {
		n.of[id] = name
	}
}

func (n *cgroupNames) cell(id uint64) Cell {
	if name, ok := n.of[id]; ok {
		return Name(collectors.Clean(name))
	}
	switch id {
	case 0:
		return Missing("no cgroup of the memory controller")
	case 1: // of every hierarchy
		return Say("/")
	}
	return Say("#" + strconv.FormatUint(id, 10))
}

// killsTable is oomkill's: every kill of the run, the newest first.
func killsTable(f Frame) Table {
	t := Table{Title: "OOM kills", Columns: []Column{
		{ID: "ago", Title: "ago", Unit: "s", Width: 6},
		{ID: "PID", Title: "PID", Width: 7},
		{ID: "COMM", Title: "VICTIM", Width: 15, Left: true},
		{ID: "RSS", Title: "RSS", Unit: "bytes", Width: 6, Form: Bytes},
		{ID: "ANON", Title: "ANON", Unit: "bytes", Width: 6, Form: Bytes, Rank: 3},
		{ID: "SWAP", Title: "SWAP", Unit: "bytes", Width: 6, Form: Bytes, Rank: 4},
		{ID: "ADJ", Title: "ADJ", Width: 5, Rank: 2},
		{ID: "UID", Title: "UID", Width: 6, Rank: 5},
		{ID: "FOR", Title: "FOR", Width: 7, Left: true},
		{ID: "CGROUP", Title: "CGROUP", Width: 12, Left: true, Rank: 1},
		{ID: "BY", Title: "TRIGGERED BY", Width: 14, Left: true},
	}}
	w := waitsOver(f)
	if w == nil || !w.newest.OOM {
		why, remedy := whyNot(f, collectors.ReclaimID, "oomkill")
		t.Notes = append(t.Notes, note("oomkill", why, remedy))
		return t
	}
	names := newCgroupNames(f)
	for i := len(w.kills) - 1; i >= 0; i-- {
		k := &w.kills[i]
		if k.At > f.Now.At {
			continue // the time cursor stands before it
		}
		size := func(n uint64) Cell {
			if !k.Known {
				return Missing("the kernel did not let us read it")
			}
			return Number(float64(n))
		}
		t.Rows = append(t.Rows, Row{ID: fmt.Sprintf("kill %d %d", k.Victim.TGID, k.Victim.Start), Target: inCgroup(aboutProcess(k.Victim, k.Comm), k.Memcg), Cells: []Cell{
			Number((f.Now.At - k.At).Seconds()), Number(float64(k.Victim.TGID)), Name(collectors.Clean(k.Comm)),
			size(k.RSS()), size(k.Anon), size(k.Swap), Number(float64(k.Score)), Number(float64(k.UID)), Say(k.For.String()),
			names.cell(cmp.Or(k.Limit, k.Memcg)), Say(killedBy(k)),
		}})
	}
	return t
}

// killedBy is who asked for memory when there was none: often the victim itself.
func killedBy(k *collectors.OOMKill) string {
	if k.Trigger == k.Victim {
		return "itself"
	}
	return fmt.Sprintf("%s[%d]", clean(k.By), k.Trigger.TGID)
}
