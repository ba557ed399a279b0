// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"time"

	"bpf60/collectors"
)

// diskLoad is one second of one device: requests a second, KiB and milliseconds each.
type diskLoad struct {
	dev                      *collectors.BlockDevice
	reads, readKiB, readMs   float64
	writes, writeKiB, writMs float64
	discards, flushes        float64
	busy                     float64 // share of the second with a request under way
	inFlight                 uint32
	isNew                    bool
}

// row makes the counters that follow: the time in queue is the sum of the times of all requests.
func (l diskLoad) row() collectors.DiskRow {
	r := collectors.DiskRow{BlockDevice: l.dev, InFlight: l.inFlight, New: l.isNew}
	if l.isNew {
		return r
	}
	u := func(v float64) uint64 { return uint64(v + 0.5) }
	r.Read = collectors.IOCounts{IOs: u(l.reads), Merged: u(l.reads / 50), Sectors: u(l.reads * l.readKiB * 2), Ms: u(l.reads * l.readMs)}
	r.Write = collectors.IOCounts{IOs: u(l.writes), Merged: u(l.writes / 4), Sectors: u(l.writes * l.writeKiB * 2), Ms: u(l.writes * l.writMs)}
	r.Discard = collectors.IOCounts{IOs: u(l.discards), Sectors: u(l.discards * 2048), Ms: u(l.discards * 2)}
	r.Flushes, r.FlushMs = u(l.flushes), u(l.flushes*1.5)
	r.BusyMs = u(1000 * l.busy)
	r.QueueMs = r.Read.Ms + r.Write.Ms + r.Discard.Ms + r.FlushMs
	return r
}

func device(major, minor uint32, name string, kind collectors.DiskKind, change func(*collectors.BlockDevice)) *collectors.BlockDevice {
	d := &collectors.BlockDevice{
		Dev: collectors.MakeDev(major, minor), Name: collectors.RawString(name), Kind: kind, Known: true,
		Size: 512 << 30, Scheduler: collectors.RawString("none"), Requests: 256, Queues: 1, Rotates: true,
	}
	if kind == collectors.Loop || kind == collectors.Partition {
		d.Size, d.Scheduler, d.Requests, d.Queues = 0, collectors.Raw{}, 0, 0
	}
	if change != nil {
		change(d)
	}
	return d
}

// raws makes a list of names.
func raws(names ...string) (out []collectors.Raw) {
	for _, n := range names {
		out = append(out, collectors.RawString(n))
	}
	return out
}

// dbDevices are those of db-2: the database on an NVMe disk, backups on a volume of a slow one.
func dbDevices() []*collectors.BlockDevice {
	raw := collectors.RawString
	return []*collectors.BlockDevice{
		device(7, 0, "loop0", collectors.Loop, nil),
		device(7, 1, "loop1", collectors.Loop, nil),
		device(259, 0, "nvme0n1", collectors.WholeDisk, func(d *collectors.BlockDevice) {
			d.Model, d.Queues, d.Rotates, d.Parallel, d.State, d.Requests = raw("SAMSUNG MZVL2512HCJQ"), 2, false, true, raw("live"), 1023
		}),
		device(259, 1, "nvme0n1p1", collectors.Partition, func(d *collectors.BlockDevice) { d.Parent, d.Size, d.Parallel = raw("nvme0n1"), 512<<30-1<<20, true }),
		device(8, 16, "sdb", collectors.WholeDisk, func(d *collectors.BlockDevice) {
			d.Model, d.Scheduler, d.State, d.Size, d.Depth = raw("ST4000NM0035-1V4107"), raw("mq-deadline"), raw("running"), 4<<40, 32
			d.Holders, d.ErrorsKnown, d.Errors, d.ErrorsBase = raws("dm-0"), true, 2, 2
		}),
		device(253, 0, "dm-0", collectors.Mapper, func(d *collectors.BlockDevice) {
			d.Alias, d.Slaves, d.Size, d.Queues, d.Scheduler = raw("backup-daily"), raws("sdb"), 4<<40, 0, collectors.Raw{}
		}),
		device(8, 32, "sdc", collectors.WholeDisk, nil),
	}
}

