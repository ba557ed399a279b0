// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/triage"
)

func TestUtilisation(t *testing.T) {
	counts := collectors.IfaceCounts{RxBytes: 2 * 12_500_000, TxBytes: 2 * 25_000_000}
	tests := map[string]struct {
		facts   collectors.LinkFacts
		seconds float64
		want    float64
	}{
		"full duplex is the busier direction": {collectors.LinkFacts{Speed: 1000}, 2, 20},
		"half duplex is both":                 {collectors.LinkFacts{Speed: 1000, Half: true}, 2, 30},
		"no speed":                            {collectors.LinkFacts{}, 2, math.NaN()},
		"no time":                             {collectors.LinkFacts{Speed: 1000}, 0, math.NaN()},
	}
	for name, tt := range tests {
		got := utilisation(&collectors.NetLink{LinkFacts: tt.facts}, &counts, tt.seconds)
		if got != tt.want && !(math.IsNaN(got) && math.IsNaN(tt.want)) {
			t.Errorf("%s: utilisation = %v, want %v", name, got, tt.want)
		}
	}
}

func TestByteRate(t *testing.T) {
	for v, want := range map[float64]string{0: "0 B/s", 480: "480 B/s", 1234: "1.2 kB/s", 12.1e6: "12.1 MB/s", 49.5e9: "49.5 GB/s"} {
		if got := byteRate(v); got != want {
			t.Errorf("byteRate(%v) = %q, want %q", v, got, want)
		}
	}
}

func link(space uint64, name string, kind collectors.LinkKind) *collectors.NetLink {
	return &collectors.NetLink{Space: space, Name: collectors.RawString(name), Kind: kind}
}

// A packet on its way to a container is on four interfaces, and counts once.
func TestSums(t *testing.T) {
	const own = 7
	count := collectors.IfaceCounts{RxBytes: 100, TxBytes: 10}
	tests := map[string]struct {
		links []*collectors.NetLink
		want  uint64
	}{
		"host": {[]*collectors.NetLink{
			link(own, "lo", collectors.LinkLoopback), link(own, "eth0", collectors.LinkDevice), link(own, "bond0", collectors.LinkStacked),
			link(own, "br0", collectors.LinkStacked), link(own, "veth1", collectors.LinkVeth), link(own, "tun0", collectors.LinkVirtual),
		}, 110},
		"container": {[]*collectors.NetLink{
			link(own, "lo", collectors.LinkLoopback), link(own, "eth0", collectors.LinkVeth), link(own, "eth0.5", collectors.LinkStacked),
		}, 110},
		"nothing is known yet": {[]*collectors.NetLink{link(own, "lo", collectors.LinkLoopback), link(own, "eth0", collectors.LinkUnknown)}, 110},
	}
	for name, tt := range tests {
		n := &collectors.Network{Span: collectors.Span{To: time.Second}}
		n.Spaces = []collectors.NetSpace{{Span: n.Span, NetPlace: &collectors.NetPlace{ID: own, Own: true, Links: tt.links}}}
		for _, l := range tt.links {
			n.Ifaces = append(n.Ifaces, collectors.NetIface{NetLink: l, IfaceCounts: count})
		}
		m := triage.Moment{Snapshot: &collectors.Snapshot{Network: n}}
		f := Frame{Now: m, Past: []triage.Moment{m}}
		sum := netOver(f).own().sum()
		if got := bothBytes(&sum); got != tt.want {
			t.Errorf("%s: sum = %d, want %d", name, got, tt.want)
		}
		if l := sarDevLine(f); l.value != float64(tt.want) {
			t.Errorf("%s: the line says %v, want %d", name, l.value, tt.want)
		}
	}
}

