// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"bpf60/collectors"
)

// arrange puts live findings in order: root causes first, worst first, each effect after its
// cause and, where that is a warning or worse, one level milder than alone. A tree is as bad as the worst in it. What is equal is
// ordered by when it began, what is only told the latest first, then as it came.
func arrange(live []Finding) []Finding {
	n := len(live)
	parent := causes(live)
	children := make([][]int, n)
	var roots []int
	for i, p := range parent {
		if p < 0 {
			roots = append(roots, i)
			continue
		}
		children[p] = append(children[p], i)
	}
	shown := slices.Clone(live)
	for i, p := range parent {
		shown[i].CausedBy = ""
		if p >= 0 {
			shown[i].CausedBy = live[p].ID
			if live[p].Severity >= Warning { // what is only told takes nothing off what hurts
				shown[i].Severity = max(shown[i].Severity, Warning) - 1
			}
		}
	}
	worst := make([]Severity, n)
	size := make([]int, n)
	var measure func(i int)
	measure = func(i int) {
		worst[i], size[i] = shown[i].Severity, 1
		for _, c := range children[i] {
			measure(c)
			worst[i] = max(worst[i], worst[c])
			size[i] += size[c]
		}
	}
	order := func(a, b int) int {
		return cmp.Or(
			cmp.Compare(worst[b], worst[a]),
			cmp.Compare(shown[b].Severity, shown[a].Severity),
			cmp.Compare(size[b], size[a]),
			byBegin(&shown[a], &shown[b]),
			cmp.Compare(a, b),
		)
	}
	for _, r := range roots {
		measure(r)
	}
	out := make([]Finding, 0, n)
	var list func(ids []int)
	list = func(ids []int) {
		slices.SortFunc(ids, order)
		for _, i := range ids {
			out = append(out, shown[i])
			list(children[i])
		}
	}
	list(roots)
	return out
}

// byBegin puts what began first before what followed. What is only told is the other way round: a kill of
// long ago does not come before what the host does now.
func byBegin(a, b *Finding) int {
	if a.Severity == Info && b.Severity == Info {
		return cmp.Compare(b.Since, a.Since)
	}
	return cmp.Compare(a.Since, b.Since)
}

// causes returns the index of each finding's cause, -1 without. Of several it is the worst; of
// findings that explain each other in a circle the worst stays a root.
func causes(live []Finding) []int {
	rank := make([]int, len(live)) // worst first
	for i := range rank {
		rank[i] = i
	}
	slices.SortStableFunc(rank, func(a, b int) int {
		return cmp.Or(cmp.Compare(live[b].Severity, live[a].Severity), cmp.Compare(live[a].Since, live[b].Since))
	})
	parent := make([]int, len(live))
	for i := range parent {
		parent[i] = -1
	}
	for _, effect := range slices.Backward(rank) {
		for _, cause := range rank {
			if explains(&live[cause], &live[effect]) && !under(parent, cause, effect) {
				parent[effect] = cause
				break
			}
		}
	}
	return parent
}

// explains says that one finding can be the cause of another: its rule says so, and both concern the same.
// Another disk, peer or process than the one that suffers is no cause.
func explains(cause, effect *Finding) bool {
	switch {
	case !slices.Contains(cause.Explains, effect.ID):
		return false
	case aboutDisk(cause.ID) && aboutDisk(effect.ID):
		return cause.Resource == effect.Resource
	case effect.ID == "net.connect_failures":
		peers := peersOf(cause)
		return len(peers) == 0 || slices.ContainsFunc(peersOf(effect), func(a netip.Addr) bool { return slices.Contains(peers, a) })
	case cause.ID == "cpu.switch_storm" || cause.ID == "cpu.syscall_storm":
		return slices.ContainsFunc(cause.Culprits, func(c Culprit) bool {
			return slices.ContainsFunc(effect.Culprits, func(e Culprit) bool { return among(&c, &e) })
		})
	}
	return true
}

func aboutDisk(id string) bool { return strings.HasPrefix(id, "disk.") }

// peersOf are the addresses of the peers that a finding names, as culprits or as victims: of the ports of
// one host several may be named.
func peersOf(f *Finding) (out []netip.Addr) {
	for _, list := range [][]Culprit{f.Culprits, f.Victims} {
		for i := range list {
			if list[i].Target.Kind == collectors.PeerTarget {
				out = append(out, list[i].Target.Addr.Addr().Unmap())
			}
		}
	}
	return out
}

// among says that c is e, or a process of the cgroup that e is.
func among(c, e *Culprit) bool {
	return c.Kind == e.Kind && c.Target == e.Target || e.Kind == "cgroup" && c.Cgroup == e.Name
}

// under says that i is a, or an effect of a.
func under(parent []int, i, a int) bool {
	for ; i >= 0; i = parent[i] {
		if i == a {
			return true
		}
	}
	return false
}
