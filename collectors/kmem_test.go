// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// kmemFake is a bpf.Kmem whose readings are given.
type kmemFake struct {
	bySite  bool
	freeErr error
	totals  bpf.KmemTotals
	allocs  map[bpf.AllocKey]uint64
	frees   map[uint64]uint64
	caches  map[uint64]bpf.SlabCache
	owners  map[bpf.AllocProcess]bpf.AllocOwner
	sites   map[bpf.AllocSite]uint64
	stacks  map[uint32][]uint64
	slots   map[bpf.AllocSlot]uint64
	named   int
	focused []kmemAim
}

func (f *kmemFake) BySite() bool                  { return f.bySite }
func (f *kmemFake) FreeErr() error                { return f.freeErr }
func (f *kmemFake) Read() (bpf.KmemTotals, error) { return f.totals, nil }
func (f *kmemFake) Pause(bool) error              { return nil }
func (f *kmemFake) Focus(only bool, cache uint64) error {
	f.focused = append(f.focused, kmemAim{only, cache})
	return nil
}
func (f *kmemFake) Close() error { return nil }
func (f *kmemFake) Stack(id uint32) ([]uint64, error) {
	if s, ok := f.stacks[id]; ok {
		return s, nil
	}
	return nil, errors.New("no such stack")
}

func (f *kmemFake) Allocs(_ time.Duration, each func(*bpf.AllocKey, uint64)) error {
	for k, n := range f.allocs {
		each(&k, n)
	}
	return nil
}

func (f *kmemFake) Frees(each func(cache, frees uint64)) error {
	for k, n := range f.frees {
		each(k, n)
	}
	return nil
}

func (f *kmemFake) Caches(each func(uint64, *bpf.SlabCache)) error {
	f.named++
	for k, c := range f.caches {
		each(k, &c)
	}
	return nil
}

func (f *kmemFake) Owners(_ time.Duration, each func(bpf.AllocProcess, *bpf.AllocOwner)) error {
	for k, o := range f.owners {
		each(k, &o)
	}
	return nil
}

func (f *kmemFake) Sites(_ time.Duration, each func(bpf.AllocSite, uint64)) error {
	for k, n := range f.sites {
		each(k, n)
	}
	return nil
}

func (f *kmemFake) Narrowed(each func(bpf.AllocSlot, uint64)) error {
	for k, n := range f.slots {
		each(k, n)
	}
	return nil
}

func (f *kmemFake) Narrow(want []bpf.Filter) (bpf.Slots, error) {
	var s bpf.Slots
	copy(s[1:], want)
	return s, nil
}

func newKmemFake() *kmemFake {
	return &kmemFake{
		allocs: map[bpf.AllocKey]uint64{}, frees: map[uint64]uint64{}, owners: map[bpf.AllocProcess]bpf.AllocOwner{}, sites: map[bpf.AllocSite]uint64{},
		stacks: map[uint32][]uint64{}, slots: map[bpf.AllocSlot]uint64{},
		caches: map[uint64]bpf.SlabCache{
			0x100: {Size: 192, Name: [32]int8{'d', 'e', 'n', 't', 'r', 'y'}},
			0x200: {Size: 704, Name: [32]int8{'i', 'n', 'o', 'd', 'e'}},
		},
	}
}

func startKmem(t *testing.T, f *kmemFake) *kmemCollector {
	t.Helper()
	c := newKmem(func() (kmemReader, error) { return f, nil })
	c.symbols = func(addr uint64) (string, bool) {
		name, ok := map[uint64]string{1: "kmem_cache_alloc_lru", 2: "__d_alloc", 3: "d_alloc_parallel", 4: "lookup_slow", 9: "ext4_alloc_inode", 10: "mystery"}[addr]
		return name, ok || addr > 90 // found to be nobody's
	}
	c.find = func(time.Duration) bool { return true }
	c.lacks = func() *NeedError { return nil }
	start(t, c)
	return c
}

