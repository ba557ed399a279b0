// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The lines by which kernels differ, as three of them print them.
const (
	meminfo510 = `MemTotal:        4026364 kB
MemFree:          128736 kB
MemAvailable:    2817028 kB
Buffers:          185128 kB
Cached:          2521712 kB
SwapCached:           20 kB
SwapTotal:       1046524 kB
SwapFree:        1045744 kB
Dirty:               132 kB
Writeback:             0 kB
AnonPages:        760196 kB
Shmem:              9760 kB
KReclaimable:     229256 kB
Slab:             311512 kB
SReclaimable:     229256 kB
SUnreclaim:        82256 kB
KernelStack:        5664 kB
PageTables:        14520 kB
VmallocUsed:       28308 kB
Percpu:             1936 kB
HardwareCorrupted:     0 kB
HugePages_Total:       3
HugePages_Free:        1
Hugepagesize:       2048 kB
Hugetlb:            6144 kB
`
	meminfo61  = meminfo510 + "Zswap:                12 kB\nZswapped:             40 kB\nSecPageTables:        28 kB\n"
	meminfo612 = meminfo61 + "Balloon:            1024 kB\nHugetlb:            8192 kB\n" // a line twice: the last wins
	vmstat418  = "pgfault 9\npgmajfault 1\npgscan_kswapd 5\npgscan_direct 6\nallocstall_dma 1\nallocstall_dma32 2\nallocstall_normal 3\nallocstall_movable 4\nworkingset_refault 8\noom_kill 2\n"
	vmstat510  = "nr_zspages 3\nworkingset_refault_anon 1\nworkingset_refault_file 2\nnr_dirty_threshold 77\npgfault 9\npgscan_kswapd 5\npgscan_direct 6\npgscan_direct_throttle 7\noom_kill 2\n"
	vmstat61   = vmstat510 + "pgscan_khugepaged 30\npgsteal_khugepaged 20\nzswpin 4\nzswpout 5\n"
	vmstat618  = vmstat61 + "pgscan_proactive 100\nallocstall_device 9\npgsteal_proactive 1\n"
)

func TestParseMemInfo(t *testing.T) {
	tests := map[string]struct {
		in      string
		want    map[MemField]uint64 // some of it, in KiB or pages
		missing []MemField
		ok      bool
	}{
		"captured": {
			string(fixtureFile(t, "meminfo")),
			map[MemField]uint64{MemTotal: 24682416, MemPercpu: 688, MemHugepagesize: 2048, MemCommittedAS: 67428},
			[]MemField{MemHardwareCorrupted, MemCmaTotal},
			true,
		},
		"5.10": {
			meminfo510,
			map[MemField]uint64{MemAvailable: 2817028, MemSwapFree: 1045744, MemHugetlb: 6144},
			[]MemField{MemZswap, MemSecPageTables, MemBalloon},
			true,
		},
		"6.1":              {meminfo61, map[MemField]uint64{MemZswap: 12, MemZswapped: 40, MemSecPageTables: 28}, []MemField{MemBalloon}, true},
		"6.12":             {meminfo612, map[MemField]uint64{MemBalloon: 1024, MemHugetlb: 8192}, nil, true},
		"a container's":    {"MemTotal: 512 kB\nMemFree: 100 kB\nCached: 7 kB\n", map[MemField]uint64{MemTotal: 512, MemCached: 7}, []MemField{MemAvailable, MemSReclaimable, MemSwapTotal}, true},
		"not a name twice": {"MemTotal: 8 kB\nXMemFree: 3 kB\nMemFree2: 3 kB\n", map[MemField]uint64{MemTotal: 8}, []MemField{MemFree}, true},
		"largest":          {"MemTotal: 18014398509481983 kB\n", map[MemField]uint64{MemTotal: 1<<54 - 1}, nil, true},
		"empty":            {"", nil, nil, false},
		"no total":         {"MemFree: 3 kB\n", nil, nil, false},
		"cut off":          {"MemTotal: 8 kB\nMemFree:", nil, nil, false},
		"too large":        {"MemTotal: 18014398509481984 kB\n", nil, nil, false},
		"negative":         {"MemTotal: 8 kB\nMemFree: -3 kB\n", nil, nil, false},
	}
	names := memFieldNames()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var m MemInfo
			if err := parseMemInfo([]byte(tt.in), names, &m); (err == nil) != tt.ok {
				t.Fatalf("parseMemInfo(%q) = %v, want ok %v", tt.in, err, tt.ok)
			}
			for f, kib := range tt.want {
				if got, ok := m.Get(f); got != kib<<10 || !ok {
					t.Errorf("field %d = %d, %v, want %d", f, got, ok, kib<<10)
				}
			}
			for _, f := range tt.missing {
				if n, ok := m.Get(f); ok || n != 0 {
					t.Errorf("field %d is known as %d, want missing", f, n)
				}
			}
		})
	}
	var m MemInfo
	if err := parseMemInfo([]byte(meminfo510), names, &m); err != nil || m.N[MemHugePagesTotal] != 3 || m.N[MemHugePagesFree] != 1 {
		t.Errorf("HugePages = %d, %d, %v, want 3 and 1 pages", m.N[MemHugePagesTotal], m.N[MemHugePagesFree], err)
	}
}

