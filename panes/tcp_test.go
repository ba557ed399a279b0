// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"bpf60/collectors"
	"bpf60/triage"
)

func TestEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1:80":           "10.0.0.1:80",
		"255.255.255.255:65535": "255.255.255.255:65535",
		"0.0.0.0:0":             "*:*",
		"0.0.0.0:22":            "*:22",
		"[::]:22":               "*:22",
		"[::1]:8080":            "[::1]:8080",
		"[::ffff:10.0.0.1]:80":  "10.0.0.1:80",
		"[2001:db8::1:2:3]:443": "[2001:db8::1:2:3]:443",
		"[2001:db8:1234:5678:9abc:def0:1234:5678]:65535": "[2001:d…4:5678]:65535",
		"[fe80::1234:5678:9abc:def0%eth0]:22":            "[fe80::12…f0%eth0]:22",
	} {
		got := endpoint(netip.MustParseAddrPort(in))
		if got != want || len([]rune(got)) > addrWidth {
			t.Errorf("endpoint(%s) = %q, want %q in %d cells", in, got, want, addrWidth)
		}
	}
}

func TestMiddle(t *testing.T) {
	for _, tt := range []struct {
		width int
		want  string
	}{{10, "abcdefghij"}, {9, "abcd…ghij"}, {4, "ab…j"}, {3, "a…j"}, {2, "abcdefghij"}} {
		if got := middle("abcdefghij", tt.width); got != tt.want {
			t.Errorf("middle to %d = %q, want %q", tt.width, got, tt.want)
		}
	}
}

// sockets makes a sample of a second with rows by cookie and what they sent.
func sockets(at int, sent map[uint64]uint64) *collectors.Sockets {
	s := &collectors.Sockets{Span: collectors.Span{From: time.Duration(at-1) * time.Second, To: time.Duration(at) * time.Second}}
	for cookie, n := range sent {
		s.Rows = append(s.Rows, collectors.SocketRow{
			SocketID: &collectors.SocketID{Cookie: cookie}, State: collectors.Established, HasInfo: true, Acked: n, Retrans: 1, Cwnd: uint32(at), Busy: 1000,
		})
	}
	s.Listeners = []collectors.ListenRow{{SocketID: &collectors.SocketID{Cookie: 99}, Drops: 2, Queue: uint32(at)}}
	s.Peers = []collectors.PeerRow{{Addr: netip.MustParseAddr("10.0.0.1"), Sockets: at, Acked: 10}}
	return s
}

func framesOf(samples ...*collectors.Sockets) Frame {
	var f Frame
	for i, s := range samples {
		at := time.Duration(i) * time.Second
		f.Past = append(f.Past, triage.Moment{Snapshot: &collectors.Snapshot{Seq: uint64(i), At: at, Sockets: s}})
	}
	f.Now = f.Past[len(f.Past)-1]
	return f
}

// A report sums what moved by socket; gauges are those of the last sample that has it.
func TestSocketsOver(t *testing.T) {
	f := framesOf(nil, sockets(1, map[uint64]uint64{1: 100, 2: 7}), sockets(2, map[uint64]uint64{1: 50}), sockets(3, map[uint64]uint64{1: 1, 3: 1000}))
	f.Span = time.Hour
	s := socketsOver(f)
	if s.Seconds() != 3 || len(s.Rows) != 3 {
		t.Fatalf("%v s, rows %+v; want 3 s and 3 rows", s.Seconds(), s.Rows)
	}
	for i, want := range []struct {
		cookie, acked uint64
		retrans, cwnd uint32
	}{{3, 1000, 1, 3}, {1, 151, 3, 3}, {2, 7, 1, 1}} {
		if r := s.Rows[i]; r.Cookie != want.cookie || r.Acked != want.acked || r.Retrans != want.retrans || r.Cwnd != want.cwnd || r.Busy != 1000*uint64(want.retrans) {
			t.Errorf("row %d = %+v, want %+v", i, r, want)
		}
	}
	if l := s.Listeners; len(l) != 1 || l[0].Drops != 6 || l[0].Queue != 3 {
		t.Errorf("listeners = %+v, want 6 drops and the newest queue", l)
	}
	if p := s.Peers; len(p) != 1 || p[0].Acked != 30 || p[0].Sockets != 3 {
		t.Errorf("peers = %+v, want 30 bytes and the newest count", p)
	}
	if f.Past[1].Sockets.Rows[0].Acked == 151 {
		t.Error("a sample was written")
	}
}

