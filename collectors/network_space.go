// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"
)

// spaceState is what is remembered of a network namespace between two readings.
type spaceState struct {
	place *NetPlace
	links []linkState // in the order of /proc/net/dev
	at    time.Duration
	begun bool    // links and at are set
	rate  float64 // packets a second over the last span; who is read is chosen by it

	stack      StackCounts
	stackKnown bool
	extKnown   bool // stack holds netstat's
	ct         Conntrack
	moved      bool // links came or went: place is to be made anew
}

// linkState is what is remembered of an interface.
type linkState struct {
	link *NetLink
	prev IfaceCounts

	missed, qdisc         uint64 // last cumulative answer of rtnetlink
	asked                 bool   // they are set
	missedDelta, qdiscDel uint64 // not yet in a row
}

func newSpaceState(place NetPlace) *spaceState { return &spaceState{place: &place} }

// loopback is what the kernel calls it in every namespace.
const loopback = "lo"

// derive takes a reading of /proc/net/dev and appends the rows of what moved to rows. In the first
// reading every interface that has ever counted has a row, without deltas.
func (s *spaceState) derive(lines []devLine, span Span, rows []NetIface) []NetIface {
	first, at := !s.begun, 0
	var packets uint64
	if first {
		s.links = make([]linkState, 0, len(lines))
	}
	var next []linkState // made once the order no longer is that of the last reading
	for i := range lines {
		line := &lines[i]
		was := -1
		if !first {
			was = s.find(line.Name, at)
		}
		if was != i && next == nil && !first {
			next = append(make([]linkState, 0, len(lines)), s.links[:min(i, len(s.links))]...)
		}
		if was < 0 {
			made := linkState{link: s.newLink(line.Name), prev: line.IfaceCounts}
			s.moved = true
			if first {
				s.links = append(s.links, made)
			} else {
				next = append(next, made)
			}
			if !first || line.IfaceCounts != (IfaceCounts{}) {
				rows = append(rows, NetIface{NetLink: made.link, Total: line.IfaceCounts, New: !first})
			}
			continue
		}
		at = was + 1
		l := &s.links[was]
		d, restarted := deriveIface(&l.prev, &line.IfaceCounts)
		l.prev = line.IfaceCounts
		if d != (IfaceCounts{}) || restarted || l.missedDelta+l.qdiscDel > 0 {
			rows = append(rows, NetIface{
				NetLink: l.link, IfaceCounts: d, Total: line.IfaceCounts, Restarted: restarted,
				Missed: l.missedDelta, QdiscDrops: l.qdiscDel,
			})
			l.missedDelta, l.qdiscDel = 0, 0
			packets += d.RxPackets + d.TxPackets
		}
		if next != nil {
			next = append(next, *l)
		}
	}
	if next == nil && len(s.links) > len(lines) { // the last ones went
		next = slices.Clone(s.links[:len(lines)])
	}
	if next != nil {
		s.links, s.moved = next, true
	}
	if sec := span.Seconds(); sec > 0 {
		s.rate = float64(packets) / sec
	}
	s.begun, s.at = true, span.To
	return rows
}

// find returns where an interface stood in the last reading, looking from at on, since the order
// hardly changes; -1 if it is new.
func (s *spaceState) find(name []byte, at int) int {
	for i := at; i < len(s.links); i++ {
		if s.links[i].link.Name.s == string(name) {
			return i
		}
	}
	for i := range min(at, len(s.links)) {
		if s.links[i].link.Name.s == string(name) {
			return i
		}
	}
	return -1
}

func (s *spaceState) newLink(name []byte) *NetLink {
	l := &NetLink{Space: s.place.ID, Name: RawString(string(name))}
	if l.Name.s == loopback {
		l.Kind = LinkLoopback
	}
	return l
}

