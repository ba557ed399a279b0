// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const fixture = "testdata/proc"

// fixtureFile reads a file of the captured tree.
func fixtureFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(fixture, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// statTail is the rest of a whole /proc/stat.
const statTail = "intr 100 1 2\nctxt 200\nbtime 300\nprocesses 400\nprocs_running 5\nprocs_blocked 6\nsoftirq 9 9\n"

func TestParseStat(t *testing.T) {
	all := Ticks{User: 10, Nice: 20, System: 30, Idle: 40, IOWait: 50, IRQ: 60, SoftIRQ: 70, Steal: 80, Guest: 9, GuestNice: 8}
	const line = " 10 20 30 40 50 60 70 80 9 8\n"
	want := kernelStat{All: all, Interrupts: 100, Switches: 200, BootTime: 300, Forks: 400, Running: 5, Blocked: 6}
	with := func(change func(*kernelStat)) *kernelStat {
		w := want
		change(&w)
		return &w
	}
	tests := map[string]struct {
		in   string
		want *kernelStat // nil: an error
	}{
		"no CPU line":  {"cpu " + line + statTail, &want},
		"captured":     {string(fixtureFile(t, "stat")), capturedStat()},
		"a hole":       {"cpu" + line + "cpu0" + line + "cpu3" + line + statTail, with(func(s *kernelStat) { s.CPUs = []CPUTime{{CPU: 0, Ticks: all}, {CPU: 3, Ticks: all}} })},
		"old columns":  {"cpu 1 2 3 4\n" + statTail, with(func(s *kernelStat) { s.All = Ticks{User: 1, Nice: 2, System: 3, Idle: 4} })},
		"new columns":  {"cpu 10 20 30 40 50 60 70 80 9 8 77 66\n" + statTail, &want},
		"no last end":  {"cpu" + line + strings.TrimSuffix(statTail, "\n"), &want},
		"empty":        {"", nil},
		"3 columns":    {"cpu 1 2 3\n" + statTail, nil},
		"not a number": {"cpu 1 2 x 4\n" + statTail, nil},
		"negative":     {"cpu 1 2 -3 4\n" + statTail, nil},
		"too large":    {"cpu 1 2 3 18446744073709551616\n" + statTail, nil},
		"backwards":    {"cpu" + line + "cpu1" + line + "cpu0" + line + statTail, nil},
		"twice":        {"cpu" + line + "cpu1" + line + "cpu1" + line + statTail, nil},
		"CPU number":   {"cpu" + line + "cpux" + line + statTail, nil},
		"CPU 10^9":     {"cpu" + line + "cpu1000000000" + line + statTail, nil},
		"no cpu":       {statTail, nil},
		"no ctxt":      {"cpu" + line + strings.Replace(statTail, "ctxt", "xtxt", 1), nil},
		"empty intr":   {"cpu" + line + strings.Replace(statTail, "intr 100 1 2", "intr", 1), nil},
		"cut off":      {"cpu" + line + "intr 100 1 2\nctxt 2", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := kernelStat{CPUs: make([]CPUTime, 3, 8), Forks: 1} // leftovers of an earlier reading
			err := parseStat([]byte(tt.in), &s)
			if (err == nil) != (tt.want != nil) {
				t.Fatalf("parseStat(%q) = %v, want an error: %v", tt.in, err, tt.want == nil)
			}
			if tt.want == nil {
				return
			}
			if diff := cmp.Diff(*tt.want, s, cmp.AllowUnexported(kernelStat{}), cmpopts.IgnoreFields(kernelStat{}, "seen"), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("parseStat(%q) (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}

func capturedStat() *kernelStat {
	return &kernelStat{
		All: Ticks{User: 37534, Nice: 13406, System: 17677, Idle: 571914, IOWait: 973, SoftIRQ: 207, Steal: 142},
		CPUs: []CPUTime{
			{CPU: 0, Ticks: Ticks{User: 17914, Nice: 6747, System: 8313, Idle: 287633, IOWait: 141, SoftIRQ: 29, Steal: 67}},
			{CPU: 1, Ticks: Ticks{User: 19620, Nice: 6658, System: 9364, Idle: 284280, IOWait: 831, SoftIRQ: 177, Steal: 75}},
		},
		Interrupts: 1577999, Switches: 3017318, BootTime: 1795387271, Forks: 29631, Running: 1,
	}
}

func TestParseLoadavg(t *testing.T) {
	tests := map[string]struct {
		in   string
		want loadAvg
		ok   bool
	}{
		"captured":  {string(fixtureFile(t, "loadavg")), loadAvg{[3]float64{1.52, 1.34, 0.75}, 1, 89}, true},
		"a storm":   {"1041.07 512.50 99.99 2000/50000 7\n", loadAvg{[3]float64{1041.07, 512.5, 99.99}, 2000, 50000}, true},
		"empty":     {"", loadAvg{}, false},
		"cut off":   {"0.00 0.01 0.0", loadAvg{}, false},
		"no slash":  {"0.00 0.01 0.05 1 2", loadAvg{}, false},
		"no total":  {"0.00 0.01 0.05 1/", loadAvg{}, false},
		"negative":  {"0.00 0.01 0.05 -1/5", loadAvg{}, false},
		"nan":       {"nan 0.01 0.05 1/5", loadAvg{}, false},
		"too large": {"99999999999999999999.00 0.01 0.05 1/5", loadAvg{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseLoadavg([]byte(tt.in))
			if got != tt.want || (err == nil) != tt.ok {
				t.Errorf("parseLoadavg(%q) = %v, %v, want %v", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestParseUptime(t *testing.T) {
	tests := map[string]struct {
		in   string
		want time.Duration
		ok   bool
	}{
		"captured":   {string(fixtureFile(t, "uptime")), 3219310 * time.Millisecond, true},
		"just up":    {"0.07 0.00\n", 70 * time.Millisecond, true},
		"empty":      {"", 0, false},
		"no decimal": {"12 3\n", 0, false},
		"one":        {"12.3 3\n", 0, false},
		"overflow":   {"92233720368547758.07 0.00\n", 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseUptime([]byte(tt.in))
			if got != tt.want || (err == nil) != tt.ok {
				t.Errorf("parseUptime(%q) = %v, %v, want %v", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestParseMeminfo(t *testing.T) {
	const kib = 1024
	tests := map[string]struct {
		in   string
		want Mem
		ok   bool
	}{
		"captured": {string(fixtureFile(t, "meminfo")), Mem{
			Total: 24682416 * kib, Free: 23321660 * kib, Available: 24255660 * kib, Buffers: 20216 * kib,
			Cached: 1048328 * kib, SReclaimable: 174644 * kib, Shmem: 12776 * kib,
		}, true},
		"swap":            {"MemTotal: 8 kB\nMemAvailable: 4 kB\nSwapTotal: 2 kB\nSwapFree: 1 kB\n", Mem{Total: 8 * kib, Available: 4 * kib, SwapTotal: 2 * kib, SwapFree: kib}, true},
		"no available":    {"MemTotal: 8 kB\nMemFree: 3 kB\n", Mem{Total: 8 * kib, Free: 3 * kib, Available: 3 * kib}, true},
		"container's lie": {"MemTotal: 8 kB\nMemFree: 3 kB\nMemAvailable: 9 kB\n", Mem{Total: 8 * kib, Free: 3 * kib, Available: 3 * kib}, true},
		"SwapCached":      {"MemTotal: 8 kB\nMemAvailable: 1 kB\nSwapCached: 7 kB\n", Mem{Total: 8 * kib, Available: kib}, true},
		"empty":           {"", Mem{}, false},
		"no total":        {"MemFree: 3 kB\n", Mem{}, false},
		"cut off":         {"MemTotal: 8 kB\nMemFree:", Mem{}, false},
		"too large":       {"MemTotal: 18014398509481984 kB\n", Mem{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseMeminfo([]byte(tt.in))
			if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != tt.ok {
				t.Errorf("parseMeminfo(%q): %v (-want +got):\n%s", tt.in, err, diff)
			}
		})
	}
}

func TestParseVMStat(t *testing.T) {
	tests := map[string]struct {
		in   string
		want vmStat
		ok   bool
	}{
		"captured":     {string(fixtureFile(t, "vmstat")), vmStat{In: 2916345, Out: 3156884, hasIn: true, hasOut: true}, true},
		"swapping":     {"pgpgin 1\npgpgout 2\npswpin 3\npswpout 4\n", vmStat{3, 4, 1, 2, true, true}, true},
		"without swap": {"pgpgin 1\npgpgout 2\n", vmStat{0, 0, 1, 2, true, true}, true},
		"longer names": {"pgpgin 1\npgpgout 2\npswpin_x 3\npgpginx 9\n", vmStat{0, 0, 1, 2, true, true}, true},
		"empty":        {"", vmStat{}, false},
		"no events":    {"nr_free_pages 1\n", vmStat{}, false},
		"cut off":      {"pgpgin 1\npgpgout", vmStat{}, false},
		"no number":    {"pgpgin x\npgpgout 2\n", vmStat{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseVMStat([]byte(tt.in))
			if got != tt.want || (err == nil) != tt.ok {
				t.Errorf("parseVMStat(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestParsePressure(t *testing.T) {
	const avg = " avg10=0.00 avg60=0.00 avg300=0.00 total="
	tests := map[string]struct {
		in         string
		some, full time.Duration
		ok         bool
	}{
		"captured":        {string(fixtureFile(t, "pressure/memory")), 0, 0, true},
		"captured I/O":    {string(fixtureFile(t, "pressure/io")), 8869224 * time.Microsecond, 7224076 * time.Microsecond, true},
		"CPU before 5.13": {"some" + avg + "7\n", 7 * time.Microsecond, 0, true},
		"irq has full":    {"full" + avg + "7\n", 0, 0, false},
		"empty":           {"", 0, 0, false},
		"cut off":         {"some" + avg, 0, 0, false},
		"no number":       {"some" + avg + "x\n", 0, 0, false},
		"too large":       {"some" + avg + "9223372036854775808\n", 0, 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			some, full, err := parsePressure([]byte(tt.in))
			if some != tt.some || full != tt.full || (err == nil) != tt.ok {
				t.Errorf("parsePressure(%q) = %v, %v, %v, want %v, %v", tt.in, some, full, err, tt.some, tt.full)
			}
		})
	}
}
