// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func openKmem(t testing.TB, k *Kernel) *Kmem {
	t.Helper()
	m, err := OpenKmem(k)
	if err != nil {
		t.Fatalf("OpenKmem: %v", err)
	}
	closing(t, m)
	return m
}

func TestEveryKmemProgramLoads(t *testing.T) {
	m := openKmem(t, need(t))
	if err := m.FreeErr(); err != nil {
		t.Errorf("frees: %v", err)
	}
	obj, err := newObject(need(t), loadKmem)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, obj)
	for name := range elf(t, obj).Programs {
		lacks := m.BySite() && (name == "kmem_allocated" || name == "kmem_freed") || !m.BySite() && name == "kmem_node_allocated_at"
		if _, err := obj.load(name); err != nil && !lacks {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// dentries are the keys that stand for the cache of names.
func dentries(t testing.TB, m *Kmem) map[uint64]bool {
	t.Helper()
	out := map[uint64]bool{}
	if m.BySite() {
		from, to := symbolRange(t, "__d_alloc")
		if err := m.Caches(func(site uint64, _ *SlabCache) {
			if site >= from && site < to {
				out[site] = true
			}
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if err := m.Caches(func(cache uint64, c *SlabCache) {
		if nameOf32(c.Name) == "dentry" {
			out[cache] = true
		}
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func nameOf32(name [32]int8) string {
	var b strings.Builder
	for _, c := range name {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return b.String()
}

// symbolRange is where a function of the kernel begins, and the next one.
func symbolRange(t testing.TB, name string) (from, to uint64) {
	t.Helper()
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		field := strings.Fields(sc.Text())
		addr, err := strconv.ParseUint(field[0], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		if from != 0 && addr > from {
			return from, addr
		}
		if len(field) > 2 && field[2] == name {
			from = addr
		}
	}
	t.Fatalf("no %s in /proc/kallsyms", name)
	return 0, 0
}

func allocsOf(t testing.TB, m *Kmem, keys map[uint64]bool, tgid int) (mine, all uint64) {
	t.Helper()
	if err := m.Allocs(0, func(k *AllocKey, n uint64) {
		if !keys[k.Cache] {
			return
		}
		all += n
		if int(k.Who.Tgid) == tgid {
			mine += n
		}
	}); err != nil {
		t.Fatal(err)
	}
	return mine, all
}

// TestKnownDentries looks for names that do not exist: each makes the kernel allocate one.
func TestKnownDentries(t *testing.T) {
	const n, noise = 23_000, 300
	k := need(t)
	m := openKmem(t, k)
	pid := os.Getpid()
	slots, err := m.Narrow([]Filter{{Kind: FilterProcess, ID: uint64(pid)}})
	if err != nil || slots[1].ID != uint64(pid) {
		t.Fatalf("Narrow = %v, %v", slots, err)
	}
	dir := t.TempDir()
	missingNames(dir, "first", 1)
	keys := dentries(t, m)
	if len(keys) == 0 {
		t.Fatal("there is no cache of names")
	}
	narrowed := func() (sum uint64) {
		if err := m.Narrowed(func(s AllocSlot, n uint64) {
			if s.Slot == 1 && keys[s.Cache] {
				sum += n
			}
		}); err != nil {
			t.Fatal(err)
		}
		return sum
	}
	before, all := allocsOf(t, m, keys, pid)
	slot, totals := narrowed(), readKmem(t, m)
	missingNames(dir, "missing", n)
	after, allAfter := allocsOf(t, m, keys, pid)
	slotAfter, totalsAfter := narrowed(), readKmem(t, m)
	if got := after - before; got < n || got > n+noise {
		t.Errorf("%d names allocated by this process, want %d and few more", got, n)
	}
	if got := slotAfter - slot; got < n || got > n+noise {
		t.Errorf("%d names allocated by its slot, want %d and few more", got, n)
	}
	if got := totalsAfter.Allocs - totals.Allocs; got < allAfter-all {
		t.Errorf("%d objects allocated in all, less than %d names", got, allAfter-all)
	}
	if totalsAfter.Unkeyed != totals.Unkeyed {
		t.Errorf("%d found no room", totalsAfter.Unkeyed-totals.Unkeyed)
	}
	t.Logf("%d names by this process, %d in all; %d objects, %d frees", after-before, allAfter-all, totalsAfter.Allocs-totals.Allocs, totalsAfter.Frees-totals.Frees)

	t.Run("named", func(t *testing.T) {
		found := false
		if err := m.Owners(0, func(p AllocProcess, o *AllocOwner) {
			found = found || int(p.Tgid) == pid && nameOf16(o.Comm) == commOfSelf(t)
		}); err != nil || !found {
			t.Errorf("this process has no name (%v)", err)
		}
	})
	t.Run("from where", func(t *testing.T) { sampledStacks(t, m, keys, n) })
}

func commOfSelf(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func readKmem(t testing.TB, m *Kmem) KmemTotals {
	t.Helper()
	c, err := m.Read()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// missingNames looks n times for a file that is not there.
func missingNames(dir, name string, n int) {
	var st unix.Stat_t
	for i := range n {
		_ = unix.Stat(fmt.Sprintf("%s/%s-%d", dir, name, i), &st)
	}
}

// sampledStacks wants the samples of the cache to be about what was allocated, and to come through the
// function that allocates names.
func sampledStacks(t *testing.T, m *Kmem, keys map[uint64]bool, n uint64) {
	from, to := symbolRange(t, "__d_alloc")
	var samples, through uint64
	if err := m.Sites(0, func(s AllocSite, n uint64) {
		if !keys[s.Cache] {
			return
		}
		samples += n
		frames, err := m.Stack(s.Stack)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range frames {
			if a >= from && a < to {
				through += n
				break
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	const each = 64 // SAMPLE in kmem.bpf.c: allocations between two that tell from where, in the mean
	if weighted := samples * each; weighted < n/2 || weighted > 2*n {
		t.Errorf("%d samples stand for %d allocations, want about %d", samples, weighted, n)
	}
	if through < samples*9/10 {
		t.Errorf("%d of %d samples came through __d_alloc", through, samples)
	}
}

// TestDentriesAgreeWithTheKernel compares with the kernel's own number of names, on a file system that
// keeps those that do not exist.
func TestDentriesAgreeWithTheKernel(t *testing.T) {
	const n = 23_000
	m := openKmem(t, need(t))
	if m.BySite() {
		lacksHere(t, "frees are not counted by cache before 5.19")
	}
	missingNames(t.TempDir(), "first", 1)
	keys := dentries(t, m)
	count := func() (ours int64, kernel int64) {
		_, all := allocsOf(t, m, keys, 0)
		ours = int64(all)
		if err := m.Frees(func(cache, n uint64) {
			if keys[cache] {
				ours -= int64(n)
			}
		}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile("/proc/sys/fs/dentry-state")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(string(b), &kernel); err != nil {
			t.Fatal(err)
		}
		return ours, kernel
	}
	// A name is uncounted when it is let go and freed after a grace period: in between they differ, by as
	// many as others let go just now. So of five one must agree.
	undisturbed(t, func() []string {
		ours, kernel := count()
		missingNames(t.TempDir(), "missing", n)
		oursAfter, kernelAfter := count()
		got, want := oursAfter-ours, kernelAfter-kernel
		t.Logf("names grew by %d, the kernel says %d", got, want)
		if diff := got - want; diff < -200 || diff > n/10 {
			return []string{fmt.Sprintf("names grew by %d, the kernel says %d", got, want)}
		}
		return nil
	})
}
