// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// Nanoseconds an event costs, by the kind of attachment and what the program does, as measured in a
// 6.18 guest; make bench measures them anew. Those of the scheduler are run time under a
// context-switch storm, with the 65 ns that an empty program has: a little less than the workload
// feels.
const (
	CostSwitch     = 150 // sched_switched
	CostWake       = 210 // wake_switched and its share of wake_woken
	CostTracepoint = 270 // the same through text tracepoints

	// CostQueueSample is what the sampled CPU loses, the timer's interrupt included. In a virtual
	// machine that is nearly all of it: queue_sampled itself runs for 0.8 µs.
	CostQueueSample = 16000

	CostTask = 400 // a thread, of the CPU time of a whole scan
)

// Method is how waits for a CPU are measured.
type Method uint8

// The methods, best first.
const (
	ByStamp      Method = iota // from the kernel's own stamp, one program
	ByWakeup                   // from our stamps at wake-up and preemption, three programs
	ByTracepoint               // the same through text tracepoints, without BTF
)

// String says it in the words of the Probes pane.
func (m Method) String() string {
	switch m {
	case ByStamp:
		return "tp_btf sched_switch"
	case ByWakeup:
		return "tp_btf sched_wakeup, sched_switch"
	case ByTracepoint:
		return "tracepoint sched_wakeup, sched_switch"
	}
	return "unknown"
}

// SchedCounts is one CPU's part of the scheduler's map, cumulative since load.
type SchedCounts struct {
	Wait, OnCPU  Hist // OnCPU is empty unless measured ByStamp
	Switches     uint64
	Negative     uint64 // waits below −1 ms: dropped
	Idles        uint64 // switches to the idle task, ByStamp only: with Switches /proc/stat's ctxt
	Unstamped    uint64 // switches to a task whose start is not known
	Collided     uint64 // not ByStamp: starts overwritten by another task's
	QueueSamples uint64
	QueueSum     uint64

	ClockAhead int64 // ns: how far ktime is ahead of the run queue's clock
	ClockDrift int64 // ns per 2^30 ns
}

// Sched is the facade of sched.bpf.c: run-queue latency, time on the CPU, switches and queue length.
type Sched struct {
	obj    *object
	method Method
	passed []error // why better methods were passed over
	queue  *ebpf.Program
	events clocks // of queue
	readAt uint64 // when raw was read, monotonic ns

	queueErr error
	raw      []schedSchedCounts
	rawWake  []schedWakeCounts
}

// SchedParts says what of the scheduler to measure.
type SchedParts struct {
	From   Method // the best method to try
	Switch bool   // waits, time on the CPU, switches
	Queue  bool   // length of the queues
}

// OpenSched loads and attaches the best method this kernel allows, none better than parts.From.
// The caller owns the result and closes it.
func OpenSched(k *Kernel, parts SchedParts) (*Sched, error) {
	obj, err := newObject(k, loadSched)
	if err != nil {
		return nil, err
	}
	s := &Sched{obj: obj, events: make(clocks)}
	attach := map[Method]func() error{
		ByStamp:      func() error { return attachStamp(obj) },
		ByWakeup:     func() error { return attachWake(obj) },
		ByTracepoint: func() error { return attachTraceWake(obj) },
	}
	for m := parts.From; m <= ByTracepoint; m++ {
		var err error
		if parts.Switch {
			err = attach[m]()
		}
		if err == nil {
			s.method = m
			if parts.Queue {
				s.openQueue()
			}
			return s, nil
		}
		s.passed = append(s.passed, err)
		if err := obj.detach(); err != nil {
			s.passed = append(s.passed, err)
		}
	}
	return nil, errors.Join(append(s.passed[:1:1], obj.Close())...)
}

func attachStamp(obj *object) error {
	if err := obj.kernel.needBTF(); err != nil {
		return err
	}
	if err := obj.attachTracing("sched_moved"); err != nil {
		return err
	}
	return attachSwitch(obj, "sched_switched")
}

// attachSwitch attaches the tp_btf program `name` to sched_switch, in the variant that fits the
// kernel's argument list.
func attachSwitch(obj *object, name string) error {
	if err := obj.kernel.needBTF(); err != nil {
		return err
	}
	types, err := obj.kernel.types().Kernel()
	if err != nil {
		return obj.kernel.explain("reading kernel BTF", err)
	}
	args, err := traceArgs(types, "sched_switch")
	if err != nil {
		return err
	}
	variant, n, err := switchVariant(name, len(args), func(i int) bool { return isStructPtr(args[i], "task_struct") })
	if err != nil {
		return err
	}
	spec, err := obj.elf()
	if err != nil {
		return err
	}
	if spec.Variables["switch_args"] != nil {
		if err := obj.set("switch_args", n); err != nil {
			return err
		}
	}
	return obj.attachTracing(variant)
}

