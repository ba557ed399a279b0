// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestShownHierarchy(t *testing.T) {
	const head = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\n"
	tests := map[string]struct {
		file string
		want Hierarchy
	}{
		"version 1":       {head + "memory\t4\t80\t1\npids\t8\t1\t1\n", MemoryV1},
		"version 2":       {head + "memory\t0\t80\t1\n", Unified},
		"memory is off":   {head + "memory\t0\t1\t0\n", Unified},
		"none":            {head, Unified},
		"no file":         {"", Unified},
		"of another name": {head + "memory2\t4\t80\t1\n", Unified},
	}
	for name, tt := range tests {
		if got := ShownHierarchy(tt.file); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// TestCgroupID: a number is that of one cgroup of one hierarchy, and the kernel's own of the one that is shown.
func TestCgroupID(t *testing.T) {
	seen := map[uint64]bool{}
	for h := Unified; h <= FreezerV1; h++ {
		id := CgroupID(MemoryV1, h, 7)
		if seen[id] || id == 0 {
			t.Errorf("hierarchy %d: %#x is another's too", h, id)
		}
		seen[id] = true
		if shown := h == MemoryV1; shown != (id == 7) || shown != (otherHierarchy(id) == 0) {
			t.Errorf("hierarchy %d: %#x", h, id)
		}
	}
	if id := CgroupID(MemoryV1, PidsV1, 0); id != 0 {
		t.Errorf("of no cgroup %#x, want 0", id)
	}
}

func TestOneOther(t *testing.T) {
	cgroup := func(h Hierarchy, id uint64) Filter { return Filter{ID: CgroupID(MemoryV1, h, id), Kind: FilterCgroup} }
	process := Filter{ID: 1 << 60, Kind: FilterProcess}
	tests := map[string]struct {
		want, kept []Filter
		other      uint64
		over       error
	}{
		"shown":        {[]Filter{cgroup(MemoryV1, 2), process}, []Filter{cgroup(MemoryV1, 2), process}, 0, nil},
		"and another":  {[]Filter{cgroup(MemoryV1, 2), cgroup(PidsV1, 2), cgroup(PidsV1, 3)}, []Filter{cgroup(MemoryV1, 2), cgroup(PidsV1, 2), cgroup(PidsV1, 3)}, uint64(PidsV1) + 1, nil},
		"and a third":  {[]Filter{cgroup(CPUv1, 2), process, cgroup(PidsV1, 3)}, []Filter{cgroup(CPUv1, 2), process}, uint64(CPUv1) + 1, ErrHierarchy},
		"the unified":  {[]Filter{cgroup(Unified, 2)}, []Filter{cgroup(Unified, 2)}, 1, nil},
		"nobody":       {nil, nil, 0, nil},
		"no hierarchy": {[]Filter{process}, []Filter{process}, 0, nil},
	}
	for name, tt := range tests {
		kept, other, err := oneOther(tt.want)
		if fmt.Sprint(kept) != fmt.Sprint(tt.kept) || other != tt.other || !errors.Is(err, tt.over) {
			t.Errorf("%s: %v, other %d, %v; want %v, %d, %v", name, kept, other, err, tt.kept, tt.other, tt.over)
		}
	}
}

// hierarchyDirs are the roots of the hierarchies that there are to test with. None is mounted for that: a
// controller stays bound to one of version 1 for long, and tests of version 2 would lack it.
func hierarchyDirs(t *testing.T) map[Hierarchy]string {
	t.Helper()
	names := map[Hierarchy]string{CPUv1: "cpu", CPUAcctV1: "cpuacct", MemoryV1: "memory", BlkioV1: "blkio", PidsV1: "pids", FreezerV1: "freezer"}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	out := map[Hierarchy]string{Unified: unifiedDir(t)}
	for line := range strings.Lines(string(b)) {
		head, tail, _ := strings.Cut(line, " - ")
		f, g := strings.Fields(head), strings.Fields(tail)
		if len(f) < 5 || len(g) < 3 || g[0] != "cgroup" || f[3] != "/" {
			continue
		}
		for h, name := range names { // other tests mount one for a while: the first stays
			if out[h] == "" && strings.Contains(","+g[2]+",", ","+name+",") && strings.HasPrefix(f[4], "/sys/") {
				out[h] = f[4]
			}
		}
	}
	return out
}

// homeIn is where this process is in a hierarchy that is mounted at dir.
func homeIn(t *testing.T, h Hierarchy, dir string) string {
	t.Helper()
	controller := map[Hierarchy]string{Unified: "", CPUv1: "cpu", CPUAcctV1: "cpuacct", MemoryV1: "memory", BlkioV1: "blkio", PidsV1: "pids", FreezerV1: "freezer"}[h]
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) == 3 && (f[1] == controller || controller != "" && strings.Contains(","+f[1]+",", ","+controller+",")) {
			return dir + f[2]
		}
	}
	t.Fatalf("this process is in no cgroup of %q:\n%s", controller, b)
	return ""
}

