// SPDX-License-Identifier: Apache-2.0

package collectors

// SchedID is the collector of the scheduler's histograms: runqlat, cpudist and runqlen.
const SchedID ID = "sched"

// Sched is what the scheduler did over the span, per CPU and for the host.
type Sched struct {
	Span
	Host SchedCounts
	CPUs []SchedCPU // possible CPUs that ever switched, ascending

	WaitTotal  Hist // since the probe attached
	OnCPUTotal Hist
	Method     string // how waits are measured: "sched_info stamp", "wake-up to switch"
}

// SchedCounts are additive deltas.
type SchedCounts struct {
	// Wait is from the moment a task was queued (woken, or preempted) to the moment it ran. Of
	// a task that was moved while it waited only the time on the last queue is seen.
	Wait Hist
	// OnCPU is how long a task ran before it left the CPU. The idle task is not counted.
	OnCPU Hist

	Switches  uint64 // switches to a task that is not idle
	Negative  uint64 // waits dropped because the clocks gave less than nothing
	Unstamped uint64 // switches to a task without a queue stamp: not in Wait
	Collided  uint64 // wake-up method only: starts overwritten by another task's

	// Queue length, sampled at 99 Hz: tasks that wait, without the one that runs.
	QueueSamples uint64
	QueueSum     uint64
}

// Queue is the mean number of tasks waiting, and false without samples.
func (c *SchedCounts) Queue() (float64, bool) {
	if c.QueueSamples == 0 {
		return 0, false
	}
	return float64(c.QueueSum) / float64(c.QueueSamples), true
}

// SchedCPU is one CPU's share, with deltas in 32 bits: of 256 CPUs the history keeps 60 a minute.
type SchedCPU struct {
	CPU         int
	Wait, OnCPU Hist32 // as in SchedCounts

	Switches, Negative, Unstamped, Collided uint64
	QueueSamples, QueueSum                  uint64

	WaitTotal  Hist
	OnCPUTotal Hist
}

// NewSchedCPU packs one CPU's deltas.
func NewSchedCPU(cpu int, d *SchedCounts, waitTotal, onCPUTotal *Hist) SchedCPU {
	return SchedCPU{
		CPU:          cpu,
		Wait:         d.Wait.Hist32(),
		OnCPU:        d.OnCPU.Hist32(),
		Switches:     d.Switches,
		Negative:     d.Negative,
		Unstamped:    d.Unstamped,
		Collided:     d.Collided,
		QueueSamples: d.QueueSamples,
		QueueSum:     d.QueueSum,
		WaitTotal:    *waitTotal,
		OnCPUTotal:   *onCPUTotal,
	}
}

// Counts are the deltas at full width, in the shape of the host's.
func (c *SchedCPU) Counts() SchedCounts {
	return SchedCounts{
		Wait:         c.Wait.Hist(),
		OnCPU:        c.OnCPU.Hist(),
		Switches:     c.Switches,
		Negative:     c.Negative,
		Unstamped:    c.Unstamped,
		Collided:     c.Collided,
		QueueSamples: c.QueueSamples,
		QueueSum:     c.QueueSum,
	}
}

// Queue is the mean number of tasks waiting, and false without samples.
func (c *SchedCPU) Queue() (float64, bool) {
	if c.QueueSamples == 0 {
		return 0, false
	}
	return float64(c.QueueSum) / float64(c.QueueSamples), true
}

func (s *Sched) put(snap *Snapshot) { snap.Sched = s }

// WakeID is the on-demand collector that splits waits by their cause.
const WakeID ID = "wake"

// Wake splits run-queue latency by why the task was queued. It is measured from our own stamps
// at sched_wakeup and at preemption, and so also checks the kernel's.
type Wake struct {
	Span
	Woken, Preempted           Hist   // deltas
	WokenTotal, PreemptedTotal Hist   // since it attached
	Lost                       uint64 // delta: switches to a task whose start was not seen
	Collided                   uint64 // delta: starts overwritten by another task's
}

func (w *Wake) put(s *Snapshot) { s.Wake = w }
