// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// iostatLine is iostat's line of the checklist: the disk whose requests wait the most in sum, which
// is its rate times its await, and what is nearly full or does not answer.
func iostatLine(f Frame) line {
	l := line{id: "iostat", pane: DiskPane, value: math.NaN(), unit: "requests"}
	s := diskOver(f)
	if s == nil {
		l.why, _ = whyNot(f, collectors.DiskID, "iostat")
		l.parts = append([]part{{"-", 0}}, fileParts(f)...)
		return l
	}
	d := worstDisk(s)
	switch {
	case s.Seconds() == 0:
		l.why = "rates: waiting for a second reading"
		l.parts = []part{{"-", 0}}
	case d == nil:
		l.parts = []part{{"no I/O", 0}}
		l.value = 0
	default:
		l.row, l.value = d.row(), d.queue()
		io, letter := d.Read, "r"
		if d.Write.Ms > d.Read.Ms || d.Read.IOs == 0 {
			io, letter = d.Write, "w"
		}
		name := widget.Clip(d.title(), 16)
		l.parts = []part{
			{fmt.Sprintf("%s %s %s/s", name, widget.Short(float64(io.IOs)/d.Seconds), letter), 0},
			{fmt.Sprintf("%s_await %s", letter, perRequest(float64(io.Ms), io.IOs, "").Format(1)), 1},
			{fmt.Sprintf("aqu-sz %s", widget.Short(d.queue())), 2},
			{fmt.Sprintf("%%util %.0f%s", d.util(), d.parBadge()), 3},
		}
		if p99 := awaitedP99(f, s, d); p99 != "" {
			l.parts = append(l.parts, part{"p99 " + p99, 3})
		}
		if d.Read.IOs+d.Write.IOs == 0 && d.InFlight > 0 { // it hangs, or takes longer than the interval
			l.parts = append([]part{{fmt.Sprintf("%s %d in flight, none completed", name, d.InFlight), 0}}, l.parts[2:4]...)
		}
		l.drawn = name + " aqu-sz"
		l.series = diskSeries(f, sparkSamples, d.Name, (*diskIO).queue)
		l.hi = math.Max(1, most(l.series))
	}
	l.parts = append(l.parts, fileParts(f)...)
	return l
}

// awaitedP99 is the 99th percentile of the disk's time on what somebody waits for. Empty with too few
// requests.
func awaitedP99(f Frame, s *diskSum, d *diskIO) string {
	b := blockOver(f)
	sum, _ := b.picked(ofClasses(awaitedClasses, blockDevs(s, d)...))
	if p99 := quantile(&sum.Device, 0.99); p99 != "-" {
		return p99
	}
	return ""
}

// worstDisk is the disk with the longest queue: of stacked devices the lowest. Nil if none did
// anything.
func worstDisk(s *diskSum) *diskIO {
	var out *diskIO
	for i := range s.Disks {
		d := &s.Disks[i]
		if !d.lowest() || d.Seconds <= 0 || d.DiskCounts == (collectors.DiskCounts{}) && d.InFlight == 0 {
			continue
		}
		if out == nil || d.queue() > out.queue() {
			out = d
		}
	}
	return out
}

// fileParts names the fullest file system once it is nearly full, and the first that is silent.
func fileParts(f Frame) []part {
	files := filesOf(f)
	if files == nil {
		return nil
	}
	var out []part
	var full *collectors.FileSystem
	for i := range files.Rows {
		x := &files.Rows[i]
		point := widget.Clip(clean(x.Point), 16)
		if x.Silent > 0 && len(out) == 0 {
			out = append(out, part{point + " silent " + widget.Age(x.Silent+max(f.Now.At-files.To, 0)), 0})
		}
		writable := x.Known && !x.Virtual && !x.ReadOnly && !x.Forced
		if writable && fullest(x) >= nearlyFull && (full == nil || fullest(x) > fullest(full)) {
			full = x
		}
	}
	if full != nil {
		what := "full"
		if inodePercent(full) > usePercent(full) {
			what = "of inodes"
		}
		out = append(out, part{fmt.Sprintf("%s %.0f %% %s", widget.Clip(clean(full.Point), 16), fullest(full), what), 1})
	}
	return out
}