// turns is ten seconds of our own namespace, and another that is read at 3 and 8 s.
func turns() Frame {
	own := &collectors.NetPlace{ID: 7, Own: true, Links: []*collectors.NetLink{link(7, "eth0", collectors.LinkDevice), link(7, "idle0", collectors.LinkVirtual)}}
	pod := &collectors.NetPlace{ID: 9, Name: collectors.RawString("pod"), PID: 3, Links: []*collectors.NetLink{link(9, "eth0", 0)}}
	var f Frame
	for i := range 11 {
		at := time.Duration(i) * time.Second
		n := &collectors.Network{Span: collectors.Span{From: max(at-time.Second, 0), To: at}}
		n.Spaces = []collectors.NetSpace{{Span: n.Span, NetPlace: own, StackKnown: true}}
		if i > 0 {
			n.Ifaces = []collectors.NetIface{{NetLink: own.Links[0], IfaceCounts: collectors.IfaceCounts{RxPackets: uint64(i)}}}
			n.Spaces[0].UDPNoPort = 2
		}
		if i == 3 || i == 8 {
			span := collectors.Span{From: at, To: at}
			if i == 8 {
				span.From = 3 * time.Second
				n.Ifaces = append(n.Ifaces, collectors.NetIface{NetLink: pod.Links[0], IfaceCounts: collectors.IfaceCounts{RxPackets: 50}, Missed: 0})
			}
			n.Spaces = append(n.Spaces, collectors.NetSpace{Span: span, NetPlace: pod, StackKnown: true})
		}
		f.Past = append(f.Past, triage.Moment{Snapshot: &collectors.Snapshot{At: at, Network: n}})
	}
	f.Now = f.Past[len(f.Past)-1]
	return f
}

func packets(f Frame) map[string]float64 {
	out := make(map[string]float64)
	for _, s := range netOver(f).spaces {
		for _, x := range s.ifaces {
			out[s.name()+"/"+x.link.Name.Bytes()] = ratePer(x.counts.RxPackets, s.seconds)
		}
	}
	return out
}

// Each namespace is shown over its own last reading, however long ago that is; summed over a span
// each is divided by the time that it was watched.
func TestNamespacesInTurn(t *testing.T) {
	f := turns()
	if diff := cmp.Diff(map[string]float64{"-/eth0": 10, "-/idle0": 0, "pod/eth0": 10}, packets(f)); diff != "" {
		t.Errorf("now (-want +got):\n%s", diff)
	}
	early := Frame{Past: f.Past[:7], Now: f.Past[6]}
	if diff := cmp.Diff(map[string]float64{"-/eth0": 6, "-/idle0": 0, "pod/eth0": 0}, packets(early)); diff != "" {
		t.Errorf("at 6 s (-want +got):\n%s", diff)
	}
	f.Span = 10 * time.Second
	if diff := cmp.Diff(map[string]float64{"-/eth0": 5.5, "-/idle0": 0, "pod/eth0": 10}, packets(f)); diff != "" {
		t.Errorf("over the run (-want +got):\n%s", diff)
	}
	if own := netOver(f).own(); own.stack.UDPNoPort != 20 || own.seconds != 10 {
		t.Errorf("over the run %d datagrams in %v s, want 20 in 10", own.stack.UDPNoPort, own.seconds)
	}
}

