// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// linkAnswer is one interface of our own namespace as rtnetlink and /sys/class/net see it.
type linkAnswer struct {
	Name     string
	Loopback bool
	Device   bool // there is a device behind it
	LinkFacts
	Missed uint64 // rx_missed_errors, cumulative
	Qdisc  uint64 // drops of its queue, cumulative
	peerNS int32  // number of the other end's namespace in ours, -1 for none
}

// linkQuestion is what the source is asked: which namespaces there are, by a process in each.
type linkQuestion struct{ spaces map[uint64]int32 }

// linkSource tells of the interfaces. It may take as long as the kernel's lock on interfaces is
// held: a driver that resets its device holds it for seconds.
type linkSource func(q linkQuestion) ([]linkAnswer, error)

// linkReader asks the source beside the collector, which never waits for it.
type linkReader struct {
	source linkSource
	aside  aside[[]linkAnswer]
	next   time.Duration
	known  bool // there was an answer
	err    error
	since  time.Duration // how long the open question has been waiting, at the last poll
}

// slowLinks is when an answer that does not come is worth a word.
const slowLinks = 3 * time.Second

func newLinkReader(source linkSource) *linkReader { return &linkReader{source: source} }

// poll takes an answer that has come, and asks when it is time to.
func (r *linkReader) poll(ctx context.Context, now time.Duration, own *ownSpace, others *otherSpaces) {
	if answers, err := r.aside.take(ctx, 0); !errors.Is(err, errNoAnswer) {
		if r.err = err; err == nil {
			own.apply(answers)
			r.known = true
		}
	}
	if r.aside.open() {
		r.since = now - r.aside.began
		return
	}
	if r.since = 0; now < r.next {
		return
	}
	r.next = now + linksEvery
	q := linkQuestion{spaces: make(map[uint64]int32, len(others.spaces))}
	for id, x := range others.spaces {
		if x.pid != 0 {
			q.spaces[id] = x.pid
		}
	}
	r.aside.ask(now, func() ([]linkAnswer, error) { return r.source(q) })
}

func (r *linkReader) reset() { r.next, r.known, r.err = 0, false, nil }

func (r *linkReader) probe(p *Probe) {
	switch {
	case r.since >= slowLinks:
		p.State, p.Reason = Degraded, fmt.Sprintf("no answer for %.0f s: the kernel's lock on interfaces is held", r.since.Seconds())
	case r.err != nil:
		p.State, p.Reason = Off, clean(r.err.Error())
	case !r.known:
		p.State, p.Reason = Warming, "not answered yet"
	}
}

// apply brings what is known of the interfaces up to the answers.
func (o *ownSpace) apply(answers []linkAnswer) {
	at := make(map[string]int, len(o.links))
	for i := range o.links {
		at[o.links[i].link.Name.s] = i
	}
	for k := range answers {
		a := &answers[k]
		i, ok := at[a.Name]
		if !ok {
			continue
		}
		l := &o.links[i]
		if l.asked && a.Index == l.link.Index {
			l.missedDelta += sinceWrapped(l.missed, a.Missed)
			l.qdiscDel += sinceWrapped(l.qdisc, a.Qdisc)
		}
		l.missed, l.qdisc, l.asked = a.Missed, a.Qdisc, true
		if kind := a.kind(); l.link.Kind != kind || l.link.LinkFacts != a.LinkFacts {
			l.link = &NetLink{Space: l.link.Space, Name: l.link.Name, Kind: kind, LinkFacts: a.LinkFacts}
			o.moved = true
		}
	}
}

// kind is what the interface is for sums.
func (a *linkAnswer) kind() LinkKind {
	switch {
	case a.Loopback:
		return LinkLoopback
	case a.Device:
		return LinkDevice
	case a.Type == "veth" || a.Type == "netkit":
		return LinkVeth
	case a.Lower != 0 && a.Lower != a.Index:
		return LinkStacked // vlan, macvlan, ipvlan, …
	}
	switch a.Type {
	case "bond", "bridge", "team", "vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "vrf", "openvswitch", "vxlan", "geneve", "batadv", "hsr", "macsec":
		return LinkStacked
	}
	return LinkVirtual
}

// newLinkSource returns the source that asks the kernel. /sys shows the namespace that it was
// mounted in, which need not be ours: an interface whose number differs there is somebody else's.
func newLinkSource(fs FS) linkSource {
	sys := filepath.Join(filepath.Dir(fs.root), "sys", "class", "net")
	return func(q linkQuestion) ([]linkAnswer, error) {
		if fs.root != "/proc" { // a copy of a tree is of another host
			return nil, errors.New("rtnetlink tells of this host only")
		}
		answers, err := askLinks(q)
		if err != nil {
			return nil, err
		}
		for i := range answers {
			readSysLink(sys, &answers[i])
		}
		return answers, nil
	}
}

// readSysLink adds what only /sys/class/net tells. speed and duplex ask the driver, so they are
// read of devices only, and of bonds, which sum theirs; a veth says 10000 and means nothing.
func readSysLink(sys string, a *linkAnswer) {
	if a.Name == "" || a.Name == "." || a.Name == ".." || filepath.Base(a.Name) != a.Name {
		return
	}
	dir := filepath.Join(sys, a.Name)
	if n, ok := sysNumber(dir, "ifindex"); !ok || n != uint64(a.Index) {
		return
	}
	if driver, err := os.Readlink(filepath.Join(dir, "device", "driver")); err == nil {
		a.Device, a.Driver = true, clean(filepath.Base(driver))
	} else if _, err := os.Lstat(filepath.Join(dir, "device")); err == nil {
		a.Device = true
	}
	if !a.Device && a.Type != "bond" && a.Type != "team" && a.Type != "vlan" {
		return
	}
	const unknown = 1<<32 - 1 // SPEED_UNKNOWN as some drivers print it
	if n, ok := sysNumber(dir, "speed"); ok && n < unknown {
		a.Speed = n
	}
	if b, err := os.ReadFile(filepath.Join(dir, "duplex")); err == nil {
		a.Half = string(b) == "half\n"
	}
}

// sysNumber reads a file of one number. -1, as speed is where it is unknown, is none.
func sysNumber(dir, name string) (uint64, bool) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0, false
	}
	line, _ := cutLine(b)
	return parseUint(line)
}
