// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"bpf60/collectors"
)

// place is a process at work on one path or directory.
type place struct {
	process collectors.Process
	path    string
}

// places count what processes do with single paths and directories.
type places struct {
	seconds float64
	n       map[place]uint64
	comms   map[collectors.Process]collectors.Raw
}

func newPlaces() *places {
	return &places{n: map[place]uint64{}, comms: map[collectors.Process]collectors.Raw{}}
}

func (p *places) add(who collectors.Process, comm collectors.Raw, path string, n uint64) {
	p.n[place{who, path}] += n
	p.comms[who] = comm
}

// opens are the opens of a look that failed, or those that did not, by path and by directory.
func opens(moments []Moment, failed bool) *places {
	p := newPlaces()
	for _, m := range moments {
		p.seconds += m.Opens.Seconds()
		for i := range m.Opens.Paths {
			x := &m.Opens.Paths[i]
			if (x.Errno != 0) != failed || x.Path.Bytes() == "" {
				continue
			}
			p.add(x.Process, x.Comm, x.Path.Bytes(), x.N)
			if dir := path.Dir(x.Path.Bytes()); dir != "." && dir != "/" && !x.Cut {
				p.add(x.Process, x.Comm, dir+"/", x.N)
			}
		}
	}
	return p
}

// churn are the files that were made and deleted in a look, by directory.
func churn(moments []Moment) *places {
	p := newPlaces()
	for _, m := range moments {
		p.seconds += m.Files.Seconds()
		for i := range m.Files.Churn {
			x := &m.Files.Churn[i]
			name := x.Directory.Bytes()
			if name == "" {
				name = fmt.Sprintf("inode %d", x.Ino)
			}
			p.add(x.Process, x.Comm, name+"/", x.Made+x.Deleted)
		}
	}
	return p
}

// busy is the part of the CPU time in use that a process took, in percent.
func (r *recent) busy(x *task) float64 {
	c := r.cpu()
	idle := percent(c.all.Idle+c.all.IOWait, c.all.Total())
	used := c.seconds * float64(len(c.single)) * (100 - idle) / 100
	return percent(x.run.Seconds(), used)
}

// fileProbe is the probe that tells of what is done with files, and how.
type fileProbe struct {
	probe collectors.ID
	span  func(*collectors.Snapshot) *collectors.Span
	tells func([]Moment) *places
}

// pathStorm makes a rule of what processes do again and again in one place.
func pathStorm(chosen Limits, r Rule, what, row, explains string, of fileProbe) Rule {
	rate := r.limit(chosen, Limit{"rate", 100, "a second", 1, 1e9, "in one path or directory by one process, in 10 s"})
	age := r.limit(chosen, Limit{"age", 60, "s", 0, 1e6, "of the process; of a younger one it is info"})
	share := r.limit(chosen, Limit{"cpu", 10, "%", 0, 100, "of the CPU time in use that the process takes; below it the finding is info"})
	suspects := func(w *recent) bool { return w.inKernel() || w.naming(rate) }
	r.Check = toldFrom(of.probe, of.span, suspects, func(w *recent, moments []Moment) Finding {
		p := of.tells(moments)
		keys := slices.SortedFunc(maps.Keys(p.n), func(a, b place) int {
			return cmp.Or(cmp.Compare(p.n[b], p.n[a]), cmp.Compare(len(b.path), len(a.path)), cmp.Compare(a.process.TGID, b.process.TGID), cmp.Compare(a.path, b.path))
		})
		var f Finding
		for _, k := range keys {
			n := p.n[k]
			if float64(n) < rate*p.seconds {
				break
			}
			who := w.stranger(k.process, p.comms[k.process], 0)
			x := w.taskOf(k.process)
			if x != nil && w.ourselves(x.ProcInfo) {
				continue
			}
			where := collectors.Clean(collectors.RawString(k.path))
			found := Finding{
				ID: r.ID, Severity: Info, Resource: r.Resource, Line: "top", Value: float64(n) / p.seconds, Threshold: rate, Unit: "a second", N: n, Window: recentFor,
				Title:    fmt.Sprintf("%s %s %.0f times a second: %s", who.Name, what, float64(n)/p.seconds, where),
				Culprits: []Culprit{who, {Kind: "file", Name: where}}, Pane: "exec", Row: row, Command: "opensnoop -x; filelife",
			}
			if explains != "" {
				found.Explains = []string{explains}
			}
			if x == nil {
				if f.ID == "" {
					f = found
				}
				continue
			}
			found.Evidence = []string{fmt.Sprintf("%.0f %% of the CPU time in use", w.busy(x))}
			if w.age(k.process) >= time.Duration(age*float64(time.Second)) && w.busy(x) >= share {
				found.Severity = Warning
				return found
			}
			if f.ID == "" {
				f = found
			}
		}
		return f
	})
	return r
}

