// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"slices"
	"strings"

	"bpf60/bpf"
)

// Optional are the names of the probes that can be switched off and on, in the order of All: those that
// attach to something, and those that measure on demand. The others read what the screen cannot do without.
func Optional() []string {
	var names []string
	for _, c := range All(new(bpf.Kernel), NewFS(""), nil) {
		names = append(names, optional(c)...)
	}
	return names
}

// optional are the names of a collector's probes that can be switched. One that is started on demand is
// switched as a whole, by its first.
func optional(c Collector) []string {
	var names []string
	meta := c.Meta()
	for _, p := range c.Probes() {
		if meta.Switched || meta.OnDemand && len(names) == 0 {
			names = append(names, p.Name)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return strings.Contains(name, " ") }) // parts of another
}

// SwitchedOff are the collectors that stay off as a whole, with the reason to show: see RunnerConfig.
func SwitchedOff(all []Collector, off map[string]bool) map[ID]string {
	out := map[ID]string{}
	for _, c := range all {
		if meta := c.Meta(); !meta.Switched && slices.ContainsFunc(optional(c), func(name string) bool { return off[name] }) {
			out[meta.ID] = switchedOff
		}
	}
	return out
}
