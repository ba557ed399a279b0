// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"bpf60/collectors"
)

// diskRules are the rules about disks.
func diskRules(chosen Limits) []Rule {
	return []Rule{slowDisk(chosen), queuedDisk(chosen), syncing(chosen), brokenDisk(chosen), background(chosen)}
}

// diskLoad is what one disk did in the window.
type diskLoad struct {
	dev     collectors.DevID
	device  *collectors.BlockDevice // nil: not known
	seconds float64
	// Of reads and synchronous writes, that somebody waits for: on the device, in the queue, and on the
	// device since the start.
	sync, queue, ever collectors.Hist
	// Of all but discards.
	completed, errors uint64
}

// name is the kernel's name of the disk, of a path that of the device that all its paths make.
func (d *diskLoad) name() string {
	if d.device == nil {
		return d.dev.String()
	}
	return collectors.Clean(collectors.RawString(cmp.Or(d.device.Head(), d.device.Name.Bytes()))).String()
}

// real says that what the disk does is its own: not memory, not a file, not what lies on others and is
// counted there. Requests to a multipath device of NVMe are those of its paths. Of what no table lists only
// the number tells.
func (d *diskLoad) real() bool {
	if d.device == nil {
		switch d.dev.Major() {
		case 1, 7, 9: // RAM, loop, RAID (Documentation/admin-guide/devices.txt)
			return false
		}
		return true
	}
	switch d.device.Kind {
	case collectors.WholeDisk, collectors.Removable, collectors.Path:
		return len(d.device.Slaves) == 0
	case collectors.Partition, collectors.Mapper, collectors.MDArray, collectors.Loop, collectors.RAMDisk, collectors.ZRAM:
	}
	return false
}

// paths are the devices that are paths of others, with those.
type paths map[collectors.DevID]collectors.DevID

// head is the device that dev is a path of, else dev.
func (p paths) head(dev collectors.DevID) collectors.DevID {
	if head, ok := p[dev]; ok {
		return head
	}
	return dev
}

// paths are those of the multipath devices that are listed; mostly there are none.
func (r *recent) paths() paths {
	d := lastOf(r.h.Since(-1), func(s *collectors.Snapshot) *collectors.Disk { return s.Disk })
	if d == nil || d.Table == nil {
		return nil
	}
	var p paths
	for _, x := range d.Table.Devices {
		name := x.Head()
		if name == "" {
			continue
		}
		if i := slices.IndexFunc(d.Table.Devices, func(y *collectors.BlockDevice) bool { return y.Name.Bytes() == name }); i >= 0 {
			if p == nil {
				p = paths{}
			}
			p[x.Dev] = d.Table.Devices[i].Dev
		}
	}
	return p
}

// disks sums what moments say of each disk, by number; of the paths of one together.
func (r *recent) disks(moments []Moment) []*diskLoad {
	known := map[collectors.DevID]*collectors.BlockDevice{}
	if d := lastOf(r.h.Since(-1), func(s *collectors.Snapshot) *collectors.Disk { return s.Disk }); d != nil && d.Table != nil {
		for _, x := range d.Table.Devices {
			known[x.Dev] = x
		}
	}
	by, heads := map[collectors.DevID]*diskLoad{}, r.paths()
	type part struct {
		dev   collectors.DevID
		class collectors.BlockClass
	}
	ever := map[part]*collectors.Hist{} // the newest of each
	seconds := 0.0
	for _, m := range moments {
		if m.Block == nil {
			continue
		}
		seconds += m.Block.Seconds()
		for i := range m.Block.Rows {
			x := &m.Block.Rows[i]
			dev := heads.head(x.Dev)
			d := by[dev]
			if d == nil {
				d = &diskLoad{dev: dev, device: known[dev]}
				by[dev] = d
			}
			switch x.Class {
			case collectors.ReadSync, collectors.WriteSync:
				device, queue := x.Device.Hist(), x.Queued.Hist()
				d.sync.Plus(&device)
				d.queue.Plus(&queue)
				ever[part{x.Dev, x.Class}] = &x.DeviceTotal
			case collectors.Discard:
				continue
			case collectors.ReadAhead, collectors.WriteBack, collectors.Flush, collectors.OtherIO: // nobody waits, or it is several in one
			}
			d.completed += x.Completed
			d.errors += x.Errors
		}
	}
	for p, h := range ever {
		by[heads.head(p.dev)].ever.Plus(h)
	}
	var out []*diskLoad
	for _, dev := range slices.Sorted(maps.Keys(by)) {
		by[dev].seconds = seconds
		out = append(out, by[dev])
	}
	return out
}

