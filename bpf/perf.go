// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// sampleHz is odd on purpose: a sample in step with the scheduler's tick would always see the same
// part of its period.
const sampleHz = 99

// clocks are the perf events that run a program on each CPU, by its number.
type clocks map[int]*clock

// clock is the perf event of one CPU.
type clock struct {
	event   io.ReadCloser // it says for how long it was enabled
	runs    uint64        // of the program on that CPU, when their count last moved
	since   uint64        // when that was, or the event was seen alive: monotonic ns
	enabled uint64        // for how long it had been then, in ns
}

// clockRuns is how often a program had run on each CPU at a time, monotonic ns.
type clockRuns struct {
	at  uint64
	of  func(cpu int) uint64
	now uint64 // the time itself
}

// deadClock is how long a program may not run on a CPU that is online until its event is asked whether it is
// enabled. The slowest clock ticks some ten times in it.
const deadClock = 1e9

// dead says that the event will not run its program any more: that of a CPU that was taken away stays dead
// when the CPU is back, which may be before anybody looks at what is online. That the program did not run is
// no proof: an idle CPU has no ticks, and without them the kernel takes the samples of a second for too many
// in one tick, and stops them until the next (__perf_event_account_interrupt). But the time for which an
// event is enabled stands still only with the event.
func (c *clock) dead(r clockRuns, cpu int) bool {
	if n := r.of(cpu); n != c.runs {
		c.runs, c.since = n, max(c.since, r.at)
	}
	if r.at <= c.since || r.at-c.since < deadClock {
		return false
	}
	var b [16]byte // its value, and the time
	if n, err := c.event.Read(b[:]); err != nil || n < len(b) {
		return true
	}
	enabled := binary.NativeEndian.Uint64(b[8:])
	if enabled == c.enabled {
		return true
	}
	c.enabled, c.since = enabled, r.at
	return false
}

// follow makes the set of CPUs that are sampled equal to online: CPUs come and go, and the perf event
// of one that went reads 0 for ever. It costs nothing when nothing changed. With the last error of a
// CPU that could not be sampled it says whether others came.
func (c clocks) follow(k *Kernel, online []int, hz int, prog *ebpf.Program, runs clockRuns) (came bool, refused error) {
	want := make(map[int]bool, len(online))
	for _, cpu := range online {
		want[cpu] = true
		old := c[cpu]
		if old != nil && !old.dead(runs, cpu) {
			continue
		}
		ev, err := samplePerf(cpu, hz, prog)
		switch {
		case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
			// It went offline since we looked.
		case err != nil:
			refused = k.explainPerf(fmt.Sprintf("sampling CPU %d", cpu), err)
		default:
			if old != nil {
				_ = old.event.Close() // nothing is lost with a dead one
			}
			c[cpu] = &clock{event: ev, runs: runs.of(cpu), since: runs.now}
			came = true
		}
	}
	for cpu, ev := range c {
		if !want[cpu] {
			_ = ev.event.Close() // the CPU is gone; there is nothing to save
			delete(c, cpu)
		}
	}
	return came, refused
}

// close ends the sampling.
func (c clocks) close() error {
	var errs []error
	for cpu, ev := range c {
		errs = append(errs, ev.event.Close())
		delete(c, cpu)
	}
	return errors.Join(errs...)
}

// samplePerf runs prog on one CPU, hz times a second, from the kernel's software clock. The ioctl serves
// every kernel; BPF links to perf events came only with 5.15.
func samplePerf(cpu, hz int, prog *ebpf.Program) (*os.File, error) {
	attr := unix.PerfEventAttr{
		Type:   unix.PERF_TYPE_SOFTWARE,
		Config: unix.PERF_COUNT_SW_CPU_CLOCK,
		Size:   uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Sample: uint64(hz),
		Bits:   unix.PerfBitFreq | unix.PerfBitDisabled,

		Read_format: unix.PERF_FORMAT_TOTAL_TIME_ENABLED,
	}
	fd, err := unix.PerfEventOpen(&attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("opening the clock of CPU %d: %w", cpu, err)
	}
	f := os.NewFile(uintptr(fd), fmt.Sprintf("perf:cpu%d", cpu))
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_SET_BPF, prog.FD()); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("attaching %v: %w", prog, err)
	}
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_ENABLE, 0); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("starting the clock of CPU %d: %w", cpu, err)
	}
	return f, nil
}
