// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// mapped is an array that is read where the kernel has it, without a system call. The map has
// BPF_F_MMAPABLE; V is its value, whole words of 8 bytes. It is closed after its last use.
type mapped[V any] struct {
	memory []byte
	values []V
}

// mapArray maps the array m. The result does not keep m open, but stays valid without.
func mapArray[V any](m *ebpf.Map) (*mapped[V], error) {
	var v V
	size := int(unsafe.Sizeof(v))
	if size%8 != 0 || size != int(m.ValueSize()) {
		return nil, fmt.Errorf("mapping %v: its values are no %T of whole words", m, v)
	}
	n := int(m.MaxEntries())
	b, err := unix.Mmap(m.FD(), 0, n*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping %v: %w", m, err)
	}
	return &mapped[V]{b, unsafe.Slice((*V)(unsafe.Pointer(&b[0])), n)}, nil
}

// read copies value i. Programs may write meanwhile: each word is of one moment, as in a lookup.
func (a *mapped[V]) read(i int, dst *V) {
	n := unsafe.Sizeof(*dst) / 8
	from := unsafe.Slice((*uint64)(unsafe.Pointer(&a.values[i])), n)
	to := unsafe.Slice((*uint64)(unsafe.Pointer(dst)), n)
	for w := range from {
		to[w] = atomic.LoadUint64(&from[w])
	}
}

func (a *mapped[V]) close() error {
	if a == nil || a.memory == nil {
		return nil
	}
	err := unix.Munmap(a.memory)
	a.memory, a.values = nil, nil
	if err != nil {
		return fmt.Errorf("unmapping an array: %w", err)
	}
	return nil
}
