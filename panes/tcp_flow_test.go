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

// flowFrame is a run of samples, one a second; nil is a second without one.
func flowFrame(samples ...*collectors.Flow) Frame {
	f := Frame{At: began}
	for i, s := range samples {
		at := time.Duration(i) * time.Second
		if s != nil {
			s.Span = collectors.Span{From: at - time.Second, To: at}
		}
		f.Past = append(f.Past, triage.Moment{Snapshot: &collectors.Snapshot{At: at, Flow: s}})
	}
	f.Now = f.Past[len(f.Past)-1]
	return f
}

// flowSample counts connects, and refused ones, of a process to an address.
func flowSample(pid int32, peer string, connects, refused uint64) *collectors.Flow {
	c := collectors.FlowCounts{collectors.FlowConnects: connects, collectors.FlowRefused: refused}
	s := &collectors.Flow{}
	s.Host.Counts = c
	s.Host.Hists[collectors.FlowLatency][collectors.FlowNetwork].Slots[5] = uint32(connects)
	s.Total.Counts = c
	s.Processes = []collectors.FlowProcess{{Process: collectors.Process{TGID: pid}, Comm: collectors.RawString("app"), Counts: c}}
	s.Peers = []collectors.FlowPeer{{Addr: netip.MustParseAddrPort(peer), Role: collectors.FlowActive, Counts: c}}
	return s
}

// The rates of a peer are the mean of the window, or of the time since it was first seen.
func TestPeerRates(t *testing.T) {
	other, mine := flowSample(1, "10.0.0.9:80", 1, 0), func() *collectors.Flow { return flowSample(1, "10.0.0.1:80", 6, 0) }
	for name, tt := range map[string]struct {
		samples []*collectors.Flow
		want    string
	}{
		"since a second":   {[]*collectors.Flow{other, other, other, other, mine()}, "6.0 in 1 s"},
		"since three":      {[]*collectors.Flow{other, other, mine(), mine(), mine()}, "6.0 in 3 s"},
		"with a gap":       {[]*collectors.Flow{other, mine(), flowSample(1, "10.0.0.9:80", 2, 0), mine()}, "4.0 in 3 s"},
		"for a long time":  {[]*collectors.Flow{mine(), mine(), mine(), mine(), mine(), mine(), mine(), mine(), mine(), mine(), mine(), mine()}, "6.0 in 10 s"},
		"seen before that": {[]*collectors.Flow{mine(), nil, nil, nil, nil, nil, nil, nil, nil, nil, other, mine()}, "3.0 in 2 s"},
	} {
		samples := tt.samples
		for i, s := range samples { // each its own: a frame gives it its span
			if s != nil {
				one := *s
				samples[i] = &one
			}
		}
		p := newPeerPage(netip.MustParseAddr("10.0.0.1"))
		f := flowFrame(samples...)
		got := p.numbers(f, p.parts.target)
		if len(got.Rows) == 0 || len(got.Facts) == 0 {
			t.Errorf("%s: no numbers: %+v", name, got)
			continue
		}
		if says := got.Rows[0].Cells[1].Format(1) + " in " + got.Facts[0].Cell.Format(0) + " s"; says != tt.want {
			t.Errorf("%s: connects %s, want %s", name, says, tt.want)
		}
	}
}

// The tables of connections sum the last ten seconds, or a report's span; a sample that has stopped is
// not shown as now.
func TestFlowOver(t *testing.T) {
	many := make([]*collectors.Flow, 31)
	for i := range many {
		many[i] = flowSample(int32(1+i%2), "10.0.0.1:80", 2, 0)
	}
	stale := append(append([]*collectors.Flow{}, many[:5]...), nil, nil, nil)
	for name, tt := range map[string]struct {
		f    Frame
		span time.Duration
		want uint64 // connects; 0: nothing to show
	}{
		"the screen":  {f: flowFrame(many...), want: 20},
		"a report":    {f: flowFrame(many...), span: time.Hour, want: 62},
		"too old":     {f: flowFrame(stale...)},
		"no sample":   {f: flowFrame(nil, nil)},
		"no snapshot": {f: Frame{}},
	} {
		tt.f.Span = tt.span
		s := flowOver(tt.f)
		if (s != nil) != (tt.want > 0) {
			t.Errorf("%s: something to show is %v", name, s != nil)
			continue
		}
		if s == nil {
			continue
		}
		if got := s.Host.Counts[collectors.FlowConnects]; got != tt.want {
			t.Errorf("%s: %d connects, want %d", name, got, tt.want)
		}
		if len(s.Processes) != 2 || len(s.Peers) != 1 || s.Peers[0].Counts[collectors.FlowConnects] != tt.want ||
			s.Processes[0].Counts[collectors.FlowConnects]+s.Processes[1].Counts[collectors.FlowConnects] != tt.want {
			t.Errorf("%s: processes %+v, peers %+v", name, s.Processes, s.Peers)
		}
		if h := flowHist(&s.Host, collectors.FlowLatency); h.Count() != tt.want {
			t.Errorf("%s: a histogram of %d, want %d", name, h.Count(), tt.want)
		}
	}
}