// addDisk adds the disks' second, and every ten seconds the file systems.
func addDisk(s *story, l load, snap *collectors.Snapshot) {
	if len(s.moments) == 0 {
		s.probes[collectors.DiskID] = []collectors.Probe{
			{Name: "iostat", State: collectors.On, Hook: "/proc/diskstats"}, {Name: "lsblk", State: collectors.On, Hook: "/sys/block, /proc/mdstat"},
		}
		s.probes[collectors.FileSystemID] = []collectors.Probe{{Name: "df", State: collectors.On, Hook: "/proc/self/mountinfo, statfs"}}
		if s.kind == "denied" {
			s.probes[collectors.DiskID][0].State = collectors.Failed
			s.probes[collectors.DiskID][0].Reason = "reading /proc/diskstats: open /proc/diskstats: permission denied"
		}
		snap.Probes[collectors.DiskID], snap.Probes[collectors.FileSystemID] = s.probes[collectors.DiskID], s.probes[collectors.FileSystemID]
	}
	i := len(s.moments)
	if i%10 == 0 {
		addFiles(s, snap)
	}
	if s.kind == "denied" || s.kind == "lossy" && i%9 == 4 {
		return
	}
	d := &collectors.Disk{Span: snap.CPU.Span, Discards: true, Flushes: true, Rows: []collectors.DiskRow{}, Table: &collectors.DiskTable{Devices: dbDevices()}}
	snap.Disk = d
	list := diskLoads(s, l, i, d.Table.Devices)
	if s.kind == "extreme" {
		d.Table, list = extremeDisks(i)
	}
	for _, x := range list {
		if i == 0 {
			x.isNew = true
		}
		d.Rows = append(d.Rows, x.row())
		if x.dev.Kind == collectors.WholeDisk && i > 0 && s.kind != "extreme" { // vmstat counts the same
			snap.CPU.BlocksIn += uint64(x.reads * x.readKiB)
			snap.CPU.BlocksOut += uint64(x.writes * x.writeKiB)
		}
	}
	if s.kind == "lossy" {
		d.Arrays = []collectors.Array{{
			Name: collectors.RawString("md0"), Level: collectors.RawString("raid1"), Active: true, Want: 2, Have: 1, Members: 2, Action: collectors.RawString("recovery"),
			Done: uint64(i) * 1 << 20, All: 512 << 20, Finish: 44 * time.Minute, Speed: 190 << 20,
		}}
		d.Table.Devices[2].State = collectors.RawString("resetting")
	}
}

// diskLoads is what the processes of the story do: the backup reads the database and writes it,
// packed, to the slow disk.
func diskLoads(s *story, l load, i int, devices []*collectors.BlockDevice) []diskLoad {
	nvme, part, slow, volume := devices[2], devices[3], devices[4], devices[5]
	n := float64(i * 13 % 7)
	switch {
	case s.kind == "idle":
		if i%5 != 0 {
			return nil
		}
		x := diskLoad{dev: nvme, writes: 6 + n, writeKiB: 9, writMs: 0.4, flushes: 2, busy: 0.004}
		y := x
		y.dev, y.flushes = part, 0
		return []diskLoad{x, y}
	case l.usr < 0.5: // calm
		x := diskLoad{dev: nvme, reads: 80 + 3*n, readKiB: 16, readMs: 0.1, writes: 140 + 5*n, writeKiB: 12, writMs: 0.2, flushes: 40, busy: 0.03}
		y := x
		y.dev, y.flushes = part, 0
		return []diskLoad{x, y}
	}
	x := diskLoad{dev: nvme, reads: 412 + 8*n, readKiB: 128, readMs: 0.22, writes: 151 + 5*n, writeKiB: 12, writMs: 0.31, discards: 2, flushes: 44, busy: 0.11}
	y := x
	y.dev, y.flushes = part, 0
	z := diskLoad{dev: slow, writes: 96 + n, writeKiB: 256, writMs: 21.4 + n, busy: 0.874, inFlight: 2}
	w := z
	w.dev, w.writMs, w.busy = volume, z.writMs+0.2, 0.876
	if s.kind == "lossy" && i == 69 {
		z.isNew = true
	}
	return []diskLoad{x, y, z, w}
}

