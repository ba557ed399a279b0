// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"slices"
	"testing"

	"bpf60/bpf"
)

// TestOptional: each probe that can be named is off once it is switched off, alone where its collector has
// others; and each that attaches to something can be named.
func TestOptional(t *testing.T) {
	names := Optional()
	for _, want := range []string{"runqlat", "runqlat-cause", "biolatency", "dropsnoop", "killsnoop", "tcplife", "opensnoop", "slabratetop", "waits", "offcputime"} {
		if !slices.Contains(names, want) {
			t.Errorf("%q cannot be switched: %q", want, names)
		}
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			t.Errorf("%q is there twice", name)
		}
		off := map[string]bool{name: true}
		all := All(new(bpf.Kernel), NewFS(t.TempDir()), off)
		whole := SwitchedOff(all, off)
		for _, c := range all {
			id, rows := c.Meta().ID, c.Probes()
			mine := slices.ContainsFunc(rows, func(p Probe) bool { return p.Name == name })
			if _, stays := whole[id]; stays && !mine {
				t.Errorf("%q switches %s off", name, id)
			} else if !mine || stays {
				continue
			}
			for _, p := range rows {
				if is := p.Reason == switchedOff; is != (p.Name == name) {
					t.Errorf("%q is switched off, and %q says %q", name, p.Name, p.Reason)
				}
			}
		}
	}
}
