// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"
	"testing"
	"time"

	"bpf60/collectors"
	"bpf60/triage"
)

// missedFrame is four moments in which the kernel passed over more and more runs.
func missedFrame(span time.Duration, probe string, id collectors.ID, missed ...uint64) Frame {
	f := Frame{Span: span}
	for i, n := range missed {
		at := time.Duration(i+1) * time.Second
		f.Past = append(f.Past, triage.Moment{Snapshot: &collectors.Snapshot{
			At:     at,
			Sched:  &collectors.Sched{Span: collectors.Span{From: at - time.Second, To: at}},
			Probes: map[collectors.ID][]collectors.Probe{id: {{Name: probe, State: collectors.On, Missed: n, Lost: n}}},
		}})
		f.Now = f.Past[i]
	}
	return f
}

// TestMissedOver is what the kernel passed over in what a frame sums.
func TestMissedOver(t *testing.T) {
	for name, tt := range map[string]struct {
		span   time.Duration
		missed []uint64
		probes []string
		want   uint64
	}{
		"the newest alone":  {0, []uint64{5, 7, 30}, []string{"runqlat"}, 23},
		"two seconds":       {2 * time.Second, []uint64{5, 7, 30}, []string{"runqlat"}, 25},
		"all of it":         {time.Minute, []uint64{5, 7, 30}, []string{"cpudist", "runqlat"}, 30},
		"attached anew":     {0, []uint64{50, 3}, []string{"runqlat"}, 3},
		"another probe":     {0, []uint64{5, 7}, []string{"cpudist"}, 0},
		"nothing was read":  {0, nil, []string{"runqlat"}, 0},
		"nothing is missed": {0, []uint64{5, 5}, []string{"runqlat"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if n := missedOver(missedFrame(tt.span, "runqlat", collectors.SchedID, tt.missed...), collectors.SchedID, tt.probes...); n != tt.want {
				t.Errorf("%d runs are missed, want %d", n, tt.want)
			}
		})
	}
}

// TestMissedBadge: the histogram and the note of a pane say it.
func TestMissedBadge(t *testing.T) {
	f := missedFrame(0, "runqlat", collectors.SchedID, 5, 17)
	if h := waitHistogram(f, schedOver(f)); h.Badge != "L12" {
		t.Errorf("the waits for a CPU are marked %q, want L12", h.Badge)
	}
	f = missedFrame(0, "execsnoop", collectors.ExecID, 5, 17)
	f.Now.Exec = &collectors.Exec{Span: collectors.Span{To: time.Second}}
	if notes := strings.Join(execTable(f).Notes, "; "); !strings.Contains(notes, "L12: ") {
		t.Errorf("the notes beneath the execs are %q, want L12", notes)
	}
}
