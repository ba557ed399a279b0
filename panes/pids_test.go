// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"bpf60/collectors"
)

// In a container's PID namespace the numbers that BPF gives are the host's: header and report say so. Those
// of /proc are the container's own.
func TestHostPIDs(t *testing.T) {
	for name, tt := range map[string]struct {
		container bool
		source    string
		want      bool
	}{
		"a host":                       {false, collectors.SourceIter, false},
		"a container":                  {true, collectors.SourceIter, true},
		"a container that reads /proc": {true, collectors.SourceProc, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory("busy", "db-2", 2, time.Hour)
			for i := range 5 {
				s.second(idleLoad(i))
			}
			for _, m := range s.moments {
				if h := m.Snapshot.Host; h != nil && h.Facts != nil {
					facts := *h.Facts
					facts.InContainer, h.Facts = tt.container, &facts
				}
				if m.Snapshot.Tasks != nil {
					m.Snapshot.Tasks.Source = tt.source
				}
			}
			f := s.frame()
			for _, size := range [][2]int{{80, 24}, {40, 10}, {200, 50}} {
				r := resize(root(f), size[0], size[1])
				if head := look(r)[0]; strings.Contains(head, "host's PIDs") != tt.want {
					t.Errorf("the header of %v is %q", size, head)
				}
				fits(t, r.View(), size[0], size[1])
			}
			f.Span = time.Minute
			var b bytes.Buffer
			if err := Text(&b, Report{Frame: f, Brief: true}); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(b.String(), "PIDs are the host's") != tt.want {
				t.Errorf("the report:\n%s", b.String())
			}
		})
	}
}
