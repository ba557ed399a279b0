// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"bpf60/collectors"
)

// fileRules are the rules about file systems.
func fileRules(chosen Limits) []Rule {
	return append([]Rule{fullFS(chosen), hungFS(chosen), forcedFS(chosen), exhausted(chosen)}, pathRules(chosen)...)
}

func fileSystemsOf(s *collectors.Snapshot) *collectors.FileSystems { return s.FileSystems }

// lack is what a file system runs out of.
type lack struct {
	*collectors.FileSystem
	left   float64 // percent
	least  float64 // what it is compared with
	inodes bool
	soon   time.Duration // until it is full at the pace of late; 0: not for that
}

const (
	// smallFS is a size below which a file system is a small one, made once and then left: /boot.
	smallFS = 1 << 30
	// risingPoints is how many readings must rise before a pace is believed.
	risingPoints = 10
)

// fullFS: a file system that is written to has next to nothing left, or soon will.
func fullFS(chosen Limits) Rule {
	r := Rule{
		ID: "fs.full", Says: "a file system has next to no space or inodes left, or fills up within the hour",
		Resource: "file systems", Needs: []string{"df"}, // of one that does not answer nothing is known
	}
	left := r.limit(chosen, Limit{"left", 5, "%", 0, 100, "of its size that is free"})
	gib := r.limit(chosen, Limit{"gib", 10, "GiB", 0, 1e6, "that are free"})
	small := r.limit(chosen, Limit{"small", 1, "%", 0, 100, "of its size that is free, where it is smaller than 1 GiB or in memory"})
	eta := r.limit(chosen, Limit{"minutes", 60, "min", 0, 1e5, "until it is full, at the pace of at least ten readings that each had less free"})
	r.Check = func(h *History) (Finding, []collectors.Want) {
		w := recently(h)
		if w == nil {
			return Finding{}, nil
		}
		s := lastOf(h.Since(w.now-time.Minute), fileSystemsOf)
		if s == nil {
			return Finding{}, nil
		}
		var list []lack
		for i := range s.Rows {
			x := &s.Rows[i]
			if !fillsUp(x) || x.Forced {
				continue
			}
			least := left
			if x.Size < smallFS || x.Memory {
				least = small
			}
			l := lack{FileSystem: x, left: percent(x.Avail, x.Size), least: least}
			switch {
			case l.left < least && float64(x.Avail) < gib*(1<<30):
			case x.Inodes > 0 && percent(x.InodesFree, x.Inodes) < least:
				l.left, l.inodes = percent(x.InodesFree, x.Inodes), true
			default:
				if l.soon = w.fullIn(x); l.soon <= 0 || l.soon.Minutes() > eta {
					continue
				}
			}
			list = append(list, l)
		}
		if len(list) == 0 {
			return Finding{}, nil
		}
		slices.SortStableFunc(list, func(a, b lack) int { return cmp.Compare(a.left, b.left) })
		l := list[0]
		point := collectors.Clean(l.Point).String()
		f := Finding{
			ID: "fs.full", Severity: Warning, Resource: point, Line: "iostat", Value: l.left, Threshold: l.least, Unit: "% left", Pane: "disk", Row: "fs " + point, Command: "df -h " + point + "; df -i " + point,
			Title:    fmt.Sprintf("%s has %s of %s left", point, bytesText(l.Avail), bytesText(l.Size)),
			Culprits: []Culprit{{Kind: "file", Name: collectors.Clean(l.Point), Target: collectors.Target{Kind: collectors.NamedTarget, Name: l.Point.Bytes()}}},
			Evidence: []string{fmt.Sprintf("%s on %s", collectors.Clean(l.Type), collectors.Clean(l.Source))},
		}
		switch {
		case l.inodes:
			f.Title = fmt.Sprintf("%s has %d of %d inodes left", point, l.InodesFree, l.Inodes)
		case l.soon > 0:
			f.Value, f.Threshold, f.Unit = l.soon.Minutes(), eta, "min"
			f.Title = fmt.Sprintf("%s is full in about %.0f min, at the pace of late", point, l.soon.Minutes())
			f.Evidence = append(f.Evidence, bytesText(l.Avail)+" left")
		case l.Avail == 0:
			f.Severity = Critical
		}
		wants := w.heldOpen(&f, l.Dev)
		for _, more := range list[1:min(len(list), few)] {
			f.Evidence = append(f.Evidence, fmt.Sprintf("%s %.1f %% left", collectors.Clean(more.Point), more.left))
		}
		return f, wants
	}
	r.Evidence = func(h *History) []string {
		w := recently(h)
		s := lastOf(h.Since(w.now-time.Minute), fileSystemsOf)
		if s == nil {
			return nil
		}
		point, most := "", -1.0
		for i := range s.Rows {
			x := &s.Rows[i]
			if fillsUp(x) {
				if used := 100 - percent(x.Avail, x.Size); used > most {
					point, most = collectors.Clean(x.Point).String(), used
				}
			}
		}
		if most < 0 {
			return nil
		}
		return []string{fmt.Sprintf("fullest %s %.0f %%", point, most)}
	}
	return r
}

// fillsUp says that a file system is written to, and how full it is is known. Images are full by nature.
func fillsUp(x *collectors.FileSystem) bool {
	return x.Known && x.Mount != nil && (!x.Virtual || x.Memory) && !x.ReadOnly && x.Size > 0
}

