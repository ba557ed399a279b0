// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"os"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// sampleHz is odd on purpose: a sample in step with the scheduler's tick would always see the same
// part of its period.
const sampleHz = 99

// samplePerf runs prog on one CPU at sampleHz, from the kernel's software clock. The ioctl serves
// every kernel; BPF links to perf events came only with 5.15.
func samplePerf(cpu int, prog *ebpf.Program) (*os.File, error) {
	attr := unix.PerfEventAttr{
		Type:   unix.PERF_TYPE_SOFTWARE,
		Config: unix.PERF_COUNT_SW_CPU_CLOCK,
		Size:   uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Sample: sampleHz,
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
