// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func comm(s string) (c [commLen]byte) {
	copy(c[:commLen-1], s)
	return c
}

// pidLine is a /proc/PID/stat with a name of one's choice.
func pidLine(name, flags string) string {
	return "7 (" + name + ") D 1 7 7 0 -1 " + flags + " 9 9 9 9 11 12 9 9 20 -5 3 0 99 4096 1 2\n"
}

func TestParsePIDStat(t *testing.T) {
	const kthread = "2129984"
	seven := func(name string, flags uint64) *pidStat {
		return &pidStat{PID: 7, PPID: 1, Comm: comm(name), State: 'D', Flags: flags, UTime: 11, STime: 12, MinFlt: 9, MajFlt: 9, Prio: 20, Nice: -5, Threads: 3, StartTicks: 99, VSize: 4096, RSS: 1}
	}
	tests := map[string]struct {
		in   string
		want *pidStat // nil: an error
	}{
		"captured":          {string(fixtureFile(t, "1/stat")), &pidStat{PID: 1, Comm: comm("systemd"), State: 'S', Flags: 4194560, UTime: 159, STime: 897, MinFlt: 38272, MajFlt: 69, Prio: 20, Threads: 12, StartTicks: 31, VSize: 48328704, RSS: 4779, LastCPU: 2}},
		"captured thread":   {string(fixtureFile(t, "4/stat")), &pidStat{PID: 4, PPID: 2, Comm: comm("kworker/R-rcu_gp"), State: 'I', Flags: 69238880, Nice: -20, Threads: 1, StartTicks: 31, LastCPU: 1}},
		"captured, hostile": {string(fixtureFile(t, "4711/stat")), &pidStat{PID: 4711, PPID: 1, Comm: comm("\x1b]0;P\n) S 1)"), State: 'S', Flags: 4194304, UTime: 6, STime: 2, MinFlt: 2936, MajFlt: 4, Prio: 20, Threads: 3, StartTicks: 321937, VSize: 168181760, RSS: 3459, LastCPU: 2}},
		"plain":             {pidLine("bash", "0"), seven("bash", 0)},
		"no name":           {pidLine("", "0"), seven("", 0)},
		"parentheses":       {pidLine("((sd-pam))", "0"), seven("((sd-pam))", 0)},
		"forged":            {pidLine(") R 1 1", "0"), seven(") R 1 1", 0)},
		"newline":           {pidLine("a\nb", "0"), seven("a\nb", 0)},
		"not UTF-8":         {pidLine("\xff\x9b", "0"), seven("\xff\x9b", 0)},
		"long":              {pidLine("0123456789abcdefghij", "0"), seven("0123456789abcde", 0)},
		"worker":            {pidLine("kworker/u8:1-events_unbound", kthread), seven("kworker/u8:1", 2129984)},
		"worker at work":    {pidLine("kworker/0:2H+kblockd", kthread), seven("kworker/0:2H", 2129984)},
		"rescuer":           {pidLine("kworker/R-kbl", kthread), seven("kworker/R-kbl", 2129984)},
		"a worker's name":   {pidLine("kworker/0:1-x", "0"), seven("kworker/0:1-x", 0)},
		"to the end": {
			strings.TrimSuffix(pidLine("x", "0"), "\n") + " 4 4 4 4 4 4 4 4 4 4 4 4 4 3 1 2 77 0\n",
			&pidStat{PID: 7, PPID: 1, Comm: comm("x"), State: 'D', UTime: 11, STime: 12, MinFlt: 9, MajFlt: 9, Prio: 20, Nice: -5, Threads: 3, StartTicks: 99, VSize: 4096, RSS: 1, LastCPU: 4, Policy: 2, BlockTicks: 77},
		},
		"RSS below 0":       {strings.Replace(pidLine("x", "0"), " 4096 1 ", " 4096 -3 ", 1), &pidStat{PID: 7, PPID: 1, Comm: comm("x"), State: 'D', UTime: 11, STime: 12, MinFlt: 9, MajFlt: 9, Prio: 20, Nice: -5, Threads: 3, StartTicks: 99, VSize: 4096}},
		"empty":             {"", nil},
		"cut in the name":   {string(fixtureFile(t, "6/stat")), nil},
		"cut after it":      {"7 (x)", nil},
		"cut in a column":   {strings.TrimSuffix(pidLine("x", "0"), " 99 4096 1 2\n"), nil},
		"no PID":            {" (x) S 1 1", nil},
		"PID 0":             {strings.Replace(pidLine("x", "0"), "7 (", "0 (", 1), nil},
		"backwards":         {")7(", nil},
		"two letters":       {strings.Replace(pidLine("x", "0"), " D ", " DD ", 1), nil},
		"escape as a state": {strings.Replace(pidLine("x", "0"), " D ", " \x1b ", 1), nil},
		"nice 20":           {strings.Replace(pidLine("x", "0"), " -5 ", " 20 ", 1), nil},
		"too large":         {strings.Replace(pidLine("x", "0"), " 11 ", " 99999999999999999999 ", 1), nil},
		"in a guest": {strings.TrimSuffix(pidLine("x", "0"), "\n") + strings.Repeat(" 0", 15) + " 2 5 6 7\n", func() *pidStat {
			s := seven("x", 0)
			s.Policy, s.BlockTicks, s.GuestTicks, s.LastCPU = 2, 5, 6, 1
			return s
		}()},
		"PID too large": {strings.Replace(pidLine("x", "0"), "7 (", "4294967296 (", 1), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := pidStat{Comm: comm("leftover")}
			err := parsePIDStat([]byte(tt.in), &s)
			if (err == nil) != (tt.want != nil) {
				t.Fatalf("parsePIDStat(%q) = %v, want an error: %v", tt.in, err, tt.want == nil)
			}
			if tt.want == nil {
				return
			}
			if diff := cmp.Diff(*tt.want, s); diff != "" {
				t.Errorf("parsePIDStat(%q) (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}

func TestParseSchedstat(t *testing.T) {
	tests := map[string]struct {
		in   string
		want schedStat
		ok   bool
	}{
		"captured":   {string(fixtureFile(t, "1/schedstat")), schedStat{232896938, 10454073, 437}, true},
		"never ran":  {"0 0 0\n", schedStat{}, true},
		"empty":      {"", schedStat{}, false},
		"cut off":    {"12 13", schedStat{}, false},
		"not digits": {"12 13 x\n", schedStat{}, false},
		"too large":  {"12 18446744073709551616 1\n", schedStat{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseSchedstat([]byte(tt.in))
			if got != tt.want || (err == nil) != tt.ok {
				t.Errorf("parseSchedstat(%q) = %v, %v, want %v", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestParseStatusUID(t *testing.T) {
	tests := map[string]struct {
		in   string
		want uint32
		ok   bool
	}{
		"captured":   {string(fixtureFile(t, "4711/status")), 0, true},
		"user":       {"Name:\tx\nUid:\t1000\t0\t0\t0\n", 1000, true},
		"overflow":   {"Uid:\t4294967294\t0\t0\t0\n", 4294967294, true},
		"in a name":  {"Name:\tUid:\t7\nUid:\t8\t8\t8\t8\n", 8, true},
		"no Uid":     {"Name:\tx\n", 0, false},
		"too large":  {"Uid:\t4294967296\n", 0, false},
		"empty":      {"", 0, false},
		"no columns": {"Uid:\n", 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseStatusUID([]byte(tt.in))
			if got != tt.want || (err == nil) != tt.ok {
				t.Errorf("parseStatusUID(%q) = %d, %v, want %d", tt.in, got, err, tt.want)
			}
		})
	}
}