// switchVariant picks the program for an argument list of n, of which isTask tells the tasks:
// (preempt, prev, next), the same with prev_state last (5.18), or with prev_state second.
func switchVariant(name string, n int, isTask func(int) bool) (string, uint32, error) {
	switch {
	case n >= 3 && isTask(1) && isTask(2):
		return name, uint32(min(n, 4)), nil
	case n >= 4 && isTask(2) && isTask(3):
		return name + "_state2", 4, nil
	}
	return "", 0, fmt.Errorf("attaching %s: sched_switch has an argument list that is not known: %w", name, ErrUnsupported)
}

func attachWake(obj *object) error {
	if err := obj.kernel.needBTF(); err != nil {
		return err
	}
	// sched_switch last: a start that was not seen is then a task that had been waiting already.
	for _, name := range []string{"wake_woken", "wake_forked"} {
		if err := obj.attachTracing(name); err != nil {
			return err
		}
	}
	return attachSwitch(obj, "wake_switched")
}

func attachTraceWake(obj *object) error {
	for _, t := range []struct{ event, name string }{
		{"sched_wakeup", "trace_woken"},
		{"sched_wakeup_new", "trace_forked"},
		{"sched_switch", "trace_switched"},
	} {
		if err := obj.attachTracepoint("sched", t.event, t.name); err != nil {
			return err
		}
	}
	return nil
}

// Method is how waits are measured.
func (s *Sched) Method() Method { return s.method }

// Passed says why better methods were passed over, best first.
func (s *Sched) Passed() []error { return s.passed }

// QueueErr says why the length of the queue is not sampled; nil if it is.
func (s *Sched) QueueErr() error { return s.queueErr }

func (s *Sched) openQueue() {
	if s.queueErr = s.obj.kernel.needBTF(); s.queueErr != nil {
		return
	}
	for _, name := range []string{"queue_sampled", "queue_sampled_read"} {
		if s.queue, s.queueErr = s.obj.load(name); s.queueErr == nil {
			return
		}
	}
}

// SampleQueues makes the set of sampled CPUs equal to online: CPUs come and go, and the perf event
// of one that went reads 0 for ever. It costs nothing when nothing changed.
func (s *Sched) SampleQueues(online []int) {
	if s.queue == nil {
		return
	}
	now, err := monotonic()
	if err != nil {
		s.queueErr = err
		return
	}
	came, err := s.events.follow(s.obj.kernel, online, sampleHz, s.queue, clockRuns{now: now, at: s.readAt, of: func(cpu int) uint64 {
		if cpu >= len(s.raw) {
			return 0
		}
		return s.raw[cpu].QueueSamples
	}})
	if came || err != nil {
		s.queueErr = err
	}
}

// Read copies the counts of all possible CPUs into dst, by CPU number, and returns it.
func (s *Sched) Read(dst []SchedCounts) ([]SchedCounts, error) {
	zero := uint32(0)
	dst = dst[:0]
	if s.method == ByStamp || s.queue != nil {
		m, err := s.obj.createMap("sched")
		if err != nil {
			return nil, err
		}
		if s.readAt, err = monotonic(); err != nil {
			return nil, err
		}
		if err := m.Lookup(&zero, &s.raw); err != nil {
			return nil, fmt.Errorf("reading map sched: %w", err)
		}
		for i := range s.raw {
			c := &s.raw[i]
			dst = append(dst, SchedCounts{
				Wait: Hist{c.Wait.Slots, c.Wait.Sum}, OnCPU: Hist{c.OnCpu.Slots, c.OnCpu.Sum},
				Switches: c.Switches, Idles: c.Idles, Negative: c.Negative, Unstamped: c.Unstamped,
				QueueSamples: c.QueueSamples, QueueSum: c.QueueSum,
				ClockAhead: c.Skew.Ahead, ClockDrift: c.Skew.Drift,
			})
		}
	}
	if s.method == ByStamp {
		return dst, nil
	}
	raw, err := readWake(s.obj, s.rawWake)
	if err != nil {
		return nil, err
	}
	s.rawWake = raw
	if len(dst) == 0 {
		dst = append(dst, make([]SchedCounts, len(raw))...)
	}
	for i := range raw {
		w, c := &raw[i], &dst[i]
		c.Wait = Hist{w.Woken.Slots, w.Woken.Sum}
		for slot, n := range w.Preempted.Slots {
			c.Wait.Slots[slot] += n
		}
		c.Wait.Sum += w.Preempted.Sum
		c.Switches, c.Negative, c.Unstamped, c.Collided = w.Switches, w.Negative, w.Lost, w.Collided
	}
	return dst, nil
}

// Pause detaches the programs on the scheduler's hooks and keeps them, or attaches them again. Queues
// are sampled on. What runs already when they are attached again has no time.
func (s *Sched) Pause(on bool) error { return s.obj.pauseSince(on, "sched_since") }

// Close stops the sampling, detaches the programs and frees the maps.
func (s *Sched) Close() error {
	return errors.Join(s.events.close(), s.obj.Close())
}
