// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestDiskCountsSince(t *testing.T) {
	const top = 1<<32 - 1
	ms := func(read, busy, queue uint64) DiskCounts {
		return DiskCounts{Read: IOCounts{IOs: 5, Ms: read}, BusyMs: busy, QueueMs: queue}
	}
	tests := map[string]struct {
		prev, cur, want DiskCounts
		ok              bool
	}{
		"every column": {
			DiskCounts{IOCounts{1, 2, 3, 4}, IOCounts{5, 6, 7, 8}, IOCounts{9, 10, 11, 12}, 13, 14, 15, 16},
			DiskCounts{IOCounts{11, 22, 33, 44}, IOCounts{55, 66, 77, 88}, IOCounts{99, 110, 121, 132}, 143, 154, 165, 176},
			DiskCounts{IOCounts{10, 20, 30, 40}, IOCounts{50, 60, 70, 80}, IOCounts{90, 100, 110, 120}, 130, 140, 150, 160},
			true,
		},
		"milliseconds wrap at 32 bits": {
			ms(top-9, top, top-99), ms(10, 0, 100),
			DiskCounts{Read: IOCounts{Ms: 20}, BusyMs: 1, QueueMs: 200},
			true,
		},
		"milliseconds step back": {ms(1000, 1000, 1000), ms(999, 0, 1001), DiskCounts{QueueMs: 1}, true},
		"reads step back":        {DiskCounts{Read: IOCounts{IOs: 9}}, DiskCounts{Read: IOCounts{IOs: 8}, Write: IOCounts{IOs: 99}}, DiskCounts{}, false},
		"sectors step back":      {DiskCounts{Write: IOCounts{Sectors: 9}}, DiskCounts{Write: IOCounts{Sectors: 8}}, DiskCounts{}, false},
		"discards step back":     {DiskCounts{Discard: IOCounts{Merged: 9}}, DiskCounts{}, DiskCounts{}, false},
		"flushes step back":      {DiskCounts{Flushes: 9}, DiskCounts{Flushes: 1}, DiskCounts{}, false},
		"the end of the range":   {DiskCounts{Read: IOCounts{Sectors: 1<<64 - 3}}, DiskCounts{Read: IOCounts{Sectors: 1<<64 - 1}}, DiskCounts{Read: IOCounts{Sectors: 2}}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := tt.cur.Since(tt.prev)
			if diff := cmp.Diff(tt.want, got); diff != "" || ok != tt.ok {
				t.Errorf("Since = ok %v, want %v (-want +got):\n%s", ok, tt.ok, diff)
			}
		})
	}
}

func TestDiskCountsPlus(t *testing.T) {
	one := DiskCounts{IOCounts{1, 2, 3, 4}, IOCounts{5, 6, 7, 8}, IOCounts{9, 10, 11, 12}, 13, 14, 15, 16}
	sum := one
	sum.Plus(&one)
	if back, ok := sum.Since(one); !ok || back != one {
		t.Errorf("one + one - one = %+v, want %+v", back, one)
	}
}

// diskTree is a tree with disks that can be written to.
type diskTree struct {
	procTree
	sys string
}

func newDiskTree(t *testing.T) diskTree {
	dir := t.TempDir()
	return diskTree{procTree{t, filepath.Join(dir, "proc")}, filepath.Join(dir, "sys")}
}

