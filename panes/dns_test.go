// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
	"strings"
	"testing"

	"bpf60/collectors"
)

func TestDNSFlows(t *testing.T) {
	tests := map[string]struct {
		keys       []string
		want, lack []string
	}{
		"by its name":              {[]string{":", "d", "n", "s", "enter"}, []string{"── dns ──", "[servers]", "127.0.0.53 (here)", "10.0.0.3", "NXDOMAIN"}, []string{"php-fpm"}},
		"from the network":         {[]string{"6", "d"}, []string{"[servers]"}, nil},
		"from tcp":                 {[]string{"7", "d"}, []string{"[servers]"}, nil},
		"processes":                {[]string{"6", "d", "i"}, []string{"[processes]", "systemd-resolve", "php-fpm", "Enter process"}, nil},
		"questions":                {[]string{"6", "d", "i", "i"}, []string{"[questions]", "db.internal.example", "SERVFAIL", "none"}, []string{"latency"}},
		"a hostile name":           {[]string{"6", "d", "i", "i"}, []string{`\x1b]0;x\x07`}, []string{"\x07"}},
		"drawn over time":          {[]string{"6", "d", "v"}, []string{"latency over time", "◆ p99", "v heat map"}, nil},
		"the page of a server":     {[]string{"6", "d", "j", "enter"}, []string{"› 10.0.0.2", "systemd-resolve", "unanswered", "latency", "db.internal"}, []string{"php-fpm"}},
		"the page of a process":    {[]string{"6", "d", "i", "enter"}, []string{"› php-fpm[812]", "127.0.0.53", "p50"}, []string{"10.0.0.3"}},
		"the questions of a page":  {[]string{"6", "d", "j", "enter", "i"}, []string{"i processes", ">"}, nil},
		"esc keeps the row":        {[]string{"6", "d", "j", "enter", "esc"}, []string{"[servers]"}, nil},
		"sorts":                    {[]string{"6", "d", ">"}, []string{"↓query/s"}, nil},
		"a row of the other table": {[]string{"6", "d", "row processes/812 812000000000"}, []string{"[processes]"}, nil},
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

// TestDNSSums holds that the tables by server and by process are two ways through the same numbers.
func TestDNSSums(t *testing.T) {
	v := dnsOver(busyStory(91).frame())
	if v == nil || math.Abs(v.seconds-10) > 0.01 {
		t.Fatalf("the view is over %+v", v)
	}
	sum := func(groups []*dnsGroup) (c collectors.DNSCounts) {
		for _, g := range groups {
			c.Plus(&g.counts)
		}
		return c
	}
	servers, processes := sum(v.groups(true, nil)), sum(v.groups(false, nil))
	if servers != processes || servers != v.host || servers.Queries == 0 {
		t.Errorf("by server %d questions, by process %d, of the host %d", servers.Queries, processes.Queries, v.host.Queries)
	}
	if n := v.host.Latency.Count(); n != v.host.Answers {
		t.Errorf("%d latencies of %d answers", n, v.host.Answers)
	}
}

// TestDNSPageWants narrows to the process in the kernel, and to nothing for a server.
func TestDNSPageWants(t *testing.T) {
	process := collectors.Process{TGID: 812, Start: 812e9}
	w := newDNSPage(&dnsGroup{process: process}).Wants(Scope{})
	if len(w) != 1 || w[0].ID != collectors.DNSID || w[0].Target.Process != process || w[0].Target.Kind != collectors.ProcessTarget {
		t.Errorf("a process's page wants %+v", w)
	}
	if w := newDNSPage(&dnsGroup{}).Wants(Scope{}); len(w) != 0 {
		t.Errorf("a page of no process wants %+v", w)
	}
}

func TestDNSWords(t *testing.T) {
	for code, want := range map[uint8]string{0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED", 9: "RCODE9", collectors.RcodeUnread: "unread"} {
		if got := rcodeName(code); got != want {
			t.Errorf("rcodeName(%d) = %q, want %q", code, got, want)
		}
	}
	for typ, want := range map[uint16]string{0: "?", 1: "A", 28: "AAAA", 65: "HTTPS", 257: "257"} {
		if got := typeName(typ); got != want {
			t.Errorf("typeName(%d) = %q, want %q", typ, got, want)
		}
	}
	for want, p := range map[string][2]uint16{"udp": {0x0800, 17}, "udp6": {0x86dd, 17}, "icmp6": {0x86dd, 58}, "arp": {0x0806, 0}, "0xbeef": {0xbeef, 0}, "-": {0, 0}, "ip 99": {0x0800, 99}} {
		if got := protocolName(p[0], uint8(p[1])); got != want {
			t.Errorf("protocolName(%#x, %d) = %q, want %q", p[0], p[1], got, want)
		}
	}
}

// TestDNSPageStart holds that the page of a server offers no mark, which nothing there would follow, and
// says since when its totals are.
func TestDNSPageStart(t *testing.T) {
	p := newDNSPage(&dnsGroup{process: collectors.Process{TGID: 5}})
	for _, k := range p.Keys() {
		if k.ID == keyReset {
			t.Error("the page has the key of the mark")
		}
	}
	h := p.histogram(Frame{}, &dnsView{})
	if head := stats(plain(), h)[0]; !strings.HasSuffix(head, "listed") {
		t.Errorf("the numbers are headed %q, want listed", head)
	}
}
