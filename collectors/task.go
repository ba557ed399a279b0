// SPDX-License-Identifier: Apache-2.0

package collectors

import "time"

// TasksID is the collector of every process.
const TasksID ID = "tasks"

// ProcInfo is the part of a process that rarely changes. It is interned: samples that show the
// same process share it, and it is never written after it is published.
type ProcInfo struct {
	Process
	PID    int32 // equals TGID
	PPID   int32
	UID    uint32
	Comm   Raw
	Kernel bool // a kernel thread
	Nice   int8
}

// TaskRow is one process over the span. Times are sums over its threads.
type TaskRow struct {
	*ProcInfo
	Run                    time.Duration // on a CPU, exact (se.sum_exec_runtime)
	Wait                   time.Duration // runnable and not running (sched_info.run_delay)
	LeadWait               time.Duration // the leader's share of Wait: pidstat's %wait
	Voluntary, Involuntary uint64        // context switches
	Threads                uint32
	State                  byte // of the leader: R S D T t Z X I
}

// Tasks is one scan of all tasks.
type Tasks struct {
	Span
	Rows []TaskRow // processes that ran, waited or are in D; unordered

	Processes, Threads       int // all of them
	Running, Uninterruptible int // threads in R (ourselves included) and D
	Zombies                  int
	Source                   string // "iter/task" or "/proc"
}

func (t *Tasks) put(s *Snapshot) { s.Tasks = t }
