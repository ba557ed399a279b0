// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
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

func TestNetworkCollector(t *testing.T) {
	tree := newNetTree(t)
	tree.own()
	c := newNetwork(NewFS(tree.root), noLinks)
	start(t, c)
	if p := c.Probes(); p[0].State != Warming {
		t.Errorf("Probes before the first reading = %+v, want warming", p[0])
	}
	first := collectAs[*Network](t, c, 3*time.Second)
	if first.Seconds() != 0 || len(first.Spaces) != 1 || !first.Spaces[0].Own || len(first.Spaces[0].Links) != 2 {
		t.Errorf("first sample = %+v", first)
	}
	if len(first.Ifaces) != 1 || first.Ifaces[0].RxBytes != 0 || first.Ifaces[0].Total.RxBytes != 1000 || first.Ifaces[0].New {
		t.Errorf("rows of the first sample = %+v, want the totals of eth0", first.Ifaces)
	}
	if ct := first.Spaces[0].Conntrack; ct != (Conntrack{Known: true, Entries: 10}) || first.ConntrackMax != 262144 {
		t.Errorf("conntrack = %+v of %d, want 10 of 262144 and no deltas", ct, first.ConntrackMax)
	}

	tree.dev("self", "lo 0 0", "eth0 4000 13")
	tree.write("self/net/snmp", strings.ReplaceAll(snmpSample, "197 21 22", "198 21 29"))
	tree.write("self/net/snmp6", "Udp6InErrors 2\n")
	tree.write("self/net/softnet_stat", "00000009 00000001 00000003 0 0 0 0 0 0\n")
	tree.write("self/net/stat/nf_conntrack", "entries drop early_drop insert_failed\n0000000c 4 2 3\n0000000c 1 0 0\n")
	s := collectAs[*Network](t, c, 5*time.Second)
	if s.Span != (Span{3 * time.Second, 5 * time.Second}) || len(s.Ifaces) != 1 || s.Ifaces[0].IfaceCounts != (IfaceCounts{RxBytes: 3000, RxPackets: 3}) {
		t.Errorf("second sample = %+v, rows %+v", s.Span, s.Ifaces)
	}
	if got, want := s.Spaces[0].StackCounts, (StackCounts{UDPIn: 1, UDPInErrors: 9}); got != want {
		t.Errorf("protocols = %+v, want %+v", got, want)
	}
	if s.Spaces[0].NetPlace != first.Spaces[0].NetPlace {
		t.Error("nothing came or went, and the namespace was published anew")
	}
	if !s.SoftnetKnown || s.SoftnetAll.Processed != 4 || s.SoftnetAll.Squeezed != 1 || s.SoftnetAll.Dropped != 0 {
		t.Errorf("softnet = %+v", s.SoftnetAll)
	}
	if ct := s.Spaces[0].Conntrack; ct != (Conntrack{Known: true, Entries: 12, Drop: 3}) {
		t.Errorf("conntrack = %+v, want 12 entries and 3 drops", ct)
	}

	// Each file takes away its own numbers only, and what it missed is not made up for in one span.
	tree.write("self/net/snmp", "Udp")
	tree.write("self/net/softnet_stat", "zz")
	tree.write("self/net/stat/nf_conntrack", "zz")
	if s = collectAs[*Network](t, c, 6*time.Second); s.Spaces[0].StackKnown || s.SoftnetKnown || s.Spaces[0].Conntrack.Known {
		t.Errorf("without files = %+v", s)
	}
	states := make(map[string]State)
	for _, p := range c.Probes() {
		states[p.Name] = p.State
		if p.State == Off && p.Reason == "" {
			t.Errorf("%s is off without a reason", p.Name)
		}
	}
	if states["sar DEV"] != On || states["sar UDP"] != Off || states["softnet"] != Off {
		t.Errorf("states = %v", states)
	}
	tree.write("self/net/snmp", strings.ReplaceAll(snmpSample, "197", "900"))
	tree.write("self/net/softnet_stat", "00000109 00000001 00000003 0 0 0 0 0 0\n")
	if s = collectAs[*Network](t, c, 7*time.Second); s.Spaces[0].UDPIn != 0 || !s.Spaces[0].StackKnown || s.SoftnetAll.Processed != 0 {
		t.Errorf("after a gap = %+v, %+v, want baselines", s.Spaces[0].StackCounts, s.SoftnetAll)
	}

	tree.write("self/net/dev", "half")
	if _, err := c.Collect(context.Background(), 8*time.Second); err == nil {
		t.Error("Collect of half a file succeeds")
	}
	if p := c.Probes(); p[0].State != Failed || p[len(p)-1].State != Failed {
		t.Errorf("Probes after an error = %+v, want failed", p)
	}
	tree.dev("self", "lo 0 0", "eth0 4500 14")
	if s = collectAs[*Network](t, c, 9*time.Second); s.From != 7*time.Second || s.Ifaces[0].RxBytes != 500 {
		t.Errorf("after an error = %+v, want the span from 7 s", s)
	}
}

