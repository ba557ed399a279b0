// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// most is how often everybody measures until all columns agree: a burst of somebody else's at the
// end of a window is gone the next time, a wrong number is not.
const most = 6

// compared is one cell beside ours.
type compared struct {
	tool, row, column string
	lo, hi            float64 // of all instances and readings
	ours              float64
	differs, allowed  float64
	state             found
}

func (c compared) ok() bool {
	return c.state == here && c.differs <= c.allowed
}

func (c compared) name() string { return strings.TrimSpace(c.tool + " " + c.row + " " + c.column) }

// How well we agree with the tools that everybody knows, on a host that works.
func TestCompare(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 10 s of load")
	}
	if os.Geteuid() != 0 {
		lacking(t, "pidstat -d and slabtop need root")
	}
	for _, i := range instances() {
		tool(t, i.argv[0])
	}
	dir := scratchDir(t)
	addSwap(t, filepath.Join(dir, "swap"))
	pids := startLoads(t, filepath.Join(dir, "scratch"))
	ready(t)

	var wrong map[string]bool
	for round := 1; ; round++ {
		seen, ours := measure(t)
		all, untold := compareAll(seen, ours, pids, required())
		now := map[string]bool{}
		hard := false
		for _, c := range all {
			if !c.ok() && (wrong == nil || wrong[c.name()]) {
				now[c.name()] = true
				hard = hard || c.state == noColumn || c.state == noPane
			}
		}
		wrong = now
		if len(wrong) > 0 && !hard && round < most {
			t.Logf("round %d: %d cells differ by more than is allowed; again: %s", round, len(wrong), list(wrong))
			continue
		}
		t.Log(table(all, untold, wrong))
		told := map[string]bool{}
		for _, c := range all {
			if !wrong[c.name()] {
				continue
			}
			if what := c.tool + c.column; c.state == noColumn || c.state == noPane {
				if told[what] {
					continue
				}
				told[what] = true
			}
			switch c.state {
			case here:
				t.Errorf("%s: ours is %.4g, theirs %.4g to %.4g: differs by %.3g, allowed are %.3g; the same in %d rounds",
					c.name(), c.ours, c.lo, c.hi, c.differs, c.allowed, round)
			case noColumn:
				t.Errorf("%s: the pane has no such column", c.name())
			case noRow:
				t.Errorf("%s: the pane has no such row", c.name())
			case noNumber:
				t.Errorf("%s: theirs is %.4g to %.4g, ours is missing", c.name(), c.lo, c.hi)
			case noPane:
				t.Errorf("%s: there is no such pane", c.name())
			}
		}
		return
	}
}

func list(set map[string]bool) string {
	var names []string
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// ready waits until the loads run at their rates: the last to do so are retransmissions, which come
// a second after what they repeat.
func ready(t *testing.T) {
	t.Helper()
	const enough = 5
	begun, before := time.Now(), retransmitted(t)
	for tick := time.NewTicker(beat); ; <-tick.C {
		if retransmitted(t) >= before+enough {
			return
		}
		if time.Since(begun) > time.Minute {
			t.Fatal("the loads do not get going: no retransmissions")
		}
	}
}

// retransmitted is RetransSegs of /proc/net/snmp.
func retransmitted(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	var head []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "Tcp:" {
			continue
		}
		if head == nil {
			head = f
			continue
		}
		if i := slices.Index(head, "RetransSegs"); i >= 0 && i < len(f) {
			n, err := strconv.ParseUint(f[i], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("/proc/net/snmp has no RetransSegs")
	return 0
}

// startOnTime starts a process that runs when it wants to, whatever else the host has to do: windows that
// begin and end late are other windows. Where real time is not to be had it runs like others.
func startOnTime(cmd *exec.Cmd) error {
	runtime.LockOSThread() // the child gets the policy of the thread that makes it
	defer runtime.UnlockOSThread()
	policy := func(policy, priority uint32) error {
		return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Priority: priority}, 0)
	}
	if err := policy(unix.SCHED_RR, 1); err != nil {
		return cmd.Start()
	}
	return errors.Join(cmd.Start(), policy(unix.SCHED_NORMAL, 0))
}

// measure runs all tools and the program over the same seconds. The result is by tool and row.
func measure(t *testing.T) (map[string]map[string][]record, report) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var (
		wg   sync.WaitGroup
		list = instances()
		outs = make([][]byte, len(list))
		errs = make([]error, len(list)+1)
		mine []byte
	)
	start := func(argv []string, env ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env = append(append(os.Environ(), "LC_ALL=C", "S_TIME_FORMAT=ISO", "S_COLORS=never", "TERM=dumb"), env...)
		var out, complaint bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &complaint
		err := startOnTime(cmd)
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			return nil, fmt.Errorf("running %s: %w: %s", strings.Join(argv, " "), err, complaint.String())
		}
		return out.Bytes(), nil
	}
	begun := time.Now()
	for i, inst := range list {
		wg.Go(func() {
			<-time.After(time.Duration(inst.at*float64(time.Second)) - time.Since(begun))
			outs[i], errs[i] = start(append([]string{tool(t, inst.argv[0])}, inst.argv[1:]...))
		})
	}
	wg.Go(func() {
		<-time.After(time.Duration(stagger/2*float64(time.Second)) - time.Since(begun)) // between two equal tools
		// Half a second more than the span, so that the last reading is in it.
		mine, errs[len(list)] = start([]string{os.Getenv(binaryVariable), "report", "--for", fmt.Sprint(span*time.Second + 500*time.Millisecond), "--format", "json"})
	})
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]map[string][]record{}
	for i, inst := range list {
		records := parse(string(outs[i]), inst.key)
		if inst.name == "ss" {
			records = parseSockets(string(outs[i]))
		}
		if inst.name == "vmstat" && len(records) > 1 {
			records = records[1:] // the first line is since boot
		}
		for _, r := range records {
			name := inst.name
			if name == "free" {
				if r.row != "Mem" {
					name += " " + r.row
				}
				r.row = "" // ours is no row
			}
			if seen[name] == nil {
				seen[name] = map[string][]record{}
			}
			seen[name][r.row] = append(seen[name][r.row], r)
		}
	}
	ours, err := readReport(mine)
	if err != nil {
		t.Fatal(err)
	}
	return seen, ours
}

