// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
)

// Nanoseconds an event of exec.bpf.c costs: run time under a storm of 5,000 execs a second on two busy
// CPUs of a 6.18 guest, with the some 60 ns that the statistics take themselves; make bench measures
// them anew. An exec leaves no cache warm.
const (
	CostExec = 3000 // exec_begun, half of them listed
	CostFork = 400  // exec_forked
	CostExit = 3400 // exec_ended and exec_reaped, of a process
)

// ExecTotals are counts of the host or of one target, cumulative since load.
type ExecTotals struct {
	Execs   uint64
	Forks   uint64 // processes made
	Threads uint64 // threads made
	Exits   uint64 // processes that ended
	Failed  uint64 // of those: with an exit code that is not 0
	Killed  uint64 // of those: by a signal
	Dumped  uint64 // of those: with a core dump

	Reaped    uint64 // of exits: waited for
	Late      uint64 // of exits: when they were waited for their last time slice could not be added
	CPU       uint64 // ns that the exits had used, the last time slice of those that were waited for
	Unseen    uint64 // of exits: they began after the last scan of the tasks
	UnseenCPU uint64 // ns
	UnseenAge uint64 // ns from fork to exit, sum

	Unkeyed uint64 // counts that had no room in a map by key; in slot 0 only
}

func (t *ExecTotals) plus(c *execExecTotals) {
	t.Execs += c.Execs
	t.Forks += c.Forks
	t.Threads += c.Threads
	t.Exits += c.Exits
	t.Failed += c.Failed
	t.Killed += c.Killed
	t.Dumped += c.Dumped
	t.Reaped += c.Reaped
	t.Late += c.Late
	t.CPU += c.Cpu
	t.Unseen += c.Unseen
	t.UnseenCPU += c.UnseenCpu
	t.UnseenAge += c.UnseenAge
	t.Unkeyed += c.Unkeyed
}

// ExecKey tells programs that were started apart: who started them, and a hash of the file's name.
type ExecKey struct {
	Parent string // name of the parent
	File   uint64
}

// ExecCount is how often a file was executed by parents of one name.
type ExecCount struct {
	ExecKey
	Execs uint64
	Name  string // of the file, its first 127 bytes
}

// DeadKey tells processes that ended apart: their name, and the nearest ancestor that was there at the
// last scan.
type DeadKey struct {
	Comm        string
	ParentTGID  int32
	ParentStart uint64
}

// DeadCount is what processes of one name and origin had used.
type DeadCount struct {
	DeadKey
	ParentComm string
	Exits      uint64
	CPU        uint64 // ns
	Age        uint64 // ns, sum
	Unseen     uint64 // of exits: as in ExecTotals
	UnseenCPU  uint64
	UnseenAge  uint64
	Failed     uint64
	Killed     uint64
}

// ForkCount is how many processes and threads the descendants of a process made, itself included.
type ForkCount struct {
	TGID    int32
	Start   uint64
	Comm    string
	Forks   uint64
	Threads uint64
}

// ExecCounts are the maps of exec.bpf.c. A key that stood still for a minute is left out, and counts
// from 0 when it comes again.
type ExecCounts struct {
	Totals [FilterSlots]ExecTotals // slot 0 is the host
	Execs  []ExecCount
	Dead   []DeadCount
	Forks  []ForkCount
}

// ExecParts says what to measure.
type ExecParts struct{ Exec, Fork, Exit bool }

// ExecErrs says why a part is not measured; nil: it is, or was not asked for.
type ExecErrs struct {
	Exec, Fork, Exit error
	Args             error // of execs there are counts and names, but no arguments and no paths
	Reap             error // of exits: CPU times lack the last time slice
}

// Exec is the facade of exec.bpf.c. Scanned may be called from any goroutine.
type Exec struct {
	obj     *object
	errs    ExecErrs
	scanned *ebpf.Map
	sums    []execExecTotals

	agedExecs aging[execExecKey]
	agedDead  aging[execDeadKey]
	agedForks aging[execProcess]
}

// OpenExec loads and attaches every part on its own; it fails if none is left. The caller owns the
// result and closes it.
func OpenExec(k *Kernel, parts ExecParts) (*Exec, error) {
	obj, err := newObject(k, loadExec)
	if err != nil {
		return nil, err
	}
	e := &Exec{obj: obj}
	fail := func(err error) (*Exec, error) { return nil, errors.Join(err, obj.Close()) }
	if err := k.needBTF(); err != nil {
		return fail(err)
	}
	if e.scanned, err = obj.createMap("scanned"); err != nil {
		return fail(err)
	}
	// The sums of the dead first: an exit that is seen shall be reaped in sight.
	if parts.Exit {
		if e.errs.Exit = fitExit(obj); e.errs.Exit == nil {
			e.errs.Reap = obj.attachTracing("exec_reaped")
			e.errs.Exit = obj.attachTracing("exec_ended")
		}
	}
	if parts.Fork {
		e.errs.Fork = obj.attachTracing("exec_forked")
	}
	if parts.Exec {
		e.errs.Exec = obj.attachTracing("exec_begun")
		if e.errs.Exec != nil {
			if err := blind(obj); err == nil && obj.attachTracing("exec_begun") == nil {
				e.errs.Args, e.errs.Exec = e.errs.Exec, nil
			}
		}
	}
	if len(obj.links) == 0 {
		return fail(errors.Join(e.errs.Exec, e.errs.Fork, e.errs.Exit, e.errs.Reap))
	}
	return e, nil
}

