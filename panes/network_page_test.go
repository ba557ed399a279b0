// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
)

// TestUsesIface: which connections are known to go over an interface.
func TestUsesIface(t *testing.T) {
	space := &netSpace{NetPlace: &collectors.NetPlace{Own: true}}
	add := func(index int32, kind collectors.LinkKind, up bool) *netIface {
		x := &netIface{space: space, link: &collectors.NetLink{Kind: kind, LinkFacts: collectors.LinkFacts{Index: index, Up: up}}}
		space.ifaces = append(space.ifaces, x)
		return x
	}
	lo, eth, down := add(1, collectors.LinkLoopback, true), add(2, collectors.LinkDevice, true), add(3, collectors.LinkDevice, false)
	socket := func(local, remote string, bound uint32) *collectors.SocketRow {
		return &collectors.SocketRow{SocketID: &collectors.SocketID{
			Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote), Interface: bound,
		}}
	}
	sockets := map[string]*collectors.SocketRow{
		"out":     socket("10.0.0.2:1", "10.9.9.9:80", 0),
		"within":  socket("127.0.0.1:1", "127.0.0.1:80", 0),
		"to self": socket("[::ffff:10.0.0.2]:1", "10.0.0.2:80", 0),
		"bound":   socket("10.0.0.2:1", "10.9.9.9:80", 3),
	}
	tests := []struct {
		name string
		of   *netIface
		up   bool // the third one
		want map[string]bool
	}{
		{"loopback", lo, false, map[string]bool{"within": true, "to self": true}},
		{"the only way out", eth, false, map[string]bool{"out": true}},
		{"one of two", eth, true, map[string]bool{}},
		{"bound to it", down, true, map[string]bool{"bound": true}},
	}
	for _, tt := range tests {
		down.link.Up = tt.up
		uses, how := usesIface(tt.of)
		got := map[string]bool{}
		for name, s := range sockets {
			if uses(s) {
				got[name] = true
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || how == "" {
			t.Errorf("%s, %q (-want +got):\n%s", tt.name, how, diff)
		}
	}
}

// TestIfaceDrops: of all drops those of the interface are listed, and in another namespace why none are.
func TestIfaceDrops(t *testing.T) {
	f := frames()["busy"]
	v := netOver(f)
	own := v.own()
	x := own.ifaces[0]
	for _, o := range own.ifaces {
		if o.link.Index == 2 {
			x = o
		}
	}
	p := newIfacePage(own, x.link)
	table := p.drops(f, p.parts.target)
	want := 0
	for _, o := range dropsOver(f).places {
		if o.Own && o.Ifindex == uint32(x.link.Index) {
			want++
		}
	}
	if len(table.Rows) != want || want == 0 || want == len(dropsOver(f).places) {
		t.Errorf("%d places of interface %d, want %d of %d", len(table.Rows), x.link.Index, want, len(dropsOver(f).places))
	}
	for _, s := range v.spaces {
		if s.Own || len(s.ifaces) == 0 {
			continue
		}
		other := newIfacePage(s, s.ifaces[0].link)
		if table := other.drops(f, other.parts.target); len(table.Rows) > 0 || len(table.Notes) == 0 {
			t.Errorf("in another namespace: %+v, want why there are none", table)
		}
		if table := other.connections(f, other.parts.target); len(table.Rows) > 0 || len(table.Notes) == 0 {
			t.Errorf("in another namespace: %+v, want why there are no connections", table)
		}
	}
}
