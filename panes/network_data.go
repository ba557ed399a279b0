// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"bpf60/collectors"
)

func networkOf(s *collectors.Snapshot) *collectors.Network { return s.Network }

// Other namespaces than ours are read in turn: what is older than this is not shown as now.
const othersStale = 13 * time.Second

// netKey names an interface from sample to sample.
type netKey struct {
	space uint64
	name  string
}

func keyOf(l *collectors.NetLink) netKey { return netKey{l.Space, l.Name.Bytes()} }

// netIface is an interface over a frame.
type netIface struct {
	link  *collectors.NetLink
	space *netSpace

	seconds        float64                // how long it was watched: without the samples it began anew in
	counts         collectors.IfaceCounts // over the frame
	total          collectors.IfaceCounts // since it was made; known is false while nothing moved
	known          bool
	missed, qdrops float64 // a second, over the frame or the last lumpFor
	moved          bool    // it counted something over the frame
	recent         bool    // it did so in the last half minute
	why            string  // why its numbers are missing, although it is there
	unlisted       string  // why they may be: it is not among the rows that are kept
}

// netSpace is a namespace over a frame.
type netSpace struct {
	*collectors.NetPlace
	span      collectors.Span // from the first reading to the last
	seconds   float64         // how long it was watched
	share     float64         // of the frame's time, in which it was there
	stack     collectors.StackCounts
	known     bool // stack is
	ext       bool // stack holds TcpExt
	conntrack collectors.Conntrack
	ifaces    []*netIface // in the kernel's order
	device    bool        // a device is among them: sums are over devices
	thin      bool        // detail has been given up
	left      int         // interfaces that moved and have no row
}

// name is what a namespace is called on screens.
func (s *netSpace) name() string {
	if s.Own {
		return "-"
	}
	return clean(s.Name)
}

// netView is the network over a frame.
type netView struct {
	spaces   []*netSpace // ours first, then what moves most
	softnet  []softCPU
	soft     softCPU // sum
	apart    float64 // seconds of the samples that tell CPUs apart: softnet is of these
	softOK   bool
	max      uint64 // connections a namespace may track
	coverage collectors.Coverage
}

// softCPU is a CPU's softnet line over a frame.
type softCPU struct {
	cpu                                               int32
	processed, dropped, squeezed, rps, limit, backlog uint64
	isNew                                             bool
}

func (s *softCPU) plus(c *collectors.SoftnetCPU) {
	s.processed += uint64(c.Processed)
	s.dropped += uint64(c.Dropped)
	s.squeezed += uint64(c.Squeezed)
	s.rps += uint64(c.RPS)
	s.limit += uint64(c.FlowLimit)
	s.backlog = uint64(c.Backlog)
}

// netOver is the network over the frame: our own namespace of the newest sample, the others each
// of the newest that holds it; or the sums over the frame's span. Nil without a sample.
func netOver(f Frame) *netView {
	samples := within(f, networkOf)
	if len(samples) == 0 {
		return nil
	}
	last := samples[len(samples)-1]
	v := &netView{max: last.ConntrackMax, coverage: last.Coverage, softOK: last.SoftnetKnown}
	at := make(map[uint64]*netSpace)
	if f.Span == 0 {
		done := make(map[uint64]bool)
		for i := len(f.Past) - 1; i >= 0 && f.Now.At-f.Past[i].At <= othersStale; i-- {
			if s := f.Past[i].Snapshot; s != nil && s.Network != nil && s.Network.To <= last.To {
				v.take(s.Network, at, func(p *collectors.NetPlace) bool {
					if done[p.ID] || p.Own && s.Network != last {
						return false
					}
					done[p.ID] = true
					return true
				})
			}
		}
	} else {
		for _, n := range samples {
			v.take(n, at, func(*collectors.NetPlace) bool { return true })
		}
	}
	for _, s := range v.spaces {
		s.share = 1
		if f.Span > 0 {
			s.share = s.shareOf(collectors.Span{From: samples[0].From, To: last.To}, last.Seconds())
		}
		for _, x := range s.ifaces {
			if x.seconds > 0 { // the rest of the frame tells
				x.why = ""
			}
		}
	}
	v.takeSoftnet(samples)
	v.recent(f)
	sortStably(v.spaces, func(a, b *netSpace) int {
		if a.Own != b.Own {
			if a.Own {
				return -1
			}
			return 1
		}
		x, y := a.sum(), b.sum()
		return cmp.Or(cmp.Compare(ratePer(bothBytes(&y), b.seconds), ratePer(bothBytes(&x), a.seconds)),
			cmp.Compare(a.Name.Bytes(), b.Name.Bytes()), cmp.Compare(a.ID, b.ID))
	})
	return v
}

// shareOf is in which part of a run the namespace was there, where samples are so many seconds apart. Its
// turn comes late, and was a while ago when the run ends: only what is longer says that it was not there.
func (s *netSpace) shareOf(run collectors.Span, interval float64) float64 {
	there, late := run.Seconds(), max(othersStale.Seconds(), 2*interval)
	if there <= 0 {
		return 1
	}
	for _, away := range []time.Duration{s.span.From - run.From, run.To - s.span.To} {
		if away.Seconds() > late {
			there -= away.Seconds()
		}
	}
	return max(there, 0) / run.Seconds()
}

