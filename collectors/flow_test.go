// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"bpf60/bpf"
)

// fakeFlow is a facade whose reading a test sets.
type fakeFlow struct {
	reading bpf.FlowReading
	errs    bpf.FlowErrs
	slots   bpf.Slots
	closed  bool
	paused  bool
}

func (f *fakeFlow) Read(r *bpf.FlowReading, _ time.Duration) error {
	*r = f.reading
	r.Processes, r.Peers = slices.Clone(r.Processes), slices.Clone(r.Peers)
	return nil
}
func (f *fakeFlow) Errs() bpf.FlowErrs         { return f.errs }
func (f *fakeFlow) ResetReason(r int32) string { return map[int32]string{4: "too old ack"}[r] }
func (f *fakeFlow) Pause(on bool) error        { f.paused = on; return nil }
func (f *fakeFlow) Close() error               { f.closed = true; return nil }
func (f *fakeFlow) Narrow(want []bpf.Filter) (bpf.Slots, error) {
	f.slots = bpf.Slots{}
	copy(f.slots[1:], want)
	return f.slots, nil
}

// fakeFlowFeed is a feed with what a test puts into it.
type fakeFlowFeed struct {
	records map[bpf.EventKind][]bpf.FlowEvent
	counts  map[bpf.EventKind]bpf.EventCounts
	opened  int
}

func (f *fakeFlowFeed) open(kinds ...bpf.EventKind) error  { f.opened += len(kinds); return nil }
func (f *fakeFlowFeed) close(kinds ...bpf.EventKind) error { f.opened -= len(kinds); return nil }
func (f *fakeFlowFeed) take(kind bpf.EventKind, each func([]byte)) (bpf.EventCounts, error) {
	for i := range f.records[kind] {
		e := &f.records[kind][i]
		each(unsafe.Slice((*byte)(unsafe.Pointer(e)), unsafe.Sizeof(*e)))
	}
	delete(f.records, kind)
	return f.counts[kind], nil
}

// fakedFlow is a collector of fakes over a tree of /proc, past its first reading.
func fakedFlow(t *testing.T, tree procTree, off map[string]bool) (*flowCollector, *fakeFlow, *fakeFlowFeed) {
	t.Helper()
	fake := &fakeFlow{}
	events := &fakeFlowFeed{records: map[bpf.EventKind][]bpf.FlowEvent{}, counts: map[bpf.EventKind]bpf.EventCounts{}}
	fs := NewFS(tree.root)
	nobody := func() (diagSource, error) { return nil, &NeedError{Need: "sock_diag", Remedy: "have it"} }
	owners := &inodeOwners{ownerCache: &ownerCache{fs: fs, open: func() (holderReader, error) { return nil, &NeedError{Need: "nothing"} }}}
	c := &flowCollector{
		open:   func(bpf.FlowParts) (flowReader, error) { *fake = fakeFlow{reading: fake.reading}; return fake, nil },
		events: events, owners: owners, listen: &listenWatch{open: nobody, owners: owners},
		mib: &tcpMIB{files: newTCPOf(fs, "net")}, boot: func() int64 { return int64(102 * time.Second) }, off: off,
	}
	start(t, c)
	if _, err := c.Collect(t.Context(), 0); !errors.Is(err, ErrWarming) {
		t.Fatalf("the first reading: %v", err)
	}
	return c, fake, events
}

// kernelTCP writes what the kernel counts.
func kernelTCP(tree procTree, opens, again string) {
	tree.write("net/snmp", "Tcp: ActiveOpens PassiveOpens RetransSegs\nTcp: "+opens+" 0 "+again+"\n")
	tree.write("net/netstat", "TcpExt: ListenOverflows ListenDrops\nTcpExt: 0 0\n")
}

