// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
)

func TestCrowdedTable(t *testing.T) {
	h := func(tables ...collectors.NeighTable) *History {
		return ticking(10, func(i int, s *collectors.Snapshot, span collectors.Span) {
			s.Network = &collectors.Network{Span: span}
			if i%5 == 0 {
				s.Network.Neighbours = tables
			}
		})
	}
	pod := collectors.NeighHolder{Space: collectors.RawString("docker:web"), Interface: collectors.RawString("eth0"), Entries: 700}
	own := collectors.NeighHolder{Interface: collectors.RawString("eth1"), Entries: 300}
	arp := func(entries, full, forced uint64, holders ...collectors.NeighHolder) collectors.NeighTable {
		return collectors.NeighTable{Name: "arp", Entries: entries, Max: 1024, Full: full, Forced: forced, Holders: holders}
	}
	six := arp(10, 40, 40)
	six.Name = "ndisc"
	checkCases(t, "net.neighbour_full", map[string]ruleCase{
		"no room":             {h: h(arp(1024, 40, 40, pod, own)), want: "warning 8 a second by eth0 of docker:web, eth1", in: "the arp table is full"},
		"one in ten seconds":  {h: h(arp(1024, 0, 5)), want: "info 100 %", in: "1024 of 1024"},
		"nearly":              {h: h(arp(930, 0, 1)), want: "info 90.82 %", in: "old ones are thrown out"},
		"many, and permanent": {h: h(arp(5000, 0, 0))},
		"half of them":        {h: h(arp(512, 0, 1))},
		"IPv6 is worse":       {h: h(arp(930, 0, 1), six), want: "warning 8 a second", in: "the ndisc table is full"},
		"they cannot be read": {h: h()},
	})
	r := All(nil)[indexOf(t, "net.neighbour_full")]
	if why, _ := r.Blind(h()); !strings.Contains(why, "first network namespace") {
		t.Errorf("tables that cannot be read are ruled out: %q", why)
	}
	if why, _ := r.Blind(h(arp(1, 0, 0))); why != "" {
		t.Errorf("tables are not ruled out: %q", why)
	}
	if diff := cmp.Diff([]string{"arp 12 of 1024", "ndisc 10 of 1024"}, r.Evidence(h(arp(12, 0, 0), six))); diff != "" {
		t.Errorf("evidence (-want +got):\n%s", diff)
	}
}