func TestKmemDeltas(t *testing.T) {
	f := newKmemFake()
	find, other := bpf.AllocProcess{Tgid: 7, Start: 1}, bpf.AllocProcess{Tgid: 8, Start: 1}
	f.allocs[bpf.AllocKey{Cache: 0x100, Who: find}] = 1000
	f.totals.Allocs = 1000
	c := startKmem(t, f)
	if _, err := c.Collect(t.Context(), 0); !errors.Is(err, ErrWarming) {
		t.Fatalf("first Collect = %v, want ErrWarming", err)
	}
	if err := c.Narrow([]Target{{Kind: CgroupTarget, Cgroup: 5}}); err != nil {
		t.Fatal(err)
	}
	f.allocs[bpf.AllocKey{Cache: 0x100, Who: find}] += 230
	f.allocs[bpf.AllocKey{Cache: 0x100, Who: other}] = 20
	f.allocs[bpf.AllocKey{Cache: 0x100}] = 3 // did not fit
	f.allocs[bpf.AllocKey{Cache: 0x200, Who: other}] = 4
	f.frees[0x100], f.frees[0x200] = 40, 9
	f.sites[bpf.AllocSite{Cache: 0x100, Stack: 1}] = 3
	f.sites[bpf.AllocSite{Cache: 0x100, Stack: 2}] = 1
	f.stacks[1], f.stacks[2] = []uint64{1, 2, 3, 97, 4}, []uint64{2}
	f.owners[find] = bpf.AllocOwner{Cgroup: 5, Comm: [16]int8{'f', 'i', 'n', 'd'}}
	f.owners[other] = bpf.AllocOwner{Comm: [16]int8{'s', 'h'}}
	f.slots[bpf.AllocSlot{Cache: 0x100, Slot: 1}] = 230
	f.totals = bpf.KmemTotals{Allocs: 1257, Frees: 49, Bytes: 50_000, Samples: 4}
	s := collectAs[*Kmem](t, c, time.Second)
	want := []KmemCache{
		{
			Name: RawString("dentry"), Size: 192, Allocs: 253, Frees: 40, Others: 3, Samples: 4,
			Who: []KmemOwner{{Process: Process{7, 1}, Comm: RawString("find"), Cgroup: 5, Allocs: 230}, {Process: Process{8, 1}, Comm: RawString("sh"), Allocs: 20}},
			From: []KmemSite{
				{&AllocStack{Frames: []string{"__d_alloc", "d_alloc_parallel", "lookup_slow"}}, 3},
				{&AllocStack{Frames: []string{"__d_alloc"}}, 1},
			},
		},
		{Name: RawString("inode"), Size: 704, Allocs: 4, Frees: 9, Who: []KmemOwner{{Process: Process{8, 1}, Comm: RawString("sh"), Allocs: 4}}},
	}
	if diff := cmp.Diff(want, s.Caches, cmp.AllowUnexported(Raw{})); diff != "" {
		t.Errorf("caches (-want +got):\n%s", diff)
	}
	if s.Allocs != 257 || s.Frees != 49 || s.Bytes != 50_000 || s.Samples != 4 || !s.KnowsFrees {
		t.Errorf("sums %+v, want 257 allocations, 49 frees, 50000 bytes, 4 samples", s)
	}
	narrowed := []Targeted[KmemCounts]{{Target: Target{Kind: CgroupTarget, Cgroup: 5}, Sample: KmemCounts{[]KmemCount{{Name: RawString("dentry"), Size: 192, Allocs: 230}}}}}
	if diff := cmp.Diff(narrowed, s.Narrowed, cmp.AllowUnexported(Raw{}), cmp.Comparer(func(a, b Target) bool { return a == b })); diff != "" {
		t.Errorf("narrowed (-want +got):\n%s", diff)
	}
	if again := collectAs[*Kmem](t, c, 2*time.Second); len(again.Caches) != 0 || f.named != 1 {
		t.Errorf("a quiet second has %d caches, names read %d times, want none and once", len(again.Caches), f.named)
	}
	if p := c.Probes()[0]; p.State != On || p.Events != 257+49 {
		t.Errorf("the probe is %+v, want on with 306 events", p)
	}
}

