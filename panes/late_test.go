// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// A tick that was late is told in the header for some seconds, at each size, and in the report.
func TestLate(t *testing.T) {
	for seconds, want := range map[int]bool{0: true, 9: true, 10: false} {
		s := newStory("busy", "db-2", 2, time.Hour)
		for i := range 30 + seconds {
			s.second(idleLoad(i))
		}
		s.moments[20].Late = 4200 * time.Millisecond
		s.moments[29].Late = 3200 * time.Millisecond
		f := s.frame()
		for _, size := range [][2]int{{80, 24}, {40, 10}, {200, 50}} {
			r := resize(root(f), size[0], size[1])
			if head := look(r)[0]; strings.Contains(head, "late 3.2 s") != want {
				t.Errorf("%d s after a late tick the header of %v is %q", seconds, size, head)
			}
			fits(t, r.View(), size[0], size[1])
		}
		f.Span = time.Minute
		var b bytes.Buffer
		if err := Text(&b, Report{Frame: f, Brief: true}); err != nil {
			t.Fatal(err)
		}
		if says := "2 ticks late, 4.2 s at most: the host slept, or bpf60 was stopped or got no CPU"; !strings.Contains(b.String(), says) {
			t.Errorf("the report lacks %q:\n%s", says, b.String())
		}
	}
	if got := lateText(time.Hour); got != "late 1h" {
		t.Errorf("an hour is %q", got)
	}
}
