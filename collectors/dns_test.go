// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/bpf"
)

// emptyFeed is a feed without records.
type emptyFeed struct {
	counts bpf.EventCounts
	opened int
}

func (f *emptyFeed) open(...bpf.EventKind) error  { f.opened++; return nil }
func (f *emptyFeed) close(...bpf.EventKind) error { f.opened--; return nil }
func (f *emptyFeed) take(bpf.EventKind, func([]byte)) (bpf.EventCounts, error) {
	return f.counts, nil
}

// fakeDNS is a facade that a test fills.
type fakeDNS struct {
	reading  bpf.DNSReading
	slots    bpf.Slots
	paused   bool
	received error
	closed   int
}

func (f *fakeDNS) ReceivedErr() error             { return f.received }
func (f *fakeDNS) Read() (*bpf.DNSReading, error) { return &f.reading, nil }
func (f *fakeDNS) Pause(on bool) error            { f.paused = on; return nil }
func (f *fakeDNS) Close() error                   { f.closed++; return nil }

func (f *fakeDNS) Narrow(want []bpf.Filter) (bpf.Slots, error) {
	f.slots = bpf.Slots{}
	copy(f.slots[1:], want)
	return f.slots, nil
}

// udpFiles is a tree whose UDP counters a test sets.
func udpFiles(t *testing.T) (FS, func(in, out, noPorts, full int)) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "net"), 0o700); err != nil {
		t.Fatal(err)
	}
	set := func(in, out, noPorts, full int) {
		text := fmt.Sprintf("Ip: InReceives\nIp: 0\nUdp: InDatagrams NoPorts OutDatagrams RcvbufErrors\nUdp: %d %d %d %d\nTcp: InSegs\nTcp: 0\n", in, noPorts, out, full)
		if err := os.WriteFile(filepath.Join(dir, "net/snmp"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set(0, 0, 0, 0)
	return NewFS(dir), set
}

func newFakeDNS(t *testing.T) (*dnsCollector, *fakeDNS, *emptyFeed, func(in, out, noPorts, full int)) {
	t.Helper()
	f, events := &fakeDNS{}, &emptyFeed{}
	fs, set := udpFiles(t)
	c := newDNS(func() (dnsReader, error) { return f, nil }, func() (time.Duration, error) { return 100 * time.Second, nil }, events, newUDPCounters(fs))
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if events.opened != 0 {
			t.Errorf("the feed is open %d times after Close", events.opened)
		}
	})
	return c, f, events, set
}

func collectDNS(t *testing.T, c *dnsCollector, now time.Duration) *DNS {
	t.Helper()
	s, err := c.Collect(t.Context(), now)
	if err != nil {
		t.Fatalf("Collect at %v: %v", now, err)
	}
	return s.(*DNS)
}

var (
	stubServer = netip.MustParseAddr("127.0.0.53")
	realServer = netip.MustParseAddr("10.0.0.2")
)

func dnsRow(pid int32, server netip.Addr, queries, answers uint64) bpf.DNSRow {
	r := bpf.DNSRow{DNSPair: bpf.DNSPair{TGID: pid, Start: uint64(pid), Server: server}}
	r.Queries, r.Answers = queries, answers
	r.Latency.Slots[4], r.Latency.Sum = answers, 20_000*answers
	copy(r.Comm[:], "curl")
	return r
}

