// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
)

// firstPIDs is what the kernel calls the PID namespace it boots with (PROC_PID_INIT_INO).
const firstPIDs = "pid:[4026531836]"

// pidNames is what a process is called: by itself and /proc, and by the programs, which know the numbers of
// the first PID namespace only. In that one, and where it is not known, the two are the same.
type pidNames struct {
	other bool // our namespace is not the first one
	shown int  // namespaces from that of /proc to our own, both counted; 0: not known

	self  int32
	level uint32
	err   error
}

// inspectPIDs reads of our own namespace what /proc tells.
func inspectPIDs(link, status string) pidNames {
	n := pidNames{other: link != "" && link != firstPIDs}
	for line := range strings.Lines(status) {
		if v, ok := strings.CutPrefix(line, "NSpid:"); ok {
			n.shown = len(strings.Fields(v))
		}
	}
	return n
}

// OtherPIDs says that we are in a PID namespace of our own, as in a container: the programs give processes
// the numbers of the host, which are not those that getpid(2) and, mostly, /proc have.
func (k *Kernel) OtherPIDs() bool { return k.pids.other && k.mayLoad() == nil }

// Self is our own process, as the programs number it.
func (k *Kernel) Self() (int32, error) {
	if !k.pids.other {
		return int32(os.Getpid()), nil
	}
	n := k.findSelf()
	return n.self, n.err
}

// pidLevel is how many PID namespaces /proc lies below the first one; 0: /proc has the numbers of the
// programs. False: it is not known, so that of no process it can be told what it is called in /proc.
func (k *Kernel) pidLevel() (uint32, bool) {
	if !k.pids.other {
		return 0, true
	}
	n := k.findSelf()
	up := uint32(max(n.shown-1, 0))
	if n.err != nil || n.level == 0 || n.shown == 0 || n.level < up {
		return 0, false
	}
	return n.level - up, true
}

// findSelf asks the kernel, once.
func (k *Kernel) findSelf() pidNames {
	k.pidsOnce.Do(func() {
		self, err := k.runOnce("own_number")
		if err != nil {
			k.pids.err = fmt.Errorf("finding our own process: %w", err)
			return
		}
		k.pids.self = int32(self)
		if level, err := k.runOnce("own_level"); err == nil { // lockdown=confidentiality refuses it
			k.pids.level = level
		}
	})
	return k.pids
}

// runOnce runs a program of pidns.bpf.c in this thread, and returns what it returned.
func (k *Kernel) runOnce(name string) (result uint32, err error) {
	obj, err := newObject(k, loadPidns)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, obj.Close()) }()
	prog, err := obj.load(name)
	if err != nil {
		return 0, err
	}
	result, err = prog.Run(&ebpf.RunOptions{Context: make([]byte, 8)})
	if err != nil {
		return 0, fmt.Errorf("running %s: %w", name, err)
	}
	return result, nil
}

// HostPID is how the programs number the process that /proc calls pid. An error says that there is none, or
// that its number cannot be told. Where no program can be run at all, numbers are those of /proc.
func (k *Kernel) HostPID(pid int32) (int32, error) {
	if !k.OtherPIDs() {
		return pid, nil
	}
	if _, err := k.Self(); err != nil {
		return pid, nil //nolint:nilerr // then nothing is known by another number
	}
	t, err := OpenTasks(k)
	if err != nil {
		return 0, err
	}
	found := int32(0)
	switch t.PIDs() {
	case PIDsSame:
		found = pid
	case PIDsOther:
		err = t.Read(func(task *Task) {
			if task.NsPid == pid && task.Pid == task.Tgid {
				found = task.Pid
			}
		})
	case PIDsUnknown:
	}
	if err := errors.Join(err, t.Close()); err != nil {
		return 0, err
	}
	if found == 0 {
		return 0, fmt.Errorf("what the host calls process %d of this PID namespace cannot be told: run on the host, or in its PID namespace", pid)
	}
	return found, nil
}
