// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// callTax says what the hooks cost while somebody looks, as measured once in a guest of kernel 6.18.
func callTax(times bool) string {
	if times {
		return "adds ~200 ns to every system call of the host while it is open"
	}
	return "adds ~85 ns to every system call of the host while it is open"
}

// leastHistogram is the fewest lines in which a histogram is worth drawing, its title included.
const leastHistogram = 7

// View implements Pane: the table, and below it (beside it on a wide screen) the times of the selected
// call.
func (p *Syscalls) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	t := p.current(f)
	lines := []string{p.title(f, c, t)}
	if callsOver(f) == nil {
		return fit(append(lines, missingPart(f, c, collectors.SyscallsID, "syscount", "the count of system calls")...), c.Height)
	}
	if c.Height >= smallHeight {
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, p.tells()).String())
	}
	if len(t.Rows) == 0 {
		return fit(append(lines, nothing(c, t, "no system call returned in the last interval")...), c.Height)
	}
	var notes []string
	if c.Height >= smallHeight {
		notes = noteLines(c, t.Notes, min(3, c.Height/6))
	}
	room := c.Height - len(lines) - len(notes)
	lines = append(lines, p.body(f, c, t, room)...)
	return fit(append(lines, notes...), c.Height)
}

// tells says what the pane costs, and what the key for times would.
func (p *Syscalls) tells() string {
	if p.times {
		return callTax(true)
	}
	return callTax(false) + "; t: times"
}

func (p *Syscalls) title(f Frame, c Canvas, t Table) string {
	parts := []string{"system calls", t.Title}
	for _, x := range callFacts(f) {
		if x.Cell.Known() {
			parts = append(parts, map[string]string{"calls/s": "", "failed/s": "failed "}[x.ID]+widget.Short(x.Cell.num)+"/s")
		}
	}
	return widget.Title(c.Theme, c.Width, parts...)
}

// body is the table and, of a call that was timed, its histogram.
func (p *Syscalls) body(f Frame, c Canvas, t Table, room int) []string {
	if p.processes || len(t.Histograms) == 0 || room < leastHistogram+4 {
		return pad(p.list().draw(c, t, room, p.options(f)), room)
	}
	h := t.Histograms[0]
	if h.Now == nil {
		h.Now = &collectors.Hist{}
	}
	call := distribution{h, func(n int) []*collectors.Hist { return timesOverTime(f, strings.TrimPrefix(h.ID, callHistogram), n) }}
	span := "last interval"
	if p.draw != asHistogram {
		span = c.columnIs()
	}
	if c.Width >= 160 {
		left := c
		left.Width = c.Width * 3 / 5
		rest := c.Width - left.Width - 2
		half := room / 2
		how, key := asHeatMap, ""
		if p.draw == asPercentiles {
			how, key = asPercentiles, widget.PercentilesKey
		}
		right := append([]string{widget.Title(c.Theme, rest, h.Title, "last interval")}, withStats(c, h, rest, half-1)...)
		right = append(pad(right, half), widget.Title(c.Theme, rest, h.Title+" over time", key, c.columnIs()))
		right = append(right, drawDistributions(c, []distribution{call}, how, rest, room-half-1)...)
		return pad(widget.Join(pad(p.list().draw(left, t, room, listOptions{}), room), left.Width, right, 2), room)
	}
	below := min(max(leastHistogram, room*2/5), 18)
	lines := pad(p.list().draw(c, t, room-below, p.options(f)), room-below)
	key := ""
	if p.draw == asPercentiles {
		key = widget.PercentilesKey
	}
	lines = append(lines, widget.Title(c.Theme, c.Width, h.Title, key, span))
	return pad(append(lines, drawDistributions(c, []distribution{call}, p.draw, c.Width, below-1)...), room)
}

// timesOverTime are the histograms of a call, one a sample.
func timesOverTime(f Frame, name string, n int) []*collectors.Hist {
	span := func(s *collectors.SyscallTimes) collectors.Span { return s.Span }
	return columns(f, n, callTimesOf, span, func(s *collectors.SyscallTimes) *collectors.Hist {
		for i := range s.Calls {
			if s.Calls[i].Name == name {
				h := s.Calls[i].Hist.Hist()
				return &h
			}
		}
		return &collectors.Hist{}
	})
}

// options are the sparkline of a row: calls a second.
func (p *Syscalls) options(f Frame) listOptions {
	processes := p.processes
	return listOptions{SparkTitle: "calls/s over time", Spark: func(row string) []float64 {
		return series(f, mostSpark, syscallsOf, func(s *collectors.Syscalls) float64 {
			if s.Seconds() <= 0 {
				return 0
			}
			if processes {
				for i := range s.Processes {
					if whoRow(s.Processes[i].Process) == row {
						return float64(s.Processes[i].N) / s.Seconds()
					}
				}
				return 0
			}
			for i := range s.Calls {
				if s.Calls[i].Name == row {
					return float64(s.Calls[i].N) / s.Seconds()
				}
			}
			return 0
		})
	}}
}
