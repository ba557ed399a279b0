// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"slices"
	"time"

	"bpf60/collectors"
)

// kernelRules are the rules about what the kernel says.
func kernelRules(chosen Limits) []Rule {
	return []Rule{complained(chosen), clockRule(), rebooted(chosen)}
}

// trouble says whether a kind of message is a trouble, and how bad it is. What the hardware corrected is
// worth a look at most. Kills have a finding of their own; links that go down, faults of programs, clocks and
// sleep are everyday.
func trouble(t collectors.Trouble) (Severity, bool) {
	switch t {
	case collectors.TroubleHardware, collectors.TroubleLockup, collectors.TroubleBug, collectors.TroubleReadOnly, collectors.TroubleRCU, collectors.TroubleRAID:
		return Critical, true
	case collectors.TroubleIO, collectors.TroubleFS, collectors.TroubleHung, collectors.TroubleSYN, collectors.TroubleConntrack, collectors.TroubleNeighbour,
		collectors.TroubleNIC, collectors.TroubleDisk, collectors.TroubleThermal, collectors.TroubleNFS, collectors.TroubleAlloc:
		return Warning, true
	case collectors.TroubleCorrected, collectors.TroubleEvent:
		return Info, true
	case collectors.TroubleOOM, collectors.TroubleSegfault, collectors.TroubleLink, collectors.TroubleClock, collectors.TroubleSuspend:
	}
	return Info, false
}

// inLog is the ID of the finding about the kernel's log, if what that has to tell is one of the troubles:
// for a finding that knows its cause.
func (r *recent) inLog(of ...collectors.Trouble) []string {
	rec, _, ok := r.newestTrouble(asBad(Warning))
	if !ok || !slices.Contains(of, rec.Trouble) {
		return nil
	}
	return []string{"kernel.errors"}
}

// asBad picks the troubles that are that bad, or worse.
func asBad(least Severity) func(collectors.Trouble) bool {
	return func(t collectors.Trouble) bool {
		s, is := trouble(t)
		return is && s >= least
	}
}

// complained: the kernel's log has a message of a known trouble.
func complained(chosen Limits) Rule {
	r := Rule{ID: "kernel.errors", Says: "the kernel's log tells of a trouble: failed I/O, hung tasks, faults of the machine, lockups, full tables, SYN floods", Resource: "kernel log", Needs: []string{"dmesg"}, Hold: -1}
	fresh := r.limit(chosen, Limit{"minutes", 10, "min", 1, 1440, "since the message; older ones are info"})
	old := r.limit(chosen, Limit{"old", 24, "h", 0, 720, "since the message, after which it is not told any more"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		var rec *collectors.LogRecord
		var age time.Duration
		ok := false
		for _, least := range []Severity{Critical, Warning, Info} { // the newest of the worst of late, else the newest
			if rec, age, ok = w.newestTrouble(asBad(least)); ok && age.Minutes() <= fresh {
				break
			}
		}
		if !ok || age > time.Duration(old*float64(time.Hour)) {
			return Finding{}, nil
		}
		severity, _ := trouble(rec.Trouble)
		f := Finding{
			ID: "kernel.errors", Severity: severity, Resource: "kernel", Line: "dmesg", Value: age.Minutes(), Threshold: fresh, Unit: "min ago",
			Title:    fmt.Sprintf("the kernel reports: %s", rec.Trouble),
			Evidence: []string{collectors.Clean(rec.Text).String()}, Pane: "log", Row: fmt.Sprint(rec.Seq), Command: "dmesg -T | tail",
		}
		if age.Minutes() > fresh {
			f.Severity = Info
			f.Title += ", " + ago(age)
		}
		return f, nil
	})
	r.Evidence = func(*History) []string { return []string{"no known trouble"} }
	return r
}
