// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strconv"

	"bpf60/collectors"
)

// orderBy sorts by what comes before what.
func orderBy[T any](list []T, before func(a, b T) bool) {
	sortBy(list, func(a, b T) int {
		switch {
		case before(a, b):
			return -1
		case before(b, a):
			return 1
		}
		return 0
	})
}

// signalName is the name of signal(7) without SIG; the numbers are the same on all machines we run on.
func signalName(n uint8) string {
	names := [...]string{
		"0", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
		"STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
	}
	const realTime = 32
	switch {
	case int(n) < len(names):
		return names[n]
	case n >= realTime:
		return "RT" + strconv.Itoa(int(n)-realTime)
	}
	return strconv.Itoa(int(n))
}

// effect is what a signal does to its target.
func effect(r *collectors.SignalRow) string {
	const kill, stop = 9, 19
	switch {
	case r.Result == collectors.SignalIgnored && r.Action == collectors.ActionIgnored:
		return "ignored"
	case r.Result == collectors.SignalIgnored:
		return "none" // its target is ending, or protected as PID 1 is
	case r.Result == collectors.SignalPending:
		return "pending"
	case r.Result == collectors.SignalOverflow:
		return "lost"
	case r.Number == stop:
		return "stops"
	case r.Number == kill || r.Action == collectors.ActionDefault:
		return "kills"
	case r.Action == collectors.ActionHandled:
		return "handled"
	}
	return "sent"
}

// signalCause says by what a signal came: si_code of sigaction(2).
func signalCause(r *collectors.SignalRow) string {
	const user, queue, timer, tkill, kernel = 0, -1, -2, -6, 0x80
	switch {
	case r.Code == user:
		return "kill"
	case r.Code == tkill:
		return "tgkill"
	case r.Code == queue:
		return "sigqueue"
	case r.Code == timer:
		return "timer"
	case r.Code == kernel:
		return "kernel"
	case r.Code > 0:
		return "fault"
	}
	return strconv.Itoa(int(r.Code))
}
