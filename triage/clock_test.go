// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
)

func TestClock(t *testing.T) {
	type state struct {
		clock string
		sync  *collectors.ClockSync
		up    time.Duration
	}
	h := func(x state) *History {
		return ticking(2, func(_ int, s *collectors.Snapshot, span collectors.Span) {
			s.Host = &collectors.Host{Span: span, Uptime: x.up, Facts: &collectors.Facts{Clock: x.clock}, Sync: x.sync}
		})
	}
	loose := &collectors.ClockSync{Unsynced: true, MaxError: 16 * time.Second}
	good := &collectors.ClockSync{MaxError: 2500 * time.Microsecond}
	cases := map[string]ruleCase{
		"hpet":                        {h: h(state{clock: "hpet", up: time.Hour}), want: "warning 1 slow clocksource"},
		"hpet, and not synchronised":  {h: h(state{"hpet", loose, time.Hour}), want: "warning 1 slow clocksource", in: "hpet"},
		"not synchronised":            {h: h(state{"tsc", loose, time.Hour}), want: "info 1 unsynchronised clock", in: "nobody corrects the clock"},
		"booted a minute ago":         {h: h(state{"tsc", loose, time.Minute})},
		"uptime is not known":         {h: h(state{"tsc", loose, 0})},
		"synchronised":                {h: h(state{"tsc", good, time.Hour})},
		"the kernel does not tell it": {h: h(state{"tsc", nil, time.Hour})},
	}
	for _, well := range []string{"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", ""} {
		cases["well: "+well] = ruleCase{h: h(state{clock: well, up: time.Hour})}
	}
	checkCases(t, "host.clock", cases)

	for name, tt := range map[string]struct {
		x    state
		want []string
	}{
		"synchronised": {state{"tsc", good, time.Hour}, []string{"clocksource tsc", "synchronised to 2.5 ms"}},
		"not yet":      {state{"", loose, time.Minute}, []string{"not synchronised yet"}},
		"not known":    {state{"tsc", nil, time.Hour}, []string{"clocksource tsc", "synchronised: -, the kernel does not tell"}},
	} {
		if diff := cmp.Diff(tt.want, All(nil)[indexOf(t, "host.clock")].Evidence(h(tt.x))); diff != "" {
			t.Errorf("%s: evidence (-want +got):\n%s", name, diff)
		}
	}
	if f := judged(t, "host.clock", h(state{"tsc", loose, time.Hour})); len(f.Evidence) != 1 || f.Evidence[0] != "the kernel's clock is not synchronised: it may be off by 16 s or more" {
		t.Errorf("evidence %q", f.Evidence)
	}
}