// TestKmemBySite is for kernels whose tracepoint does not name the cache.
func TestKmemBySite(t *testing.T) {
	f := newKmemFake()
	f.bySite = true
	f.caches = map[uint64]bpf.SlabCache{2: {Size: 192}, 3: {Size: 192}, 9: {Size: 1176}, 10: {Size: 64}, 99: {Size: 32}}
	c := startKmem(t, f)
	_, _ = c.Collect(t.Context(), 0)
	who := bpf.AllocProcess{Tgid: 7, Start: 1}
	for site, n := range map[uint64]uint64{2: 10, 9: 5, 10: 3, 99: 1} {
		f.allocs[bpf.AllocKey{Cache: site, Who: who}] = n
	}
	s := collectAs[*Kmem](t, c, time.Second)
	got := map[string]uint64{}
	for _, x := range s.Caches {
		got[x.Name.Bytes()] = x.Allocs
	}
	want := map[string]uint64{"dentry": 10, "ext4_inode_cache": 5, "mystery()": 3, "0x63": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("caches (-want +got):\n%s", diff)
	}
	if p := c.Probes()[0]; p.State != Degraded || p.Reason == "" {
		t.Errorf("the probe is %+v, want degraded and why", p)
	}
}

func TestKmemIsBounded(t *testing.T) {
	s := &Kmem{}
	for i := range 60 {
		x := KmemCache{Name: RawString(fmt.Sprint(i))}
		for j := range 50 {
			x.Who = append(x.Who, KmemOwner{Process: Process{int32(j + 1), 1}, Allocs: uint64(i*50 + j)})
			x.From = append(x.From, KmemSite{&AllocStack{}, uint64(i*50 + j)})
			x.Allocs += uint64(i*50 + j)
		}
		s.Caches = append(s.Caches, x)
	}
	bound(s)
	owners, sites := 0, 0
	for i := range s.Caches {
		x := &s.Caches[i]
		owners += len(x.Who)
		sites += len(x.From)
		sum := x.Others
		for _, o := range x.Who {
			sum += o.Allocs
		}
		if len(x.Who) == 0 || sum != x.Allocs {
			t.Errorf("cache %d lists %d processes; they and the others allocated %d of %d", i, len(x.Who), sum, x.Allocs)
		}
	}
	if owners > maxKmemOwners+60 || sites > maxKmemSites+60 || owners < maxKmemOwners {
		t.Errorf("%d processes and %d sites listed, want at most %d and %d", owners, sites, maxKmemOwners+60, maxKmemSites+60)
	}
}

func TestLeastOf(t *testing.T) {
	tests := map[string]struct {
		v    []uint64
		n    int
		want uint64
	}{
		"all fit":     {v: []uint64{3, 1}, n: 2, want: 0},
		"one too few": {v: []uint64{1, 2, 3}, n: 2, want: 2},
		"equal ones":  {v: []uint64{5, 1, 1, 1}, n: 2, want: 2},
		"all equal":   {v: []uint64{1, 1, 1}, n: 2, want: 2},
	}
	for name, tt := range tests {
		if got := leastOf(slices.Clone(tt.v), tt.n); got != tt.want {
			t.Errorf("%s: leastOf(%v, %d) = %d, want %d", name, tt.v, tt.n, got, tt.want)
		}
	}
}

// TestLiveDentries is all the way from the kernel: who looks for 23,000 names that do not exist.
func TestLiveDentries(t *testing.T) {
	const n = 23_000
	c := NewKmem(bpf.Inspect(), NewFS(""))
	if err := c.Start(t.Context()); err != nil {
		lacking(t, "%v", err)
	}
	defer c.Close()
	_, _ = c.Collect(t.Context(), 0)
	dir := t.TempDir()
	var st unix.Stat_t
	for i := range n {
		_ = unix.Stat(fmt.Sprintf("%s/missing-%d", dir, i), &st)
	}
	s := collectAs[*Kmem](t, c, time.Second)
	dentry := s.Find(RawString("dentry"))
	if dentry == nil || len(dentry.Who) == 0 {
		t.Fatalf("no names allocated: %+v", s.Caches)
	}
	top := dentry.Who[0]
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	if int(top.TGID) != os.Getpid() || top.Allocs < n || top.Allocs > n+500 || top.Comm.Bytes()+"\n" != string(comm) {
		t.Errorf("most names by %q[%d]: %d, want this process and %d", top.Comm.Bytes(), top.TGID, top.Allocs, n)
	}
	if len(dentry.From) == 0 || !slices.Contains(dentry.From[0].Frames, "__d_alloc") {
		t.Errorf("names come from %v, want through __d_alloc", dentry.From[0].Frames)
	}
	if p := c.Probes()[0]; p.Events < n || p.State != On && p.State != Degraded {
		t.Errorf("the probe is %+v", p)
	}
}
