// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"strconv"
	"sync/atomic"

	"bpf60/bpf"
)

// pidBook knows what /proc calls the threads that BPF numbers otherwise: in a container's PID namespace BPF
// has the host's numbers, and in /proc the same number is another process, or none. Its methods may be
// called from any goroutine.
type pidBook struct{ names atomic.Pointer[pidNames] }

// pidNames are the threads there are, by their number and by what /proc calls it. Nil: the two are the same.
type pidNames struct{ there, here map[int32]int32 }

// noProcess is no name of a process in /proc, and of nothing else there.
const noProcess = "no-such-process"

// distrust begins with no process known.
func (b *pidBook) distrust() { b.names.Store(&pidNames{}) }

// trust says that the numbers are the same, as where all that is known comes from /proc.
func (b *pidBook) trust() { b.names.Store(nil) }

// follow takes over what a scan found. Of tasks whose numbers are the same there is nothing to know.
func (b *pidBook) follow(pids bpf.TaskPIDs, found *pidNames) {
	switch {
	case b == nil:
	case pids == bpf.PIDsSame:
		b.names.Store(nil)
	default:
		b.names.Store(found)
	}
}

// differ says that /proc has other numbers than BPF.
func (b *pidBook) differ() bool { return b != nil && b.names.Load() != nil }

// there is a thread's number in /proc; 0: it has none there that we know.
func (b *pidBook) there(pid int32) int32 {
	if b == nil {
		return pid
	}
	if n := b.names.Load(); n != nil {
		return n.there[pid]
	}
	return pid
}

// here is the number that BPF has for a thread of /proc; 0: it is not known.
func (b *pidBook) here(pid int32) int32 {
	if b == nil {
		return pid
	}
	if n := b.names.Load(); n != nil {
		return n.here[pid]
	}
	return pid
}

// pidDir is the name in /proc of a thread by what it is called there, 0 for one that is not known.
func pidDir(there int32) string {
	if there <= 0 {
		return noProcess
	}
	return strconv.Itoa(int(there))
}

// dir is the name in /proc of a thread that BPF numbered: of one that is not known there, of nothing.
func (fs FS) dir(pid int32) string { return pidDir(fs.pids.there(pid)) }

// unnamed says that /proc may have the process, but not by a number that we know.
func (fs FS) unnamed(pid int32) bool { return fs.pids.differ() && fs.pids.there(pid) == 0 }

// whyUnnamed is why nothing is read of such a process.
const whyUnnamed = "it is in another PID namespace than bpf60"
