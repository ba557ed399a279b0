// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"bpf60/collectors"
)

func tcpOf(s *collectors.Snapshot) *collectors.TCP         { return s.TCP }
func socketsOf(s *collectors.Snapshot) *collectors.Sockets { return s.Sockets }

// tcpOver is TCP over the frame: deltas summed, gauges of the newest. Nil without one.
func tcpOver(f Frame) *collectors.TCP {
	samples := within(f, tcpOf)
	switch len(samples) {
	case 0:
		return nil
	case 1:
		return samples[0]
	}
	sum := *samples[len(samples)-1]
	sum.Span, sum.Delta = collectors.Span{}, collectors.TCPCounts{}
	for _, t := range samples {
		if t.Seconds() == 0 {
			continue
		}
		sum.Span = join(sum.Span, t.Span)
		sum.Delta.Plus(&t.Delta)
	}
	return &sum
}

// socketsNow is the newest table of sockets that is still true. With many sockets it is read less
// often than the rest, so it may be older.
func socketsNow(f Frame) *collectors.Sockets {
	for i := len(f.Past) - 1; i >= 0; i-- {
		m := f.Past[i]
		if m.Snapshot == nil || m.Sockets == nil {
			if f.Now.Snapshot != nil && m.Snapshot != nil && f.Now.At-m.At > time.Minute {
				return nil
			}
			continue
		}
		if i >= len(f.Past)-staleAfter || f.Now.At-m.At <= m.Sockets.Every+2*time.Second {
			return m.Sockets
		}
		return nil
	}
	return nil
}

// socketsOver is the table of sockets over the frame: deltas summed by socket, gauges of the newest
// sample that has the socket. Nil without one.
func socketsOver(f Frame) *collectors.Sockets {
	if f.Span == 0 {
		return socketsNow(f)
	}
	samples := within(f.rowed(), socketsOf)
	if len(samples) < 2 {
		if len(samples) == 0 {
			return nil
		}
		return samples[0]
	}
	sum := *samples[len(samples)-1]
	rows := make(map[uint64]*collectors.SocketRow)
	listen := make(map[uint64]*collectors.ListenRow)
	peers := make(map[netip.Addr]*collectors.PeerRow)
	sum.Span = collectors.Span{}
	for _, s := range samples {
		if s.Seconds() > 0 {
			sum.Span = join(sum.Span, s.Span)
		}
		for i := range s.Rows {
			r := s.Rows[i]
			if was := rows[r.Cookie]; was != nil {
				r.Acked += was.Acked
				r.Received += was.Received
				r.Retrans += was.Retrans
				r.Drops += was.Drops
				r.Busy += was.Busy
				r.RwndLimited += was.RwndLimited
				r.SndbufLimited += was.SndbufLimited
				r.New = was.New
			}
			rows[r.Cookie] = &r
		}
		for i := range s.Listeners {
			l := s.Listeners[i]
			if was := listen[l.Cookie]; was != nil {
				l.Drops += was.Drops
			}
			listen[l.Cookie] = &l
		}
		for i := range s.Peers {
			p := s.Peers[i]
			if was := peers[p.Addr]; was != nil {
				p.Acked += was.Acked
				p.Received += was.Received
				p.Retrans += was.Retrans
			}
			peers[p.Addr] = &p
		}
	}
	sum.Rows = values(rows, func(a, b *collectors.SocketRow) int {
		return cmp.Or(cmp.Compare(b.Acked+b.Received, a.Acked+a.Received), cmp.Compare(a.Cookie, b.Cookie))
	})
	sum.Listeners = values(listen, func(a, b *collectors.ListenRow) int {
		return cmp.Or(cmp.Compare(b.Drops, a.Drops), cmp.Compare(b.Queue, a.Queue), cmp.Compare(a.Cookie, b.Cookie))
	})
	sum.Peers = values(peers, func(a, b *collectors.PeerRow) int {
		return cmp.Or(cmp.Compare(b.Acked+b.Received, a.Acked+a.Received), a.Addr.Compare(b.Addr))
	})
	return &sum
}

// values are a map's, in order.
func values[K comparable, V any](m map[K]*V, compare func(a, b *V) int) []V {
	list := slices.SortedFunc(maps.Values(m), compare)
	out := make([]V, len(list))
	for i, v := range list {
		out[i] = *v
	}
	return out
}

// socketSeries is one number of one socket over time, the newest last, at most n of them. A sample
// that does not list the socket, because others did more, gives none.
func socketSeries(f Frame, n int, cookie uint64, value func(*collectors.Sockets, *collectors.SocketRow) float64) []float64 {
	out := make([]float64, 0, n)
	for i := len(f.Past) - 1; i >= 0 && len(out) < n; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.Sockets == nil {
			continue
		}
		for k := range s.Sockets.Rows {
			if r := &s.Sockets.Rows[k]; r.Cookie == cookie {
				out = append(out, value(s.Sockets, r))
				break
			}
		}
	}
	slices.Reverse(out)
	return out
}

// socketRate is what a socket moved, in KiB/s.
func socketRate(s *collectors.Sockets, r *collectors.SocketRow) float64 {
	if s.Seconds() == 0 {
		return 0
	}
	return float64(r.Acked+r.Received) / 1024 / s.Seconds()
}
