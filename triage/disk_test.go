// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"slices"
	"testing"
	"time"

	"bpf60/collectors"
)

// ioOf are so many requests a second of one class: on the device, in the queue, and the time that
// they mostly take on the device.
type ioOf struct {
	class         collectors.BlockClass
	n             int
	device, queue time.Duration
	mostly        time.Duration
	errors        uint64
}

// disk is one device with its requests and who asked for them.
func disk(d collectors.BlockDevice, owners []collectors.BlockOwner, list ...ioOf) fill {
	d.Dev = collectors.MakeDev(254, 0)
	table := &collectors.DiskTable{Devices: []*collectors.BlockDevice{&d}}
	for i := range owners {
		owners[i].Dev = d.Dev
	}
	return func(i int, s *collectors.Snapshot, span collectors.Span) {
		s.Disk = &collectors.Disk{Span: span, Table: table}
		b := &collectors.Block{Span: span, Owners: owners}
		for _, x := range list {
			row := collectors.BlockRow{Dev: d.Dev, Class: x.class}
			row.Completed, row.Errors = uint64(x.n), x.errors
			device, queue := collectors.Hist{}, collectors.Hist{}
			for range x.n {
				device.Add(uint64(x.device))
				queue.Add(uint64(x.queue))
			}
			for range 100000 {
				row.DeviceTotal.Slots[collectors.Slot(uint64(x.mostly))]++
			}
			row.Device, row.Queued = device.Hist32(), queue.Hist32()
			b.Rows = append(b.Rows, row)
		}
		s.Block = b
	}
}

func vda() collectors.BlockDevice {
	return collectors.BlockDevice{Name: collectors.RawString("vda"), Kind: collectors.WholeDisk}
}

func owner(pid int32, comm string, reads, bytes uint64, waited time.Duration) collectors.BlockOwner {
	return collectors.BlockOwner{Process: collectors.Process{TGID: pid, Start: uint64(pid)}, Comm: collectors.RawString(comm), Reads: reads, ReadBytes: bytes, IOTime: waited}
}

func psiDisk(some float64) fill {
	return hostWith(collectors.PSI{IO: collectors.Pressure{Known: true, Some: time.Duration(some * 1e7)}})
}

