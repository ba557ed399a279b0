// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKindOf(t *testing.T) {
	for _, tt := range []struct {
		major uint32
		name  string
		want  DiskKind
	}{
		{8, "sda", WholeDisk},
		{259, "nvme0n1", WholeDisk},
		{259, "nvme0c1n1", Path},
		{7, "loop3", Loop},
		{1, "ram0", RAMDisk},
		{253, "zram0", ZRAM},
		{253, "dm-0", Mapper},
		{9, "md127", MDArray},
		{11, "sr0", Removable},
		{254, "vda", WholeDisk},
		{259, "nvmecn", WholeDisk},
		{259, "nvme0cn1", WholeDisk},
	} {
		if got := kindOf(MakeDev(tt.major, 0), tt.name); got != tt.want {
			t.Errorf("kindOf(%d, %s) = %s, want %s", tt.major, tt.name, got, tt.want)
		}
	}
	if got, want := nvmePath("nvme12c3n4"), "nvme12n4"; got != want {
		t.Errorf("nvmePath = %s, want %s", got, want)
	}
}

// TestScanDevices walks the usual stack: LVM on a partition and on RAID, and multipath.
func TestScanDevices(t *testing.T) {
	tree := newDiskTree(t)
	tree.device("pci/ata1/block/sda", "8:0", map[string]string{
		"size": "1953525168", "ro": "0", "removable": "0", "holders/x/y": "", "queue/rotational": "1", "queue/scheduler": "none [mq-deadline] kyber",
		"queue/nr_requests": "64", "queue/iostats": "1", "device/model": "ST1000DM010-2EP1 ", "device/state": "running",
		"device/queue_depth": "32", "device/ioerr_cnt": "0x1f", "mq/0/cpu": "",
	})
	tree.device("pci/ata1/block/sda/sda1", "8:1", map[string]string{"size": "2048", "ro": "1", "partition": "1", "holders/dm-0/dev": ""})
	tree.device("pci/nvme/nvme0n1", "259:0", map[string]string{"size": "8", "queue/rotational": "0", "queue/scheduler": "none", "device/state": "live"})
	tree.device("virtual/block/dm-0", "253:0", map[string]string{"size": "8", "dm/name": "vg0-root\x1b", "dm/uuid": "LVM-abc", "slaves/sda1/dev": "", "queue/rotational": "1"})
	tree.device("virtual/block/dm-1", "253:1", map[string]string{"slaves/nvme0n1/dev": "", "queue/iostats": "0"})
	tree.device("virtual/block/md0", "9:0", map[string]string{"slaves/sda1/dev": "", "slaves/sdb1/dev": ""})
	tree.device("virtual/block/loop0", "7:0", map[string]string{"size": "0", "queue/scheduler": "none"})
	tree.device("pci/cciss!c0d0", "104:0", map[string]string{"size": "8", "queue/rotational": "1"})
	tree.write("mdstat", mdstat)

	names := []deviceName{
		{MakeDev(8, 0), "sda"},
		{MakeDev(8, 1), "sda1"},
		{MakeDev(259, 0), "nvme0n1"},
		{MakeDev(253, 0), "dm-0"},
		{MakeDev(253, 1), "dm-1"},
		{MakeDev(9, 0), "md0"},
		{MakeDev(7, 0), "loop0"},
		{MakeDev(104, 0), "cciss/c0d0"},
		{MakeDev(8, 16), "gone"},
		{MakeDev(259, 0), "another"},
	}
	got, err := scanDevices(NewFS(tree.root), names)
	if err != nil {
		t.Fatal(err)
	}
	raw := RawString
	want := []*BlockDevice{
		{
			Dev: MakeDev(8, 0), Name: raw("sda"), Known: true, Holders: []Raw{raw("x")}, Model: raw("ST1000DM010-2EP1"), Size: 1953525168 * 512, Scheduler: raw("mq-deadline"),
			Queues: 1, Requests: 64, Depth: 32, Rotates: true, State: raw("running"), ErrorsKnown: true, Errors: 31, ErrorsBase: 31,
		},
		{Dev: MakeDev(8, 1), Name: raw("sda1"), Kind: Partition, Known: true, Parent: raw("sda"), Holders: []Raw{raw("dm-0")}, Size: 1 << 20, ReadOnly: true},
		{Dev: MakeDev(259, 0), Name: raw("nvme0n1"), Known: true, Size: 4096, Scheduler: raw("none"), State: raw("live"), Parallel: true},
		{Dev: MakeDev(253, 0), Name: raw("dm-0"), Alias: raw("vg0-root\x1b"), UUID: raw("LVM-abc"), Kind: Mapper, Known: true, Slaves: []Raw{raw("sda1")}, Size: 4096, Rotates: true},
		{Dev: MakeDev(253, 1), Name: raw("dm-1"), Kind: Mapper, Known: true, Slaves: []Raw{raw("nvme0n1")}, NoStats: true, Parallel: true},
		{Dev: MakeDev(9, 0), Name: raw("md0"), Kind: MDArray, Known: true, Slaves: []Raw{raw("sda1"), raw("sdb1")}, Parallel: true},
		{Dev: MakeDev(7, 0), Name: raw("loop0"), Kind: Loop, Known: true},
		{Dev: MakeDev(104, 0), Name: raw("cciss/c0d0"), Known: true, Size: 4096, Rotates: true},
		{Dev: MakeDev(8, 16), Name: raw("gone")},
		{Dev: MakeDev(259, 0), Name: raw("another")},
	}
	if diff := cmp.Diff(want, got.Devices, cmp.AllowUnexported(Raw{})); diff != "" {
		t.Errorf("scanDevices (-want +got):\n%s", diff)
	}
	if len(got.arrays) != 5 {
		t.Errorf("%d arrays, want 5", len(got.arrays))
	}
}

