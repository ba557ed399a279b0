// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/triage"
)

func blockOf(s *collectors.Snapshot) *collectors.Block         { return s.Block }
func blockSpan(b *collectors.Block) collectors.Span            { return b.Span }
func classBit(c collectors.BlockClass) uint                    { return 1 << c }
func allRequests(collectors.DevID, collectors.BlockClass) bool { return true }

// Classes that are drawn together.
const (
	readClasses  = 1<<collectors.ReadSync | 1<<collectors.ReadAhead
	writeClasses = 1<<collectors.WriteSync | 1<<collectors.WriteBack
	// Somebody waits for these: what a slow disk hurts.
	awaitedClasses = 1<<collectors.ReadSync | 1<<collectors.WriteSync | 1<<collectors.Flush
)

// blockPick says which requests are meant.
type blockPick func(dev collectors.DevID, class collectors.BlockClass) bool

// ofClasses picks classes, of the given disks or, with none, of all.
func ofClasses(classes uint, devs ...collectors.DevID) blockPick {
	return func(dev collectors.DevID, class collectors.BlockClass) bool {
		return classes&classBit(class) != 0 && (len(devs) == 0 || slices.Contains(devs, dev))
	}
}

// blockKey is a disk and a class.
type blockKey struct {
	dev   collectors.DevID
	class collectors.BlockClass
}

// blockTotals are histograms since the probe attached.
type blockTotals struct{ device, queued collectors.Hist }

// blockSum is the block I/O of a frame.
type blockSum struct {
	collectors.Span
	rows   map[blockKey]*blockCounts
	hot    []blockKey // that did something within a minute, by disk and class
	owners []collectors.BlockOwner
	more   int // owners that are not listed
	slow   []collectors.BlockIO
	hung   []collectors.BlockIO
	stalls *collectors.BlockStalls

	unlisted, unowned, unstamped, missed, folded, merged, requeued uint64
}

// blockCounts are collectors.BlockCounts over a frame, at full width.
type blockCounts struct {
	Device, Queued collectors.Hist
	Sizes          [collectors.BlockSizes]uint64

	Completed, Bytes, Errors, Requeues, Sequential uint64
}

// add counts the requests of a sample.
func (c *blockCounts) add(o *collectors.BlockCounts) {
	one := blockCounts{
		Device: o.Device.Hist(), Queued: o.Queued.Hist(),
		Completed: o.Completed, Bytes: o.Bytes, Errors: o.Errors, Requeues: o.Requeues, Sequential: o.Sequential,
	}
	for i, n := range o.Sizes {
		one.Sizes[i] = uint64(n)
	}
	c.plus(&one)
}

func (c *blockCounts) plus(o *blockCounts) {
	c.Device.Plus(&o.Device)
	c.Queued.Plus(&o.Queued)
	for i, n := range o.Sizes {
		c.Sizes[i] += n
	}
	c.Completed += o.Completed
	c.Bytes += o.Bytes
	c.Errors += o.Errors
	c.Requeues += o.Requeues
	c.Sequential += o.Sequential
}

// blockOver is the block I/O over the frame. Nil without a sample.
func blockOver(f Frame) *blockSum {
	samples := within(f, blockOf)
	if len(samples) == 0 {
		return nil
	}
	s := &blockSum{rows: map[blockKey]*blockCounts{}}
	owners := map[blockOwnerKey]int{}
	for _, b := range samples {
		s.Span = join(s.Span, b.Span)
		for i := range b.Rows {
			r := &b.Rows[i]
			key := blockKey{r.Dev, r.Class}
			if s.rows[key] == nil {
				s.rows[key] = &blockCounts{}
			}
			s.rows[key].add(&r.BlockCounts)
		}
		for i := range b.Owners {
			s.addOwner(&b.Owners[i], owners)
		}
		s.more = max(s.more, b.OwnersMore)
		s.slow = append(s.slow, b.Slow...)
		s.unlisted += b.Unlisted
		s.unowned += b.Unowned
		s.unstamped += b.Unstamped
		s.missed += b.Missed
		s.folded += b.Folded
		s.merged += b.Merged
		s.requeued += b.Requeued
	}
	last := samples[len(samples)-1]
	s.hung, s.stalls = last.Hung, last.Stalls
	s.hot = hotBlocks(f, s.rows)
	sortStably(s.slow, func(a, b collectors.BlockIO) int { return cmp.Compare(b.Total, a.Total) })
	return s
}

