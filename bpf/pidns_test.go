// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPIDNamespace runs as the first process of a PID namespace: with a /proc of that one, as in a container,
// and with the host's.
func TestPIDNamespace(t *testing.T) {
	for _, world := range []string{"pids,proc", "pids"} {
		t.Run(world, func(t *testing.T) {
			if inWorld(t, world) {
				return
			}
			k := need(t)
			self, err := k.Self()
			if err != nil || os.Getpid() != 1 || self == 1 || !k.OtherPIDs() {
				t.Fatalf("we are %d, to the kernel %d (%v), numbers differ: %v; want 1, another one and true", os.Getpid(), self, err, k.OtherPIDs())
			}
			tasks, there, pids := openTasks(t), int32(1), PIDsOther
			if world == "pids" {
				there, pids = self, PIDsSame
			}
			if tasks.PIDs() != pids {
				t.Fatalf("the tasks' numbers are %d, want %d", tasks.PIDs(), pids)
			}
			if link, err := os.Readlink("/proc/self"); err != nil || link != fmt.Sprint(there) {
				t.Errorf("in /proc we are %s (%v), want %d", link, err, there)
			}
			if host, err := k.HostPID(there); err != nil || host != self {
				t.Errorf("HostPID(%d) = %d, %v, want %d", there, host, err, self)
			}
			if host, err := k.HostPID(1 << 22); pids == PIDsOther && err == nil {
				t.Errorf("HostPID of no process = %d, want an error", host)
			}
			threads := 0
			for pid, x := range byTID(t, tasks) {
				if x.Tgid != self {
					continue // the namespace has nobody else but who we start
				}
				threads++
				if pids == PIDsSame && x.NsPid != 0 {
					t.Errorf("thread %d is told as %d", pid, x.NsPid)
				}
				number := x.NsPid
				if pids == PIDsSame {
					number = x.Pid
				}
				if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", number)); err != nil {
					t.Errorf("thread %d, %d in /proc: %v", pid, number, err)
				}
			}
			if threads == 0 {
				t.Errorf("no thread of %d among the tasks", self)
			}
			watchOwnCalls(t, k, int(self))
		})
	}
}

// watchOwnCalls has system calls counted, but not our own.
func watchOwnCalls(t *testing.T, k *Kernel, self int) {
	t.Helper()
	s, err := OpenSyscalls(k)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	if err := s.Want(SyscallCount); err != nil {
		t.Fatal(err)
	}
	_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	if got := callsOf(t, s, self); len(got) != 0 {
		t.Errorf("own calls: %v, want none", got)
	}
	if sum, err := s.Totals(); err != nil || sum.Own == 0 {
		t.Errorf("Totals = %+v, %v, want calls of its own", sum, err)
	}
}

// TestInspectPIDs tells the host's PID namespace from others by what the kernel says of it.
func TestInspectPIDs(t *testing.T) {
	for name, tt := range map[string]struct {
		link, status string
		want         pidNames
	}{
		"the host":                {firstPIDs, "Name:\tx\nNSpid:\t4711\n", pidNames{shown: 1}},
		"a container":             {"pid:[4026532201]", "NSpid:\t1\nVmRSS:\t1 kB\n", pidNames{other: true, shown: 1}},
		"the host's /proc in one": {"pid:[4026532201]", "NSpid:\t4711\t1\n", pidNames{other: true, shown: 2}},
		"not told":                {"", "", pidNames{}},
	} {
		if got := inspectPIDs(tt.link, tt.status); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// TestPIDLevel is how far /proc lies below the numbers that programs have.
func TestPIDLevel(t *testing.T) {
	for name, tt := range map[string]struct {
		names pidNames
		level uint32
		known bool
	}{
		"the host":             {pidNames{shown: 1}, 0, true},
		"a container":          {pidNames{other: true, shown: 1, self: 9, level: 1}, 1, true},
		"the host's /proc":     {pidNames{other: true, shown: 2, self: 9, level: 1}, 0, true},
		"one in another":       {pidNames{other: true, shown: 1, self: 9, level: 2}, 2, true},
		"the outer one's":      {pidNames{other: true, shown: 2, self: 9, level: 2}, 1, true},
		"locked down":          {pidNames{other: true, shown: 1, self: 9}, 0, false},
		"nothing may run":      {pidNames{other: true, shown: 1, err: unix.EPERM}, 0, false},
		"NSpid is not told":    {pidNames{other: true, self: 9, level: 1}, 0, false},
		"/proc above the host": {pidNames{other: true, shown: 3, self: 9, level: 1}, 0, false},
	} {
		k := &Kernel{pids: tt.names}
		k.pidsOnce.Do(func() {})
		if level, known := k.pidLevel(); level != tt.level || known != tt.known {
			t.Errorf("%s: %d, %v, want %d, %v", name, level, known, tt.level, tt.known)
		}
	}
}
