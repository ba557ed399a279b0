// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/cilium/ebpf/link"
)

// Holder is a process that has a socket open, as sockets.bpf.c writes it.
type Holder = socketsHolder

// Sockets is the facade of sockets.bpf.c: who holds which socket.
type Sockets struct {
	obj  *object
	iter *link.Iter
	buf  []byte
}

// CostHolder is about what a pass costs for each open file of the host, in ns.
const CostHolder = 100

// OpenSockets loads the iterator. Nothing runs until Read. The caller owns the result and closes it.
func OpenSockets(k *Kernel) (*Sockets, error) {
	obj, err := newObject(k, loadSockets)
	if err != nil {
		return nil, err
	}
	if err := k.needBTF(); err != nil {
		return nil, err
	}
	p, err := obj.load("sockets_held")
	if err != nil {
		return nil, errors.Join(err, obj.Close())
	}
	it, err := link.AttachIter(link.IterOptions{Program: p})
	if err != nil {
		return nil, errors.Join(k.explain("attaching sockets_held", err), obj.Close())
	}
	obj.links = append(obj.links, it)
	return &Sockets{obj: obj, iter: it, buf: make([]byte, taskBuf)}, nil
}

// Read calls each with every socket that a process has open; a socket that several hold comes once
// for each, and once for each descriptor. The Holder is valid during the call only.
func (s *Sockets) Read(each func(*Holder)) error {
	r, err := openIter(s.iter)
	if err != nil {
		return fmt.Errorf("opening the file iterator: %w", err)
	}
	defer r.Close()
	const size = int(unsafe.Sizeof(Holder{}))
	have := 0
	for {
		n, err := r.Read(s.buf[have:])
		have += n
		whole := have - have%size
		for off := 0; off < whole; off += size {
			each((*Holder)(unsafe.Pointer(&s.buf[off])))
		}
		copy(s.buf, s.buf[whole:have])
		have -= whole
		if errors.Is(err, io.EOF) || n == 0 && err == nil {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the file iterator: %w", err)
		}
	}
	if have != 0 {
		return fmt.Errorf("reading the file iterator: %d bytes are no whole record", have)
	}
	return nil
}

// Close detaches the iterator.
func (s *Sockets) Close() error { return s.obj.Close() }
