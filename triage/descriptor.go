// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"slices"
	"time"

	"bpf60/collectors"
)

// ticksOfStart is how exactly /proc tells when a process began, in ns.
const ticksOfStart = 1e7

// byNumber is a process of which /proc told the number and, in steps of 10 ms, the start.
func (r *recent) byNumber(p collectors.Process, comm collectors.Raw, share float64) Culprit {
	if x := r.together().byPID[p.TGID]; x != nil && x.Start/ticksOfStart == p.Start/ticksOfStart {
		return process(x, share)
	}
	return r.stranger(p, comm, share)
}

// rise is how something grew at the end of the history: readings that each had as much as the one before,
// or more.
type rise struct {
	steps     int // readings that had more
	from, to  time.Duration
	low, high uint64
}

// pace is how much it grows in a second.
func (r *rise) pace() float64 {
	return float64(r.high-r.low) / max((r.to-r.from).Seconds(), 1e-9)
}

// until is when it reaches a limit at that pace.
func (r *rise) until(limit uint64) time.Duration {
	if r.steps == 0 || limit <= r.high {
		return 0
	}
	return time.Duration(min(float64(limit-r.high)/r.pace(), 1e9) * float64(time.Second))
}

// holds is how a process's open files grew at the end of the history.
func (r *recent) holds(p collectors.Process) (x rise) {
	for _, m := range slices.Backward(r.h.Since(r.now - time.Minute)) {
		if m.Descriptors == nil {
			continue
		}
		i := slices.IndexFunc(m.Descriptors.Rows, func(d collectors.DescriptorRow) bool { return d.Process == p })
		if i < 0 {
			break
		}
		used := m.Descriptors.Rows[i].Used
		switch {
		case x.to == 0:
			x = rise{from: m.At, to: m.At, low: used, high: used}
			continue
		case used > x.low:
			return x
		case used < x.low:
			x.steps++
		}
		x.low, x.from = used, m.At
	}
	return x
}

// exhausted: a process has nearly as many files open as it may.
func exhausted(chosen Limits) Rule {
	r := Rule{
		ID: "fd.exhaustion", Says: "a process, or the host, has nearly as many files open as it may have, or will within minutes",
		Resource: "open files", Needs: []string{"nofile"},
		Blind: func(h *History) (reason, remedy string) {
			d := lastOf(h.Since(-1), descriptorsOf)
			if d == nil || !d.Whole {
				return "not all processes were looked at yet", ""
			}
			return "", ""
		},
	}
	share := r.limit(chosen, Limit{"share", 80, "%", 1, 100, "of a process's soft limit of open files, or of the host's, in use"})
	eta := r.limit(chosen, Limit{"minutes", 10, "min", 0, 1000, "until a process that holds a quarter of its limit reaches it, at the pace of at least ten readings that had more"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		if m := lastOf(w.moments, memoryOf); m != nil {
			if x := m.Tables; x.Files.Known && x.FilesMax.Known && percent(x.Files.N, x.FilesMax.N) >= share {
				return Finding{
					ID: "fd.exhaustion", Severity: Critical, Resource: "host", Line: "top", Value: percent(x.Files.N, x.FilesMax.N), Threshold: share, Unit: "%", N: x.Files.N,
					Title: fmt.Sprintf("the host has %d of %d files open", x.Files.N, x.FilesMax.N), Pane: "memory", Command: "cat /proc/sys/fs/file-nr",
				}, nil
			}
		}
		d := lastOf(w.moments, descriptorsOf)
		if d == nil {
			return Finding{}, nil
		}
		for i := range d.Rows {
			x := &d.Rows[i]
			used, grows := 100*x.Share(), w.holds(x.Process)
			soon := grows.until(x.Soft)
			who := w.byNumber(x.Process, x.Comm, x.Share())
			f := Finding{
				ID: "fd.exhaustion", Severity: Warning, Resource: "open files", Line: "top", Value: used, Threshold: share, Unit: "%", N: x.Used,
				Title:    fmt.Sprintf("%s has %d of %d files open", who.Name, x.Used, x.Soft),
				Culprits: []Culprit{who}, Pane: "processes", Row: processRow(who), Command: fmt.Sprintf("ls /proc/%d/fd | wc -l; prlimit -n -p %d", x.TGID, x.TGID),
			}
			if grows.steps > 0 {
				f.Evidence = append(f.Evidence, fmt.Sprintf("%+.1f/s", grows.pace()))
			}
			if x.Hard > x.Soft && x.Hard != collectors.NoLimit {
				f.Evidence = append(f.Evidence, fmt.Sprintf("it may raise its limit to %d", x.Hard))
			}
			switch {
			case x.Used >= x.Soft:
				f.Severity = Critical
				f.Title += ": opens fail"
			case used >= share:
			case used >= 25 && grows.steps >= risingPoints && soon > 0 && soon.Minutes() <= eta:
				f.Value, f.Threshold, f.Unit = soon.Minutes(), eta, "min"
				f.Title += fmt.Sprintf(": all of them in about %.0f min", max(soon.Minutes(), 1))
			default:
				continue
			}
			return f, nil
		}
		return Finding{}, nil
	})
	r.Evidence = func(h *History) []string {
		d := lastOf(recently(h).moments, descriptorsOf)
		if d == nil || len(d.Rows) == 0 {
			return []string{"no process near its limit"}
		}
		return []string{fmt.Sprintf("%s has %d of %d", named(d.Rows[0].Comm, d.Rows[0].TGID), d.Rows[0].Used, d.Rows[0].Soft)}
	}
	return r
}

func descriptorsOf(s *collectors.Snapshot) *collectors.Descriptors { return s.Descriptors }