// publish returns the namespace as it is known now. It is made anew only when something changed,
// and never written after.
func (s *spaceState) publish() *NetPlace {
	if s.moved {
		p := *s.place
		p.Links = make([]*NetLink, len(s.links))
		for i := range s.links {
			p.Links[i] = s.links[i].link
		}
		s.place, s.moved = &p, false
	}
	return s.place
}

// rename gives the namespace another name or process to be read through.
func (s *spaceState) rename(name Raw, pid int32, inode uint64) {
	if s.place.Name != name || s.place.PID != pid || s.place.Inode != inode {
		p := *s.place
		p.Name, p.PID, p.Inode = name, pid, inode
		s.place = &p
	}
}

// deriveIface subtracts two readings of an interface. A counter that went back alone has wrapped
// at 32 bits, as those of old drivers do, if what that makes is plausible; else it counts 0. When
// packets and bytes go back together the interface began anew, and nothing is certain but that.
func deriveIface(prev, cur *IfaceCounts) (d IfaceCounts, restarted bool) {
	if *prev == *cur {
		return d, false
	}
	if cur.RxBytes < prev.RxBytes && cur.RxPackets < prev.RxPackets || cur.TxBytes < prev.TxBytes && cur.TxPackets < prev.TxPackets {
		return d, true
	}
	from, to, out := prev.columns(), cur.columns(), d.columns()
	for i := range out {
		*out[i] = sinceWrapped(*from[i], *to[i])
	}
	return d, false
}

// sinceWrapped is the increase of a counter that may have 32 bits. More than a quarter of the
// range in one span is no wrap but a reset: at 10 Gbit/s a second is 1.2 of the 4.3 billion bytes.
func sinceWrapped(prev, cur uint64) uint64 {
	const wrap = 1 << 32
	if cur >= prev {
		return cur - prev
	}
	if d := cur + wrap - prev; prev < wrap && d < wrap*3/8 {
		return d
	}
	return 0
}

// Since returns c less an earlier reading; a counter that went back is 0.
func (c StackCounts) Since(prev StackCounts) (d StackCounts) {
	from, to, out := prev.columns(), c.columns(), d.columns()
	for i := range out {
		*out[i] = since(*from[i], *to[i])
	}
	return d
}

// Plus adds the counts of another span.
func (c *StackCounts) Plus(d *StackCounts) {
	to, from := c.columns(), d.columns()
	for i := range to {
		*to[i] += *from[i]
	}
}

// Plus adds the counts of another span or interface.
func (c *IfaceCounts) Plus(d *IfaceCounts) {
	to, from := c.columns(), d.columns()
	for i := range to {
		*to[i] += *from[i]
	}
}

// protocols puts the difference of two readings of snmp, snmp6 and netstat into space. A reading
// that failed makes the next a baseline.
func (s *spaceState) protocols(space *NetSpace, cur StackCounts, known, ext bool) {
	if known && s.stackKnown {
		d := cur.Since(s.stack)
		if !ext || !s.extKnown {
			d.TCPListenOverflows, d.TCPListenDrops, d.TCPReceiveDrops, d.TCPBacklogDrops = 0, 0, 0, 0
		}
		space.StackCounts = d
	}
	space.StackKnown, space.TCPExt = known, known && ext
	s.stack, s.stackKnown, s.extKnown = cur, known, ext
}

// conntrack puts the difference of two readings of the table's counters into space. They have 32
// bits on each CPU.
func (s *spaceState) conntrack(space *NetSpace, cur Conntrack) {
	space.Conntrack = Conntrack{Known: cur.Known, Entries: cur.Entries}
	if cur.Known && s.ct.Known {
		space.Conntrack.Drop = sinceWrapped(s.ct.Drop, cur.Drop)
		space.Conntrack.EarlyDrop = sinceWrapped(s.ct.EarlyDrop, cur.EarlyDrop)
		space.Conntrack.InsertFailed = sinceWrapped(s.ct.InsertFailed, cur.InsertFailed)
	}
	s.ct = cur
}

