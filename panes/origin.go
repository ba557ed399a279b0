// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/triage"
)

// origin is where a process comes from, as far as the frame's tasks say: nothing is guessed.
type origin struct {
	parent *collectors.ProcInfo // nil: not known, or no process
	age    time.Duration        // 0: not known, or it has ended
}

// String says it in a few words; empty where nothing is known.
func (o origin) String() string {
	var out []string
	if o.parent != nil {
		out = append(out, "parent "+clipName(processName(o.parent.Process, o.parent.Comm), 24))
	}
	if o.age > 0 {
		out = append(out, "age "+widget.Age(o.age))
	}
	return strings.Join(out, ", ")
}

// originOf finds the origin of the process that a target names.
func originOf(f Frame, t collectors.Target) (o origin) {
	p := t.Process
	if t.Kind != collectors.ProcessTarget || p.TGID == 0 || p.Start == 0 {
		return o
	}
	info, ended := lastSeen(f, p.TGID)
	if info == nil || info.Start/tick != p.Start/tick { // the number is another's by now
		return o
	}
	if h := newest(f, hostOf); h != nil && !ended {
		o.age = max(h.Uptime+f.Now.At-h.To-time.Duration(info.Start), 0)
	}
	// Who began later is not the parent: the number was given again.
	if up, gone := lastSeen(f, info.PPID); up != nil && !gone && up.Start <= info.Start {
		o.parent = up
	}
	return o
}

// lastSeen is what the frame's tasks last said of the process with a number; nil if they do not know it.
func lastSeen(f Frame, tgid int32) (info *collectors.ProcInfo, ended bool) {
	if tgid <= 0 {
		return nil, false
	}
	first := keyMoment(f)
	for i := len(f.Past) - 1; i >= first; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.Tasks == nil {
			continue
		}
		for _, p := range s.Tasks.Gone {
			ended = ended || p.TGID == tgid
		}
		for k := range s.Tasks.Rows {
			if r := &s.Tasks.Rows[k]; r.ProcInfo != nil && r.TGID == tgid {
				return r.ProcInfo, ended
			}
		}
		k, ok := slices.BinarySearchFunc(s.Tasks.Key, tgid, func(x collectors.TaskState, n int32) int { return cmp.Compare(x.TGID, n) })
		if ok {
			return s.Tasks.Key[k].ProcInfo, ended
		}
	}
	return nil, false
}

// people are names with their shares and cgroups; of processes that the frame knows with their parent and
// age.
func people(f Frame, list []triage.Culprit) string {
	var out []string
	for _, x := range list {
		s := culprit(x)
		if g := x.Cgroup.String(); g != "" {
			s += " in " + g
		}
		if o := originOf(f, x.Target); o.String() != "" {
			s += " (" + o.String() + ")"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}
