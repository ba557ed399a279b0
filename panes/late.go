// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"time"

	"bpf60/panes/widget"
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
		if m.Late > 0 {
			return lateText(m.Late)
		}
	}
	return ""
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
