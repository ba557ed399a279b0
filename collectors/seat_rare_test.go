// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"testing"
	"time"
)

// What a sample alone holds is kept until it is delivered, also where the sample covers no time.
func TestUndelivered(t *testing.T) {
	now := Span{time.Second, time.Second}
	tests := map[string]struct {
		sample Sample
		want   bool
	}{
		"none":                   {nil, false},
		"gauges":                 {&Host{Span: now}, false},
		"counts":                 {&Host{Span: Span{0, time.Second}}, true},
		"list of processes":      {&Tasks{Span: now, Key: []TaskState{{}}}, true},
		"no list":                {&Tasks{Span: now}, false},
		"cgroups that were read": {&Cgroups{Span: now, Rows: []CgroupRow{{}}}, true},
		"a cgroup that went":     {&Cgroups{Span: now, Gone: []Raw{{}}}, true},
		"no cgroup":              {&Cgroups{Span: now}, false},
		"new in the log":         {&Log{Span: now, New: []*LogRecord{{}}}, true},
		"lost in the log":        {&Log{Span: now, Lost: 1}, true},
		"a silent log":           {&Log{Span: now, Tail: &LogTail{}}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &seat{ready: tt.sample}
			if got := s.undelivered(); got != tt.want {
				t.Errorf("undelivered = %v, want %v", got, tt.want)
			}
		})
	}
}
