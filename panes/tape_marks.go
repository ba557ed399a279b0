// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/theme"
	"bpf60/triage"
)

// happening is what happened at a moment, worth to be stepped to.
type happening struct {
	at   time.Duration // of the moment that holds it
	what incident
	text string
}

// incident is a kind of happening, the least urgent first: where several share a place on the time
// line, the most urgent has it.
type incident uint8

const (
	execBurst incident = iota
	infoFound
	lateTick
	clockSet
	warningFound
	kernelError
	criticalFound
	oomKill
)

// glyph is how an incident is marked on the time line: a letter tells it without a colour.
func (i incident) glyph(t theme.Theme) (theme.Style, string) {
	switch i {
	case oomKill:
		return t.Crit, "K"
	case criticalFound:
		return t.Crit, "!"
	case kernelError:
		return t.Warn, "E"
	case warningFound:
		return t.Warn, "!"
	case lateTick:
		return t.Warn, "L"
	case clockSet:
		return t.Warn, "C"
	case infoFound:
		return t.OK, "i"
	case execBurst:
	}
	return t.Accent, "x"
}

// What makes a burst of execs: that many a second, and that many times what is usual here.
const (
	leastBurst = 10
	burstTimes = 4
)

// happenings lists what happened in moments, oldest first.
func happenings(ms []triage.Moment) []happening {
	var execs usual
	var out []happening
	seen := map[time.Duration]map[string]bool{} // findings by when they began
	for i, m := range ms {
		if m.Snapshot == nil {
			continue
		}
		add := func(at time.Duration, what incident, format string, args ...any) {
			out = append(out, happening{at, what, fmt.Sprintf(format, args...)})
		}
		if m.Late > 0 {
			add(m.At, lateTick, "%s", lateText(m.Late))
		}
		if m.Step != 0 {
			add(m.At, clockSet, "%s", stepText(m.Step))
		}
		if r := m.Reclaim; r != nil && r.Fresh > 0 {
			add(m.At, oomKill, "%d OOM kill%s", r.Fresh, plural(r.Fresh))
		}
		if l := m.Log; l != nil {
			if n := errorsIn(l); n > 0 {
				add(m.At, kernelError, "%d kernel error%s", n, plural(n))
			}
		}
		if e := m.Exec; e != nil && e.Seconds() > 0 {
			if execs.burst(float64(e.ExecCounts.Execs) / e.Seconds()) {
				add(m.At, execBurst, "%d execs", e.ExecCounts.Execs)
			}
		}
		for k := range m.Findings {
			x := &m.Findings[k]
			if x.AtStart || x.Since < ms[0].At || seen[x.Since][x.ID] {
				continue
			}
			if seen[x.Since] == nil {
				seen[x.Since] = map[string]bool{}
			}
			seen[x.Since][x.ID] = true
			add(momentOfTime(ms[:i+1], x.Since), foundIncident(x.Severity), "%s", x.ID)
		}
	}
	sortStably(out, func(a, b happening) int { return cmp.Compare(a.at, b.at) })
	return out
}

// momentOfTime is when the first moment at or after a time was: it holds what happened then.
func momentOfTime(ms []triage.Moment, t time.Duration) time.Duration {
	i, _ := slices.BinarySearchFunc(ms, t, func(m triage.Moment, t time.Duration) int { return cmp.Compare(m.At, t) })
	return ms[min(i, len(ms)-1)].At
}

func foundIncident(s triage.Severity) incident {
	switch s {
	case triage.Critical:
		return criticalFound
	case triage.Warning:
		return warningFound
	case triage.Info:
	}
	return infoFound
}

// errorsIn is how many records of level err and worse came in the sample's span.
func errorsIn(l *collectors.Log) int {
	n := uint64(0)
	for level := range collectors.LevelErr + 1 {
		n += l.Levels[level]
	}
	return int(min(n, 1e6))
}

// usual is the mean of what came before, over a minute at most: what has been marked stays so.
type usual struct {
	values []float64
	sum    float64
}

// leastUsual is how many values make a mean.
const leastUsual = 5

// burst says whether a rate is far above the usual one, and adds it.
func (u *usual) burst(rate float64) bool {
	n := len(u.values)
	is := n >= leastUsual && rate >= max(leastBurst, burstTimes*u.sum/float64(n))
	u.values, u.sum = append(u.values, rate), u.sum+rate
	if n >= 60 {
		u.sum -= u.values[0]
		u.values = u.values[1:]
	}
	return is
}

// leastTimeLine is the least height of a screen on which the time line has a line of its own.
const leastTimeLine = 16

// timeLine says where in time the screen is: when, how far that is between the oldest moment and
// the newest, and where something happened. Empty while the time runs, or without room.
func (r *Root) timeLine(t theme.Theme) string {
	past := r.past()
	if !r.tape.paused || r.frame.Now.Snapshot == nil || len(past) == 0 || r.size.Height < leastTimeLine {
		return ""
	}
	l := widget.NewLine(r.size.Width)
	l.Skip(1).Put(t.Title, r.frame.At.Format(time.TimeOnly)).Skip(2)
	first, last := past[0].At, past[len(past)-1].At
	end := "now"
	if r.cfg.Recorded != "" {
		end = "end"
	}
	all := happenings(past)
	l.Put(t.Dim, "-"+widget.Age(last-first)).Skip(1)
	r.timeAxis(l, t, all, first, last, max(r.size.Width*2/5, 12))
	l.Skip(1).Put(t.Dim, end).Skip(2)
	l.Plain(widget.Clip(r.hereIs(all), l.Left()))
	return l.String()
}

// timeAxis draws a line of width cells with the marks and the cursor on it.
func (r *Root) timeAxis(l *widget.Line, t theme.Theme, all []happening, first, last time.Duration, width int) {
	place := func(at time.Duration) int {
		if last <= first {
			return width - 1
		}
		return int(float64(max(0, min(at-first, last-first))) / float64(last-first) * float64(width-1))
	}
	marks := make([]*happening, width)
	for i := range all {
		if at := place(all[i].at); marks[at] == nil || marks[at].what <= all[i].what {
			marks[at] = &all[i]
		}
	}
	here := place(r.frame.Now.At)
	l.Put(t.Dim, "├")
	for i := 0; i < width; {
		switch {
		case i == here:
			l.Put(t.Alert, "●")
			i++
		case marks[i] != nil:
			l.Put(marks[i].what.glyph(t))
			i++
		default:
			n := i
			for i < width && i != here && marks[i] == nil {
				i++
			}
			l.Put(t.Dim, strings.Repeat("─", i-n))
		}
	}
	l.Put(t.Dim, "┤")
}

// hereIs says what happened at the moment that is shown, and what it no longer has; of an eventless
// one how many marks there are.
func (r *Root) hereIs(all []happening) string {
	var parts []string
	for _, e := range all {
		if e.at == r.frame.Now.At {
			parts = append(parts, e.text)
		}
	}
	if len(parts) == 0 && len(all) > 0 {
		parts = append(parts, fmt.Sprintf("%d mark%s", len(all), plural(len(all))))
	}
	if t := r.frame.RowsSince; !t.IsZero() {
		parts = append([]string{"rows since " + t.Format(time.TimeOnly)}, parts...)
	}
	if t := r.frame.CPUsSince; !t.IsZero() {
		parts = append(parts, "CPUs since "+t.Format(time.TimeOnly))
	}
	return strings.Join(parts, ", ")
}