// asker is one group of processes that asked a disk for something.
type asker struct {
	name   string
	bytes  uint64
	owners []*collectors.BlockOwner // the most bytes first
}

// askers are who asked a disk: who had most of it, and all others that waited for it themselves.
// Threads of the kernel write back for others and wait for nobody.
func (r *recent) askers(dev collectors.DevID) (most asker, others []*collectors.BlockOwner, waited time.Duration) {
	who, heads := r.together(), r.paths()
	type key struct {
		p   collectors.Process
		dev collectors.DevID
	}
	sums := map[key]*collectors.BlockOwner{}
	var order []key
	for _, m := range r.moments {
		if m.Block == nil {
			continue
		}
		for i := range m.Block.Owners {
			o := m.Block.Owners[i]
			if heads.head(o.Dev) != dev {
				continue
			}
			k := key{o.Process, dev}
			s := sums[k]
			if s == nil {
				sums[k] = &o
				order = append(order, k)
				continue
			}
			s.ReadBytes, s.WriteBytes = s.ReadBytes+o.ReadBytes, s.WriteBytes+o.WriteBytes
			s.IOTime, s.FlushTime = s.IOTime+o.IOTime, s.FlushTime+o.FlushTime
			s.Reads, s.Flushes = s.Reads+o.Reads, s.Flushes+o.Flushes
		}
	}
	groups := map[string]*asker{}
	of := func(o *collectors.BlockOwner) string {
		if p := who.byPID[o.Process.TGID]; p != nil && !o.Kernel {
			return who.names[who.of(p)]
		}
		return fmt.Sprintf("alone %d %d", o.Process.TGID, o.Process.Start)
	}
	for _, k := range order {
		o := sums[k]
		g := groups[of(o)]
		if g == nil {
			g = &asker{name: of(o)}
			groups[g.name] = g
		}
		g.bytes += o.ReadBytes + o.WriteBytes
		g.owners = append(g.owners, o)
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		if g := groups[name]; g.bytes > most.bytes || most.name == "" {
			most = *g
		}
	}
	for _, k := range order {
		if o := sums[k]; of(o) != most.name && !o.Kernel && o.Reads+o.Flushes > 0 {
			others = append(others, o)
			waited += o.IOTime + o.FlushTime
		}
	}
	slices.SortStableFunc(most.owners, func(a, b *collectors.BlockOwner) int {
		return cmp.Compare(b.ReadBytes+b.WriteBytes, a.ReadBytes+a.WriteBytes)
	})
	slices.SortStableFunc(others, func(a, b *collectors.BlockOwner) int { return cmp.Compare(b.IOTime+b.FlushTime, a.IOTime+a.FlushTime) })
	return most, others, waited
}

// blame fills in who has most of a disk and who waits for it; a finding that hits nobody else is info.
// The least is how much of the time the others must wait for that to count, in percent.
func (r *recent) blame(f *Finding, d *diskLoad, least float64) {
	most, others, waited := r.askers(d.dev)
	for _, o := range most.owners[:min(len(most.owners), few)] {
		f.Culprits = append(f.Culprits, r.stranger(o.Process, o.Comm, percent(o.ReadBytes+o.WriteBytes, max(most.bytes, 1))/100))
	}
	if percent(waited.Seconds(), d.seconds) < least {
		f.Severity = Info
		f.Title += "; nobody but the culprit waits"
		return
	}
	for _, o := range others[:min(len(others), few)] {
		f.Victims = append(f.Victims, r.stranger(o.Process, o.Comm, 0))
	}
}

// stallLimit is what fires at once.
const stallLimit = time.Second