// blockOwnerKey is a process and a disk.
type blockOwnerKey struct {
	process collectors.Process
	dev     collectors.DevID
}

func (s *blockSum) addOwner(o *collectors.BlockOwner, at map[blockOwnerKey]int) {
	key := blockOwnerKey{o.Process, o.Dev}
	i, ok := at[key]
	if !ok {
		at[key] = len(s.owners)
		s.owners = append(s.owners, *o)
		return
	}
	x := &s.owners[i]
	x.Reads += o.Reads
	x.Writes += o.Writes
	x.Others += o.Others
	x.Flushes += o.Flushes
	x.ReadBytes += o.ReadBytes
	x.WriteBytes += o.WriteBytes
	x.IOTime += o.IOTime
	x.FlushTime += o.FlushTime
	x.Errors += o.Errors
}

// hotBlocks are the disks and classes of the frame and of the last minute, so that rows do not come and
// go with each second.
func hotBlocks(f Frame, rows map[blockKey]*blockCounts) []blockKey {
	seen := make(map[blockKey]bool, len(rows))
	for k := range rows {
		seen[k] = true
	}
	for i := len(f.Past) - 1; i >= 0 && f.Now.At-f.Past[i].At < hotFor; i-- {
		if s := f.Past[i].Snapshot; s != nil && s.Block != nil {
			for k := range s.Block.Rows {
				seen[blockKey{s.Block.Rows[k].Dev, s.Block.Rows[k].Class}] = true
			}
		}
	}
	out := make([]blockKey, 0, len(seen))
	for k := range seen {
		out = append(out, k)
	}
	sortBy(out, func(a, b blockKey) int { return cmp.Or(cmp.Compare(a.dev, b.dev), cmp.Compare(a.class, b.class)) })
	return out
}

// picked sums the picked rows; false without any.
func (s *blockSum) picked(pick blockPick) (sum blockCounts, ok bool) {
	if s == nil {
		return sum, false
	}
	for k, c := range s.rows {
		if pick(k.dev, k.class) {
			sum.plus(c)
			ok = true
		}
	}
	return sum, ok
}

// totalRows are the newest rows of each disk and class up to the frame, those at rest too: they hold its
// totals.
func totalRows(f Frame) []*collectors.BlockRow {
	var out []*collectors.BlockRow
	seen := map[blockKey]bool{}
	for _, m := range slices.Backward(f.Past) {
		if m.Snapshot == nil || m.Block == nil {
			continue
		}
		for _, rows := range [][]collectors.BlockRow{m.Block.Rows, m.Block.Resting} {
			for k := range rows {
				if key := (blockKey{rows[k].Dev, rows[k].Class}); !seen[key] {
					seen[key] = true
					out = append(out, &rows[k])
				}
			}
		}
	}
	return out
}

// blockMark is a sample for the mark: with the totals of all disks, also of those that did nothing just
// then. What the mark is taken from may be forgotten when they are asked for.
func blockMark(f Frame) *collectors.Block {
	b := &collectors.Block{}
	for _, r := range totalRows(f) {
		b.Resting = append(b.Resting, *r)
	}
	return b
}

