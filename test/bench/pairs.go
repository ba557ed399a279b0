// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// pair is a subject of ours beside the tool of libbpf-tools that measures the same thing.
type pair struct {
	event string // what is counted
	load  string // the work that makes it: one of loads
	open  func(*bpf.Kernel) (io.Closer, error)
	peer  []string // the tool and its arguments
	hooks []string // of ours, where they are most of the cost: what empty programs take there is told
}

// pairs are the programs that both have and that this kernel lets both attach.
func pairs() []pair {
	execs := func(parts bpf.ExecParts) func(*bpf.Kernel) (io.Closer, error) {
		return func(k *bpf.Kernel) (io.Closer, error) { return bpf.OpenExec(k, parts) }
	}
	signals := func(k *bpf.Kernel) (io.Closer, error) { return bpf.OpenSignal(k) }
	calls := func(parts bpf.SyscallParts) func(*bpf.Kernel) (io.Closer, error) {
		return func(k *bpf.Kernel) (io.Closer, error) { return openCalls(k, parts) }
	}
	states := func(k *bpf.Kernel) (io.Closer, error) { return bpf.OpenFlow(k, bpf.FlowParts{State: true}) }
	return []pair{
		{"an exec", "exec loop", execs(bpf.ExecParts{Exec: true}), []string{"execsnoop"}, nil},
		{"an exit", "exec loop", execs(bpf.ExecParts{Exit: true}), []string{"exitsnoop"}, nil},
		{"a signal", "signals", signals, []string{"sigsnoop"}, nil},
		{"a system call", "getppid loop", calls(bpf.SyscallCount), []string{"syscount", "-P"}, nil},
		{"a system call, timed", "getppid loop", calls(bpf.SyscallCount | bpf.SyscallTime), []string{"syscount", "-L", "-P"}, []string{"sys_enter", "sys_exit"}},
		{"an open and its close", "open loop", calls(bpf.SyscallOpen), []string{"opensnoop"}, nil},
		{"a TCP connection's states", "TCP connections", states, []string{"tcpstates"}, nil},
		{"a TCP connection's life", "TCP connections", states, []string{"tcplife"}, nil},
		{"a softirq", "loopback TCP", func(k *bpf.Kernel) (io.Closer, error) { return bpf.OpenSoftirqs(k) }, []string{"softirqs", "-d"}, []string{"softirq_entry", "softirq_exit"}},
		{"an interrupt", "4 KiB random I/O", func(k *bpf.Kernel) (io.Closer, error) { return bpf.OpenHardirqs(k) }, []string{"hardirqs", "-d"}, nil},
		{"time off the CPU", "switch ping-pong", func(k *bpf.Kernel) (io.Closer, error) {
			return bpf.OpenOffCPU(k, bpf.OffParts{Host: true, Stacks: time.Millisecond})
		}, []string{"offcputime"}, nil},
		{"one process's latency", "switch ping-pong", func(k *bpf.Kernel) (io.Closer, error) {
			o, err := bpf.OpenOffCPU(k, bpf.OffParts{Stacks: time.Millisecond})
			if err != nil {
				return nil, err
			}
			_, err = o.Narrow([]bpf.Filter{{Kind: bpf.FilterProcess, ID: uint64(os.Getpid())}})
			if err != nil {
				return nil, errors.Join(err, o.Close())
			}
			return o, nil
		}, []string{"cpudist", "-O", "-p", strconv.Itoa(os.Getpid())}, nil},
	}
}

// tool is a tool of libbpf-tools where it finds tracefs.
func tool(argv []string) (*exec.Cmd, error) {
	path, err := find(argv[0])
	if err != nil {
		return nil, err
	}
	// Its mounts are its own. Each word execs the next: the child is the tool in the end.
	script := `mount -t tracefs nodev /sys/kernel/tracing 2>/dev/null; exec "$0" "$@"`
	cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", script, path}, argv[1:]...)...)
	cmd.SysProcAttr = mortal()
	return cmd, nil
}

// startTool starts a tool of libbpf-tools where it finds tracefs, and returns when it is attached.
func startTool(argv []string) (*exec.Cmd, error) {
	cmd, err := tool(argv)
	if err != nil {
		return nil, err
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", argv[0], err)
	}
	// It attaches one program after the other: when nothing comes any more, it is done.
	have, since := 0, time.Now()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if n := attached(cmd.Process.Pid); n != have {
			have, since = n, time.Now()
		}
		if have > 0 && time.Since(since) > 500*time.Millisecond {
			return cmd, nil
		}
	}
	stop(cmd)
	return nil, fmt.Errorf("starting %s: it did not attach: %s", argv[0], strings.TrimSpace(said.String()))
}

