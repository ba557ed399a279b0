// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"bpf60/test/kernels/wire"
)

// probe is what a report or doctor says of one of its probes.
type probe struct {
	Name, State, Hook, Reason string
	Events, Lost              uint64
}

// at is a place in the matrix: one probe, seen by one command, in one variant of one kernel.
type at struct{ kernel, variant, command, probe string }

// column is all that one kernel gave.
type column struct {
	kernel   kernel
	pkg      pkg
	boots    []outcome
	probes   map[at]probe
	passed   int             // tests
	skipped  map[string]bool // tests, with their package
	flaked   []string        // what was good at a later try only
	failures []string
	ran      bool // every boot came to its end, in this kernel
}

func (c *column) fail(format string, a ...any) {
	c.failures = append(c.failures, fmt.Sprintf(format, a...))
}

// take judges one boot.
func (c *column) take(o outcome, p wire.Plan) {
	c.boots = append(c.boots, o)
	if o.err != nil {
		c.ran = false
		c.fail("boot %s: %v\n%s", o.boot.name, o.err, clip(o.console, 40))
	} else if !strings.Contains(c.pkg.name, "-"+o.release) || o.release == "" {
		c.ran = false
		c.fail("boot %s: it ran %q, not the kernel of %s", o.boot.name, o.release, c.pkg.name)
	}
	for _, s := range o.splats() {
		c.fail("boot %s: kernel log: %s", o.boot.name, s)
	}
	if o.err == nil && len(o.log) == 0 {
		c.fail("boot %s: no kernel log, so nobody knows whether it was clean", o.boot.name)
	}
	byName := map[string]wire.Result{}
	for _, r := range o.results {
		byName[r.Name] = r
	}
	for _, s := range p.Steps {
		r, ok := byName[s.Name]
		if !ok {
			if o.err == nil { // otherwise that says it
				c.ran = false
				c.fail("%s: no result", s.Name)
			}
			continue
		}
		c.takeStep(r)
	}
}

func (c *column) takeStep(r wire.Result) {
	for _, l := range r.Left {
		c.fail("%s: left in the kernel: %s", r.Name, l)
	}
	if r.Error != "" {
		c.fail("%s: %s", r.Name, r.Error)
		return
	}
	kind, name, _ := strings.Cut(r.Name, " ")
	switch kind + " " {
	case testStep:
		c.takeTests(name, r)
	case reportStep, doctorStep:
		if bad := ended(r); bad != "" {
			c.fail("%s: %s", r.Name, bad)
			return
		}
		probes, err := parseProbes(r.Stdout)
		if err != nil {
			c.fail("%s: %v", r.Name, err)
			return
		}
		if r.Tries > 1 {
			c.flaked = append(c.flaked, fmt.Sprintf("%s: its probes had answered at try %d", r.Name, r.Tries))
		}
		for _, p := range probes {
			c.probes[at{c.kernel.name, name, kind, p.Name}] = p
		}
	default: // killStep
		if r.Signal != "killed" || r.TimedOut {
			c.fail("%s: it ended by itself: exit code %d\n%s", r.Name, r.Code, r.Stderr)
		}
		if r.Peak.Programs == 0 || r.Peak.Links == 0 || r.Peak.Events == 0 {
			c.fail("%s: it held %d programs, %d links and %d perf events before its end, so nothing was checked",
				r.Name, r.Peak.Programs, r.Peak.Links, r.Peak.Events)
		}
	}
}

// ended says how a step failed, or "".
func ended(r wire.Result) string {
	said := "\n" + clip(string(r.Stderr)+"\n"+string(r.Stdout), 80)
	switch {
	case r.TimedOut:
		return fmt.Sprintf("not done within %.0f s%s", r.Seconds, said)
	case r.Signal != "":
		return "ended by signal: " + r.Signal + said
	case r.Code != 0:
		return fmt.Sprintf("exit code %d%s", r.Code, said)
	}
	return ""
}

// clip keeps the first and the last lines of a long text.
func clip(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	if n := len(all) - lines; n > 0 {
		all = slices.Concat(all[:lines/2], []string{fmt.Sprintf("… %d lines …", n)}, all[len(all)-lines/2:])
	}
	return strings.Join(all, "\n")
}

func parseProbes(b []byte) ([]probe, error) {
	var doc struct{ Probes []probe }
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("reading its JSON: %w: %.200q", err, b)
	}
	if len(doc.Probes) == 0 {
		return nil, errors.New("its JSON names no probe")
	}
	seen := map[string]bool{}
	for _, p := range doc.Probes {
		if p.Name == "" || seen[p.Name] {
			return nil, fmt.Errorf("its JSON names probe %q twice or not at all", p.Name)
		}
		seen[p.Name] = true
	}
	return doc.Probes, nil
}

// verdict matches the line that ends a test: "    --- SKIP: TestX/sub (0.00s)".
var verdict = regexp.MustCompile(`(?m)^ *--- (PASS|FAIL|SKIP): (\S+) \(`)

func (c *column) takeTests(pkg string, r wire.Result) {
	n := 0
	var bad []string
	last := map[string]string{}
	for _, m := range verdict.FindAllSubmatch(r.Stdout, -1) {
		name := pkg + "." + string(m[2])
		if last[name] == "FAIL" && string(m[1]) == "PASS" {
			c.flaked = append(c.flaked, name+" passed at the second try")
		}
		last[name] = string(m[1])
	}
	for _, name := range slices.Sorted(maps.Keys(last)) {
		switch last[name] {
		case "PASS":
			n++
		case "SKIP":
			c.skipped[name] = true
		case "FAIL":
			bad = append(bad, name)
		}
	}
	c.passed += n
	switch say := ended(r); {
	case say != "":
		c.fail("%s: %s: %s", r.Name, strings.Join(bad, ", "), say)
	case len(bad) > 0: // cannot be: the exit code is 1 then
		c.fail("%s: %s failed and the exit code is 0", r.Name, strings.Join(bad, ", "))
	case n == 0:
		c.fail("%s: no test passed", r.Name)
	}
}