func TestDeriveFlow(t *testing.T) {
	comm := [16]byte{'c', 'u', 'r', 'l'}
	process := func(tgid int32, connects, refused uint64) bpf.FlowProcess {
		return bpf.FlowProcess{TGID: tgid, Start: 7, Comm: comm, Counts: bpf.FlowCounts{bpf.FlowConnects: connects, bpf.FlowRefused: refused}}
	}
	peer := func(last byte, connects uint64, latency uint32) bpf.FlowPeer {
		p := bpf.FlowPeer{Port: 443, Role: 1, Counts: bpf.FlowCounts{bpf.FlowConnects: connects}, LatencySum: uint64(latency) * 5000}
		p.Addr = netip.AddrFrom4([4]byte{10, 0, 0, last}).As16()
		p.Latency[2] = latency
		return p
	}
	base := bpf.FlowReading{Host: bpf.FlowSet{Counts: bpf.FlowCounts{bpf.FlowConnects: 1}}}
	prev := bpf.FlowReading{
		Host:      bpf.FlowSet{Counts: bpf.FlowCounts{bpf.FlowConnects: 10}},
		Processes: []bpf.FlowProcess{process(1, 5, 0), process(2, 4, 1), process(3, 9, 9)},
		Peers:     []bpf.FlowPeer{peer(1, 10, 3), peer(2, 7, 1)},
		Untracked: 1,
	}
	cur := bpf.FlowReading{
		Host:      bpf.FlowSet{Counts: bpf.FlowCounts{bpf.FlowConnects: 30}},
		Processes: []bpf.FlowProcess{process(1, 15, 0), process(2, 5, 2), process(3, 2, 0), process(4, 3, 0)},
		Peers:     []bpf.FlowPeer{peer(1, 20, 5), peer(2, 7, 1)},
		Untracked: 4,
	}
	cur.Host.Hists[FlowLatency][FlowLoopback].Slots[3] = 2
	cur.Moves[7][2] = 20
	cur.Stayed[2], cur.Left[2] = time.Second, 4
	names := func(_ Process, b []byte) Raw { return RawString(string(b[:4])) }
	f := deriveFlow(&base, &prev, &cur, Span{0, time.Second}, names)

	if f.Host.Counts[FlowConnects] != 20 || f.Total.Counts[FlowConnects] != 29 || f.Untracked != 3 {
		t.Errorf("connects %d, since start %d, untracked %d; want 20, 29, 3", f.Host.Counts[FlowConnects], f.Total.Counts[FlowConnects], f.Untracked)
	}
	if f.Host.Hists[FlowLatency][FlowLoopback].Count() != 2 || f.Moves[Closed][SynSent] != 20 || f.Stayed[SynSent] != time.Second || f.Left[SynSent] != 4 {
		t.Errorf("histograms and states: %+v", f)
	}
	type row struct {
		TGID              int32
		Connects, Refused uint64
	}
	var got []row
	for _, p := range f.Processes {
		got = append(got, row{p.TGID, p.Counts[FlowConnects], p.Counts[FlowRefused]})
	}
	// Trouble first; 3 was taken out and began anew.
	if diff := cmp.Diff([]row{{2, 1, 1}, {1, 10, 0}, {4, 3, 0}, {3, 2, 0}}, got); diff != "" {
		t.Errorf("processes (-want +got):\n%s", diff)
	}
	if len(f.Peers) != 1 || f.Peers[0].Addr != netip.MustParseAddrPort("10.0.0.1:443") || f.Peers[0].Counts[FlowConnects] != 10 ||
		f.Peers[0].Latency.Count() != 2 || f.Peers[0].Latency.Sum != 10000 || f.Peers[0].Role != FlowActive {
		t.Errorf("peers = %+v, want the one that moved", f.Peers)
	}
}

// A sample lists the rows with most trouble, and says how many there are besides.
func TestFlowUnlisted(t *testing.T) {
	var cur bpf.FlowReading
	for i := range flowRows + 23 {
		counts := bpf.FlowCounts{bpf.FlowConnects: uint64(i + 1)}
		cur.Processes = append(cur.Processes, bpf.FlowProcess{TGID: int32(i + 1), Counts: counts})
		cur.Peers = append(cur.Peers, bpf.FlowPeer{Port: uint16(i + 1), Counts: counts})
	}
	cur.Processes[0].Counts[bpf.FlowTimedOut] = 5
	f := deriveFlow(&bpf.FlowReading{}, &bpf.FlowReading{}, &cur, Span{}, func(Process, []byte) Raw { return Raw{} })
	if len(f.Processes) != flowRows || f.UnlistedProcesses != 23 || len(f.Peers) != flowRows || f.UnlistedPeers != 23 {
		t.Errorf("%d processes and %d more, %d peers and %d more", len(f.Processes), f.UnlistedProcesses, len(f.Peers), f.UnlistedPeers)
	}
	if f.Processes[0].TGID != 1 || f.Processes[1].TGID != flowRows+23 {
		t.Errorf("first are %d and %d, want the one with timeouts and the busiest", f.Processes[0].TGID, f.Processes[1].TGID)
	}
	thin := (&Snapshot{Flow: f}).WithoutRows().Flow
	if thin.Processes != nil || thin.UnlistedProcesses != flowRows+23 || thin.UnlistedPeers != flowRows+23 || f.Processes == nil {
		t.Errorf("without rows: %d processes not listed, want %d", thin.UnlistedProcesses, flowRows+23)
	}
}

