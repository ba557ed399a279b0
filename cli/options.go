// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bpf60/collectors"
	"bpf60/panes"
	"bpf60/triage"
)

// Bounds of the interval. Below the lower one the dashboard would measure mostly itself.
const (
	minInterval = 100 * time.Millisecond
	maxInterval = time.Minute
)

// options is what a command runs with, after flags, environment and files.
type options struct {
	Interval time.Duration
	Chosen   bool // the interval was: it does not change by itself
	BPF      bool
	Probes   []string // "+name" and "-name", in order
	Theme    string
	Color    string
	ASCII    bool
	Mouse    bool
	Keys     map[string][]string
	Panes    []string                 // that have a tab, in their order; nil: those with a digit
	Colors   map[string]string        // how styles of the theme look, by their name
	Columns  map[string]panes.Columns // by table
	Limits   triage.Limits            // that findings are judged by, where they are not the defaults
	PID      int32                    // what all panes are about from the start: a process,
	Cgroup   string                   // or a cgroup by its path; 0 and "": the whole host
	Scope    panes.Scope              // the same, when it has been looked for

	Wide     bool     // start the probes that wait for somebody to look, too
	Hold     []string // panes whose probes are held from the start: those of a report
	Warnings []string // of the configuration, one line each

	Each   func(*collectors.Snapshot) // gets every snapshot, for a recording; nil: nobody does
	Replay *collectors.Replay         // what is shown instead of this host; nil: this host
}

func defaults() options {
	return options{Interval: time.Second, BPF: true, Theme: "dark", Color: "auto", Mouse: true}
}

// colors are the values of --color.
func colors() []string { return []string{"auto", "always", "never", "16", "256", "true"} }

// flags are the common flags as they were given; a command has those that mean something to it.
type flags struct {
	interval time.Duration
	noBPF    bool
	probes   []string
	file     string
	theme    string
	color    string
	ascii    bool
	noMouse  bool
	pid      int32
	cgroup   string
}

// measuring are the common flags that mean something to a command that measures and prints.
func measuring() []string {
	return []string{"interval", "no-bpf", "probes", "pid", "cgroup", "config", "ascii"}
}

// meaningful are the common flags that mean something to a command. A recording has an interval and
// probes of its own; what prints text has no colours.
func meaningful(command string) []string {
	switch command {
	case "bpf60":
		return append(measuring(), "theme", "color", "no-mouse")
	case "replay":
		return []string{"pid", "cgroup", "config", "theme", "color", "ascii", "no-mouse"}
	case "profile":
		return []string{"pid", "cgroup", "config", "ascii"}
	case "doctor":
		return []string{"no-bpf", "probes", "config"}
	case "keys":
		return []string{"config"}
	case "config", "completion", "version":
		return nil
	}
	return measuring()
}

// common adds the common flags that are named, in the order that help lists them.
func (f *flags) common(set *pflag.FlagSet, themes, names []string) {
	d := defaults()
	set.SortFlags = false
	for _, x := range []struct {
		name string
		add  func(name string)
	}{
		{"interval", func(n string) {
			set.DurationVar(&f.interval, n, d.Interval, "`TIME` between two measurements")
		}},
		{"no-bpf", func(n string) { set.BoolVar(&f.noBPF, n, false, "use /proc alone") }},
		{"probes", func(n string) {
			set.StringSliceVar(&f.probes, n, nil, "`LIST` of probes to switch on and off: +name,-name")
		}},
		{"pid", func(n string) {
			set.Int32Var(&f.pid, n, 0, "show what process `N` does: every pane is about it")
		}},
		{"cgroup", func(n string) {
			set.StringVar(&f.cgroup, n, "", "show what the cgroup at `PATH` does: every pane is about it")
		}},
		{"config", func(n string) {
			set.StringVar(&f.file, n, "", "read this configuration `FILE` instead of your own")
		}},
		{"theme", func(n string) {
			set.StringVar(&f.theme, n, d.Theme, "`NAME` of the colours: "+strings.Join(themes, ", "))
		}},
		{"color", func(n string) {
			set.StringVar(&f.color, n, d.Color, "`WHEN` to colour: "+strings.Join(colors(), ", "))
		}},
		{"ascii", func(n string) { set.BoolVar(&f.ascii, n, false, "draw with ASCII characters only") }},
		{"no-mouse", func(n string) { set.BoolVar(&f.noMouse, n, false, "leave the mouse to the terminal") }},
	} {
		if slices.Contains(names, x.name) {
			x.add(x.name)
		}
	}
}

