// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// holder is one of the facades, and what opens all that it can attach.
type holder struct {
	name string
	open func(*Kernel) (io.Closer, error)
}

// holders are all facades. Those that sample do so on the CPUs.
func holders(cpus []int) []holder {
	return []holder{
		{"events", func(k *Kernel) (io.Closer, error) { return OpenEvents(k) }},
		{"sched", func(k *Kernel) (io.Closer, error) {
			s, err := OpenSched(k, SchedParts{Switch: true, Queue: true})
			if err == nil {
				s.SampleQueues(cpus)
			}
			return s, err
		}},
		{"wake", func(k *Kernel) (io.Closer, error) { return OpenWake(k) }},
		{"tasks", func(k *Kernel) (io.Closer, error) { return OpenTasks(k) }},
		{"sockets", func(k *Kernel) (io.Closer, error) { return OpenSockets(k) }},
		{"flow", func(k *Kernel) (io.Closer, error) { return OpenFlow(k, allFlow()) }},
		{"offcpu", func(k *Kernel) (io.Closer, error) {
			return OpenOffCPU(k, OffParts{Host: true, Stacks: time.Millisecond})
		}},
		{"softirqs", func(k *Kernel) (io.Closer, error) { return OpenSoftirqs(k) }},
		{"hardirqs", func(k *Kernel) (io.Closer, error) { return OpenHardirqs(k) }},
		{"profile", func(k *Kernel) (io.Closer, error) {
			p, err := OpenProfile(k, 99, []Filter{{ID: 1, Kind: FilterProcess}})
			if err == nil {
				err = p.SampleCPUs(cpus)
			}
			return p, err
		}},
		{"block", func(k *Kernel) (io.Closer, error) { return OpenBlock(k) }},
		{"cachestat", func(k *Kernel) (io.Closer, error) { return OpenCachestat(k) }},
		{"dns", func(k *Kernel) (io.Closer, error) { return OpenDNS(k) }},
		{"drop", func(k *Kernel) (io.Closer, error) { return OpenDrop(k) }},
		{"exec", func(k *Kernel) (io.Closer, error) {
			return OpenExec(k, ExecParts{Exec: true, Fork: true, Exit: true})
		}},
		{"files", func(k *Kernel) (io.Closer, error) { return OpenFiles(k) }},
		{"kmem", func(k *Kernel) (io.Closer, error) { return OpenKmem(k) }},
		{"reclaim", func(k *Kernel) (io.Closer, error) { return OpenReclaim(k, nil) }},
		{"signal", func(k *Kernel) (io.Closer, error) { return OpenSignal(k) }},
		{"slowfiles", func(k *Kernel) (io.Closer, error) { return OpenSlowFiles(k) }},
		{"stalls", func(k *Kernel) (io.Closer, error) { return OpenStalls(k, false) }},
		{"asleep", func(k *Kernel) (io.Closer, error) { return OpenStalls(k, true) }},
		{"syscalls", func(k *Kernel) (io.Closer, error) {
			s, err := OpenSyscalls(k)
			if err == nil {
				err = s.Want(syscallAll)
			}
			return s, err
		}},
	}
}

// needsFentry says that a facade could not be opened because this kernel has no fentry, without which
// slow files cannot be seen.
func needsFentry(name string, err error) bool {
	var refused *NeedError
	return name == "slowfiles" && errors.As(err, &refused)
}

// TestNothingStays looks for the programs, maps and links that were open, by their ids.
func TestNothingStays(t *testing.T) {
	k := need(t)
	var open []io.Closer
	for _, h := range holders(onlineCPUs(t)) {
		_, before := objects(t, "self")
		f, err := h.open(k)
		if needsFentry(h.name, err) {
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", h.name, err)
		}
		open = append(open, f)
		if _, held := objects(t, "self"); len(held) <= len(before) {
			t.Errorf("%s: %d objects with it, %d without", h.name, len(held), len(before))
		}
	}
	fds, held := objects(t, "self")
	for _, f := range open {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	left, now := objects(t, "self")
	if len(now) != 0 || left >= fds {
		t.Errorf("%v still open, %d files of %d", now, left, fds)
	}
	freed(t, held)
}

// TestNothingStaysOfKilled kills a process that holds all of it.
func TestNothingStaysOfKilled(t *testing.T) {
	need(t)
	pid := startReady(t, "hold "+strings.Trim(fmt.Sprint(onlineCPUs(t)), "[]"))
	_, held := objects(t, strconv.Itoa(pid))
	kinds := map[string]int{}
	for _, o := range held {
		kinds[o.kind]++
	}
	for _, kind := range []string{"prog", "map", "link"} {
		if n := len(holders(nil)); kinds[kind] < n {
			t.Errorf("the process holds %d of kind %s, want one of each of %d and more", kinds[kind], kind, n)
		}
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	freed(t, held)
}

// hold opens all that attaches here, and keeps it until it is killed.
func hold(cpus string) error {
	var list []int
	for _, s := range strings.Fields(cpus) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return err
		}
		list = append(list, n)
	}
	k := Inspect()
	var open []io.Closer
	for _, h := range holders(list) {
		f, err := h.open(k)
		if needsFentry(h.name, err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
		open = append(open, f)
	}
	fmt.Fprintln(os.Stdout, "ready")
	time.Sleep(time.Hour)
	runtime.KeepAlive(open)
	return nil
}

// freed waits until none of the objects is in the kernel: it frees them after a grace period.
func freed(t *testing.T, held []kernelObject) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for _, o := range held {
		for o.alive() {
			if time.Now().After(deadline) {
				t.Fatalf("%v is still in the kernel", o)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

type kernelObject struct {
	kind string
	id   uint32
}

// objects lists the BPF objects that a process holds, and counts all its files.
func objects(t testing.TB, pid string) (files int, held []kernelObject) {
	t.Helper()
	dir, err := os.ReadDir("/proc/" + pid + "/fdinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range dir {
		b, err := os.ReadFile("/proc/" + pid + "/fdinfo/" + e.Name())
		if err != nil {
			continue // the directory's own
		}
		files++
		for _, kind := range []string{"prog", "map", "link"} {
			_, after, ok := strings.Cut("\n"+string(b), "\n"+kind+"_id:\t")
			if !ok || kind == "prog" && strings.Contains(string(b), "link_id:") {
				continue
			}
			line, _, _ := strings.Cut(after, "\n")
			id, err := strconv.ParseUint(line, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, kernelObject{kind, uint32(id)})
		}
	}
	return files, held
}

func (o kernelObject) alive() bool {
	var c interface{ Close() error }
	var err error
	switch o.kind {
	case "prog":
		c, err = ebpf.NewProgramFromID(ebpf.ProgramID(o.id))
	case "map":
		c, err = ebpf.NewMapFromID(ebpf.MapID(o.id))
	default:
		c, err = link.NewFromID(link.ID(o.id))
	}
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}