func TestTableKeepsErrors(t *testing.T) {
	table := func(n, base uint64) *DiskTable {
		return &DiskTable{Devices: []*BlockDevice{{Dev: 1, ErrorsKnown: true, Errors: n, ErrorsBase: base}}}
	}
	cur := table(9, 9)
	cur.keepErrors(table(5, 3))
	if cur.Devices[0].ErrorsBase != 3 {
		t.Errorf("errors count from %d, want 3", cur.Devices[0].ErrorsBase)
	}
	cur = table(2, 2)
	cur.keepErrors(table(5, 3)) // attached anew
	if cur.Devices[0].ErrorsBase != 2 {
		t.Errorf("errors of a new device count from %d, want 2", cur.Devices[0].ErrorsBase)
	}
	if !table(1, 1).equal(table(1, 1)) || table(1, 1).equal(table(2, 1)) {
		t.Error("equal tells tables apart wrongly")
	}
}

// TestParallel: where a device that is busy all the time may still take more.
func TestParallel(t *testing.T) {
	byName := map[string]*BlockDevice{}
	for _, tt := range []struct {
		name string
		d    BlockDevice
		want bool
	}{
		{"hdd", BlockDevice{Rotates: true, Queues: 1}, false},
		{"ssd", BlockDevice{Queues: 1}, true},
		{"virtio of one queue", BlockDevice{Rotates: true, Queues: 1}, false},
		{"virtio of four", BlockDevice{Rotates: true, Queues: 4}, true},
		{"nvme0n1", BlockDevice{Rotates: true, Queues: 1}, true},
		{"volume of one hdd", BlockDevice{Kind: Mapper, Slaves: []Raw{RawString("hdd")}}, false},
		{"volume of one ssd", BlockDevice{Kind: Mapper, Slaves: []Raw{RawString("ssd")}}, true},
		{"raid of two", BlockDevice{Kind: MDArray, Slaves: []Raw{RawString("hdd"), RawString("hdd2")}}, true},
		{"partition of ssd", BlockDevice{Kind: Partition, Parent: RawString("ssd")}, true},
		{"loop", BlockDevice{Kind: Loop, Queues: 4}, false},
	} {
		tt.d.Name, tt.d.Known = RawString(tt.name), true
		byName[tt.name] = &tt.d
		if got := parallel(&tt.d, byName, 0); got != tt.want {
			t.Errorf("parallel(%s) = %v, want %v", tt.name, got, tt.want)
		}
	}
	if parallel(&BlockDevice{Name: RawString("nvme1n1")}, byName, 0) {
		t.Error("a device that /sys does not know is called parallel")
	}
}

// TestParallelCircle: devices that claim to lie on each other end the walk.
func TestParallelCircle(t *testing.T) {
	a := &BlockDevice{Name: RawString("dm-0"), Kind: Mapper, Known: true, Slaves: []Raw{RawString("dm-1")}}
	b := &BlockDevice{Name: RawString("dm-1"), Kind: Mapper, Known: true, Slaves: []Raw{RawString("dm-0")}}
	if parallel(a, map[string]*BlockDevice{"dm-0": a, "dm-1": b}, 0) {
		t.Error("a circle is parallel")
	}
}
