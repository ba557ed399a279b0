// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"bpf60/bpf"
)

// The kernel tells the inode of a socket and not its process. Which process has a file with that
// inode is found by looking at the open files of all processes: in one pass of the BPF iterator
// over files, or a few processes a tick through /proc/PID/fd. It is looked for only for sockets
// that are listed, once for each.

const (
	// ownerShare is the share of one CPU that passes over the files may take.
	ownerShare = 0.02
	// ownerRetry is when a socket whose owner was not found is looked for again.
	ownerRetry = 10 * time.Second
	// ownerSlice bounds the CPU time that one tick spends in /proc/PID/fd.
	ownerSlice = 5 * time.Millisecond
)

// holderReader is what the cache needs of bpf.Sockets.
type holderReader interface {
	Read(each func(*bpf.Holder)) error
	Close() error
}

// ownerCache finds the processes that hold sockets. It belongs to one goroutine.
type ownerCache struct {
	fs   FS
	open func() (holderReader, error)

	r      holderReader // nil: /proc is read
	why    error        // why there is no BPF
	scan   *fdScan      // through /proc, under way; nil between two
	denied int          // processes whose files we may not see, in the last whole scan

	wanted map[uint32]*SocketOwner  // inodes that the pass under way looks for; nil until found
	tried  map[uint32]time.Duration // inodes that nobody had, and when that was
	next   time.Duration            // no pass before
	files  uint64                   // looked at since start
	err    error                    // of the last pass
}

func newOwnerCache(k *bpf.Kernel, fs FS) *ownerCache {
	return &ownerCache{fs: fs, open: func() (holderReader, error) {
		s, err := bpf.OpenSockets(k)
		if err != nil {
			return nil, err
		}
		return s, nil
	}}
}

// start chooses the way to look.
func (o *ownerCache) start(context.Context) {
	*o = ownerCache{fs: o.fs, open: o.open, wanted: map[uint32]*SocketOwner{}, tried: map[uint32]time.Duration{}}
	r, err := o.open()
	if err != nil {
		o.why = err
		return
	}
	o.r = r
}

// fill names the owners of the sockets that s lists. The rest follows with later samples.
func (o *ownerCache) fill(ctx context.Context, s *Sockets, t *sockTracker) {
	now := s.To
	if o.scan == nil {
		o.want(s, now)
		if len(o.wanted) == 0 || now < o.next {
			return
		}
	}
	began := threadCPU()
	done := true
	if o.r != nil {
		o.err = o.pass()
	} else {
		done, o.err = o.slice(ctx)
	}
	o.settle(s, t)
	if o.err != nil || done {
		for inode, owner := range o.wanted {
			if owner == nil {
				o.tried[inode] = now
			}
		}
		o.scan = nil
		clear(o.wanted)
	}
	if o.r != nil {
		o.next = now + time.Duration(float64(threadCPU()-began)/ownerShare)
	}
	if o.r == nil && o.denied > 0 {
		s.NoOwner = "processes of other users: run as root, or with cap_sys_ptrace"
	}
	if o.err != nil {
		s.NoOwner = plain(o.err.Error())
	}
}

// want notes the listed sockets that have no owner yet.
func (o *ownerCache) want(s *Sockets, now time.Duration) {
	clear(o.wanted)
	for inode, at := range o.tried {
		if now-at >= ownerRetry {
			delete(o.tried, inode)
		}
	}
	need := func(id *SocketID) {
		if _, tried := o.tried[id.Inode]; id.Owner == nil && id.Inode != 0 && !tried {
			o.wanted[id.Inode] = nil
		}
	}
	for i := range s.Rows {
		need(s.Rows[i].SocketID)
	}
	for i := range s.Listeners {
		need(s.Listeners[i].SocketID)
	}
}

// pass looks at every open file through BPF.
func (o *ownerCache) pass() error {
	err := o.r.Read(func(h *bpf.Holder) {
		o.files++
		if _, ok := o.wanted[h.Inode]; !ok {
			return
		}
		var comm [commLen]byte
		for i, c := range h.Comm {
			comm[i] = byte(c)
		}
		o.found(h.Inode, Process{h.Tgid, h.Start}, comm[:])
	})
	if err != nil {
		return fmt.Errorf("looking for the owners of sockets: %w", err)
	}
	return nil
}

// found notes that a process holds an inode. A process that holds it twice comes twice in a row.
func (o *ownerCache) found(inode uint32, p Process, comm []byte) {
	if i := bytes.IndexByte(comm, 0); i >= 0 {
		comm = comm[:i]
	}
	was := o.wanted[inode]
	switch {
	case was == nil:
		o.wanted[inode] = &SocketOwner{Process: p, Comm: RawString(string(comm))}
	case was.Process != p && was.last != p.TGID:
		more := *was
		more.Others++
		more.last = p.TGID
		o.wanted[inode] = &more
	}
}

// slice goes on with the scan of /proc for a while; done says that it came to its end.
func (o *ownerCache) slice(ctx context.Context) (done bool, err error) {
	if o.scan == nil {
		if o.scan, err = newFDScan(o.fs); err != nil {
			return true, err
		}
	}
	began := threadCPU()
	for threadCPU()-began < ownerSlice {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		more, err := o.scan.process(o)
		if err != nil || !more {
			o.denied = o.scan.denied
			return true, err
		}
	}
	return false, nil
}

// settle writes what was found into the sample, in copies: identities are shared with older ones.
func (o *ownerCache) settle(s *Sockets, t *sockTracker) {
	renamed := make(map[*SocketID]*SocketID)
	name := func(id *SocketID) *SocketID {
		owner := o.wanted[id.Inode]
		if owner == nil || id.Owner != nil && *id.Owner == *owner {
			return id
		}
		c := *id
		c.Owner = owner
		renamed[id] = &c
		return &c
	}
	for i := range s.Rows {
		s.Rows[i].SocketID = name(s.Rows[i].SocketID)
	}
	for i := range s.Listeners {
		s.Listeners[i].SocketID = name(s.Listeners[i].SocketID)
	}
	if len(renamed) == 0 {
		return
	}
	for i := range t.prev {
		if id := renamed[t.prev[i].id]; id != nil {
			t.prev[i].id = id
		}
	}
}

// probe is the row of this part.
func (o *ownerCache) probe(running bool) Probe {
	p := Probe{Name: "ss owner", State: Idle, Hook: "iter/task_file", Reason: "attaches while looked at"}
	if !running {
		return p
	}
	p.State, p.Reason = stateOf(true, o.err)
	p.Events, p.NsPerEvent = o.files, bpf.CostHolder
	if o.r != nil {
		return p
	}
	p.Hook, p.NsPerEvent = "/proc/PID/fd", 0
	if p.State != On {
		return p
	}
	p.State, p.Reason = Degraded, "owners come late: a few processes a second are looked at"
	var need *NeedError
	switch {
	case o.denied > 0:
		p.Reason, p.Remedy = fmt.Sprintf("no owner of %d processes of other users", o.denied), "run as root, or with cap_sys_ptrace"
	case errors.As(o.why, &need):
		p.Reason += "; " + plain(need.Error())
		p.Remedy = need.Remedy
	}
	return p
}

func (o *ownerCache) close() error {
	o.scan = nil
	if o.r == nil {
		return nil
	}
	err := o.r.Close()
	o.r = nil
	return err
}
