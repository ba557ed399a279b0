// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"slices"
	"testing"
	"time"

	"bpf60/collectors"
)

func TestRebooted(t *testing.T) {
	boot := time.Date(2026, 11, 3, 4, 5, 0, 0, time.UTC)
	type state struct {
		up      time.Duration
		crash   string
		crashed time.Duration // before the boot
		log     []string
		user    bool // the log's lines are a program's
	}
	h := func(x state) *History {
		facts := &collectors.Facts{Boot: boot}
		if x.crash != "" {
			facts.Crash, facts.CrashAt = collectors.RawString(x.crash), boot.Add(-x.crashed)
		}
		tail := &collectors.LogTail{}
		for i, line := range x.log {
			rec := &collectors.LogRecord{Seq: uint64(i), Text: collectors.RawString(line)}
			if x.user {
				rec.Facility = 1
			}
			tail.Records = append(tail.Records, rec)
		}
		return ticking(2, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Host = &collectors.Host{Span: span, Facts: facts}
			if x.up > 0 {
				s.Host.Uptime = x.up + span.To
			}
			if i == 1 {
				s.Log = &collectors.Log{Span: span, Tail: tail}
			}
		})
	}
	panicked := "Kernel panic - not syncing: Fatal exception"
	checkCases(t, "host.rebooted", map[string]ruleCase{
		"four minutes ago":     {h: h(state{up: 4 * time.Minute}), want: "info 4.033 min", in: "the host booted 4 min ago"},
		"after a crash":        {h: h(state{up: time.Minute, crash: panicked, crashed: time.Minute}), want: "info 1.033 min", in: "ago after a crash"},
		"a crash of last week": {h: h(state{up: time.Minute, crash: panicked, crashed: 7 * 24 * time.Hour}), want: "info 1.033 min", in: "booted 62 s ago"},
		"up for an hour":       {h: h(state{up: time.Hour, crash: panicked, crashed: time.Minute})},
		"it is not known":      {h: h(state{})},
	})
	reset := "x86/amd: Previous system reset reason [0x08000800]: an uncorrected error caused a data fabric sync flood event"
	for name, tt := range map[string]struct {
		x    state
		want string
	}{
		"a crash":             {state{up: time.Minute, crash: panicked}, "the kernel before it left a record: " + panicked},
		"its reset register":  {state{up: time.Minute, log: []string{"Linux version 6.18", reset}}, reset},
		"what a program says": {state{up: time.Minute, log: []string{reset}, user: true}, "neither the kernel's log nor its persistent store tells why"},
		"nothing":             {state{up: time.Minute}, "neither the kernel's log nor its persistent store tells why"},
	} {
		if f := judged(t, "host.rebooted", h(tt.x)); !slices.Equal(f.Evidence, []string{tt.want}) {
			t.Errorf("%s: evidence %q, want %q", name, f.Evidence, tt.want)
		}
	}
}
