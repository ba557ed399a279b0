// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/exp/golden"

	"bpf60/collectors"
)

// addRuns makes what the kernel timed of our programs in the second, and the rows of the probes count.
func addRuns(s *story, _ load, snap *collectors.Snapshot) {
	row := collectors.Probe{Name: "bpf-stats", State: collectors.On, Hook: "BPF_ENABLE_STATS"}
	timed := s.kind != "denied"
	if !timed {
		row.State, row.Reason, row.Remedy = collectors.Degraded, "needs CAP_SYS_ADMIN, to have the kernel time BPF programs", "run sudo bpf60"
	}
	snap.Probes[collectors.RunsID] = []collectors.Probe{row}
	if snap.Sched == nil {
		return
	}
	n := snap.Sched.Host.Switches
	r := &collectors.Runs{Span: snap.Sched.Span, Timed: timed, Programs: []collectors.ProgramRuns{
		{Name: "queue_sampled", Count: uint64(99 * len(snap.Sched.CPUs)), Time: 800 * time.Nanosecond * time.Duration(99*len(snap.Sched.CPUs))},
		{Name: "sched_moved", Count: n / 50, Time: 90 * time.Nanosecond * time.Duration(n/50)},
		{Name: "sched_switched", Count: n, Time: 151 * time.Nanosecond * time.Duration(n)},
		{Name: "tasks_listed", Count: 412, Time: 412 * 400 * time.Nanosecond},
	}}
	if s.kind == "lossy" {
		r.Programs[2].Missed = 12
	}
	if !timed {
		for i := range r.Programs {
			r.Programs[i].Count, r.Programs[i].Time = 0, 0
		}
	}
	snap.Runs = r
	rows := snap.Probes[collectors.SchedID]
	counted := make([]collectors.Probe, len(rows))
	copy(counted, rows)
	for i := range counted {
		if counted[i].Name == "runqlat" {
			counted[i].Events = snap.Sched.WaitTotal.Count()
		}
	}
	snap.Probes[collectors.SchedID] = counted
}

func TestProbesScreens(t *testing.T) {
	for name, f := range frames() {
		for state, keys := range map[string][]string{
			"programs": {"0", "t"},
			"page":     {"0", "down", "enter"},
		} {
			if name == "empty" && state == "page" {
				continue // there is nothing to open
			}
			t.Run(fmt.Sprintf("%s/%s/80x24", name, state), func(t *testing.T) {
				r := resize(root(f), 80, 24)
				press(r, keys...)
				out := r.View()
				fits(t, out, 80, 24)
				golden.RequireEqual(t, ansi.Strip(out))
			})
		}
	}
}

// probing is a frame of two moments, five seconds apart, with a probe each.
func probing(before, after collectors.Probe) Frame {
	s := newStory("busy", "h", 2, time.Hour)
	for range 6 {
		s.second(idleLoad(0))
	}
	f := s.frame()
	for i := range f.Past {
		f.Past[i].Probes = map[collectors.ID][]collectors.Probe{"x": {before}}
	}
	f.Past[len(f.Past)-1].Probes = map[collectors.ID][]collectors.Probe{"x": {after}}
	f.Now = f.Past[len(f.Past)-1]
	return f
}

func TestProbeRates(t *testing.T) {
	on := func(events uint64) collectors.Probe {
		return collectors.Probe{Name: "x", State: collectors.On, Hook: "tp_btf x", Events: events, NsPerEvent: 200}
	}
	tests := map[string]struct {
		before, after collectors.Probe
		rate, cost    string
	}{
		"counts":         {on(1000), on(501_000), "100000", "2.00"},
		"stands":         {on(1000), on(1000), "0", "0.00"},
		"attached anew":  {on(1000), on(500), "100", "0.00"},
		"off":            {on(1000), collectors.Probe{Name: "x", Hook: "tp_btf x"}, "-", "-"},
		"reads files":    {collectors.Probe{Name: "x", State: collectors.On, Hook: "/proc/stat"}, collectors.Probe{Name: "x", State: collectors.On, Hook: "/proc/stat"}, "-", "-"},
		"cost elsewhere": {on(0), collectors.Probe{Name: "x", State: collectors.On, Hook: "tp_btf x", Events: 50}, "10", "-"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			table := NewProbes().Table(probing(tt.before, tt.after))
			if len(table.Rows) != 1 {
				t.Fatalf("%d rows, want 1", len(table.Rows))
			}
			cells := table.Rows[0].Cells
			if rate, cost := cells[3].Format(0), cells[5].Format(2); rate != tt.rate || cost != tt.cost {
				t.Errorf("%s events/s, %s %% of a CPU; want %s, %s", rate, cost, tt.rate, tt.cost)
			}
		})
	}
}

// What is selected says why it is off, and what would help, also on the status line.
func TestProbesSayWhy(t *testing.T) {
	off := collectors.Probe{Name: "fentry", State: collectors.Off, Hook: "fentry vfs_read", Reason: "EPERM at load", Remedy: "a kernel with CONFIG_KPROBES"}
	f := probing(off, off)
	p := NewProbes()
	c := Canvas{Width: 80, Height: 20, Theme: plain()}
	for what, said := range map[string]string{"view": ansi.Strip(p.View(f, c)), "status": p.Describe(f)} {
		for _, want := range []string{"EPERM at load", "CONFIG_KPROBES"} {
			if !strings.Contains(said, want) {
				t.Errorf("the %s does not say %q:\n%s", what, want, said)
			}
		}
	}
}
