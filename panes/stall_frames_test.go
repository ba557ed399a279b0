// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/exp/golden"

	"bpf60/collectors"
)

func stack(class string, frames ...string) *collectors.Stack {
	s := &collectors.Stack{Class: class, Frames: frames}
	if len(frames) > 0 {
		s.Function = frames[0]
	}
	return s
}

// addStalls makes where the tasks wait that the second has in D, and where those sleep that ran.
func addStalls(s *story, l load, snap *collectors.Snapshot) {
	stalls := collectors.Probe{Name: "stalls", State: collectors.On, Hook: "iter/task, stacks", NsPerEvent: 120}
	waits := collectors.Probe{Name: "waits", State: collectors.On, Hook: "iter/task, stacks"}
	off := s.kind == "denied"
	if off {
		const remedy = "run sudo bpf60, or once: setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search,cap_syslog=ep bpf60"
		stalls.State, stalls.Reason, stalls.Remedy = collectors.Degraded, "needs root, or CAP_BPF and CAP_PERFMON; wait functions may not be read", remedy
		waits.State, waits.Reason, waits.Remedy = collectors.Off, "needs root, or CAP_BPF and CAP_PERFMON", remedy
	}
	devices := collectors.Probe{Name: "stalls device", State: collectors.On, Hook: "/proc/TID/syscall, fdinfo"}
	if off {
		devices.State, devices.Reason, devices.Remedy = collectors.Degraded, "system calls of others may not be read", "run as root or with CAP_SYS_PTRACE"
	}
	snap.Probes[collectors.StallsID] = []collectors.Probe{stalls, devices}
	snap.Probes[collectors.WaitsID] = []collectors.Probe{waits}
	seen := snap.At
	x := &collectors.Stalls{Span: snap.Host.Span, Source: "iter/task", Tasks: l.blocked}
	if off {
		x.Source = "/proc"
	}
	page := stack(collectors.WaitDisk, "folio_wait_bit_common", "filemap_read", "ext4_file_read_iter", "vfs_read", "ksys_read", "do_syscall_64")
	journal := stack(collectors.WaitJournal, "kjournald2", "kthread", "ret_from_fork")
	rpc := stack(collectors.WaitNetworkFS, "rpc_wait_bit_killable", "__rpc_execute", "nfs4_call_sync", "nfs4_proc_getattr", "vfs_statx", "do_syscall_64")
	comms := []string{"mariadbd", "\x1b[31mroot\x1b[0m", "\u202egnp.exe", "日本語日本語"}
	if s.kind != "extreme" {
		comms = comms[:1]
	}
	for n := range min(l.blocked, 200) {
		r := collectors.Stall{
			Stack: page, TID: int32(901 + n), Task: collectors.Process{TGID: 901, Start: 901e9}, Comm: collectors.RawString(comms[n%len(comms)]),
			Seen: min(seen, 700*time.Millisecond), AtMost: min(seen, 900*time.Millisecond), IOWait: true,
			Device: collectors.StallDevice{Name: collectors.RawString("vda1"), OfFile: true},
		}
		switch n % 9 {
		case 7:
			r.Stack, r.TID, r.Task.TGID, r.Kernel, r.Comm, r.Device = journal, int32(214+n), int32(214+n), true, collectors.RawString("jbd2/vda1-8"), collectors.StallDevice{Name: collectors.RawString("vda1")}
		case 8:
			r.Stack, r.Comm, r.Task.TGID, r.IOWait = rpc, collectors.RawString("df"), int32(2000+n), false
			r.Device = collectors.StallDevice{} // a path
			r.Seen, r.AtMost = seen, 3*time.Hour+seen
		}
		if s.kind == "lossy" {
			r.Stack, r.AtMost, r.Device = stack(collectors.WaitOther), collectors.NoBound, collectors.StallDevice{}
		}
		x.Rows = append(x.Rows, r)
	}
	slices.SortStableFunc(x.Rows, func(a, b collectors.Stall) int { return int(b.Seen - a.Seen) })
	x.Unlisted = l.blocked - len(x.Rows)
	for _, r := range x.Rows {
		i := slices.IndexFunc(x.Groups, func(g collectors.StallGroup) bool {
			return g.Function == r.Function && g.Class == r.Class && g.Device == r.Device
		})
		if i < 0 {
			i = len(x.Groups)
			x.Groups = append(x.Groups, collectors.StallGroup{Class: r.Class, Function: r.Function, Seen: r.Seen, AtMost: r.AtMost, Who: r.Comm, Device: r.Device})
		}
		x.Groups[i].Tasks++
		if r.Kernel {
			x.Groups[i].Kernel++
		}
	}
	slices.SortStableFunc(x.Groups, func(a, b collectors.StallGroup) int { return b.Tasks - a.Tasks })
	if len(x.Groups) > 0 {
		x.Groups[0].Tasks += x.Unlisted
	}
	snap.Stalls = x
	if off || snap.Tasks == nil {
		return
	}
	w := &collectors.Waits{Span: snap.Host.Span}
	classes := []*collectors.Stack{
		stack(collectors.WaitFutex, "futex_do_wait", "__futex_wait", "futex_wait", "do_futex"), stack(collectors.WaitPoll, "ep_poll", "do_epoll_wait"),
		stack(collectors.WaitReceive, "sk_wait_data", "tcp_recvmsg_locked", "tcp_recvmsg", "inet_recvmsg"),
	}
	for i, t := range snap.Tasks.Rows {
		for k := range 1 + i%len(classes) {
			n := 1 + 9*(len(classes)-1-k)*i
			w.Rows = append(w.Rows, collectors.WaitRow{Stack: classes[(i+k)%len(classes)], Task: t.Process, Comm: t.Comm, Threads: n})
			w.Threads += n
		}
	}
	snap.Waits = w
}