func TestSlowDisk(t *testing.T) {
	both := []collectors.BlockOwner{owner(20, "fio", 900, 9e6, ms(900)), owner(30, "db", 10, 1e5, ms(200))}
	alone := []collectors.BlockOwner{owner(20, "fio", 900, 9e6, ms(900)), owner(21, "fio", 900, 8e6, ms(900))}
	people := tasks(proc{pid: 20, parent: 1, comm: "fio", run: 1}, proc{pid: 21, parent: 20, comm: "fio", run: 1}, proc{pid: 30, parent: 1, comm: "db", run: 1})
	slow := ioOf{class: collectors.ReadSync, n: 50, device: ms(70), mostly: ms(1)}
	kind := func(d collectors.BlockDevice, k collectors.DiskKind) collectors.BlockDevice { d.Kind = k; return d }
	stacked := vda()
	stacked.Slaves = []collectors.Raw{collectors.RawString("sda")}
	checkCases(t, "disk.latency", map[string]ruleCase{
		"others wait":            {h: ticking(10, psiDisk(20), people, disk(vda(), both, slow)), want: "warning 65.54 ms by fio[20] hits db[30]", in: "vda sync I/O p99 65-131 ms"},
		"only the culprit waits": {h: ticking(10, psiDisk(20), people, disk(vda(), alone, slow)), want: "info 65.54 ms by fio[20], fio[21]", in: "nobody but the culprit waits"},
		"it always takes that":   {h: ticking(10, psiDisk(20), people, disk(vda(), both, ioOf{class: collectors.ReadSync, n: 50, device: ms(70), mostly: ms(40)}))},
		"no pressure":            {h: ticking(10, psiDisk(9), people, disk(vda(), both, slow))},
		"write-back":             {h: ticking(10, psiDisk(20), people, disk(vda(), both, ioOf{class: collectors.WriteBack, n: 50, device: ms(200), mostly: ms(1)}))},
		"read-ahead":             {h: ticking(10, psiDisk(20), people, disk(vda(), both, ioOf{class: collectors.ReadAhead, n: 50, device: ms(200), mostly: ms(1)}))},
		"zram":                   {h: ticking(10, psiDisk(20), people, disk(kind(vda(), collectors.ZRAM), both, slow))},
		"loop":                   {h: ticking(10, psiDisk(20), people, disk(kind(vda(), collectors.Loop), both, slow))},
		"stacked":                {h: ticking(10, psiDisk(20), people, disk(stacked, both, slow))},
		"few":                    {h: ticking(10, psiDisk(20), people, disk(vda(), both, ioOf{class: collectors.ReadSync, n: 9, device: ms(70), mostly: ms(1)}))},
		"a fast one at 100 % util": {
			h: ticking(10, psiDisk(20), people, disk(vda(), both, ioOf{class: collectors.ReadSync, n: 50, device: ms(2), mostly: 100 * time.Microsecond})),
		},
	})
	stall := func(x collectors.BlockIO, hung bool) *History {
		x.Dev, x.Comm, x.Process = collectors.MakeDev(254, 0), collectors.RawString("db"), collectors.Process{TGID: 30, Start: 30}
		with := disk(vda(), nil)
		return ticking(3, people, func(i int, s *collectors.Snapshot, span collectors.Span) {
			with(i, s, span)
			s.Block.Stalls = &collectors.BlockStalls{Count: 1, List: []collectors.BlockIO{x}}
			if hung {
				s.Block.Hung, s.Block.Stalls = []collectors.BlockIO{x}, nil
			}
		})
	}
	checkCases(t, "disk.latency", map[string]ruleCase{
		"a second, just now":   {h: stall(collectors.BlockIO{At: 2500 * time.Millisecond, Total: 4 * time.Second, Sync: true}, false), want: "warning 4000 ms by vda hits db[30] at once", in: "a read took 4.0 s"},
		"a second, before":     {h: stall(collectors.BlockIO{At: 1500 * time.Millisecond, Total: 4 * time.Second, Sync: true}, false)},
		"a second, background": {h: stall(collectors.BlockIO{At: 2500 * time.Millisecond, Total: 4 * time.Second}, false)},
		"less than a second":   {h: stall(collectors.BlockIO{At: 2500 * time.Millisecond, Total: 900 * time.Millisecond, Sync: true}, false)},
		"it hangs":             {h: stall(collectors.BlockIO{At: 3 * time.Second, Total: 2 * time.Second, Sync: true, Op: collectors.OpFlush}, true), want: "warning 2000 ms by vda hits db[30] at once", in: "flush"},
	})
}

func TestQueuedDisk(t *testing.T) {
	both := []collectors.BlockOwner{owner(20, "fio", 900, 9e6, ms(900)), owner(30, "db", 10, 1e5, ms(200))}
	people := tasks(proc{pid: 20, parent: 1, comm: "fio", run: 1}, proc{pid: 30, parent: 1, comm: "db", run: 1})
	at := func(queue time.Duration) ioOf {
		return ioOf{class: collectors.WriteSync, n: 50, device: ms(1), queue: queue, mostly: ms(1)}
	}
	checkCases(t, "disk.saturated", map[string]ruleCase{
		"others wait":     {h: ticking(10, psiDisk(20), people, disk(vda(), both, at(ms(20)))), want: "warning 16.38 ms by fio[20] hits db[30]"},
		"it alone waits":  {h: ticking(10, psiDisk(20), people, disk(vda(), both[:1], at(ms(20)))), want: "info 16.38 ms by fio[20]"},
		"a deep queue":    {h: ticking(10, psiDisk(20), people, disk(vda(), both, at(ms(3))))},
		"nobody is stuck": {h: ticking(10, psiDisk(2), people, disk(vda(), both, at(ms(20))))},
	})
}

func TestBrokenDisk(t *testing.T) {
	removable, usb := vda(), vda()
	removable.Kind, usb.Removable = collectors.Removable, true
	failing := ioOf{class: collectors.ReadSync, n: 5, errors: 1}
	checkCases(t, "disk.errors", map[string]ruleCase{
		"fails":                 {h: ticking(3, disk(vda(), nil, failing)), want: "critical 3 failed requests by vda"},
		"works":                 {h: ticking(3, disk(vda(), nil, ioOf{class: collectors.ReadSync, n: 5}))},
		"cannot discard":        {h: ticking(3, disk(vda(), nil, ioOf{class: collectors.Discard, n: 5, errors: 5}))},
		"a drive without media": {h: ticking(3, disk(removable, nil, failing))},
		"a stick":               {h: ticking(3, disk(usb, nil, failing))},
	})
}

