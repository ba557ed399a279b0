// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"

	"bpf60/bpf"
)

// blockLoad is the work that makes requests: one of loads.
const blockLoad = "4 KiB random I/O"

// blockPeers are the tools of libbpf-tools whose numbers our one subject has all at once.
func blockPeers() []string { return []string{"biolatency", "biosnoop", "bitesize", "biotop"} }

// blockRows compares our one subject of block I/O with each tool that has a part of its numbers, and
// with those that can attach here together.
func blockRows(o options) ([]row, error) {
	ours := pair{load: blockLoad, open: func(k *bpf.Kernel) (io.Closer, error) { return bpf.OpenBlock(k) }}
	floor := func(clock bool) pair {
		return pair{open: func(*bpf.Kernel) (io.Closer, error) {
			return openEmpties([]string{"block_io_start", "block_rq_complete"}, clock)
		}}
	}
	w, err := ours.work()
	if err != nil {
		return nil, err
	}
	var us, again, empty, clock []float64
	theirs := map[string][]float64{}
	absentees := map[string]error{}
	by := counters{}
	for range o.rounds {
		for _, x := range []struct {
			p    pair
			into *[]float64
		}{{ours, &us}, {floor(false), &empty}, {floor(true), &clock}, {ours, &again}} {
			ns, c, err := x.p.once(w, true)
			if err != nil {
				return nil, err
			}
			*x.into = append(*x.into, ns)
			by = c.plus(by)
		}
		for _, tool := range blockPeers() {
			if absentees[tool] != nil {
				continue
			}
			ns, c, err := pair{peer: []string{tool}}.once(w, false)
			if err != nil {
				absentees[tool] = err
				continue
			}
			theirs[tool] = append(theirs[tool], ns)
			for name, v := range c {
				by[tool+" "+name] = counter{runs: by[tool+" "+name].runs + v.runs, ns: by[tool+" "+name].ns + v.ns}
			}
		}
	}
	noise := differ(median(us), median(again))
	mine := median(append(us, again...))
	rows := []row{{
		what: "run time of two empty programs for a block I/O", ours: fmt.Sprintf("%.0f ns", median(empty)),
		note: fmt.Sprintf("on block_io_start and block_rq_complete: in every figure below, ours and theirs. Such as read the clock, as biolatency does at both ends and we at one, take %.0f ns",
			median(clock)),
	}}
	var sum float64
	var together []string
	for _, tool := range blockPeers() {
		if err := absentees[tool]; err != nil {
			rows = append(rows, row{what: "run time for a block I/O", ok: absent, note: firstLine("beside " + tool + ": " + err.Error())})
			continue
		}
		them := median(theirs[tool])
		sum += them
		together = append(together, tool)
		r := row{
			what: "run time for a block I/O", ours: fmt.Sprintf("%.0f ns", mine), peer: fmt.Sprintf("%.0f ns", them),
			ratio: fmt.Sprintf("%.2f", mine/them),
			note:  fmt.Sprintf("beside libbpf-tools' %s; A/A %.0f %%", tool, 100*noise),
		}
		if tool != "bitesize" {
			rows = append(rows, r.against(mine, them, 0.5, noise))
			continue
		}
		// It counts on one hook, and sees no end: who wants times and sizes runs it beside biolatency.
		rows = append(rows, r)
		if times := theirs["biolatency"]; len(times) > 0 && absentees["biolatency"] == nil {
			both := median(times) + them
			rows = append(rows, row{
				what: "run time for a block I/O's times and size", ours: fmt.Sprintf("%.0f ns", mine), peer: fmt.Sprintf("%.0f ns", both),
				note: fmt.Sprintf("beside libbpf-tools' biolatency + bitesize, of which the second is %.0f ns; A/A %.0f %%", them, 100*noise),
			}.against(mine, both, 0.5, noise))
		}
	}
	rows = append(rows, row{
		what: "run time for a block I/O", ours: fmt.Sprintf("%.0f ns", mine), peer: fmt.Sprintf("%.0f ns", sum),
		note: fmt.Sprintf("beside %s together, whose numbers we have; %s", strings.Join(together, " + "), by.list()),
	}.against(mine, sum, 0.5, noise))
	return rows, nil
}

// firstLine is what a tool said first.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