func TestNamespaces(t *testing.T) {
	tree := newNetTree(t)
	tree.own()
	tree.dev("100", "lo 0 0", "eth0 10 1")
	tree.process("100", "pause", "")
	tree.process("101", "nginx", "100")
	tree.dev("200", "lo 5 5")
	tree.process("200", "redis", "")
	tree.write("200/net/snmp", snmpSample)
	tree.write("200/net/netstat", "TcpExt: ListenOverflows ListenDrops\nTcpExt: 5 6\n")
	c := newNetwork(NewFS(tree.root), noLinks)
	start(t, c)
	now := time.Duration(0)
	tick := func() *Network {
		s := collectAs[*Network](t, c, now)
		now += time.Second
		return s
	}
	tick()
	s := tick()
	if diff := cmp.Diff([]string{"", "pause[100]", "redis[200]"}, spaceNames(s)); diff != "" {
		t.Fatalf("namespaces (-want +got):\n%s", diff)
	}
	if s = tick(); s.Coverage != (Coverage{Known: 3, Covered: 3, Complete: true}) || len(s.Spaces) != 1 {
		t.Errorf("third tick: %+v, %d namespaces read; want 3 covered and only our own read", s.Coverage, len(s.Spaces))
	}
	for len(s.Spaces) == 1 && now < 20*time.Second {
		tree.dev("100", "lo 0 0", "eth0 70 3")
		tree.dev("200", "lo 9 9") // where no packet moved the protocols are not read
		tree.write("200/net/netstat", "TcpExt: ListenOverflows ListenDrops\nTcpExt: 5 8\n")
		s = tick()
	}
	if s.To != 6*time.Second || len(s.Spaces) < 2 || s.Spaces[1].Span != (Span{time.Second, 6 * time.Second}) {
		t.Errorf("read again = %+v, want all of them after five seconds", s.Spaces)
	}
	if diff := cmp.Diff([]string{"eth0 60"}, said(s.Ifaces)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	var drops uint64
	for now < 18*time.Second { // the second one's turn may be a tick later, and there is nothing new after
		for _, sp := range s.Spaces {
			if sp.Name.Bytes() == "redis[200]" {
				drops += sp.TCPListenDrops
				if !sp.TCPExt || !sp.StackKnown || sp.TCPListenOverflows != 0 {
					t.Errorf("redis' netstat = %+v", sp)
				}
			}
		}
		s = tick()
	}
	if drops != 2 {
		t.Errorf("redis' listener dropped %d, want 2", drops)
	}

	// The process a namespace is read through goes: another of the same takes its place.
	if err := os.Rename(filepath.Join(tree.root, "100", "net"), filepath.Join(tree.root, "101", "real")); err != nil {
		t.Fatal(err)
	}
	tree.remove("100")
	tree.remove("101/net")
	if err := os.Rename(filepath.Join(tree.root, "101", "real"), filepath.Join(tree.root, "101", "net")); err != nil {
		t.Fatal(err)
	}
	seen := false
	for range 6 {
		s = tick()
		seen = seen || slices.Contains(spaceNames(s), "nginx[101]")
	}
	if !seen || s.Coverage.Known != 3 {
		t.Errorf("after its process went the namespace is not read through the other: %v, %+v", spaceNames(s), s.Coverage)
	}

	// A number that another process got is not taken for the namespace it stood for.
	tree.remove("200")
	tree.process("200", "cron", "self")
	for range 12 {
		if s = tick(); slices.Contains(spaceNames(s), "redis[200]") || slices.Contains(spaceNames(s), "cron[200]") {
			t.Fatalf("a namespace is read through a process that is not in it: %v", spaceNames(s))
		}
	}
	if s.Coverage != (Coverage{Known: 2, Covered: 2, Complete: true}) {
		t.Errorf("after its last process went: %+v, want 2 of 2", s.Coverage)
	}
}

// With more namespaces than are read the busiest stay, and each of the rest has its turn.
func TestManyNamespaces(t *testing.T) {
	tree := newNetTree(t)
	tree.own()
	const n = 3 * maxSpaces
	for i := range n {
		tree.dev(fmt.Sprint(1000+i), "eth0 10 1")
		tree.process(fmt.Sprint(1000+i), "x", "")
	}
	c := newNetwork(NewFS(tree.root), noLinks)
	start(t, c)
	reads, most := make(map[string]int), 0
	var s *Network
	for i := range 200 {
		for _, busy := range []int{1100, 1101} {
			tree.dev(fmt.Sprint(busy), fmt.Sprintf("eth0 %d %d", 1000*i+10, 1000*i+10))
		}
		s = collectAs[*Network](t, c, time.Duration(i)*time.Second)
		most = max(most, len(s.Spaces))
		for _, sp := range s.Spaces {
			reads[sp.Name.Bytes()]++
		}
	}
	if s.Coverage.Known != n+1 || s.Coverage.Covered != maxSpaces {
		t.Errorf("coverage = %+v, want %d of %d", s.Coverage, maxSpaces, n+1)
	}
	if len(reads) != n+1 {
		t.Errorf("%d namespaces were ever read, want all %d", len(reads), n+1)
	}
	if most > 1+firstReads+maxSpaces/5+1 {
		t.Errorf("%d namespaces were read at one tick, want them spread", most)
	}
	for _, busy := range []string{"x[1100]", "x[1101]"} {
		if reads[busy] < 25 {
			t.Errorf("busy %s was read %d times in 200 s, want about 30 at least", busy, reads[busy])
		}
	}
	if p := c.Probes(); p[len(p)-1].State != Degraded || !strings.Contains(p[len(p)-1].Reason, "64 of 193") {
		t.Errorf("probe = %+v, want degraded with 64 of 193", p[len(p)-1])
	}
}

// An answer that does not come never holds the collector, and is told of.
func TestLinksStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := newNetTree(t)
		tree.own()
		release := make(chan struct{})
		missed := uint64(5)
		c := newNetwork(NewFS(tree.root), func(linkQuestion) ([]linkAnswer, error) {
			<-release
			missed += 7
			return []linkAnswer{{Name: "eth0", Device: true, LinkFacts: LinkFacts{Index: 2, Speed: 1000}, Missed: missed}}, nil
		})
		start(t, c)
		link := func(s *Network) *NetLink { return s.Spaces[0].Links[1] }
		probe := func() Probe { return c.Probes()[4] }
		for i := range 5 {
			if s := collectAs[*Network](t, c, time.Duration(i)*time.Second); link(s).Speed != 0 {
				t.Fatal("an answer before there was one")
			}
		}
		if p := probe(); p.State != Degraded || !strings.Contains(p.Reason, "no answer for 4 s") {
			t.Errorf("stuck: %+v", p)
		}
		close(release)
		var total uint64
		var s *Network
		for now := 5 * time.Second; now < 30*time.Second; now += time.Second {
			synctest.Wait() // for the goroutine that asks
			s = collectAs[*Network](t, c, now)
			for _, r := range s.Ifaces {
				total += r.Missed
			}
		}
		if link(s).Speed != 1000 || link(s).Kind != LinkDevice || probe().State != On {
			t.Errorf("answered: %+v, %+v", link(s), probe())
		}
		if total != 14 {
			t.Errorf("missed = %d, want 14: two answers after the first", total)
		}
	})
}

