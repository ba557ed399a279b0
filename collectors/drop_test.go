// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// fakeDrop is a facade that a test fills.
type fakeDrop struct {
	reading          bpf.DropReading
	reasons          bpf.DropReasons
	packets, sockets error
	headers          error
	paused           bool
	closed           int
}

func (f *fakeDrop) Reasons() *bpf.DropReasons       { return &f.reasons }
func (f *fakeDrop) PacketsErr() error               { return f.packets }
func (f *fakeDrop) HeadersErr() error               { return f.headers }
func (f *fakeDrop) SocketsErr() error               { return f.sockets }
func (f *fakeDrop) Read() (*bpf.DropReading, error) { return &f.reading, nil }
func (f *fakeDrop) Pause(on bool) error             { f.paused = on; return nil }
func (f *fakeDrop) Close() error                    { f.closed++; return nil }

// fakeHolders finds one process for every inode above 100.
type fakeHolders struct{ passes int }

func (f *fakeHolders) Close() error { return nil }
func (f *fakeHolders) Read(each func(*bpf.Holder)) error {
	f.passes++
	each(&bpf.Holder{Inode: 101, Tgid: 7, Start: 70, Comm: [16]int8{'s', 'y', 's'}})
	return nil
}

const (
	noSocket  = 3
	rcvBuffer = 6
)