// busiestIfaces keeps the rows of a sample within maxIfaces: those with most packets, errors first.
// What is left out is summed.
func busiestIfaces(rows []NetIface) (kept []NetIface, rest IfaceCounts, n int) {
	if len(rows) <= maxIfaces {
		return rows, rest, 0
	}
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	weight := func(r *NetIface) uint64 {
		const first = 1 << 60
		w := min(r.RxPackets+r.TxPackets, first-1)
		if r.troubled() {
			w += first
		}
		return w
	}
	sortStably(order, func(a, b int) int { return cmp.Compare(weight(&rows[b]), weight(&rows[a])) })
	for _, i := range order[maxIfaces:] {
		rest.Plus(&rows[i].IfaceCounts)
	}
	slices.Sort(order[:maxIfaces])
	kept = make([]NetIface, maxIfaces)
	for k, i := range order[:maxIfaces] {
		kept[k] = rows[i]
	}
	return kept, rest, len(rows) - maxIfaces
}

func (r *NetIface) troubled() bool {
	return r.RxErrors+r.TxErrors+r.RxDropped+r.TxDropped+r.Missed+r.QdiscDrops > 0
}

// ownSpace reads the namespace that bpf60 runs in. Its files stay open: we keep it alive anyway.
type ownSpace struct {
	*spaceState
	dev, snmp, snmp6, ct *procFile
	lines                []devLine
	layout               stackLayout
	stackErr, ctErr      error
}

func newOwnSpace(fs FS) *ownSpace {
	o := &ownSpace{
		dev: fs.file("net/dev"), snmp: fs.file("net/snmp"), snmp6: fs.file("net/snmp6"), ct: fs.file("net/stat/nf_conntrack"),
	}
	o.reset()
	return o
}

func (o *ownSpace) reset() {
	o.spaceState = newSpaceState(NetPlace{Own: true})
	o.stackErr, o.ctErr = nil, nil
}

// is notes the namespace's inode; its interfaces carry it.
func (o *ownSpace) is(id uint64) {
	if o.place.ID == id || o.begun {
		return
	}
	p := *o.place
	p.ID = id
	o.place = &p
}

func (o *ownSpace) collect(ctx context.Context, n *Network, rows []NetIface) ([]NetIface, error) {
	b, err := o.dev.read(ctx)
	if err == nil {
		o.lines, err = parseNetDev(b, o.lines[:0])
	}
	if err != nil {
		return rows, err
	}
	rows = o.derive(o.lines, n.Span, rows)
	space := NetSpace{Span: n.Span}
	var cur StackCounts
	b, err = o.snmp.read(ctx)
	if err == nil {
		err = o.layout.parse(b, &cur)
	}
	if err == nil {
		if b, e := o.snmp6.read(ctx); e == nil { // without IPv6 there is none
			err = o.layout.parseSix(b, &cur)
		}
	}
	o.stackErr = err
	o.protocols(&space, cur, err == nil, false)

	var ct Conntrack
	if b, err = o.ct.read(ctx); err == nil {
		ct, err = parseConntrack(b)
	}
	o.ctErr = err
	o.spaceState.conntrack(&space, ct)
	space.NetPlace = o.publish()
	n.Spaces = append(n.Spaces, space)
	return rows, nil
}

// conntrackNeed says why connections are not counted; nil when they are.
func (o *ownSpace) conntrackNeed() *NeedError {
	switch {
	case o.ctErr == nil:
		return nil
	case errors.Is(o.ctErr, fs.ErrNotExist):
		return &NeedError{Need: "no connection tracking here: nf_conntrack is not loaded", Err: o.ctErr}
	}
	return &NeedError{Need: clean(o.ctErr.Error()), Err: o.ctErr}
}

func (o *ownSpace) close() error {
	return errors.Join(o.dev.close(), o.snmp.close(), o.snmp6.close(), o.ct.close())
}
