// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"

	"bpf60/collectors"
)

// sections are the tables of a disk. The host's samples hold every disk: nothing is narrowed.
func (p *diskPage) sections() []section {
	return []section{
		{
			id: "own", title: "who asks", opens: "process", table: p.owners,
			open: func(f Frame, _ collectors.Target, r Row) Answer { return openWho(f, r) },
			none: "nobody has asked it for anything in the last interval",
		},
		{
			id: "io", title: "requests", table: p.classes, why: "a class of requests has no page: the table before names who asks",
			none: "no request has ended in the last minute",
		},
		{
			id: "slow", title: "slowest I/O", opens: "process", table: p.slowest,
			open: func(f Frame, t collectors.Target, r Row) Answer { return openPID(f, p.slowest(f, t), r) },
			none: "no request has ended in the last minute",
		},
		{
			id: "above", title: "on it", opens: "disk", table: p.devices,
			open: func(_ Frame, _ collectors.Target, r Row) Answer { return OpenMsg{newDiskPage(r.ID)} },
			none: "no partition or other device is on it",
		},
		{
			id: "fs", title: "file systems", table: p.files, why: "a file system has no page: who asks its disk is in the first table",
			none: "no file system is on it", look: humanSizes,
		},
		{
			id: "sizes", title: "sizes", table: p.sizes, why: "a size has no page", none: noRequests,
		},
	}
}

// devs are the disks whose requests are this one's.
func (p *diskPage) devs(f Frame) []collectors.DevID {
	s := diskOver(f)
	if d := s.disk(p.name); d != nil {
		return blockDevs(s, d)
	}
	return nil
}

func (p *diskPage) shows(f Frame) func(collectors.DevID) bool {
	devs := p.devs(f)
	return func(dev collectors.DevID) bool { return slices.Contains(devs, dev) }
}

func (p *diskPage) owners(f Frame, _ collectors.Target) Table {
	return ownerTable(f, diskOver(f), blockOver(f.rowed()), p.shows(f))
}

// classes are the requests by class: on the device, and in the queue.
func (p *diskPage) classes(f Frame, _ collectors.Target) Table {
	t := blockTable(f, diskOver(f), blockOver(f), p.shows(f))
	t.Rows = slices.DeleteFunc(t.Rows, func(r Row) bool { return r.ID == rowAllIO })
	return t
}

func (p *diskPage) slowest(f Frame, _ collectors.Target) Table {
	return slowTable(f, diskOver(f), blockOver(f), p.shows(f))
}

func (p *diskPage) sizes(f Frame, _ collectors.Target) Table {
	devs := p.devs(f)
	return sizeTable(blockOver(f), func(dev collectors.DevID, _ collectors.BlockClass) bool { return slices.Contains(devs, dev) })
}

// on are the rows of the disk and of what lies on it.
func (p *diskPage) on(s *diskSum) map[string]bool {
	on := make(map[string]bool)
	for _, d := range s.above(p.name) {
		on[d.row()] = true
	}
	return on
}

// devices are what lies on the disk: partitions and others.
func (p *diskPage) devices(f Frame, _ collectors.Target) Table {
	s := diskOver(f)
	on := p.on(s)
	return diskTable(f, s, func(d *diskIO) bool { return on[d.row()] && d.row() != p.name })
}

// files are the file systems on the disk.
func (p *diskPage) files(f Frame, _ collectors.Target) Table {
	s := diskOver(f)
	on := p.on(s)
	return fileTable(f, func(x *collectors.FileSystem) bool {
		d := s.deviceOf(x.Mount)
		return d != nil && on[d.row()]
	})
}
