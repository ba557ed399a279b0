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
)

// Tasks is the facade of tasks.bpf.c: every thread of the host in one read.
type Tasks struct {
	obj  *object
	iter *link.Iter
	buf  []byte
}

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
	p, err := loadTaskProgram(obj)
	if err != nil {
		return nil, errors.Join(err, obj.Close())
	}
	it, err := link.AttachIter(link.IterOptions{Program: p})
	if err != nil {
		return nil, errors.Join(k.explain("attaching tasks_listed", err), obj.Close())
	}
	obj.links = append(obj.links, it)
	return &Tasks{obj: obj, iter: it, buf: make([]byte, taskBuf)}, nil
}

// loadTaskProgram loads the program for how this kernel counts memory. Under a lockdown that forbids
// what an old one needs, memory stays unknown.
func loadTaskProgram(obj *object) (*ebpf.Program, error) {
	types, err := obj.kernel.types().Kernel()
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's types: %w", err)
	}
	var old *btf.Struct
	if types.TypeByName("mm_rss_stat", &old) == nil {
		if p, err := obj.load("tasks_listed_atomic"); err == nil {
			return p, nil
		}
	}
	return obj.load("tasks_listed")
}

// Read calls each with every thread. The Task is valid during the call only.
func (t *Tasks) Read(each func(*Task)) error {
	r, err := t.iter.Open()
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
			each((*Task)(unsafe.Pointer(&t.buf[off])))
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
