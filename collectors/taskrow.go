// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"math"
	"math/bits"
	"time"
	"unsafe"
)

// ProcInfo is the part of a process that rarely changes. It is interned: samples that show the
// same process share it, and it is never written after it is published.
type ProcInfo struct {
	Process
	PID    int32 // equals TGID
	PPID   int32
	UID    uint32
	User   Raw // of /etc/passwd; empty where that does not know UID
	Comm   Raw
	Kernel bool // a kernel thread
	Nice   int8
	Prio   int16  // as PR of top: 20 + nice, or -1 - real-time priority
	Policy uint8  // of sched_setscheduler(2): 0 other, 1 FIFO, 2 RR, 3 batch, 5 idle, 6 deadline, 7 ext
	Exec   uint32 // changes with each exec, where that is known
	NetNS  uint32 // inode of the network namespace; 0 where it is not known

	// Cgroup is the cgroup's ID: in the hierarchy of the memory controller where that is a v1 one,
	// else in the unified one. 0 where it is not known.
	Cgroup     uint64
	CgroupPath Raw // in the same hierarchy, or in another if it is the root there; empty until it is read

	// Args is the command line, arguments joined by blanks, secrets masked, at most MaxArgs bytes.
	Args     Raw
	ArgsRead ArgsState
}

// rootCgroup is the ID of every hierarchy's root.
const rootCgroup = 1

// NamedCgroup is the ID of the cgroup that CgroupPath names; 0 if the path is of another hierarchy, or the ID
// is not known.
func (p *ProcInfo) NamedCgroup() uint64 {
	if p.Cgroup == rootCgroup && p.CgroupPath.s != "/" {
		return 0
	}
	return p.Cgroup
}

// CgroupName is a short name of the cgroup: the container's, pod's or unit's. Empty until the path is
// known.
func (p *ProcInfo) CgroupName() Raw {
	if p.CgroupPath.s == "" {
		return Raw{}
	}
	return RawString(containerName(p.CgroupPath.s))
}

// ArgsState says what is known of a command line.
type ArgsState uint8

// What is known of a command line.
const (
	ArgsUnread    ArgsState = iota
	ArgsRead                // empty: it has none, as kernel threads
	ArgsGone                // could not be read
	ArgsStuck               // reading it blocks
	ArgsElsewhere           // the process is in another PID namespace than we are: /proc does not tell
)

// Micros is a time in microseconds; what is longer than 71 minutes stays at that.
type Micros uint32

// Duration returns the time.
func (m Micros) Duration() time.Duration { return time.Duration(m) * time.Microsecond }

func micros[T int64 | uint64](ns T) Micros {
	if ns <= 0 {
		return 0
	}
	return Micros(min(uint64(ns)/1000, math.MaxUint32))
}

// Lack is a set of columns that could not be read of a process.
type Lack uint8

// What a source may not tell.
const (
	LackIO       Lack = 1 << iota // bytes read and written: kernel without CONFIG_TASK_IO_ACCOUNTING, or no right to
	LackDelay                     // Delay: kernel.task_delayacct is off, or was when the process began; or it is longer than the life
	LackRSS                       // RSS and Swap: the kernel counts in a way we do not know
	LackSwap                      // Swap alone: from "/proc"
	LackSwitches                  // context switches: from "/proc"
	LackThreads                   // Wait of other threads than the leader: from "/proc"
)

// TaskRow is one process over the span. Times and counts are sums over its threads, the ones that
// died included, where Tasks.Source is "iter/task". From "/proc", Run has the threads' sum in steps of 10 ms (exact
// for a process of one thread), Wait is the leader's alone, and switches are not counted.
type TaskRow struct {
	*ProcInfo `record:"must"`
	More      *TaskMore `record:"own"` // nil: all of it is zero or as before

	Run                    time.Duration // on a CPU (se.sum_exec_runtime)
	Wait                   time.Duration // runnable and not running (sched_info.run_delay)
	Sys                    Micros        // of Run, in the kernel: split as its cputime_adjust does
	LeadWait               Micros        // the leader's share of Wait: pidstat's %wait
	Voluntary, Involuntary uint32        // context switches; see More for the leader's share
	MinFlt                 uint32        // page faults without I/O
	RSS                    uint32        // gauge: pages
	Threads                uint32        // gauge
	Blocked                uint16        // gauge: threads in D, the leader included
	State                  byte          // of the leader: R S D T t Z X I
	Lacks                  Lack
}

// TaskMore is what few processes have in a second.
type TaskMore struct {
	MajFlt     uint32        // page faults that took I/O
	Swap       uint32        // gauge: pages swapped out
	VSZ        uint64        // gauge: pages; 0: as before
	Read       uint64        // bytes read from storage
	Write      uint64        // bytes written to the page cache, that storage will get
	Cancelled  uint64        // of bytes written earlier: truncated before storage got them
	BlockDelay time.Duration // waited for block I/O; of all threads alive
	Guest      Micros        // of TaskRow.Run, and not of its Sys: as virtual CPUs of guests

	// OthersVoluntary and OthersInvoluntary are the part of the row's switches that is not the
	// leader's: of the other threads, the ones that died included.
	OthersVoluntary, OthersInvoluntary uint32
}