// device makes a block device below /sys/devices, which has the links and directories of a real one.
func (d diskTree) device(path, dev string, files map[string]string) {
	d.t.Helper()
	dir := filepath.Join(d.sys, "devices", path)
	for name, text := range files {
		procTree{d.t, dir}.write(name, text+"\n")
	}
	for _, sub := range []string{"dev/block", "block"} {
		if err := os.MkdirAll(filepath.Join(d.sys, sub), 0o755); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := os.Symlink(dir, filepath.Join(d.sys, "dev/block", dev)); err != nil {
		d.t.Fatal(err)
	}
}

// names shows a sample's rows in short.
func names(s *Disk) string {
	var out []string
	for _, r := range s.Rows {
		n := r.Name.Bytes()
		if r.New {
			n += " new"
		}
		out = append(out, n)
	}
	return strings.Join(out, ", ")
}

func TestDiskCollector(t *testing.T) {
	tree := newDiskTree(t)
	idle := "7 0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
	vda := func(n string) string {
		return "254 0 vda " + n + " 0 800 50 10 0 80 5 2 40 55 0 0 0 0 3 9\n"
	}
	tree.write("diskstats", idle+vda("100"))
	tree.device("virtio1/block/vda", "254:0", map[string]string{"size": "2048", "queue/rotational": "1", "mq/0/x": "", "mq/1/x": ""})
	c := NewDisk(NewFS(tree.root))
	start(t, c)
	if p := c.Probes(); p[0].State != Warming {
		t.Errorf("Probes before the first reading = %+v, want warming", p)
	}
	first := collectAs[*Disk](t, c, time.Second)
	if got, want := names(first), "loop0 new, vda new"; got != want || first.From != first.To || !first.Flushes || !first.Discards {
		t.Errorf("first sample = %+v, want rows %s and an empty span", first, want)
	}
	if d := first.Rows[1]; d.Size != 1<<20 || !d.Parallel || d.Queues != 2 || d.InFlight != 2 || d.DiskCounts != (DiskCounts{}) {
		t.Errorf("first row of vda = %+v, want its facts and gauges, and no delta", d.BlockDevice)
	}

	tree.write("diskstats", idle+vda("130"))
	s := collectAs[*Disk](t, c, 3*time.Second)
	if names(s) != "vda" || s.Rows[0].Read.IOs != 30 || s.Rows[0].Write.IOs != 0 || s.Span != (Span{time.Second, 3 * time.Second}) {
		t.Errorf("second sample = %+v, want 30 reads of vda", s)
	}
	if s.Table != first.Table || s.Rows[0].BlockDevice != first.Rows[1].BlockDevice {
		t.Error("the samples share no table, though no device has come or gone")
	}

	// vda is pulled and comes back as another one, with smaller counters.
	tree.write("diskstats", idle)
	s = collectAs[*Disk](t, c, 4*time.Second)
	if names(s) != "" || len(s.Table.Devices) != 1 || s.Rows == nil {
		t.Errorf("without vda = %+v, want no rows", s)
	}
	tree.write("diskstats", idle+vda("7"))
	if s = collectAs[*Disk](t, c, 5*time.Second); names(s) != "vda new" || s.Rows[0].Read.IOs != 0 {
		t.Errorf("vda is back = %+v, want a baseline", s.Rows)
	}
	tree.write("diskstats", idle+vda("9"))
	if s = collectAs[*Disk](t, c, 6*time.Second); names(s) != "vda" || s.Rows[0].Read.IOs != 2 {
		t.Errorf("after that = %+v, want 2 reads", s.Rows)
	}
	// Pulled and put back between two readings.
	tree.write("diskstats", idle+vda("1"))
	if s = collectAs[*Disk](t, c, 7*time.Second); names(s) != "vda new" || s.Rows[0].DiskCounts != (DiskCounts{}) {
		t.Errorf("replaced between readings = %+v, want a baseline", s.Rows)
	}

	// A reading that fails is an error, and the next span begins where the last one ended.
	tree.write("diskstats", "254 0 vda x")
	if _, err := c.Collect(context.Background(), 8*time.Second); err == nil || c.Probes()[0].State != Failed {
		t.Errorf("Collect of nonsense = %v, probes %+v", err, c.Probes())
	}
	tree.write("diskstats", idle+vda("4"))
	if s = collectAs[*Disk](t, c, 9*time.Second); s.From != 7*time.Second || s.Rows[0].Read.IOs != 3 {
		t.Errorf("after an error = %+v, want the span from 7 s", s)
	}
	if len(first.Table.Devices) != 2 || first.Rows[1].Read.IOs != 0 {
		t.Errorf("a returned sample was written: %+v", first)
	}
}

// A file of /sys that does not answer takes away what it would say, and holds nobody.
func TestDiskWithoutSys(t *testing.T) {
	tree := newDiskTree(t)
	tree.write("diskstats", disk44)
	c := NewDisk(NewFS(tree.root)).(*diskCollector)
	start(t, c)
	s := collectAs[*Disk](t, c, 0)
	if p := c.Probes(); names(s) != "sda new" || s.Rows[0].Known || s.Discards || p[0].State != On || p[1].State != Failed {
		t.Errorf("without /sys: %+v, probes %+v", s, p)
	}

	stuck := make(chan struct{})
	c.scan = func([]deviceName) (*DiskTable, error) { <-stuck; return &DiskTable{}, nil }
	c.Close()
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	collectAs[*Disk](t, c, 0)
	collectAs[*Disk](t, c, 12*time.Second)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("a stuck file held the collector for %v", took)
	}
	if p := c.Probes(); p[0].State != On || p[1].State != Degraded || !strings.Contains(p[1].Reason, "12 s") {
		t.Errorf("Probes beside a stuck file = %+v", p)
	}
	close(stuck)
}