func TestFlowEvents(t *testing.T) {
	tree := procTree{t, t.TempDir()}
	kernelTCP(tree, "0", "0")
	c, _, events := fakedFlow(t, tree, nil)
	record := func(set func(*bpf.FlowEvent)) bpf.FlowEvent {
		var e bpf.FlowEvent
		e.Head.At = uint64(100500 * time.Millisecond)
		e.Owner.Tgid, e.Owner.Start = 42, 7
		e.Comm = [16]int8{'a', 'p', 'p'}
		e.Family = 4
		e.Remote.Word = [4]uint32{0, 0, 0xffff0000, 0x0100000a}
		e.RemotePort, e.LocalPort = 443, 50000
		set(&e)
		return e
	}
	events.records[bpf.EventRetransmit] = []bpf.FlowEvent{
		record(func(e *bpf.FlowEvent) { e.What, e.Retrans, e.State = uint8(AgainTimeout), 2, 1 }),
		record(func(e *bpf.FlowEvent) { e.What, e.Reason = uint8(AgainFailed), -105 }),
	}
	events.records[bpf.EventConnectFail] = []bpf.FlowEvent{record(func(e *bpf.FlowEvent) { e.What, e.Reason = uint8(FlowRefused), 111 })}
	events.records[bpf.EventReset] = []bpf.FlowEvent{
		record(func(e *bpf.FlowEvent) { e.What, e.Reason = 1, 4 }),
		record(func(e *bpf.FlowEvent) { e.What, e.Reason, e.Family, e.Owner.Tgid = 0, -1, 0, 0 }),
	}
	for range maxListed + 5 {
		events.records[bpf.EventConnection] = append(events.records[bpf.EventConnection],
			record(func(e *bpf.FlowEvent) { e.What, e.Sent, e.Lasted = uint8(FlowEnded), 9, 1000 }))
	}
	events.counts[bpf.EventConnection] = bpf.EventCounts{Sent: maxListed + 5, Unlisted: 7, Lost: 3}
	f := collectAs[*Flow](t, c, 2*time.Second)
	peer := netip.MustParseAddrPort("10.0.0.1:443")
	if r := f.Retransmits.Rows; len(r) != 2 || r[0].Kind != FlowRetransmits || r[0].Again != AgainTimeout || r[0].Retrans != 2 ||
		r[0].Remote != peer || r[0].Process != (Process{42, 7}) || r[0].Comm.s != "app" || r[1].Kind != FlowRetransmitsFailed || r[1].Errno != 105 {
		t.Errorf("retransmits = %+v", r)
	}
	// The record is of boot time 100.5 s; at the run's second 2 boot time is 102 s.
	if at := f.Retransmits.Rows[0].At; at != 500*time.Millisecond {
		t.Errorf("a record is of %v, want 0.5 s", at)
	}
	if r := f.Failures.Rows; len(r) != 1 || r[0].Kind != FlowRefused || r[0].Errno != 111 {
		t.Errorf("failures = %+v", r)
	}
	if r := f.Resets.Rows; len(r) != 2 || r[0].Kind != FlowResetsSent || r[0].Reason != "too old ack" || r[1].Kind != FlowResetsReceived ||
		r[1].Remote.IsValid() || r[1].Process != (Process{}) {
		t.Errorf("resets = %+v", r)
	}
	if e := f.Ended; len(e.Rows) != maxListed || e.Unlisted != 5+7+3 || e.Lost != 3 || e.Rows[0].Sent != 9 {
		t.Errorf("%d ends, %d not listed, %d lost", len(e.Rows), e.Unlisted, e.Lost)
	}
	if f = collectAs[*Flow](t, c, 3*time.Second); len(f.Ended.Rows) != 0 || f.Ended.Unlisted != 0 {
		t.Errorf("the second after has %d ends and %d not listed, want none", len(f.Ended.Rows), f.Ended.Unlisted)
	}
}

