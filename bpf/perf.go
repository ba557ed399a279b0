// SPDX-License-Identifier: Apache-2.0

package bpf

import (
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
type clocks map[int]io.Closer

// follow makes the set of CPUs that are sampled equal to online: CPUs come and go, and the perf event
// of one that went reads 0 for ever. It costs nothing when nothing changed. With the last error of a
// CPU that could not be sampled it says whether others came.
func (c clocks) follow(k *Kernel, online []int, hz int, prog *ebpf.Program) (came bool, refused error) {
	want := make(map[int]bool, len(online))
	for _, cpu := range online {
		want[cpu] = true
		if c[cpu] != nil {
			continue
		}
		ev, err := samplePerf(cpu, hz, prog)
		switch {
		case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
			// It went offline since we looked.
		case err != nil:
			refused = k.explain(fmt.Sprintf("sampling CPU %d", cpu), err)
		default:
			c[cpu] = ev
			came = true
		}
	}
	for cpu, ev := range c {
		if !want[cpu] {
			_ = ev.Close() // the CPU is gone; there is nothing to save
			delete(c, cpu)
		}
	}
	return came, refused
}

// close ends the sampling.
func (c clocks) close() error {
	var errs []error
	for cpu, ev := range c {
		errs = append(errs, ev.Close())
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
