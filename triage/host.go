// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"strings"
	"time"

	"bpf60/collectors"
)

// crashNear is how long before a boot a record of the last kernel may have been written that tells of its
// end; the clock of the machine may have been set meanwhile.
const crashNear = 2 * time.Hour

// resetReason says that a line of the kernel's log tells why the machine was started anew: AMD's reset
// register, a watchdog's, the firmware's record of a fault.
func resetReason(line string) bool {
	for _, s := range []string{"Previous system reset reason", "Last reboot was triggered by", "watchdog rebooted the system", "BERT: Error records from previous boot", "[Hardware Error]: event severity: fatal"} {
		if strings.Contains(line, s) {
			return true
		}
	}
	return false
}

// rebooted: what there is to see is minutes old, and why.
func rebooted(chosen Limits) Rule {
	r := Rule{ID: "host.rebooted", Says: "the host booted minutes ago, with what the kernel's log and the persistent store tell of why", Resource: "uptime", Needs: []string{"uptime"}, Hold: -1}
	fresh := r.limit(chosen, Limit{"minutes", 10, "min", 0, 1e5, "since the boot"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		up := w.uptime()
		if up <= 0 || up.Minutes() >= fresh {
			return Finding{}, nil
		}
		f := Finding{
			ID: "host.rebooted", Severity: Info, Resource: "host", Line: "uptime", Value: up.Minutes(), Threshold: fresh, Unit: "min",
			Title: fmt.Sprintf("the host booted %s", ago(up)), Pane: "log", Command: "last -x reboot shutdown | head; journalctl -b -1 -n 50; ls /sys/fs/pstore /var/lib/systemd/pstore",
		}
		facts := w.facts()
		if before := facts.Boot.Sub(facts.CrashAt); !facts.CrashAt.IsZero() && before > -crashNear && before < crashNear {
			f.Title += " after a crash"
			f.Evidence = append(f.Evidence, "the kernel before it left a record: "+collectors.Clean(facts.Crash).String())
		}
		if l := lastOf(w.h.Since(-1), func(s *collectors.Snapshot) *collectors.Log { return s.Log }); l != nil && l.Tail != nil {
			for _, rec := range l.Tail.Records {
				if len(f.Evidence) < few && rec.Facility == 0 && resetReason(rec.Text.Bytes()) {
					f.Evidence = append(f.Evidence, collectors.Clean(rec.Text).String())
					f.Row = fmt.Sprint(rec.Seq)
				}
			}
		}
		if len(f.Evidence) == 0 {
			f.Evidence = []string{"neither the kernel's log nor its persistent store tells why"}
		}
		return f, nil
	})
	r.Evidence = func(h *History) []string {
		up := recently(h).uptime()
		if up <= 0 {
			return nil
		}
		return []string{"booted " + ago(up)}
	}
	return r
}

// uptime is how long the host is up; 0 if it is not known.
func (r *recent) uptime() time.Duration {
	if host := lastOf(r.moments, func(s *collectors.Snapshot) *collectors.Host { return s.Host }); host != nil {
		return host.Uptime
	}
	return 0
}
