// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// diskSum is the I/O of a frame.
type diskSum struct {
	collectors.Span
	Disks             []diskIO // every device of the newest table, in its order
	Table             *collectors.DiskTable
	Arrays            []collectors.Array
	Discards, Flushes bool
}

// diskIO is one device over the frame.
type diskIO struct {
	*collectors.BlockDevice
	collectors.DiskCounts
	InFlight uint32
	Seconds  float64 // how long it was seen; 0: it has just appeared
	Active   bool    // it did something within the last minute
}

// hotFor is how long a device keeps its row without any I/O, so that rows do not come and go
// with each second.
const hotFor = time.Minute

// diskOver is the I/O over the frame. Nil without a sample.
func diskOver(f Frame) *diskSum {
	samples := within(f.rowed(), diskOf)
	if len(samples) == 0 {
		return nil
	}
	last := samples[len(samples)-1]
	s := &diskSum{Table: last.Table, Arrays: last.Arrays, Discards: last.Discards, Flushes: last.Flushes}
	at := make(map[collectors.DevID]int, len(last.Table.Devices))
	for i, d := range last.Table.Devices {
		at[d.Dev] = i
		s.Disks = append(s.Disks, diskIO{BlockDevice: d})
	}
	find := func(d *collectors.BlockDevice) *diskIO {
		if i, ok := at[d.Dev]; ok && s.Disks[i].Name == d.Name {
			return &s.Disks[i]
		}
		return nil
	}
	for _, x := range samples {
		s.Span = join(s.Span, x.Span)
		for _, d := range x.Table.Devices {
			if io := find(d); io != nil {
				io.Seconds += x.Seconds()
			}
		}
		for i := range x.Rows {
			r := &x.Rows[i]
			io := find(r.BlockDevice)
			switch {
			case io == nil:
			case r.New:
				io.Seconds -= x.Seconds()
			default:
				io.Plus(&r.DiskCounts)
			}
		}
	}
	for i := range last.Rows {
		if io := find(last.Rows[i].BlockDevice); io != nil {
			io.InFlight = last.Rows[i].InFlight
		}
	}
	for i := len(f.Past) - 1; i >= 0 && f.Now.At-f.Past[i].At < hotFor; i-- {
		if snap := f.Past[i].Snapshot; snap != nil && snap.Disk != nil {
			for k := range snap.Disk.Rows {
				if r := &snap.Disk.Rows[k]; r.InFlight > 0 || r.DiskCounts != (collectors.DiskCounts{}) {
					if io := find(r.BlockDevice); io != nil {
						io.Active = true
					}
				}
			}
		}
	}
	for i := range s.Disks {
		s.Disks[i].Active = s.Disks[i].Active || s.Disks[i].DiskCounts != (collectors.DiskCounts{})
	}
	return s
}

// disk finds a device by the kernel's name.
func (s *diskSum) disk(name string) *diskIO {
	if s == nil {
		return nil
	}
	i := slices.IndexFunc(s.Disks, func(d diskIO) bool { return d.row() == name })
	if i < 0 {
		return nil
	}
	return &s.Disks[i]
}

// row is the device's row ID: the kernel's name.
func (d *diskIO) row() string { return clean(d.Name) }

// title is the name people know: that of device-mapper where there is one.
func (d *diskIO) title() string { return clean(cmp.Or(d.Alias, d.Name)) }

// lowest says whether the device's I/O is that of hardware, and not of one that lies on another.
func (d *diskIO) lowest() bool {
	return (d.Kind == collectors.WholeDisk || d.Kind == collectors.Removable) && len(d.Slaves) == 0
}

// await is the mean time of one direction's requests in milliseconds, not a number without any.
func await(c collectors.IOCounts) float64 { return ratio(float64(c.Ms), float64(c.IOs)) }

