// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"cmp"
	"slices"
	"syscall"
	"time"

	"bpf60/bpf"
)

// execDelta subtracts two readings. A counter that went back was made anew.
func execDelta(prev, cur *bpf.ExecTotals) ExecCounts {
	return ExecCounts{
		Execs: grown(prev.Execs, cur.Execs), Forks: grown(prev.Forks, cur.Forks), Threads: grown(prev.Threads, cur.Threads),
		Exits: grown(prev.Exits, cur.Exits), Failed: grown(prev.Failed, cur.Failed), Killed: grown(prev.Killed, cur.Killed),
		Dumped: grown(prev.Dumped, cur.Dumped),
		CPU:    time.Duration(grown(prev.CPU, cur.CPU)),
		Unseen: grown(prev.Unseen, cur.Unseen), UnseenCPU: time.Duration(grown(prev.UnseenCPU, cur.UnseenCPU)),
		UnseenAge: time.Duration(grown(prev.UnseenAge, cur.UnseenAge)),
		Reaped:    grown(prev.Reaped, cur.Reaped), Late: grown(prev.Late, cur.Late), Unkeyed: grown(prev.Unkeyed, cur.Unkeyed),
	}
}

// forkerKey is a process.
type forkerKey struct {
	tgid  int32
	start uint64
}

// execTables are the last reading of the maps by key.
type execTables struct {
	dead  map[bpf.DeadKey]bpf.DeadCount
	files map[bpf.ExecKey]uint64
	forks map[forkerKey]bpf.ForkCount
}

// derive fills the tables of s with what moved, and keeps the reading. A key that was not there counts
// with all it has: the map was empty when the probe attached.
func (p *execTables) derive(s *Exec, cur *bpf.ExecCounts) {
	next := execTables{
		dead:  make(map[bpf.DeadKey]bpf.DeadCount, len(cur.Dead)),
		files: make(map[bpf.ExecKey]uint64, len(cur.Execs)),
		forks: make(map[forkerKey]bpf.ForkCount, len(cur.Forks)),
	}
	for i := range cur.Dead {
		d := &cur.Dead[i]
		next.dead[d.DeadKey] = *d
		was := p.dead[d.DeadKey]
		if row := shortDelta(&was, d); row.Exits > 0 || row.CPU > 0 {
			s.Short = append(s.Short, row)
		}
	}
	for i := range cur.Execs {
		x := &cur.Execs[i]
		next.files[x.ExecKey] = x.Execs
		if n := grown(p.files[x.ExecKey], x.Execs); n > 0 {
			s.Files = append(s.Files, ExecFile{RawString(x.Parent), RawString(x.Name), n})
		}
	}
	for i := range cur.Forks {
		f := &cur.Forks[i]
		key := forkerKey{f.TGID, f.Start}
		next.forks[key] = *f
		was := p.forks[key]
		if n, m := grown(was.Forks, f.Forks), grown(was.Threads, f.Threads); n+m > 0 {
			s.Forkers = append(s.Forkers, Forker{Process{f.TGID, f.Start}, RawString(f.Comm), n, m})
		}
	}
	*p = next
	sortBy(s.Short, compareShort)
	sortBy(s.Files, func(a, b ExecFile) int {
		return cmp.Or(cmp.Compare(b.Execs, a.Execs), cmp.Compare(a.File.s, b.File.s), cmp.Compare(a.ParentComm.s, b.ParentComm.s))
	})
	sortBy(s.Forkers, func(a, b Forker) int {
		return cmp.Or(cmp.Compare(b.Forks+b.Threads, a.Forks+a.Threads), cmp.Compare(a.Process.TGID, b.Process.TGID))
	})
	s.Short, s.ShortUnlisted = firstOf(s.Short, maxShort)
	s.Files, s.FilesUnlisted = firstOf(s.Files, maxShort)
	s.Forkers, s.ForkersMore = firstOf(s.Forkers, maxShort)
}

// compareShort puts first what no scan has seen and used most.
func compareShort(a, b ShortLived) int {
	return cmp.Or(
		cmp.Compare(b.UnseenCPU, a.UnseenCPU), cmp.Compare(b.Unseen, a.Unseen), cmp.Compare(b.CPU, a.CPU),
		cmp.Compare(a.Comm.s, b.Comm.s), cmp.Compare(a.Parent.TGID, b.Parent.TGID),
	)
}

