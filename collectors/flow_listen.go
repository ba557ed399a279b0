// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// listenWatch finds the listening sockets that turn connections away. No hook tells of that, but
// every socket counts what it drops: they are asked when the namespace's own counter has moved, so
// that on most hosts they are asked once.
type listenWatch struct {
	open   func() (diagSource, error)
	src    diagSource
	owners *inodeOwners

	drops map[uint64]uint32 // at the last reading, by cookie; nil before the first
	known map[uint64]*SocketID
	err   error
}

func newListenWatch(owners *inodeOwners) *listenWatch {
	return &listenWatch{open: func() (diagSource, error) { return openDiagOf(1 << Listen) }, owners: owners}
}

// look fills l if something was dropped since the last look.
func (w *listenWatch) look(ctx context.Context, now time.Duration, l *FlowListens) {
	if w.drops != nil && l.Drops == 0 {
		if w.err != nil {
			l.Why = plain(w.err.Error())
		}
		return
	}
	rows, err := w.dump(ctx)
	if w.err = err; err != nil {
		l.Why = plain(err.Error())
		return
	}
	sortBy(rows, func(a, b FlowListen) int {
		return cmp.Or(cmp.Compare(b.Drops, a.Drops), cmp.Compare(a.Cookie, b.Cookie))
	})
	l.Rows = rows[:min(len(rows), maxListed)]
	var inodes []uint32
	for i := range l.Rows {
		inodes = append(inodes, l.Rows[i].Inode)
	}
	owners := w.owners.find(ctx, now, inodes)
	for i := range l.Rows {
		r := &l.Rows[i]
		if o := owners[r.Inode]; o != nil && r.Owner == nil {
			id := *r.SocketID
			id.Owner = o
			r.SocketID = &id
			w.known[r.Cookie] = &id
		}
	}
}

// dump returns the sockets that dropped something since the last dump.
func (w *listenWatch) dump(ctx context.Context) ([]FlowListen, error) {
	if w.src == nil {
		src, err := w.open()
		if err != nil {
			return nil, err
		}
		w.src = src
	}
	next, known := make(map[uint64]uint32), make(map[uint64]*SocketID)
	var rows []FlowListen
	add := func(m *diagMsg) {
		cookie, drops := m.cookie(), m.memory(memDrops)
		next[cookie] = drops
		d := since32(w.drops[cookie], drops)
		if w.drops == nil || d == 0 {
			return
		}
		known[cookie] = keepIdentity(w.known[cookie], m)
		rows = append(rows, FlowListen{SocketID: known[cookie], Queue: m.recvQ(), Backlog: m.sendQ(), Drops: uint64(d)})
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		var need *NeedError
		err := w.src.Dump(ctx, family, add)
		if err == nil || family == unix.AF_INET6 && errors.As(err, &need) { // a kernel without IPv6
			continue
		}
		err = errors.Join(fmt.Errorf("dumping listening sockets: %w", err), w.src.Close())
		w.src = nil
		return nil, err
	}
	w.drops, w.known = next, known
	return rows, nil
}

func (w *listenWatch) close() error {
	w.drops, w.known, w.err = nil, nil, nil
	if w.src == nil {
		return nil
	}
	err := w.src.Close()
	w.src = nil
	return err
}

// tcpMIB reads what the kernel itself counts of TCP, in our own network namespace.
type tcpMIB struct {
	files *tcpCollector
	prev  tcpReading
	begun bool
}

// read returns the increase since the last reading, of the counters that both have.
func (m *tcpMIB) read(ctx context.Context) (TCPCounts, error) {
	c := m.files
	c.cur = tcpReading{}
	if err := errors.Join(c.readMIB(ctx, c.snmpFile, &c.snmp), c.readMIB(ctx, c.netstatFile, &c.netstat)); err != nil {
		return TCPCounts{}, err
	}
	if !m.begun {
		m.prev, m.begun = c.cur, true
	}
	d := deriveTCP(&m.prev, &c.cur, Span{}).Delta
	m.prev = c.cur
	return d, nil
}

func (m *tcpMIB) close() error {
	m.begun = false
	return errors.Join(m.files.snmpFile.close(), m.files.netstatFile.close())
}