// pathRules are the rules about what is done with files. Their probes attach while somebody looks, and while
// they suspect something.
func pathRules(chosen Limits) []Rule {
	return []Rule{
		pathStorm(chosen, Rule{ID: "file.churn", Says: "a process makes and deletes files in one directory all the time", Resource: "files made and deleted", Needs: []string{"filelife"}, Fallback: true},
			"makes and deletes files", "churn/", "mem.slab_growth", fileProbe{collectors.FilesID, churnSpan, churn}),
		pathStorm(chosen, Rule{ID: "file.open_storm", Says: "a process opens one path, or files of one directory, all the time", Resource: "opens", Needs: []string{"opensnoop"}},
			"opens files", "openers/", "", fileProbe{collectors.OpensID, openSpan, func(m []Moment) *places { return opens(m, false) }}),
		pathStorm(chosen, Rule{ID: "file.open_failures", Says: "a process tries in vain to open one path, or files of one directory, all the time", Resource: "opens", Needs: []string{"opensnoop"}},
			"cannot open files", "openfails/", "mem.slab_growth", fileProbe{collectors.OpensID, openSpan, func(m []Moment) *places { return opens(m, true) }}),
		slowFS(chosen),
	}
}

// slowFS: calls on files take long, and who makes them stands in them. A single long one is seen while the
// probe is attached only: what suspects it comes too late for the first.
func slowFS(chosen Limits) Rule {
	r := Rule{
		ID: "fs.slow", Says: "a process stands in calls on files, or a read, write or sync took a second and more",
		Resource: "file system latency", Needs: []string{"fileslower"},
	}
	least := r.limit(chosen, Limit{"ms", 16, "ms", 10, 100000, "the least that a call on a file takes to count"})
	share := r.limit(chosen, Limit{"share", 30, "%", 1, 1e5, "of 10 s that one thread stood in such calls"})
	found := Finding{ID: "fs.slow", Severity: Warning, Resource: "file systems", Line: "iostat", Pane: "exec", Row: "slowfiles/", Command: "fileslower 10; ext4slower 10"}
	stands := toldFrom(collectors.SlowFilesID, slowFileSpan, (*recent).standing, func(w *recent, moments []Moment) Finding {
		type thread struct {
			process collectors.Process
			tid     int32
		}
		took, n, seconds := map[thread]time.Duration{}, map[thread]uint64{}, 0.0
		events := map[thread]*collectors.SlowFile{} // the longest of each
		for _, m := range moments {
			seconds += m.SlowFiles.Seconds()
			for i := range m.SlowFiles.Events {
				e := &m.SlowFiles.Events[i]
				t := thread{e.Process, e.TID}
				if e.Took.Seconds()*1e3 < least {
					continue
				}
				took[t] += e.Took
				n[t]++
				if x := events[t]; x == nil || e.Took > x.Took {
					events[t] = e
				}
			}
		}
		threads := slices.SortedFunc(maps.Keys(took), func(a, b thread) int {
			return cmp.Or(cmp.Compare(took[b], took[a]), cmp.Compare(a.tid, b.tid))
		})
		if len(threads) == 0 || percent(took[threads[0]].Seconds(), seconds) < share {
			return Finding{}
		}
		t := threads[0]
		e, f := events[t], found
		f.Value, f.Threshold, f.Unit, f.N, f.Window = min(percent(took[t].Seconds(), seconds), 100), share, "%", n[t], recentFor
		f.Title = fmt.Sprintf("%s stands in slow calls on files %.0f %% of the time", named(e.Comm, e.Process.TGID), f.Value)
		f.Evidence = []string{fmt.Sprintf("%d calls of %g ms and more, the longest a %s of %.0f ms", n[t], least, e.Call, e.Took.Seconds()*1e3)}
		f.fileOf(w, e)
		return f
	})
	r.Check = func(h *History) (Finding, []collectors.Want) {
		f, wants := stands(h)
		if w := recently(h); w != nil {
			if stall := w.stalledCall(); stall != nil {
				f = found
				f.Outlier, f.Value, f.Threshold, f.Unit, f.N, f.Window = true, stall.Took.Seconds()*1e3, stallLimit.Seconds()*1e3, "ms", 1, time.Second
				f.Title = fmt.Sprintf("a %s of %s took %.1f s", stall.Call, collectors.Clean(stall.Path), stall.Took.Seconds())
				f.fileOf(w, stall)
			}
		}
		return f, wants
	}
	r.Evidence = func(h *History) []string {
		n := uint64(0)
		for _, m := range recently(h).moments {
			if m.SlowFiles != nil {
				n += m.SlowFiles.N
			}
		}
		return []string{fmt.Sprintf("%d calls of 10 ms and more", n)}
	}
	return r
}

// stalledCall is the longest call of the newest sample that waits for data and took a second and more; nil
// without.
func (r *recent) stalledCall() *collectors.SlowFile {
	s := r.moments[len(r.moments)-1].SlowFiles
	if s == nil || s.Partial {
		return nil
	}
	var stall *collectors.SlowFile
	for i := range s.Events {
		if e := &s.Events[i]; e.Took >= stallLimit && waitedFor(e) && (stall == nil || e.Took > stall.Took) {
			stall = e
		}
	}
	return stall
}

// waitedFor says that a call is one that waits for data: not a listing, not a path.
func waitedFor(e *collectors.SlowFile) bool { return moves(e.Call) || isSync(e.Call) }

// isSync says that a call waits until data is safe.
func isSync(call string) bool {
	switch call {
	case "fsync", "fdatasync", "sync_file_range", "syncfs", "msync":
		return true
	}
	return false
}

// fileOf names the file system, and who waits.
func (f *Finding) fileOf(w *recent, e *collectors.SlowFile) {
	if e.FS != "" {
		f.Culprits = []Culprit{{Kind: "file", Name: collectors.Clean(collectors.RawString(e.FS + " " + e.Path.Bytes()))}}
	}
	f.Victims = []Culprit{w.stranger(e.Process, e.Comm, 0)}
}