// slowDisk: what somebody waits for takes the device much longer than it mostly does.
func slowDisk(chosen Limits) Rule {
	r := Rule{
		ID: "disk.latency", Says: "reads or synchronous writes take a disk far longer than it mostly needs, or one took a second and more",
		Resource: "disk", Needs: []string{"biolatency", "psi"},
	}
	long := r.longIO(chosen, "the p99", "the p99 of reads and synchronous writes")
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		if f, ok := w.stalledIO(); ok {
			return f, nil
		}
		p := w.pressure(psiIO)
		if p.seconds < covered || p.some < long.some || !w.covers(blockSpan) {
			return Finding{}, nil
		}
		var worst *diskLoad
		for _, d := range w.disks(w.moments) {
			p99 := edge(&d.sync, 0.99)
			if !d.real() || d.sync.Count() < enough || !long.is(p99, d) {
				continue
			}
			if worst == nil || p99 > edge(&worst.sync, 0.99) {
				worst = d
			}
		}
		if worst == nil {
			return Finding{}, nil
		}
		f := Finding{
			ID: "disk.latency", Severity: Warning, Resource: worst.name(), Line: "iostat", Value: edge(&worst.sync, 0.99).Seconds() * 1e3, Threshold: long.least, Unit: "ms",
			N: worst.sync.Count(), Window: recentFor, Pane: "disk", Row: worst.name(), Command: "iostat -xz 1; biolatency -D 1",
			Title:    fmt.Sprintf("%s sync I/O p99 %s", worst.name(), between(&worst.sync, 0.99)),
			Evidence: []string{"mostly " + between(&worst.ever, 0.5), fmt.Sprintf("PSI io some %.0f %%", p.some)},
			Explains: []string{"proc.blocked", "fs.slow"},
		}
		w.blame(&f, worst, long.others)
		return f, nil
	})
	r.Evidence = func(h *History) []string {
		w := recently(h)
		var facts []string
		for _, d := range w.disks(w.moments) {
			if d.real() && d.sync.Count() >= enough {
				facts = append(facts, fmt.Sprintf("%s sync p99 %s", d.name(), between(&d.sync, 0.99)))
			}
		}
		if p := w.pressure(psiIO); p.seconds > 0 {
			facts = append(facts, fmt.Sprintf("PSI some %.1f %%", p.some))
		}
		return facts
	}
	return r
}

// stalledIO tells of requests that somebody waits for and that took, or have been taking, a second and
// more, as of the newest sample.
func (r *recent) stalledIO() (Finding, bool) {
	last := r.moments[len(r.moments)-1].Block
	if last == nil {
		return Finding{}, false
	}
	var worst *collectors.BlockIO
	n := uint64(0)
	take := func(list []collectors.BlockIO, from time.Duration) {
		for i := range list {
			x := &list[i]
			if !x.Sync || x.Total < stallLimit || x.At <= from || !r.realDisk(x.Dev) {
				continue
			}
			n++
			if worst == nil || x.Total > worst.Total {
				worst = x
			}
		}
	}
	if last.Stalls != nil {
		take(last.Stalls.List, last.From)
	}
	take(last.Hung, -1)
	if worst == nil {
		return Finding{}, false
	}
	d := r.disk(worst.Dev)
	return Finding{
		ID: "disk.latency", Severity: Warning, Outlier: true, Resource: d.name(), Line: "iostat", Value: worst.Total.Seconds() * 1e3, Threshold: stallLimit.Seconds() * 1e3, Unit: "ms",
		N: n, Window: time.Second, Title: fmt.Sprintf("%s: a %s took %.1f s", d.name(), operation(worst), worst.Total.Seconds()),
		Evidence: []string{fmt.Sprintf("%.1f s of it on the device", max(worst.Device, 0).Seconds())},
		Culprits: []Culprit{{Kind: "disk", Name: collectors.Clean(collectors.RawString(d.name())), Target: collectors.Target{Kind: collectors.DiskTarget, Dev: uint32(d.dev), Name: d.name()}}},
		Victims:  []Culprit{r.stranger(worst.Process, worst.Comm, 0)},
		Explains: []string{"proc.blocked", "fs.slow"}, Pane: "disk", Row: d.name(), Command: "biosnoop; biolatency -D 1",
	}, true
}

func operation(x *collectors.BlockIO) string {
	switch x.Op {
	case collectors.OpRead:
		return "read"
	case collectors.OpWrite:
		return "write"
	case collectors.OpFlush:
		return "flush"
	case collectors.OpDiscard, collectors.OpOther:
	}
	return "request"
}