func TestDNSDeltas(t *testing.T) {
	c, f, events, _ := newFakeDNS(t)
	f.reading.Rows = []bpf.DNSRow{dnsRow(1, stubServer, 10, 9), dnsRow(2, realServer, 4, 4)}
	f.reading.Slots[0].Queries, f.reading.Slots[0].Answers = 14, 13
	if _, err := c.Collect(t.Context(), time.Second); !errors.Is(err, ErrWarming) {
		t.Fatalf("first Collect: %v, want ErrWarming", err)
	}
	gone := dnsRow(1, stubServer, 12, 10)
	f.reading.Rows = []bpf.DNSRow{gone, dnsRow(2, realServer, 4, 4), dnsRow(3, realServer, 5, 1)}
	f.reading.Slots[0].Queries, f.reading.Slots[0].Answers = 21, 15
	f.reading.Global.Untracked, f.reading.Global.Types[1] = 3, 7
	f.reading.Pending = 4
	f.reading.Timeout = []bpf.DNSAsk{{
		DNSPair: bpf.DNSPair{TGID: 3, Start: 3, Server: realServer}, At: 94 * time.Second, Last: 95 * time.Second, Tries: 2, Type: 28,
		Name: []byte("\x03www\x04a.bc\x07example"),
	}}
	events.counts = bpf.EventCounts{Sent: 8, Unlisted: 5, Lost: 1}
	s := collectDNS(t, c, 2*time.Second)
	if s.Host.Queries != 7 || s.Host.Answers != 2 || s.Total.Queries != 7 || s.Untracked != 3 || s.Types[1] != 7 || s.Pending != 4 {
		t.Errorf("host: %+v, %+v", s.Host, s.DNSDoubts)
	}
	if len(s.Pairs) != 2 || s.Pairs[0].TGID != 3 || s.Pairs[0].Queries != 5 || s.Pairs[0].Latency.Count() != 1 ||
		s.Pairs[1].TGID != 1 || s.Pairs[1].Queries != 2 || s.Pairs[1].Answers != 1 || s.Pairs[1].Total.Count() != 10 || s.Pairs[1].Comm != RawString("curl") {
		t.Errorf("pairs: %+v", s.Pairs)
	}
	want := []DNSEvent{{
		Process: Process{3, 3}, Server: realServer, Name: RawString(`www.a\.bc.example`), Type: 28, Tries: 2, Latency: 6 * time.Second,
	}}
	if diff := cmp.Diff(want, s.Events, cmp.AllowUnexported(Raw{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if s.Unlisted != 5 || s.Lost != 1 {
		t.Errorf("%d unlisted and %d lost, want 5 and 1", s.Unlisted, s.Lost)
	}
	// A row that was given up and came back counts from nothing.
	f.reading.Rows = []bpf.DNSRow{dnsRow(1, stubServer, 2, 2)}
	f.reading.Timeout = nil
	s = collectDNS(t, c, 3*time.Second)
	if len(s.Pairs) != 1 || s.Pairs[0].Queries != 2 || s.Pairs[0].Answers != 2 || s.Unlisted != 0 {
		t.Errorf("after its row came back: %+v", s.Pairs)
	}
	if p := c.Probes()[0]; p.State != On || p.Name != "dnssnoop" || p.Lost != 3+1 {
		t.Errorf("probe: %+v", p)
	}
}

// TestDNSBounds has more pairs than a sample lists: nothing is dropped from the sums.
func TestDNSBounds(t *testing.T) {
	c, f, _, _ := newFakeDNS(t)
	_, _ = c.Collect(t.Context(), 0)
	for i := range int32(maxDNSPairs + 30) {
		f.reading.Rows = append(f.reading.Rows, dnsRow(i+1, realServer, uint64(i)+1, 0))
	}
	f.reading.Other.Queries = 7
	for range 2 * maxListed {
		f.reading.Timeout = append(f.reading.Timeout, bpf.DNSAsk{At: 95 * time.Second})
	}
	s := collectDNS(t, c, time.Second)
	rest := uint64(30*31/2) + 7
	if len(s.Pairs) != maxDNSPairs || s.NOther != 30 || s.Other.Queries != rest {
		t.Errorf("%d pairs, %d others with %d questions, want %d, 30 and %d", len(s.Pairs), s.NOther, s.Other.Queries, maxDNSPairs, rest)
	}
	if len(s.Events) != maxListed || s.Unlisted != maxListed {
		t.Errorf("%d events and %d unlisted, want %d of both", len(s.Events), s.Unlisted, maxListed)
	}
	thin := s.withoutRows()
	var all uint64
	for i := range s.Pairs {
		all += s.Pairs[i].Queries
	}
	if thin.Pairs != nil || thin.Events != nil || thin.NOther != maxDNSPairs+30 || thin.Other.Queries != all+rest || s.Pairs == nil {
		t.Errorf("thinned: %d others with %d questions, want %d", thin.NOther, thin.Other.Queries, all+rest)
	}
}

func TestDNSNarrow(t *testing.T) {
	c, f, _, _ := newFakeDNS(t)
	_, _ = c.Collect(t.Context(), 0)
	f.reading.Slots[1].Queries = 100 // of whoever had the slot before
	us := Target{Kind: ProcessTarget, Process: Process{TGID: 9, Start: 1}}
	pod := Target{Kind: CgroupTarget, Cgroup: 77}
	server := Target{Kind: PeerTarget, Addr: netip.MustParseAddrPort("10.0.0.2:0")}
	if err := c.Narrow([]Target{{Kind: DiskTarget, Dev: 1}, us, pod, server}); err != nil {
		t.Fatal(err)
	}
	if want := (bpf.Slots{1: {ID: 9, Kind: bpf.FilterProcess}, 2: {ID: 77, Kind: bpf.FilterCgroup}, 3: {Kind: bpf.FilterPeer, Addr: server.Addr}}); f.slots != want {
		t.Fatalf("slots %v, want %v", f.slots, want)
	}
	f.reading.Slots[1].Queries, f.reading.Slots[2].Queries, f.reading.Slots[3].Queries = 123, 5, 7
	s := collectDNS(t, c, time.Second)
	if len(s.Narrowed) != 3 || s.Narrowed[0].Target != us || s.Narrowed[0].Sample.Delta.Queries != 23 || s.Narrowed[1].Target != pod || s.Narrowed[1].Sample.Total.Queries != 5 ||
		s.Narrowed[2].Target != server || s.Narrowed[2].Sample.Delta.Queries != 7 {
		t.Errorf("narrowed: %+v", s.Narrowed)
	}
	if err := c.Narrow(nil); err != nil {
		t.Fatal(err)
	}
	if s = collectDNS(t, c, 2*time.Second); len(s.Narrowed) != 0 {
		t.Errorf("narrowed to nothing: %+v", s.Narrowed)
	}
}

// TestDNSNarrowLate: what is found unanswered while targets are chosen is listed with the next sample.
func TestDNSNarrowLate(t *testing.T) {
	c, f, _, _ := newFakeDNS(t)
	_, _ = c.Collect(t.Context(), 0)
	f.reading.Timeout = []bpf.DNSAsk{{At: 94 * time.Second, Name: []byte("\x01a")}}
	if err := c.Narrow([]Target{{Kind: CgroupTarget, Cgroup: 77}}); err != nil {
		t.Fatal(err)
	}
	f.reading.Timeout[0] = bpf.DNSAsk{At: 95 * time.Second, Name: []byte("\x01b")} // the facade's next reading
	var names []Raw
	for _, e := range collectDNS(t, c, time.Second).Events {
		names = append(names, e.Name)
	}
	if diff := cmp.Diff([]Raw{RawString("a"), RawString("b")}, names, cmp.AllowUnexported(Raw{})); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	f.reading.Timeout = nil
	if s := collectDNS(t, c, 2*time.Second); len(s.Events) != 0 {
		t.Errorf("listed twice: %+v", s.Events)
	}
}

// TestDNSSilence has the kernel send packets that the probe does not see.
func TestDNSSilence(t *testing.T) {
	c, f, _, set := newFakeDNS(t)
	at := time.Duration(0)
	tick := func(out int) {
		set(0, out, 0, 0)
		at += time.Second
		if _, err := c.Collect(context.Background(), at); err != nil && !errors.Is(err, ErrWarming) && c.r != nil {
			t.Fatal(err)
		}
	}
	tick(0)
	f.reading.Global.Sent = 50
	tick(50)
	for range 5 {
		tick(55) // too few to judge
	}
	if f.closed != 0 {
		t.Fatal("attached again although next to nothing was sent")
	}
	for i := range 4 {
		tick(200 + i)
	}
	if f.closed != 1 || c.Probes()[0].State == On {
		t.Fatalf("closed %d times, probe %+v: want it attached again", f.closed, c.Probes()[0])
	}
	for i := range 20 {
		tick(1000 * (i + 1))
	}
	if p := c.Probes()[0]; p.State != Failed || f.closed != dnsRetries+1 {
		t.Errorf("closed %d times, probe %+v: want it given up", f.closed, p)
	}
}

// TestDNSPaused holds that silence is not death while the brake has detached the probe.
func TestDNSPaused(t *testing.T) {
	c, f, _, set := newFakeDNS(t)
	_, _ = c.Collect(t.Context(), 0)
	if err := c.Pause(true); err != nil || !f.paused {
		t.Fatal(err, f.paused)
	}
	for i := range 10 {
		set(0, 1000*i, 0, 0)
		collectDNS(t, c, time.Duration(i+1)*time.Second)
	}
	if f.closed != 0 {
		t.Error("attached again while paused")
	}
}

func TestDNSOff(t *testing.T) {
	c, _, _, _ := newFakeDNS(t)
	c.r = nil
	c.off = map[string]bool{"dnssnoop": true}
	var need *NeedError
	if err := c.Start(t.Context()); !errors.As(err, &need) {
		t.Errorf("Start = %v, want nothing to do", err)
	}
	if p := c.Probes()[0]; p.State != Off || p.Reason != switchedOff {
		t.Errorf("probe: %+v", p)
	}
}

func TestDottedName(t *testing.T) {
	tests := map[string]struct{ wire, want string }{
		"plain":        {"\x03www\x07example", "www.example"},
		"with its end": {"\x03www\x00rest", "www."},
		"root":         {"", "."},
		"cut":          {"\x03www\x07exa", "www.exa"},
		"a dot inside": {"\x03a.b\x01\\", `a\.b.\\`},
		"a pointer":    {"\x01a\xc0\x0c", "a."},
		"control":      {"\x02\x1b[", "\x1b["},
	}
	for name, tt := range tests {
		if got := dottedName([]byte(tt.wire)).Bytes(); got != tt.want {
			t.Errorf("%s: dottedName(%q) = %q, want %q", name, tt.wire, got, tt.want)
		}
	}
}

func FuzzDottedName(f *testing.F) {
	f.Add([]byte("\x03www\x07example"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		if got := dottedName(wire).Bytes(); len(got) > 2*len(wire)+1 {
			t.Errorf("dottedName(%q) = %q", wire, got)
		}
	})
}
