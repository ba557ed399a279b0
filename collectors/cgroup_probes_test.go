// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"testing"
	"time"
)

// TestCgroupProbesUnread: what nobody has looked at yet is not off, where there is something to look at.
func TestCgroupProbesUnread(t *testing.T) {
	const both = "30 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" + mountV1
	type row struct {
		State        State
		Hook, Remedy string
	}
	tests := map[string]struct {
		mounts         string
		files          map[string][]string // by directory
		before, looked map[string]row      // of the rows that matter
	}{
		"v1, with v2 beside": {
			mounts: both,
			files: map[string][]string{
				"unified":  {"cpu.stat", "usage_usec 1\n", "cgroup.subtree_control", "\n"},
				"memory/a": {"memory.usage_in_bytes", "5000\n"}, "pids/a": {"pids.current", "3\n"},
			},
			before: map[string]row{
				"cgroup memory": {State: Idle, Hook: "v1 memory.usage_in_bytes"},
				"cgroup io":     {State: Idle, Hook: "v1 blkio.throttle.io_service_bytes_recursive"},
				"cgroup pids":   {State: Idle, Hook: "v1 pids.current"},
				"cgroup psi":    {State: Off, Remedy: "boot with psi=1 and systemd.unified_cgroup_hierarchy=1"},
			},
			looked: map[string]row{
				"cgroup memory": {State: On, Hook: "v1 memory.usage_in_bytes"},
				"cgroup io":     {State: Off, Remedy: "echo +io >/sys/fs/cgroup/unified/cgroup.subtree_control"},
				"cgroup pids":   {State: On, Hook: "v1 pids.current"},
			},
		},
		"v2": {
			mounts: mountV2,
			files: map[string][]string{
				".": {"cpu.stat", "usage_usec 1\n", "cgroup.subtree_control", "cpu memory\n", "memory.pressure", "some\n"},
				"a": {"cpu.stat", "usage_usec 1\n", "memory.current", "5000\n"},
			},
			before: map[string]row{
				"cgroup memory": {State: Idle, Hook: "memory.current"},
				"cgroup io":     {State: Off, Remedy: "echo +io >/sys/fs/cgroup/cgroup.subtree_control"},
				"cgroup pids":   {State: Off, Remedy: "echo +pids >/sys/fs/cgroup/cgroup.subtree_control"},
				"cgroup psi":    {State: Idle, Hook: "memory.pressure"},
			},
			looked: map[string]row{"cgroup memory": {State: On, Hook: "memory.current"}},
		},
		"v1 without memory": {
			mounts: "32 31 0:29 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n",
			files:  map[string][]string{"cpuacct": {"cpuacct.usage", "5\n"}},
			before: map[string]row{
				"cgroup memory": {State: Off, Remedy: "mount -t cgroup -o memory none /sys/fs/cgroup/memory"},
				"cgroup io":     {State: Off, Remedy: "mount -t cgroup -o blkio none /sys/fs/cgroup/blkio"},
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tree := newCgroups(t, tt.mounts)
			for dir, files := range tt.files {
				tree.put(dir, files...)
			}
			c := NewCgroups(NewFS(tree.root), nil)
			start(t, c)
			collectAs[*Cgroups](t, c, 0)
			check := func(when string, want map[string]row) {
				t.Helper()
				for _, p := range c.Probes() {
					w, ok := want[p.Name]
					if got := (row{p.State, p.Hook, p.Remedy}); ok && (got != w || (p.Reason == "") != (p.State == On)) {
						t.Errorf("%s %s: %+v because %q, want %+v", when, p.Name, got, p.Reason, w)
					}
				}
			}
			check("before", tt.before)
			watchAll(t, c)
			collectAs[*Cgroups](t, c, time.Second)
			check("after a look", tt.looked)
		})
	}
}
