// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"bpf60/collectors"
)

// process is one process over a frame: gauges of its end, sums over its span.
type process struct {
	*collectors.ProcInfo
	state     byte
	ended     bool // within the span
	lacks     collectors.Lack
	threads   uint32
	blocked   uint16
	rss, swap uint64 // bytes
	vsz       uint64
	time      time.Duration // on a CPU since it began
	timed     bool          // false: time is only that of the rows, and it had run before

	run, sys, guest      time.Duration // guest is the part of run-sys that virtual CPUs had
	wait, leadWait       time.Duration
	delay                time.Duration
	vol, invol           uint64 // of the leader, as pidstat has them
	switches             uint64 // of all threads, of both kinds
	minflt, majflt       uint64
	read, write, cancels uint64 // bytes
	moved                bool
	dropped              bool // it ended: only while the list is made
}

// processes are the processes of a frame.
type processes struct {
	collectors.Span
	last *collectors.Tasks // the newest sample: counts of the host
	page uint64            // bytes of one
	list []process
	all  bool // false: those that moved only, since the list of all is no longer kept

	sorted []int32                    // TGID of the first ones of list, ascending: apart, so that a search stays in the cache
	extra  map[collectors.Process]int // where the rest is

	ends map[collectors.Process]time.Duration // what those had run that ended since the list of all
}

// find is the index of a process, -1 if it is not there.
func (p *processes) find(id collectors.Process) int {
	i, ok := slices.BinarySearch(p.sorted, id.TGID)
	if ok && p.list[i].Process == id {
		return i
	}
	if i, ok := p.extra[id]; ok {
		return i
	}
	return -1
}

// put adds a process behind the sorted ones.
func (p *processes) put(id collectors.Process, x process) int {
	if p.extra == nil {
		p.extra = make(map[collectors.Process]int)
	}
	p.list = append(p.list, x)
	p.extra[id] = len(p.list) - 1
	return len(p.list) - 1
}

// rowsOver lists the processes of a frame that did something. Nil without a scan.
func rowsOver(f Frame) *processes {
	sum := within(f.rowed(), tasksOf)
	last := newest(f, tasksOf)
	if last == nil {
		if len(sum) == 0 {
			return nil
		}
		last = sum[len(sum)-1]
	}
	p := &processes{last: last, page: pageBytes(f), list: make([]process, 0, 5*len(last.Rows)/4)}
	p.sum(sum)
	return p
}

// processesOver lists the processes of a frame: those of the newest list of all, changed by the rows
// and ends since. Nil without a scan.
func processesOver(f Frame) *processes {
	sum := within(f.rowed(), tasksOf)
	last := newest(f, tasksOf)
	if last == nil {
		if len(sum) == 0 {
			return nil
		}
		last = sum[len(sum)-1]
	}
	p := &processes{last: last, page: pageBytes(f)}
	reached := false
	from := time.Duration(math.MaxInt64) // when the rows begin
	for i := keyMoment(f); i < len(f.Past) && !reached; i++ {
		s := f.Past[i].Snapshot
		if s == nil || s.Tasks == nil {
			continue
		}
		if s.Tasks.Rows != nil || s.Tasks.Key != nil {
			from = min(from, s.Tasks.From)
		}
		if s.Tasks.Key != nil && !p.all {
			p.all, p.list, p.extra = true, make([]process, 0, len(s.Tasks.Key)+len(s.Tasks.Key)/8), nil
			p.sorted = make([]int32, 0, len(s.Tasks.Key))
			for _, k := range s.Tasks.Key {
				p.list, p.sorted = append(p.list, p.stateOf(k)), append(p.sorted, k.TGID)
			}
		} else {
			p.change(s.Tasks)
		}
		reached = s.Tasks == last
	}
	p.drop()
	p.sum(sum)
	p.beganInSight(f, from)
	return p
}

