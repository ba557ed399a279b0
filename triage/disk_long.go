// SPDX-License-Identifier: Apache-2.0

package triage

import "time"

// longIO is what makes a time of I/O a long one, and others wait for it.
type longIO struct {
	factor, least, some, others float64
}

// longIO declares the limits of a rule about how long I/O takes: what of it is compared with the device's
// own p50, and with milliseconds.
func (r *Rule) longIO(chosen Limits, what, precisely string) longIO {
	l := longIO{
		factor: r.limit(chosen, Limit{"factor", 4, "times", 1, 1000, "the device's own p50 that the lower edge of " + what + " must reach"}),
		least:  r.limit(chosen, Limit{"ms", 8, "ms", 0.1, 100000, "the lower edge of " + precisely}),
		some:   r.limit(chosen, Limit{"some", 10, "%", 0.1, 100, "of 10 s in which tasks waited for I/O"}),
	}
	l.others = r.limit(chosen, Limit{"others", 10, "%", 0.1, 100, "of 10 s that others than the culprit waited for the disk; below it the finding is info"})
	return l
}

// is says that a time is long, and long for that disk.
func (l *longIO) is(t time.Duration, d *diskLoad) bool {
	return t.Seconds()*1e3 >= l.least && t.Seconds() >= l.factor*edge(&d.ever, 0.5).Seconds()
}
