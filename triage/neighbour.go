// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"

	"bpf60/collectors"
)

// crowdedTable: the kernel's table of neighbours has no room for another one: packets to it are dropped.
func crowdedTable(chosen Limits) Rule {
	r := Rule{
		ID: "net.neighbour_full", Says: "the kernel's table of neighbours (ARP, IPv6) has no room: others on the local networks cannot be reached; info when it is nearly full",
		Resource: "neighbours", Needs: []string{"sar DEV"},
	}
	rate := r.limit(chosen, Limit{"rate", 0.1, "a second", 0.01, 1e6, "neighbours that found no room, in 10 s"})
	share := r.limit(chosen, Limit{"share", 90, "%", 1, 100, "of gc_thresh3 in use while old ones are thrown out for room, from which it is told"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		seconds := 0.0
		sums := map[string]*collectors.NeighTable{}
		var names []string
		for _, m := range w.moments {
			if m.Network == nil {
				continue
			}
			seconds += m.Network.Seconds()
			for i := range m.Network.Neighbours {
				x := &m.Network.Neighbours[i]
				s := sums[x.Name]
				if s == nil {
					s = &collectors.NeighTable{Name: x.Name}
					sums[x.Name], names = s, append(names, x.Name)
				}
				s.Entries, s.Max = x.Entries, x.Max
				s.Full += x.Full
				s.Forced += x.Forced
				if x.Holders != nil {
					s.Holders = x.Holders
				}
			}
		}
		if seconds < covered {
			return Finding{}, nil
		}
		var worst Finding
		for _, name := range names {
			x := sums[name]
			lost := float64(x.Full) / seconds
			family, command := "ipv4", "ip neigh | wc -l"
			if name != "arp" {
				family, command = "ipv6", "ip -6 neigh | wc -l"
			}
			f := Finding{
				ID: "net.neighbour_full", Severity: Warning, Resource: name, Line: "sar DEV", N: x.Entries, Window: recentFor,
				Evidence: []string{fmt.Sprintf("%d entries, %d are the most (net.%s.neigh.default.gc_thresh3)", x.Entries, x.Max, family)},
				Explains: []string{"net.connect_failures", "net.retransmits", "net.dns_slow", "kernel.errors"}, Pane: "network",
				Command: command + "; cat /proc/net/stat/" + name + "_cache; sysctl net." + family + ".neigh.default",
			}
			switch {
			case lost >= rate:
				f.Value, f.Threshold, f.Unit = lost, rate, "a second"
				f.Title = fmt.Sprintf("the %s table is full: %.1f neighbours a second find no room", name, lost)
				for i := range x.Holders {
					f.Culprits = append(f.Culprits, holder(&x.Holders[i], x.Entries))
				}
			case x.Max > 0 && x.Forced > 0 && percent(x.Entries, x.Max) >= share:
				f.Severity, f.Value, f.Threshold, f.Unit = Info, percent(x.Entries, x.Max), share, "%"
				f.Title = fmt.Sprintf("the %s table has %d of %d neighbours, and old ones are thrown out for room", name, x.Entries, x.Max)
			default:
				continue
			}
			if worst.ID == "" || f.Severity > worst.Severity {
				worst = f
			}
		}
		return worst, nil
	})
	r.Blind = func(h *History) (string, string) {
		if tables(h) == nil {
			return "the kernel shows its tables in the first network namespace only", "run bpf60 outside the container"
		}
		return "", ""
	}
	r.Evidence = func(h *History) []string {
		var out []string
		for _, x := range tables(h) {
			if x.Max > 0 {
				out = append(out, fmt.Sprintf("%s %d of %d", x.Name, x.Entries, x.Max))
			}
		}
		return out
	}
	return r
}

// tables are those of the newest reading, nil without.
func tables(h *History) []collectors.NeighTable {
	x := lastOf(recently(h).moments, func(s *collectors.Snapshot) *collectors.Network {
		if s.Network == nil || s.Network.Neighbours == nil {
			return nil
		}
		return s.Network
	})
	if x == nil {
		return nil
	}
	return x.Neighbours
}

// holder is an interface that has many neighbours, of our own namespace or another.
func holder(x *collectors.NeighHolder, all uint64) Culprit {
	name := x.Interface.Bytes()
	c := Culprit{Kind: "interface", Name: collectors.Clean(x.Interface), Share: percent(min(x.Entries, all), all) / 100}
	if space := x.Space.Bytes(); space != "" {
		c.Name = collectors.Clean(collectors.RawString(name + " of " + space))
		return c
	}
	c.Target = collectors.Target{Kind: collectors.NamedTarget, Name: name}
	return c
}