// beganInSight finds those whose rows have all of their time; from is when the rows begin.
func (p *processes) beganInSight(f Frame, from time.Duration) {
	h := newest(f, hostOf)
	if h == nil || h.Uptime == 0 {
		return
	}
	for i := range p.list {
		x := &p.list[i]
		if x.timed || x.ProcInfo == nil {
			continue
		}
		rows := from
		if x.ended {
			rows = p.From
		}
		x.timed = h.To-(h.Uptime-time.Duration(x.Start)) >= rows
	}
}

// sum adds up what was done over the span.
func (p *processes) sum(samples []*collectors.Tasks) {
	for _, t := range samples {
		p.Span = join(p.Span, t.Span)
		for i := range t.Rows {
			p.add(&t.Rows[i])
		}
	}
}

// drop takes away the processes that ended.
func (p *processes) drop() {
	if !slices.ContainsFunc(p.list, func(x process) bool { return x.dropped }) {
		return
	}
	all, sorted := p.list, len(p.sorted)
	p.ends = make(map[collectors.Process]time.Duration)
	p.list, p.sorted = all[:0], p.sorted[:0]
	clear(p.extra)
	for i := range all {
		switch {
		case all[i].dropped:
			if all[i].timed {
				p.ends[all[i].Process] = all[i].time
			}
		case i < sorted:
			p.list, p.sorted = append(p.list, all[i]), append(p.sorted, all[i].TGID)
		default:
			p.put(all[i].Process, all[i])
		}
	}
}

// keyMoment is the index of the newest moment with a list of all processes, of the newest one that
// counts without any.
func keyMoment(f Frame) int {
	oldest := max(len(f.Past)-staleAfter, 0)
	for i := len(f.Past) - 1; i >= 0; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.Tasks == nil {
			continue
		}
		if s.Tasks.Key != nil {
			return i
		}
		if s.Tasks.Rows != nil {
			oldest = min(oldest, i) // everything that is known of
		}
	}
	return oldest
}

func (p *processes) stateOf(k collectors.TaskState) process {
	return process{
		ProcInfo: k.ProcInfo, state: k.State, lacks: k.Lacks, threads: k.Threads, blocked: k.Blocked,
		rss: uint64(k.RSS) * p.page, swap: uint64(k.Swap) * p.page, vsz: k.VSZ * p.page, time: k.Time, timed: true,
	}
}

// change brings the gauges up to a sample, and takes away what ended in it.
func (p *processes) change(t *collectors.Tasks) {
	for i := range t.Rows {
		r := &t.Rows[i]
		if r.ProcInfo == nil {
			continue
		}
		k := p.find(r.Process)
		if k < 0 {
			k = p.put(r.Process, process{timed: p.all}) // it is younger than the list of all
		}
		x := &p.list[k]
		x.ProcInfo, x.state, x.lacks, x.threads, x.blocked = r.ProcInfo, r.State, r.Lacks, r.Threads, r.Blocked
		x.rss, x.swap = uint64(r.RSS)*p.page, 0
		x.time += r.Run
		if r.More != nil {
			x.swap = uint64(r.More.Swap) * p.page
			if r.More.VSZ != 0 {
				x.vsz = r.More.VSZ * p.page
			}
		}
	}
	for _, id := range t.Gone {
		if k := p.find(id); k >= 0 {
			p.list[k].dropped = true
		}
	}
}

