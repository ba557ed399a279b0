// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/bpf"
)

// TestKmemFocus holds what the kernel is told to look at, and that a sample says when that was less than
// the host.
func TestKmemFocus(t *testing.T) {
	proc := Target{Kind: ProcessTarget, Process: Process{TGID: 7, Start: 1}}
	cache := Target{Kind: NamedTarget, Name: "dentry"}
	f := newKmemFake()
	f.allocs[bpf.AllocKey{Cache: 0x100}] = 10
	c := startKmem(t, f)
	if _, err := c.Collect(t.Context(), time.Second); err == nil {
		t.Fatal("the first reading is no baseline")
	}
	steps := []struct {
		name    string
		host    bool
		targets []Target
		aim     kmemAim
		partial bool // of the next sample
		only    string
	}{
		{"host", true, nil, kmemAim{}, false, ""},
		{"a process beside the host", true, []Target{proc}, kmemAim{}, false, ""},
		{"a process alone", false, []Target{proc}, kmemAim{only: true}, true, ""},
		{"two kinds", false, []Target{proc, cache}, kmemAim{}, true, ""}, // the span before was the process's
		{"still two kinds", false, []Target{proc, cache}, kmemAim{}, false, ""},
		{"a cache alone", false, []Target{cache}, kmemAim{cache: 0x100}, true, "dentry"},
		{"another cache", false, []Target{{Kind: NamedTarget, Name: "nothing"}}, kmemAim{}, true, ""},
		{"host again", true, nil, kmemAim{}, false, ""},
	}
	for i, s := range steps {
		c.Host(s.host)
		if err := c.Narrow(s.targets); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if diff := cmp.Diff(s.aim, c.focus.set, cmp.AllowUnexported(kmemAim{})); diff != "" {
			t.Errorf("%s: the kernel looks at (-want +got):\n%s", s.name, diff)
		}
		f.allocs[bpf.AllocKey{Cache: 0x100}] += 5
		got, err := c.Collect(t.Context(), time.Duration(i+2)*time.Second)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		k := got.(*Kmem)
		if k.Partial != s.partial || k.Only.Bytes() != s.only {
			t.Errorf("%s: partial %t, only %q; want %t, %q", s.name, k.Partial, k.Only.Bytes(), s.partial, s.only)
		}
	}
}