// extremeDisks are 40 disks with numbers at the end of their range and names that mean harm.
func extremeDisks(i int) (*collectors.DiskTable, []diskLoad) {
	t := &collectors.DiskTable{Unlisted: 1200}
	var list []diskLoad
	for k := range 40 {
		d := device(65, uint32(k), fmt.Sprintf("sd%c%c", 'a'+k/26, 'a'+k%26), collectors.WholeDisk, func(d *collectors.BlockDevice) {
			d.Size, d.Model, d.Parallel, d.ErrorsKnown, d.Errors = 1<<62, collectors.RawString("\x1b[31mMODEL\x07 \u202e that goes on"), k%2 == 0, true, uint64(k)
			d.State = collectors.RawString("running")
			if k == 7 {
				d.State = collectors.RawString("off\x1b[2Jline")
			}
		})
		t.Devices = append(t.Devices, d)
		list = append(list, diskLoad{
			dev: d, reads: 98765 * float64(k%7), readKiB: 4096, readMs: 1234.5, writes: 1e9 / float64(1+k), writeKiB: 1024, writMs: 65_432, discards: 1e5,
			flushes: 1e6, busy: 1.01, inFlight: 4294967295,
		})
	}
	dm := device(253, 0, "dm-0", collectors.Mapper, func(d *collectors.BlockDevice) {
		d.Alias, d.Slaves = collectors.RawString("\x1b]0;x\x07日本語-volume-with-a-long-name"), raws("sdaa", "sdab", "sdac")
	})
	t.Devices = append(t.Devices, dm)
	return t, append(list, diskLoad{dev: dm, reads: 1, readKiB: 4, readMs: 5_000_000, busy: 1, inFlight: uint32(i)})
}

// addFiles adds a round over the file systems.
func addFiles(s *story, snap *collectors.Snapshot) {
	raw := collectors.RawString
	mount := func(dev collectors.DevID, point, source, kind, options string) *collectors.Mount {
		return &collectors.Mount{Dev: dev, Point: raw(point), Source: raw(source), Type: raw(kind), Options: raw(options), Mounts: 1}
	}
	files := &collectors.FileSystems{Span: collectors.Span{From: max(snap.At-10*time.Second, 0), To: snap.At}}
	add := func(m *collectors.Mount, size, free, avail, inodes, ifree uint64) *collectors.FileSystem {
		files.Rows = append(files.Rows, collectors.FileSystem{Mount: m, Known: true, Size: size, Free: free, Avail: avail, Inodes: inodes, InodesFree: ifree})
		return &files.Rows[len(files.Rows)-1]
	}
	const gib = 1 << 30
	filled := uint64(snap.At/time.Second) * 25 << 20 // as fast as the backup writes
	if s.kind == "idle" {
		filled = 0
	}
	add(mount(collectors.MakeDev(259, 1), "/", "/dev/nvme0n1p1", "ext4", "rw,relatime rw,errors=remount-ro"), 500*gib, 290*gib, 265*gib, 32_768_000, 31_000_000)
	free := 330*gib - filled
	if s.kind == "idle" {
		free = 3000 * gib
	}
	add(mount(collectors.MakeDev(253, 0), "/backup", "/dev/mapper/backup-daily", "xfs", "rw,noatime rw"), 4096*gib, free, free, 429_496_729, 429_000_000)
	tmp := mount(collectors.MakeDev(0, 40), "/dev/shm", "tmpfs", "tmpfs", "rw rw")
	tmp.Virtual = true
	add(tmp, 15*gib, 15*gib, 15*gib, 4_000_000, 3_999_999)
	switch s.kind {
	case "lossy":
		nfs := mount(collectors.MakeDev(0, 41), "/net/home", "10.0.3.9:/home", "nfs4", "rw rw")
		nfs.Remote = true
		files.Rows = append(files.Rows, collectors.FileSystem{Mount: nfs, Silent: snap.At + 100*time.Millisecond})
		other := mount(collectors.MakeDev(0, 42), "/net/mail", "10.0.3.9:/mail", "nfs4", "rw rw")
		files.Rows = append(files.Rows, collectors.FileSystem{Mount: other, Err: "not asked: 3 others do not answer"})
		forced := mount(collectors.MakeDev(8, 32), "/srv/old", "/dev/sdc", "ext4", "rw ro")
		forced.Forced = true
		x := add(forced, 100*gib, 20*gib, 15*gib, 1000, 1)
		x.ErrorsKnown, x.Errors = true, 17
	case "denied":
		for i := range files.Rows {
			files.Rows[i] = collectors.FileSystem{Mount: files.Rows[i].Mount, Err: "permission denied"}
		}
	case "extreme":
		for k := range 60 {
			m := mount(collectors.MakeDev(65, uint32(k)), fmt.Sprintf("/srv/\x1b[2J\u202e%d/a path that goes on and on/日本語", k), "\x07evil", "fuse.\x1b]0;x", "rw,\x1b[31m")
			m.Mounts = 1000 + k
			add(m, 1<<62+uint64(k), uint64(k)*gib, 0, 1<<63, uint64(k))
		}
	}
	snap.FileSystems = files
}
