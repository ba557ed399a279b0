// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// kmsgRecord is one record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg).
type kmsgRecord struct {
	Prio   uint64 // facility << 3 | level
	Seq    uint64
	Time   time.Duration // since boot, on the kernel's local clock; stands still in suspend
	Flag   byte          // '-', 'c' for a piece of a line, '+' for a piece that goes on one
	Text   []byte        // unescaped
	Fields [][]byte      // KEY=VALUE, unescaped
}

// parseKmsg reads one record: "prio,seq,usec,flags[,…];text\n KEY=VALUE\n …". The slices are its
// own.
func parseKmsg(b []byte) (r kmsgRecord, ok bool) {
	head, rest, ok := bytes.Cut(b, []byte{';'})
	if !ok {
		return r, false
	}
	for i := range 4 {
		f, after, _ := bytes.Cut(head, []byte{','})
		head = after
		switch n, isNumber := parseUint(f); {
		case i == 3:
			if len(f) > 0 {
				r.Flag = f[0]
			}
		case !isNumber:
			return kmsgRecord{}, false
		case i == 0:
			r.Prio = n
		case i == 1:
			r.Seq = n
		case n > uint64(1<<63-1)/uint64(time.Microsecond):
			return kmsgRecord{}, false
		default:
			r.Time = time.Duration(n) * time.Microsecond
		}
	}
	line, rest := cutLine(rest)
	r.Text = unescapeKmsg(line)
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		if len(line) > 1 && line[0] == ' ' {
			r.Fields = append(r.Fields, unescapeKmsg(line[1:]))
		}
	}
	return r, true
}

