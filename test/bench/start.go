// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Budgets of the start, ms, on a host that is idle.
const (
	frameBudget  = 100
	attachBudget = 500
)

// startPeers are programs of libbpf-tools that see a part of what ours do from the start on.
func startPeers() []string { return []string{"runqlat", "biolatency", "execsnoop"} }

// startRows: from the start of the process to the first whole frame and to the first with numbers, beside
// htop; and until each default probe is attached, beside three tools that are started at once.
func startRows(o options) ([]row, error) {
	frames, err := frameRows(o)
	if err != nil {
		return nil, err
	}
	probes, err := attachRows(o)
	return append(frames, probes...), err
}

func frameRows(o options) ([]row, error) {
	htop, err := find("htop")
	if err != nil {
		return nil, err
	}
	begun := pressureNow()
	var frame, numbers, peer []float64
	for range 2*o.rounds + 1 {
		p, err := play(80, 24, o.path)
		if err != nil {
			return nil, err
		}
		at, err := p.until("the first frame", complete)
		then, err2 := p.until("the first numbers", measured)
		p.end()
		if err := errors.Join(err, err2); err != nil {
			return nil, err
		}
		frame = append(frame, ms(at.Sub(p.started)))
		numbers = append(numbers, ms(then.Sub(p.started)))

		h, err := play(80, 24, htop)
		if err != nil {
			return nil, err
		}
		at, err = h.until("the first frame", complete)
		h.end()
		if err != nil {
			return nil, err
		}
		peer = append(peer, ms(at.Sub(h.started)))
	}
	return []row{
		row{
			what: "first frame", ours: whole(frame), peer: whole(peer), ratio: fmt.Sprintf("%.2f", median(frame)/median(peer)),
			note: "beside htop; " + spread(frame),
		}.below(median(frame), frameBudget, fmt.Sprintf("%d ms", frameBudget)).busySince(begun),
		row{what: "first frame with numbers", ours: whole(numbers), note: spread(numbers)}.
			below(median(numbers), frameBudget, fmt.Sprintf("%d ms", frameBudget)).busySince(begun),
	}, nil
}

func whole(v []float64) string { return fmt.Sprintf("%.0f ms", median(v)) }

func spread(v []float64) string {
	return fmt.Sprintf("%.0f–%.0f ms, %d starts", quantile(v, 0), quantile(v, 1), len(v))
}

func attachRows(o options) ([]row, error) {
	begun := pressureNow()
	var ours, cpu, theirs, peerCPU []float64
	each := map[string][]float64{}
	links, peerLinks := 0, 0
	for range o.rounds {
		p, err := play(80, 24, o.path)
		if err != nil {
			return nil, err
		}
		s := watchStart(p.started, p.pid())
		p.end()
		ours, cpu, links = append(ours, ms(s.all)), append(cpu, ms(s.cpu)), s.links
		for name, at := range s.programs {
			each[name] = append(each[name], ms(at))
		}
		t, err := startTools(startPeers())
		if err != nil {
			return nil, err
		}
		theirs, peerCPU, peerLinks = append(theirs, ms(t.all)), append(peerCPU, ms(t.cpu)), t.links
	}
	tools := strings.Join(startPeers(), ", ")
	if links == 0 || peerLinks == 0 {
		return nil, fmt.Errorf("seen %d links of ours and %d of %s", links, peerLinks, tools)
	}
	rows := []row{row{
		what: "default probes attached", ours: whole(ours), peer: whole(theirs),
		ratio: fmt.Sprintf("%.2f", median(ours)/median(theirs)),
		note: fmt.Sprintf("%s; %d links and %.0f ms of CPU, all else of the start included; beside %s at once: %d and %.0f ms",
			spread(ours), links, median(cpu), tools, peerLinks, median(peerCPU)),
	}.below(median(ours), attachBudget, fmt.Sprintf("%d ms", attachBudget)).busySince(begun)}
	for _, name := range slices.SortedFunc(maps.Keys(each), func(a, b string) int {
		return cmp.Or(cmp.Compare(median(each[a]), median(each[b])), cmp.Compare(a, b))
	}) {
		rows = append(rows, row{what: "  " + name, ours: whole(each[name])})
	}
	return rows, nil
}

// started is what was seen of the start of processes.
type started struct {
	all      time.Duration // from the start to the last link
	cpu      time.Duration // of all processes until then
	links    int
	programs map[string]time.Duration // from the start to the program's link, by its name in the kernel
}

// starting watches processes from their start on.
type starting struct {
	began  time.Time
	pids   []int
	files  map[string]bool // that are links, by process and number
	linked map[ebpf.ProgramID]time.Duration
	seen   started
}

// watchStart looks every few milliseconds at what processes have attached, until nothing has been added for
// a while.
func watchStart(began time.Time, pids ...int) started {
	const every, still, most = 3 * time.Millisecond, 700 * time.Millisecond, 10 * time.Second
	w := starting{began: began, pids: pids, files: map[string]bool{}, linked: map[ebpf.ProgramID]time.Duration{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Ahead of what it watches, which may be a real-time process itself; on a thread that ends with it: nothing else inherits that.
		runtime.LockOSThread()
		_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 2}, 0)
		for now := time.Since(began); now < most && (w.seen.links == 0 || now-w.seen.all < still); now = time.Since(began) {
			w.look(now)
			time.Sleep(every)
		}
	}()
	<-done
	w.seen.programs = map[string]time.Duration{}
	for id, at := range w.linked {
		if name := programName(id); name != "" {
			w.seen.programs[name] = at
		}
	}
	return w.seen
}

func (w *starting) look(now time.Duration) {
	before := len(w.files)
	for _, pid := range w.pids {
		dir := fmt.Sprintf("/proc/%d/", pid)
		list, err := os.ReadDir(dir + "fd")
		if err != nil {
			continue // it has ended
		}
		for _, e := range list {
			file := dir + e.Name()
			if w.files[file] || !attaches(kindOf(dir, e.Name())) {
				continue
			}
			w.files[file] = true
			if id := programOf(dir, e.Name()); id != 0 {
				w.linked[id] = now
			}
		}
	}
	if len(w.files) == before {
		return
	}
	w.seen.links, w.seen.all, w.seen.cpu = len(w.files), now, 0
	for _, pid := range w.pids {
		if used, err := cpuTime(pid); err == nil {
			w.seen.cpu += used
		}
	}
}

// programName is what the kernel keeps of a program's name: 15 bytes; "" if it is gone.
func programName(id ebpf.ProgramID) string {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return ""
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return ""
	}
	return info.Name
}

// startTools starts tools at once and watches them.
func startTools(names []string) (started, error) {
	began := time.Now()
	var pids []int
	for _, name := range names {
		cmd, err := tool([]string{name})
		if err != nil {
			return started{}, err
		}
		if err := cmd.Start(); err != nil {
			return started{}, fmt.Errorf("starting %s: %w", name, err)
		}
		defer stop(cmd)
		pids = append(pids, cmd.Process.Pid)
	}
	return watchStart(began, pids...), nil
}