// firstOf keeps the first n of a list, in memory of its own, and says how many there are more.
func firstOf[T any](list []T, n int) ([]T, int) {
	if len(list) <= n {
		return slices.Clone(list), 0
	}
	return slices.Clone(list[:n]), len(list) - n
}

func shortDelta(was, d *bpf.DeadCount) ShortLived {
	return ShortLived{
		Comm: RawString(d.Comm), Parent: Process{d.ParentTGID, d.ParentStart}, ParentComm: RawString(d.ParentComm),
		Exits: grown(was.Exits, d.Exits), CPU: time.Duration(grown(was.CPU, d.CPU)), Age: time.Duration(grown(was.Age, d.Age)),
		Unseen: grown(was.Unseen, d.Unseen), UnseenCPU: time.Duration(grown(was.UnseenCPU, d.UnseenCPU)),
		UnseenAge: time.Duration(grown(was.UnseenAge, d.UnseenAge)),
		Failed:    grown(was.Failed, d.Failed), Killed: grown(was.Killed, d.Killed),
	}
}

func (c *execCollector) execRow(e *bpf.ExecEvent, boot int64, now time.Duration) ExecRow {
	r := ExecRow{
		At:      eventTime(e.At, boot, now),
		Process: Process{e.TGID, e.Start}, Parent: Process{e.ParentTGID, e.ParentStart},
		Comm: RawString(e.Comm), ParentComm: RawString(e.ParentComm),
		UID: e.UID, User: c.users.name(e.UID), Cgroup: e.Cgroup, File: RawString(e.File),
		Args: execArgs(e.Args), ArgsWhole: e.ArgsWhole, ArgsKept: uint32(len(e.Args)),
	}
	if e.OldPID != e.TGID {
		r.Thread = e.OldPID
	}
	return r
}

// execArgs joins arguments that each end with a NUL by blanks, secrets masked.
func execArgs(b []byte) Raw {
	if len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	if len(b) == 0 {
		return Raw{}
	}
	return RawString(string(bytes.ReplaceAll(MaskSecrets(bytes.Clone(b)), []byte{0}, []byte{' '})))
}

func exitRow(e *bpf.ExitEvent, boot int64, now time.Duration) ExitRow {
	status := syscall.WaitStatus(uint32(e.Code))
	r := ExitRow{
		At:      eventTime(e.At, boot, now),
		Process: Process{e.TGID, e.Start}, Parent: Process{e.ParentTGID, e.ParentStart},
		Comm: RawString(e.Comm), ParentComm: RawString(e.ParentComm),
		UID: e.UID, Cgroup: e.Cgroup, Age: time.Duration(e.Age), CPU: time.Duration(e.CPU),
	}
	if status.Signaled() {
		r.Signal, r.Core = uint8(status.Signal()), status.CoreDump()
	} else {
		r.Code = uint8(e.Code >> 8)
	}
	return r
}

// execExits holds exits until they are waited for, or for reapWait.
type execExits struct {
	waiting []ExitRow
	reaped  map[Process]bpf.ReapEvent
	before  map[Process]bpf.ReapEvent // of the reading before: of an exit that was taken after it
}

// add takes an exit; one of a process that is known already, by another of its threads, is dropped.
func (x *execExits) add(r ExitRow) {
	same := func(o ExitRow) bool { return o.Process == r.Process }
	if !slices.ContainsFunc(x.waiting, same) {
		x.waiting = append(x.waiting, r)
	}
}

func (x *execExits) reap(e *bpf.ReapEvent) {
	if x.reaped == nil {
		x.reaped = make(map[Process]bpf.ReapEvent)
	}
	x.reaped[Process{e.TGID, e.Start}] = *e
}

// done returns the exits of which all is known, and those that are not waited for.
func (x *execExits) done(now time.Duration) []ExitRow {
	var out []ExitRow
	keep := x.waiting[:0]
	for _, r := range x.waiting {
		e, ok := x.reaped[r.Process]
		if !ok {
			e, ok = x.before[r.Process]
		}
		switch {
		case ok:
			r.Reaped, r.CPU, r.Read, r.Write = true, time.Duration(e.CPU), e.Read, e.Write
			counts := taskCounts{Run: e.CPU, User: e.User, Sys: e.Sys}
			r.Sys = micros(counts.inKernel())
			out = append(out, r)
		case now-r.At >= reapWait:
			out = append(out, r)
		default:
			keep = append(keep, r)
		}
	}
	x.waiting = keep
	x.before, x.reaped = x.reaped, nil
	return out
}
