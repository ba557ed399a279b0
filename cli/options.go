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
)

// Bounds of the interval. Below the lower one the dashboard would measure mostly itself.
const (
	minInterval = 100 * time.Millisecond
	maxInterval = time.Minute
)

// options is what a command runs with, after flags, environment and files.
type options struct {
	Interval time.Duration
	BPF      bool
	Probes   []string // "+name" and "-name", in order
	Theme    string
	Color    string
	ASCII    bool
	Mouse    bool
	Keys     map[string][]string

	Wide     bool     // start the probes that wait for somebody to look, too
	Hold     []string // panes whose probes are held from the start: those of a report
	Warnings []string // of the configuration, one line each
}

func defaults() options {
	return options{Interval: time.Second, BPF: true, Theme: "dark", Color: "auto", Mouse: true}
}

// colors are the values of --color.
func colors() []string { return []string{"auto", "always", "never", "16", "256", "true"} }

// flags are the common flags as they were given.
type flags struct {
	interval time.Duration
	noBPF    bool
	probes   []string
	file     string
	theme    string
	color    string
	ascii    bool
	noMouse  bool
}

func (f *flags) common(set *pflag.FlagSet, themes []string) {
	d := defaults()
	set.SortFlags = false
	set.DurationVar(&f.interval, "interval", d.Interval, "`TIME` between two measurements")
	set.BoolVar(&f.noBPF, "no-bpf", false, "use /proc alone")
	set.StringSliceVar(&f.probes, "probes", nil, "`LIST` of probes to switch on and off: +name,-name")
	set.StringVar(&f.file, "config", "", "read this configuration `FILE` instead of your own")
	set.StringVar(&f.theme, "theme", d.Theme, "`NAME` of the colours: "+strings.Join(themes, ", "))
	set.StringVar(&f.color, "color", d.Color, "`WHEN` to colour: "+strings.Join(colors(), ", "))
	set.BoolVar(&f.ascii, "ascii", false, "draw with ASCII characters only")
	set.BoolVar(&f.noMouse, "no-mouse", false, "leave the mouse to the terminal")
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
func scalars() []string { return []string{"interval", "theme", "color", "ascii", "mouse", "probes"} }

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
	default:
		return fmt.Errorf("unknown key %q: use %s", key, strings.Join(scalars(), ", "))
	}
	return nil
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
