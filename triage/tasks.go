// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"bpf60/collectors"
)

// task is one process over the window.
type task struct {
	*collectors.ProcInfo
	rows        int // samples of the window that tell of it; 0: it is not in the window any more
	group       int32
	run, wait   time.Duration
	sys         time.Duration // of run
	switches    uint64        // of contexts, of either kind
	rss, before uint32        // pages: at the end of the window, and at its beginning
	swap        uint32        // pages
	threads     uint32
	majflt      uint64
	read, write uint64 // bytes
}

// tasksSum are the processes that moved in the window. It follows the window: samples that leave it are
// taken off.
type tasksSum struct {
	samples []*collectors.Tasks // that are summed, oldest first
	seconds float64
	list    []task
	at      map[collectors.Process]int
	idle    int // of list: not in the window any more
}

// processes sums the rows of all processes, once a tick.
func (r *recent) processes() *tasksSum {
	t := &r.upkeep.tasks
	if r.sum {
		return t
	}
	r.sum = true
	var now []*collectors.Tasks
	for _, m := range r.moments {
		if m.Tasks != nil && m.Tasks.Seconds() > 0 {
			now = append(now, m.Tasks)
		}
	}
	// What is summed and still in the window is the end of the one and the beginning of the other.
	left := 0
	for left < len(t.samples) && (len(now) == 0 || t.samples[left] != now[0]) {
		left++
	}
	kept := t.samples[left:]
	if len(kept) == 0 || len(kept) > len(now) || !slices.Equal(kept, now[:len(kept)]) || t.idle > len(t.list)/2 {
		*t = tasksSum{at: make(map[collectors.Process]int, len(t.list)-t.idle)}
		kept, left = nil, 0
	}
	for _, s := range t.samples[:left] {
		t.take(s)
	}
	for _, s := range now[len(kept):] {
		t.add(s)
	}
	t.samples = now
	return t
}

// add sums a sample.
func (t *tasksSum) add(s *collectors.Tasks) {
	t.seconds += s.Seconds()
	for k := range s.Rows {
		row := &s.Rows[k]
		if row.ProcInfo == nil {
			continue
		}
		i, ok := t.at[row.Process]
		if !ok {
			i = len(t.list)
			t.at[row.Process] = i
			t.list = append(t.list, task{})
			t.idle++
		}
		x := &t.list[i]
		if x.rows == 0 {
			x.before = row.RSS
			t.idle--
		}
		if x.ProcInfo != row.ProcInfo { // its parent or cgroup may be another
			x.ProcInfo, x.group = row.ProcInfo, 0
		}
		x.rows++
		x.rss, x.threads, x.swap = row.RSS, row.Threads, 0
		x.run += row.Run
		x.wait += row.Wait
		x.sys += row.Sys.Duration()
		x.switches += uint64(row.Voluntary) + uint64(row.Involuntary)
		if m := row.More; m != nil {
			x.swap = m.Swap
			x.majflt += uint64(m.MajFlt)
			x.read += m.Read
			x.write += m.Write
		}
	}
}

// take takes a sample off that has left the window.
func (t *tasksSum) take(s *collectors.Tasks) {
	t.seconds -= s.Seconds()
	for k := range s.Rows {
		row := &s.Rows[k]
		if row.ProcInfo == nil {
			continue
		}
		x := &t.list[t.at[row.Process]]
		if x.rows--; x.rows == 0 {
			t.idle++
		}
		x.before = row.RSS
		x.run -= row.Run
		x.wait -= row.Wait
		x.sys -= row.Sys.Duration()
		x.switches -= uint64(row.Voluntary) + uint64(row.Involuntary)
		if m := row.More; m != nil {
			x.majflt -= uint64(m.MajFlt)
			x.read -= m.Read
			x.write -= m.Write
		}
	}
}

// each are the tasks of the window.
func (t *tasksSum) each(yield func(*task) bool) {
	for i := range t.list {
		if x := &t.list[i]; x.rows > 0 && !yield(x) {
			return
		}
	}
}

