// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"time"

	"bpf60/bpf"
	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes"
	"bpf60/theme"
)

// unreadFor is how long a dashboard stays that nobody reads: a connection that was lost in silence leaves
// a terminal that is never hung up.
const unreadFor = 10 * time.Minute

// builtin are the parts of the shipped program.
func builtin() parts {
	var ids, dear []string
	for _, p := range panes.All() {
		info := p.Info()
		ids = append(ids, string(info.ID))
		if info.Dear {
			dear = append(dear, string(info.ID))
		}
	}
	return parts{
		open: func(o options) (session, error) {
			var err error
			if o.Scope, err = findScope(o); err != nil {
				return nil, err
			}
			return newMeasurement(o), nil
		},
		news:  panes.NewMsg{},
		facts: facts,
		profile: func(o *options) (profiler, error) {
			var err error
			if o.Scope, err = findScope(*o); err != nil {
				return nil, err
			}
			return collectors.NewProfiler(bpf.Inspect(), collectors.NewFS(""), o.Scope.Target), nil
		},
		keys:   keyTable,
		panes:  ids,
		dear:   dear,
		probes: collectors.Optional(),
		themes: theme.Names(),
		unread: unreadFor,
	}
}

// facts is what doctor says of the host.
func facts() []Fact {
	var out []Fact
	for _, f := range bpf.Inspect().Facts() {
		out = append(out, Fact(f))
	}
	return out
}

// keyTable lists the keys there are, after the user's changes, and what of those cannot be followed.
func keyTable(rebound map[string][]string) (sections []keymap.Section, problems []error) {
	all := panes.All()
	sections, sets := panes.AllKeys(all)
	m, problems := keymap.Rebind(rebound, panes.GlobalKeys(all), sets...)
	for i := range sections {
		sections[i].Keys = m.Apply(sections[i].Keys)
	}
	return sections, problems
}
