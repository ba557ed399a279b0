// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"testing"
)

// TestKmemFocus holds that the rest of the host is passed over: with targets alone the sum of everything is
// theirs, with one cache it is that cache's.
func TestKmemFocus(t *testing.T) {
	const n = 2300
	m := openKmem(t, need(t))
	if _, err := m.Narrow([]Filter{{Kind: FilterProcess, ID: uint64(os.Getpid())}}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	missingNames(dir, "first", 1)
	keys := dentries(t, m)
	if len(keys) == 0 {
		t.Fatal("there is no cache of names")
	}
	slots := func() (all, names uint64) {
		if err := m.Narrowed(func(s AllocSlot, n uint64) {
			all += n
			if keys[s.Cache] {
				names += n
			}
		}); err != nil {
			t.Fatal(err)
		}
		return all, names
	}
	if err := m.Focus(true, 0); err != nil {
		t.Fatal(err)
	}
	before := readKmem(t, m)
	all, names := slots()
	missingNames(dir, "only", n)
	allAfter, namesAfter := slots()
	after := readKmem(t, m)
	if got := namesAfter - names; got < n {
		t.Errorf("%d names of this process, want %d", got, n)
	}
	// The sums are read before and after the slots: what we took between counts on one side only.
	if got, mine := after.Allocs-before.Allocs, allAfter-all; got < mine || got > mine+200 {
		t.Errorf("%d objects in all, %d of them ours: others are counted", got, mine)
	}
	if got := after.Frees - before.Frees; got != 0 {
		t.Errorf("%d frees are counted, and nobody knows whose", got)
	}
	var dentry uint64
	for k := range keys {
		dentry = k
	}
	if m.BySite() || len(keys) != 1 {
		t.Skip("this kernel does not name caches: one cannot be looked at alone")
	}
	if err := m.Focus(false, dentry); err != nil {
		t.Fatal(err)
	}
	_, count := allocsOf(t, m, keys, os.Getpid())
	before = readKmem(t, m)
	missingNames(dir, "cache", n)
	after = readKmem(t, m)
	_, countAfter := allocsOf(t, m, keys, os.Getpid())
	if got, of := after.Allocs-before.Allocs, countAfter-count; got < n || got > of {
		t.Errorf("%d objects in all, want at least %d and no more than the %d names", got, n, of)
	}
}
