// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"encoding/binary"

	"bpf60/bpf"
)

// imageKey is one program that a process ran: another after each exec.
type imageKey struct {
	process Process
	image   uint32
}

// tally counts equal samples. A host with ever new stacks has it full: then samples of stacks that it does
// not know are lost, and counted.
type tally struct {
	count map[string]uint64 // by encodeStack
	bytes int               // of its keys
	full  uint64
	buf   []byte
	most  int // of bytes
}

// maxTallyBytes bounds the stacks that are told apart: some 100,000.
const maxTallyBytes = 48 << 20

// besideStack is what a stack takes in the map beside its bytes.
const besideStack = 64

func newTally() tally { return tally{count: make(map[string]uint64), most: maxTallyBytes} }

// add counts a sample, and says whether it is the first of its stack.
func (t *tally) add(s *bpf.ProfileSample) (image imageKey, first bool) {
	image = imageKey{Process{s.TGID, s.Start}, s.Image}
	t.buf = encodeStack(t.buf[:0], image, s)
	if n, ok := t.count[string(t.buf)]; ok {
		t.count[string(t.buf)] = n + 1
		return image, false
	}
	if t.bytes+len(t.buf)+besideStack > t.most {
		t.full++
		return image, false
	}
	t.bytes += len(t.buf) + besideStack
	t.count[string(t.buf)] = 1
	return image, true
}

// rawStack is a stack as addresses, innermost first.
type rawStack struct {
	image        imageKey
	thread       bool // of the kernel
	slots        uint32
	comm         string
	kernel, user []uint64
}

// The bytes of a stack: start 8, tgid 4, image 4, frames of the kernel 4, of them in the highest bit thread;
// slots 4, comm, frames.
const (
	stackHead   = 24 + len(bpf.ProfileSample{}.Comm)
	stackThread = 1 << 31
)

func encodeStack(b []byte, image imageKey, s *bpf.ProfileSample) []byte {
	ne := binary.NativeEndian
	b = ne.AppendUint64(b, image.process.Start)
	b = ne.AppendUint32(b, uint32(image.process.TGID))
	b = ne.AppendUint32(b, image.image)
	kernel := uint32(len(s.Kernel))
	if s.Thread {
		kernel |= stackThread
	}
	b = ne.AppendUint32(b, kernel)
	b = ne.AppendUint32(b, s.Slots)
	ended := false
	for _, c := range s.Comm { // what stands behind the end is of no meaning
		if ended = ended || c == 0; ended {
			c = 0
		}
		b = append(b, byte(c))
	}
	for _, frames := range [][]uint64{s.Kernel, s.User} {
		for _, addr := range frames {
			b = ne.AppendUint64(b, addr)
		}
	}
	return b
}

// decodeStack undoes encodeStack.
func decodeStack(b string) (s rawStack) {
	ne := binary.NativeEndian
	head := []byte(b[:stackHead])
	s.image = imageKey{Process{int32(ne.Uint32(head[8:])), ne.Uint64(head)}, ne.Uint32(head[12:])}
	kernel := ne.Uint32(head[16:])
	s.thread = kernel&stackThread != 0
	kernel &^= stackThread
	s.slots = ne.Uint32(head[20:])
	for _, c := range head[24:] {
		if c == 0 {
			break
		}
		s.comm += string([]byte{c})
	}
	var frames []uint64
	for at := stackHead; at+8 <= len(b); at += 8 {
		frames = append(frames, ne.Uint64([]byte(b[at:at+8])))
	}
	kernel = min(kernel, uint32(len(frames)))
	s.kernel, s.user = frames[:kernel], frames[kernel:]
	return s
}
