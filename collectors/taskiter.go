// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"fmt"

	"bpf60/bpf"
)

// taskReader is what the scanner needs of bpf.Tasks.
type taskReader interface {
	Read(each func(*bpf.Task)) error
	Close() error
}

// iterScanner reads every thread through the BPF task iterator.
type iterScanner struct {
	open func() (taskReader, error)
	r    taskReader
	seen uint64
}

// newIterScanner returns the scanner of choice: every thread, exact times, some microseconds a tick.
func newIterScanner(k *bpf.Kernel) *iterScanner {
	return &iterScanner{open: func() (taskReader, error) {
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
	err := s.r.Read(func(t *bpf.Task) {
		recs = append(recs, taskRec{
			PID: t.Pid, TGID: t.Tgid, PPID: t.Ppid, Start: t.Start,
			taskCounts: iterCounts(&t.Own), Dead: iterCounts(&t.Dead), Wait: t.Wait, Delay: t.BlkioDelay,
			RSS: t.Rss, Swap: t.Swap, VSZ: t.Vsz, Cgroup: cmp.Or(t.CgroupV1, t.Cgroup), NetNS: t.Netns, ExecID: t.ExecId,
			UID: t.Uid, Threads: 1, Nice: int8(t.StaticPrio - 120), Prio: int16(t.Prio - 100), Policy: uint8(t.Policy),
			State: stateLetter(t.State, t.ExitState), Kernel: t.Flags&pfKthread != 0, Lacks: iterLacks(t.Has),
		})
		name := &recs[len(recs)-1].Comm
		for i, c := range t.Comm {
			name[i] = byte(c)
		}
		s.seen++
	})
	return recs, err
}

func iterCounts(c *bpf.TaskCounts) taskCounts {
	return taskCounts{
		Run: c.Run, User: c.Utime, Sys: c.Stime, Vol: c.Voluntary, Invol: c.Involuntary, MinFlt: c.MinFlt, MajFlt: c.MajFlt,
		Read: c.ReadBytes, Write: c.WriteBytes, CancelledW: c.CancelledBytes,
	}
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
	return Probe{State: On, Hook: "iter/task", Events: s.seen, NsPerEvent: bpf.CostTask}
}

func (s *iterScanner) Source() string { return "iter/task" }

func (s *iterScanner) Close() error {
	if s.r == nil {
		return nil
	}
	err := s.r.Close()
	s.r = nil
	return err
}
