// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func memoryIn(fs FS) Collector { return newMemory(fs, fs.shared("meminfo"), fs.shared("vmstat")) }

func events(set map[VMEvent]uint64) (e VMEvents) {
	for v, n := range set {
		e.Set(v, n)
	}
	return e
}

func TestDeriveVM(t *testing.T) {
	reading := func(set map[VMEvent]uint64) *vmReading {
		r := &vmReading{}
		for v, n := range set {
			r.n[v] = n
			r.known |= 1 << v
		}
		return r
	}
	tests := map[string]struct{ prev, cur, want map[VMEvent]uint64 }{
		"grows":         {map[VMEvent]uint64{VMFault: 5, VMOOMKill: 1}, map[VMEvent]uint64{VMFault: 9, VMOOMKill: 1}, map[VMEvent]uint64{VMFault: 4, VMOOMKill: 0}},
		"steps back":    {map[VMEvent]uint64{VMFault: 5}, map[VMEvent]uint64{VMFault: 4}, map[VMEvent]uint64{VMFault: 0}},
		"appears":       {map[VMEvent]uint64{VMFault: 5}, map[VMEvent]uint64{VMFault: 6, VMZswapIn: 7}, map[VMEvent]uint64{VMFault: 1}},
		"vanishes":      {map[VMEvent]uint64{VMFault: 5, VMZswapIn: 7}, map[VMEvent]uint64{VMFault: 6}, map[VMEvent]uint64{VMFault: 1}},
		"last of all":   {map[VMEvent]uint64{VMNUMAMiss: 1<<64 - 2}, map[VMEvent]uint64{VMNUMAMiss: 1<<64 - 1}, map[VMEvent]uint64{VMNUMAMiss: 1}},
		"gauges do not": {map[VMEvent]uint64{vmZspages: 1}, map[VMEvent]uint64{vmZspages: 5}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(events(tt.want), deriveVM(reading(tt.prev), reading(tt.cur))); diff != "" {
				t.Errorf("deriveVM (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVMEventsAdd(t *testing.T) {
	a := events(map[VMEvent]uint64{VMFault: 3, VMZswapIn: 4})
	b := events(map[VMEvent]uint64{VMFault: 5, VMOOMKill: 6})
	a.Add(&b)
	if n, ok := a.Get(VMFault); n != 8 || !ok {
		t.Errorf("faults = %d, %v, want 8", n, ok)
	}
	for _, v := range []VMEvent{VMZswapIn, VMOOMKill} {
		if _, ok := a.Get(v); ok {
			t.Errorf("event %d is known, though one span does not know it", v)
		}
	}
}

func TestMemInfoUse(t *testing.T) {
	tests := map[string]struct {
		total, free, available uint64 // 0: no such line
		wantAvailable, used    uint64
	}{
		"modern":           {100, 10, 40, 40, 60},
		"no MemAvailable":  {100, 10, 0, 10, 90},
		"lxc: above total": {100, 10, 400, 10, 90},
		"free above total": {100, 110, 400, 110, 0},
	}
	for name, tt := range tests {
		var m MemInfo
		m.Set(MemTotal, tt.total)
		m.Set(MemFree, tt.free)
		if tt.available > 0 {
			m.Set(MemAvailable, tt.available)
		}
		if got := m.Available(); got != tt.wantAvailable {
			t.Errorf("%s: Available() = %d, want %d", name, got, tt.wantAvailable)
		}
		if got := m.Used(); got != tt.used {
			t.Errorf("%s: Used() = %d, want %d", name, got, tt.used)
		}
	}
}

// memoryTree is a small host: one node, no swap, no cgroup.
func memoryTree(t *testing.T) procTree {
	tree := procTree{t, filepath.Join(t.TempDir(), "proc")}
	tree.write("meminfo", "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 600 kB\nSwapTotal: 0 kB\n")
	tree.write("vmstat", "nr_zspages 2\nnr_dirty_threshold 3\npgfault 100\nallocstall_dma 1\nallocstall_normal 4\noom_kill 7\n")
	tree.write("sys/fs/dentry-state", "500\t400\t45\t0\t30\t0\n")
	tree.write("sys/fs/inode-nr", "300\t20\n")
	tree.write("sys/fs/file-nr", "91\t0\t9223372036854775807\n")
	tree.write("sys/kernel/pty/nr", "3\n")
	return tree
}

func TestMemoryCollector(t *testing.T) {
	tree := memoryTree(t)
	c := memoryIn(NewFS(tree.root))
	start(t, c)
	if p := c.Probes(); p[0].State != Warming {
		t.Errorf("Probes before the first reading = %+v, want warming", p)
	}
	page := uint64(os.Getpagesize())
	want := &Memory{
		Span: Span{3 * time.Second, 3 * time.Second}, OOMKillsTotal: 7, PageSize: page, Compressed: 2 * page, DirtyLimit: 3 * page,
		VM: events(map[VMEvent]uint64{VMFault: 0, VMAllocStall: 0, VMOOMKill: 0}),
		Tables: KernelTables{
			Dentries: TableGauge{500, true}, Unused: TableGauge{400, true}, Negative: TableGauge{30, true},
			Inodes: TableGauge{300, true}, InodeFree: TableGauge{20, true},
			Files: TableGauge{91, true}, FilesMax: TableGauge{1<<63 - 1, true}, PTYs: TableGauge{3, true},
		},
		Rare: &MemoryRare{},
	}
	for f, kib := range map[MemField]uint64{MemTotal: 1000, MemFree: 100, MemAvailable: 600, MemSwapTotal: 0} {
		want.Info.Set(f, kib<<10)
	}
	if diff := cmp.Diff(want, collectAs[*Memory](t, c, 3*time.Second)); diff != "" {
		t.Errorf("first sample (-want +got):\n%s", diff)
	}

	tree.write("vmstat", "nr_zspages 0\nnr_dirty_threshold 3\npgfault 150\nallocstall_dma 2\nallocstall_normal 9\noom_kill 9\n")
	want.Span, want.Compressed, want.OOMKillsTotal = Span{3 * time.Second, 4 * time.Second}, 0, 9
	want.VM = events(map[VMEvent]uint64{VMFault: 50, VMAllocStall: 6, VMOOMKill: 2})
	second := collectAs[*Memory](t, c, 4*time.Second)
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("second sample (-want +got):\n%s", diff)
	}

	// What is missing takes its own cells away, and a gap is not made up for in one span.
	for _, name := range []string{"vmstat", "sys/fs/file-nr"} {
		tree.write(name, "")
	}
	got := collectAs[*Memory](t, c, 5*time.Second)
	if got.VM != (VMEvents{}) || got.Tables.Files.Known || !got.Tables.PTYs.Known || !got.Tables.Dentries.Known {
		t.Errorf("without vmstat and file-nr = %+v", got)
	}
	states := map[string]State{}
	for _, p := range c.Probes() {
		states[p.Name] = p.State
		if p.State != On && p.Reason == "" {
			t.Errorf("probe %s is %v without a reason", p.Name, p.State)
		}
	}
	if diff := cmp.Diff(map[string]State{"meminfo": On, "reclaim": Off, "swaps": On, "sar -v": Degraded}, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	tree.write("vmstat", "pgfault 9000\n")
	if got := collectAs[*Memory](t, c, 6*time.Second); got.VM != events(map[VMEvent]uint64{VMFault: 0}) {
		t.Errorf("vmstat is back: %+v, want a baseline", got.VM)
	}

	// A reading that fails is an error, and the next span begins where the last one ended.
	tree.write("meminfo", "MemFree: 1 kB\n")
	if _, err := c.Collect(context.Background(), 7*time.Second); err == nil {
		t.Error("Collect without MemTotal succeeds")
	}
	if p := c.Probes(); p[0].State != Failed {
		t.Errorf("Probes after an error = %+v, want failed", p)
	}
	tree.write("meminfo", "MemTotal: 1000 kB\n")
	if got := collectAs[*Memory](t, c, 8*time.Second); got.From != 6*time.Second {
		t.Errorf("after an error the span is %v, want from 6 s", got.Span)
	}
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("a returned sample was written (-want +got):\n%s", diff)
	}
}

func TestMemorySwaps(t *testing.T) {
	tree := memoryTree(t)
	tree.write("meminfo", "MemTotal: 1000 kB\nSwapTotal: 12 kB\nSwapFree: 7 kB\n")
	tree.write("swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/zram0 partition\t8\t\t5\t\t100\n/swap\\040file  file  4 0 -2\n")
	c := memoryIn(NewFS(tree.root))
	start(t, c)
	m := collectAs[*Memory](t, c, 0)
	want := []SwapArea{
		{Name: RawString("/dev/zram0"), Size: 8 << 10, Used: 5 << 10, Priority: 100},
		{Name: RawString("/swap\\040file"), File: true, Size: 4 << 10, Priority: -2},
	}
	if diff := cmp.Diff(want, m.Swaps, cmp.AllowUnexported(Raw{})); diff != "" {
		t.Errorf("swaps (-want +got):\n%s", diff)
	}
	if got := m.Info.SwapUsed(); got != 5<<10 {
		t.Errorf("SwapUsed() = %d, want %d", got, 5<<10)
	}
	tree.write("swaps", "") // masked
	if m := collectAs[*Memory](t, c, time.Second); m.Swaps != nil || c.Probes()[2].State != Off {
		t.Errorf("masked swaps = %+v, probe %+v", m.Swaps, c.Probes()[2])
	}
	tree.write("meminfo", "MemTotal: 1000 kB\nSwapTotal: 0 kB\n") // swapoff
	if m := collectAs[*Memory](t, c, 2*time.Second); m.Swaps != nil || c.Probes()[2].State != On {
		t.Errorf("after swapoff = %+v, probe %+v", m.Swaps, c.Probes()[2])
	}
}

func TestMemoryRare(t *testing.T) {
	tree := memoryTree(t)
	sys := procTree{t, filepath.Join(filepath.Dir(tree.root), "sys")}
	tree.write("sys/vm/overcommit_memory", "2\n")
	tree.write("sys/kernel/pty/max", "4096\n")
	tree.write("sys/fs/aio-nr", "8\n")
	tree.write("sys/fs/aio-max-nr", "65536\n")
	tree.write("spl/kstat/zfs/arcstats", "13 1 0x01 123 33456 1 2\nname                            type data\nhits 4 7\nsize                            4    12345\n")
	tree.write("self/cgroup", "0::/a/b\n")
	sys.write("fs/cgroup/a/memory.max", "5000\n")
	sys.write("fs/cgroup/a/b/memory.max", "max\n")
	sys.write("kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "10\n")
	sys.write("kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "4\n")
	sys.write("kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "1\n")
	sys.write("kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n")
	for i, kib := range []string{"100", "200"} {
		n := strconv.Itoa(i)
		sys.write("devices/system/node/node"+n+"/meminfo", "\nNode "+n+" MemTotal:       "+kib+" kB\nNode "+n+" MemFree: 7 kB\nNode "+n+" FilePages: 3 kB\nNode "+n+" AnonPages: 2 kB\n")
	}
	sys.write("devices/system/node/possible", "0-1\n")
	c := memoryIn(NewFS(tree.root))
	start(t, c)
	first := collectAs[*Memory](t, c, 0)
	known := func(n uint64) TableGauge { return TableGauge{n, true} }
	want := &MemoryRare{
		HugePages:  []HugePages{{Size: 2 << 20, Total: 10, Free: 4, Reserved: 1}, {Size: 1 << 30}},
		Nodes:      []NUMANode{{0, 100 << 10, 7 << 10, 3 << 10, 2 << 10}, {1, 200 << 10, 7 << 10, 3 << 10, 2 << 10}},
		Overcommit: known(2), PTYsMax: known(4096), AIO: known(8), AIOMax: known(65536), ARC: known(12345), Limit: known(5000),
	}
	if diff := cmp.Diff(want, first.Rare); diff != "" {
		t.Errorf("rare (-want +got):\n%s", diff)
	}
	tree.write("sys/fs/aio-nr", "9\n")
	if got := collectAs[*Memory](t, c, 9*time.Second); got.Rare != first.Rare {
		t.Error("read again before 10 s are over")
	}
	if got := collectAs[*Memory](t, c, 10*time.Second); got.Rare.AIO != known(9) || first.Rare.AIO != known(8) {
		t.Errorf("after 10 s = %+v, and the first sample has %+v", got.Rare.AIO, first.Rare.AIO)
	}
}

func TestOwnLimit(t *testing.T) {
	tests := map[string]struct {
		own   string
		files map[string]string
		want  TableGauge
	}{
		"none":             {"0::/a\n", map[string]string{"a/memory.max": "max\n"}, TableGauge{}},
		"the container's":  {"0::/\n", map[string]string{"memory.max": "4096\n"}, TableGauge{4096, true}},
		"the least":        {"0::/a/b\n", map[string]string{"a/memory.max": "10\n", "a/b/memory.max": "20\n"}, TableGauge{10, true}},
		"version 1":        {"4:cpu,memory:/x\n0::/\n", map[string]string{"memory/x/memory.limit_in_bytes": "30\n"}, TableGauge{30, true}},
		"version 1, none":  {"4:memory:/x\n", map[string]string{"memory/x/memory.limit_in_bytes": "9223372036854771712\n"}, TableGauge{}},
		"outside the root": {"0::/../../x\n", map[string]string{"x/memory.max": "40\n"}, TableGauge{40, true}},
		"masked":           {"", nil, TableGauge{}},
		"not a path":       {"0::x\n", map[string]string{"memory.max": "1\n"}, TableGauge{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tree := procTree{t, t.TempDir()}
			for f, text := range tt.files {
				tree.write(f, text)
			}
			if got := ownLimit(context.Background(), tree.root, []byte(tt.own)); got != tt.want {
				t.Errorf("ownLimit(%q) = %+v, want %+v", tt.own, got, tt.want)
			}
		})
	}
}

// TestMemoryFaultsOnHost touches fresh pages one by one and looks for that many faults.
func TestMemoryFaultsOnHost(t *testing.T) {
	c := memoryIn(NewFS(""))
	start(t, c)
	collectAs[*Memory](t, c, 0)
	const pages = 20_000
	page := os.Getpagesize()
	b, err := syscall.Mmap(-1, 0, pages*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(b)
	const noHugePages = 15 // MADV_NOHUGEPAGE: one fault a page
	if err := syscall.Madvise(b, noHugePages); err != nil && !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
	for i := 0; i < len(b); i += page {
		b[i] = 1
	}
	s := collectAs[*Memory](t, c, time.Second)
	if n, ok := s.VM.Get(VMFault); !ok || n < pages {
		t.Errorf("faults = %d, %v, want at least %d", n, ok, pages)
	}
	if s.Rare == nil || !s.Tables.Files.Known || s.Tables.Files.N == 0 || s.DirtyLimit == 0 {
		t.Errorf("sample = %+v", s)
	}
}

// TestMemoryBesideFree compares with free -b where it is installed.
func TestMemoryBesideFree(t *testing.T) {
	path, err := exec.LookPath("free")
	if err != nil {
		lacking(t, "no free(1) here")
	}
	c := memoryIn(NewFS(""))
	start(t, c)
	before := collectAs[*Memory](t, c, 0)
	out, err := exec.Command(path, "-b", "-w").Output()
	if err != nil {
		t.Fatal(err)
	}
	after := collectAs[*Memory](t, c, time.Second)
	lines := strings.Split(string(out), "\n")
	f := strings.Fields(lines[1]) // Mem: total used free shared buffers cache available
	if len(f) != 8 {
		t.Skipf("free -w prints %q", lines[1])
	}
	for i, x := range []struct {
		name string
		of   func(*MemInfo) uint64
	}{
		{"total", func(m *MemInfo) uint64 { return m.N[MemTotal] }},
		{"used", (*MemInfo).Used},
		{"free", func(m *MemInfo) uint64 { return m.N[MemFree] }},
		{"shared", func(m *MemInfo) uint64 { return m.N[MemShmem] }},
		{"buffers", func(m *MemInfo) uint64 { return m.N[MemBuffers] }},
		{"cache", (*MemInfo).Cache},
		{"available", (*MemInfo).Available},
	} {
		if x.name == "used" && !strings.Contains(freeVersion(t, path), "4.") {
			continue // older ones subtract free, buffers and cache instead
		}
		got, err := strconv.ParseUint(f[i+1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		// Others use memory between the readings.
		const slack = 64 << 20
		lo, hi := min(x.of(&before.Info), x.of(&after.Info)), max(x.of(&before.Info), x.of(&after.Info))
		t.Logf("%-10s free %d  ours %d … %d", x.name, got, lo, hi)
		if got+slack < lo || got > hi+slack {
			t.Errorf("%s: free says %d, we say %d to %d", x.name, got, lo, hi)
		}
	}
}

func freeVersion(t *testing.T, path string) string {
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func BenchmarkCollectMemory(b *testing.B) { benchmarkCollect(b, memoryIn(NewFS(""))) }
