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

// TestInDiscards: bad headers are a column of their own, as in sar -n IP and EIP.
func TestInDiscards(t *testing.T) {
	s := &netSpace{NetPlace: &collectors.NetPlace{}, known: true, seconds: 2}
	s.stack = collectors.StackCounts{IPInDiscards: 6, IPInHeader: 8}
	got := map[string]string{}
	for _, c := range stackColumns() {
		got[c.id] = stackCell(s, c).Format(1)
	}
	if got["idisc/s"] != "3.0" || got["ihdrerr/s"] != "4.0" {
		t.Errorf("idisc/s %s, ihdrerr/s %s; want 3.0 and 4.0", got["idisc/s"], got["ihdrerr/s"])
	}
}

func TestByteRate(t *testing.T) {
	for v, want := range map[float64]string{0: "0 B/s", 480: "480 B/s", 1000: "1.0 kB/s", 1234: "1.2 kB/s", 399770: "390.4 kB/s", 1023949: "1.0 MB/s", 12.1e6: "11.5 MB/s", 49.5e9: "46.1 GB/s"} {
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

// A host whose devices are idle may have traffic all the same.
func TestIdleDevices(t *testing.T) {
	const own = 7
	links := []*collectors.NetLink{
		link(own, "lo", collectors.LinkLoopback), link(own, "eth0", collectors.LinkDevice),
		link(own, "veth1", collectors.LinkVeth), link(9, "veth2", collectors.LinkVeth),
	}
	tests := map[string]struct {
		moved map[string]uint64
		want  []part
		row   string
	}{
		"nothing":     {nil, []part{{"no traffic", 0}}, ""},
		"a container": {map[string]uint64{"lo": 5, "veth1": 2000, "veth2": 9000}, []part{{"devices idle", 0}, {"veth1 rx 2.0 kB/s tx 0 B/s", 2}}, "veth1"},
		"a device":    {map[string]uint64{"veth1": 2000, "eth0": 1000}, []part{{"eth0 rx 1.0 kB/s tx 0 B/s", 0}}, "eth0"},
	}
	for name, tt := range tests {
		n := &collectors.Network{Span: collectors.Span{To: time.Second}}
		n.Spaces = []collectors.NetSpace{{Span: n.Span, NetPlace: &collectors.NetPlace{ID: own, Own: true, Links: links[:3]}}}
		for _, l := range links {
			if b := tt.moved[l.Name.Bytes()]; b > 0 {
				n.Ifaces = append(n.Ifaces, collectors.NetIface{NetLink: l, IfaceCounts: collectors.IfaceCounts{RxBytes: b}})
			}
		}
		m := triage.Moment{Snapshot: &collectors.Snapshot{Network: n}}
		l := sarDevLine(Frame{Now: m, Past: []triage.Moment{m}})
		if diff := cmp.Diff(tt.want, l.parts, cmp.AllowUnexported(part{})); diff != "" || l.row != tt.row {
			t.Errorf("%s: row %q (-want +got):\n%s", name, l.row, diff)
		}
	}
}

// The line of a run is of all of it, not of its last second.
func TestDeviceLineOfRun(t *testing.T) {
	eth := link(7, "eth0", collectors.LinkDevice)
	own := &collectors.NetPlace{ID: 7, Own: true, Links: []*collectors.NetLink{eth}}
	var f Frame
	for i := range 10 {
		at := time.Duration(i+1) * time.Second
		n := &collectors.Network{Span: collectors.Span{From: at - time.Second, To: at}}
		n.Spaces = []collectors.NetSpace{{Span: n.Span, NetPlace: own}}
		if i < 5 {
			n.Ifaces = []collectors.NetIface{{NetLink: eth, IfaceCounts: collectors.IfaceCounts{RxBytes: 2000, TxBytes: 200, RxDropped: 20}}}
			n.SoftnetAll.Dropped = 10
		}
		f.Past = append(f.Past, triage.Moment{Snapshot: &collectors.Snapshot{At: at, Network: n}})
	}
	f.Now = f.Past[9]
	for span, want := range map[time.Duration]struct {
		value float64
		text  string
	}{
		0:                {0, "no traffic"},
		10 * time.Second: {1100, "eth0 rx 1.0 kB/s tx 100 B/s  drop 10.0/s  softnet drop 5.0/s"},
	} {
		f.Span = span
		if l := sarDevLine(f); l.value != want.value || l.summary(80) != want.text {
			t.Errorf("over %v: %v, %q; want %v, %q", span, l.value, l.summary(80), want.value, want.text)
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
			out[s.name()+"/"+x.link.Name.Bytes()] = ratePer(x.counts.RxPackets, x.seconds)
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

// An interface that came, or began anew, in a run has the rate of the rest of it.
func TestIfaceBegan(t *testing.T) {
	eth, veth := link(7, "eth0", collectors.LinkDevice), link(7, "veth1", collectors.LinkVeth)
	row := func(l *collectors.NetLink, packets uint64) collectors.NetIface {
		return collectors.NetIface{NetLink: l, IfaceCounts: collectors.IfaceCounts{RxPackets: packets}}
	}
	born, reset := row(veth, 0), row(eth, 0)
	born.New, reset.Restarted = true, true
	tests := map[string]struct {
		rows  [][]collectors.NetIface // of each second
		from  int                     // the second that veth1 is there from
		span  time.Duration
		veth1 any // packets/s, or why there are none
		eth0  any
	}{
		"both all the time": {[][]collectors.NetIface{{row(eth, 6), row(veth, 6)}, {}, {}}, 0, 3 * time.Second, 2.0, 2.0},
		"born in the run":   {[][]collectors.NetIface{{}, {born}, {row(veth, 30)}, {row(veth, 50)}}, 1, 4 * time.Second, 40.0, 0.0},
		"born at its end":   {[][]collectors.NetIface{{}, {}, {born}}, 2, 3 * time.Second, "it appeared a moment ago", 0.0},
		"born now":          {[][]collectors.NetIface{{}, {}, {born}}, 2, 0, "it appeared a moment ago", 0.0},
		"reset in the run":  {[][]collectors.NetIface{{row(eth, 9)}, {reset}, {row(eth, 11)}}, 0, 3 * time.Second, 0.0, 10.0},
		"reset at its end":  {[][]collectors.NetIface{{row(eth, 9)}, {row(eth, 11)}, {reset}}, 0, 3 * time.Second, 0.0, 10.0},
		"reset now":         {[][]collectors.NetIface{{row(eth, 9)}, {row(eth, 11)}, {reset}}, 0, 0, 0.0, "its counters began anew"},
	}
	for name, tt := range tests {
		f := Frame{Span: tt.span}
		for i, rows := range tt.rows {
			at := time.Duration(i+1) * time.Second
			place := &collectors.NetPlace{ID: 7, Own: true, Links: []*collectors.NetLink{eth}}
			if i >= tt.from {
				place.Links = append(place.Links, veth)
			}
			n := &collectors.Network{Span: collectors.Span{From: at - time.Second, To: at}, Ifaces: rows}
			n.Spaces = []collectors.NetSpace{{Span: n.Span, NetPlace: place}}
			f.Past = append(f.Past, triage.Moment{Snapshot: &collectors.Snapshot{At: at, Network: n}})
		}
		f.Now = f.Past[len(f.Past)-1]
		got := make(map[string]any)
		for _, x := range netOver(f).own().ifaces {
			cell := ifaceCells(f, x, netColumns()).Cells[1]
			if v, ok := cell.Num(); ok {
				got[x.link.Name.Bytes()] = v
			} else {
				got[x.link.Name.Bytes()] = cell.Why
			}
		}
		if diff := cmp.Diff(map[string]any{"eth0": tt.eth0, "veth1": tt.veth1}, got); diff != "" {
			t.Errorf("%s: rxpck/s (-want +got):\n%s", name, diff)
		}
	}
}

// What all namespaces did together is over the whole run, also where one lived for a part of it.
func TestTotalOfSpaces(t *testing.T) {
	tests := map[string]struct {
		every, from, to int // readings of the container, in seconds; the first is its baseline
		run             int
		want            float64 // retrseg/s of all, where the container has 100 and ours 1
	}{
		"there all the time":      {5, 1, 56, 60, 101},
		"a short run":             {5, 1, 6, 10, 101},
		"the first third":         {5, 0, 20, 60, 1 + 100.0/3},
		"ten seconds within":      {5, 20, 30, 60, 1 + 100.0/6},
		"the last twenty seconds": {5, 40, 60, 60, 1 + 100.0/3},
	}
	for name, tt := range tests {
		var f Frame
		own, pod := &collectors.NetPlace{ID: 7, Own: true}, &collectors.NetPlace{ID: 9}
		for i := 1; i <= tt.run; i++ {
			at := time.Duration(i) * time.Second
			n := &collectors.Network{Span: collectors.Span{From: at - time.Second, To: at}}
			n.Spaces = []collectors.NetSpace{{Span: n.Span, NetPlace: own, StackKnown: true, StackCounts: collectors.StackCounts{TCPRetrans: 1}}}
			if since := i - tt.from; since >= 0 && i <= tt.to && since%tt.every == 0 {
				s := collectors.NetSpace{Span: collectors.Span{From: at, To: at}, NetPlace: pod, StackKnown: true}
				if since > 0 {
					s.From -= time.Duration(tt.every) * time.Second
					s.TCPRetrans = uint64(100 * tt.every)
				}
				n.Spaces = append(n.Spaces, s)
			}
			f.Past = append(f.Past, triage.Moment{Snapshot: &collectors.Snapshot{At: at, Network: n}})
		}
		f.Now, f.Span = f.Past[len(f.Past)-1], time.Duration(tt.run)*time.Second
		for _, fact := range netFacts(netOver(f)) {
			if fact.ID != "retrseg/s" {
				continue
			}
			if got, ok := fact.Cell.Num(); !ok || math.Abs(got-tt.want) > 0.01 {
				t.Errorf("%s: %v/s, want %v", name, got, tt.want)
			}
		}
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
		"dropped packets":            {[]string{"6", "v", "v", "v", "v"}, []string{"dropped packets ── 124.4/s", "SOCKET_RCVBUFF", "__udp_queue_rcv_skb", "not said"}, []string{" drops  "}},
		"a reason that is full":      {[]string{"6", "v", "v", "v", "v", "enter"}, []string{"› SOCKET_RCVBUFF", "does not read", "rsyslogd", "514", "10.0.3.9:40112"}, nil},
		"a reason of nobody":         {[]string{"6", "v", "v", "v", "v", "j", "enter", "i"}, []string{"› NO_SOCKET", "tcp_v4_rcv", "10.0.0.5:23", "i places"}, []string{"rsyslogd"}},
		"drops stand below":          {[]string{"6"}, []string{"drops      SOCKET_RCVBUFF 120"}, nil},
		"v comes round":              {[]string{"6", "v", "v", "v", "v", "v"}, []string{"rxpck/s"}, nil},
		"idle ones on demand":        {[]string{"6", "z"}, []string{"eth1", "veth99aa"}, []string{"5 idle"}},
		"the page of an interface":   {[]string{"6", "enter"}, []string{"› eth0", "virtio_net", "1000 Mbit/s", "rx_bytes", "tx ── 2.2 MB/s"}, nil},
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
		for _, table := range []Table{NewNetwork().Table(f), spacesTable(v), softnetTable(f, v)} {
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
