// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseNetDev(t *testing.T) {
	got, err := parseNetDev([]byte(devHeads+
		"    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"+
		"eth0:123 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"+
		"eth0:1:456 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	counts := func(first uint64) IfaceCounts {
		return IfaceCounts{first, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	}
	want := []devLine{{[]byte("lo"), counts(1)}, {[]byte("eth0"), counts(123)}, {[]byte("eth0:1"), counts(456)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parseNetDev (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "x\n", devHeads + "eth0: 1 2\n", devHeads + "eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 -1\n", devHeads + ":1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"} {
		if _, err := parseNetDev([]byte(bad), nil); !errors.Is(err, errFormat) {
			t.Errorf("parseNetDev(%q) = %v, want errFormat", bad, err)
		}
	}
}

func TestParseNetStack(t *testing.T) {
	var l stackLayout
	want := StackCounts{
		IPIn: 35218, IPInHeader: 1, IPForwarded: 2, IPInDiscards: 3, IPOutDiscards: 4, IPNoRoutes: 5, IPReasmFails: 6, IPFragFails: 7,
		UDPIn: 197, UDPOut: 199, UDPNoPort: 21, UDPInErrors: 22, UDPReceiveFull: 23, UDPSendFull: 24, UDPChecksum: 25, UDPMemory: 26,
		TCPActive: 11, TCPPassive: 12, TCPAttemptFails: 13, TCPEstabResets: 14, TCPIn: 16, TCPOut: 17, TCPRetrans: 18, TCPOutResets: 20,
	}
	for _, reading := range []string{"first", "with the layout learned"} {
		var c StackCounts
		if err := l.parse([]byte(snmpSample), &c); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, c); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reading, diff)
		}
	}
	c := want
	if err := l.parseSix([]byte("Ip6InReceives\t2\nIcmp6InMsgs 9\nUdp6RcvbufErrors\t4\nUdpLite6NoPorts 9\n"), &c); err != nil {
		t.Fatal(err)
	}
	want.IPIn, want.UDPReceiveFull = want.IPIn+2, want.UDPReceiveFull+4
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("IPv4 and IPv6 (-want +got):\n%s", diff)
	}
}

func TestParseSoftnet(t *testing.T) {
	row := func(columns int) string { // column i holds i+1
		var f []string
		for i := range columns {
			f = append(f, fmt.Sprintf("%08x", i+1))
		}
		return strings.Join(f, " ") + "\n"
	}
	tests := map[int]SoftnetCPU{
		9:  {Processed: 1, Dropped: 2, Squeezed: 3},
		10: {Processed: 1, Dropped: 2, Squeezed: 3, RPS: 10},
		11: {Processed: 1, Dropped: 2, Squeezed: 3, RPS: 10, FlowLimit: 11},
		13: {CPU: 13, Processed: 1, Dropped: 2, Squeezed: 3, RPS: 10, FlowLimit: 11, Backlog: 12},
		15: {CPU: 13, Processed: 1, Dropped: 2, Squeezed: 3, RPS: 10, FlowLimit: 11, Backlog: 12},
	}
	for columns, want := range tests {
		got, err := parseSoftnet([]byte(row(columns)), nil)
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%d columns: parseSoftnet = %+v, %v, want %+v", columns, got, err, want)
		}
	}
	if got, err := parseSoftnet([]byte(row(9)+row(9)), nil); err != nil || got[1].CPU != 1 {
		t.Errorf("two lines without numbers = %+v, %v, want CPUs 0 and 1", got, err)
	}
	for _, columns := range []int{0, 8, 65} {
		if _, err := parseSoftnet([]byte(row(columns)), nil); !errors.Is(err, errFormat) {
			t.Errorf("%d columns: %v, want errFormat", columns, err)
		}
	}
}

func TestDeriveIface(t *testing.T) {
	full := IfaceCounts{RxBytes: 1000, RxPackets: 10, TxBytes: 2000, TxPackets: 20, RxErrors: 1, RxDropped: 2}
	with := func(c IfaceCounts, change func(*IfaceCounts)) IfaceCounts { change(&c); return c }
	tests := map[string]struct {
		prev, cur, want IfaceCounts
		restarted       bool
	}{
		"nothing moved": {prev: full, cur: full},
		"grows":         {prev: full, cur: with(full, func(c *IfaceCounts) { c.RxBytes += 7; c.TxDropped = 3 }), want: IfaceCounts{RxBytes: 7, TxDropped: 3}},
		"began anew":    {prev: full, cur: IfaceCounts{RxBytes: 5, RxPackets: 1}, restarted: true},
		"one counter steps back": {
			prev: full, cur: with(full, func(c *IfaceCounts) { c.RxErrors = 0; c.RxBytes += 7 }), want: IfaceCounts{RxBytes: 7},
		},
		"bytes wrap at 32 bits": {
			prev: with(full, func(c *IfaceCounts) { c.RxBytes = 1<<32 - 100 }),
			cur:  with(full, func(c *IfaceCounts) { c.RxBytes = 50; c.RxPackets += 2 }), want: IfaceCounts{RxBytes: 150, RxPackets: 2},
		},
		"too far for a wrap": {
			prev: with(full, func(c *IfaceCounts) { c.RxBytes = 1 << 31 }),
			cur:  with(full, func(c *IfaceCounts) { c.RxBytes = 50; c.RxPackets += 2 }), want: IfaceCounts{RxPackets: 2},
		},
		"64 bits do not wrap at 32": {
			prev: with(full, func(c *IfaceCounts) { c.RxBytes = 1<<32 + 5 }),
			cur:  with(full, func(c *IfaceCounts) { c.RxBytes = 50; c.RxPackets += 2 }), want: IfaceCounts{RxPackets: 2},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, restarted := deriveIface(&tt.prev, &tt.cur)
			if diff := cmp.Diff(tt.want, got); diff != "" || restarted != tt.restarted {
				t.Errorf("deriveIface: restarted %v, want %v (-want +got):\n%s", restarted, tt.restarted, diff)
			}
		})
	}
}

