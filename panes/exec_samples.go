// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"strconv"
	"time"

	"bpf60/collectors"
)

func execOf(s *collectors.Snapshot) *collectors.Exec       { return s.Exec }
func signalsOf(s *collectors.Snapshot) *collectors.Signals { return s.Signals }

// shortSpan is how much of the past the tables of counts sum on the screen, which would change too
// quickly to be read otherwise.
const shortSpan = 10 * time.Second

// recently returns the samples of a frame's span that have their rows, or of the last seconds where it
// shows the newest alone.
func recently[T any](f Frame, get func(*collectors.Snapshot) *T, span time.Duration) []*T {
	if newest(f, get) != nil && f.Span == 0 {
		f.Span = span
	}
	return within(f.rowed(), get)
}

// execSum is what was started and what ended over some samples.
type execSum struct {
	collectors.Span
	collectors.ExecCounts
	short   []collectors.ShortLived
	files   []collectors.ExecFile
	forkers []collectors.Forker
	more    [3]int // rows that are not listed, of the three in the worst sample
}

// sumExec sums samples; nil without any that has a span.
func sumExec(samples []*collectors.Exec) *execSum {
	type deadKey struct {
		comm   string
		parent collectors.Process
	}
	type fileKey struct{ parent, file string }
	s := &execSum{}
	short, files, forkers := map[deadKey]int{}, map[fileKey]int{}, map[collectors.Process]int{}
	for _, x := range samples {
		if x.Seconds() <= 0 {
			continue
		}
		s.Span = join(s.Span, x.Span)
		s.Plus(&x.ExecCounts)
		for i, n := range [3]int{x.ShortUnlisted, x.FilesUnlisted, x.ForkersMore} {
			s.more[i] = max(s.more[i], n)
		}
		for _, r := range x.Short {
			at := place(short, &s.short, deadKey{r.Comm.Bytes(), r.Parent}, collectors.ShortLived{Comm: r.Comm, Parent: r.Parent, ParentComm: r.ParentComm})
			addShort(at, &r)
		}
		for _, r := range x.Files {
			at := place(files, &s.files, fileKey{r.ParentComm.Bytes(), r.File.Bytes()}, collectors.ExecFile{ParentComm: r.ParentComm, File: r.File})
			at.Execs += r.Execs
		}
		for _, r := range x.Forkers {
			at := place(forkers, &s.forkers, r.Process, collectors.Forker{Process: r.Process, Comm: r.Comm})
			at.Forks += r.Forks
			at.Threads += r.Threads
		}
	}
	if s.Seconds() <= 0 {
		return nil
	}
	sortStably(s.short, func(a, b collectors.ShortLived) int {
		return cmp.Or(cmp.Compare(b.UnseenCPU, a.UnseenCPU), cmp.Compare(b.Unseen, a.Unseen), cmp.Compare(b.CPU, a.CPU))
	})
	sortStably(s.files, func(a, b collectors.ExecFile) int { return cmp.Compare(b.Execs, a.Execs) })
	sortStably(s.forkers, func(a, b collectors.Forker) int { return cmp.Compare(b.Forks+b.Threads, a.Forks+a.Threads) })
	return s
}

// place returns the row of a key, made if there is none. The pointer is valid until the next call.
func place[K comparable, R any](at map[K]int, rows *[]R, key K, first R) *R {
	i, ok := at[key]
	if !ok {
		i = len(*rows)
		at[key], *rows = i, append(*rows, first)
	}
	return &(*rows)[i]
}

func addShort(to, r *collectors.ShortLived) {
	to.Exits += r.Exits
	to.CPU += r.CPU
	to.Age += r.Age
	to.Unseen += r.Unseen
	to.UnseenCPU += r.UnseenCPU
	to.UnseenAge += r.UnseenAge
	to.Failed += r.Failed
	to.Killed += r.Killed
}

// over is a part of a time in percent of one CPU.
func (s *execSum) percent(d time.Duration) float64 { return 100 * d.Seconds() / s.Seconds() }

// perSecond is how many there were a second.
func (s *execSum) perSecond(n uint64) float64 { return float64(n) / s.Seconds() }

// from names who started something: comm[pid].
func from(comm collectors.Raw, p collectors.Process) string {
	if p.TGID == 0 {
		return "-"
	}
	return clean(comm) + "[" + strconv.Itoa(int(p.TGID)) + "]"
}