func TestIfaceSeries(t *testing.T) {
	f := turns()
	own, pod, idle := netKey{7, "eth0"}, netKey{9, "eth0"}, netKey{7, "idle0"}
	rx := func(c *collectors.IfaceCounts) uint64 { return c.RxPackets }
	get := ifaceSeries(f, 4, []netKey{own, pod, idle}, rx)
	if diff := cmp.Diff([]float64{7, 8, 9, 10}, get(own)); diff != "" {
		t.Errorf("our own (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]float64{0, 0, 0, 0}, get(idle)); diff != "" {
		t.Errorf("an idle one (-want +got):\n%s", diff)
	}
	if got := get(pod); len(got) != 2 || !math.IsNaN(got[0]) || got[1] != 10 {
		t.Errorf("one that is read in turn = %v, want a gap and 10", got)
	}
}

func TestNetworkFlows(t *testing.T) {
	tests := map[string]struct {
		keys       []string
		want, lack []string
	}{
		"starts with the interfaces": {[]string{"6"}, []string{"rxpck/s", "3 of 3 netns", ">eth0", "pod:0e2a1b3", "5 idle"}, []string{"eth1", "rxfifo/s"}},
		"errors":                     {[]string{"6", "v"}, []string{"rxdrop/s", "rxmiss/s", "v softnet"}, []string{"rxpck/s"}},
		"softnet":                    {[]string{"6", "v", "v"}, []string{"squeezd/s", "> all"}, []string{"IFACE"}},
		"namespaces":                 {[]string{"6", "v", "v", "v"}, []string{"our own", "docker:5e0c6f3a8a0e", "retrseg/s"}, nil},
		"v comes round":              {[]string{"6", "v", "v", "v", "v"}, []string{"rxpck/s"}, nil},
		"idle ones on demand":        {[]string{"6", "z"}, []string{"eth1", "veth99aa"}, []string{"5 idle"}},
		"the page of an interface":   {[]string{"6", "enter"}, []string{"› eth0", "virtio_net", "1000 Mbit/s", "rx_bytes", "tx ── 2.3 MB/s"}, nil},
		"the other end of a pair":    {[]string{"6", "j", "enter"}, []string{"› pod:0e2a1b3c/4f00aa11bb22/eth0", "other end veth7c1f"}, nil},
		"its bridge and its pod":     {[]string{"6", "j", "j", "enter"}, []string{"› veth7c1f", "in cni0", "other end pod:0e2a1b3c/4f00aa11bb22/eth0"}, nil},
		"the page of a namespace":    {[]string{"6", "v", "v", "v", "j", "enter"}, []string{"pid 812", "retrseg", "passive"}, nil},
		"esc keeps the row":          {[]string{"6", "j", "j", "enter", "esc"}, []string{">veth7c1f"}, nil},
		"sorts":                      {[]string{"6", ">", ">"}, []string{"↓rxpck/s"}, nil},
		"the checklist leads there":  {[]string{"row sar DEV", "enter"}, []string{">eth0", "[6 Net]"}, nil},
	}
	f := busyStory(91).frame()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := resize(root(f), 80, 24)
			press(r, tt.keys...)
			out := strings.Join(look(r), "\n")
			for _, w := range tt.want {
				if !strings.Contains(out, w) {
					t.Errorf("the screen lacks %q:\n%s", w, out)
				}
			}
			for _, l := range tt.lack {
				if strings.Contains(out, l) {
					t.Errorf("the screen holds %q:\n%s", l, out)
				}
			}
		})
	}
}

// What is not known is not 0: each such cell has a reason.
func TestNetworkMissing(t *testing.T) {
	for name, f := range frames() {
		v := netOver(f)
		if v == nil {
			continue
		}
		for _, table := range []Table{NewNetwork().Table(f), spacesTable(v), softnetTable(v)} {
			for _, r := range table.Rows {
				if len(r.Cells) != len(table.Columns) {
					t.Fatalf("%s: row %q of %s has %d cells, want %d", name, r.ID, table.Title, len(r.Cells), len(table.Columns))
				}
				for i, c := range r.Cells {
					if !c.Known() && c.Why == "" {
						t.Errorf("%s: %s of %q in %s is missing without a reason", name, table.Columns[i].ID, r.ID, table.Title)
					}
				}
			}
		}
	}
}

func TestThinnedNetwork(t *testing.T) {
	s := busyStory(40)
	for i := range s.moments {
		s.moments[i].Snapshot = s.moments[i].WithoutRows()
	}
	for _, x := range netOver(s.frame()).own().ifaces {
		cell := ifaceCells(s.frame(), x, netColumns()).Cells[1]
		if device := x.link.Kind == collectors.LinkDevice; cell.Known() != device {
			t.Errorf("%s after its rows were given up: known %v, want %v", x.link.Name.Bytes(), cell.Known(), device)
		}
	}
}
