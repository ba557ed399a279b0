// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// pressure is the part of the time since `at` for which somebody waited for a CPU.
type pressure struct {
	at    time.Time
	total float64 // µs
	ok    bool
}

// busy is the pressure from which on a host is too busy for times to mean much.
const busy = 0.10

func pressureNow() pressure {
	p := pressure{at: time.Now()}
	text, err := os.ReadFile("/proc/pressure/cpu")
	if err != nil {
		return p
	}
	_, after, _ := strings.Cut(string(text), "total=")
	number, _, _ := strings.Cut(after, "\n")
	p.total, err = strconv.ParseFloat(number, 64)
	p.ok = err == nil
	return p
}

// since says how busy the host was, in words; "" if it was quiet.
func (p pressure) since() string {
	now := pressureNow()
	if !p.ok || !now.ok {
		return ""
	}
	share := (now.total - p.total) / float64(now.at.Sub(p.at).Microseconds())
	if share < busy {
		return ""
	}
	return fmt.Sprintf("host busy: CPU pressure %.0f %%", 100*share)
}

// describe is the host in one line: what all figures depend on.
func describe() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	load, _ := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(load))
	for len(f) < 3 {
		f = append(f, "?")
	}
	procs, programs := 0, 0
	if list, err := os.ReadDir("/proc"); err == nil {
		for _, e := range list {
			if _, err := strconv.Atoi(e.Name()); err == nil {
				procs++
			}
		}
	}
	for id, err := ebpf.ProgramGetNextID(0); err == nil; id, err = ebpf.ProgramGetNextID(id) {
		programs++
	}
	var set unix.CPUSet
	_ = unix.SchedGetaffinity(0, &set)
	return fmt.Sprintf("Linux %s, %d CPUs, load average %s %s %s, %d processes, %d BPF programs of others",
		unix.ByteSliceToString(u.Release[:]), set.Count(), f[0], f[1], f[2], procs, programs)
}

// lastCPU is the last CPU we may run on: the first ones serve most interrupts.
func lastCPU() int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return 0
	}
	last := 0
	for cpu := range 1024 {
		if set.IsSet(cpu) {
			last = cpu
		}
	}
	return last
}

// cpuTime is what a process has used so far, all its threads and the ended ones included. This
// clock counts nanoseconds, where /proc/PID/stat counts hundredths of seconds.
func cpuTime(pid int) (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
		return 0, fmt.Errorf("reading the CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// peakRSS is the most memory that a process has had resident, in bytes.
func peakRSS(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(v)[0], 64)
			return kb * 1024, err
		}
	}
	return 0, fmt.Errorf("reading /proc/%d/status: no VmHWM", pid)
}
