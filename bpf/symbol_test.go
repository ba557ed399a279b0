// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseFunction(t *testing.T) {
	const at = 0xffffffff81000123
	none := Function{Addr: at, From: at, To: at + 1}
	for text, want := range map[string]Function{
		"vfs_read+0x23/0x40":              {Addr: at, From: at - 0x23, To: at + 0x1d, Name: "vfs_read"},
		"ext4_x+0x0/0x10 [ext4]":          {Addr: at, From: at, To: at + 0x10, Name: "ext4_x", Module: "ext4"},
		"ext4_x+0x0/0x10 [ext4 0a1b2c3d]": {Addr: at, From: at, To: at + 0x10, Name: "ext4_x", Module: "ext4"},
		"a+b+0x1/0x2":                     {Addr: at, From: at - 1, To: at + 1, Name: "a+b"},
		"0xffffffff81000123":              none,
		"":                                none,
		"+0x1/0x2":                        none,
		"f+0x2/0x2":                       none, // behind its end
		"f+0x1":                           none,
		"f+0xffffffffffffffff/0x1":        none,
		"f+0x1/0xffffffffffffffff":        none, // around the end of all addresses
	} {
		if diff := cmp.Diff(want, parseFunction(at, text)); diff != "" {
			t.Errorf("%q:\n%s", text, diff)
		}
	}
}

// TestFunctions: names and beginnings are those of /proc/kallsyms, for more addresses than one run takes,
// in the middle of functions, and for what is no function.
func TestFunctions(t *testing.T) {
	k := need(t)
	names, starts := kallsyms(t)
	var addrs []uint64
	for i := 0; i < len(starts)-1; i += len(starts)/200 + 1 {
		if starts[i+1] > starts[i]+1 {
			addrs = append(addrs, starts[i]+1)
		}
	}
	addrs = append(addrs, 4096)
	var got []Function
	err := Functions(k, addrs, func(f Function) { got = append(got, f) })
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err) // below 5.13
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(addrs) {
		t.Fatalf("%d functions of %d addresses", len(got), len(addrs))
	}
	for i, f := range got[:len(got)-1] {
		if f.Addr != addrs[i] || f.From != addrs[i]-1 || f.To <= addrs[i] || !slices.Contains(names[f.From], f.Name) {
			t.Errorf("%x: %+v, in the list %q", addrs[i], f, names[addrs[i]-1])
		}
	}
	if f := got[len(got)-1]; f.Name != "" || f.From != 4096 || f.To != 4097 {
		t.Errorf("no function is %+v", f)
	}
}

// kallsyms are the names in the kernel itself, by address, and all addresses that have one, ascending.
func kallsyms(t *testing.T) (names map[uint64][]string, starts []uint64) {
	t.Helper()
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	names = map[uint64][]string{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		part := strings.Fields(sc.Text())
		if len(part) != 3 || !strings.EqualFold(part[1], "t") { // of a module, or no function
			continue
		}
		addr, err := strconv.ParseUint(part[0], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		names[addr] = append(names[addr], part[2])
	}
	if len(names) < 1000 {
		t.Fatalf("only %d functions", len(names))
	}
	return names, slices.Sorted(maps.Keys(names))
}

func BenchmarkFunctions(b *testing.B) {
	k := need(b)
	for b.Loop() {
		if err := Functions(k, []uint64{4096, 8192}, func(Function) {}); err != nil {
			b.Fatal(err)
		}
	}
}