// TestLongSums: what fits a sample is not bounded by its width in a sum.
func TestLongSums(t *testing.T) {
	var f Frame
	const minutes = 120
	key := blockKey{1, 0}
	for i := 1; i <= minutes; i++ {
		at := time.Duration(i) * time.Minute
		s := sockets(0, map[uint64]uint64{1: 1})
		s.Span = collectors.Span{From: at - time.Minute, To: at}
		s.Rows[0].Busy = 60e6
		b := &collectors.Block{Span: s.Span, Rows: []collectors.BlockRow{{Dev: key.dev, Class: key.class}}}
		b.Rows[0].Device.Slots[5], b.Rows[0].Sizes[3] = 60e6, 60e6
		f.Past = append(f.Past, triage.Moment{Snapshot: &collectors.Snapshot{At: at, Sockets: s, Block: b}})
	}
	f.Now = f.Past[minutes-1]
	f.Span = 24 * time.Hour
	s := socketsOver(f)
	if got := partOf(s.Rows[0].Busy, s.Span).Format(0); got != "100" {
		t.Errorf("busy %s %% of two hours, want 100", got)
	}
	if c := blockOver(f).rows[key]; c.Device.Count() != minutes*60e6 || c.Sizes[3] != minutes*60e6 {
		t.Errorf("%d and %d requests in a slot, want %d", c.Device.Count(), c.Sizes[3], uint64(minutes*60e6))
	}
}

// A rate is in KiB everywhere, as sar and tcplife have it and as a filter reads it.
func TestSocketRates(t *testing.T) {
	sample := sockets(1, map[uint64]uint64{1: 2048})
	sample.Rows[0].Received, sample.Rows[0].DeliveryRate = 1024, 512*1024
	sample.Peers[0].Acked, sample.Peers[0].Received = 2048, 1024
	f := framesOf(nil, sample)
	var ended collectors.FlowCounts
	ended[collectors.FlowSent], ended[collectors.FlowReceived] = 2048, 1024
	flow := Table{Columns: flowColumns(), Rows: []Row{{ID: "1", Cells: flowCells(&ended, sample.Span)}}}
	for name, tt := range map[string]struct {
		fill func(*Table)
		want map[string]float64
	}{
		"sockets":  {func(t *Table) { socketTable(f, t) }, map[string]float64{"kB/s": 3, "rx": 1, "tx": 2, "delivery": 512}},
		"peers":    {func(t *Table) { peerTable(f, t) }, map[string]float64{"rx": 1, "tx": 2}},
		"services": {func(t *Table) { *t = flow }, map[string]float64{"rx": 1, "tx": 2}},
	} {
		var table Table
		tt.fill(&table)
		for i, c := range table.Columns {
			want, ok := tt.want[c.ID]
			if !ok {
				continue
			}
			if v, _ := table.Rows[0].Cells[i].Num(); v != want || c.Unit != "KiB/s" {
				t.Errorf("%s: %s = %v %s, want %v KiB/s", name, c.ID, v, c.Unit, want)
			}
		}
	}
	if v := socketRate(sample, &sample.Rows[0]); v != 3 {
		t.Errorf("over time %v KiB/s, want 3", v)
	}
}

// A table that is read every 5 s is true for 5 s, and one that has stopped is not.
func TestSocketsNow(t *testing.T) {
	old := sockets(1, map[uint64]uint64{1: 1})
	slow := sockets(1, map[uint64]uint64{1: 1})
	slow.Every = 5 * time.Second
	for name, tt := range map[string]struct {
		f    Frame
		want bool
	}{
		"just read":            {framesOf(nil, old), true},
		"two seconds ago":      {framesOf(old, nil, nil), true},
		"five seconds ago":     {framesOf(old, nil, nil, nil, nil, nil), false},
		"five, and slow":       {framesOf(slow, nil, nil, nil, nil, nil), true},
		"nine, and slow":       {framesOf(slow, nil, nil, nil, nil, nil, nil, nil, nil, nil), false},
		"nothing":              {Frame{}, false},
		"nobody looked so far": {framesOf(nil, nil), false},
	} {
		if got := socketsNow(tt.f) != nil; got != tt.want {
			t.Errorf("%s: a table = %v, want %v", name, got, tt.want)
		}
	}
}

