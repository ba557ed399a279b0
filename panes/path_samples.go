// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"time"

	"bpf60/collectors"
)

// pathSum is what the moments of a frame tell of a path.
type pathSum struct {
	collectors.Span // what the rates are the mean of
	of              sumKey

	samples            int    // of opens, in sight
	n, failed          uint64 // opens in the span
	total, totalFailed uint64 // in sight
	listed             uint64 // of the total: in who

	who     []pathUser
	results []pathResult
	files   []pathFile // of a directory
	opens   []collectors.PathEvent
	lives   []collectors.FileLife
	slow    []collectors.SlowFile

	endings bool // some paths are only known by how they end
}

// sumKey tells frames apart that have other moments.
type sumKey struct {
	from, to, span time.Duration
	n              int
}

// pathUser is a process that has to do with a path. Counts are of all in sight but for n and failed.
type pathUser struct {
	collectors.Process
	comm               collectors.Raw
	n, failed          uint64 // opens in the span
	total, totalFailed uint64
	deleted, slow      uint64
}

// pathResult is what opens of a path came to.
type pathResult struct {
	errno     uint32 // 0: they succeeded
	n, total  uint64
	processes map[collectors.Process]uint64
	most      pathUser // who got it most
}

// pathFile is a file of a directory.
type pathFile struct {
	path               collectors.Raw
	cut                bool
	n, failed          uint64
	total, totalFailed uint64
}

// sum goes through the moments of a frame once. The tables of the page are drawn from it.
func (p *pathPage) sum(f Frame) *pathSum {
	if f.Now.Snapshot == nil {
		return &pathSum{}
	}
	key := sumKey{to: f.Now.At, span: f.Span, n: len(f.Past)}
	if len(f.Past) > 0 {
		key.from = f.Past[0].At
	}
	if p.last.of == key && key.n > 0 {
		return &p.last
	}
	s := pathSum{of: key}
	users, results, files := map[collectors.Process]int{}, map[uint32]int{}, map[collectors.Raw]int{}
	user := func(by collectors.Process, comm collectors.Raw) *pathUser {
		return place(users, &s.who, by, pathUser{Process: by, comm: comm})
	}
	span := f.Span
	if span == 0 {
		span = pathSpan
	}
	for _, m := range f.Past {
		if m.Snapshot == nil || m.At > f.Now.At {
			continue
		}
		if o := m.Opens; o != nil && !o.Partial {
			s.samples++
			recent := m.At > f.Now.At-span
			if recent {
				s.Span = join(s.Span, o.Span)
			}
			p.addOpens(&s, o, recent, user, results, files)
		}
		if x := m.Files; x != nil {
			for i := range x.Lives {
				if l := p.like(x.Lives[i].Path); l != otherPath {
					s.lives = append(s.lives, x.Lives[i])
					s.endings = s.endings || l == endsAlike
					user(x.Lives[i].By, x.Lives[i].Comm).deleted++
				}
			}
		}
		if x := m.SlowFiles; x != nil && !x.Partial {
			for i := range x.Events {
				if l := p.like(x.Events[i].Path); l != otherPath {
					s.slow = append(s.slow, x.Events[i])
					s.endings = s.endings || l == endsAlike
					user(x.Events[i].Process, x.Events[i].Comm).slow++
				}
			}
		}
	}
	sortStably(s.who, func(a, b pathUser) int {
		return cmp.Or(cmp.Compare(b.total, a.total), cmp.Compare(b.deleted+b.slow, a.deleted+a.slow), cmp.Compare(a.TGID, b.TGID))
	})
	sortStably(s.results, func(a, b pathResult) int { return cmp.Or(cmp.Compare(b.total, a.total), cmp.Compare(a.errno, b.errno)) })
	sortStably(s.files, func(a, b pathFile) int { return cmp.Compare(b.total, a.total) })
	p.last = s
	return &p.last
}

// addOpens adds a sample of opens. Those that fail are also listed by command, which finds more of them
// where every process fails once: the larger of the two counts.
func (p *pathPage) addOpens(s *pathSum, o *collectors.Opens, recent bool, user func(collectors.Process, collectors.Raw) *pathUser, results map[uint32]int, files map[collectors.Raw]int) {
	byProcess, byCommand := map[uint32]uint64{}, map[uint32]uint64{}
	for i := range o.Paths {
		r := &o.Paths[i]
		l := p.like(r.Path)
		if l == otherPath {
			continue
		}
		s.endings = s.endings || l == endsAlike
		byProcess[r.Errno] += r.N
		s.listed += r.N
		u, x := user(r.Process, r.Comm), p.result(s, results, r.Errno)
		x.processes[r.Process] += r.N
		if x.processes[r.Process] >= x.processes[x.most.Process] {
			x.most = pathUser{Process: r.Process, comm: r.Comm}
		}
		u.total += r.N
		file := place(files, &s.files, r.Path, pathFile{path: r.Path, cut: r.Cut})
		file.total += r.N
		if r.Errno != 0 {
			u.totalFailed, file.totalFailed = u.totalFailed+r.N, file.totalFailed+r.N
		}
		if recent {
			u.n, file.n = u.n+r.N, file.n+r.N
			if r.Errno != 0 {
				u.failed, file.failed = u.failed+r.N, file.failed+r.N
			}
		}
	}
	for i := range o.Failures {
		r := &o.Failures[i]
		l := p.like(r.Path)
		if l == otherPath {
			continue
		}
		s.endings = s.endings || l == endsAlike
		byCommand[r.Errno] += r.N
		if x := p.result(s, results, r.Errno); x.most.TGID == 0 {
			x.most = pathUser{Process: r.Process, comm: r.Comm}
		}
	}
	for errno, n := range byCommand {
		byProcess[errno] = max(byProcess[errno], n)
	}
	for errno, n := range byProcess {
		x := p.result(s, results, errno)
		x.total, s.total = x.total+n, s.total+n
		if errno != 0 {
			s.totalFailed += n
		}
		if recent {
			x.n, s.n = x.n+n, s.n+n
			if errno != 0 {
				s.failed += n
			}
		}
	}
	for i := range o.Events {
		if p.like(o.Events[i].Path) != otherPath {
			s.opens = append(s.opens, o.Events[i])
		}
	}
}

func (p *pathPage) result(s *pathSum, results map[uint32]int, errno uint32) *pathResult {
	return place(results, &s.results, errno, pathResult{errno: errno, processes: map[collectors.Process]uint64{}})
}
