// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// TestCgroupsBelow: the kernel's filters are told which cgroups there are, once, and again when one came.
func TestCgroupsBelow(t *testing.T) {
	tree := newCgroups(t, mountV2)
	for _, path := range []string{"/", "/web.slice", "/web.slice/nginx.service", "/db.slice"} {
		tree.put(path, "cpu.stat", "usage_usec 1\n")
	}
	id := func(path string) uint64 {
		t.Helper()
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(tree.root, "../sys/fs/cgroup", path), &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	var told []bpf.Cgroups
	var refuse error
	c := NewCgroups(NewFS(tree.root), func(x bpf.Cgroups) error { told = append(told, x); return refuse })
	start(t, c)
	collectAs[*Cgroups](t, c, time.Second)
	collectAs[*Cgroups](t, c, 2*time.Second)
	if len(told) != 1 {
		t.Fatalf("told %d times, want once: nothing came", len(told))
	}
	has := func(at int, parent string, children ...string) {
		t.Helper()
		var want []uint64
		for _, c := range children {
			want = append(want, id(c))
		}
		if diff := cmp.Diff(want, told[at][id(parent)]); diff != "" {
			t.Errorf("below %s (-want +got):\n%s", parent, diff)
		}
	}
	has(0, "/", "/db.slice", "/web.slice")
	has(0, "/web.slice", "/web.slice/nginx.service")

	refuse = errors.New("no room")
	tree.put("/web.slice/php.service", "cpu.stat", "usage_usec 1\n")
	collectAs[*Cgroups](t, c, 3*time.Second)
	if len(told) != 2 {
		t.Fatalf("told %d times, want twice: one came", len(told))
	}
	has(1, "/web.slice", "/web.slice/nginx.service", "/web.slice/php.service")
	if p := c.Probes()[0]; p.State != Degraded {
		t.Errorf("the filters took not all: %+v, want degraded", p)
	}
	refuse = nil
	collectAs[*Cgroups](t, c, 4*time.Second)
	if p := c.Probes()[0]; len(told) != 3 || p.State != On {
		t.Errorf("told %d times, %+v, want again until it is taken", len(told), p)
	}
	tree.remove("/web.slice")
	if _, err := c.Collect(context.Background(), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	has(len(told)-1, "/", "/db.slice")
}

// TestCgroupsBelowV1: a cgroup has one number, that of the memory controller's hierarchy or of the first that it
// stands in, and the kernel's filters are told what is below it there.
func TestCgroupsBelowV1(t *testing.T) {
	tree := newCgroups(t, mountV1+"37 31 0:34 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n")
	in := map[string][]string{
		"cpu,cpuacct": {"/", "/docker", "/docker/a", "/batch", "/batch/x"},
		"memory":      {"/", "/docker", "/docker/a"},
		"blkio":       {"/"},
		"pids":        {"/", "/docker", "/forks", "/forks/y"},
		"freezer":     {"/"},
		"unified":     {"/", "/init.scope"},
	}
	for mount, paths := range in {
		for _, path := range paths {
			tree.put(mount+path, "cgroup.procs", "")
		}
	}
	number := func(h bpf.Hierarchy, mount, path string) uint64 {
		t.Helper()
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(tree.root, "../sys/fs/cgroup", mount, path), &st); err != nil {
			t.Fatal(err)
		}
		return bpf.CgroupID(bpf.MemoryV1, h, st.Ino)
	}
	cpu := func(path string) uint64 { return number(bpf.CPUv1, "cpu,cpuacct", path) }
	memory := func(path string) uint64 { return number(bpf.MemoryV1, "memory", path) }
	pids := func(path string) uint64 { return number(bpf.PidsV1, "pids", path) }
	var told bpf.Cgroups
	c := NewCgroups(NewFS(tree.root), func(x bpf.Cgroups) error { told = x; return nil })
	start(t, c)
	s := collectAs[*Cgroups](t, c, time.Second)
	want := map[string]uint64{
		"/": memory("/"), "/docker": memory("/docker"), "/docker/a": memory("/docker/a"), "/batch": cpu("/batch"), "/batch/x": cpu("/batch/x"),
		"/forks": pids("/forks"), "/forks/y": pids("/forks/y"), "/init.scope": number(bpf.Unified, "unified", "/init.scope"),
	}
	got := map[string]uint64{}
	for _, n := range c.(*cgroupCollector).tree.order {
		id, v2 := c.(*cgroupCollector).tree.id(n)
		got[n.path] = id
		if v2 != (n.path == "/init.scope") {
			t.Errorf("%s: of version 2: %t", n.path, v2)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
	for _, r := range s.Rows {
		if r.ID != want[r.Path.Bytes()] {
			t.Errorf("row %s: %#x, want %#x", r.Path.Bytes(), r.ID, want[r.Path.Bytes()])
		}
	}
	below := bpf.Cgroups{
		memory("/"): {memory("/docker")}, memory("/docker"): {memory("/docker/a")},
		cpu("/batch"): {cpu("/batch/x")}, pids("/forks"): {pids("/forks/y")},
	}
	if diff := cmp.Diff(below, told); diff != "" {
		t.Errorf("below (-want +got):\n%s", diff)
	}

	// By path, by directory, and by that of another hierarchy: the same number.
	mounts := strings.ReplaceAll(mountV1, "/sys/fs/cgroup", filepath.Join(tree.root, "../sys/fs/cgroup"))
	tree.write("self/mountinfo", mounts)
	for path, want := range map[string]uint64{
		"/docker/a": memory("/docker/a"), "docker/a": memory("/docker/a"), "/forks": pids("/forks"), "/batch": cpu("/batch"),
		filepath.Join(tree.root, "../sys/fs/cgroup/cpu,cpuacct/docker/a"): memory("/docker/a"),
		filepath.Join(tree.root, "../sys/fs/cgroup/pids/forks/y"):         pids("/forks/y"),
	} {
		x, err := FindCgroup(tree.root, path)
		if err != nil || x.Cgroup != want || x.Kind != CgroupTarget {
			t.Errorf("FindCgroup(%s) = %+v, %v, want %#x", path, x, err, want)
		}
	}
	if x, err := FindCgroup(tree.root, "/nowhere"); err == nil {
		t.Errorf("FindCgroup(/nowhere) = %+v", x)
	}
}