// TaskState is one process at the end of the span, whether it moved or not.
type TaskState struct {
	*ProcInfo `record:"must"`
	Time      time.Duration // on a CPU since it began
	VSZ       uint64        // pages
	RSS, Swap uint32        // pages
	Threads   uint32
	Blocked   uint16
	State     byte
	Lacks     Lack
}

// MaxThreads is how many threads a sample lists.
const MaxThreads = 200

// ThreadRow is one thread over the span.
type ThreadRow struct {
	*ProcInfo              `record:"must"` // of its process, which has the process's name
	TID                    int32
	State                  byte
	Prio                   int16
	Comm                   Raw // the thread's own
	Run, Wait              time.Duration
	Sys                    Micros
	Voluntary, Involuntary uint32
	MinFlt, MajFlt         uint32
	Read, Write            uint64 // bytes

	// LastCPU is the CPU that it ran on last, plus 1: where it was at the end of the span, not all that it
	// ran on in it. 0 where it is not known.
	LastCPU uint16
}

// size is what t holds, without what samples share: ProcInfo.
func (t *Tasks) size() int {
	n := allocSize(unsafe.Sizeof(*t)) + sliceSize(t.Rows) + sliceSize(t.Key) + sliceSize(t.Gone) + sliceSize(t.Busy)
	for i := range t.Rows {
		if t.Rows[i].More != nil {
			n += allocSize(unsafe.Sizeof(TaskMore{}))
		}
	}
	for i := range t.Busy {
		n += allocSize(uintptr(len(t.Busy[i].Comm.s)))
	}
	return n
}

// Infos calls each with the ProcInfo of every row, one process as often as it stands there.
func (t *Tasks) Infos(each func(*ProcInfo)) {
	for i := range t.Rows {
		if p := t.Rows[i].ProcInfo; p != nil {
			each(p)
		}
	}
	for i := range t.Key {
		if p := t.Key[i].ProcInfo; p != nil {
			each(p)
		}
	}
	for i := range t.Busy {
		if p := t.Busy[i].ProcInfo; p != nil {
			each(p)
		}
	}
}

// taskCounts is what the kernel counts for a thread, and of the dead for their process. Differences
// may be negative for a while, as two's complement.
type taskCounts struct {
	Run                     uint64 // ns
	User, Sys               uint64 // ns, coarser than Run: by whom the clock tick hit
	Guest                   uint64 // ns, of User: as the virtual CPU of a guest
	Vol, Invol              uint64
	MinFlt, MajFlt          uint64
	Read, Write, CancelledW uint64 // bytes
}

// plus adds o.
func (c *taskCounts) plus(o *taskCounts) {
	c.Run += o.Run
	c.User += o.User
	c.Sys += o.Sys
	c.Guest += o.Guest
	c.Vol += o.Vol
	c.Invol += o.Invol
	c.MinFlt += o.MinFlt
	c.MajFlt += o.MajFlt
	c.Read += o.Read
	c.Write += o.Write
	c.CancelledW += o.CancelledW
}

// minus takes o away.
func (c *taskCounts) minus(o *taskCounts) {
	c.Run -= o.Run
	c.User -= o.User
	c.Sys -= o.Sys
	c.Guest -= o.Guest
	c.Vol -= o.Vol
	c.Invol -= o.Invol
	c.MinFlt -= o.MinFlt
	c.MajFlt -= o.MajFlt
	c.Read -= o.Read
	c.Write -= o.Write
	c.CancelledW -= o.CancelledW
}

// gained is a difference as a count, 0 when it stepped back.
func gained(d uint64) uint64 {
	if int64(d) < 0 {
		return 0
	}
	return d
}

// gained32 is gained, at most what 32 bits hold.
func gained32(d uint64) uint32 { return uint32(min(gained(d), math.MaxUint32)) }

// inKernel is how much of the precise run time was the kernel's, by the ratio of the coarse times:
// kernel/sched/cputime.c, cputime_adjust.
func (c *taskCounts) inKernel() uint64 {
	switch {
	case c.Sys == 0 || c.Run == 0:
		return 0
	case c.User == 0:
		return c.Run
	}
	all := c.User + c.Sys
	if all < c.User || c.Sys >= all {
		return c.Run
	}
	hi, lo := bits.Mul64(c.Run, c.Sys)
	q, _ := bits.Div64(hi, lo, all) // hi < all: Sys < all
	return q
}

// withoutRows keeps the sums.
func (t *Tasks) withoutRows() *Tasks {
	c := *t
	c.Rows, c.Key, c.Gone, c.Busy = nil, nil, nil, nil
	return &c
}