// Sockets are read while the pane shows them, and one in full while its page is open.
func TestTCPWants(t *testing.T) {
	var got []collectors.Want
	r := resize(root(busyStory(91).frame(), func(c *Config) { c.Want = func(_ string, w []collectors.Want) { got = w } }), 80, 24)
	press(r, "7")
	if len(got) != 1 || got[0] != (collectors.Want{ID: collectors.SocketsID}) {
		t.Errorf("the pane wants %+v, want sockets", got)
	}
	press(r, "v", "v", "v")
	if len(got) != 0 {
		t.Errorf("the counters want %+v, want nothing", got)
	}
	press(r, "v", "j", "enter")
	if len(got) != 1 || got[0].Target.Kind != collectors.SocketTarget || got[0].Target.Cookie != 0x4001 {
		t.Errorf("the page wants %+v, want the second busiest socket", got)
	}
	press(r, "esc", "v", "enter")
	if id := r.top().Info().ID; !strings.HasPrefix(string(id), "process ") && !strings.Contains(r.View(), "no process is known") {
		t.Errorf("Enter on a listener leads to %s and does not say why", id)
	}
}

// Every cell that is missing says why.
func TestTCPMissingSaysWhy(t *testing.T) {
	for name, f := range frames() {
		for v := range tcpViews {
			p := NewTCP()
			p.view = v
			tab := p.Table(f)
			for _, r := range tab.Rows {
				for i, c := range r.Cells {
					if !c.Known() && c.Why == "" {
						t.Errorf("%s, %s, row %s: %s is missing and does not say why", name, v, r.ID, tab.Columns[i].Title)
					}
				}
				if len(r.Cells) != len(tab.Columns) {
					t.Errorf("%s, %s: a row of %d cells, want %d", name, v, len(r.Cells), len(tab.Columns))
				}
			}
		}
	}
}

func TestCounterWords(t *testing.T) {
	for i, w := range counterWords() {
		if w == "" {
			t.Errorf("%s says nothing", collectors.TCPNames()[i])
		}
	}
}

// TestSocketTitle holds that the title counts what is listed of all sockets, whatever a filter leaves.
func TestSocketTitle(t *testing.T) {
	s := sockets(1, map[uint64]uint64{1: 100, 2: 7, 3: 1})
	s.UnlistedRows = 4800
	f := framesOf(s)
	for _, text := range []string{"", "zzz"} {
		if text != "" {
			var err error
			if f.Filter, err = parseFilter(text); err != nil {
				t.Fatal(err)
			}
		}
		p := NewTCP()
		title := p.title(f, Canvas{Width: 120, Height: 30, Theme: plain()})
		if want := "the busiest 3 of 4803"; !strings.Contains(title, want) {
			t.Errorf("filter %q: the title %q lacks %q", text, title, want)
		}
	}
}

// TestEventSpan holds that an event is named for ten seconds, also where samples are rarer.
func TestEventSpan(t *testing.T) {
	at := func(interval time.Duration, n int) string {
		var f Frame
		for i := range n + 1 {
			x := &collectors.TCP{}
			if i == 0 {
				x.Delta[collectors.TCPListenDrops] = 5
			}
			f.Past = append(f.Past, triage.Moment{Snapshot: &collectors.Snapshot{At: time.Duration(i) * interval, TCP: x}})
		}
		f.Now = f.Past[n]
		return eventLine(f, Canvas{Width: 120, Theme: plain()}, f.Now.TCP)
	}
	for _, tt := range []struct {
		interval time.Duration
		n        int
		quiet    bool
	}{{time.Second, 9, false}, {time.Second, 10, true}, {4 * time.Second, 2, false}, {4 * time.Second, 3, true}} {
		if got := at(tt.interval, tt.n); strings.Contains(got, "no overflow") != tt.quiet {
			t.Errorf("%v after an event: %q", time.Duration(tt.n)*tt.interval, got)
		}
	}
}
