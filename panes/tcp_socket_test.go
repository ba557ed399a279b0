// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/triage"
)

// socketTick is what a sample says of the connection of cookie 1; a state of 0: it is not there.
type socketTick struct {
	state collectors.SocketState
	rtt   uint32
	acked uint64
}

// socketFrame is a frame whose samples have one connection, a tick each second.
func socketFrame(ticks ...socketTick) Frame {
	f := frames()["busy"]
	for i, x := range ticks {
		at := time.Duration(i+1) * time.Second
		s := &collectors.Sockets{Span: collectors.Span{From: at - time.Second, To: at}}
		if x.state != 0 {
			r := peerSocket(1, 7, x.state, 0)
			r.RTT, r.Acked = x.rtt, x.acked
			s.Rows = []collectors.SocketRow{r}
		}
		m := triage.Moment{Snapshot: &collectors.Snapshot{At: at, Sockets: s}}
		f.Past, f.Now = append(f.Past[:i:i], m), m
	}
	return f
}

// TestSocketRTT counts a round trip for each tick in which one was measured, and keeps it when the connection
// is gone.
func TestSocketRTT(t *testing.T) {
	const estab = collectors.Established
	tests := map[string]struct {
		ticks    []socketTick
		now, all uint64 // round trips
	}{
		"measured each tick":   {[]socketTick{{estab, 900, 1}, {estab, 900, 1}, {estab, 5000, 1}}, 1, 3},
		"silent in the middle": {[]socketTick{{estab, 900, 1}, {estab, 900, 0}, {estab, 900, 1}}, 1, 2},
		"silent now":           {[]socketTick{{estab, 900, 1}, {estab, 900, 0}}, 0, 1},
		"not measured yet":     {[]socketTick{{collectors.SynSent, 0, 0}, {estab, 0, 1}}, 0, 0},
		"gone":                 {[]socketTick{{estab, 900, 1}, {}}, 0, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := socketFrame(tt.ticks...)
			h := newSocketPage(1, f).distributions(f)[0].Histogram
			var now, all uint64
			if h.Now != nil {
				now, all = h.Now.Count(), h.Start.Count()
			}
			if now != tt.now || all != tt.all || (h.Now == nil) != (h.Why != "") {
				t.Errorf("round trips = %d now, %d in all, why %q; want %d and %d, and why where there are none", now, all, h.Why, tt.now, tt.all)
			}
		})
	}
	// A column a tick, those in which nothing was measured empty.
	f := socketFrame(socketTick{estab, 900, 1}, socketTick{estab, 900, 0}, socketTick{estab, 5000, 1})
	var got []uint64
	for _, h := range newSocketPage(1, f).distributions(f)[0].over(10) {
		got = append(got, h.Count())
	}
	if d := cmp.Diff([]uint64{1, 0, 1}, got); d != "" {
		t.Errorf("columns (-want +got):\n%s", d)
	}
}

// TestSocketHappened lists changes of state and what the flow program saw, newest first.
func TestSocketHappened(t *testing.T) {
	f := socketFrame(socketTick{state: collectors.SynSent}, socketTick{state: collectors.Established}, socketTick{state: collectors.Established}, socketTick{state: collectors.CloseWait})
	f.Past[2].Snapshot.Flow = &collectors.Flow{Retransmits: collectors.FlowEvents{Rows: []collectors.FlowEvent{
		{At: 2500 * time.Millisecond, Kind: collectors.FlowRetransmits, Again: collectors.AgainTimeout, Cookie: 1, Retrans: 1},
		{At: 2600 * time.Millisecond, Kind: collectors.FlowRetransmits, Again: collectors.AgainFast, Cookie: 2, Retrans: 1},
	}}}
	p := newSocketPage(1, f)
	var got []string
	for _, r := range p.happened(f, p.parts.target).Rows {
		got = append(got, r.Cells[1].Format(0)+": "+r.Cells[3].Format(0))
	}
	want := []string{"CLOSE-WAIT: was ESTAB", "retr timeout: no acknowledgement came in time", "ESTAB: was SYN-SENT"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("happened (-want +got):\n%s", d)
	}
}

// TestSocketPageGone: the page of a connection that is gone says so, and shows what was seen of it.
func TestSocketPageGone(t *testing.T) {
	here := socketFrame(socketTick{collectors.Established, 900, 1}, socketTick{collectors.Established, 900, 1})
	p := newSocketPage(1, here)
	gone := socketFrame(socketTick{collectors.Established, 900, 1}, socketTick{collectors.Established, 900, 1}, socketTick{})
	c := Canvas{Width: 80, Height: 20, Theme: plain()}
	for name, tt := range map[string]struct {
		f    Frame
		want []string
	}{
		"here": {here, []string{"ESTAB", "process web[7]", "round trip, all in sight", "rtt                       900 µs"}},
		"gone": {gone, []string{"this connection is gone", "round trip, all in sight", "0.5-1ms"}},
	} {
		got := ansi.Strip(p.View(tt.f, c))
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is not in\n%s", name, want, got)
			}
		}
	}
}

func TestHumanNumber(t *testing.T) {
	tests := []struct {
		v           float64
		unit        string
		text, shown string
	}{
		{1448, "bytes", "", "bytes"},
		{131072, "bytes", "128K", "bytes"},
		{8 << 20, "bytes", "8.0M", "bytes"},
		{1838485, "bytes/s", "1.8M", "bytes/s"},
		{5 << 30, "bytes/s", "5.0G", "bytes/s"},
		{900, "µs", "", "µs"},
		{900, "us", "", "µs"},
		{204000, "µs", "204.00", "ms"},
		{422200000, "µs", "422.20", "s"},
		{40, "ms", "", "ms"},
		{1500, "ms", "1.50", "s"},
		{1113848, "ms", "18m", ""},
		{2063544, "segments", "", "segments"},
		{-5, "bytes", "", "bytes"},
	}
	for _, tt := range tests {
		if text, shown := humanNumber(tt.v, tt.unit); text != tt.text || shown != tt.shown {
			t.Errorf("humanNumber(%v, %q) = %q, %q, want %q, %q", tt.v, tt.unit, text, shown, tt.text, tt.shown)
		}
	}
}

// TestHumanRows leaves the table of the report as it is.
func TestHumanRows(t *testing.T) {
	in := Table{Rows: []Row{{Cells: []Cell{Say("as"), Number(1 << 20), Say("unlimited"), Say("bytes")}}}}
	out := humanRows(in, 3, 1, 2)
	if got := out.Rows[0].Cells; got[1].Format(0) != "1.0M" || got[2].Format(0) != "unlimited" || got[3].Format(0) != "bytes" {
		t.Errorf("humanRows = %v", got)
	}
	if v, ok := in.Rows[0].Cells[1].Num(); !ok || v != 1<<20 {
		t.Errorf("the table itself changed: %v", in.Rows[0].Cells)
	}
}
