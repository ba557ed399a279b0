// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// undisturbed is the quantile that constants are taken at: what else runs only adds.
const undisturbed = 0.25

// constantRows measures anew the constants that bpf60 multiplies its events with to show its cost.
func constantRows(o options) ([]row, error) {
	var rows []row
	add := func(name string, ns float64, constant int, note string, err error) {
		r := row{what: name, peer: fmt.Sprintf("%d ns", constant), note: note}
		if err != nil {
			r.ok, r.note = absent, "not measured: "+err.Error()
		} else {
			r.ours, r.ratio = fmt.Sprintf("%.0f ns", ns), fmt.Sprintf("%.2f", ns/float64(constant))
		}
		rows = append(rows, r)
	}
	const statistics = "run time under a storm; the statistics' own clock reading is in it"
	byMethod := func(m bpf.Method) (float64, string, error) {
		got, err := rounds(o.rounds, []watcher{method(m)})
		if err != nil {
			return 0, "", err
		}
		return quantile(got[0].run, undisturbed), statistics + "; " + got[0].all.list(), nil
	}

	ns, note, err := byMethod(bpf.ByStamp)
	add("CostSwitch, peer: the constant", ns, bpf.CostSwitch, note, err)
	ns, note, err = byMethod(bpf.ByWakeup)
	add("CostWake", ns, bpf.CostWake, note, err)
	inTracefs(func(e error) {
		if err = e; err == nil {
			ns, note, err = byMethod(bpf.ByTracepoint)
		}
	})
	add("CostTracepoint", ns, bpf.CostTracepoint, note, err)
	ns, err = queueSample(o.rounds)
	add("CostQueueSample", ns, bpf.CostQueueSample, "time taken from a spinning thread, the timer's interrupt included", err)
	ns, note, err = taskScan()
	add("CostTask", ns, bpf.CostTask, note, err)
	return rows, nil
}

// inTracefs calls f on a thread that sees tracefs, whether or not the host has it mounted.
func inTracefs(f func(error)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread dies with its mounts
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount("nodev", "/sys/kernel/tracing", "tracefs", 0, "")
			if errors.Is(err, unix.EBUSY) {
				err = nil
			}
		}
		f(err)
	}()
	<-done
}

// queueSample is what a sample of the queue takes from the thread it interrupts, in ns. Runs
// without the timer, in between, are subtracted.
func queueSample(n int) (float64, error) {
	s, err := bpf.OpenSched(bpf.Inspect(), bpf.SchedParts{Queue: true})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	progs, err := programsOf(os.Getpid())
	if err != nil {
		return 0, err
	}
	defer progs.close()
	var prog *ebpf.Program
	for _, p := range progs {
		if info, err := p.Info(); err == nil && info.Name == "queue_sampled" {
			prog = p
		}
	}
	if prog == nil {
		return 0, fmt.Errorf("opening queue_sampled: %w", s.QueueErr())
	}
	const (
		hz    = 997
		slice = 100 * time.Millisecond
	)
	ev, err := sample(lastCPU(), hz, prog)
	if err != nil {
		return 0, err
	}
	defer ev.Close()
	var idle, sampled []float64
	for range 10 * n {
		for _, on := range []bool{false, true} {
			request, into := uint(unix.PERF_EVENT_IOC_DISABLE), &idle
			if on {
				request, into = unix.PERF_EVENT_IOC_ENABLE, &sampled
			}
			if err := unix.IoctlSetInt(int(ev.Fd()), request, 0); err != nil {
				return 0, fmt.Errorf("switching a software clock: %w", err)
			}
			*into = append(*into, float64(lost(slice)))
		}
	}
	return (quantile(sampled, undisturbed) - quantile(idle, undisturbed)) / (hz * slice.Seconds()), nil
}

// sample runs prog on one CPU by the software clock, as bpf60 does.
func sample(cpu int, hz uint64, prog *ebpf.Program) (*os.File, error) {
	fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK, Size: unix.PERF_ATTR_SIZE_VER5,
		Sample: hz, Bits: unix.PerfBitFreq | unix.PerfBitDisabled,
	}, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("opening a software clock: %w", err)
	}
	f := os.NewFile(uintptr(fd), "perf")
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_SET_BPF, prog.FD()); err != nil {
		f.Close()
		return nil, fmt.Errorf("attaching queue_sampled: %w", err)
	}
	return f, nil
}

// lost spins on the last CPU and adds up what short interrupts took from it. Longer gaps are other
// programs.
func lost(span time.Duration) time.Duration {
	const (
		short = 400 * time.Nanosecond // a turn of the loop takes a tenth
		long  = 30 * time.Microsecond
	)
	sum := make(chan time.Duration)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with its settings
		var set unix.CPUSet
		set.Set(lastCPU())
		_ = unix.SchedSetaffinity(0, &set)
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
		var total time.Duration
		begun := time.Now()
		for last := begun; last.Sub(begun) < span; {
			now := time.Now()
			if gap := now.Sub(last); gap > short && gap < long {
				total += gap
			}
			last = now
		}
		sum <- total
	}()
	return <-sum
}

// taskScan is what a scan of all threads takes of its caller's CPU time, in ns a thread.
func taskScan() (float64, string, error) {
	end, err := sleepers(1000)
	if err != nil {
		return 0, "", err
	}
	defer end()
	tasks, err := bpf.OpenTasks(bpf.Inspect())
	if err != nil {
		return 0, "", err
	}
	defer tasks.Close()
	var took []float64
	threads := 0
	for range 50 {
		threads = 0
		var before, after unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &before)
		err := tasks.Read(func(*bpf.Task) { threads++ })
		_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &after)
		if err != nil {
			return 0, "", err
		}
		took = append(took, float64(after.Nano()-before.Nano())/float64(threads))
	}
	return quantile(took, undisturbed), fmt.Sprintf("CPU time of the whole read, %d threads", threads), nil
}
