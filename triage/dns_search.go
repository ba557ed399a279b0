// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"bpf60/collectors"
)

// nameSeeker is what a process asked name servers, and what it was told.
type nameSeeker struct {
	who              collectors.Process
	comm             collectors.Raw
	asked, good, bad uint64 // questions, names that there are, names that there are not
}

// unknownNames is the least share of a process's answers, in percent, that say that there is no such name.
const unknownNames = 60

// searching finds who asks for each name several times, since a list of domains is tried first: short names
// under ndots of resolv.conf. Who asks most is told, with the number of questions a name.
func (r *recent) searching(least, most float64) Finding {
	by := map[collectors.Process]*nameSeeker{}
	for _, m := range r.moments {
		if m.DNS == nil {
			continue
		}
		for i := range m.DNS.Pairs {
			p := &m.DNS.Pairs[i]
			x := by[p.Process]
			if x == nil {
				x = &nameSeeker{who: p.Process, comm: p.Comm}
				by[p.Process] = x
			}
			x.asked += p.Queries
			x.good += p.Rcodes[collectors.RcodeOK]
			x.bad += p.Rcodes[collectors.RcodeName]
		}
	}
	for _, x := range slices.SortedFunc(maps.Values(by), func(a, b *nameSeeker) int {
		return cmp.Or(cmp.Compare(b.asked, a.asked), cmp.Compare(a.who.TGID, b.who.TGID))
	}) {
		each, unknown := float64(x.asked)/float64(max(x.good, 1)), percent(x.bad, x.good+x.bad)
		if float64(x.asked) < least || x.good == 0 || each < most || unknown < unknownNames {
			continue
		}
		who := r.stranger(x.who, x.comm, 0)
		return Finding{
			ID: "net.dns_slow", Severity: Info, Resource: "name servers", Line: "sar TCP", Value: each, Threshold: most, Unit: "questions a name", N: x.asked, Window: recentFor,
			Title:    fmt.Sprintf("%s asks %.1f times for each name that there is", who.Name, each),
			Evidence: []string{fmt.Sprintf("%.0f %% of the answers are that there is no such name: domains that are searched first (ndots)", unknown)},
			Culprits: []Culprit{who}, Pane: "dns", Command: "grep -E 'search|ndots' /etc/resolv.conf; tcpdump -n udp port 53",
		}
	}
	return Finding{}
}