func TestParseVMEvents(t *testing.T) {
	tests := map[string]struct {
		in      string
		want    map[VMEvent]uint64
		missing []VMEvent
		ok      bool
	}{
		"captured": {string(fixtureFile(t, "vmstat")), map[VMEvent]uint64{VMRefaultFile: 535800, VMDropPageCache: 1, VMTHPFault: 918, VMSlabsScanned: 291, vmDirtyThreshold: 1212219}, nil, true},
		"4.18":     {vmstat418, map[VMEvent]uint64{VMRefaultFile: 8, VMAllocStall: 10, VMScanKswapd: 5}, []VMEvent{VMRefaultAnon, VMScanOther, VMZswapIn, vmZspages}, true},
		"5.10":     {vmstat510, map[VMEvent]uint64{VMRefaultAnon: 1, VMRefaultFile: 2, VMScanDirect: 6, VMThrottled: 7, vmZspages: 3}, []VMEvent{VMScanOther, VMZswapIn}, true},
		"6.1":      {vmstat61, map[VMEvent]uint64{VMScanOther: 30, VMStealOther: 20, VMZswapOut: 5}, []VMEvent{VMAllocStall}, true},
		"6.18":     {vmstat618, map[VMEvent]uint64{VMScanOther: 130, VMStealOther: 21, VMAllocStall: 9}, nil, true},
		"empty":    {"", nil, nil, false},
		"unknown":  {"nr_free_pages 7\n", nil, nil, false},
		"cut off":  {"pgfault", nil, nil, false},
		"negative": {"pgfault -1\n", nil, nil, false},
	}
	names := vmEventNames()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var v vmReading
			if err := parseVMEvents([]byte(tt.in), names, &v); (err == nil) != tt.ok {
				t.Fatalf("parseVMEvents(%q) = %v, want ok %v", tt.in, err, tt.ok)
			}
			for e, n := range tt.want {
				if v.n[e] != n || v.known&(1<<e) == 0 {
					t.Errorf("event %d = %d, known %x, want %d", e, v.n[e], v.known, n)
				}
			}
			for _, e := range tt.missing {
				if v.known&(1<<e) != 0 {
					t.Errorf("event %d is known", e)
				}
			}
		})
	}
}

// The names map every value below the end, so that a new constant is not forgotten.
func TestFieldNames(t *testing.T) {
	fields, events := map[uint8]bool{}, map[uint8]bool{}
	for _, i := range memFieldNames() {
		fields[i] = true
	}
	for _, i := range vmEventNames() {
		events[i] = true
	}
	if len(fields) != int(memFields) || len(events) != int(vmFieldsAll)-1 { // vmEvents itself names none
		t.Errorf("%d fields and %d events have names, want %d and %d", len(fields), len(events), memFields, vmFieldsAll-1)
	}
	if memFields > 64 || vmFieldsAll > 32 {
		t.Errorf("%d fields and %d events do not fit their bits", memFields, vmFieldsAll)
	}
}

