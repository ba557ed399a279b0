// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bpf60/bpf"
	"bpf60/collectors"
	"bpf60/panes"
)

// findScope is what --pid or --cgroup names on this host, or in a recording. There a process goes by its
// number alone.
func findScope(o options) (panes.Scope, error) {
	switch {
	case o.PID != 0 && o.Replay != nil:
		return panes.NewScope(collectors.Target{Kind: collectors.ProcessTarget, Process: collectors.Process{TGID: o.PID}}), nil
	case o.PID != 0:
		k := bpf.Inspect()
		if !o.BPF {
			k.Refuse("--no-bpf")
		}
		t, err := collectors.FindProcess(k, "/proc", o.PID)
		if err != nil {
			return panes.Scope{}, usagef("--pid: %v", err)
		}
		return panes.NewScope(t), nil
	case o.Cgroup != "" && o.Replay != nil:
		t, err := o.Replay.FindCgroup(o.Cgroup)
		if err != nil {
			return panes.Scope{}, usagef("--cgroup: %v", err)
		}
		return panes.NewScope(t), nil
	case o.Cgroup != "":
		t, err := collectors.FindCgroup("/proc", o.Cgroup)
		if err != nil {
			return panes.Scope{}, usagef("--cgroup: %v", err)
		}
		return panes.NewScope(t), nil
	}
	return panes.Scope{}, nil
}
