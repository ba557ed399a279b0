// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// netLately is the network over the frame's span, or that of the newest sample alone: the line of the
// checklist is drawn each second, and netOver looks further back. Nil without a sample.
func netLately(f Frame) *netView {
	if f.Span > 0 {
		return netOver(f)
	}
	n := newest(f, networkOf)
	if n == nil {
		return nil
	}
	v := &netView{coverage: n.Coverage}
	v.take(n, make(map[uint64]*netSpace), func(*collectors.NetPlace) bool { return true })
	for _, s := range v.spaces {
		s.share = 1
	}
	v.soft.plus(&n.SoftnetAll)
	return v
}

// sarDevLine is the busiest interface of the host, and what is dropped anywhere.
func sarDevLine(f Frame) line {
	l := line{id: "sar DEV", pane: NetworkPane, value: math.NaN(), unit: "B/s"}
	v := netLately(f)
	var own *netSpace
	if v != nil {
		own = v.own()
	}
	if own == nil || own.seconds == 0 {
		l.why = "rates: waiting for a second reading"
		if v == nil {
			l.why, _ = whyNot(f, collectors.NetworkID, "sar DEV")
		}
		l.parts = []part{{"rx - tx -", 0}}
		return l
	}
	var best, other *netIface // other: what the host's sums leave out, as bridges, veths and lo
	bestUtil, bestBytes, otherBytes := math.Inf(-1), 0.0, 0.0
	for _, x := range own.ifaces {
		if !x.moved {
			continue
		}
		bytes := ratePer(bothBytes(&x.counts), x.seconds)
		if !own.summed(x.link) {
			if bytes > otherBytes {
				other, otherBytes = x, bytes
			}
			continue
		}
		util := utilisation(x.link, &x.counts, x.seconds)
		if math.IsNaN(util) {
			util = -1
		}
		if util > bestUtil || util == bestUtil && bytes > bestBytes {
			best, bestUtil, bestBytes = x, util, bytes
		}
	}
	sum := own.sum()
	l.value = ratePer(bothBytes(&sum), own.seconds)
	l.parts = []part{{"no traffic", 0}}
	moves := func(x *netIface) string {
		c := &x.counts
		return fmt.Sprintf("%s rx %s tx %s", clean(x.link.Name), byteRate(ratePer(c.RxBytes, x.seconds)), byteRate(ratePer(c.TxBytes, x.seconds)))
	}
	lost := v.dropParts()
	if best == nil && other != nil {
		l.row = other.link.Name.Bytes()
		l.parts = []part{{"devices idle", 0}, {moves(other), 2}}
	}
	if best != nil {
		l.row = best.link.Name.Bytes()
		l.parts[0].text = moves(best)
		util := fmt.Sprintf("%.0f %% of link", bestUtil)
		switch {
		case bestUtil < 0:
		case len(lost) > 0: // what is lost matters more where there is no room for both
			l.parts = append(l.parts, part{util, 3})
		default:
			l.parts[0].text += ", " + util
		}
	}
	l.parts = append(l.parts, lost...)
	if c := v.coverage; c.Known > 1 {
		l.parts = append(l.parts, part{fmt.Sprintf("%d of %d netns", c.Covered, c.Known), 4})
	}
	l.series = series(f, sparkSamples, networkOf, func(n *collectors.Network) float64 { return hostBytes(n, own) })
	l.hi = max(most(l.series), leastNetScale)
	return l
}

// leastNetScale is the least top of the sparkline, in bytes a second: next to nothing is to look so.
const leastNetScale = 100e3

// dropParts are what was lost, where anything was.
func (v *netView) dropParts() []part {
	var out []part
	var errors, drops, full float64
	for _, s := range v.spaces {
		per := func(n uint64) float64 { return ratePer(n, s.seconds) * s.share }
		for _, x := range s.ifaces {
			errors += per(x.counts.RxErrors + x.counts.TxErrors)
			drops += per(x.counts.RxDropped + x.counts.TxDropped)
		}
		full += per(s.stack.UDPReceiveFull)
	}
	if drops > 0 {
		out = append(out, part{fmt.Sprintf("drop %s/s", widget.Short(drops)), 1})
	}
	if errors > 0 {
		out = append(out, part{fmt.Sprintf("err %s/s", widget.Short(errors)), 1})
	}
	if own := v.own(); own != nil && own.seconds > 0 && v.soft.dropped > 0 { // both are read at each tick
		out = append(out, part{fmt.Sprintf("softnet drop %s/s", widget.Short(float64(v.soft.dropped)/own.seconds)), 2})
	}
	if full > 0 {
		out = append(out, part{fmt.Sprintf("udp rcvbuf %s/s", widget.Short(full)), 2})
	}
	return out
}

// hostBytes is what the interfaces that count for the host moved, a second.
func hostBytes(n *collectors.Network, own *netSpace) float64 {
	if n.Seconds() == 0 {
		return math.NaN()
	}
	var total uint64
	for i := range n.Ifaces {
		r := &n.Ifaces[i]
		if r.Space != own.ID { // ours come first
			break
		}
		if own.summed(r.NetLink) {
			total += r.RxBytes + r.TxBytes
		}
	}
	return float64(total) / n.Seconds()
}
