// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
	"bpf60/collectors"
)

// checklistRows measures one collection of everything, what we use beside htop and atop in the same
// minute, and how fast the screen answers, on a small host and on a large one.
func checklistRows(o options) ([]row, error) {
	htop, err := find("htop")
	if err != nil {
		return nil, err
	}
	atop, err := find("atop")
	if err != nil {
		return nil, err
	}
	var out []row
	for _, c := range []struct {
		processes int
		limit     float64 // of htop's CPU
	}{{400, 1.5}, {5000, 0.2}} {
		end, err := sleepers(max(c.processes-processes(), 0))
		if err != nil {
			return nil, err
		}
		got, err := checklistAt(o, processes(), htop, atop, c.limit)
		end()
		if err != nil {
			return nil, err
		}
		out = append(out, got...)
	}
	return out, nil
}

func checklistAt(o options, n int, htop, atop string, limit float64) ([]row, error) {
	one, err := collectionRow(o, n)
	if err != nil {
		return nil, err
	}
	rows := []row{one}
	busySince := pressureNow()
	got, err := race([]contender{
		{argv: []string{htop, "-d", "10"}},
		{argv: []string{o.path}},
		{argv: []string{o.path}, keys: "3"}, // the processes
		{argv: []string{atop, "1"}},
		{argv: []string{htop, "-d", "10"}},
	}, o.span)
	if err != nil {
		return nil, err
	}
	first, overview, table, other, again := got[0], got[1], got[2], got[3], got[4]
	peer, noise := (first.cpu+again.cpu)/2, differ(first.cpu, again.cpu)
	percent := func(v float64) string { return fmt.Sprintf("%.2f %%", v) }
	rows = append(rows,
		row{
			what: "  own CPU at 1 s", ours: percent(overview.cpu), peer: percent(peer),
			note: fmt.Sprintf("of one CPU, beside htop; A/A %.0f %%; with key 3 pressed %.2f %%", 100*noise, table.cpu),
		}.against(overview.cpu, peer, limit, noise).busySince(busySince),
		row{what: "  beside atop", ours: percent(overview.cpu), peer: percent(other.cpu), ratio: fmt.Sprintf("%.2f", overview.cpu/other.cpu)},
		row{what: "  of one CPU", ours: percent(max(overview.cpu, table.cpu)), note: "the dearer of the two screens"}.
			below(max(overview.cpu, table.cpu), 5, "5 %"),
		row{
			what: "  resident, peak", ours: fmt.Sprintf("%.1f MB", max(overview.rss, table.rss)), peer: fmt.Sprintf("%.1f MB", first.rss),
			note: fmt.Sprintf("beside htop; atop %.1f MB; after %v", other.rss, (warmUp + o.span).Round(time.Second)),
		}.below(max(overview.rss, table.rss), 40, "40 MB"))

	const presses = 50
	begun := pressureNow()
	took, err := keys(o.path, false, presses, "2", "1")
	if err != nil {
		return nil, err
	}
	return append(rows, row{
		what: "  a frame, from key to screen, p99", ours: fmt.Sprintf("%.1f ms", quantile(took, 0.99)),
		note: fmt.Sprintf("p50 %.1f ms, max %.1f ms, %d digits", median(took), quantile(took, 1), presses),
	}.below(quantile(took, 0.99), 50, "50 ms").busySince(begun)), nil
}

// collectionRow is what one collection by every collector takes of our CPU time. Those that wait for
// somebody to look are counted apart.
func collectionRow(o options, n int) (row, error) {
	kernel := bpf.Inspect()
	defer kernel.Release()
	ctx := context.Background()
	type share struct {
		name string
		us   float64
	}
	var always, looked []share
	var off []string
	for _, c := range collectors.All(kernel, collectors.NewFS(""), nil) {
		us, err := collection(ctx, c, 10*o.rounds)
		name := string(c.Meta().ID)
		switch {
		case err != nil:
			off = append(off, name)
		case c.Meta().OnDemand:
			looked = append(looked, share{name, us})
		default:
			always = append(always, share{name, us})
		}
	}
	total := func(list []share) (sum float64) {
		for _, c := range list {
			sum += c.us
		}
		return sum
	}
	slices.SortFunc(always, func(a, b share) int { return int(b.us - a.us) })
	var parts []string
	for _, c := range always[:min(4, len(always))] {
		parts = append(parts, fmt.Sprintf("%s %.0f", c.name, c.us))
	}
	note := fmt.Sprintf("%d collectors: %s …; while looked at %.0f µs more", len(always), strings.Join(parts, ", "), total(looked))
	if len(off) > 0 {
		note += "; off: " + strings.Join(off, " ")
	}
	return row{
		what: fmt.Sprintf("one collection, %d processes", n), ours: fmt.Sprintf("%.2f ms", total(always)/1e3), note: note,
	}, nil
}

// collection is the median CPU time of one Collect, in µs, the first one left out: it is a baseline.
func collection(ctx context.Context, c collectors.Collector, n int) (float64, error) {
	if err := c.Start(ctx); err != nil {
		return 0, err
	}
	defer c.Close()
	const between = 5 * time.Millisecond // so that there is something to count
	var took []float64
	begun := time.Now()
	for i := range n + 1 {
		time.Sleep(between)
		before := ownTime()
		_, err := c.Collect(ctx, time.Since(begun))
		after := ownTime()
		if err != nil && !errors.Is(err, collectors.ErrWarming) {
			return 0, err
		}
		if i > 0 {
			took = append(took, float64((after-before).Nanoseconds())/1e3)
		}
	}
	return median(took), nil
}

// ownTime is the CPU time of this process, all threads: a collector may work beside its caller.
func ownTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}

// processes counts those there are.
func processes() int {
	n := 0
	list, _ := os.ReadDir("/proc")
	for _, e := range list {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			n++
		}
	}
	return n
}
