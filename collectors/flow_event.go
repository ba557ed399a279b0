// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"context"
	"net/netip"
	"time"

	"bpf60/bpf"
)

// flowKinds are the kinds of event that the flow programs send.
func flowKinds() []bpf.EventKind {
	return []bpf.EventKind{bpf.EventRetransmit, bpf.EventConnectFail, bpf.EventReset, bpf.EventConnection}
}

// lists are where events of flowKinds go, in that order.
func (f *Flow) lists() []*FlowEvents {
	return []*FlowEvents{&f.Retransmits, &f.Failures, &f.Resets, &f.Ended}
}

// takeEvents fills the lists of a sample that ends when the time since boot is boot.
func (c *flowCollector) takeEvents(ctx context.Context, f *Flow, now time.Duration, boot int64) error {
	var unowned []*FlowEvent
	var inodes []uint32
	for i, kind := range flowKinds() {
		list := f.lists()[i]
		missing := make(map[int]uint32)
		counts, err := c.events.take(kind, func(record []byte) {
			e, ok := bpf.DecodeFlow(record)
			if !ok {
				return
			}
			if len(list.Rows) == maxListed {
				list.Unlisted++
				return
			}
			if e.Owner.Tgid == 0 && e.Inode != 0 {
				missing[len(list.Rows)] = e.Inode
			}
			row := c.event(kind, &e)
			row.At = eventTime(e.Head.At, boot, now)
			list.Rows = append(list.Rows, row)
		})
		if err != nil {
			return err
		}
		was := &c.counts[i]
		list.Lost = since(was.Lost, counts.Lost)
		list.Unlisted += since(was.Unlisted, counts.Unlisted) + list.Lost
		*was = counts
		for at, inode := range missing {
			unowned, inodes = append(unowned, &list.Rows[at]), append(inodes, inode)
		}
	}
	owners := c.owners.find(ctx, now, inodes)
	for i, e := range unowned {
		if o := owners[inodes[i]]; o != nil {
			e.Process, e.Comm, e.Guessed = o.Process, o.Comm, true
		}
	}
	return nil
}

func (c *flowCollector) event(kind bpf.EventKind, e *bpf.FlowEvent) FlowEvent {
	out := FlowEvent{
		Kind: FlowCounter(e.What), Process: Process{e.Owner.Tgid, e.Owner.Start}, Cgroup: e.Cgroup,
		Namespace: e.Netns, Cookie: e.Cookie, Role: FlowRole(e.Role), State: SocketState(e.State),
		Lasted: time.Duration(e.Lasted), Sent: e.Sent, Received: e.Received, RTT: e.Srtt, Retrans: e.Retrans,
	}
	if e.Owner.Tgid == 0 {
		out.Process = Process{}
	} else {
		var comm [commLen]byte
		for i, b := range e.Comm {
			comm[i] = byte(b)
		}
		out.Comm = c.name(out.Process, comm[:])
	}
	if e.Family != 0 {
		out.Local, out.Remote = flowAddr(&e.Local.Word, e.LocalPort), flowAddr(&e.Remote.Word, e.RemotePort)
	}
	switch kind {
	case bpf.EventRetransmit:
		out.Kind, out.Again, out.Errno = FlowRetransmits, FlowAgain(e.What), -e.Reason
		if out.Again == AgainFailed {
			out.Kind = FlowRetransmitsFailed
		}
	case bpf.EventReset:
		out.Kind = FlowResetsReceived
		if e.What == 1 {
			out.Kind, out.Reason = FlowResetsSent, c.r.ResetReason(e.Reason)
		}
	default:
		out.Errno = e.Reason
	}
	return out
}

func flowAddr(words *[4]uint32, port uint16) netip.AddrPort {
	var b [16]byte
	for i, w := range words {
		b[4*i], b[4*i+1], b[4*i+2], b[4*i+3] = byte(w), byte(w>>8), byte(w>>16), byte(w>>24)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(b).Unmap(), port)
}

// maxFlowNames bounds the names that are remembered.
const maxFlowNames = 4096

// name returns a process's name, the same string for all its rows.
func (c *flowCollector) name(p Process, comm []byte) Raw {
	if i := bytes.IndexByte(comm, 0); i >= 0 {
		comm = comm[:i]
	}
	if known, ok := c.names[p]; ok && known.s == string(comm) {
		return known
	}
	if c.names == nil || len(c.names) >= maxFlowNames {
		c.names = make(map[Process]Raw)
	}
	n := RawString(string(comm))
	c.names[p] = n
	return n
}

// inodeOwners finds who holds sockets, by their inodes: where the kernel cannot tell whose a socket
// is that was there before us.
type inodeOwners struct {
	*ownerCache
	known map[uint32]*SocketOwner
	began bool
}

// find looks for the holders of sockets, as far as its share of the CPU allows.
func (o *inodeOwners) find(ctx context.Context, now time.Duration, inodes []uint32) map[uint32]*SocketOwner {
	s := &Sockets{Span: Span{now, now}}
	for _, i := range inodes {
		if o.known[i] == nil {
			s.Rows = append(s.Rows, SocketRow{SocketID: &SocketID{Inode: i}})
		}
	}
	if len(s.Rows) == 0 {
		return o.known
	}
	if !o.began { // most hosts never come here: the iterator is loaded when it is needed
		o.start(ctx)
		o.began, o.known = true, make(map[uint32]*SocketOwner)
	}
	o.fill(ctx, s, &sockTracker{})
	if len(o.known) >= maxFlowNames {
		clear(o.known)
	}
	for i := range s.Rows {
		if r := &s.Rows[i]; r.Owner != nil {
			o.known[r.Inode] = r.Owner
		}
	}
	return o.known
}

func (o *inodeOwners) close() error {
	o.known = nil
	if !o.began {
		return nil
	}
	o.began = false
	return o.ownerCache.close()
}