// unescapeKmsg undoes the kernel's \x1b for what is not printable ASCII, backslash included. It
// returns a copy.
func unescapeKmsg(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+3 < len(b) && b[i+1] == 'x' {
			if n, ok := parseHex(b[i+2 : i+4]); ok {
				out = append(out, byte(n))
				i += 3
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

// parseSyslog reads one line of syslog(2): "<6>[   12.345678] text". Without printk.time there is
// no time, which is then negative. A line without a level goes on the one before.
func parseSyslog(line []byte) (prio uint64, at time.Duration, text []byte, ok bool) {
	rest, found := bytes.CutPrefix(line, []byte{'<'})
	if !found {
		return 0, -1, nil, false
	}
	f, rest, found := bytes.Cut(rest, []byte{'>'})
	if prio, ok = parseUint(f); !ok || !found {
		return 0, -1, nil, false
	}
	stamp, after, found := bytes.Cut(rest, []byte("] "))
	if !found || len(stamp) == 0 || stamp[0] != '[' {
		return prio, -1, rest, true
	}
	sec, frac, _ := bytes.Cut(bytes.TrimLeft(stamp[1:], " "), []byte{'.'})
	frac, _, _ = bytes.Cut(frac, []byte("][")) // [  1.234567][    T1]: who printed it
	s, ok1 := parseUint(sec)
	us, ok2 := parseUint(frac)
	if !ok1 || !ok2 || len(frac) != 6 || s > 1<<32 {
		return prio, -1, rest, true
	}
	return prio, time.Duration(s)*time.Second + time.Duration(us)*time.Microsecond, after, true
}

// Trouble is what a message of the kernel is about, where it is a trouble that is known.
type Trouble string

// The known troubles.
const (
	TroubleOOM       Trouble = "oom kill"
	TroubleIO        Trouble = "i/o error"
	TroubleFS        Trouble = "fs error"
	TroubleReadOnly  Trouble = "remount read-only"
	TroubleHung      Trouble = "hung task"
	TroubleLockup    Trouble = "lockup"
	TroubleRCU       Trouble = "rcu stall"
	TroubleHardware  Trouble = "hardware error"           // that nothing corrected
	TroubleCorrected Trouble = "corrected hardware error" // that did no harm
	TroubleEvent     Trouble = "hardware event"           // of which the kernel does not say how bad it is
	TroubleBug       Trouble = "kernel bug"
	TroubleSYN       Trouble = "syn flooding"
	TroubleConntrack Trouble = "conntrack full"
	TroubleNeighbour Trouble = "neighbour table full"
	TroubleSegfault  Trouble = "segfault"
	TroubleLink      Trouble = "link down"
	TroubleNIC       Trouble = "transmit timeout"
	TroubleDisk      Trouble = "disk reset"
	TroubleRAID      Trouble = "raid"
	TroubleThermal   Trouble = "thermal"
	TroubleNFS       Trouble = "nfs server"
	TroubleAlloc     Trouble = "allocation failure"
	TroubleClock     Trouble = "clock"
	TroubleSuspend   Trouble = "suspend"
)

// troubleRule tells a trouble by words of the message. A rule with a prefix wants that first.
type troubleRule struct {
	prefix, words string
	is            Trouble
}

// troubleRules are the kernel's own wordings, the first that fits wins. That of a segfault comes
// first: it begins with a name that a process gave itself.
func troubleRules() []troubleRule {
	return []troubleRule{
		{"", "]: segfault at ", TroubleSegfault},
		{"traps: ", "general protection", TroubleSegfault},
		{"traps: ", "trap ", TroubleSegfault},
		{"Out of memory", "Killed process", TroubleOOM},
		{"Memory cgroup out of memory", "Killed process", TroubleOOM},
		{"Out of memory", "Kill process", TroubleOOM}, // before 5.1
		{"Memory cgroup out of memory", "Kill process", TroubleOOM},
		{"", " invoked oom-killer: ", TroubleOOM},
		{"oom-kill:", "", TroubleOOM},
		{"INFO: task ", " blocked for more than ", TroubleHung},
		{"INFO: task ", " blocked in I/O wait", TroubleHung},
		{"watchdog: ", "soft lockup", TroubleLockup},
		{"", "BUG: soft lockup", TroubleLockup},
		{"", "hard LOCKUP", TroubleLockup},
		{"", "detected stalls on CPUs", TroubleRCU},
		{"", "self-detected stall on CPU", TroubleRCU},
		{"rcu: ", "kthread starved", TroubleRCU},
		{"", "[Hardware Error]", TroubleEvent}, // how bad it is comes in its own words
		{"mce: ", "Uncorrected", TroubleHardware},
		{"EDAC ", " UE ", TroubleHardware},
		{"EDAC ", " CE ", TroubleCorrected},
		{"", "PCIe Bus Error: severity=Unc", TroubleHardware},
		{"", "PCIe Bus Error: severity=Corr", TroubleCorrected},
		{"", "AER: Uncorr", TroubleHardware}, // "Uncorrected", since 6.9 "Uncorrectable"
		{"", "AER: Multiple Uncorr", TroubleHardware},
		{"", "AER: Corr", TroubleCorrected},
		{"", "AER: Multiple Corr", TroubleCorrected},
		{"", "AER: device recovery failed", TroubleHardware},
		{"Memory failure: ", "", TroubleHardware},
		{"NMI: ", "reason", TroubleHardware},
		{"BUG: workqueue lockup", "", TroubleLockup},
		{"BUG: ", "", TroubleBug},
		{"kernel BUG at ", "", TroubleBug},
		{"Oops: ", "", TroubleBug},
		{"WARNING: ", " at ", TroubleBug},
		{"general protection fault", "", TroubleBug},
		{"Kernel panic", "", TroubleBug},
		{"Unable to handle kernel", "", TroubleBug},
		{"UBSAN: ", "", TroubleBug},
		{"list_del corruption", "", TroubleBug},
		{"list_add corruption", "", TroubleBug},
		{"", "Remounting filesystem read-only", TroubleReadOnly},
		{"", "forced readonly", TroubleReadOnly},
		{"", "Shutting down filesystem", TroubleReadOnly},
		{"EXT4-fs error", "", TroubleFS},
		{"EXT4-fs ", "error", TroubleFS},
		{"XFS ", "Corruption", TroubleFS},
		{"XFS ", "metadata I/O error", TroubleFS},
		{"XFS ", "log I/O error", TroubleFS},
		{"BTRFS error", "", TroubleFS},
		{"BTRFS critical", "", TroubleFS},
		{"JBD2: ", "rror", TroubleFS},
		{"FAT-fs ", "error", TroubleFS},
		{"overlayfs: ", "failed", TroubleFS},
		{"", "I/O error", TroubleIO},
		{"", "critical medium error", TroubleIO},
		{"", "critical target error", TroubleIO},
		{"", "critical space allocation error", TroubleIO},
		{"", "Unrecovered read error", TroubleIO},
		{"", "lost page write", TroubleIO},
		{"", "lost async page write", TroubleIO},
		{"", "timeout, aborting", TroubleDisk},
		{"", "timeout, reset controller", TroubleDisk},
		{"nvme ", "controller is down", TroubleDisk},
		{"ata", "hard resetting link", TroubleDisk},
		{"ata", "failed command", TroubleDisk},
		{"ata", "exception Emask", TroubleDisk},
		{"sd ", "FAILED Result", TroubleDisk},
		{"", "rejecting I/O to offline device", TroubleIO},
		{"md/raid", "Disk failure", TroubleRAID},
		{"md", "Operation continuing on", TroubleRAID},
		{"md", "not clean", TroubleRAID},
		{"", "Possible SYN flooding", TroubleSYN},
		{"", "possible SYN flooding", TroubleSYN},
		{"", "nf_conntrack: table full", TroubleConntrack},
		{"nf_conntrack", "table full", TroubleConntrack},
		{"", "neighbour: ", TroubleNeighbour},
		{"", "neighbor table overflow", TroubleNeighbour},
		{"", "NETDEV WATCHDOG", TroubleNIC},
		{"", "transmit queue", TroubleNIC},
		{"", "Link is Down", TroubleLink},
		{"", "link is down", TroubleLink},
		{"", "NIC Link is Down", TroubleLink},
		{"", "link down", TroubleLink},
		{"nfs: server ", "not responding", TroubleNFS},
		{"CIFS: ", "has not responded", TroubleNFS},
		{"ceph: ", "hung", TroubleNFS},
		{"", "page allocation failure", TroubleAlloc},
		{"warn_alloc: ", "", TroubleAlloc},
		{"vmap allocation", "failed", TroubleAlloc},
		{"", "cpu clock throttled", TroubleThermal},
		{"", "temperature above threshold", TroubleThermal},
		{"thermal ", "critical temperature", TroubleThermal},
		{"clocksource: ", "unstable", TroubleClock},
		{"clocksource: ", "skewed", TroubleClock},
		{"PM: suspend ", "", TroubleSuspend},
	}
}

// troubleOf classifies a message of the kernel itself; empty for what is none of the known.
func troubleOf(rules []troubleRule, text string) Trouble {
	for _, r := range rules {
		if !strings.HasPrefix(text, r.prefix) || !strings.Contains(text, r.words) {
			continue
		}
		if r.is == TroubleEvent {
			return hardwareTrouble(text)
		}
		return r.is
	}
	return ""
}

// hardwareTrouble says how bad a "[Hardware Error]" is, in the words of machine checks (mce, AMD's EDAC)
// and of the firmware (APEI, whose "recoverable" is an error that was not corrected). Most lines are details
// and say nothing of it.
func hardwareTrouble(text string) Trouble {
	said := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
	}
	switch {
	case said("ncorrect", "UECC", "|UE|", "[UE|", "atal", "eferred", "everity: recoverable", "type: recoverable", "Machine Check Exception"):
		return TroubleHardware
	case said("orrected", "orrectable", "CECC", "|CE|", "[CE|"):
		return TroubleCorrected
	}
	return TroubleEvent
}