// most returns the tasks with the highest value, at most n of those that have any.
func (t *tasksSum) most(n int, value func(*task) float64) []*task {
	var out []*task
	for x := range t.each {
		if value(x) <= 0 || len(out) == n && value(x) <= value(out[n-1]) && x.PID > out[n-1].PID {
			continue
		}
		k, _ := slices.BinarySearchFunc(out, x, func(a, b *task) int {
			return cmp.Or(cmp.Compare(value(b), value(a)), cmp.Compare(a.PID, b.PID))
		})
		if k < n {
			out = slices.Insert(out[:min(len(out), n-1)], k, x)
		}
	}
	return out
}

// named is a process as findings name it: java[812].
func named(comm collectors.Raw, pid int32) collectors.Safe {
	if pid == 0 {
		return collectors.Clean(comm)
	}
	return collectors.Clean(collectors.RawString(fmt.Sprintf("%s[%d]", comm.Bytes(), pid)))
}

// process is a process as culprit or victim.
func process(p *collectors.ProcInfo, share float64) Culprit {
	return Culprit{
		Kind: "process", Name: named(p.Comm, p.PID), Cgroup: collectors.Clean(p.CgroupName()), Share: share,
		Target: collectors.Target{Kind: collectors.ProcessTarget, Process: p.Process},
	}
}

// stranger is a process of which no more than its number and name is known, unless it is among the
// tasks.
func (r *recent) stranger(p collectors.Process, comm collectors.Raw, share float64) Culprit {
	t := r.processes()
	if i, ok := t.at[p]; ok {
		return process(t.list[i].ProcInfo, share)
	}
	return Culprit{Kind: "process", Name: named(comm, p.TGID), Share: share, Target: collectors.Target{Kind: collectors.ProcessTarget, Process: p}}
}

// processRow is the row of a process in the pane of processes; empty for what is no process.
func processRow(c Culprit) string {
	if c.Target.Kind != collectors.ProcessTarget || c.Target.Process.TGID == 0 {
		return ""
	}
	return strconv.Itoa(int(c.Target.Process.TGID))
}

// Scheduling policies that ask for little (sched(7)).
const (
	policyBatch = 3
	policyIdle  = 5
)

// patient says that a process gave its turn away on purpose, serves others in the kernel, or is this
// program: its waiting is no sign of trouble.
func (r *recent) patient(p *collectors.ProcInfo) bool {
	return p.Kernel || p.Nice > 0 || p.Policy == policyBatch || p.Policy == policyIdle || r.ourselves(p)
}

// ourselves says that a process is the one that measured. Anybody may take its name: that counts only in
// old recordings, which do not say who it was.
func (r *recent) ourselves(p *collectors.ProcInfo) bool { return r.own(p.Process, p.Comm) }

func (r *recent) own(p collectors.Process, comm collectors.Raw) bool {
	if r.self == nil {
		r.self = new(collectors.Process)
		if s := lastOf(r.h.Since(-1), func(s *collectors.Snapshot) *collectors.Self { return s.Self }); s != nil {
			*r.self = s.Process
		}
	}
	if *r.self == (collectors.Process{}) {
		return strings.HasPrefix(comm.Bytes(), "bpf60")
	}
	return r.self.Same(p)
}

// people tells who belongs together: the processes of one cgroup and, where all are in the root
// cgroup, those of one session's tree. It grows as processes come, and begins anew with each list of all
// processes.
type people struct {
	key    *collectors.Tasks // the list that it began with
	upTo   time.Duration
	newest uint64 // start of the newest process in it
	byPID  map[int32]*collectors.ProcInfo
	ids    map[string]int32 // groups by name
	names  []string         // groups by number; 0 is none
}

// kernelGroup is the group of the kernel's threads, nobody that of whom nothing is known.
const (
	nobody      = 0
	kernelGroup = 1
)

