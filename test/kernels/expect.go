// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
)

// expectation is the checked-in table: what every probe must be everywhere, and which tests may
// be skipped where. Everything else is a failure, so a fallback that is taken without need, or no
// longer taken, cannot go unseen.
type expectation struct {
	cells map[at]want
	skips map[at]bool // only kernel and probe are set; probe is the test's name
}

// want is a cell of the table.
type want struct {
	state   string // what it may be: several with | where the time decides that an emulated machine takes
	hook    string // "*" is any
	counted bool   // events must have been counted: attached is not enough
}

const expectHeader = `# What every probe must be in every variant of every kernel of the matrix.
# Columns are two blanks apart. "!" behind a state: it must have counted events, too. "on|off": the time
# that the emulated machine takes decides; the hook "*" is any.
# "go run ./test/kernels -update" writes what it saw here; read the difference before you commit it.
#
`

// "both" stands for the two commands that show probes, "all" for every kernel of the matrix.
const both, all = "both", "all"

var columnGap = regexp.MustCompile(`\s{2,}`)

func parseExpectation(text string) (*expectation, error) {
	e := &expectation{cells: map[at]want{}, skips: map[at]bool{}}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f := columnGap.Split(line, -1)
		if f[0] == "skip" && len(f) == 3 {
			for _, k := range kernelNames(f[2]) {
				e.skips[at{kernel: k, probe: f[1]}] = true
			}
			continue
		}
		if len(f) != 6 {
			return nil, fmt.Errorf("line %d of the table: want 6 columns, or skip and 2: %q", n, line)
		}
		state, counted := strings.CutSuffix(f[3], "!")
		commands := []string{f[2]}
		if f[2] == both {
			commands = []string{"report", "doctor"}
		}
		for _, k := range kernelNames(f[5]) {
			for _, c := range commands {
				a := at{k, f[0], c, f[1]}
				if _, twice := e.cells[a]; twice {
					return nil, fmt.Errorf("line %d of the table: %s %s %s is there twice for %s", n, a.variant, a.probe, a.command, k)
				}
				e.cells[a] = want{state, strings.Trim(f[4], "-"), counted}
			}
		}
	}
	return e, nil
}

func kernelNames(s string) []string {
	if s != all {
		return strings.Split(s, ",")
	}
	var names []string
	for _, k := range matrix() {
		names = append(names, k.name)
	}
	return names
}

// sound adds a failure for every answer that is none, whatever the table says.
func (c *column) sound() {
	for _, a := range sortedPlaces(c.probes) {
		switch p := c.probes[a]; {
		case p.Reason == "" && p.State != "on":
			c.fail("%s %s, probe %s: is %s and does not say why", a.command, a.variant, a.probe, p.State)
		case a.command == "doctor" && onItsWay(p) && p.State == "off": // a report ends when its time is up
			c.fail("%s %s, probe %s: was still on its way at the end: %s", a.command, a.variant, a.probe, p.Reason)
		}
	}
}

// is says whether a probe is what is wanted.
func (w want) is(p probe) bool {
	return slices.Contains(strings.Split(w.state, "|"), p.State) && (w.hook == "*" || p.Hook == w.hook)
}

// late says whether a probe of a report is only not where the table has it because an emulated machine
// takes its time: a report ends after seconds, whether or not somebody has looked at a probe by then. It may
// be what doctor, which waits, finds, or still without an answer.
func (e *expectation) late(a at, p probe) bool {
	if a.command != "report" {
		return false
	}
	doctor := at{a.kernel, a.variant, "doctor", a.probe}
	return e.cells[doctor].is(p) || onItsWay(p)
}

