// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// sarDevLine is the busiest interface of the host, and what is dropped anywhere.
func sarDevLine(f Frame) line {
	l := line{id: "sar DEV", pane: NetworkPane, value: math.NaN(), unit: "B/s"}
	n := newest(f, networkOf)
	var own *collectors.NetSpace
	if n != nil && len(n.Spaces) > 0 && n.Spaces[0].Own {
		own = &n.Spaces[0]
	}
	if own == nil || own.Seconds() == 0 {
		l.why = "rates: waiting for a second reading"
		if n == nil {
			l.why, _ = whyNot(f, collectors.NetworkID, "sar DEV")
		}
		l.parts = []part{{"rx - tx -", 0}}
		return l
	}
	sums := netSpace{NetPlace: own.NetPlace}
	sums.become(own.NetPlace)
	seconds := own.Seconds()
	var best *collectors.NetIface
	bestUtil, bestBytes, total := math.Inf(-1), uint64(0), uint64(0)
	for i := range n.Ifaces {
		r := &n.Ifaces[i]
		if r.Space != own.ID || !sums.summed(r.NetLink) {
			continue
		}
		bytes := r.RxBytes + r.TxBytes
		total += bytes
		util := utilisation(r.NetLink, &r.IfaceCounts, seconds)
		if math.IsNaN(util) {
			util = -1
		}
		if util > bestUtil || util == bestUtil && bytes > bestBytes {
			best, bestUtil, bestBytes = r, util, bytes
		}
	}
	l.value = float64(total) / seconds
	l.parts = []part{{"no traffic", 0}}
	lost := netDropParts(n)
	if best != nil {
		l.row = best.Name.Bytes()
		l.parts[0].text = fmt.Sprintf("%s rx %s tx %s", clean(best.Name), byteRate(float64(best.RxBytes)/seconds), byteRate(float64(best.TxBytes)/seconds))
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
	if c := n.Coverage; c.Known > 1 {
		l.parts = append(l.parts, part{fmt.Sprintf("%d of %d netns", c.Covered, c.Known), 4})
	}
	l.series = series(f, sparkSamples, networkOf, func(n *collectors.Network) float64 { return hostBytes(n, &sums) })
	l.hi = max(most(l.series), leastNetScale)
	return l
}

// leastNetScale is the least top of the sparkline, in bytes a second: next to nothing is to look so.
const leastNetScale = 100e3

// netDropParts are what a sample lost, where it lost anything.
func netDropParts(n *collectors.Network) []part {
	var out []part
	var errors, drops float64
	per := make(map[uint64]float64, len(n.Spaces))
	for i := range n.Spaces {
		if s := n.Spaces[i].Seconds(); s > 0 {
			per[n.Spaces[i].ID] = 1 / s
		}
	}
	for i := range n.Ifaces {
		r := &n.Ifaces[i]
		errors += float64(r.RxErrors+r.TxErrors) * per[r.Space]
		drops += float64(r.RxDropped+r.TxDropped) * per[r.Space]
	}
	if drops > 0 {
		out = append(out, part{fmt.Sprintf("drop %s/s", widget.Short(drops)), 1})
	}
	if errors > 0 {
		out = append(out, part{fmt.Sprintf("err %s/s", widget.Short(errors)), 1})
	}
	if s := n.Seconds(); s > 0 && n.SoftnetAll.Dropped > 0 {
		out = append(out, part{fmt.Sprintf("softnet drop %s/s", widget.Short(float64(n.SoftnetAll.Dropped)/s)), 2})
	}
	full := 0.0
	for i := range n.Spaces {
		full += float64(n.Spaces[i].UDPReceiveFull) * per[n.Spaces[i].ID]
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
