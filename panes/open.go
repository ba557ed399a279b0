// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strconv"
	"strings"

	"bpf60/collectors"
)

// openProcess opens the page of a process. One that has ended has a page, too: what was seen of it.
func openProcess(f Frame, p collectors.Process, comm collectors.Raw) Answer {
	if p.TGID <= 0 {
		return SayMsg{"no process is known for this row"}
	}
	return OpenMsg{newProcessPage(infoOf(f, p, comm))}
}

// infoOf is what is known of a process, at least its number and its name. Who tells the start of a process
// by the clock that has no suspended time in it, or in ticks, is a little off.
func infoOf(f Frame, p collectors.Process, comm collectors.Raw) *collectors.ProcInfo {
	if set := processesOver(f); set != nil {
		if i := set.find(p); i >= 0 && set.list[i].ProcInfo != nil {
			return set.list[i].ProcInfo
		}
		for i := range set.list {
			if x := set.list[i].ProcInfo; x != nil && x.TGID == p.TGID && (p.Start == 0 || x.Start/tick == p.Start/tick) {
				return x
			}
		}
	}
	for i := len(f.Past) - 1; i >= 0; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.Tasks == nil {
			continue
		}
		for k := range s.Tasks.Rows {
			if x := s.Tasks.Rows[k].ProcInfo; x != nil && x.Process == p {
				return x
			}
		}
	}
	return &collectors.ProcInfo{Process: p, PID: p.TGID, Comm: comm, ArgsRead: collectors.ArgsGone}
}

// openWho opens the page of the process of a row whose ID has its number and its start, one after the
// other: as whoRow makes it, or with a word before them.
func openWho(f Frame, r Row) Answer {
	if p, ok := rowProcess(r); ok {
		return openProcess(f, p, commOf(r))
	}
	if _, rest, ok := strings.Cut(r.ID, " "); ok {
		if p, ok := rowProcess(Row{ID: rest}); ok {
			return openProcess(f, p, commOf(r))
		}
	}
	return SayMsg{"no process is known for this row"}
}

// openPID opens the page of the process whose number is in a row's column PID.
func openPID(f Frame, t Table, r Row) Answer {
	for i, c := range t.Columns {
		if c.ID != "PID" && c.ID != "pid" || i >= len(r.Cells) {
			continue
		}
		n, ok := r.Cells[i].Num()
		if !ok || n <= 0 {
			break
		}
		info := infoOf(f, collectors.Process{TGID: int32(n)}, commOf(r))
		if info.Start == 0 {
			return SayMsg{"process " + strconv.Itoa(int(n)) + " has ended: no scan has seen it"}
		}
		return OpenMsg{newProcessPage(info)}
	}
	return SayMsg{"no process is known for this row"}
}

// commOf is the first text of a row that may be its process's name: what is shown if nothing better is
// known.
func commOf(r Row) collectors.Raw {
	if r.Target.Kind == collectors.ProcessTarget && r.Target.Name != "" {
		return collectors.RawString(r.Target.Name)
	}
	for _, c := range r.Cells {
		if c.kind == text && c.text.String() != "" {
			return collectors.RawString(c.text.String())
		}
	}
	return collectors.Raw{}
}

// openOwner opens the page of a cgroup by its number.
func openOwner(f Frame, id uint64) Answer {
	rows, _ := cgroupsOver(f)
	for i := range rows {
		if rows[i].ID == id && id != 0 {
			return OpenMsg{newCgroupPage(f, rows[i].Path.Bytes())}
		}
	}
	return SayMsg{"this cgroup is not listed: it is gone, or of another hierarchy"}
}

// openDev opens the page of the disk that a device is, or lies on.
func openDev(f Frame, dev collectors.DevID) Answer {
	if s := diskOver(f); s != nil {
		for i := range s.Disks {
			if s.Disks[i].Dev == dev {
				return OpenMsg{newDiskPage(s.Disks[i].row())}
			}
		}
	}
	return SayMsg{"this disk is not listed: " + dev.String()}
}