// add sums a row of the span. A process that is no longer there is listed as ended.
func (p *processes) add(r *collectors.TaskRow) {
	if r.ProcInfo == nil {
		return
	}
	k := p.find(r.Process)
	if k < 0 {
		ran, ok := p.ends[r.Process]
		k = p.put(r.Process, process{ended: true, time: ran, timed: ok, rss: uint64(r.RSS) * p.page, threads: r.Threads, state: r.State})
	}
	x := &p.list[k]
	if x.ended {
		x.ProcInfo, x.lacks = r.ProcInfo, r.Lacks
		if !x.timed {
			x.time += r.Run
		}
	}
	x.moved = x.moved || r.Run > 0 || r.Wait > 0 || r.Blocked > 0
	x.run += r.Run
	x.sys += min(r.Sys.Duration(), r.Run)
	x.wait += r.Wait
	x.leadWait += r.LeadWait.Duration()
	vol, invol := leaderSwitches(r)
	x.vol += vol
	x.invol += invol
	x.switches += uint64(r.Voluntary) + uint64(r.Involuntary)
	x.minflt += uint64(r.MinFlt)
	if m := r.More; m != nil {
		x.majflt += uint64(m.MajFlt)
		x.read += m.Read
		x.write += m.Write
		x.cancels += m.Cancelled
		x.delay += m.BlockDelay
		x.guest += m.Guest.Duration()
	}
}

// leaderSwitches is the leader's share of a row's context switches.
func leaderSwitches(r *collectors.TaskRow) (vol, invol uint64) {
	vol, invol = uint64(r.Voluntary), uint64(r.Involuntary)
	if m := r.More; m != nil {
		vol -= min(uint64(m.OthersVoluntary), vol)
		invol -= min(uint64(m.OthersInvoluntary), invol)
	}
	return vol, invol
}

// gone is how much CPU time nobody in the list had: of processes that ended, and of those that came and
// went between two scans. It is /proc/stat less the sum of the processes, and only as exact as
// that, which counts by ticks; false where it cannot be told.
func (p *processes) gone(f Frame) (time.Duration, bool) {
	cpu := cpuOver(f.rowed())
	if cpu == nil || cpu.Seconds() == 0 || p.Seconds() == 0 || math.Abs(cpu.Seconds()/p.Seconds()-1) > 0.1 {
		return 0, false
	}
	total := cpu.All.Total()
	n := len(cpu.CPUs)
	if total == 0 || n == 0 {
		return 0, false
	}
	busy := float64(cpu.All.User+cpu.All.Nice+cpu.All.System) / float64(total) * float64(n) * p.Seconds()
	ran := 0.0
	for i := range p.list {
		ran += p.list[i].run.Seconds()
	}
	return time.Duration(max(busy-ran, 0) * 1e9), true
}

// command is the name of a process with its arguments: the path before the name is left out.
func (x *process) command() string { return commandOf(x.ProcInfo) }

func commandOf(p *collectors.ProcInfo) string {
	name, args := clean(p.Comm), clean(p.Args)
	if args == "" {
		if p.Kernel {
			return "[" + name + "]"
		}
		return name
	}
	if strings.HasPrefix(args, name) { // as a daemon that sets its title
		return args
	}
	first, rest, _ := strings.Cut(args, " ")
	first = first[strings.LastIndexByte(first, '/')+1:]
	const commMost = 15 // what the kernel keeps of a name
	if first == name || len(name) == commMost && len(first) > commMost && first[:commMost] == name {
		if rest == "" {
			return first
		}
		return first + " " + rest
	}
	return name + ": " + args // it has another name than its file
}

// userOf is a user's name, the number where /etc/passwd has none.
func userOf(p *collectors.ProcInfo) string {
	if name := clean(p.User); name != "" {
		return name
	}
	return strconv.FormatUint(uint64(p.UID), 10)
}

// byUse orders processes: what ran most, then what holds most, then by number.
func byUse(a, b *process) int {
	return cmp.Or(cmp.Compare(b.run, a.run), cmp.Compare(b.rss, a.rss), cmp.Compare(a.PID, b.PID))
}

// pageBytes is the unit of what the kernel counts in pages.
func pageBytes(f Frame) uint64 {
	if h := newest(f, hostOf); h != nil && h.Facts != nil && h.Facts.PageSize > 0 {
		return h.Facts.PageSize
	}
	return 4096
}

// hostMemory is the host's memory in bytes, 0 if it is not known.
func hostMemory(f Frame) uint64 {
	if h := newest(f, hostOf); h != nil {
		return h.Mem.Total
	}
	return 0
}