// compareAll compares every column in every row. Untold are the columns of panes that are not
// built yet, by pane; those of the panes that must be there are among all.
func compareAll(seen map[string]map[string][]record, ours report, pids map[string]int, required []string) (all []compared, untold map[string][]string) {
	untold = map[string][]string{}
	for _, col := range columns() {
		if _, built := ours.Panes[col.pane]; !built && !slices.Contains(required, col.pane) {
			if s := col.tool + " " + col.name; !slices.Contains(untold[col.pane], s) {
				untold[col.pane] = append(untold[col.pane], s)
			}
			continue
		}
		for _, row := range rowsOf(col.tool, seen[col.tool], pids) {
			if c, ok := compareCell(col, row, seen[col.tool][row], ours); ok {
				all = append(all, c)
			}
		}
	}
	return all, untold
}

// compareCell is false where the tool of this version has no such column.
func compareCell(col column, row string, theirs []record, ours report) (compared, bool) {
	c := compared{tool: col.tool, row: row, column: col.name, lo: math.Inf(1), hi: math.Inf(-1)}
	ulp := 0.0
	for _, r := range theirs {
		if v, ok := r.cells[col.name]; ok {
			c.lo, c.hi, ulp = min(c.lo, v.value), max(c.hi, v.value), max(ulp, v.ulp)
		}
	}
	if c.lo > c.hi {
		return c, false
	}
	v, unit, state := ours.value(col.pane, keyOf(col.tool), row, col.ids)
	if state == noRow && c.lo == 0 && c.hi == 0 {
		return c, false // what does nothing is not listed
	}
	if state == noNumber && col.none && c.lo == 0 && c.hi == 0 {
		v, state = 0, here
	}
	if state == noNumber && col.maybe {
		return c, false
	}
	if col.total && ours.Seconds > 0 {
		v *= span / ours.Seconds
	}
	c.state, c.ours = state, convert(v, unit, col.unit)
	c.differs = max(c.lo-c.ours, c.ours-c.hi, 0)
	most := max(math.Abs(c.lo), math.Abs(c.hi))
	c.allowed = ulp + col.step
	if col.gauge {
		c.allowed += c.hi - c.lo + drift*most
	} else {
		c.allowed += shift * most
	}
	return c, true
}

// table is what was compared, as text.
func table(all []compared, untold map[string][]string, wrong map[string]bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "over %d s:\n%-11s %-18s %-10s %23s %12s %11s %11s\n", span, "tool", "row", "column", "theirs", "ours", "difference", "allowed")
	idle := map[string][]string{} // by tool and row: equal, and nothing happened
	var order []string
	for _, c := range all {
		if c.ok() && c.lo == 0 && c.hi == 0 && c.ours == 0 {
			at := strings.TrimSpace(c.tool + " " + c.row)
			if idle[at] == nil {
				order = append(order, at)
			}
			idle[at] = append(idle[at], c.column)
			continue
		}
		theirs := fmt.Sprintf("%.2f", c.lo)
		if c.hi > c.lo {
			theirs += fmt.Sprintf(" – %.2f", c.hi)
		}
		ours, differs, mark := "-", "-", ""
		if c.state == here {
			ours, differs = fmt.Sprintf("%.3f", c.ours), fmt.Sprintf("%.3f", c.differs)
		}
		switch {
		case wrong[c.name()]:
			mark = "  WRONG"
		case !c.ok():
			mark = "  not in every round"
		}
		fmt.Fprintf(&b, "%-11s %-18s %-10s %23s %12s %11s %11.3f%s\n", c.tool, c.row, c.column, theirs, ours, differs, c.allowed, mark)
	}
	for _, at := range order {
		fmt.Fprintf(&b, "0 in both: %s: %s\n", at, strings.Join(idle[at], " "))
	}
	for _, pane := range []string{"processes", "memory", "disk", "network", "tcp"} {
		if list := untold[pane]; len(list) > 0 {
			fmt.Fprintf(&b, "not built yet, pane %s: %s\n", pane, strings.Join(list, ", "))
		}
	}
	return b.String()
}
