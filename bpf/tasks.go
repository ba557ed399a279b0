// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
)

// Task is one thread, as tasks.bpf.c writes it: cumulative nanoseconds and counts since it began.
type Task = tasksTask

// TaskCounts is what the kernel counts for a thread, or has kept of a process's dead threads.
type TaskCounts = tasksTaskCounts

// Bits of Task.Has: what this kernel was built, and told, to count.
const (
	TaskHasIO    = 1 << iota // bytes read and written
	TaskHasDelay             // BlkioDelay: since 5.14 with the sysctl kernel.task_delayacct, for what began after it
	TaskHasRSS               // Rss, Swap
	TaskHasHeld              // Held, SwapHeld: what CPUs hold back of Rss and Swap is known in this record
)

// Tasks is the facade of tasks.bpf.c: every thread of the host in one read.
type Tasks struct {
	obj  *object
	pids TaskPIDs
	iter *link.Iter
	buf  []byte
	held heldPages
}

// TaskPIDs says what /proc calls the threads that are read.
type TaskPIDs uint8

// What /proc calls threads.
const (
	PIDsSame    TaskPIDs = iota // Pid
	PIDsOther                   // NsPid
	PIDsUnknown                 // not Pid, and NsPid is 0
)

// taskBuf holds a whole number of records; the kernel fills at most a page of the sequence file
// more than asked for, never half a record of ours.
const taskBuf = 64 << 10

// OpenTasks loads the iterator. Nothing runs until Read. The caller owns the result and closes it.
func OpenTasks(k *Kernel) (*Tasks, error) {
	obj, err := newObject(k, loadTasks)
	if err != nil {
		return nil, err
	}
	if err := k.needBTF(); err != nil {
		return nil, err
	}
	t := &Tasks{obj: obj, buf: make([]byte, taskBuf)}
	p, err := t.loadPIDs()
	if err != nil {
		return nil, errors.Join(err, obj.Close())
	}
	t.iter, err = link.AttachIter(link.IterOptions{Program: p})
	if err != nil {
		return nil, errors.Join(k.explain("attaching the task iterator", err), obj.Close())
	}
	obj.links = append(obj.links, t.iter)
	return t, nil
}

// PIDs says what /proc calls the threads that Read reads.
func (t *Tasks) PIDs() TaskPIDs { return t.pids }

// loadPIDs loads the program so that it tells what /proc calls threads where the programs call them
// otherwise. A lockdown refuses that; then it stays unknown.
func (t *Tasks) loadPIDs() (*ebpf.Program, error) {
	level, known := t.obj.kernel.pidLevel()
	switch {
	case !known:
		t.pids = PIDsUnknown
	case level > 0:
		if err := t.obj.set("pid_level", level); err != nil {
			return nil, err
		}
		p, err := t.load()
		if err == nil {
			t.pids = PIDsOther
			return p, nil
		}
		t.pids, t.held = PIDsUnknown, heldPages{}
		if err := t.obj.set("pid_level", uint32(0)); err != nil {
			return nil, err
		}
	}
	return t.load()
}

// load loads the program for how this kernel counts memory. Under a lockdown that forbids what an old
// one needs, memory stays unknown.
func (t *Tasks) load() (*ebpf.Program, error) {
	types, err := t.obj.kernel.types().Kernel()
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's types: %w", err)
	}
	var old *btf.Struct
	if types.TypeByName("mm_rss_stat", &old) == nil {
		if p, err := t.obj.load("tasks_listed_atomic"); err == nil {
			return p, nil
		}
		return t.obj.load("tasks_listed")
	}
	p, err := t.held.load(t.obj)
	if err == nil {
		return p, nil
	}
	t.held.missing = err
	return t.obj.load("tasks_listed")
}

// Read calls each with every thread. The Task is valid during the call only.
func (t *Tasks) Read(each func(*Task)) error {
	if err := t.held.begin(); err != nil {
		return err
	}
	r, err := openIter(t.iter)
	if err != nil {
		return fmt.Errorf("opening the task iterator: %w", err)
	}
	defer r.Close()
	const size = int(unsafe.Sizeof(Task{}))
	have := 0
	for {
		n, err := r.Read(t.buf[have:])
		have += n
		whole := have - have%size
		for off := 0; off < whole; off += size {
			task := (*Task)(unsafe.Pointer(&t.buf[off]))
			t.held.saw(task)
			each(task)
		}
		copy(t.buf, t.buf[whole:have])
		have -= whole
		if errors.Is(err, io.EOF) || n == 0 && err == nil {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the task iterator: %w", err)
		}
	}
	if have != 0 {
		return fmt.Errorf("reading the task iterator: %d bytes are no whole record", have)
	}
	return nil
}

// Close detaches the iterator.
func (t *Tasks) Close() error { return t.obj.Close() }
