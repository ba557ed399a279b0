// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
)

func TestArrange(t *testing.T) {
	f := func(id string, s Severity, since int, explains ...string) Finding {
		return Finding{ID: id, Severity: s, Since: time.Duration(since) * time.Second, Explains: explains}
	}
	tests := map[string]struct {
		live []Finding
		want []string // id, severity, cause
	}{
		"none": {},
		"worst first, then oldest, then as they came": {
			live: []Finding{f("info", Info, 1), f("w2", Warning, 5), f("w1", Warning, 3), f("crit", Critical, 9), f("w1b", Warning, 3)},
			want: []string{"crit critical", "w1 warning", "w1b warning", "w2 warning", "info info"},
		},
		"an effect is milder and under its cause": {
			live: []Finding{f("disk", Critical, 1), f("other", Warning, 1), f("mem", Critical, 2, "disk")},
			want: []string{"mem critical", "disk warning <mem", "other warning"},
		},
		"what is only told takes nothing off a warning": {
			live: []Finding{f("effect", Warning, 1), f("cause", Info, 2, "effect")},
			want: []string{"cause info", "effect warning <cause"},
		},
		"an info stays info": {
			live: []Finding{f("effect", Info, 1), f("cause", Info, 2, "effect")},
			want: []string{"cause info", "effect info <cause"},
		},
		"a tree is as bad as its worst effect": {
			live: []Finding{
				f("big", Info, 1, "part1", "part2"), f("part1", Info, 1), f("part2", Info, 1),
				f("effect", Critical, 2), f("cause", Info, 3, "effect"),
			},
			want: []string{"cause info", "effect critical <cause", "big info", "part1 info <big", "part2 info <big"},
		},
		"of equals the larger tree": {
			live: []Finding{f("alone", Info, 1), f("effect", Info, 2), f("cause", Info, 3, "effect")},
			want: []string{"cause info", "effect info <cause", "alone info"},
		},
		"of what is only told the latest": {
			live: []Finding{f("old kill", Info, -900), f("busy", Info, 7)},
			want: []string{"busy info", "old kill info"},
		},
		"a chain": {
			live: []Finding{f("c", Critical, 1), f("b", Critical, 1, "c"), f("a", Critical, 1, "b")},
			want: []string{"a critical", "b warning <a", "c warning <b"},
		},
		"two causes: the worse, and then the older": {
			live: []Finding{f("effect", Warning, 1), f("mild", Warning, 1, "effect"), f("bad", Critical, 9, "effect"), f("late", Critical, 10, "effect")},
			want: []string{"bad critical", "effect info <bad", "late critical", "mild warning"},
		},
		"siblings in order": {
			live: []Finding{f("x", Info, 1), f("y", Critical, 2), f("root", Warning, 3, "x", "y")},
			want: []string{"root warning", "y warning <root", "x info <root"},
		},
		"a circle keeps its worst as the root": {
			live: []Finding{f("a", Warning, 1, "b"), f("b", Critical, 2, "c"), f("c", Warning, 3, "a")},
			want: []string{"b critical", "c info <b", "a info <c"},
		},
		"nothing explains itself": {
			live: []Finding{f("a", Warning, 1, "a")},
			want: []string{"a warning"},
		},
		"what is not there explains nothing": {
			live: []Finding{f("a", Warning, 1, "gone")},
			want: []string{"a warning"},
		},
		"an old cause is forgotten": {
			live: []Finding{{ID: "a", Severity: Warning, CausedBy: "gone"}},
			want: []string{"a warning"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before := fmt.Sprintf("%+v", tt.live)
			var got []string
			for _, f := range arrange(tt.live) {
				s := f.ID + " " + f.Severity.String()
				if f.CausedBy != "" {
					s += " <" + f.CausedBy
				}
				got = append(got, s)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("arrange (-want +got):\n%s", diff)
			}
			if after := fmt.Sprintf("%+v", tt.live); after != before {
				t.Errorf("arrange wrote to its argument: %s, was %s", after, before)
			}
		})
	}
}

// A cause concerns what its effect does: another disk, peer or process explains nothing.
func TestCausesConcernTheSame(t *testing.T) {
	on := func(id, resource string, explains ...string) Finding {
		return Finding{ID: id, Severity: Warning, Resource: resource, Explains: explains}
	}
	by := func(f Finding, list ...Culprit) Finding { f.Culprits = list; return f }
	at := func(addr string) Culprit { return peer(service{addr: netip.MustParseAddrPort(addr)}, 0) }
	app, db := process(app(8), 0), process(app(9), 0)
	db.Cgroup = collectors.Clean(collectors.RawString("pod-db"))
	pod := Culprit{Kind: "cgroup", Name: db.Cgroup, Target: cgroupTarget(7, "/pod-db")}
	churn := on("net.connection_churn", "connections", "net.connect_failures")
	churn.Victims = []Culprit{at("10.0.0.1:80")}
	for name, tt := range map[string]struct {
		cause, effect Finding
		want          bool
	}{
		"the same disk":           {on("disk.background", "sda", "disk.latency"), on("disk.latency", "sda"), true},
		"another disk":            {on("disk.background", "sdb", "disk.latency"), on("disk.latency", "sda"), false},
		"memory and a disk":       {on("mem.pressure", "memory", "disk.latency"), on("disk.latency", "sda"), true},
		"a disk and who waits":    {on("disk.latency", "sda", "fs.slow"), on("fs.slow", "file systems"), true},
		"the same peer":           {by(on("net.retransmits", "connections", "net.connect_failures"), at("10.0.0.1:80"), at("10.0.0.2:80")), by(on("net.connect_failures", "x"), at("10.0.0.2:443")), true},
		"another peer":            {by(on("net.retransmits", "connections", "net.connect_failures"), at("10.0.0.1:80")), by(on("net.connect_failures", "x"), at("10.0.0.2:80")), false},
		"churn at another peer":   {churn, by(on("net.connect_failures", "x"), at("10.0.0.2:80")), false},
		"all peers":               {on("net.conntrack_full", "x", "net.connect_failures"), by(on("net.connect_failures", "x"), at("10.0.0.2:80")), true},
		"the same process":        {by(on("cpu.switch_storm", "cpu", "cpu.saturated"), app), by(on("cpu.saturated", "cpu"), db, app), true},
		"another process":         {by(on("cpu.switch_storm", "cpu", "cpu.saturated"), app), by(on("cpu.saturated", "cpu"), db), false},
		"a process of the cgroup": {by(on("cpu.syscall_storm", "cpu", "cpu.saturated"), db), by(on("cpu.saturated", "cpu"), pod), true},
		"of another cgroup":       {by(on("cpu.syscall_storm", "cpu", "cpu.saturated"), app), by(on("cpu.saturated", "cpu"), pod), false},
	} {
		t.Run(name, func(t *testing.T) {
			list := arrange([]Finding{tt.effect, tt.cause})
			i := slices.IndexFunc(list, func(f Finding) bool { return f.ID == tt.effect.ID })
			if got := list[i].CausedBy == tt.cause.ID; got != tt.want {
				t.Errorf("%s under %s: %v, want %v", tt.effect.ID, tt.cause.ID, got, tt.want)
			}
			if got := list[i].Severity == Warning; got == tt.want {
				t.Errorf("%s is %v", tt.effect.ID, list[i].Severity)
			}
		})
	}
}