func (r *recent) diskOf(dev collectors.DevID) *collectors.BlockDevice {
	d := lastOf(r.h.Since(-1), func(s *collectors.Snapshot) *collectors.Disk { return s.Disk })
	if d == nil || d.Table == nil {
		return nil
	}
	for _, x := range d.Table.Devices {
		if x.Dev == dev {
			return x
		}
	}
	return nil
}

// disk is a disk by the number of it, or of a path of it.
func (r *recent) disk(dev collectors.DevID) *diskLoad {
	dev = r.paths().head(dev)
	return &diskLoad{dev: dev, device: r.diskOf(dev)}
}

func (r *recent) realDisk(dev collectors.DevID) bool { return r.disk(dev).real() }

// queuedDisk: what somebody waits for stands in the queue far longer than the device then takes.
func queuedDisk(chosen Limits) Rule {
	r := Rule{
		ID: "disk.saturated", Says: "reads or synchronous writes wait for their turn far longer than the disk then takes",
		Resource: "disk", Needs: []string{"biolatency", "psi"},
	}
	long := r.longIO(chosen, "the p50 of the time in the queue", "the p50 of the time in the queue")
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		p := w.pressure(psiIO)
		if p.seconds < covered || p.some < long.some || !w.covers(blockSpan) {
			return Finding{}, nil
		}
		for _, d := range w.disks(w.moments) {
			wait := edge(&d.queue, 0.5)
			if !d.real() || d.queue.Count() < enough || !long.is(wait, d) {
				continue
			}
			f := Finding{
				ID: "disk.saturated", Severity: Warning, Resource: d.name(), Line: "iostat", Value: wait.Seconds() * 1e3, Threshold: long.least, Unit: "ms",
				N: d.queue.Count(), Window: recentFor, Pane: "disk", Row: d.name(), Command: "iostat -xz 1; biolatency -Q 1",
				Title:    fmt.Sprintf("%s: sync I/O waits %s for its turn", d.name(), between(&d.queue, 0.5)),
				Evidence: []string{"on the device mostly " + between(&d.ever, 0.5), fmt.Sprintf("%.0f requests/s", float64(d.queue.Count())/d.seconds), fmt.Sprintf("PSI io some %.0f %%", p.some)},
				Explains: []string{"disk.latency", "proc.blocked", "fs.slow"},
			}
			w.blame(&f, d, long.others)
			return f, nil
		}
		return Finding{}, nil
	})
	return r
}

// brokenDisk: requests fail.
func brokenDisk(chosen Limits) Rule {
	r := Rule{
		ID: "disk.errors", Says: "requests to a disk that cannot be taken out fail", Resource: "disk", Needs: []string{"biolatency"}, Hold: -1,
	}
	window := r.limit(chosen, Limit{"window", 60, "s", 10, 600, "in which failed requests are counted; discards are not"})
	r.Check = func(h *History) (Finding, []collectors.Want) {
		w := recently(h)
		if w == nil {
			return Finding{}, nil
		}
		span := time.Duration(window * float64(time.Second))
		failing := false
		for _, m := range h.Since(w.now - span) {
			failing = failing || m.Block != nil && slices.ContainsFunc(m.Block.Rows, func(x collectors.BlockRow) bool { return x.Errors > 0 && x.Class != collectors.Discard })
		}
		if !failing {
			return Finding{}, nil
		}
		for _, d := range w.disks(h.Since(w.now - span)) {
			if d.errors == 0 || !d.real() || d.device != nil && (d.device.Removable || d.device.Kind == collectors.Removable) {
				continue
			}
			return Finding{
				ID: "disk.errors", Severity: Critical, Resource: d.name(), Line: "iostat", Value: float64(d.errors), Threshold: 1, Unit: "failed requests", N: d.completed, Window: span,
				Title:    fmt.Sprintf("%s fails: %d of %d requests in %g s", d.name(), d.errors, d.completed, window),
				Culprits: []Culprit{{Kind: "disk", Name: collectors.Clean(collectors.RawString(d.name())), Target: collectors.Target{Kind: collectors.DiskTarget, Dev: uint32(d.dev), Name: d.name()}}},
				Explains: []string{"disk.latency", "disk.saturated", "proc.blocked", "kernel.errors", "fs.readonly"},
				Pane:     "disk", Row: d.name(), Command: "dmesg -T; smartctl -a /dev/" + d.name(),
			}, nil
		}
		return Finding{}, nil
	}
	return r
}
