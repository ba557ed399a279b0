// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// CPUClocksID is the on-demand collector of the frequency and idle states of single CPUs.
const CPUClocksID ID = "cpuclock"

// CPUClocks is how fast the CPUs run that somebody looks at, and how they idle.
type CPUClocks struct {
	Span
	Narrowed []Targeted[CPUClock]
}

// CPUClock is one CPU.
type CPUClock struct {
	// Now is what it runs at, Limit what it may run at and Max what it can, in kHz (scaling_cur_freq,
	// scaling_max_freq and cpuinfo_max_freq of cpufreq); 0 where the kernel does not tell: see Why.
	Now, Limit, Max uint64
	Governor        Raw
	Why             string // why there is no frequency; empty when there is

	// Hot is how long it ran slower over the span because it, or the package it is in, was too hot, and
	// HotTimes how often that began (thermal_throttle; drivers/thermal/intel/therm_throt.c); 0 where the
	// kernel does not tell.
	Hot      time.Duration
	HotTimes uint64

	Idle    []IdleState // shallowest first; nil: see IdleWhy
	IdleWhy string

	heat [2]heat // of the CPU and of its package, since boot
}

// heat is how long something ran slower, in ms, and how often that began.
type heat struct{ ms, times uint64 }

// IdleState is one way to idle, over the span.
type IdleState struct {
	Name    Raw           // POLL, C1, C6
	Time    time.Duration // spent in it, by the kernel's clock of whole microseconds
	Entries uint64

	total, entered uint64 // µs and times since boot
}

func (c *CPUClocks) put(s *Snapshot) { s.CPUClocks = c }

// Apart is what c tells of single CPUs, and over which span.
func (c *CPUClocks) Apart() ([]Targeted[CPUClock], Span) { return c.Narrowed, c.Span }

func (c *CPUClocks) size() int {
	n := allocSize(unsafe.Sizeof(*c)) + sliceSize(c.Narrowed)
	for i := range c.Narrowed {
		n += sliceSize(c.Narrowed[i].Sample.Idle)
	}
	return n
}

// withoutRows returns a copy that keeps the frequencies.
func (c *CPUClocks) withoutRows() *CPUClocks {
	out := *c
	out.Narrowed = slices.Clone(c.Narrowed)
	for i := range out.Narrowed {
		out.Narrowed[i].Sample.Idle = nil
	}
	return &out
}

type cpuClockCollector struct {
	fs      FS
	targets []Target
	prev    map[Target]Targeted[CPUClock] // nil: not started
	begun   bool
	last    time.Duration
}

// NewCPUClocks returns the collector of CPUClocks. It needs no privilege.
func NewCPUClocks(fs FS) Collector { return &cpuClockCollector{fs: fs} }

func (c *cpuClockCollector) Meta() Meta { return Meta{ID: CPUClocksID, OnDemand: true} }

func (c *cpuClockCollector) Start(ctx context.Context) error {
	c.prev, c.begun = map[Target]Targeted[CPUClock]{}, false
	return ctx.Err()
}

// Narrow implements Narrower. To ask a CPU for its frequency may wake it: only those are asked that somebody
// looks at.
func (c *cpuClockCollector) Narrow(targets []Target) error {
	c.targets = slices.DeleteFunc(slices.Clone(targets), func(t Target) bool { return t.Kind != CPUTarget })
	return nil
}

func (c *cpuClockCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !c.begun {
		c.begun, c.last = true, now
	}
	s := &CPUClocks{Span: Span{c.last, now}}
	next := make(map[Target]Targeted[CPUClock], len(c.targets))
	for _, t := range c.targets {
		one := Targeted[CPUClock]{Target: t, Since: now, Sample: readCPUClock(c.fs.sysPath("devices/system/cpu/cpu" + strconv.Itoa(int(t.CPU))))}
		if was, ok := c.prev[t]; ok {
			one.Since = was.Since
			idleSince(was.Sample.Idle, one.Sample.Idle)
			one.Sample.heatSince(&was.Sample)
		}
		next[t] = one
		s.Narrowed = append(s.Narrowed, one)
	}
	c.prev, c.last = next, now
	return s, nil
}

// idleSince fills in what each state gained since the last reading. A state that was not there has no
// baseline, and one whose count went back began anew.
func idleSince(was, now []IdleState) {
	for i := range now {
		x := &now[i]
		if at := slices.IndexFunc(was, func(y IdleState) bool { return y.Name == x.Name }); at >= 0 {
			x.Time = time.Duration(since(was[at].total, x.total)) * time.Microsecond
			x.Entries = since(was[at].entered, x.entered)
		}
	}
}

// heatSince fills in what was added since the last reading: a CPU and its package mostly get hot together.
func (c *CPUClock) heatSince(was *CPUClock) {
	for i := range c.heat {
		c.Hot = max(c.Hot, time.Duration(since(was.heat[i].ms, c.heat[i].ms))*time.Millisecond)
		c.HotTimes = max(c.HotTimes, since(was.heat[i].times, c.heat[i].times))
	}
}

// mostIdleStates bounds what is read of one CPU (CPUIDLE_STATE_MAX is 10).
const mostIdleStates = 16

// readCPUClock reads the files of one CPU (Documentation/admin-guide/pm/cpufreq.rst, cpuidle.rst).
func readCPUClock(dir string) CPUClock {
	var c CPUClock
	number := func(name string) uint64 {
		n, _ := parseUint([]byte(sysText(dir, name)))
		return n
	}
	if _, err := os.Stat(filepath.Join(dir, "cpufreq")); err != nil {
		c.Why = "the kernel has no cpufreq driver here: in most virtual machines the host decides"
	} else {
		c.Now, c.Limit, c.Max = number("cpufreq/scaling_cur_freq"), number("cpufreq/scaling_max_freq"), number("cpufreq/cpuinfo_max_freq")
		c.Governor = RawString(sysText(dir, "cpufreq/scaling_governor"))
		if c.Now == 0 {
			c.Why = "scaling_cur_freq cannot be read"
		}
	}
	for i, of := range []string{"core", "package"} {
		c.heat[i] = heat{ms: number("thermal_throttle/" + of + "_throttle_total_time_ms"), times: number("thermal_throttle/" + of + "_throttle_count")}
	}
	for i := range mostIdleStates {
		state := "cpuidle/state" + strconv.Itoa(i) + "/"
		name := sysText(dir, state+"name")
		if name == "" {
			break
		}
		c.Idle = append(c.Idle, IdleState{Name: RawString(name), total: number(state + "time"), entered: number(state + "usage")})
	}
	if len(c.Idle) == 0 {
		c.IdleWhy = "the kernel has no cpuidle driver here: how a virtual CPU idles is its host's matter"
	}
	return c
}

// sysText is a file of one line; empty if it cannot be read.
func sysText(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || len(b) > 4096 {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Probes is one row.
func (c *cpuClockCollector) Probes() []Probe {
	p := Probe{Name: "cpufreq", Hook: "/sys/devices/system/cpu/cpuN/cpufreq, cpuidle", State: Idle, Reason: "read while looked at"}
	if c.prev != nil {
		p.State, p.Reason = stateOf(c.begun, nil)
	}
	return []Probe{p}
}

func (c *cpuClockCollector) Close() error {
	c.prev, c.begun = nil, false
	return nil
}