func newFakeDrops(t *testing.T, known bool) (*dropCollector, *fakeDrop, *fakeHolders, func(in, out, noPorts, full int)) {
	t.Helper()
	f, h := &fakeDrop{}, &fakeHolders{}
	if known {
		f.reasons = bpf.NewDropReasons(2, map[uint32]string{2: "NOT_SPECIFIED", noSocket: "NO_SOCKET", rcvBuffer: "SOCKET_RCVBUFF"})
	}
	fs, set := udpFiles(t)
	owners := newOwnerCache(nil, fs)
	owners.open = func() (holderReader, error) { return h, nil }
	c := &dropCollector{
		open: func() (dropReader, error) { return f, nil }, now: func() (time.Duration, error) { return 100 * time.Second, nil },
		feed: &emptyFeed{}, udp: newUDPCounters(fs), owners: newSocketHolders(owners), names: fs.names, netns: func() uint32 { return 42 },
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, f, h, set
}

func collectDrops(t *testing.T, c *dropCollector, now time.Duration) *Drops {
	t.Helper()
	s, err := c.Collect(t.Context(), now)
	if err != nil {
		t.Fatalf("Collect at %v: %v", now, err)
	}
	return s.(*Drops)
}

func TestDropDeltas(t *testing.T) {
	c, f, h, _ := newFakeDrops(t, true)
	f.reading.Reasons[2], f.reading.Reasons[noSocket] = 1000, 5
	if _, err := c.Collect(t.Context(), 0); !errors.Is(err, ErrWarming) {
		t.Fatalf("first Collect: %v, want ErrWarming", err)
	}
	f.reading.Reasons[2], f.reading.Reasons[noSocket], f.reading.Reasons[rcvBuffer], f.reading.Reasons[255] = 1500, 28, 40, 1
	own := bpf.DropPlace{Place: 0xffff_1000, Reason: rcvBuffer, Netns: 42, Ifindex: 2, Protocol: 0x0800, Transport: unix.IPPROTO_UDP}
	other := bpf.DropPlace{Place: 0xffff_2000, Reason: noSocket, Netns: 43, Ifindex: 1}
	f.reading.Rows = []bpf.DropRow{{DropPlace: other, Packets: 23}, {DropPlace: own, Packets: 40}}
	f.reading.Sockets = []bpf.DropSocketRow{
		{DropSocket: bpf.DropSocket{Inode: 101, Netns: 42, Port: 514, Family: unix.AF_INET, Protocol: unix.IPPROTO_UDP}, Full: 39, Memory: 1, Rcvbuf: 212992},
		{DropSocket: bpf.DropSocket{Inode: 5, Netns: 43, Port: 9, Family: unix.AF_INET6}, Full: 1},
	}
	f.reading.Others.Full = 2
	s := collectDrops(t, c, time.Second)
	want := []DropReason{
		{notSpecified, DropUnspecified, 500, 500},
		{"SOCKET_RCVBUFF", DropFull, 40, 40},
		{"NO_SOCKET", DropNobody, 23, 23},
		{subsystemReasons, DropOther, 1, 1},
	}
	if len(s.Reasons) != len(want) || s.Dropped() != 64 || !s.ReasonsKnown {
		t.Fatalf("%d dropped by %+v, want 64", s.Dropped(), s.Reasons)
	}
	for i, w := range want {
		if s.Reasons[i] != w {
			t.Errorf("reason %d: %+v, want %+v", i, s.Reasons[i], w)
		}
	}
	if len(s.Places) != 2 || s.Places[0].Packets != 40 || !s.Places[0].Own || s.Places[0].Class != DropFull || s.Places[1].Own || s.Unplaced != 501 {
		t.Errorf("places %+v, %d without", s.Places, s.Unplaced)
	}
	if s.NoNames == "" {
		t.Error("there are no symbols in this tree, and nothing says so")
	}
	if len(s.Sockets) != 2 || s.Sockets[0].Full != 39 || s.Sockets[0].Memory != 1 || s.Sockets[0].Owner == nil || s.Sockets[0].Owner.TGID != 7 || s.Sockets[1].Owner != nil || !s.Sockets[1].IPv6 || s.Others.Full != 2 {
		t.Errorf("sockets %+v, others %+v", s.Sockets, s.Others)
	}
	f.reading.Reasons[noSocket]++
	s = collectDrops(t, c, 2*time.Second)
	if len(s.Reasons) != 1 || s.Reasons[0].Packets != 1 || s.Reasons[0].Total != 24 || len(s.Places) != 0 || s.Unplaced != 1 || len(s.Sockets) != 0 {
		t.Errorf("a drop without a row: %+v", s)
	}
	if h.passes != 1 {
		t.Errorf("the files of all processes were looked through %d times, want once", h.passes)
	}
	f.headers = errors.New("locked down")
	if p := c.Probes()[0]; p.State != Degraded || p.Reason != "locked down" {
		t.Errorf("without headers: %+v", p)
	}
	f.headers = nil
	if p := c.Probes(); p[0].State != On || p[0].Events != 565 || p[1].Events != 43 {
		t.Errorf("probes: %+v", p)
	}
}

// TestDropBounds has more places and sockets than a sample lists.
func TestDropBounds(t *testing.T) {
	c, f, _, _ := newFakeDrops(t, true)
	_, _ = c.Collect(t.Context(), 0)
	for i := range uint64(maxDropPlaces + 30) {
		f.reading.Rows = append(f.reading.Rows, bpf.DropRow{DropPlace: bpf.DropPlace{Place: i, Reason: noSocket}, Packets: i + 1})
		f.reading.Reasons[noSocket] += i + 1
	}
	for i := range uint32(maxDropSockets + 10) {
		f.reading.Sockets = append(f.reading.Sockets, bpf.DropSocketRow{DropSocket: bpf.DropSocket{Inode: i}, Full: uint64(i) + 1})
	}
	s := collectDrops(t, c, time.Second)
	if len(s.Places) != maxDropPlaces || s.Unplaced != 30*31/2 {
		t.Errorf("%d places, %d packets without, want %d and %d", len(s.Places), s.Unplaced, maxDropPlaces, 30*31/2)
	}
	if len(s.Sockets) != maxDropSockets || s.Others.Full != 10*11/2 {
		t.Errorf("%d sockets, %d of others, want %d and %d", len(s.Sockets), s.Others.Full, maxDropSockets, 10*11/2)
	}
	thin := s.withoutRows()
	if thin.Places != nil || thin.Sockets != nil || thin.Unplaced != f.reading.Reasons[noSocket] || thin.Others.Full != 60*61/2 || thin.Dropped() != s.Dropped() {
		t.Errorf("thinned: %+v", thin)
	}
}

// TestDropOldKernel has no reasons: everything is by place, and nothing is called a drop.
func TestDropOldKernel(t *testing.T) {
	c, f, _, _ := newFakeDrops(t, false)
	_, _ = c.Collect(t.Context(), 0)
	f.reading.Reasons[0] = 10
	f.reading.Rows = []bpf.DropRow{{DropPlace: bpf.DropPlace{Place: 1}, Packets: 10}}
	s := collectDrops(t, c, time.Second)
	if s.ReasonsKnown || s.Dropped() != 0 || len(s.Reasons) != 1 || s.Reasons[0].Name != notSpecified || s.Places[0].Class != DropUnspecified {
		t.Errorf("without reasons: %+v", s)
	}
	if p := c.Probes()[0]; p.State != Degraded || p.Reason == "" {
		t.Errorf("probe: %+v", p)
	}
	f.packets, f.sockets = errors.New("no kfree_skb"), errors.New("no udp")
	if p := c.Probes(); p[0].State != Off || p[0].Reason != "no kfree_skb" || p[1].State != Off {
		t.Errorf("probes: %+v", p)
	}
}

// TestDropSilence has the kernel drop packets that the probe does not see.
func TestDropSilence(t *testing.T) {
	c, f, _, set := newFakeDrops(t, true)
	for i := range 30 {
		set(0, 0, 50*i, 50*i)
		if _, err := c.Collect(t.Context(), time.Duration(i)*time.Second); err != nil && !errors.Is(err, ErrWarming) && c.r != nil {
			t.Fatal(err)
		}
		if i == 3 && f.closed != 1 {
			t.Errorf("closed %d times after three silent seconds, want once", f.closed)
		}
	}
	if p := c.Probes()[0]; p.State != Failed || f.closed != dnsRetries+1 {
		t.Errorf("closed %d times, probe %+v: want it given up", f.closed, p)
	}
}

// TestDropClasses knows what matters most; what a later kernel adds is not taken for anything.
func TestDropClasses(t *testing.T) {
	for name, want := range map[string]DropClass{
		"SOCKET_RCVBUFF": DropFull, "NETFILTER_DROP": DropPolicy, "NO_SOCKET": DropNobody, "UDP_CSUM": DropBad,
		"TCP_OLD_DATA": DropTCP, "TCP_CSUM": DropBad, "TCP_LISTEN_OVERFLOW": DropFull, "NOT_SPECIFIED": DropUnspecified, "OF_A_LATER_KERNEL": DropOther,
	} {
		if got := classOfDrop(name); got != want {
			t.Errorf("classOfDrop(%s) = %v, want %v", name, got, want)
		}
	}
}
