// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OpenEvent is the record of EventOpen, EventOpenFail and EventExecFail, up to the path.
type OpenEvent struct {
	Kind, Size uint32
	At         uint64
	TGID, _    int32
	Start      uint64
	Cgroup     uint64
	TID, Ret   int32
	Call       uint32
	ArgsLen    uint32 // of what stands behind the path of an exec
	Match      uint64 // bit i: it belongs to the target of slot i
	N          uint64 // of no meaning here
	Len, Cut   uint32
	Comm       [16]byte
}

// OpenPath is where the path begins in the record, and the arguments of an exec.
const (
	OpenPath = int(unsafe.Sizeof(OpenEvent{}))
	ExecArgs = OpenPath + len(PathCounts{}.Path)
	ExecMax  = 256 // bytes of arguments
)

// SlowEvent is the record of EventSlowFile.
type SlowEvent struct {
	Kind, Size uint32
	At         uint64
	TGID, _    int32
	Start      uint64
	Cgroup     uint64
	TID        int32
	Call       uint32
	Ns         uint64
	Ret        int64
	Offset     int64 // −1: none
	Asked      uint64
	Inode      uint64
	Dev        uint32
	IsPath     uint32 // not 0: Names is the path as it was given
	Match      uint64
	Comm, FS   [16]byte
	Names      [4][64]byte // the file's name, its directory's, that one's …
}

// CString is the text of a buffer up to its first NUL.
func CString(b []byte) string { return unix.ByteSliceToString(b) }

// ParseOpen returns the record of an open or of an exec that failed, its path and, of an exec, its
// arguments. They share the record's memory.
func ParseOpen(rec []byte) (e *OpenEvent, path, args []byte, ok bool) {
	if len(rec) < OpenPath {
		return nil, nil, nil, false
	}
	e = new(OpenEvent)
	if _, err := binary.Decode(rec, binary.NativeEndian, e); err != nil {
		return nil, nil, nil, false
	}
	path = rec[OpenPath:min(OpenPath+int(e.Len), len(rec))]
	if end := ExecArgs + int(min(e.ArgsLen, ExecMax)); e.ArgsLen > 0 && end <= len(rec) {
		args = bytes.TrimRight(rec[ExecArgs:end], "\x00")
	}
	return e, path, args, true
}

// ParseSlow returns the record of a slow call on a file.
func ParseSlow(rec []byte) (*SlowEvent, bool) {
	e := new(SlowEvent)
	if _, err := binary.Decode(rec, binary.NativeEndian, e); err != nil {
		return nil, false
	}
	return e, true
}
