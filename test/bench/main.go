// SPDX-License-Identifier: Apache-2.0

// Bench measures bpf60 against its budgets and prints one table. Wherever another tool does the
// same job, the figure is a ratio to that tool, run beside it in the same minutes: the machine's
// speed falls out of it. Every figure is a median, and what the same thing measured twice differs
// by (A/A) stands beside it.
//
// It fails only if a ratio is clearly missed. Absolute times are told against their budget, but a
// slow or busy machine is not our fault.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	path   string        // the program measured
	rounds int           // of each comparison
	span   time.Duration // of each comparison over time
	pair   string        // the programs whose event, or the host's state, has this in its name; empty: all
}

// part is one group of rows.
type part struct {
	name string
	rows func(options) ([]row, error)
}

func parts() []part {
	return []part{
		{"start", startRows},
		{"screen", byteRows},
		{"keys", keyRows},
		{"instant", instantRows},
		{"self", selfRows},
		{"checklist", checklistRows},
		{"recording", recordingRows},
		{"slowdown", slowdownRows},
		{"sched", func(o options) ([]row, error) { return schedRows(o.path, o.rounds) }},
		{"programs", pairRows},
		{"block", blockRows},
		{"scale", scaleRows},
		{"constants", constantRows},
	}
}

func main() {
	for arg, begin := range map[string]func([]string) error{stormArg: stormMain, workArg: workMain, echoArg: echoMain, activeArg: activeMain, fullArg: fullMain, holdArg: holdMain} {
		if len(os.Args) < 2 || os.Args[1] != arg {
			continue
		}
		if err := begin(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// Children end with the thread that started them, which must therefore be the one that lasts.
	runtime.LockOSThread()
	good, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if !good {
		fmt.Println("a ratio is clearly missed")
		os.Exit(1)
	}
}

func run() (good bool, err error) {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	var o options
	flag.StringVar(&o.path, "bpf60", "", "the program to measure (default: build it)")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each comparison, at least 3")
	flag.DurationVar(&o.span, "span", 30*time.Second, "length of comparisons over time")
	flag.StringVar(&o.pair, "pair", "", "of the parts programs and instant, what has this in its name; instant also takes STATE/GESTURE")
	only := flag.String("only", strings.Join(names, ","), "parts to measure")
	flag.Parse()
	chosen := strings.Split(*only, ",")
	for _, c := range chosen {
		if !slices.Contains(names, c) {
			return false, fmt.Errorf("no part %q: there are %s", c, strings.Join(names, ", "))
		}
	}
	o.rounds = max(o.rounds, 3)
	if o.path == "" {
		dir, err := os.MkdirTemp("", "bpf60-bench-")
		if err != nil {
			return false, err
		}
		defer os.RemoveAll(dir)
		interrupted := make(chan os.Signal, 1)
		signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
		go func() {
			<-interrupted
			os.RemoveAll(dir)
			os.Exit(1)
		}()
		if o.path, err = build(dir); err != nil {
			return false, err
		}
	}

	fmt.Println(describe())
	var rows []row
	for _, p := range parts() {
		if !slices.Contains(chosen, p.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s …\n", p.name)
		got, err := p.rows(o)
		if err != nil {
			got = []row{{what: p.name, ok: absent, note: "not measured: " + err.Error()}}
		}
		rows = append(rows, got...)
	}
	good = print(os.Stdout, rows)
	fmt.Println(describe())
	return good, nil
}
