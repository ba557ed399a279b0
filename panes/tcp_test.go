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
		got := endpoint(netip.MustParseAddrPort(in), addrWidth)
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
		if r := s.Rows[i]; r.Cookie != want.cookie || r.Acked != want.acked || r.Retrans != want.retrans || r.Cwnd != want.cwnd || r.Busy != 1000*want.retrans {
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
	if !strings.Contains(r.View(), "only connections have a page") {
		t.Error("Enter on a listener does not say why it does nothing")
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
