// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
)

// fd is one open file of a process that belongs to BPF or perf.
type fd struct {
	kind string         // bpf-prog, bpf_link, bpf-link, [perf_event] …
	prog ebpf.ProgramID // of a program or a link; else 0
}

// bpfFiles lists what a process holds of BPF.
func bpfFiles(pid int) ([]fd, error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	list, err := os.ReadDir(dir + "fd")
	if err != nil {
		return nil, fmt.Errorf("listing open files: %w", err)
	}
	var out []fd
	for _, e := range list {
		if kind := kindOf(dir, e.Name()); kind != "" {
			out = append(out, fd{kind: kind, prog: programOf(dir, e.Name())})
		}
	}
	return out, nil
}

// kindOf is what an open file is if it has no name; else "".
func kindOf(dir, number string) string {
	name, err := os.Readlink(dir + "fd/" + number)
	kind, ok := strings.CutPrefix(name, "anon_inode:")
	if err != nil || !ok {
		return ""
	}
	return kind
}

// programOf is the program that an open file is, or is a link of; else 0.
func programOf(dir, number string) ebpf.ProgramID {
	text, _ := os.ReadFile(dir + "fdinfo/" + number)
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "prog_id:"); ok {
			id, _ := strconv.ParseUint(strings.TrimSpace(v), 10, 32)
			return ebpf.ProgramID(id)
		}
	}
	return 0
}

// attaches says whether a kind of file makes a program run: a link, or a perf event.
func attaches(kind string) bool {
	return kind == "bpf_link" || kind == "bpf-link" || kind == "[perf_event]"
}

// attached counts a process's links and perf events: what makes its programs run.
func attached(pid int) int {
	files, _ := bpfFiles(pid)
	n := 0
	for _, f := range files {
		if attaches(f.kind) {
			n++
		}
	}
	return n
}

// counters are the kernel's statistics of programs.
type counters map[string]counter

type counter struct{ runs, ns float64 }

// programs are the programs that a process holds, open for as long as they are measured.
type programs []*ebpf.Program

func programsOf(pid int) (programs, error) {
	files, err := bpfFiles(pid)
	if err != nil {
		return nil, err
	}
	var out programs
	seen := map[ebpf.ProgramID]bool{0: true}
	for _, f := range files {
		if seen[f.prog] {
			continue
		}
		seen[f.prog] = true
		p, err := ebpf.NewProgramFromID(f.prog)
		if err != nil {
			out.close()
			return nil, fmt.Errorf("opening program %d: %w", f.prog, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func (p programs) close() {
	for _, prog := range p {
		prog.Close()
	}
}

// read takes the statistics, by the program's name.
func (p programs) read() (counters, error) {
	out := counters{}
	for _, prog := range p {
		info, err := prog.Info()
		if err != nil {
			return nil, fmt.Errorf("reading a program's info: %w", err)
		}
		s, err := prog.Stats()
		if err != nil {
			return nil, fmt.Errorf("reading a program's statistics: %w", err)
		}
		out[info.Name] = counter{runs: float64(s.RunCount), ns: float64(s.Runtime)}
	}
	return out, nil
}

func (c counters) minus(o counters) counters {
	out := counters{}
	for name, v := range c {
		out[name] = counter{runs: v.runs - o[name].runs, ns: v.ns - o[name].ns}
	}
	return out
}

func (c counters) plus(o counters) counters {
	out := maps.Clone(c)
	for name, v := range o {
		out[name] = counter{runs: v.runs + c[name].runs, ns: v.ns + c[name].ns}
	}
	return out
}

func (c counters) without(names ...string) counters {
	out := maps.Clone(c)
	for _, n := range names {
		delete(out, n)
	}
	return out
}

// perSwitch is the run time of all programs for each run of the one that ran most: that is the one
// on sched_switch, and the others ran for the same switches.
func (c counters) perSwitch() float64 {
	var ns, runs float64
	for _, v := range c {
		ns += v.ns
		runs = max(runs, v.runs)
	}
	return ns / runs
}

// list says each program's nanoseconds per run.
func (c counters) list() string {
	var parts []string
	for name, v := range c {
		if v.runs > 0 {
			parts = append(parts, fmt.Sprintf("%s %.0f", name, v.ns/v.runs))
		}
	}
	return strings.Join(sorted(parts), ", ")
}
