// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// TestNothingStays looks for the programs, maps and links that were open, by their ids.
func TestNothingStays(t *testing.T) {
	k := need(t)
	s, err := OpenSched(k, SchedParts{Switch: true, Queue: true})
	if err != nil {
		t.Fatal(err)
	}
	s.SampleQueues(onlineCPUs(t))
	w, err := OpenWake(k)
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := OpenTasks(k)
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := OpenSockets(k)
	if err != nil {
		t.Fatal(err)
	}
	flow, err := OpenFlow(k, allFlow())
	if err != nil {
		t.Fatal(err)
	}
	off, err := OpenOffCPU(k, OffParts{Host: true, Stacks: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	soft, err := OpenSoftirqs(k)
	if err != nil {
		t.Fatal(err)
	}
	hard, err := OpenHardirqs(k)
	if err != nil {
		t.Fatal(err)
	}
	prof, err := OpenProfile(k, 99, []Filter{{ID: 1, Kind: FilterProcess}})
	if err != nil {
		t.Fatal(err)
	}
	if err := prof.SampleCPUs(onlineCPUs(t)); err != nil {
		t.Fatal(err)
	}
	fds, held := objects(t)
	if len(held) < 60 { // programs, maps and their constants, links
		t.Errorf("holding %v: too few to be all", held)
	}
	for _, f := range []interface{ Close() error }{s, w, tasks, sockets, flow, off, soft, hard, prof} {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	left, now := objects(t)
	if len(now) != 0 || left >= fds {
		t.Errorf("%v still open, %d files of %d", now, left, fds)
	}
	// The kernel frees them after a grace period.
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

// objects lists the BPF objects that this process holds, and counts all its files.
func objects(t testing.TB) (files int, held []kernelObject) {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fdinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range dir {
		b, err := os.ReadFile("/proc/self/fdinfo/" + e.Name())
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