// dev makes lines of /proc/net/dev: "eth0 100 1" is received bytes and packets.
func dev(lines ...string) []devLine {
	var out []devLine
	for _, l := range lines {
		var name string
		var c IfaceCounts
		if _, err := fmt.Sscan(l, &name, &c.RxBytes, &c.RxPackets); err != nil {
			panic(err)
		}
		out = append(out, devLine{[]byte(name), c})
	}
	return out
}

// said is what rows say: name, bytes, and what is special.
func said(rows []NetIface) []string {
	var out []string
	for _, r := range rows {
		s := fmt.Sprintf("%s %d", r.Name.Bytes(), r.RxBytes)
		if r.New {
			s += " new"
		}
		if r.Restarted {
			s += " restarted"
		}
		out = append(out, s)
	}
	return out
}

func TestDeriveSpace(t *testing.T) {
	tests := map[string]struct {
		was, is []devLine
		want    []string
		links   []string
	}{
		"one moves":            {dev("lo 1 1", "eth0 5 1"), dev("lo 1 1", "eth0 9 2"), []string{"eth0 4"}, []string{"lo", "eth0"}},
		"one comes at the end": {dev("lo 1 1"), dev("lo 2 2", "eth0 9 2"), []string{"lo 1", "eth0 0 new"}, []string{"lo", "eth0"}},
		"one comes before":     {dev("lo 1 1", "b 1 1"), dev("lo 1 1", "a 9 2", "b 3 2"), []string{"a 0 new", "b 2"}, []string{"lo", "a", "b"}},
		"the first goes":       {dev("a 1 1", "b 1 1", "c 1 1"), dev("b 2 2", "c 4 2"), []string{"b 1", "c 3"}, []string{"b", "c"}},
		"the last goes":        {dev("a 1 1", "b 1 1"), dev("a 2 2"), []string{"a 1"}, []string{"a"}},
		"all go":               {dev("a 1 1", "b 1 1"), nil, nil, nil},
		"renamed":              {dev("lo 1 1", "eth0 5 1"), dev("lo 1 1", "wan 9 2"), []string{"wan 0 new"}, []string{"lo", "wan"}},
		"made anew":            {dev("lo 1 1", "eth0 50 10"), dev("lo 1 1", "eth0 9 2"), []string{"eth0 0 restarted"}, []string{"lo", "eth0"}},
		"change places":        {dev("a 1 1", "b 1 1", "c 1 1"), dev("c 2 2", "a 3 2", "b 4 2"), []string{"c 1", "a 2", "b 3"}, []string{"c", "a", "b"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSpaceState(NetPlace{ID: 9})
			s.derive(tt.was, Span{}, nil)
			before := s.publish()
			old := slices.Clone(before.Links)
			if diff := cmp.Diff(tt.want, said(s.derive(tt.is, Span{0, time.Second}, nil))); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			var links []string
			for _, l := range s.publish().Links {
				links = append(links, l.Name.Bytes())
			}
			if diff := cmp.Diff(tt.links, links); diff != "" {
				t.Errorf("links (-want +got):\n%s", diff)
			}
			if !slices.Equal(old, before.Links) {
				t.Errorf("what was published is written: %v, was %v", before.Links, old)
			}
			// The next reading goes on from what is there now.
			for i := range tt.is {
				tt.is[i].RxBytes++
			}
			if got := s.derive(tt.is, Span{time.Second, 2 * time.Second}, nil); len(got) != len(tt.is) || len(got) > 0 && got[0].RxBytes != 1 {
				t.Errorf("one byte later: %v", said(got))
			}
		})
	}
}