// take adds the namespaces of a sample that want says.
func (v *netView) take(n *collectors.Network, at map[uint64]*netSpace, want func(*collectors.NetPlace) bool) {
	for i := range n.Spaces {
		s := &n.Spaces[i]
		if !want(s.NetPlace) {
			continue
		}
		x := at[s.ID]
		if x == nil {
			x = &netSpace{span: s.Span}
			at[s.ID] = x
			v.spaces = append(v.spaces, x)
		}
		if x.NetPlace != s.NetPlace {
			x.become(s.NetPlace)
		}
		x.span = collectors.Span{From: min(x.span.From, s.From), To: max(x.span.To, s.To)}
		x.seconds += s.Seconds()
		x.stack.Plus(&s.StackCounts)
		x.known, x.ext = x.known || s.StackKnown, x.ext || s.TCPExt
		ct := s.Conntrack
		ct.Drop, ct.EarlyDrop, ct.InsertFailed = ct.Drop+x.conntrack.Drop, ct.EarlyDrop+x.conntrack.EarlyDrop, ct.InsertFailed+x.conntrack.InsertFailed
		x.conntrack = ct
		x.thin, x.left = x.thin || n.Thin, x.left+n.NUnlist
		for _, i := range x.ifaces {
			if !n.Thin || i.link.Kind == collectors.LinkDevice { // of the others the older counts are given up for room
				i.seconds += s.Seconds()
			}
		}
		x.rows(n, s.Seconds())
	}
}

// become takes over the interfaces that a namespace has now.
func (s *netSpace) become(p *collectors.NetPlace) {
	was := make(map[string]*netIface, len(s.ifaces))
	for _, i := range s.ifaces {
		was[i.link.Name.Bytes()] = i
	}
	s.NetPlace, s.device = p, false
	s.ifaces = make([]*netIface, 0, len(p.Links))
	for _, l := range p.Links {
		i := was[l.Name.Bytes()]
		if i == nil {
			i = &netIface{space: s}
		}
		i.link = l
		s.ifaces = append(s.ifaces, i)
		s.device = s.device || l.Kind == collectors.LinkDevice
	}
}

// rows adds a sample's rows of the namespace, whose span was of so many seconds. They come in the order of
// its interfaces.
func (s *netSpace) rows(n *collectors.Network, seconds float64) {
	k := 0
	for i := range n.Ifaces {
		r := &n.Ifaces[i]
		if r.Space != s.ID {
			continue
		}
		for k < len(s.ifaces) && s.ifaces[k].link.Name != r.Name {
			k++
		}
		if k == len(s.ifaces) { // out of order, or gone by the end of the frame
			if k = slices.IndexFunc(s.ifaces, func(x *netIface) bool { return x.link.Name == r.Name }); k < 0 {
				k = 0
				continue
			}
		}
		x := s.ifaces[k]
		x.counts.Plus(&r.IfaceCounts)
		x.total, x.known, x.unlisted = r.Total, true, ""
		x.moved = x.moved || r.IfaceCounts != (collectors.IfaceCounts{})
		switch {
		case r.New:
			x.why = "it appeared a moment ago"
		case r.Restarted:
			x.why = "its counters began anew"
		}
		if r.New || r.Restarted {
			x.seconds -= seconds
		}
	}
	if n.NUnlist > 0 || n.Thin {
		for _, x := range s.ifaces {
			if !x.known && (!n.Thin || x.link.Kind != collectors.LinkDevice) {
				x.unlisted = fmt.Sprintf("it did nothing, or is one of the %d that did least", n.NUnlist)
				if n.Thin {
					x.unlisted = "too long ago: only devices are kept"
				}
			}
		}
	}
}

// recentFor is how long an interface stays in sight after it last did something.
const recentFor = 30 * time.Second

// lumpFor is over how long the counters are spread that are only asked for every ten seconds.
const lumpFor = 10 * time.Second

// lately is what an interface did in the time before the frame.
type lately struct {
	moved          bool
	missed, qdrops uint64
}

// recent marks what moved lately, so that rows do not come and go with each second, and spreads
// what is counted in lumps.
func (v *netView) recent(f Frame) {
	seen := make(map[netKey]*lately)
	over := max(f.Span, lumpFor)
	for i := len(f.Past) - 1; i >= 0 && f.Now.At-f.Past[i].At <= max(recentFor, over); i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.Network == nil {
			continue
		}
		age := f.Now.At - f.Past[i].At
		for k := range s.Network.Ifaces {
			r := &s.Network.Ifaces[k]
			key := keyOf(r.NetLink)
			x := seen[key]
			if x == nil {
				x = &lately{}
				seen[key] = x
			}
			x.moved = x.moved || age <= recentFor && r.IfaceCounts != (collectors.IfaceCounts{})
			if age < over {
				x.missed += r.Missed
				x.qdrops += r.QdiscDrops
			}
		}
	}
	for _, s := range v.spaces {
		for _, x := range s.ifaces {
			x.recent = x.moved
			if l := seen[keyOf(x.link)]; l != nil {
				x.recent = x.moved || l.moved
				x.missed, x.qdrops = float64(l.missed)/over.Seconds(), float64(l.qdrops)/over.Seconds()
			}
		}
	}
}