// TestJoin: a sum of samples is as long as they are together, whatever lies between them.
func TestJoin(t *testing.T) {
	at := func(from, to time.Duration) collectors.Span {
		return collectors.Span{From: from * time.Second, To: to * time.Second}
	}
	for name, tt := range map[string]struct {
		spans []collectors.Span
		want  collectors.Span
	}{
		"none":           {},
		"one":            {[]collectors.Span{at(4, 6)}, at(4, 6)},
		"side by side":   {[]collectors.Span{at(0, 1), at(1, 3), at(3, 4)}, at(0, 4)},
		"one s in three": {[]collectors.Span{at(0, 1), at(3, 4), at(6, 7)}, at(4, 7)},
		"newest first":   {[]collectors.Span{at(6, 7), at(3, 4), at(0, 1)}, at(4, 7)},
		"a baseline":     {[]collectors.Span{at(0, 0), at(0, 1), at(5, 5), at(5, 6)}, at(4, 6)},
		"two visits":     {[]collectors.Span{at(30, 60), at(540, 570)}, at(510, 570)},
	} {
		var got collectors.Span
		for _, s := range tt.spans {
			got = join(got, s)
		}
		if got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestRatesOfGaps: where a collector looks one second in three the rate is of the seconds it looked, for the
// host and for a peer alike.
func TestRatesOfGaps(t *testing.T) {
	f := flowFrame(flowSample(1, "10.0.0.9:80", 1000, 0), nil, nil, flowSample(1, "10.0.0.1:80", 1000, 0), nil, nil, flowSample(1, "10.0.0.1:80", 1000, 0))
	f.Span = f.Now.At
	s, p := flowOver(f), newPeerPage(netip.MustParseAddr("10.0.0.1"))
	if got := perSecond(s.Host.Counts[collectors.FlowConnects], s.Span).Format(0); got != "1000" {
		t.Errorf("the host connects %s/s, want 1000", got)
	}
	sum := p.sum(f)
	if got := perSecond(sum.Counts[collectors.FlowConnects], p.over(f, s)).Format(0); got != "1000" {
		t.Errorf("the peer connects %s/s, want 1000", got)
	}
}

func TestFlowWorst(t *testing.T) {
	quiet, refused, slow := flowSample(7, "10.0.0.1:80", 9, 0), flowSample(7, "10.0.0.2:6379", 9, 3), flowSample(8, "10.0.0.3:443", 1, 0)
	for _, c := range []*collectors.FlowCounts{&slow.Host.Counts, &slow.Processes[0].Counts, &slow.Peers[0].Counts} {
		c[collectors.FlowRetransmits] = 4
	}
	eyeballs := flowSample(7, "[2001:db8::1]:443", 9, 0)
	eyeballs.Host.Counts[collectors.FlowGivenUp] = 5
	full := flowSample(7, "10.0.0.2:6379", 9, 3)
	full.Listen = collectors.FlowListens{Overflows: 4, Drops: 4, Rows: []collectors.FlowListen{{
		SocketID: &collectors.SocketID{Local: netip.MustParseAddrPort("0.0.0.0:443"), Owner: &collectors.SocketOwner{Process: collectors.Process{TGID: 5}, Comm: collectors.RawString("web")}},
		Drops:    4,
	}}}
	for name, tt := range map[string]struct {
		s    *collectors.Flow
		want string
		full bool
	}{
		"nothing wrong":        {s: quiet},
		"refused":              {s: refused, want: "refused 10.0.0.2:6379 app[7]"},
		"sent again":           {s: slow, want: "retransmits 10.0.0.3:443 app[8]"},
		"the slower of two":    {s: eyeballs},
		"a queue that is full": {s: full, want: ":443 web[5]", full: true},
	} {
		got, isFull := flowWorst(flowOver(flowFrame(nil, tt.s)))
		if got != tt.want || isFull != tt.full {
			t.Errorf("%s: flowWorst = %q, %v, want %q, %v", name, got, isFull, tt.want, tt.full)
		}
	}
}

// What went wrong is named above the sockets too, which are of one network namespace, and the checklist leads to it.
func TestFlowWorstIsShown(t *testing.T) {
	slow := flowSample(8, "10.0.0.3:443", 2, 0)
	for _, c := range []*collectors.FlowCounts{&slow.Host.Counts, &slow.Processes[0].Counts, &slow.Peers[0].Counts} {
		c[collectors.FlowRetransmits] = 4
	}
	shown := func(s *collectors.Flow) Frame {
		f := flowFrame(s)
		f.Now.TCP = &collectors.TCP{Span: s.Span}
		return f
	}
	f := shown(slow)
	c := Canvas{Width: 80, Height: 24}
	if got, want := eventLine(f, c, tcpOver(f)), " ext   retransmits 10.0.0.3:443 app[8] all netns"; !strings.HasPrefix(got, want) {
		t.Errorf("eventLine = %q, want %q", got, want)
	}
	if got := tcpLine(f).row; got != "events/" {
		t.Errorf("the checklist leads to the row %q, want events/", got)
	}
	if got := tcpLine(shown(flowSample(7, "10.0.0.2:6379", 9, 0))).row; got != "" {
		t.Errorf("with nothing wrong the checklist leads to %q", got)
	}
}

// Events of several seconds and lists come newest first, and what is not listed is told.
func TestFlowEventOrder(t *testing.T) {
	event := func(ms int, kind collectors.FlowCounter) collectors.FlowEvent {
		return collectors.FlowEvent{At: time.Duration(ms) * time.Millisecond, Kind: kind, Remote: netip.MustParseAddrPort("10.0.0.1:80")}
	}
	one := &collectors.Flow{
		Retransmits: collectors.FlowEvents{Rows: []collectors.FlowEvent{event(100, collectors.FlowRetransmits), event(900, collectors.FlowRetransmits)}, Unlisted: 3},
		Failures:    collectors.FlowEvents{Rows: []collectors.FlowEvent{event(500, collectors.FlowRefused)}},
	}
	two := &collectors.Flow{Resets: collectors.FlowEvents{Rows: []collectors.FlowEvent{event(1200, collectors.FlowResetsReceived)}, Unlisted: 1}}
	f := flowFrame(nil, one, two)
	rows, unlisted := flowEvents(f, flowTrouble, nil)
	var at []int64
	for _, e := range rows {
		at = append(at, e.At.Milliseconds())
	}
	if len(at) != 4 || at[0] != 1200 || at[1] != 900 || at[2] != 500 || at[3] != 100 || unlisted != 4 {
		t.Errorf("events at %v, %d not listed", at, unlisted)
	}
	table := flowEventTable(f, nil)
	if got := table.Rows[0].Cells[0].Format(0); got != "09:25:59" { // 0.8 s before the frame's time, 09:26:00
		t.Errorf("the newest is of %s", got)
	}
	if len(table.Notes) != 1 || !strings.HasPrefix(table.Notes[0], "4 further") {
		t.Errorf("notes %q", table.Notes)
	}
}

// t goes through the parts, v and V through the tables of one, and Enter opens a peer.
func TestTCPParts(t *testing.T) {
	var got []collectors.Want
	r := resize(root(busyStory(91).frame(), func(c *Config) { c.Want = func(_ string, w []collectors.Want) { got = w } }), 80, 24)
	see := func(keys []string, want string) {
		t.Helper()
		press(r, keys...)
		if !strings.Contains(r.View(), want) {
			t.Errorf("after %v there is no %q in\n%s", keys, want, r.View())
		}
	}
	see([]string{"7", "t"}, "newest first")
	if len(got) != 0 {
		t.Errorf("the events want %+v, want nothing", got)
	}
	see([]string{"V"}, "mean ms")
	see([]string{"enter"}, "a change of state has no page")
	see([]string{"v", "v", "enter"}, "TCP › 10.") // the newest connection that ended
	see([]string{"esc", "t"}, "connect latency")
	see([]string{"w"}, "round trip")
	see([]string{"i"}, "by path")
	see([]string{"v"}, "p99")
	see([]string{"enter"}, "there is nothing below a distribution")
	see([]string{"t", "v", "v", "enter"}, "peer")
}

// Every cell of what happened that is missing says why, and a row is as wide as its columns.
func TestFlowMissingSaysWhy(t *testing.T) {
	for name, f := range frames() {
		for _, x := range flowSections() {
			table := x.of(f)
			for _, r := range table.Rows {
				if len(r.Cells) != len(table.Columns) {
					t.Fatalf("%s, %s: a row of %d cells, want %d", name, x.id, len(r.Cells), len(table.Columns))
				}
				for i, c := range r.Cells {
					if !c.Known() && c.Why == "" {
						t.Errorf("%s, %s, row %s: %s is missing and does not say why", name, x.id, r.ID, table.Columns[i].Title)
					}
				}
			}
		}
	}
}
