// SPDX-License-Identifier: Apache-2.0

package collectors

import "bpf60/bpf"

// heldPages remembers what CPUs hold back of the pages of processes (include/held.bpf.h in package bpf),
// for the scans in which it is not a process's turn to have that summed.
type heldPages struct {
	last map[Process]heldBack // of the scans so far
	next map[Process]heldBack // with this one: only who is still there
	turn bool                 // processes take turns
}

// heldBack is in pages, below 0 where a CPU has given back more than it took.
type heldBack struct {
	exec      uint32 // an exec begins anew
	rss, swap int32
}

// pages are what the process of a thread has in memory and in swap. Only leaders' are summed, and used.
func (h *heldPages) pages(t *bpf.Task) (rss, swap uint64) {
	if t.Pid != t.Tgid {
		return positive(t.Rss), positive(t.Swap)
	}
	who := Process{TGID: t.Tgid, Start: t.Start}
	held, known := heldBack{t.ExecId, t.Held, t.SwapHeld}, t.Has&bpf.TaskHasHeld != 0
	if !known {
		held, known = h.last[who]
		known = known && held.exec == t.ExecId
	}
	if !known {
		return positive(t.Rss), positive(t.Swap)
	}
	if h.turn {
		h.next[who] = held
	}
	return positive(t.Rss + int64(held.rss)), positive(t.Swap + int64(held.swap))
}

func positive(n int64) uint64 { return uint64(max(n, 0)) }

// scanned ends a scan. turn says whether processes take turns, or soon may.
func (h *heldPages) scanned(turn bool) {
	switch {
	case !turn:
		h.last, h.next = nil, nil
	case h.next == nil:
		h.last, h.next = make(map[Process]heldBack), make(map[Process]heldBack)
	default:
		h.last, h.next = h.next, h.last
		clear(h.next)
	}
	h.turn = turn
}