// TestDiskBound: devices beyond the bound are counted, and the rest stands.
func TestDiskBound(t *testing.T) {
	tree := newDiskTree(t)
	var b strings.Builder
	for i := range maxDevices + 3 {
		b.WriteString("259 " + strconv.Itoa(i) + " n" + strconv.Itoa(i) + " 1 2 3 4 5 6 7 8 0 10 11\n")
	}
	tree.write("diskstats", b.String())
	c := NewDisk(NewFS(tree.root))
	start(t, c)
	if s := collectAs[*Disk](t, c, 0); len(s.Rows) != maxDevices || s.Table.Unlisted != 3 {
		t.Errorf("%d rows and %d unlisted, want %d and 3", len(s.Rows), s.Table.Unlisted, maxDevices)
	}
}

// TestDiskSeesWrites writes a known number of blocks past the page cache and finds at least as
// many on the device that holds the file.
func TestDiskSeesWrites(t *testing.T) {
	const blocks, size = 23, 4096
	dir, dev := directDir(t)
	f, err := os.OpenFile(filepath.Join(dir, "direct"), os.O_CREATE|os.O_WRONLY|unix.O_DIRECT, 0o600)
	if err != nil {
		lacking(t, "needs a file system that takes O_DIRECT: %v", err)
	}
	defer f.Close()
	buf, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // O_DIRECT wants whole pages
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(buf)
	if err := f.Truncate(2 * blocks * size); err != nil {
		t.Fatal(err)
	}

	c := NewDisk(NewFS(""))
	start(t, c)
	collectAs[*Disk](t, c, 0)
	for i := range blocks {
		if _, err := f.WriteAt(buf, int64(2*i*size)); err != nil { // gaps, so that none are merged
			if errors.Is(err, unix.EINVAL) {
				lacking(t, "needs a file system that takes O_DIRECT")
			}
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	s := collectAs[*Disk](t, c, time.Second)
	for _, r := range s.Rows {
		if r.Dev != dev {
			continue
		}
		if r.Write.IOs < blocks || r.Write.Sectors < blocks*size/512 || r.BusyMs > 60_000 {
			t.Errorf("%s: %+v, want at least %d writes of %d sectors", r.Name.Bytes(), r.DiskCounts, blocks, size/512)
		}
		return
	}
	t.Errorf("no row of device %s after %d writes: %s", dev, blocks, names(s))
}

// directDir is a directory on a block device, and that device.
func directDir(t *testing.T) (string, DevID) {
	t.Helper()
	b, err := os.ReadFile("/proc/diskstats")
	if err != nil {
		t.Fatal(err)
	}
	lines, err := parseDiskstats(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, base := range []string{".", os.TempDir(), "/var/tmp"} {
		dir, err := os.MkdirTemp(base, "bpf60-direct-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		var st unix.Stat_t
		if unix.Stat(dir, &st) != nil {
			continue
		}
		for _, l := range lines {
			if l.Dev == MakeDev(unix.Major(st.Dev), unix.Minor(st.Dev)) {
				return dir, l.Dev
			}
		}
	}
	lacking(t, "needs a writable directory on a block device")
	return "", 0
}

// TestDiskHost holds that /sys and /proc of this host tell the same story.
func TestDiskHost(t *testing.T) {
	c := NewDisk(NewFS(""))
	start(t, c)
	s := collectAs[*Disk](t, c, 0)
	if len(s.Table.Devices) == 0 {
		lacking(t, "needs a block device")
	}
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		lacking(t, "needs /sys/block: %v", err)
	}
	whole := 0
	for _, d := range s.Table.Devices {
		if !d.Known {
			t.Errorf("%s is not in /sys", d.Name.Bytes())
		}
		if d.Kind != Partition {
			whole++
		}
	}
	if whole > len(entries) || whole == 0 {
		t.Errorf("%d whole devices, /sys/block has %d", whole, len(entries))
	}
}

func BenchmarkCollectDisk(b *testing.B) { benchmarkCollect(b, NewDisk(NewFS(""))) }

func BenchmarkScanDevices(b *testing.B) {
	c := NewDisk(NewFS("")).(*diskCollector)
	start(b, c)
	collectAs[*Disk](b, c, 0)
	var list []deviceName
	for _, d := range c.devices {
		list = append(list, deviceName{d.dev, d.name})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.scan(list); err != nil {
			b.Fatal(err)
		}
	}
}