func TestNetworkThin(t *testing.T) {
	n := &Network{
		Spaces:  make([]NetSpace, 3),
		Ifaces:  []NetIface{{NetLink: &NetLink{Kind: LinkDevice}}, {NetLink: &NetLink{Kind: LinkVeth}}},
		Softnet: make([]SoftnetCPU, 2),
	}
	s := &Snapshot{Network: n}
	thin := s.WithoutRows().WithoutCPUs()
	if len(thin.Network.Spaces) != 1 || len(thin.Network.Ifaces) != 1 || thin.Network.Softnet != nil {
		t.Errorf("thinned = %+v", thin.Network)
	}
	if thin.WithoutRows() != thin || thin.WithoutCPUs() != thin {
		t.Error("thinned twice is another copy")
	}
	if len(n.Spaces) != 3 || len(n.Ifaces) != 2 || len(n.Softnet) != 2 || s.Network != n {
		t.Error("thinning wrote to the sample")
	}
}

func BenchmarkCollectNetwork(b *testing.B) { benchmarkCollect(b, NewNetwork(NewFS(""))) }

func TestInContainer(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	tests := map[string]struct {
		in, want string
	}{
		"a container":           {"0::/system.slice/docker-" + id + ".scope\n", "docker:0123456789ab"},
		"one of a pod's":        {"0::/kubepods.slice/kubepods-pod0e2a1b3c_9d8e_4f70_8123_456789abcdef.slice/cri-containerd-" + id + ".scope\n", "pod:0e2a1b3c"},
		"a service":             {"0::/system.slice/nginx.service\n", ""},
		"somebody's session":    {"0::/user.slice/user-1000.slice/session-3.scope\n", ""},
		"nothing but the root":  {"0::/\n", ""},
		"an unreadable answer":  {"", ""},
		"v1, by its controller": {"4:memory:/docker/" + id + "\n0::/\n", "docker:0123456789ab"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := inContainer([]byte(tt.in))
			if got != tt.want || ok != (tt.want != "") {
				t.Errorf("inContainer(%q) = %q, %t, want %q", tt.in, got, ok, tt.want)
			}
		})
	}
}