// A probe that is silent while the kernel counts is attached again, and given up in the end.
func TestFlowSilent(t *testing.T) {
	tests := map[string]struct {
		opens, again bool // the kernel counts, every second
		connects     uint64
		retransmits  uint64
		errs         bpf.FlowErrs
		revived      int
		dead         bool
	}{
		"idle":                        {},
		"both count":                  {opens: true, again: true, connects: 2, retransmits: 1},
		"others' connects as well":    {connects: 9},
		"connects are not seen":       {opens: true, revived: 2, dead: true},
		"retransmits are not seen":    {again: true, connects: 1, revived: 2, dead: true},
		"a program that is not there": {again: true, connects: 1, errs: bpf.FlowErrs{Retransmit: errors.New("no hook")}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tree := procTree{t, t.TempDir()}
			kernelTCP(tree, "1", "1")
			c, fake, _ := fakedFlow(t, tree, nil)
			fake.errs = tt.errs
			counter := func(moves bool, second int) string {
				if moves {
					return strconv.Itoa(1 + 100*second)
				}
				return "1"
			}
			var failed error
			for second := range 20 {
				n := second + 1
				kernelTCP(tree, counter(tt.opens, n), counter(tt.again, n))
				fake.reading.Host.Counts[bpf.FlowConnects] += tt.connects
				fake.reading.Host.Counts[bpf.FlowRetransmits] += tt.retransmits
				if _, err := c.Collect(t.Context(), time.Duration(n)*time.Second); err != nil && !errors.Is(err, ErrWarming) {
					failed = err
				}
			}
			if (failed != nil) != tt.dead || c.again != tt.revived {
				t.Errorf("failed with %v after %d times, want %v after %d", failed, c.again, tt.dead, tt.revived)
			}
			if p := c.Probes()[0]; tt.dead && p.State != Failed {
				t.Errorf("%s is %s: %s", p.Name, p.State, p.Reason)
			}
		})
	}
}

func TestFlowNarrows(t *testing.T) {
	tree := procTree{t, t.TempDir()}
	kernelTCP(tree, "0", "0")
	c, fake, _ := fakedFlow(t, tree, nil)
	process := Target{Kind: ProcessTarget, Process: Process{42, 7}}
	cgroup := Target{Kind: CgroupTarget, Cgroup: 99}
	peer := Target{Kind: PeerTarget, Addr: netip.MustParseAddrPort("[::ffff:10.0.0.9]:443")}
	fake.reading.Narrowed[1].Counts[bpf.FlowConnects] = 1000 // of whoever had the slot before
	if err := c.Narrow([]Target{process, cgroup, peer}); err != nil {
		t.Fatal(err)
	}
	if got, want := fake.slots[3], (bpf.Filter{Kind: bpf.FilterPeer, Addr: netip.MustParseAddrPort("10.0.0.9:443")}); got != want {
		t.Errorf("the peer is filtered by %+v, want %+v", got, want)
	}
	if f := collectAs[*Flow](t, c, time.Second); f.Narrowed != nil {
		t.Errorf("the base is taken as %+v", f.Narrowed)
	}
	fake.reading.Narrowed[1].Counts[bpf.FlowConnects] += 5
	fake.reading.Narrowed[2].Hists[FlowLife][FlowNetwork].Slots[4] = 3
	fake.reading.Narrowed[3].Counts[bpf.FlowRetransmits] = 23
	fake.reading.Narrowed[3].Hists[FlowLatency][FlowNetwork].Slots[10] = 7
	f := collectAs[*Flow](t, c, 2*time.Second)
	if n := f.Narrowed; len(n) != 3 || n[0].Target != process || n[0].Since != time.Second || n[0].Sample.Counts[FlowConnects] != 5 ||
		n[1].Target != cgroup || n[1].Sample.Hists[FlowLife][FlowNetwork].Count() != 3 ||
		n[2].Target != peer || n[2].Sample.Counts[FlowRetransmits] != 23 || n[2].Sample.Hists[FlowLatency][FlowNetwork].Count() != 7 {
		t.Errorf("narrowed = %+v", n)
	}
	if f = collectAs[*Flow](t, c, 3*time.Second); f.Narrowed[0].Sample.Counts[FlowConnects] != 0 {
		t.Errorf("a second later: %+v, want nothing new", f.Narrowed[0])
	}
	if err := c.Narrow([]Target{{Kind: PeerTarget}}); err == nil {
		t.Error("a peer without an address was counted apart in the kernel")
	}
}

