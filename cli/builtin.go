// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"

	"bpf60/bpf"
	"bpf60/keymap"
	"bpf60/panes"
	"bpf60/theme"
)

// optional are the probes that --probes takes. The others are reads of /proc that the screen cannot
// do without.
func optional() []string { return []string{"runqlat", "cpudist", "runqlen", "runqlat-cause"} }

// builtin are the parts of the shipped program.
func builtin() parts {
	var ids []string
	for _, p := range panes.All() {
		ids = append(ids, string(p.Info().ID))
	}
	return parts{
		open:   func(o options) (session, error) { return newMeasurement(o), nil },
		news:   panes.NewMsg{},
		facts:  facts,
		keys:   keyTable,
		panes:  ids,
		probes: optional(),
		themes: theme.Names(),
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

// keyTable lists the keys there are, after the user's changes, as text and as Markdown.
func keyTable(rebound map[string][]string) (text, markdown string, problems []error) {
	all := panes.All()
	global := panes.GlobalKeys(all)
	var own [][]keymap.Key
	for _, p := range all {
		own = append(own, p.Keys())
	}
	m, problems := keymap.Rebind(rebound, global, own...)
	tables := panes.TableKeys()
	sections := []keymap.Section{{Title: "everywhere", Keys: m.Apply(global)}, {Title: "every table", Keys: m.Apply(tables)}}
	listed := slices.Concat(global, tables)
	for i, p := range all {
		keys := slices.DeleteFunc(slices.Clone(own[i]), func(k keymap.Key) bool {
			return slices.ContainsFunc(listed, func(l keymap.Key) bool { return l.ID == k.ID })
		})
		if len(keys) > 0 {
			sections = append(sections, keymap.Section{Title: strings.ToLower(p.Info().Title), Keys: m.Apply(keys)})
		}
	}
	return keymap.Text(sections...), keymap.Markdown(sections...), problems
}
