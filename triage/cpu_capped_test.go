// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"strings"
	"testing"
	"time"

	"bpf60/collectors"
)

func TestCapped(t *testing.T) {
	const mhz = 1000
	type state struct {
		busy           [2]int // percent of cpu0 and cpu1
		now, limit, is uint64 // MHz of cpu0; 0: it cannot be read
		readings       int
		hot            time.Duration // of each second
		why            string
	}
	cpu0 := collectors.Target{Kind: collectors.CPUTarget, CPU: 0}
	h := func(x state) *History {
		ticks := func(part int) collectors.Ticks {
			return collectors.Ticks{User: uint64(part), Idle: uint64(100 - part)}
		}
		return ticking(20, ticksOf(1, ticks(x.busy[0]), ticks(x.busy[1])), func(i int, s *collectors.Snapshot, span collectors.Span) {
			if i > x.readings {
				return
			}
			c := collectors.CPUClock{Now: x.now * mhz, Limit: x.limit * mhz, Max: x.is * mhz, Governor: collectors.RawString("powersave"), Why: x.why, Hot: x.hot}
			if x.hot > 0 {
				c.HotTimes = 1
			}
			s.CPUClocks = &collectors.CPUClocks{Span: span, Narrowed: []collectors.Targeted[collectors.CPUClock]{{Target: cpu0, Sample: c}}}
		})
	}
	busy, one := [2]int{100, 90}, [2]int{30, 20}
	checkCases(t, "cpu.capped", map[string]ruleCase{
		"a quarter of what it can": {h: h(state{busy: busy, now: 800, limit: 800, is: 3200, readings: 10}), want: "warning 25 % by cpu0", in: "cpu0 runs at 0.8 GHz of 3.2 GHz"},
		"all cores in turbo":       {h: h(state{busy: busy, now: 2100, limit: 3400, is: 3400, readings: 10})},
		"idle, and slow for that":  {h: h(state{busy: one, now: 800, limit: 3200, is: 3200, readings: 10})},
		"four readings":            {h: h(state{busy: busy, now: 800, limit: 800, is: 3200, readings: 4})},
		"too hot":                  {h: h(state{busy: busy, now: 2400, limit: 3200, is: 3200, readings: 10, hot: 300 * time.Millisecond}), want: "warning 30 % by cpu0", in: "too hot"},
		"warm now and then":        {h: h(state{busy: busy, now: 2400, limit: 3200, is: 3200, readings: 10, hot: 50 * time.Millisecond})},
		"a virtual machine":        {h: h(state{busy: busy, readings: 10, why: "no driver"})},
		"nobody looked":            {h: h(state{busy: busy})},
	})
	fast := h(state{busy: busy, now: 800, limit: 3200, is: 3200, readings: 10})
	for i, m := range fast.Since(-1) { // at one of the readings it was fast
		if i == 5 {
			m.CPUClocks.Narrowed[0].Sample.Now = 3000 * mhz
		}
	}
	checkCases(t, "cpu.capped", map[string]ruleCase{"fast now and then": {h: fast}})

	for name, tt := range map[string]struct {
		x     state
		wants int
		blind string
	}{
		"both are busy":     {state{busy: busy}, 2, "no CPU was busy enough"},
		"one is":            {state{busy: [2]int{20, 100}}, 1, "no CPU was busy enough"},
		"none is":           {state{busy: one}, 0, "no CPU was busy enough"},
		"known":             {state{busy: busy, now: 3000, limit: 3200, is: 3200, readings: 10}, 2, ""},
		"a virtual machine": {state{busy: busy, readings: 10, why: "no driver here"}, 0, "no driver here"},
	} {
		_, wants := judge(t, "cpu.capped", h(tt.x))
		if len(wants) != tt.wants {
			t.Errorf("%s: asks for %v, want %d", name, wants, tt.wants)
		}
		why, _ := All(nil)[indexOf(t, "cpu.capped")].Blind(h(tt.x))
		if (why == "") != (tt.blind == "") || !strings.HasPrefix(why, tt.blind) {
			t.Errorf("%s: cannot be ruled out as %q, want %q", name, why, tt.blind)
		}
	}
}