// fullIn is when a file system is full at the pace of the last ten readings and more, in each of which
// less was free than before; 0 where that cannot be said.
func (r *recent) fullIn(now *collectors.FileSystem) time.Duration {
	var oldest *collectors.FileSystem
	var from, to time.Duration
	points, later := 0, now.Avail
	for _, m := range slices.Backward(r.h.Since(-1)) {
		if m.FileSystems == nil {
			continue
		}
		i := slices.IndexFunc(m.FileSystems.Rows, func(x collectors.FileSystem) bool {
			return x.Known && x.Mount != nil && x.Dev == now.Dev && x.Point == now.Point
		})
		if i < 0 {
			break
		}
		x := &m.FileSystems.Rows[i]
		if points > 0 && x.Avail <= later {
			break
		}
		if points == 0 {
			to = m.At
		}
		points++
		oldest, from, later = x, m.At, x.Avail
	}
	if points < risingPoints || to <= from {
		return 0
	}
	pace := float64(oldest.Avail-now.Avail) / (to - from).Seconds()
	return time.Duration(float64(now.Avail) / pace * float64(time.Second))
}

// hungFS: a file system does not answer, and who asks it stands still.
func hungFS(chosen Limits) Rule {
	r := Rule{
		ID: "fs.hung", Says: "a file system does not answer: its server, or the process that serves it, is dead or slow", Resource: "file systems", Needs: []string{"df"}, Fallback: true, Hold: -1,
	}
	least := r.limit(chosen, Limit{"seconds", 5, "s", 1, 3600, "that it has not answered when it was looked at last, every 10 s"})
	critical := r.limit(chosen, Limit{"critical", 120, "s", 1, 86400, "the same, from which it is critical: what the kernel calls a hung task"})
	r.Check = func(h *History) (Finding, []collectors.Want) {
		w := recently(h)
		if w == nil {
			return Finding{}, nil
		}
		s := lastOf(h.Since(w.now-time.Minute), fileSystemsOf)
		if s == nil {
			return Finding{}, nil
		}
		var silent []*collectors.FileSystem
		for i := range s.Rows {
			if x := &s.Rows[i]; x.Mount != nil && x.Silent.Seconds() >= least {
				silent = append(silent, x)
			}
		}
		if len(silent) == 0 {
			return Finding{}, nil
		}
		slices.SortStableFunc(silent, func(a, b *collectors.FileSystem) int { return cmp.Compare(b.Silent, a.Silent) })
		x := silent[0]
		point, source := collectors.Clean(x.Point).String(), collectors.Clean(x.Source)
		f := Finding{
			ID: "fs.hung", Severity: Warning, Resource: point, Line: "iostat", Value: x.Silent.Seconds(), Threshold: least, Unit: "s", N: uint64(len(silent)), Pane: "disk", Row: "fs " + point,
			Title:    fmt.Sprintf("%s does not answer for %.0f s: %s on %s", point, x.Silent.Seconds(), collectors.Clean(x.Type), source),
			Culprits: []Culprit{{Kind: "disk", Name: source}}, Command: "grep ' " + point + " ' /proc/mounts; umount -l " + point,
			Explains: append(w.inLog(collectors.TroubleNFS, collectors.TroubleHung), "proc.blocked", "fs.slow"),
		}
		if x.Silent.Seconds() >= critical {
			f.Severity = Critical
		}
		for _, more := range silent[1:min(len(silent), few)] {
			f.Evidence = append(f.Evidence, fmt.Sprintf("%s on %s neither, for %.0f s", collectors.Clean(more.Point), collectors.Clean(more.Source), more.Silent.Seconds()))
		}
		return f, nil
	}
	return r
}

// forcedFS: a file system has turned itself read-only.
func forcedFS(Limits) Rule {
	return Rule{
		ID: "fs.readonly", Says: "a file system turned itself read-only, as it does after an error", Resource: "file systems", Needs: []string{"df"}, Fallback: true, Hold: -1,
		Check: func(h *History) (Finding, []collectors.Want) {
			w := recently(h)
			if w == nil {
				return Finding{}, nil
			}
			s := lastOf(h.Since(w.now-time.Minute), fileSystemsOf)
			if s == nil {
				return Finding{}, nil
			}
			for i := range s.Rows {
				x := &s.Rows[i]
				if x.Mount == nil || !x.Forced {
					continue
				}
				point := collectors.Clean(x.Point).String()
				f := Finding{
					ID: "fs.readonly", Severity: Critical, Resource: point, Line: "iostat", Value: 1, Threshold: 1, Unit: "file system", Pane: "disk", Row: "fs " + point, Command: "grep ' " + point + " ' /proc/mounts; dmesg -T",
					Title:    point + " turned itself read-only: writes fail",
					Culprits: []Culprit{{Kind: "file", Name: collectors.Clean(x.Point)}},
					Evidence: []string{fmt.Sprintf("%s on %s", collectors.Clean(x.Type), collectors.Clean(x.Source))},
					Explains: w.inLog(collectors.TroubleReadOnly, collectors.TroubleFS),
				}
				if x.ErrorsKnown {
					f.Evidence = append(f.Evidence, fmt.Sprintf("%d errors since it was checked", x.Errors))
				}
				return f, nil
			}
			return Finding{}, nil
		},
	}
}