// options resolves flags over BPF60_* variables over the user's file over the system's. Problems
// of files are warnings, because a sick host must still be looked at; those of flags, variables
// and of a file named by --config are errors.
func (c *commands) options(cmd *cobra.Command) (options, error) {
	o := defaults()
	if err := c.files(&o, c.flags.file); err != nil {
		return o, err
	}
	if err := o.environment(c.env, &c.parts); err != nil {
		return o, err
	}
	given := cmd.Flags().Changed
	f := &c.flags
	set := func(key, value string) error {
		if !given(key) {
			return nil
		}
		if err := o.set(key, value, &c.parts); err != nil {
			return usagef("--%s: %v", key, err)
		}
		return nil
	}
	for _, kv := range [][2]string{
		{"interval", f.interval.String()},
		{"probes", strings.Join(f.probes, ",")},
		{"theme", f.theme},
		{"color", f.color},
	} {
		if err := set(kv[0], kv[1]); err != nil {
			return o, err
		}
	}
	o.Chosen = o.Chosen || given("interval")
	if o.PID, o.Cgroup = f.pid, f.cgroup; given("pid") && o.PID <= 0 {
		return o, usagef("--pid: %d is no process: `pgrep -a NAME` finds numbers", o.PID)
	}
	if given("pid") && given("cgroup") {
		return o, usagef("--pid and --cgroup: use one of them, every pane is about one thing")
	}
	if given("ascii") {
		o.ASCII = f.ascii
	}
	if given("no-mouse") {
		o.Mouse = !f.noMouse
	}
	if given("no-bpf") {
		o.BPF = !f.noBPF
	}
	return o, nil
}

// scalars are the keys that a BPF60_* variable can set.
func scalars() []string {
	return []string{"interval", "theme", "color", "ascii", "mouse", "probes", "panes"}
}

func (o *options) environment(env func(string) string, p *parts) error {
	for _, key := range scalars() {
		name := "BPF60_" + strings.ToUpper(key)
		value := env(name)
		if value == "" {
			continue
		}
		if err := o.set(key, value, p); err != nil {
			return usagef("%s: %v", name, err)
		}
	}
	return nil
}

// set gives one scalar a value as text. The message names what would be valid.
func (o *options) set(key, value string, p *parts) error {
	switch key {
	case "interval":
		d, err := time.ParseDuration(value)
		if err != nil || d < minInterval || d > maxInterval {
			return fmt.Errorf("%q is no interval: use %v to %v, such as 1s", value, minInterval, maxInterval)
		}
		o.Interval = d
		o.Chosen = d != defaults().Interval // a printed default that was kept is no choice
	case "theme":
		if err := oneOf("theme", value, p.themes); err != nil {
			return err
		}
		o.Theme = value
	case "color":
		if err := oneOf("value", value, colors()); err != nil {
			return err
		}
		o.Color = value
	case "ascii", "mouse":
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		if key == "ascii" {
			o.ASCII = b
		} else {
			o.Mouse = b
		}
	case "probes":
		list := strings.Split(value, ",")
		if err := checkProbes(list, p.probes); err != nil {
			return err
		}
		o.Probes = list
	case "panes":
		list := strings.Split(value, ",")
		for _, id := range list {
			if err := oneOf("pane", id, p.panes); err != nil {
				return err
			}
		}
		o.Panes = list
	default:
		return fmt.Errorf("unknown key %q: use %s", key, strings.Join(scalars(), ", "))
	}
	return nil
}

// unset gives a list its default, which a file before may have changed; false if key is no list.
func (o *options) unset(key string) bool {
	switch d := defaults(); key {
	case "probes":
		o.Probes = d.Probes
	case "panes":
		o.Panes = d.Panes
	default:
		return false
	}
	return true
}

func checkProbes(list, valid []string) error {
	for _, item := range list {
		if !strings.HasPrefix(item, "+") && !strings.HasPrefix(item, "-") {
			return fmt.Errorf("%q needs a sign: +%s switches it on, -%s off", item, item, item)
		}
		if !slices.Contains(valid, item[1:]) {
			return fmt.Errorf("unknown probe %q: use %s", item[1:], strings.Join(valid, ", "))
		}
	}
	return nil
}
