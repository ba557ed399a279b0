// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"unsafe"
)

// Bytes that the records of EventExec keep at most: FILE_MAX, with its NUL, and ARGS_MAX.
const (
	MaxExecFile = 255
	MaxExecArgs = 512
)

// ExecEvent is a record of EventExec: a program was started.
type ExecEvent struct {
	At          uint64 // boot time, ns
	TGID        int32
	Start       uint64 // of the process: boot time, ns
	ParentTGID  int32
	ParentStart uint64
	Cgroup      uint64 // in the hierarchy that is shown: ShownHierarchy
	UID         uint32 // real
	OldPID      int32  // of the thread that called exec: not TGID if that was not the first
	Slots       uint32 // bit i: it belongs to the target of slot i
	Comm        string
	ParentComm  string
	File        string // as execve got it, at most MaxExecFile bytes
	Args        []byte // each with its NUL, at most MaxExecArgs bytes in all; valid as long as the record
	ArgsWhole   uint32 // bytes of all arguments: more than len(Args) if they were cut, or could not be read
}

// ExitEvent is a record of EventExit: the last thread of a process ended.
type ExitEvent struct {
	At          uint64 // boot time, ns
	TGID        int32
	Start       uint64
	ParentTGID  int32
	ParentStart uint64
	Cgroup      uint64
	Age         uint64 // ns since it was forked
	CPU         uint64 // ns, without the last time slice and threads that end beside it: see ReapEvent
	UID         uint32
	Code        int32 // as wait(2) has it: exit code << 8, or signal, + 0x80 with a core dump
	Slots       uint32
	Threads     uint32 // that were left at the end
	Comm        string
	ParentComm  string
}

// ReapEvent is a record of EventReap: a process of an ExitEvent was waited for, and this is what it
// had used in all.
type ReapEvent struct {
	TGID        int32
	Start       uint64
	CPU         uint64 // ns, exact
	User, Sys   uint64 // ns, coarser: by whom the clock tick hit
	Read, Write uint64 // bytes from and to storage, as in TaskCounts
}

// record views a record as what the program wrote; nil if it is too short.
func record[T any](rec []byte, least uintptr) *T {
	if uintptr(len(rec)) < least {
		return nil
	}
	return (*T)(unsafe.Pointer(unsafe.SliceData(rec)))
}

// ParseExec reads a record of EventExec; false if it is not whole.
func ParseExec(rec []byte) (ExecEvent, bool) {
	const head = unsafe.Offsetof(execExecEvent{}.Data)
	if uintptr(len(rec)) < head {
		return ExecEvent{}, false
	}
	var whole execExecEvent // the record ends where its arguments do
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&whole)), head), rec)
	e := &whole
	file, args := uintptr(e.FileLen), uintptr(e.ArgsLen)
	if file > MaxExecFile+1 || args > MaxExecArgs || uintptr(len(rec)) < head+file+args {
		return ExecEvent{}, false
	}
	out := ExecEvent{
		At: e.Head.At, TGID: e.Process.Tgid, Start: e.Process.Start,
		ParentTGID: e.Parent.Tgid, ParentStart: e.Parent.Start,
		Cgroup: e.Cgroup, UID: e.Uid, OldPID: e.OldPid, Slots: e.Slots,
		Comm: cText(e.Comm[:]), ParentComm: cText(e.ParentComm[:]),
		Args: rec[head+file : head+file+args], ArgsWhole: e.ArgsWhole,
	}
	name, _, _ := bytes.Cut(rec[head:head+file], []byte{0})
	out.File = string(name)
	return out, true
}

// ParseExit reads a record of EventExit; false if it is not whole.
func ParseExit(rec []byte) (ExitEvent, bool) {
	e := record[execExitEvent](rec, unsafe.Sizeof(execExitEvent{}))
	if e == nil {
		return ExitEvent{}, false
	}
	return ExitEvent{
		At: e.Head.At, TGID: e.Process.Tgid, Start: e.Process.Start,
		ParentTGID: e.Parent.Tgid, ParentStart: e.Parent.Start,
		Cgroup: e.Cgroup, Age: e.Age, CPU: e.Cpu, UID: e.Uid, Code: e.Code, Slots: e.Slots, Threads: e.Threads,
		Comm: cText(e.Comm[:]), ParentComm: cText(e.ParentComm[:]),
	}, true
}

// ParseReap reads a record of EventReap; false if it is not whole.
func ParseReap(rec []byte) (ReapEvent, bool) {
	e := record[execReapEvent](rec, unsafe.Sizeof(execReapEvent{}))
	if e == nil {
		return ReapEvent{}, false
	}
	return ReapEvent{
		TGID: e.Process.Tgid, Start: e.Process.Start, CPU: e.Cpu, User: e.Utime, Sys: e.Stime,
		Read: e.ReadBytes, Write: e.WriteBytes,
	}, true
}
