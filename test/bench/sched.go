// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// watcher attaches something to the scheduler and says whose programs it is.
type watcher struct {
	name  string
	start func() (pid int, stop func(), err error)
}

// watched is what a watcher costs under storms, one value a round.
type watched struct {
	cost  []float64 // CPU time of a switch, statistics off, ns
	share []float64 // of the CPU that the storm had
	run   []float64 // run time of its programs for a switch, ns
	all   counters  // of all rounds
}

func nobody() watcher {
	return watcher{"none", func() (int, func(), error) { return 0, func() {}, nil }}
}

// shipped is bpf60 as a user starts it, on a terminal.
func shipped(path string, args ...string) watcher {
	return watcher{"bpf60", func() (int, func(), error) {
		p, err := play(80, 24, append([]string{path}, args...)...)
		if err != nil {
			return 0, nil, err
		}
		if err := p.settle(); err != nil {
			p.end()
			return 0, nil, err
		}
		return p.pid(), p.end, nil
	}}
}

func runqlat() watcher {
	return watcher{"runqlat", func() (int, func(), error) {
		cmd, err := startRunqlat()
		if err != nil {
			return 0, nil, err
		}
		return cmd.Process.Pid, func() { stop(cmd) }, nil
	}}
}

// method is one of our ways to measure waits, attached by this process.
func method(m bpf.Method) watcher {
	return watcher{m.String(), func() (int, func(), error) {
		s, err := bpf.OpenSched(bpf.Inspect(), bpf.SchedParts{From: m, Switch: true})
		if err != nil {
			return 0, nil, err
		}
		if s.Method() != m {
			err := fmt.Errorf("attaching %v: %v", m, s.Passed())
			s.Close()
			return 0, nil, err
		}
		return os.Getpid(), func() { s.Close() }, nil
	}}
}

// floor is a program that does nothing: what the statistics themselves read.
func floor() watcher {
	return watcher{"empty", func() (int, func(), error) {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Name: "empty", Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: "sched_switch",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}, License: "GPL",
		})
		if err != nil {
			return 0, nil, fmt.Errorf("loading an empty program: %w", err)
		}
		l, err := link.AttachTracing(link.TracingOptions{Program: p})
		if err != nil {
			p.Close()
			return 0, nil, fmt.Errorf("attaching an empty program: %w", err)
		}
		return os.Getpid(), func() { l.Close(); p.Close() }, nil
	}}
}

// others are the programs of bpf60 that do not run at a switch.
func others() []string { return []string{"queue_sampled", "tasks_listed"} }

// once watches two storms: one as users have it, one with the kernel's statistics.
func once(w watcher, into *watched) error {
	pid, stop, err := w.start()
	if err != nil {
		return err
	}
	defer stop()
	ns, share, err := storm()
	if err != nil {
		return err
	}
	into.cost, into.share = append(into.cost, ns), append(into.share, share)
	if pid == 0 {
		return nil
	}
	progs, err := programsOf(pid)
	if err != nil {
		return err
	}
	defer progs.close()
	// By a descriptor: the sysctl would stay on if we died.
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return fmt.Errorf("switching BPF statistics on: %w", err)
	}
	defer stats.Close()
	before, err := progs.read()
	if err != nil {
		return err
	}
	if _, _, err := storm(); err != nil {
		return err
	}
	after, err := progs.read()
	if err != nil {
		return err
	}
	d := after.minus(before)
	into.all = d.plus(into.all)
	into.run = append(into.run, d.without(others()...).perSwitch())
	return nil
}

// rounds runs all watchers in turn, n times, every second time in reverse.
func rounds(n int, watchers []watcher) ([]watched, error) {
	out := make([]watched, len(watchers))
	for round := range n {
		for i := range watchers {
			if round%2 == 1 {
				i = len(watchers) - 1 - i
			}
			if err := once(watchers[i], &out[i]); err != nil {
				return nil, fmt.Errorf("%s: %w", watchers[i].name, err)
			}
		}
	}
	return out, nil
}

// schedRows compares what a switch costs with us and with runqlat.
func schedRows(path string, n int) ([]row, error) {
	got, err := rounds(n, []watcher{nobody(), shipped(path), runqlat(), floor(), shipped(path), nobody()})
	if err != nil {
		return nil, err
	}
	none, ours, theirs, empty, again, still := got[0], got[1], got[2], got[3], got[4], got[5]
	run := func(w watched) float64 { return median(w.run) }
	ns := func(v float64) string { return fmt.Sprintf("%.0f ns", v) }
	noise := differ(run(ours), run(again))

	rows := []row{
		row{
			what: "run time per switch, all programs", ours: ns(run(ours)), peer: ns(run(theirs)),
			note: fmt.Sprintf("beside libbpf-tools' runqlat; A/A %.0f %%; %d rounds", 100*noise, n),
		}.against(run(ours), run(theirs), 0.25, noise),
		{what: "  of it by program", note: ours.all.without(others()...).list() + " | " + theirs.all.list()},
		{
			what: "  net of the floor", ours: ns(run(ours) - run(empty)), peer: ns(run(theirs) - 2*run(empty)),
			ratio: fmt.Sprintf("%.2f", (run(ours)-run(empty))/(run(theirs)-2*run(empty))),
			note:  fmt.Sprintf("the floor is an empty program: %.0f ns", run(empty)),
		},
	}

	base := median(none.cost)
	aa := median(paired(none.cost, still.cost))
	added := func(w watched) float64 { return median(paired(none.cost, w.cost)) }
	slower := func(v float64) string { return fmt.Sprintf("%+.0f ns %+.1f %%", v, 100*v/base) }
	return append(rows, row{
		what: "a switch of the storm takes longer", ours: slower(added(ours)), peer: slower(added(theirs)),
		note: fmt.Sprintf("A/A %s, ours again %s, empty program %s; of %.2f µs CPU time; the storm had %.0f %% of its CPU",
			slower(aa), slower(added(again)), slower(added(empty)), base/1e3, 100*median(none.share)),
	}), nil
}