func ratio(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

// queue is the mean number of requests under way.
func (d *diskIO) queue() float64 { return ratio(float64(d.QueueMs), d.Seconds*1000) }

// util is the share of time with a request under way, in percent, at most 100: the counter is
// kept in ticks and the span in nanoseconds.
func (d *diskIO) util() float64 {
	return math.Min(100*ratio(float64(d.BusyMs), d.Seconds*1000), 100)
}

// parBadge marks a busy time that is no limit.
func (d *diskIO) parBadge() string {
	if d.Parallel {
		return "par"
	}
	return ""
}

// diskSeries is one number of one device over time, oldest first.
func diskSeries(f Frame, n int, name collectors.Raw, value func(*diskIO) float64) []float64 {
	return series(f, n, diskOf, func(s *collectors.Disk) float64 {
		if s.Seconds() == 0 || s.Rows == nil {
			return math.NaN()
		}
		for i := range s.Rows {
			r := &s.Rows[i]
			if r.Name != name {
				continue
			}
			if r.New {
				return math.NaN()
			}
			return value(&diskIO{BlockDevice: r.BlockDevice, DiskCounts: r.DiskCounts, InFlight: r.InFlight, Seconds: s.Seconds()})
		}
		return value(&diskIO{Seconds: s.Seconds()})
	})
}

// diskTrend is one of the numbers whose history a disk has.
type diskTrend struct {
	id, unit string
	decimals int
	least    float64 // the least top of its scale
	value    func(*diskIO) float64
}

func diskTrends() []diskTrend {
	return []diskTrend{
		{"r_await", "ms", 2, 0.1, func(d *diskIO) float64 { return await(d.Read) }},
		{"w_await", "ms", 2, 0.1, func(d *diskIO) float64 { return await(d.Write) }},
		{"aqu-sz", "", 2, 1, (*diskIO).queue},
		{"%util", "%", 1, 100, (*diskIO).util},
	}
}

// scale is the top of a trend's scale.
func (x diskTrend) scale(values []float64) float64 { return math.Max(x.least, most(values)) }

// print writes a value of the trend in at most eight cells.
func (x diskTrend) print(v float64) string {
	return Number(v).fit(Column{Width: 8, Decimals: x.decimals})
}

// now is the trend's value over the frame.
func (x diskTrend) now(d *diskIO) string {
	s := x.print(x.value(d))
	if x.id == "%util" && s != "-" {
		s += d.parBadge()
	}
	return s
}

// above returns the devices that lie on a device, itself first: its partitions and what holds them.
func (s *diskSum) above(name string) []*diskIO {
	first := s.disk(name)
	if first == nil {
		return nil
	}
	out := []*diskIO{first}
	for i := 0; i < len(out); i++ {
		for k := range s.Disks {
			d := &s.Disks[k]
			on := d.Parent == out[i].Name || slices.Contains(out[i].Holders, d.Name) || slices.Contains(d.Slaves, out[i].Name)
			if on && !slices.Contains(out, d) {
				out = append(out, d)
			}
		}
	}
	return out
}

// below names the devices a device lies on, down to the hardware.
func (s *diskSum) below(d *diskIO) []string {
	var out []string
	seen := map[collectors.Raw]bool{d.Name: true}
	for next := lowerOf(d); len(next) > 0; next = next[1:] {
		if seen[next[0]] {
			continue
		}
		seen[next[0]] = true
		out = append(out, clean(next[0]))
		if lower := s.disk(clean(next[0])); lower != nil {
			next = append(next, lowerOf(lower)...)
		}
	}
	return out
}

func lowerOf(d *diskIO) []collectors.Raw {
	if d.Parent != (collectors.Raw{}) {
		return append([]collectors.Raw{d.Parent}, d.Slaves...)
	}
	return slices.Clone(d.Slaves)
}

// staleFiles is how old the last round over the file systems may be: three rounds and a little.
const staleFiles = 32e9

// filesOf is the newest round over the file systems that is still true. Nil without one.
func filesOf(f Frame) *collectors.FileSystems {
	for i := len(f.Past) - 1; i >= 0 && f.Now.Snapshot != nil; i-- {
		s := f.Past[i].Snapshot
		if s == nil {
			continue
		}
		if f.Now.At-s.At > staleFiles {
			break
		}
		if s.FileSystems != nil {
			return s.FileSystems
		}
	}
	return nil
}

// deviceOf is the block device a file system lies on, nil without one.
func (s *diskSum) deviceOf(m *collectors.Mount) *diskIO {
	if s == nil {
		return nil
	}
	source := m.Source.Bytes()
	name := path.Base(source)
	for i := range s.Disks {
		d := &s.Disks[i]
		switch {
		case d.Dev == m.Dev:
			return d
		case !strings.HasPrefix(source, "/dev/"):
		case d.Name.Bytes() == name, d.Alias.Bytes() == name && name != "":
			return d
		}
	}
	return nil
}

// troubles are what is wrong with devices and file systems, a line each: what a table of numbers
// does not say. What is so now comes before what was counted.
func troubles(f Frame, s *diskSum) []string {
	var now, counted []string
	if s != nil {
		for i := range s.Arrays {
			if t := arrayTrouble(&s.Arrays[i]); t != "" {
				now = append(now, t)
			}
		}
		for i := range s.Disks {
			d := &s.Disks[i]
			switch state := clean(d.State); state {
			case "", "running", "live":
			default:
				now = append(now, d.title()+" is "+state)
			}
			if n := d.Errors - d.ErrorsBase; d.ErrorsKnown && n > 0 {
				counted = append(counted, fmt.Sprintf("%s: %s failed command%s since the start", d.title(), widget.Count(n), plural(int(min(n, 2)))))
			}
		}
	}
	if files := filesOf(f); files != nil {
		for i := range files.Rows {
			x := &files.Rows[i]
			switch {
			case x.Silent > 0:
				now = append(now, clean(x.Point)+" ("+clean(x.Type)+" "+clean(x.Source)+") "+silentFor(f, files, x))
			case x.Forced:
				now = append(now, clean(x.Point)+" has become read-only")
			}
			if x.Errors > 0 {
				counted = append(counted, fmt.Sprintf("%s: %s error%s noted by ext4 since its last check", clean(x.Point), widget.Count(x.Errors), plural(int(min(x.Errors, 2)))))
			}
		}
	}
	return append(now, counted...)
}

// silentFor says how long a mount has not answered.
func silentFor(f Frame, files *collectors.FileSystems, x *collectors.FileSystem) string {
	return "is not answering for " + widget.Age(x.Silent+max(f.Now.At-files.To, 0))
}
