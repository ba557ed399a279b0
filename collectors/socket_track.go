// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
)

// How many rows a sample holds.
const (
	socketRows = 200
	listenRows = 200
	peerRows   = 100
)

// sockPrev is what the next reading needs of a socket. There is one for every socket, so it is
// small; the times wrap at 32 bits, after an hour of microseconds, and their deltas do not mind.
type sockPrev struct {
	cookie             uint64
	acked, received    uint64
	busy, rwnd, sndbuf uint32
	retrans, drops     uint32
	id                 *SocketID // of the rows that were listed; else nil
}

// sockTracker turns dumps into samples. It remembers the last dump in its order: the kernel walks
// its hash tables, so that sockets which stay come in the same order again, and the previous
// values of nearly every one are found next to those of the one before, without a look-up.
type sockTracker struct {
	prev, cur []sockPrev
	at        int              // where in prev the next match is expected
	index     map[uint64]int32 // prev by cookie, made when the order fails
	indexed   bool
	begun     bool // prev is a dump

	states [SocketStates]int
	heap   []SocketRow // the least of the rows to list is first
	score  []float64   // of heap, same index
	unlist int
	listen []ListenRow
	peers  map[[16]byte]int32 // index in list
	list   []PeerRow
	ports  []portCount // by local port
	wanted map[uint64]bool
	held   map[uint32]bool // inodes of the sockets of processes that are looked at
}

type portCount struct{ sockets, synRecv int32 }

func newSockTracker() *sockTracker {
	return &sockTracker{index: map[uint64]int32{}, peers: map[[16]byte]int32{}, ports: make([]portCount, 1<<16)}
}

// begin makes room for a dump.
func (t *sockTracker) begin() {
	t.cur = t.cur[:0]
	t.at, t.indexed, t.unlist = 0, false, 0
	t.states = [SocketStates]int{}
	t.heap, t.score = make([]SocketRow, 0, min(socketRows, len(t.prev)+16)), t.score[:0]
	t.listen, t.list = nil, t.list[:0]
	clear(t.peers)
	clear(t.ports)
}

// lookAhead is how many sockets may have gone between two neighbours before the order is given up.
const lookAhead = 16

// match finds the previous values of a socket; nil if it is new.
func (t *sockTracker) match(cookie uint64) *sockPrev {
	end := min(t.at+lookAhead, len(t.prev))
	for i := t.at; i < end; i++ {
		if t.prev[i].cookie == cookie {
			t.at = i + 1
			return &t.prev[i]
		}
	}
	if !t.indexed {
		clear(t.index)
		for i := range t.prev {
			t.index[t.prev[i].cookie] = int32(i)
		}
		t.indexed = true
	}
	i, ok := t.index[cookie]
	if !ok {
		return nil
	}
	t.at = int(i) + 1
	return &t.prev[i]
}

// add takes one socket of the dump.
func (t *sockTracker) add(m *diagMsg) {
	state := m.state()
	if state >= SocketStates {
		state = 0
	}
	t.states[state]++
	cur := sockPrev{
		cookie: m.cookie(), acked: m.number64(infoAcked), received: m.number64(infoReceived),
		busy: uint32(m.number64(infoBusy)), rwnd: uint32(m.number64(infoRwnd)), sndbuf: uint32(m.number64(infoSndbuf)),
		retrans: m.number(infoTotalRetrans), drops: m.memory(memDrops),
	}
	was := t.match(cur.cookie)
	var base sockPrev
	switch {
	case was != nil:
		base = *was
	case !t.begun:
		base = cur // the first dump is the baseline
	}
	if was != nil {
		cur.id = was.id
	}
	if state == Listen {
		t.addListener(m, &cur, &base)
	} else {
		t.ports[m.localPort()].sockets++
		if state == SynRecv {
			t.ports[m.localPort()].synRecv++
		}
		t.addRow(m, &cur, &base, t.begun && was == nil)
	}
	t.cur = append(t.cur, cur)
}

func (t *sockTracker) addListener(m *diagMsg, cur, base *sockPrev) {
	cur.id = keepIdentity(cur.id, m)
	t.listen = append(t.listen, ListenRow{
		SocketID: cur.id, Queue: m.recvQ(), Backlog: m.sendQ(), Drops: since32(base.drops, cur.drops), DropsTotal: cur.drops,
	})
}

// since32 is the increase of a 32-bit counter that wraps, and 0 for one that was set back: what
// looks like more than half of its range.
func since32(prev, cur uint32) uint32 {
	if d := cur - prev; d < 1<<31 {
		return d
	}
	return 0
}

// keepIdentity returns id while it is still true. A socket's inode comes when it is accepted and
// goes when its process closes it; its congestion control may be changed.
func keepIdentity(id *SocketID, m *diagMsg) *SocketID {
	if id != nil && id.Inode == m.inode() && id.Congestion.s == string(m.cong) {
		return id
	}
	return m.identity()
}

