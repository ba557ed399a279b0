// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/cilium/ebpf/link"
)

// Stall is one thread that waits, as stalls.bpf.c writes it. Stack holds kernel addresses, the
// innermost first, StackBytes of them in bytes; negative where the kernel gave none.
type Stall = stallsStall

// Flags of a Stall.
const (
	StallIOWait = 1 << iota // in io_schedule: it waits for a block device or a page of one
	StallLock               // for a mutex or semaphore, where the kernel keeps that
	StallKernel             // a kernel thread
)

// CostStall is what a scan takes for each thread, listed or not: nanoseconds, measured on 400
// threads of which none is listed.
const CostStall = 120

// Stalls is the facade of stalls.bpf.c: the threads that wait, with their kernel stacks.
type Stalls struct {
	obj  *object
	iter *link.Iter
	buf  []byte
}

// OpenStalls loads the iterator of threads in D, or, with asleep, of those of user space that
// sleep and had a CPU within ten seconds. Nothing runs until Read. The caller owns the result and
// closes it.
func OpenStalls(k *Kernel, asleep bool) (*Stalls, error) {
	obj, err := newObject(k, loadStalls)
	if err != nil {
		return nil, err
	}
	if err := k.needBTF(); err != nil {
		return nil, err
	}
	name := "stalled"
	if asleep {
		name = "slept"
	}
	p, err := obj.load(name)
	if err != nil {
		return nil, errors.Join(err, obj.Close())
	}
	it, err := link.AttachIter(link.IterOptions{Program: p})
	if err != nil {
		return nil, errors.Join(k.explain("attaching "+name, err), obj.Close())
	}
	obj.links = append(obj.links, it)
	s := &Stalls{obj: obj, iter: it, buf: make([]byte, stallBuf)}
	if asleep { // the first pass finds out what the present is
		if _, err := s.Read(func(*Stall) {}); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// stallBuf holds a page of the sequence file at the least; the kernel never splits a record.
const stallBuf = 32 << 10

// Read calls each with every thread that is listed. The Stall is valid during the call only. It
// returns the newest time a thread of the host got a CPU, which is the present on the clock of
// Stall.Arrival, to some milliseconds.
func (s *Stalls) Read(each func(*Stall)) (now uint64, err error) {
	r, err := openIter(s.iter)
	if err != nil {
		return 0, fmt.Errorf("opening the task iterator: %w", err)
	}
	defer r.Close()
	const size = int(unsafe.Sizeof(Stall{}))
	have := 0
	for {
		n, err := r.Read(s.buf[have:])
		have += n
		whole := have - have%size
		for off := 0; off < whole; off += size {
			if rec := (*Stall)(unsafe.Pointer(&s.buf[off])); rec.Pid != 0 {
				each(rec)
			} else {
				now = rec.Arrival
			}
		}
		copy(s.buf, s.buf[whole:have])
		have -= whole
		if errors.Is(err, io.EOF) || n == 0 && err == nil {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("reading the task iterator: %w", err)
		}
	}
	if have != 0 {
		return 0, fmt.Errorf("reading the task iterator: %d bytes are no whole record", have)
	}
	return now, nil
}

// Close detaches the iterator.
func (s *Stalls) Close() error { return s.obj.Close() }