// ran is the run time of a process's programs under a load, for each of its operations, in ns.
func ran(pid int, w work) (ns float64, by counters, err error) {
	progs, err := programsOf(pid)
	if err != nil {
		return 0, nil, err
	}
	defer progs.close()
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return 0, nil, fmt.Errorf("switching BPF statistics on: %w", err)
	}
	defer stats.Close()
	before, err := progs.read()
	if err != nil {
		return 0, nil, err
	}
	if _, err := do(w.name); err != nil {
		return 0, nil, err
	}
	after, err := progs.read()
	if err != nil {
		return 0, nil, err
	}
	d := after.minus(before)
	for _, c := range d {
		ns += c.ns
	}
	return ns / float64(w.n+max(w.n/10, 1)), d, nil
}

// once measures ours or the peer's.
func (p pair) once(w work, ours bool) (float64, counters, error) {
	if ours {
		return held(func() (io.Closer, error) { return p.open(bpf.Inspect()) }, w)
	}
	cmd, err := startTool(p.peer)
	if err != nil {
		return 0, nil, err
	}
	defer stop(cmd)
	return ran(cmd.Process.Pid, w)
}

// held measures programs of this process.
func held(open func() (io.Closer, error), w work) (float64, counters, error) {
	f, err := open()
	if err != nil {
		return 0, nil, fmt.Errorf("opening ours: %w", err)
	}
	defer f.Close()
	return ran(os.Getpid(), w)
}

// programBudget is what our program may take of the other's run time for the same events.
const programBudget = 0.5

// work is what makes the events.
func (p pair) work() (work, error) {
	for _, x := range loads() {
		if x.name == p.load {
			return x, nil
		}
	}
	return work{}, fmt.Errorf("no work %q", p.load)
}

// row compares the two, round by round.
func (p pair) row(n int) (row, error) {
	w, err := p.work()
	if err != nil {
		return row{}, err
	}
	var ours, again, theirs []float64
	var floors [2][]float64 // empty programs, and such as read the clock
	by := [2]counters{{}, {}}
	for range n {
		for i := range floors {
			if len(p.hooks) == 0 {
				continue
			}
			ns, _, err := held(func() (io.Closer, error) { return openEmpties(p.hooks, i == 1) }, w)
			if err != nil {
				return row{}, err
			}
			floors[i] = append(floors[i], ns)
		}
		for i, into := range []*[]float64{&ours, &theirs, &again} {
			ns, c, err := p.once(w, i != 1)
			if err != nil {
				return row{}, err
			}
			*into = append(*into, ns)
			by[i%2] = c.plus(by[i%2])
		}
	}
	us, them := median(append(ours, again...)), median(theirs)
	noise := differ(median(ours), median(again))
	r := row{
		what: "run time for " + p.event, ours: fmt.Sprintf("%.0f ns", us), peer: fmt.Sprintf("%.0f ns", them),
		note: fmt.Sprintf("beside libbpf-tools' %s under %s; A/A %.0f %%; %s | %s",
			filepath.Base(p.peer[0]), p.load, 100*noise, by[0].list(), by[1].list()),
	}
	if len(p.hooks) == 0 {
		return r.against(us, them, programBudget, noise), nil
	}
	empty, clock := median(floors[0]), median(floors[1])
	r.note += fmt.Sprintf("; empty programs on these hooks take %.0f ns, %.2f of theirs, and such as read the clock %.0f, %.2f",
		empty, empty/them, clock, clock/them)
	if clock < programBudget*them {
		r.note += fmt.Sprintf("; net of the empty ones %.2f", (us-empty)/(them-empty))
		return r.against(us, them, programBudget, noise), nil
	}
	// Nobody who takes the time between these hooks could keep the budget: what is judged is the rest.
	r.note += fmt.Sprintf("; in all %.2f, what stands here is net of hooks and clock", us/them)
	return r.against(us-clock, them-clock, programBudget, noise*us/(us-clock)), nil
}

func pairRows(o options) ([]row, error) {
	var rows []row
	for _, p := range pairs() {
		if !strings.Contains(p.event, o.pair) {
			continue
		}
		r, err := p.row(min(o.rounds, 3))
		if err != nil {
			r = row{what: "run time for " + p.event, ok: absent, note: "not measured: " + err.Error()}
		}
		rows = append(rows, r)
	}
	return rows, nil
}
