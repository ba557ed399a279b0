// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestBelongs: a cgroup counts for each target that it is, or is below.
func TestBelongs(t *testing.T) {
	tree := Cgroups{1: {2, 3}, 3: {4}, 4: {5}, 5: {3}} // the last one closes a circle
	many := Cgroups{}
	for i := range uint64(mostCgroups) {
		many[1] = append(many[1], i+2)
	}
	tests := map[string]struct {
		slots Slots
		tree  Cgroups
		want  map[uint64]uint32
	}{
		"no cgroup":   {Slots{1: {ID: 1, Kind: FilterProcess}}, tree, map[uint64]uint32{}},
		"a leaf":      {Slots{1: {ID: 2, Kind: FilterCgroup}}, tree, map[uint64]uint32{2: 2}},
		"the root":    {Slots{2: {ID: 1, Kind: FilterCgroup}}, tree, map[uint64]uint32{1: 4, 2: 4, 3: 4, 4: 4, 5: 4}},
		"both":        {Slots{1: {ID: 4, Kind: FilterCgroup}, 3: {ID: 1, Kind: FilterCgroup}}, tree, map[uint64]uint32{1: 8, 2: 8, 3: 10, 4: 10, 5: 10}},
		"no tree yet": {Slots{1: {ID: 77, Kind: FilterCgroup}}, nil, map[uint64]uint32{77: 2}},
	}
	for name, tt := range tests {
		got, err := belongs(tt.slots, tt.tree)
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	got, err := belongs(Slots{1: {ID: 1, Kind: FilterCgroup}}, many)
	if len(got) != mostCgroups || !errors.Is(err, ErrSlots) {
		t.Errorf("of %d cgroups %d belong, %v; want %d and ErrSlots", len(many[1])+1, len(got), err, mostCgroups)
	}
}

// unifiedDir mounts the unified hierarchy for this test alone, where it is not mounted.
func unifiedDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "cgroup2", 0, ""); err != nil {
		t.Skipf("needs CAP_SYS_ADMIN and cgroup2, to mount it: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting cgroup2: %v", err)
		}
	})
	return dir
}

// makeCgroup makes a cgroup that is gone after the test.
func makeCgroup(t *testing.T, dir string) (id uint64) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := os.Remove(dir)
		for i := 0; i < 500 && errors.Is(err, unix.EBUSY); i++ {
			nap(10 * time.Millisecond) // who has ended is still leaving
			err = os.Remove(dir)
		}
		if err != nil {
			t.Errorf("removing a cgroup: %v", err)
		}
	})
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// TestFilterCgroupBelow: what a child of a cgroup does counts for the cgroup, also for one that is made
// later, and what is beside it does not.
func TestFilterCgroupBelow(t *testing.T) {
	if os.Getenv(compatEnv) == "getppid" {
		_, _ = os.Stdin.Read(make([]byte, 1))
		for range 23 {
			_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		}
		return
	}
	k := need(t)
	s := openAllSyscalls(t, k, SyscallCount)
	root := unifiedDir(t)
	top := filepath.Join(root, fmt.Sprintf("bpf60-pages2-%d", os.Getpid()))
	beside := top + "-beside"
	key := func(id uint64) uint64 { return CgroupID(k.shown, Unified, id) }
	topID, besideID := key(makeCgroup(t, top)), key(makeCgroup(t, beside))
	inner := filepath.Join(top, "inner")
	innerID := key(makeCgroup(t, inner))
	runIn := func(dir string) {
		t.Helper()
		cmd := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), compatEnv+"=getppid")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(fmt.Sprint(cmd.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("a process in %s: %v", filepath.Base(dir), err)
		}
	}
	expect := func(when string, n uint64) {
		t.Helper()
		if c := callsOf(t, s, -1)[unix.SYS_GETPPID]; c.N != n {
			t.Errorf("%s: %d calls count for the cgroup, want %d", when, c.N, n)
		}
	}
	if _, err := s.Narrow([]Filter{{ID: topID, Kind: FilterCgroup}}, true); err != nil {
		t.Fatal(err)
	}
	runIn(top)
	expect("in itself", 23)
	runIn(inner)
	expect("below, before the tree is known", 23)
	if err := k.FollowCgroups(Cgroups{key(1): {topID, besideID}, topID: {innerID}}); err != nil {
		t.Fatal(err)
	}
	runIn(inner)
	expect("below", 46)
	runIn(beside)
	expect("beside", 46)
	deep := filepath.Join(inner, "deep")
	deepID := key(makeCgroup(t, deep))
	if err := k.FollowCgroups(Cgroups{topID: {innerID}, innerID: {deepID}}); err != nil {
		t.Fatal(err)
	}
	runIn(deep)
	expect("below the one below, made later", 69)
	if _, err := s.Narrow([]Filter{{ID: besideID, Kind: FilterCgroup}}, true); err != nil {
		t.Fatal(err)
	}
	runIn(deep)
	expect("while another is looked at", 69)
}
