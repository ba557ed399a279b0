// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"bpf60/collectors"
)

// peerFrame is a run in which the host makes 1000 connections and asks 100 questions a second, and of them
// 23 connections and 7 questions are of 10.0.0.9, counted apart from the third second on.
func peerFrame(t *testing.T, scope Scope) Frame {
	t.Helper()
	peer := aboutPeer(netip.MustParseAddr("10.0.0.9"))
	var samples []*collectors.Flow
	for i := range 6 {
		s := flowSample(1, "10.0.0.9:80", 1000, 0)
		s.Total.Hists[collectors.FlowLatency][collectors.FlowNetwork].Slots[5] = uint64(1000 * (i + 1))
		if i >= 2 {
			var d collectors.FlowDelta
			d.Counts[collectors.FlowConnects], d.Counts[collectors.FlowRetransmits] = 23, 2
			d.Hists[collectors.FlowLatency][collectors.FlowNetwork].Slots[12] = 23
			d.Hists[collectors.FlowRTT][collectors.FlowNetwork].Slots[11] = 5
			d.Hists[collectors.FlowLife][collectors.FlowNetwork].Slots[20] = 3
			s.Narrowed = []collectors.Targeted[collectors.FlowDelta]{{Target: peer, Since: time.Second, Sample: d}}
		}
		samples = append(samples, s)
	}
	f := flowFrame(samples...)
	for i, m := range f.Past {
		d := &collectors.DNS{Span: m.Flow.Span}
		d.Host.Queries, d.Host.Answers, d.Host.Latency.Slots[4] = 100, 100, 100
		d.Total = d.Host
		if i >= 2 {
			var x collectors.DNSNarrowed
			x.Delta.Queries, x.Delta.Answers, x.Delta.Latency.Slots[13] = 7, 7, 7
			d.Narrowed = []collectors.Targeted[collectors.DNSNarrowed]{{Target: peer, Since: time.Second, Sample: x}}
		}
		m.DNS = d
	}
	f.Scope, f.Live = scope, f.Past
	return f
}

// TestPeerScope: with a peer as scope the distributions of TCP and DNS are its own, and say so; what was
// not counted apart has a reason, and is not the host's.
func TestPeerScope(t *testing.T) {
	at := func(s string) Scope {
		return NewScope(collectors.Target{Kind: collectors.PeerTarget, Addr: netip.MustParseAddrPort(s)})
	}
	for name, tt := range map[string]struct {
		scope   Scope
		connect uint64 // events of the window; with all that is in sight the same
		dns     uint64
		of, tcp string
	}{
		"the host":       {Scope{}, 6000, 600, "", "connect latency ── last 10 s"},
		"the peer":       {at("10.0.0.9:0"), 92, 28, " of 10.0.0.9", "connect latency of 10.0.0.9 ── last 10 s"},
		"one of its":     {at("10.0.0.9:443"), 0, 0, " of 10.0.0.9:443", "connect latency of 10.0.0.9:443 ── last 10 s"},
		"nobody's":       {at("10.0.0.8:0"), 0, 0, " of 10.0.0.8", "connect latency of 10.0.0.8 ── last 10 s"},
		"a disk has all": {NewScope(aboutDisk(8<<20, "sda")), 6000, 600, "", "connect latency ── last 10 s"},
	} {
		f := peerFrame(t, tt.scope)
		hists := append(NewTCP().Table(f).Histograms[:1], NewDNS().Table(f).Histograms...)
		for i, want := range []uint64{tt.connect, tt.dns} {
			h, title, got := hists[i], []string{"connect latency", "DNS latency"}[i]+tt.of, uint64(0)
			if h.Now != nil {
				got = h.Now.Count()
			}
			if h.Title != title || got != want || (want == 0) != (h.Now == nil && h.Why != "") {
				t.Errorf("%s: %q has %d events, %q, want %q and %d", name, h.Title, got, h.Why, title, want)
			}
			if tt.of != "" && want > 0 && (h.Start.Count() != want || h.Since != sinceScoped) {
				t.Errorf("%s: %q: %s %d, want %d of the scope", name, h.Title, h.Since, h.Start.Count(), want)
			}
		}
		p := NewTCP()
		p.part = tcpDelays
		f.sight = &sight{}
		for how := range drawings {
			for split := range flowPaths {
				p.delays.draw, p.delays.split = how, split
				view := ansi.Strip(p.View(f, Canvas{Width: 80, Height: 21, Theme: plain()}))
				if title := strings.Split(tt.tcp, " ── ")[0]; !strings.Contains(view, title) || how == asHistogram && split == everyPath && !strings.Contains(view, tt.tcp) {
					t.Errorf("%s: latency as %v, %v, has no %q:\n%s", name, how, split, tt.tcp, view)
				}
				for line := range strings.Lines(view) {
					if w := ansi.StringWidth(strings.TrimRight(line, "\n")); w > 80 {
						t.Errorf("%s: a line is %d wide: %q", name, w, line)
					}
				}
			}
		}
		if badge, want := f.sight.badge(f, 60), tt.of != ""; tt.scope.On() && strings.Contains(badge, "whole host") == want {
			t.Errorf("%s: the title of latency says %q", name, badge)
		}
		f.sight = nil
		d, of := NewDNS(), "all servers"
		if tt.of != "" {
			of = tt.scope.Name
		}
		for how := range drawings {
			d.draw = how
			if view := ansi.Strip(d.View(f, Canvas{Width: 80, Height: 21, Theme: plain()})); !strings.Contains(view, "── "+of+" ") {
				t.Errorf("%s: DNS as %v is not of %q:\n%s", name, how, of, view)
			}
		}
		var line string
		if wants := append(NewTCP().Wants(f.Scope), NewDNS().Wants(f.Scope)...); tt.of != "" {
			line = scopeLine(f, Canvas{Width: 120, Theme: plain()}, wants)
		}
		if want := "connects 23.0/s"; tt.connect == 92 && (!strings.Contains(line, want) || !strings.Contains(line, "questions 7.0/s")) {
			t.Errorf("%s: below the title stands %q, want %q and its questions", name, line, want)
		}
	}
}

// TestPeerCountedApart: the page of a peer takes what the kernel counts apart, and before that its services.
func TestPeerCountedApart(t *testing.T) {
	p := newPeerPage(netip.MustParseAddr("::ffff:10.0.0.9"))
	f := peerFrame(t, Scope{})
	if w := p.Wants(Scope{}); len(w) != 2 || w[0] != (collectors.Want{ID: collectors.FlowID, Target: aboutPeer(p.addr)}) {
		t.Errorf("the page wants %+v", w)
	}
	want := map[string]uint64{"connect": 4 * 23, "rtt": 4 * 5, "life": 4 * 3}
	for _, h := range p.Table(f).Histograms {
		if h.Now.Count() != want[h.ID] || h.Start.Count() != want[h.ID] {
			t.Errorf("%s: %d and %d events, want %d", h.Title, h.Now.Count(), h.Start.Count(), want[h.ID])
		}
		delete(want, h.ID)
	}
	if len(want) > 0 {
		t.Errorf("not drawn: %v", want)
	}
	if got := p.sum(f).Counts[collectors.FlowConnects]; got != 2*1000+4*23 {
		t.Errorf("%d connects, want two seconds of its services and four of its own", got)
	}
	page := newDNSPage(&dnsGroup{server: p.addr})
	if w := page.Wants(Scope{}); len(w) != 1 || w[0] != (collectors.Want{ID: collectors.DNSID, Target: aboutPeer(p.addr)}) {
		t.Errorf("the page of a server wants %+v", w)
	}
}