// blockTotalsOf are the totals at the frame, less those at the mark.
func blockTotalsOf(f Frame, pick blockPick) *blockTotals {
	sum := func(rows []*collectors.BlockRow) (t blockTotals) {
		for _, r := range rows {
			if pick(r.Dev, r.Class) {
				t.device.Plus(&r.DeviceTotal)
				t.queued.Plus(&r.QueuedTotal)
			}
		}
		return t
	}
	t := sum(totalRows(f))
	if b := marked(f, blockOf); b != nil {
		m := sum(totalRows(Frame{Past: []triage.Moment{*f.Mark}}))
		t.device, t.queued = t.device.Since(&m.device), t.queued.Since(&m.queued)
	}
	return &t
}

// blockHistogram is a distribution of the picked requests.
func blockHistogram(f Frame, s *blockSum, id, title string, queued bool, pick blockPick) Histogram {
	h := Histogram{ID: id, Title: title}
	if s == nil {
		h.Why, _ = whyNot(f, collectors.BlockID, "biolatency")
		return h
	}
	sum, _ := s.picked(pick)
	totals := blockTotalsOf(f, pick)
	h.Now, h.Start = &sum.Device, &totals.device
	if queued {
		h.Now, h.Start = &sum.Queued, &totals.queued
	}
	if n := s.missed; n > 0 {
		h.Badge = "L" + widget.Count(n)
	}
	return h
}

// blockColumns is the picked distribution over time.
func blockColumns(f Frame, n int, queued bool, pick blockPick) []*collectors.Hist {
	return columns(f, n, blockOf, blockSpan, func(b *collectors.Block) *collectors.Hist {
		var sum collectors.Hist
		for i := range b.Rows {
			r := &b.Rows[i]
			if !pick(r.Dev, r.Class) {
				continue
			}
			h := r.Device.Hist()
			if queued {
				h = r.Queued.Hist()
			}
			sum.Plus(&h)
		}
		return &sum
	})
}

// diskName is what people call a disk.
func diskName(s *diskSum, dev collectors.DevID) string {
	if dev == 0 {
		return "others"
	}
	if s != nil {
		for i := range s.Disks {
			if s.Disks[i].Dev == dev {
				return s.Disks[i].title()
			}
		}
	}
	return dev.String()
}

// blockDevs are the disks whose requests make up a device's I/O: itself, or those it lies on. A
// partition's requests are those of its disk.
func blockDevs(s *diskSum, d *diskIO) []collectors.DevID {
	out := []collectors.DevID{d.Dev}
	for _, name := range s.below(d) {
		if lower := s.disk(name); lower != nil {
			out = append(out, lower.Dev)
		}
	}
	return out
}

// slowSpan is how far back the list of the slowest requests looks.
const slowSpan = time.Minute

// listed are the requests that the list shows: what hangs, then the slowest of the last minute, with the
// stalls since start.
func (s *blockSum) listed(f Frame) []collectors.BlockIO {
	out := slices.Clone(s.hung)
	seen := map[string]bool{}
	add := func(list []collectors.BlockIO) {
		for i := range list {
			if id := ioRow(&list[i]); !seen[id] {
				seen[id] = true
				out = append(out, list[i])
			}
		}
	}
	add(s.slow)
	for i := len(f.Past) - 1; i >= 0; i-- {
		m := f.Past[i]
		if m.Snapshot == nil || m.Block == nil {
			continue
		}
		if f.Now.At-m.At > slowSpan {
			break
		}
		add(m.Block.Slow)
	}
	if s.stalls != nil {
		add(s.stalls.List)
	}
	rest := out[len(s.hung):]
	sortStably(rest, func(a, b collectors.BlockIO) int { return cmp.Compare(b.Total, a.Total) })
	return out
}

// ioRow is the row ID of a request.
func ioRow(x *collectors.BlockIO) string {
	return strconv.FormatInt(int64(x.At), 10) + " " + strconv.FormatUint(uint64(x.Dev), 10) + " " +
		strconv.FormatUint(x.Sector, 10) + " " + strconv.Itoa(int(x.Process.TGID)) + " " + x.Op.String()
}