// check adds a failure for every cell of c that differs, is missing or is not foreseen.
func (e *expectation) check(c *column) {
	for _, a := range sortedPlaces(c.probes) {
		p := c.probes[a]
		w, ok := e.cells[a]
		name := fmt.Sprintf("%s %s, probe %s", a.command, a.variant, a.probe)
		switch {
		case !ok:
			c.fail("%s: not in the table; it is %s by %q%s", name, p.State, p.Hook, because(p))
		case !w.is(p) && !e.late(a, p):
			c.fail("%s: is %s by %q, want %s by %q%s", name, p.State, p.Hook, w.state, w.hook, because(p))
		case w.counted && a.command == "report" && p.Events == 0:
			c.fail("%s: is %s by %q and counted nothing", name, p.State, p.Hook)
		}
	}
	for _, a := range sortedPlaces(e.cells) {
		if _, ok := c.probes[a]; !ok && a.kernel == c.kernel.name {
			c.fail("%s %s, probe %s: is missing", a.command, a.variant, a.probe)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.skipped)) {
		if !e.skips[at{kernel: c.kernel.name, probe: name}] {
			c.fail("test %s was skipped, and the table does not foresee it", name)
		}
	}
}

// unsettled begin the reasons of probes that are on their way. They are no answer.
func unsettled() []string {
	return []string{"not started", "starting for ", "no answer for ", "waiting for a second reading"}
}

func onItsWay(p probe) bool {
	return slices.ContainsFunc(unsettled(), func(s string) bool { return strings.HasPrefix(p.Reason, s) })
}

func because(p probe) string {
	if p.Reason == "" {
		return ""
	}
	return ": " + p.Reason
}

// update returns the table for what was seen. What the old one demanded beyond states stays.
func (e *expectation) update(columns []*column) string {
	type row struct{ variant, probe, state, hook string }
	seen := map[row]map[string][]string{} // kernels by command
	skips := map[string][]string{}
	for _, c := range columns {
		for _, a := range sortedPlaces(c.probes) {
			p := c.probes[a]
			r := row{a.variant, a.probe, p.State, cmp.Or(p.Hook, "-")}
			if w := e.cells[a]; w.is(p) {
				r.state, r.hook = w.state, cmp.Or(w.hook, "-")
				if w.counted {
					r.state += "!"
				}
			}
			if seen[r] == nil {
				seen[r] = map[string][]string{}
			}
			seen[r][a.command] = append(seen[r][a.command], a.kernel)
		}
		for name := range c.skipped {
			skips[name] = append(skips[name], c.kernel.name)
		}
	}
	var order []string
	for _, v := range variants() {
		order = append(order, v.name)
	}
	rows := slices.SortedFunc(maps.Keys(seen), func(a, b row) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.variant), slices.Index(order, b.variant)),
			cmp.Compare(a.probe, b.probe), cmp.Compare(a.state, b.state), cmp.Compare(a.hook, b.hook))
	})
	var b bytes.Buffer
	b.WriteString(expectHeader)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "# variant\tprobe\tcommand\tstate\thook\tkernels")
	for _, r := range rows {
		report, doctor := seen[r]["report"], seen[r]["doctor"]
		line := func(command string, kernels []string) {
			if len(kernels) > 0 {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.variant, r.probe, command, r.state, r.hook, joinKernels(kernels))
			}
		}
		if slices.Equal(report, doctor) {
			line(both, report)
			continue
		}
		line("report", report)
		line("doctor", doctor)
	}
	_ = w.Flush() // into memory
	for _, name := range slices.Sorted(maps.Keys(skips)) {
		fmt.Fprintf(&b, "skip  %s  %s\n", name, joinKernels(skips[name]))
	}
	return b.String()
}

func joinKernels(names []string) string {
	if len(names) == len(matrix()) {
		return all
	}
	return strings.Join(names, ",")
}

func sortedPlaces[V any](m map[at]V) []at {
	return slices.SortedFunc(maps.Keys(m), func(a, b at) int {
		return cmp.Or(cmp.Compare(a.variant, b.variant), cmp.Compare(a.command, b.command), cmp.Compare(a.probe, b.probe))
	})
}