// addRow counts a socket for its peer, and lists it if it did more than another that is listed. A
// byte in a queue weighs as much as one that moved, and a segment sent again as much as 64 KiB:
// what is stuck or lost must not drown in what flows.
func (t *sockTracker) addRow(m *diagMsg, cur, base *sockPrev, isNew bool) {
	acked, received := since(base.acked, cur.acked), since(base.received, cur.received)
	retrans := since32(base.retrans, cur.retrans)
	t.addPeer(m, acked, received, retrans)
	score := float64(acked) + float64(received) + 65536*float64(retrans) + float64(m.recvQ()) + float64(m.sendQ())
	wanted := t.wanted[cur.cookie]
	if wanted || t.held[m.inode()] {
		score = math.Inf(1)
	}
	if len(t.heap) == socketRows && !(score > t.score[0]) {
		t.unlist++
		cur.id = nil
		return
	}
	cur.id = keepIdentity(cur.id, m)
	var r SocketRow
	m.row(&r)
	r.SocketID, r.New = cur.id, isNew
	r.Acked, r.Received, r.Retrans = acked, received, retrans
	r.Busy, r.RwndLimited, r.SndbufLimited = uint64(cur.busy-base.busy), uint64(cur.rwnd-base.rwnd), uint64(cur.sndbuf-base.sndbuf)
	r.Drops = since32(base.drops, cur.drops)
	if wanted {
		r.Detail = m.detail()
	}
	t.push(r, score)
}

func (t *sockTracker) addPeer(m *diagMsg, acked, received uint64, retrans uint32) {
	key := m.peerKey()
	i, ok := t.peers[key]
	if !ok {
		i = int32(len(t.list))
		t.peers[key] = i
		t.list = append(t.list, PeerRow{Addr: netip.AddrFrom16(key).Unmap()})
	}
	p := &t.list[i]
	p.Sockets++
	if m.state() == Established {
		p.Established++
	}
	if m.state() == SynSent {
		p.SynSent++
	}
	p.Acked += acked
	p.Received += received
	p.Retrans += uint64(retrans)
	p.RecvQ += uint64(m.recvQ())
	p.SendQ += uint64(m.sendQ())
	if rtt := m.number(infoRTT); rtt > 0 {
		p.RTTSum += uint64(rtt)
		p.RTTCount++
	}
}

// push adds a row to the heap; a full heap loses its least.
func (t *sockTracker) push(r SocketRow, score float64) {
	i := len(t.heap)
	if i < socketRows {
		t.heap, t.score = append(t.heap, r), append(t.score, score)
		for i > 0 && t.score[(i-1)/2] > t.score[i] {
			t.swap(i, (i-1)/2)
			i = (i - 1) / 2
		}
		return
	}
	t.unlist++
	t.heap[0], t.score[0] = r, score
	for i = 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(t.heap); c++ {
			if t.score[c] < t.score[least] {
				least = c
			}
		}
		if least == i {
			return
		}
		t.swap(i, least)
		i = least
	}
}

func (t *sockTracker) swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.score[i], t.score[j] = t.score[j], t.score[i]
}

// end returns the sample of the dump, which becomes the previous one.
func (t *sockTracker) end(span Span) *Sockets {
	s := &Sockets{Span: span, States: t.states, Rows: t.heap, UnlistedRows: t.unlist}
	for _, n := range t.states {
		s.Total += n
	}
	sortBy(s.Rows, func(a, b SocketRow) int {
		return cmp.Or(cmp.Compare(rowWeight(&b), rowWeight(&a)), cmp.Compare(a.Cookie, b.Cookie))
	})
	for i := range t.listen {
		l := &t.listen[i]
		l.Connections, l.SynRecv = int(t.ports[l.Local.Port()].sockets), int(t.ports[l.Local.Port()].synRecv)
	}
	sortBy(t.listen, func(a, b ListenRow) int {
		return cmp.Or(cmp.Compare(b.Drops, a.Drops), cmp.Compare(b.Queue, a.Queue), cmp.Compare(b.Connections, a.Connections),
			cmp.Compare(a.Local.Port(), b.Local.Port()), cmp.Compare(a.Cookie, b.Cookie))
	})
	s.Listeners = t.listen
	if n := len(t.listen) - listenRows; n > 0 {
		s.Listeners, s.UnlistedListeners = slices.Clone(t.listen[:listenRows]), n
	}
	busiest := func(a, b PeerRow) int {
		return cmp.Or(cmp.Compare(peerWeight(&b), peerWeight(&a)), cmp.Compare(b.Sockets, a.Sockets), a.Addr.Compare(b.Addr))
	}
	sortBy(t.list, busiest)
	s.Peers = slices.Clone(t.list[:min(peerRows, len(t.list))])
	s.UnlistedPeers = len(t.list) - len(s.Peers)
	t.prev, t.cur = t.cur, t.prev
	t.begun = true
	return s
}

func rowWeight(r *SocketRow) uint64 {
	return r.Acked + r.Received + uint64(r.Retrans)<<16 + uint64(r.RecvQ) + uint64(r.SendQ)
}

func peerWeight(p *PeerRow) uint64 {
	return p.Acked + p.Received + p.Retrans<<16 + p.RecvQ + p.SendQ
}
