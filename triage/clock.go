// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"time"

	"bpf60/collectors"
)

// syncGrace is how long after a boot a time service may look for its servers.
const syncGrace = 10 * time.Minute

// uncorrected says that nobody corrects the clock. chronyd without rtcsync leaves it marked as not
// synchronised, but keeps the error it may have below the 16 s that the kernel begins with and returns to.
func uncorrected(s *collectors.ClockSync) bool {
	return s != nil && s.Unsynced && s.MaxError >= 16*time.Second
}

// clockRule: asking for the time is a system call that talks to a device, or nobody corrects the clock. The
// second makes nothing slow: it is told so that times are not compared with those of other hosts.
func clockRule() Rule {
	return Rule{
		ID: "host.clock", Says: "the clocksource is a device that is slow to read: asking for the time is a real system call; info: nobody corrects the clock", Resource: "clock", Needs: []string{"uptime"},
		Check: lately(func(w *recent) (Finding, []collectors.Want) {
			f := Finding{ID: "host.clock", Resource: "clock", Line: "uptime", Value: 1, Threshold: 1, Pane: "log"}
			sync, up := w.clockSync(), w.uptime()
			loose := uncorrected(sync) && up >= syncGrace
			if loose {
				f.Evidence = []string{"the kernel's clock is not synchronised: it may be off by " + offBy(sync.MaxError)}
			}
			switch clock := w.facts().Clock; clock {
			case "hpet", "acpi_pm", "pit", "jiffies", "refined-jiffies":
				f.Severity, f.Unit, f.Explains = Warning, "slow clocksource", []string{"cpu.syscall_storm"}
				f.Title = fmt.Sprintf("the clocksource is %s: each look at the time is a real system call", clock)
				f.Command = "cat /sys/devices/system/clocksource/clocksource0/*_clocksource; dmesg | grep -i clocksource"
				return f, nil
			}
			if !loose {
				return Finding{}, nil
			}
			f.Severity, f.Unit = Info, "unsynchronised clock"
			f.Title = "nobody corrects the clock: do not compare its times with other hosts'"
			f.Command = "timedatectl; chronyc tracking"
			return f, nil
		}),
		Evidence: func(h *History) []string {
			var facts []string
			w := recently(h)
			if clock := w.facts().Clock; clock != "" {
				facts = append(facts, "clocksource "+clock)
			}
			switch sync := w.clockSync(); {
			case sync == nil:
				facts = append(facts, "synchronised: -, the kernel does not tell")
			case uncorrected(sync):
				facts = append(facts, "not synchronised yet")
			default:
				facts = append(facts, "synchronised to "+offBy(sync.MaxError))
			}
			return facts
		},
	}
}

// offBy is the most that a clock may be off; the kernel stops counting at 16 s.
func offBy(d time.Duration) string {
	const most = 16 * time.Second
	if d >= most {
		return "16 s or more"
	}
	return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
}

// clockSync is what the kernel says of its clock; nil: nothing.
func (r *recent) clockSync() *collectors.ClockSync {
	if x := lastOf(r.moments, func(s *collectors.Snapshot) *collectors.Host { return s.Host }); x != nil {
		return x.Sync
	}
	return nil
}