// together returns who belongs together, as of this tick.
func (r *recent) together() *people {
	p := &r.upkeep.people
	if p.upTo == r.now && p.byPID != nil {
		return p
	}
	all := r.h.Since(-1)
	from, key := 0, (*collectors.Tasks)(nil)
	for i, m := range slices.Backward(all) {
		if m.Tasks != nil && m.Tasks.Key != nil {
			from, key = i, m.Tasks
			break
		}
	}
	if p.byPID == nil || p.key != key {
		r.upkeep.people = people{key: key, byPID: map[int32]*collectors.ProcInfo{}, ids: map[string]int32{}, names: []string{"", "kernel"}}
		for i := range r.upkeep.tasks.list {
			r.upkeep.tasks.list[i].group = nobody
		}
		if key != nil {
			p.byPID = make(map[int32]*collectors.ProcInfo, len(key.Key))
			for i := range key.Key {
				if x := key.Key[i].ProcInfo; x != nil {
					p.byPID[x.PID] = x
					p.newest = max(p.newest, x.Start)
				}
			}
		}
	} else {
		from = after(all, p.upTo)
	}
	for _, m := range all[from:] {
		if m.Tasks == nil {
			continue
		}
		for i := range m.Tasks.Rows {
			if x := m.Tasks.Rows[i].ProcInfo; x != nil && x.Start > p.newest {
				p.byPID[x.PID] = x
			}
		}
	}
	p.upTo = r.now
	return p
}

// stopped are the paths of the cgroups that their quota stopped in the window.
func (r *recent) stopped() []string {
	if r.known {
		return r.stops
	}
	r.known = true
	for _, m := range r.moments {
		if m.Cgroups == nil {
			continue
		}
		for i := range m.Cgroups.Rows {
			if c := &m.Cgroups.Rows[i]; c.CgroupInfo != nil && c.Throttled > 0 && !slices.Contains(r.stops, c.Path.Bytes()) {
				r.stops = append(r.stops, c.Path.Bytes())
			}
		}
	}
	return r.stops
}

// throttled says that a quota stopped p in the window: it waited for that, not for a CPU.
func (r *recent) throttled(p *collectors.ProcInfo) bool {
	list := r.stopped()
	if len(list) == 0 {
		return false
	}
	path := p.CgroupPath.Bytes()
	return slices.ContainsFunc(list, func(s string) bool { return below(s, path) })
}

// below says that path is dir or below it.
func below(dir, path string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/' || dir == "/")
}

// group is the number of a task's group.
func (p *people) group(x *task) int32 {
	if x.group == nobody {
		x.group = p.of(x.ProcInfo)
	}
	return x.group
}

// of is the number of a process's group: its cgroup, or the tree that it is in.
func (p *people) of(x *collectors.ProcInfo) int32 {
	if path := x.CgroupPath.Bytes(); len(path) > 1 {
		return p.named(inCgroup + path)
	}
	if x.Kernel {
		return kernelGroup
	}
	return p.named("tree " + strconv.Itoa(int(p.top(x).PID)))
}

// inCgroup begins the names of groups that are cgroups.
const inCgroup = "cgroup "

func (p *people) named(name string) int32 {
	id, ok := p.ids[name]
	if !ok {
		id = int32(len(p.names))
		p.ids[name] = id
		p.names = append(p.names, name)
	}
	return id
}

// top climbs to the process that a tree begins with: below init, and below what holds the sessions of
// others.
func (p *people) top(x *collectors.ProcInfo) *collectors.ProcInfo {
	for range 64 { // parents that change while they are read could make a circle
		up := p.byPID[x.PPID]
		if up == nil || up.PID <= 1 || up.Kernel || up.Start > x.Start || holdsSessions(up.Comm.Bytes()) {
			break
		}
		x = up
	}
	return x
}

// holdsSessions says that what is below a process has nothing else in common.
func holdsSessions(comm string) bool {
	for _, name := range []string{"systemd", "sshd", "login", "tmux", "screen", "cron", "init", "tini", "dumb-init", "containerd-shim", "conmon", "dockerd", "supervisord", "runsv", "s6-"} {
		if strings.HasPrefix(comm, name) {
			return true
		}
	}
	return comm == "atd"
}
