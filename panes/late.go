// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strconv"
	"time"

	"bpf60/panes/widget"
	"bpf60/triage"
)

// lateFor is how long the header tells of a tick that was late.
const lateFor = 10 * time.Second

// whyLate is what makes a tick late. Nobody can tell more from within.
const whyLate = "the host slept, or bpf60 was stopped or got no CPU"

// lateText says how late a tick was.
func lateText(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("late %.1f s", d.Seconds())
	}
	return "late " + widget.Age(d)
}

// lateLast tells of the last tick that was late, if that was not long before what is shown; else empty.
func lateLast(f Frame) string {
	for i := len(f.Past) - 1; i >= 0; i-- {
		m := f.Past[i]
		if m.Snapshot == nil || f.Now.Snapshot == nil || f.Now.At-m.At >= lateFor {
			break
		}
		if m.Step != 0 {
			return stepText(m.Step)
		}
		if m.Late > 0 {
			return lateText(m.Late)
		}
	}
	return ""
}

// stepText says by how much the wall clock was set: clock +1h00, clock -24h00, clock +3.2s.
func stepText(d time.Duration) string {
	sign, a := "+", d.Abs()
	if d < 0 {
		sign = "-"
	}
	s := int(a.Round(time.Second) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("clock %s%.1fs", sign, a.Seconds())
	case s < 3600:
		return fmt.Sprintf("clock %s%dm%02d", sign, s/60, s%60)
	}
	return fmt.Sprintf("clock %s%dh%02d", sign, s/3600, s/60%60)
}

// stepNotes tell how often the wall clock was set, in a line if it was.
func stepNotes(f Frame) []string {
	n, sum, first := 0, time.Duration(0), triage.Moment{}
	for _, m := range f.Past {
		if m.Snapshot == nil || m.Step == 0 {
			continue
		}
		if sum += m.Step; n == 0 {
			first = m
		}
		n++
	}
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s: it was set %d time%s, first at %s; findings are dated by what it said when the report began",
		stepText(sum), n, plural(n), first.Taken.Format(time.TimeOnly))}
}

// lateNotes tell of all ticks that were late, in a line if there were any.
func lateNotes(f Frame) []string {
	n, most := 0, time.Duration(0)
	for _, m := range f.Past {
		if m.Snapshot != nil && m.Late > 0 {
			n, most = n+1, max(most, m.Late)
		}
	}
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d tick%s late, %s at most: %s", n, plural(n), lateText(most)[len("late "):], whyLate)}
}

// eased says how far apart the ticks are while they are further apart than was asked for; else empty.
func eased(f Frame) string {
	if f.Now.Snapshot == nil || f.Now.Eased == 0 {
		return ""
	}
	return "every " + seconds(f.Now.Eased)
}

// easedNotes tell of the time in which ticks were further apart than was asked for, in a line if there was any.
func easedNotes(f Frame) []string {
	n, first := 0, triage.Moment{}
	for _, m := range f.Past {
		if m.Snapshot == nil || m.Eased == 0 {
			continue
		}
		if n++; n == 1 {
			first = m
		}
	}
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d sample%s only every %s, the first at %s: %s", n, plural(n), seconds(first.Eased), first.Taken.Format(time.TimeOnly), clean2(first.EasedBy))}
}

// seconds prints 2 s and 0.2 s.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s" }
