// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"debug/elf"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/bpf"
)

// TestMissedRuns reads a fake kernel: what it passed over while a row ran is lost, once.
func TestMissedRuns(t *testing.T) {
	kernel := map[string]uint64{"state_changed": 7, "exec_begun": 3}
	m := missedRuns{read: func(program string) uint64 { return kernel[program] }}
	rows := func(states ...State) []Probe {
		names := []string{"tcpconnect", "tcplife", "tcprtt"}
		out := make([]Probe, len(names))
		for i, name := range names {
			out[i] = Probe{Name: name, State: states[i], Lost: 2}
		}
		return out
	}
	m.begin(rows(Idle, Idle, Idle))
	type count struct{ Missed, Lost uint64 }
	for _, step := range []struct {
		name   string
		state  uint64 // runs of state_changed that were passed over
		read   uint64 // of received
		states []State
		want   []count
	}{
		{"what was before the start is another's", 7, 0, []State{On, On, On}, []count{{0, 2}, {0, 2}, {0, 2}}},
		{"a shared program counts once", 12, 1, []State{On, On, On}, []count{{5, 7}, {0, 2}, {1, 3}}},
		{"it stays", 12, 1, []State{Degraded, On, On}, []count{{5, 7}, {0, 2}, {1, 3}}},
		{"a row that is off counts nothing", 14, 1, []State{Off, On, Failed}, []count{{0, 2}, {2, 4}, {0, 2}}},
		{"a program loaded anew", 3, 1, []State{On, On, On}, []count{{8, 10}, {2, 4}, {1, 3}}},
	} {
		kernel["state_changed"], kernel["received"] = step.state, step.read
		got := rows(step.states...)
		m.add(got)
		var counts []count
		for _, p := range got {
			counts = append(counts, count{p.Missed, p.Lost})
		}
		if diff := cmp.Diff(step.want, counts); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	m.begin(rows(Idle, Idle, Idle))
	got := rows(On, On, On)
	if m.add(got); got[0].Missed != 0 {
		t.Errorf("started anew, %d are missed", got[0].Missed)
	}
	var nobody missedRuns
	nobody.begin(got)
	if nobody.add(got); got[0].Lost != 2 {
		t.Errorf("where nobody counts %d are lost, want 2", got[0].Lost)
	}
}

// TestMissedShown: the rows of a runner's snapshots say what its programs were not run for.
func TestMissedShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := uint64(0)
		c := &fakeCollector{meta: Meta{ID: CPUID}, rows: []Probe{{Name: killsnoop, State: On}}}
		x := runTrial(t, RunnerConfig{Collectors: []Collector{c}, Missed: func(program string) uint64 {
			if program != "signal_sent" {
				t.Errorf("asked for %s", program)
			}
			reads++
			return 100 + reads // one more with each reading
		}})
		snaps := x.at(5 * time.Second / 2)
		row := snaps[len(snaps)-1].Probes[CPUID][0]
		if want := uint64(len(snaps)); row.Missed != want || row.Lost != want {
			t.Errorf("after %d readings %d runs are missed and %d lost", want, row.Missed, row.Lost)
		}
		if err := x.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestMissedOfAll: no program is forgotten. The objects say which there are.
func TestMissedOfAll(t *testing.T) {
	known := ownMissed()
	for _, c := range All(bpf.Inspect(), NewFS(""), nil) {
		for _, p := range c.Probes() {
			known = append(known, programsOf(p.Name)...)
		}
	}
	var there []string
	objects, err := filepath.Glob("../bpf/*_bpfel.o")
	if err != nil || len(objects) == 0 {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	for _, path := range objects {
		there = append(there, tracing(t, path)...)
	}
	for _, name := range there {
		if !slices.Contains(known, name) {
			t.Errorf("no row tells when the kernel passes over %s", name)
		}
	}
	for _, name := range known {
		if !slices.Contains(there, name) {
			t.Errorf("there is no program %s", name)
		}
	}
}

// ownMissed are programs whose facades find out what is missed, raw_tp programs that nothing attaches, and
// the one of the profile: a CPU's timer does not interrupt itself, and no row tells of a command.
func ownMissed() []string {
	return []string{
		"block_ended", "block_fate_of", "symbols_named", "own_number", "own_level", "profile_sampled",
		"drop_placed", "drop_reasoned", "drop_udp", "drop_queue",
		"direct_begun", "direct_begun_flags", "direct_ended", "memcg_begun", "memcg_begun_flags", "memcg_ended",
		"compact_begun", "compact_ended", "compact_ended_numbers",
	}
}

// tracing lists the programs of an object that an event runs.
func tracing(t *testing.T, path string) (names []string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if elf.ST_TYPE(s.Info) != elf.STT_FUNC || elf.ST_BIND(s.Info) != elf.STB_GLOBAL || int(s.Section) >= len(f.Sections) {
			continue
		}
		kind, _, _ := strings.Cut(f.Sections[s.Section].Name, "/")
		if slices.Contains([]string{"tp_btf", "raw_tp", "fentry", "fexit", "tracepoint", "perf_event"}, kind) {
			names = append(names, s.Name)
		}
	}
	return names
}
