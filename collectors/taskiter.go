// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"fmt"

	"bpf60/bpf"
)

// taskReader is what the scanner needs of bpf.Tasks.
type taskReader interface {
	Read(each func(*bpf.Task)) error
	PIDs() bpf.TaskPIDs
	TakeTurns() bool
	Lagging() error
	Close() error
}

// iterScanner reads every thread through the BPF task iterator.
type iterScanner struct {
	open func() (taskReader, error)
	r    taskReader
	held heldPages
	pids *pidBook
	seen uint64
}

// newIterScanner returns the scanner of choice: every thread, exact times, some microseconds a tick.
func newIterScanner(k *bpf.Kernel, pids *pidBook) *iterScanner {
	if k.OtherPIDs() {
		pids.distrust()
	}
	return &iterScanner{pids: pids, open: func() (taskReader, error) {
		t, err := bpf.OpenTasks(k)
		if err != nil {
			return nil, err
		}
		return t, nil
	}}
}

func (s *iterScanner) Open(context.Context) error {
	r, err := s.open()
	if err != nil {
		return fmt.Errorf("opening the task iterator: %w", err)
	}
	s.r = r
	return nil
}

func (s *iterScanner) Scan(_ context.Context, recs []taskRec) ([]taskRec, error) {
	now, pids := bootNs(), s.r.PIDs()
	found := &pidNames{}
	if pids == bpf.PIDsOther {
		found.there, found.here = make(map[int32]int32), make(map[int32]int32)
	}
	err := s.r.Read(func(t *bpf.Task) {
		there := t.Pid
		if pids != bpf.PIDsSame {
			there = t.NsPid
		}
		if pids == bpf.PIDsOther && there > 0 {
			found.there[t.Pid], found.here[there] = there, t.Pid
		}
		rss, swap := s.held.pages(t)
		delay, lacks := lived(t.BlkioDelay, t.Start, now)
		recs = append(recs, taskRec{
			PID: t.Pid, TGID: t.Tgid, There: there, PPID: t.Ppid, Start: t.Start,
			taskCounts: iterCounts(&t.Own), Dead: deadCounts(&t.Dead), Wait: t.Wait, Delay: delay,
			RSS: rss, Swap: swap, VSZ: t.Vsz, Cgroup: t.Cgroup, NetNS: t.Netns, ExecID: t.ExecId,
			UID: t.Uid, Threads: 1, Nice: int8(t.StaticPrio - 120), Prio: int16(t.Prio - 100), Policy: uint8(t.Policy),
			State: stateLetter(t.State, t.ExitState), Kernel: t.Flags&pfKthread != 0, Lacks: iterLacks(t.Has) | lacks,
			LastCPU: uint16(min(t.LastCpu, maxCPU)),
		})
		name := &recs[len(recs)-1].Comm
		for i, c := range t.Comm {
			name[i] = byte(c)
		}
		s.seen++
	})
	s.held.scanned(s.r.TakeTurns())
	s.pids.follow(pids, found)
	return recs, err
}

// lived is what a thread waited for block I/O, and nothing if that is longer than it lives: the kernel counts
// the whole uptime where a wait ends that it did not see begin. Since 6.12 that is common: where a dequeue
// was delayed, the wait begins at the task that runs by then (__block_task in kernel/sched/sched.h).
func lived(delay, start, now uint64) (uint64, Lack) {
	const slack = 1e9 // it ran on while it was read
	if delay > since(start, now)+slack {
		return 0, LackDelay
	}
	return delay, 0
}

func iterCounts(c *bpf.TaskCounts) taskCounts {
	return taskCounts{
		Run: c.Run, User: c.Utime, Sys: c.Stime, Guest: c.Gtime, Vol: c.Voluntary, Invol: c.Involuntary, MinFlt: c.MinFlt, MajFlt: c.MajFlt,
		Read: c.ReadBytes, Write: c.WriteBytes, CancelledW: c.CancelledBytes,
	}
}

// deadCounts is nil for the many processes none of whose threads has died.
func deadCounts(c *bpf.TaskCounts) *taskCounts {
	if *c == (bpf.TaskCounts{}) {
		return nil
	}
	n := iterCounts(c)
	return &n
}

func iterLacks(has uint32) (l Lack) {
	if has&bpf.TaskHasIO == 0 {
		l |= LackIO
	}
	if has&bpf.TaskHasDelay == 0 {
		l |= LackDelay
	}
	if has&bpf.TaskHasRSS == 0 {
		l |= LackRSS | LackSwap
	}
	return l
}

// stateLetter is the letter of /proc/PID/stat (fs/proc/array.c, task_index_to_char): the lowest
// bit that is set of state and exit_state, and I for a task that sleeps without adding to the load.
func stateLetter(state, exit uint32) byte {
	const idle = 0x0402 // TASK_IDLE: TASK_UNINTERRUPTIBLE | TASK_NOLOAD
	if state&idle == idle {
		return 'I'
	}
	for i, bits := 0, (state|exit)&0x7f; bits != 0; i, bits = i+1, bits>>1 {
		if bits&1 != 0 {
			return "SDTtXZP"[i]
		}
	}
	return 'R'
}

func (s *iterScanner) Probe() Probe {
	p := Probe{State: On, Hook: "iter/task", Events: s.seen, NsPerEvent: bpf.CostTask}
	if s.r == nil {
		return p
	}
	if s.r.PIDs() == bpf.PIDsUnknown {
		p.State = Degraded
		p.Reason = "in a container's PID namespace: PIDs are the host's, command lines unknown"
		p.Remedy = "run on the host, or in its PID namespace: docker run --pid=host"
		return p
	}
	if err := s.r.Lagging(); err != nil {
		p.State = Degraded
		p.Reason = "RSS lacks what each CPU keeps of the kernel's counts, up to 32 pages of a kind and more: " + err.Error()
		p.Remedy = "VmRSS in /proc/PID/status is exact since Linux 6.17"
	}
	return p
}

func (s *iterScanner) Source() string { return SourceIter }

func (s *iterScanner) Close() error {
	if s.r == nil {
		return nil
	}
	err := s.r.Close()
	s.r, s.held = nil, heldPages{}
	return err
}