func TestSinceSoftnet(t *testing.T) {
	prev := []SoftnetCPU{{CPU: 0, Processed: 1<<32 - 1, Dropped: 5}, {CPU: 2, Processed: 7, Squeezed: 1}}
	cur := []SoftnetCPU{{CPU: 0, Processed: 4, Dropped: 4}, {CPU: 1, Processed: 9, Backlog: 3}, {CPU: 2, Processed: 8, Squeezed: 3, Backlog: 1}}
	want := []SoftnetCPU{{CPU: 0, Processed: 5}, {CPU: 1, New: true, Backlog: 3}, {CPU: 2, Processed: 1, Squeezed: 2, Backlog: 1}}
	if diff := cmp.Diff(want, deriveSoftnet(prev, cur)); diff != "" {
		t.Errorf("deriveSoftnet (-want +got):\n%s", diff)
	}
	if got := sumSoftnet(want); got != (SoftnetCPU{CPU: -1, Processed: 6, Squeezed: 2, Backlog: 4}) {
		t.Errorf("sumSoftnet = %+v", got)
	}
}

func TestBusiestIfaces(t *testing.T) {
	var rows []NetIface
	for i := range maxIfaces + 50 {
		rows = append(rows, NetIface{NetLink: &NetLink{Name: RawString(fmt.Sprint(i))}, IfaceCounts: IfaceCounts{RxPackets: uint64(i), RxBytes: 1}})
	}
	rows[0].TxDropped = 1 // few packets, and one in trouble
	kept, rest, n := busiestIfaces(rows)
	if len(kept) != maxIfaces || n != 50 || rest.RxBytes != 50 || rest.RxPackets != 1275 {
		t.Errorf("kept %d, left out %d with %+v", len(kept), n, rest)
	}
	if kept[0].Name.Bytes() != "0" || kept[1].Name.Bytes() != "51" || kept[maxIfaces-1].Name.Bytes() != "249" {
		t.Errorf("kept %s %s … %s, want the one in trouble and the busiest, in their order", kept[0].Name, kept[1].Name, kept[maxIfaces-1].Name)
	}
}

func TestLinkKind(t *testing.T) {
	tests := map[string]struct {
		a    linkAnswer
		want LinkKind
	}{
		"lo":             {linkAnswer{Loopback: true}, LinkLoopback},
		"virtio":         {linkAnswer{Device: true}, LinkDevice},
		"veth":           {linkAnswer{LinkFacts: LinkFacts{Type: "veth", Lower: 3}}, LinkVeth},
		"bridge":         {linkAnswer{LinkFacts: LinkFacts{Type: "bridge"}}, LinkStacked},
		"vlan":           {linkAnswer{LinkFacts: LinkFacts{Type: "vlan", Lower: 2}}, LinkStacked},
		"of a new type":  {linkAnswer{LinkFacts: LinkFacts{Type: "new", Lower: 2}}, LinkStacked},
		"wireguard":      {linkAnswer{LinkFacts: LinkFacts{Type: "wireguard"}}, LinkVirtual},
		"its own lower":  {linkAnswer{LinkFacts: LinkFacts{Type: "dummy", Index: 4, Lower: 4}}, LinkVirtual},
		"device of bond": {linkAnswer{Device: true, LinkFacts: LinkFacts{Master: 9}}, LinkDevice},
	}
	for name, tt := range tests {
		if got := tt.a.kind(); got != tt.want {
			t.Errorf("%s: kind = %d, want %d", name, got, tt.want)
		}
	}
}

// netTree is a /proc with namespaces in it.
type netTree struct{ procTree }

func newNetTree(t testing.TB) netTree {
	return netTree{procTree{t, filepath.Join(t.TempDir(), "proc")}}
}

// line is one of /proc/net/dev.
func (p netTree) dev(dir string, lines ...string) {
	var b strings.Builder
	b.WriteString(devHeads)
	for _, l := range dev(lines...) {
		fmt.Fprintf(&b, "%6s: %d %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n", l.Name, l.RxBytes, l.RxPackets)
	}
	p.write(dir+"/net/dev", b.String())
}

// process makes a process; dir of another makes them share its namespace.
func (p netTree) process(pid, comm, shares string) {
	p.t.Helper()
	p.write(pid+"/comm", comm+"\n")
	if shares == "" {
		return
	}
	if err := os.Symlink("../"+shares+"/net", filepath.Join(p.root, pid, "net")); err != nil {
		p.t.Fatal(err)
	}
}

func (p netTree) remove(name string) {
	p.t.Helper()
	if err := os.RemoveAll(filepath.Join(p.root, name)); err != nil {
		p.t.Fatal(err)
	}
}

// own makes our own namespace.
func (p netTree) own() {
	p.dev("self", "lo 0 0", "eth0 1000 10")
	p.process("1", "init", "self")
	if err := os.Symlink("self/net", filepath.Join(p.root, "net")); err != nil {
		p.t.Fatal(err)
	}
	p.write("self/net/snmp", snmpSample)
	p.write("self/net/softnet_stat", "00000005 00000001 00000002 0 0 0 0 0 0\n")
	p.write("self/net/stat/nf_conntrack", "entries drop early_drop insert_failed\n0000000a 1 2 3\n0000000a 1 0 0\n")
	p.write("sys/net/netfilter/nf_conntrack_max", "262144\n")
}

func noLinks(linkQuestion) ([]linkAnswer, error) { return nil, nil }

func spaceNames(n *Network) []string {
	var out []string
	for _, s := range n.Spaces {
		out = append(out, s.Name.Bytes())
	}
	slices.Sort(out)
	return out
}