// stalledStory is a host whose disk is slow and whose NFS server is gone.
func stalledStory() *story {
	s := newStory("busy", "web-7", 8, 41*24*time.Hour)
	s.loads = [3]float64{9, 9, 8}
	for i := range 40 {
		l := idleLoad(i)
		l.blocked, l.wa, l.psiIO = 9, 0.4, 0.6
		s.second(l)
	}
	return s
}

// TestStalledScreens draws what the other stories have not: tasks in D on a calm host.
func TestStalledScreens(t *testing.T) {
	f := stalledStory().frame()
	for state, keys := range map[string][]string{
		"overview": {"1", "row stalls"},
		"stalls":   {":", "s", "t", "a", "l", "l", "s", "enter"},
		"asleep":   {":", "s", "t", "a", "l", "l", "s", "enter", "t"},
		"sleepers": {":", "s", "t", "a", "l", "l", "s", "enter", "t", "G", "enter"},
		"page":     {":", "s", "t", "a", "l", "l", "s", "enter", "enter"},
	} {
		for _, size := range sizes {
			t.Run(fmt.Sprintf("%s/%dx%d", state, size[0], size[1]), func(t *testing.T) {
				r := resize(root(f), size[0], size[1])
				press(r, keys...)
				out := r.View()
				fits(t, out, size[0], size[1])
				golden.RequireEqual(t, ansi.Strip(out))
			})
		}
	}
}

// The line of the checklist names what waits and leads to its row, and Enter on that to its stack.
func TestStallsLine(t *testing.T) {
	f := stalledStory().frame()
	l := stallsLine(f)
	if want := "D 9  folio_wait_bit_common 7 (vda1~)  rpc_wait_bit_killable 1 (network fs)  kjournald2 1 (vda1)"; l.summary(200) != want {
		t.Errorf("line = %q, want %q", l.summary(200), want)
	}
	p := NewStalls()
	p.Update(Select{Row: l.row})
	open := p.Update(Press{ID: "open", Frame: f})
	if open == nil {
		t.Fatal("Enter opens nothing")
	}
	page, ok := open.(OpenMsg)
	if !ok {
		t.Fatalf("Enter sends %T", open)
	}
	if rows := page.Pane.Table(f).Rows; len(rows) == 0 {
		t.Error("the page of the line's row is empty")
	}
}
