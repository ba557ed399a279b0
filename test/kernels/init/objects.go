// SPDX-License-Identifier: Apache-2.0

//go:build linux && amd64

package main

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"bpf60/test/kernels/wire"
)

// sysBPF is bpf(2) on amd64; the syscall package predates it.
const sysBPF = 321

// kind is a sort of BPF object with the commands of bpf(2) that list it.
type kind struct {
	name   string
	next   uintptr // BPF_*_GET_NEXT_ID
	open   uintptr // BPF_*_GET_FD_BY_ID
	nameAt int     // offset of the name in the object's info; 0: it has none
}

func kinds() [3]kind {
	return [3]kind{
		{"program", 11, 13, 64}, // bpf_prog_info.name
		{"map", 12, 14, 24},     // bpf_map_info.name
		{"link", 31, 30, 0},
	}
}

// set holds the ids of all BPF objects in the kernel, in the order of kinds, each ascending.
type set [3][]uint32

// objects lists what is in the kernel now, whoever made it.
func objects() (set, error) {
	var s set
	for i, k := range kinds() {
		for id := uint32(0); ; {
			attr := struct{ start, next, flags uint32 }{start: id}
			err := bpf(k.next, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
			if errors.Is(err, syscall.ENOENT) {
				break
			}
			if err != nil {
				return s, fmt.Errorf("listing BPF %ss: %w", k.name, err)
			}
			id = attr.next
			s[i] = append(s[i], id)
		}
	}
	return s, nil
}

func (s set) beyond(before set) set {
	var d set
	for i := range s {
		for _, id := range s[i] {
			if _, known := slices.BinarySearch(before[i], id); !known {
				d[i] = append(d[i], id)
			}
		}
	}
	return d
}

func (s set) count() wire.Objects {
	return wire.Objects{Programs: len(s[0]), Maps: len(s[1]), Links: len(s[2])}
}

func (s set) describe() []string {
	var lines []string
	for i, k := range kinds() {
		for _, id := range s[i] {
			lines = append(lines, fmt.Sprintf("%s %d %s", k.name, id, k.nameOf(id)))
		}
	}
	return lines
}

// nameOf is "" for an object that has no name or is gone.
func (k kind) nameOf(id uint32) string {
	if k.nameAt == 0 {
		return ""
	}
	open := struct{ id, next, flags uint32 }{id: id}
	fd, _, e := syscall.Syscall(sysBPF, k.open, uintptr(unsafe.Pointer(&open)), unsafe.Sizeof(open))
	if e != 0 {
		return ""
	}
	defer syscall.Close(int(fd))
	var info [256]byte
	var pin runtime.Pinner // the kernel gets its address as a number
	pin.Pin(&info)
	defer pin.Unpin()
	const objGetInfoByFD = 15
	attr := struct {
		fd, size uint32
		info     uint64
	}{uint32(fd), uint32(k.nameAt + 16), uint64(uintptr(unsafe.Pointer(&info)))}
	if err := bpf(objGetInfoByFD, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return ""
	}
	name, _, _ := bytes.Cut(info[k.nameAt:k.nameAt+16], []byte{0})
	return string(name)
}

func bpf(cmd uintptr, attr unsafe.Pointer, size uintptr) error {
	if _, _, e := syscall.Syscall(sysBPF, cmd, uintptr(attr), size); e != 0 {
		return e
	}
	return nil
}
