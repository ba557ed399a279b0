// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"strconv"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// slowDrawing is how the times of slow calls on files are drawn, below their table.
type slowDrawing struct {
	draw  drawing
	split slowSplit
}

// slowSplit is what the times are divided by.
type slowSplit uint8

const (
	slowWhole slowSplit = iota
	slowByCall
	slowByDisk
	slowByProcess
	slowSplits
)

func (s slowSplit) String() string {
	switch s {
	case slowByCall:
		return "by call"
	case slowByDisk:
		return "by disk"
	case slowByProcess:
		return "by process"
	case slowWhole, slowSplits:
	}
	return "all"
}

// IDs of the keys of the drawing. v chooses the table here, so that d draws.
const (
	keySlowDraw  = "exec.draw"
	keySlowSplit = "exec.split"
)

func (s *slowDrawing) keys() []keymap.Key {
	return append([]keymap.Key{
		keymap.New(keySlowDraw, "d", ((s.draw + 1) % drawings).String(), "d").In("draw the times of slow files as histogram, percentiles over time, heat map"),
		keymap.New(keySlowSplit, "i", ((s.split + 1) % slowSplits).String(), "i").In("divide the times: all, by call, by disk, by process"),
	}, zoomKeys()...)
}

// press does what one of the keys says; false if it is none.
func (s *slowDrawing) press(id string) bool {
	switch id {
	case keySlowDraw:
		s.draw = (s.draw + 1) % drawings
	case keySlowSplit:
		s.split = (s.split + 1) % slowSplits
	default:
		return false
	}
	return true
}

// slowKey names the part that a call belongs to.
func (s slowSplit) key(f Frame, e *collectors.SlowFile) string {
	switch s {
	case slowByCall:
		return e.Call
	case slowByDisk:
		if e.Given {
			return "by path"
		}
		return deviceName(f, e.Dev).Format(0)
	case slowByProcess:
		return clean(e.Comm) + "[" + strconv.Itoa(int(e.Process.TGID)) + "]"
	case slowWhole, slowSplits:
	}
	return ""
}

// slowHist is the distribution of the listed calls that keep accepts.
func slowHist(s *collectors.SlowFiles, keep func(*collectors.SlowFile) bool) *collectors.Hist {
	h := &collectors.Hist{}
	for i := range s.Events {
		if e := &s.Events[i]; keep(e) {
			h.Add(uint64(max(e.Took, 0)))
		}
	}
	return h
}

// mostSlowParts is how many distributions are drawn together.
const mostSlowParts = 4

// parts are the distributions of the split, the largest first. Start is what the history holds.
func (s *slowDrawing) parts(f Frame) []distribution {
	counts := map[string]int{}
	var unlisted uint64
	for i := range f.Past {
		if x := f.Past[i].Snapshot; x != nil && x.SlowFiles != nil {
			unlisted += x.SlowFiles.Unlisted
			for k := range x.SlowFiles.Events {
				counts[s.split.key(f, &x.SlowFiles.Events[k])]++
			}
		}
	}
	names := sortedKeys(counts)
	sortStably(names, func(a, b string) int { return cmp.Compare(counts[b], counts[a]) })
	span := func(x *collectors.SlowFiles) collectors.Span { return x.Span }
	var out []distribution
	for _, name := range names[:min(len(names), mostSlowParts)] {
		keep := func(e *collectors.SlowFile) bool { return s.split.key(f, e) == name }
		now, all := &collectors.Hist{}, &collectors.Hist{}
		for _, x := range within(f, slowFilesOf) {
			now.Plus(slowHist(x, keep))
		}
		for i := range f.Past {
			if x := f.Past[i].Snapshot; x != nil && x.SlowFiles != nil && (f.Mark == nil || x.At > f.Mark.At) {
				all.Plus(slowHist(x.SlowFiles, keep))
			}
		}
		h := Histogram{ID: "fileslower " + name, Title: name, Now: now, Start: all}
		if unlisted > 0 {
			h.Badge = "L" + widget.Count(unlisted)
		}
		out = append(out, distribution{h, func(n int) []*collectors.Hist {
			return columns(f, n, slowFilesOf, span, func(x *collectors.SlowFiles) *collectors.Hist { return slowHist(x, keep) })
		}})
	}
	return out
}

// below draws the times, in at most height lines; nothing without room or a slow call.
func (s *slowDrawing) below(f Frame, c Canvas, height int) []string {
	drawn := s.parts(f)
	if height < leastHistogram || len(drawn) == 0 {
		return nil
	}
	head := []string{"times of slow files", s.split.String(), "10 ms and more"}
	switch s.draw {
	case asPercentiles:
		head = []string{head[0], head[1], widget.PercentilesKey}
	case asHeatMap:
		head = append(head, c.columnIs())
	case asHistogram, drawings:
		head = append(head, "last interval")
	}
	lines := []string{widget.Title(c.Theme, c.Width, head...)}
	return append(lines, drawDistributions(c, drawn, s.draw, c.Width, height-1)...)
}

// drawsTimes says whether the section that is shown has a drawing below its table.
func (p *Exec) drawsTimes() bool { return p.sections[p.at].id == "slowfiles" }
