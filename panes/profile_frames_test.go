// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
)

// fixtureStack makes a stack of functions, the outermost first: "main libc", "vfs_read kernel", "[unknown]".
func fixtureStack(frames ...string) *collectors.CallStack {
	s := &collectors.CallStack{}
	for _, f := range frames {
		name, module, _ := strings.Cut(f, " ")
		s.Frames = append(s.Frames, collectors.CallFrame{Name: name, Module: module, Kernel: module == "kernel", Known: !strings.HasPrefix(name, "[")})
	}
	return s
}

// profileStacks are the stacks of a story, with their parts of a command's samples.
func profileStacks() map[string]map[*collectors.CallStack]float64 {
	read := []string{"entry_SYSCALL_64_after_hwframe kernel", "do_syscall_64 kernel", "ksys_read kernel", "vfs_read kernel"}
	start := []string{"_start gzip", "__libc_start_main libc.so.6", "main gzip"}
	with := func(a []string, b ...string) *collectors.CallStack {
		return fixtureStack(append(slices.Clip(a), b...)...)
	}
	return map[string]map[*collectors.CallStack]float64{
		"gzip": {
			with(start, "deflate gzip", "longest_match gzip"): 0.5,
			with(start, "deflate gzip"):                       0.2,
			with(start, append([]string{"fill_window gzip", "read libc.so.6"}, append(slices.Clone(read), "ext4_file_read_iter kernel", "copy_folio_to_iter kernel")...)...): 0.3,
		},
		"": {
			fixtureStack("start_thread libc.so.6", "worker [app+0x1f00] app", "[unknown]"):            0.4,
			fixtureStack("start_thread libc.so.6", "handle_request app", "memcpy libc.so.6"):          0.35,
			with([]string{"start_thread libc.so.6", "handle_request app", "read libc.so.6"}, read...): 0.25,
		},
	}
}

// addProfile makes what the tasks of the second ran.
func addProfile(s *story, l load, snap *collectors.Snapshot) {
	row := collectors.Probe{Name: "profile", State: collectors.On, Hook: "perf_event cpu-clock", NsPerEvent: 21000}
	if s.kind == "denied" {
		row.State, row.Reason, row.Remedy = collectors.Off, "needs root, or CAP_BPF and CAP_PERFMON", "run sudo bpf60"
	}
	snap.Probes[collectors.ProfileID] = []collectors.Probe{row}
	if s.kind == "denied" || len(l.tasks) == 0 || unwatched(s) {
		return
	}
	if s.stacks == nil {
		s.stacks = profileStacks()
	}
	all := float64(49 * l.cpus)
	x := &collectors.CPUProfile{Span: snap.Host.Span, Hz: 49, CPUs: l.cpus, Idle: uint64(all * (1 - l.usr - l.sys))}
	for i, t := range l.tasks {
		by := collectors.Process{TGID: t.pid, Start: uint64(t.pid) * 1e9}
		one := collectors.Targeted[collectors.ProfileCounts]{Target: collectors.Target{Kind: collectors.ProcessTarget, Process: by}, Since: time.Second}
		stacks := s.stacks[t.name]
		if stacks == nil {
			stacks = s.stacks[""]
		}
		name := t.name
		if s.kind == "extreme" {
			name = "\x1b[2J" + name
		}
		for stack, part := range stacks {
			n := uint64(all*(l.usr+l.sys)*t.run*part + 0.5)
			if n == 0 {
				continue
			}
			r := collectors.SampledStack{CallStack: stack, Task: by, Comm: collectors.RawString(name), Count: n}
			one.Sample.Stacks = append(one.Sample.Stacks, r)
			one.Sample.Samples += n
		}
		x.Stacks = append(x.Stacks, one.Sample.Stacks...)
		x.Samples += one.Sample.Samples
		if i < 7 {
			x.Narrowed = append(x.Narrowed, one)
		}
	}
	if s.kind == "extreme" {
		deep := make([]string, 127)
		for i := range deep {
			deep[i] = `\x1b]0;x\x07` + strings.Repeat("日本", 40) + " libhostile.so" // as they are cleaned
		}
		x.Stacks = append(x.Stacks, collectors.SampledStack{CallStack: fixtureStack(deep...), Comm: collectors.RawString("\u202ehostile"), Count: 100})
		x.Samples += 5100
		x.Unlisted = 5000
	}
	if s.kind == "lossy" {
		x.Lost = 12
	}
	snap.Profile = x
}