func TestFlowProbes(t *testing.T) {
	need := &NeedError{Need: "kernel BTF", Remedy: "boot another"}
	tests := map[string]struct {
		errs  bpf.FlowErrs
		off   map[string]bool
		probe string
		want  Probe
	}{
		"on":                {probe: "tcplife", want: Probe{State: On}},
		"no program":        {errs: bpf.FlowErrs{State: need}, probe: "tcpconnect", want: Probe{State: Off, Reason: "needs kernel BTF", Remedy: "boot another"}},
		"not this one":      {errs: bpf.FlowErrs{State: need}, probe: "tcpretrans", want: Probe{State: On}},
		"a part":            {errs: bpf.FlowErrs{SynAck: bpf.ErrUnsupported}, probe: "tcpretrans", want: Probe{State: Degraded, Reason: "answers to a SYN that are sent again are not counted: not supported by this kernel"}},
		"broken":            {errs: bpf.FlowErrs{Read: errors.New("reading map flow: no")}, probe: "tcprtt", want: Probe{State: Failed, Reason: "reading map flow: no"}},
		"switched off":      {off: map[string]bool{"tcpreset": true}, probe: "tcpreset", want: Probe{State: Off, Reason: switchedOff}},
		"nobody is asked":   {probe: "listen drops", want: Probe{State: Off, Reason: "needs sock_diag", Remedy: "have it"}},
		"old ones have one": {errs: bpf.FlowErrs{Seed: bpf.ErrUnsupported}, probe: "tcpaccept", want: Probe{State: Degraded, Reason: "the process of a connection is known only when it closes: not supported by this kernel"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tree := procTree{t, t.TempDir()}
			kernelTCP(tree, "0", "0")
			c, fake, _ := fakedFlow(t, tree, tt.off)
			fake.errs = tt.errs
			collectAs[*Flow](t, c, time.Second)
			i := slices.IndexFunc(c.Probes(), func(p Probe) bool { return p.Name == tt.probe })
			got := c.Probes()[i]
			if got := (Probe{State: got.State, Reason: got.Reason, Remedy: got.Remedy}); got != tt.want {
				t.Errorf("%s = %+v, want %+v", tt.probe, got, tt.want)
			}
		})
	}
}

// Parts that nobody wants are not attached, and all given up is said.
func TestFlowOff(t *testing.T) {
	c := &flowCollector{off: map[string]bool{"tcpretrans": true, "tcpreset": true, "tcprtt": true}}
	if diff := cmp.Diff(bpf.FlowParts{State: true, Read: true}, c.parts()); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	for _, n := range []string{"tcpconnect", "tcpaccept", "tcpconnlat", "tcplife", "tcpstates"} {
		c.off[n] = true
	}
	if err := c.Start(t.Context()); !errors.Is(err, errSwitchedOff) {
		t.Errorf("Start = %v, want %v", err, errSwitchedOff)
	}
	tree := procTree{t, t.TempDir()}
	kernelTCP(tree, "0", "0")
	d, fake, events := fakedFlow(t, tree, nil)
	if err := d.Pause(true); err != nil || !fake.paused {
		t.Errorf("Pause = %v, paused %v", err, fake.paused)
	}
	if err := d.Close(); err != nil || !fake.closed || events.opened != 0 {
		t.Errorf("Close = %v, closed %v, %d kinds open", err, fake.closed, events.opened)
	}
}