// TestMemoryParsersAllocateNothing holds that the files read each second cost no garbage.
func TestMemoryParsersAllocateNothing(t *testing.T) {
	mem, vm := fixtureFile(t, "meminfo"), fixtureFile(t, "vmstat")
	fields, events := memFieldNames(), vmEventNames()
	var m MemInfo
	var v vmReading
	if n := testing.AllocsPerRun(100, func() {
		if parseMemInfo(mem, fields, &m) != nil || parseVMEvents(vm, events, &v) != nil {
			t.Fatal("the captured files do not parse")
		}
	}); n > 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestParseSwaps(t *testing.T) {
	const head = "Filename\tType\tSize\tUsed\tPriority\n"
	tests := map[string]struct {
		in   string
		want []SwapArea
		ok   bool
	}{
		"none":         {head, nil, true},
		"one":          {head + "/dev/sda2 partition 10 3 -2\n", []SwapArea{{Name: RawString("/dev/sda2"), Size: 10 << 10, Used: 3 << 10, Priority: -2}}, true},
		"deleted file": {head + "/s\\040(deleted) file 10 3 5\n", []SwapArea{{Name: RawString("/s\\040(deleted)"), File: true, Size: 10 << 10, Used: 3 << 10, Priority: 5}}, true},
		"masked":       {"", nil, false},
		"cut off":      {head + "/dev/sda2 partition 10", nil, false},
		"too large":    {head + "/dev/sda2 partition 18014398509481984 0 1\n", nil, false},
	}
	for name, tt := range tests {
		got, err := parseSwaps([]byte(tt.in))
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(Raw{})); diff != "" || (err == nil) != tt.ok {
			t.Errorf("%s: parseSwaps(%q): %v (-want +got):\n%s", name, tt.in, err, diff)
		}
	}
	if got, err := parseSwaps([]byte(head + strings.Repeat("/x file 1 1 1\n", 1000))); err != nil || len(got) != maxSwaps {
		t.Errorf("1000 areas: %d, %v, want %d", len(got), err, maxSwaps)
	}
}

func TestParseSlabinfo(t *testing.T) {
	line := slabLine{name: []byte("dentry"), active: 5, objects: 21, objSize: 192, perSlab: 21, pages: 1, activeSlabs: 1, slabs: 1}
	named := func(name string) []slabLine {
		l := line
		l.name = []byte(name)
		return []slabLine{l}
	}
	const rest = " 5 21 192 21 1 : tunables 0 0 0 : slabdata 1 1 0\n"
	tests := map[string]struct {
		in   string
		want []slabLine
		ok   bool
	}{
		"one":               {slabHead + "dentry" + rest, named("dentry"), true},
		"a name of blanks":  {slabHead + "my own cache" + rest, named("my own cache"), true},
		"a name of numbers": {slabHead + "x 1 2 3 : slabdata" + rest, named("x 1 2 3 : slabdata"), true},
		"escapes":           {slabHead + "\x1b[31m" + rest, named("\x1b[31m"), true},
		"none":              {slabHead, []slabLine{}, true},
		"empty":             {"", []slabLine{}, false},
		"version 1":         {"slabinfo - version: 1.1\n", []slabLine{}, false},
		"no name":           {slabHead + rest, []slabLine{}, false},
		"cut off":           {slabHead + "dentry 5 21 192", []slabLine{}, false},
		"no slabdata":       {slabHead + "dentry 5 21 192 21 1 : tunables 0 0 0\n", []slabLine{}, false},
		"too large":         {slabHead + "dentry 5 1099511627776 192 21 1 : tunables 0 0 0 : slabdata 1 1 0\n", []slabLine{}, false},
		"too many slabs":    {slabHead + "dentry 5 21 192 21 1 : tunables 0 0 0 : slabdata 1 4294967296 0\n", []slabLine{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseSlabinfo([]byte(tt.in), []slabLine{})
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(slabLine{})); diff != "" || (err == nil) != tt.ok {
				t.Errorf("parseSlabinfo(%q): %v (-want +got):\n%s", tt.in, err, diff)
			}
		})
	}
	got, err := parseSlabinfo(fixtureFile(t, "slabinfo"), nil)
	if err != nil || len(got) != 235 {
		t.Errorf("captured: %d caches, %v, want 235", len(got), err)
	}
}