// TestMultipathDisk: the requests of a multipath device of NVMe are those of its paths, which it lends its
// name; and a device that no table lists is one as well.
func TestMultipathDisk(t *testing.T) {
	both := []collectors.BlockOwner{owner(20, "fio", 900, 9e6, ms(900)), owner(30, "db", 10, 1e5, ms(200))}
	people := tasks(proc{pid: 20, parent: 1, comm: "fio", run: 1}, proc{pid: 30, parent: 1, comm: "db", run: 1})
	path := collectors.BlockDevice{Name: collectors.RawString("nvme0c0n1"), Kind: collectors.Path}
	// with puts the device that both paths make into the table, and a second path that does the same.
	with := func(f fill) fill {
		head := &collectors.BlockDevice{Dev: collectors.MakeDev(259, 0), Name: collectors.RawString("nvme0n1"), Kind: collectors.WholeDisk}
		second := &collectors.BlockDevice{Dev: collectors.MakeDev(259, 2), Name: collectors.RawString("nvme0c1n1"), Kind: collectors.Path}
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			f(i, s, span)
			s.Disk.Table = &collectors.DiskTable{Devices: append([]*collectors.BlockDevice{head, second}, s.Disk.Table.Devices...)}
			for _, x := range s.Block.Rows {
				x.Dev = second.Dev
				s.Block.Rows = append(s.Block.Rows, x)
			}
		}
	}
	unlisted := func(f fill, major uint32) fill {
		dev := collectors.MakeDev(major, 0)
		return func(i int, s *collectors.Snapshot, span collectors.Span) {
			f(i, s, span)
			s.Disk.Table = &collectors.DiskTable{}
			s.Block.Owners = slices.Clone(s.Block.Owners)
			for k := range s.Block.Owners {
				s.Block.Owners[k].Dev = dev
			}
			for k := range s.Block.Rows {
				s.Block.Rows[k].Dev = dev
			}
		}
	}
	slow := ioOf{class: collectors.ReadSync, n: 50, device: ms(70), mostly: ms(1)}
	queued := ioOf{class: collectors.WriteSync, n: 50, device: ms(1), queue: ms(20), mostly: ms(1)}
	failing := ioOf{class: collectors.ReadSync, n: 5, errors: 1}
	checkCases(t, "disk.latency", map[string]ruleCase{
		"its paths":        {h: ticking(10, psiDisk(20), people, with(disk(path, both, slow))), want: "warning 65.54 ms by fio[20] hits db[30]", in: "nvme0n1 sync"},
		"a path alone":     {h: ticking(10, psiDisk(20), people, disk(path, both, slow)), want: "warning 65.54 ms by fio[20] hits db[30]", in: "nvme0n1 sync"},
		"it is not listed": {h: ticking(10, psiDisk(20), people, unlisted(disk(path, both, slow), 259)), want: "warning 65.54 ms by fio[20] hits db[30]", in: "259:0 sync"},
		"a loop device":    {h: ticking(10, psiDisk(20), people, unlisted(disk(path, both, slow), 7))},
	})
	checkCases(t, "disk.saturated", map[string]ruleCase{
		"its paths": {h: ticking(10, psiDisk(20), people, with(disk(path, both, queued))), want: "warning 16.38 ms by fio[20] hits db[30]", in: "nvme0n1:"},
	})
	checkCases(t, "disk.errors", map[string]ruleCase{
		"its paths":        {h: ticking(3, with(disk(path, nil, failing))), want: "critical 6 failed requests by nvme0n1", in: "6 of 30 requests"},
		"it is not listed": {h: ticking(3, unlisted(disk(path, nil, failing), 259)), want: "critical 3 failed requests by 259:0"},
	})
	if f := judged(t, "disk.latency", ticking(10, psiDisk(20), people, with(disk(path, both, slow)))); f.N != 1000 || f.Row != "nvme0n1" {
		t.Errorf("%d requests, leads to %q; want those of both paths, once each, and the device", f.N, f.Row)
	}
}
