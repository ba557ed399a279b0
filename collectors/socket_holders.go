// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"time"
)

// socketHolders finds the processes that hold sockets of any kind, by inode, and remembers them. It
// belongs to one goroutine.
type socketHolders struct {
	*ownerCache
	known map[uint32]*SocketOwner
	began bool
}

// maxHolders bounds what is remembered.
const maxHolders = 1024

func newSocketHolders(c *ownerCache) *socketHolders { return &socketHolders{ownerCache: c} }

// start begins anew. The iterator is loaded when something is looked for: most hosts drop nothing.
func (h *socketHolders) start(context.Context) {
	h.known, h.began = make(map[uint32]*SocketOwner), false
}

// find looks for those of the inodes that are not in known, as far as its share of the CPU allows. The
// rest follows with later calls.
func (h *socketHolders) find(ctx context.Context, now time.Duration, inodes []uint32) {
	missing := false
	for _, i := range inodes {
		missing = missing || i != 0 && h.known[i] == nil
	}
	if !missing {
		return
	}
	if !h.began {
		h.ownerCache.start(ctx)
		h.began = true
	}
	if h.scan == nil {
		clear(h.wanted)
		for inode, at := range h.tried {
			if now-at >= ownerRetry {
				delete(h.tried, inode)
			}
		}
		for _, i := range inodes {
			if _, tried := h.tried[i]; i != 0 && h.known[i] == nil && !tried {
				h.wanted[i] = nil
			}
		}
		if len(h.wanted) == 0 || now < h.next {
			return
		}
	}
	began, done := threadCPU(), true
	if h.r != nil {
		h.err = h.pass()
		h.next = now + time.Duration(float64(threadCPU()-began)/ownerShare)
	} else {
		done, h.err = h.slice(ctx)
	}
	if len(h.known) > maxHolders {
		clear(h.known)
	}
	for inode, owner := range h.wanted {
		switch {
		case owner != nil:
			h.known[inode] = owner
		case done || h.err != nil:
			h.tried[inode] = now
		}
	}
	if done || h.err != nil {
		h.scan = nil
	}
}

func (h *socketHolders) close() error {
	if !h.began {
		return nil
	}
	h.began = false
	return h.ownerCache.close()
}