func (v *netView) takeSoftnet(samples []*collectors.Network) {
	last := samples[len(samples)-1]
	v.soft.cpu = -1
	at := make(map[int32]int, len(last.Softnet))
	for _, c := range last.Softnet {
		at[c.CPU] = len(v.softnet)
		v.softnet = append(v.softnet, softCPU{cpu: c.CPU, isNew: c.New})
	}
	for _, n := range samples {
		v.soft.plus(&n.SoftnetAll)
		for k := range n.Spaces {
			if n.Spaces[k].Own && len(n.Softnet) > 0 { // both are read at each tick
				v.apart += n.Spaces[k].Seconds()
			}
		}
		for i := range n.Softnet {
			if k, ok := at[n.Softnet[i].CPU]; ok {
				v.softnet[k].plus(&n.Softnet[i])
			}
		}
	}
}

// summed says whether an interface belongs in the namespace's sums, so that each packet counts
// once: the devices; where there is none, as in a container, what is neither loopback nor stacked.
func (s *netSpace) summed(l *collectors.NetLink) bool {
	if s.device {
		return l.Kind == collectors.LinkDevice
	}
	return l.Kind != collectors.LinkLoopback && l.Kind != collectors.LinkStacked
}

// sum is what went in and out of the namespace, over the frame.
func (s *netSpace) sum() collectors.IfaceCounts {
	var sum collectors.IfaceCounts
	for _, x := range s.ifaces {
		if s.summed(x.link) {
			sum.Plus(&x.counts)
		}
	}
	return sum
}

// own is our own namespace, nil if it was not read.
func (v *netView) own() *netSpace {
	if len(v.spaces) > 0 && v.spaces[0].Own {
		return v.spaces[0]
	}
	return nil
}

// utilisation is %ifutil: the busier direction against the speed, both together where the link is
// half duplex. Not a number where the speed is not known, or means nothing.
func utilisation(l *collectors.NetLink, c *collectors.IfaceCounts, seconds float64) float64 {
	if l.Speed == 0 || seconds <= 0 {
		return math.NaN()
	}
	bytes := max(c.RxBytes, c.TxBytes)
	if l.Half {
		bytes = c.RxBytes + c.TxBytes
	}
	return 100 * float64(bytes) * 8 / (float64(l.Speed) * 1e6) / seconds
}

// ifaceSeries returns what interfaces counted a second over the last n samples that read them, the
// newest last. A sample in which one has no row is a 0: it did nothing.
func ifaceSeries(f Frame, n int, keys []netKey, value func(*collectors.IfaceCounts) uint64) func(netKey) []float64 {
	seconds := make(map[uint64][]float64) // of each reading of a namespace, newest first
	values := make(map[netKey][]float64, len(keys))
	read := make(map[uint64]int) // namespaces of the sample in hand, and the slot of that reading
	for _, k := range keys {
		seconds[k.space], values[k] = make([]float64, 0, n), make([]float64, n)
	}
	for i := len(f.Past) - 1; i >= 0; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.Network == nil {
			continue
		}
		var space uint64 // that the last row was of: rows of one stand together
		slot := -1
		clear(read)
		for k := range s.Network.Spaces {
			sp := &s.Network.Spaces[k]
			if all, ok := seconds[sp.ID]; ok && len(all) < n {
				seconds[sp.ID], read[sp.ID] = append(all, sp.Seconds()), len(all)
			}
		}
		if len(read) == 0 {
			if full(seconds, n) {
				break
			}
			continue
		}
		for k := range s.Network.Ifaces {
			r := &s.Network.Ifaces[k]
			if k == 0 || r.Space != space {
				at, ok := read[r.Space]
				if space, slot = r.Space, at; !ok {
					slot = -1
				}
			}
			if slot >= 0 {
				if v := values[keyOf(r.NetLink)]; v != nil {
					v[slot] = float64(value(&r.IfaceCounts))
				}
			}
		}
	}
	return func(key netKey) []float64 {
		all := seconds[key.space]
		out := make([]float64, len(all))
		for i, sec := range all {
			v := math.NaN()
			if sec > 0 {
				v = values[key][i] / sec
			}
			out[len(all)-1-i] = v
		}
		return out
	}
}

// full says whether every namespace has n readings.
func full(seconds map[uint64][]float64, n int) bool {
	for _, all := range seconds {
		if len(all) < n {
			return false
		}
	}
	return true
}

func bothBytes(c *collectors.IfaceCounts) uint64 { return c.RxBytes + c.TxBytes }
func rxBytes(c *collectors.IfaceCounts) uint64   { return c.RxBytes }
func txBytes(c *collectors.IfaceCounts) uint64   { return c.TxBytes }