// enterCgroup moves this process.
func enterCgroup(t testing.TB, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
		t.Fatalf("entering %s: %v", dir, err)
	}
}

// TestCgroupFilters: in whatever hierarchy a cgroup stands, every program counts exactly what is done in it
// and below it, and nothing else. Either hierarchy may be the one that is shown, whatever this host has.
func TestCgroupFilters(t *testing.T) {
	need(t)
	dirs := hierarchyDirs(t)
	for name, begin := range allNarrowed() {
		t.Run(name, func(t *testing.T) {
			for _, shown := range []Hierarchy{MemoryV1, Unified} {
				if dirs[shown] == "" {
					continue
				}
				t.Run(fmt.Sprint("shown ", shown), func(t *testing.T) {
					k := need(t)
					k.shown = shown
					p := begin(t, k)
					for h := Unified; h <= FreezerV1; h++ {
						if dirs[h] != "" { // on this goroutine: its thread may have a network of its own
							filtersCgroup(t, k, &p, h, dirs[h])
						}
					}
				})
			}
		})
	}
}

func filtersCgroup(t *testing.T, k *Kernel, p *narrowed, h Hierarchy, dir string) {
	t.Helper()
	home := homeIn(t, h, dir)
	top := filepath.Join(dir, fmt.Sprintf("bpf60-filters-%d", os.Getpid()))
	topID := makeCgroup(t, top)
	inner := filepath.Join(top, "inner")
	innerID := makeCgroup(t, inner)
	key := func(id uint64) uint64 { return CgroupID(k.shown, h, id) }
	process, cgroup := Filter{ID: uint64(os.Getpid()), Kind: FilterProcess}, Filter{ID: key(topID), Kind: FilterCgroup}
	slots, err := p.narrow([]Filter{process, cgroup})
	if err != nil {
		t.Fatal(err)
	}
	at := func(f Filter) int {
		for i, s := range slots {
			if s == f {
				return i
			}
		}
		t.Fatalf("%v is not in %v", f, slots)
		return 0
	}
	all, own := at(process), at(cgroup)
	t.Cleanup(func() { enterCgroup(t, home) })
	expect := func(where string, dir string, counts bool) {
		t.Helper()
		enterCgroup(t, dir)
		defer enterCgroup(t, home)
		var got, gotAll, want uint64
		for tries := 0; tries == 0 || !p.exact && tries < 5; tries++ {
			was, wasAll := p.both(own, all)
			p.load()
			got, gotAll = p.both(own, all)
			got, gotAll = got-was, gotAll-wasAll
			if counts {
				want = gotAll
			}
			if got == want && gotAll != 0 && (gotAll == 23 || !p.exact) {
				return
			}
		}
		t.Errorf("%s, hierarchy %d: %d count for the cgroup, %d for the process; want %d and 23", where, h, got, gotAll, want)
	}
	expect("in it", top, true)
	expect("beside it", home, false)
	expect("below it, which nobody knows yet", inner, false)
	if err := k.FollowCgroups(Cgroups{key(topID): {key(innerID)}}); err != nil {
		t.Fatal(err)
	}
	expect("below it", inner, true)
	if _, err := p.narrow(nil); err != nil {
		t.Fatal(err)
	}
}