// blind makes exec_begun do without the memory of other processes.
func blind(obj *object) error {
	if err := obj.set("user_memory", false); err != nil {
		return err
	}
	return nil
}

// fitExit tells the programs whether the kernel says that the whole process ends.
func fitExit(obj *object) error {
	types, err := obj.kernel.types().Kernel()
	if err != nil {
		return obj.kernel.explain("reading kernel BTF", err)
	}
	args, err := traceArgs(types, "sched_process_exit")
	if err != nil {
		return err
	}
	n := uint32(1)
	if len(args) >= 2 {
		n = 2
	}
	if err := obj.set("exit_args", n); err != nil {
		return err
	}
	return nil
}

// Errs says which parts are missing, and why.
func (e *Exec) Errs() ExecErrs { return e.errs }

// Scanned says when a scan of all tasks began: boot time in ns. Processes that began later, and are
// gone before the next, are counted as unseen.
func (e *Exec) Scanned(at uint64) error {
	if err := e.scanned.Put(uint32(0), at); err != nil {
		return fmt.Errorf("writing map scanned: %w", err)
	}
	return nil
}

// Narrow counts targets apart: processes with all they started, and cgroups. It returns their slots.
func (e *Exec) Narrow(want []Filter) (Slots, error) { return e.obj.narrow(want) }

// Pause detaches the programs, or attaches them again.
func (e *Exec) Pause(on bool) error { return e.obj.pause(on) }

// Read copies the counts into dst. now is the time of the reading, monotonic.
func (e *Exec) Read(dst *ExecCounts, now time.Duration) error {
	*dst = ExecCounts{Execs: dst.Execs[:0], Dead: dst.Dead[:0], Forks: dst.Forks[:0]}
	for slot := range dst.Totals {
		if slot > 0 && e.obj.slots[slot] == (Filter{}) {
			continue
		}
		var err error
		if dst.Totals[slot], err = e.totals(slot); err != nil {
			return err
		}
	}
	return errors.Join(
		readAged(e.obj, "exec_counts", &e.agedExecs, now,
			func(v *execExecCount) uint64 { return v.Execs },
			func(k *execExecKey, v *execExecCount) {
				dst.Execs = append(dst.Execs, ExecCount{ExecKey{cText(k.Parent[:]), k.File}, v.Execs, cText(v.File[:])})
			}),
		readAged(e.obj, "dead_counts", &e.agedDead, now,
			func(v *execDeadCount) uint64 { return v.Exits },
			func(k *execDeadKey, v *execDeadCount) { dst.Dead = append(dst.Dead, deadCount(k, v)) }),
		readAged(e.obj, "fork_counts", &e.agedForks, now,
			func(v *execForkCount) uint64 { return v.Forks + v.Threads },
			func(k *execProcess, v *execForkCount) {
				dst.Forks = append(dst.Forks, ForkCount{k.Tgid, k.Start, cText(v.Comm[:]), v.Forks, v.Threads})
			}),
	)
}

func deadCount(k *execDeadKey, v *execDeadCount) DeadCount {
	return DeadCount{
		DeadKey:    DeadKey{cText(k.Comm[:]), k.Parent.Tgid, k.Parent.Start},
		ParentComm: cText(v.ParentComm[:]),
		Exits:      v.Exits, CPU: v.Cpu, Age: v.Age,
		Unseen: v.Unseen, UnseenCPU: v.UnseenCpu, UnseenAge: v.UnseenAge,
		Failed: v.Failed, Killed: v.Killed,
	}
}

// readAged reads a map of counts and deletes from it what stands still.
func readAged[K comparable, V any](o *object, name string, a *aging[K], now time.Duration, count func(*V) uint64, each func(*K, *V)) error {
	m, err := o.createMap(name)
	if err != nil {
		return err
	}
	err = readHash(m, func(k *K, v *V) {
		if !a.stands(k, count(v), now) {
			each(k, v)
		}
	})
	if err != nil {
		return err
	}
	return forgetIdle(a, m, count, each)
}

// Close detaches the programs and frees the maps.
func (e *Exec) Close() error { return e.obj.Close() }

// cText is a C string in a fixed field.
func cText(s []int8) string {
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s))
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
