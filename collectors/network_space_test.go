// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
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

// A reading is a baseline for the next at every interval, and not for one long after.
func TestNamespacesAtIntervals(t *testing.T) {
	tests := map[string]struct {
		every, pause time.Duration
		want         uint64 // moved in the second reading
	}{
		"5 s":              {5 * time.Second, 0, 60},
		"16 s":             {16 * time.Second, 0, 60},
		"60 s":             {time.Minute, 0, 60},
		"gone for a while": {5 * time.Second, time.Minute, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tree := newNetTree(t)
			tree.own()
			tree.dev("100", "eth0 10 1")
			tree.process("100", "pause", "")
			c := newNetwork(NewFS(tree.root), noLinks)
			start(t, c)
			collectAs[*Network](t, c, 0)
			now := tt.every
			collectAs[*Network](t, c, now)
			if tt.pause > 0 { // its process cannot be found for a while
				if err := os.Rename(filepath.Join(tree.root, "100", "net"), filepath.Join(tree.root, "away")); err != nil {
					t.Fatal(err)
				}
				for range tt.pause / tt.every {
					now += tt.every
					collectAs[*Network](t, c, now)
				}
				if err := os.Rename(filepath.Join(tree.root, "away"), filepath.Join(tree.root, "100", "net")); err != nil {
					t.Fatal(err)
				}
			}
			tree.dev("100", "eth0 70 3")
			now += tt.every
			s := collectAs[*Network](t, c, now)
			var moved uint64
			for _, r := range s.Ifaces {
				moved += r.RxBytes
			}
			if moved != tt.want {
				t.Errorf("moved %d bytes, want %d: %+v", moved, tt.want, s.Spaces)
			}
		})
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
	// In which order the rest is read the inodes decide: two readings of each, 8 every 5 s, take 170 s at the
	// most. Who is busy is known then.
	const known, ticks = 200, 400
	var busyReads [2]int
	for i := range ticks {
		for _, busy := range []int{1100, 1101} {
			tree.dev(fmt.Sprint(busy), fmt.Sprintf("eth0 %d %d", 1000*i+10, 1000*i+10))
		}
		s = collectAs[*Network](t, c, time.Duration(i)*time.Second)
		most = max(most, len(s.Spaces))
		for _, sp := range s.Spaces {
			reads[sp.Name.Bytes()]++
			if at := slices.Index([]string{"x[1100]", "x[1101]"}, sp.Name.Bytes()); at >= 0 && i >= known {
				busyReads[at]++
			}
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
	// What is looked at in turn takes its readings from the same budget: a turn comes every 5 to 6 s.
	if turns := (ticks - known) / 6; busyReads[0] < turns-2 || busyReads[1] < turns-2 {
		t.Errorf("the two busy ones were read %v times, want %d at least", busyReads, turns)
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
